"""Limited-memory SR1 in its generators: model, trust-region step and direction.

With ``psi_i = y_i - gamma s_i`` the model is ``B = gamma I + Q T Q'``, Q an orthonormal basis
of the generators of the accepted pairs: all algebra is k x k with k <= m.  The kernels see
inner products only.  In few variables (`in_all_variables`) Q is the identity instead.

Arrays of a `Compact` are larger than k; only leading entries are used.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from negopt.kernels._jit import jit_lean
from negopt.kernels.eigen import solve_definite_to, solve_indefinite_to, symmetric_eigen
from negopt.kernels.model import INTERIOR, trust_region_step

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]

#: Up to this many variables more than pairs, B is folded in the variables themselves.
FEW = 2
#: Most that rounding may take from the orthonormality of Q: a pair that would take more,
#: because newer ones (nearly) span its generator, is left out of the model.
LOSS = 1e-7
EPS = 2.2e-16


class Compact(NamedTuple):
    """Arrays of a model of at most m pairs; ``K = m + FEW``."""

    used: IntArray  # (m,) 1 where the pair taught the model something; oldest first
    barred: IntArray  # (m,) 1 where its generator depends on newer ones
    kept: IntArray  # (K,) pairs (by age) whose generators span Q, newest first
    sizes: FloatArray  # (K,) ||y|| + gamma ||s||: rounding of psi is relative to it
    products: FloatArray  # (K, K) psi_i'psi_j, by age
    residuals: FloatArray  # (K, K) row i: r_i = y_i - B_i s_i in generators, by age
    measured: FloatArray  # (K, K) r_i's_p, p at least as new as i, by age
    triangle: FloatArray  # (K, K) Q' psi, upper triangular, columns as `kept`
    inverse: FloatArray  # (K, K) its inverse: column j is q_j in generators
    small: FloatArray  # (K, K) T
    values: FloatArray  # (K + 1,) eigenvalues, of T or of B
    vectors: FloatArray  # (K, K) row i is the eigenvector of values[i]
    inside: FloatArray  # (K + 1,) Q'g
    parts: FloatArray  # (K + 1,)
    step: FloatArray  # (K + 1,) the step or direction in Q
    line: FloatArray  # (K + 1,) scratch
    scratch: FloatArray  # (K + 2, K + 2)


def new_compact(maxcor: int) -> Compact:
    """Return the arrays for at most `maxcor` pairs."""
    size = maxcor + FEW
    shapes = {
        "used": maxcor,
        "barred": maxcor,
        "kept": size,
        "sizes": size,
        "values": size + 1,
        "inside": size + 1,
        "parts": size + 1,
        "step": size + 1,
        "line": size + 1,
        "scratch": (size + 2, size + 2),
    }
    whole = ("used", "barred", "kept")
    return Compact(
        **{
            name: np.zeros(shapes.get(name, (size, size)), np.int64 if name in whole else float)
            for name in Compact._fields
        }
    )


@jit_lean
def in_all_variables(n: int, count: int) -> bool:
    """Tell whether the model of `count` pairs is folded in the variables themselves."""
    return count > 0 and n <= count + FEW


@jit_lean
def sr1_generators(gram: FloatArray, order: IntArray, gamma: float, c: Compact) -> None:
    """Write inner products and sizes of the generators, oldest first."""
    for i in range(order.shape[0]):
        s = 2 * order[i]
        y = s + 1
        c.sizes[i] = math.sqrt(gram[y, y]) + abs(gamma) * math.sqrt(gram[s, s])
        for j in range(i + 1):
            t = 2 * order[j]
            z = t + 1
            cross = gram[s, z] + gram[y, t]
            value = gram[y, z] - gamma * cross + gamma * gamma * gram[s, t]
            c.products[i, j] = value
            c.products[j, i] = value


@jit_lean
def sr1_fold(gram: FloatArray, order: IntArray, gamma: float, skip: float, c: Compact) -> None:
    """Fold the pairs, oldest first, as LDL' without pivoting of ``s_p'psi_i``, p newer than i.

    ``B = gamma I + sum r_i r_i' / (r_i's_i)`` over ``used[i]``, with
    ``r_i = sum_p residuals[i, p] psi_p`` and ``r_i's_i = measured[i, i]``.  A pair is skipped
    when ``|r's| < skip ||r|| ||s||`` and when r is nothing but rounding.
    """
    count = order.shape[0]
    for i in range(count):
        s = 2 * order[i]
        y = s + 1
        c.used[i] = 0
        if c.barred[i]:
            continue
        for p in range(i, count):
            c.measured[i, p] = gram[y, 2 * order[p]] - gamma * gram[s, 2 * order[p]]
        for p in range(i):
            c.residuals[i, p] = 0.0
        c.residuals[i, i] = 1.0
        for j in range(i):
            if c.used[j]:
                weight = c.measured[j, i] / c.measured[j, j]
                for p in range(i, count):
                    c.measured[i, p] -= weight * c.measured[j, p]
                for p in range(j + 1):
                    c.residuals[i, p] -= weight * c.residuals[j, p]
        rr = 0.0
        terms = 0.0
        for p in range(i + 1):
            total = 0.0
            for q in range(p):
                total += c.products[p, q] * c.residuals[i, q]
            rr += c.residuals[i, p] * (c.residuals[i, p] * c.products[p, p] + 2.0 * total)
            terms += abs(c.residuals[i, p]) * c.sizes[p]
        rs = c.measured[i, i]
        # N.B. below 1e-14 y'y the residual is rounding, and so it is where its coefficients
        # cancel: the secant equation already holds.
        real = rr > max(1e-14 * gram[y, y], 2e-13 * terms * terms)
        if real and abs(rs) >= skip * math.sqrt(rr * gram[s, s]) and rs != 0.0:
            c.used[i] = 1


@jit_lean
def sr1_basis(count: int, c: Compact) -> int:
    """Orthonormalise the generators in use, newest first, by Cholesky; return their number.

    A pair whose generator the newer ones (nearly) span is barred.
    """
    k = 0
    for i in range(count - 1, -1, -1):
        if not c.used[i]:
            continue
        pivot = c.products[i, i]
        for a in range(k):
            total = 0.0
            for b in range(a + 1):
                total += c.inverse[b, a] * c.products[c.kept[b], i]
            c.triangle[a, k] = total
            pivot -= total * total
        # How much of the rounding in the products ends in q'q: eps sum (coefficient size)^2.
        spread = c.sizes[i] * c.sizes[i]
        for b in range(k):
            total = 0.0
            for a in range(b, k):
                total -= c.inverse[b, a] * c.triangle[a, k]
            c.line[b] = total
            spread += (total * c.sizes[c.kept[b]]) ** 2
        if not EPS * spread <= LOSS * pivot:
            c.barred[i] = 1
            continue
        root = math.sqrt(pivot)
        for b in range(k):
            c.inverse[b, k] = c.line[b] / root
            c.inverse[k, b] = 0.0
            c.triangle[k, b] = 0.0
        c.inverse[k, k] = 1.0 / root
        c.triangle[k, k] = root
        c.kept[k] = i
        k += 1
    return k


@jit_lean
def sr1_model(gram: FloatArray, order: IntArray, gamma: float, skip: float, c: Compact) -> int:
    """Fold the pairs and write T, the basis and `used`; return k.

    Parameters
    ----------
    gram : array, shape (2 m, 2 m)
        Inner products of the rows (s, y) by slot.
    order : array, shape (count,)
        Slots, oldest first.
    gamma, skip : float
    c : Compact
        Output.
    """
    count = order.shape[0]
    sr1_generators(gram, order, gamma, c)
    for i in range(count):
        c.barred[i] = 0
    k = 0
    for _ in range(count + 1):
        sr1_fold(gram, order, gamma, skip, c)
        total = 0
        for i in range(count):
            total += c.used[i]
        k = sr1_basis(count, c)
        if k == total:
            break  # else a pair was barred: the others are folded without it
    for a in range(k):
        for b in range(a + 1):
            c.small[a, b] = 0.0
    for j in range(k):  # add h h' / r's with h = Q'r, of the pair kept[j]
        age = c.kept[j]
        pivot = c.measured[age, age]
        for a in range(k):
            total_h = 0.0
            for b in range(max(a, j), k):
                total_h += c.triangle[a, b] * c.residuals[age, c.kept[b]]
            c.line[a] = total_h
        for a in range(k):
            weight = c.line[a] / pivot
            for b in range(a + 1):
                c.small[a, b] += weight * c.line[b]
    for a in range(k):
        for b in range(a):
            c.small[b, a] = c.small[a, b]
    return k


@jit_lean
def sr1_in_variables(
    rows: FloatArray, order: IntArray, gamma: float, skip: float, c: Compact
) -> int:
    """Fold the pairs into T with Q the identity; return ``k = n``.

    ``rows[2 slot]`` is s and ``rows[2 slot + 1]`` is y; there are no more than ``m + FEW``
    columns.
    """
    n = int(rows.shape[1])
    for a in range(n):
        for b in range(n):
            c.small[a, b] = 0.0
    for i in range(order.shape[0]):
        s = 2 * order[i]
        y = s + 1
        ss = 0.0
        yy = 0.0
        rr = 0.0
        rs = 0.0
        bb = 0.0
        for a in range(n):
            total = gamma * rows[s, a]
            bb += abs(total)
            for b in range(n):
                term = c.small[a, b] * rows[s, b]
                total += term
                bb += abs(term)
            r = rows[y, a] - total
            c.line[a] = r
            rr += r * r
            rs += r * rows[s, a]
            ss += rows[s, a] * rows[s, a]
            yy += rows[y, a] * rows[y, a]
        c.used[i] = 0
        real = rr > max(1e-14 * yy, 1e-28 * bb * bb)
        if real and abs(rs) >= skip * math.sqrt(rr * ss) and rs != 0.0:
            c.used[i] = 1
            for a in range(n):
                weight = c.line[a] / rs
                for b in range(a + 1):
                    c.small[a, b] += weight * c.line[b]
                    c.small[b, a] = c.small[a, b]
    return n


@jit_lean
def basis_loss(k: int, c: Compact) -> float:
    """Return how far the basis may be from orthonormal (the error was at most 5 times that)."""
    total = 0.0
    for a in range(k):
        for b in range(a + 1):
            total += (c.inverse[b, a] * c.sizes[c.kept[b]]) ** 2
    return EPS * total


@jit_lean
def compact_build(
    rows: FloatArray, gram: FloatArray, order: IntArray, gamma: float, skip: float, c: Compact
) -> tuple[int, bool]:
    """Write the model; return k and whether Q is the identity.

    Parameters
    ----------
    rows : array, shape (2 m, n)
        Row 2i is s and row 2i + 1 is y of slot i; read only where Q is the identity.
    gram : array, shape (2 m, 2 m)
        Their inner products.
    order : array, shape (count,)
        Occupied slots, oldest first.
    gamma, skip : float
    c : Compact
        Output.
    """
    if in_all_variables(rows.shape[1], order.shape[0]):
        return sr1_in_variables(rows, order, gamma, skip, c), True
    return sr1_model(gram, order, gamma, skip, c), False


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
