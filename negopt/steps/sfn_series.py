"""Saddle-free Newton steps ``-(|H| + lambda I)^-1 g`` from Hessian products."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.random import Generator

from negopt._array import Array, dot, eps_of, norm, scalars
from negopt._dense import singular_values, symmetric_eigen
from negopt._lanczos import LanczosBasis
from negopt._options import check_choice, check_integer, check_number
from negopt._types import Iterate, KrylovOperator, Step
from negopt.steps.acceleration import wynn_epsilon

__all__ = ["SaddleFreeSeries", "series_coefficients"]

FloatArray = np.ndarray[Any, np.dtype[np.float64]]


def series_coefficients(count: int, d: float) -> FloatArray:
    """Return c_0 ... c_{count-1} of ``1 / (d + sqrt(1 - z)) = sum c_k z^k``.

    Parameters
    ----------
    count : int
    d : float
        Relative damping, ``0 <= d < 1``.

    Notes
    -----
    ``(1 - d^2) c_k = c_{k-1} + b_k`` with b_k the coefficients of ``sqrt(1 - z)``.
    Run forwards, an error grows as ``(1 - d^2)^-k``; where that would cost more than
    half the digits the recurrence runs backwards from a start that is forgotten.
    """
    if not 0.0 <= d < 1.0:
        raise ValueError(f"d={d!r}: the relative damping of the series must lie in [0, 1).")
    shrink = 1.0 - d * d
    backward = shrink**count < 1e-8
    total = count + (math.ceil(math.log(1e-18) / math.log(shrink)) if backward else 0)
    b = np.empty(total + 1)
    b[0] = 1.0
    for k in range(1, total + 1):
        b[k] = b[k - 1] * (k - 1.5) / k
    c = np.zeros(total + 1)
    if backward:
        for k in range(total, 0, -1):
            c[k - 1] = shrink * c[k] - b[k]
    else:
        c[0] = 1.0 / (1.0 + d)
        for k in range(1, total + 1):
            c[k] = (c[k - 1] + b[k]) / shrink
    return c[:count]


@dataclass(frozen=True)
class SaddleFreeSeries:
    """The saddle-free Newton step by a Krylov space or by the binomial series.

    Parameters
    ----------
    engine : {"krylov", "binomial"}, default "krylov"
        ``"krylov"`` needs one to two orders fewer products for the same accuracy;
        ``"binomial"`` is the series of Oldewage, Clarke and Hernández-Lobato.
    terms : int, default 20
        Products of the Krylov engine; terms K of the series (``2 (K - 1)`` products).
    change : float, default 0.05
        The Krylov engine stops early when the step changed less than this over its
        last two products.
    accelerator : {"wynn", "sablonniere", None}, default "wynn"
        For the series.  ``"wynn"`` is what the published code ran, ``"sablonniere"``
        what the paper prints; the latter needs a verified scaling.
    order : int, default 2
        Acceleration order N; uses the last ``2 N + 1`` partial sums.
    scaling : {"lanczos", "source"}, default "lanczos"
        V of the series: 1.1 times a Lanczos bound on the largest ``theta^2`` (five
        products), or the source's running maximum of ``||H^2 g|| / ||g||`` from 100,
        which may lie below what convergence needs.

    Notes
    -----
    Krylov engine: with ``H Q_k = Q_{k+1} T`` (T tall, k + 1 by k) and ``T = U S W'``
    the step is ``-||g|| Q_k W (S + lambda)^-1 W' e_1``.  Since ``T'T`` is the projection
    of ``H^2``, the projected |H| is positive definite: the step always descends.

    **Guarantee**: at k = n the step equals that of an eigendecomposition
    (``tests/guarantees/test_absolute_hessian.py``).

    References
    ----------
    Dauphin et al. (2014), arXiv:1406.2572.  Amsel et al. (2023), arXiv:2303.03358.
    """

    engine: str = field(default="krylov", metadata={"doc": "'krylov' or 'binomial'"})
    terms: int = field(default=20, metadata={"doc": "Krylov products, or series terms K"})
    change: float = field(default=0.05, metadata={"doc": "early stop of the Krylov engine"})
    accelerator: str | None = field(
        default="wynn", metadata={"doc": "series: 'wynn', 'sablonniere' or None"}
    )
    order: int = field(default=2, metadata={"doc": "acceleration order N of the series"})
    scaling: str = field(default="lanczos", metadata={"doc": "series V: 'lanczos' or 'source'"})

    def __post_init__(self) -> None:
        check_choice("engine", self.engine, ("krylov", "binomial"))
        check_integer("terms", self.terms)
        check_number("change", self.change)
        check_choice("accelerator", self.accelerator, ("wynn", "sablonniere", None))
        check_integer("order", self.order, 0)
        check_choice("scaling", self.scaling, ("lanczos", "source"))
        binomial = self.engine == "binomial" and self.accelerator is not None
        if binomial and 2 * self.order + 1 > self.terms:
            raise ValueError(
                f"order={self.order!r}: acceleration uses the last 2*order + 1 of "
                f"terms={self.terms} partial sums; lower order or raise terms."
            )

    def propose(
        self, iterate: Iterate, operator: KrylovOperator, bound: float | None, rng: Generator
    ) -> Step:
        """Return the step; `bound` is the damping as a share of the largest |eigenvalue|."""
        damping = 0.0 if bound is None else bound
        if self.engine == "krylov":
            return self._krylov(iterate, operator, damping)
        return self._binomial(iterate, operator, damping)

    def _krylov(self, iterate: Iterate, operator: KrylovOperator, damping: float) -> Step:
        basis: LanczosBasis | None = operator.basis
        fresh = basis is None
        if basis is None:
            basis = operator.basis = LanczosBasis(operator.matvec, iterate.g, self.terms)
            basis.grow()
        if basis.k == 0:
            return _steepest(iterate, math.nan)
        weights = _absolute_solve(basis, iterate.gnorm, damping)
        while fresh:  # a re-solve with another damping takes no new product
            grown = basis.grow() and (basis.k % 2 == 1 or basis.grow() or True)
            if not grown:
                break
            before, weights = weights, _absolute_solve(basis, iterate.gnorm, damping)
            moved = weights.copy()
            moved[: before.shape[0]] -= before
            if np.linalg.norm(moved) <= self.change * np.linalg.norm(weights):
                break
        s = basis.combine(weights)
        slope = scalars(dot(iterate.g, s))[0]
        return Step(s, slope, float(weights @ basis.matrix() @ weights), norm(s))

    def _binomial(self, iterate: Iterate, operator: KrylovOperator, damping: float) -> Step:
        terms: list[Array] | None = operator.basis
        if terms is None:
            terms = operator.basis = self._terms(iterate, operator)
        root = math.sqrt(operator.memory.scale)
        if not terms or root == 0.0:
            return _steepest(iterate, math.nan)
        # N.B. for d > 1/2 the expansion has nothing left to say about the spectrum.
        d = min(damping, 0.5)
        shrink = d / damping if damping > 0.5 else 1.0
        total: Array = None
        sums = []
        for c, v in zip(series_coefficients(len(terms), d), terms, strict=True):
            total = float(c) * v if total is None else total + float(c) * v
            sums.append(total)
        if self.accelerator and 2 * self.order + 1 <= len(sums):
            total = wynn_epsilon(
                sums[-(2 * self.order + 1) :], sablonniere=self.accelerator == "sablonniere"
            )
        s = (-shrink / root) * total
        slope, square = scalars(dot(iterate.g, s), dot(s, s))
        if not (math.isfinite(square) and slope < -1e-8 * iterate.gnorm * math.sqrt(square)):
            return _steepest(iterate, root)
        quadratic = scalars(dot(s, operator.matvec(s)))[0]
        return Step(s, slope, quadratic, math.sqrt(square))

    def _terms(self, iterate: Iterate, operator: KrylovOperator) -> list[Array]:
        """Return ``v_k = (I - H^2/V)^k g``, stopping at a product that is not finite."""
        memory = operator.memory
        if self.scaling == "lanczos":
            basis = LanczosBasis(operator.matvec, iterate.g, 5)
            while basis.grow():
                pass
            if basis.k == 0:
                return []
            values, vectors = symmetric_eigen(basis.matrix())
            theta = float(np.max(np.abs(values) + basis.beta[-1] * np.abs(vectors[-1])))
            # An old, larger bound is let go slowly: H changes along the way.
            memory.scale = max(1.1 * theta**2, 0.5 * memory.scale)
            if memory.scale == 0.0:  # no curvature along g: a gradient step is all there is
                return []
        terms = [iterate.g]
        for k in range(1, self.terms):
            product = operator.matvec(operator.matvec(terms[-1]))
            size = norm(product)
            if not math.isfinite(size):
                break
            if self.scaling == "source" and k == 1:
                memory.scale = max(memory.scale, 100.0, size / iterate.gnorm)
            terms.append(terms[-1] - product / memory.scale)
        return terms


def _absolute_solve(basis: LanczosBasis, gnorm: float, damping: float) -> FloatArray:
    """Return the weights of ``-(|H| + lambda)^-1 g`` in the basis."""
    sizes, right = singular_values(basis.tall_matrix())
    largest = float(sizes[0])
    if largest == 0.0:  # no curvature at all inside the space: a unit gradient step
        return np.asarray(-gnorm * np.eye(basis.k)[0])
    floor = max(damping, eps_of(basis.rows)) * largest
    weights: FloatArray = -gnorm * (right.T @ (right[:, 0] / (sizes + floor)))
    return weights


def _steepest(iterate: Iterate, curvature: float) -> Step:
    """Return a gradient step for the given curvature bound (unit length without one)."""
    scale = 1.0 / curvature if math.isfinite(curvature) and curvature > 0 else 1 / iterate.gnorm
    s = -scale * iterate.g
    return Step(s, -scale * iterate.gnorm**2, 0.0, scale * iterate.gnorm)
