"""From one batch to the next: the point stays, f and its derivatives change."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from negopt._objective import Objective
from negopt._solver import Solver
from negopt._types import Certificate, State, Status

__all__ = ["BatchObjective", "forget_values", "turn"]

#: What ends a run on batches too; every other verdict is about one batch.
FINAL = (Status.LIMIT, Status.NONFINITE, Status.UNBOUNDED)


class BatchObjective(Objective):
    """The door to the user's functions, which are those of another batch from time to time."""

    def turn(self, fun: Any) -> None:
        """Call the functions of `fun` from now on; counts and budgets go on."""
        self._set_function(fun, None)
        self._set_products(fun, None, None)
        self._at = self.best = None


def turn(solver: Solver, state: State, fun: Any, *, evaluate: bool = True) -> None:
    """Go on with another objective from the same point.

    Parameters
    ----------
    solver : Solver
        Its objective is a `BatchObjective`.
    state : State
        Keeps memory, radius or search length, and counts.
    fun : object
        The objective of the next batch.
    evaluate : bool, default True
        False leaves f and g at the point those of the batch before, where the next trial is
        the first point on the new batch.

    Raises
    ------
    BudgetExhausted
        When a budget does not allow the evaluation; the state is then as it was.

    Notes
    -----
    What compares values of f with each other is forgotten: the lowest value so far, trials
    without progress, a verdict on the batch before.  Pairs stay: each is of one batch.
    """
    objective = solver.objective
    assert isinstance(objective, BatchObjective)
    objective.turn(fun)
    here = objective.at(state.iterate.x) if evaluate else state.iterate
    forget_values(state.globalize)
    forget_values(state.memory)
    state.iterate = state.best = objective.best = here
    state.stalled, state.stalled_gmax, state.resets = 0, math.nan, 0
    state.certificate = Certificate()
    state.status, state.message = None, ""


def forget_values(part: Any) -> None:
    """Set what belongs to f itself (metadata ``"value"``) back to its default."""
    if not dataclasses.is_dataclass(part):  # a user's own method may keep what it likes
        return
    for f in dataclasses.fields(part):
        if f.metadata.get("value"):
            setattr(part, f.name, f.default)
        else:
            forget_values(getattr(part, f.name))
