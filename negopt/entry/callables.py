"""Every method as a callable of its own, and the list of its options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from negopt.core.arrays import Array
from negopt.core.options import RunOptions, option_table
from negopt.core.types import Given, UserFunction
from negopt.entry.box import bounds_nothing, box_of, minimize_within, passed_by_scipy
from negopt.entry.minimize import has_constraints, minimize, own_method, solve
from negopt.methods import METHODS, Method

if TYPE_CHECKING:
    import numpy.typing as npt
    from scipy.optimize import OptimizeResult


class MethodCallable:
    """One method under SciPy's custom-method protocol."""

    def __init__(self, name: str) -> None:
        self.negopt_method = name
        self.__name__ = name.replace("-", "_")
        self.__doc__ = (
            f"Minimise with method {name!r}: {METHODS[name].summary}.\n\n"
            "Use as ``scipy.optimize.minimize(..., method=negopt."
            f"{self.__name__})``, also inside ``basinhopping``, ``dual_annealing`` and "
            "``shgo``, or call it as\n"
            "``method(fun, x0, args=(), jac=None, hess=None, hessp=None, callback=None, "
            "**options)``."
        )

    def __call__(  # noqa: D102 - the class says it, and SciPy's protocol
        self,
        fun: Given,
        x0: npt.ArrayLike,
        args: object = (),
        jac: Given = None,
        hess: Given = None,
        hessp: UserFunction | None = None,
        bounds: object = None,
        constraints: object = (),
        callback: Callable[..., object] | None = None,
        tol: float | None = None,
        **options: object,
    ) -> OptimizeResult:
        name = self.negopt_method

        def run(fun: Given, x0: Array, jac: Given) -> OptimizeResult:
            return solve(fun, x0, args, name, jac, hess, hessp, tol, callback, options)

        if has_constraints(constraints) or not bounds_nothing(bounds):
            box = None if has_constraints(constraints) else box_of(bounds)
            if box is None or not passed_by_scipy():
                return minimize(fun, x0, method=name, bounds=bounds, constraints=constraints)
            given = args if isinstance(args, tuple) else (args,)
            return minimize_within(run, name, fun, np.asarray(x0), given, jac, box)
        return run(fun, x0, jac)

    def lower(self) -> str:
        """Return SciPy's word for methods of others: `scipy.optimize.shgo` asks for it."""
        return "_custom"

    def __repr__(self) -> str:
        return f"<negopt method {self.negopt_method!r}>"


def callables() -> Mapping[str, str]:
    """Return the Python name of every method's callable, and the method's own."""
    return {name.replace("-", "_"): name for name in METHODS}


def __getattr__(name: str) -> MethodCallable:
    method = callables().get(name)
    if method is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()[name] = MethodCallable(method)
    return made


def __dir__() -> list[str]:
    return sorted({*globals(), *callables()})


def show_options(
    method: str | Callable[..., object] | Method | None = None, disp: bool = True
) -> str | None:
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
    common = _option_lines(option_table([RunOptions]))
    lines = []
    for each in shown:
        lines += [f"{each.name}: {each.summary}", "", *_option_lines(option_table(each.parts))]
        lines += [f"  variant={name!r}: {settings}" for name, settings in each.variant_table()]
        lines += ["", "  common to all methods", "", *common, ""]
    text = "\n".join(lines)
    if not disp:
        return text
    import sys

    sys.stdout.write(text + "\n")
    return None


def _option_lines(rows: list[tuple[str, str, str]]) -> list[str]:
    return [f"  {name:<22} {default:<10} {doc}" for name, default, doc in rows]
