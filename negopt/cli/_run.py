"""Run one method, negopt's or SciPy's, so that all are counted and judged alike."""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from negopt.cli._errors import one_line, reason
from negopt.cli._targets import Target, Vector, built_in
from negopt.core.arrays import Array
from negopt.entry.minimize import minimize
from negopt.functions.differences import difference_gradient, difference_product
from negopt.methods import METHODS

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

#: SciPy's unconstrained methods: lower case -> (its spelling, derivatives it takes, its
#: options for gtol, maxiter and the rest).  Its own tests are set so tight that gtol decides.
SCIPY_METHODS: dict[str, tuple[str, str, Callable[[Rules], dict[str, float]]]] = {
    "nelder-mead": ("Nelder-Mead", "", lambda r: {"maxiter": r.maxiter, "maxfev": r.calls}),
    "powell": ("Powell", "", lambda r: {"maxiter": r.maxiter, "maxfev": r.calls}),
    "cobyla": ("COBYLA", "", lambda r: {"maxiter": r.calls}),
    "cobyqa": ("COBYQA", "", lambda r: {"maxiter": r.maxiter, "maxfev": r.calls}),
    "cg": ("CG", "jac", lambda r: {"maxiter": r.maxiter, "gtol": r.gtol}),
    "bfgs": ("BFGS", "jac", lambda r: {"maxiter": r.maxiter, "gtol": r.gtol}),
    "l-bfgs-b": (
        "L-BFGS-B",
        "jac",
        lambda r: {"maxiter": r.maxiter, "maxfun": r.calls, "gtol": r.gtol, "ftol": 0.0},
    ),
    "tnc": ("TNC", "jac", lambda r: {"maxfun": r.calls, "gtol": 0.0, "ftol": 0.0, "xtol": 0.0}),
    "slsqp": ("SLSQP", "jac", lambda r: {"maxiter": r.maxiter, "ftol": 1e-16}),
    "newton-cg": ("Newton-CG", "hessp", lambda r: {"maxiter": r.maxiter, "xtol": 1e-12}),
    "trust-ncg": ("trust-ncg", "hessp", lambda r: {"maxiter": r.maxiter, "gtol": r.gtol}),
    "trust-krylov": ("trust-krylov", "hessp", lambda r: {"maxiter": r.maxiter, "gtol": r.gtol}),
    "trust-constr": (
        "trust-constr",
        "hessp",
        lambda r: {"maxiter": r.maxiter, "gtol": r.gtol, "xtol": 1e-14},
    ),
    "trust-exact": ("trust-exact", "hess", lambda r: {"maxiter": r.maxiter, "gtol": r.gtol}),
    "dogleg": ("dogleg", "hess", lambda r: {"maxiter": r.maxiter, "gtol": r.gtol}),
}
#: Dense Hessians are formed column by column up to this n.
DENSE = 500
#: Hessian products of the check at the point that a method returned: more than a solver
#: spends on its own check, since they are not counted here.
CHECK_PRODUCTS = 100


@dataclass(frozen=True)
class Rules:
    """Tolerance, budgets and seed, the same for every method: options of `minimize`."""

    gtol: float = 1e-5
    maxiter: int = 1000
    maxfun: int | None = None
    rng: int = 0

    @property
    def calls(self) -> int:
        """A limit on evaluations for SciPy's methods that insist on one."""
        return self.maxfun if self.maxfun is not None else 1000 * self.maxiter


@dataclass
class Row:
    """What one method came to."""

    method: str
    verdict: str = "error"
    message: str = ""
    f: float = math.nan
    gmax: float = math.nan
    curvature: float = math.nan
    curvature_status: str = "not checked"
    nfev: int = 0
    njev: int = 0
    nhev: int = 0
    seconds: float = math.nan
    negative: int | None = None
    curve: tuple[list[int], list[float]] = field(default_factory=lambda: ([], []))


class _Stop(Exception):
    """Ends one of SciPy's methods from inside: the tolerance is met, or a budget used up."""

    def __init__(self, x: Vector, message: str) -> None:
        super().__init__(message)
        self.x = x


class Counted:
    """The target's functions behind counters, for SciPy's methods and ours alike.

    Differences count as the evaluations that they take.
    """

    def __init__(self, target: Target, limit: int | None = None) -> None:
        self.target = target
        self.limit = limit
        self.nfev = self.njev = self.nhev = 0
        self.curve: tuple[list[int], list[float]] = ([], [])
        self.best: tuple[float, Vector] = (math.inf, target.x0)
        self._f: tuple[Vector | None, float] = (None, math.nan)
        self._gradients: list[tuple[Vector, Vector]] = []
        self._linear: tuple[Vector | None, Callable[[Vector], Array]] = (None, np.asarray)

    def fun(self, x: npt.ArrayLike) -> float:
        """Return f at `x`."""
        x = np.asarray(x, dtype=np.float64)
        if self.limit is not None and self.nfev >= self.limit:
            raise _Stop(self.best[1], f"maxfun = {self.limit} evaluations are used up")
        self.nfev += 1
        f = float(np.asarray(self.target.fun(x.copy()), dtype=np.float64).reshape(()))
        self._f = (x.copy(), f)
        if f < self.best[0]:
            self.best = (f, x.copy())
            self.curve[0].append(self.nfev + self.njev + self.nhev)
            self.curve[1].append(f)
        return f

    def grad(self, x: npt.ArrayLike) -> Vector:
        """Return the gradient at `x`."""
        x = np.asarray(x, dtype=np.float64)
        self.njev += 1
        if self.target.grad is not None:
            g = np.asarray(self.target.grad(x.copy()), dtype=np.float64)
        else:
            f = self._f[1] if _same(self._f[0], x) else self.fun(x)
            g = difference_gradient(self.fun, x, f, "2-point")
        self._gradients = [*self._gradients[-3:], (x.copy(), g)]
        return g.copy()

    def known_gradient(self, x: Vector) -> Vector | None:
        """Return the gradient at `x` when it is one of the last, else None."""
        return next((g for at, g in reversed(self._gradients) if _same(at, x)), None)

    def hessp(self, x: npt.ArrayLike, p: npt.ArrayLike) -> Vector:
        """Return the Hessian at `x` times `p`."""
        x, p = np.asarray(x, dtype=np.float64), np.asarray(p, dtype=np.float64)
        if self.target.hessp is None:
            g = self.known_gradient(x)
            g = self.grad(x) if g is None else g
            exponent = 0.5 if self.target.grad is not None else 0.25
            step = max(2.2e-16**exponent, 1e-6) * (1.0 + float(np.linalg.norm(x)))
            product: Vector = difference_product(self.grad, x, g, p, step)
            return product
        if not _same(self._linear[0], x):
            self._linear = (x.copy(), self.target.hessp(x.copy()))
        self.nhev += 1
        return np.asarray(self._linear[1](p.copy()), dtype=np.float64)

    def hess(self, x: npt.ArrayLike) -> Vector:
        """Return the dense Hessian at `x`, by n products."""
        columns = [self.hessp(x, unit) for unit in np.eye(self.target.n)]
        matrix = np.stack(columns, axis=1)
        return 0.5 * (matrix + matrix.T)


def _same(kept: Vector | None, x: Vector) -> bool:
    return kept is not None and np.array_equal(kept, x)


def run_method(method: str, target: Target, rules: Rules) -> Row:
    """Run `method` (a canonical name) and judge the point that it returns."""
    counted = Counted(target, None if method in METHODS else rules.maxfun)
    row = Row(method, curve=counted.curve)
    begin = time.perf_counter()
    x: Vector | None = None
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            if method in METHODS:
                result = _ours(method, counted, rules)
                row.negative = int(result.n_negative_steps)
            else:
                result = _scipys(method, counted, rules)
            x, row.message = np.asarray(result.x, dtype=np.float64), str(result.message)
        except _Stop as stop:
            x, row.message = stop.x, str(stop)
        except Exception as error:  # noqa: BLE001 -- a method that fails is a result too
            row.message = reason(error)
        row.seconds = time.perf_counter() - begin
        row.nfev, row.njev, row.nhev = counted.nfev, counted.njev, counted.nhev
        if x is not None:
            _judge(row, target, x, rules)
    return row


def _ours(method: str, counted: Counted, rules: Rules) -> OptimizeResult:
    return minimize(
        counted.fun,
        counted.target.x0,
        method=method,
        jac=counted.grad,
        hessp=counted.hessp if METHODS[method].needs == "hessp" else None,
        options=asdict(rules),
    )


def _scipys(method: str, counted: Counted, rules: Rules) -> OptimizeResult:
    from scipy.optimize import minimize as scipy_minimize

    _, needs, options = SCIPY_METHODS[method.lower()]
    if needs == "hess" and counted.target.n > DENSE:
        raise ValueError(f"a dense Hessian is formed only up to n = {DENSE}")

    def stop_at_gtol(xk: npt.ArrayLike, *_: object) -> None:
        g = counted.known_gradient(np.asarray(xk))
        if g is not None and float(np.max(np.abs(g))) <= rules.gtol:
            raise _Stop(np.array(xk), f"max|g| <= gtol = {rules.gtol:g}")

    return scipy_minimize(
        counted.fun,
        counted.target.x0.copy(),
        method=method,
        jac=counted.grad if needs else None,
        hessp=counted.hessp if needs == "hessp" else None,
        hess=counted.hess if needs == "hess" else None,
        callback=stop_at_gtol,
        options=options(rules),
    )


def _judge(row: Row, target: Target, x: Vector, rules: Rules) -> None:
    """Fill in f, max|g| and curvature at `x`, which is not counted, and the verdict.

    With a gtol that everything meets and no escape, `minimize` is the second-order check at `x`.
    """
    outside = Counted(target)
    row.verdict = "no"
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        row.f, row.gmax = outside.fun(x), float(np.max(np.abs(outside.grad(x))))
        try:
            found = minimize(
                outside.fun,
                x,
                method="newton-krylov",
                jac=outside.grad,
                hessp=outside.hessp if target.hessp is not None else None,
                options={
                    "gtol": sys.float_info.max,
                    "max_escapes": 0,
                    "rng": rules.rng,
                    "certify_products": CHECK_PRODUCTS,
                },
            )
        except ValueError as error:  # f or g is not finite at x
            row.message = f"{one_line(row.message)} {reason(error)}"
            return
    row.curvature, row.curvature_status = float(found.min_curvature), found.curvature_status
    if row.gmax > rules.gtol:
        return
    if row.curvature_status == "negative":
        row.verdict = "saddle"
    elif target.minimum is not None and row.f > target.minimum + 1e-4 * max(
        1.0, abs(target.minimum)
    ):
        row.verdict = "local"
    else:
        row.verdict = "yes"


def warm_up(methods: list[str]) -> None:
    """Run each method once on two variables, so that no time below is that of compiling."""
    target = built_in("rosenbrock", None)
    for method in methods:
        run_method(method, target, Rules(maxiter=3))
