"""What a first-order iteration needs of vectors with n entries, on any array library.

Three primitives: `measure` (scalars at a new point), `products` (of stored rows with a vector)
and `combine` (a linear combination of rows and a vector).  Each reads its vectors once and ends in
at most one transfer to the host; whatever is decided between them is decided on host floats.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg.blas import ddot, idamax

from negopt.core.arrays import (
    Array,
    FloatArray,
    dot,
    float64_rows_dot,
    from_host,
    is_plain,
    largest,
    namespace_of,
    scalars,
)

HostArray = FloatArray


def measure(value: object, x: Array, g: Array) -> tuple[float, float, float, float]:
    """Return f, ``g'g``, ``max|g|`` and ``x'x`` (one device read)."""
    if type(value) is float and is_plain(x) and is_plain(g):
        square: float = ddot(g, g)
        if 1e-280 < square < math.inf:  # N.B. where g holds a nan, idamax may miss it
            return value, square, abs(g.item(idamax(g))), ddot(x, x)
        return value, square, float(np.abs(g).max()), ddot(x, x)
    f, square, gmax, xx = scalars(value, dot(g, g), largest(g), dot(x, x))
    return f, square, gmax, xx


def slope_and_square(g: Array, s: Array) -> tuple[float, float]:
    """Return ``g's`` and ``s's`` (one device read)."""
    if is_plain(g) and is_plain(s):
        return ddot(g, s), ddot(s, s)
    slope, square = scalars(dot(g, s), dot(s, s))
    return slope, square


def pair_products(s: Array, y: Array, g: Array) -> tuple[float, float, float, float, float]:
    """Return ``s's``, ``s'y``, ``y'y``, ``s'g`` and ``y'g`` (one device read)."""
    if is_plain(s) and is_plain(y):
        return ddot(s, s), ddot(s, y), ddot(y, y), ddot(s, g), ddot(y, g)
    ss, sy, yy, sg, yg = scalars(dot(s, s), dot(s, y), dot(y, y), dot(s, g), dot(y, g))
    return ss, sy, yy, sg, yg


def products(rows: Array, v: Array) -> HostArray:
    """Return ``rows @ v`` in float64 on the host."""
    if is_plain(v):
        return rows.dot(v)  # type: ignore[no-any-return]
    return float64_rows_dot(rows, v)


#: Entries that are added at a time: what lies between stays in the cache.
BLOCK = 16_384


def add_scaled(out: Array, scale: float, v: Array) -> Array:
    """Add ``scale v`` to `out` in place, which is returned.

    Not by BLAS: it rounds the last entries of a vector otherwise than the rest, so that variables
    that play the same part in f would not stay equal, and a run would need more evaluations.
    """
    if not is_plain(v):
        out += float(scale) * v  # N.B. NumPy's own numbers would make float32 double
        return out
    n = v.shape[0]
    if n <= BLOCK:
        out += scale * v
        return out
    for i in range(0, n, BLOCK):
        out[i : i + BLOCK] += scale * v[i : i + BLOCK]
    return out


def combine(weights: HostArray, rows: Array, scale: float, v: Array) -> Array:
    """Return ``weights' rows + scale v``."""
    if is_plain(v):
        out = weights.dot(rows)
    else:
        out = namespace_of(v).matmul(from_host(weights, v), rows)
    return out if scale == 0.0 else add_scaled(out, scale, v)


def put(rows: Array, i: int, scale: float, v: Array) -> None:
    """Write ``scale v`` to a stored row."""
    if is_plain(v):
        np.multiply(v, scale, rows[i])
    else:
        rows[i, :] = float(scale) * v
