"""From one batch to the next: the point stays, f and its derivatives change."""

from __future__ import annotations

from negopt.core.types import State, Status
from negopt.diagnostics.derivatives import ObjectiveLike
from negopt.solver.loop import Solver
from negopt.solver.resume import change_function

#: What ends a run on batches too; every other status is about one batch.
FINAL = (Status.LIMIT, Status.NONFINITE, Status.UNBOUNDED)


def switch_batch(
    solver: Solver, state: State, fun: ObjectiveLike, *, evaluate: bool = True
) -> None:
    """Continue with another objective, `fun`, from the same point.

    What depends on values of f is forgotten, as `change_function` has it; pairs, radius or search
    length, and counts stay.  Without `evaluate` f and g too are those of the batch before; the
    next trial is then the first point that is evaluated on the new batch.

    Where a budget does not allow the evaluation, BudgetExhausted leaves the state as it was.
    """
    objective = solver.objective
    objective.rebind(fun)
    here = objective.at(state.iterate.x) if evaluate else state.iterate
    change_function(state, here)
    objective.best = here
