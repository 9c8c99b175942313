"""Limited memory through inner products: stored pairs, and ``B = gamma I + Z' K Z``.

The rows of Z are the last m pairs (s, y), or, of SR1 pairs, their generators
``y - gamma s``.  All small algebra runs on their Gram matrix in float64 on the host;
vectors of n entries are read in streaming passes only: one for the products with a
new pair, one for the products with g, one to form the step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from negopt import kernels
from negopt._array import (
    Array,
    device_of,
    dot,
    eps_of,
    float64_rows_dot,
    from_host,
    namespace_of,
    scalars,
    to_host,
)
from negopt._dense import symmetric_eigen
from negopt._types import saved

__all__ = ["CompactOperator", "PairMemory", "new_pair_memory", "store_pair"]

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]

#: A direction is dropped from the basis below this share (squared) of its row's length.
DROP = 1e-11
#: Above this loss of orthogonality the basis is orthogonalised a second time.
REPEAT = 1e-6


@saved
@dataclass(slots=True)
class PairMemory:
    """The last m displacement-gradient pairs.

    Attributes
    ----------
    rows : array, shape (2m, n)
        Row 2i is s and row 2i+1 is y of slot i.
    gram : ndarray, shape (2m, 2m), float64
        Inner products of the rows.
    order : list of int
        Occupied slots, oldest first.
    curvatures : list of float
        ``y'y / s'y`` of recent pairs with ``s'y > 0``, newest last.
    along : ndarray, shape (2c,), float64, or None
        Products of the rows with a gradient of length `at`, where the fused engine left them:
        a run that goes on from here is the run in one piece, to the last bit.
    at : float
    """

    rows: Array
    gram: FloatArray = field(metadata={"host": True})
    order: list[int] = field(default_factory=list)
    curvatures: list[float] = field(default_factory=list)
    along: FloatArray | None = field(default=None, metadata={"host": True, "value": True})
    at: float = math.nan


def new_pair_memory(x0: Array, memory: int) -> PairMemory:
    """Return an empty memory for `memory` pairs of vectors like `x0`."""
    xp = namespace_of(x0)
    rows = xp.zeros((2 * memory, x0.shape[0]), dtype=x0.dtype, device=device_of(x0))
    return PairMemory(rows, np.zeros((2 * memory, 2 * memory)))


def store_pair(
    memory: PairMemory, s: Array, y: Array, remember: int, skip: float | None = None
) -> bool:
    """Store (s, y) in place of the oldest pair; return whether it was usable.

    Unless `skip` is given, so that a model stays positive definite
    (``s'y > skip ||s|| ||y||``), there is no test on the sign of ``s'y``: negative
    curvature is information.  Only a pair that is not finite, whose s is as good as zero,
    or whose curvature exceeds 1e80, is turned away.
    """
    xp = namespace_of(s)
    used = 2 * len(memory.order)
    pair = xp.stack([s, y], axis=0)
    # One read: the products with all rows, and, last, those of the pair with itself.
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is turned away below
        products = float64_rows_dot(memory.rows[:used, :], xp.matrix_transpose(pair), pair)
    ss, sy, yy = products[used, 0], products[used, 1], products[used + 1, 1]
    if not (1e-200 < ss < math.inf and yy < 1e160 * ss and math.isfinite(sy)):
        return False  # the small algebra would leave the range of float64
    if skip is not None and not sy > skip * math.sqrt(ss) * math.sqrt(yy):
        return False
    capacity = memory.gram.shape[0] // 2
    slot = len(memory.order) if len(memory.order) < capacity else memory.order.pop(0)
    memory.rows[2 * slot : 2 * slot + 2, :] = pair
    memory.order.append(slot)
    memory.along = None
    here = slice(2 * slot, 2 * slot + 2)
    memory.gram[:used, here] = products[:used]
    memory.gram[here, :used] = products[:used].T
    memory.gram[here, here] = products[used:]
    if sy > 0.0 and math.isfinite(yy / sy):
        memory.curvatures.append(float(yy / sy))
        del memory.curvatures[:-remember]
    return True


class CompactOperator:
    """``B = gamma I + Q T Q'`` in an orthonormal basis Q of the stored pairs.

    As a rule Q is not formed.  Of SR1 pairs it spans the generators ``y - gamma s``
    (`negopt.kernels.generators`), and a pair that depends on newer ones is left out.  Of others it
    is ``Z_kept' R^-1`` with R from a Cholesky factorisation of the scaled Gram matrix, newest
    pair first; where that would not be orthonormal to rounding, because pairs are nearly
    dependent, Q is formed and orthogonalised again.  Where the pairs are as many as the
    variables, Q is the identity.
    """

    learns = True

    def __init__(
        self,
        memory: PairMemory,
        gamma: float,
        rule: int,
        skip: float,
        like: Array,
        *,
        block: int = 1,
        chosen: IntArray | None = None,
    ) -> None:
        self.gamma = gamma
        self.n = int(like.shape[0])
        self.rows = memory.rows[: 2 * len(memory.order), :]
        self._eigen: tuple[FloatArray, FloatArray] | None = None
        self._basis: Array | None = None
        self._loss = 0.0
        self._compact: Any = None
        if rule == kernels.SR1_PAIRS:
            self._fold_sr1(memory, skip)
        else:
            self._fold(memory, rule, skip, block, chosen)

    def _fold_sr1(self, memory: PairMemory, skip: float) -> None:
        count = len(memory.order)
        self._order = np.array(memory.order, dtype=np.int64)
        c = self._compact = kernels.new_compact(max(count, 1))
        #: Q is the identity
        self.identity = bool(kernels.in_all_variables(self.n, count))
        if self.identity:
            rows = np.ascontiguousarray(to_host(self.rows))
            self.k = kernels.sr1_in_variables(rows, self._order, self.gamma, skip, c)
        else:
            self.k = kernels.sr1_model(memory.gram, self._order, self.gamma, skip, c)
        self.used = c.used[:count]
        self.small = np.ascontiguousarray(c.small[: self.k, : self.k])  #: T, shape (k, k)

    def _fold(
        self, memory: PairMemory, rule: int, skip: float, block: int, chosen: IntArray | None
    ) -> None:
        count = len(memory.order)
        index = np.array(
            [i for slot in memory.order for i in (2 * slot, 2 * slot + 1)], dtype=np.int64
        )
        gram = np.ascontiguousarray(memory.gram[np.ix_(index, index)])
        core = np.empty_like(gram)
        self.used = np.zeros(count, dtype=np.int64)
        kernels.pair_model(gram, self.gamma, rule, skip, core, self.used)
        if chosen is not None:
            kernels.impose_block(gram, self.gamma, core, chosen)
        elif block > 1 and count > 1:
            kernels.block_secant(gram, self.gamma, core, self.used, block)
        self.identity = self.n <= 2 * count
        if self.identity:
            self.k = self.n
            factor = np.ascontiguousarray(to_host(self.rows)[index].T)
        else:
            factor = self._factorise(gram, index)
        small = factor @ core @ factor.T
        self.small = 0.5 * (small + small.T)

    def _factorise(self, gram: FloatArray, index: Any) -> FloatArray:
        """Choose the basis; return ``Q'Z'``, shape (k, 2c), columns oldest pair first."""
        factor = np.empty_like(gram)
        kept = np.zeros(gram.shape[0], dtype=np.int64)
        k, loss = kernels.basis_factor(gram, DROP, factor, kept)
        self.k = int(k)
        self._factor, self._kept, self._rows_kept = factor, kept, index[kept[:k]]
        self._loss = loss
        if loss <= REPEAT:
            return factor[:k]
        # The second pass of "CholeskyQR2": exact to rounding, for one more read of the rows.
        xp = namespace_of(self.rows)
        weights = np.zeros((self.k, self.rows.shape[0]))
        for i in range(self.k):
            unit = np.eye(self.k)[i]
            weights[i, self._rows_kept] = kernels.solve_kept(factor, kept, self.k, unit, False)
        basis = xp.matmul(from_host(weights, self.rows), self.rows)
        values, vectors = symmetric_eigen(float64_rows_dot(basis, xp.matrix_transpose(basis)))
        good = values > 0.5  # what fell short was rounding, not a direction
        turn = (vectors[:, good] / np.sqrt(values[good])).T
        self._loss = 0.0
        self._basis = xp.matmul(from_host(turn, basis), basis)
        self.k = int(good.sum())
        return float64_rows_dot(self._basis, xp.matrix_transpose(self.rows))[:, index]

    @property
    def newest_skipped(self) -> bool:
        """Whether the newest pair taught the model nothing."""
        return self.used.shape[0] > 0 and int(self.used[-1]) == 0

    @property
    def full(self) -> bool:
        """Whether the basis spans the whole space."""
        return bool(self.k >= self.n)

    @property
    def eigen(self) -> tuple[FloatArray, FloatArray]:
        """Eigenvalues of B inside the basis, ascending, and their vectors."""
        if self._eigen is None:
            values, vectors = self._small_eigen()
            self._eigen = values + self.gamma, vectors
        return self._eigen

    def _small_eigen(self) -> tuple[FloatArray, FloatArray]:
        k, c = self.k, self._compact
        if c is None or not kernels.symmetric_eigen(c.small, k, c.values, c.vectors, c.scratch):
            return symmetric_eigen(self.small)
        return c.values[:k].copy(), c.vectors[:k, :k].T.copy()

    @property
    def _lost(self) -> float:
        """How far Q may be from orthonormal."""
        if self._compact is None or self.identity:
            return self._loss
        return float(kernels.basis_loss(self.k, self._compact))

    def project(self, v: Array) -> FloatArray:
        """Return ``Q'v``."""
        if self.k == 0:
            return np.zeros(0)
        if self.identity:
            return to_host(v)
        if self._basis is not None:
            return float64_rows_dot(self._basis, v)
        products = float64_rows_dot(self.rows, v)
        if self._compact is not None:
            kernels.compact_inside(products, self._order, self.k, self.gamma, self._compact)
            return np.array(self._compact.inside[: self.k])
        inside: FloatArray = kernels.solve_kept(
            self._factor, self._kept, self.k, products[self._rows_kept], True
        )
        return inside

    def expand(self, w: FloatArray, scale: float, v: Array) -> Array:
        """Return ``scale v + Q w``."""
        if self.k == 0:
            return scale * v
        part = self._combine(w, v)
        if scale == 0.0:
            return part
        out = scale * v  # no sum as a third vector: where n is large each counts
        out += part
        return out

    def _combine(self, w: FloatArray, like: Array) -> Array:
        if self.identity:
            return from_host(w, like)
        xp = namespace_of(like)
        if self._basis is not None:
            return xp.matmul(from_host(w, like), self._basis)
        weights = np.zeros(self.rows.shape[0])
        if self._compact is not None:
            kernels.compact_weights(self._order, self.k, self.gamma, self._compact, w, weights)
        else:
            w = kernels.solve_kept(self._factor, self._kept, self.k, w, False)
            weights[self._rows_kept] = w
        return xp.matmul(from_host(weights, like), self.rows)

    def split(self, v: Array, vnorm: float) -> tuple[FloatArray, float, Array | None]:
        """Split `v` into its part inside the basis and the rest.

        Returns
        -------
        inside : ndarray, shape (k,)
            ``Q'v``.
        length : float
            Length of the part outside.
        outside : array, shape (n,), or None
            That part itself where ``v - Q inside`` would cancel; None where it would not.
        """
        inside = self.project(v)
        if self.full:
            return inside, 0.0, None
        square = vnorm * vnorm - float(inside @ inside)
        if square > 1e-6 * vnorm * vnorm:
            return inside, math.sqrt(square), None
        outside = self.expand(-inside, 1.0, v)
        again = self.project(outside)
        outside = self.expand(-again, 1.0, outside)
        length = math.sqrt(max(scalars(dot(outside, outside))[0], 0.0))
        # What is left below the rounding of v, or of Q, is not a direction of v.
        if length <= max(4.0 * eps_of(v), 10.0 * self._lost) * vnorm:
            length = 0.0
        return inside + again, length, outside

    def matvec(self, v: Array) -> Array:
        """Return ``B v``."""
        return self.expand(self.small @ self.project(v), self.gamma, v)

    def solve(self, v: Array, *, absolute: bool, floor: float = 1e-15) -> Array:
        """Return ``B^-1 v``, or ``|B|^-1 v``, eigenvalues kept `floor` away from zero.

        `floor` is relative to the largest absolute eigenvalue of B.
        """
        inside = self.project(v)
        if self._compact is not None:
            return self._solve_sr1(inside, v, absolute, floor)
        values, vectors = self.eigen
        largest = max(abs(self.gamma), float(np.max(np.abs(values), initial=0.0)))
        size = np.maximum(np.abs(values), floor * largest)
        signed = size if absolute else np.where(values < 0.0, -size, size)
        outside = max(abs(self.gamma), floor * largest)
        if not absolute and self.gamma < 0.0:
            outside = -outside
        w = vectors @ ((vectors.T @ inside) / signed)
        if self.full:
            return self.expand(w, 0.0, v)
        return self.expand(w - inside / outside, 1.0 / outside, v)

    def _solve_sr1(self, inside: FloatArray, v: Array, absolute: bool, floor: float) -> Array:
        k, c = self.k, self._compact
        c.inside[:k] = inside
        # The length of v is asked for only for slopes, which are not used here.
        _, scale, _, _ = kernels.compact_solve(k, self.full, self.gamma, absolute, floor, 0.0, c)
        return self.expand(-c.step[:k], -scale, v)
