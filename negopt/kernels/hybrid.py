"""Trust-region steps of convex limited memories, without a basis and without a fold.

Where every stored pair is convex the model of `negopt.curvature.lqn` is the BFGS matrix of
its pairs, oldest first, and then one block of the newest:

    ``B = gamma I - [gamma S, Y] N^-1 [gamma S, Y]'``, ``N = [gamma S'S, L; L', -D]``

with the block as last columns of S and Y once more; D is block diagonal, L the part of S'Y
strictly below it.  A Newton step is the inverse of this form, O(m^2) on inner products; a
shifted system ``(B + sigma I) x = g`` is one quasi-definite system of order 2m, for which two
Cholesky factors exist.  Nothing here needs an orthonormal basis, and near-dependent pairs
cost the square root of what they cost there.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from negopt.kernels._jit import jit, jit_or
from negopt.kernels.pairs import CONCAVE, DEPENDENT, SKEW
from negopt.kernels.shifted import LOST, NEWTON, SPHERE, gather, next_shift, sphere_step

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]

__all__ = ["LOST", "NEWTON", "SPHERE", "all_convex", "convex_block", "convex_step"]


@jit
def all_convex(gram: FloatArray, order: IntArray) -> bool:
    """Tell whether every stored pair is safely convex."""
    for i in range(order.shape[0]):
        s = 2 * order[i]
        if not gram[s, s + 1] > 1e-8 * math.sqrt(gram[s, s] * gram[s + 1, s + 1]):
            return False
    return True


def _inverse_apply(
    sy: FloatArray,
    ys: FloatArray,
    yy: FloatArray,
    gamma: float,
    sv: FloatArray,
    yv: FloatArray,
    p: FloatArray,
    q: FloatArray,
) -> None:
    c = sv.shape[0]
    p[:] = sv
    for j in range(c - 1, -1, -1):
        p[j] /= ys[j, j]
        p[:j] -= ys[j, :j] * p[j]
    q[:] = p + (yy @ p - yv) / gamma
    for j in range(c):
        q[j] /= sy[j, j]
        q[j + 1 :] -= sy[j, j + 1 :] * q[j]


@jit_or(_inverse_apply)
def inverse_apply(
    sy: FloatArray,
    ys: FloatArray,
    yy: FloatArray,
    gamma: float,
    sv: FloatArray,
    yv: FloatArray,
    p: FloatArray,
    q: FloatArray,
) -> None:
    """Write p and q of ``H v = v / gamma + S q - Y p / gamma``, the inverse BFGS model.

    Pairs are scaled to ``s'y = 1``; `sv` and `yv` are S'v and Y'v.  This is the two-loop
    recursion: p and q solve with the upper triangle R of S'Y and with its transpose.
    """
    c = sv.shape[0]
    for i in range(c):
        p[i] = sv[i]
        q[i] = -yv[i]
    for j in range(c - 1, -1, -1):
        value = p[j] / ys[j, j]
        p[j] = value
        for i in range(j):
            p[i] -= ys[j, i] * value
        for i in range(c):
            q[i] += yy[j, i] * value
    for i in range(c):
        q[i] = p[i] + q[i] / gamma
    for j in range(c):
        value = q[j] / sy[j, j]
        q[j] = value
        for i in range(j + 1, c):
            q[i] -= sy[j, i] * value


@jit
def choose_block(
    sy: FloatArray, ys: FloatArray, yy: FloatArray, gamma: float, window: int, block: IntArray
) -> int:
    """Choose the newest pairs whose secant equations are imposed together; return how many.

    A pair joins when Y'HY, with the inverse H of the model before the block, and C stay well
    conditioned (pivots above ``DEPENDENT`` and ``CONCAVE`` when scaled to unit diagonals), and
    when its two measurements of a cross curvature differ by less than ``SKEW``: the rule of
    `negopt.kernels.pairs.block_secant`, seen from the inverse.
    """
    c = sy.shape[0]
    if window < 2 or c < 2:
        return 0
    lower_h = np.zeros((window, window))
    lower_c = np.zeros((window, window))
    sizes = np.zeros(window)
    p = np.zeros(c)
    q = np.zeros(c)
    block[0] = c - 1  # H y = s for the newest
    lower_h[0, 0] = 1.0
    lower_c[0, 0] = 1.0
    sizes[0] = 1.0
    k = 1
    for i in range(c - 2, max(c - 1 - window, -1), -1):
        joins = True
        pivot = 1.0
        for r in range(k):
            j = block[r]
            joins = joins and abs(sy[i, j] - sy[j, i]) <= SKEW
            value = 0.5 * (sy[i, j] + sy[j, i])
            for t in range(r):
                value -= lower_c[k, t] * lower_c[r, t]
            lower_c[k, r] = value / lower_c[r, r]
            pivot -= lower_c[k, r] ** 2
        if not (joins and pivot >= CONCAVE):
            continue
        lower_c[k, k] = math.sqrt(pivot)
        inverse_apply(sy, ys, yy, gamma, ys[i], yy[i], p, q)
        yhy = yy[i, i] / gamma
        for t in range(c):
            yhy += ys[i, t] * q[t] - yy[i, t] * p[t] / gamma
        if not yhy > 0.0:
            continue
        pivot = 1.0
        for r in range(k):
            j = block[r]
            value = yy[j, i] / gamma
            for t in range(c):
                value += ys[j, t] * q[t] - yy[j, t] * p[t] / gamma
            value /= math.sqrt(yhy * sizes[r])
            for t in range(r):
                value -= lower_h[k, t] * lower_h[r, t]
            lower_h[k, r] = value / lower_h[r, r]
            pivot -= lower_h[k, r] ** 2
        if not pivot >= DEPENDENT:
            continue
        lower_h[k, k] = math.sqrt(pivot)
        sizes[k] = yhy
        block[k] = i
        k += 1
    return k if k > 1 else 0


@jit
def block_factor(sy: FloatArray, block: IntArray, k: int, lu: FloatArray) -> None:
    """Factor the block's S'Y, whose symmetric part is definite, without pivoting."""
    for i in range(k):
        for j in range(k):
            lu[i, j] = sy[block[i], block[j]]
    for j in range(k):
        for i in range(j + 1, k):
            lu[i, j] /= lu[j, j]
            for t in range(j + 1, k):
                lu[i, t] -= lu[i, j] * lu[j, t]


@jit
def block_apply(
    sy: FloatArray,
    ys: FloatArray,
    yy: FloatArray,
    gamma: float,
    block: IntArray,
    k: int,
    lu: FloatArray,
    sv: FloatArray,
    yv: FloatArray,
    vv: float,
    cs: FloatArray,
    cy: FloatArray,
) -> float:
    """Write the coefficients of ``H v = v / gamma + S cs + Y cy``; return v'Hv.

    H is the inverse of the model with its block, ``(I - S A^-1 Y') H (I - Y A^-T S') +
    S A^-1 C A^-T S'`` with ``A = Y'S`` of the block.  v'Hv is a sum of squares, so that it
    keeps its digits; N.B. `sv` and `yv` are overwritten.
    """
    c = sv.shape[0]
    t = np.zeros(k)
    for i in range(k):  # A' t = S'v
        t[i] = sv[block[i]]
        for j in range(i):
            t[i] -= lu[i, j] * t[j]
    for i in range(k - 1, -1, -1):
        for j in range(i + 1, k):
            t[i] -= lu[i, j] * t[j]
        t[i] /= lu[i, i]
    for r in range(k):
        b = block[r]
        vv -= t[r] * yv[b]
        for i in range(c):
            sv[i] -= ys[b, i] * t[r]
            yv[i] -= yy[b, i] * t[r]
        vv -= t[r] * yv[b]
        # N.B. (v - t y)'(v - t y) = v'v - t y'v - t y'(v - t y).
    inverse_apply(sy, ys, yy, gamma, sv, yv, cy, cs)
    rest = vv
    total = 0.0
    for j in range(c):
        rest -= 2.0 * cy[j] * yv[j]
        total += cy[j] * cy[j]
    for j in range(c):
        value = 0.0
        for i in range(c):
            value += yy[j, i] * cy[i]
        rest += cy[j] * value
    total += max(rest, 0.0) / gamma
    w = np.zeros(k)
    for r in range(k):
        b = block[r]
        value = yv[b] / gamma
        for i in range(c):
            value += ys[b, i] * cs[i] - yy[b, i] * cy[i] / gamma
        ct = 0.0
        for j in range(k):
            ct += 0.5 * (sy[b, block[j]] + sy[block[j], b]) * t[j]
        total += t[r] * ct
        w[r] = ct - value
    for i in range(c):
        cy[i] = -cy[i] / gamma
    for i in range(k):  # A w = C t - Y'Hv
        for j in range(i):
            w[i] -= lu[j, i] * w[j]
        w[i] /= lu[i, i]
    for i in range(k - 1, -1, -1):
        for j in range(i + 1, k):
            w[i] -= lu[j, i] * w[j]
        cs[block[i]] += w[i]
        cy[block[i]] -= t[i] / gamma
    return total


@jit
def convex_step(
    gram: FloatArray,
    order: IntArray,
    gamma: float,
    window: int,
    zg: FloatArray,
    gnorm: float,
    radius: float,
    coef: FloatArray,
    info: FloatArray,
) -> int:
    """Take the exact trust-region step of a memory whose pairs are all convex.

    Parameters
    ----------
    gram : array, shape (2m, 2m)
        Inner products of the rows of Z; rows 2i and 2i + 1 are s and y of slot i.
    order : array of int, shape (c,)
        Slots in use, oldest first; the first c slots are in use.
    gamma : float
        B is gamma I before its first pair.
    window : int
        Most pairs of the block.
    zg : array, shape (2m,)
        Z g.
    gnorm, radius : float
    coef : array, shape (2m,)
        Output: the step is ``info[0] g + Z' coef``.
    info : array, shape (5,)
        Output: the coefficient on g, g's, s'Bs, ``||s||`` and the multiplier.

    Returns
    -------
    int
        ``NEWTON``, ``SPHERE``, or ``LOST`` where rounding has the last word and the model
        must be formed.

    References
    ----------
    Byrd, Nocedal and Schnabel (1994), Mathematical Programming 63, 129-156,
    doi:10.1007/BF01582063.  Burdakov, Gong, Zikrin and Yuan (2017), Mathematical
    Programming Computation 9, 101-134, doi:10.1007/s12532-016-0109-7.
    """
    c = order.shape[0]
    scale = np.zeros(c)
    sv = np.zeros(c)
    yv = np.zeros(c)
    for i in range(c):
        s = 2 * order[i]
        scale[i] = 1.0 / math.sqrt(gram[s, s + 1])
        sv[i] = scale[i] * zg[s]
        yv[i] = scale[i] * zg[s + 1]
    block = np.zeros(max(window, 1), dtype=np.int64)
    sy = np.empty((c, c))
    ys = np.empty((c, c))
    yy = np.empty((c, c))
    gather(gram, order, block, 0, scale, sy, 0, 1)
    gather(gram, order, block, 0, scale, yy, 1, 1)
    for i in range(c):
        for j in range(c):
            ys[i, j] = sy[j, i]
    k = choose_block(sy, ys, yy, gamma, window, block)
    lu = np.zeros((k, k))
    block_factor(sy, block, k, lu)
    cs = np.zeros(c)
    cy = np.zeros(c)
    gg = gnorm * gnorm
    decrease = block_apply(sy, ys, yy, gamma, block, k, lu, sv, yv, gg, cs, cy)
    for i in range(coef.shape[0]):
        coef[i] = 0.0
    for i in range(c):
        coef[2 * order[i]] = -scale[i] * cs[i]
        coef[2 * order[i] + 1] = -scale[i] * cy[i]
    image = np.zeros(2 * c)  # Z s
    slope = -gg / gamma
    terms = gg / gamma
    for i in range(2 * c):
        image[i] = -zg[i] / gamma
        slope += coef[i] * zg[i]
        terms += abs(coef[i] * zg[i])
    for i in range(2 * c):
        for j in range(2 * c):
            image[j] += gram[i, j] * coef[i]
    square = -slope / gamma
    for i in range(2 * c):
        square += coef[i] * image[i]
    if not (square > 0.0 and abs(slope + decrease) <= 1e-6 * decrease + 1e-13 * terms):
        return LOST
    info[0] = -1.0 / gamma
    info[1] = -decrease
    info[2] = decrease
    info[3] = math.sqrt(square)
    info[4] = 0.0
    if info[3] <= radius:
        return NEWTON
    for i in range(c):  # the shift that follows from the Newton step and its image
        sv[i] = -scale[i] * image[2 * order[i]]
        yv[i] = -scale[i] * image[2 * order[i] + 1]
    sx = sv.copy()
    yx = yv.copy()
    xz = block_apply(sy, ys, yy, gamma, block, k, lu, sx, yx, square, cs, cy)
    zz = square / gamma
    for i in range(c):
        sx[i] = sv[i] / gamma
        yx[i] = yv[i] / gamma
        zz += cs[i] * sv[i] + cy[i] * yv[i]
    for j in range(c):
        s = 2 * order[j]
        for i in range(c):
            sx[i] += scale[i] * (gram[s, 2 * order[i]] * scale[j]) * cs[j] + ys[j, i] * cy[j]
            yx[i] += sy[j, i] * cs[j] + yy[j, i] * cy[j]
    zz /= gamma
    for i in range(c):
        zz += cs[i] * sx[i] + cy[i] * yx[i]
    sigma = next_shift(0.0, square, xz, max(zz, 0.0), radius, 0.0, gnorm / radius)
    return sphere_step(gram, order, block, k, scale, gamma, sigma, zg, gnorm, radius, coef, info)


@jit
def convex_block(
    gram: FloatArray, order: IntArray, gamma: float, window: int, block: IntArray
) -> int:
    """Write the block of `convex_step`, positions in `order`, to `block`; return its length."""
    c = order.shape[0]
    scale = np.zeros(c)
    for i in range(c):
        s = 2 * order[i]
        scale[i] = 1.0 / math.sqrt(gram[s, s + 1])
    sy = np.empty((c, c))
    yy = np.empty((c, c))
    gather(gram, order, block, 0, scale, sy, 0, 1)
    gather(gram, order, block, 0, scale, yy, 1, 1)
    return choose_block(sy, np.ascontiguousarray(sy.T), yy, gamma, window, block)
