"""The space of the second-order check, on float64 NumPy vectors: `negopt._space`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from negopt.kernels._jit import jit_lean, jit_pass
from negopt.kernels.eigen import symmetric_eigen

FloatArray = np.ndarray[Any, np.dtype[np.float64]]


@jit_pass
def inner(x: FloatArray, y: FloatArray) -> float:
    """Return ``x'y``."""
    total = 0.0
    for i in range(x.shape[0]):
        total += x[i] * y[i]
    return total


@jit_pass
def add_to(out: FloatArray, a: float, x: FloatArray) -> None:
    """Add ``a x`` to `out`."""
    for i in range(x.shape[0]):
        out[i] += a * x[i]


@jit_lean
def place(basis: FloatArray, k: int, v: FloatArray, least: float) -> bool:
    """Write `v` to row k, orthonormal to those before; False when too little of it is left."""
    out = basis[k]
    square = inner(v, v)
    if not 1e-280 < square < math.inf:
        return False
    length = math.sqrt(square)
    for i in range(out.shape[0]):
        out[i] = v[i] / length
    for turn in range(3):
        for j in range(k):
            add_to(out, -inner(basis[j], out), basis[j])
        length = math.sqrt(inner(out, out))
        if turn == 1 and not length > least:
            return False
        if turn > 0:
            for i in range(out.shape[0]):
                out[i] /= length
    return True


@jit_lean
def ritz(
    basis: FloatArray,
    images: FloatArray,
    k: int,
    matrix: FloatArray,
    values: FloatArray,
    vectors: FloatArray,
    scratch: FloatArray,
    residual: FloatArray,
) -> bool:
    """Extend H in the space by its row k; find the Ritz pairs, and the residual of the lowest.

    Parameters
    ----------
    basis, images : array, shape (room, n)
        Row k of both is new.
    k : int
    matrix : array, shape (room, room)
        H in the basis.
    values : array, shape (room,)
        Output, ascending.
    vectors : array, shape (room, room)
        Output: Ritz vectors as rows.
    scratch : array, shape (room + 2, room + 2)
    residual : array, shape (n,)
        Output.

    Returns
    -------
    bool
        False when the eigenvalues were not found.
    """
    for j in range(k + 1):
        entry = 0.5 * (inner(basis[j], images[k]) + inner(images[j], basis[k]))
        matrix[j, k] = entry
        matrix[k, j] = entry
    if not symmetric_eigen(matrix, k + 1, values, vectors, scratch):
        return False
    lowest = vectors[0]
    largest = 0
    for j in range(k + 1):
        if abs(lowest[j]) > abs(lowest[largest]):
            largest = j
    if lowest[largest] < 0.0:
        for j in range(k + 1):
            lowest[j] = -lowest[j]
    for i in range(residual.shape[0]):
        residual[i] = 0.0
    for j in range(k + 1):
        add_to(residual, lowest[j], images[j])
        add_to(residual, -values[0] * lowest[j], basis[j])
    return True
