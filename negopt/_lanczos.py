"""Bases grown one product at a time: Lanczos with reorthogonalisation, and any directions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from negopt._array import Array, device_of, float64_rows_dot, from_host, namespace_of, norm

__all__ = ["LanczosBasis", "Subspace"]

FloatArray = np.ndarray[Any, np.dtype[np.float64]]


class LanczosBasis:
    """Orthonormal rows Q with ``H Q' = Q' T + beta q e_k'``.

    Parameters
    ----------
    product : callable
        ``v -> H v``.
    start : array, shape (n,)
        First direction; need not be normalised.
    limit : int
        Most products that may be taken.

    Attributes
    ----------
    k : int
        Products taken so far.
    broke_down : bool
        The space is invariant under H: what it says is exact.
    invalid : bool
        A product was not finite; the basis ends before it.

    Notes
    -----
    Each new direction is orthogonalised against all earlier ones twice ("twice is
    enough"), so Ritz values do not reappear as ghosts; the cost is two passes over
    the basis, small next to a product.
    """

    def __init__(self, product: Callable[[Array], Array], start: Array, limit: int) -> None:
        xp = namespace_of(start)
        self.product = product
        self.n = int(start.shape[0])
        self.limit = min(limit, self.n)
        self.start_norm = norm(start)
        self._capacity = min(self.limit + 1, 16)
        self.rows = xp.zeros((self._capacity, self.n), dtype=start.dtype, device=device_of(start))
        self.rows[0, :] = start / self.start_norm
        self.k = 0
        self.alpha: list[float] = []
        self.beta: list[float] = []
        self.broke_down = False
        self.invalid = False

    def grow(self) -> bool:
        """Take one more product; return False when the basis cannot grow."""
        if self.broke_down or self.invalid or self.k >= self.limit:
            return False
        xp = namespace_of(self.rows)
        k = self.k
        w = self.product(self.rows[k, :])
        size = norm(w)
        if not math.isfinite(size):
            self.invalid = True
            return False
        basis = self.rows[: k + 1, :]
        first = float64_rows_dot(basis, w)
        w = w - xp.matmul(from_host(first, w), basis)
        second = float64_rows_dot(basis, w)
        w = w - xp.matmul(from_host(second, w), basis)
        self.alpha.append(float(first[k] + second[k]))
        beta = norm(w)
        self.beta.append(beta)
        self.k = k + 1
        scale = max(max(map(abs, self.alpha)), max(self.beta[:-1], default=0.0))
        eps = 2.3e-16 if self.rows.dtype == xp.float64 else 1.2e-7
        if beta <= 1e3 * eps * max(scale, size) or self.k >= self.n:
            self.broke_down = True
            self.beta[-1] = 0.0
            return True
        if self.k < self.limit:
            self._reserve(self.k + 1)
        if self.k < self._capacity:
            self.rows[self.k, :] = w / beta
        return True

    def _reserve(self, rows: int) -> None:
        if rows <= self._capacity:
            return
        xp = namespace_of(self.rows)
        extra = min(max(rows, 2 * self._capacity), self.limit + 1) - self._capacity
        more = xp.zeros((extra, self.n), dtype=self.rows.dtype, device=device_of(self.rows))
        self.rows = xp.concat([self.rows, more], axis=0)
        self._capacity += extra

    def matrix(self) -> FloatArray:
        """Return T, the projection of H, shape (k, k)."""
        k = self.k
        t = np.diag(self.alpha[:k])
        for i in range(k - 1):
            t[i, i + 1] = t[i + 1, i] = self.beta[i]
        return t

    def tall_matrix(self) -> FloatArray:
        """Return T with the row of the next direction below it, shape (k + 1, k)."""
        k = self.k
        tall = np.zeros((k + 1, k))
        tall[:k] = self.matrix()
        tall[k, k - 1] = self.beta[k - 1]
        return tall

    def project(self, v: Array) -> FloatArray:
        """Return ``Q v``, shape (k,)."""
        return float64_rows_dot(self.rows[: self.k, :], v)

    def combine(self, weights: FloatArray) -> Array:
        """Return ``Q' weights`` for weights of shape (k,)."""
        xp = namespace_of(self.rows)
        rows = self.rows[: len(weights), :]
        return xp.matmul(from_host(weights, rows), rows)


class Subspace:
    """Orthonormal rows V with their images ``W = V H``, grown in any direction.

    Parameters
    ----------
    product : callable
        ``v -> H v``.
    like : array, shape (n,)
        Gives library, device and type.
    limit : int
        Most products that may be taken.

    Attributes
    ----------
    k : int
        Products taken so far.
    invalid : bool
        A product was not finite; the space ends before it.

    Notes
    -----
    Grown by residuals it is a Krylov space, grown by preconditioned ones that of Davidson's
    method.  A direction is orthogonalised twice against the rows; ``V H V'`` is symmetric
    by construction.
    """

    def __init__(self, product: Callable[[Array], Array], like: Array, limit: int) -> None:
        xp = namespace_of(like)
        self.product = product
        self.n = int(like.shape[0])
        self.limit = min(limit, self.n)
        self._room = min(self.limit, 8)
        self._rows = xp.zeros((self._room, self.n), dtype=like.dtype, device=device_of(like))
        self._images = xp.zeros_like(self._rows)
        self._small = np.zeros((0, 0))
        self.k = 0
        self.invalid = False

    @property
    def rows(self) -> Array:
        """V, shape (k, n)."""
        return self._rows[: self.k, :]

    @property
    def images(self) -> Array:
        """W, shape (k, n)."""
        return self._images[: self.k, :]

    def grow(self, direction: Array) -> bool:
        """Take the product with what of `direction` is new; False when nothing is, or can be."""
        if self.invalid or self.k >= self.limit:
            return False
        v = self._orthogonal(direction)
        if v is None:
            return False
        w = self.product(v)
        if not math.isfinite(norm(w)):
            self.invalid = True
            return False
        k = self.k
        self._reserve()
        self._rows[k, :], self._images[k, :] = v, w
        self.k = k + 1
        small = np.zeros((k + 1, k + 1))
        small[:k, :k] = self._small
        small[k, :] = small[:, k] = float64_rows_dot(self.rows, w)
        self._small = small
        return True

    def _orthogonal(self, v: Array) -> Array | None:
        """Return the unit vector along what the rows lack of `v`, or None."""
        size = norm(v)
        if not 0.0 < size < math.inf:
            return None
        v, xp = v / size, namespace_of(v)
        least = 1e-8 if v.dtype == xp.float64 else 1e-4
        for _ in range(3 if self.k else 1):
            if self.k:
                v = v - xp.matmul(from_host(float64_rows_dot(self.rows, v), v), self.rows)
            size = norm(v)
            if size < least:
                return None  # what is left of it is rounding
            v, least = v / size, 0.1
        return v

    def _reserve(self) -> None:
        if self.k < self._room:
            return
        xp, extra = namespace_of(self._rows), min(self._room, self.limit - self._room)
        more = xp.zeros((extra, self.n), dtype=self._rows.dtype, device=device_of(self._rows))
        self._rows = xp.concat([self._rows, more], axis=0)
        self._images = xp.concat([self._images, more], axis=0)
        self._room += extra

    def matrix(self) -> FloatArray:
        """Return ``V H V'``, shape (k, k)."""
        return self._small

    def project(self, v: Array) -> FloatArray:
        """Return ``V v``, shape (k,)."""
        return float64_rows_dot(self.rows, v)

    def combine(self, weights: FloatArray) -> Array:
        """Return ``V' weights`` for weights of shape (k,)."""
        return namespace_of(self._rows).matmul(from_host(weights, self._rows), self.rows)

    def image(self, weights: FloatArray) -> Array:
        """Return ``H V' weights``, for no product."""
        return namespace_of(self._rows).matmul(from_host(weights, self._rows), self.images)
