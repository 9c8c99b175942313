"""Streaming passes of limited memory over its stored rows: NumPy float64 only.

Each reads what it needs once, in blocks that stay in cache, and returns every sum that comes
with it.  Rows ``2 i`` and ``2 i + 1`` of `rows` are s and y of slot i.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from negopt.kernels._jit import jit_or_pass, jit_pass
from negopt.kernels.passes import BLOCK, add_to, measure, scale_to

FloatArray = np.ndarray[Any, np.dtype[np.float64]]


@jit_pass
def write_pair(
    rows: FloatArray,
    slot: int,
    x_trial: FloatArray,
    x: FloatArray,
    g_trial: FloatArray,
    g: FloatArray,
    start: int,
    end: int,
) -> None:
    """Write a stretch of ``s = x+ - x`` and ``y = g+ - g`` to their rows."""
    s = rows[2 * slot]
    y = rows[2 * slot + 1]
    for i in range(start, end):
        s[i] = x_trial[i] - x[i]
        y[i] = g_trial[i] - g[i]


def _three_products(
    a: FloatArray, b: FloatArray, s: FloatArray, y: FloatArray, g: FloatArray
) -> tuple[float, ...]:
    return tuple(map(float, (a @ s, a @ y, a @ g, b @ s, b @ y, b @ g)))


@jit_or_pass(_three_products)
def three_products(
    a: FloatArray, b: FloatArray, s: FloatArray, y: FloatArray, g: FloatArray
) -> tuple[float, ...]:
    """Return the products of a and b with s, y and g."""
    at_s = 0.0
    at_y = 0.0
    at_g = 0.0
    bt_s = 0.0
    bt_y = 0.0
    bt_g = 0.0
    for i in range(s.shape[0]):
        at_s += a[i] * s[i]
        at_y += a[i] * y[i]
        at_g += a[i] * g[i]
        bt_s += b[i] * s[i]
        bt_y += b[i] * y[i]
        bt_g += b[i] * g[i]
    return at_s, at_y, at_g, bt_s, bt_y, bt_g


def _six_products(
    a: FloatArray,
    b: FloatArray,
    c: FloatArray,
    d: FloatArray,
    s: FloatArray,
    y: FloatArray,
    g: FloatArray,
) -> tuple[float, ...]:
    return _three_products(a, b, s, y, g) + _three_products(c, d, s, y, g)


@jit_or_pass(_six_products)
def six_products(
    a: FloatArray,
    b: FloatArray,
    c: FloatArray,
    d: FloatArray,
    s: FloatArray,
    y: FloatArray,
    g: FloatArray,
) -> tuple[float, ...]:
    """Return the products of a, b, c and d with s, y and g.

    N.B. four streams at a time: where memory is the bound, one waits while others arrive.
    """
    at_s = 0.0
    at_y = 0.0
    at_g = 0.0
    bt_s = 0.0
    bt_y = 0.0
    bt_g = 0.0
    ct_s = 0.0
    ct_y = 0.0
    ct_g = 0.0
    dt_s = 0.0
    dt_y = 0.0
    dt_g = 0.0
    for i in range(s.shape[0]):
        at_s += a[i] * s[i]
        at_y += a[i] * y[i]
        at_g += a[i] * g[i]
        bt_s += b[i] * s[i]
        bt_y += b[i] * y[i]
        bt_g += b[i] * g[i]
        ct_s += c[i] * s[i]
        ct_y += c[i] * y[i]
        ct_g += c[i] * g[i]
        dt_s += d[i] * s[i]
        dt_y += d[i] * y[i]
        dt_g += d[i] * g[i]
    return at_s, at_y, at_g, bt_s, bt_y, bt_g, ct_s, ct_y, ct_g, dt_s, dt_y, dt_g


@jit_pass
def multiply_rows(
    rows: FloatArray,
    used: int,
    start: int,
    end: int,
    s: FloatArray,
    y: FloatArray,
    g: FloatArray,
    out: FloatArray,
) -> None:
    """Add to `out` the products of a stretch of the rows with s, y and g."""
    r = 0
    while r + 2 < used:
        found = six_products(
            rows[r, start:end],
            rows[r + 1, start:end],
            rows[r + 2, start:end],
            rows[r + 3, start:end],
            s,
            y,
            g,
        )
        for i in range(3):
            out[i, r] += found[i]
            out[i, r + 1] += found[3 + i]
            out[i, r + 2] += found[6 + i]
            out[i, r + 3] += found[9 + i]
        r += 4
    if r < used:
        last = three_products(rows[r, start:end], rows[r + 1, start:end], s, y, g)
        for i in range(3):
            out[i, r] += last[i]
            out[i, r + 1] += last[3 + i]


@jit_pass
def products(
    rows: FloatArray,
    used: int,
    slot: int,
    x_trial: FloatArray,
    x: FloatArray,
    g_trial: FloatArray,
    g: FloatArray,
    wanted: FloatArray,
    out: FloatArray,
) -> None:
    """Store the pair in `slot`; multiply the rows with it and with a gradient, in one read.

    Parameters
    ----------
    rows : array, shape (2 m, n)
    used : int
        Rows that are occupied, those of `slot` among them.
    slot : int
    x_trial, x, g_trial, g : array, shape (n,)
        The pair is ``(x_trial - x, g_trial - g)``.
    wanted : array, shape (n,)
        The gradient that the next step starts from.
    out : array, shape (3, 2 m)
        Output: the products of the rows with s, with y and with `wanted`.
    """
    n = x.shape[0]
    out[:, :used] = 0.0
    for start in range(0, n, BLOCK):
        end = min(start + BLOCK, n)
        write_pair(rows, slot, x_trial, x, g_trial, g, start, end)
        s = rows[2 * slot, start:end]
        y = rows[2 * slot + 1, start:end]
        multiply_rows(rows, used, start, end, s, y, wanted[start:end], out)


@jit_pass
def rows_times(rows: FloatArray, used: int, g: FloatArray, out: FloatArray) -> None:
    """Write the products of the rows with `g` to ``out[2]``, those with two of them before it.

    N.B. by the loop of `products`, to the last bit: a run that is resumed computes here what
    the run before it knew from there.
    """
    out[:, :used] = 0.0
    for start in range(0, g.shape[0], BLOCK):
        end = min(start + BLOCK, g.shape[0])
        s = rows[0, start:end]
        y = rows[1, start:end]
        multiply_rows(rows, used, start, end, s, y, g[start:end], out)


def _add_two(out: FloatArray, v: float, a: FloatArray, w: float, b: FloatArray) -> None:
    out += v * a + w * b


@jit_or_pass(_add_two)
def add_two(out: FloatArray, v: float, a: FloatArray, w: float, b: FloatArray) -> None:
    """Add ``v a + w b`` to `out`."""
    for i in range(out.shape[0]):
        out[i] += v * a[i] + w * b[i]


def _add_four(
    out: FloatArray,
    weights: FloatArray,
    a: FloatArray,
    b: FloatArray,
    c: FloatArray,
    d: FloatArray,
) -> None:
    out += (weights[0] * a + weights[1] * b) + (weights[2] * c + weights[3] * d)


@jit_or_pass(_add_four)
def add_four(
    out: FloatArray,
    weights: FloatArray,
    a: FloatArray,
    b: FloatArray,
    c: FloatArray,
    d: FloatArray,
) -> None:
    """Add four vectors, each with its weight, to `out`; see `six_products`."""
    of_a = weights[0]
    of_b = weights[1]
    of_c = weights[2]
    of_d = weights[3]
    for i in range(out.shape[0]):
        out[i] += (of_a * a[i] + of_b * b[i]) + (of_c * c[i] + of_d * d[i])


@jit_pass
def add_rows(
    rows: FloatArray, weights: FloatArray, used: int, start: int, end: int, out: FloatArray
) -> None:
    """Add a stretch of the rows, each with its weight; pairs without weight are not read."""
    r = 0
    while r < used:
        if weights[r] == 0.0 and weights[r + 1] == 0.0:
            r += 2
        elif r + 2 < used and (weights[r + 2] != 0.0 or weights[r + 3] != 0.0):
            add_four(
                out,
                weights[r : r + 4],
                rows[r, start:end],
                rows[r + 1, start:end],
                rows[r + 2, start:end],
                rows[r + 3, start:end],
            )
            r += 4
        else:
            add_two(out, weights[r], rows[r, start:end], weights[r + 1], rows[r + 1, start:end])
            r += 2


@jit_pass
def combine(
    rows: FloatArray,
    weights: FloatArray,
    used: int,
    a: float,
    g: FloatArray,
    x: FloatArray,
    x_trial: FloatArray,
) -> tuple[float, float, float]:
    """Write ``x_trial = x + a g + sum_i weights_i rows_i``; return ``s's``, ``g's``, ``x+'x+``.

    N.B. s is ``x_trial - x`` as it was rounded.  Pairs of rows without weight are not read.
    """
    n = x.shape[0]
    ss = 0.0
    gs = 0.0
    xx = 0.0
    for start in range(0, n, BLOCK):
        end = min(start + BLOCK, n)
        out = x_trial[start:end]
        scale_to(out, a, g[start:end])
        add_rows(rows, weights, used, start, end, out)
        add_to(out, x[start:end])
        # N.B. not in the loop that adds x: (x + s) - x would be simplified to s.
        one, two, three = measure(out, x[start:end], g[start:end])
        ss += one
        gs += two
        xx += three
    return ss, gs, xx
