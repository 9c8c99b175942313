"""From one batch to the next: the point stays, f and its derivatives change."""

from __future__ import annotations

import dataclasses
import math

from negopt.core.types import Certificate, State, Status
from negopt.diagnostics.derivatives import ObjectiveLike
from negopt.solver.loop import Solver

#: What ends a run on batches too; every other status is about one batch.
FINAL = (Status.LIMIT, Status.NONFINITE, Status.UNBOUNDED)


def switch_batch(
    solver: Solver, state: State, fun: ObjectiveLike, *, evaluate: bool = True
) -> None:
    """Continue with another objective, `fun`, from the same point.

    What depends on values of f is forgotten: the lowest value so far, trials without progress,
    the status of the batch before.  Pairs, radius or search length, and counts stay.  Without
    `evaluate` f and g too are those of the batch before; the next trial is then the first point
    that is evaluated on the new batch.

    Where a budget does not allow the evaluation, BudgetExhausted leaves the state as it was.
    """
    objective = solver.objective
    objective.rebind(fun)
    here = objective.at(state.iterate.x) if evaluate else state.iterate
    forget_values(state.globalize)
    forget_values(state.memory)
    state.iterate = state.best = objective.best = here
    state.stalled, state.stalled_f, state.stalled_gmax = 0, math.nan, math.nan
    state.resets, state.straight = 0, 0
    state.certificate = Certificate()
    state.status, state.message = None, ""


def forget_values(part: object) -> None:
    """Set what belongs to f itself (metadata ``"value"``) back to its default."""
    if not dataclasses.is_dataclass(part):  # the state of a user's own method may be anything
        return
    for f in dataclasses.fields(part):
        if f.metadata.get("value"):
            setattr(part, f.name, f.default)
        else:
            forget_values(getattr(part, f.name))
