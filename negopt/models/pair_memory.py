"""The stored curvature pairs of a limited memory, and their inner products."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from negopt.core.arrays import Array, device_of, dot, namespace_of, scalars
from negopt.core.checks import NONNEGATIVE, POSITIVE, SIZE, Entries, Reals, check_gram, refuse
from negopt.core.types import Outcome, saved
from negopt.decisions import pairs
from negopt.vectors.primitives import HostArray, pair_products, products, put

IndexArray = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

#: How a pair enters the model.
EMPTY, BFGS, SR1 = 0, 1, 2
#: A pair is convex when the cosine of the angle of s and y exceeds it.
CONVEX = 1e-8
#: Entries of the rows up to which a product with them costs as little as with the Gram matrix.
DIRECT = 32_000
#: Relative error of s's by the Gram matrix with which its products with s are believed; least
#: ``|y|^2`` beside ``|g|^2`` with which those with y are differences.
AGREES, CANCELLED = 1e-10, 1e-6
#: A residual ``y - B s`` below this share of y is rounding: it is formed from gradients.
KNOWN = 1e-7
#: Numbers may leave the range of float64, or of float32, on the way: every result is checked.
quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")


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

    rows: Array = field(metadata={"check": Entries((None, "n"), optional=False)})
    gram: HostArray = field(
        metadata={"host": True, "check": Entries((None, None), optional=False, dtype="float64")}
    )
    kinds: HostArray = field(
        metadata={"host": True, "check": Entries((None,), optional=False, dtype="int64")}
    )
    count: int = 0
    concave: int = 0
    block: int = 0
    curvatures: list[float] = field(default_factory=list, metadata={"check": Reals(POSITIVE)})
    along: HostArray | None = field(
        default=None,
        metadata={"host": True, "value": True, "check": Entries((None,), dtype="float64")},
    )
    at: float = field(default=math.nan, metadata={"check": SIZE})
    shift: float = field(default=0.0, metadata={"check": NONNEGATIVE})

    @property
    def capacity(self) -> int:
        """Most pairs that are kept, m."""
        return int(self.kinds.shape[0])

    @property
    def newest(self) -> int:
        """Slot of the newest pair."""
        return (self.count - 1) % self.capacity

    def check(self, n: int, name: str) -> None:
        """Raise ValueError where the parts do not belong together: compiled code reads them."""
        m = self.capacity
        if m == 0:
            refuse(f"{name}.kinds", self.kinds, "of at least one slot")
        shapes = {"rows": (2 * m, n), "gram": (2 * m, 2 * m), "along": (2 * m,)}
        for part, shape in shapes.items():
            value = getattr(self, part)
            if value is not None and tuple(value.shape) != shape:
                refuse(f"{name}.{part}", value, f"of shape {shape}, for the {m} slots of kinds")
        if isinstance(self.rows, np.ndarray) and not self.rows.flags.c_contiguous:
            refuse(f"{name}.rows", self.rows, "held row by row")
        full = min(self.count, m)
        filled = (self.kinds == BFGS) | (self.kinds == SR1)
        if not (filled[:full].all() and (self.kinds[full:] == EMPTY).all()):
            wanted = f"{full} times 1 or 2, as count = {self.count} has it, then 0"
            refuse(f"{name}.kinds", self.kinds.tolist(), wanted)
        concave = int(np.count_nonzero(self.kinds == SR1))
        if self.concave != concave:
            refuse(f"{name}.concave", self.concave, f"{concave}, as kinds have it")
        newest = (self.count - 1 - np.arange(min(self.block, m))) % m
        if self.block > full or (self.kinds[newest] != BFGS).any():
            refuse(f"{name}.block", self.block, "a number of newest pairs that are convex")
        empty, blank = np.tile(self.kinds == EMPTY, 2), np.empty_like(self.gram)
        _clear(blank, m)
        other = self.gram != blank
        if other[empty].any() or other[:, empty].any():
            refuse(f"{name}.gram", self.gram, "that of the identity in empty slots")
        check_gram(self.gram, self.rows, f"{name}.gram", empty)
        if (self.gram.diagonal()[:m] <= 0.0).any():
            refuse(f"{name}.gram", self.gram, "one with s's > 0 of every pair")
        if (self.gram.diagonal(m)[self.kinds != SR1] <= 0.0).any():
            refuse(f"{name}.gram", self.gram, "one with s'y > 0 of every convex pair")


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


def new_pair_memory(x0: Array, capacity: int) -> PairMemory:
    """Return an empty memory for that many pairs of vectors like `x0`."""
    xp = namespace_of(x0)
    rows = xp.zeros((2 * capacity, x0.shape[0]), dtype=x0.dtype, device=device_of(x0))
    gram = np.zeros((2 * capacity, 2 * capacity))
    _clear(gram, capacity)
    return PairMemory(rows, gram, np.zeros(capacity, dtype=np.int64))


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
        Refuse other pairs (BFGS).
    least : float
        Cosine of the angle of s and y above which the pair is convex.
    skip : float
        Cosine of the angle of s and ``y - Bs`` below which a pair that is not tells nothing.

    Notes
    -----
    Negative curvature is information, so a pair is refused only when it is not finite, its s is as
    good as zero, its curvature exceeds 1e60, or the model satisfies its secant equation already.
    """
    learnt: Weights | None = None
    end = trial = None
    if outcome is not None and outcome.step is not None and type(outcome.step.learnt) is Weights:
        learnt, trial = outcome.step.learnt, outcome.trial
        end = trial if outcome.accepted else outcome.start
    ss, sy, yy, sg, yg = pair_products(s, y, s if end is None else end.g)
    if not pairs.is_storable(ss, yy, sy):
        return False
    convex = pairs.is_positive(ss, yy, sy, least)
    if not convex and (convex_only or not _informs(outcome, ss, yy, skip)):
        return False
    m, rows, gram, kinds = memory.kinds.shape[0], memory.rows, memory.gram, memory.kinds
    new = np.empty((2, 2 * m))  # the products of the rows with s and y
    of_s, of_y = new
    if outcome is None or learnt is None or trial is None:
        of_s[:], of_y[:], ahead = products(rows, s), products(rows, y), None
    else:
        there = products(rows, trial.g)
        ahead = there if outcome.accepted else learnt.along.copy()
        if yy > CANCELLED * trial.gnorm * trial.gnorm:
            np.subtract(there, learnt.along, of_y)
        else:
            of_y[:] = products(rows, y)
        of_s[:] = _products_with_step(memory, learnt, s, ss, sg - sy if outcome.accepted else sg)
    enters = BFGS if convex and block > 0 else SR1
    slot = memory.count % m
    factor = pairs.balance(sy if convex else math.sqrt(ss) * math.sqrt(yy), ss)
    square = factor * factor
    put(rows, slot, factor, s)
    put(rows, m + slot, factor, y)
    new *= factor
    of_s[slot] = square * ss
    of_s[m + slot] = of_y[slot] = square * sy
    of_y[m + slot] = square * yy
    gram[slot::m] = new
    gram[:, slot::m] = new.T
    memory.concave += int(enters == SR1) - int(kinds[slot] == SR1)
    kinds[slot] = enters
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
    return pairs.takes_sr1(max(rr, 0.0), rs, ss, skip, KNOWN * math.sqrt(yy))


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
    m = memory.kinds.shape[0]
    count = min(most, memory.count, m)
    if count < 2:
        return 0
    slots, index = _newest(m, (memory.count - 1) % m, count)
    sy = memory.gram.take(index).tolist()
    kinds = memory.kinds[slots].tolist() if memory.concave else None
    sizes: list[float] = []
    lower: list[list[float]] = []
    for i in range(count):
        if kinds is not None and kinds[i] != BFGS:
            return i if i > 1 else 0
        own = sy[i]
        pivot = own[i]
        size, least = math.sqrt(pivot), CONCAVE * pivot
        skew = SKEW * size
        row: list[float] = []
        for j, other in enumerate(lower):
            one, two = own[j], sy[j][i]
            if abs(one - two) > skew * sizes[j]:
                return i if i > 1 else 0
            value = 0.5 * (one + two)
            for a, b in zip(row, other):  # noqa: B905 - those before column j
                value -= a * b
            value /= other[j]
            row.append(value)
            pivot -= value * value
        if not pivot >= least:
            return i if i > 1 else 0
        row.append(math.sqrt(pivot))
        sizes.append(size)
        lower.append(row)
    return count


@cache
def _newest(m: int, newest: int, count: int) -> tuple[list[int], IndexArray]:
    """Return the slots of the newest pairs, newest first, and where their S'Y is in the Gram."""
    slots = [(newest - i) % m for i in range(count)]
    return slots, 2 * m * np.array(slots)[:, None] + m + np.array(slots)
