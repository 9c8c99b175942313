"""``v -> H(x) v`` from whatever the caller has: products, a matrix, an object, gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol, TypeAlias

import numpy as np
from numpy.random import Generator

from negopt.core.arrays import (
    Array,
    all_finite,
    as_vector,
    device_of,
    eps_of,
    from_host,
    namespace_of,
    norm,
)
from negopt.core.types import Iterate
from negopt.functions.objective import Objective


class ObjectiveLike(Protocol):
    """An objective object; it may have ``hessp(x) -> callable`` too."""

    def fun(self, x: Array, /) -> float | Array:
        """Return the value at `x`."""

    def grad(self, x: Array, /) -> Array:
        """Return the gradient at `x`."""


#: What products are formed from: ``hessp(x, p)``, an objective, a matrix, or None with `jac`.
Hessian: TypeAlias = Callable[..., Array] | ObjectiveLike | Array | None


class CountedProducts:
    """The products of the Hessian at one point, counted; see `negopt.leftmost_eigenpairs`.

    `noise` is the relative error that a product may have because of its source.
    """

    def __init__(
        self, hessp: Hessian, x: Array, args: object, jac: Callable[..., Array] | None
    ) -> None:
        try:
            self.x = as_vector(x)
        except ValueError as error:  # with the argument's own name
            raise ValueError(str(error).replace("'x0'", "'x'")) from None
        self.n = int(self.x.shape[0])
        self.count = 0
        objective = self._objective(hessp, args if isinstance(args, tuple) else (args,), jac)
        self.noise = eps_of(self.x)
        if objective.exact_products:
            here = Iterate(self.x, math.nan, self.x, math.nan, math.nan)
            self._product = objective.products(here)
            return
        if not all_finite(objective.gradient(self.x)):
            raise ValueError(
                "the gradient is not finite at x, so there are no differences of it; choose "
                "another point, or check jac."
            )
        self.noise **= 2.0 / 3.0
        self._step = eps_of(self.x) ** (1.0 / 3.0) * (1.0 + norm(self.x))
        self._gradient = objective.gradient
        self._product = self._difference

    def _difference(self, v: Array) -> Array:
        """Return the central difference of the gradient, accurate to eps^(2/3)."""
        length = norm(v)
        if length == 0.0:
            return 0.0 * v
        move = (self._step / length) * v
        ahead, behind = self._gradient(self.x + move), self._gradient(self.x - move)
        return (ahead - behind) * (0.5 * length / self._step)

    def _objective(
        self, hessp: Hessian, args: tuple[object, ...], jac: Callable[..., Array] | None
    ) -> Objective:
        if hessp is None:
            if not callable(jac):
                raise ValueError(
                    "hessp=None needs a gradient, jac=..., whose differences give the products."
                )
            return Objective(_no_value, self.x, args, jac)
        if hasattr(hessp, "fun") and hasattr(hessp, "grad"):
            return Objective(hessp, self.x, args)
        if hasattr(hessp, "shape"):  # N.B. SciPy's operators are callable too
            if len(hessp.shape) != 2:
                raise ValueError(
                    f"hessp is an array of shape {tuple(hessp.shape)}; a matrix must have shape "
                    f"({self.n}, {self.n})."
                )
            return Objective(_no_value, self.x, (), None, lambda _: hessp)
        if callable(hessp):
            return Objective(_no_value, self.x, args, None, None, hessp)
        raise TypeError(
            f"hessp={hessp!r}: use a callable hessp(x, p), a matrix or LinearOperator, an object "
            "with fun and grad, or None with jac=..."
        )

    def __call__(self, v: Array) -> Array:
        """Return ``H v``; raise when it is not finite."""
        self.count += 1
        product = self._product(v)
        if not all_finite(product):
            raise ValueError(
                f"product {self.count} with the Hessian is not finite at x; choose another point, "
                "or check hessp with negopt.check_derivatives."
            )
        return product


def _no_value(*_: object) -> float:
    raise AssertionError("products alone are asked for")  # pragma: no cover


def unit(like: Array, i: int) -> Array:
    """Return the i-th unit vector in the library of `like`."""
    xp = namespace_of(like)
    e = xp.zeros(like.shape[0], dtype=like.dtype, device=device_of(like))
    e[i] = 1.0
    return e


def random_direction(like: Array, rng: Generator) -> Array:
    """Return a random vector, uniform on the unit sphere up to rounding."""
    z = rng.standard_normal(int(like.shape[0]))
    return from_host(z / np.linalg.norm(z), like)
