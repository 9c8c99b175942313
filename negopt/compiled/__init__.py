"""The one compiled loop, for objectives written with ``numba.njit``, and batches of them.

It serves ``lbfgs-wolfe`` and ``dqn-wolfe-pm``; whether it takes a run depends on what was given, and
never on what is compiled already.  Its decisions are those of `negopt.decisions`, compiled from
the same source; what is rare it hands to `negopt._solver`, with the state of the run.  `kernel` is
the loop, `linear` its vectors and matrices, `jitted` the user's functions, `memory` the models in and
out, `run` and `rows` the host's side for one problem and many.

Nothing here imports Numba before it is known that an objective was jitted.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from negopt._array import is_plain
from negopt._method import Method
from negopt._objective import Objective
from negopt._options import RunOptions

if TYPE_CHECKING:
    from negopt._solver import Solver
    from negopt._types import State
    from negopt.compiled.jitted import Target
    from negopt.compiled.memory import Adapter
    from negopt.compiled.rows import Rows
    from negopt.compiled.run import Run

__all__ = ["is_jitted", "rows_for", "run_for"]

#: One compilation at a time: the second of two threads finds what the first has made.
_LOCK = threading.Lock()


def is_jitted(*functions: Any) -> bool:
    """Tell whether all are decorated with ``numba.njit`` or ``numba.jit``, None aside."""
    if "numba.core.dispatcher" not in sys.modules:
        return False  # without Numba nothing was
    if os.environ.get("NEGOPT_DISABLE_JIT", "0").lower() not in ("", "0", "false"):
        return False
    kind = sys.modules["numba.core.dispatcher"].Dispatcher
    return all(isinstance(f, kind) for f in functions if f is not None)


def run_for(solver: Solver, state: State) -> Run | None:
    """Return what makes a run's iterations in compiled code; None where the array code does.

    The time of a compilation does not count against the run's budget.
    """
    objective = solver.objective
    if not is_plain(state.iterate.x) or solver.difference is not None:
        return None
    found = _compiled(solver.method, solver.run, objective, objective.args, objective.n)
    if found is None:
        return None
    from negopt.compiled.run import Run

    return Run(solver, *found)


def rows_for(
    method: Method,
    run: RunOptions,
    objective: Objective,
    starts: Any,
    each: tuple[Any, ...],
    common: tuple[Any, ...],
) -> Rows | None:
    """Return what solves a batch in compiled code; None where `minimize` solves each problem."""
    if type(starts) is not np.ndarray or starts.dtype != np.float64:
        return None
    if not all(type(a) is np.ndarray for a in each):
        return None
    if run.maxfun is not None or run.maxtime is not None:
        return None
    n = int(starts.shape[1])
    if run.certify and run.certify_products > 0 and n > check_size(run, n):
        return None
    found = _compiled(method, run, objective, common, n, each)
    if found is None:
        return None
    from negopt.compiled.rows import Rows

    adapter, target = found
    return Rows(adapter, method, run, objective, target, starts)


#: Up to here the Hessian is formed in full, in compiled code, where its products allow it.
WHOLE = 64


def check_size(run: RunOptions, n: int) -> int:
    """Return n where the second-order check is made in compiled code, else 0."""
    wanted = run.certify and run.maxfun is None and run.maxtime is None
    return n if wanted and n <= min(WHOLE, run.certify_products) else 0


def _compiled(
    method: Method,
    run: RunOptions,
    objective: Objective,
    args: tuple[Any, ...],
    n: int,
    each: tuple[Any, ...] = (),
) -> tuple[Adapter, Target] | None:
    """Return the adapter of the method and the objective for the kernel, compiled, or None."""
    functions = objective.functions()
    if run.compiled is False or run.xrtol > 0.0 or run.norm not in (2, np.inf):
        return None
    if functions is None or functions[2] == "cs" or not is_jitted(*functions[:2]):
        return None
    from negopt.compiled.memory import adapter_for

    adapter = adapter_for(method)
    if adapter is None:
        return None
    begun = time.monotonic()
    with _LOCK:
        from negopt.compiled.jitted import target
        from negopt.compiled.kernel import KERNEL

        made = target(*functions, args, n, each)
        if made is not None:
            KERNEL.compile()
    objective.grant(time.monotonic() - begun)
    return None if made is None else (adapter, made)
