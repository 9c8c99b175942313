"""Signed curvature in a few directions, by online regression of gradients on positions."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from negopt.algebra.eigen import symmetric_eigen
from negopt.algebra.roots import SymmetricRoot
from negopt.core.arrays import (
    Array,
    FloatArray,
    eps_of,
    float64_rows_dot,
    from_host,
    most_of,
    namespace_of,
)
from negopt.core.checks import POSITIVE, SCALE, Entries, check_gram, refuse
from negopt.core.options import check_choice, check_integer, check_number, option
from negopt.core.types import Iterate, Outcome, saved


def _no_products() -> FloatArray:
    return np.zeros((0, 0))


@saved
@dataclass(slots=True)
class RegressionMemory:
    """The weighted deviations of recent points and gradients, in a few rows."""

    #: shape (k, 2n): row i holds a displacement and the gradient's change that belongs to it, both
    #: times the root of their weight.  The sums of their products over i are the weighted
    #: covariances; a rotation of the rows leaves them as they are.
    rows: Array | None = field(default=None, metadata={"check": Entries((None, None))})
    #: shape (2k, 2k): inner products of displacements (even) and changes (odd)
    gram: FloatArray = field(
        default_factory=_no_products,
        metadata={"host": True, "check": Entries((None, None), optional=False, dtype="float64")},
    )
    #: curvature of the last step, 0 before the first
    scale: float = field(default=0.0, metadata={"check": SCALE})
    #: sum of the weights of all points
    weight: float = field(default=1.0, metadata={"check": POSITIVE})
    #: shape (2, n): the last point and gradient, less their weighted means
    lag: Array | None = field(default=None, metadata={"check": Entries((None, "n"))})

    def check(self, n: int, name: str) -> None:
        """Raise ValueError where rows and inner products do not belong together."""
        if self.lag is not None and self.lag.shape[0] != 2:
            refuse(f"{name}.lag", self.lag, f"of shape (2, {n})")
        k = 0 if self.rows is None else int(self.rows.shape[0])
        if self.rows is not None and not (k > 0 and self.rows.shape[1] == 2 * n):
            refuse(f"{name}.rows", self.rows, f"of shape (k, {2 * n})")
        if self.gram.shape != (2 * k, 2 * k):
            refuse(f"{name}.gram", self.gram, f"of shape ({2 * k}, {2 * k}), as rows have it")
        if self.rows is not None:
            xp = namespace_of(self.rows)
            check_gram(self.gram, xp.reshape(self.rows, (-1, n)), f"{name}.gram")


class RegressionOperator:
    """``B = Q M Q' + gamma (I - QQ')``: M from the regression, gamma elsewhere."""

    learns = True

    def __init__(self, memory: RegressionMemory, gamma: float, least: float, n: int) -> None:
        self.gamma = gamma  #: curvature outside the subspace, positive
        self.values: FloatArray = np.zeros(0)  #: eigenvalues of M, signs included
        self._steps: Array | None = None
        if memory.rows is None:
            return
        spread, axes = symmetric_eigen(memory.gram[0::2, 0::2])
        wide = spread > least * least * spread[-1]
        # Q' = (axes / sqrt(spread))' S, orthonormal; M = Q' (the regressed H) Q.
        factor = axes[:, wide] / np.sqrt(spread[wide])
        matrix = factor.T @ memory.gram[1::2, 0::2] @ factor
        self.values, turn = symmetric_eigen(0.5 * (matrix + matrix.T))
        self._factor = factor @ turn
        self._steps = memory.rows[:, :n]

    def basis(self) -> Array | None:
        """Return the eigenvectors of M as rows, shape (k, n); for tests and displays."""
        if self._steps is None:
            return None
        return from_host(self._factor.T, self._steps) @ self._steps

    def matvec(self, v: Array) -> Array:
        """Return ``B v``."""
        return self._apply(v, self.gamma, self.values)

    def solve(self, v: Array, *, absolute: bool = False, floor: float = 1e-15) -> Array:
        """Return ``B^-1 v`` or ``|B|^-1 v``, |eigenvalues| at least `floor` times the largest."""
        size = np.abs(self.values)
        top = float(np.max(size, initial=0.0))
        size = np.maximum(size, floor * top if top > 0.0 else self.gamma)
        sign = 1.0 if absolute else np.where(self.values < 0.0, -1.0, 1.0)
        return self._apply(v, 1.0 / self.gamma, sign / size)

    def root(self, like: Array) -> SymmetricRoot | None:
        """Return ``|B|^(-1/2)``; None before the first pair."""
        if self._steps is None:
            return None
        size = np.abs(self.values)
        least = math.sqrt(eps_of(like)) * float(np.max(size, initial=self.gamma))
        size = np.sqrt(np.maximum(size, least))
        outside = 1.0 / math.sqrt(self.gamma)
        return SymmetricRoot(lambda v: self._apply(v, outside, 1.0 / size), outside)

    def _apply(self, v: Array, outside: float, inside: FloatArray | float) -> Array:
        """Return v with the factor `inside` on each eigendirection and `outside` elsewhere."""
        if self._steps is None:
            return outside * v
        parts = self._factor.T @ float64_rows_dot(self._steps, v)
        weights = self._factor @ ((inside - outside) * parts)
        xp = namespace_of(v)
        return outside * v + xp.matrix_transpose(self._steps) @ from_host(weights, v)


@dataclass(frozen=True)
class GradientRegression:
    """Online regression of gradients on positions, in the subspace that matters (OGR).

    Parameters
    ----------
    directions : int, default 10
        Dimension d of the subspace, at most n.  Memory held: 2d vectors of n entries.
    decay : float, default 0.2
        Weight of a point relative to the next.  Duda has noisy gradients in mind, whose
        errors a value near 1 averages out; exact gradients are best trusted while fresh.
    centre : {"step", "mean"}, default "step"
        ``"step"``: deviations from the point before, of equal weight whatever their
        length; ``"mean"``: deviations from exponential moving averages, as Duda has it.
    least_spread : float, default 1e-3
        A direction of the subspace along which the points spread less than this share of
        the widest is left out: a slope over no distance is no measurement.

    Notes
    -----
    With weights ``w_i`` that fall by `decay` from point to point

    1. ``C_xx = sum w_i dx_i dx_i'``, ``C_gx = sum w_i dg_i dx_i'`` of deviations dx, dg,
       held as d pairs of rows.  When a new pair makes them d + 1, an orthogonal rotation
       of the rows, which changes neither sum, turns the principal axis of least gradient
       change into a row of its own, and that row is dropped (online principal components).
    2. ``M = Q' C_gx C_xx^+ Q``, symmetrised, with Q an orthonormal basis of the rows dx:
       eigenvalues of both signs.
    3. ``B = Q M Q' + gamma (I - QQ')`` with ``gamma = y'y / s'y`` of the last step, or
       ``||y|| / ||s||`` where that is negative.

    **Guarantee**: on a quadratic M is ``Q'HQ``, signs included, also after rows were
    dropped; while none was, B in the subspace is the weighted least-squares estimate
    (``tests/guarantees/test_ogr.py``).

    References
    ----------
    Duda (2019), Improving SGD convergence by online linear regression of gradients in
    multiple statistically relevant directions, arXiv:1901.11457.
    Duda (2019), SGD momentum optimizer with step estimation by online parabola model,
    arXiv:1907.07063.
    """

    directions: int = option(10, "dimension of the modelled subspace")
    decay: float = option(0.2, "weight of a point relative to the next")
    centre: str = option("step", "deviations from the 'step' before or the 'mean'")
    least_spread: float = option(1e-3, "narrower directions, relatively, are left out")

    def __post_init__(self) -> None:
        check_integer("directions", self.directions)
        check_number("decay", self.decay, 0.0, 1.0, open_low=True)
        check_choice("centre", self.centre, ("step", "mean"))
        check_number("least_spread", self.least_spread, 0.0, 1.0, open_high=True)

    def init(self, x0: Array) -> RegressionMemory:
        """Return an empty memory."""
        return RegressionMemory()

    def model(
        self, memory: RegressionMemory, objective: object, iterate: Iterate
    ) -> RegressionOperator:
        """Return the model; without a pair a step of length 1 whatever the scale of f."""
        gamma = memory.scale or iterate.gnorm
        gamma = gamma if 0.0 < gamma < math.inf else 1.0
        # N.B. below the roundings of the rows no direction is known.
        least = max(self.least_spread, 1e-6)
        return RegressionOperator(memory, gamma, least, iterate.x.shape[0])

    def update(
        self, memory: RegressionMemory, s: Array, y: Array, outcome: Outcome | None = None
    ) -> bool:
        """Add the point at the end of `s`, where the gradient has changed by `y`."""
        xp = namespace_of(s)
        step = xp.stack([s, y], axis=0)
        pair, block = step, step
        if self.centre == "mean" and memory.lag is not None:
            pair = memory.lag + step
            block = xp.concat([pair, step], axis=0)
        known = block[:0, :] if memory.rows is None else xp.reshape(memory.rows, (-1, s.shape[0]))
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused
            products = float64_rows_dot(known, xp.matrix_transpose(block), block)
        ss, sy, yy = (float(v) for v in (products[-2, -2], products[-1, -2], products[-1, -1]))
        room = 1e-3 * most_of(s)  # of the rows, which are in the type of s
        finite = 1e-200 < ss < math.inf and yy < min(1e160, room * room) * ss
        if not (finite and ss * (room * room) > 1.0 and np.all(np.isfinite(products))):
            return False
        if yy == 0.0:  # f is linear there: look further
            if outcome is not None and outcome.start is not None:
                memory.scale = 0.1 * outcome.start.gnorm / math.sqrt(ss)
        elif sy > 1e-12 * math.sqrt(ss) * math.sqrt(yy):
            memory.scale = yy / sy
        else:
            memory.scale = math.sqrt(yy / ss)
        size = 1.0 / math.sqrt(ss)
        if self.centre == "mean":
            weight = self.decay * memory.weight + 1.0
            size = math.sqrt(self.decay * memory.weight / weight)
            memory.lag = (1.0 - 1.0 / weight) * pair
            memory.weight = weight
        self._append(memory, size * xp.reshape(pair, (-1,)), size, products[:, :2])
        return True

    def _append(
        self, memory: RegressionMemory, row: Array, size: float, products: FloatArray
    ) -> None:
        """Add a row, with its products before it was multiplied by `size`."""
        xp = namespace_of(row)
        n = row.shape[0] // 2
        used = memory.gram.shape[0]
        gram = np.empty((used + 2, used + 2))
        gram[:used, :used] = self.decay * memory.gram
        gram[:used, used:] = math.sqrt(self.decay) * size * products[:used]
        gram[used:, :used] = gram[:used, used:].T
        gram[used:, used:] = size * size * products[used : used + 2]
        if memory.rows is None:
            memory.rows, memory.gram = row[None, :], gram
            return
        old = math.sqrt(self.decay) * memory.rows
        if used < 2 * min(self.directions, n):
            memory.rows, memory.gram = xp.concat([old, row[None, :]], axis=0), gram
            return
        # Reflect the axis of least change of the gradient onto the last row, and drop it.
        # Where the subspace is the whole space it is the one row without a displacement,
        # so that nothing is lost.
        which = 0 if self.directions >= n else 1
        mirror = symmetric_eigen(gram[which::2, which::2])[1][:, 0].copy()
        mirror[-1] += math.copysign(1.0, mirror[-1])
        mirror /= np.linalg.norm(mirror)
        head = from_host(mirror[:-1], row)
        along = head @ old + float(mirror[-1]) * row
        memory.rows = old - (2.0 * head)[:, None] * along[None, :]
        turn = np.eye(used // 2, used // 2 + 1) - 2.0 * np.outer(mirror[:-1], mirror)
        both = np.kron(turn, np.eye(2))
        gram = both @ gram @ both.T
        memory.gram = 0.5 * (gram + gram.T)

    def reset(self, memory: RegressionMemory) -> bool:
        """Forget all points."""
        had = memory.rows is not None
        memory.rows = memory.lag = None
        memory.gram = _no_products()
        memory.scale, memory.weight = 0.0, 1.0
        return had
