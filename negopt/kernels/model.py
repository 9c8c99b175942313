"""The small algebra of the models: trust-region step and factorisations.

They see Python floats and small float64 host arrays only, never a vector of n
entries, so one kernel serves NumPy, CuPy and every other library alike.  Each is
written so that it also runs, slower, as plain Python (``NEGOPT_DISABLE_JIT=1``).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from negopt.kernels._jit import jit, jit_or

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]

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


def _subtract_rows(row: FloatArray, factor: FloatArray, k: int, j: int) -> None:
    row -= factor[:k, j] @ factor[:k]


@jit_or(_subtract_rows)
def subtract_rows(row: FloatArray, factor: FloatArray, k: int, j: int) -> None:
    """Subtract from `row` the first k rows of `factor`, weighted by its column j."""
    for p in range(k):
        weight = factor[p, j]
        for i in range(row.shape[0]):
            row[i] -= weight * factor[p, i]


def _inverse_size(factor: FloatArray, kept: IntArray, k: int, scale: FloatArray) -> float:
    triangle = factor[:k, kept[:k]] / scale[kept[:k]]
    return float(np.sum(np.linalg.inv(triangle) ** 2)) if k else 0.0


@jit_or(_inverse_size)
def inverse_size(factor: FloatArray, kept: IntArray, k: int, scale: FloatArray) -> float:
    """Return ``||R^-1||^2`` (Frobenius) of the kept triangle, its columns scaled to length 1."""
    total = 0.0
    inverse = np.zeros(k)
    for j in range(k):  # column j of the inverse
        for i in range(j, -1, -1):
            value = 1.0 if i == j else 0.0
            for p in range(i + 1, j + 1):
                value -= factor[i, kept[p]] / scale[kept[p]] * inverse[p]
            inverse[i] = value * scale[kept[i]] / factor[i, kept[i]]
            total += inverse[i] * inverse[i]
    return total


@jit
def basis_factor(
    gram: FloatArray, drop: float, factor: FloatArray, kept: IntArray
) -> tuple[int, float]:
    """Factor ``gram = factor' factor`` row by row, newest pair first.

    ``Z' = Q factor`` then defines orthonormal columns Q.  A row of Z whose part
    outside the span of the newer ones is below ``sqrt(drop)`` of its length adds no
    direction; its column of `factor` still says what of it lies inside.

    Returns k, the number of directions (``kept[:k]`` names the rows that span them),
    and a measure of how far Q is from orthonormal: ``eps ||R^-1||^2`` with R the kept
    triangle, its columns scaled to length 1 (the error was at most 5 times that).
    """
    size = gram.shape[0]
    count = size // 2
    scale = np.zeros(size)
    for j in range(size):
        scale[j] = math.sqrt(gram[j, j]) if gram[j, j] > 0.0 else 0.0
        for i in range(size):
            factor[i, j] = 0.0
    row = np.zeros(size)
    k = 0
    worst = 1.0
    for i in range(count - 1, -1, -1):
        for j in range(2 * i, 2 * i + 2):
            if scale[j] == 0.0:
                continue
            for p in range(size):
                row[p] = gram[j, p]
            subtract_rows(row, factor, k, j)
            pivot = row[j]
            # N.B. after a small pivot the later ones carry its rounding, 1e-16 / worst.
            if pivot > max(drop, 1e-14 / worst) * scale[j] * scale[j]:
                worst = min(worst, pivot / (scale[j] * scale[j]))
                root = math.sqrt(pivot)
                for p in range(size):
                    factor[k, p] = row[p] / root
                for p in range(k):  # exact zeros keep the kept block triangular
                    factor[k, kept[p]] = 0.0
                kept[k] = j
                k += 1
    return k, 2.2e-16 * inverse_size(factor, kept, k, scale)


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
