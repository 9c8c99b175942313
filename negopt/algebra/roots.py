"""Roots of a model: linear maps L with ``L L' = |B|^-1``, in whose variables B is the identity."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from negopt.algebra.eigen import eigen_of
from negopt.core.arrays import Array, eps_of, namespace_of, scalars
from negopt.core.protocols import Root

#: Products of H that have overflowed are refused where they come to; nobody is warned on the way.
quiet = np.errstate(over="ignore", invalid="ignore")
#: Sweeps of the equilibration; one is enough where no diagonal entry is close to zero.
SWEEPS = 3


class DiagonalRoot:
    """``L = diag(scale)``: every variable in a unit of its own.

    Parameters
    ----------
    scale : array, shape (n,)
        The units, positive.
    """

    def __init__(self, scale: Array) -> None:
        self.scale = scale

    def step(self, q: Array) -> Array:
        """Return ``L q``."""
        return self._scaled(q)

    def slope(self, v: Array) -> Array:
        """Return ``L' v``."""
        return self._scaled(v)

    def _scaled(self, v: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is no evidence
            return self.scale * v


class SymmetricRoot:
    """A root that is symmetric, ``|B|^(-1/2)``, given as a function.

    Parameters
    ----------
    apply : callable
        ``v -> |B|^(-1/2) v``.
    scale : float
        Length of a step along a variable of which B knows no more than of the others.
    """

    def __init__(self, apply: Callable[[Array], Array], scale: float) -> None:
        self.step = self.slope = apply
        self.scale = scale


class ScaledRoot:
    """The root ``diag(units) L`` of the model B of ``x / units``, L the root of B.

    Parameters
    ----------
    root : Root
        L.
    units : array, shape (n,)
        Positive.
    """

    def __init__(self, root: Root, units: Array) -> None:
        self.scale = root.scale * units
        self._root, self._units = root, units

    def step(self, q: Array) -> Array:
        """Return ``diag(units) L q``."""
        return self._units * self._root.step(q)

    def slope(self, v: Array) -> Array:
        """Return ``L' (units v)``."""
        return self._root.slope(self._units * v)


class DenseRoot:
    """The root of a matrix that is B, or its inverse, whatever the units of the variables.

    Parameters
    ----------
    matrix : array, shape (n, n)
        Symmetric and finite.
    inverse : bool
        Whether it is the inverse of B.
    units : array, shape (n,), optional
        The matrix is B for ``x / units``.

    Attributes
    ----------
    scale : array, shape (n,)
        S: what makes the diagonal of S B S (of ``S^-1 H S^-1``) one.

    Notes
    -----
    1. ``L = S |S B S|^(-1/2)``.  The absolute value is taken of the balanced matrix, since that of
       B itself depends on the units of the variables.
    2. Eigenvalues of the balanced matrix are kept above ``sqrt(eps)`` of the largest.
    3. Where a diagonal entry is zero, the largest entries of the rows are balanced too.

    **Guarantee**: for a positive diagonal D, the root of ``D^-1 B D^-1`` is ``D L``
    (``tests/test_roots.py``).
    """

    def __init__(self, matrix: Array, *, inverse: bool, units: Array | None = None) -> None:
        xp = namespace_of(matrix)
        balanced, scale = matrix, 1.0
        largest = xp.abs(xp.linalg.diagonal(matrix))
        for _ in range(SWEEPS):
            root = xp.sqrt(xp.where(largest > 0.0, largest, xp.ones_like(largest)))
            balanced = (balanced / root[:, None]) / root[None, :]
            scale = scale * root
            largest = xp.max(xp.abs(balanced), axis=1)
        values, vectors = eigen_of(balanced)
        size = xp.abs(values)
        least = eps_of(matrix) ** 0.5 * scalars(xp.max(size))[0] or 1.0  # of no curvature at all
        size = xp.sqrt(xp.where(size > least, size, xp.full_like(size, least)))
        self._root = (vectors * (size if inverse else 1.0 / size)) @ xp.matrix_transpose(vectors)
        self.scale = scale if inverse else 1.0 / scale
        if units is not None:
            self.scale = self.scale * units

    @quiet
    def step(self, q: Array) -> Array:
        """Return ``L q``."""
        return self.scale * (self._root @ q)

    @quiet
    def slope(self, v: Array) -> Array:
        """Return ``L' v``."""
        return self._root @ (self.scale * v)
