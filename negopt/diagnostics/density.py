"""The density of a Hessian's eigenvalues, by stochastic Lanczos quadrature."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from negopt.algebra.eigen import symmetric_eigen
from negopt.algebra.krylov import LanczosBasis
from negopt.core.arrays import Array, FloatArray, to_host
from negopt.core.options import check_integer, check_number
from negopt.core.randomness import Seed, generator
from negopt.diagnostics.derivatives import CountedProducts, Hessian, random_direction, unit

__all__ = ["Spectrum", "spectrum"]

#: Up to this n all eigenvalues are computed, when that costs no more products.
DENSE = 2000


@dataclass(frozen=True, slots=True)
class Spectrum:
    """How the eigenvalues of a Hessian are distributed.

    The distribution is ``sum_i weights[i] delta(nodes[i])``, of total mass 1; times n it
    counts eigenvalues.

    Attributes
    ----------
    nodes, weights : ndarray, shape (K,), float64
        Ritz values of all probes, ascending, and their shares.
    residuals : ndarray, shape (K,), float64
        ``||H y - theta y||`` of each Ritz pair: an eigenvalue lies within it of the node.
    probe : ndarray, shape (K,), int
        The probe that a node comes from.
    n : int
        Number of eigenvalues.
    n_probes, n_steps : int
        Probes, and most products of each.
    products : int
        Hessian products used.
    exact : bool
        The nodes are the eigenvalues themselves, each with weight 1/n.
    min, max : float
        Lowest and highest Ritz value: inside the spectrum, an estimate of its ends.
    """

    nodes: FloatArray = field(repr=False)
    weights: FloatArray = field(repr=False)
    residuals: FloatArray = field(repr=False)
    probe: npt.NDArray[np.int64] = field(repr=False)
    n: int
    n_probes: int
    n_steps: int
    products: int
    exact: bool
    min: float
    max: float

    def density(self, grid: npt.ArrayLike, width: float | None = None) -> FloatArray:
        """Return the density at the points of `grid`, shape (m,); it integrates to 1.

        It is smoothed by Gaussians of standard deviation `width`, by default `default_width`.
        """
        t = np.asarray(grid, dtype=np.float64)
        width = self.default_width if width is None else width
        check_number("width", width, open_low=True, open_high=True)
        out = np.zeros_like(t)
        for node, weight in zip(self.nodes, self.weights, strict=True):  # no more memory than `t`
            out += weight * np.exp(-0.5 * ((t - node) / width) ** 2)
        return out / (width * math.sqrt(2.0 * math.pi))

    @property
    def default_width(self) -> float:
        """What a Lanczos space of `n_steps` can resolve: the range over the steps."""
        spread = self.max - self.min
        scale = spread if spread > 0.0 else max(abs(self.max), 1.0)
        return scale / self.n_steps

    def below(self, value: float) -> tuple[float, float]:
        """Return the share of eigenvalues below `value`, and its error.

        The mass of a node is spread around it by its residual.  The error is the standard error
        plus all mass that may lie on either side of `value`: it is large where many
        eigenvalues lie closer to `value` than the quadrature resolves.
        """
        if self.exact:
            return float(np.mean(self.nodes < value)), 0.0
        from scipy.special import ndtr

        apart = value - self.nodes
        spread = self.residuals > 0.0
        with np.errstate(over="ignore"):
            part = ndtr(apart / np.where(spread, self.residuals, 1.0))
        part = np.where(spread, part, apart > 0.0)
        share, error = self._mean(part)
        unsure = float(np.sum(self.weights * np.minimum(part, 1.0 - part)))
        return share, (0.0 if math.isnan(error) else error) + unsure

    def moment(self, power: int) -> tuple[float, float]:
        """Return an estimate of ``trace(H^power)``, and its standard error.

        It is exact in expectation for powers from 0 up to ``2 n_steps - 1``.
        """
        check_integer("power", power, 0)
        mean, error = self._mean(self.nodes**power)
        return self.n * mean, self.n * error

    @property
    def trace(self) -> tuple[float, float]:
        """Estimate of ``trace(H)``, the sum of the eigenvalues, and its standard error."""
        return self.moment(1)

    @property
    def frobenius(self) -> tuple[float, float]:
        """Estimate of ``||H||_F``, and its standard error; its square is exact in expectation."""
        square, error = self.moment(2)
        root = math.sqrt(max(square, 0.0))
        return root, 0.5 * error / root if root > 0.0 else 0.0

    def _mean(self, values: FloatArray) -> tuple[float, float]:
        """Return the weighted mean of a function of the nodes, and its standard error."""
        parts = np.bincount(self.probe, self.weights * values, self.n_probes) * self.n_probes
        if self.exact:
            return float(np.sum(self.weights * values)), 0.0
        mean = float(np.mean(parts))
        if self.n_probes == 1:
            return mean, math.nan
        return mean, float(np.std(parts, ddof=1)) / math.sqrt(self.n_probes)


def spectrum(
    hessp: Hessian,
    x: Array,
    *,
    args: tuple[object, ...] = (),
    jac: Callable[..., Array] | None = None,
    rng: Seed = 0,
    n_probes: int = 10,
    n_steps: int = 80,
) -> Spectrum:
    """Estimate the density of all eigenvalues of a Hessian from a few hundred products.

    Parameters
    ----------
    hessp : callable, object, matrix or None
        As for `negopt.leftmost_eigenpairs`.
    x : array_like, shape (n,)
        The point.
    args, jac : tuple, callable, optional
        As for `negopt.leftmost_eigenpairs`.
    rng : int or numpy Generator, default 0
        Source of the probes (SPEC 7): the same seed, the same result.
    n_probes : int, default 10
        Random vectors; a standard error falls as ``1 / sqrt(n_probes)``.  Ghorbani et
        al. found 10 enough for networks.
    n_steps : int, default 80
        Products of each, and vectors held; details narrower than about
        ``(max - min) / n_steps`` are not seen, but at the ends of the spectrum they are.

    Returns
    -------
    Spectrum
        With ``nodes``, ``weights``, ``density(grid, width)``, ``min``, ``max``, ``trace``,
        ``frobenius``, ``below(value)``; `negopt.plot.spectrum` draws it.

    Raises
    ------
    ValueError
        An argument out of range, or a product that is not finite.

    Notes
    -----
    1. Each probe v is uniform on the unit sphere, so that ``E[v'f(H)v] = trace(f(H)) / n``.
    2. A Lanczos space from v with two-pass reorthogonalisation gives a tridiagonal T; its
       eigenvalues are the nodes theta, the squared first entries of its eigenvectors the
       weights: Gauss quadrature, ``v'f(H)v = sum_i w_i f(theta_i)`` for every polynomial
       f of degree at most ``2 n_steps - 1``.
    3. Sums are averaged over the probes; their spread gives the standard errors.

    Up to n = 2000, when ``n <= n_probes n_steps``, n products give the matrix itself; then
    nothing is random, ``exact`` is True and the standard errors are 0.

    **Guarantee**: moments are those of H in expectation, all nodes lie between the lowest
    and the highest eigenvalue to rounding, and an eigenvalue lies within its residual of
    each (``tests/diagnostics/test_density.py``).

    References
    ----------
    Lin, Saad and Yang (2016), Approximating spectral densities of large matrices, SIAM
    Review 58, 34-65, doi:10.1137/130934283.
    Ghorbani, Krishnan and Xiao (2019), An investigation into neural net optimization via
    Hessian eigenvalue density, ICML, arXiv:1901.10159.

    Examples
    --------
    >>> import numpy as np
    >>> from negopt import spectrum
    >>> s = spectrum(np.diag([-1.0, 2.0, 5.0]), np.zeros(3))
    >>> s.exact, round(s.min, 6), round(s.trace[0], 6), round(s.below(0.0)[0], 3)
    (True, -1.0, 6.0, 0.333)
    """
    check_integer("n_probes", n_probes)
    check_integer("n_steps", n_steps)
    product = CountedProducts(hessp, x, args, jac)
    random = generator(rng)
    exact = product.n <= min(DENSE, n_probes * n_steps)
    columns = _eigenvalues(product) if exact else _quadrature(product, random, n_probes, n_steps)
    nodes, weights, residuals, probe = columns
    return Spectrum(
        nodes=nodes,
        weights=weights,
        residuals=residuals,
        probe=probe.astype(np.int64),
        n=product.n,
        n_probes=n_probes,
        n_steps=n_steps,
        products=product.count,
        exact=exact,
        min=float(nodes[0]),
        max=float(nodes[-1]),
    )


def _eigenvalues(product: CountedProducts) -> list[FloatArray]:
    """Return all eigenvalues, with shares, residuals and probes as of a quadrature."""
    n = product.n
    matrix = np.stack([to_host(product(unit(product.x, i))) for i in range(n)])
    values, _ = symmetric_eigen(0.5 * (matrix + matrix.T))
    return [values, np.full(n, 1.0 / n), np.zeros(n), np.zeros(n)]


def _quadrature(
    product: CountedProducts, rng: Generator, n_probes: int, n_steps: int
) -> list[FloatArray]:
    """Return the Ritz values of all probes, their shares, their residuals and their probes."""
    parts = []
    for i in range(n_probes):
        basis = LanczosBasis(product, random_direction(product.x, rng), n_steps)
        while basis.grow():
            pass
        values, vectors = symmetric_eigen(basis.matrix())
        # The residual of a Ritz pair is the next beta times its last entry.
        residuals = basis.beta[-1] * np.abs(vectors[-1])
        share = vectors[0] ** 2 / n_probes
        parts.append([values, share, residuals, np.full(values.shape[0], i)])
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.argsort(columns[0], kind="stable")
    return [column[order] for column in columns]
