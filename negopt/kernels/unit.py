"""All kernels: the Wolfe search, the trust-region root, the limited-memory model.

They see Python floats and small float64 host arrays only, never a vector of n
entries, so one kernel serves NumPy, CuPy and every other library alike.  Each is
written so that it also runs, slower, as plain Python (`NEGOPT_DISABLE_JIT=1`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from negopt.kernels._jit import jit

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]

# --- Wolfe search: reverse communication over a work vector ------------------------

# Slots of the work vector.
ALPHA = 0  # trial step to evaluate next
F0, D0 = 1, 2  # value and slope at 0 (the slope is negative)
LO, F_LO, D_LO = 3, 4, 5  # sufficient decrease holds, slope still too negative
HI, F_HI, D_HI = 6, 7, 8  # upper end of the bracket; inf while there is none
BEST, F_BEST = 9, 10  # lowest trial with sufficient decrease; 0 while there is none
C1, C2, STRONG, NOISE = 11, 12, 13, 14
COUNT, LIMIT, ALPHA_MAX = 15, 16, 17
OLD_LO, OLD_F, OLD_D = 18, 19, 20  # the LO before the last one, for extrapolation
WIDTH = 21  # bracket width two trials ago, to force bisection
SEARCH_WORK = 24

# Tasks that the search returns.
EVALUATE, WOLFE, ARMIJO, FAILED = 0, 1, 2, 3


@jit
def search_start(
    w: FloatArray,
    f0: float,
    d0: float,
    alpha: float,
    c1: float,
    c2: float,
    strong: bool,
    noise: float,
    limit: int,
    alpha_max: float,
) -> None:
    """Prepare the work vector for a search from 0 with slope `d0` < 0."""
    w[:] = 0.0
    w[ALPHA] = min(alpha, alpha_max)
    w[F0] = f0
    w[D0] = d0
    w[F_LO] = f0
    w[D_LO] = d0
    w[HI] = math.inf
    w[F_HI] = math.inf
    w[D_HI] = math.inf
    w[F_BEST] = math.inf
    w[C1] = c1
    w[C2] = c2
    w[STRONG] = 1.0 if strong else 0.0
    w[NOISE] = noise
    w[LIMIT] = limit
    w[ALPHA_MAX] = alpha_max
    w[OLD_F] = f0
    w[OLD_D] = d0
    w[WIDTH] = math.inf


@jit
def cubic_minimizer(a: float, fa: float, da: float, b: float, fb: float, db: float) -> float:
    """Return the local minimiser of the cubic through two values and slopes, or nan."""
    width = b - a
    theta = 3.0 * (fa - fb) / width + da + db
    scale = max(abs(theta), abs(da), abs(db))
    if scale == 0.0 or not math.isfinite(scale):
        return math.nan
    radicand = (theta / scale) ** 2 - (da / scale) * (db / scale)
    if radicand < 0.0:
        return math.nan
    root = scale * math.sqrt(radicand)
    if width < 0.0:
        root = -root
    bottom = db - da + 2.0 * root
    if bottom == 0.0:
        return math.nan
    return b - width * (db + root - theta) / bottom


@jit
def search_step(w: FloatArray, f: float, d: float) -> int:
    """Take value and slope at ``w[ALPHA]``; say what to do next.

    Returns ``EVALUATE`` (evaluate at the new ``w[ALPHA]``), ``WOLFE`` (the trial
    satisfies the conditions), ``ARMIJO`` (they cannot be met within the limits;
    ``w[BEST]`` has sufficient decrease) or ``FAILED`` (no decrease was found).

    The invariant is that of Lewis and Overton: at LO sufficient decrease holds and
    the slope is below ``c2 d0``; HI violates one of the two from the other side, or
    is not finite.  Then a point satisfying even the strong conditions lies between,
    and the bracket shrinks to it.
    """
    a = w[ALPHA]
    f0 = w[F0]
    d0 = w[D0]
    lo = w[LO]
    w[COUNT] += 1.0
    invalid = not (math.isfinite(f) and math.isfinite(d))
    if invalid:
        w[HI] = a
        w[F_HI] = math.inf
        w[D_HI] = math.inf
    else:
        # Hager and Zhang's approximate test takes over where f0 - f is rounding noise.
        approximate = f <= f0 + w[NOISE] and d <= (2.0 * w[C1] - 1.0) * d0
        decrease = f <= f0 + w[C1] * a * d0 or approximate
        if decrease and (f < w[F_BEST] or w[BEST] == 0.0):
            w[BEST] = a
            w[F_BEST] = f
        if decrease and d >= w[C2] * d0:
            if w[STRONG] == 0.0 or d <= -w[C2] * d0:
                return WOLFE
        if decrease and d < w[C2] * d0:
            w[OLD_LO] = lo
            w[OLD_F] = w[F_LO]
            w[OLD_D] = w[D_LO]
            w[LO] = a
            w[F_LO] = f
            w[D_LO] = d
            lo = a
        else:
            w[HI] = a
            w[F_HI] = f
            w[D_HI] = d
    hi = w[HI]
    exhausted = w[COUNT] >= w[LIMIT]
    if hi == math.inf:
        if a >= w[ALPHA_MAX]:
            exhausted = True
        trial = cubic_minimizer(w[OLD_LO], w[OLD_F], w[OLD_D], lo, w[F_LO], w[D_LO])
        if not trial > lo:  # concave so far: the cubic has no minimum ahead
            trial = 10.0 * a
        w[ALPHA] = min(max(2.0 * a, min(trial, 10.0 * a)), w[ALPHA_MAX])
    else:
        width = hi - lo
        if width <= 4e-16 * hi:
            exhausted = True
        if not math.isfinite(w[F_HI]):
            trial = lo + 0.1 * width
        else:
            trial = cubic_minimizer(lo, w[F_LO], w[D_LO], hi, w[F_HI], w[D_HI])
            if not (lo < trial < hi) or width > 0.66 * w[WIDTH]:
                trial = lo + 0.5 * width
            trial = min(max(trial, lo + 0.1 * width), hi - 0.1 * width)
            # N.B. one slow reduction is allowed before bisection is forced.
            w[WIDTH] = width if width <= 0.66 * w[WIDTH] else math.inf
        w[ALPHA] = trial
    if exhausted:
        return ARMIJO if w[BEST] > 0.0 else FAILED
    return EVALUATE


# --- Exact trust-region step in an eigenbasis ---------------------------------------

INTERIOR, BOUNDARY, HARD = 0, 1, 2


@jit
def trust_region_step(
    values: FloatArray, parts: FloatArray, radius: float, step: FloatArray
) -> tuple[float, int, int]:
    """Minimise ``parts's + s' diag(values) s / 2`` over ``||s|| <= radius``.

    Writes the minimiser to `step` and returns ``(sigma, case, index)``: the
    multiplier, which case it was, and in the hard case the entry that was extended
    to the boundary.  Optimality is that of Moré and Sorensen (1983): ``(diag(values)
    + sigma) s = -parts`` with a positive semidefinite left side and
    ``sigma (radius - ||s||) = 0``.

    All shifts are measured from ``-min(values)``, so that nothing cancels close to
    the hard case.
    """
    k = values.shape[0]
    low_value = values[0]
    low_index = 0
    scale = 0.0
    for i in range(k):
        if values[i] < low_value:
            low_value = values[i]
            low_index = i
        scale = max(scale, abs(values[i]))
    tiny = 4e-16 * scale
    largest = 0.0
    for i in range(k):
        largest = max(largest, abs(parts[i]))
    if low_value > tiny:
        total = 0.0
        for i in range(k):
            step[i] = -parts[i] / values[i]
            total += step[i] * step[i]
        if math.sqrt(total) <= radius:
            return 0.0, INTERIOR, -1
    elif largest == 0.0 and low_value >= 0.0:
        for i in range(k):
            step[i] = 0.0
        return 0.0, INTERIOR, -1
    # shift t = sigma + low_value >= floor; denominators are values - low_value + t.
    floor = max(0.0, low_value)
    probe = floor + tiny
    total = 0.0
    for i in range(k):
        gap = values[i] - low_value
        if gap + probe > 0.0:
            step[i] = -parts[i] / (gap + probe)
            total += step[i] * step[i]
        else:
            step[i] = 0.0
            if parts[i] != 0.0:
                total = math.inf
    if math.sqrt(total) <= radius and low_value <= tiny:
        # Hard case: no shift reaches the boundary; go there along the lowest direction.
        total = 0.0
        for i in range(k):
            gap = values[i] - low_value
            if gap <= 2.0 * tiny:
                step[i] = 0.0
            else:
                step[i] = -parts[i] / gap
            total += step[i] * step[i]
        if low_value >= -tiny:
            return 0.0, INTERIOR, -1
        rest = math.sqrt(max(radius * radius - total, 0.0))
        step[low_index] = -rest if parts[low_index] > 0.0 else rest
        return -low_value, HARD, low_index
    low = floor
    square = 0.0
    for i in range(k):
        gap = values[i] - low_value
        low = max(low, abs(parts[i]) / radius - gap)
        square += (parts[i] / largest) ** 2
    high = max(low, largest * math.sqrt(square) / radius)
    t = low
    for _ in range(200):
        total = 0.0
        curve = 0.0
        for i in range(k):
            bottom = values[i] - low_value + t
            if bottom > 0.0:
                step[i] = -parts[i] / bottom
                total += step[i] * step[i]
                curve += step[i] * step[i] / bottom
            elif parts[i] != 0.0:
                total = math.inf
        length = math.sqrt(total)
        if abs(length - radius) <= 1e-13 * radius:
            break
        if length > radius:
            low = max(low, t)
        else:
            high = min(high, t)
        if math.isfinite(total) and curve > 0.0:
            t = t + (total / curve) * ((length - radius) / radius)
        else:
            t = math.inf
        if not (low <= t <= high):
            t = 0.5 * (low + high)
        if high - low <= 2e-16 * high:
            break
    # The last digits: put the step exactly onto the boundary.
    total = 0.0
    for i in range(k):
        total += step[i] * step[i]
    length = math.sqrt(total)
    if length > 0.0 and math.isfinite(length):
        for i in range(k):
            step[i] *= radius / length
    return max(t - low_value, 0.0), BOUNDARY, -1


# --- Limited-memory model from inner products ---------------------------------------

SR1_PAIRS, HYBRID_PAIRS, BFGS_PAIRS = 0, 1, 2


@jit
def pair_model(
    gram: FloatArray, gamma: float, rule: int, skip: float, core: FloatArray, used: IntArray
) -> None:
    """Fold pairs into ``B = gamma I + Z' core Z``, oldest first.

    Parameters
    ----------
    gram : array, shape (2c, 2c)
        Inner products of the rows of Z = (s_1, y_1, s_2, y_2, ...), oldest first.
    rule : int
        ``SR1_PAIRS``; ``HYBRID_PAIRS`` takes the BFGS update where the measured
        curvature is safely positive; ``BFGS_PAIRS`` takes only that.
    skip : float
        An SR1 update is skipped when ``|r's| < skip ||r|| ||s||`` with r = y - B s.
    core : array, shape (2c, 2c)
        Output.
    used : array, shape (c,)
        Output: 1 for an SR1 update, 2 for BFGS, 0 for a skipped pair.
    """
    count = gram.shape[0] // 2
    core[:, :] = 0.0
    for i in range(count):
        s = 2 * i
        y = s + 1
        ss = gram[s, s]
        yy = gram[y, y]
        sy = gram[s, y]
        u = core @ np.ascontiguousarray(gram[:, s])  # coefficients of B s
        u[s] += gamma
        gu = gram @ u
        sbs = gu[s]
        bsbs = max(np.dot(u, gu), 0.0)
        used[i] = 0
        convex = sy > 1e-8 * math.sqrt(ss * yy) and sbs > 1e-8 * math.sqrt(ss * bsbs)
        if rule != SR1_PAIRS and convex:
            core[:, :] -= np.outer(u, u) / sbs
            core[y, y] += 1.0 / sy
            used[i] = 2
            continue
        if rule == BFGS_PAIRS:
            continue
        u = -u
        u[y] += 1.0  # r = y - B s
        gu = gram @ u
        rs = gu[s]
        rr = np.dot(u, gu)
        # N.B. below 1e-14 y'y the residual is rounding: the secant equation already holds.
        if rr > 1e-14 * yy and abs(rs) >= skip * math.sqrt(rr * ss) and rs != 0.0:
            core[:, :] += np.outer(u, u) / rs
            used[i] = 1


@jit
def basis_factor(gram: FloatArray, drop: float, factor: FloatArray, kept: IntArray) -> int:
    """Factor ``gram = factor' factor`` row by row, newest pair first.

    ``Z' = Q factor`` then defines orthonormal columns Q.  A row of Z whose part
    outside the span of the newer ones is below ``sqrt(drop)`` of its length adds no
    direction; its column of `factor` still says what of it lies inside.

    Returns k, the number of directions; ``kept[:k]`` names the rows that span them.
    """
    size = gram.shape[0]
    count = size // 2
    scale = np.zeros(size)
    for j in range(size):
        scale[j] = math.sqrt(gram[j, j]) if gram[j, j] > 0.0 else 0.0
    factor[:, :] = 0.0
    k = 0
    for i in range(count - 1, -1, -1):
        for j in range(2 * i, 2 * i + 2):
            if scale[j] == 0.0:
                continue
            row = gram[j, :].copy()
            for p in range(k):
                row -= factor[p, j] * factor[p, :]
            pivot = row[j]
            if pivot > drop * scale[j] * scale[j]:
                factor[k, :] = row / math.sqrt(pivot)
                for p in range(k):  # exact zeros keep the kept block triangular
                    factor[k, kept[p]] = 0.0
                kept[k] = j
                k += 1
    return k


@jit
def solve_kept(
    factor: FloatArray, kept: IntArray, k: int, w: FloatArray, transposed: bool
) -> FloatArray:
    """Solve with the triangle ``factor[:k, kept[:k]]`` or its transpose."""
    out = w.copy()
    if transposed:
        for i in range(k):
            total = out[i]
            for p in range(i):
                total -= factor[p, kept[i]] * out[p]
            out[i] = total / factor[i, kept[i]]
    else:
        for i in range(k - 1, -1, -1):
            total = out[i]
            for p in range(i + 1, k):
                total -= factor[i, kept[p]] * out[p]
            out[i] = total / factor[i, kept[i]]
    return out


@jit
def solve_definite(matrix: FloatArray, right: FloatArray, out: FloatArray) -> bool:
    """Solve with a symmetric matrix by Cholesky; False when it is not safely definite."""
    k = matrix.shape[0]
    largest = 0.0
    for i in range(k):
        largest = max(largest, abs(matrix[i, i]))
    lower = np.zeros((k, k))
    for j in range(k):
        pivot = matrix[j, j]
        for p in range(j):
            pivot -= lower[j, p] * lower[j, p]
        if not pivot > 1e-14 * largest:
            return False
        root = math.sqrt(pivot)
        lower[j, j] = root
        for i in range(j + 1, k):
            total = matrix[i, j]
            for p in range(j):
                total -= lower[i, p] * lower[j, p]
            lower[i, j] = total / root
    for i in range(k):
        total = right[i]
        for p in range(i):
            total -= lower[i, p] * out[p]
        out[i] = total / lower[i, i]
    for i in range(k - 1, -1, -1):
        total = out[i]
        for p in range(i + 1, k):
            total -= lower[p, i] * out[p]
        out[i] = total / lower[i, i]
    return True
