"""Gradients against differences of values, Hessian products against differences of gradients."""

import numpy as np
import pytest

from negopt import problems
from negopt.problems import _jet as jet

# Small, and odd where a problem admits it, so that ends of chains are exercised.
SMALL = 7


def _points(problem):
    """Return the starting points and two points around the first."""
    scale = 1.0 + np.abs(problem.x0)
    rng = np.random.default_rng(5)
    near = [problem.x0 + t * scale * rng.uniform(-1.0, 1.0, problem.n) for t in (0.01, 0.2)]
    return [problem.x0, *problem.starts, *near]


def _difference(function, x, d, step):
    """Return the derivative along d by Richardson's central differences, and its error.

    The error is the change that the extrapolation makes, plus rounding in `function`.
    """
    values = [function(x + t * d) for t in (step, -step, 0.5 * step, -0.5 * step)]
    coarse = (values[0] - values[1]) / (2.0 * step)
    fine = (values[2] - values[3]) / step
    rounding = 16.0 * np.finfo(float).eps * np.max(np.abs(values)) / step
    return (4.0 * fine - coarse) / 3.0, np.max(np.abs(fine - coarse)) + rounding


def _best_difference(function, x, d):
    """Return the difference whose own estimate of its relative error is the smallest."""
    found = [_difference(function, x, d, step) for step in 10.0 ** -np.arange(2.0, 8.0)]
    finite = [pair for pair in found if np.isfinite(pair[1])]
    return min(finite, key=lambda pair: pair[1] / (np.max(np.abs(pair[0])) + 1e-300))


@pytest.fixture(scope="module", params=problems.names())
def problem(request):
    return next(p for p in problems.collection(n=SMALL) if p.name == request.param)


def test_gradient_is_the_derivative_of_the_value(problem):
    checked = 0
    for x in _points(problem):
        f, g = problem.fun_and_grad(x)
        if not np.isfinite(f):
            continue
        assert f == pytest.approx(problem.fun(x), rel=1e-14, abs=1e-300)
        for seed in range(3):
            d = np.random.default_rng(seed).uniform(-1.0, 1.0, problem.n) * (1e-3 + np.abs(x))
            slope, error = _best_difference(problem.fun, x, d)
            size = np.sum(np.abs(g * d))
            assert g @ d == pytest.approx(slope, abs=1e-9 * size + 2.0 * error)
            # The differences must be sharp enough to convict a wrong gradient.
            checked += error <= 1e-4 * size
    assert checked > 0


def test_hessian_product_is_the_derivative_of_the_gradient(problem):
    checked = 0
    for x in _points(problem):
        if not np.isfinite(problem.fun(x)):
            continue
        product = problem.hessp(x)
        for seed in range(3):
            d = np.random.default_rng(seed).uniform(-1.0, 1.0, problem.n) * (1e-3 + np.abs(x))
            bend, error = _best_difference(problem.grad, x, d)
            got = product(d)
            size = np.max(np.abs(got))
            np.testing.assert_allclose(got, bend, rtol=0.0, atol=1e-8 * size + 2.0 * error)
            checked += error <= 1e-4 * size
    assert checked > 0


def test_hessian_is_symmetric_and_linear(problem):
    x = _points(problem)[-2]
    h = problem.hess(x)
    np.testing.assert_allclose(h, h.T, rtol=0.0, atol=1e-13 * np.max(np.abs(h)))
    p, q = np.random.default_rng(7).standard_normal((2, problem.n))
    product = problem.hessp(x)
    np.testing.assert_allclose(
        product(2.0 * p - q),
        2.0 * product(p) - product(q),
        rtol=0.0,
        atol=1e-12 * np.max(np.abs(h)) * problem.n,
    )
    np.testing.assert_allclose(
        h @ p, product(p), rtol=0.0, atol=1e-12 * np.max(np.abs(h)) * problem.n
    )


COMPLEX_STEP = ["rosenbrock", "wood", "osborne_2", "nist_gauss1", "nist_thurber", "cragglvy"]


@pytest.mark.parametrize("name", COMPLEX_STEP)
def test_gradient_agrees_with_the_complex_step(name):
    # The element functions are analytic, so f(x + i h d) gives the slope without cancellation.
    p = next(q for q in problems.collection(n=8) if q.name == name)
    d = np.random.default_rng(3).uniform(-1.0, 1.0, p.n)
    slope = p.model.value(p.x0 + 1e-30j * d).imag / 1e-30
    assert p.grad(p.x0) @ d == pytest.approx(slope, rel=1e-11)


def test_product_is_exact_where_variables_vanish():
    p = problems.get("brown_almost_linear", n=5)
    for zeros in ([1], [1, 3], [0, 2, 4]):
        x = np.array([1.5, -0.5, 2.0, 0.7, 1.1])
        x[zeros] = 0.0
        slope, error = _difference(p.grad, x, np.ones(5), 1e-3)
        np.testing.assert_allclose(p.hessp(x)(np.ones(5)), slope, atol=1e-9 + error)


@pytest.mark.parametrize(
    ("function", "first", "second"),
    [
        (jet.exp, np.exp, np.exp),
        (jet.log, lambda v: 1.0 / v, lambda v: -1.0 / v**2),
        (jet.sqrt, lambda v: 0.5 * v**-0.5, lambda v: -0.25 * v**-1.5),
        (jet.sin, np.cos, lambda v: -np.sin(v)),
        (jet.cos, lambda v: -np.sin(v), lambda v: -np.cos(v)),
        (jet.tan, lambda v: 1 / np.cos(v) ** 2, lambda v: 2 * np.sin(v) / np.cos(v) ** 3),
        (jet.arctan, lambda v: 1 / (1 + v**2), lambda v: -2 * v / (1 + v**2) ** 2),
        (lambda z: 2.0 / z, lambda v: -2.0 / v**2, lambda v: 4.0 / v**3),
        (lambda z: z**1.7, lambda v: 1.7 * v**0.7, lambda v: 1.19 * v**-0.3),
        (
            lambda z: z**z,
            lambda v: v**v * (np.log(v) + 1),
            lambda v: v**v * ((np.log(v) + 1) ** 2 + 1 / v),
        ),
    ],
    ids=["exp", "log", "sqrt", "sin", "cos", "tan", "arctan", "quotient", "power", "jet-power"],
)
def test_jet_rules(function, first, second):
    v = np.array([0.3, 1.2, 1.4])
    z = function(jet.Jet(v, np.ones((1, 1)), None, 2))
    np.testing.assert_allclose(z.value, function(v), rtol=1e-15)
    np.testing.assert_allclose(z.first[0], first(v), rtol=1e-14)
    np.testing.assert_allclose(z.second[0, 0], second(v), rtol=1e-13)


def test_jet_angle_in_every_quadrant():
    y, x = np.array([1.0, 1.0, -1.0, -1.0, 0.0, 2.0]), np.array([2.0, -2.0, -2.0, 2.0, -1.0, 0.0])
    eye = np.eye(2)[:, :, None]
    z = jet.arctan2(jet.Jet(y, eye[0], None, 2), jet.Jet(x, eye[1], None, 2))
    r = x**2 + y**2
    np.testing.assert_array_equal(z.value, np.arctan2(y, x))
    np.testing.assert_allclose(z.first, [x / r, -y / r], atol=1e-15)
    mixed = (y**2 - x**2) / r**2
    np.testing.assert_allclose(
        z.second, [[-2 * x * y / r**2, mixed], [mixed, 2 * x * y / r**2]], atol=1e-15
    )
