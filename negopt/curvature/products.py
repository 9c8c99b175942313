"""The Hessian itself, through its products with vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from negopt._array import Array
from negopt._types import Iterate, Products

__all__ = ["HessianProducts", "ProductMemory", "ProductOperator"]


@dataclass(slots=True)
class ProductMemory:
    """What products leave behind for the next point.

    Attributes
    ----------
    scale : float
        The series' bound V on the square of the Hessian; 0 before the first step.
    first_gnorm : float
        Gradient norm that the accuracy of inner solves is measured against.
    """

    scale: float = 0.0
    first_gnorm: float = 0.0


@dataclass(slots=True)
class ProductOperator:
    """``v -> H(x) v`` at one point.

    Attributes
    ----------
    product : callable
    memory : ProductMemory
    basis : object
        The Krylov basis that a step rule built here; a rejected step re-uses it, so
        that a smaller radius or a larger damping costs no product.
    """

    product: Callable[[Array], Array]
    memory: ProductMemory = field(default_factory=ProductMemory)
    basis: Any = None
    learns: bool = field(default=False, init=False)

    def matvec(self, v: Array) -> Array:
        """Return ``H v`` (one product)."""
        return self.product(v)


@dataclass(frozen=True)
class HessianProducts:
    """Exact curvature: `hessp`, products with `hess`, or differences of gradients."""

    def init(self, x0: Array) -> ProductMemory:
        """Return an empty memory."""
        return ProductMemory()

    def operator(
        self, memory: ProductMemory, objective: Products, iterate: Iterate
    ) -> ProductOperator:
        """Return the products at `iterate`."""
        return ProductOperator(objective.products(iterate), memory)

    def update(self, memory: ProductMemory, s: Array, y: Array) -> bool:
        """Nothing to learn from a pair."""
        return True

    def reset(self, memory: ProductMemory) -> bool:
        """Forget the scales; the products themselves have no memory."""
        memory.scale = memory.first_gnorm = 0.0
        return False
