"""Trust-region step and direction of a limited-memory SR1 model.

The model ``B = gamma I + Q T Q'`` is what `negopt.kernels.generators` left in a `Compact`.
Vectors of n entries come in only as inner products with the stored rows, and leave as
weights of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from negopt.kernels._jit import jit_lean
from negopt.kernels.eigen import solve_definite_to, solve_indefinite_to, symmetric_eigen
from negopt.kernels.generators import (
    Compact,
    compact_build,
    compact_room,
    compact_views,
    new_compact,
)
from negopt.kernels.model import INTERIOR, trust_region_step

__all__ = [
    "Compact",
    "compact_build",
    "compact_inside",
    "compact_room",
    "compact_solve",
    "compact_trust",
    "compact_views",
    "compact_weights",
    "new_compact",
]

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]


@jit_lean
def compact_inside(products: FloatArray, order: IntArray, k: int, gamma: float, c: Compact) -> None:
    """Write ``Q'g`` to `inside`, from the products of g with the rows (s, y) by slot."""
    for a in range(k):
        s = 2 * order[c.kept[a]]
        c.line[a] = products[s + 1] - gamma * products[s]
    for a in range(k):
        total = 0.0
        for b in range(a + 1):
            total += c.inverse[b, a] * c.line[b]
        c.inside[a] = total


@jit_lean
def compact_weights(
    order: IntArray, k: int, gamma: float, c: Compact, w: FloatArray, weights: FloatArray
) -> None:
    """Write ``Q w`` as coefficients of the rows (s, y) by slot."""
    for p in range(weights.shape[0]):
        weights[p] = 0.0
    for b in range(k):
        total = 0.0
        for a in range(b, k):
            total += c.inverse[b, a] * w[a]
        s = 2 * order[c.kept[b]]
        weights[s] = -gamma * total
        weights[s + 1] = total


@jit_lean
def compact_trust(
    k: int, full: bool, gamma: float, absolute: bool, gnorm: float, radius: float, c: Compact
) -> tuple[int, float, float, float, float]:
    """Minimise ``g's + s'Bs / 2`` over ``||s|| <= radius``, given T and ``inside = Q'g``.

    Returns ``(case, a, slope, quadratic, length)``: the step is ``a g + Q w`` with w in
    ``step[:k]``; `slope` is g's, `quadratic` s'Bs.  `case` is that of `trust_region_step`, or
    -1: hand back (gamma <= 0, or an eigendecomposition that did not converge).
    With `absolute` the eigenvalues of B are replaced by their absolute values.
    """
    if absolute:
        gamma_used = abs(gamma)
    else:
        gamma_used = gamma
    if not gamma_used > 0.0:
        return -1, 0.0, 0.0, 0.0, 0.0
    square = 0.0
    for i in range(k):
        square += c.inside[i] * c.inside[i]
    # N.B. rounding in `outside` only moves the length of the step by as little, because
    # gamma > 0 bounds what lies outside away from the hard case.
    outside = 0.0 if full else math.sqrt(max(gnorm * gnorm - square, 0.0))
    if not absolute and solve_definite_to(c.small, k, gamma, c.inside, c.step, c.scratch):
        slope = 0.0
        square = 0.0
        for i in range(k):
            slope -= c.inside[i] * c.step[i]
            square += c.step[i] * c.step[i]
        length = math.sqrt(square + (outside / gamma) ** 2)
        if length <= radius:
            slope -= outside * outside / gamma
            a = 0.0 if full else -1.0 / gamma
            for i in range(k):
                c.step[i] = -c.step[i] - a * c.inside[i]
            return INTERIOR, a, slope, -slope, length
    if not symmetric_eigen(c.small, k, c.values, c.vectors, c.scratch):
        return -1, 0.0, 0.0, 0.0, 0.0
    for i in range(k):
        value = c.values[i] + gamma
        c.values[i] = abs(value) if absolute else value
        total = 0.0
        for j in range(k):
            total += c.vectors[i, j] * c.inside[j]
        c.parts[i] = total
    size = k
    if not full:
        c.values[k] = gamma_used
        c.parts[k] = outside
        size = k + 1
    sigma, case, _ = trust_region_step(c.values[:size], c.parts[:size], radius, c.line[:size])
    slope = 0.0
    quadratic = 0.0
    square = 0.0
    for i in range(size):
        slope += c.parts[i] * c.line[i]
        quadratic += c.values[i] * c.line[i] * c.line[i]
        square += c.line[i] * c.line[i]
    # The exact share of a tiny `outside` is that of the shift itself.
    a = 0.0
    if not full:
        a = c.line[k] / outside if outside > 1e-3 * gnorm else -1.0 / (gamma_used + sigma)
    for i in range(k):
        total = 0.0
        for j in range(k):
            total += c.vectors[j, i] * c.line[j]
        c.step[i] = total - a * c.inside[i]
    return case, a, slope, quadratic, math.sqrt(square)


@jit_lean
def compact_solve(
    k: int, full: bool, gamma: float, absolute: bool, floor: float, gnorm: float, c: Compact
) -> tuple[bool, float, float, float]:
    """Form ``d = -B^-1 g``, or ``-|B|^-1 g``, given T and ``inside = Q'g``.

    Eigenvalues are kept `floor`, relative to the largest, away from zero.  Returns
    ``(good, a, slope, length)``: ``d = a g + Q w`` with w in ``step[:k]``, its slope g'd and
    its length; not `good` where an eigendecomposition did not converge.
    """
    # Without a small pivot no eigenvalue is near the floor.
    least = max(1e-12, 1e3 * floor)
    outside = gamma
    if absolute:  # B itself where it is positive definite
        solved = gamma > 0.0 and floor <= 1e-14
        solved = solved and solve_definite_to(c.small, k, gamma, c.inside, c.step, c.scratch)
    else:
        solved = solve_indefinite_to(c.small, k, gamma, least, c.inside, c.step, c.scratch)
    if not solved:
        if not symmetric_eigen(c.small, k, c.values, c.vectors, c.scratch):
            return False, 0.0, 0.0, 0.0
        largest = abs(gamma)
        for i in range(k):
            c.values[i] += gamma
            largest = max(largest, abs(c.values[i]))
            c.step[i] = 0.0
        for i in range(k):
            size = max(abs(c.values[i]), floor * largest)
            if c.values[i] < 0.0 and not absolute:
                size = -size
            total = 0.0
            for j in range(k):
                total += c.vectors[i, j] * c.inside[j]
            for j in range(k):
                c.step[j] += c.vectors[i, j] * (total / size)
        outside = max(abs(gamma), floor * largest)
        if gamma < 0.0 and not absolute:
            outside = -outside
    a = 0.0 if full else -1.0 / outside
    slope = 0.0
    square = 0.0
    rest = gnorm * gnorm
    for i in range(k):
        slope -= c.inside[i] * c.step[i]
        square += c.step[i] * c.step[i]
        rest -= c.inside[i] * c.inside[i]
        c.step[i] = -c.step[i] - a * c.inside[i]
    if not full:
        rest = max(rest, 0.0)
        slope += a * rest
        square += a * a * rest
    return True, a, slope, math.sqrt(square)
