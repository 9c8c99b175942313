"""Jitted objectives in the fused engine: evaluations without Python in between."""

from __future__ import annotations

import time
from typing import Any

from negopt._compiled import Compiled, compiled
from negopt._fused.evaluate import parts
from negopt._objective import Objective
from negopt.kernels import work as w
from negopt.kernels._jit import is_compiled
from negopt.kernels.objective import GRADIENTS, OK, STATUS, VALUES

__all__ = ["Native", "native_for"]

#: Seconds after which compiled code comes back, so that Ctrl-C and ``maxtime`` are seen to.
SLICE = 0.02


def native_for(objective: Objective, advance: Any, now: bool) -> Native | None:
    """Return what drives the objective in compiled code, None where it is called from Python.

    Unless it has to be `now`, a loop that is not on disk yet is not compiled for it.
    """
    from negopt.kernels.drive import DRIVES

    given = parts(objective)
    if not (now or is_compiled(DRIVES[advance])):
        return None
    target = None if given is None else compiled(given, objective.args, objective.n)
    return None if target is None else Native(objective, target)


class Native:
    """Drives the engine and a jitted objective together, a slice of time after another.

    Parameters
    ----------
    objective : Objective
        Keeps the counts and the budgets.
    target : Compiled
    """

    def __init__(self, objective: Objective, target: Compiled) -> None:
        self.objective, self.target = objective, target
        self.slice = 1  # evaluations that are made at a time: as many as fit into SLICE

    def run(
        self, task: int, advance: Any, evaluate: Any, places: list[Any], buffers: tuple[Any, ...]
    ) -> int:
        """Go on until the engine hands back.

        Raises
        ------
        BudgetExhausted
            With the trial point not evaluated.
        Exception
            What the objective raised, by calling it again from Python.
        """
        from negopt.kernels.drive import DRIVES, SPENT

        drive: Any = DRIVES[advance]
        head, objective = self.target.head, self.objective
        while task == w.EVALUATE:
            begun, values, gradients = time.perf_counter(), int(head[VALUES]), int(head[GRADIENTS])
            calls = min(self.slice * objective.evaluation_cost, objective.allowance())
            limit = values + calls
            task = int(drive(self.target.address, head, *buffers, limit))
            objective.spend(int(head[VALUES]) - values, int(head[GRADIENTS]) - gradients)
            if task == SPENT:
                task = w.EVALUATE
                elapsed = time.perf_counter() - begun
                # From one evaluation to as many as fit, carefully: the first may be a fast one.
                most = 64 * self.slice
                self.slice = max(min(int(self.slice * SLICE / max(elapsed, 1e-9)), most), 1)
            elif task == w.RAISED:
                head[STATUS] = OK
                task = int(advance(*evaluate(places[buffers[-1][w.TRIAL]]), *buffers))
        return task
