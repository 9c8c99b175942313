"""The functions that are checked, called at far steps too and twice at one point."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from negopt.core.arrays import Array, as_vector, copy_of, namespace_of, scalars
from negopt.functions.inputs import checked_pair, checked_value, matrix_like, vector_like

T = TypeVar("T")


class Fault(Exception):
    """What a function returned cannot be used at all; the check ends with this message."""


class Given:
    """A function with the derivatives that the caller of `negopt.check_derivatives` claims.

    `gradient`, `product` and `matrix_product` are None where nothing is claimed.
    """

    def __init__(
        self, fun: object, jac: object, hessp: object, hess: object, args: object, x0: Array
    ) -> None:
        self.x = as_vector(x0)
        self.n = int(self.x.shape[0])
        self.args: tuple[object, ...] = args if isinstance(args, tuple) else (args,)
        self.nfev = self.njev = self.nhev = 0
        self._last: tuple[Array, Array] | None = None
        value, linear = fun, None
        if hasattr(fun, "fun") and hasattr(fun, "grad"):
            value = fun.fun
            jac = fun.grad if jac is None else jac
            linear = getattr(fun, "hessp", None) if hessp is None else None
        if not callable(value):
            raise TypeError(
                f"fun={fun!r} is neither callable nor an object with methods fun and grad."
            )
        self._both = jac is True
        for name, given in (("jac", jac), ("hessp", hessp), ("hess", hess)):
            if given is not None and not callable(given) and not (name == "jac" and self._both):
                raise TypeError(
                    f"{name}={given!r}: give a callable, or None"
                    + (" (or True, when fun returns both)." if name == "jac" else ".")
                )
        self._fun: Callable[..., object] = value
        self._jac, self._hessp, self._hess, self._linear = (
            f if callable(f) else None for f in (jac, hessp, hess, linear)
        )
        self._made: Callable[[Array], Array] | None = None
        self._matrix: Array | None = None
        self.gradient: Callable[[Array], Array] | None = None if jac is None else self._gradient
        self.product: Callable[[Array], Array] | None = None
        self.matrix_product: Callable[[Array], Array] | None = None
        if self._hessp or self._linear:
            self.product = self._product
        if self._hess:
            self.matrix_product = self._matrix_product
            self.product = self.product or self._matrix_product
        #: What messages call the source of the products.
        self.hess_only = self.product is not None and self.product == self.matrix_product
        self.product_name = "hess" if self.hess_only else "hessp"

    def value(self, x: Array) -> float:
        """Return f; nan where the function raised an arithmetic error away from x0."""
        self.nfev += 1
        return self._away(x, lambda: self._read(self._call(x)), math.nan)

    def _read(self, value: object) -> float:
        return scalars(_checked(checked_value, value, self.x))[0]

    def _call(self, x: Array) -> object:
        """Return what `fun` says: the value, or its part of the pair, which is kept."""
        result = self._fun(copy_of(x), *self.args)
        if not self._both:
            return result
        value, g = _checked(checked_pair, result)
        self._last = (x, g)
        return value

    def _gradient(self, x: Array) -> Array:
        self.njev += 1

        def call() -> Array:
            if self._jac is not None:
                return self._as_vector(self._jac(copy_of(x), *self.args), "jac")
            if self._last is None or self._last[0] is not x:
                self._call(x)
            assert self._last is not None
            g, self._last = self._last[1], None  # asked again, it is computed again
            return self._as_vector(g, "fun (jac=True)")

        return self._away(x, call, namespace_of(x).full_like(x, math.nan))

    def _product(self, p: Array) -> Array:
        """Return what is claimed for ``H(x0) p``."""
        self.nhev += 1
        if self._hessp is not None:
            return self._as_vector(self._hessp(copy_of(self.x), copy_of(p), *self.args), "hessp")
        assert self._linear is not None
        if self._made is None:
            self._made = self._linear(copy_of(self.x), *self.args)
        return self._as_vector(self._made(copy_of(p)), "hessp")

    def _matrix_product(self, p: Array) -> Array:
        """Return ``hess(x0) @ p``."""
        if self._matrix is None:
            assert self._hess is not None
            self.nhev += 1
            h = self._hess(copy_of(self.x), *self.args)
            self._matrix = _checked(matrix_like, h, self.x, self.n, "hess")
        return self._as_vector(self._matrix @ p, "hess")

    def _away(self, x: Array, call: Callable[[], T], missing: T) -> T:
        """Call; where a step has left the domain, what is raised is a missing value."""
        if x is self.x:
            return call()
        try:
            return call()
        except (ArithmeticError, ValueError):
            return missing

    def _as_vector(self, value: Array, name: str) -> Array:
        return _checked(vector_like, value, self.x, self.n, name)


def _checked(check: Callable[..., T], *args: object) -> T:
    """Return ``check(*args)``; what it raises ends the examination."""
    try:
        return check(*args)
    except (TypeError, ValueError) as error:
        raise Fault(str(error).rstrip(".")) from None
