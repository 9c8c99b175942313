"""Every method as a callable of its own, and the list of its options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from negopt._minimize import has_constraints, minimize, own_method, solve
from negopt._options import RunOptions, option_table
from negopt.methods import METHODS, Method

__all__ = [
    "MethodCallable",
    "adam",
    "bfgs_wolfe",
    "dqn_wolfe_pm",
    "gd",
    "gd_armijo",
    "lbfgs_wolfe",
    "lqn_tr",
    "lsr1_damped",
    "lsr1_tr",
    "lsr1_wolfe_pm",
    "new_q_newton",
    "newton_cubic",
    "newton_krylov",
    "ogr",
    "sfn_exact",
    "sfn_lanczos",
    "sfn_series",
    "show_options",
    "sr1_tr",
    "sr1_wolfe_pm",
    "tr_ellipsoid",
]


class MethodCallable:
    """One method under SciPy's custom-method protocol."""

    def __init__(self, name: str) -> None:
        self.negopt_method = name
        self.__name__ = name.replace("-", "_")
        self.__doc__ = (
            f"Minimise with method {name!r}: {METHODS[name].summary}.\n\n"
            "Use as ``scipy.optimize.minimize(..., method=negopt."
            f"{self.__name__})``, also inside ``basinhopping``, or call it as\n"
            "``method(fun, x0, args=(), jac=None, hess=None, hessp=None, callback=None, "
            "**options)``."
        )

    def __call__(
        self,
        fun: Any,
        x0: Any,
        args: tuple[Any, ...] = (),
        jac: Any = None,
        hess: Any = None,
        hessp: Any = None,
        bounds: Any = None,
        constraints: Any = (),
        callback: Callable[..., Any] | None = None,
        tol: float | None = None,
        **options: Any,
    ) -> Any:
        if bounds is not None or has_constraints(constraints):
            return minimize(
                fun, x0, method=self.negopt_method, bounds=bounds, constraints=constraints
            )
        return solve(fun, x0, args, self.negopt_method, jac, hess, hessp, tol, callback, options)

    def __repr__(self) -> str:
        return f"<negopt method {self.negopt_method!r}>"


lqn_tr = MethodCallable("lqn-tr")
newton_krylov = MethodCallable("newton-krylov")
newton_cubic = MethodCallable("newton-cubic")
lsr1_tr = MethodCallable("lsr1-tr")
lsr1_wolfe_pm = MethodCallable("lsr1-wolfe-pm")
sr1_wolfe_pm = MethodCallable("sr1-wolfe-pm")
bfgs_wolfe = MethodCallable("bfgs-wolfe")
dqn_wolfe_pm = MethodCallable("dqn-wolfe-pm")
lbfgs_wolfe = MethodCallable("lbfgs-wolfe")
lsr1_damped = MethodCallable("lsr1-damped")
sr1_tr = MethodCallable("sr1-tr")
tr_ellipsoid = MethodCallable("tr-ellipsoid")
sfn_series = MethodCallable("sfn-series")
sfn_lanczos = MethodCallable("sfn-lanczos")
sfn_exact = MethodCallable("sfn-exact")
new_q_newton = MethodCallable("new-q-newton")
ogr = MethodCallable("ogr")
gd_armijo = MethodCallable("gd-armijo")
gd = MethodCallable("gd")
adam = MethodCallable("adam")


def show_options(method: Any = None, disp: bool = True) -> str | None:
    """Show the options of a method: name, default, meaning.

    Parameters
    ----------
    method : str, callable or Method, optional
        One of negopt's methods, as `minimize` takes it; None shows all.  SciPy's names
        go to `scipy.optimize.show_options`.
    disp : bool, default True
        Print the text; False returns it instead.

    Returns
    -------
    str or None
    """
    own = "" if method is None else own_method(method, False)
    if own is None:
        from scipy.optimize import show_options as scipy_show_options

        text: str | None = scipy_show_options("minimize", method, disp)
        return text
    if isinstance(own, Method):
        shown = [own]
    else:
        shown = [METHODS[own]] if own else list(METHODS.values())
    lines = []
    for each in shown:
        lines += [f"{each.name}: {each.summary}", ""]
        rows = option_table([*each.parts])
        lines += [f"  {n:<22} {d:<10} {doc}" for n, d, doc in rows]
        lines += [f"  variant={name!r}: {settings}" for name, settings in each.variant_table()]
        lines += ["", "  common to all methods", ""]
        lines += [f"  {n:<22} {d:<10} {doc}" for n, d, doc in option_table([RunOptions])]
        lines.append("")
    text = "\n".join(lines)
    if not disp:
        return text
    import sys

    sys.stdout.write(text + "\n")
    return None
