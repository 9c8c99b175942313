"""What a first-order iteration needs of vectors with n entries, on any array library.

Three primitives: `measure` (scalars at a new point), `products` (of stored rows with a vector)
and `combine` (a linear combination of rows and a vector).  Each reads its vectors once and ends in
at most one transfer to the host; whatever is decided between them is decided on host floats.
"""

from __future__ import annotations

import numpy as np

from negopt._array import (
    Array,
    dot,
    float64_rows_dot,
    from_host,
    is_plain,
    largest,
    namespace_of,
    scalars,
)

__all__ = ["HostArray", "combine", "measure", "products"]

HostArray = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def measure(value: object, x: Array, g: Array) -> tuple[float, float, float, float]:
    """Return f, ``g'g``, ``max|g|`` and ``x'x`` (one device read)."""
    if type(value) is float and is_plain(x) and is_plain(g):
        return value, float(g.dot(g)), float(np.abs(g).max()), float(x.dot(x))
    f, square, gmax, xx = scalars(value, dot(g, g), largest(g), dot(x, x))
    return f, square, gmax, xx


def products(rows: Array, v: Array) -> HostArray:
    """Return ``rows @ v`` in float64 on the host."""
    if is_plain(v):
        return rows.dot(v)  # type: ignore[no-any-return]
    return float64_rows_dot(rows, v)


def combine(weights: HostArray, rows: Array, scale: float, v: Array) -> Array:
    """Return ``weights' rows + scale v``."""
    if is_plain(v):
        out = weights.dot(rows)
        if scale != 0.0:
            out += scale * v
        return out
    out = namespace_of(v).matmul(from_host(weights, v), rows)
    if scale != 0.0:
        out += scale * v
    return out
