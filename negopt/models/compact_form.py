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
N.  K is linear in sigma: ``K = (sigma / gamma) N + K_0``.  So steps need inner products of the
pairs and small factorisations only: no basis, no vector of n entries, and nearly dependent pairs
cost the square root of what they cost a basis.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache

import numpy as np
from scipy.linalg.lapack import dsytrf, dsytrs

from negopt.core.arrays import to_host
from negopt.models.pair_memory import BFGS, EMPTY, SR1, PairMemory, quiet
from negopt.models.spectrum import Spectrum
from negopt.vectors.primitives import HostArray

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


class Columns:
    """The columns of the model in terms of those of F, of which some are left out.

    A pair that enters by the SR1 update has one, the difference of its two; these come first.
    """

    def __init__(self, kinds: bytes) -> None:
        kind = np.frombuffer(kinds, dtype=np.int64)
        m = kind.shape[0]
        single, double = np.flatnonzero(kind == SR1), np.flatnonzero(kind == BFGS)
        self._less = m + single  # what is subtracted from the first of `_index`
        self._index = np.concatenate([single, double, m + double])
        self._single = int(single.shape[0])
        self.count = int(self._index.shape[0])
        #: shape (2m, count)
        self.matrix = np.zeros((2 * m, self.count))
        self.matrix[self._index, np.arange(self.count)] = 1.0
        self.matrix[self._less, np.arange(self._single)] = -1.0

    def combined(self, full: HostArray, axis: int) -> HostArray:
        """Return the columns of the model along the first or the last axis of those of F."""
        part: HostArray = full.take(self._index, axis)
        if self._single:
            first = part[: self._single] if axis == 0 else part[..., : self._single]
            first -= full.take(self._less, axis)
        return part


_columns_of = lru_cache(maxsize=8)(Columns)


class CompactForm:
    """The small matrices of the model of the stored pairs, and its spectrum.

    Parameters
    ----------
    memory : PairMemory
    gamma : float
        The initial matrix is gamma I, gamma > 0.
    n : int
    """

    _dropped = 0  # oldest pairs that are left out
    # What is formed when it is first asked for.
    _parts: tuple[HostArray, HostArray] | None = None
    _columns: Columns | None = None
    _root: HostArray | None = None
    _lu: tuple[HostArray, HostArray] | None = None
    _pencil: tuple[HostArray, HostArray] | None = None
    _core: ScaledFactor | None = None
    _spectrum: Spectrum | None = None
    _shifted: tuple[float, Factor] | None = None  # the shift factored last

    def __init__(self, memory: PairMemory, gamma: float, n: int) -> None:
        self.memory = memory
        self.gamma = gamma
        self.n = n
        m = self.m = memory.kinds.shape[0]
        gram = memory.gram
        self._ss, self._sy, self._yy = gram[:m, :m], gram[:m, m:], gram[m:, m:]
        self.convex = memory.concave == 0

    def _split(self) -> tuple[HostArray, HostArray]:
        """Return U and D (with its block)."""
        if self._parts is None:
            memory, m = self.memory, self.m
            upper, diagonal = _masks(m, memory.block, memory.count % m)
            d = self._sy * diagonal
            if memory.block > 1:
                d = d + d.T
                d *= 0.5
            self._parts = self._sy * upper, d
        return self._parts

    @property
    def _pairs(self) -> int:
        """Pairs that are in the model."""
        return min(self.memory.count, self.m) - self._dropped

    def columns(self) -> Columns:
        """Return the columns of the model."""
        if self._columns is None:
            memory, m, gamma = self.memory, self.m, self.gamma
            kinds = memory.kinds
            if self._dropped:
                kinds = kinds.copy()
                kinds[(memory.count - 1 - np.arange(self._pairs, m)) % m] = EMPTY
            if not self.convex:
                # Where y = gamma s to rounding the difference of the columns is no direction.
                both = gamma * self._ss.diagonal()
                both += self._yy.diagonal() / gamma
                real = both - 2.0 * self._sy.diagonal() > GENERATOR * both
                if not real.all():
                    kinds = np.where(real | (kinds != SR1), kinds, EMPTY)
            self._columns = _columns_of(kinds.tobytes())
        return self._columns

    def _scaled_columns(self) -> HostArray:
        """Return the columns with the factors of F, or these alone, shape (2m,), if convex."""
        if self._root is None:
            root = np.empty(2 * self.m)
            size = math.sqrt(self.gamma)
            root[: self.m], root[self.m :] = size, 1.0 / size
            self._root = root if self.convex else root[:, None] * self.columns().matrix
        return self._root

    def inward(self, along: HostArray) -> HostArray:
        """Return ``F'v``, in the columns of the model, from rows @ v."""
        root = self._scaled_columns()
        return root * along if self.convex else along.dot(root)

    def outward(self, w: HostArray) -> HostArray:
        """Return the weights of the rows that make ``F w``."""
        root = self._scaled_columns()
        return root * w if self.convex else root.dot(w)

    def _whole_core(self, out: HostArray) -> HostArray:
        """Write N, of all slots."""
        m = self.m
        upper, d = self._split()
        lower = self._sy - upper
        np.multiply(self._ss, self.gamma, out[:m, :m])
        out[:m, m:] = lower
        out[m:, :m] = lower.T
        np.negative(d, out[m:, m:])
        return out

    def pencil(self) -> tuple[HostArray, HostArray]:
        """Return N and K_0 in the columns of the model."""
        if self._pencil is None:
            m, columns = self.m, self.columns()
            upper, d = self._split()
            both = np.zeros((2 * m, 2, 2 * m))
            self._whole_core(both[:, 0])
            rest = both[:, 1]
            np.negative(upper, rest[:m, m:])
            np.negative(upper.T, rest[m:, :m])
            corner = rest[m:, m:]
            np.multiply(self._yy, -1.0 / self.gamma, corner)
            corner -= d
            reduced = columns.combined(columns.combined(both, 0), 2)
            self._pencil = reduced[:, 0], reduced[:, 1]
        return self._pencil

    def _factor(self, sigma: float) -> Factor:
        """Factor K for a shift."""
        theta = sigma / self.gamma
        if self.convex:  # the triangle that is read, and mostly one shift: no pencil
            m = self.m
            upper, d = self._split()
            k = np.empty((2 * m, 2 * m))
            np.multiply(self._ss, sigma, k[:m, :m])
            cross = k[:m, m:]
            np.multiply(self._sy, theta, cross)
            cross -= (1.0 + theta) * upper
            corner = k[m:, m:]
            np.multiply(d, -1.0 - theta, corner)
            corner -= self._yy * (1.0 / self.gamma)
        else:
            core, rest = self.pencil()
            k = core * theta
            k += rest
        return Factor(k)

    def core(self) -> ScaledFactor:
        """Return N, factored, in the columns of the model."""
        if self._core is None:
            if self.convex:
                m, columns = self.m, self.columns()
                core = self._whole_core(np.empty((2 * m, 2 * m)))
                core = columns.combined(columns.combined(core, 0), 1)
            else:
                core = self.pencil()[0]
            self._core = ScaledFactor(core)
        return self._core

    @property
    def negative(self) -> int:
        """Negative eigenvalues of N; -1 where it is as good as singular."""
        if self.convex:
            return self.m
        core = self.core()
        return core.negative if core.regular else -1

    def _drop(self) -> None:
        """Leave out the oldest quarter of the pairs."""
        self._dropped += max(self._pairs // 4, 1)
        self._columns = self._pencil = self._core = self._shifted = None
        if not self.convex:
            self._root = None

    def settle(self) -> int:
        """Leave out the oldest pairs until N is not singular; return how many columns are left."""
        while self.columns().count and self.negative < 0:
            self._drop()
        return self.columns().count

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
        m, rows, n, gamma = self.m, self.memory.rows, self.n, self.gamma
        while self.settle():
            columns = self.columns()
            if n <= columns.count:
                return self._in_variables()
            gram = columns.combined(columns.combined(self._gram(), 0), 1)
            scale = 1.0 / np.sqrt(gram.diagonal())
            gram *= scale[:, None] * scale
            values, vectors = np.linalg.eigh(gram)
            if values[0] > DEPENDENT * values[-1]:
                break
            self._drop()  # nearly dependent: the newest pairs matter
        else:
            return Spectrum(rows, np.zeros((0, 2 * m)), np.zeros((0, 0)), gamma, n)
        root = np.sqrt(values)
        inside = (root * vectors).T / scale  # the columns of F in the basis
        small = inside.dot(self.core().solve(inside.T))
        small *= -gamma
        size = math.sqrt(gamma)
        weights = ((vectors / root).T * scale).dot(columns.matrix.T)
        weights[:, :m] *= size
        weights[:, m:] /= size
        return Spectrum(rows, weights, small, gamma, n)

    def _in_variables(self) -> Spectrum:
        """Return the spectrum where the columns are as many as the variables."""
        root = self._scaled_columns()
        if self.convex:
            root = root[:, None] * self.columns().matrix
        columns = root.T.dot(to_host(self.memory.rows))
        small = columns.T.dot(self.core().solve(columns))
        small *= -self.gamma
        return Spectrum(self.memory.rows, None, small, self.gamma, self.n)

    def _gram(self) -> HostArray:
        """Return the inner products of the columns of F, of all slots."""
        m, size = self.m, self.gamma
        gram = self.memory.gram.copy()
        gram[:m, :m] *= size
        gram[m:, m:] *= 1.0 / size
        return gram


class Factor:
    """A factorisation of a symmetric matrix, given by its upper triangle, which is overwritten."""

    def __init__(self, matrix: HostArray) -> None:
        lwork = 32 * matrix.shape[0]
        self.ldl, self.pivots, _ = dsytrf(matrix.T, lower=1, lwork=lwork, overwrite_a=1)

    def inertia(self) -> tuple[int, float]:
        """Return how many eigenvalues are negative, and the least absolute pivot.

        Bunch and Kaufman's blocks of order 2 are indefinite; nan where a pivot is not finite.
        """
        negative, least, i = 0, math.inf, 0
        diagonal, pivots = self.ldl.diagonal().tolist(), self.pivots.tolist()
        while i < len(pivots):
            size = diagonal[i]
            if pivots[i] > 0:
                negative += size < 0.0
                size = abs(size)
            else:
                cross = self.ldl.item(i + 1, i)
                size = abs(size * diagonal[i + 1] - cross * cross) / abs(cross) if cross else 0.0
                negative += 1
                i += 1
            least = size if not size >= least else least
            i += 1
        return negative, least

    def solve(self, right: HostArray) -> HostArray:
        """Return the solution."""
        solved, _ = dsytrs(self.ldl, self.pivots, right, lower=1)
        return solved  # type: ignore[no-any-return]


class ScaledFactor(Factor):
    """A factorisation that tells whether the matrix is as good as singular."""

    def __init__(self, matrix: HostArray) -> None:
        self.scale = scale = 1.0 / np.sqrt(np.maximum.reduce(np.abs(matrix), 1))
        scaled = matrix * scale
        scaled *= scale[:, None]
        super().__init__(scaled)
        self.negative, least = self.inertia()
        #: Whether no pivot is rounding; False where one is not finite.
        self.regular = least > SINGULAR

    def solve(self, right: HostArray) -> HostArray:
        """Return the solution, for one or more right sides."""
        scale = self.scale if right.ndim == 1 else self.scale[:, None]
        solved = super().solve(scale * right).reshape(right.shape)
        solved *= scale
        return solved
