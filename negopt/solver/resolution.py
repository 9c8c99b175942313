"""What a gradient by differences tells, and where a better one is taken."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from negopt.core.arrays import Array, dot, scalars, to_host
from negopt.core.types import BudgetExhausted, Iterate, Outcome, State, Status
from negopt.decisions.endings import CREEPS, FEWER
from negopt.functions.objective import Objective
from negopt.functions.taken import FORWARD, MEASURED, Differences
from negopt.methods import Method


@dataclass(frozen=True, slots=True)
class Resolution:
    """A gradient by differences, beside its error.

    Attributes
    ----------
    size : float
        Norm of the components that are larger than their error.
    error : float
        Largest error of a component.
    source : str
        What the differences are.
    trusted : bool
        Whether a gradient of zero says that the point is stationary.
    adaptive : bool
        Whether the steps are chosen as a run goes.
    """

    size: float
    error: float
    source: str
    trusted: bool
    adaptive: bool = False

    @property
    def known(self) -> str:
        """How accurate the gradient is, in words."""
        return f"{self.source} resolve the gradient to {self.error:.2g}"

    def judged(self, what: str, whole: float, gtol: float, name: str) -> tuple[Status, str]:
        """Return what a small gradient means; `what` says its norm, which is `whole`."""
        if not self.trusted:
            hint = "Pass jac, take a constant off fun that hides its changes, or start elsewhere."
            if not self.adaptive:
                hint = (
                    "Leave out jac, eps and finite_diff_rel_step for steps that are balanced "
                    "between the noise and the curvature of fun, or pass jac."
                )
            # No figure of the gradient: the lowest point, which is reported, may be another.
            return Status.PRECISION, (
                f"Stopped where the gradient is no more than its error or {name} = {gtol:.3g}, "
                f"but {self.known} alone: it says nothing. {hint}"
            )
        done = "Optimization terminated successfully"
        if whole <= gtol:
            return Status.CONVERGED, f"{done}: {what} <= {name} = {gtol:.3g}; {self.known}"
        return Status.CONVERGED, (
            f"{done}: {what} is zero as far as differences tell, {name} = {gtol:.3g} being below "
            f"that: {self.known}"
        )


def told_at(
    objective: Objective, iterate: Iterate, order: float, gtol: float = 0.0, first: float = 0.0
) -> Resolution | None:
    """Return what the gradient at a point tells; None where it is not by differences.

    `first` is the gradient at the start.
    """
    taken = objective.differences
    if taken is None:
        return None
    errors, g = taken.errors(iterate), np.abs(to_host(iterate.g))
    told = np.where(g > errors, g, 0.0)
    size = float(np.linalg.norm(told, order)) if np.all(np.isfinite(g)) else math.inf
    error = float(np.max(errors))
    known = not size <= gtol or taken.trusts(iterate, gtol, first)
    return Resolution(size, error, taken.source, known, adaptive=taken.adaptive)


def go_on(objective: Objective, state: State) -> None:
    """Let the differences of a run that begins, or goes on, and its state know of each other."""
    if objective.differences is not None:
        objective.differences.go_on(state)


def sharpened(objective: Objective, state: State, method: Method | None = None) -> bool:
    """Go on from the iterate with a better gradient, where differences can give one.

    With the `method` of a run that could not go on, its model is forgotten where the noise of f
    was another than it had been taken for: it is made of pairs that were noise.
    """
    better = objective.sharper(state.iterate)
    if better is None or objective.differences is None:
        return False
    if method is not None and objective.differences.state.stage == MEASURED:
        method.curvature.reset(state.memory)
        state.globalize = method.globalize.init(better)
    state.iterate = better
    state.stalled, state.stalled_f, state.stalled_gmax = 0, better.f, math.nan
    return True


def resolve(objective: Objective, state: State, gtol: float) -> None:
    """Take better differences where those at hand do not tell whether the run is over."""
    taken = objective.differences
    try:
        while taken is not None and taken.is_doubtful(state.iterate, gtol):
            if not sharpened(objective, state):
                return
    except BudgetExhausted as error:
        state.status, state.message = Status.LIMIT, f"{error.message}."


def learnt(taken: Differences, here: Iterate, trial: Iterate, s: Array, outcome: Outcome) -> bool:
    """Tell whether the pair of a step is more than the error of its gradients, and learn of it."""
    y = trial.g - here.g
    if outcome.accepted:
        taken.learn(trial, s, y)
    return taken.tells_pair(here, s, scalars(dot(s, y))[0], _expected(outcome))


def _expected(outcome: Outcome) -> float:
    """Return ``|s'Bs|`` of the step that was taken, with the run's model B."""
    step, size = outcome.step, outcome.step_size
    if step is None:
        return 0.0
    length = 1.0 if math.isnan(size) else size
    bent = step.slope if math.isnan(step.quadratic) else step.quadratic
    return abs(bent) * length * length


def followed(objective: Objective, state: State, here: Iterate, outcome: Outcome) -> None:
    """Turn to better differences after a step whose slope was not more than the error of g."""
    taken, step = objective.differences, outcome.step
    if taken is None or taken.central or step is None or state.status is not None:
        return
    if not taken.tells_slope(here, step.s, step.slope):
        sharpened(objective, state)


def to_beat(taken: Differences, best: Iterate) -> tuple[float, int]:
    """Return the value below which a point is progress, and after how many without it to end."""
    fall = CREEPS * abs(best.f)
    if taken.state.stage > FORWARD:  # the noise has been measured
        fall = max(fall, taken.noise(best))
    return best.f - fall, FEWER
