"""The fused engine: all that a method does between two evaluations, in one call.

`advance` takes f and g at the trial point and returns what is wanted next.  It holds the
common path of a few rows of the table; whatever is rare (a stopping test that holds, a
step that fails, a budget) it hands back to `negopt._solver`, which is the reference: the
same formulas on any array library.  ``tests/test_fused.py`` holds the two together.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from negopt.kernels import work as w
from negopt.kernels._jit import jit_lean, jit_whole
from negopt.kernels.dense import S, Y, aim_dense, learn_dense, settle_direction
from negopt.kernels.limited import aim_rows, learn_pair, refresh_products
from negopt.kernels.line import begin_search, judge_search
from negopt.kernels.region import begin_region, judge_region
from negopt.kernels.work import Work, cut, over, stalled

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]

#: As `negopt._types.STALL`; a test compares them.
PATIENCE = 100


@jit_whole
def advance(
    f: float, g: FloatArray, buffer: FloatArray, rows: FloatArray, gram: FloatArray, ints: IntArray
) -> int:
    """Take f and g at the trial point and go on to the next one.

    Parameters
    ----------
    f : float
    g : array, shape (n,)
        At row ``2 * ints[TRIAL]`` of the vectors; ignored in the first call.
    buffer, rows, gram, ints : array
        The parts of `negopt.kernels.work.Work`, before they are cut.

    Returns
    -------
    int
        ``EVALUATE``, or why the engine hands back: ``PAUSE`` (as many iterations as were asked
        for), ``STOP`` (a stopping test holds), ``GAVE_UP`` (no progress in many trials), or
        the reason why the method is stuck.
    """
    work = cut(buffer, rows, gram, ints)
    if ints[w.PHASE] == 1:
        if ints[w.RULE] == w.REGION:
            task = judge_region(f, g, work)
        else:
            task = judge_search(f, g, work)
            if task == w.EVALUATE:
                return task
            task = conclude_search(work) if task == w.PAUSE else fail(work, task)
        if task != w.PAUSE:
            return task
        if stalled(work, PATIENCE):
            return w.GAVE_UP
        if over(work):
            return w.STOP
        if ints[w.K] >= ints[w.PAUSE_AT]:
            return w.PAUSE
    ints[w.PHASE] = 1
    return propose(work)


@jit_lean
def propose(work: Work) -> int:
    """Form the next trial from the iterate."""
    ints = work.ints
    work.reals[w.BEST_BEFORE] = work.points[ints[w.BEST], w.F]
    if ints[w.MODEL] == w.DENSE:
        aim_dense(work)
    else:
        if ints[w.KNOWN_PRODUCTS] == 0:
            refresh_products(work)
            ints[w.KNOWN_PRODUCTS] = 1
        if ints[w.RULE] == w.REGION:
            task = begin_region(work)
            return fail(work, task) if task == w.NO_DECREASE else task
        if not aim_rows(work):
            return w.RARE
    settle_direction(work)
    task = begin_search(work)
    return task if task == w.EVALUATE else fail(work, task)


@jit_lean
def fail(work: Work, task: int) -> int:
    """Count an iteration that led nowhere."""
    work.ints[w.K] += 1
    work.ints[w.ACCEPTED] = 0
    work.ints[w.REJECTED] += work.ints[w.TRIALS]
    work.ints[w.SKIPPED] += work.ints[w.NEWEST_SKIPPED]
    return task


@jit_lean
def conclude_search(work: Work) -> int:
    """Learn from the accepted point and move there."""
    ints = work.ints
    here, point = ints[w.ITERATE], ints[w.KEPT]
    x, x_new = work.vectors[2 * here], work.vectors[2 * point]
    moved = False
    for i in range(x.shape[0]):
        if x_new[i] != x[i]:
            moved = True
            break
    if ints[w.MODEL] == w.DENSE:
        learnt = learn_dense(work, here, point)
    else:
        learnt = learn_pair(work, here, point, point)
    if not learnt:
        ints[w.SKIPPED] += 1
    if not moved:
        return fail(work, w.NOT_MOVED)
    ints[w.K] += 1
    ints[w.ACCEPTED] = 1
    ints[w.REJECTED] += ints[w.TRIALS] - 1
    ints[w.RESETS] = 0
    ints[w.NEGATIVE] += ints[w.NEGATED]
    ints[w.ITERATE] = point
    ints[w.MOVED] = 1
    ints[w.KEPT] = -1
    ints[w.SKIPPED] += ints[w.NEWEST_SKIPPED]
    return w.PAUSE
