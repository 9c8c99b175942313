"""Exact trust-region step of a compact model, hard case included."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from negopt._bounds import Bound, Radius
from negopt._options import check_choice
from negopt._random import Draws
from negopt._types import Iterate, Step
from negopt.models.spectrum import SpectralModel, spectral_step

__all__ = ["SpectralTrustRegion", "TrustModel"]


class TrustModel(Protocol):
    """A model with a trust-region step of its own, and its spectrum."""

    @property
    def spectrum(self) -> SpectralModel:
        """Eigenvalues and basis."""
        ...

    def trust_step(self, iterate: Iterate, radius: float, rng: Draws) -> Step:
        """Return the global minimiser of the model in the ball."""
        ...


@dataclass(frozen=True)
class SpectralTrustRegion:
    """Global minimiser of the model inside the ball ``||s|| <= radius``.

    Parameters
    ----------
    model : {"signed", "absolute"}, default "signed"
        ``"absolute"`` replaces every eigenvalue of B by its absolute value.

    Notes
    -----
    1. ``a = Q'g`` and ``||g - Q a||`` from inner products.
    2. If ``T + gamma I`` has a Cholesky factor and its Newton step fits, done: an
       interior step needs no eigendecomposition.
    3. Otherwise the secular equation in the eigenbasis (Moré and Sorensen, 1983).
    4. The hard case is completed along the lowest eigenvector, or, when that is
       gamma's eigenspace and g has no part in it, along a random vector outside Q.

    **Guarantee**: ``(B + sigma I) s = -g`` with ``B + sigma I`` positive semidefinite
    and ``sigma (radius - ||s||) = 0`` to rounding, so the model decrease is the
    largest possible and never below the Cauchy decrease
    (``tests/guarantees/test_more_sorensen.py``).

    References
    ----------
    Brust, Erway and Marcia (2017), Computational Optimization and Applications 66,
    245-266, doi:10.1007/s10589-016-9868-3.
    Moré and Sorensen (1983), SIAM J. Sci. Stat. Comput. 4, 553-572,
    doi:10.1137/0904038.
    """

    model: str = field(default="signed", metadata={"doc": "'signed' or 'absolute' eigenvalues"})

    def __post_init__(self) -> None:
        check_choice("model", self.model, ("signed", "absolute"))

    def propose(self, iterate: Iterate, operator: TrustModel, bound: Bound, rng: Draws) -> Step:
        """Return the exact step; `bound` is the radius."""
        if not isinstance(bound, Radius):
            raise TypeError("a trust-region step needs a radius; use globalize=TrustRegion().")
        if self.model == "signed":
            return operator.trust_step(iterate, bound.value, rng)
        return spectral_step(iterate, operator.spectrum, bound.value, rng, absolute=True)
