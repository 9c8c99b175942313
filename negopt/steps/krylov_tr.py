"""Exact trust-region step inside a Lanczos basis that is re-used when a step is rejected."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from negopt import kernels
from negopt._array import dot, norm, scalars
from negopt._dense import symmetric_eigen
from negopt._lanczos import LanczosBasis
from negopt._options import check_integer, check_number
from negopt._types import Iterate, KrylovOperator, Step

__all__ = ["KrylovTrustRegion"]


@dataclass(frozen=True)
class KrylovTrustRegion:
    """Minimiser of the true quadratic model over a Krylov space and a ball.

    Parameters
    ----------
    max_products : int, default 100
        Most Hessian products in one basis; the basis holds that many vectors.
    forcing : float, default 0.5
        Grow until the residual is below ``min(forcing, 10 sqrt(||g|| / ||g||_max)) ||g||``, with
        the largest gradient norm met so far: superlinear at the end, whatever the scale.

    Notes
    -----
    The subproblem is solved in T's eigenbasis, so indefinite and nearly singular
    projections need no special care; a rejected step re-uses the basis, and adds to it
    only when the smaller radius asks for a more accurate solution.

    References
    ----------
    Gould, Lucidi, Roma and Toint (1999), SIAM J. Optim. 9, 504-525,
    doi:10.1137/S1052623497322735.
    """

    max_products: int = field(default=100, metadata={"doc": "most Hessian products per step"})
    forcing: float = field(default=0.5, metadata={"doc": "relative residual of the inner solve"})

    def __post_init__(self) -> None:
        check_integer("max_products", self.max_products)
        check_number("forcing", self.forcing, 0.0, 1.0, open_low=True, open_high=True)

    def propose(
        self, iterate: Iterate, operator: KrylovOperator, bound: float | None, rng: Generator
    ) -> Step:
        """Return the step for radius `bound`; re-uses the basis kept in `operator`."""
        if bound is None:
            raise TypeError("a trust-region step needs a radius; use globalize=TrustRegion().")
        basis: LanczosBasis | None = operator.basis
        if basis is None:
            basis = operator.basis = LanczosBasis(operator.matvec, iterate.g, self.max_products)
            basis.grow()
        if basis.k == 0:  # not even one product was finite: steepest descent to the boundary
            scale = bound / iterate.gnorm
            return Step(-scale * iterate.g, -scale * iterate.gnorm**2, 0.0, bound, True)
        memory = operator.memory
        memory.first_gnorm = max(memory.first_gnorm, iterate.gnorm)
        share = min(self.forcing, 10.0 * math.sqrt(iterate.gnorm / memory.first_gnorm))
        goal = share * iterate.gnorm
        while True:
            small, case, quadratic = _solve(basis, iterate.gnorm, bound)
            residual = basis.beta[-1] * abs(float(small[-1]))
            if residual <= goal or not self._more(basis):
                break
        s = basis.combine(small)
        slope = scalars(dot(iterate.g, s))[0]
        length = norm(s)
        if length > bound:
            factor = bound / length
            s, slope, quadratic, length = factor * s, factor * slope, factor**2 * quadratic, bound
        return Step(s, slope, quadratic, length, case != kernels.INTERIOR)

    def _more(self, basis: LanczosBasis) -> bool:
        """Grow by one product, later by a tenth of the basis (each check costs k^3)."""
        grown = False
        for _ in range(max(1, basis.k // 10)):
            if not basis.grow():
                break
            grown = True
        return grown


def _solve(basis: LanczosBasis, gnorm: float, bound: float) -> tuple[np.ndarray, int, float]:
    """Solve the projected subproblem; return weights, case and ``s'Hs``."""
    values, vectors = symmetric_eigen(basis.matrix())
    parts = np.ascontiguousarray(gnorm * vectors[0])
    small = np.empty_like(parts)
    _, case, _ = kernels.trust_region_step(np.ascontiguousarray(values), parts, bound, small)
    return vectors @ small, case, float(values @ (small * small))
