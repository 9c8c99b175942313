"""The one compiled loop, for objectives written with ``numba.njit``, and batches of them.

It serves ``lbfgs-wolfe`` and ``dqn-wolfe-pm``; whether it takes a run depends on what was given,
and never on what is compiled already.  Its decisions are those of `negopt.decisions`, compiled
from the same source; what is rare it hands to `negopt.solver.loop`, with the state of the run.
`kernel` is the loop, which works in a `layout`: `directions`, `trials` and the check of
`curvature_check`, on the vectors and matrices of `linear`.  `jitted` is the user's functions.  The
host's side are `memory` for the models, `run` for one problem and `rows` for many.

Nothing here imports Numba before it is known that an objective was jitted.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING

import numpy as np

from negopt.core.arrays import Array, is_plain
from negopt.core.method import Method
from negopt.core.options import RunOptions
from negopt.functions.objective import Objective

if TYPE_CHECKING:
    from negopt.compiled.rows import Rows
    from negopt.compiled.run import Run, Setting
    from negopt.core.types import State
    from negopt.solver.loop import Solver

__all__ = ["rows_for", "run_for"]

#: One compilation at a time: the second of two threads finds what the first has made.
_LOCK = threading.Lock()


def run_for(solver: Solver, state: State) -> Run | None:
    """Return what makes a run's iterations in compiled code; None where the array code does.

    The time of a compilation does not count against the run's budget.
    """
    objective = solver.objective
    if not is_plain(state.iterate.x) or solver.difference is not None:
        return None
    setting = _setting(solver.method, solver.run, objective, objective.args)
    if setting is None:
        return None
    from negopt.compiled.run import Run

    return Run(solver, setting)


def rows_for(
    method: Method,
    run: RunOptions,
    objective: Objective,
    starts: Array,
    each: tuple[Array, ...],
    common: tuple[object, ...],
) -> Rows | None:
    """Return what solves a batch in compiled code; None where `minimize` solves each problem."""
    if not all(type(a) is np.ndarray for a in (starts, *each)) or starts.dtype != np.float64:
        return None
    if run.maxfun is not None or run.maxtime is not None:
        return None
    setting = _setting(method, run, objective, common, each)
    if setting is None or (run.certify and run.certify_products != 0 and not setting.check):
        return None
    from negopt.compiled.rows import Rows

    return Rows(setting, starts)


def _is_jitted(*functions: object) -> bool:
    numba = sys.modules.get("numba.core.dispatcher")  # without it nothing was
    if numba is None or os.environ.get("NEGOPT_DISABLE_JIT", "0").lower() not in ("", "0", "false"):
        return False
    return all(isinstance(f, numba.Dispatcher) for f in functions if f is not None)


def _setting(
    method: Method,
    run: RunOptions,
    objective: Objective,
    args: tuple[object, ...],
    each: tuple[Array, ...] = (),
) -> Setting | None:
    """Return what a run or a batch has to know, everything compiled; None for the array code."""
    functions = objective.functions()
    if functions is None or run.compiled is False or not _is_jitted(*functions):
        return None
    if run.xrtol > 0.0 or run.norm not in (2, np.inf):
        return None
    from negopt.compiled.memory import adapter_for

    adapter = adapter_for(method)
    if adapter is None:
        return None
    begun = time.monotonic()
    with _LOCK:
        from negopt.compiled.jitted import target
        from negopt.compiled.kernel import KERNEL
        from negopt.compiled.run import Setting

        made = target(*functions, args, objective.n, each)
        if made is not None:
            KERNEL.compile()
    objective.grant(time.monotonic() - begun)
    return None if made is None else Setting(method, run, objective, adapter, made)
