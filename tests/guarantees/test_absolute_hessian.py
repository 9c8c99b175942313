"""The saddle-free step equals that of an eigendecomposition, by Krylov space or by series.

Theorem.  Let H = sum lambda_i v_i v_i', d the relative damping and ``L = max |lambda_i|``.

1. Krylov engine: once its space is complete (k = n, or the space of g is closed), the step is
   ``-(|H| + d L I)^-1 g``.
2. ``1 / (d + sqrt(1 - z)) = sum c_k z^k`` with positive c_k.  For V >= L^2 the partial sum of K
   terms is off by at most ``sum_{k >= K} c_k z^k ||g|| / sqrt(V)``, z = 1 - min lambda^2 / V.
3. Accelerated sums converge to the same limit.
4. The shifted series is that of ``-|H + lambda I|^-1 g``.
"""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negopt.core.bounds import Damping
from negopt.core.types import Iterate
from negopt.curvature.exact_products import ProductOperator
from negopt.steps.acceleration import ACCELERATORS
from negopt.steps.sfn_series import SaddleFreeSeries, series_coefficients


def hessian(n, seed, condition):
    """Return an indefinite H with largest |eigenvalue| 10^u, its |eigenvalues|, and a g."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    values = condition ** -rng.uniform(0, 1, n) * rng.choice([-1.0, 1.0], n)
    values *= 10.0 ** rng.uniform(-2, 2)
    return (Q * values) @ Q.T, rng.standard_normal(n)


def point(g):
    return Iterate(np.zeros_like(g), 0.0, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))


def absolute_step(H, g, shift):
    values, vectors = np.linalg.eigh(H)
    return -vectors @ ((vectors.T @ g) / (np.abs(values) + shift))


@settings(max_examples=100)
@given(
    n=st.integers(1, 25),
    seed=st.integers(0, 10**9),
    condition=st.sampled_from([1.0, 10.0, 1e3]),
    damping=st.sampled_from([0.0, 1e-6, 1e-2, 1.0, 100.0]),
)
def test_krylov_engine_is_exact_at_k_equal_n(n, seed, condition, damping):
    H, g = hessian(n, seed, condition)
    products = []

    def product(v):
        products.append(v)
        return H @ v

    operator = ProductOperator(product)
    rule = SaddleFreeSeries(terms=n, change=0.0)
    step = rule.propose(point(g), operator, Damping(damping))
    largest = np.max(np.abs(np.linalg.eigvalsh(H)))
    expected = absolute_step(H, g, damping * largest)
    np.testing.assert_allclose(step.s, expected, atol=1e-8 * np.linalg.norm(expected))
    assert step.slope == pytest.approx(g @ step.s, rel=1e-9)
    assert step.slope < 0
    assert step.quadratic == pytest.approx(step.s @ H @ step.s, rel=1e-6, abs=1e-9 * -step.slope)
    assert len(products) <= n
    # Another damping re-uses the basis: no product more.
    count = len(products)
    step = rule.propose(point(g), operator, Damping(10 * damping + 1.0))
    expected = absolute_step(H, g, (10 * damping + 1.0) * largest)
    np.testing.assert_allclose(step.s, expected, atol=1e-8 * np.linalg.norm(expected))
    assert len(products) == count


@settings(max_examples=60)
@given(n=st.integers(6, 40), seed=st.integers(0, 10**9), distinct=st.integers(1, 5))
def test_krylov_engine_is_exact_when_the_space_closes(n, seed, distinct):
    rng = np.random.default_rng(seed)
    levels = rng.uniform(0.3, 3.0, distinct) * rng.choice([-1, 1], distinct)
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    values = levels[rng.integers(0, distinct, n)]
    values[:distinct] = levels
    H, g = (Q * values) @ Q.T, rng.standard_normal(n)
    step = SaddleFreeSeries(terms=20, change=0.0).propose(
        point(g), ProductOperator(lambda v: H @ v), Damping(1e-3)
    )
    expected = absolute_step(H, g, 1e-3 * np.max(np.abs(levels)))
    np.testing.assert_allclose(step.s, expected, atol=1e-6 * np.linalg.norm(expected))


@settings(max_examples=60)
@given(
    count=st.integers(1, 60),
    d=st.one_of(st.just(0.0), st.floats(1e-6, 3.0), st.floats(3.0, 1e9)).filter(lambda d: d != 1),
)
def test_coefficients_against_50_digits(count, d):
    got = series_coefficients(count, d)
    assert got.shape == (count,)
    with mpmath.workdps(30):
        shrink = 1 - mpmath.mpf(d) ** 2
        digits = int(count * abs(mpmath.log10(abs(shrink)))) if d else 0
    with mpmath.workdps(50 + digits):  # as many more as the recurrence loses forwards
        shrink = 1 - mpmath.mpf(d) ** 2
        c = [1 / (1 + mpmath.mpf(d))]
        b = mpmath.mpf(1)
        for k in range(1, count):
            b *= (k - mpmath.mpf(3) / 2) / k
            c.append((c[-1] + b) / shrink)
        expected = np.array([float(v) for v in c])
    np.testing.assert_allclose(got, expected, rtol=1e-9)
    assert np.all(got > 0)
    assert np.all(np.diff(got) < 0)


@pytest.mark.parametrize("d", [0.05, 0.3, 0.9, 0.999, 1.0, 1.2, 1.4, 1.42, 3.0, 1e6])
def test_coefficients_of_a_long_series_sum_to_the_function(d):
    c, k = series_coefficients(2000, d), np.arange(2000)
    for z in (0.0, 0.5, -0.9, 0.97, 0.99):
        value = 1 / (d + np.sqrt(1 - z))
        assert c @ z**k == pytest.approx(value, rel=1e-8), z


def test_what_the_recurrence_loses_forwards_in_single_precision():
    """The trap of the published code: c_9 has no digit left at d = 0.9."""
    d, b = np.float32(0.9), 1.0
    c = 1 / (1 + d)
    for k in range(1, 10):
        b *= (k - 1.5) / k
        c = (c + np.float32(b)) / (1 - d * d)
    true = series_coefficients(10, 0.9)[9]
    assert abs(c - true) > true


@pytest.mark.parametrize("d", [-0.1, np.inf, np.nan])
def test_coefficients_refuse(d):
    with pytest.raises(ValueError, match="relative damping"):
        series_coefficients(4, d)


def series_step(H, g, damping, **options):
    rule = SaddleFreeSeries(engine="binomial", **options)
    operator = ProductOperator(lambda v: H @ v)
    step = rule.propose(point(g), operator, damping)
    return step, operator.scale


@settings(max_examples=60)
@given(
    n=st.integers(1, 5),
    seed=st.integers(0, 10**9),
    terms=st.sampled_from([5, 20, 80]),
    damping=st.sampled_from([1e-3, 0.05, 0.3, 0.5, 2.0]),
)
def test_series_within_its_bound(n, seed, terms, damping):
    """With n <= 5 the Lanczos bound V is certain to be above the largest eigenvalue."""
    H, g = hessian(n, seed, 30.0)
    step, V = series_step(H, g, Damping(damping), terms=terms, accelerator=None)
    values = np.linalg.eigvalsh(H)
    assert np.max(values**2) <= V
    limit = absolute_step(H, g, damping * np.sqrt(V))
    z = 1.0 - np.min(values**2) / V
    tail = 1 / (damping + np.sqrt(1 - z))
    tail -= series_coefficients(terms, damping) @ z ** np.arange(terms)
    bound = tail * np.linalg.norm(g) / np.sqrt(V)
    assert np.linalg.norm(step.s - limit) <= bound * (1 + 1e-6) + 1e-9 * np.linalg.norm(limit)


@pytest.mark.parametrize("accelerator", [None, *ACCELERATORS])
@pytest.mark.parametrize("damping", [0.0, 0.1, 0.4, 3.0])
@settings(max_examples=10)
@given(n=st.integers(2, 5), seed=st.integers(0, 10**6))
def test_series_converges_to_the_eigendecomposition(accelerator, damping, n, seed):
    H, g = hessian(n, seed, 3.0)
    errors = []
    for terms in (10, 60, 300):
        step, V = series_step(H, g, Damping(damping), terms=terms, accelerator=accelerator, order=2)
        limit = absolute_step(H, g, damping * np.sqrt(V))
        errors.append(np.linalg.norm(step.s - limit) / np.linalg.norm(limit))
    assert errors[-1] <= 1e-6
    assert errors[-1] <= errors[0] + 1e-12


@pytest.mark.parametrize("scaling", ["lanczos", "power", "source"])
@pytest.mark.parametrize("relative", [True, False])
@settings(max_examples=10)
@given(n=st.integers(2, 12), seed=st.integers(0, 10**6), damping=st.floats(1e-3, 0.5))
def test_the_shifted_series_is_that_of_the_shifted_hessian(scaling, relative, n, seed, damping):
    H, g = hessian(n, seed, 2.0)
    H *= 8.0 / np.max(np.abs(np.linalg.eigvalsh(H)))  # the source's V = 100 is a bound then
    bound = Damping(damping, absolute=not relative)
    step, V = series_step(
        H, g, bound, terms=800, accelerator=None, series="shifted", scaling=scaling
    )
    size = 10.0 if scaling == "source" else np.sqrt(V)  # V of the source is that of H + shift
    shift = damping * size if relative else damping
    values, vectors = np.linalg.eigh(H + shift * np.eye(n))
    expected = -vectors @ ((vectors.T @ g) / np.abs(values))
    error = np.abs(vectors.T @ (step.s - expected))
    # The series says little where |lambda + shift| is small against sqrt(V).
    inside = np.abs(values) > 0.15 * (np.sqrt(V) + (shift if scaling != "source" else 0.0))
    assert np.all(error[inside] <= 1e-6 * np.abs(vectors.T @ expected)[inside])


@pytest.mark.parametrize("engine", ["krylov", "binomial"])
def test_an_absolute_damping_is_not_a_share(engine):
    H, g = hessian(4, 7, 3.0)
    rule = SaddleFreeSeries(engine=engine, terms=4 if engine == "krylov" else 400, change=0.0)
    step = rule.propose(
        point(g),
        ProductOperator(lambda v: H @ v),
        Damping(0.7, absolute=True),
    )
    expected = absolute_step(H, g, 0.7)
    np.testing.assert_allclose(step.s, expected, atol=1e-6 * np.linalg.norm(expected))


@pytest.mark.parametrize("engine", ["krylov", "binomial"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_array_library(xp_case, engine, dtype):
    H, g = hessian(4, 3, 3.0)
    Hx, gx = xp_case.asarray(H, dtype), xp_case.asarray(g, dtype)
    x = xp_case.asarray(np.zeros(4), dtype)
    here = Iterate(x, 0.0, gx, float(np.linalg.norm(g)), float(np.max(np.abs(g))))
    rule = SaddleFreeSeries(engine=engine, terms=4 if engine == "krylov" else 100, change=0.0)
    operator = ProductOperator(lambda v: Hx @ v)
    step = rule.propose(here, operator, Damping(0.1))
    assert xp_case.owns(step.s)
    assert step.s.dtype == gx.dtype
    largest = np.max(np.abs(np.linalg.eigvalsh(H)))
    scale = largest if engine == "krylov" else np.sqrt(operator.scale)
    expected = absolute_step(H, g, 0.1 * scale)
    tolerance = 1e-9 if dtype == "float64" else 1e-4
    error = xp_case.to_numpy(step.s).astype(float) - expected
    assert np.linalg.norm(error) <= tolerance * np.linalg.norm(expected)
