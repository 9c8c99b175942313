"""Exact trust-region step of a compact model, hard case included."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.random import Generator

from negopt import kernels
from negopt._array import Array, dot, from_host, namespace_of, norm, scalars
from negopt._options import check_choice
from negopt._types import Iterate, Step

__all__ = ["SpectralOperator", "SpectralTrustRegion"]

FloatArray = np.ndarray[Any, np.dtype[np.float64]]


class SpectralOperator(Protocol):
    """What the step needs: ``B = gamma I + Q small Q'`` with an orthonormal basis Q."""

    gamma: float
    small: FloatArray
    k: int
    n: int
    full: bool
    eigen: tuple[FloatArray, FloatArray]

    def project(self, v: Array) -> FloatArray:
        """Return ``Q'v``."""
        ...

    def expand(self, w: FloatArray, scale: float, v: Array) -> Array:
        """Return ``scale v + Q w``."""
        ...

    def split(self, v: Array, vnorm: float) -> tuple[FloatArray, float, Array | None]:
        """Return ``Q'v``, the length of what lies outside Q, and that part if it was formed."""
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

    def propose(
        self, iterate: Iterate, operator: SpectralOperator, bound: float | None, rng: Generator
    ) -> Step:
        """Return the exact step; `bound` is the radius."""
        if bound is None:
            raise TypeError("a trust-region step needs a radius; use globalize=TrustRegion().")
        direct = getattr(operator, "trust_step", None)
        if direct is not None and self.model == "signed":
            step: Step | None = direct(iterate, bound)
            if step is not None:
                return step
        g = iterate.g
        inside, outside, rest = operator.split(g, iterate.gnorm)
        if self.model == "signed":
            step = _interior(operator, iterate, (inside, outside, rest), bound)
            if step is not None:
                return step
        values, vectors = operator.eigen
        gamma = operator.gamma
        if self.model == "absolute":
            values, gamma = np.abs(values), abs(gamma)
        k = operator.k
        parts = vectors.T @ inside
        if not operator.full:
            values = np.append(values, gamma)
            parts = np.append(parts, outside)
        small = np.empty_like(parts)
        _, case, index = kernels.trust_region_step(
            np.ascontiguousarray(values), np.ascontiguousarray(parts), bound, small
        )
        quadratic = float(values @ (small * small))
        w = vectors @ small[:k]
        if operator.full or outside == 0.0:
            s = operator.expand(w, 0.0, g)
            if not operator.full and case == kernels.HARD and index == k:
                s = s + float(small[k]) * _outside_direction(operator, g, rng)
        else:
            s = _assemble(operator, g, w, float(small[k]) / outside, (inside, outside, rest))
        units: Array | None = getattr(operator, "units", None)
        return _bounded(iterate, s, units, quadratic, bound, on_boundary=case != kernels.INTERIOR)


def _interior(
    operator: SpectralOperator,
    iterate: Iterate,
    parts: tuple[FloatArray, float, Array | None],
    bound: float,
) -> Step | None:
    """Return the Newton step when B is positive definite and the step fits."""
    gamma = operator.gamma
    if gamma <= 0.0:
        return None
    inside, outside, _ = parts
    w = np.zeros(operator.k)
    if operator.k:
        shifted = operator.small + gamma * np.eye(operator.k)
        if not kernels.solve_definite(shifted, inside, w):
            return None
    length = float(np.hypot(np.linalg.norm(w), outside / gamma))
    if not length <= bound:
        return None
    s = _assemble(operator, iterate.g, -w, 0.0 if outside == 0.0 else -1.0 / gamma, parts)
    slope = -float(inside @ w) - outside * (outside / gamma)
    return Step(s, slope, -slope, length)


def _assemble(
    operator: SpectralOperator,
    g: Array,
    w: FloatArray,
    scale: float,
    parts: tuple[FloatArray, float, Array | None],
) -> Array:
    """Return ``Q w + scale (g - Q Q'g)`` without the cancellation of a g inside Q."""
    inside, _, rest = parts
    if scale == 0.0:
        return operator.expand(w, 0.0, g)
    if rest is not None:
        return operator.expand(w, 0.0, g) + scale * rest
    return operator.expand(w - scale * inside, scale, g)


def _bounded(
    iterate: Iterate,
    s: Array,
    units: Array | None,
    quadratic: float,
    bound: float,
    on_boundary: bool,
) -> Step:
    """Rescale `s` when rounding, through the implicit basis, made it too long."""
    if units is None:
        slope, square = scalars(dot(iterate.g, s), dot(s, s))
        length = euclidean = math.sqrt(square)
    else:
        scaled = s / units
        slope, *squares = scalars(dot(iterate.g, s), dot(scaled, scaled), dot(s, s))
        length, euclidean = map(math.sqrt, squares)
    if length > bound:
        # N.B. in an ill-conditioned basis the excess was up to 3e-5 of the radius.
        factor = bound / length
        s, slope, quadratic, length = factor * s, factor * slope, factor**2 * quadratic, bound
        euclidean *= factor
    return Step(s, slope, quadratic, length, on_boundary, euclidean)


def _outside_direction(operator: SpectralOperator, like: Array, rng: Generator) -> Array:
    """Return a random unit vector orthogonal to the basis."""
    xp = namespace_of(like)
    v = from_host(rng.standard_normal(operator.n), like)
    for _ in range(2):
        v = operator.expand(-operator.project(v), 1.0, v)
        v = v / norm(v)
    return xp.astype(v, like.dtype)
