"""Limited-memory models: the stored curvature pairs, and the matrix that they make of gamma I.

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
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from scipy.linalg.lapack import dgetrf, dgetrs, dsytrf, dsytrs

from negopt._array import Array, device_of, dot, namespace_of, scalars, to_host
from negopt._types import Iterate, Outcome, Step, saved
from negopt.models.spectrum import Spectrum, spectral_step
from negopt.vectors.primitives import (
    HostArray,
    combine,
    pair_products,
    products,
    slope_and_square,
)

__all__ = ["LimitedModel", "PairMemory", "Weights", "forget", "new_pair_memory", "store_pair"]

#: How a pair enters the model.
EMPTY, BFGS, SR1 = 0, 1, 2
#: A pair is convex when the cosine of the angle of s and y exceeds it.
CONVEX = 1e-8
#: Least relative pivot of a factorisation that is believed.
SINGULAR = 1e-13
#: A boundary step is at least this share of the radius long, and the minimiser for its own length.
ON_BOUNDARY = 0.9
#: Least square of the length of an SR1 pair's column, beside those of its parts.
GENERATOR = 1e-13
#: Least relative eigenvalue of the pairs' scaled Gram matrix, of which a basis is formed.
DEPENDENT = 1e-10
#: Entries of the rows up to which a product with them costs as little as with the Gram matrix.
DIRECT = 32_000
#: Relative error of s's by the Gram matrix with which its products with s are believed; least
#: ``|y|^2`` beside ``|g|^2`` with which those with y are differences.
AGREES, CANCELLED = 1e-10, 1e-6
#: Numbers may leave the range of float64, or of float32, on the way: every result is checked.
quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")
#: Shifts that are tried before the spectrum is asked.
MOST_SHIFTS = 20


@saved
@dataclass(slots=True)
class PairMemory:
    """The last m curvature pairs, slot by slot.

    Attributes
    ----------
    rows : array, shape (2m, n)
        Row i is s and row m + i is y of slot i, both times a power of two that brings ``|s'y|``
        (of a pair that is nearly orthogonal ``||s|| ||y||``) close to 1.
    gram : ndarray, shape (2m, 2m), float64
        Inner products of the rows.  An empty slot has the pair's entries of the identity.
    kinds : ndarray of int, shape (m,)
        Whether the slot is empty (0), or its pair enters by the BFGS (1) or SR1 update (2).
    count : int
        Pairs stored so far; the newest is in slot ``(count - 1) % m``.
    concave : int
        Pairs that enter by the SR1 update.
    block : int
        Newest pairs that enter together; at most 1 where they enter one by one.
    curvatures : list of float
        ``y'y / s'y`` of recent convex pairs, newest last.
    along : ndarray, shape (2m,), float64, or None
        Products of the rows with the gradient of length `at`.
    at : float
    shift : float
        Multiplier of the last boundary step, with which the next one begins.
    """

    rows: Array
    gram: HostArray = field(metadata={"host": True})
    kinds: HostArray = field(metadata={"host": True})
    count: int = 0
    concave: int = 0
    block: int = 0
    curvatures: list[float] = field(default_factory=list)
    along: HostArray | None = field(default=None, metadata={"host": True, "value": True})
    at: float = math.nan
    shift: float = 0.0

    @property
    def capacity(self) -> int:
        """Most pairs that are kept, m."""
        return int(self.kinds.shape[0])

    @property
    def newest(self) -> int:
        """Slot of the newest pair."""
        return (self.count - 1) % self.capacity


@dataclass(slots=True)
class Weights:
    """A step in terms of the stored rows: ``scale g + weights' rows``.

    Attributes
    ----------
    weights : ndarray, shape (2m,)
    scale : float
    along : ndarray, shape (2m,)
        Products of the rows with g.
    shift : float
        Multiplier sigma of ``(B + sigma I) s = -g``.
    """

    weights: HostArray
    scale: float
    along: HostArray
    shift: float = 0.0


def new_pair_memory(x0: Array, pairs: int) -> PairMemory:
    """Return an empty memory for that many pairs of vectors like `x0`."""
    xp = namespace_of(x0)
    rows = xp.zeros((2 * pairs, x0.shape[0]), dtype=x0.dtype, device=device_of(x0))
    gram = np.zeros((2 * pairs, 2 * pairs))
    _clear(gram, pairs)
    return PairMemory(rows, gram, np.zeros(pairs, dtype=np.int64))


def _clear(gram: HostArray, m: int) -> None:
    gram[:] = 0.0
    flat = gram.reshape(-1)
    flat[: m * 2 * m : 2 * m + 1] = 1.0  # s's
    flat[m : m * 2 * m : 2 * m + 1] = 1.0  # s'y
    flat[m * 2 * m :: 2 * m + 1] = 1.0  # y's


def forget(memory: PairMemory) -> bool:
    """Forget all pairs; return False when there were none."""
    had = memory.count > 0
    memory.rows[...] = 0.0
    _clear(memory.gram, memory.capacity)
    memory.kinds[:] = EMPTY
    memory.count = memory.block = memory.concave = 0
    memory.curvatures.clear()
    memory.along, memory.at, memory.shift = None, math.nan, 0.0
    return had


def along(memory: PairMemory, iterate: Iterate) -> HostArray:
    """Return the products of the rows with the gradient at `iterate`."""
    if memory.along is not None and memory.at == iterate.gnorm:
        return memory.along
    return products(memory.rows, iterate.g)


@quiet
def store_pair(
    memory: PairMemory,
    s: Array,
    y: Array,
    outcome: Outcome | None,
    *,
    remember: int,
    block: int = 1,
    convex_only: bool = False,
    least: float = CONVEX,
    skip: float = 1e-8,
) -> bool:
    """Store (s, y) in place of the oldest pair; return whether the model took it.

    Parameters
    ----------
    memory : PairMemory
    s, y : array, shape (n,)
    outcome : Outcome or None
        Of the step whose pair it is: with the weights of a step in the rows one pass over these,
        for the products with the new gradient, gives all that is needed.
    remember : int
        Curvatures that are remembered.
    block : int
        Most pairs that enter together; 0 keeps SR1 pairs only.
    convex_only : bool
        Turn other pairs away (BFGS).
    least : float
        Cosine of the angle of s and y above which the pair is convex.
    skip : float
        Cosine of the angle of s and ``y - Bs`` below which a pair that is not tells nothing.

    Notes
    -----
    Negative curvature is information, so a pair is turned away only when it is not finite, its s is
    as good as zero, its curvature exceeds 1e60, or the model knows it already.
    """
    learnt: Weights | None = None
    end = trial = None
    if outcome is not None and outcome.step is not None and type(outcome.step.learnt) is Weights:
        learnt, trial = outcome.step.learnt, outcome.trial
        end = trial if outcome.accepted else outcome.start
    ss, sy, yy, sg, yg = pair_products(s, y, s if end is None else end.g)
    if not (1e-200 < ss < math.inf and yy < 1e120 * ss and math.isfinite(sy)):
        return False  # the small algebra would leave the range of float64
    size = math.sqrt(ss) * math.sqrt(yy)
    convex = sy > least * size
    if not convex and (convex_only or not _informs(outcome, ss, yy, skip)):
        return False
    m, rows, gram = memory.capacity, memory.rows, memory.gram
    if outcome is None or learnt is None or trial is None:
        of_s, of_y, ahead = products(rows, s), products(rows, y), None
    else:
        there = products(rows, trial.g)
        ahead = there if outcome.accepted else learnt.along.copy()
        least_y = CANCELLED * trial.gnorm * trial.gnorm
        of_y = there - learnt.along if yy > least_y else products(rows, y)
        of_s = _products_with_step(memory, learnt, s, ss, sg - sy if outcome.accepted else sg)
    enters = BFGS if convex and block > 0 else SR1
    slot = memory.count % m
    factor = math.ldexp(1.0, -math.frexp(max(sy if convex else size, 1e-30 * ss))[1] // 2)
    square = factor * factor
    rows[slot, :] = factor * s
    rows[m + slot, :] = factor * y
    of_s *= factor
    of_y *= factor
    of_s[slot] = square * ss
    of_s[m + slot] = of_y[slot] = square * sy
    of_y[m + slot] = square * yy
    gram[slot] = of_s
    gram[:, slot] = of_s
    gram[m + slot] = of_y
    gram[:, m + slot] = of_y
    memory.concave += int(enters == SR1) - int(memory.kinds[slot] == SR1)
    memory.kinds[slot] = enters
    memory.count += 1
    if sy > 0.0 and 0.0 < yy / sy < math.inf:
        memory.curvatures.append(yy / sy)
        del memory.curvatures[:-remember]
    memory.block = secant_block(memory, block) if block > 1 else 0
    memory.along = ahead
    if learnt is not None and end is not None and ahead is not None:
        ahead[slot], ahead[m + slot] = factor * sg, factor * yg
        memory.at, memory.shift = end.gnorm, learnt.shift
    return True


def _products_with_step(
    memory: PairMemory, learnt: Weights, s: Array, ss: float, slope: float
) -> HostArray:
    """Return ``rows @ s``; of long vectors from the Gram matrix, without another pass.

    The weights of nearly dependent pairs are large, and multiply the rounding of the Gram matrix,
    which would grow from pair to pair: what comes out must agree with the measured s's.
    """
    if 2 * memory.capacity * s.shape[0] > DIRECT:
        weights = learnt.weights
        of_s: HostArray = memory.gram.dot(weights)
        of_s += learnt.scale * learnt.along
        square = float(weights.dot(of_s)) + learnt.scale * slope
        if abs(square - ss) <= AGREES * ss:
            return of_s
    return products(memory.rows, s)


def _informs(outcome: Outcome | None, ss: float, yy: float, skip: float) -> bool:
    """Tell whether the residual ``y - B s`` of an SR1 update is more than rounding."""
    if outcome is None or outcome.step is None or outcome.trial is None:
        return True
    learnt = outcome.step.learnt
    if not isinstance(learnt, Weights) or not math.isnan(outcome.step_size):
        return True
    # B s = -g - sigma s, so the residual is g+ + sigma s.
    sigma, end = learnt.shift, outcome.trial
    sg = scalars(dot(outcome.s, end.g))[0]
    rs = sg + sigma * ss
    rr = end.gnorm * end.gnorm + 2.0 * sigma * sg + sigma * sigma * ss
    return rr > 1e-14 * yy and abs(rs) >= skip * math.sqrt(max(rr, 0.0) * ss) and rs != 0.0


#: Least pivot of the measured S'Y, scaled to a unit diagonal, with which a pair joins a block; most
#: that two measurements of one cross curvature may differ.
CONCAVE, SKEW = 0.05, 0.5


def secant_block(memory: PairMemory, most: int) -> int:
    """Return how many of the newest pairs may enter by one block update.

    Pair after pair, BFGS satisfies the newest secant equation and loses the older ones; a block
    satisfies all of its equations where f is quadratic.  A pair joins as long as S'Y of the block,
    scaled to a unit diagonal, stays well conditioned (pivots above ``CONCAVE``), and its two
    measurements of a cross curvature, ``s_i'y_j`` and ``s_j'y_i``, differ by less than ``SKEW``:
    both are invariant under a linear change of variables.

    References
    ----------
    Schnabel (1983), Quasi-Newton methods using multiple secant equations, University of
    Colorado, CU-CS-247-83.  Gao and Goldfarb (2018), Block BFGS methods, SIAM J. Optim. 28,
    1205-1231, doi:10.1137/16M1092106.
    """
    m = memory.capacity
    count = min(most, memory.count, m)
    if count < 2:
        return 0
    newest = memory.newest
    slots, index = _newest(m, newest, count)
    sy = memory.gram[index].tolist()
    kinds = memory.kinds[slots].tolist() if memory.concave else None
    lower: list[list[float]] = []
    for i in range(count):
        if kinds is not None and kinds[i] != BFGS:
            return i if i > 1 else 0
        row: list[float] = []
        pivot = 1.0
        for j in range(i):
            size = math.sqrt(sy[i][i] * sy[j][j])
            one, two = sy[i][j] / size, sy[j][i] / size
            if abs(one - two) > SKEW:
                return i if i > 1 else 0
            value = 0.5 * (one + two)
            other = lower[j]
            for t in range(j):
                value -= row[t] * other[t]
            value /= other[j]
            row.append(value)
            pivot -= value * value
        if not pivot >= CONCAVE:
            return i if i > 1 else 0
        row.append(math.sqrt(pivot))
        lower.append(row)
    return count


@cache
def _newest(m: int, newest: int, count: int) -> tuple[list[int], tuple[HostArray, HostArray]]:
    """Return the slots of the newest pairs, newest first, and the index of their S'Y."""
    slots = [(newest - i) % m for i in range(count)]
    return slots, (np.array(slots)[:, None], m + np.array(slots))


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


class LimitedModel:
    """The model of the stored pairs at one point.

    Parameters
    ----------
    memory : PairMemory
    gamma : float
        The initial matrix is gamma I, gamma > 0.
    n : int

    Attributes
    ----------
    newest_skipped : bool
        Always False: a pair that would teach nothing is not stored.
    """

    learns = True
    newest_skipped = False

    def __init__(self, memory: PairMemory, gamma: float, n: int) -> None:
        self.memory = memory
        self.gamma = gamma
        self.n = n
        m = memory.capacity
        self.m = m
        gram = memory.gram
        self._ss, self._sy, self._yy = gram[:m, :m], gram[:m, m:], gram[m:, m:]
        self.convex = memory.concave == 0
        self._dropped = 0  # oldest pairs that are left out
        self._parts: tuple[HostArray, HostArray, HostArray] | None = None
        self._root: HostArray | None = None
        self._lu: tuple[HostArray, HostArray] | None = None
        self._keep: tuple[HostArray, HostArray, HostArray] | None = None
        self._inertia: int | None = None
        self._spectrum: Spectrum | None = None
        self._core_factor: _Factor | None = None
        self._shifted: tuple[float, _Factor] | None = None  # the shift factored last

    # --- small matrices ------------------------------------------------------------------

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
        """Return the rows that are kept, and those of s and y that enter as a difference."""
        if self._keep is None:
            memory, m = self.memory, self.m
            c = self._pairs
            slots = np.array([(memory.count - c + i) % m for i in range(c)], dtype=np.int64)
            single = slots[memory.kinds[slots] == SR1]
            double = slots[memory.kinds[slots] == BFGS]
            if single.size:
                ss, sy, yy = (part.diagonal()[single] for part in (self._ss, self._sy, self._yy))
                size = self.gamma
                # Where y = gamma s to rounding the difference of the columns is no direction.
                real = size * ss - 2.0 * sy + yy / size
                single = single[real > GENERATOR * (size * ss + yy / size)]
            kept = np.concatenate([single, double, m + double])
            self._keep = kept, single, m + single
        return self._keep

    def _reduced(self, full: HostArray) -> HostArray:
        """Return the matrix in the columns of the model."""
        keep, s, y = self._reduction()
        full[s] -= full[y]
        full[:, s] -= full[:, y]
        kept: HostArray = full[np.ix_(keep, keep)]
        return kept

    def _system(self, theta: float) -> HostArray:
        """Return K for ``sigma = theta gamma``, of all slots."""
        m, gamma = self.m, self.gamma
        upper, lower, d = self._split()
        k = np.empty((2 * m, 2 * m))
        k[:m, :m] = (theta * gamma) * self._ss
        cross = theta * lower
        cross -= upper
        k[:m, m:] = cross
        if not self.convex:  # else one triangle is read
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
        return self._reduced(self._whole_core())

    def _right(self, along: HostArray) -> HostArray:
        """Return ``F'v`` from rows @ v."""
        if self._root is None:
            root = math.sqrt(self.gamma)
            self._root = np.empty(2 * self.m)
            self._root[: self.m], self._root[self.m :] = root, 1.0 / root
        return self._root * along

    # --- solving ---------------------------------------------------------------------------

    def newton(self, along: HostArray) -> tuple[HostArray, float]:
        """Return weights and scale of ``B^-1 v``; every pair is convex."""
        m, h = self.m, 1.0 / self.gamma
        upper, _, d = self._split()
        if self._lu is None:
            lu, pivots, _ = dgetrf(upper)
            self._lu = lu, pivots
        lu, pivots = self._lu
        w, _ = dgetrs(lu, pivots, along[:m])
        weights = np.empty(2 * m)
        right = self._yy.dot(w)
        right -= along[m:]
        right *= h
        right += d.dot(w)
        weights[:m], _ = dgetrs(lu, pivots, right, trans=1)
        np.multiply(w, -h, weights[m:])
        return weights, h

    def _factor(self, theta: float) -> _Factor:
        k = self._system(theta)
        if self.convex:
            return _Factor(k, self.m)
        return _Factor(self._reduced(k), self.m, self._reduction())

    def _negative(self) -> int:
        """Return how many negative eigenvalues N has, or -1 where N is as good as singular."""
        if self._inertia is None:
            if self.convex:
                self._inertia = self.m
            else:
                found = _inertia(self._core())
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
        while self._reduction()[0].size and self._negative() < 0:
            self._drop()

    # --- the step ----------------------------------------------------------------------------

    @quiet
    def trust_step(self, iterate: Iterate, radius: float) -> Step:
        """Return the minimiser of the model for a length from 0.9 to 1 times the radius."""
        memory, g = self.memory, iterate.g
        if memory.count == 0:
            return self._along_gradient(iterate, radius)
        around = along(memory, iterate)
        found = self._boundary(iterate, around, radius)
        if found is None:
            return self._by_spectrum(iterate, radius)
        weights, scale, shift = found
        s = combine(weights, memory.rows, scale, g)
        slope, square = slope_and_square(g, s)
        length = math.sqrt(square)
        if not (slope < 0.0 and length < math.inf):
            return self._by_spectrum(iterate, radius)
        quadratic = -slope - shift * square
        if length > radius:  # by rounding
            factor = radius / length
            weights, scale = factor * weights, factor * scale
            s *= factor
            slope, quadratic, length = factor * slope, factor * factor * quadratic, radius
        learnt = Weights(weights, scale, around, shift)
        return Step(s, slope, quadratic, length, shift > 0.0, math.nan, learnt)

    def _boundary(
        self, iterate: Iterate, around: HostArray, radius: float
    ) -> tuple[HostArray, float, float] | None:
        """Return weights, scale and multiplier of the step; None where it needs the spectrum."""
        gamma, gg = self.gamma, iterate.gnorm * iterate.gnorm
        gram = self.memory.gram
        sigma, low, high = 0.0, 0.0, math.inf
        if self.convex:
            weights, scale = self.newton(around)
            weights, scale = -weights, -scale
            image = gram.dot(weights)
            image += scale * around
            square = (
                scale * scale * gg + scale * float(weights.dot(around)) + float(weights.dot(image))
            )
            if not 0.0 < square < math.inf:
                return None
            length = math.sqrt(square)
            if length <= radius:
                return weights, scale, 0.0
            # The first shift from the Newton step: s'(B + sigma I)^-1 s with sigma = 0.
            back, h = self.newton(image)
            inner = h * square + float(back.dot(image))
            aim = ON_BOUNDARY * radius
            sigma = square / inner * (length - aim) / aim if inner > 0.0 else math.nan
            if not 0.0 < sigma < math.inf:
                sigma = iterate.gnorm / radius
        else:
            self._settle()
            if not 0 < self._reduction()[0].shape[0] < self.n:
                return None
        negative = self._negative()
        right = self._right(around)
        for _ in range(MOST_SHIFTS):
            theta, tau = sigma / gamma, gamma + sigma
            if not theta < 1e100:
                return None
            factor = self._factor(theta)
            if factor.negative is None:
                return None
            if factor.negative > negative:  # B + sigma I is not positive definite
                low = sigma
                sigma = self._raised(sigma, low, high, iterate.gnorm / radius)
                continue
            solved = factor.solve(right)
            scale = -1.0 / tau
            weights = self._right(solved)
            weights *= scale
            image = gram.dot(weights)
            image += scale * around
            square = (
                scale * scale * gg + scale * float(weights.dot(around)) + float(weights.dot(image))
            )
            if not 0.0 < square < math.inf:
                return None
            length = math.sqrt(square)
            if length <= radius and (sigma == 0.0 or length >= ON_BOUNDARY * radius):
                self._shifted = sigma, factor
                return weights, scale, sigma
            if length > radius:
                low = max(low, sigma)
            else:
                high = min(high, sigma)
            back = self._right(image)
            inner = (square + float(back.dot(factor.solve(back)))) / tau
            aim = ON_BOUNDARY * radius  # met from above
            trial = sigma + square / inner * (length - aim) / aim if inner > 0.0 else math.nan
            if not low < trial < high:
                trial = self._raised(sigma, low, high, iterate.gnorm / radius)
            if trial == sigma:
                return weights, scale, sigma
            sigma = trial
        return None

    def _raised(self, sigma: float, low: float, high: float, step: float) -> float:
        """Return a shift inside its bracket, where Newton's is outside it."""
        if high < math.inf:
            return math.sqrt(low * high) if low > 0.0 else 0.01 * high
        if sigma == 0.0:
            if self.memory.shift > 0.0:
                return self.memory.shift
            ratios = self._sy.diagonal() / self._ss.diagonal()
            return max(-float(ratios.min()), 0.0) + step
        return 4.0 * sigma

    def _by_spectrum(self, iterate: Iterate, radius: float) -> Step:
        step = spectral_step(iterate, self.spectrum, radius)
        if step.predicted_decrease > 0.0:
            return step
        return self._along_gradient(iterate, radius)  # pairs beyond the range of the type

    def _along_gradient(self, iterate: Iterate, radius: float) -> Step:
        """Return the step of the initial matrix."""
        gamma, gnorm = self.gamma, iterate.gnorm
        shift = max(gnorm / radius - gamma, 0.0)
        scale = min(1.0 / gamma, radius / gnorm)
        length = scale * gnorm
        learnt: Weights | None = None
        if self.memory.count == 0:
            learnt = Weights(np.zeros(2 * self.m), -scale, np.zeros(2 * self.m), shift)
        slope, quadratic = -length * gnorm, gamma * length * length
        return Step(-scale * iterate.g, slope, quadratic, length, shift > 0.0, math.nan, learnt)

    # --- other products ------------------------------------------------------------------------

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
        keep, single, _ = self._reduction()
        while keep.size:
            if n <= keep.shape[0]:
                return self._in_variables()
            gram = self._reduced(self._gram())
            scale = 1.0 / np.sqrt(gram.diagonal())
            gram *= scale[:, None] * scale
            values, vectors = np.linalg.eigh(gram)
            if values[0] > DEPENDENT * values[-1]:
                break
            self._drop()  # nearly dependent: the newest pairs matter
            self._settle()
            keep, single, _ = self._reduction()
        if not keep.size:
            return Spectrum(memory.rows, np.zeros((0, 2 * m)), np.zeros((0, 0)), self.gamma, n)
        root = np.sqrt(values)
        inside = (root * vectors).T  # the columns of F, scaled, in the basis
        core = self._core() * (scale[:, None] * scale)
        small = -self.gamma * inside @ np.linalg.solve(core, inside.T)
        weights = np.zeros((root.shape[0], 2 * m))
        weights[:, keep] = (vectors / root).T * scale
        weights[:, m + single] = -weights[:, single]
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
        keep, s, y = self._reduction()
        columns[s] -= columns[y]
        columns = columns[keep]
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

    @quiet
    @quiet
    def matvec(self, v: Array) -> Array:
        """Return ``B v``."""
        memory, gamma = self.memory, self.gamma
        if self._core_factor is None:
            self._settle()
            if not self._reduction()[0].size:  # no pair, or none that gamma I does not explain
                return gamma * v
            if self.convex:
                self._core_factor = _Factor(self._whole_core(), self.m)
            else:
                self._core_factor = _Factor(self._core(), self.m, self._reduction())
        weights = self._right(self._core_factor.solve(self._right(products(memory.rows, v))))
        weights *= -gamma
        if not np.isfinite(weights).all():  # pairs whose sizes leave the range of float64
            return self.spectrum.matvec(v)
        return combine(weights, memory.rows, gamma, v)

    @quiet
    def solve(self, v: Array, *, absolute: bool, floor: float = 1e-15) -> Array:
        """Return ``B^-1 v``, or ``|B|^-1 v``, eigenvalues kept `floor` away from zero.

        `floor` is relative to the largest absolute eigenvalue of B.
        """
        if self.memory.count == 0:
            return (1.0 / self.gamma) * v
        if self.convex:
            weights, scale = self.newton(products(self.memory.rows, v))
            return combine(weights, self.memory.rows, scale, v)
        return self.spectrum.solve(v, absolute=absolute, floor=floor)

    @quiet
    def solve_shifted(self, v: Array, sigma: float) -> Array:
        """Return ``(B + sigma I)^-1 v`` for a sigma with which that is regular.

        What was factored for the last sigma is kept: first the multiplier of the model's own step.
        """
        memory = self.memory
        if memory.count == 0:
            return (1.0 / (self.gamma + sigma)) * v
        around = products(memory.rows, v)
        if self.convex and sigma == 0.0:
            weights, scale = self.newton(around)
            return combine(weights, memory.rows, scale, v)
        if self._shifted is None or self._shifted[0] != sigma:
            self._settle()
            self._shifted = sigma, self._factor(sigma / self.gamma)
        scale = 1.0 / (self.gamma + sigma)
        weights = self._right(self._shifted[1].solve(self._right(around)))
        weights *= scale
        return combine(weights, memory.rows, scale, v)


class _Factor:
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
        if self.reduction is None:
            solved, _ = dsytrs(self.ldl, self.pivots, right, lower=1)
            return solved  # type: ignore[no-any-return]
        keep, s, y = self.reduction
        reduced = right.copy()
        reduced[s] -= reduced[y]
        solved, _ = dsytrs(self.ldl, self.pivots, reduced[keep], lower=1)
        out = np.zeros_like(right)
        out[keep] = solved
        out[y] = -out[s]
        return out


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
    one, two, cross = diagonal[first], diagonal[first + 1], ldl[first + 1, first]
    least[first] = least[first + 1] = np.abs(one * two - cross * cross) / np.abs(cross)
    if not least.min(initial=math.inf) > SINGULAR:
        return None
    return _count_negative(ldl, pivots)
