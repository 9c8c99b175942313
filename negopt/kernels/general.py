"""Trust-region steps of hybrid pairs of which some are concave.

The model is formed, as a dense matrix where the pairs are as many as the variables and in a
basis of the pairs otherwise.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from negopt.kernels._jit import jit, jit_or
from negopt.kernels.ball import matrix_step
from negopt.kernels.model import basis_factor, solve_kept
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
from negopt.kernels.shifted import LOST

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]

#: A direction is dropped below this share (squared) of its row; most that a basis may be from
#: orthonormal.
DROP, LOSS = 1e-11, 1e-6
#: What `fold_and_step` says of pairs whose basis would be further from it.
DEPENDENT_PAIRS = -1


def _absolute_square(matrix: FloatArray, v: FloatArray) -> float:
    return float(np.sum((np.abs(matrix) @ np.abs(v)) ** 2))


@jit_or(_absolute_square)
def absolute_square(matrix: FloatArray, v: FloatArray) -> float:
    """Return the squared length of ``|matrix| |v|``, the size of the rounding of their product."""
    total = 0.0
    for i in range(v.shape[0]):
        row = 0.0
        for j in range(v.shape[0]):
            row += abs(matrix[i, j] * v[j])
        total += row * row
    return total


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
        size = absolute_square(model, s)
        for j in range(n):
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


def _congruence(factor: FloatArray, core: FloatArray, out: FloatArray) -> None:
    product = factor @ core @ factor.T
    out[:] = 0.5 * (product + product.T)


@jit_or(_congruence)
def congruence(factor: FloatArray, core: FloatArray, out: FloatArray) -> None:
    """Write ``F core F'`` to `out`."""
    k, size = factor.shape
    row = np.zeros(size)
    for i in range(k):
        row[:] = 0.0
        for j in range(size):
            weight = factor[i, j]
            if weight != 0.0:
                for t in range(size):
                    row[t] += weight * core[j, t]
        for j in range(i + 1):
            out[i, j] = inner(row, factor[j])
            out[j, i] = out[i, j]


@jit
def fold_and_step(
    gram: FloatArray,
    order: IntArray,
    used: IntArray,
    gamma: float,
    skip: float,
    window: int,
    zg: FloatArray,
    gnorm: float,
    radius: float,
    coef: FloatArray,
    info: FloatArray,
) -> int:
    """Take the step of `folded_step` with all of these pairs, or ``DEPENDENT_PAIRS``."""
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
        return DEPENDENT_PAIRS
    inside = np.empty(k)
    for i in range(k):
        inside[i] = zg[rows[kept[i]]]
    inside = solve_kept(factor, kept, k, inside, True)
    square = gnorm * gnorm - inner(inside, inside)
    small = np.zeros((k, k))
    congruence(factor[:k], core, small)
    b = np.zeros(k + 1)
    for i in range(k):
        b[i] = inside[i]
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

    Where pairs are so nearly dependent that their basis would not be orthonormal, the oldest
    quarter of them is left out until it is.  `used` says what became of each pair, as in
    `pair_model`.
    """
    c = order.shape[0]
    while c > 0:
        left_out = order.shape[0] - c
        for i in range(left_out):
            used[i] = 0
        route = fold_and_step(
            gram,
            order[left_out:],
            used[left_out:],
            gamma,
            skip,
            window,
            zg,
            gnorm,
            radius,
            coef,
            info,
        )
        if route != DEPENDENT_PAIRS:
            return route
        c -= max(c // 4, 1)
    return LOST
