"""Objective functions assembled from element functions.

A model offers ``value(x)``, ``value_and_gradient(x)`` and ``hessian_product(x)``; the
last returns ``p -> H p`` with everything that depends on x alone computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from negopt.core.arrays import Array, namespace_of
from negopt.problems._jet import Jet, Value
from negopt.problems._maps import Constant, Map, Slice

#: ``p -> H p``
Operator = Callable[[Array], Array]
#: An element function.
Phi = Callable[..., Value]


class Model(Protocol):
    """A smooth function with exact first and second derivatives."""

    def value(self, x: Array) -> Array:
        """Return f(x), zero-dimensional."""

    def value_and_gradient(self, x: Array) -> tuple[Array, Array]:
        """Return f(x) and its gradient, shape (n,)."""

    def hessian_product(self, x: Array) -> Operator:
        """Return the function p -> H(x) p."""


class Term(Protocol):
    """A model that adds its derivatives to vectors it is given."""

    def value(self, x: Array) -> Array:
        """Return the term's value."""

    def add_gradient(self, x: Array, out: Array) -> tuple[Array, Array]:
        """Return the term's value, and `out` plus its gradient."""

    def adder(self, x: Array) -> Callable[[Array, Array], Array]:
        """Return the function (p, out) -> out + H(x) p."""


class Elements:
    """A sum over m elements of phi(A_1 x, ..., A_k x), or of its square.

    Parameters
    ----------
    phi : callable
        Element function of k inputs (and the constants), written with operators
        and the functions of ``_jet``; may return a tuple, whose entries are summed.
    maps : sequence of Map
        The k linear maps A_j; a map with one output is broadcast.
    constants : sequence of array_like, each of shape (m,)
        Further arguments of `phi`.
    square : bool, default False
        Sum the squares of what `phi` returns (least squares).
    """

    def __init__(
        self,
        phi: Phi,
        maps: Sequence[Map],
        constants: Sequence[npt.ArrayLike] = (),
        *,
        square: bool = False,
    ) -> None:
        self._phi, self._maps, self._square = phi, tuple(maps), square
        self._constants = tuple(Constant(c) for c in constants)
        self._seeds = tuple(Constant(row[:, None]) for row in np.eye(len(self._maps)))

    def value(self, x: Array) -> Array:
        """Return the sum over all elements."""
        xp = namespace_of(x)
        inputs = [a.apply(x) for a in self._maps]
        total = None
        for r in self._outputs(inputs, [c.like(x) for c in self._constants]):
            part = xp.sum(r * r) if self._square else xp.sum(r)
            total = part if total is None else total + part
        return total

    def add_gradient(self, x: Array, out: Array) -> tuple[Array, Array]:
        """Return the sum, and `out` plus its gradient."""
        value, first, _ = self._derivatives(x, 1)
        for j, a in enumerate(self._maps):
            out = a.add_adjoint(first[j, ...], out)
        return value, out

    def adder(self, x: Array) -> Callable[[Array, Array], Array]:
        """Return the function (p, out) -> out + H(x) p."""
        xp = namespace_of(x)
        second = self._derivatives(x, 2)[2]
        sizes = [a.apply(x).shape[0] for a in self._maps]

        def add(p: Array, out: Array) -> Array:
            if second is None:
                return out
            shape = (second.shape[-1],)
            moved = xp.stack([xp.broadcast_to(a.apply(p), shape) for a in self._maps])
            forces = xp.sum(second * moved[None, :, :], axis=1)
            for j, a in enumerate(self._maps):
                force = forces[j, ...]
                if sizes[j] == 1 and shape != (1,):
                    force = xp.sum(force, keepdims=True)
                out = a.add_adjoint(force, out)
            return out

        return add

    def value_and_gradient(self, x: Array) -> tuple[Array, Array]:
        """Return the sum and its gradient."""
        return self.add_gradient(x, namespace_of(x).zeros_like(x))

    def hessian_product(self, x: Array) -> Operator:
        """Return p -> H(x) p."""
        add = self.adder(x)
        return lambda p: add(p, namespace_of(p).zeros_like(p))

    def _outputs(self, inputs: Sequence[Value], constants: Sequence[Value]) -> tuple[Value, ...]:
        found = self._phi(*inputs, *constants)
        return found if isinstance(found, tuple) else (found,)

    def _derivatives(self, x: Array, order: int) -> tuple[Array, Array, Array | None]:
        """Return the value, the gradient in the inputs, and the Hessian in the inputs.

        The gradient in input j has that input's shape; the Hessian, (k, k, m), is
        summed over the elements when no input differs between them.
        """
        xp = namespace_of(x)
        values = [a.apply(x) for a in self._maps]
        sizes = [v.shape[0] for v in values]
        inputs = [
            Jet(v, seed.like(x), None, order) for v, seed in zip(values, self._seeds, strict=True)
        ]
        outputs = self._outputs(inputs, [Jet(c.like(x)) for c in self._constants])
        shared = max(sizes) == 1
        total: Array = None
        first: Array = None
        second: Array | None = None
        for r in outputs:
            r = r**2 if self._square else r
            part = xp.sum(r.value)
            m = r.value.shape[0]
            slope = xp.broadcast_to(r.first, (len(sizes), m))
            bend = r.second
            if bend is not None and bend.shape[-1] != m:
                bend = xp.broadcast_to(bend, (*bend.shape[:-1], m))
            if shared:
                slope = xp.sum(slope, axis=-1, keepdims=True)
                bend = None if bend is None else xp.sum(bend, axis=-1, keepdims=True)
            total = part if total is None else total + part
            first = slope if first is None else first + slope
            if bend is not None:
                second = bend if second is None else second + bend
        if shared or min(sizes) > 1:
            return total, first, second
        parts = [
            xp.sum(first[j, ...], keepdims=True) if size == 1 else first[j, ...]
            for j, size in enumerate(sizes)
        ]
        return total, _Rows(parts), second


class _Rows:
    """Rows of different lengths, read as ``rows[j, ...]``."""

    def __init__(self, rows: list[Array]) -> None:
        self._rows = rows

    def __getitem__(self, key: tuple[int, object]) -> Array:
        return self._rows[key[0]]


class Sum:
    """The sum of several terms and a constant.

    Parameters
    ----------
    *terms : Term
    constant : float, default 0.0
    """

    def __init__(self, *terms: Term, constant: float = 0.0) -> None:
        self._terms, self._constant = terms, constant

    def value(self, x: Array) -> Array:
        """Return f(x)."""
        return sum((t.value(x) for t in self._terms), self._constant)

    def value_and_gradient(self, x: Array) -> tuple[Array, Array]:
        """Return f(x) and its gradient."""
        total: Array = self._constant
        gradient = namespace_of(x).zeros_like(x)
        for term in self._terms:
            part, gradient = term.add_gradient(x, gradient)
            total = total + part
        return total, gradient

    def hessian_product(self, x: Array) -> Operator:
        """Return p -> H(x) p."""
        adders = [t.adder(x) for t in self._terms]

        def product(p: Array) -> Array:
            out = namespace_of(p).zeros_like(p)
            for add in adders:
                out = add(p, out)
            return out

        return product


class Nested:
    """F(x, s) with scalars s_j = psi_j(x) appended to the variables of F.

    Parameters
    ----------
    outer : Model
        F as a function of the n + q variables (x, s).
    *inner : Model
        The q functions psi_j.

    Notes
    -----
    With z = (x, s), v_j the gradient of psi_j and F' = (F_x, F_s):

    1. gradient: F_x + sum_j F_{s_j} v_j;
    2. product with p: with (w_x, w_s) = F''(p, v'p),
       w_x + sum_j (w_{s_j} v_j + F_{s_j} psi_j'' p).
    """

    def __init__(self, outer: Model, *inner: Model) -> None:
        self._outer, self._inner = outer, inner

    def value(self, x: Array) -> Array:
        """Return f(x)."""
        return self._outer.value(_extend(x, [m.value(x) for m in self._inner]))

    def value_and_gradient(self, x: Array) -> tuple[Array, Array]:
        """Return f(x) and its gradient."""
        value, gradient, _, _ = self._first(x)
        return value, gradient

    def _first(self, x: Array) -> tuple[Array, Array, list[Array], tuple[Array, Array]]:
        n = x.shape[0]
        inner = [m.value_and_gradient(x) for m in self._inner]
        z = _extend(x, [s for s, _ in inner])
        value, outer = self._outer.value_and_gradient(z)
        gradient = outer[:n]
        for j, (_, slope) in enumerate(inner):
            gradient = gradient + outer[n + j] * slope
        return value, gradient, [slope for _, slope in inner], (z, outer)

    def hessian_product(self, x: Array) -> Operator:
        """Return p -> H(x) p."""
        n = x.shape[0]
        _, _, slopes, (z, outer) = self._first(x)
        outer_product = self._outer.hessian_product(z)
        inner_products = [m.hessian_product(x) for m in self._inner]

        def product(p: Array) -> Array:
            w = outer_product(_extend(p, [slope @ p for slope in slopes]))
            out = w[:n]
            for j, (slope, inner) in enumerate(zip(slopes, inner_products, strict=True)):
                out = out + w[n + j] * slope + outer[n + j] * inner(p)
            return out

        return product


def _extend(x: Array, scalars: Sequence[Array]) -> Array:
    xp = namespace_of(x)
    return xp.concat([x, *(xp.reshape(xp.asarray(s, dtype=x.dtype), (1,)) for s in scalars)])


def squares(phi: Phi, maps: Sequence[Map], constants: Sequence[npt.ArrayLike] = ()) -> Elements:
    """Return the sum of the squares of what `phi` returns."""
    return Elements(phi, maps, constants, square=True)


def least_squares(phi: Phi, n: int, constants: Sequence[npt.ArrayLike] = ()) -> Model:
    """Return the sum of squares of residuals that share all n variables."""
    return squares(phi, [Slice(j, j + 1) for j in range(n)], constants)
