"""The norm that bounds a step: ``||s||_M = sqrt(s'Ms)`` with a matrix M learnt on the way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from negopt.core.arrays import Array, all_finite, device_of, dot, namespace_of, scalars
from negopt.core.checks import SCALE, SQUARES, VECTOR
from negopt.core.options import check_choice, check_number, option
from negopt.core.protocols import ProductSource
from negopt.core.types import Iterate, saved
from negopt.curvature.inverse import natural_units

#: Kinds that are made of the squares of past gradients.
OF_GRADIENTS = ("rmsprop", "adagrad")
KINDS = ("auto", "sphere", "diag", *OF_GRADIENTS)

#: M is kept above this share of its value along the first gradient, and the entries of a
#: Hessian's diagonal above this share of the largest that each has had, whatever their units.
FLOOR = 1e-8
#: A diagonal entry may fall to this share of its last value from one point to the next.
FALL = 0.1
#: Up to this n a basis soon spans the whole space and shows the diagonal itself.
SMALL = 20
#: Up to this n ``"diag"`` asks for the diagonal at the first point.
ASKED = 100
#: Above `SMALL` the diagonal is an estimate, believed when 90 % of it spans this ratio.
SPREAD = 1e4


class Metric:
    """Variables in which the ball is round: ``s = M^-1/2 z`` and ``||s||_M = ||z||``."""

    def __init__(self, inverse_root: Array | None = None) -> None:
        self.inverse_root = inverse_root  #: diagonal of ``M^-1/2``; None for M = I

    @property
    def round(self) -> bool:
        """Whether M is the identity."""
        return self.inverse_root is None

    def outward(self, v: Array) -> Array:
        """Return ``M^-1/2 v``: a step from z to s, and a gradient from s to z."""
        return v if self.inverse_root is None else v * self.inverse_root

    def inward(self, v: Array) -> Array:
        """Return ``M^1/2 v``: a step from s to z, and a gradient from z to s."""
        return v if self.inverse_root is None else v / self.inverse_root


@saved
@dataclass(slots=True)
class MetricMemory:
    """What the metric has seen; its fields are replaced, never written into."""

    #: ``u'Mu`` at the first point, u the unit vector along its gradient; 0 before it
    unit: float = field(default=0.0, metadata={"check": SCALE})
    #: shape (n,): weighted sum of ``g * g``
    moments: Array | None = field(default=None, metadata={"check": SQUARES})
    #: shape (n,): estimate of the diagonal of the Hessian
    diagonal: Array | None = field(default=None, metadata={"check": VECTOR})
    #: shape (n,): of ``"diag"``: the diagonal of M used last, and its largest values, but for the
    #: unit
    size: Array | None = field(default=None, metadata={"check": SQUARES})
    peak: Array | None = field(default=None, metadata={"check": SQUARES})
    even: bool = False  #: the estimate does not span the ratio that would make a metric of it


@dataclass(frozen=True)
class MetricRule:
    """How M follows from gradients and products.

    Parameters
    ----------
    metric : {"auto", "sphere", "diag", "rmsprop", "adagrad"}, default "auto"
        ``"sphere"``: M = I.  ``"diag"``: the absolute diagonal of the Hessian, exact at the
        first point up to 100 variables (from `hess`, or n products).
        ``"rmsprop"``: ``sqrt(v)`` with ``v = decay v + (1 - decay) g * g``.  ``"adagrad"``:
        the same with the sum of all ``g * g``.  ``"auto"`` is ``"diag"`` up to 20
        variables, and above only where the diagonal spans a ratio of more than 1e4; it
        begins with the units that x and g show (`natural_units`), for no product.
    decay : float, default 0.8
        Of ``"rmsprop"``; the value in the source's code.

    Notes
    -----
    1. M is divided by ``u'Mu`` of the first point, u being the unit vector along the first
       gradient: a unit step along it has norm 1, whatever the scale of f.
    2. The diagonal of H costs no product: with the orthonormal rows V of a basis, and their
       images W, ``p_i = sum V_ji^2`` and ``d_i <- (1 - p_i) d_i + sum V_ji W_ji``.
       When the basis is complete p = 1 and d is exact.
    3. ``"diag"`` takes ``|d_i|``, or a tenth of its last value if that is more: a curvature
       that passes through zero must not let the step go.

    **Guarantee**: with exact diagonals the iterates are invariant under a change of units
    ``x -> Dx`` (``tests/guarantees/test_scaled_norm.py``); M is never singular
    (``tests/curvature/test_metric.py``).

    References
    ----------
    Adolphs, Kohler and Lucchi (2019), Ellipsoidal trust region methods and the marginal
    value of Hessian information for neural network training, arXiv:1905.09201.
    Bekas, Kokiopoulou and Saad (2007), doi:10.1016/j.apnum.2007.01.003.
    """

    metric: str = option("auto", "'auto', 'sphere', 'diag', 'rmsprop' or 'adagrad'")
    decay: float = option(0.8, "memory of 'rmsprop'")

    def __post_init__(self) -> None:
        check_choice("metric", self.metric, KINDS)
        check_number("decay", self.decay, 0.0, 1.0, open_high=True)

    def ask(self, memory: MetricMemory, objective: ProductSource, iterate: Iterate) -> MetricMemory:
        """Return the memory with the exact diagonal, where the rule begins with that."""
        xp, n = namespace_of(iterate.x), int(iterate.x.shape[0])
        if self.metric != "diag" or memory.diagonal is not None or n > ASKED:
            return memory
        product = objective.products(iterate)
        eye = xp.eye(n, dtype=iterate.x.dtype, device=device_of(iterate.x))
        diagonal = xp.stack([product(eye[i, :])[i] for i in range(n)])
        return replace(memory, diagonal=diagonal) if all_finite(diagonal) else memory

    def measure(self, memory: MetricMemory, iterate: Iterate) -> tuple[Metric, MetricMemory]:
        """Return the metric at a new point, and the memory that goes with it."""
        if self.metric in OF_GRADIENTS:
            return self._of_gradients(memory, iterate)
        if self.metric == "sphere":
            return Metric(), memory
        if memory.diagonal is None:
            units = natural_units(iterate) if self.metric == "auto" else None
            return (Metric() if units is None else _of_units(units, iterate)), memory
        size = None if memory.even else self._of_diagonal(memory)
        if size is None:
            return Metric(), memory
        xp = namespace_of(size)
        peak = size if memory.peak is None else xp.maximum(size, memory.peak)
        size = xp.maximum(size, FLOOR * peak)
        least = float(xp.finfo(size.dtype).smallest_normal)
        return _normalised(replace(memory, size=size, peak=peak), size, iterate, least)

    def learn(
        self,
        memory: MetricMemory,
        rows: Sequence[Array],
        images: Sequence[Array],
        metric: Metric,
    ) -> MetricMemory:
        """Return the memory with what products of rows say of the diagonal (`learn_diagonal`)."""
        if self.metric not in ("auto", "diag"):
            return memory
        diagonal = learn_diagonal(memory.diagonal, rows, images, metric)
        even = False
        if self.metric == "auto" and diagonal.shape[0] > SMALL:
            xp = namespace_of(diagonal)
            size = xp.abs(diagonal)
            low, high = scalars(xp.min(size), xp.max(size))
            even = 0.0 < high < SPREAD * low
        return replace(memory, diagonal=diagonal, even=even)

    def _of_diagonal(self, memory: MetricMemory) -> Array | None:
        xp = namespace_of(memory.diagonal)
        size = xp.abs(memory.diagonal)
        n = int(size.shape[0])
        ordered = xp.sort(size)
        unknown = xp.sum(xp.astype(size == 0.0, xp.float64))
        zeros = int(scalars(unknown)[0])
        if zeros == n:
            return memory.size
        # An entry that no product has touched yet is given the middle of the others.
        at = [zeros + int(share * (n - 1 - zeros)) for share in (0.05, 0.5, 0.95)]
        low, middle, high = scalars(*(ordered[i] for i in at))
        if self.metric == "auto" and n > SMALL and high < SPREAD * low:
            return None
        size = xp.where(size == 0.0, xp.full_like(size, middle), size)
        return size if memory.size is None else xp.maximum(size, FALL * memory.size)

    def _of_gradients(self, memory: MetricMemory, iterate: Iterate) -> tuple[Metric, MetricMemory]:
        recent = self.metric == "rmsprop"
        moments = (1.0 - self.decay if recent else 1.0) * (iterate.g * iterate.g)
        if memory.moments is not None:
            moments = (self.decay if recent else 1.0) * memory.moments + moments
        size = namespace_of(moments).sqrt(moments)
        return _normalised(replace(memory, moments=moments), size, iterate, FLOOR)


def _of_units(units: Array, iterate: Iterate) -> Metric:
    """Return the metric ``diag(units^-2)`` in which a unit step along g has length 1."""
    along = iterate.g / iterate.gnorm / units
    return Metric(units * math.sqrt(scalars(dot(along, along))[0]))


def _normalised(
    memory: MetricMemory, size: Array, iterate: Iterate, least: float
) -> tuple[Metric, MetricMemory]:
    """Divide a diagonal by its unit; the entries stay above `least`."""
    xp = namespace_of(size)
    if memory.unit == 0.0:
        along = iterate.g / iterate.gnorm
        memory = replace(memory, unit=scalars(dot(along, size * along))[0])
    if not 0.0 < memory.unit < math.inf:
        return Metric(), replace(memory, unit=0.0)
    with np.errstate(over="ignore"):
        size = size / memory.unit
    return Metric(1.0 / xp.sqrt(xp.maximum(size, xp.full_like(size, least)))), memory


def learn_diagonal(
    diagonal: Array | None, rows: Sequence[Array], images: Sequence[Array], metric: Metric
) -> Array:
    """Return the estimate of diag(H), so far `diagonal`, after products of unit vectors.

    These are `rows` and their `images`, each of shape (n,), in the variables of `metric`.
    """
    xp = namespace_of(rows[0])
    weight, total = xp.zeros_like(rows[0]), xp.zeros_like(rows[0])
    for row, image in zip(rows, images, strict=True):  # where n is large every vector counts
        weight += row * row
        total += row * image
    total = metric.inward(metric.inward(total))
    floor = xp.full_like(weight, 1e-12)
    if diagonal is None:
        first = total / xp.maximum(weight, floor)
        return xp.where(weight > floor, first, xp.zeros_like(first))
    gain = xp.maximum(weight, xp.ones_like(weight))  # rows that are not orthogonal count once
    return diagonal + (total - weight * diagonal) / gain
