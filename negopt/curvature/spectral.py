"""A symmetric matrix of low rank added to a multiple of the identity, by its eigenvalues."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from negopt._array import Array, dot, eps_of, from_host, namespace_of, norm, scalars
from negopt.vectors.primitives import HostArray, combine, products

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["Spectrum"]


class Spectrum:
    """``B = gamma I + Q T Q'`` with an orthonormal basis Q in weights of stored rows.

    Parameters
    ----------
    rows : array, shape (r, n)
    weights : ndarray, shape (k, r)
        ``Q' = weights rows``.
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
        self, rows: Array, weights: HostArray, small: HostArray, gamma: float, n: int
    ) -> None:
        self.rows, self.weights, self.gamma, self.n = rows, weights, gamma, n
        self.k = int(weights.shape[0])
        self.full = self.k >= n
        values, vectors = np.linalg.eigh(small) if self.k else (np.zeros(0), np.zeros((0, 0)))
        self.eigen = values + gamma, vectors

    def project(self, v: Array) -> HostArray:
        """Return ``Q'v``."""
        if self.k == 0:
            return np.zeros(0)
        return self.weights.dot(products(self.rows, v))

    def expand(self, w: HostArray, scale: float, v: Array) -> Array:
        """Return ``scale v + Q w``."""
        if self.k == 0:
            return scale * v
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

    def solve(self, v: Array, *, absolute: bool, floor: float = 1e-15) -> Array:
        """Return ``B^-1 v``, or ``|B|^-1 v``, eigenvalues kept `floor` away from zero."""
        inside = self.project(v)
        values, vectors = self.eigen
        largest = max(abs(self.gamma), float(np.max(np.abs(values), initial=0.0)))
        size = np.maximum(np.abs(values), floor * largest)
        signed = size if absolute else np.where(values < 0.0, -size, size)
        outside = max(abs(self.gamma), floor * largest)
        if not absolute and self.gamma < 0.0:
            outside = -outside
        w = vectors @ ((vectors.T @ inside) / signed)
        if self.full:
            return self.expand(w, 0.0, v)
        return self.expand(w - inside / outside, 1.0 / outside, v)

    def outside(self, like: Array, rng: Generator) -> Array:
        """Return a random unit vector orthogonal to the basis."""
        v = from_host(rng.standard_normal(self.n), like)
        for _ in range(2):
            v = self.expand(-self.project(v), 1.0, v)
            v = v / norm(v)
        return namespace_of(like).astype(v, like.dtype)
