"""A loss of nested parameters as an objective of one vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from negopt.core.arrays import Array, convert_like, copy_of
from negopt.neural._cache import LastPoint
from negopt.neural.flat import flatten

__all__ = ["FlatObjective"]

T = TypeVar("T")  # the user's tree of parameters


class FlatObjective(Generic[T]):
    """A loss of nested parameters as an objective of one flat vector.

    The solver sees vectors, the loss sees the caller's own tree (dicts, lists, tuples).

    Parameters
    ----------
    params : tree of arrays
        The starting point; see :func:`negopt.neural.flatten`.
    fun_and_grad : callable ``(params) -> (f, grads)``
        The loss (a number or a zero-dimensional array) and its gradient as a tree
        of the same structure.  The leaves it gets are views: it must not write.
    hessp : callable ``(params, direction) -> tree``, optional
        Product of the Hessian at `params` with the tree `direction`.  Only with it the object
        has the method ``hessp(x) -> (p -> H p)``.

    Attributes
    ----------
    x0 : array, shape (n,)
        `params` as one vector (a copy; torch's gradient recording is dropped).
    layout : Layout
        Names, shapes and offsets of the leaves.

    Notes
    -----
    `fun`, `grad` and `fun_and_grad` at the same point call the user's function
    once; the point is recognised by content.

    Examples
    --------
    >>> import numpy as np
    >>> from negopt.neural import FlatObjective
    >>> def loss(params):
    ...     w, b = params["w"], params["b"]
    ...     return 0.5 * (w @ w) + 0.5 * float(b) ** 2, {"w": w, "b": b}
    >>> objective = FlatObjective({"w": np.array([3.0, 4.0]), "b": np.array(0.0)}, loss)
    >>> float(objective.fun(objective.x0))
    12.5
    >>> hasattr(objective, "hessp")
    False
    """

    hessp: Callable[[Array], Callable[[Array], Array]]

    def __init__(
        self,
        params: T,
        fun_and_grad: Callable[[T], tuple[float | Array, T]],
        hessp: Callable[[T, T], T] | None = None,
    ) -> None:
        vector, self.layout = flatten(params)
        self.x0: Array = convert_like(vector, vector, "params")
        self._fun_and_grad = fun_and_grad
        self._last: LastPoint[tuple[float | Array, Array]] = LastPoint()
        if hessp is not None:
            self._tree_hessp = hessp
            self.hessp = self._hessp_at

    def unflatten(self, x: Array) -> T:
        """Return the parameters of the vector `x`, shape (n,), as a tree of views."""
        return self.layout.unflatten(x)

    def _at(self, x: Array) -> tuple[float | Array, Array]:
        found = self._last.find(x)
        if found is None:
            own = copy_of(x)
            f, grads = self._fun_and_grad(self.layout.unflatten(own))
            found = self._last.store(own, (f, self.layout.flatten(grads, what="gradient")))
        return found

    def fun(self, x: Array) -> float | Array:
        """Return the loss at `x`, shape (n,), as the user's function gave it."""
        return self._at(x)[0]

    def grad(self, x: Array) -> Array:
        """Return the gradient at `x` as a new vector of shape (n,)."""
        return copy_of(self._at(x)[1])

    def fun_and_grad(self, x: Array) -> tuple[float | Array, Array]:
        """Return the loss and the gradient, shape (n,), at `x`, shape (n,)."""
        f, g = self._at(x)
        return f, copy_of(g)

    def _hessp_at(self, x: Array) -> Callable[[Array], Array]:
        params = self.layout.unflatten(copy_of(x))

        def product(p: Array) -> Array:
            """Return the Hessian times `p`, shape (n,)."""
            tree = self._tree_hessp(params, self.layout.unflatten(p))
            return self.layout.flatten(tree, what="Hessian product")

        return product
