"""Values against the formulas of the papers, written out a second time as plain loops.

Derivatives follow from the values by rule, so a slip in a formula would pass the
derivative tests; here every variable-dimension problem is entered twice.
Indices are the papers': x[1], ..., x[n].
"""

import math
from math import cos, exp, prod, sin, tan

import numpy as np
import pytest

from negopt import problems


def ssq(values):
    return sum(v * v for v in values)


def wood(a, b, c, d):
    return (
        100 * (b - a**2) ** 2
        + (1 - a) ** 2
        + 90 * (d - c**2) ** 2
        + (1 - c) ** 2
        + 10 * (b + d - 2) ** 2
        + 0.1 * (b - d) ** 2
    )


def powell(a, b, c, d, last=1):
    return (a + 10 * b) ** 2 + 5 * (c - d) ** 2 + (b - 2 * c) ** 4 + 10 * (a - last * d) ** 4


def roth(a, b):
    return (-13 + a + ((5 - b) * b - 2) * b) ** 2 + (-29 + a + ((b + 1) * b - 14) * b) ** 2


def penalty_2(x, n):
    def y(i):
        return exp(i / 10) + exp((i - 1) / 10)

    pairs = [exp(x[i] / 10) + exp(x[i - 1] / 10) - y(i) for i in range(2, n + 1)]
    singles = [exp(x[i - n + 1] / 10) - exp(-1 / 10) for i in range(n + 1, 2 * n)]
    sphere = sum((n - j + 1) * x[j] ** 2 for j in range(1, n + 1)) - 1
    return (x[1] - 0.2) ** 2 + 1e-5 * (ssq(pairs) + ssq(singles)) + sphere**2


def integral_equation(x, n):
    h = 1 / (n + 1)
    c = {j: (x[j] + j * h + 1) ** 3 for j in range(1, n + 1)}
    return ssq(
        x[i]
        + h
        * (
            (1 - i * h) * sum(j * h * c[j] for j in range(1, i + 1))
            + i * h * sum((1 - j * h) * c[j] for j in range(i + 1, n + 1))
        )
        / 2
        for i in range(1, n + 1)
    )


def boundary_value(x, n):
    h, y = 1 / (n + 1), [0, *x[1:], 0]
    return ssq(
        2 * y[i] - y[i - 1] - y[i + 1] + h**2 * (y[i] + i * h + 1) ** 3 / 2 for i in range(1, n + 1)
    )


def tridiagonal(x, n):
    y = [0, *x[1:], 0]
    return ssq((3 - 2 * y[i]) * y[i] - y[i - 1] - 2 * y[i + 1] + 1 for i in range(1, n + 1))


def banded(x, n):
    def others(i):
        return [j for j in range(max(1, i - 5), min(n, i + 1) + 1) if j != i]

    return ssq(
        x[i] * (2 + 5 * x[i] ** 2) + 1 - sum(x[j] * (1 + x[j]) for j in others(i))
        for i in range(1, n + 1)
    )


def chebyquad(x, n):
    total = 0.0
    for i in range(1, n + 1):
        t = np.polynomial.chebyshev.Chebyshev.basis(i, domain=[0, 1])
        antiderivative = t.integ()
        integral = antiderivative(1.0) - antiderivative(0.0)
        total += (sum(t(v) for v in x[1:]) / n - integral) ** 2
    return total


def trigonometric(x, n):
    s = sum(cos(v) for v in x[1:])
    return ssq(n - s + i * (1 - cos(x[i])) - sin(x[i]) for i in range(1, n + 1))


def brown(x, n):
    s = sum(x[1:])
    return ssq(x[i] + s - (n + 1) for i in range(1, n)) + (prod(x[1:]) - 1) ** 2


def variably(x, n):
    s = sum(j * (x[j] - 1) for j in range(1, n + 1))
    return ssq(v - 1 for v in x[1:]) + s**2 + s**4


def full_rank(x, n):
    m, s = 2 * n, sum(x[1:])
    return ssq((x[i] if i <= n else 0) - 2 / m * s - 1 for i in range(1, m + 1))


def rank_1(x, n):
    s = sum(j * x[j] for j in range(1, n + 1))
    return ssq(i * s - 1 for i in range(1, 2 * n + 1))


def rank_1_zero(x, n):
    m, s = 2 * n, sum(j * x[j] for j in range(2, n))
    return 2 + ssq((i - 1) * s - 1 for i in range(2, m))


def cragglvy(x, n):
    return sum(
        (exp(x[i]) - x[i + 1]) ** 4
        + 100 * (x[i + 1] - x[i + 2]) ** 6
        + (tan(x[i + 2] - x[i + 3]) + x[i + 2] - x[i + 3]) ** 4
        + x[i] ** 8
        + (x[i + 3] - 1) ** 2
        for i in range(1, n - 2, 2)
    )


def bdqrtic(x, n):
    return sum(
        (3 - 4 * x[i]) ** 2 + (sum((k + 1) * x[i + k] ** 2 for k in range(4)) + 5 * x[n] ** 2) ** 2
        for i in range(1, n - 3)
    )


def curly(x, n):
    q = [sum(x[i : i + 11]) for i in range(1, n + 1)]
    return sum(v**4 - 20 * v**2 - 0.1 * v for v in q)


def schmvett(x, n):
    return -sum(
        1 / (1 + (x[i] - x[i + 1]) ** 2)
        + sin((math.pi * x[i + 1] + x[i + 2]) / 2)
        + exp(-(((x[i] + x[i + 2]) / x[i + 1] - 2) ** 2))
        for i in range(1, n - 1)
    )


def dixmaan(x, n):
    m = n // 3
    return (
        1
        + sum(x[i] ** 2 for i in range(1, n + 1))
        + sum(0.125 * x[i] ** 2 * x[i + m] ** 4 for i in range(1, 2 * m + 1))
        + sum(0.125 * x[i] * x[i + 2 * m] for i in range(1, m + 1))
    )


def upto(x, last, term, first=1):
    """Sum a term of i over i = first, ..., last."""
    return sum(term(x, i) for i in range(first, last + 1))


# fmt: off
FORMULAS = {
    "extended_rosenbrock": lambda x, n: sum(
        100 * (x[i + 1] - x[i] ** 2) ** 2 + (1 - x[i]) ** 2 for i in range(1, n, 2)),
    "extended_powell_singular": lambda x, n: sum(powell(*x[i:i + 4]) for i in range(1, n, 4)),
    "penalty_1": lambda x, n: 1e-5 * ssq(v - 1 for v in x[1:]) + (ssq(x[1:]) - 0.25) ** 2,
    "penalty_2": penalty_2,
    "variably_dimensioned": variably,
    "trigonometric": trigonometric,
    "brown_almost_linear": brown,
    "discrete_boundary_value": boundary_value,
    "discrete_integral_equation": integral_equation,
    "broyden_tridiagonal": tridiagonal,
    "broyden_banded": banded,
    "linear_full_rank": full_rank,
    "linear_rank_1": rank_1,
    "linear_rank_1_zero": rank_1_zero,
    "chebyquad": chebyquad,
    "arwhead": lambda x, n: upto(
        x, n - 1, lambda x, i: (x[i] ** 2 + x[n] ** 2) ** 2 - 4 * x[i] + 3),
    "bdqrtic": bdqrtic,
    "chained_wood": lambda x, n: 1 + sum(wood(*x[i:i + 4]) for i in range(1, n - 2, 2)),
    "extended_wood": lambda x, n: sum(wood(*x[i:i + 4]) for i in range(1, n, 4)),
    "chained_rosenbrock": lambda x, n: upto(
        x, n - 1, lambda x, i: 100 * (x[i + 1] - x[i] ** 2) ** 2 + (1 - x[i]) ** 2),
    "genrose": lambda x, n: 1 + upto(
        x, n, lambda x, i: 100 * (x[i] - x[i - 1] ** 2) ** 2 + (x[i] - 1) ** 2, 2),
    "dixon_price": lambda x, n: (x[1] - 1) ** 2 + upto(
        x, n, lambda x, i: i * (2 * x[i] ** 2 - x[i - 1]) ** 2, 2),
    "tridia": lambda x, n: (x[1] - 1) ** 2 + upto(
        x, n, lambda x, i: i * (2 * x[i] - x[i - 1]) ** 2, 2),
    "dqdrtic": lambda x, n: upto(
        x, n - 2, lambda x, i: x[i] ** 2 + 100 * x[i + 1] ** 2 + 100 * x[i + 2] ** 2),
    "nondia": lambda x, n: (x[1] - 1) ** 2 + upto(
        x, n, lambda x, i: 100 * (x[1] - x[i - 1] ** 2) ** 2, 2),
    "engval1": lambda x, n: upto(
        x, n - 1, lambda x, i: (x[i] ** 2 + x[i + 1] ** 2) ** 2 - 4 * x[i] + 3),
    "freuroth": lambda x, n: upto(x, n - 1, lambda x, i: roth(x[i], x[i + 1])),
    "cragglvy": cragglvy,
    "liarwhd": lambda x, n: upto(
        x, n, lambda x, i: 4 * (x[i] ** 2 - x[1]) ** 2 + (x[i] - 1) ** 2),
    "edensch": lambda x, n: 16 + upto(x, n - 1, lambda x, i: (x[i] - 2) ** 4
        + (x[i] * x[i + 1] - 2 * x[i + 1]) ** 2 + (x[i + 1] + 1) ** 2),
    "power": lambda x, n: upto(x, n, lambda x, i: i * x[i] ** 2) ** 2,
    "cosine": lambda x, n: upto(x, n - 1, lambda x, i: cos(x[i] ** 2 - 0.5 * x[i + 1])),
    "sinquad": lambda x, n: (x[1] - 1) ** 4 + (x[n] ** 2 - x[1] ** 2) ** 2 + upto(
        x, n - 1, lambda x, i: (sin(x[i] - x[n]) - x[1] ** 2 + x[i] ** 2) ** 2, 2),
    "fletchcr": lambda x, n: upto(
        x, n - 1, lambda x, i: 100 * (x[i + 1] - x[i] + 1 - x[i] ** 2) ** 2),
    "quartc": lambda x, n: upto(x, n, lambda x, i: (x[i] - i) ** 4),
    "curly": curly,
    "nondquar": lambda x, n: (x[1] - x[2]) ** 2 + (x[n - 1] - x[n]) ** 2 + upto(
        x, n - 2, lambda x, i: (x[i] + x[i + 1] + x[n]) ** 4),
    "nonscomp": lambda x, n: (x[1] - 1) ** 2 + upto(
        x, n, lambda x, i: 4 * (x[i] - x[i - 1] ** 2) ** 2, 2),
    "tquartic": lambda x, n: (x[1] - 1) ** 2 + upto(
        x, n, lambda x, i: (x[1] ** 2 - x[i] ** 2) ** 2, 2),
    "eg2": lambda x, n: upto(
        x, n - 1, lambda x, i: sin(x[1] + x[i] ** 2 - 1)) + 0.5 * sin(x[n] ** 2),
    "schmvett": schmvett,
    "hager": lambda x, n: upto(x, n, lambda x, i: exp(x[i]) - math.sqrt(i) * x[i]),
    "genhumps": lambda x, n: upto(x, n - 1, lambda x, i: sin(2 * x[i]) ** 2
        * sin(2 * x[i + 1]) ** 2 + 0.05 * (x[i] ** 2 + x[i + 1] ** 2)),
    "chained_singular": lambda x, n: sum(powell(*x[i:i + 4], last=10) for i in range(1, n - 2, 2)),
    "dixmaan": dixmaan,
    "coupled_double_wells": lambda x, n: upto(x, n, lambda x, i: (x[i] ** 2 - 1) ** 2 / 4)
        + upto(x, n - 1, lambda x, i: 0.05 * (x[i + 1] - x[i]) ** 2),
    "styblinski_tang": lambda x, n: upto(
        x, n, lambda x, i: (x[i] ** 4 - 16 * x[i] ** 2 + 5 * x[i]) / 2),
    "deep_linear_chain": lambda x, n: (prod(x[1:]) - 1) ** 2 / 2,
}
# fmt: on


def test_every_chain_and_every_variable_mgh_problem_is_entered_twice():
    wanted = set(problems.names("chain")) | set(problems.names("mgh")[20:])
    assert wanted <= set(FORMULAS)


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("n", [8, 14, 25])
def test_value_is_the_formula(name, n):
    p = next(p for p in problems.collection(n=n) if p.name == name)
    moved = p.x0 + np.random.default_rng(n).uniform(-0.3, 0.3, p.n)
    for x in (p.x0, moved):
        want = FORMULAS[name]([math.nan, *x.tolist()], p.n)
        assert p.fun(x) == pytest.approx(want, rel=1e-11, abs=1e-13)


# The first four entries of the standard starts at n = 100 (99), from the papers and SIF files.
STARTS = {
    "extended_rosenbrock": [-1.2, 1, -1.2, 1],
    "extended_powell_singular": [3, -1, 0, 1],
    "penalty_1": [1, 2, 3, 4],
    "penalty_2": [0.5] * 4,
    "variably_dimensioned": [0.99, 0.98, 0.97, 0.96],
    "trigonometric": [0.01] * 4,
    "brown_almost_linear": [0.5] * 4,
    "discrete_boundary_value": [i / 101 * (i / 101 - 1) for i in (1, 2, 3, 4)],
    "discrete_integral_equation": [i / 101 * (i / 101 - 1) for i in (1, 2, 3, 4)],
    "broyden_tridiagonal": [-1] * 4,
    "broyden_banded": [-1] * 4,
    "linear_full_rank": [1] * 4,
    "linear_rank_1": [1] * 4,
    "linear_rank_1_zero": [1] * 4,
    "chebyquad": [1 / 101, 2 / 101, 3 / 101, 4 / 101],
    "arwhead": [1] * 4,
    "bdqrtic": [1] * 4,
    "chained_wood": [-3, -1, -3, -1],
    "extended_wood": [-3, -1, -3, -1],
    "chained_rosenbrock": [-1.2, 1, -1.2, 1],
    "genrose": [1 / 101, 2 / 101, 3 / 101, 4 / 101],
    "dixon_price": [1] * 4,
    "tridia": [1] * 4,
    "dqdrtic": [3] * 4,
    "nondia": [-1] * 4,
    "engval1": [2] * 4,
    "freuroth": [0.5, -2, 0, 0],
    "cragglvy": [1, 2, 2, 2],
    "liarwhd": [4] * 4,
    "edensch": [8] * 4,
    "power": [1] * 4,
    "cosine": [1] * 4,
    "sinquad": [0.1] * 4,
    "fletchcr": [0] * 4,
    "quartc": [2] * 4,
    "curly": [1e-4 * i / 101 for i in (1, 2, 3, 4)],
    "nondquar": [1, -1, 1, -1],
    "nonscomp": [3] * 4,
    "tquartic": [0.1] * 4,
    "eg2": [0] * 4,
    "schmvett": [0.5] * 4,
    "hager": [1] * 4,
    "genhumps": [-506, 506.2, 506.2, 506.2],
    "chained_singular": [3, -1, 0, 1],
    "dixmaan": [2] * 4,
    "styblinski_tang": [0] * 4,
}


@pytest.mark.parametrize("name", STARTS)
def test_standard_start(name):
    p = next(p for p in problems.collection(n=100) if p.name == name)
    np.testing.assert_allclose(p.x0[:4], STARTS[name], rtol=1e-13)


def test_pairwise_sums_and_matrices():
    p = problems.get("lennard_jones_7")
    atoms = p.x0.reshape(7, 3)
    r = [np.linalg.norm(atoms[i] - atoms[j]) for i in range(7) for j in range(i)]
    assert p.fun(p.x0) == pytest.approx(sum(4 * (v**-12 - v**-6) for v in r), rel=1e-12)
    p = problems.get("matrix_factorisation", 24)
    m, x = p.minimizer.reshape(12, 2), np.sin(np.arange(24.0))
    error = x[:12].reshape(6, 2) @ x[12:].reshape(6, 2).T - m[:6] @ m[6:].T
    assert p.fun(x) == pytest.approx(0.5 * np.sum(error**2), rel=1e-12)
    p = problems.get("watson", 6)
    x, t = np.sin(np.arange(6.0)), np.arange(1, 30) / 29
    slope = sum(j * x[j] * t ** (j - 1) for j in range(1, 6))
    r = slope - sum(x[j] * t**j for j in range(6)) ** 2 - 1
    assert p.fun(x) == pytest.approx(r @ r + x[0] ** 2 + (x[1] - x[0] ** 2 - 1) ** 2, rel=1e-12)
