"""Exact trust-region step of a compact model, hard case included."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.random import Generator

from negopt._array import Array, dot, scalars
from negopt._options import check_choice
from negopt._types import Iterate, Step
from negopt.kernels.compact import trust_region_step  # XXX secular
from negopt.vectors.primitives import HostArray

__all__ = ["SpectralModel", "SpectralTrustRegion", "TrustModel", "spectral_step"]


class SpectralModel(Protocol):
    """What the step needs: eigenvalues of ``B = gamma I + Q T Q'`` with an orthonormal basis Q."""

    gamma: float
    k: int
    n: int
    full: bool

    @property
    def eigen(self) -> tuple[HostArray, HostArray]:
        """Eigenvalues of B inside the basis, ascending, and their vectors."""
        ...

    def expand(self, w: HostArray, scale: float, v: Array) -> Array:
        """Return ``scale v + Q w``."""
        ...

    def split(self, v: Array, vnorm: float) -> tuple[HostArray, float, Array | None]:
        """Return ``Q'v``, the length of what lies outside Q, and that part if it was formed."""
        ...

    def outside(self, like: Array, rng: Generator) -> Array:
        """Return a random unit vector orthogonal to Q."""
        ...


class TrustModel(Protocol):
    """A model with a trust-region step of its own, and its spectrum."""

    @property
    def spectrum(self) -> SpectralModel:
        """Eigenvalues and basis."""
        ...

    def trust_step(self, iterate: Iterate, radius: float, rng: Generator) -> Step:
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

    def propose(
        self, iterate: Iterate, operator: TrustModel, bound: float | None, rng: Generator
    ) -> Step:
        """Return the exact step; `bound` is the radius."""
        if bound is None:
            raise TypeError("a trust-region step needs a radius; use globalize=TrustRegion().")
        direct = getattr(operator, "trust_step", None)
        if direct is not None and self.model == "signed":
            step: Step | None = direct(iterate, bound)
            if step is not None:
                return step
        if self.model == "signed":
            return operator.trust_step(iterate, bound, rng)
        return spectral_step(iterate, operator.spectrum, bound, rng, absolute=True)


def spectral_step(
    iterate: Iterate,
    model: SpectralModel,
    radius: float,
    rng: Generator,
    *,
    absolute: bool = False,
) -> Step:
    """Return the global minimiser of a model in the ball, by its eigenvalues."""
    g = iterate.g
    inside, outside, rest = model.split(g, iterate.gnorm)
    values, vectors = model.eigen
    gamma = model.gamma
    if absolute:
        values, gamma = np.abs(values), abs(gamma)
    k = model.k
    parts = vectors.T @ inside
    if not model.full:
        values = np.append(values, gamma)
        parts = np.append(parts, outside)
    small = np.empty_like(parts)
    shift, case, index = trust_region_step(values, parts, radius, small)
    quadratic = float(values @ (small * small))
    w = vectors @ small[:k]
    if model.full or outside == 0.0:
        s = model.expand(w, 0.0, g)
        if not model.full and case == HARD and index == k:
            s = s + float(small[k]) * model.outside(g, rng)
    elif rest is not None:
        s = model.expand(w, 0.0, g) + (float(small[k]) / outside) * rest
    else:  # without the cancellation of a g inside Q
        scale = float(small[k]) / outside
        s = model.expand(w - scale * inside, scale, g)
    units: Array | None = getattr(model, "units", None)
    return _bounded(iterate, s, units, quadratic, radius, on_boundary=case != INTERIOR)


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
