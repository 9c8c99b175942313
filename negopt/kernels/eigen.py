"""Small dense symmetric matrices: eigenvalues and solves, without LAPACK's overhead.

Each takes the leading k x k block of a larger array, and a scratch array of at least
(k + 2) x (k + 2).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from negopt.kernels._jit import jit_lean, jit_or

FloatArray = np.ndarray[Any, np.dtype[np.float64]]

EPS = 2.220446049250313e-16


def _symmetric_eigen(
    matrix: FloatArray, k: int, values: FloatArray, vectors: FloatArray, scratch: FloatArray
) -> bool:
    del scratch  # the compiled one needs it
    if not np.all(np.isfinite(matrix[:k, :k])):
        return False
    try:
        found, columns = np.linalg.eigh(matrix[:k, :k])
    except np.linalg.LinAlgError:
        return False
    values[:k], vectors[:k, :k] = found, columns.T
    return True


@jit_lean
def tridiagonalise(k: int, a: FloatArray, d: FloatArray, e: FloatArray, v: FloatArray) -> None:
    """Reduce the symmetric matrix `a` (k x k, destroyed) to tridiagonal form.

    ``V A V'`` has diagonal `d` and off-diagonal `e`; V is a product of Householder
    reflections, each of which clears a column below the off-diagonal.
    """
    for j in range(k - 2):
        head = a[j + 1, j]
        square = 0.0
        for i in range(j + 2, k):
            square += a[i, j] * a[i, j]
        d[j] = a[j, j]
        a[j, j] = 0.0  # 2 / u'u of the reflection I - (2 / u'u) u u'
        e[j] = head
        if square <= 1e-60:  # of a matrix scaled to 1: nothing to clear
            continue
        length = math.sqrt(head * head + square)
        if head > 0.0:
            length = -length
        e[j] = length
        head -= length
        a[j + 1, j] = head
        factor = 2.0 / (head * head + square)
        a[j, j] = factor
        # A <- A - u w' - w u' with p = factor A u, w = p - (factor u'p / 2) u; w in row j.
        inner = 0.0
        for i in range(j + 1, k):
            total = 0.0
            for p in range(j + 1, i + 1):
                total += a[i, p] * a[p, j]
            for p in range(i + 1, k):
                total += a[p, i] * a[p, j]
            total *= factor
            a[j, i] = total
            inner += total * a[i, j]
        inner *= 0.5 * factor
        for i in range(j + 1, k):
            a[j, i] -= inner * a[i, j]
        for i in range(j + 1, k):
            u = a[i, j]
            w = a[j, i]
            for p in range(j + 1, i + 1):
                a[i, p] -= u * a[j, p] + w * a[p, j]
    if k > 1:
        d[k - 2] = a[k - 2, k - 2]
        e[k - 2] = a[k - 1, k - 2]
    d[k - 1] = a[k - 1, k - 1]
    for i in range(k):
        for p in range(k):
            v[i, p] = 0.0
        v[i, i] = 1.0
    for j in range(k - 3, -1, -1):  # V <- V (I - factor u u')
        factor = a[j, j]
        if factor == 0.0:
            continue
        for i in range(j + 1, k):
            total = 0.0
            for p in range(j + 1, k):
                total += v[i, p] * a[p, j]
            total *= factor
            for p in range(j + 1, k):
                v[i, p] -= total * a[p, j]


@jit_lean
def tridiagonal_eigen(k: int, d: FloatArray, e: FloatArray, v: FloatArray) -> bool:
    """Diagonalise by implicit QR steps with Wilkinson's shift; rotate the rows of `v` along.

    `d` ends as the eigenvalues, in no order.  False when 40 k steps were not enough (nan).
    """
    high = k - 1
    for _ in range(40 * k + 1):
        while high > 0:
            if not abs(e[high - 1]) <= EPS * (abs(d[high - 1]) + abs(d[high])) + 1e-30:
                break
            high -= 1
        if high == 0:
            return True
        low = high - 1
        while low > 0:
            if abs(e[low - 1]) <= EPS * (abs(d[low - 1]) + abs(d[low])) + 1e-30:
                e[low - 1] = 0.0
                break
            low -= 1
        half = 0.5 * (d[high - 1] - d[high])
        square = e[high - 1] * e[high - 1]
        root = math.sqrt(half * half + square)
        shift = d[high] - square / (half + root if half > 0.0 else half - root)
        x = d[low] - shift
        z = e[low]
        for i in range(low, high):
            r = math.sqrt(x * x + z * z)
            cos = 1.0
            sin = 0.0
            if r > 1e-140:  # else both are nothing, of a matrix scaled to 1
                cos = x / r
                sin = z / r
            if i > low:
                e[i - 1] = r
            p = 2.0 * cos * e[i] + sin * (d[i + 1] - d[i])
            d[i] += sin * p
            d[i + 1] -= sin * p
            e[i] = cos * p - e[i]
            if i < high - 1:
                x = e[i]
                z = sin * e[i + 1]
                e[i + 1] *= cos
            for q in range(k):
                upper = v[i, q]
                lower = v[i + 1, q]
                v[i, q] = cos * upper + sin * lower
                v[i + 1, q] = cos * lower - sin * upper
    return False


@jit_or(_symmetric_eigen)
def symmetric_eigen(
    matrix: FloatArray, k: int, values: FloatArray, vectors: FloatArray, scratch: FloatArray
) -> bool:
    """Eigenvalues, ascending, and eigenvectors, as rows, of ``matrix[:k, :k]``.

    False when the matrix is not finite.  Errors are of the order of eps times the largest
    eigenvalue, as LAPACK's.

    References
    ----------
    Golub and Van Loan (2013), Matrix Computations, sections 8.3.1 and 8.3.5.
    """
    largest = 0.0
    for i in range(k):
        for j in range(i + 1):
            size = abs(matrix[i, j])
            if not size < math.inf:
                return False
            largest = max(largest, size)
    for i in range(k):
        values[i] = 0.0
        for j in range(k):
            vectors[i, j] = 0.0
        vectors[i, i] = 1.0
    if largest == 0.0:
        return True
    for i in range(k):
        for j in range(i + 1):
            scratch[i, j] = matrix[i, j] / largest
    off = scratch[k]
    tridiagonalise(k, scratch, values, off, vectors)
    if not tridiagonal_eigen(k, values, off, vectors):
        return False
    for i in range(k):
        values[i] *= largest
    for i in range(1, k):  # insertion sort
        j = i
        while j > 0 and values[j] < values[j - 1]:
            swap = values[j]
            values[j] = values[j - 1]
            values[j - 1] = swap
            for p in range(k):
                swap = vectors[j, p]
                vectors[j, p] = vectors[j - 1, p]
                vectors[j - 1, p] = swap
            j -= 1
    return True


@jit_lean
def solve_definite_to(
    matrix: FloatArray,
    k: int,
    shift: float,
    right: FloatArray,
    out: FloatArray,
    scratch: FloatArray,
) -> bool:
    """Solve with ``matrix + shift I`` by Cholesky; False when it is not safely definite."""
    largest = 0.0
    for i in range(k):
        largest = max(largest, abs(matrix[i, i] + shift))
    for i in range(k):
        value = right[i]
        for j in range(i + 1):
            total = matrix[i, j]
            if i == j:
                total += shift
            for p in range(j):
                total -= scratch[i, p] * scratch[j, p]
            if j < i:
                scratch[i, j] = total / scratch[j, j]
                value -= scratch[i, j] * out[j]
            elif total > 1e-14 * largest:
                scratch[i, i] = math.sqrt(total)
            else:
                return False
        out[i] = value / scratch[i, i]
    for i in range(k - 1, -1, -1):
        value = out[i]
        for p in range(i + 1, k):
            value -= scratch[p, i] * out[p]
        out[i] = value / scratch[i, i]
    return True


@jit_lean
def solve_indefinite_to(
    matrix: FloatArray,
    k: int,
    shift: float,
    least: float,
    right: FloatArray,
    out: FloatArray,
    scratch: FloatArray,
) -> bool:
    """Solve with ``matrix + shift I`` by elimination with partial pivoting.

    False when a pivot is not above `least` times the largest entry.
    """
    largest = abs(shift)
    for i in range(k):
        for j in range(k):
            scratch[i, j] = matrix[i, j]
        scratch[i, i] += shift
        scratch[i, k] = right[i]
        for j in range(k):
            largest = max(largest, abs(scratch[i, j]))
    for j in range(k):
        best = j
        for i in range(j + 1, k):
            if abs(scratch[i, j]) > abs(scratch[best, j]):
                best = i
        if not abs(scratch[best, j]) > least * largest:
            return False
        if best != j:
            for p in range(j, k + 1):
                swap = scratch[j, p]
                scratch[j, p] = scratch[best, p]
                scratch[best, p] = swap
        for i in range(j + 1, k):
            weight = scratch[i, j] / scratch[j, j]
            if weight != 0.0:
                for p in range(j + 1, k + 1):
                    scratch[i, p] -= weight * scratch[j, p]
    for i in range(k - 1, -1, -1):
        value = scratch[i, k]
        for p in range(i + 1, k):
            value -= scratch[i, p] * out[p]
        out[i] = value / scratch[i, i]
    return True
