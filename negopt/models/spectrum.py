"""Models by their eigenvalues, and the exact trust-region step that follows from these."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from negopt.algebra.eigen import symmetric_eigen
from negopt.algebra.secular import INTERIOR, trust_region_step
from negopt.core.arrays import Array, dot, eps_of, from_host, scalars, to_host
from negopt.core.types import Iterate, Step
from negopt.vectors.primitives import HostArray, combine, products


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


class Spectrum:
    """``B = gamma I + Q T Q'`` with an orthonormal basis Q in weights of stored rows.

    Parameters
    ----------
    rows : array, shape (r, n)
    weights : ndarray, shape (k, r), or None
        ``Q' = weights rows``; None where Q is the identity.
    small : ndarray, shape (k, k)
        T.
    gamma : float
    n : int

    Attributes
    ----------
    eigen : tuple of ndarray
        Eigenvalues of B inside the basis, ascending, and their vectors.
    full : bool
        Whether the basis spans the whole space.
    """

    def __init__(
        self, rows: Array, weights: HostArray | None, small: HostArray, gamma: float, n: int
    ) -> None:
        self.rows, self.weights, self.gamma, self.n = rows, weights, gamma, n
        self.k = int(small.shape[0])
        self.full = weights is None or self.k >= n
        values, vectors = symmetric_eigen(0.5 * (small + small.T))
        if not math.isfinite(values.sum()):
            raise np.linalg.LinAlgError("eigenvalues beyond the range of float64")
        self.eigen = values + gamma, vectors

    def project(self, v: Array) -> HostArray:
        """Return ``Q'v``."""
        inside: HostArray
        if self.weights is None:
            inside = to_host(v)
        elif self.k == 0:
            inside = np.zeros(0)
        else:
            inside = self.weights.dot(products(self.rows, v))
        return inside

    def expand(self, w: HostArray, scale: float, v: Array) -> Array:
        """Return ``scale v + Q w``."""
        if self.weights is None:
            part = from_host(w, v)
            return part if scale == 0.0 else float(scale) * v + part
        if self.k == 0:
            return float(scale) * v
        return combine(w.dot(self.weights), self.rows, scale, v)

    def split(self, v: Array, vnorm: float) -> tuple[HostArray, float, Array | None]:
        """Split `v` into its part inside the basis and the rest.

        Returns
        -------
        inside : ndarray, shape (k,)
            ``Q'v``.
        length : float
            Length of the part outside.
        outside : array, shape (n,), or None
            That part itself where ``v - Q inside`` would cancel; None where it would not.
        """
        inside = self.project(v)
        if self.full:
            return inside, 0.0, None
        square = vnorm * vnorm - float(inside @ inside)
        if square > 1e-6 * vnorm * vnorm:
            return inside, math.sqrt(square), None
        outside = self.expand(-inside, 1.0, v)
        again = self.project(outside)
        outside = self.expand(-again, 1.0, outside)
        length = math.sqrt(max(scalars(dot(outside, outside))[0], 0.0))
        if length <= max(4.0 * eps_of(v), 1e-9) * vnorm:  # rounding of v, or of Q
            length = 0.0
        return inside + again, length, outside

    def matvec(self, v: Array) -> Array:
        """Return ``B v``."""
        values, vectors = self.eigen
        inside = self.project(v)
        w = vectors @ ((values - self.gamma) * (vectors.T @ inside))
        return self.expand(w, self.gamma, v)

    def solve(self, v: Array, *, absolute: bool = False, floor: float = 1e-15) -> Array:
        """Return ``B^-1 v``, or ``|B|^-1 v``, eigenvalues kept `floor` away from zero."""
        size, outside = self._sizes(floor)
        signed = size if absolute else np.where(self.eigen[0] < 0.0, -size, size)
        return self._divided(v, signed, outside)

    def inverse_root(self, v: Array) -> Array:
        """Return ``|B|^(-1/2) v``, eigenvalues kept ``sqrt(eps)`` of the largest away from zero."""
        size, outside = self._sizes(math.sqrt(eps_of(v)))
        return self._divided(v, np.sqrt(size), math.sqrt(outside))

    def absolute_solve(self, v: Array, shift: float, floor: float) -> Array:
        """Return ``(|B| + shift I)^-1 v``, eigenvalues of B kept `floor` away from zero."""
        size, outside = self._sizes(floor)
        return self._divided(v, size + shift, outside + shift)

    def _sizes(self, floor: float) -> tuple[HostArray, float]:
        """Return the absolute eigenvalues inside the basis and the one outside."""
        size = np.abs(self.eigen[0])
        least = floor * max(self.gamma, float(np.max(size, initial=0.0)))
        return np.maximum(size, least), max(self.gamma, least)

    def _divided(self, v: Array, inside: HostArray, outside: float) -> Array:
        """Return v divided by these, each eigenvector's part by its own."""
        part, vectors = self.project(v), self.eigen[1]
        w = vectors @ ((vectors.T @ part) / inside)
        if self.full:
            return self.expand(w, 0.0, v)
        return self.expand(w - part / outside, 1.0 / outside, v)


def spectral_step(
    iterate: Iterate,
    model: SpectralModel,
    radius: float,
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
    _, case, _ = trust_region_step(values, parts, radius, small)
    quadratic = float(values @ (small * small))
    w = vectors @ small[:k]
    if model.full or outside == 0.0:
        s = model.expand(w, 0.0, g)
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
