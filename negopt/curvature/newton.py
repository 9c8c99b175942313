"""Hessian products beside a model from pairs that saves most of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from negopt.algebra.krylov import Subspace
from negopt.algebra.roots import SymmetricRoot
from negopt.core.arrays import Array, namespace_of, norm
from negopt.core.checks import NONNEGATIVE, Count, Instance
from negopt.core.options import MOST_PAIRS, check_choice, check_integer, option
from negopt.core.protocols import ProductSource
from negopt.core.types import Iterate, Outcome, saved
from negopt.curvature.lsr1 import initial_scaling
from negopt.curvature.metric import Metric, MetricMemory, MetricRule
from negopt.models.limited import LimitedModel
from negopt.models.pair_memory import PairMemory, Weights, forget, new_pair_memory, store_pair
from negopt.vectors.primitives import products

#: Positive curvatures that the scaling of the model looks back on, as in `HybridPairs`.
REMEMBER = 4
#: Variables up to which there are 20 pairs.
FEW = 2_000
#: Products of a step that enter the model as pairs: those of its first directions.
FEED = 5
#: Conjugate directions that the diagonal is learnt from.
SEEN = 10
#: Failures of the model that are counted: 31 steps with products follow the last of them.
MOST_FAILURES = 6


@saved
@dataclass(slots=True)
class ModelledMemory:
    """What outlives a point."""

    #: displacements and gradient differences, and products; None when no model is kept
    pairs: PairMemory | None = field(default=None, metadata={"check": Instance(PairMemory)})
    metric: MetricMemory = field(default_factory=MetricMemory)
    #: largest gradient norm so far, in the metric of its point
    first_gnorm: float = field(default=0.0, metadata={"check": NONNEGATIVE})
    trusted: bool = field(default=False, metadata={"value": True})  #: the model makes the next step
    #: steps of the model in a row that did not do well; steps with products still to be made
    #: before it is asked again
    failures: int = field(default=0, metadata={"check": Count(MOST_FAILURES)})
    wait: int = field(default=0, metadata={"check": Count(2**MOST_FAILURES)})


@dataclass(slots=True)
class Learnt:
    """What goes with a step, for the rule to learn from."""

    metric: Metric  #: of the point that the step was taken from
    memory: MetricMemory  #: what goes with it
    modelled: bool  #: the step was the model's
    space: Subspace | None  #: directions and their products, in the variables of the metric


class ModelledOperator:
    """The Hessian at one point, or, where `modelled`, the model in its place: no product is taken.

    `metric` is that of the ball that bounds a step, `model` is in its variables.
    """

    def __init__(
        self,
        objective: ProductSource,
        iterate: Iterate,
        metric: Metric,
        memory: MetricMemory,
        model: LimitedModel | None,
        modelled: bool,
        first_gnorm: float,
    ) -> None:
        self._objective, self._iterate, self._memory = objective, iterate, memory
        self.metric, self.model, self.modelled = metric, model, modelled
        self.learns = modelled  #: a rejected trial teaches the model something
        self.first_gnorm = first_gnorm  #: largest gradient norm at the points before
        self.basis: Subspace | None = None  #: what a step rule has learnt of the Hessian here

    def learnt(self, space: Subspace | None) -> Learnt:
        """Return what goes with a step."""
        return Learnt(self.metric, self._memory, self.modelled, space)

    @property
    def product(self) -> Callable[[Array], Array]:
        """``v -> H v`` (one product)."""
        return self._objective.products(self._iterate)

    def matvec(self, v: Array) -> Array:
        """Return ``H v`` (one product), or ``B v`` of the model."""
        if self.modelled and self.model is not None:
            return self.metric.inward(self.model.matvec(self.metric.inward(v)))
        return self.product(v)

    def root(self, like: Array) -> SymmetricRoot | None:
        """Return L with ``L L' = |B|^-1`` of the model B; None where there is none."""
        root = None if self.model is None else self.model.root(like)
        units = self.metric.inverse_root
        return None if root is None else SymmetricRoot(root.step, root.scale, units)


@dataclass(frozen=True)
class ModelledProducts(MetricRule):
    """Exact curvature, a limited-memory model of it, and the norm that bounds a step.

    Parameters
    ----------
    maxcor : int or None, default None
        Pairs of the model, which preconditions the inner solve and shapes its first
        direction; 0 keeps none: plain Lanczos.  None takes 20 up to 2,000 variables and 5 above,
        where a pass over more takes longer than the products that it saves.  Memory held:
        twice as many vectors.
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

    maxcor: int | None = option(
        None, "pairs of the model; None: 20 to n = 2,000, then 5; 0: no model"
    )
    products: str = option("as needed", "'as needed' or 'always'")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.maxcor is not None:
            check_integer("maxcor", self.maxcor, 0, MOST_PAIRS)
        check_choice("products", self.products, ("as needed", "always"))

    def init(self, x0: Array) -> ModelledMemory:
        """Return an empty memory."""
        most = (20 if x0.shape[0] <= FEW else 5) if self.maxcor is None else self.maxcor
        return ModelledMemory(new_pair_memory(x0, most) if most else None)

    def model(
        self, memory: ModelledMemory, objective: ProductSource, iterate: Iterate
    ) -> ModelledOperator:
        """Return the Hessian or its model at `iterate`."""
        known = self.ask(memory.metric, objective, iterate)
        metric, known = self.measure(known, iterate)
        model, pairs = None, memory.pairs
        if pairs is not None and pairs.count:
            if not metric.round:
                pairs = _in_metric(pairs, metric)
            gamma = initial_scaling(pairs, "mean", size_in(metric, iterate))
            model = LimitedModel(pairs, gamma, int(iterate.x.shape[0]))
        modelled = memory.trusted and model is not None
        return ModelledOperator(
            objective, iterate, metric, known, model, modelled, memory.first_gnorm
        )

    def update(
        self, memory: ModelledMemory, s: Array, y: Array, outcome: Outcome | None = None
    ) -> bool:
        """Learn from the products of the step, then from its ends."""
        if outcome is not None:
            self.failed(memory, outcome)
        if memory.pairs is None:
            return True
        return store_pair(memory.pairs, s, y, outcome, remember=REMEMBER)

    def failed(self, memory: ModelledMemory, outcome: Outcome) -> None:
        """Learn from the products of a step and decide who makes the next one.

        The solver calls it where the pair of the last trial says nothing.
        """
        memory.trusted = False
        step, start = outcome.step, outcome.start
        if step is None or start is None:
            return
        learnt = step.learnt
        if type(learnt) is Weights:  # a step of the model in a round metric, as it came
            learnt = Learnt(Metric(), memory.metric, True, None)
        if not isinstance(learnt, Learnt):
            return
        metric = learnt.metric
        memory.metric = learnt.memory
        gnorm = size_in(metric, start)
        space = learnt.space
        if not learnt.modelled:
            memory.first_gnorm = max(memory.first_gnorm, gnorm)
        if space is not None and space.k:
            if memory.pairs is not None:
                self._feed(memory.pairs, space, metric)
            if self.metric in ("auto", "diag"):
                space.keep(SEEN)
                space.orthonormalise()
                memory.metric = self.learn(learnt.memory, *space.vectors(), metric)
            learnt.space = None  # two vectors a product, that nothing needs any more
        if self.products == "always" or memory.pairs is None or not memory.pairs.count:
            return
        fast = kept = False
        trial = outcome.trial
        if outcome.accepted and trial is not None:
            size = size_in(metric, trial)
            moved = trial.f != start.f or size != gnorm
            fast = moved and size <= 0.5 * gnorm
            kept = moved and start.f - trial.f >= 0.5 * step.predicted_decrease
        if not learnt.modelled:
            memory.wait = max(memory.wait - 1, 0)
            memory.trusted = memory.wait == 0 and (fast or kept)
        elif fast or kept:
            memory.failures, memory.trusted = 0, fast
        else:
            memory.failures = min(memory.failures + 1, MOST_FAILURES)
            memory.wait = 2 ** max(memory.failures - 1, 1) - 1

    @staticmethod
    def _feed(pairs: PairMemory, space: Subspace, metric: Metric) -> None:
        few = min(FEED, space.k)
        rows, images = space.vectors()
        for i in range(few - 1, -1, -1):  # the first direction is the newest
            s, y = metric.outward(rows[i]), metric.inward(images[i])
            store_pair(pairs, s, y, None, remember=REMEMBER)

    def reset(self, memory: ModelledMemory) -> bool:
        """Forget model and metric; return whether there was a model."""
        had = memory.pairs is not None and forget(memory.pairs)
        memory.metric = MetricMemory()
        memory.first_gnorm, memory.failures, memory.wait = 0.0, 0, 0
        memory.trusted = False
        return had


def size_in(metric: Metric, iterate: Iterate) -> float:
    """Return the length of the gradient in the variables of the metric."""
    return iterate.gnorm if metric.round else norm(metric.outward(iterate.g))


def _in_metric(pairs: PairMemory, metric: Metric) -> PairMemory:
    """Return the pairs in the variables of the metric."""
    m = pairs.capacity
    xp = namespace_of(pairs.rows)
    rows = xp.concat([metric.inward(pairs.rows[:m, :]), metric.outward(pairs.rows[m:, :])], axis=0)
    gram = products(rows, xp.matrix_transpose(rows))
    gram = 0.5 * (gram + gram.T)
    for slot in range(min(pairs.count, m), m):
        gram[slot, slot] = gram[m + slot, m + slot] = 1.0
        gram[slot, m + slot] = gram[m + slot, slot] = 1.0
    ratios = []
    for i in range(min(pairs.count, m)):
        slot = (pairs.count - 1 - i) % m
        sy, yy = gram.item(slot, m + slot), gram.item(m + slot, m + slot)
        if sy > 0.0 and yy < 1e300 * sy:
            ratios.append(yy / sy)
        if len(ratios) == REMEMBER:
            break
    return replace(pairs, rows=rows, gram=gram, curvatures=ratios[::-1], along=None, shift=0.0)
