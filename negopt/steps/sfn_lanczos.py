"""Saddle-free Newton steps in a Krylov space, inside a ball of the norm that |H| gives."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from negopt.algebra.eigen import symmetric_eigen
from negopt.algebra.krylov import LanczosBasis
from negopt.algebra.secular import INTERIOR, trust_region_step
from negopt.core.arrays import FloatArray, dot, scalars
from negopt.core.bounds import Bound, Radius
from negopt.core.options import check_choice, check_integer, check_number, option
from negopt.core.protocols import KrylovModel
from negopt.core.types import Iterate, Step


@dataclass(frozen=True)
class SaddleFreeLanczos:
    """Minimiser of a model over a Krylov space and a ball of the norm ``sqrt(s'|H|s)``.

    Parameters
    ----------
    max_products : int, default 50
        Most Hessian products in one basis; the basis holds that many vectors.
    forcing : float, default 0.5
        Grow until the residual is below ``min(forcing, 10 sqrt(||g|| / ||g||_max)) ||g||``,
        with the largest gradient norm met so far.
    floor : float, default 1e-4
        |Ritz values| are kept above this share of the largest, so that a step along a flat
        direction stays bounded.
    model : {"absolute", "quadratic"}, default "absolute"
        What is minimised: ``g's + s'|H|s/2``, whose minimiser is the source's step ``-|H|^-1 g``
        cut to the ball, or ``g's + s'Hs/2``, whose minimiser lies on the boundary wherever
        H is not positive definite.

    Notes
    -----
    With ``H Q' = Q' T + ...`` from `LanczosBasis`, grown from g, ``T = W diag(theta) W'``
    and ``D = diag(max(|theta|, floor max|theta|))``:

    1. ``s = Q' W D^-1/2 y``, so that ``||y||`` is the length of s in the norm of
       ``|H|`` projected on the space;
    2. y minimises ``a'y + y' S y / 2`` over ``||y|| <= bound`` with ``a = D^-1/2 W' Q g`` and
       ``S = D^-1 diag(theta)``, or that of |theta|: ones of both signs, or ones, but for
       what is below the floor.

    The ball is where the source trusts a model: first and second order differ there by at
    most half the square of the radius, in its units.  It replaces a damping, which would
    favour the directions of large curvature.  The actual decrease is compared with that of
    ``g's + s'Hs/2`` for both models.  What it costs beside ``newton-krylov``: docs/defaults.md.

    The norm is measured in units of its value for the unit vector along the first
    gradient, a constant kept in the memory: radii are lengths, whatever the scale of f.

    **Guarantee**: the step solves 2 in the space, is exact when the space is complete, and
    a rejected step takes no product (``tests/guarantees/test_sfn_lanczos.py``).

    References
    ----------
    Dauphin et al. (2014), Identifying and attacking the saddle point problem in
    high-dimensional non-convex optimization, arXiv:1406.2572.
    """

    max_products: int = option(50, "most Hessian products per step")
    forcing: float = option(0.5, "relative residual of the inner solve")
    floor: float = option(1e-4, "least |Ritz value|, as a share")
    model: str = option("absolute", "'absolute' or 'quadratic'")

    def __post_init__(self) -> None:
        check_integer("max_products", self.max_products)
        check_number("forcing", self.forcing, 0.0, 1.0, open_low=True, open_high=True)
        check_number("floor", self.floor, 0.0, 1.0, open_low=True, open_high=True)
        check_choice("model", self.model, ("absolute", "quadratic"))

    def propose(self, iterate: Iterate, operator: KrylovModel, bound: Bound) -> Step:
        """Return the step for a radius; re-uses the basis kept in `operator`."""
        if not isinstance(bound, Radius):
            raise TypeError("a trust-region step needs a radius; use globalize=TrustRegion().")
        radius = bound.value
        basis = operator.basis
        fresh = not isinstance(basis, LanczosBasis)
        if not isinstance(basis, LanczosBasis):
            basis = operator.basis = LanczosBasis(operator.product, iterate.g, self.max_products)
            basis.grow()
        if basis.k == 0:  # not even one product was finite: steepest descent to the boundary
            s = (-radius / iterate.gnorm) * iterate.g
            return Step(s, -radius * iterate.gnorm, 0.0, radius, True)
        largest = max(operator.first_gnorm, iterate.gnorm)
        share = min(self.forcing, 10.0 * math.sqrt(iterate.gnorm / largest))
        while True:
            small, length, active, unit = self._solve(basis, iterate.gnorm, operator.scale, radius)
            residual = basis.beta[-1] * abs(float(small[-1]))
            if not fresh or residual <= share * iterate.gnorm or not basis.grow():
                break
        operator.scale = unit
        s = basis.combine(small)
        slope, square = scalars(dot(iterate.g, s), dot(s, s))
        quadratic = float(small @ basis.matrix() @ small)
        return Step(s, slope, quadratic, length, active, math.sqrt(square), unit)

    def _solve(
        self, basis: LanczosBasis, gnorm: float, unit: float, radius: float
    ) -> tuple[FloatArray, float, bool, float]:
        """Return the weights of the step, its length, whether the bound is active, the unit."""
        values, vectors = symmetric_eigen(basis.matrix())
        if self.model == "absolute":
            values = np.abs(values)
        size = np.abs(values)
        largest = float(np.max(size))
        square = np.ones_like(size)  # of the norm: Euclidean where there is no curvature
        if largest > 0.0:
            size = np.maximum(size, self.floor * largest)
            unit = unit or float(vectors[0] ** 2 @ size)
            square = size / unit
        root = np.sqrt(square)
        parts = gnorm * vectors[0] / root
        y = np.empty_like(parts)
        _, case, _ = trust_region_step(values / square, parts, radius, y)
        length = float(np.linalg.norm(y))
        return vectors @ (y / root), min(length, radius), case != INTERIOR, unit
