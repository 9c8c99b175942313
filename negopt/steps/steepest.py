"""Steps along the negative gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from negopt.core.bounds import Bound
from negopt.core.types import Iterate, Step


class Scaled(Protocol):
    """An operator that is a multiple of the identity."""

    @property
    def scale(self) -> float:
        """The multiple, positive."""


@dataclass(frozen=True)
class SteepestDescent:
    """The step ``s = -g / gamma`` of the model ``B = gamma I``; no device read.

    References
    ----------
    Cauchy (1847), Comptes rendus hebdomadaires de l'Academie des sciences 25, 536-538.
    """

    def propose(self, iterate: Iterate, operator: Scaled, bound: Bound) -> Step:
        """Return the step, whatever `bound`."""
        factor = 1.0 / operator.scale
        length = factor * iterate.gnorm
        promise = length * iterate.gnorm
        return Step(-factor * iterate.g, -promise, promise, length)
