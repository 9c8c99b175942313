"""``res.hess`` and ``res.hess_inv``: the Hessian as the run leaves it, as linear operators."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn, Protocol, Self

import numpy as np
from scipy.sparse.linalg import LinearOperator

from negopt.algebra.eigen import eigen_of
from negopt.core.arrays import Array, convert_like, device_of, namespace_of
from negopt.core.protocols import AnyCurvature, Products
from negopt.core.types import Iterate, State
from negopt.functions.objective import Objective
from negopt.methods import Method

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult


class ModelOperator(Products, Protocol):
    """What a run's operator offers: see `negopt.core.method.Method.keeps`."""

    def solve(self, v: Array) -> Array:
        """Return ``B^-1 v``."""


class Model:
    """A run's model of the Hessian, built from its memory when it is first used.

    Parameters
    ----------
    rule : Curvature
    memory : object
        The state's; never changed.
    point : Iterate
    """

    def __init__(self, rule: AnyCurvature, memory: object, point: Iterate) -> None:
        self.rule, self.memory, self.point = rule, memory, point
        self._operator: ModelOperator | None = None
        self._eigen: tuple[Array, Array] | None = None

    @property
    def operator(self) -> ModelOperator:
        """The curvature's operator at the point."""
        if self._operator is None:
            self._operator = self.rule.model(copy.copy(self.memory), _UNASKED, self.point)
        return self._operator

    def matvec(self, v: Array) -> Array:
        """Return ``B v``."""
        return self.operator.matvec(v)

    def solve(self, v: Array) -> Array:
        """Return ``B^-1 v``."""
        return self.operator.solve(v)

    def inverse_matrix(self) -> Array | None:
        """Return a copy of the dense inverse, None where it is not kept as a matrix."""
        found = getattr(self.operator, "matrix", _NO_MATRIX)  # N.B. a property: asked once
        if found is _NO_MATRIX:
            return None
        if found is not None:
            return found
        return namespace_of(self.point.x).stack([self.solve(e) for e in _units(self.point.x)])

    def matvec_by_inverse(self, v: Array) -> Array:
        """Return ``B v`` where B is known as the inverse of a matrix, by its eigenvalues."""
        xp = namespace_of(v)
        if self._eigen is None:
            values, vectors = eigen_of(self.inverse_matrix())
            size = xp.abs(values)
            least = xp.finfo(values.dtype).eps * xp.max(size)
            size = xp.where(size > least, size, xp.ones_like(size) * least)
            self._eigen = xp.where(values < 0.0, -size, size), vectors
        values, vectors = self._eigen
        return vectors @ ((xp.matrix_transpose(vectors) @ v) / values)

    def __reduce__(self) -> tuple[type[Model], tuple[AnyCurvature, object, Iterate]]:
        return Model, (self.rule, self.memory, self.point)


_NO_MATRIX = object()


class _Unasked:
    """The objective of a model from pairs, which asks for none of its derivatives."""

    def products(self, iterate: Iterate) -> NoReturn:
        """Refuse."""
        raise AssertionError("a model from pairs takes no products")

    hessian = products


_UNASKED = _Unasked()


class HessianProducts:
    """The Hessian itself at the point, through the user's functions.

    Parameters
    ----------
    objective : Objective or None
        None once it was pickled: functions are not data.
    point : Iterate
    """

    def __init__(self, objective: Objective | None, point: Iterate) -> None:
        self.objective, self.point = objective, point

    def matvec(self, v: Array) -> Array:
        """Return ``H v``."""
        if self.objective is None:
            raise RuntimeError(
                "this Hessian was pickled, and the functions that give its products were not; "
                "take products at res.x with your own function."
            )
        return self.objective.products(self.point)(v)

    def __reduce__(self) -> tuple[type[HessianProducts], tuple[None, Iterate]]:
        return HessianProducts, (None, self.point)


def _units(like: Array) -> list[Array]:
    xp = namespace_of(like)
    eye = xp.eye(like.shape[0], dtype=like.dtype, device=device_of(like))
    return [eye[i, :] for i in range(like.shape[0])]


class _Symmetric:
    """What both kinds of operator share."""

    def __init__(
        self, apply: Callable[[Array], Array], like: Array, kind: str, source: str, name: str
    ) -> None:
        self.shape, self.dtype = (int(like.shape[0]),) * 2, like.dtype
        self._apply, self._like = apply, like
        self.kind, self.source, self._name = kind, source, name

    def _column(self, v: Array) -> Array:
        v = convert_like(v, self._like, "v")
        if v.shape != self._like.shape:  # (n, 1) is a column too
            v = namespace_of(v).reshape(v, self._like.shape)
        return self._apply(v)

    def toarray(self) -> Array:
        """Return the matrix, shape (n, n), made symmetric: n products."""
        xp = namespace_of(self._like)
        matrix = xp.stack([self._apply(e) for e in _units(self._like)])
        return 0.5 * (matrix + xp.matrix_transpose(matrix))

    todense = toarray

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self  # nothing in it changes

    def __repr__(self) -> str:
        """Return shape, kind and source: a result prints its fields."""
        n = self._like.shape[0]
        return f"<{n}x{n} {self._name}, {self.kind} ({self.source})>"


class HessianOperator(_Symmetric, LinearOperator):  # type: ignore[misc] # SciPy is not typed
    """A symmetric ``scipy.sparse.linalg.LinearOperator`` on NumPy vectors.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
    kind : {"model", "exact", "differences"}
        A quasi-Newton model that the run has built, which may be indefinite and need not
        resemble the Hessian; the Hessian by the user's second derivatives; or by
        differences of the gradient.
    source : str
        The method, or the argument, that it comes from.
    """

    def _matvec(self, v: Array) -> Array:
        return self._column(v)

    _rmatvec = _matvec

    def _adjoint(self) -> Self:
        return self

    _transpose = _adjoint


class ArrayHessian(_Symmetric):
    """The same on vectors of another array library, which stay on their device.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype of the library
    kind, source : str
        As in `HessianOperator`.
    """

    def matvec(self, v: Array) -> Array:
        """Return the product with a vector, shape (n,)."""
        return self._column(v)

    def matmat(self, vectors: Array) -> Array:
        """Return the products with the columns of a matrix, shape (n, k)."""
        columns = [self._column(vectors[:, i]) for i in range(vectors.shape[1])]
        return namespace_of(self._like).stack(columns, axis=1)

    def dot(self, v: Array) -> Array:
        """Return the product with a vector or a matrix."""
        return self.matmat(v) if v.ndim == 2 else self.matvec(v)

    __call__ = __matmul__ = dot
    rmatvec, rmatmat = matvec, matmat

    @property
    def T(self) -> ArrayHessian:
        """The transpose: a symmetric operator is its own."""
        return self

    H = T


def attach(
    result: OptimizeResult, method: Method, state: State, point: Iterate, objective: Objective
) -> None:
    """Give `result` its ``hess``, and ``hess_inv`` where the method has an inverse.

    Nothing is computed before it is used, but for the copy of a dense inverse.
    """
    make = HessianOperator if isinstance(point.x, np.ndarray) else ArrayHessian
    if method.needs == "hessp":
        kind = "differences" if objective.product_source.startswith("differences") else "model"
        kind = "exact" if objective.exact_products else kind
        products = HessianProducts(objective.unlimited(), point)
        result.hess = make(products.matvec, point.x, kind, objective.product_source, "Hessian")
        return
    if method.keeps is None:
        return
    model, told = Model(method.curvature, state.memory, point), ("model", method.name)
    result.hess_inv = model.inverse_matrix() if method.keeps == "H" else None
    matvec = model.matvec if result.hess_inv is None else model.matvec_by_inverse
    if method.keeps == "B" or result.hess_inv is not None:
        result.hess = make(matvec, point.x, *told, "Hessian")
    if result.hess_inv is None:
        result.hess_inv = make(model.solve, point.x, *told, "inverse Hessian")
