"""The small algebra of limited memories: pairs folded into a compact model.

They see small float64 host arrays only: inner products of the stored pairs, and the
coefficients of vectors in them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from negopt.kernels._jit import jit, jit_lean, jit_or

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]

SR1_PAIRS, HYBRID_PAIRS, BFGS_PAIRS = 0, 1, 2

#: Least pivot of S'BS, and of the measured S'Y, scaled to unit diagonals, with which a pair
#: joins a block; most that two measurements of one cross curvature may differ.
DEPENDENT, CONCAVE, SKEW = 0.01, 0.05, 0.5


def _multiply(matrix: FloatArray, v: FloatArray, out: FloatArray) -> None:
    np.matmul(matrix, v, out=out)


@jit_or(_multiply)
def multiply(matrix: FloatArray, v: FloatArray, out: FloatArray) -> None:
    """Write ``matrix v`` to `out`; `matrix` is symmetric."""
    for i in range(v.shape[0]):
        total = 0.0
        for j in range(v.shape[0]):
            total += matrix[i, j] * v[j]
        out[i] = total


def _add_outer(matrix: FloatArray, v: FloatArray, scale: float) -> None:
    matrix += scale * np.outer(v, v)


@jit_or(_add_outer)
def add_outer(matrix: FloatArray, v: FloatArray, scale: float) -> None:
    """Add ``scale v v'`` to `matrix`."""
    for i in range(v.shape[0]):
        for j in range(v.shape[0]):
            matrix[i, j] += scale * (v[i] * v[j])


def _inner(v: FloatArray, w: FloatArray) -> float:
    return float(v @ w)


@jit_or(_inner)
def inner(v: FloatArray, w: FloatArray) -> float:
    """Return ``v'w``."""
    total = 0.0
    for i in range(v.shape[0]):
        total += v[i] * w[i]
    return total


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
    size = gram.shape[0]
    count = size // 2
    for i in range(size):
        for j in range(size):
            core[i, j] = 0.0
    u = np.zeros(size)  # coefficients of B s, then of y - B s
    gu = np.zeros(size)
    for i in range(count):
        s = 2 * i
        y = s + 1
        ss = gram[s, s]
        yy = gram[y, y]
        sy = gram[s, y]
        multiply(core, gram[s], u)
        u[s] += gamma
        multiply(gram, u, gu)
        sbs = gu[s]
        bsbs = max(inner(u, gu), 0.0)
        used[i] = 0
        convex = sy > 1e-8 * math.sqrt(ss * yy) and sbs > 1e-8 * math.sqrt(ss * bsbs)
        if rule != SR1_PAIRS and convex:
            add_outer(core, u, -1.0 / sbs)
            core[y, y] += 1.0 / sy
            used[i] = 2
            continue
        if rule == BFGS_PAIRS:
            continue
        for j in range(size):
            u[j] = -u[j]
        u[y] += 1.0
        multiply(gram, u, gu)
        rs = gu[s]
        rr = inner(u, gu)
        # N.B. below 1e-14 y'y the residual is rounding, and so it is where its coefficients
        # cancel: the secant equation already holds.
        terms = 0.0
        for j in range(size):
            terms += abs(u[j]) * math.sqrt(gram[j, j])
        real = rr > max(1e-14 * yy, 2e-13 * terms * terms)
        if real and abs(rs) >= skip * math.sqrt(rr * ss) and rs != 0.0:
            add_outer(core, u, 1.0 / rs)
            used[i] = 1


@jit
def impose_block(gram: FloatArray, gamma: float, core: FloatArray, pairs: IntArray) -> None:
    """Add ``Y C^-1 Y' - B S (S'BS)^-1 S'B`` of the pairs named; see `block_secant`."""
    size = gram.shape[0]
    k = pairs.shape[0]
    u = np.zeros(size)
    lower = np.zeros((k, k))  # Cholesky factor of C, scaled to a unit diagonal
    for p in range(k):
        s = 2 * pairs[p]
        multiply(core, gram[s], u)
        u[s] += gamma
        add_outer(core, u, -1.0 / inner(u, gram[s]))  # B s = 0 from here on
        for q in range(p + 1):
            t = 2 * pairs[q]
            value = 0.5 * (gram[s, t + 1] + gram[t, s + 1])
            value /= math.sqrt(gram[s, s + 1] * gram[t, t + 1])
            for r in range(q):
                value -= lower[p, r] * lower[q, r]
            lower[p, q] = math.sqrt(value) if p == q else value / lower[q, q]
    column = np.zeros(k)
    for p in range(k):  # the rows of L^-1 Y', coefficients on y alone
        u[:] = 0.0
        for q in range(p, -1, -1):
            value = 1.0 if p == q else 0.0
            for r in range(q + 1, p + 1):
                value -= column[r] * lower[r, q]
            column[q] = value / lower[q, q]
            t = 2 * pairs[q]
            u[t + 1] = column[q] / math.sqrt(gram[t, t + 1])
        add_outer(core, u, 1.0)


@jit
def block_secant(
    gram: FloatArray, gamma: float, core: FloatArray, used: IntArray, window: int
) -> int:
    """Impose the secant equations of the newest pairs at once, by a block BFGS update.

    Pair after pair, BFGS satisfies the newest equation and loses the older ones.  With S and
    Y of up to `window` newest convex pairs, and ``C = (S'Y + Y'S) / 2``, this adds

        ``B - B S (S'BS)^-1 S'B + Y C^-1 Y'``

    which is positive definite when B is, and for which ``B S = Y`` where f is quadratic.

    Parameters
    ----------
    gram : array, shape (2c, 2c)
    gamma : float
    core : array, shape (2c, 2c)
        As `pair_model` left it; updated.
    used : array, shape (c,)
        As `pair_model` left it.
    window : int
        Most pairs that are looked at, counted from the newest.

    Returns
    -------
    int
        Pairs in the block; below 2 nothing was changed.

    Notes
    -----
    A pair joins when both ``S'BS`` and C stay well conditioned, scaled to unit diagonals
    (pivots above ``DEPENDENT`` and ``CONCAVE``), and when its two measurements of the
    cross curvature, ``s_i'y_j`` and ``s_j'y_i``, differ by less than ``SKEW``: all three
    are invariant under a linear change of variables.

    References
    ----------
    Schnabel (1983), Quasi-Newton methods using multiple secant equations, University of
    Colorado, CU-CS-247-83.  Gao and Goldfarb (2018), Block BFGS methods, SIAM J. Optim. 28,
    1205-1231, doi:10.1137/16M1092106.
    """
    size = gram.shape[0]
    newest = size // 2 - 1
    chosen = np.zeros(window, dtype=np.int64)  # rows of s
    lengths = np.zeros(window)  # s'Bs
    lower_b = np.zeros((window, window))  # Cholesky factors of scaled S'BS and C
    lower_c = np.zeros((window, window))
    u = np.zeros(size)
    gu = np.zeros(size)
    k = 0
    looked_at = 0
    for pair in range(newest, -1, -1):
        s = 2 * pair
        if used[pair] == 0:  # a skipped pair leaves the model as it was
            continue
        looked_at += 1
        if looked_at > window:
            break
        if used[pair] != 2:
            if k == 0:  # the newest equation is that of a concave pair: it stays
                return 0
            continue
        multiply(core, gram[s], u)
        u[s] += gamma
        multiply(gram, u, gu)
        sbs = gu[s]
        sy = gram[s, s + 1]
        joins = sbs > 0.0
        pivot_b = 1.0
        pivot_c = 1.0
        for p in range(k):
            if not joins:
                break
            other = chosen[p]
            size_c = math.sqrt(sy * gram[other, other + 1])
            one = gram[s, other + 1] / size_c
            two = gram[other, s + 1] / size_c
            joins = abs(one - two) <= SKEW
            in_b = gu[other] / math.sqrt(sbs * lengths[p])
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
        chosen[k] = s
        lengths[k] = sbs
        k += 1
    if k > 1:
        impose_block(gram, gamma, core, chosen[:k] // 2)
    return k


@jit_lean
def two_loops(
    gram: FloatArray, order: IntArray, products: FloatArray, weights: FloatArray
) -> float:
    """Write ``H v`` of L-BFGS as coefficients of the rows; return that of v itself.

    Parameters
    ----------
    gram : array, shape (2m, 2m)
        Products of the stored rows, as in `negopt.curvature.compact.PairMemory`.
    order : array, shape (k,)
        Occupied slots, oldest first; at least one.
    products : array, shape (2m,)
        Of the rows with v.  They are kept those of the rows with the vector q that the
        textbook's loops would hold: taking ``a y_i`` from q takes ``a`` times a column of the
        Gram matrix from them.
    weights : array, shape (2m,)
        Output.
    """
    count = order.shape[0]
    newest = 2 * order[count - 1]
    scale = gram[newest, newest + 1] / gram[newest + 1, newest + 1]
    for slot in order[::-1]:
        i = 2 * slot
        a = products[i] / gram[i, i + 1]
        for r in range(2 * count):
            products[r] -= a * gram[i + 1, r]
        weights[i] = a
        weights[i + 1] = -scale * a
    for r in range(2 * count):
        products[r] *= scale
    for slot in order:
        i = 2 * slot
        change = weights[i] - products[i + 1] / gram[i, i + 1]
        for r in range(2 * count):
            products[r] += change * gram[i, r]
        weights[i] = change
    return scale  # type: ignore[no-any-return]
