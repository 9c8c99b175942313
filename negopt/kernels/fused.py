"""The fused engine: all that a method does between two evaluations, in one call.

An `advance` takes f and g at the trial point and returns what is wanted next.  It holds the
common path of a few rows of the table; whatever is rare (a stopping test that holds, a
step that fails, a budget) it hands back to `negopt._solver`, which is the reference: the
same formulas on any array library.  ``tests/fused`` holds the two together.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from negopt.kernels import work as w
from negopt.kernels._jit import jit_inline, jit_lean
from negopt.kernels.dense import aim_dense, learn_dense, settle_direction
from negopt.kernels.limited import (
    aim_bfgs,
    aim_rows,
    learn_pair,
    refresh_products,
    step_convex,
    step_sr1,
)
from negopt.kernels.line import begin_search, judge_search, same
from negopt.kernels.region import enter_region, judge_region, open_region
from negopt.kernels.work import Work, cut, over, stalled

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]

#: As `negopt._types.STALL`; a test compares them.
PATIENCE = 100
#: A new direction is wanted: no `advance` says this.
AIM = -1


@jit_inline
def fail(work: Work, task: int) -> int:
    """Count an iteration that led nowhere."""
    ints = work.ints
    ints[w.K] += 1
    ints[w.ACCEPTED] = 0
    ints[w.REJECTED] += ints[w.TRIALS]
    ints[w.SKIPPED] += ints[w.NEWEST_SKIPPED]
    return task


@jit_inline
def conclude_search(work: Work, point: int, learnt: bool) -> int:
    """Move to the accepted point, whose pair was learnt or not."""
    ints = work.ints
    here = ints[w.ITERATE]
    if not learnt:
        ints[w.SKIPPED] += 1
    if same(work.vectors[2 * here], work.vectors[2 * point]):
        return fail(work, w.NOT_MOVED)
    ints[w.K] += 1
    ints[w.ACCEPTED] = 1
    ints[w.REJECTED] += ints[w.TRIALS] - 1
    ints[w.SKIPPED] += ints[w.NEWEST_SKIPPED]
    ints[w.RESETS] = 0
    ints[w.NEGATIVE] += ints[w.NEGATED]
    ints[w.ITERATE] = point
    ints[w.MOVED] = 1
    ints[w.KEPT] = -1
    return w.PAUSE


@jit_inline
def go_on(work: Work, task: int) -> int:
    """Tell whether the iteration that has ended is followed by another one: EVALUATE."""
    ints = work.ints
    if task != w.PAUSE:
        return task
    if stalled(work, PATIENCE):
        return w.GAVE_UP
    if over(work):
        return w.STOP
    if ints[w.K] >= ints[w.PAUSE_AT]:
        return w.PAUSE
    return w.EVALUATE


@jit_inline
def begin(work: Work) -> None:
    """Begin an iteration."""
    ints = work.ints
    ints[w.PHASE] = 1
    work.reals[w.BEST_BEFORE] = work.points[ints[w.BEST], w.F]


@jit_inline
def begin_rows(work: Work) -> None:
    """Begin an iteration of a limited memory."""
    begin(work)
    if work.ints[w.KNOWN_PRODUCTS] == 0:
        refresh_products(work)
        work.ints[w.KNOWN_PRODUCTS] = 1


@jit_inline
def judge_rows(f: float, g: FloatArray, work: Work) -> int:
    """Judge a trial of a search whose model is of stored pairs; ``AIM`` when it has ended well."""
    ints = work.ints
    task = judge_search(f, g, work)
    if task == w.EVALUATE:
        return task
    if task == w.PAUSE:
        point = ints[w.KEPT]
        task = conclude_search(work, point, learn_pair(work, ints[w.ITERATE], point, point))
    else:
        fail(work, task)
    task = go_on(work, task)
    return AIM if task == w.EVALUATE else task


@jit_inline
def search_along(work: Work) -> int:
    """Begin a search along the direction that was written."""
    settle_direction(work)
    task = begin_search(work)
    if task != w.EVALUATE:
        fail(work, task)
    return task


# Each of the next five is an `advance` for one kind of method; see the first.


@jit_lean
def advance_dense(
    f: float, g: FloatArray, buffer: FloatArray, rows: FloatArray, gram: FloatArray, ints: IntArray
) -> int:
    """Take f and g at the trial point and go on to the next one: dense models, a search.

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
        for), ``STOP`` (a stopping test holds), ``GAVE_UP`` (no progress in many trials),
        ``RARE`` (the reference has to make the next iteration), or the reason why the method
        is stuck.
    """
    work = cut(buffer, rows, gram, ints)
    if ints[w.PHASE] == 1:
        task = judge_search(f, g, work)
        if task == w.EVALUATE:
            return task
        if task == w.PAUSE:
            point = ints[w.KEPT]
            task = conclude_search(work, point, learn_dense(work, ints[w.ITERATE], point))
            if ints[w.HAS_FREE] == 0:
                work.reals[w.FIRST] = math.nan
        else:
            fail(work, task)
        task = go_on(work, task)
        if task != w.EVALUATE:
            return task
    begin(work)
    if ints[w.HAS_FREE] == 0 and math.isnan(work.reals[w.FIRST]):
        return w.RARE  # the units and the first step have to be looked at again, from here
    aim_dense(work)
    return search_along(work)


@jit_lean
def advance_sr1_search(
    f: float, g: FloatArray, buffer: FloatArray, rows: FloatArray, gram: FloatArray, ints: IntArray
) -> int:
    """Go on with limited-memory SR1 and a search."""
    work = cut(buffer, rows, gram, ints)
    if ints[w.PHASE] == 1:
        task = judge_rows(f, g, work)
        if task != AIM:
            return task
    begin_rows(work)
    if not aim_rows(work):
        return w.RARE
    return search_along(work)


@jit_lean
def advance_bfgs_search(
    f: float, g: FloatArray, buffer: FloatArray, rows: FloatArray, gram: FloatArray, ints: IntArray
) -> int:
    """Go on with limited-memory BFGS and a search."""
    work = cut(buffer, rows, gram, ints)
    if ints[w.PHASE] == 1:
        task = judge_rows(f, g, work)
        if task != AIM:
            return task
    begin_rows(work)
    aim_bfgs(work)
    return search_along(work)


@jit_lean
def advance_sr1_region(
    f: float, g: FloatArray, buffer: FloatArray, rows: FloatArray, gram: FloatArray, ints: IntArray
) -> int:
    """Go on with limited-memory SR1 in a trust region."""
    work = cut(buffer, rows, gram, ints)
    if ints[w.PHASE] == 1:
        task = go_on(work, judge_region(f, g, work))
        if task != w.EVALUATE:
            return task
    begin_rows(work)
    good, square, slope, quadratic = step_sr1(work, open_region(work))
    if not good:
        return w.RARE
    return enter_region(work, square, slope, quadratic)


@jit_lean
def advance_hybrid_region(
    f: float, g: FloatArray, buffer: FloatArray, rows: FloatArray, gram: FloatArray, ints: IntArray
) -> int:
    """Go on with hybrid pairs in a trust region; ``FOLD`` where some are concave."""
    work = cut(buffer, rows, gram, ints)
    if ints[w.PHASE] == 1:
        task = go_on(work, judge_region(f, g, work))
        if task != w.EVALUATE:
            return task
    if ints[w.PHASE] == 2:
        ints[w.PHASE] = 1
        reals = work.reals
        square, slope, quadratic = reals[w.NORM], reals[w.SLOPE], reals[w.QUADRATIC]
        task = w.EVALUATE if square < math.inf else w.RARE
    else:
        begin_rows(work)
        task, square, slope, quadratic = step_convex(work, open_region(work))
    if task != w.EVALUATE:
        return task
    return enter_region(work, square, slope, quadratic)
