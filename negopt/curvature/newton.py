"""Hessian products beside a model from pairs that saves most of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from negopt import kernels
from negopt._array import Array, float64_rows_dot, namespace_of, norm
from negopt._options import check_choice, check_integer
from negopt._types import Iterate, Outcome, Products, saved
from negopt.curvature.compact import CompactOperator, PairMemory, new_pair_memory, store_pair
from negopt.curvature.lsr1 import initial_scaling
from negopt.curvature.metric import Metric, MetricMemory, MetricRule, learn_diagonal
from negopt.curvature.products import basis_solve

__all__ = ["ModelledMemory", "ModelledOperator", "ModelledProducts"]

#: Positive curvatures that the scaling of the model looks back on, as in `HybridPairs`.
REMEMBER = 4
#: Products of a step that enter the model as pairs: those of its first directions.
FEED = 5
#: Threshold of the model's SR1 updates, that of `HybridPairs`.
SKIP = 1e-8
#: Failures of the model that are counted: 31 steps with products follow the last of them.
MOST_FAILURES = 6


@saved
@dataclass(slots=True)
class ModelledMemory:
    """What outlives a point.

    Attributes
    ----------
    pairs : PairMemory or None
        Displacements and gradient differences, and products; None when no model is kept.
    metric : MetricMemory
    first_gnorm : float
        Largest gradient norm so far, in the metric of its point.
    f, gnorm : float
        Value and gradient norm, in the metric, at the point of the last step; nan before it.
    inverse_root : array, shape (n,), or None
        The metric of that point.
    predicted : float
        Decrease that the last step was promised.
    modelled : bool
        The last step was the model's.
    failures, wait : int
        Steps of the model in a row that did not do well; steps with products still to be made
        before it is asked again.
    known : array, shape (n,), or None
        What `metric.diagonal` becomes when the step has been tried.
    rows, images : array, shape (k, n), or None
        First directions of the last step and their products, until the model has learnt them.
    """

    pairs: PairMemory | None = None
    metric: MetricMemory = field(default_factory=MetricMemory)
    first_gnorm: float = 0.0
    f: float = field(default=math.nan, metadata={"value": True})
    gnorm: float = math.nan
    inverse_root: Array | None = None
    predicted: float = field(default=math.nan, metadata={"value": True})
    modelled: bool = False
    failures: int = 0
    wait: int = 0
    known: Array | None = None
    rows: Array | None = None
    images: Array | None = None


class ModelledOperator:
    """The Hessian at one point, or, where `modelled`, the model in its place.

    Attributes
    ----------
    metric : Metric
        Of the ball that bounds a step.
    model : CompactOperator or None
        The model in the variables of the metric.
    modelled : bool
        The step is to be the model's: no product is taken.
    learns : bool
        The same: a rejected trial teaches the model something.
    basis : object
        What a step rule keeps of its products here.
    """

    def __init__(
        self,
        product: Callable[[Array], Array],
        memory: ModelledMemory,
        metric: Metric,
        model: CompactOperator | None,
        modelled: bool,
    ) -> None:
        self.product, self.memory = product, memory
        self.metric, self.model, self.modelled = metric, model, modelled
        self.learns = modelled
        self.basis: Any = None

    def record(self, rows: Array | None, images: Array | None, predicted: float) -> None:
        """Note what a step has cost and what it promises.

        Parameters
        ----------
        rows, images : array, shape (k, n), or None
            Orthonormal directions and their products, in the variables of the metric.
        predicted : float
            Decrease of the model.
        """
        memory, metric = self.memory, self.metric
        memory.predicted = predicted
        if rows is None or images is None:
            return
        memory.known = learn_diagonal(memory.metric.diagonal, rows, images, metric)
        few = min(FEED, int(rows.shape[0]))
        memory.rows = 1.0 * metric.outward(rows[:few, :])  # a copy: the basis may grow
        memory.images = 1.0 * metric.inward(images[:few, :])

    @property
    def newest_skipped(self) -> bool:
        """Whether the newest pair taught the model nothing."""
        return self.modelled and self.model is not None and self.model.newest_skipped

    def matvec(self, v: Array) -> Array:
        """Return ``H v`` (one product), or ``B v`` of the model."""
        if self.modelled and self.model is not None:
            return self.metric.inward(self.model.matvec(self.metric.inward(v)))
        return self.product(v)

    def solve(self, v: Array, *, absolute: bool, floor: float = 1e-15) -> Array:
        """Return ``|B|^-1 v`` with the model B, or what the basis knows; no product is taken."""
        inside = self.metric.outward(v)
        if self.model is not None:
            inside = self.model.solve(inside, absolute=absolute, floor=floor)
        elif absolute:
            inside = basis_solve(self.basis, inside, floor)
        return self.metric.outward(inside)


@dataclass(frozen=True)
class ModelledProducts(MetricRule):
    """Exact curvature, a limited-memory model of it, and the norm that bounds a step.

    Parameters
    ----------
    maxcor : int, default 20
        Pairs of the model, which preconditions the inner solve and shapes its first
        direction; 0 keeps none: plain Lanczos.  Memory held: 2 maxcor vectors.
    products : {"as needed", "always"}, default "as needed"
        ``"as needed"`` lets the model make the step, without a product, as long as it
        does well (Notes); ``"always"`` takes products in every step.

    Notes
    -----
    1. The model is that of `HybridPairs`, in the variables of the metric.  It learns
       from every finite trial and from the first five products of a step.
    2. A step of the model is followed by another one only if it made the gradient at
       least twice smaller: it then was as good as an inexact Newton step with that residual.
    3. A step from products is followed by one of the model if it did the same, or kept at
       least half of the promised decrease.
    4. Where a step of the model did neither (it may have been rejected), products are taken in
       the next one, and after a second failure in a row, and more, in 3, 7, ... 31.

    References
    ----------
    Morales and Nocedal (2000), Automatic preconditioning by limited memory quasi-Newton
    updating, SIAM J. Optim. 10, 1079-1096, doi:10.1137/S1052623497327854.
    Dembo, Eisenstat and Steihaug (1982), SIAM J. Numer. Anal. 19, 400-408,
    doi:10.1137/0719025.
    """

    maxcor: int = field(default=20, metadata={"doc": "pairs of the model; 0: no model"})
    products: str = field(default="as needed", metadata={"doc": "'as needed' or 'always'"})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("maxcor", self.maxcor, 0)
        check_choice("products", self.products, ("as needed", "always"))

    def init(self, x0: Array) -> ModelledMemory:
        """Return an empty memory."""
        return ModelledMemory(new_pair_memory(x0, self.maxcor) if self.maxcor else None)

    def operator(
        self, memory: ModelledMemory, objective: Products, iterate: Iterate
    ) -> ModelledOperator:
        """Return the Hessian or its model at `iterate`."""
        modelled = self._trusts_model(memory, iterate)
        known = self.ask(memory.metric, objective, iterate)
        metric, memory.metric = self.measure(known, iterate)
        model = None
        if memory.pairs is not None and memory.pairs.order:
            pairs = _in_metric(memory.pairs, metric)
            gamma = initial_scaling(pairs, "mean", _size(iterate, metric))
            model = CompactOperator(pairs, gamma, kernels.HYBRID_PAIRS, SKIP, iterate.x)
        memory.f, memory.gnorm = iterate.f, _size(iterate, metric)
        memory.inverse_root, memory.modelled = metric.inverse_root, modelled
        return ModelledOperator(objective.products(iterate), memory, metric, model, modelled)

    def _trusts_model(self, memory: ModelledMemory, iterate: Iterate) -> bool:
        """Judge the last step; return whether the model makes the next one."""
        if self.products == "always" or memory.pairs is None or not memory.pairs.order:
            return False
        if math.isnan(memory.f):
            return False
        size = _size(iterate, Metric(memory.inverse_root))  # both in the norm of the last step
        moved = iterate.f != memory.f or size != memory.gnorm
        fast = moved and size <= 0.5 * memory.gnorm
        kept = moved and memory.f - iterate.f >= 0.5 * memory.predicted
        if not memory.modelled:
            memory.wait = max(memory.wait - 1, 0)
            return memory.wait == 0 and (fast or kept)
        if not (fast or kept):
            memory.failures = min(memory.failures + 1, MOST_FAILURES)
            memory.wait = 2 ** max(memory.failures - 1, 1) - 1
            return False
        memory.failures = 0
        return fast

    def update(
        self, memory: ModelledMemory, s: Array, y: Array, outcome: Outcome | None = None
    ) -> bool:
        """Learn from the products of the step, then from its ends."""
        rows, images = memory.rows, memory.images
        if memory.known is not None and self.metric in ("auto", "diag"):
            memory.metric = dataclasses.replace(memory.metric, diagonal=memory.known)
        memory.rows = memory.images = memory.known = None
        if memory.pairs is None:
            return True
        if rows is not None and images is not None:
            for i in range(rows.shape[0] - 1, -1, -1):  # the first direction is the newest
                store_pair(memory.pairs, rows[i, :], images[i, :], REMEMBER)
        return store_pair(memory.pairs, s, y, REMEMBER)

    def reset(self, memory: ModelledMemory) -> bool:
        """Forget model and metric; return whether there was a model."""
        had = memory.pairs is not None and bool(memory.pairs.order)
        if memory.pairs is not None and had:
            like = memory.pairs.rows
            memory.pairs = new_pair_memory(like[0, :], like.shape[0] // 2)
        memory.metric = MetricMemory()
        memory.known = memory.rows = memory.images = memory.inverse_root = None
        memory.first_gnorm, memory.failures, memory.wait = 0.0, 0, 0
        memory.f = memory.gnorm = memory.predicted = math.nan
        return had


def _size(iterate: Iterate, metric: Metric) -> float:
    """Return the length of the gradient in the variables of the metric."""
    return iterate.gnorm if metric.round else norm(metric.outward(iterate.g))


def _in_metric(pairs: PairMemory, metric: Metric) -> PairMemory:
    """Return the pairs in the variables of the metric."""
    if metric.round:
        return pairs
    xp = namespace_of(pairs.rows)
    used = 2 * len(pairs.order)
    s, y = pairs.rows[0:used:2, :], pairs.rows[1:used:2, :]
    both = xp.stack([metric.inward(s), metric.outward(y)], axis=1)
    rows = xp.reshape(both, (used, pairs.rows.shape[1]))
    gram = np.zeros_like(pairs.gram)
    gram[:used, :used] = float64_rows_dot(rows, xp.matrix_transpose(rows))
    curvatures = []
    for slot in pairs.order:
        sy, yy = gram[2 * slot, 2 * slot + 1], gram[2 * slot + 1, 2 * slot + 1]
        if sy > 0.0 and math.isfinite(yy / sy):
            curvatures.append(float(yy / sy))
    return PairMemory(rows, gram, pairs.order, curvatures[-REMEMBER:])
