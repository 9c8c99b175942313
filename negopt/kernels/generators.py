"""Limited-memory SR1 folded in its generators.

With ``psi_i = y_i - gamma s_i`` the model is ``B = gamma I + Q T Q'``, Q an orthonormal basis
of the generators of the accepted pairs: all algebra is k x k with k <= m.  The kernels see
inner products only.  In few variables (`in_all_variables`) Q is the identity instead.

Arrays of a `Compact` are larger than k; only leading entries are used.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from negopt.kernels._jit import jit_inline, jit_lean

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


def compact_room(maxcor: int) -> tuple[int, int]:
    """Return how many floats and integers `compact_views` needs for `maxcor` pairs."""
    size = maxcor + FEW
    return 7 * size * size + size + 5 * (size + 1) + (size + 2) ** 2, 2 * maxcor + size


def new_compact(maxcor: int) -> Compact:
    """Return the arrays for at most `maxcor` pairs."""
    reals, wholes = compact_room(maxcor)
    compact: Compact = compact_views(np.zeros(reals), np.zeros(wholes, dtype=np.int64), maxcor)
    return compact


def compact_views(reals: FloatArray, wholes: IntArray, maxcor: int) -> Compact:
    """Return the arrays as views of two long ones.

    N.B. handing a tuple of arrays to a kernel costs 0.2 us for each, so a kernel that is called
    for every evaluation takes these two and makes the tuple inside.
    """
    size = maxcor + FEW
    square = size * size
    lines = 7 * square
    line = size + 1
    at = lines + size
    end = at + 5 * line
    return Compact(
        wholes[:maxcor],
        wholes[maxcor : 2 * maxcor],
        wholes[2 * maxcor : 2 * maxcor + size],
        reals[lines:at],
        reals[:square].reshape(size, size),
        reals[square : 2 * square].reshape(size, size),
        reals[2 * square : 3 * square].reshape(size, size),
        reals[3 * square : 4 * square].reshape(size, size),
        reals[4 * square : 5 * square].reshape(size, size),
        reals[5 * square : 6 * square].reshape(size, size),
        reals[at : at + line],
        reals[6 * square : lines].reshape(size, size),
        reals[at + line : at + 2 * line],
        reals[at + 2 * line : at + 3 * line],
        reals[at + 3 * line : at + 4 * line],
        reals[at + 4 * line : end],
        reals[end : end + (size + 2) * (size + 2)].reshape(size + 2, size + 2),
    )


#: The same inside a kernel.
cut_compact = jit_inline(compact_views)


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
