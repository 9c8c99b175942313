"""More problems of variable dimension from the CUTEst collection, at O(n) each."""

from __future__ import annotations

import math

import numpy as np

from negopt.problems._chains import CHAINED, chain, near
from negopt.problems._jet import Value, exp, sin
from negopt.problems._maps import ALL, FIRST, FOURS, LAST, PAIR, TRIPLE, Slice
from negopt.problems._mgh_fixed import powell_singular
from negopt.problems._models import Elements, Sum, squares
from negopt.problems._problem import steps
from negopt.problems._registry import Setup

_ANDREI = (
    "N. Andrei, An unconstrained optimization test functions collection, "
    "Adv. Model. Optim. 10 (2008) 147-161, problem 'Hager'"
)


@chain("nondquar", "NONDQUAR", least=4, tags="chain degenerate")
def _nondquar(n: int) -> Setup:
    """(x_1 - x_2)^2 + (x_{n-1} - x_n)^2 + sum_{i<=n-2} (x_i + x_{i+1} + x_n)^4."""

    def difference(a: Value, b: Value) -> Value:
        return a - b

    model = Sum(
        squares(difference, [FIRST, Slice(1, 2)]),
        squares(difference, [Slice(-2, -1), LAST]),
        squares(lambda a, b, last: (a + b + last) ** 2, [Slice(None, -2), Slice(1, -1), LAST]),
    )
    start = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    return Setup(model, start, 0.0, np.zeros(n))


@chain("nonscomp", "NONSCOMP (without bounds)")
def _nonscomp(n: int) -> Setup:
    """(x_1 - 1)^2 + sum_{i>1} 4 (x_i - x_{i-1}^2)^2."""
    model = Sum(squares(near, [FIRST]), squares(lambda a, b: 2.0 * (b - a**2), PAIR))
    return Setup(model, np.full(n, 3.0), 0.0, np.ones(n))


@chain("tquartic", "TQUARTIC")
def _tquartic(n: int) -> Setup:
    """(x_1 - 1)^2 + sum_{i>1} (x_1^2 - x_i^2)^2."""
    model = Sum(
        squares(near, [FIRST]), squares(lambda first, a: first**2 - a**2, [FIRST, Slice(1, None)])
    )
    return Setup(model, np.full(n, 0.1), 0.0, np.ones(n))


@chain("eg2", "EG2")
def _eg2(n: int) -> Setup:
    """sum_{i<n} sin(x_1 + x_i^2 - 1) + sin(x_n^2) / 2."""
    model = Sum(
        Elements(lambda first: sin(first + first**2 - 1.0), [FIRST]),
        Elements(lambda first, a: sin(first + a**2 - 1.0), [FIRST, Slice(1, -1)]),
        Elements(lambda last: 0.5 * sin(last**2), [LAST]),
    )
    return Setup(model, np.zeros(n), -(n - 0.5))


@chain("schmvett", "SCHMVETT", least=3)
def _schmvett(n: int) -> Setup:
    """Schmidt and Vetters: minus a rational, a sine and an exponential of three neighbours."""

    def phi(a: Value, b: Value, c: Value) -> Value:
        return -1.0 * (
            1.0 / (1.0 + (a - b) ** 2)
            + sin(0.5 * (math.pi * b + c))
            + exp(-(((a + c) / b - 2.0) ** 2))
        )

    best = np.full(n, math.pi / (math.pi + 1.0))
    return Setup(Elements(phi, TRIPLE), np.full(n, 0.5), -3.0 * (n - 2.0), best)


@chain("hager", _ANDREI, least=1, tags="chain separable convex", cutest=False)
def _hager(n: int) -> Setup:
    """sum_i exp(x_i) - sqrt(i) x_i."""
    root = np.sqrt(steps(n))

    best = np.log(root)
    minimum = float(np.sum(root - root * best))
    model = Elements(lambda a, root: exp(a) - root * a, [ALL], [root])
    return Setup(model, np.ones(n), minimum, best)


@chain("genhumps", "GENHUMPS")
def _genhumps(n: int) -> Setup:
    """sum_{i<n} sin(2 x_i)^2 sin(2 x_{i+1})^2 + (x_i^2 + x_{i+1}^2) / 20; many local minima."""
    start = np.full(n, 506.2)
    start[0] = -506.0
    model = Elements(lambda a, b: (sin(2.0 * a) * sin(2.0 * b)) ** 2 + 0.05 * (a**2 + b**2), PAIR)
    return Setup(model, start, 0.0, np.zeros(n))


@chain("chained_singular", CHAINED, least=4, multiple=2, tags="chain degenerate", cutest=False)
def _chained_singular(n: int) -> Setup:
    """Powell singular functions of x_i, ..., x_{i+3} for i = 1, 3, ..., n - 3."""
    start = np.tile([3.0, -1.0, 0.0, 1.0], n // 4 + 1)[:n]
    model = squares(lambda a, b, c, d: powell_singular(a, b, c, d, 10.0), FOURS)
    return Setup(model, start, 0.0, np.zeros(n))


_DIXMAAN_WEIGHTS = {
    "a": (1.0, 0.0, 0.125, 0.125),
    "b": (1.0, 0.0625, 0.0625, 0.0625),
    "c": (1.0, 0.125, 0.125, 0.125),
    "d": (1.0, 0.26, 0.26, 0.26),
}
_DIXMAAN_POWERS = ((0, 0, 0, 0), (1, 0, 0, 1), (2, 0, 0, 2))


@chain("dixmaan", "DIXMAANA to DIXMAANL", n=99, least=3, multiple=3)
def _dixmaan(n: int, variant: str = "a") -> Setup:
    """Dixon and Maany, variants a to l: couplings of x_i with x_{i+1}, x_{i+n/3}, x_{i+2n/3}."""
    kinds = "abcdefghijkl"
    if len(variant) != 1 or variant not in kinds:
        raise ValueError(f"'variant' must be one of the letters {kinds}; got {variant!r}.")
    row, column = divmod(kinds.index(variant), 4)
    weights = _DIXMAAN_WEIGHTS[kinds[column]]
    i, m = steps(n) / n, n // 3
    alpha, beta, gamma, delta = (
        w * i**k for w, k in zip(weights, _DIXMAAN_POWERS[row], strict=True)
    )

    model = Sum(
        Elements(lambda a, w: w * a**2, [ALL], [alpha]),
        Elements(lambda a, b, w: w * a**2 * (b + b**2) ** 2, PAIR, [beta[:-1]]),
        Elements(
            lambda a, b, w: w * a**2 * (b**2) ** 2,
            [Slice(0, 2 * m), Slice(m, None)],
            [gamma[: 2 * m]],
        ),
        Elements(lambda a, b, w: w * a * b, [Slice(0, m), Slice(2 * m, None)], [delta[:m]]),
        constant=1.0,
    )
    return Setup(model, np.full(n, 2.0), 1.0, np.zeros(n))
