"""Shifted systems ``(B + sigma I) x = g`` of convex pairs, and the shift for a given length.

See `negopt.kernels.hybrid` for the form of B.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from negopt.kernels._jit import jit, jit_or

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]

#: What a trust-region kernel found: the Newton step, a step on the boundary, or (rounding)
#: nothing.
NEWTON, SPHERE, LOST = 0, 1, 2

#: The boundary is met to this share of the radius before the step is put onto it.
ON_SPHERE = 1e-9


def _gather(
    gram: FloatArray,
    order: IntArray,
    block: IntArray,
    k: int,
    scale: FloatArray,
    out: FloatArray,
    left: int,
    right: int,
) -> None:
    pairs = np.append(np.arange(order.shape[0]), block[:k])
    rows, sizes = 2 * order[pairs], scale[pairs]
    out[:] = gram[np.ix_(rows + left, rows + right)] * np.outer(sizes, sizes)


@jit_or(_gather)
def gather(
    gram: FloatArray,
    order: IntArray,
    block: IntArray,
    k: int,
    scale: FloatArray,
    out: FloatArray,
    left: int,
    right: int,
) -> None:
    """Write inner products of scaled pairs, oldest first and then the block, to `out`.

    ``left`` and ``right`` are 0 for s and 1 for y.
    """
    c = order.shape[0]
    for i in range(c + k):
        a = i if i < c else block[i - c]
        row = 2 * order[a] + left
        for j in range(c + k):
            b = j if j < c else block[j - c]
            out[i, j] = gram[row, 2 * order[b] + right] * (scale[a] * scale[b])


def _upper_cholesky(a: FloatArray) -> bool:
    if not np.all(np.isfinite(a)):
        return False
    try:
        a[:] = np.linalg.cholesky(a.T).T  # reads one triangle only
    except np.linalg.LinAlgError:
        return False
    return True


@jit_or(_upper_cholesky)
def upper_cholesky(a: FloatArray) -> bool:
    """Overwrite the upper triangle of `a` by U with ``a = U'U``; False when there is none."""
    n = a.shape[0]
    for j in range(n):
        pivot = a[j, j]
        if not 0.0 < pivot < math.inf:
            return False
        root = 1.0 / math.sqrt(pivot)
        for i in range(j, n):
            a[j, i] *= root
        for i in range(j + 1, n):
            weight = a[j, i]
            for t in range(i, n):
                a[i, t] -= weight * a[j, t]
    return True


def _upper_solve(u: FloatArray, x: FloatArray) -> None:
    n = x.shape[0]
    for j in range(n):
        x[j] /= u[j, j]
        x[j + 1 :] -= u[j, j + 1 :] * x[j]
    for j in range(n - 1, -1, -1):
        x[j] = (x[j] - u[j, j + 1 :] @ x[j + 1 :]) / u[j, j]


@jit_or(_upper_solve)
def upper_solve(u: FloatArray, x: FloatArray) -> None:
    """Overwrite x by ``(U'U)^-1 x``."""
    n = x.shape[0]
    for j in range(n):
        x[j] /= u[j, j]
        for i in range(j + 1, n):
            x[i] -= u[j, i] * x[j]
    for j in range(n - 1, -1, -1):
        total = x[j]
        for i in range(j + 1, n):
            total -= u[j, i] * x[i]
        x[j] = total / u[j, j]


def _shifted_factor(
    ss: FloatArray,
    ys: FloatArray,
    yy: FloatArray,
    c: int,
    gamma: float,
    sigma: float,
    x: FloatArray,
    e: FloatArray,
    schur: FloatArray,
    w: FloatArray,
) -> bool:
    tau, ratio = gamma + sigma, sigma / gamma
    e[:] = yy
    e[:c, :c] += tau * np.eye(c)
    e[c:, c:] += (0.5 * tau) * (ys[c:, c:] + ys[c:, c:].T)
    x[:] = -ys
    x[:c] += (1.0 + ratio) * np.triu(ys[:c], 1)
    if not _upper_cholesky(e):
        return False
    w[:] = np.linalg.solve(e.T, x)
    schur[:] = ratio * ss + w.T @ w
    return _upper_cholesky(schur)


@jit_or(_shifted_factor)
def shifted_factor(
    ss: FloatArray,
    ys: FloatArray,
    yy: FloatArray,
    c: int,
    gamma: float,
    sigma: float,
    x: FloatArray,
    e: FloatArray,
    schur: FloatArray,
    w: FloatArray,
) -> bool:
    """Factor the quasi-definite system of ``B + sigma I``.

    It is ``[sigma/gamma S'S, X; X', -E]`` with ``X = sigma/gamma L - R``, R the rest of S'Y,
    and ``E = (gamma + sigma) D + Y'Y``.  X' goes to `x`, the Cholesky factors of E and of
    ``sigma/gamma S'S + X E^-1 X'`` to `e` and `schur`; `w` is scratch.  Pair c and later are
    those of the block.
    """
    n = ss.shape[0]
    tau = gamma + sigma
    ratio = sigma / gamma
    for j in range(n):
        for i in range(n):
            e[j, i] = yy[j, i]
            x[j, i] = -ys[j, i]
            schur[j, i] = ratio * ss[j, i]
        if j < c:
            e[j, j] += tau
            for i in range(j + 1, n):
                x[j, i] = ratio * ys[j, i]
        else:
            for i in range(c, n):
                e[j, i] += tau * (0.5 * (ys[j, i] + ys[i, j]))
    if not upper_cholesky(e):
        return False
    for j in range(n):
        for i in range(n):
            w[j, i] = x[j, i]
    for j in range(n):
        root = 1.0 / e[j, j]
        for i in range(n):
            w[j, i] *= root
        for t in range(j + 1, n):
            weight = e[j, t]
            for i in range(n):
                w[t, i] -= weight * w[j, i]
        for t in range(n):
            weight = w[j, t]
            for i in range(t, n):
                schur[t, i] += weight * w[j, i]
    return upper_cholesky(schur)


def _shifted_solve(
    x: FloatArray,
    e: FloatArray,
    schur: FloatArray,
    sv: FloatArray,
    yv: FloatArray,
    u: FloatArray,
    w: FloatArray,
) -> None:
    w[:] = yv
    _upper_solve(e, w)
    u[:] = sv + x.T @ w
    _upper_solve(schur, u)
    w[:] = x @ u - yv
    _upper_solve(e, w)


@jit_or(_shifted_solve)
def shifted_solve(
    x: FloatArray,
    e: FloatArray,
    schur: FloatArray,
    sv: FloatArray,
    yv: FloatArray,
    u: FloatArray,
    w: FloatArray,
) -> None:
    """Write u and w of ``(B + sigma I)^-1 v = (v + S u + Y w) / (gamma + sigma)``."""
    n = sv.shape[0]
    for j in range(n):
        w[j] = yv[j]
        u[j] = sv[j]
    upper_solve(e, w)
    for j in range(n):
        for i in range(n):
            u[i] += x[j, i] * w[j]
    upper_solve(schur, u)
    for j in range(n):
        total = -yv[j]
        for i in range(n):
            total += x[j, i] * u[i]
        w[j] = total
    upper_solve(e, w)


def _shifted_products(
    ss: FloatArray,
    sy: FloatArray,
    ys: FloatArray,
    yy: FloatArray,
    tau: float,
    sv: FloatArray,
    yv: FloatArray,
    u: FloatArray,
    w: FloatArray,
    sx: FloatArray,
    yx: FloatArray,
) -> None:
    sx[:] = (sv + ss @ u + sy @ w) / tau
    yx[:] = (yv + ys @ u + yy @ w) / tau


@jit_or(_shifted_products)
def shifted_products(
    ss: FloatArray,
    sy: FloatArray,
    ys: FloatArray,
    yy: FloatArray,
    tau: float,
    sv: FloatArray,
    yv: FloatArray,
    u: FloatArray,
    w: FloatArray,
    sx: FloatArray,
    yx: FloatArray,
) -> None:
    """Write S'x and Y'x of ``x = (v + S u + Y w) / tau``."""
    n = sv.shape[0]
    for i in range(n):
        sx[i] = sv[i]
        yx[i] = yv[i]
    for j in range(n):
        for i in range(n):
            sx[i] += ss[j, i] * u[j] + ys[j, i] * w[j]
            yx[i] += sy[j, i] * u[j] + yy[j, i] * w[j]
    for i in range(n):
        sx[i] /= tau
        yx[i] /= tau


@jit
def next_shift(
    sigma: float, xx: float, xz: float, zz: float, radius: float, low: float, high: float
) -> float:
    """Improve the shift by Halley's step on ``1 / ||x|| - 1 / radius``, kept in its bracket.

    `xx`, `xz` and `zz` are the inner products of x and of ``z = (B + sigma I)^-1 x``.
    """
    length = math.sqrt(xx)
    miss = 1.0 - length / radius  # the function, times ||x||
    first = xz / xx  # its derivatives, times ||x||
    second = 3.0 * (first * first - zz / xx)
    bottom = 2.0 * first * first - miss * second
    trial = sigma - 2.0 * miss * first / bottom if bottom > 0.0 else math.nan
    if not low < trial < high and first != 0.0:
        trial = sigma - miss / first
    if not low < trial < high:
        trial = 0.5 * (low + high) if low > 0.0 else 1e-3 * high
    return trial


@jit
def sphere_step(
    gram: FloatArray,
    order: IntArray,
    block: IntArray,
    k: int,
    scale: FloatArray,
    gamma: float,
    sigma: float,
    zg: FloatArray,
    gnorm: float,
    radius: float,
    coef: FloatArray,
    info: FloatArray,
) -> int:
    """Go on from the shift `sigma` to the step on the boundary; see `convex_step`."""
    c = order.shape[0]
    n = c + k
    ss = np.empty((n, n))
    sy = np.empty((n, n))
    ys = np.empty((n, n))
    yy = np.empty((n, n))
    gather(gram, order, block, k, scale, ss, 0, 0)
    gather(gram, order, block, k, scale, sy, 0, 1)
    gather(gram, order, block, k, scale, yy, 1, 1)
    sg = np.empty(n)
    yg = np.empty(n)
    for i in range(n):
        pair = i if i < c else block[i - c]
        sg[i] = scale[pair] * zg[2 * order[pair]]
        yg[i] = scale[pair] * zg[2 * order[pair] + 1]
        for j in range(n):
            ys[i, j] = sy[j, i]
    x = np.empty((n, n))
    e = np.empty((n, n))
    schur = np.empty((n, n))
    scratch = np.empty((n, n))
    u, w, sx, yx = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    u2, w2, sz, yz = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    low = 0.0
    high = gnorm / radius
    for _ in range(60):
        if not shifted_factor(ss, ys, yy, c, gamma, sigma, x, e, schur, scratch):
            return LOST
        tau = gamma + sigma
        shifted_solve(x, e, schur, sg, yg, u, w)
        shifted_products(ss, sy, ys, yy, tau, sg, yg, u, w, sx, yx)
        gx = gnorm * gnorm
        xx = 0.0
        for i in range(n):
            gx += u[i] * sg[i] + w[i] * yg[i]
            xx += u[i] * sx[i] + w[i] * yx[i]
        gx /= tau
        xx = (gx + xx) / tau
        if not (0.0 < xx < math.inf and gx > 0.0):
            return LOST
        length = math.sqrt(xx)
        if abs(length - radius) <= ON_SPHERE * radius or high - low <= 4e-16 * high:
            factor = radius / length
            for i in range(coef.shape[0]):
                coef[i] = 0.0
            for i in range(n):
                pair = i if i < c else block[i - c]
                coef[2 * order[pair]] -= factor / tau * scale[pair] * u[i]
                coef[2 * order[pair] + 1] -= factor / tau * scale[pair] * w[i]
            info[0] = -factor / tau
            info[1] = -factor * gx
            info[2] = factor * factor * max(gx - sigma * xx, 0.0)
            info[3] = radius
            info[4] = sigma
            return SPHERE
        if length > radius:
            low = sigma
        else:
            high = sigma
        shifted_solve(x, e, schur, sx, yx, u2, w2)
        shifted_products(ss, sy, ys, yy, tau, sx, yx, u2, w2, sz, yz)
        xz = xx
        zz = 0.0
        for i in range(n):
            xz += u2[i] * sx[i] + w2[i] * yx[i]
            zz += u2[i] * sz[i] + w2[i] * yz[i]
        xz /= tau
        zz = (xz + zz) / tau
        sigma = next_shift(sigma, xx, xz, max(zz, 0.0), radius, low, high)
    return LOST
