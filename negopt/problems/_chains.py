"""Chains and arrowheads of variable dimension from the CUTEst collection.

Each is a sum over i of a small function of neighbours (chains) or of a neighbour and
one shared variable (arrowheads); value, gradient and Hessian product cost O(n).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from negopt.problems._jet import Value, cos, exp, sin, tan
from negopt.problems._maps import ALL, FIRST, FOURS, LAST, PAIR, TRIPLE, Slice, Window, every
from negopt.problems._mgh_fixed import freudenstein_roth, rosenbrock, wood
from negopt.problems._models import Elements, Nested, Sum, squares
from negopt.problems._problem import steps
from negopt.problems._registry import Builder, Setup, problem

CUTEST = (
    "N. I. M. Gould, D. Orban and Ph. L. Toint, CUTEst: a constrained and unconstrained testing "
    "environment with safe threads, Comput. Optim. Appl. 60 (2015) 545-557, "
    "doi:10.1007/s10589-014-9687-3, problem "
)

CHAINED = (
    "A. R. Conn, N. I. M. Gould and Ph. L. Toint, Testing a class of methods for solving "
    "minimization problems with simple bounds on the variables, Math. Comp. 50 (1988) 399-430, "
    "doi:10.1090/S0025-5718-1988-0929544-3"
)
_DIXON = (
    "L. C. W. Dixon and R. C. Price, Truncated Newton method for sparse unconstrained "
    "optimization using automatic differentiation, J. Optim. Theory Appl. 60 (1989) 261-275, "
    "doi:10.1007/BF00940007"
)


def chain(
    name: str,
    source: str,
    *,
    n: int = 100,
    least: int = 2,
    multiple: int = 1,
    tags: str = "chain",
    cutest: bool = True,
) -> Callable[[Builder], Builder]:
    """Declare a problem of variable dimension; `source` is its CUTEst name or a reference."""
    reference = CUTEST + source if cutest else source
    return problem(name, n, least=least, multiple=multiple, tags=tags, reference=reference)


def near(a: Value) -> Value:
    """Return the residual of an equation a = 1."""
    return a - 1.0


@chain("arwhead", "ARWHEAD")
def _arwhead(n: int) -> Setup:
    """sum_{i<n} (x_i^2 + x_n^2)^2 - 4 x_i + 3; the minimiser has x_n = 0."""
    best = np.ones(n)
    best[-1] = 0.0
    model = Elements(lambda a, last: (a**2 + last**2) ** 2 - 4.0 * a + 3.0, [Slice(None, -1), LAST])
    return Setup(model, np.ones(n), 0.0, best)


@chain("bdqrtic", "BDQRTIC", least=5)
def _bdqrtic(n: int) -> Setup:
    """sum_{i<=n-4} (3 - 4 x_i)^2 + (x_i^2 + 2 x_{i+1}^2 + ... + 4 x_{i+3}^2 + 5 x_n^2)^2."""

    def phi(a: Value, b: Value, c: Value, d: Value, last: Value) -> Value:
        return 3.0 - 4.0 * a, a**2 + 2.0 * b**2 + 3.0 * c**2 + 4.0 * d**2 + 5.0 * last**2

    inputs = [Slice(0, -4), Slice(1, -3), Slice(2, -2), Slice(3, -1), LAST]
    return Setup(squares(phi, inputs), np.ones(n))


@chain("chained_wood", "CHAINWOO", least=4, multiple=2)
def _chained_wood(n: int) -> Setup:
    """1 + Wood functions of x_i, ..., x_{i+3} for i = 1, 3, ..., n - 3; many local minima."""
    start = np.tile([-2.0, 0.0], n // 2)
    start[:4] = [-3.0, -1.0, -3.0, -1.0]
    model = Sum(squares(wood, FOURS), constant=1.0)
    return Setup(model, start, 1.0, np.ones(n))


@chain("extended_wood", "WOODS", least=4, multiple=4, tags="chain separable")
def _extended_wood(n: int) -> Setup:
    """Wood functions, n / 4 of them, independent."""
    model = squares(wood, every(4))
    return Setup(model, np.tile([-3.0, -1.0], n // 2), 0.0, np.ones(n))


@chain("chained_rosenbrock", CHAINED, cutest=False)
def _chained_rosenbrock(n: int) -> Setup:
    """sum_{i<n} 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2; from n = 4 a local minimum exists."""
    start = np.tile([-1.2, 1.0], (n + 1) // 2)[:n]
    return Setup(squares(rosenbrock, PAIR), start, 0.0, np.ones(n))


@chain("genrose", "GENROSE")
def _genrose(n: int) -> Setup:
    """1 + sum_{i>1} 100 (x_i - x_{i-1}^2)^2 + (x_i - 1)^2; needs many iterations."""
    model = Sum(squares(lambda a, b: (10.0 * (b - a**2), b - 1.0), PAIR), constant=1.0)
    return Setup(model, steps(n) / (n + 1.0), 1.0, np.ones(n))


@chain("dixon_price", _DIXON, cutest=False)
def _dixon_price(n: int) -> Setup:
    """(x_1 - 1)^2 + sum_{i>1} i (2 x_i^2 - x_{i-1})^2."""
    root = np.sqrt(steps(n)[1:])
    model = Sum(
        squares(near, [FIRST]), squares(lambda a, b, root: root * (2.0 * b**2 - a), PAIR, [root])
    )
    best = 2.0 ** (2.0 ** (1.0 - steps(n)) - 1.0)
    return Setup(model, np.ones(n), 0.0, best)


@chain("tridia", "TRIDIA")
def _tridia(n: int) -> Setup:
    """(x_1 - 1)^2 + sum_{i>1} i (2 x_i - x_{i-1})^2; quadratic, condition grows with n."""
    root = np.sqrt(steps(n)[1:])
    model = Sum(
        squares(near, [FIRST]), squares(lambda a, b, root: root * (2.0 * b - a), PAIR, [root])
    )
    return Setup(model, np.ones(n), 0.0, 2.0 ** (1.0 - steps(n)))


@chain("dqdrtic", "DQDRTIC", least=3)
def _dqdrtic(n: int) -> Setup:
    """sum_{i<=n-2} x_i^2 + 100 x_{i+1}^2 + 100 x_{i+2}^2."""
    model = Elements(lambda a, b, c: a**2 + 100.0 * (b**2 + c**2), TRIPLE)
    return Setup(model, np.full(n, 3.0), 0.0, np.zeros(n))


@chain("nondia", "NONDIA")
def _nondia(n: int) -> Setup:
    """(x_1 - 1)^2 + sum_{i>1} 100 (x_1 - x_{i-1}^2)^2."""
    model = Sum(
        squares(near, [FIRST]),
        squares(lambda first, a: 10.0 * (first - a**2), [FIRST, Slice(None, -1)]),
    )
    # The objective does not depend on x_n.
    return Setup(model, np.full(n, -1.0), 0.0, np.ones(n))


@chain("engval1", "ENGVAL1")
def _engval1(n: int) -> Setup:
    """sum_{i<n} (x_i^2 + x_{i+1}^2)^2 - 4 x_i + 3."""
    model = Elements(lambda a, b: (a**2 + b**2) ** 2 - 4.0 * a + 3.0, PAIR)
    return Setup(model, np.full(n, 2.0))


@chain("freuroth", "FREUROTH")
def _freuroth(n: int) -> Setup:
    """Freudenstein and Roth functions of neighbours x_i, x_{i+1}."""
    start = np.zeros(n)
    start[:2] = [0.5, -2.0]
    return Setup(squares(freudenstein_roth, PAIR), start)


_CRAGGLVY = {10: 1.8865658966631105, 50: 15.372509465428696, 1000: 336.4231479}


@chain("cragglvy", "CRAGGLVY", least=4, multiple=2)
def _cragglvy(n: int) -> Setup:
    """Cragg and Levy, extended: quartic, sextic and octic terms of four neighbours."""

    def phi(a: Value, b: Value, c: Value, d: Value) -> Value:
        return (
            (exp(a) - b) ** 2,
            10.0 * (b - c) ** 3,
            (tan(c - d) + c - d) ** 2,
            (a**2) ** 2,
            d - 1.0,
        )

    start = np.full(n, 2.0)
    start[0] = 1.0
    return Setup(squares(phi, FOURS), start, _CRAGGLVY.get(n))


@chain("liarwhd", "LIARWHD")
def _liarwhd(n: int) -> Setup:
    """sum_i 4 (x_i^2 - x_1)^2 + (x_i - 1)^2."""
    model = Sum(squares(lambda a, first: 2.0 * (a**2 - first), [ALL, FIRST]), squares(near, [ALL]))
    return Setup(model, np.full(n, 4.0), 0.0, np.ones(n))


_EDENSCH = {36: 219.28459202076465, 2000: 12003.284592020762}


@chain("edensch", "EDENSCH")
def _edensch(n: int) -> Setup:
    """16 + sum_{i<n} (x_i - 2)^4 + (x_i x_{i+1} - 2 x_{i+1})^2 + (x_{i+1} + 1)^2."""
    model = Sum(squares(lambda a, b: ((a - 2.0) ** 2, (a - 2.0) * b, b + 1.0), PAIR), constant=16.0)
    return Setup(model, np.full(n, 8.0), _EDENSCH.get(n))


@chain("power", "POWER", least=1, tags="chain degenerate")
def _power(n: int) -> Setup:
    """(sum_i i x_i^2)^2; the Hessian vanishes at the minimiser."""
    model = Nested(
        Elements(lambda s: s**2, [Slice(n, n + 1)]),
        Elements(lambda a, i: i * a**2, [ALL], [steps(n)]),
    )
    return Setup(model, np.ones(n), 0.0, np.zeros(n))


@chain("cosine", "COSINE")
def _cosine(n: int) -> Setup:
    """sum_{i<n} cos(x_i^2 - x_{i+1} / 2)."""
    model = Elements(lambda a, b: cos(a**2 - 0.5 * b), PAIR)
    return Setup(model, np.ones(n), -(n - 1.0))


@chain("sinquad", "SINQUAD", least=3)
def _sinquad(n: int) -> Setup:
    """(x_1 - 1)^4 + sum_{1<i<n} (sin(x_i - x_n) - x_1^2 + x_i^2)^2 + (x_n^2 - x_1^2)^2."""
    model = Sum(
        squares(
            lambda first, a, last: sin(a - last) - first**2 + a**2, [FIRST, Slice(1, -1), LAST]
        ),
        squares(lambda first, last: ((first - 1.0) ** 2, last**2 - first**2), [FIRST, LAST]),
    )
    return Setup(model, np.full(n, 0.1), 0.0, np.ones(n))


@chain("fletchcr", "FLETCHCR")
def _fletchcr(n: int) -> Setup:
    """sum_{i<n} 100 (x_{i+1} - x_i + 1 - x_i^2)^2."""
    model = squares(lambda a, b: 10.0 * (b - a + 1.0 - a**2), PAIR)
    return Setup(model, np.zeros(n), 0.0, np.ones(n))


@chain("quartc", "QUARTC", least=1, tags="chain separable degenerate")
def _quartc(n: int) -> Setup:
    """sum_i (x_i - i)^4; the Hessian vanishes at the minimiser."""
    model = squares(lambda a, i: (a - i) ** 2, [ALL], [steps(n)])
    return Setup(model, np.full(n, 2.0), 0.0, steps(n))


_CURLY = {(1000, 10): -1.0031629024e5}


@chain("curly", "CURLY10, CURLY20, CURLY30")
def _curly(n: int, width: int = 10) -> Setup:
    """sum_i q_i^4 - 20 q_i^2 - q_i / 10, q_i = x_i + ... + x_{i+width}; a saddle at the start."""
    model = Elements(lambda q: q * (q * (q**2 - 20.0) - 0.1), [Window(0, width)])
    return Setup(model, 1e-4 * steps(n) / (n + 1.0), _CURLY.get((n, width)))
