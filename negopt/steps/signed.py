"""Quasi-Newton directions of an indefinite model, for searches along both signs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from negopt.core.arrays import Array, inners
from negopt.core.bounds import Bound
from negopt.core.options import check_choice, check_number, option
from negopt.core.protocols import Inverse
from negopt.core.types import Iterate, Step
from negopt.decisions import pairs
from negopt.vectors.primitives import slope_and_square


@dataclass(frozen=True)
class Signed:
    """The direction ``d = -B^-1 g``, whatever its slope.

    Since ``g'd = -d'Bd``, an ascent direction means that the *model* is concave along
    d; a search along ``-d`` with the mirrored Wolfe conditions then uses it.

    Parameters
    ----------
    flip : {"direction", "eigen"}, default "direction"
        ``"direction"`` keeps d and lets the search take a negative step when d
        ascends; ``"eigen"`` flips each negative eigenvalue instead (``-|B|^-1 g``),
        which always descends.
    angle : float, default 1e-8
        When ``|g'd| <= angle ||g|| ||d||``, d is tilted towards -g until the bound
        holds (after its sign was fixed), because convergence needs an angle that is
        bounded away from 90 degrees uniformly.
    floor : float, default 1e-15
        Absolute eigenvalues are kept above this share of the largest.

    Notes
    -----
    Where the operator knows `units` of the variables, the length that a search goes by is that
    of ``d / units``.

    **Guarantee**: the returned d satisfies ``|g'd| >= angle ||g|| ||d||``; with a Wolfe
    search the sum of ``cos^2 ||g||^2`` is bounded (Zoutendijk), so g tends to zero
    (``tests/guarantees/test_zoutendijk.py``).

    References
    ----------
    Nocedal and Wright (2006), Numerical Optimization, theorem 3.2,
    doi:10.1007/978-0-387-40065-5.
    """

    flip: str = option("direction", "'direction' or 'eigen'")
    angle: float = option(1e-8, "least |cos| of the angle with -g")
    floor: float = option(1e-15, "relative floor of |eigenvalues|")

    def __post_init__(self) -> None:
        check_choice("flip", self.flip, ("direction", "eigen"))
        check_number("angle", self.angle, 0.0, 0.5, open_high=True)
        check_number("floor", self.floor, 0.0, 1.0, open_low=True, open_high=True)

    def propose(self, iterate: Iterate, operator: Inverse, bound: Bound) -> Step:
        """Return the direction as a step of length factor 1."""
        g = iterate.g
        units: Array | None = getattr(operator, "units", None)
        d = -operator.solve(g, absolute=self.flip == "eigen", floor=self.floor)
        step = self._step(g, d, units)
        if step is None:
            square = iterate.gnorm * iterate.gnorm  # ** would raise where this is inf
            step = self._step(g, -1.0 * g, units)
            return step or Step(-1.0 * g, -square, square, iterate.gnorm)
        gnorm, length = iterate.gnorm, step.length
        if pairs.is_orthogonal(step.slope, gnorm, length, self.angle):
            sign = -1.0 if step.slope > 0.0 else 1.0
            d = sign * d - pairs.tilt(gnorm, length, self.angle) * g
            step = self._step(g, d, units) or step
        return step

    @staticmethod
    def _step(g: Array, d: Array, units: Array | None) -> Step | None:
        """Measure the direction; return None for one that is zero or not finite."""
        if units is None:
            slope, square = slope_and_square(g, d)
            inside = square
        else:
            with np.errstate(over="ignore"):
                scaled = d / units
            slope, square, inside = inners((g, d, scaled), (d, d, scaled))
        if not pairs.is_direction(slope, square, inside):
            return None
        return Step(d, slope, -slope, math.sqrt(inside), euclidean=math.sqrt(square))
