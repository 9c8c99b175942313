"""Trust-region steps of hybrid pairs of which some are concave: fold, reduce, solve.

The model is formed, as a dense matrix where the pairs are as many as the variables and in a
basis of the pairs otherwise, made tridiagonal by reflections, and the subproblem solved on
that: each trial of the multiplier then costs O(k), and no eigenvectors are needed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from negopt.kernels._jit import jit
from negopt.kernels.hybrid import LOST, NEWTON, SPHERE
from negopt.kernels.model import INTERIOR, basis_factor, solve_kept, trust_region_step
from negopt.kernels.pairs import (
    CONCAVE,
    DEPENDENT,
    HYBRID_PAIRS,
    SKEW,
    add_outer,
    block_secant,
    inner,
    multiply,
    pair_model,
)

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]

#: A direction is dropped below this share (squared) of its row; most that a basis may be from
#: orthonormal.
DROP, LOSS = 1e-11, 1e-6


@jit
def tridiagonalise(a: FloatArray, d: FloatArray, e: FloatArray, b: FloatArray) -> None:
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
    """Overwrite the first entries of x by P x, with P as `tridiagonalise` left it in `a`."""
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


@jit
def tridiagonal_eigen(d: FloatArray, e: FloatArray, vectors: FloatArray) -> bool:
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
            for t in range(n):
                top = vectors[i, t]
                vectors[i, t] = c * top + s * vectors[i + 1, t]
                vectors[i + 1, t] = c * vectors[i + 1, t] - s * top
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
    `outside`; `x` as long as `a` has no such entry.  Writes the step and, to ``info[1:]``,
    ``g's``, ``s'Bs``, its length and the multiplier.
    """
    k = a.shape[0]
    n = x.shape[0]
    d = np.zeros(n)
    e = np.zeros(n)
    tridiagonalise(a, d, e, b)
    if n > k:
        d[k] = gamma
        b[k] = outside
    route, sigma = tridiagonal_step(d, e, b, radius, x)
    if route == LOST:
        values = d.copy()
        vectors = np.zeros((n, n))  # rows
        if not tridiagonal_eigen(values, e.copy(), vectors):
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


@jit
def dense_pairs(
    rows: FloatArray,
    order: IntArray,
    gamma: float,
    skip: float,
    window: int,
    model: FloatArray,
    used: IntArray,
) -> None:
    """Write the model of hybrid pairs, block included, as a dense matrix.

    Worth it where the pairs are as many as the variables; the rules are those of
    `negopt.kernels.pairs`, and rows 2i and 2i + 1 of `rows` are s and y of slot i.
    """
    n = rows.shape[1]
    for i in range(n):
        for j in range(n):
            model[i, j] = gamma if i == j else 0.0
    u = np.zeros(n)
    for i in range(order.shape[0]):
        s = rows[2 * order[i]]
        y = rows[2 * order[i] + 1]
        ss = inner(s, s)
        yy = inner(y, y)
        sy = inner(s, y)
        multiply(model, s, u)
        sbs = inner(s, u)
        bsbs = inner(u, u)
        used[i] = 0
        if sy > 1e-8 * math.sqrt(ss * yy) and sbs > 1e-8 * math.sqrt(ss * bsbs):
            add_outer(model, u, -1.0 / sbs)
            add_outer(model, y, 1.0 / sy)
            used[i] = 2
            continue
        size = 0.0
        for j in range(n):
            row = 0.0
            for t in range(n):
                row += abs(model[j, t] * s[t])
            size += row * row
            u[j] = y[j] - u[j]
        rs = inner(u, s)
        rr = inner(u, u)
        # N.B. what is below the rounding of y, or of B s, is no residual.
        real = rr > max(1e-14 * yy, 1e-20 * size)
        if real and abs(rs) >= skip * math.sqrt(rr * ss) and rs != 0.0:
            add_outer(model, u, 1.0 / rs)
            used[i] = 1
    k = 0
    if window > 1 and order.shape[0] > 1:
        chosen = np.zeros(window, dtype=np.int64)
        k = dense_block(rows, order, model, used, window, chosen)
        if k > 1:
            impose_dense(rows, order, model, chosen[:k])


@jit
def dense_block(
    rows: FloatArray,
    order: IntArray,
    model: FloatArray,
    used: IntArray,
    window: int,
    chosen: IntArray,
) -> int:
    """Choose the pairs of the block as `negopt.kernels.pairs.block_secant` does."""
    n = rows.shape[1]
    images = np.zeros((window, n))
    lengths = np.zeros(window)
    lower_b = np.zeros((window, window))
    lower_c = np.zeros((window, window))
    k = 0
    looked_at = 0
    for i in range(order.shape[0] - 1, -1, -1):
        if used[i] == 0:
            continue
        looked_at += 1
        if looked_at > window:
            break
        if used[i] != 2:
            if k == 0:
                return 0
            continue
        s = rows[2 * order[i]]
        y = rows[2 * order[i] + 1]
        sy = inner(s, y)
        multiply(model, s, images[k])
        sbs = inner(s, images[k])
        joins = sbs > 0.0
        pivot_b = 1.0
        pivot_c = 1.0
        for p in range(k):
            if not joins:
                break
            t = 2 * order[chosen[p]]
            size_c = math.sqrt(sy * inner(rows[t], rows[t + 1]))
            one = inner(s, rows[t + 1]) / size_c
            two = inner(rows[t], y) / size_c
            joins = abs(one - two) <= SKEW
            in_b = inner(images[p], s) / math.sqrt(sbs * lengths[p])
            in_c = 0.5 * (one + two)
            for q in range(p):
                in_b -= lower_b[k, q] * lower_b[p, q]
                in_c -= lower_c[k, q] * lower_c[p, q]
            lower_b[k, p] = in_b / lower_b[p, p]
            lower_c[k, p] = in_c / lower_c[p, p]
            pivot_b -= lower_b[k, p] ** 2
            pivot_c -= lower_c[k, p] ** 2
        if not (joins and pivot_b >= DEPENDENT and pivot_c >= CONCAVE):
            if k == 0:
                return 0
            continue
        lower_b[k, k] = math.sqrt(pivot_b)
        lower_c[k, k] = math.sqrt(pivot_c)
        chosen[k] = i
        lengths[k] = sbs
        k += 1
    return k


@jit
def impose_dense(rows: FloatArray, order: IntArray, model: FloatArray, pairs: IntArray) -> None:
    """Add ``Y C^-1 Y' - B S (S'BS)^-1 S'B`` of the pairs named to the model."""
    k = pairs.shape[0]
    n = rows.shape[1]
    u = np.zeros(n)
    lower = np.zeros((k, k))
    images = np.zeros((k, n))  # rows of L^-1 Y' with C = L L'
    for p in range(k):
        s = 2 * order[pairs[p]]
        multiply(model, rows[s], u)
        add_outer(model, u, -1.0 / inner(u, rows[s]))
        for j in range(n):
            images[p, j] = rows[s + 1, j]
        for q in range(p + 1):
            t = 2 * order[pairs[q]]
            value = 0.5 * (inner(rows[s], rows[t + 1]) + inner(rows[t], rows[s + 1]))
            for r in range(q):
                value -= lower[p, r] * lower[q, r]
            if p == q:
                lower[p, p] = math.sqrt(value)
            else:
                lower[p, q] = value / lower[q, q]
                for j in range(n):
                    images[p, j] -= lower[p, q] * images[q, j]
        for j in range(n):
            images[p, j] /= lower[p, p]
    for p in range(k):
        add_outer(model, images[p], 1.0)


@jit
def folded_step(
    gram: FloatArray,
    order: IntArray,
    gamma: float,
    skip: float,
    window: int,
    zg: FloatArray,
    gnorm: float,
    radius: float,
    coef: FloatArray,
    info: FloatArray,
    used: IntArray,
) -> int:
    """Take the exact trust-region step of any memory of hybrid pairs; see `convex_step`.

    ``LOST`` where the basis would not be orthonormal.  `used` says what became of each pair, as in `pair_model`.
    """
    c = order.shape[0]
    size = 2 * c
    rows = np.empty(size, dtype=np.int64)
    for i in range(c):
        rows[2 * i] = 2 * order[i]
        rows[2 * i + 1] = 2 * order[i] + 1
    sorted_gram = np.empty((size, size))
    for i in range(size):
        for j in range(size):
            sorted_gram[i, j] = gram[rows[i], rows[j]]
    core = np.empty((size, size))
    pair_model(sorted_gram, gamma, HYBRID_PAIRS, skip, core, used)
    if window > 1 and c > 1:
        block_secant(sorted_gram, gamma, core, used, window)
    factor = np.empty((size, size))
    kept = np.zeros(size, dtype=np.int64)
    k, loss = basis_factor(sorted_gram, DROP, factor, kept)
    if loss > LOSS:
        return LOST
    inside = np.empty(k)
    for i in range(k):
        inside[i] = zg[rows[kept[i]]]
    inside = solve_kept(factor, kept, k, inside, True)
    square = gnorm * gnorm - inner(inside, inside)
    half = np.zeros((k, size))  # factor core
    small = np.zeros((k, k))
    b = np.zeros(k + 1)
    for i in range(k):
        b[i] = inside[i]
        for j in range(size):
            weight = factor[i, j]
            if weight != 0.0:
                for t in range(size):
                    half[i, t] += weight * core[j, t]
        for j in range(i + 1):
            small[i, j] = inner(half[i], factor[j])
            small[j, i] = small[i, j]
        small[i, i] += gamma
    x = np.zeros(k + 1)
    outside = math.sqrt(max(square, 0.0))
    route = matrix_step(small, b, gamma, outside, radius, x, info)
    if route == LOST:
        return LOST
    # N.B. what is left of g outside keeps its digits here, however little it is: the factor on g
    # does not depend on its length.
    bottom = gamma + info[4]
    if outside > 0.0:
        info[0] = x[k] / outside
    elif x[k] != 0.0 or not bottom > 0.0:  # the hard case in a direction that is not at hand
        return LOST
    else:
        info[0] = -1.0 / bottom
    for i in range(k):
        inside[i] = x[i] - info[0] * inside[i]
    weights = solve_kept(factor, kept, k, inside, False)
    for i in range(coef.shape[0]):
        coef[i] = 0.0
    for i in range(k):
        coef[rows[kept[i]]] = weights[i]
    return route


@jit
def dense_step(
    rows: FloatArray,
    order: IntArray,
    gamma: float,
    skip: float,
    window: int,
    g: FloatArray,
    radius: float,
    step: FloatArray,
    info: FloatArray,
    used: IntArray,
) -> int:
    """Take the same step where the pairs are as many as the variables; `step` is the step."""
    n = g.shape[0]
    model = np.empty((n, n))
    dense_pairs(rows, order, gamma, skip, window, model, used)
    info[0] = 0.0
    return matrix_step(model, g.copy(), gamma, 0.0, radius, step, info)
