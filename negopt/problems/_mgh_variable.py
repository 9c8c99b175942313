"""The Moré-Garbow-Hillstrom problems of variable dimension (numbers 21 to 35).

Every objective is a sum of squares and costs O(n), except Chebyquad, O(m n).
"""

from __future__ import annotations

import math

import numpy as np

from negopt.core.arrays import Array, namespace_of
from negopt.problems._coupled import Chebyshev, Mixed, Product
from negopt.problems._jet import Value, cos, exp, sin
from negopt.problems._maps import ALL, Constant, Functional, Shift, Slice, Window, every
from negopt.problems._mgh_fixed import mgh, powell_singular, rosenbrock
from negopt.problems._models import Elements, Nested, Sum, squares
from negopt.problems._problem import steps
from negopt.problems._registry import Setup


@mgh(21, "extended_rosenbrock", least=2, multiple=2)
def _extended_rosenbrock(n: int) -> Setup:
    """Rosenbrock, extended: n / 2 independent Rosenbrock functions."""
    model = squares(rosenbrock, every(2))
    return Setup(model, np.tile([-1.2, 1.0], n // 2), 0.0, np.ones(n))


@mgh(22, "extended_powell_singular", n=12, least=4, multiple=4)
def _extended_powell_singular(n: int) -> Setup:
    """Powell singular, extended: n / 4 independent Powell singular functions."""
    model = squares(powell_singular, every(4))
    return Setup(model, np.tile([3.0, -1.0, 0.0, 1.0], n // 4), 0.0, np.zeros(n))


def _square(a: Value, *weight: Value) -> Value:
    return weight[0] * a**2 if weight else a**2


_PENALTY_1 = {4: 2.2499775008999375e-5, 10: 7.087651467090369e-5}


@mgh(23, "penalty_1")
def _penalty_1(n: int) -> Setup:
    """Penalty I: 1e-5 sum (x_i - 1)^2 + (x'x - 1/4)^2."""
    outer = Sum(
        squares(lambda a: math.sqrt(1e-5) * (a - 1.0), [Slice(0, n)]),
        squares(lambda s: s - 0.25, [Slice(n, n + 1)]),
    )
    model = Nested(outer, Elements(_square, [ALL]))
    return Setup(model, steps(n), _PENALTY_1.get(n))


_PENALTY_2 = {4: 9.376293007355442e-6, 10: 2.93660537456746e-4}


@mgh(24, "penalty_2", least=2, most=1000)  # exp(n / 10) overflows when squared
def _penalty_2(n: int) -> Setup:
    """Penalty II: exponentials of neighbours, and (sum_j (n - j + 1) x_j^2 - 1)^2."""
    i = steps(n)[1:]
    root = math.sqrt(1e-5)

    y = np.exp(0.1 * i) + np.exp(0.1 * (i - 1.0))
    outer = Sum(
        squares(lambda a: a - 0.2, [Slice(0, 1)]),
        squares(
            lambda a, b, y: root * (exp(0.1 * b) + exp(0.1 * a) - y),
            [Slice(0, n - 1), Slice(1, n)],
            [y],
        ),
        squares(lambda b: root * (exp(0.1 * b) - math.exp(-0.1)), [Slice(1, n)]),
        squares(lambda s: s - 1.0, [Slice(n, n + 1)]),
    )
    weights = n + 1.0 - steps(n)
    model = Nested(outer, Elements(_square, [ALL], [weights]))
    return Setup(model, np.full(n, 0.5), _PENALTY_2.get(n))


@mgh(25, "variably_dimensioned")
def _variably_dimensioned(n: int) -> Setup:
    """Variably dimensioned: sum (x_i - 1)^2 + s^2 + s^4, s = sum_j j (x_j - 1)."""
    j = steps(n)
    offset = float(np.sum(j))

    model = Sum(
        squares(lambda a: a - 1.0, [ALL]),
        squares(lambda s: (s - offset, (s - offset) ** 2), [Functional(j)]),
    )
    return Setup(model, 1.0 - j / n, 0.0, np.ones(n))


@mgh(26, "trigonometric")
def _trigonometric(n: int) -> Setup:
    """Trigonometric: residuals n - sum_j cos x_j + i (1 - cos x_i) - sin x_i."""
    outer = squares(
        lambda a, s, i: float(n) - s + i * (1.0 - cos(a)) - sin(a),
        [Slice(0, n), Slice(n, n + 1)],
        [steps(n)],
    )
    model = Nested(outer, Elements(cos, [ALL]))
    local = (2.795056e-5,) if n == 10 else ()
    return Setup(model, np.full(n, 1.0 / n), 0.0, np.zeros(n), local_minima=local)


@mgh(27, "brown_almost_linear", least=2)
def _brown_almost_linear(n: int) -> Setup:
    """Brown almost-linear: x_i + sum_j x_j - (n + 1) for i < n, and prod_j x_j - 1."""
    outer = Sum(
        squares(lambda a, s: a + s - (n + 1.0), [Slice(0, n - 1), Functional([1.0] * n + [0.0])]),
        squares(lambda q: q - 1.0, [Slice(n, n + 1)]),
    )
    return Setup(Nested(outer, Product()), np.full(n, 0.5), 0.0, np.ones(n), local_minima=(1.0,))


def _cubic(a: Value, t: Value) -> Value:
    return (a + t + 1.0) ** 3


@mgh(28, "discrete_boundary_value")
def _discrete_boundary_value(n: int) -> Setup:
    """Discrete boundary value: 2 x_i - x_{i-1} - x_{i+1} + h^2 (x_i + t_i + 1)^3 / 2."""
    h = 1.0 / (n + 1.0)
    t = h * steps(n)

    model = squares(
        lambda before, a, after, t: 2.0 * a - before - after + (0.5 * h**2) * _cubic(a, t),
        [Shift(-1), Shift(0), Shift(1)],
        [t],
    )
    return Setup(model, t * (t - 1.0), 0.0)


class _Green:
    """The symmetric matrix K_ij = (h / 2) min(t_i, t_j) (1 - max(t_i, t_j)), in O(n)."""

    def __init__(self, n: int) -> None:
        self._h = 1.0 / (n + 1.0)
        self._t = Constant(self._h * steps(n))

    def apply(self, x: Array) -> Array:
        """Return K x."""
        xp, t = namespace_of(x), self._t.like(x)
        below = xp.cumulative_sum(t * x)
        above = (1.0 - t) * x
        above = xp.flip(xp.cumulative_sum(xp.flip(above))) - above
        return (0.5 * self._h) * ((1.0 - t) * below + t * above)

    def add_adjoint(self, u: Array, out: Array) -> Array:
        """Return out + K u."""
        return out + self.apply(u)


@mgh(29, "discrete_integral_equation")
def _discrete_integral_equation(n: int) -> Setup:
    """Discrete integral equation: x + K c(x), K a Green's matrix, c the cubic of 28."""
    t = steps(n) / (n + 1.0)

    model = Mixed(lambda a, _: a, _cubic, _Green(n), (t,))
    return Setup(model, t * (t - 1.0), 0.0)


@mgh(30, "broyden_tridiagonal")
def _broyden_tridiagonal(n: int) -> Setup:
    """Broyden tridiagonal: (3 - 2 x_i) x_i - x_{i-1} - 2 x_{i+1} + 1."""
    model = squares(
        lambda before, a, after: (3.0 - 2.0 * a) * a - before - 2.0 * after + 1.0,
        [Shift(-1), Shift(0), Shift(1)],
    )
    return Setup(model, np.full(n, -1.0), 0.0)


@mgh(31, "broyden_banded")
def _broyden_banded(n: int) -> Setup:
    """Broyden banded: x_i (2 + 5 x_i^2) + 1 - sum of x_j (1 + x_j) over -5 <= j - i <= 1."""

    def own(a: Value) -> Value:
        # The paper's sum leaves j = i out; the band sum below has it, so it is put back.
        return a * (3.0 + a + 5.0 * a**2) + 1.0

    model = Mixed(own, lambda a: -1.0 * (a + a**2), Window(5, 1))
    return Setup(model, np.full(n, -1.0), 0.0)


def _residuals(n: int, m: int | None) -> int:
    """Return the number of residuals of a linear problem, 2 n by default."""
    m = 2 * n if m is None else m
    if m < n:
        raise ValueError(f"'m' must be at least n = {n}; got {m}. Use for example {2 * n}.")
    return m


@mgh(32, "linear_full_rank")
def _linear_full_rank(n: int, m: int | None = None) -> Setup:
    """Linear, full rank: x_i - (2 / m) sum_j x_j - 1 for i <= n, without x_i beyond."""
    m = _residuals(n, m)
    mean = Functional(np.full(n, 2.0 / m))

    model = Sum(
        squares(lambda a, s: a - s - 1.0, [ALL, mean]),
        squares(lambda s: math.sqrt(m - n) * (s + 1.0), [mean]),
    )
    return Setup(model, np.ones(n), float(m - n), np.full(n, -1.0))


def _scaled(s: Value, i: Value) -> Value:
    return i * s - 1.0


@mgh(33, "linear_rank_1")
def _linear_rank_1(n: int, m: int | None = None) -> Setup:
    """Linear, rank 1: residuals i sum_j j x_j - 1."""
    m = _residuals(n, m)
    j = steps(n)
    best = (3.0 / (2.0 * m + 1.0)) * j / float(j @ j)
    model = squares(_scaled, [Functional(j)], [steps(m)])
    return Setup(model, np.ones(n), m * (m - 1.0) / (2.0 * (2.0 * m + 1.0)), best)


@mgh(34, "linear_rank_1_zero", least=3)
def _linear_rank_1_zero(n: int, m: int | None = None) -> Setup:
    """Linear, rank 1 with zero columns and rows: as rank 1, x_1 and x_n left out."""
    m = _residuals(n, m)
    j = steps(n)
    j[[0, -1]] = 0.0
    rows = np.concatenate([[0.0], steps(m - 2), [0.0]])
    best = (3.0 / (2.0 * m - 3.0)) * j / float(j @ j)
    model = squares(_scaled, [Functional(j)], [rows])
    return Setup(model, np.ones(n), (m**2 + 3.0 * m - 6.0) / (2.0 * (2.0 * m - 3.0)), best)


_CHEBYQUAD = {8: 3.5168737256779277e-3, 10: 4.772713696375354e-3}


@mgh(35, "chebyquad", n=8)
def _chebyquad(n: int, m: int | None = None) -> Setup:
    """Chebyquad: mean of T_i at the points minus its integral, i = 1, ..., m (default n)."""
    m = n if m is None else _residuals(n, m)
    zero = 0.0 if n <= 7 or n == 9 else None
    minimum = _CHEBYQUAD.get(n, zero) if m == n else None
    # The paper's value for n = 10 is a local minimum; a lower one exists.
    local = (6.503954800e-3,) if m == n == 10 else ()
    return Setup(Chebyshev(m), steps(n) / (n + 1.0), minimum, local_minima=local)
