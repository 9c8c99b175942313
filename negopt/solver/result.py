"""SciPy's result class, for the end of a run and for callbacks."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np

from negopt.core.arrays import Array, copy_of
from negopt.core.types import Counters, Iterate, Outcome, State, Status

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

Notify = Callable[[State, Outcome | None, float], None]


class Sources(Protocol):
    """Where the derivatives came from."""

    product_source: str

    @property
    def gradient_source(self) -> str:
        """Where gradients come from."""


def notifier(callback: Callable[..., object] | None) -> Notify | None:
    """Return a function that calls `callback` by SciPy's rule, or None without one."""
    if callback is None:
        return None
    if not callable(callback):
        raise TypeError(f"callback={callback!r} is not callable.")
    try:
        names = set(inspect.signature(callback).parameters)
    except (TypeError, ValueError):
        names = set()
    wants_result = names == {"intermediate_result"}

    def notify(state: State, outcome: Outcome | None, step_norm: float) -> None:
        x = copy_of(state.iterate.x)
        if wants_result:
            callback(intermediate_result=_intermediate(state, outcome, step_norm, x))
        else:
            callback(x)

    return notify


def _intermediate(
    state: State, outcome: Outcome | None, step_norm: float, x: Array
) -> OptimizeResult:
    """Return what a callback is shown of one iteration."""
    from scipy.optimize import OptimizeResult

    counters = state.counters
    result = OptimizeResult(
        x=x,
        fun=state.iterate.f,
        jac=copy_of(state.iterate.g),
        nit=state.k,
        nfev=counters.nfev,
        njev=counters.njev,
        nhev=counters.nhev,
        step_norm=step_norm,
        time=state.elapsed,
        min_curvature=math.nan if outcome is None else outcome.min_curvature,
    )
    if outcome is not None:
        result.update(rho=outcome.rho, accepted=outcome.accepted)
        if math.isfinite(outcome.radius):
            result.tr_radius = outcome.radius
        if math.isfinite(outcome.step_size):
            result.step_size = outcome.step_size
    return result


#: Fields of a result that count.
COUNTS = tuple(f.name for f in dataclasses.fields(Counters))


def wrap(state: State, point: Iterate, objective: Sources) -> OptimizeResult:
    """Return SciPy's result class for the final state."""
    from scipy.optimize import OptimizeResult

    status = state.status if state.status is not None else Status.LIMIT
    result = OptimizeResult(
        x=copy_of(point.x),
        fun=point.f,
        jac=copy_of(point.g),
        success=status.success,
        status=int(status),
        message=state.message,
        nit=state.k,
        min_curvature=state.certificate.min_curvature,
        curvature_status=state.certificate.status,
        method=state.method,
        jac_source=objective.gradient_source,
        hess_source=objective.product_source,
        state=state,
        **{name: getattr(state.counters, name) for name in COUNTS},
    )
    if state.history is not None:
        result.history = {name: np.asarray(values) for name, values in state.history.items()}
    return result
