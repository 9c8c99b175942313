"""The lowest eigenvalues of a Hessian and their vectors, from products alone."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from negopt.algebra.eigen import symmetric_eigen
from negopt.core.arrays import (
    Array,
    FloatArray,
    device_of,
    eps_of,
    float64_rows_dot,
    from_host,
    namespace_of,
    norm,
)
from negopt.core.options import check_integer, check_number
from negopt.core.randomness import Seed, generator
from negopt.diagnostics.derivatives import CountedProducts, Hessian, random_direction

__all__ = ["Eigenpairs", "leftmost_eigenpairs"]

#: Up to this n the basis may fill the whole space, and is never compressed.
WHOLE = 256
#: Fewest products of a probe that ends without having found a new pair.
SETTLE = 10


@dataclass(frozen=True, slots=True)
class Eigenpairs:
    """The lowest eigenvalues that the products have shown, and their vectors.

    Attributes
    ----------
    values : ndarray, shape (k,), float64
        Rayleigh quotients, ascending.
    vectors : array, shape (k, n)
        Orthonormal rows, in the library and type of `x`.
    residuals : ndarray, shape (k,)
        ``||H v - value v||``; an eigenvalue of H lies within it of each value.
    products : int
        Hessian products used.
    converged : bool
        Whether every residual is at most ``tol`` times `scale`.
    scale : float
        Largest absolute Rayleigh quotient met, an estimate of ``||H||`` from below.
    """

    values: FloatArray
    vectors: Array = field(repr=False)
    residuals: FloatArray
    products: int
    converged: bool
    scale: float


def leftmost_eigenpairs(
    hessp: Hessian,
    x: Array,
    k: int = 1,
    *,
    args: tuple[object, ...] = (),
    jac: Callable[..., Array] | None = None,
    rng: Seed = 0,
    tol: float = 1e-8,
    max_products: int = 1000,
    max_basis: int | None = None,
    probes: int = 1,
    precondition: Callable[[Array], Array] | Array | None = None,
) -> Eigenpairs:
    """Compute the k lowest (most negative) eigenvalues of a Hessian and their vectors.

    Parameters
    ----------
    hessp : callable, object, matrix or None
        ``hessp(x, p, *args) -> (n,)``; or an objective object with ``fun`` and ``grad``,
        whose ``hessp`` is used if it has one; or a symmetric matrix, sparse matrix or
        LinearOperator (such as ``res.hess``); or None with `jac`.
    x : array_like, shape (n,)
        The point.  Its library, device and type are those of the vectors.
    k : int, default 1
        How many pairs, at most n.
    args : tuple, optional
        Extra arguments of `hessp` and `jac`.
    jac : callable, optional
        ``jac(x, *args) -> (n,)``: with ``hessp=None`` a product is a central difference of
        two gradients.
    rng : int or numpy Generator, default 0
        Source of the random vectors (SPEC 7).
    tol : float, default 1e-8
        Bound on a residual, as a share of the largest eigenvalue met.  It is not taken
        below the accuracy of the products (20 eps; 10 eps^(2/3) for differences).
    max_products : int, default 1000
        Most Hessian products, at least `k`.
    max_basis : int, optional
        Vectors held, twice (with their products).  By default the larger of 40 and
        ``2 k + 20``; all n up to n = 256.
    probes : int, default 1
        Random vectors that are added, once all residuals are small, to find further copies of
        a multiple eigenvalue.  0 for none.
    precondition : callable, matrix or LinearOperator, optional
        ``v -> M v`` with M symmetric and close to ``(H - theta I)^-1`` at the low end, or to
        ``|H|^-1``.  A good one saves most products, a poor one none.

    Returns
    -------
    Eigenpairs
        With ``values``, ``vectors``, ``residuals``, ``products``, ``converged``.

    Raises
    ------
    ValueError
        An argument out of range, a matrix of the wrong shape, a product that is not
        finite.

    Notes
    -----
    1. The space V grows by ``H v`` of its last vector, orthogonalised twice, which is the
       Lanczos method; with `precondition`, by ``M r`` of the lowest residual above the
       bound (Davidson).
    2. Eigenvalues of ``V H V'`` are the Ritz values theta; ``r = H y - theta y``.
    3. A full basis is compressed to its lowest Ritz vectors (thick restart).
    4. Once ``||r_i|| <= tol max|theta|`` for all i <= k, all but these k vectors are
       dropped and a random one is added.  The Ritz value above the k then comes from the
       complement: when it falls among the k, there was a further copy, and the search
       continues; it ends when that value has settled above them.

    Memory is bounded by ``2 max_basis`` vectors whatever `max_products` is.

    **Guarantee**: values are Rayleigh quotients, hence never below the true ones beyond
    rounding, and each has an eigenvalue within its residual; when the basis may fill the
    space they agree with a dense eigendecomposition
    (``tests/diagnostics/test_eigenpairs.py``).  That none lower exists cannot be proved
    from fewer than n products: it holds with a probability that `probes` raises.

    References
    ----------
    Wu and Simon (2000), Thick-restart Lanczos method for large symmetric eigenvalue
    problems, SIAM Journal on Matrix Analysis and Applications 22, 602-616,
    doi:10.1137/S0895479898334605.
    Davidson (1975), Journal of Computational Physics 17, 87-94,
    doi:10.1016/0021-9991(75)90065-0.

    Examples
    --------
    >>> import numpy as np
    >>> from negopt import leftmost_eigenpairs
    >>> pairs = leftmost_eigenpairs(lambda x, p: np.array([2.0, -1.0, 5.0]) * p, np.zeros(3))
    >>> np.round(pairs.values, 6), np.round(np.abs(pairs.vectors), 6)
    (array([-1.]), array([[0., 1., 0.]]))
    """
    product = CountedProducts(hessp, x, args, jac)
    n = product.n
    check_integer("k", k)
    if k > n:
        raise ValueError(f"k={k}: x has n = {n} entries, and so many eigenvalues.")
    check_number("tol", tol)
    check_integer("max_products", max_products, k)
    check_integer("probes", probes, 0)
    if max_basis is None:
        max_basis = WHOLE if n <= WHOLE else max(40, 2 * k + 20)
    check_integer("max_basis", max_basis, min(n, k + 5))
    floor = 20.0 * eps_of(product.x) if product.noise <= eps_of(product.x) else 10.0 * product.noise
    tol, applied = max(tol, floor), _applied(precondition)
    search = _Search(product, generator(rng), k, tol, max_products, min(max_basis, n), applied)
    return search.run(probes)


def _applied(
    precondition: Callable[[Array], Array] | Array | None,
) -> Callable[[Array], Array] | None:
    """Return the preconditioner as a function; a matrix or operator acts by ``@``."""
    if hasattr(precondition, "shape"):  # N.B. SciPy's operators are callable too
        return lambda v: precondition @ v
    if precondition is None or callable(precondition):
        return precondition
    raise TypeError(f"precondition={precondition!r}: use a callable, a matrix or None.")


@dataclass(eq=False)
class _Search:
    """The subspace: orthonormal rows, their images, and the projection of H."""

    product: CountedProducts
    rng: Generator
    k: int
    tol: float
    max_products: int
    capacity: int
    precondition: Callable[[Array], Array] | None

    def __post_init__(self) -> None:
        like, self.n = self.product.x, self.product.n
        xp, shape = namespace_of(like), (self.capacity, self.n)
        self.rows = xp.zeros(shape, dtype=like.dtype, device=device_of(like))
        self.images = xp.zeros_like(self.rows)
        self.matrix = np.zeros((self.capacity, self.capacity))
        self.size = 0
        self.scale = 0.0
        self.values: FloatArray = np.zeros(0)
        self.residuals = self.values
        self.vectors: FloatArray = np.zeros((0, 0))

    def run(self, probes: int) -> Eigenpairs:
        """Search until all residuals are small and the probes have shown nothing new."""
        left = probes
        self._grow(lambda: self._small(self.k))
        while left > 0 and self.size < self.n and self._small(self.k):
            if self.product.count >= self.max_products:
                break
            known = self.values[: self.k].copy()
            self._compress(self.k)
            self._grow(functools.partial(self._settled, self.product.count))
            # A further copy: what had been the k-th is now above them.
            moved = np.abs(self.values[: self.k] - known) > 10.0 * self.tol * self.scale
            left = probes if bool(moved.any()) else left - 1
        return self._result()

    def _grow(self, done: Callable[[], bool]) -> None:
        """Add directions, beginning with a random one, until `done`."""
        wanted: Array | None = None
        check = self.size
        while True:
            self._add(wanted)
            full = self.size >= self.capacity
            last = self.product.count >= self.max_products or self.size == self.n
            if self.precondition is None and self.size <= check and not (full or last):
                wanted = self.images[self.size - 1, :]
                continue
            check = self.size + self.size // 8
            self._ritz()
            if last or done():
                return
            pair = self._first_above_bound()
            wanted = self._residual(pair)
            if full:
                self._compress(self.k + max(1, (self.capacity - self.k) // 3))
                check = self.size + 2
            if self.precondition is not None:
                wanted = self.precondition(wanted)

    def _add(self, wanted: Array | None) -> None:
        v = self._orthogonal(wanted)
        image = self.product(v)
        i = self.size
        self.rows[i, :] = v
        self.images[i, :] = image
        across = float64_rows_dot(self.rows[: i + 1, :], image)
        self.matrix[: i + 1, i] = self.matrix[i, : i + 1] = across
        self.size = i + 1

    def _orthogonal(self, wanted: Array | None) -> Array:
        """Return a unit vector orthogonal to the rows: from `wanted`, or a random one."""
        xp = namespace_of(self.rows)
        rows = self.rows[: self.size, :]
        enough = 1e3 * eps_of(self.rows)

        def projected(v: Array) -> Array:
            if not self.size:
                return v
            return v - xp.matmul(from_host(float64_rows_dot(rows, v), v), rows)

        while True:
            fresh = wanted is None
            v = random_direction(self.product.x, self.rng) if wanted is None else wanted
            length = norm(v)
            if fresh or 0.0 < length < math.inf:
                v = v / length
                for _ in range(2):  # the second pass tells what is left from rounding
                    v = projected(v)
                    length = norm(v)
                    if length <= enough:
                        break
                    v = v / length
                if length > 0.1 or (fresh and length > 0.0):  # of the second pass
                    v = projected(v)
                    return v / norm(v)
            wanted = None

    def _ritz(self) -> None:
        self.values, self.vectors = symmetric_eigen(self.matrix[: self.size, : self.size])
        self.scale = max(self.scale, float(np.max(np.abs(self.values))))
        count = min(self.size, self.k + 1)
        self.residuals = np.array([norm(self._residual(i)) for i in range(count)])

    def _residual(self, i: int) -> Array:
        xp = namespace_of(self.rows)
        weights = from_host(self.vectors[:, i], self.rows)
        image = xp.matmul(weights, self.images[: self.size, :])
        vector = xp.matmul(weights, self.rows[: self.size, :])
        return image - float(self.values[i]) * vector

    def _small(self, count: int) -> bool:
        enough = self.residuals.shape[0] >= count
        return enough and bool(np.all(self.residuals[:count] <= self.tol * self.scale))

    def _settled(self, begin: int) -> bool:
        """Tell whether the complement of the k pairs has shown its lowest value."""
        if not self._small(self.k) or self.residuals.shape[0] <= self.k:
            return False
        gap = float(self.values[self.k] - self.values[self.k - 1])
        residual = float(self.residuals[self.k])
        if residual <= self.tol * self.scale:
            return True
        return self.product.count - begin >= SETTLE and residual <= 0.1 * gap

    def _first_above_bound(self) -> int:
        above = np.flatnonzero(self.residuals > self.tol * self.scale)
        return int(above[0]) if above.size else self.residuals.shape[0] - 1

    def _compress(self, keep: int) -> None:
        """Replace the basis by its `keep` lowest Ritz vectors."""
        xp = namespace_of(self.rows)
        keep = min(keep, self.size)
        rotation = from_host(self.vectors[:, :keep].T, self.rows)
        self.rows[:keep, :] = xp.matmul(rotation, self.rows[: self.size, :])
        self.images[:keep, :] = xp.matmul(rotation, self.images[: self.size, :])
        self.matrix[:keep, :keep] = np.diag(self.values[:keep])
        self.size = keep
        self.values, self.vectors = self.values[:keep], np.eye(keep)
        self.residuals = self.residuals[:keep]

    def _result(self) -> Eigenpairs:
        xp = namespace_of(self.rows)
        rotation = from_host(self.vectors[:, : self.k].T, self.rows)
        return Eigenpairs(
            values=self.values[: self.k].copy(),
            vectors=xp.matmul(rotation, self.rows[: self.size, :]),
            residuals=self.residuals[: self.k].copy(),
            products=self.product.count,
            converged=self._small(self.k),
            scale=self.scale,
        )
