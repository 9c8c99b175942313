"""How much of a Hessian's absolute mass lies on its diagonal."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from negopt.core.arrays import Array, namespace_of, scalars
from negopt.core.options import check_integer, check_number
from negopt.core.randomness import Seed, generator
from negopt.diagnostics.derivatives import CountedProducts, Hessian, unit

__all__ = ["DiagonalMass", "diagonal_mass"]


@dataclass(frozen=True, slots=True)
class DiagonalMass:
    """The share ``sum_i |H_ii| / sum_ij |H_ij|`` and what to compare it with.

    Attributes
    ----------
    value : float
        Between 0 and 1; 1 for a diagonal matrix, nan for a matrix of zeros.
    standard_error : float
        0 when all columns were seen; nan with a single sampled column.
    columns : int
        Columns seen, each one Hessian product.
    n : int
        Number of columns.
    """

    value: float
    standard_error: float
    columns: int
    n: int

    @property
    def exact(self) -> bool:
        """Whether all columns were seen."""
        return self.columns == self.n

    def wigner(self, ratio: float = 1.0) -> float:
        """Return ``1 / (1 + (n - 1) ratio)``, the share of a random symmetric matrix.

        `ratio` is the standard deviation of an entry off the diagonal over that of one on it:
        ``1 / sqrt(2)`` for the Gaussian orthogonal ensemble.
        """
        check_number("ratio", ratio, open_high=True)
        return 1.0 / (1.0 + (self.n - 1) * ratio)

    def least_squares(self, samples: int) -> float:
        """Return the share for least squares with as many residuals on random inputs.

        It is ``1 / (1 + (n - 1) sqrt(2 / (pi samples)))``, the limit for many samples of
        independent inputs with mean zero.
        """
        check_integer("samples", samples)
        return 1.0 / (1.0 + (self.n - 1) * math.sqrt(2.0 / (math.pi * samples)))


def diagonal_mass(
    hessp: Hessian,
    x: Array,
    *,
    args: tuple[object, ...] = (),
    jac: Callable[..., Array] | None = None,
    rng: Seed = 0,
    max_products: int = 1000,
) -> DiagonalMass:
    """Measure how much of the Hessian's absolute mass lies on its diagonal.

    A share far above `DiagonalMass.wigner` says that scaling by the diagonal alone, as in
    the diagonal norms of a trust region, catches much of the Hessian.

    Parameters
    ----------
    hessp : callable, object, matrix or None
        As for `negopt.leftmost_eigenpairs`.
    x : array_like, shape (n,)
        The point.
    args, jac : tuple, callable, optional
        As for `negopt.leftmost_eigenpairs`.
    rng : int or numpy Generator, default 0
        Chooses the columns that are sampled (SPEC 7).
    max_products : int, default 1000
        Up to this n all columns are seen; above, so many are sampled.

    Returns
    -------
    DiagonalMass
        With ``value``, ``standard_error``, ``wigner()``, ``least_squares(samples)``.

    Raises
    ------
    ValueError
        An argument out of range, or a product that is not finite.

    Notes
    -----
    1. ``delta = sum_i |H_ii| / sum_ij |H_ij|``, the diagonal's share of the absolute mass.
    2. Column j, one product with a unit vector, gives ``a_j = |H_jj|`` and
       ``c_j = sum_i |H_ij|``; over a sample S without replacement
       ``delta = sum_S a_j / sum_S c_j``, with a bias of order ``1 / |S|``.
    3. Its variance is ``(1 - |S|/n) s^2 / (|S| mean(c)^2)``, s the standard deviation of
       ``a_j - delta c_j``.

    Two vectors of n entries are held, whatever the number of columns.

    **Guarantee**: exact when ``n <= max_products``; otherwise the truth lies within a few
    standard errors (``tests/diagnostics/test_mass.py``).

    References
    ----------
    Becker and Le Cun (1988), Improving the convergence of back-propagation learning with
    second order methods, Connectionist Models Summer School, 29-37.
    Adolphs, Kohler and Lucchi (2019), Ellipsoidal trust region methods and the marginal
    value of Hessian information for neural network training, arXiv:1905.09201.

    Examples
    --------
    >>> import numpy as np
    >>> from negopt import diagonal_mass
    >>> mass = diagonal_mass(np.array([[4.0, 1.0], [1.0, -2.0]]), np.zeros(2))
    >>> mass.value, mass.wigner()
    (0.75, 0.5)
    """
    check_integer("max_products", max_products)
    product = CountedProducts(hessp, x, args, jac)
    n = product.n
    chosen = np.arange(n)
    if n > max_products:
        chosen = np.sort(generator(rng).choice(n, max_products, replace=False))
    xp = namespace_of(product.x)
    diagonal, total = np.empty(chosen.shape[0]), np.empty(chosen.shape[0])
    for i, j in enumerate(chosen):
        column = xp.abs(product(unit(product.x, int(j))))
        diagonal[i], total[i] = scalars(column[int(j)], xp.sum(column, dtype=xp.float64))
    whole = float(np.sum(total))
    if whole == 0.0:
        return DiagonalMass(math.nan, math.nan, product.count, n)
    value, m = float(np.sum(diagonal)) / whole, chosen.shape[0]
    error = 0.0
    if m < n:
        spread = float(np.std(diagonal - value * total, ddof=1)) if m > 1 else math.nan
        error = math.sqrt((1.0 - m / n) / m) * spread / (whole / m)
    return DiagonalMass(value, error, product.count, n)
