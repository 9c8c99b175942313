"""The compiled loop: a jitted objective and a quasi-Newton method, without Python in between.

It serves `lbfgs-wolfe` and `dqn-wolfe-pm`, one problem or many.  All that decides is imported from
`negopt.decisions`, as the array code runs it.  One evaluation is made in a turn of the loop, so
that it can stop before any of them and go on from there.
"""

from __future__ import annotations

import sys

import numpy as np

from negopt.compiled import layout as k
from negopt.compiled import linear
from negopt.compiled._build import Kernel, part, plain
from negopt.compiled.curvature_check import check
from negopt.compiled.directions import aim_dense, aim_rows, learn_dense, learn_rows, multiply
from negopt.compiled.jitted import GRADIENTS, HALT, HEAD, OK, ROW, STATUS, VALUES, call
from negopt.compiled.trials import begin_search, form_trial, judge_trial, weigh
from negopt.decisions import curvature as decide
from negopt.decisions import endings as e
from negopt.decisions import search as s

#: The largest number.
MOST = sys.float_info.max


@part
def arrive(w: k.Work, task: int) -> int:
    """Move to the point that the search has found; GO, or why that cannot be."""
    ints, reals, v, here = w.ints, w.reals, w.vectors, w.ints[k.ITERATE]
    alpha = reals[s.ALPHA] if task == s.WOLFE else reals[s.BEST]
    step = -alpha if ints[k.NEGATED] == 1 else alpha
    new = -1
    for which in range(k.TRIAL, k.KEPT + 1):
        i = ints[which]
        if task != s.FAILED and new < 0 <= i:  # it may be a step that x cannot resolve
            same = w.figures[i, k.STEP_OF] == alpha
            if same or linear.is_at(v[2 * here], step, v[k.D], v[2 * i]):
                new = i
    ints[k.K] += 1
    ints[k.REJECTED] += ints[k.TRIALS]
    ints[k.ACCEPTED] = 0
    reals[k.LOWEST] = min(reals[k.LOWEST], w.figures[here, k.F])
    if new < 0:
        return k.SEARCH_FAILED
    ints[k.FINITE] = 1
    reals[k.STEP_SIZE] = step
    reals[k.LAST_LENGTH] = alpha * reals[k.NORM]
    reals[k.STEP_NORM] = alpha * reals[k.LENGTH]
    learnt = learn_rows(w, here, new) if ints[k.PAIRS] > 0 else learn_dense(w, here, new)
    if not learnt:
        ints[k.SKIPPED] += 1
    if linear.is_at(v[2 * here], 0.0, v[2 * here], v[2 * new]):
        return k.NOT_MOVED
    ints[k.ACCEPTED] = 1
    ints[k.REJECTED] -= 1
    ints[k.RESETS] = 0
    ints[k.NEGATIVE] += ints[k.NEGATED]
    ints[k.ITERATE] = new
    ints[k.KEPT] = -1
    return k.NO_END if task == s.ENDLESS else k.GO


@plain
def over(w: k.Work) -> int:
    """Tell whether the run ends at the iterate: see `negopt.decisions.endings.why_over`."""
    reals, count, most = w.reals, w.ints[k.K], w.ints[k.MAXITER]
    f, size = w.figures[w.ints[k.ITERATE], k.F], w.figures[w.ints[k.ITERATE], k.SIZE]
    return e.why_over(f, size, count, reals[k.GTOL], reals[k.FTARGET], reals[k.BOTTOM], most)


@plain
def judge(w: k.Work) -> int:
    """Tell whether another iteration follows: GO, or why not."""
    ints, reals, here, best = w.ints, w.reals, w.ints[k.ITERATE], w.ints[k.BEST]
    f, size = w.figures[best, k.F], w.figures[best, k.SIZE]
    if best != here and e.is_better_end(f, size, w.figures[here, k.F], reals[k.GTOL]):
        here = ints[k.ITERATE] = best
        ints[k.KEPT] = -1
    ended = over(w)
    f, gmax = w.figures[here, k.F], w.figures[here, k.GMAX]
    before = reals[k.STALLED_F], reals[k.STALLED_GMAX]
    if ints[k.ACCEPTED] == 1 and e.progresses(f, before[0], gmax, before[1], linear.EPS):
        ints[k.STALLED] = 0
        reals[k.STALLED_F] = f
        reals[k.STALLED_GMAX] = gmax
    else:
        stalled = ints[k.STALLED]
        ints[k.STALLED] += ints[k.TRIALS]
        if w.figures[here, k.SIZE] > reals[k.GTOL] and (
            e.is_suspect(stalled, ints[k.STALLED]) or ints[k.STALLED] >= e.STALL
        ):
            return k.STALLS
    if ended == e.GOES_ON:
        return k.PAUSE if ints[k.K] >= ints[k.PAUSE_AT] else k.GO
    return k.CHECK_IT if ended == e.CONVERGED and ints[k.CHECK] == 1 else k.STOP


@part
def go_on(w: k.Work, address: int, head: k.Ints, limit: int) -> int:
    """Make iterations until there is something to say; see `solve`."""
    ints = w.ints
    while True:
        if ints[k.PHASE] == k.START:
            ints[k.PHASE] = k.ARRIVED
            here, reals = ints[k.ITERATE], w.reals
            weigh(w, here, w.figures[here, k.F])
            reals[k.STALLED_F] = w.figures[here, k.F]
            reals[k.STALLED_GMAX] = w.figures[here, k.GMAX]
            reals[k.GTOL] = max(reals[k.GTOL], reals[k.GRTOL] * w.figures[here, k.SIZE])
            if ints[k.FINITE] == 0 or over(w) != e.GOES_ON:
                return k.STOP
        if ints[k.PHASE] == k.ARRIVED:
            if ints[k.STORED] > 0:
                multiply(w)
            ints[k.PHASE] = k.READY
            if ints[k.NEW] == 1:
                ints[k.NEW] = 0
                task = judge(w)
                if task == k.CHECK_IT:
                    ints[k.PHASE] = k.CHECKING
                    ints[k.COLUMN] = 0
                elif task != k.GO:
                    return task
        if ints[k.PHASE] == k.CHECKING:
            return check(w, address, head, limit)
        task = s.EVALUATE
        if ints[k.PHASE] == k.READY:
            if ints[k.PAIRS] > 0:
                aim_rows(w)
            else:
                aim_dense(w)
            begin_search(w)
            ints[k.PHASE] = k.SEARCHING
        else:
            if head[VALUES] >= limit or head[HALT] != 0:
                return k.SPENT
            trial = ints[k.TRIAL]
            f = call(address, w.vectors[2 * trial], w.vectors[2 * trial + 1], head)
            if head[STATUS] != OK:
                return k.RAISED
            task = judge_trial(w, weigh(w, trial, f))
        if task == s.EVALUATE:
            task = form_trial(w)
        if task != s.EVALUATE:
            task = arrive(w, task)
            if task != k.GO:
                return task
            ints[k.PHASE] = k.ARRIVED
            ints[k.NEW] = 1


@plain
def begin_row(w: k.Work, b: k.Batch, i: int, address: int, head: k.Ints) -> None:
    """Evaluate the start of problem i."""
    for j in range(k.REALS):
        w.reals[j] = b.reals[j]
    for j in range(k.INTS):
        w.ints[j] = b.ints[j]
    head[ROW] = i
    head[STATUS] = OK
    head[VALUES] = head[GRADIENTS] = 0
    linear.scale_to(1.0, b.x[i], w.vectors[0])
    f = call(address, w.vectors[0], w.vectors[1], head)
    w.figures[0, k.F] = w.reals[k.F_START] = b.figures[i, k.AT_START] = f
    w.reals[k.BOTTOM] = e.bottom(f, MOST)


@plain
def end_row(w: k.Work, b: k.Batch, i: int, head: k.Ints, certain: bool) -> None:
    """Write down how problem i has ended."""
    figures, gtol, ended = w.figures, w.reals[k.GTOL], over(w)
    point = w.ints[k.ITERATE if ended == e.CONVERGED else k.BEST]
    linear.scale_to(1.0, w.vectors[2 * point], b.x[i])
    linear.scale_to(1.0, w.vectors[2 * point + 1], b.g[i])
    b.figures[i, k.VALUE] = figures[point, k.F]
    b.figures[i, k.BOUND] = gtol
    b.counts[i, k.ENDED] = ended
    b.counts[i, k.NIT] = w.ints[k.K]
    b.counts[i, k.NFEV] = head[VALUES]
    b.counts[i, k.NJEV] = head[GRADIENTS]
    if certain:
        b.counts[i, k.KIND] = decide.POSITIVE
        b.figures[i, k.CURVATURE] = w.reals[k.SMALLEST]


def solve(
    first: int, last: int, address: int, head: k.Ints, w: k.Work, b: k.Batch, limit: int
) -> int:
    """Go on with a run, and say what it has come to; or solve problems of a batch.

    These are `first` to `last` - 1, and `w` is that of a thread; what is rare has no end and is
    left for `minimize`.  For a run, 0 and 1, `b` is of no problems and `w` as it was loaded or
    left.  The objective is that of `negopt.compiled.jitted`.  No evaluation is begun when
    ``head[VALUES]`` has come to `limit`.
    """
    many = b.counts.shape[0] > 0
    task = k.GO
    for i in range(first, last):
        if many:
            if head[HALT] != 0:
                break
            begin_row(w, b, i, address, head)
            if head[STATUS] != OK:
                continue
        task = go_on(w, address, head, limit)
        if many and (task == k.CERTAIN or (task == k.STOP and w.ints[k.K] > 0)):
            end_row(w, b, i, head, task == k.CERTAIN)
    return task


#: `solve`, compiled when it is first wanted.
KERNEL = Kernel(
    solve,
    "the loop for jitted objectives",
    *(0, 1, 0, np.zeros(HEAD + 1, dtype=np.int64), k.IDLE, k.NO_BATCH, 0),
)
