"""Bounds: those that bound nothing, and those that SciPy's global optimisers pass by themselves.

`negopt`'s methods are unconstrained.  `scipy.optimize.shgo` and ``differential_evolution`` hand
the box of their search to whatever local method they are given, and `dual_annealing` those that
it was told to; there a run keeps to the inside of the box, and where the box holds it SciPy's
L-BFGS-B finishes it along the walls.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from negopt.core.arrays import FloatArray
from negopt.core.types import Given, Status, UserFunction

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

#: A start closer to a wall than this share of the box is moved inwards, so that differences
#: have room.
MARGIN = 1e-4

#: Differences need a box that is wider than this share of x.
ROOM = 1e-2

#: Ends at which a wall may have held the run.
_HELD = (Status.PRECISION, Status.NONFINITE, Status.SADDLE)


def bounds_nothing(bounds: object) -> bool:
    """Tell whether there are no bounds, or infinite ones only."""
    if bounds is None:
        return True
    box = box_of(bounds)
    return box is not None and all(np.isinf(side).all() for side in box) and box[0].size > 0


def box_of(bounds: object) -> tuple[FloatArray, FloatArray] | None:
    """Return lower and upper bounds, of ``Bounds`` or of pairs; None where it is neither."""
    try:
        if hasattr(bounds, "lb") and hasattr(bounds, "ub"):
            lower, upper = np.broadcast_arrays(bounds.lb, bounds.ub)
        else:
            pairs = np.array(bounds, dtype=object)
            if pairs.ndim != 2 or pairs.shape[1] != 2:
                return None
            lower = np.array([-np.inf if low is None else low for low, _ in pairs])
            upper = np.array([np.inf if high is None else high for _, high in pairs])
        return np.array(lower, dtype=float).ravel(), np.array(upper, dtype=float).ravel()
    except (TypeError, ValueError):
        return None


def passed_by_scipy() -> bool:
    """Tell whether a global optimiser of SciPy is what calls, and no user by `minimize`."""
    frame = sys._getframe(1)
    while frame.f_back is not None and _module(frame.f_globals).startswith(
        ("negopt.", "scipy.optimize._minimize")
    ):
        frame = frame.f_back
    return _module(frame.f_globals).startswith("scipy.")


def _module(names: Mapping[str, object]) -> str:
    return str(names.get("__name__", ""))


class Walls:
    """The user's function inside a box, and infinity outside, where it is never called."""

    def __init__(self, fun: UserFunction, lower: FloatArray, upper: FloatArray) -> None:
        self._fun, self._lower, self._upper = fun, lower, upper
        self.refused = 0

    def outside(self, x: FloatArray) -> bool:
        """Tell whether x is not in the box."""
        return not bool(np.all((x >= self._lower) & (x <= self._upper)))

    def __call__(self, x: FloatArray, *args: object) -> object:
        """Return what the user's function gives at x."""
        if self.outside(x):
            self.refused += 1
            return np.inf
        return self._fun(x, *args)

    def both(self, x: FloatArray, *args: object) -> object:
        """Return value and gradient."""
        return (self(x), np.full_like(x, np.nan)) if self.outside(x) else self._fun(x, *args)

    def gradient(self, jac: UserFunction) -> UserFunction:
        """Return the gradient inside the box, nan outside."""
        return lambda x, *args: np.full_like(x, np.nan) if self.outside(x) else jac(x, *args)


def minimize_within(
    solve: Callable[[Given, FloatArray, Given], OptimizeResult],
    name: str,
    fun: UserFunction,
    x0: FloatArray,
    args: tuple[object, ...],
    jac: Given,
    box: tuple[FloatArray, FloatArray],
) -> OptimizeResult:
    """Minimise inside a box, by ``solve(fun, x0, jac)``, and along its walls by L-BFGS-B.

    **Guarantee**: `fun` is called inside the box alone, ``res.x`` lies in it, and ``res.fun`` is
    the value there; a point on a wall is a success only where SciPy says so of the bounded
    problem (``tests/test_global_optimisers.py``).
    """
    from scipy.optimize import Bounds
    from scipy.optimize._minimize import minimize as scipy_minimize

    lower, upper = box
    x0 = np.clip(np.asarray(x0, dtype=float).ravel(), lower, upper)
    walls, ours = Walls(fun, lower, upper), None
    given = jac is True or callable(jac)
    if np.all(upper - lower > (0.0 if given else ROOM * np.maximum(np.abs(x0), 1.0))):
        start = _inwards(x0, lower, upper)
        if callable(jac):
            ours = solve(walls, start, walls.gradient(jac))
        else:
            ours = solve(walls.both if jac is True else walls, start, jac)
        if not walls.refused or ours.status not in _HELD:
            return ours
        x0 = ours.x
    bounds = Bounds(lower, upper)
    theirs = scipy_minimize(fun, x0, args, "L-BFGS-B", jac=jac, bounds=bounds)
    if ours is not None:
        if not theirs.fun <= ours.fun:
            return ours
        for count in ("nfev", "njev", "nit"):
            theirs[count] += ours[count]
    theirs.message = f"The bounds held {name}; L-BFGS-B went on along them: {theirs.message}"
    return told(theirs, f"{name}, L-BFGS-B")


def _inwards(x: FloatArray, lower: FloatArray, upper: FloatArray) -> FloatArray:
    """Return x, or a point a little further from walls that are very close."""
    width = np.where(np.isinf(upper - lower), np.maximum(np.abs(x), 1.0), upper - lower)
    return np.clip(x, lower + MARGIN * width, upper - MARGIN * width)


def told(result: OptimizeResult, method: str) -> OptimizeResult:
    """Return a result of SciPy's with what every result of negopt says of itself."""
    result.method = method
    result.curvature_status, result.min_curvature = "not checked", np.nan
    return result
