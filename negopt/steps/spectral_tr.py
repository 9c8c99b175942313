"""Trust-region step of a limited-memory model, hard case included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from negopt.core.bounds import Bound, Radius
from negopt.core.options import check_choice, option
from negopt.core.types import Iterate, Step
from negopt.models.spectrum import SpectralModel, spectral_step


class TrustModel(Protocol):
    """A model with a trust-region step of its own, and its spectrum."""

    @property
    def spectrum(self) -> SpectralModel:
        """Eigenvalues and basis."""

    def trust_step(self, iterate: Iterate, radius: float) -> Step:
        """Return the global minimiser of the model in the ball."""


@dataclass(frozen=True)
class SpectralTrustRegion:
    """Minimiser of the model inside the ball ``||s|| <= radius``, for a length close to the radius.

    Parameters
    ----------
    model : {"signed", "absolute"}, default "signed"
        ``"absolute"`` replaces every eigenvalue of B by its absolute value.

    Notes
    -----
    1. A Newton step that fits, of a positive definite model, is taken as it is.
    2. Otherwise shifts sigma are tried until the step is between 0.9 and 1 times the radius
       long, by factorisations of the order of the pairs (`negopt.models.limited`).  Newton's
       method on the secular equation comes from shifts that are too small, so two or three do.
    3. In the hard case, and where that fails, the secular equation is solved in the eigenbasis
       (Moré and Sorensen, 1983), and the step completed along the lowest eigenvector.

    **Guarantee**: ``(B + sigma I) s = -g`` with ``B + sigma I`` positive semidefinite, to
    rounding, and ``0.9 radius <= ||s|| <= radius`` where ``sigma > 0``.  So the model decrease is
    the largest possible for steps of the length of s, at least 0.81 of the largest possible in
    the ball, and at least 0.9 of the Cauchy decrease, 0.81 where the model is concave along g
    (``tests/guarantees/test_more_sorensen.py``).

    References
    ----------
    Brust, Erway and Marcia (2017), Computational Optimization and Applications 66,
    245-266, doi:10.1007/s10589-016-9868-3.
    Moré and Sorensen (1983), SIAM J. Sci. Stat. Comput. 4, 553-572,
    doi:10.1137/0904038.
    """

    model: str = option("signed", "'signed' or 'absolute' eigenvalues")

    def __post_init__(self) -> None:
        check_choice("model", self.model, ("signed", "absolute"))

    def propose(self, iterate: Iterate, operator: TrustModel, bound: Bound) -> Step:
        """Return the exact step; `bound` is the radius."""
        if not isinstance(bound, Radius):
            raise TypeError("a trust-region step needs a radius; use globalize=TrustRegion().")
        if self.model == "signed":
            return operator.trust_step(iterate, bound.value)
        return spectral_step(iterate, operator.spectrum, bound.value, absolute=True)
