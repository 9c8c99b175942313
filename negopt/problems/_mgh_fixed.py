"""The Moré-Garbow-Hillstrom problems of fixed dimension (numbers 1 to 20).

Every objective is a sum of squares; the numbers in the docstrings are the paper's.
Minimisers without closed form are given to double precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from negopt.problems._jet import Value, arctan2, cos, exp, log, sin, sqrt
from negopt.problems._maps import Dense, Slice
from negopt.problems._models import Sum, least_squares, squares
from negopt.problems._nist_data import read
from negopt.problems._problem import steps
from negopt.problems._registry import Builder, Setup, problem

MGH = (
    "J. J. Moré, B. S. Garbow and K. E. Hillstrom, Testing unconstrained optimization software, "
    "ACM Trans. Math. Softw. 7 (1981) 17-41, doi:10.1145/355934.355936, problem "
)


def mgh(
    number: int,
    name: str,
    n: int = 10,
    least: int = 1,
    most: int | None = None,
    multiple: int = 1,
    *,
    fixed: bool = False,
    tags: str = "mgh least-squares",
) -> Callable[[Builder], Builder]:
    """Declare the problem of that number in the paper."""
    declare = partial(problem, name, n, least=least, most=most, multiple=multiple)
    return declare(fixed=fixed, tags=tags, reference=f"{MGH}{number}")


def _mgh(number: int, name: str, n: int) -> Callable[[Builder], Builder]:
    return mgh(number, name, n, fixed=True)


def rosenbrock(a: Value, b: Value) -> Value:
    """Return residuals in two variables."""
    return 10.0 * (b - a**2), 1.0 - a


def freudenstein_roth(a: Value, b: Value) -> Value:
    """Return residuals in two variables."""
    return a - 13.0 + ((5.0 - b) * b - 2.0) * b, a - 29.0 + ((b + 1.0) * b - 14.0) * b


def powell_singular(a: Value, b: Value, c: Value, d: Value, factor: float = 1.0) -> Value:
    """Return residuals in four variables, in the last of them with a factor before d."""
    last = math.sqrt(10.0) * (a - factor * d) ** 2
    return a + 10.0 * b, math.sqrt(5.0) * (c - d), (b - 2.0 * c) ** 2, last


def wood(a: Value, b: Value, c: Value, d: Value) -> Value:
    """Return residuals in four variables."""
    return (
        10.0 * (b - a**2),
        1.0 - a,
        math.sqrt(90.0) * (d - c**2),
        1.0 - c,
        math.sqrt(10.0) * (b + d - 2.0),
        (b - d) / math.sqrt(10.0),
    )


@_mgh(1, "rosenbrock", 2)
def _rosenbrock(n: int) -> Setup:
    """Rosenbrock: 100 (x2 - x1^2)^2 + (1 - x1)^2."""
    return Setup(least_squares(rosenbrock, n), [-1.2, 1.0], 0.0, [1.0, 1.0])


@_mgh(2, "freudenstein_roth", 2)
def _freudenstein_roth(n: int) -> Setup:
    """Freudenstein and Roth; most methods end in the local minimum."""
    model = least_squares(freudenstein_roth, n)
    return Setup(model, [0.5, -2.0], 0.0, [5.0, 4.0], local_minima=(48.98425367924003,))


@_mgh(3, "powell_badly_scaled", 2)
def _powell_badly_scaled(n: int) -> Setup:
    """Powell badly scaled: residuals 1e4 x1 x2 - 1 and exp(-x1) + exp(-x2) - 1.0001."""
    best = [1.098159329699722e-05, 9.106146739867317]
    model = least_squares(lambda a, b: (1e4 * a * b - 1.0, exp(-a) + exp(-b) - 1.0001), n)
    return Setup(model, [0.0, 1.0], 0.0, best)


@_mgh(4, "brown_badly_scaled", 2)
def _brown_badly_scaled(n: int) -> Setup:
    """Brown badly scaled: residuals x1 - 1e6, x2 - 2e-6 and x1 x2 - 2."""
    model = least_squares(lambda a, b: (a - 1e6, b - 2e-6, a * b - 2.0), n)
    return Setup(model, [1.0, 1.0], 0.0, [1e6, 2e-6])


@_mgh(5, "beale", 2)
def _beale(n: int) -> Setup:
    """Beale: residuals y_i - x1 (1 - x2^i), i = 1, 2, 3."""

    def phi(a: Value, b: Value) -> Value:
        return tuple(y - a * (1.0 - b**i) for i, y in enumerate((1.5, 2.25, 2.625), start=1))

    return Setup(least_squares(phi, n), [1.0, 1.0], 0.0, [3.0, 0.5])


@_mgh(6, "jennrich_sampson", 2)
def _jennrich_sampson(n: int, m: int = 10) -> Setup:
    """Jennrich and Sampson: residuals 2 + 2 i - (exp(i x1) + exp(i x2)), i = 1, ..., m."""
    known = m == 10
    best = [0.2578252136703641] * 2
    model = least_squares(lambda a, b, i: 2.0 + 2.0 * i - exp(i * a) - exp(i * b), n, [steps(m)])
    return Setup(model, [0.3, 0.4], 124.36218235561483 if known else None, best if known else None)


@_mgh(7, "helical_valley", 3)
def _helical_valley(n: int) -> Setup:
    """Helical valley: 10 (x3 - 10 theta), 10 (r - 1) and x3 in cylinder coordinates.

    The angle theta, in turns, is cut where x1 = 0 and x2 < 0, as in the paper.
    """

    def phi(a: Value, b: Value, c: Value) -> Value:
        theta = 0.25 - arctan2(a, b) / (2.0 * math.pi)
        return 10.0 * (c - 10.0 * theta), 10.0 * (sqrt(a**2 + b**2) - 1.0), c

    return Setup(least_squares(phi, n), [-1.0, 0.0, 0.0], 0.0, [1.0, 0.0, 0.0])


_BARD = [0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.10, 4.39]


@_mgh(8, "bard", 3)
def _bard(n: int) -> Setup:
    """Bard: residuals y - (x1 + u / (v x2 + w x3))."""
    u = steps(15)
    best = [0.082410559749789, 1.133036092029723, 2.3436951786425357]
    model = least_squares(
        lambda a, b, c, y, u, v, w: y - (a + u / (v * b + w * c)),
        n,
        [_BARD, u, 16.0 - u, np.minimum(u, 16.0 - u)],
    )
    return Setup(model, [1.0, 1.0, 1.0], 8.214877306578976e-3, best)


_GAUSSIAN = [0.0009, 0.0044, 0.0175, 0.0540, 0.1295, 0.2420, 0.3521, 0.3989]


@_mgh(9, "gaussian", 3)
def _gaussian(n: int) -> Setup:
    """Gaussian: residuals x1 exp(-x2 (t - x3)^2 / 2) - y."""
    y = _GAUSSIAN + _GAUSSIAN[-2::-1]
    best = [0.39895613783875666, 1.0000190844878056, 0.0]
    model = least_squares(
        lambda a, b, c, t, y: a * exp(-0.5 * b * (t - c) ** 2) - y, n, [(8.0 - steps(15)) / 2.0, y]
    )
    return Setup(model, [0.4, 1.0, 0.0], 1.127932769619216e-8, best)


@_mgh(10, "meyer", 3)
def _meyer(n: int) -> Setup:
    """Meyer: residuals x1 exp(x2 / (t + x3)) - y; the data are those of NIST MGH10."""
    data = read("MGH10")
    model = least_squares(lambda a, b, c, t, y: a * exp(b / (t + c)) - y, n, [data.x[0], data.y])
    return Setup(model, [0.02, 4000.0, 250.0], data.residual_sum, data.parameters)


@_mgh(11, "gulf", 3)
def _gulf(n: int, m: int = 99) -> Setup:
    """Gulf research: residuals exp(-|y - x2|^x3 / x1) - t, y = 25 + (-50 log t)^(2/3).

    With m = 100 (t = 1) there is a singularity of the derivatives at the minimiser.
    """
    t = steps(m, 0.01)
    model = least_squares(
        lambda a, b, c, t, y: exp(-exp(0.5 * c * log((y - b) ** 2)) / a) - t,
        n,
        [t, 25.0 + np.maximum(-50.0 * np.log(t), 0.0) ** (2.0 / 3.0)],
    )
    return Setup(model, [5.0, 2.5, 0.15], 0.0, [50.0, 25.0, 1.5])


@_mgh(12, "box_3d", 3)
def _box_3d(n: int, m: int = 10) -> Setup:
    """Box: residuals exp(-t x1) - exp(-t x2) - x3 (exp(-t) - exp(-10 t)), t = i / 10."""
    t = steps(m, 0.1)
    model = least_squares(
        lambda a, b, c, t, d: exp(-t * a) - exp(-t * b) - c * d,
        n,
        [t, np.exp(-t) - np.exp(-10.0 * t)],
    )
    return Setup(model, [0.0, 10.0, 20.0], 0.0, [1.0, 10.0, 1.0])


@_mgh(13, "powell_singular", 4)
def _powell_singular(n: int) -> Setup:
    """Powell singular; the Hessian at the minimiser has rank 2."""
    return Setup(least_squares(powell_singular, n), [3.0, -1.0, 0.0, 1.0], 0.0, np.zeros(4))


@_mgh(14, "wood", 4)
def _wood(n: int) -> Setup:
    """Wood: two Rosenbrock valleys tied together; a saddle lies near the start."""
    return Setup(least_squares(wood, n), [-3.0, -1.0, -3.0, -1.0], 0.0, np.ones(4))


@_mgh(15, "kowalik_osborne", 4)
def _kowalik_osborne(n: int) -> Setup:
    """Kowalik and Osborne: y - x1 (u^2 + u x2) / (u^2 + u x3 + x4); data of NIST MGH09."""
    data = read("MGH09")
    model = least_squares(
        lambda a, b, c, d, u, y: y - a * (u**2 + u * b) / (u**2 + u * c + d), n, [data.x[0], data.y]
    )
    return Setup(
        model,
        [0.25, 0.39, 0.415, 0.39],
        data.residual_sum,
        data.parameters,
        local_minima=(1.02734e-3,),  # approached at infinity only
    )


@_mgh(16, "brown_dennis", 4)
def _brown_dennis(n: int, m: int = 20) -> Setup:
    """Brown and Dennis: (x1 + t x2 - e^t)^2 + (x3 + x4 sin t - cos t)^2, t = i / 5."""
    known = m == 20
    best = [-11.594439904762163, 13.203630051207202, -0.4034394881768595, 0.23677877445573622]
    model = least_squares(
        lambda a, b, c, d, t: (a + t * b - exp(t)) ** 2 + (c + d * sin(t) - cos(t)) ** 2,
        n,
        [steps(m, 0.2)],
    )
    return Setup(
        model,
        [25.0, 5.0, -5.0, -1.0],
        85822.20162635633 if known else None,
        best if known else None,
    )


@_mgh(17, "osborne_1", 5)
def _osborne_1(n: int) -> Setup:
    """Osborne 1: y - (x1 + x2 exp(-t x4) + x3 exp(-t x5)); the data are NIST MGH17's."""
    data = read("MGH17")
    model = least_squares(
        lambda a, b, c, d, e, t, y: y - (a + b * exp(-t * d) + c * exp(-t * e)),
        n,
        [data.x[0], data.y],
    )
    return Setup(model, [0.5, 1.5, -1.0, 0.01, 0.02], data.residual_sum, data.parameters)


@_mgh(18, "biggs_exp6", 6)
def _biggs_exp6(n: int, m: int = 13) -> Setup:
    """Biggs EXP6: x3 exp(-t x1) - x4 exp(-t x2) + x6 exp(-t x5) - y, t = i / 10."""

    def phi(
        a: Value, b: Value, c: Value, d: Value, e: Value, g: Value, t: Value, y: Value
    ) -> Value:
        return c * exp(-t * a) - d * exp(-t * b) + g * exp(-t * e) - y

    t = steps(m, 0.1)
    y = np.exp(-t) - 5.0 * np.exp(-10.0 * t) + 3.0 * np.exp(-4.0 * t)
    model = least_squares(phi, n, [t, y])
    return Setup(
        model,
        [1.0, 2.0, 1.0, 1.0, 1.0, 1.0],
        0.0,
        [1.0, 10.0, 1.0, 5.0, 4.0, 3.0],
        local_minima=(5.655649925e-3,) if m == 13 else (),
    )


# fmt: off
_OSBORNE_2 = [
    1.366, 1.191, 1.112, 1.013, 0.991, 0.885, 0.831, 0.847, 0.786, 0.725, 0.746, 0.679, 0.608,
    0.655, 0.616, 0.606, 0.602, 0.626, 0.651, 0.724, 0.649, 0.649, 0.694, 0.644, 0.624, 0.661,
    0.612, 0.558, 0.533, 0.495, 0.500, 0.423, 0.395, 0.375, 0.372, 0.391, 0.396, 0.405, 0.428,
    0.429, 0.523, 0.562, 0.607, 0.653, 0.672, 0.708, 0.633, 0.668, 0.645, 0.632, 0.591, 0.559,
    0.597, 0.625, 0.739, 0.710, 0.729, 0.720, 0.636, 0.581, 0.428, 0.292, 0.162, 0.098, 0.054,
]
# fmt: on


@_mgh(19, "osborne_2", 11)
def _osborne_2(n: int) -> Setup:
    """Osborne 2: an exponential and three Gaussian peaks fitted to 65 data."""

    def phi(*v: Value) -> Value:
        x, (t, y) = v[:11], v[11:]
        peaks = sum(x[k] * exp(-((t - x[k + 7]) ** 2) * x[k + 4]) for k in (1, 2, 3))
        return y - (x[0] * exp(-t * x[4]) + peaks)

    start = [1.3, 0.65, 0.65, 0.7, 0.6, 3.0, 5.0, 7.0, 2.0, 4.5, 5.5]
    model = least_squares(phi, n, [(steps(65) - 1.0) / 10.0, _OSBORNE_2])
    return Setup(model, start, 4.0137736293547714e-2)


_WATSON = {6: 2.2876700535525204e-3, 9: 1.3997601380875745e-6, 12: 4.72238e-10}


@mgh(20, "watson", 6, least=2, most=31, tags="mgh least-squares ill-conditioned")
def _watson(n: int) -> Setup:
    """Watson: fit of a polynomial to y' = 1 + y^2; ill-conditioned as n (at most 31) grows."""
    t, j = steps(29, 1.0 / 29.0)[:, None], np.arange(float(n))[None, :]
    slopes = j * t ** np.maximum(j - 1.0, 0.0)

    model = Sum(
        squares(lambda slope, y: slope - y**2 - 1.0, [Dense(slopes), Dense(t**j)]),
        squares(lambda a, b: (a, b - a**2 - 1.0), [Slice(0, 1), Slice(1, 2)]),
    )
    return Setup(model, np.zeros(n), _WATSON.get(n))
