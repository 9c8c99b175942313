"""The one secular equation: a diagonal quadratic over a ball, hard case included."""

from __future__ import annotations

import math

from negopt.core.arrays import FloatArray

#: Interior step; boundary step; step on the boundary that no shift reaches (the hard case).
INTERIOR, BOUNDARY, HARD = 0, 1, 2

#: Eigenvalues are zero, or equal, within this share of the largest absolute one.
ROUNDING = 4e-16
#: The least shift.
SMALLEST = 2.3e-308
#: A length within this share of the radius is on the boundary; the step is scaled the rest.
ON_SPHERE = 1e-13


def trust_region_step(
    values: FloatArray, parts: FloatArray, radius: float, step: FloatArray
) -> tuple[float, int, int]:
    """Minimise ``parts's + s' diag(values) s / 2`` over ``||s|| <= radius``.

    `values` are eigenvalues, in any order, `parts` the gradient in their eigenvectors; the
    minimiser is written to `step`.  Returns the multiplier sigma; `INTERIOR`, `BOUNDARY` or
    `HARD`; and in the hard case the entry that was extended to the boundary, else -1.

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
    d, p, radius = values.tolist(), parts.tolist(), float(radius)
    low_value, high_value = min(d), max(d)
    tiny = ROUNDING * max(abs(low_value), abs(high_value))
    a = [v / radius for v in p]
    if low_value > tiny:
        y = [v / c for v, c in zip(a, d, strict=True)]
        if _square(y) <= 1.0:
            step[:] = [-radius * v for v in y]
            return 0.0, INTERIOR, -1
        low = low_value
    elif low_value >= 0.0 and not any(p):
        step[:] = 0.0
        return 0.0, INTERIOR, -1
    else:
        low = max(low_value, 0.0) + max(tiny, SMALLEST)
    gaps = [c - low_value for c in d]
    if low_value <= tiny and _square([v / (c + low) for v, c in zip(a, gaps, strict=True)]) <= 1.0:
        # Hard case: no shift reaches the boundary; go there along the lowest direction.
        y = [v / c if c > 2.0 * tiny else 0.0 for v, c in zip(a, gaps, strict=True)]
        rest = math.sqrt(max(1.0 - _square(y), 0.0))
        step[:] = [-radius * v for v in y]
        if low_value >= -tiny:
            return 0.0, INTERIOR, -1
        index = d.index(low_value)
        step[index] = radius * (-rest if p[index] > 0.0 else rest)
        return -low_value, HARD, index
    t, y = _root(gaps, a, low)
    length = math.sqrt(_square(y))
    if not 0.0 < length < math.inf:  # beyond float64: for such a radius g decides alone
        largest = max(map(abs, p))
        y = [v / largest for v in p]
        length = math.sqrt(_square(y))
    factor = -radius / length  # the last digits: exactly onto the boundary
    step[:] = [factor * v for v in y]
    return max(t - low_value, 0.0), BOUNDARY, -1


def _root(gaps: list[float], a: list[float], low: float) -> tuple[float, list[float]]:
    """Return t >= low > 0, and ``y = a / (gaps + t)``, with ``||y|| = 1``."""
    low = max(low, max(abs(v) - c for v, c in zip(a, gaps, strict=True)))
    high = max(low, math.sqrt(len(a)) * max(map(abs, a)))
    t = low
    for _ in range(200):
        y = []
        square = curve = 0.0
        for v, c in zip(a, gaps, strict=True):
            bottom = c + t
            v /= bottom
            y.append(v)
            v *= v
            square += v
            curve += v / bottom
        length = math.sqrt(square)
        if abs(length - 1.0) <= ON_SPHERE:
            break
        if length < 1.0:
            high = t
        else:
            low = t
        t = t + square / curve * (length - 1.0) if 0.0 < curve < math.inf else math.inf
        if not low <= t <= high:
            t = 0.5 * (low + high)
        if high - low <= 2e-16 * high:
            break
    return t, y


def _square(y: list[float]) -> float:
    return sum([v * v for v in y])


def cubic_radius(values: FloatArray, parts: FloatArray, weight: float) -> float:
    """Return the length of the minimiser of ``parts's + s' diag(values) s / 2 + sigma/3 ||s||^3``.

    The factor sigma of the cubic term is `weight`.  The multiplier t, at least
    ``-min(values)``, solves ``||(D + t)^-1 a|| = t / sigma``; the left side falls and the right
    side grows.  In the hard case t is ``-min(values)`` itself.  Newton's method on
    ``1 / ||(D + t)^-1 a|| - sigma / t``, kept in its bracket.

    References
    ----------
    Cartis, Gould and Toint (2011), Mathematical Programming 127, 245-295,
    doi:10.1007/s10107-009-0286-5.
    """
    d, a, weight = values.tolist(), parts.tolist(), float(weight)
    low: float = max(-min(d), SMALLEST)
    high = low + math.sqrt(weight) * math.sqrt(math.hypot(*a))
    t: float = high
    for _ in range(200):
        square = curve = 0.0
        for v, c in zip(a, d, strict=True):
            bottom = c + t
            if bottom > 0.0:
                v /= bottom
                v *= v
                square += v
                curve += v / bottom
            elif v != 0.0:
                square = math.inf
        length = math.sqrt(square)
        if length * weight > t:
            low = t
        else:
            high = t
        # The derivative of 1 / length is curve / length^3, that of -sigma / t is sigma / t^2.
        trial = math.nan
        if 0.0 < square < math.inf:
            slope = curve / square / length + weight / t / t
            trial = t - (1.0 / length - weight / t) / slope
        if abs(trial - t) <= 4e-16 * t:
            break
        t = trial if low < trial < high else 0.5 * (low + high)
        if not low < t < high:
            break
    return t / weight
