"""The trust-region step in a Lanczos basis: accuracy, re-use, what is not finite."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negopt import kernels
from negopt._types import Iterate
from negopt.curvature.products import ProductOperator
from negopt.steps.krylov_tr import KrylovTrustRegion

RNG = np.random.default_rng(0)


def point(g):
    return Iterate(np.zeros_like(g), 0.0, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))


class Counted:
    def __init__(self, H):
        self.H, self.count = H, 0

    def __call__(self, v):
        self.count += 1
        return self.H @ v


@settings(max_examples=80)
@given(
    n=st.integers(1, 20),
    seed=st.integers(0, 10**9),
    log_radius=st.floats(-3, 3),
    forcing=st.sampled_from([1e-12, 0.5]),
)
def test_step(n, seed, log_radius, forcing):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n))
    H, g, radius = A + A.T, rng.standard_normal(n), 10.0**log_radius
    product = Counted(H)
    operator = ProductOperator(product)
    rule = KrylovTrustRegion(forcing=forcing)
    step = rule.propose(point(g), operator, radius, RNG)
    assert np.linalg.norm(step.s) <= radius * (1 + 1e-14)
    assert step.slope == pytest.approx(g @ step.s, rel=1e-9)
    assert step.quadratic == pytest.approx(step.s @ H @ step.s, rel=1e-6, abs=1e-8 * radius)
    assert product.count <= n
    if forcing < 1e-10:  # g is generic: the space is complete, and the step that of eigh
        values, vectors = np.linalg.eigh(H)
        small = np.empty(n)
        kernels.trust_region_step(values, vectors.T @ g, radius, small)
        best = g @ vectors @ small + values @ small**2 / 2
        assert -step.predicted_decrease == pytest.approx(best, rel=1e-6)
    # A rejected step: the smaller radius is solved for in the same basis.
    count = product.count
    again = rule.propose(point(g), operator, 1e-2 * radius, RNG)
    assert np.linalg.norm(again.s) <= 1e-2 * radius * (1 + 1e-14)
    assert product.count - count <= max(0, n - count)
    if operator.basis.k == count:
        assert product.count == count


def test_the_forcing_term_stops_early():
    rng = np.random.default_rng(1)
    Q = np.linalg.qr(rng.standard_normal((60, 60)))[0]
    H = (Q * np.linspace(1, 2, 60)) @ Q.T
    counts = []
    for forcing in (0.5, 1e-3, 1e-8):
        product = Counted(H)
        g = 10 * rng.standard_normal(60)
        step = KrylovTrustRegion(forcing=forcing).propose(
            point(g), ProductOperator(product), 1e6, RNG
        )
        assert np.linalg.norm(H @ step.s + g) <= forcing * np.linalg.norm(g)
        counts.append(product.count)
    assert counts[0] < counts[1] < counts[2] < 60


def test_the_limit_on_products():
    rng = np.random.default_rng(1)
    product = Counted(np.diag(np.geomspace(1e-4, 1e4, 50)))
    rule = KrylovTrustRegion(max_products=7, forcing=1e-9)
    rule.propose(point(rng.standard_normal(50)), ProductOperator(product), 1e9, RNG)
    assert product.count == 7


@pytest.mark.parametrize("good", [0, 3])
def test_products_that_are_not_finite(good):
    """Without any product: steepest descent; after some: the best in what there is."""
    left = [good]

    def product(v):
        left[0] -= 1
        return np.diag(np.arange(1.0, 9.0)) @ v if left[0] >= 0 else np.nan * v

    g = np.ones(8)
    step = KrylovTrustRegion(forcing=1e-9).propose(point(g), ProductOperator(product), 0.1, RNG)
    assert np.linalg.norm(step.s) == pytest.approx(0.1)
    assert step.predicted_decrease > 0
    if good == 0:
        np.testing.assert_allclose(step.s, -0.1 * g / np.sqrt(8))


def test_refusals():
    with pytest.raises(TypeError, match="radius"):
        KrylovTrustRegion().propose(point(np.ones(2)), ProductOperator(lambda v: v), None, RNG)
    with pytest.raises(ValueError, match="max_products"):
        KrylovTrustRegion(max_products=0)
    with pytest.raises(ValueError, match="forcing"):
        KrylovTrustRegion(forcing=1.0)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_array_library(xp_case, dtype):
    rng = np.random.default_rng(3)
    A = rng.standard_normal((6, 6))
    H, g = A + A.T, rng.standard_normal(6)
    Hx, gx = xp_case.asarray(H, dtype), xp_case.asarray(g, dtype)
    here = Iterate(gx, 0.0, gx, float(np.linalg.norm(g)), float(np.max(np.abs(g))))
    step = KrylovTrustRegion(forcing=1e-9).propose(
        here, ProductOperator(lambda v: Hx @ v), 0.7, RNG
    )
    assert xp_case.owns(step.s)
    assert step.s.dtype == gx.dtype
    values, vectors = np.linalg.eigh(H)
    small = np.empty(6)
    kernels.trust_region_step(values, vectors.T @ g, 0.7, small)
    tolerance = 1e-9 if dtype == "float64" else 1e-3
    np.testing.assert_allclose(xp_case.to_numpy(step.s), vectors @ small, atol=tolerance)
