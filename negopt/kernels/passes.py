"""Streaming passes of limited memory over vectors of n entries: NumPy float64 only.

Each reads what it needs once, in blocks that stay in cache, and returns every sum that comes
with it.  Rows ``2 i`` and ``2 i + 1`` of `rows` are s and y of slot i.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from negopt.kernels._jit import jit_or_pass, jit_pass

FloatArray = np.ndarray[Any, np.dtype[np.float64]]

#: Entries per block: three of them fit into the nearest cache.
BLOCK = 2048


#: All but the sign of a float64 read as an integer: so read, absolute values compare as they
#: do, and nan is above inf.  N.B. registers hold several integers, but no maximum of floats.
MAGNITUDE = 0x7FFFFFFFFFFFFFFF


def _largest_bits(x: FloatArray) -> int:
    return int(np.max(np.abs(x), initial=0.0).view(np.int64))


@jit_or_pass(_largest_bits)
def largest_bits(x: FloatArray) -> int:
    """Return ``max |x|`` read as an integer."""
    bits = x.view(np.int64)
    top = bits[0] & MAGNITUDE
    for i in range(bits.shape[0]):
        top = max(top, bits[i] & MAGNITUDE)
    return top  # type: ignore[no-any-return]


@jit_pass
def float_of(bits: int, room: FloatArray) -> float:
    """Return the float64 that is read as `bits`; `room` lends its first entry for it."""
    lent = room[0]
    room.view(np.int64)[0] = bits
    value = room[0]
    room[0] = lent
    return value  # type: ignore[no-any-return]


def _copy_and_square(g: FloatArray, copy: FloatArray) -> float:
    copy[:] = g
    with np.errstate(over="ignore", invalid="ignore"):
        return float(g @ g)


@jit_or_pass(_copy_and_square)
def copy_and_square(g: FloatArray, copy: FloatArray) -> float:
    """Write g to `copy`; return ``g'g``."""
    gg = 0.0
    for i in range(g.shape[0]):
        gg += g[i] * g[i]
        copy[i] = g[i]
    return gg


def _pair_sums(
    x_trial: FloatArray, x: FloatArray, g_trial: FloatArray, g: FloatArray
) -> tuple[float, ...]:
    with np.errstate(over="ignore", invalid="ignore"):
        s, y = x_trial - x, g_trial - g
        sums = (g_trial @ s, s @ s, s @ y, y @ y, x_trial @ x_trial)
    return tuple(map(float, sums))


@jit_or_pass(_pair_sums)
def pair_sums(
    x_trial: FloatArray, x: FloatArray, g_trial: FloatArray, g: FloatArray
) -> tuple[float, ...]:
    """Return ``(g+'s, s's, s'y, y'y, x+'x+)``."""
    gs = 0.0
    ss = 0.0
    sy = 0.0
    yy = 0.0
    xx = 0.0
    for i in range(x.shape[0]):
        s = x_trial[i] - x[i]
        y = g_trial[i] - g[i]
        gs += g_trial[i] * s
        ss += s * s
        sy += s * y
        yy += y * y
        xx += x_trial[i] * x_trial[i]
    return gs, ss, sy, yy, xx


@jit_pass
def look(
    x_trial: FloatArray, x: FloatArray, g_trial: FloatArray, g: FloatArray, copy: FloatArray
) -> tuple[float, float, float, float, float, float, float]:
    """Copy the gradient of a trial; measure it and its pair.

    Returns ``(g+'g+, max |g+|, g+'s, s's, s'y, y'y, x+'x+)`` with ``s = x+ - x`` and
    ``y = g+ - g``; the maximum is nan where g+ holds one.
    """
    n = x.shape[0]
    gg = 0.0
    gs = 0.0
    ss = 0.0
    sy = 0.0
    yy = 0.0
    xx = 0.0
    bits = 0
    for start in range(0, n, BLOCK):
        end = min(start + BLOCK, n)
        new = g_trial[start:end]
        gg += copy_and_square(new, copy[start:end])
        bits = max(bits, largest_bits(new))
        one, two, three, four, five = pair_sums(x_trial[start:end], x[start:end], new, g[start:end])
        gs += one
        ss += two
        sy += three
        yy += four
        xx += five
    return gg, float_of(bits, copy), gs, ss, sy, yy, xx


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
        w = wanted[start:end]
        for r in range(0, used, 2):
            a = rows[r, start:end]
            b = rows[r + 1, start:end]
            at_s, at_y, at_g, bt_s, bt_y, bt_g = three_products(a, b, s, y, w)
            out[0, r] += at_s
            out[1, r] += at_y
            out[2, r] += at_g
            out[0, r + 1] += bt_s
            out[1, r + 1] += bt_y
            out[2, r + 1] += bt_g


@jit_pass
def rows_times(rows: FloatArray, used: int, g: FloatArray, out: FloatArray) -> None:
    """Write the products of the rows with `g` to ``out[:used]``.

    N.B. by the loop of `products`, to the last bit: a run that is resumed computes here what
    the run before it knew from there.
    """
    out[:used] = 0.0
    for start in range(0, g.shape[0], BLOCK):
        end = min(start + BLOCK, g.shape[0])
        w = g[start:end]
        s = rows[0, start:end]
        y = rows[1, start:end]
        for r in range(0, used, 2):
            _, _, one, _, _, two = three_products(
                rows[r, start:end], rows[r + 1, start:end], s, y, w
            )
            out[r] += one
            out[r + 1] += two


def _add_two(out: FloatArray, v: float, a: FloatArray, w: float, b: FloatArray) -> None:
    out += v * a + w * b


@jit_or_pass(_add_two)
def add_two(out: FloatArray, v: float, a: FloatArray, w: float, b: FloatArray) -> None:
    """Add ``v a + w b`` to `out`."""
    for i in range(out.shape[0]):
        out[i] += v * a[i] + w * b[i]


@jit_pass
def scale_to(out: FloatArray, a: float, g: FloatArray) -> None:
    """Write ``a g`` to `out`."""
    for i in range(out.shape[0]):
        out[i] = a * g[i]


@jit_pass
def add_to(out: FloatArray, x: FloatArray) -> None:
    """Add x to `out`."""
    for i in range(out.shape[0]):
        out[i] += x[i]


@jit_pass
def measure(x_trial: FloatArray, x: FloatArray, g: FloatArray) -> tuple[float, float, float]:
    """Return ``s's``, ``g's`` and ``x+'x+`` of ``s = x+ - x``."""
    ss = 0.0
    gs = 0.0
    xx = 0.0
    for i in range(x.shape[0]):
        s = x_trial[i] - x[i]
        ss += s * s
        gs += g[i] * s
        xx += x_trial[i] * x_trial[i]
    return ss, gs, xx


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
        for r in range(0, used, 2):
            if weights[r] != 0.0 or weights[r + 1] != 0.0:
                add_two(out, weights[r], rows[r, start:end], weights[r + 1], rows[r + 1, start:end])
        add_to(out, x[start:end])
        # N.B. not in the loop that adds x: (x + s) - x would be simplified to s.
        one, two, three = measure(out, x[start:end], g[start:end])
        ss += one
        gs += two
        xx += three
    return ss, gs, xx
