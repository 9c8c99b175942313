"""The arrays that the compiled loop works in, and the names of what lies where in them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from negopt.compiled.linear import Floats
from negopt.decisions import search as s

Ints = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


class Work(NamedTuple):
    """What a run works in.

    Attributes
    ----------
    vectors : array, shape (8 + e, n)
        Row 2i is x and row 2i+1 is g of point i (the iterate, the trial, the search's best, the
        run's best, in any order); then by the names below, and from row ``ints[HESSIAN]`` on
        the Hessian of the second-order check.
    store : array, shape (2m, n) or (3n, n)
        Stored pairs, as in `negopt.models.pair_memory.PairMemory`; or three matrices: what the
        pairs contributed to BFGS, what they left of its first matrix, and SR1.
    gram : array, shape (2m + 4, 2m)
        Products of the rows; then by the names below.
    figures : array, shape (4, 6)
        Of each point.
    reals, ints : array
        Single figures, the first ones those of `negopt.decisions.search`.
    """

    vectors: Floats
    store: Floats
    gram: Floats
    figures: Floats
    reals: Floats
    ints: Ints


class Batch(NamedTuple):
    """Problems of a batch: what `reals` and `ints` of each begin with, and a row for each.

    x is its start, and then its end; what is left for `minimize` has counts of zero.
    """

    reals: Floats
    ints: Ints
    x: Floats
    g: Floats
    figures: Floats
    counts: Ints


# fmt: off
# Columns of `figures`: SIZE is the norm that gtol bounds; the step that led there in this search.
F, GNORM, GMAX, XNORM, SIZE, STEP_OF = range(6)
POINTS, FIGURES = 4, 6
# Rows of `vectors` behind the points: the direction; scratch of the dense model, and its units.
D, S, Y, A, B, U = range(2 * POINTS, 2 * POINTS + 6)
# Rows of `gram` behind the products of the rows: those with the newest s and y, and with the
# gradient; weights of the rows.
WITH_S, WITH_Y, WITH_G, WEIGHTS = range(4)
# Matrices in `store`.
BFGS, REST, SR1 = range(3)

# Names in `ints`.  Points (KEPT is the search's best, -1 for none); the iteration, whose search
# runs along -d where it is NEGATED; an iterate that has not been judged is NEW; counts.  Limits and
# rules (PAIRS is 0 for the dense model; EUCLIDEAN: the norm of the gradient, not its largest entry;
# CHECK: minima are checked here).  Memory (the next pair goes to slot ``STORED % PAIRS``, products
# of NEWEST are not known yet).  The column of the HESSIAN to be formed next, and its first row.
(PHASE, ITERATE, BEST, TRIAL, KEPT, K, TRIALS, ACCEPTED, FINITE, NEGATED, NEW, REJECTED, NONFINITE,
 SKIPPED, NEGATIVE, STALLED, RESETS, PAUSE_AT, MAXITER, PAIRS, EUCLIDEAN, STRONG, MAXLS, AUTO_UNITS,
 DESCENT, CHECK, STORED, NEWEST, HAS_BFGS, HAS_SR1, UNITS, COLUMN, HESSIAN) = range(33)
INTS = 33

# Names in `reals`, behind those of the search.  Limits (BOTTOM stands for minus infinity); rules
# (SKIP is that of L-BFGS or SR1; DIFFERENCE the step and NOISE the error of a Hessian product); the
# iteration (LENGTH of the direction is Euclidean, NORM in its own norm); the curvature
# found, SMALLEST; f at the start.
(GTOL, GRTOL, FTARGET, BOTTOM, C1, C2, EXPAND, ANGLE, SKIP, SKIP_BFGS, DIFFERENCE, NOISE, GAMMA,
 LAST_LENGTH, LOWEST, STALLED_F, STALLED_GMAX, LENGTH, NORM, STEP_SIZE, STEP_NORM,
 SMALLEST, F_START) = range(s.SEARCH_WORK, s.SEARCH_WORK + 23)
REALS = s.SEARCH_WORK + 23

# Phases: the iterate's figures are to be formed; its products with the rows; a direction is
# wanted; the trial waits for its values; a column of the Hessian does.
START, ARRIVED, READY, SEARCHING, CHECKING = range(5)

# What the loop says.  SPENT: the next evaluation is not allowed.  RAISED: the objective
# raised or gave a gradient of the wrong length.  UNCERTAIN: the check found no minimum, or could
# not be made.  STALLS: many trials brought no progress.  NO_END: f falls along the direction as far
# as a step may be long.
(GO, PAUSE, SPENT, RAISED, STOP, CHECK_IT, CERTAIN, UNCERTAIN, STALLS, SEARCH_FAILED,
 NOT_MOVED, NO_END) = range(12)

# Columns of a batch.  Figures: f at the end and at the start, the bound on the gradient, the
# lowest curvature.  Counts: iterations, evaluations of f and of g; KIND of the curvature, as in
# `negopt.decisions.curvature`, and why it ENDED, as in `negopt.decisions.endings`.
VALUE, AT_START, BOUND, CURVATURE = range(4)
NIT, NFEV, NJEV, KIND, ENDED = range(5)
# fmt: on


def new_work(n: int, *, pairs: int = 0, check: int = 0) -> Work:
    """Return a workspace; `pairs` is 0 for the dense model, `check` the size of the Hessian."""
    reals, ints = np.zeros(REALS), np.zeros(INTS, dtype=np.int64)
    ints[PAIRS], ints[KEPT], ints[NEWEST] = pairs, -1, -1
    ints[HESSIAN] = D + 1 if pairs else U + 1
    return Work(
        np.empty((int(ints[HESSIAN]) + check, n)),
        np.zeros((2 * pairs, n)) if pairs else np.empty((3 * n, n)),
        np.zeros((2 * pairs + 4, 2 * pairs)),
        np.zeros((POINTS, FIGURES)),
        reals,
        ints,
    )


def new_batch(starts: Floats, w: Work) -> Batch:
    """Return the table of a batch whose problems begin with the figures of `w`."""
    k, empty = len(starts), np.full(starts.shape, math.nan)
    figures, counts = np.full((k, 4), math.nan), np.zeros((k, 5), dtype=np.int64)
    return Batch(w.reals.copy(), w.ints.copy(), starts.copy(), empty, figures, counts)


#: The workspace of no run, and what a run hands over in place of a batch.
IDLE = new_work(1)
NO_BATCH = new_batch(np.zeros((0, 1)), IDLE)
