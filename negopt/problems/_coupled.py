"""Models whose variables all meet: products, Green's functions, matrices.

These do not split into element functions of a few inputs; each keeps its cost at
that of its formula (see each class).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy.typing as npt

from negopt.core.arrays import Array, device_of, namespace_of
from negopt.problems._jet import Jet, Value
from negopt.problems._maps import Constant, Map
from negopt.problems._models import Operator, Phi


class Mixed:
    """The sum of squares of r = a(x) + K c(x), with a and c acting entry by entry.

    They are element functions of one input and the constants, each of shape (n,); `coupling` is
    the square linear map K.
    """

    def __init__(
        self, a: Phi, c: Phi, coupling: Map, constants: Sequence[npt.ArrayLike] = ()
    ) -> None:
        self._a, self._c, self._coupling = a, c, coupling
        self._constants = tuple(Constant(v) for v in constants)

    def value(self, x: Array) -> Array:
        """Return r'r."""
        constants = [v.like(x) for v in self._constants]
        r = self._a(x, *constants) + self._coupling.apply(self._c(x, *constants))
        return namespace_of(x).sum(r * r)

    def value_and_gradient(self, x: Array) -> tuple[Array, Array]:
        """Return r'r and 2 (a' r + c' K'r)."""
        a, c, r, back = self._parts(x, 1)
        return namespace_of(x).sum(r * r), 2.0 * (_slope(a) * r + _slope(c) * back)

    def hessian_product(self, x: Array) -> Operator:
        """Return p -> 2 J'J p + 2 (a'' r + c'' K'r) p."""
        xp = namespace_of(x)
        a, c, r, back = self._parts(x, 2)
        slope_a, slope_c = _slope(a), _slope(c)
        bend = xp.zeros_like(x)
        if a.second is not None:
            bend = bend + a.second[0, 0, :] * r
        if c.second is not None:
            bend = bend + c.second[0, 0, :] * back

        def product(p: Array) -> Array:
            moved = slope_a * p + self._coupling.apply(slope_c * p)
            pulled = self._coupling.add_adjoint(moved, xp.zeros_like(p))
            return 2.0 * (slope_a * moved + slope_c * pulled + bend * p)

        return product

    def _parts(self, x: Array, order: int) -> tuple[Value, Value, Array, Array]:
        xp = namespace_of(x)
        seed = xp.ones((1, 1), dtype=x.dtype, device=device_of(x))
        constants = [Jet(v.like(x)) for v in self._constants]
        a = self._a(Jet(x, seed, None, order), *constants)
        c = self._c(Jet(x, seed, None, order), *constants)
        r = a.value + self._coupling.apply(c.value)
        return a, c, r, self._coupling.add_adjoint(r, xp.zeros_like(x))


def _slope(jet: Value) -> Array:
    first: Array = jet.first
    return first[0, :]


class Chebyshev:
    """Chebyquad: how far n points are from an equal-weight quadrature rule.

    Residual i is the mean of T_i(2 x_j - 1) minus the integral of T_i over (0, 1),
    i = 1, ..., m; cost O(m n).
    """

    def __init__(self, m: int) -> None:
        self._integrals = Constant(
            [0.0 if i % 2 else -1.0 / (i * i - 1.0) for i in range(1, m + 1)]
        )
        self._m = m

    def value(self, x: Array) -> Array:
        """Return the sum of squares."""
        r = self._residual(x, self._tables(x, 0)[0])
        return namespace_of(x).sum(r * r)

    def value_and_gradient(self, x: Array) -> tuple[Array, Array]:
        """Return the sum of squares and its gradient."""
        t, slope = self._tables(x, 1)
        r = self._residual(x, t)
        return namespace_of(x).sum(r * r), (2.0 / x.shape[0]) * (r @ slope)

    def hessian_product(self, x: Array) -> Operator:
        """Return p -> 2 J'J p + 2 (sum_i r_i T_i'') p / n."""
        n = x.shape[0]
        t, slope, bend = self._tables(x, 2)
        diagonal = (2.0 / n) * (self._residual(x, t) @ bend)
        return lambda p: (2.0 / n**2) * ((slope @ p) @ slope) + diagonal * p

    def _residual(self, x: Array, t: Array) -> Array:
        return namespace_of(x).mean(t, axis=1) - self._integrals.like(x)

    def _tables(self, x: Array, order: int) -> list[Array]:
        """Return T_i, dT_i/dx and d2T_i/dx2 at the points, each of shape (m, n)."""
        xp = namespace_of(x)
        y, zero = 2.0 * x - 1.0, xp.zeros_like(x)
        rows = [[xp.ones_like(x), y], [zero, zero + 2.0], [zero, zero]]
        for _ in range(self._m - 1):
            t, d, h = rows
            # Differentiating T_{i+1} = 2 y T_i - T_{i-1}; dy/dx = 2.
            t.append(2.0 * y * t[-1] - t[-2])
            if order > 0:
                d.append(4.0 * t[-2] + 2.0 * y * d[-1] - d[-2])
            if order > 1:
                h.append(8.0 * d[-2] + 2.0 * y * h[-1] - h[-2])
        return [xp.stack(column[1 : self._m + 1]) for column in rows[: order + 1]]


class Factorisation:
    """Half the squared error of a low-rank product, |U V' - M|^2 / 2.

    `target` is M; the variables are the rows of U, shape (p, k), then those of V, shape (q, k),
    with k = `rank`; cost O(p q k).
    """

    def __init__(self, target: npt.ArrayLike, rank: int) -> None:
        self._target, self._rank = Constant(target), rank

    def value(self, x: Array) -> Array:
        """Return the objective."""
        u, v, target = self._split(x)
        error = u @ v.T - target
        return 0.5 * namespace_of(x).sum(error * error)

    def value_and_gradient(self, x: Array) -> tuple[Array, Array]:
        """Return the objective and its gradient (E V, E'U)."""
        u, v, target = self._split(x)
        error = u @ v.T - target
        return 0.5 * namespace_of(x).sum(error * error), _join(error @ v, error.T @ u)

    def hessian_product(self, x: Array) -> Operator:
        """Return the derivative of the gradient along a direction."""
        u, v, target = self._split(x)
        error = u @ v.T - target

        def product(p: Array) -> Array:
            du, dv, _ = self._split(p)
            change = du @ v.T + u @ dv.T
            return _join(change @ v + error @ dv, change.T @ u + error.T @ du)

        return product

    def _split(self, x: Array) -> tuple[Array, Array, Array]:
        xp, target = namespace_of(x), self._target.like(x)
        rows = target.shape[0]
        both = xp.reshape(x, (-1, self._rank))
        return both[:rows, :], both[rows:, :], target


def _join(u: Array, v: Array) -> Array:
    xp = namespace_of(u)
    return xp.concat([xp.reshape(u, (-1,)), xp.reshape(v, (-1,))])


class Product:
    """The product of all variables, in O(n log n), exact where variables vanish."""

    def value(self, x: Array) -> Array:
        """Return the product."""
        return namespace_of(x).prod(x)

    def value_and_gradient(self, x: Array) -> tuple[Array, Array]:
        """Return the product and its gradient, the products of all other variables."""
        zeros = namespace_of(x).zeros_like(x)
        return self.value(x), _others(x, zeros)[0]

    def hessian_product(self, x: Array) -> Operator:
        """Return p -> H(x) p, the derivative of the gradient along p."""
        return lambda p: _others(x, p)[1]


def _others(x: Array, p: Array) -> tuple[Array, Array]:
    """Return the products of all entries but the i-th, and their derivatives along p."""
    xp = namespace_of(x)
    one = xp.ones((1,), dtype=x.dtype, device=device_of(x))
    before, before_p = _scan(xp.concat([one, x[:-1]]), xp.concat([0.0 * one, p[:-1]]))
    after, after_p = _scan(
        xp.concat([one, xp.flip(x)[:-1]]), xp.concat([0.0 * one, xp.flip(p)[:-1]])
    )
    after, after_p = xp.flip(after), xp.flip(after_p)
    return before * after, before_p * after + before * after_p


def _scan(x: Array, p: Array) -> tuple[Array, Array]:
    """Return running products and their derivatives along p, by doubling."""
    xp = namespace_of(x)
    step = 1
    while step < x.shape[0]:
        head, head_p = x[:-step], p[:-step]
        moved_p = p[step:] * head + x[step:] * head_p
        x = xp.concat([x[:step], x[step:] * head])
        p = xp.concat([p[:step], moved_p])
        step *= 2
    return x, p
