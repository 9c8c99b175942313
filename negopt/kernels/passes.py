"""Streaming passes over vectors of n entries: NumPy float64 only.

Each reads what it needs once, in blocks that stay in cache, and returns every sum that comes
with it.
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
