"""Finite differences: gradients from values, Hessian products from gradients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negopt import minimize
from negopt.functions.differences import (
    SCHEMES,
    difference_gradient,
    difference_product,
)

TOLERANCE = {"2-point": 2e-6, "3-point": 1e-8, "cs": 1e-12}


def smooth(x):
    return np.sum(np.exp(0.3 * x)) + np.sum(np.sin(x) * np.roll(x, 1))


def slope(x):
    return 0.3 * np.exp(0.3 * x) + np.cos(x) * np.roll(x, 1) + np.roll(np.sin(x), -1)


@pytest.mark.parametrize("scheme", SCHEMES)
@settings(max_examples=30)
@given(n=st.integers(1, 8), seed=st.integers(0, 10**6))
def test_gradient(scheme, n, seed):
    x = 2.0 * np.random.default_rng(seed).standard_normal(n)
    kept, calls = x.copy(), []

    def value(at):
        calls.append(at)
        return smooth(at)

    g = difference_gradient(value, x, smooth(x), scheme)
    np.testing.assert_allclose(g, slope(x), atol=TOLERANCE[scheme] * (1 + np.abs(x).max()))
    assert len(calls) == n * SCHEMES[scheme][0]
    np.testing.assert_array_equal(x, kept)


def test_steps_go_outwards_and_scale():
    """As in SciPy: sqrt(eps) max(1, |x|), away from zero."""
    seen = []
    x = np.array([0.0, 1e4, -1e4])
    difference_gradient(lambda at: seen.append(at - x) or 0.0, x, 0.0, "2-point")
    h = np.finfo(float).eps ** 0.5
    np.testing.assert_allclose(
        [s[i] for i, s in enumerate(seen)], [h, 1e4 * h, -1e4 * h], rtol=1e-3
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"absolute_step": 0.125}, [0.125, 0.125]),
        ({"absolute_step": [0.5, 0.25]}, [0.5, 0.25]),
        ({"relative_step": 0.25}, [0.5, 1.0]),
        ({"relative_step": [0.25, 0.5]}, [0.5, 2.0]),
        ({"relative_step": 0.25, "absolute_step": 0.125}, [0.125, 0.125]),
    ],
)
def test_steps_of_the_caller(options, expected):
    seen = []
    x = np.array([2.0, 4.0])
    difference_gradient(lambda at: seen.append(at - x) or 0.0, x, 0.0, "2-point", **options)
    np.testing.assert_array_equal([s[i] for i, s in enumerate(seen)], expected)


def test_a_relative_step_at_zero_takes_the_default():
    g = difference_gradient(lambda at: float(3 * at[0]), np.zeros(1), 0.0, "2-point", 0.1)
    assert g[0] == pytest.approx(3.0)


@settings(max_examples=30)
@given(n=st.integers(1, 8), seed=st.integers(0, 10**6), size=st.floats(-8, 8))
def test_product(n, seed, size):
    """``H v`` whatever the length of v."""
    rng = np.random.default_rng(seed)
    x, v = rng.standard_normal((2, n))
    v *= 10.0**size

    def gradient(at):
        return at**3 + np.sum(at)

    got = difference_product(gradient, x, gradient(x), v, 1e-6)
    exact = 3 * x**2 * v + np.sum(v)
    np.testing.assert_allclose(got, exact, atol=1e-4 * np.linalg.norm(v))


def test_product_takes_the_other_side_of_a_wall():
    def gradient(at):
        return 2 * at if at[0] <= 1.0 else np.full_like(at, np.nan)

    x, v = np.array([1.0, 0.0]), np.array([1.0, 0.0])
    np.testing.assert_allclose(difference_product(gradient, x, gradient(x), v, 1e-6), 2 * v)
    lost = difference_product(lambda at: np.nan * at, x, 2 * x, v, 1e-6)
    assert np.all(np.isnan(lost))


def test_product_with_zero_or_infinity():
    x = np.ones(2)
    np.testing.assert_array_equal(difference_product(lambda at: at, x, x, 0 * x, 1e-6), 0 * x)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_array_library(xp_case, scheme, dtype):
    xp = xp_case.xp
    x = xp_case.asarray([0.5, -1.5, 2.0], dtype)

    def value(at):
        out = xp.sum(at**3)
        return complex(out) if scheme == "cs" else float(out)

    g = difference_gradient(value, x, value(x), scheme) if scheme != "cs" or dtype else None
    assert xp_case.owns(g)
    assert g.dtype == x.dtype
    tolerance = 1e-5 if dtype == "float64" else 3e-2
    np.testing.assert_allclose(xp_case.to_numpy(g), [0.75, 6.75, 12.0], rtol=tolerance)
    product = difference_product(lambda at: 3 * at**2, x, 3 * x**2, x, 1e-3)
    assert xp_case.owns(product)
    np.testing.assert_allclose(xp_case.to_numpy(product), [1.5, 13.5, 24.0], rtol=2e-2)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("name", ["eps", "finite_diff_rel_step"])
def test_a_step_for_each_variable(name, compiled):
    """An array, as SciPy allows: it is that step everywhere where its entries are the same."""
    x0 = np.array([0.5, -1.5, 2.0])
    results = [
        minimize(smooth, x0, method="lqn-tr", options={name: step, "compiled": compiled})
        for step in (1e-7, np.full(3, 1e-7), [1e-7] * 3)
    ]
    for res in results[1:]:
        np.testing.assert_array_equal(res.x, results[0].x)
        assert res.nfev == results[0].nfev
