"""The workspace of the fused engine: what lies where.

The host allocates two buffers for a run, of floats and of integers; kernels read and
write them between two evaluations.  They travel as they are and are cut into `Work` on
arrival, since each array that is handed over costs as much as a short vector's pass.
Points are kept in pairs of rows (x, g) that change their part, never their place:
iterate, trial, the search's best, the run's best.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from negopt.kernels._jit import jit_inline

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]


class Work(NamedTuple):
    """Arrays of the engine.

    Attributes
    ----------
    vectors : array, shape (2 p + e, n)
        Row 2i is x and row 2i+1 is g of point i; then the scratch rows of the method.
    points : array, shape (p, 6)
        Figures of each point.
    rows, gram : array, shape (2m, n), (2m, 2m)
        Stored pairs, as in `negopt.curvature.compact.PairMemory`; empty for a dense model.
    order : array, shape (m,)
        Occupied slots, oldest first.
    curvatures : array, shape (remember,)
        ``y'y / s'y`` of recent pairs, oldest first.
    matrices : array, shape (3, n, n)
        What the pairs contributed to BFGS, what they left of its first matrix, and SR1.
    units : array, shape (n,) or (0,)
    search : array, shape (SEARCH_WORK,)
    known : array, shape (limit, 3)
        Steps of this search, with value and slope.
    along : array, shape (2m,)
        Products of the stored rows with the gradient at the iterate.
    weights : array, shape (2m,)
        Coefficients of a step in the stored rows.
    pair : array, shape (3, 2m)
        Products of the stored rows with a new pair and a gradient.
    small : array, shape (q,)
        Scratch of the small algebra.
    reals, ints : array
        Single figures, by the names below.
    """

    vectors: FloatArray
    points: FloatArray
    rows: FloatArray
    gram: FloatArray
    order: IntArray
    curvatures: FloatArray
    matrices: FloatArray
    units: FloatArray
    search: FloatArray
    known: FloatArray
    along: FloatArray
    weights: FloatArray
    pair: FloatArray
    small: FloatArray
    reals: FloatArray
    ints: IntArray


# Columns of `points`; the step that led to a point in this search, and a twin of that step.
F, GNORM, GMAX, XNORM, ALPHA_OF, TWIN_OF = range(6)

# Names in `ints`.
(
    RULE,  # SEARCH or REGION
    MODEL,  # DENSE, SR1_ROWS, HYBRID_ROWS or BFGS_ROWS
    PHASE,  # 0 before the first trial of a run, 1 with a trial, 2 with a step written elsewhere
    ITERATE,
    TRIAL,
    BEST,
    KEPT,  # the search's best point, -1 while there is none
    K,
    PAUSE_AT,
    MAXITER,
    EUCLIDEAN,  # 1: the gradient is measured by its Euclidean norm, 0: by its largest entry
    TRIALS,  # of this iteration
    ACCEPTED,
    FINITE,  # the last trial was
    REJECTED,
    NONFINITE,
    SKIPPED,
    NEGATIVE,
    STALLED,
    RESETS,
    KNOWN,  # steps of this search that are known
    NEGATED,  # 1: the search runs along -d
    STORED,  # pairs
    CURVATURES,
    HAS_POSITIVE,  # the BFGS matrix is there
    HAS_FREE,  # the SR1 matrix is there
    STRONG,
    MAXLS,
    CHOICE,  # 0: the direction closer to g, 1: SR1's where it descends
    FLIP,  # 1: eigenvalues are flipped, 0: the direction may ascend
    FREE,  # the radius is still looking for its scale
    STARTED,
    INTERPOLATE,
    SCALING,  # rule for gamma
    BLOCK,
    ABSOLUTE,
    MOVED,  # the iterate is another one than was loaded
    NEWEST_SKIPPED,  # the newest pair taught the model nothing
    KNOWN_PRODUCTS,  # those of the stored rows with the gradient at the iterate
    # Sizes, from which the layout follows.
    N,
    POINTS,
    SCRATCH,
    PAIRS,
    REMEMBER,
    LIMIT,
    MATRICES,
    UNITS,
    SMALL,
    ORDER,  # here begin the slots of the pairs, oldest first
) = range(49)

# Names in `reals`.
(
    GTOL,
    FTARGET,
    UNBOUNDED_BELOW,
    BEST_BEFORE,  # lowest value when the iteration began
    STALLED_GMAX,
    STEP_NORM,  # of this iteration, for the record
    STEP_SIZE,
    RHO,
    SLOPE,
    QUADRATIC,
    NORM,  # of the proposed step, in its own norm
    LENGTH,  # the same, Euclidean
    C1,
    C2,
    EXPAND,
    ANGLE,
    FLOOR,
    LAST_LENGTH,
    LOWEST,
    SKIP,
    FIRST,  # multiple of the gradient before the first pair
    GAMMA,
    RADIUS,
    USED_RADIUS,
    MAX_RADIUS,
    ETA,
    SHRINK,
    GROW,
    FIRST_GROW,
    FIXED_GAMMA,
    NOT_FINITE,  # a nan: what a kernel returns for a value that is missing
) = range(31)
REALS = 31

SEARCH, REGION = 0, 1
DENSE, SR1_ROWS, HYBRID_ROWS, BFGS_ROWS = 0, 1, 2, 3
# What `advance` says.
EVALUATE, PAUSE, STOP, STUCK, GAVE_UP, RARE, RAISED = 0, 1, 2, 3, 4, 5, 6
FOLD = 8  # `negopt.kernels.fold` has to write the step; then go on
# Why it is stuck.
SMALL_RADIUS, SEARCH_FAILED, NOT_MOVED = 10, 11, 12

FIGURES = 6  # columns of `points`
SEARCH_SIZE = 24

EPS = 2.220446049250313e-16


def allocate(
    n: int,
    *,
    points: int,
    scratch: int = 0,
    pairs: int = 0,
    remember: int = 0,
    limit: int = 0,
    matrices: int = 0,
    units: bool = False,
    small: int = 0,
    whole: int = 0,
) -> tuple[FloatArray, IntArray]:
    """Return the two buffers, zeroed but for the vectors, with the sizes written in."""
    ints = np.zeros(ORDER + pairs + whole, dtype=np.int64)
    ints[N:ORDER] = n, points, scratch, pairs, remember, limit, matrices, n * units, small
    vectors = (2 * points + scratch) * n
    rest = FIGURES * points + remember + SEARCH_SIZE + 3 * limit + 10 * pairs + small + REALS
    buffer = np.empty(vectors + matrices * n * n + n * units + rest)
    buffer[-rest:] = 0.0
    return buffer, ints


def parts(buffer: FloatArray, rows: FloatArray, gram: FloatArray, ints: IntArray) -> Work:
    """Return the parts of the buffers."""
    n, p, k = ints[N], ints[POINTS], ints[MATRICES]
    a = (2 * p + ints[SCRATCH]) * n
    vectors = buffer[:a].reshape((2 * p + ints[SCRATCH], n))
    b = a + k * n * n
    matrices = buffer[a:b].reshape((k, n, n))
    c = b + ints[UNITS]
    units = buffer[b:c]
    d = c + FIGURES * p
    points = buffer[c:d].reshape((p, FIGURES))
    e = d + ints[REMEMBER]
    curvatures = buffer[d:e]
    f = e + SEARCH_SIZE
    search = buffer[e:f]
    h = f + 3 * ints[LIMIT]
    known = buffer[f:h].reshape((ints[LIMIT], 3))
    m = 2 * ints[PAIRS]
    along = buffer[h : h + m]
    weights = buffer[h + m : h + 2 * m]
    pair = buffer[h + 2 * m : h + 5 * m].reshape((3, m))
    i = h + 5 * m + ints[SMALL]
    small = buffer[h + 5 * m : i]
    reals = buffer[i : i + REALS]
    order = ints[ORDER : ORDER + ints[PAIRS]]
    return Work(
        vectors,
        points,
        rows,
        gram,
        order,
        curvatures,
        matrices,
        units,
        search,
        known,
        along,
        weights,
        pair,
        small,
        reals,
        ints,
    )


#: The same for kernels.  N.B. what it returns to the host would not keep the buffers alive.
cut = jit_inline(parts)


@jit_inline
def measure(work: Work, point: int) -> float:
    """Return the size of the gradient that is compared with gtol."""
    if work.ints[EUCLIDEAN] == 1:
        return work.points[point, GNORM]  # type: ignore[no-any-return]
    return work.points[point, GMAX]  # type: ignore[no-any-return]


@jit_inline
def free_point(work: Work) -> int:
    """Return a point that nothing refers to."""
    ints = work.ints
    for i in range(work.points.shape[0]):
        if i not in (ints[ITERATE], ints[BEST], ints[KEPT]):
            return i
    return -1


@jit_inline
def over(work: Work) -> bool:
    """Tell whether a test of `negopt._stopping` ends the run at the iterate."""
    here = work.ints[ITERATE]
    f = work.points[here, F]
    return bool(
        measure(work, here) <= work.reals[GTOL]
        or f <= work.reals[FTARGET]
        or f < work.reals[UNBOUNDED_BELOW]
        or work.ints[K] >= work.ints[MAXITER]
    )


@jit_inline
def stalled(work: Work, patience: int) -> bool:
    """Count trials that lower neither f nor the gradient; tell when there were too many."""
    reals, ints = work.reals, work.ints
    here = ints[ITERATE]
    if ints[ACCEPTED] == 1:
        lower = work.points[here, F] < reals[BEST_BEFORE]
        if lower or work.points[here, GMAX] < 0.9 * reals[STALLED_GMAX]:
            ints[STALLED] = 0
            reals[STALLED_GMAX] = work.points[here, GMAX]
            return False
    ints[STALLED] += ints[TRIALS]
    if measure(work, here) <= reals[GTOL]:
        return False
    return bool(ints[STALLED] >= patience)


@jit_inline
def finish_point(work: Work, point: int, f: float, square: float, gmax: float, xx: float) -> bool:
    """Write the figures of a point that was evaluated; keep it if it is the lowest so far.

    Returns whether f and all of g are finite.
    """
    points = work.points
    if not 1e-280 < square < math.inf:  # the square leaves the range of float64
        points[point, GNORM] = gmax
        g = work.vectors[2 * point + 1]
        if 0.0 < gmax < math.inf:
            square = 0.0
            for i in range(g.shape[0]):
                square += (g[i] / gmax) ** 2
            points[point, GNORM] = gmax * math.sqrt(square)
    else:
        points[point, GNORM] = math.sqrt(square)
    points[point, F] = f
    points[point, GMAX] = gmax
    points[point, XNORM] = math.sqrt(xx)
    if not (math.isfinite(f) and math.isfinite(gmax)):
        work.ints[NONFINITE] += 1
        return False
    best = work.ints[BEST]
    if f < points[best, F] or (f == points[best, F] and gmax < points[best, GMAX]):
        work.ints[BEST] = point
    return True
