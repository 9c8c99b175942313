"""A quadratic over a ball: reduced to a tridiagonal matrix by reflections, solved on that.

Each trial of the multiplier then costs O(k), and eigenvectors are needed in the hard case and
next to it only.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from negopt.kernels._jit import jit, jit_or
from negopt.kernels.model import INTERIOR, trust_region_step
from negopt.kernels.pairs import inner
from negopt.kernels.shifted import LOST, NEWTON, SPHERE

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]


def _reflect_down(a: FloatArray, d: FloatArray, e: FloatArray, b: FloatArray) -> None:
    k = a.shape[0]
    for i in range(k):
        d[i], e[i] = a[i, i], 0.0
        v = a[i, i + 1 :]
        if not np.any(v[1:]):
            e[i : i + 1] = v[:1] if i + 1 < k else 0.0
            v[:] = 0.0
            continue
        largest = float(np.max(np.abs(v)))
        alpha = largest * float(np.linalg.norm(v / largest))
        e[i] = alpha = -alpha if v[0] > 0.0 else alpha
        root = math.sqrt(alpha * (alpha - v[0]))
        v[0] -= alpha
        v /= root
        inner_part = a[i + 1 :, i + 1 :]
        p = inner_part @ v
        p -= (0.5 * (p @ v)) * v
        b[i + 1 : k] -= (b[i + 1 : k] @ v) * v
        inner_part -= np.outer(v, p) + np.outer(p, v)


@jit_or(_reflect_down)
def reflect_down(a: FloatArray, d: FloatArray, e: FloatArray, b: FloatArray) -> None:
    """Write the diagonals of ``T = P'AP`` to d and e, and P'b to b.

    P is a product of reflections ``I - v v'``; row i of `a` keeps its v right of the diagonal.
    """
    k = a.shape[0]
    p = np.zeros(k)
    for i in range(k):
        d[i] = a[i, i]
        e[i] = 0.0
        if i + 1 == k:
            break
        rest = 0.0
        for j in range(i + 2, k):
            rest = max(rest, abs(a[i, j]))
        if rest == 0.0:
            e[i] = a[i, i + 1]
            for j in range(i + 1, k):
                a[i, j] = 0.0
            continue
        rest = max(rest, abs(a[i, i + 1]))
        square = 0.0
        for j in range(i + 1, k):
            square += (a[i, j] / rest) ** 2
        alpha = rest * math.sqrt(square)
        if a[i, i + 1] > 0.0:
            alpha = -alpha
        e[i] = alpha
        root = math.sqrt(alpha * (alpha - a[i, i + 1]))  # ||v||^2 = 2 root^2 before scaling
        a[i, i + 1] -= alpha
        for j in range(i + 1, k):
            a[i, j] /= root
            p[j] = 0.0
        for r in range(i + 1, k):
            weight = a[i, r]
            for j in range(i + 1, k):
                p[j] += weight * a[r, j]
        half = 0.0
        along = 0.0
        for j in range(i + 1, k):
            half += 0.5 * p[j] * a[i, j]
            along += b[j] * a[i, j]
        for j in range(i + 1, k):
            p[j] -= half * a[i, j]
            b[j] -= along * a[i, j]
        for r in range(i + 1, k):
            for j in range(i + 1, k):
                a[r, j] -= a[i, r] * p[j] + p[r] * a[i, j]


@jit
def reflect_back(a: FloatArray, x: FloatArray) -> None:
    """Overwrite the first entries of x by P x, with P as `reflect_down` left it in `a`."""
    k = a.shape[0]
    for i in range(k - 2, -1, -1):
        along = 0.0
        for j in range(i + 1, k):
            along += a[i, j] * x[j]
        for j in range(i + 1, k):
            x[j] -= along * a[i, j]


@jit
def shifted_newton(
    d: FloatArray, e: FloatArray, b: FloatArray, sigma: float, x: FloatArray, pivots: FloatArray
) -> tuple[float, float, float]:
    """Solve ``(T + sigma I) x = -b``; return ``||x||^2``, ``x'(T + sigma I)^-1 x``, least pivot.

    Where T + sigma I has no Cholesky factor the least pivot is not positive, and that is all.
    """
    k = d.shape[0]
    pivot = d[0] + sigma
    least = pivot
    x[0] = -b[0]
    pivots[0] = pivot
    for i in range(1, k):
        if not pivot > 0.0:
            return math.inf, 0.0, 0.0
        factor = e[i - 1] / pivot
        x[i] = -b[i] - factor * x[i - 1]
        pivot = d[i] + sigma - factor * e[i - 1]
        pivots[i] = pivot
        least = min(least, pivot)
    if not least > 0.0:
        return math.inf, 0.0, 0.0
    x[k - 1] /= pivots[k - 1]
    for i in range(k - 2, -1, -1):
        x[i] = (x[i] - e[i] * x[i + 1]) / pivots[i]
    square = x[0] * x[0]
    value = x[0]
    curve = value * value / pivots[0]
    for i in range(1, k):
        square += x[i] * x[i]
        value = x[i] - e[i - 1] / pivots[i - 1] * value
        curve += value * value / pivots[i]
    return square, curve, least


@jit
def tridiagonal_step(
    d: FloatArray, e: FloatArray, b: FloatArray, radius: float, x: FloatArray
) -> tuple[int, float]:
    """Minimise ``b'x + x'Tx / 2`` over ``||x|| <= radius``; return the case and the multiplier.

    ``LOST`` is the hard case and what is too near it for a shift to tell.
    """
    k = d.shape[0]
    pivots = np.zeros(k)
    scale = 0.0
    lowest = math.inf
    least_diagonal = math.inf
    size = 0.0
    for i in range(k):
        around = abs(e[i]) + (abs(e[i - 1]) if i > 0 else 0.0)
        scale = max(scale, abs(d[i]) + around)
        lowest = min(lowest, d[i] - around)
        least_diagonal = min(least_diagonal, d[i])
        size += b[i] * b[i]
    size = math.sqrt(size)
    if not (0.0 < size < math.inf):
        return LOST, 0.0
    square, curve, least = shifted_newton(d, e, b, 0.0, x, pivots)
    if least > 1e-14 * scale and math.sqrt(square) <= radius:
        return NEWTON, 0.0
    low = max(0.0, -least_diagonal)
    high = max(size / radius - lowest, low) * (1.0 + 1e-12) + 1e-300
    sigma = 0.0
    for _ in range(200):
        length = math.sqrt(square)
        if least > 0.0 and abs(length - radius) <= 1e-12 * radius:
            break
        if least > 0.0 and length < radius:
            high = min(high, sigma)
        else:
            low = max(low, sigma)
        trial = math.nan
        if least > 0.0 and curve > 0.0:
            trial = sigma + (square / curve) * ((length - radius) / radius)
        if not low < trial < high:
            trial = math.sqrt(low * high) if 0.0 < low < 0.1 * high else 0.5 * (low + high)
        if high - low <= 4e-16 * high:
            break
        sigma = trial
        square, curve, least = shifted_newton(d, e, b, sigma, x, pivots)
    length = math.sqrt(square)
    if not (least > 0.0 and abs(length - radius) <= 1e-8 * radius):
        return LOST, sigma
    for i in range(k):
        x[i] *= radius / length
    return SPHERE, sigma


def _rotate(v: FloatArray, w: FloatArray, c: float, s: float) -> None:
    v[:], w[:] = c * v + s * w, c * w - s * v


@jit_or(_rotate)
def rotate(v: FloatArray, w: FloatArray, c: float, s: float) -> None:
    """Overwrite v by ``c v + s w`` and w by ``c w - s v``."""
    for t in range(v.shape[0]):
        top = v[t]
        v[t] = c * top + s * w[t]
        w[t] = c * w[t] - s * top


@jit
def rotated_eigen(d: FloatArray, e: FloatArray, vectors: FloatArray) -> bool:
    """Overwrite d by the eigenvalues, and the rows of `vectors` by the eigenvectors.

    The QR algorithm from the bottom up, with Wilkinson's shift and plane rotations; False when
    an eigenvalue takes more than 60 sweeps.
    """
    n = d.shape[0]
    for i in range(n):
        for j in range(n):
            vectors[i, j] = 1.0 if i == j else 0.0
    end = n - 1
    sweeps = 0
    while end > 0:
        begin = end
        while begin > 0:
            if abs(e[begin - 1]) <= 2.2e-16 * (abs(d[begin - 1]) + abs(d[begin])):
                e[begin - 1] = 0.0
                break
            begin -= 1
        if begin == end:
            end -= 1
            sweeps = 0
            continue
        sweeps += 1
        if sweeps > 60:
            return False
        half = 0.5 * (d[end - 1] - d[end])
        root = math.hypot(half, e[end - 1])
        shift = d[end]
        if root > 0.0:
            shift -= e[end - 1] * (e[end - 1] / (half + (root if half >= 0.0 else -root)))
        x = d[begin] - shift
        z = e[begin]
        for i in range(begin, end):
            r = math.hypot(x, z)
            c = x / r if r > 0.0 else 1.0
            s = z / r if r > 0.0 else 0.0
            if i > begin:
                e[i - 1] = r
            one = d[i]
            two = d[i + 1]
            off = e[i]
            d[i] = c * c * one + 2.0 * c * s * off + s * s * two
            d[i + 1] = s * s * one - 2.0 * c * s * off + c * c * two
            e[i] = c * s * (two - one) + (c * c - s * s) * off
            if i + 1 < end:
                x = e[i]
                z = s * e[i + 1]
                e[i + 1] *= c
            rotate(vectors[i], vectors[i + 1], c, s)
    return True


@jit
def matrix_step(
    a: FloatArray,
    b: FloatArray,
    gamma: float,
    outside: float,
    radius: float,
    x: FloatArray,
    info: FloatArray,
) -> int:
    """Minimise a quadratic over a ball; `a` and `b` are overwritten.

    The matrix is `a` and, for the last entry of `x` and `b`, gamma, where b has the entry
    `outside`; an `x` no longer than `a` has no such entry.  `b` is as long as `x`.  Writes the
    step and, to ``info[1:]``, ``g's``, ``s'Bs``, its length and the multiplier.
    """
    k = a.shape[0]
    n = x.shape[0]
    d = np.zeros(n)
    e = np.zeros(n)
    reflect_down(a, d, e, b)
    if n > k:
        d[k] = gamma
        b[k] = outside
    route, sigma = tridiagonal_step(d, e, b, radius, x)
    if route == LOST:
        values = d.copy()
        vectors = np.zeros((n, n))  # rows
        if not rotated_eigen(values, e.copy(), vectors):
            return LOST
        parts = np.zeros(n)
        small = np.zeros(n)
        for i in range(n):
            for j in range(n):
                parts[i] += vectors[i, j] * b[j]
        sigma, case, _ = trust_region_step(values, parts, radius, small)
        route = NEWTON if case == INTERIOR else SPHERE
        for i in range(n):
            x[i] = 0.0
        for j in range(n):
            for i in range(n):
                x[i] += vectors[j, i] * small[j]
    slope = inner(b, x)
    square = inner(x, x)
    quadratic = 0.0
    for i in range(n):
        quadratic += d[i] * x[i] * x[i]
        if i > 0:
            quadratic += 2.0 * e[i - 1] * x[i - 1] * x[i]
    info[1] = slope
    info[2] = quadratic
    info[3] = math.sqrt(square)
    info[4] = sigma
    reflect_back(a, x)
    return route
