"""The step of Adam: the mean gradient, scaled entry by entry."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from negopt.core.arrays import Array, dot, scalars
from negopt.core.bounds import Bound
from negopt.core.types import Iterate, Step


class Moments(Protocol):
    """An operator with a mean gradient and a diagonal."""

    @property
    def mean(self) -> Array:
        """Mean gradient, shape (n,)."""

    @property
    def diagonal(self) -> Array:
        """Diagonal of B, shape (n,), positive."""


@dataclass(frozen=True)
class AdamStep:
    """The step ``s = -B^-1 m`` of a diagonal B and a mean gradient m; it need not descend.

    References
    ----------
    Kingma and Ba (2015), Adam: a method for stochastic optimization, arXiv:1412.6980.
    """

    def propose(self, iterate: Iterate, operator: Moments, bound: Bound) -> Step:
        """Return the step, whatever `bound`."""
        s = -operator.mean / operator.diagonal
        slope, quadratic, square = scalars(dot(iterate.g, s), -dot(operator.mean, s), dot(s, s))
        return Step(s, slope, quadratic, math.sqrt(square))
