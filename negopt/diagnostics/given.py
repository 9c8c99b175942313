"""The functions that are checked, called without mercy: far steps, twice at one point."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from negopt._array import Array, as_vector, convert_like, namespace_of, scalars
from negopt._given import checked_value

__all__ = ["Fault", "Given"]


class Fault(Exception):
    """What a function returned cannot be used at all; the check ends with this message."""


class Given:
    """A function with the derivatives that the caller claims for it.

    Parameters
    ----------
    fun, jac, hessp, hess, args : object
        As in `negopt.check_derivatives`.
    x0 : array_like, shape (n,)

    Attributes
    ----------
    x : array, shape (n,)
    nfev, njev, nhev : int
        Calls so far.
    gradient, product, matrix_product : callable or None
        None where nothing is claimed.
    """

    def __init__(self, fun: Any, jac: Any, hessp: Any, hess: Any, args: Any, x0: Any) -> None:
        self.x = as_vector(x0)
        self.n = int(self.x.shape[0])
        self.args = args if isinstance(args, tuple) else (args,)
        self.nfev = self.njev = self.nhev = 0
        self._last: tuple[Any, Any] = (None, None)
        is_object = hasattr(fun, "fun") and hasattr(fun, "grad")
        self._fun = fun.fun if is_object else fun
        if not callable(self._fun):
            raise TypeError(
                f"fun={fun!r} is neither callable nor an object with methods fun and grad."
            )
        self._both = jac is True
        if jac is None and is_object:
            jac = fun.grad
        for name, value in (("jac", jac), ("hessp", hessp), ("hess", hess)):
            if value is not None and not callable(value) and not (name == "jac" and self._both):
                raise TypeError(
                    f"{name}={value!r}: give a callable, or None"
                    + (" (or True, when fun returns both)." if name == "jac" else ".")
                )
        self._jac, self._hessp, self._hess = jac, hessp, hess
        self._linear = fun.hessp if is_object and hessp is None and hasattr(fun, "hessp") else None
        self._made: Any = None
        self._matrix: Any = None
        self.gradient: Callable[[Array], Array] | None = None if jac is None else self._gradient
        self.product: Callable[[Array], Array] | None = None
        self.matrix_product: Callable[[Array], Array] | None = None
        if hessp is not None or self._linear is not None:
            self.product = self._product
        if hess is not None:
            self.matrix_product = self._matrix_product
            self.product = self.product or self._matrix_product
        #: What messages call the source of the products.
        self.hess_only = self.product is not None and self.product == self.matrix_product
        self.product_name = "hess" if self.hess_only else "hessp"

    def value(self, x: Array) -> float:
        """Return f; nan where the function raised an arithmetic error away from x0."""
        self.nfev += 1
        value: float = self._away(x, lambda: self._as_value(self._call(x)), math.nan)
        return value

    def _call(self, x: Array) -> Any:
        """Return what `fun` says: the value, or its part of the pair, which is kept."""
        if not self._both:
            return self._fun(self._copy(x), *self.args)
        pair = self._fun(self._copy(x), *self.args)
        try:
            value, g = pair
        except (TypeError, ValueError):
            raise Fault(
                "with jac=True fun must return the pair (value, gradient); "
                f"it returned {type(pair).__name__}"
            ) from None
        self._last = (x, g)
        return value

    def _gradient(self, x: Array) -> Array:
        self.njev += 1

        def call() -> Array:
            if not self._both:
                return self._as_vector(self._jac(self._copy(x), *self.args), "jac")
            if self._last[0] is not x:
                self._call(x)
            g, self._last = self._last[1], (None, None)  # asked again, it is computed again
            return self._as_vector(g, "fun (jac=True)")

        return self._away(x, call, namespace_of(x).full_like(x, math.nan))

    def _product(self, p: Array) -> Array:
        """Return what is claimed for ``H(x0) p``."""
        self.nhev += 1
        if self._linear is not None:
            if self._made is None:
                self._made = self._linear(self._copy(self.x), *self.args)
            return self._as_vector(self._made(self._copy(p)), "hessp")
        return self._as_vector(self._hessp(self._copy(self.x), self._copy(p), *self.args), "hessp")

    def _matrix_product(self, p: Array) -> Array:
        """Return ``hess(x0) @ p``."""
        if self._matrix is None:
            self.nhev += 1
            h = self._hess(self._copy(self.x), *self.args)
            if not hasattr(h, "shape"):
                h = self._converted(h, "hess")
            if tuple(h.shape) != (self.n, self.n):
                raise Fault(
                    f"hess returned shape {tuple(h.shape)}; it must be ({self.n}, {self.n})"
                )
            self._matrix = h
        return self._as_vector(self._matrix @ p, "hess")

    def _away(self, x: Array, call: Callable[[], Any], missing: Any) -> Any:
        """Call; what a step of ours outside the domain raises is a missing value."""
        if x is self.x:
            return call()
        try:
            return call()
        except (ArithmeticError, ValueError):
            return missing

    def _copy(self, x: Array) -> Array:
        return namespace_of(x).asarray(x, copy=True)

    def _as_value(self, value: Any) -> float:
        try:
            return scalars(checked_value(value))[0]
        except (TypeError, ValueError) as error:
            raise Fault(str(error).rstrip(".")) from None

    def _converted(self, value: Any, name: str) -> Array:
        try:
            return convert_like(value, self.x, name)
        except (TypeError, ValueError) as error:
            raise Fault(str(error).rstrip(".")) from None

    def _as_vector(self, value: Any, name: str) -> Array:
        v = self._converted(value, name)
        if v.shape != self.x.shape:
            if math.prod(v.shape) != self.n:
                raise Fault(
                    f"{name} returned shape {tuple(v.shape)}; it must return {self.n} entries, "
                    f"the shape of x0 {tuple(self.x.shape)}"
                )
            v = namespace_of(v).reshape(v, (self.n,))
        return v
