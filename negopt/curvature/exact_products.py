"""The Hessian itself, through its products with vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from negopt.core.arrays import Array
from negopt.core.protocols import ProductSource
from negopt.core.types import Iterate, Outcome, saved
from negopt.curvature.metric import Metric


@saved
@dataclass(slots=True)
class ProductMemory:
    """What products leave behind for the next point."""

    #: what the step rule measures the Hessian with: the series' bound V on its square, or the unit
    #: of the norm of |H|; 0 before the first step
    scale: float = 0.0
    first_gnorm: float = 0.0  #: gradient norm that the accuracy of inner solves is measured against


@dataclass(slots=True)
class ProductOperator:
    """``v -> H(x) v`` at one point."""

    product: Callable[[Array], Array]
    #: those of the memory
    scale: float = 0.0
    first_gnorm: float = 0.0
    #: what a step rule has learnt of the Hessian here; a rejected step re-uses it, so that a
    #: smaller radius or a larger damping costs no product
    basis: object = None

    learns: ClassVar[bool] = False
    metric: ClassVar[Metric] = Metric()
    model: ClassVar[None] = None
    modelled: ClassVar[bool] = False

    def learnt(self, space: object) -> object:
        """Return what goes with a step: nothing outlives the point."""
        return None

    def matvec(self, v: Array) -> Array:
        """Return ``H v`` (one product)."""
        return self.product(v)


@dataclass(frozen=True)
class HessianProducts:
    """Exact curvature: `hessp`, products with `hess`, or differences of gradients."""

    def init(self, x0: Array) -> ProductMemory:
        """Return an empty memory."""
        return ProductMemory()

    def model(
        self, memory: ProductMemory, objective: ProductSource, iterate: Iterate
    ) -> ProductOperator:
        """Return the products at `iterate`."""
        return ProductOperator(objective.products(iterate), memory.scale, memory.first_gnorm)

    def update(
        self, memory: ProductMemory, s: Array, y: Array, outcome: Outcome | None = None
    ) -> bool:
        """Remember the gradient norm and the scale of the step; a pair says nothing more."""
        self.failed(memory, outcome)
        return True

    def failed(self, memory: ProductMemory, outcome: Outcome | None) -> None:
        """Remember the same of a step whose pair says nothing."""
        if outcome is None or outcome.start is None or outcome.step is None:
            return
        memory.first_gnorm = max(memory.first_gnorm, outcome.start.gnorm)
        if isinstance(outcome.step.learnt, float):
            memory.scale = outcome.step.learnt

    def reset(self, memory: ProductMemory) -> bool:
        """Forget the scales; the products themselves have no memory."""
        memory.scale = memory.first_gnorm = 0.0
        return False
