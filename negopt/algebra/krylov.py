"""Bases grown one product at a time: Lanczos with reorthogonalisation, and any directions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.linalg.lapack import dpotrf, dtrtri

from negopt.core.arrays import Array, FloatArray, device_of, from_host, inner, namespace_of, norm
from negopt.vectors.primitives import combine, products

#: Rows of a long basis in its first block, and in each of the others.
FIRST, MORE = 10, 5
#: Least length of what the earlier rows leave of a unit row, with which a Cholesky factor makes
#: all of them orthonormal to rounding.
CLOSE = 0.1
#: Columns of it that are combined at a time.
COLUMNS = 16_384
#: Entries of a basis up to which there is room for all of its rows at once.
SHORT = 200_000


class LanczosBasis:
    """Orthonormal rows Q with ``H Q' = Q' T + beta q e_k'``.

    `product` is ``v -> H v``, of which at most `limit` are taken, the first with `start`, which
    need not be normalised.

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
        self.k = 0  #: products taken so far
        self.alpha: list[float] = []
        self.beta: list[float] = []
        self.broke_down = False  #: the space is invariant under H: what it says is exact
        self.invalid = False  #: a product was not finite; the basis ends before it

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
        first = products(basis, w)
        w = w - combine(first, basis, 0.0, w)
        second = products(basis, w)
        w -= combine(second, basis, 0.0, w)
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
        return products(self.rows[: self.k, :], v)

    def combine(self, weights: FloatArray) -> Array:
        """Return ``Q' weights`` for weights of shape (k,)."""
        rows = self.rows[: len(weights), :]
        return combine(weights, rows, 0.0, rows[0, :])


class Rows:
    """Vectors kept as rows, in blocks, so that none is moved when there are more."""

    def __init__(self, like: Array, most: int) -> None:
        self._like = like
        #: rows of the first block, and of each of the others
        self._first = most if most * like.shape[0] <= SHORT else min(most, FIRST)
        self._blocks: list[Array] = []
        self._room = 0
        self.k = 0  #: how many there are

    def append(self, v: Array) -> Array:
        """Copy `v`, and return the row."""
        if self.k == self._room:
            like, more = self._like, MORE if self._blocks else self._first
            shape = (more, like.shape[0])
            empty = namespace_of(like).empty(shape, dtype=like.dtype, device=device_of(like))
            self._blocks.append(empty)
            self._room += more
        row = self[self.k]
        row[...] = v
        self.k += 1
        return row

    def __getitem__(self, i: int) -> Array:
        """Return row i, also where it is no longer counted."""
        if i < self._first:
            return self._blocks[0][i, ...]
        block, row = divmod(i - self._first, MORE)
        return self._blocks[1 + block][row, ...]

    def _parts(self) -> list[Array]:
        parts, left = [], self.k
        for block in self._blocks:
            if left > 0:
                parts.append(block[:left, ...])
            left -= block.shape[0]
        return parts

    def all(self) -> Array:
        """Return the rows in one array, shape (k, n)."""
        like = self._like
        return namespace_of(like).concat([like[None, ...][:0, ...], *self._parts()], axis=0)

    def block(self) -> Array | None:
        """Return the rows, shape (k, n), where they are in one block, else None."""
        return self._blocks[0][: self.k, ...] if 0 < self.k <= self._first else None

    def products(self, v: Array) -> FloatArray:
        """Return the products of all rows with `v`, shape (k,)."""
        k = self.k
        if 0 < k <= self._first:
            return products(self._blocks[0][:k, ...], v)
        return np.concatenate([np.zeros(0), *(products(part, v) for part in self._parts())])

    def combine(self, weights: FloatArray) -> Array:
        """Return the linear combination of all rows with these weights."""
        k, like = self.k, self._like
        if 0 < k <= self._first:
            return combine(weights, self._blocks[0][:k, ...], 0.0, like)
        out, at = 0.0 * like, 0
        for part in self._parts():
            end = at + part.shape[0]
            out += combine(weights[at:end], part, 0.0, like)
            at = end
        return out


class Subspace:
    """Orthonormal rows V with their images ``W = V H``, grown in any direction.

    `product` is ``v -> H v``, of which at most `limit` are taken; the gradient `g` gives library,
    device and type.

    Notes
    -----
    Grown by residuals it is a Krylov space, grown by preconditioned ones that of Davidson's
    method.  A direction is orthogonalised against the rows until less than half of it is
    cancelled; ``V H V'`` is symmetric by construction.
    """

    def __init__(self, product: Callable[[Array], Array], g: Array, limit: int) -> None:
        xp = namespace_of(g)
        self.product = product
        self.g = g
        self.limit = min(limit, int(g.shape[0]))
        self._rows, self._images = Rows(g, self.limit), Rows(g, self.limit)
        self._small = np.empty((self.limit, self.limit))
        self._along = np.empty(self.limit)
        self._least = 1e-8 if g.dtype == xp.float64 else 1e-4
        self.invalid = False  #: a product was not finite; the space ends before it
        #: what the preconditioner of the next direction was last factored for
        self.shift = math.nan
        self.sizable = 0.0  #: largest absolute Rayleigh quotient of a row
        #: False while the rows are conjugate directions (`take`): then `matrix` and what solves
        #: with it mean nothing before `orthonormalise`
        self.orthonormal = True

    @property
    def k(self) -> int:
        """Products taken so far."""
        return self._rows.k

    @property
    def rows(self) -> Array:
        """A copy of V, shape (k, n)."""
        return self._rows.all()

    @property
    def images(self) -> Array:
        """A copy of W, shape (k, n)."""
        return self._images.all()

    def vectors(self) -> tuple[list[Array], list[Array]]:
        """Return the rows and their images, one by one."""
        return [self._rows[i] for i in range(self.k)], [self._images[i] for i in range(self.k)]

    @property
    def along(self) -> FloatArray:
        """``V g``, shape (k,); of conjugate rows their curvatures."""
        return self._along[: self.k]

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
        self._enter(v, w)
        return True

    def _enter(self, v: Array, w: Array) -> None:
        """Append a row and its image, and form what they add to the projections."""
        k = self.k
        v, w = self._rows.append(v), self._images.append(w)
        column = self._rows.products(w)
        self._small[k, : k + 1] = self._small[: k + 1, k] = column
        self._along[k] = inner(v, self.g)
        self.sizable = max(self.sizable, abs(column.item(k)))

    def take(self, v: Array) -> tuple[Array, float] | None:
        """Take the product w with a unit vector as it is; return w and v'w.

        None, with `invalid` set, when it is not finite.
        """
        w = self.product(v)
        curvature = inner(v, w)
        if not math.isfinite(curvature):
            self.invalid = True
            return None
        self._along[self.k] = curvature
        self._rows.append(v)
        self.orthonormal = False
        self.sizable = max(self.sizable, abs(curvature))
        return self._images.append(w), curvature

    def conjugate(self, v: Array) -> Array:
        """Make `v` conjugate to all rows that were taken as they were, in place."""
        v -= self._rows.combine(self._images.products(v) / self.along)
        return v

    def keep(self, most: int) -> None:
        """Forget conjugate directions but for the first ones."""
        if not self.orthonormal:
            self._rows.k = self._images.k = min(self.k, most)

    def orthonormalise(self) -> None:
        """Turn rows taken as they were into an orthonormal basis of their span, for no product."""
        if self.orthonormal:
            return
        count, self.orthonormal = self.k, True
        if self._orthonormalise_block():
            return
        self._rows.k = self._images.k = 0
        self.sizable = 0.0
        for i in range(count):
            v, w = 1.0 * self._rows[i], 1.0 * self._images[i]
            least = self._least
            for _ in range(3 if self.k else 0):
                h = self._rows.products(v)
                v -= self._rows.combine(h)
                w -= self._images.combine(h)
                size = norm(v)
                if size < least:
                    break
                v /= size
                w /= size
                if size > 0.5:
                    break
                least = 0.1
            else:
                size = 1.0
            if self.k and size < least:
                continue  # what is left of it is rounding
            self._enter(v, w)

    def _orthonormalise_block(self) -> bool:
        """Do that by the Cholesky factor of V V'; False where the rows are not in one block.

        False, too, where they are so close to dependent that digits would be lost.
        """
        rows, images = self._rows.block(), self._images.block()
        if rows is None or images is None:
            return False
        k, xp = self.k, namespace_of(rows)
        factor, failed = dpotrf(products(rows, xp.matrix_transpose(rows)), lower=1)
        if failed or not factor.diagonal().min() > CLOSE:
            return False
        inverse, _ = dtrtri(factor, lower=1)
        across = inverse.dot(products(rows, xp.matrix_transpose(images))).dot(inverse.T)
        self._along[:k] = inverse.dot(products(rows, self.g))
        self._small[:k, :k] = 0.5 * (across + across.T)
        self.sizable = float(np.abs(across.diagonal()).max())
        weights = from_host(inverse, rows)
        n = int(rows.shape[1])
        for i in range(0, n, COLUMNS):  # no second copy is held
            for whole in (rows, images):
                part = whole[:, i : min(i + COLUMNS, n)]
                part[...] = xp.matmul(weights, part)
        return True

    def _orthogonal(self, v: Array) -> Array | None:
        """Return the unit vector along what the rows lack of `v`, or None."""
        size = norm(v)
        if not 0.0 < size < math.inf:
            return None
        v = v / size
        least = self._least
        for _ in range(3 if self.k else 0):
            v -= self._rows.combine(self._rows.products(v))
            size = norm(v)
            if size < least:
                return None  # what is left of it is rounding
            v /= size
            if size > 0.5:
                break
            least = 0.1
        return v

    def matrix(self) -> FloatArray:
        """Return ``V H V'``, shape (k, k)."""
        return self._small[: self.k, : self.k]

    def project(self, v: Array) -> FloatArray:
        """Return ``V v``, shape (k,)."""
        return self._rows.products(v)

    def combine(self, weights: FloatArray) -> Array:
        """Return ``V' weights`` for weights of shape (k,)."""
        return self._rows.combine(weights)

    def image(self, weights: FloatArray) -> Array:
        """Return ``H V' weights``, for no product."""
        return self._images.combine(weights)
