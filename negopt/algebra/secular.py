"""The one secular equation: a diagonal quadratic over a ball, hard case included."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["BOUNDARY", "HARD", "INTERIOR", "trust_region_step"]

FloatArray = np.ndarray[Any, np.dtype[np.float64]]

#: Interior step; boundary step; step on the boundary that no shift reaches (the hard case).
INTERIOR, BOUNDARY, HARD = 0, 1, 2

#: Eigenvalues are zero, or equal, within this share of the largest absolute one.
ROUNDING = 4e-16
#: A length within this share of the radius is on the boundary; the step is scaled the rest.
ON_SPHERE = 1e-13


def trust_region_step(
    values: FloatArray, parts: FloatArray, radius: float, step: FloatArray
) -> tuple[float, int, int]:
    """Minimise ``parts's + s' diag(values) s / 2`` over ``||s|| <= radius``.

    Parameters
    ----------
    values, parts : ndarray, shape (k,)
        Eigenvalues, in any order, and the gradient in their eigenvectors.
    radius : float
    step : ndarray, shape (k,)
        The minimiser is written here.

    Returns
    -------
    shift : float
        The multiplier sigma.
    case : int
        `INTERIOR`, `BOUNDARY` or `HARD`.
    index : int
        In the hard case the entry that was extended to the boundary, else -1.

    Notes
    -----
    Newton's method on ``1 / ||s(t)|| - 1 / radius``, kept in its bracket, with shifts t measured
    from ``-min(values)``, so that nothing cancels close to the hard case.  Lengths are in units
    of the radius, so that they neither overflow nor underflow at the solution.

    **Guarantee**: the optimality conditions of Moré and Sorensen, ``(diag(values) + sigma) s =
    -parts`` with a positive semidefinite left side and ``sigma (radius - ||s||) = 0``, to
    rounding (``tests/guarantees/test_more_sorensen.py``).

    References
    ----------
    Moré and Sorensen (1983), SIAM J. Sci. Stat. Comput. 4, 553-572, doi:10.1137/0904038.
    """
    low_index = int(values.argmin())
    low_value: float = values.item(low_index)
    tiny = ROUNDING * max(abs(low_value), abs(values.item(values.argmax())))
    with np.errstate(all="ignore"):  # lengths beyond float64 are infinite
        a = parts / radius
        if low_value > tiny:
            np.divide(a, values, out=step)
            if _length(step) <= 1.0:
                step *= -radius
                return 0.0, INTERIOR, -1
            low = low_value
        elif low_value >= 0.0 and not parts.any():
            step[:] = 0.0
            return 0.0, INTERIOR, -1
        else:
            low = max(0.0, low_value) + tiny
        gaps = values - low_value
        if low_value <= tiny and _length(a / (gaps + low)) <= 1.0:
            # Hard case: no shift reaches the boundary; go there along the lowest direction.
            step[:] = np.where(gaps > 2.0 * tiny, a / gaps, 0.0)
            rest = math.sqrt(max(1.0 - float(step.dot(step)), 0.0))
            step *= -radius
            if low_value >= -tiny:
                return 0.0, INTERIOR, -1
            step[low_index] = radius * (-rest if parts.item(low_index) > 0.0 else rest)
            return -low_value, HARD, low_index
        t = _root(gaps, a, low, step)
        length = _length(step)
        if not 0.0 < length < math.inf:  # beyond float64: for such a radius g decides alone
            np.divide(parts, np.abs(parts).max(), out=step)
            length = _length(step)
        step *= -radius / length  # the last digits: exactly onto the boundary
    return max(t - low_value, 0.0), BOUNDARY, -1


def _root(gaps: FloatArray, a: FloatArray, low: float, y: FloatArray) -> float:
    """Return t >= low with ``||y|| = 1`` for ``y = a / (gaps + t)``, which is written to `y`."""
    size = np.abs(a)
    high: float = math.sqrt(len(a)) * size.item(size.argmax())
    size -= gaps
    low = max(low, size.item(size.argmax()))
    high = max(low, high)
    t = low
    for _ in range(200):
        bottom = gaps + t
        np.divide(a, bottom, out=y)
        square = float(y.dot(y))
        length = math.sqrt(square)
        if abs(length - 1.0) <= ON_SPHERE:
            break
        if length < 1.0:
            high = t
        else:
            low = t
        np.divide(y, bottom, out=bottom)
        curve = float(y.dot(bottom))
        t = t + square / curve * (length - 1.0) if 0.0 < curve < math.inf else math.inf
        if not low <= t <= high:
            t = 0.5 * (low + high)
        if high - low <= 2e-16 * high:
            break
    return t


def _length(v: FloatArray) -> float:
    return math.sqrt(float(v.dot(v)))
