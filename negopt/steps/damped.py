"""The direction of an indefinite limited-memory model made positive definite."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from negopt.core.arrays import FloatArray, dot, scalars
from negopt.core.bounds import Bound
from negopt.core.options import check_choice, check_number, option
from negopt.core.types import Iterate, Step
from negopt.models.limited import LimitedModel


@dataclass(frozen=True)
class Damped:
    """``d = -A^-1 g`` with A the model B, its eigenvalues repaired.

    Parameters
    ----------
    repair : {"shift", "flip", "clip"}, default "shift"
        ``"shift"`` adds ``|lambda_min| + delta`` times the identity when B has an eigenvalue
        below delta; ``"flip"`` takes absolute values; ``"clip"`` replaces what is below
        delta.
    delta : float, default 1e-5
        Least eigenvalue of A as a share of the largest absolute eigenvalue of B.

    Notes
    -----
    1. The eigenvalues of B are those of its small matrix in the orthonormal basis Q of the
       stored pairs, and gamma outside: O(m^3) operations, not O(n^3).
    2. With ``a = Q'g``, V the eigenvectors of the small matrix, Lambda the repaired
       eigenvalues and ``l`` the repaired gamma, ``d = -Q (V Lambda^-1 V'a - a/l) - g/l``.

    **Guarantee**: d descends, with an angle bounded by the condition number k of A:
    ``-g'd >= 2 sqrt(k)/(1 + k) ||g|| ||d||``, and ``k <= 1 + 2/delta``
    (``tests/guarantees/test_lsr1_damped.py``).

    References
    ----------
    Nocedal and Wright (2006), Numerical Optimization, section 3.4,
    doi:10.1007/978-0-387-40065-5.
    """

    repair: str = option("shift", "'shift', 'flip' or 'clip'")
    delta: float = option(1e-5, "least relative eigenvalue")

    def __post_init__(self) -> None:
        check_choice("repair", self.repair, ("shift", "flip", "clip"))
        check_number("delta", self.delta, 0.0, 1.0, open_low=True)

    def propose(self, iterate: Iterate, operator: LimitedModel, bound: Bound) -> Step:
        """Return the direction as a step of length factor 1."""
        g = iterate.g
        model = operator.spectrum
        inside = model.project(g)
        values, vectors = model.eigen
        repaired = self._repaired(values if model.full else np.append(values, model.gamma))
        w = vectors @ ((vectors.T @ inside) / repaired[: model.k])
        if model.full:
            d = model.expand(-w, 0.0, g)
        else:
            outside = float(repaired[-1])
            d = model.expand(inside / outside - w, -1.0 / outside, g)
        slope, square = scalars(dot(g, d), dot(d, d))
        if not (slope < 0.0 and 0.0 < square < math.inf):  # beyond the range of the type
            square = iterate.gnorm * iterate.gnorm  # N.B. ** would raise where this is inf
            return Step(-1.0 * g, -square, square, iterate.gnorm)
        return Step(d, slope, -slope, math.sqrt(square))

    def _repaired(self, values: FloatArray) -> FloatArray:
        """Return the spectrum of A."""
        least = self.delta * float(np.max(np.abs(values)))
        if self.repair == "flip":
            return np.maximum(np.abs(values), least)
        if self.repair == "clip":
            return np.maximum(values, least)
        low = float(np.min(values))
        return values + (least - low) if low < least else values
