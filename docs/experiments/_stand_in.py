"""Other packages' calls of ``scipy.optimize``: counted, and run by negopt where that is asked for.

A client names SciPy's method ("L-BFGS-B", ``fmin_bfgs``).  Under a `StandIn` for negopt its
unconstrained minimisations run a method of negopt, with the tolerance and the limits that the
client gave, and it receives the result in the form that it expects.  Calls with bounds or
constraints go to SciPy as they are, and are not counted.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import optimize

import negopt

Vector = np.ndarray[Any, np.dtype[Any]]

#: SciPy's functions as they are before any stand-in.
SCIPY: Mapping[str, Callable[..., Any]] = {
    name: getattr(optimize, name)
    for name in (
        "minimize",
        "fmin",
        "fmin_bfgs",
        "fmin_cg",
        "fmin_l_bfgs_b",
        "fmin_ncg",
        "fmin_powell",
    )
}

#: Methods of SciPy's `minimize` for problems that negopt solves, in lower case.
UNCONSTRAINED = {
    *(None, "nelder-mead", "powell", "cg", "bfgs", "newton-cg", "l-bfgs-b", "tnc", "slsqp"),
    *("dogleg", "trust-ncg", "trust-exact", "trust-krylov"),
}


@dataclass
class Call:
    """One minimisation: the function, where it began, how it ended.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args)``: f, or f and its gradient where `jac` is True.
    jac : callable, bool, str or None
        As SciPy takes it.
    hess : callable or None
    x0 : array, shape (n,)
    args : tuple

    Attributes
    ----------
    evaluations : int
        Points at which f or its gradient was asked for, one asked for again in succession once.
        A Hessian counts n.
    lowest : list of (int, float)
        After how many of them f was lower than ever before, and f.
    result : OptimizeResult
    """

    fun: Callable[..., Any]
    jac: Any
    hess: Callable[..., Any] | None
    x0: Vector
    args: tuple[Any, ...] = ()
    evaluations: int = 0
    lowest: list[tuple[int, float]] = field(default_factory=list)
    result: Any = None
    _last: bytes = b""

    def _count(self, x: Any) -> None:
        key = np.asarray(x).tobytes()
        self.evaluations += key != self._last
        self._last = key

    def counted_fun(self, x: Any) -> Any:
        """Return what `fun` returns at `x`."""
        self._count(x)
        out = self.fun(x, *self.args)
        f = float(np.squeeze(out[0] if self.jac is True else out))
        if not self.lowest or f < self.lowest[-1][1]:
            self.lowest.append((self.evaluations, f))
        return out

    def reached(self, f: float) -> float:
        """Return the evaluations after which the function was no higher than `f`."""
        return next((float(count) for count, low in self.lowest if low <= f), math.inf)

    def counted_jac(self, x: Any) -> Any:
        """Return the gradient at `x`."""
        self._count(x)
        return self.jac(x, *self.args)

    def counted_hess(self, x: Any) -> Any:
        """Return the Hessian at `x`."""
        assert self.hess is not None
        self.evaluations += self.x0.size
        return self.hess(x, *self.args)

    def given(self) -> dict[str, Any]:
        """Return the counted derivatives as keywords of `minimize`."""
        jac = self.counted_jac if callable(self.jac) else self.jac
        return {"jac": jac, "hess": None if self.hess is None else self.counted_hess}

    def value(self, x: Vector) -> float:
        """Return f at `x`, uncounted."""
        out = self.fun(np.array(x), *self.args)
        return float(np.squeeze(out[0] if self.jac is True else out))

    def gradient(self, x: Vector) -> Vector | None:
        """Return the gradient at `x`, uncounted; None where the client has none."""
        if self.jac is True:
            return np.array(self.fun(np.array(x), *self.args)[1], dtype=float)
        return (
            np.array(self.jac(np.array(x), *self.args), dtype=float) if callable(self.jac) else None
        )


@dataclass
class StandIn:
    """Stands where clients call SciPy's minimisers.

    Parameters
    ----------
    solver : {"negopt", "SciPy"}
        Who minimises.
    options : mapping
        Further options for negopt.

    Attributes
    ----------
    calls : list of Call
        The unconstrained minimisations, in their order.
    """

    solver: str
    options: Mapping[str, Any] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    @contextlib.contextmanager
    def installed(self) -> Iterator[StandIn]:
        """Replace SciPy's functions in its namespace, and wherever a package has imported them."""
        mine = {name: getattr(self, name) for name in SCIPY}
        replace({SCIPY[name]: mine[name] for name in SCIPY})
        try:
            yield self
        finally:  # also in what was imported meanwhile
            replace({mine[name]: SCIPY[name] for name in SCIPY})

    # --- SciPy's functions, in its signatures --------------------------------------------

    def minimize(
        self,
        fun: Any,
        x0: Any,
        args: Any = (),
        method: Any = None,
        jac: Any = None,
        hess: Any = None,
        **given: Any,
    ) -> Any:
        """Stand for `scipy.optimize.minimize`."""
        name = method.lower() if isinstance(method, str) else method
        ours = (
            not callable(name)
            and name in UNCONSTRAINED
            and given.get("constraints", ()) in ((), [], None)
        )
        if not (ours and unbounded(given.get("bounds"))):
            return SCIPY["minimize"](fun, x0, args, method, jac, hess, **given)
        call = Call(
            fun,
            jac or None,
            hess if callable(hess) else None,
            start(x0),
            args if isinstance(args, tuple) else (args,),
        )
        if self.solver == "SciPy":
            return self._theirs(call, "minimize", method=method, **call.given(), **given)
        options = dict(given.get("options") or {})
        if name == "l-bfgs-b" and options.get("maxiter") == 0:
            options["maxiter"] = 1  # it makes an iteration even where none is asked for
        if given.get("tol") is not None:
            options.setdefault("gtol", given["tol"])
        return self._ours(
            call,
            given.get("callback"),
            options,
            ftol=name in ("l-bfgs-b", "nelder-mead", "powell", "slsqp"),
        )

    def fmin_bfgs(
        self, f: Any, x0: Any, fprime: Any = None, args: Any = (), gtol: float = 1e-5, **given: Any
    ) -> Any:
        """Stand for `scipy.optimize.fmin_bfgs`."""
        call = Call(f, fprime, None, start(x0), args)
        if self.solver == "SciPy":
            return self._theirs(call, "fmin_bfgs", fprime and call.counted_jac, gtol=gtol, **given)
        res = self._ours(call, given.pop("callback", None), {"gtol": gtol, **given})
        hess_inv = res.hess_inv @ np.eye(res.x.size)
        return self._tuple(given, res, res.x, res.fun, res.jac, hess_inv, res.nfev, res.njev)

    def fmin_cg(
        self, f: Any, x0: Any, fprime: Any = None, args: Any = (), gtol: float = 1e-5, **given: Any
    ) -> Any:
        """Stand for `scipy.optimize.fmin_cg`."""
        call = Call(f, fprime, None, start(x0), args)
        if self.solver == "SciPy":
            return self._theirs(call, "fmin_cg", fprime and call.counted_jac, gtol=gtol, **given)
        res = self._ours(call, given.pop("callback", None), {"gtol": gtol, **given})
        return self._tuple(given, res, res.x, res.fun, res.nfev, res.njev)

    def fmin_ncg(
        self,
        f: Any,
        x0: Any,
        fprime: Any,
        fhess_p: Any = None,
        fhess: Any = None,
        args: Any = (),
        **given: Any,
    ) -> Any:
        """Stand for `scipy.optimize.fmin_ncg`."""
        if fhess_p is not None:
            return SCIPY["fmin_ncg"](f, x0, fprime, fhess_p, fhess, args, **given)
        call = Call(f, fprime, fhess, start(x0), args)
        if self.solver == "SciPy":
            return self._theirs(
                call, "fmin_ncg", call.counted_jac, fhess=call.given()["hess"], **given
            )
        res = self._ours(call, given.pop("callback", None), given)
        return self._tuple(given, res, res.x, res.fun, res.nfev, res.njev, res.nhev)

    def fmin_l_bfgs_b(
        self,
        func: Any,
        x0: Any,
        fprime: Any = None,
        args: Any = (),
        approx_grad: Any = 0,
        bounds: Any = None,
        **given: Any,
    ) -> Any:
        """Stand for `scipy.optimize.fmin_l_bfgs_b`."""
        if not unbounded(bounds):
            return SCIPY["fmin_l_bfgs_b"](func, x0, fprime, args, approx_grad, bounds, **given)
        call = Call(func, None if approx_grad else fprime or True, None, start(x0), args)
        if self.solver == "SciPy":
            fprime = call.counted_jac if callable(call.jac) else None
            return self._theirs(call, "fmin_l_bfgs_b", fprime, approx_grad=approx_grad, **given)
        options = {"gtol": given.pop("pgtol", 1e-5), **given}
        res = self._ours(call, options.pop("callback", None), options, ftol=True)
        told = {"grad": res.jac, "funcalls": res.nfev, "nit": res.nit, "task": res.message}
        return (
            res.x,
            res.fun,
            {**told, "warnflag": 0 if res.success else 1 if res.status == 1 else 2},
        )

    def fmin(self, func: Any, x0: Any, args: Any = (), **given: Any) -> Any:
        """Stand for `scipy.optimize.fmin`."""
        call = Call(func, None, None, start(x0), args)
        if self.solver == "SciPy":
            return self._theirs(call, "fmin", **given)
        res = self._ours(call, given.pop("callback", None), given, ftol=True)
        return self._tuple(given, res, res.x, res.fun, res.nit, res.nfev)

    def fmin_powell(self, func: Any, x0: Any, args: Any = (), **given: Any) -> Any:
        """Stand for `scipy.optimize.fmin_powell`."""
        call = Call(func, None, None, start(x0), args)
        if self.solver == "SciPy":
            return self._theirs(call, "fmin_powell", **given)
        res = self._ours(call, given.pop("callback", None), given, ftol=True)
        return self._tuple(given, res, res.x, res.fun, np.eye(res.x.size), res.nit, res.nfev)

    # --- who minimises -------------------------------------------------------------------

    def _theirs(self, call: Call, name: str, *args: Any, **given: Any) -> Any:
        self.calls.append(call)
        result = SCIPY[name](call.counted_fun, call.x0, *args, **given)
        if name == "minimize":
            call.result = result
        else:
            full = isinstance(result, tuple)
            told = result[-1 - bool(given.get("retall"))] if full else None
            flag = told["warnflag"] if isinstance(told, dict) else told
            call.result = optimize.OptimizeResult(x=result[0] if full else result, success=not flag)
        return result

    def _ours(
        self, call: Call, callback: Any, options: Mapping[str, Any], *, ftol: bool = False
    ) -> Any:
        """Minimise by negopt's default for what the client gives.

        `ftol`: SciPy's method ends with success where f falls no further, and so this does.
        """
        self.calls.append(call)
        known = {
            "gtol": options.get("gtol"),
            "maxiter": options.get("maxiter"),
            "eps": options.get("epsilon"),
        }
        known = {name: value for name, value in known.items() if value is not None}
        res = negopt.minimize(
            call.counted_fun,
            call.x0,
            callback=callback,
            options={**known, **self.options},
            **call.given(),
        )
        call.result = res
        if ftol and res.status == negopt.Status.PRECISION:
            res = optimize.OptimizeResult(res, status=0, success=True)
        return res

    @staticmethod
    def _tuple(given: Mapping[str, Any], res: Any, *parts: Any) -> Any:
        """Return x, or the tuple of the ``fmin_`` functions, which ends with a flag."""
        if not given.get("full_output"):
            return res.x
        flag = 0 if res.success else 1 if res.status == negopt.Status.LIMIT else 2
        return (*parts, flag, []) if given.get("retall") else (*parts, flag)


def replace(new: Mapping[Any, Any]) -> None:
    """Put one function in the place of another in every module but SciPy's own and negopt's."""
    found = {id(function): replacement for function, replacement in new.items()}
    for module in list(sys.modules.values()):
        if not getattr(module, "__name__", "").startswith(("negopt", "scipy.optimize._", __name__)):
            for name, value in list(getattr(module, "__dict__", {}).items()):
                if id(value) in found:
                    setattr(module, name, found[id(value)])


def start(x0: Any) -> Vector:
    """Return x0 as SciPy reads it."""
    return np.atleast_1d(np.array(x0, dtype=float)).ravel()


def unbounded(bounds: Any) -> bool:
    """Tell whether there are no bounds that bound anything."""
    if bounds is None:
        return True
    if isinstance(bounds, optimize.Bounds):
        return not np.any(np.isfinite(bounds.lb) | np.isfinite(bounds.ub))
    return not any(b is not None and math.isfinite(b) for pair in bounds for b in pair)
