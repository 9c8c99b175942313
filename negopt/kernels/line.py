"""The Wolfe search of the fused engine: trial points, their values, the point it ends at.

The counterpart of `negopt.globalize.wolfe`, statement by statement; the logic of the
bracket is one and the same kernel, `negopt.kernels.search`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from negopt.kernels import work as w
from negopt.kernels._jit import jit_inline, jit_lean, jit_pass
from negopt.kernels.passes import float_of, largest_bits
from negopt.kernels.search import ALPHA, BEST, search_start, search_step
from negopt.kernels.search import EVALUATE as TRY
from negopt.kernels.search import FAILED as NONE_FOUND
from negopt.kernels.search import WOLFE as FOUND
from negopt.kernels.work import Work, finish_point, free_point

FloatArray = np.ndarray[Any, np.dtype[np.float64]]


@jit_pass
def look(
    given: FloatArray, x: FloatArray, d: FloatArray, out: FloatArray
) -> tuple[float, float, float, float]:
    """Copy the gradient `given` to `out`; return g'g, max|g| (nan for a nan), g'd and x'x."""
    # N.B. copied first: a loop that adds and writes is done in another order where two of its
    # vectors lie close, and so would depend on which row a point happens to be in.
    for i in range(out.shape[0]):
        out[i] = given[i]
    square = 0.0
    slope = 0.0
    xx = 0.0
    for i in range(x.shape[0]):
        square += given[i] * given[i]
        slope += given[i] * d[i]
        xx += x[i] * x[i]
    return square, float_of(largest_bits(out), out), slope, xx


@jit_lean
def move(x: FloatArray, a: float, d: FloatArray, out: FloatArray) -> None:
    """Write ``x + a d`` to `out`."""
    for i in range(x.shape[0]):
        out[i] = x[i] + a * d[i]


@jit_lean
def same_point(x: FloatArray, a: float, d: FloatArray, other: FloatArray) -> bool:
    """Tell whether ``x + a d`` is `other` in every entry."""
    for i in range(x.shape[0]):  # noqa: SIM110 - a loop that stops, without a generator
        if x[i] + a * d[i] != other[i]:
            return False
    return True


@jit_lean
def same(x: FloatArray, other: FloatArray) -> bool:
    """Tell whether two vectors are equal in every entry."""
    for i in range(x.shape[0]):  # noqa: SIM110 - a loop that stops, without a generator
        if x[i] != other[i]:
            return False
    return True


@jit_inline
def begin_search(work: Work) -> int:
    """Start a search along the direction in the first scratch row; form its first trial."""
    reals, ints = work.reals, work.ints
    here = ints[w.ITERATE]
    f = work.points[here, w.F]
    reals[w.LOWEST] = min(reals[w.LOWEST], f)
    reach = 1.0
    if reals[w.LAST_LENGTH] > 0.0:
        reach = reals[w.EXPAND] * reals[w.LAST_LENGTH]
    first = min(1.0, reach / reals[w.NORM])
    # Within rounding of the lowest value, lest f creep up on a wrong gradient's word.
    noise = max(450.0 * w.EPS * abs(f) - (f - reals[w.LOWEST]), 0.0)
    slope = reals[w.SLOPE]
    ints[w.NEGATED] = 1 if slope > 0.0 else 0
    search_start(
        work.search,
        f,
        -abs(slope),
        first,
        reals[w.C1],
        reals[w.C2],
        ints[w.STRONG] == 1,
        noise,
        ints[w.MAXLS],
        1e20,
    )
    ints[w.TRIALS] = 0
    ints[w.KEPT] = -1
    ints[w.FINITE] = 1
    ints[w.KNOWN] = 1  # x itself is no trial
    work.known[0, 0] = 0.0
    work.known[0, 1] = math.inf
    work.known[0, 2] = math.nan
    return next_trial(work)


@jit_inline
def next_trial(work: Work) -> int:
    """Form the trial that the search asks for; EVALUATE, or how the search has ended.

    A step that x cannot resolve from one that was tried has the value of that one.
    """
    ints = work.ints
    here = ints[w.ITERATE]
    x = work.vectors[2 * here]
    d = work.vectors[2 * work.points.shape[0]]
    xnorm = work.points[here, w.XNORM]
    sign = -1.0 if ints[w.NEGATED] == 1 else 1.0
    while True:
        alpha = work.search[ALPHA]
        trial = free_point(work)
        move(x, sign * alpha, d, work.vectors[2 * trial])
        twin = -1
        for i in range(ints[w.KNOWN]):
            step = work.known[i, 0]
            if abs(step - alpha) * work.reals[w.LENGTH] > 1e-8 * xnorm:
                continue
            if same_point(x, sign * step, d, work.vectors[2 * trial]):
                twin = i
                break
        if twin < 0:
            ints[w.TRIAL] = trial
            work.points[trial, w.ALPHA_OF] = alpha
            work.points[trial, w.TWIN_OF] = alpha
            return w.EVALUATE
        step = work.known[twin, 0]
        named = -1
        for i in (ints[w.TRIAL], ints[w.KEPT]):
            if i >= 0 and work.points[i, w.ALPHA_OF] == step:
                work.points[i, w.TWIN_OF] = alpha
                named = i
        task = search_step(work.search, work.known[twin, 1], work.known[twin, 2])
        if task != TRY:
            return ended(work, task)
        if named >= 0 and work.search[BEST] == alpha:  # the best, under its new name
            work.points[named, w.ALPHA_OF] = alpha
            ints[w.KEPT] = named


@jit_inline
def judge_search(f: float, g: FloatArray, work: Work) -> int:
    """Take f and g at the trial; EVALUATE the next one, or say how the search has ended."""
    ints = work.ints
    trial = ints[w.TRIAL]
    d = work.vectors[2 * work.points.shape[0]]
    x = work.vectors[2 * trial]
    square, gmax, slope, xx = look(g, x, d, work.vectors[2 * trial + 1])
    ints[w.TRIALS] += 1
    finite = finish_point(work, trial, f, square, gmax, xx)
    ints[w.FINITE] = 1 if finite else 0
    value = math.inf
    slope = -slope if ints[w.NEGATED] == 1 else slope
    if finite:
        value = f
    else:
        slope = math.nan
    alpha = work.search[ALPHA]
    if ints[w.KNOWN] < work.known.shape[0]:
        work.known[ints[w.KNOWN], 0] = alpha
        work.known[ints[w.KNOWN], 1] = value
        work.known[ints[w.KNOWN], 2] = slope
        ints[w.KNOWN] += 1
    task = search_step(work.search, value, slope)
    if finite and task == TRY and work.search[BEST] == alpha:
        ints[w.KEPT] = trial
    if task == TRY:
        return next_trial(work)
    return ended(work, task)


@jit_inline
def ended(work: Work, task: int) -> int:
    """Name the accepted point in `KEPT` and measure the step; or say why there is none."""
    ints, reals = work.ints, work.reals
    alpha = work.search[ALPHA] if task == FOUND else work.search[BEST]
    found = -1
    if task != NONE_FOUND:
        for i in (ints[w.TRIAL], ints[w.KEPT]):
            if i >= 0 and (
                work.points[i, w.ALPHA_OF] == alpha or work.points[i, w.TWIN_OF] == alpha
            ):
                found = i
                break
    if found < 0:
        return w.SEARCH_FAILED
    ints[w.KEPT] = found
    ints[w.FINITE] = 1
    reals[w.STEP_SIZE] = -alpha if ints[w.NEGATED] == 1 else alpha
    reals[w.LAST_LENGTH] = alpha * reals[w.NORM]
    reals[w.STEP_NORM] = alpha * reals[w.LENGTH]
    return w.PAUSE
