"""Many problems of one jitted objective, solved and checked one after another.

One workspace serves all problems of a thread; each begins from the same fresh figures, so
that no result depends on what was solved before it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from negopt.kernels import work as w
from negopt.kernels._jit import jit_inline, jit_lean
from negopt.kernels.drive import call, drive_dense
from negopt.kernels.eigen import symmetric_eigen
from negopt.kernels.objective import GRADIENTS, HALT, OK, ROW, STATUS, VALUES
from negopt.kernels.work import Work, cut, finish_point, measure, over

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]

# How a problem ended: numbers of `negopt.Status`; below zero it is for Python to go on, from the
# point reached or from the start.
CONVERGED, LIMIT, TARGET, UNBOUNDED, GO_ON, AFRESH = 0, 1, 5, 6, -2, -3
# Columns of the counts, and what is said of the curvature.
NIT, NFEV, NJEV, CHECKED = range(4)
POSITIVE = 1

# Figures of a batch that its problems share.
RELATIVE, STEP, NOISE, UNITS, CHECK = range(5)
SETTINGS = 5


@jit_inline
def natural_units(x: FloatArray, g: FloatArray) -> bool:
    """Tell whether ``|x|`` are units of the variables: `negopt.curvature.inverse`."""
    n = x.shape[0]
    mean_x = 0.0
    mean_g = 0.0
    for i in range(n):
        if x[i] == 0.0 or g[i] == 0.0:
            return False
        mean_x += math.log(abs(x[i])) / n
        mean_g += math.log(abs(g[i])) / n
    of_x = 0.0
    of_g = 0.0
    of_both = 0.0
    for i in range(n):
        a = math.log(abs(x[i])) - mean_x
        b = math.log(abs(g[i])) - mean_g
        of_x += a * a / n
        of_g += b * b / n
        of_both += (a + b) * (a + b) / n
    return of_x >= 1.0 and math.sqrt(of_both) < 0.7 * math.sqrt(of_g)


@jit_lean
def figures(x: FloatArray, g: FloatArray) -> tuple[float, float, float]:
    """Return g'g, max|g| (nan for a nan) and x'x."""
    square = 0.0
    largest = 0.0
    xx = 0.0
    for i in range(x.shape[0]):
        square += g[i] * g[i]
        xx += x[i] * x[i]
        largest = max(largest, abs(g[i]))
    if not math.isfinite(square):
        for i in range(x.shape[0]):
            if not math.isfinite(g[i]):
                largest = math.nan
    return square, largest, xx


@jit_inline
def begin(
    f: float,
    buffer: FloatArray,
    rows: FloatArray,
    gram: FloatArray,
    ints: IntArray,
    fresh: FloatArray,
    fresh_ints: IntArray,
    settings: FloatArray,
) -> bool:
    """Make the workspace that of a run that has just evaluated its start, point 0.

    False when f or g is not finite there.
    """
    n = fresh_ints[w.N]
    for i in range(fresh_ints.shape[0]):
        ints[i] = fresh_ints[i]
    x, g = buffer[:n], buffer[n : 2 * n]
    with_units = settings[UNITS] == 1.0 and math.isfinite(f) and natural_units(x, g)
    ints[w.UNITS] = n if with_units else 0
    first = (2 * ints[w.POINTS] + ints[w.SCRATCH]) * n + ints[w.MATRICES] * n * n
    for i in range(first, buffer.shape[0]):
        buffer[i] = 0.0
    work = cut(buffer, rows, gram, ints)
    for i in range(gram.shape[0]):
        for j in range(gram.shape[1]):
            gram[i, j] = 0.0
    reals = work.reals
    for i in range(fresh.shape[0]):
        reals[i] = fresh[i]
    square, gmax, xx = figures(x, g)
    finite = finish_point(work, 0, f, square, gmax, xx)
    size = work.points[0, w.GNORM]
    if with_units:
        size = 0.0
        for i in range(n):
            work.units[i] = abs(x[i])
            size += (x[i] * g[i]) ** 2
        size = math.sqrt(size)
    reals[w.FIRST] = 1.0 / size if 0.0 < size < math.inf else 1.0
    reals[w.GTOL] = max(reals[w.GTOL], settings[RELATIVE] * measure(work, 0))
    reals[w.UNBOUNDED_BELOW] *= max(1.0, abs(f))
    return finite


@jit_lean
def hessian(
    address: int,
    head: IntArray,
    x: FloatArray,
    g: FloatArray,
    step: float,
    z: FloatArray,
    ahead: FloatArray,
    matrix: FloatArray,
) -> bool:
    """Write H(x) by differences of the gradient to `matrix`; False where there is none.

    As `negopt._objective` makes products.  `z` and `ahead` are scratch.
    """
    n = x.shape[0]
    for i in range(n):
        for j in range(n):
            z[j] = x[j]
        finite = False
        for sign in (1.0, -1.0):
            z[i] = x[i] + sign * step
            call(address, z, ahead, head)
            if head[STATUS] != OK:
                return False
            finite = True
            for j in range(n):
                matrix[i, j] = (ahead[j] - g[j]) / (sign * step)
                finite &= math.isfinite(matrix[i, j])
            if finite:
                break
        if not finite:
            return False
    for i in range(n):
        for j in range(i):
            matrix[i, j] = matrix[j, i] = 0.5 * (matrix[i, j] + matrix[j, i])
    return True


@jit_inline
def certify(
    address: int, head: IntArray, work: Work, settings: FloatArray, room: FloatArray
) -> tuple[int, float]:
    """Check the curvature at the iterate with all n products, as `negopt._certify`.

    Returns 1 for a minimum, with the smallest eigenvalue; the iterate is then replaced by the point
    that a Newton step leads to, where that is better.  0 when Python has to look.
    """
    ints = work.ints
    n = work.vectors.shape[1]
    here = ints[w.ITERATE]
    x, g = work.vectors[2 * here], work.vectors[2 * here + 1]
    matrix, vectors, scratch = room[:n], room[n : 2 * n], room[2 * n : 3 * n + 2]
    values, moved, ahead = room[3 * n + 2], room[3 * n + 3][:n], room[3 * n + 4][:n]
    step = settings[STEP] * (1.0 + work.points[here, w.XNORM])
    if not hessian(address, head, x, g, step, moved, ahead, matrix):
        return 0, math.nan
    if not symmetric_eigen(matrix, n, values, vectors, scratch):
        return 0, math.nan
    lowest = values[0]
    if not lowest > settings[NOISE] * max(abs(lowest), abs(values[n - 1])):
        return 0, lowest
    trial = free_for(work)
    z = work.vectors[2 * trial]
    for j in range(n):
        z[j] = x[j]
    for i in range(n):
        along = 0.0
        for j in range(n):
            along += vectors[i, j] * g[j]
        for j in range(n):
            z[j] -= along / values[i] * vectors[i, j]
    same = True
    for j in range(n):
        same &= z[j] == x[j]
    if same or work.points[here, w.GMAX] == 0.0:
        return POSITIVE, lowest
    better = work.vectors[2 * trial + 1]
    f = call(address, z, better, head)
    if head[STATUS] != OK:
        head[STATUS] = OK  # the verdict stands without it
        return POSITIVE, lowest
    square, gmax, xx = figures(z, better)
    before = work.points[here, w.F]
    if (
        finish_point(work, trial, f, square, gmax, xx)
        and f <= before + 100.0 * w.EPS * abs(before)
        and gmax < work.points[here, w.GMAX]
    ):
        ints[w.ITERATE] = trial
    return POSITIVE, lowest


@jit_inline
def free_for(work: Work) -> int:
    """Return a point that is neither the iterate nor the best."""
    for i in range(work.points.shape[0]):
        if i != work.ints[w.ITERATE] and i != work.ints[w.BEST]:
            return i
    return -1


@jit_inline
def reported(work: Work) -> int:
    """Return the point to report of a run that has converged: see `Solver.finish`."""
    here, best = work.ints[w.ITERATE], work.ints[w.BEST]
    stationary = measure(work, best) <= work.reals[w.GTOL]
    lower = work.points[best, w.F] < work.points[here, w.F]
    return int(best) if stationary and lower else int(here)


@jit_inline
def solve_one(
    address: int,
    head: IntArray,
    buffer: FloatArray,
    rows: FloatArray,
    gram: FloatArray,
    ints: IntArray,
    fresh: FloatArray,
    fresh_ints: IntArray,
    settings: FloatArray,
    room: FloatArray,
    begun: FloatArray,
) -> tuple[int, int, int, float]:
    """Solve from the point in the first row of the vectors; note f there and gtol in `begun`.

    Returns how it ended, the point to report, 1 for a curvature found positive (else 0), and the
    smallest curvature.
    """
    n = fresh_ints[w.N]
    f = call(address, buffer[:n], buffer[n : 2 * n], head)
    if head[STATUS] != OK:
        return AFRESH, 0, 0, math.nan
    if not begin(f, buffer, rows, gram, ints, fresh, fresh_ints, settings):
        return AFRESH, 0, 0, math.nan
    work = cut(buffer, rows, gram, ints)
    begun[0] = f
    begun[1] = work.reals[w.GTOL]
    if not over(work):
        # N.B. a constant as the limit would be a type of its own, and compiled for again.
        task = drive_dense(address, head, buffer, rows, gram, ints, fresh_ints[w.PAUSE_AT])
        if task == w.RAISED:
            return AFRESH, 0, 0, math.nan
        if task != w.STOP:
            return GO_ON, ints[w.BEST], 0, math.nan
    here, best = ints[w.ITERATE], ints[w.BEST]
    if work.points[here, w.F] <= work.reals[w.FTARGET]:
        return TARGET, best, 0, math.nan
    if measure(work, here) <= work.reals[w.GTOL]:
        if settings[CHECK] == 0.0:
            return CONVERGED, reported(work), 0, math.nan
        verdict, lowest = certify(address, head, work, settings, room)
        if verdict != POSITIVE:
            head[STATUS] = OK
            return GO_ON, here, 0, lowest
        return CONVERGED, reported(work), verdict, lowest
    if work.points[here, w.F] < work.reals[w.UNBOUNDED_BELOW]:
        return UNBOUNDED, best, 0, math.nan
    return LIMIT, best, 0, math.nan


@jit_lean
def solve_rows(
    first: int,
    last: int,
    address: int,
    head: IntArray,
    buffer: FloatArray,
    rows: FloatArray,
    gram: FloatArray,
    ints: IntArray,
    fresh: FloatArray,
    fresh_ints: IntArray,
    settings: FloatArray,
    room: FloatArray,
    x: FloatArray,
    f: FloatArray,
    g: FloatArray,
    begun: FloatArray,
    status: IntArray,
    counts: IntArray,
    lowest: FloatArray,
) -> None:
    """Solve problems `first` to `last` - 1; `x` holds their starts and takes their ends.

    Parameters
    ----------
    first, last : int
    address, head : int, array
        The objective.
    buffer, rows, gram, ints : array
        A workspace of this thread alone.
    fresh, fresh_ints, settings : array
        What every problem begins with, and what they share.
    room : array, shape (3n + 5, n + 2)
        Scratch of the second-order check.
    x : array, shape (k, n)
    f : array, shape (k,)
    g : array, shape (k, n)
    begun : array, shape (k, 2)
        Values at the start, and the bounds on the gradient.
    status, counts : array, shape (k,), (k, 4)
        How each ended; iterations, evaluations of f and of g, what is said of the curvature.
    lowest : array, shape (k,)
        Lowest curvature found.
    """
    n = fresh_ints[w.N]
    for i in range(first, last):
        if head[HALT] != 0:
            return
        head[ROW] = i
        head[STATUS] = OK
        head[VALUES] = head[GRADIENTS] = 0
        for j in range(n):
            buffer[j] = x[i, j]
        end, point, checked, curvature = solve_one(
            address, head, buffer, rows, gram, ints, fresh, fresh_ints, settings, room, begun[i]
        )
        status[i] = end
        if end == AFRESH:  # x is still the start
            continue
        work = cut(buffer, rows, gram, ints)
        for j in range(n):
            x[i, j] = work.vectors[2 * point, j]
            g[i, j] = work.vectors[2 * point + 1, j]
        f[i] = work.points[point, w.F]
        counts[i, NIT] = ints[w.K]
        counts[i, NFEV] = head[VALUES]
        counts[i, NJEV] = head[GRADIENTS]
        counts[i, CHECKED] = checked
        lowest[i] = curvature
