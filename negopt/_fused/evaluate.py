"""The objective as compiled code meets it: called from Python, or as the user's own functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from negopt._given import checked_pair
from negopt._objective import Objective

__all__ = ["evaluator", "parts"]


def evaluator(objective: Objective) -> Callable[[Any], tuple[float, Any]] | None:
    """Return ``x -> (f, g)`` for compiled code, counted and checked as by `Objective.at`.

    x is a float64 NumPy array, and so is g, C-contiguous; where f is not finite g may be
    anything.  None where a HessianUpdateStrategy has to see each pair.
    """
    if objective._strategy is not None:
        return None
    counters, args, both, shape = (
        objective.counters,
        objective.args,
        objective._both,
        (objective.n,),
    )
    value, gradient, cost = objective._value, objective._gradient, objective.evaluation_cost
    limited = objective.maxfun < math.inf or objective.maxtime < math.inf
    array, float64, scalar = type(objective.x0), objective.x0.dtype, objective.x0.dtype.type

    def evaluate(x: Any) -> tuple[float, Any]:
        if limited:
            objective._require(cost)
        if both is None and gradient is None:
            f = objective._call_value(x)
            return f, objective._call_gradient(x, f) if math.isfinite(f) else x
        counters.nfev += 1
        objective._spent += 1
        if both is not None:
            counters.njev += 1
            pair = both(x.copy(), *args)
            f, g = pair if type(pair) is tuple and len(pair) == 2 else checked_pair(pair)
        else:
            f = value(x.copy(), *args)
        if type(f) is not float:  # a float64 of NumPy's is the usual other one
            f = float(f) if type(f) is scalar else objective._as_value(f)
        if both is None:
            if not math.isfinite(f):
                return f, x
            counters.njev += 1
            g = gradient(x.copy(), *args)  # type: ignore[misc]
        if not (
            type(g) is array
            and g.dtype == float64
            and g.shape == shape
            and g.flags.carray  # N.B. read-only or unaligned ones are types of their own
        ):
            g = objective._as_gradient(g).copy()
        return f, g

    return evaluate


def parts(objective: Objective) -> tuple[Any, Any, str] | None:
    """Return what gives f or the pair (f, g), what gives g, the scheme of differences.

    None where more than these is needed: steps of the user's, or pairs for a strategy.
    """
    if objective._strategy is not None:
        return None
    if objective._both is not None:
        return objective._both, None, ""
    if objective.scheme is None:
        return objective._value, objective._gradient, ""
    if any(step is not None for step in objective._steps):  # N.B. either may be an array
        return None
    return objective._value, None, objective.scheme
