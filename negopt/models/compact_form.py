"""The matrix that stored curvature pairs make of gamma I: its compact form.

With S and Y the stored pairs, D the diagonal of S'Y, L the part of it below (a newer s with an
older y) and U the part on and above the diagonal, the BFGS matrix of all pairs, oldest first, is

    ``B = gamma (I - F N^-1 F')``,
    ``F = [gamma^1/2 S, gamma^-1/2 Y]``,  ``N = [gamma S'S, L; L', -D]``.

A pair that enters by the SR1 update instead takes one column in place of two, the difference of its
columns; N is combined alike, whatever mixture of the two updates there is.  The newest convex pairs
may enter together, by one block BFGS update: then D is block diagonal and L has no part in the
block.  For every shift

    ``(B + sigma I)^-1 = (I + F K^-1 F') / (gamma + sigma)``,  ``K = (1 + sigma / gamma) N - F'F``,

and, by Sylvester's law of inertia, B + sigma I has as many negative eigenvalues as K has more than
N.  So steps need inner products of the pairs and small factorisations only: no basis, no vector of
n entries, and nearly dependent pairs cost the square root of what they cost a basis.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from scipy.linalg.lapack import dsytrf, dsytrs

from negopt.core.arrays import to_host
from negopt.models.pair_memory import SR1, PairMemory, quiet
from negopt.models.spectrum import Spectrum
from negopt.vectors.primitives import HostArray

IndexArray = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

#: Least relative pivot of a factorisation that is believed.
SINGULAR = 1e-13
#: Least square of the length of an SR1 pair's column, beside those of its parts.
GENERATOR = 1e-13
#: Least relative eigenvalue of the pairs' scaled Gram matrix, of which a basis is formed.
DEPENDENT = 1e-10


@cache
def _tiled(m: int, block: int) -> tuple[HostArray, HostArray]:
    upper, diagonal = np.triu(np.ones((m, m))), np.eye(m)
    if block > 1:
        upper[m - block :, m - block :] = 1.0
        diagonal[m - block :, m - block :] = 1.0
    return np.tile(upper, (2, 2)), np.tile(diagonal, (2, 2))


def _masks(m: int, block: int, oldest: int) -> tuple[HostArray, HostArray]:
    """Return masks, slot by slot, of the parts U and D of S'Y.

    U holds the products of an s that is not newer than the y, and all of the block's.
    """
    upper, diagonal = _tiled(m, block)
    window = slice(m - oldest, 2 * m - oldest)
    return upper[window, window], diagonal[window, window]


class CompactForm:
    """The small matrices of the model of the stored pairs, and its spectrum.

    Parameters
    ----------
    memory : PairMemory
    gamma : float
        The initial matrix is gamma I, gamma > 0.
    n : int
    """

    def __init__(self, memory: PairMemory, gamma: float, n: int) -> None:
        self.memory = memory
        self.gamma = gamma
        self.n = n
        m = memory.capacity
        self.m = m
        gram = memory.gram
        self._ss, self._sy, self._yy = gram[:m, :m], gram[:m, m:], gram[m:, m:]
        self.convex = memory.concave == 0
        self.single = memory.concave == min(memory.count, m) > 0  # every pair enters by SR1
        self._dropped = 0  # oldest pairs that are left out
        self._parts: tuple[HostArray, HostArray, HostArray] | None = None
        self._root: HostArray | None = None
        self._lu: tuple[HostArray, HostArray] | None = None
        self._keep: tuple[HostArray, HostArray, HostArray] | None = None
        self._inertia: int | None = None
        self._spectrum: Spectrum | None = None
        self._core_factor: Factor | None = None
        self._shifted: tuple[float, Factor] | None = None  # the shift factored last

    def _split(self) -> tuple[HostArray, HostArray, HostArray]:
        """Return U, L and D (with its block)."""
        if self._parts is None:
            memory, m = self.memory, self.m
            upper, diagonal = _masks(m, memory.block, memory.count % m)
            u = self._sy * upper
            d = self._sy * diagonal
            if memory.block > 1:
                d = 0.5 * (d + d.T)
            self._parts = u, self._sy - u, d
        return self._parts

    def _reduction(self) -> tuple[HostArray, HostArray, HostArray]:
        """Return the s and the y that enter as a difference, and the columns that are left out."""
        if self._keep is None:
            memory, m = self.memory, self.m
            slots = (memory.count - 1 - np.arange(self._pairs)) % m  # newest first
            single = slots[memory.kinds[slots] == SR1]
            out = np.ones(m, dtype=bool)
            out[slots] = False
            if single.size:
                ss, sy, yy = (part.diagonal()[single] for part in (self._ss, self._sy, self._yy))
                size = self.gamma
                # Where y = gamma s to rounding the difference of the columns is no direction.
                real = size * ss - 2.0 * sy + yy / size
                explained = single[~(real > GENERATOR * (size * ss + yy / size))]
                if explained.size:
                    out[explained] = True
                    single = single[~out[single]]
            gone = np.flatnonzero(out)
            self._keep = single, m + single, np.concatenate([gone, m + gone])
        return self._keep

    def _kept(self) -> IndexArray:
        """Return the columns that are in the model."""
        _, y, gone = self._reduction()
        kept = np.ones(2 * self.m, dtype=bool)
        kept[y] = kept[gone] = False
        return np.asarray(np.flatnonzero(kept))

    def _reduced(self, full: HostArray) -> HostArray:
        """Combine the columns of a matrix, which is overwritten; what is left out is part of I.

        The identity's eigenvalues are positive, and count nowhere.
        """
        s, y, gone = self._reduction()
        if self.single:  # the columns of y are left out
            m = self.m
            cross = full[:m, m:]
            half = full[:m, :m] + full[m:, m:]
            half -= cross
            half -= cross.T
            gone = gone[gone < m]
            half[gone] = 0.0
            half[:, gone] = 0.0
            half[gone, gone] = 1.0
            return half
        full[s] -= full[y]
        full[:, s] -= full[:, y]
        for index in (y, gone):
            full[index] = 0.0
            full[:, index] = 0.0
            full[index, index] = 1.0
        return full

    def _system(self, theta: float) -> HostArray:
        """Return K for ``sigma = theta gamma``, of all slots."""
        m, gamma = self.m, self.gamma
        upper, lower, d = self._split()
        k = np.empty((2 * m, 2 * m))
        k[:m, :m] = (theta * gamma) * self._ss
        cross = theta * lower
        cross -= upper
        k[:m, m:] = cross
        if not (self.convex or self.single):  # else one triangle is read
            k[m:, :m] = cross.T
        corner = k[m:, m:]
        np.multiply(d, -1.0 - theta, corner)
        corner -= self._yy * (1.0 / gamma)
        return k

    def _whole_core(self) -> HostArray:
        """Return N, of all slots."""
        m = self.m
        _, lower, d = self._split()
        full = np.empty((2 * m, 2 * m))
        np.multiply(self._ss, self.gamma, full[:m, :m])
        full[:m, m:] = lower
        full[m:, :m] = lower.T
        np.negative(d, full[m:, m:])
        return full

    def _core(self) -> HostArray:
        """Return N in the columns of the model."""
        kept = self._kept()
        return np.asarray(self._reduced(self._whole_core())[np.ix_(kept, kept)])

    def _right(self, along: HostArray) -> HostArray:
        """Return ``F'v`` from rows @ v."""
        if self._root is None:
            root = math.sqrt(self.gamma)
            self._root = np.empty(2 * self.m)
            self._root[: self.m], self._root[self.m :] = root, 1.0 / root
        return self._root * along

    def _factor(self, theta: float) -> Factor:
        k = self._system(theta)
        if self.convex:
            return Factor(k, self.m)
        return Factor(self._reduced(k), self.m, self._reduction())

    def _negative(self) -> int:
        """Return how many negative eigenvalues N has, or -1 where N is as good as singular."""
        if self._inertia is None:
            if self.convex:
                self._inertia = self.m
            else:
                found = _inertia(self._reduced(self._whole_core()))
                self._inertia = -1 if found is None else found
        return self._inertia

    @property
    def _pairs(self) -> int:
        """Pairs that are in the model."""
        return min(self.memory.count, self.m) - self._dropped

    def _drop(self) -> None:
        """Leave out the oldest quarter of the pairs."""
        self._dropped += max(self._pairs // 4, 1)
        self._keep = self._inertia = None

    def _settle(self) -> None:
        """Leave out the oldest pairs until N is not singular."""
        while self._kept().size and self._negative() < 0:
            self._drop()

    @property
    @quiet
    def spectrum(self) -> Spectrum:
        """The eigenvalues of B, and an orthonormal basis of the pairs."""
        while self._spectrum is None:
            try:
                self._spectrum = self._make_spectrum()
            except np.linalg.LinAlgError:  # singular, or beyond the range of float64
                self._drop()
        return self._spectrum

    def _make_spectrum(self) -> Spectrum:
        self._settle()
        m, memory, n = self.m, self.memory, self.n
        keep = self._kept()
        while keep.size:
            if n <= keep.shape[0]:
                return self._in_variables()
            gram = self._reduced(self._gram())[np.ix_(keep, keep)]
            scale = 1.0 / np.sqrt(gram.diagonal())
            gram *= scale[:, None] * scale
            values, vectors = np.linalg.eigh(gram)
            if values[0] > DEPENDENT * values[-1]:
                break
            self._drop()  # nearly dependent: the newest pairs matter
            self._settle()
            keep = self._kept()
        if not keep.size:
            return Spectrum(memory.rows, np.zeros((0, 2 * m)), np.zeros((0, 0)), self.gamma, n)
        root = np.sqrt(values)
        inside = (root * vectors).T  # the columns of F, scaled, in the basis
        core = self._core() * (scale[:, None] * scale)
        small = -self.gamma * inside @ np.linalg.solve(core, inside.T)
        weights = np.zeros((root.shape[0], 2 * m))
        weights[:, keep] = (vectors / root).T * scale
        s, y, _ = self._reduction()
        weights[:, y] = -weights[:, s]
        size = math.sqrt(self.gamma)
        weights[:, :m] *= size
        weights[:, m:] /= size
        return Spectrum(memory.rows, weights, small, self.gamma, n)

    def _in_variables(self) -> Spectrum:
        """Return the spectrum where the columns are as many as the variables."""
        size, m = math.sqrt(self.gamma), self.m
        columns = to_host(self.memory.rows).copy()
        columns[:m] *= size
        columns[m:] /= size
        s, y, _ = self._reduction()
        columns[s] -= columns[y]
        columns = columns[self._kept()]
        scale = 1.0 / np.linalg.norm(columns, axis=1)
        columns *= scale[:, None]
        core = self._core() * (scale[:, None] * scale)
        small = -self.gamma * columns.T @ np.linalg.solve(core, columns)
        return Spectrum(self.memory.rows, None, small, self.gamma, self.n)

    def _gram(self) -> HostArray:
        """Return the inner products of the columns of F, of all slots."""
        m, size = self.m, self.gamma
        gram = np.empty((2 * m, 2 * m))
        gram[:m, :m] = size * self._ss
        gram[:m, m:] = self._sy
        gram[m:, :m] = self._sy.T
        gram[m:, m:] = self._yy / size
        return gram


class Factor:
    """A factorisation of K, and its inertia.

    `reduction` says which columns are in the model; None where every pair is convex.
    """

    def __init__(
        self,
        k: HostArray,
        m: int,
        reduction: tuple[HostArray, HostArray, HostArray] | None = None,
    ) -> None:
        self.reduction = reduction
        self.ldl, self.pivots, info = dsytrf(k.T, lower=1, lwork=32 * k.shape[0], overwrite_a=1)
        #: Negative eigenvalues of K, of convex pairs always those of N; None where it is singular.
        self.negative: int | None = m if reduction is None else None
        if info == 0 and reduction is not None:
            self.negative = _count_negative(self.ldl, self.pivots)

    def solve(self, right: HostArray) -> HostArray:
        """Return the solution, in all columns."""
        if self.reduction is None:
            solved, _ = dsytrs(self.ldl, self.pivots, right, lower=1)
            return solved  # type: ignore[no-any-return]
        s, y, gone = self.reduction
        half = self.pivots.shape[0]
        if 2 * half == right.shape[0]:  # every pair enters by SR1
            reduced = right[:half] - right[half:]
            reduced[gone[gone < half]] = 0.0
            solved, _ = dsytrs(self.ldl, self.pivots, reduced, lower=1)
            return np.concatenate([solved, -solved])
        reduced = right.copy()
        reduced[s] -= reduced[y]
        reduced[y] = reduced[gone] = 0.0
        solved, _ = dsytrs(self.ldl, self.pivots, reduced, lower=1)
        solved[y] = -solved[s]
        return solved  # type: ignore[no-any-return]


def _count_negative(ldl: HostArray, pivots: HostArray) -> int | None:
    """Return the negative eigenvalues of the factored matrix, from its blocks of order 1 and 2.

    Bunch and Kaufman's blocks of order 2 are indefinite.  None for a singular matrix.
    """
    diagonal = ldl.diagonal()
    single = pivots > 0
    values = diagonal[single]
    if not np.isfinite(diagonal).all():
        return None
    return int(np.count_nonzero(values < 0.0)) + (int(pivots.shape[0]) - int(values.shape[0])) // 2


def _inertia(matrix: HostArray) -> int | None:
    """Return the number of negative eigenvalues; None of a matrix as good as singular."""
    scale = np.sqrt(np.abs(matrix).max(axis=1))
    if not (scale.min(initial=1.0) > 0.0 and scale.max(initial=1.0) < math.inf):
        return None
    matrix = matrix / (scale[:, None] * scale)
    ldl, pivots, _ = dsytrf(matrix.T, lower=1, lwork=32 * matrix.shape[0], overwrite_a=1)
    diagonal = ldl.diagonal()
    least = np.abs(diagonal)
    first = np.flatnonzero(pivots < 0)[::2]  # of each block of order 2
    if first.size:
        one, two, cross = diagonal[first], diagonal[first + 1], ldl[first + 1, first]
        least[first] = least[first + 1] = np.abs(one * two - cross * cross) / np.abs(cross)
    if not least.min(initial=math.inf) > SINGULAR:
        return None
    return _count_negative(ldl, pivots)
