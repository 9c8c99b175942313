"""Hessian products together with the ellipsoid that bounds a step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from negopt.core.arrays import Array, dot, namespace_of, scalars
from negopt.core.checks import MATRIX, NONNEGATIVE, SCALE, SQUARES
from negopt.core.options import check_choice, check_number, option
from negopt.core.protocols import ProductSource
from negopt.core.types import Iterate, Outcome, saved
from negopt.curvature.metric import OF_GRADIENTS

KINDS = ("sphere", *OF_GRADIENTS)


class Moment:
    """Squares of n gradients' entries, or a matrix of their products."""

    def __call__(self, value: object, n: int, name: str) -> None:
        """Check one of the two, by its shape."""
        (MATRIX if len(getattr(value, "shape", ())) == 2 else SQUARES)(value, n, name)


@saved
@dataclass(slots=True)
class EllipsoidMemory:
    """What the gradients met so far make of the norm."""

    #: shape (n,) or (n, n): weighted sum of g * g, or of g g', at the points left behind
    moment: Array | None = field(default=None, metadata={"check": Moment()})
    #: sum of the weights
    weight: float = field(default=0.0, metadata={"check": NONNEGATIVE})
    #: factor that gives a unit step along the first gradient the norm 1; 0 before it
    unit: float = field(default=0.0, metadata={"check": SCALE})
    #: largest gradient norm so far, for the accuracy of inner solves
    first_gnorm: float = field(default=0.0, metadata={"check": NONNEGATIVE})


@dataclass(frozen=True, slots=True)
class Ellipsoid:
    """The norm at one point: the moment with the gradient there, its weight, and M.

    M is diagonal, or has eigenvalues and vectors, or is the identity (both None).
    """

    moment: Array | None = None
    weight: float = 0.0
    unit: float = 0.0
    diagonal: Array | None = None
    eigen: tuple[Array, Array] | None = None


class EllipsoidOperator:
    """``v -> H v`` at one point, and the norm ``||s||_M = sqrt(s'Ms)``."""

    learns = False

    def __init__(
        self, product: Callable[[Array], Array], first_gnorm: float, ellipsoid: Ellipsoid
    ) -> None:
        self.product = product
        self.first_gnorm = first_gnorm  #: largest gradient norm at the points before
        self.learnt = ellipsoid  #: what goes with a step, for the rule to remember
        self.basis: object = None  #: what a step rule has learnt of the Hessian here

    def matvec(self, v: Array) -> Array:
        """Return ``H v`` (one product)."""
        return self.product(v)

    def metric(self, v: Array) -> Array:
        """Return ``M v``."""
        return self._apply(v, inverse=False)

    def metric_solve(self, v: Array) -> Array:
        """Return ``M^-1 v``."""
        return self._apply(v, inverse=True)

    def _apply(self, v: Array, *, inverse: bool) -> Array:
        if self.learnt.eigen is not None:
            values, vectors = self.learnt.eigen
            inside = namespace_of(v).matrix_transpose(vectors) @ v
            return vectors @ (inside / values if inverse else inside * values)
        diagonal = self.learnt.diagonal
        if diagonal is None:
            return 1.0 * v
        return v / diagonal if inverse else v * diagonal


@dataclass(frozen=True)
class EllipsoidProducts:
    """Exact curvature, and an ellipsoid from the gradients met so far.

    Parameters
    ----------
    metric : {"rmsprop", "adagrad", "sphere"}, default "rmsprop"
        ``"rmsprop"``: M is the root of the exponentially weighted mean of g g';
        ``"adagrad"``: the root of their sum; ``"sphere"``: the identity.
    diagonal : bool, default True
        Only the diagonal of g g'; False keeps the whole matrix and its eigenvalues
        (n^2 numbers and n^3 operations a step: for n up to about a thousand).
    decay : float, default 0.8
        Weight of the mean of ``"rmsprop"`` on the past, as in the authors' code.
    ridge : float, default 1e-3
        Added to M, as a share of its largest eigenvalue: an entry of the gradient that
        has been zero so far must not make the ellipsoid endless.

    Notes
    -----
    1. ``A = sum_i w_i g_i g_i'`` over the points so far, the present one included.
    2. ``M = u (A^(1/2) + ridge ||A^(1/2)|| I)``, with the constant u for which a unit step
       along the first gradient has norm 1.

    `MetricRule` has the same two for ``newton-krylov``, always diagonal: there a floor along the
    first gradient keeps M regular, here, as in the source, a ridge.

    **Guarantee**: the condition number of M is at most ``1 + 1 / ridge``, so its norms are
    uniformly equivalent (``tests/guarantees/test_ellipsoid.py``).

    References
    ----------
    Adolphs, Kohler and Lucchi (2019), Ellipsoidal trust region methods and the marginal
    value of Hessian information for neural network training, arXiv:1905.09201.
    """

    metric: str = option("rmsprop", "'rmsprop', 'adagrad' or 'sphere'")
    diagonal: bool = option(True, "False keeps whole matrices")
    decay: float = option(0.8, "weight of the past in 'rmsprop'")
    ridge: float = option(1e-3, "relative addition to the norm's matrix")

    def __post_init__(self) -> None:
        check_choice("metric", self.metric, KINDS)
        check_choice("diagonal", self.diagonal, (True, False))
        check_number("decay", self.decay, 0.0, 1.0, open_high=True)
        check_number("ridge", self.ridge, open_low=True, open_high=True)

    def init(self, x0: Array) -> EllipsoidMemory:
        """Return an empty memory."""
        return EllipsoidMemory()

    def model(
        self, memory: EllipsoidMemory, objective: ProductSource, iterate: Iterate
    ) -> EllipsoidOperator:
        """Return the products and the ellipsoid at `iterate`."""
        ellipsoid = self._ellipsoid(memory, iterate)
        return EllipsoidOperator(objective.products(iterate), memory.first_gnorm, ellipsoid)

    def _ellipsoid(self, memory: EllipsoidMemory, iterate: Iterate) -> Ellipsoid:
        # N.B. a gradient whose square underflows says nothing about the shape.
        if self.metric == "sphere" or not iterate.gnorm > 1e-140:
            return Ellipsoid(memory.moment, memory.weight, memory.unit)
        moment, weight = self._moment(memory, iterate)
        xp = namespace_of(moment)
        along = iterate.g / iterate.gnorm
        vectors: Array | None = None
        if self.diagonal:
            root = xp.sqrt(moment)
        else:
            values, vectors = xp.linalg.eigh(moment)
            root = xp.sqrt(xp.where(values > 0.0, values, xp.zeros_like(values)))
            along = xp.matrix_transpose(vectors) @ along
        top, first = scalars(xp.max(root), dot(along, root * along))
        if not (math.isfinite(top) and top > 0.0):
            return Ellipsoid(moment, weight, memory.unit)
        added = self.ridge * top
        size = math.sqrt(weight)  # the moment is relative to its weight
        constant = memory.unit or 1.0 / ((first + added) * size)
        unit = constant * size
        matrix = (unit * root) + unit * added
        if vectors is None:
            return Ellipsoid(moment, weight, constant, diagonal=matrix)
        return Ellipsoid(moment, weight, constant, eigen=(matrix, vectors))

    def _moment(self, memory: EllipsoidMemory, iterate: Iterate) -> tuple[Array, float]:
        """Return the mean or sum with the gradient at `iterate` among them, and its weight."""
        # The squares of a unit vector neither overflow nor vanish in float32.
        g = iterate.g / iterate.gnorm
        moment = g * g if self.diagonal else g[:, None] * g[None, :]
        weight = iterate.gnorm * iterate.gnorm
        if memory.moment is not None:
            past = (self.decay if self.metric == "rmsprop" else 1.0) * memory.weight
            total = past + weight
            moment = (past / total) * memory.moment + (weight / total) * moment
            weight = total
        return moment, weight

    def update(
        self, memory: EllipsoidMemory, s: Array, y: Array, outcome: Outcome | None = None
    ) -> bool:
        """Count the gradient at the point that was left."""
        if outcome is None or outcome.step is None or outcome.start is None:
            return True
        memory.first_gnorm = max(memory.first_gnorm, outcome.start.gnorm)
        found = outcome.step.learnt
        if isinstance(found, Ellipsoid):
            memory.moment, memory.weight, memory.unit = found.moment, found.weight, found.unit
        return True

    def reset(self, memory: EllipsoidMemory) -> bool:
        """Forget the gradients; the products themselves have no memory."""
        memory.moment = None
        memory.weight = memory.unit = memory.first_gnorm = 0.0
        return False
