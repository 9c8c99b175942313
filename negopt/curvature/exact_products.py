"""The Hessian itself, through its products with vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from negopt.algebra.eigen import symmetric_eigen
from negopt.algebra.krylov import LanczosBasis, Subspace
from negopt.core.arrays import Array
from negopt.core.checks import NONNEGATIVE, SCALE
from negopt.core.protocols import ProductSource
from negopt.core.types import Iterate, Outcome, saved
from negopt.curvature.metric import Metric


@saved
@dataclass(slots=True)
class ProductMemory:
    """What products leave behind for the next point."""

    #: what the step rule measures the Hessian with: the series' bound V on its square, or the unit
    #: of the norm of |H|; 0 before the first step
    scale: float = field(default=0.0, metadata={"check": SCALE})
    #: gradient norm that the accuracy of inner solves is measured against
    first_gnorm: float = field(default=0.0, metadata={"check": NONNEGATIVE})


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

    def solve(self, v: Array, *, absolute: bool, floor: float = 1e-15) -> Array:
        """Return ``|H|^-1 v`` as far as the basis knows H; no product is taken.

        Outside the basis the median of its absolute eigenvalues stands for H.
        """
        return basis_solve(self.basis, v, floor) if absolute else 1.0 * v


def basis_solve(basis: object, v: Array, floor: float) -> Array:
    """Return ``|H|^-1 v`` as far as a basis of products knows H; v itself where it does not."""
    if not isinstance(basis, (LanczosBasis, Subspace)) or basis.k == 0:
        return 1.0 * v
    values, vectors = symmetric_eigen(basis.matrix())
    size = np.abs(values)
    size = np.maximum(size, floor * float(np.max(size)))
    outside = float(np.median(size))
    if outside == 0.0:
        return 1.0 * v
    inside = basis.project(v)
    weights = vectors @ ((vectors.T @ inside) / size) - inside / outside
    return v / outside + basis.combine(weights)


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
