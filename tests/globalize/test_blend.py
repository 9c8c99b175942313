"""Learning rate and momentum from a plane of the quadratic model, against dense references."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negopt.core.types import Iterate, Step
from negopt.curvature.dense import DenseOperator, HessianMemory
from negopt.globalize.blend import Blend, best_weights


def point(g):
    return Iterate(np.zeros_like(g), 0.0, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))


def case(seed, n=6):
    rng = np.random.default_rng(seed)
    H = rng.standard_normal((n, n))
    return H + H.T, rng.standard_normal(n), rng.standard_normal(n), rng


class Products:
    """H as an operator that knows nothing but products, counted."""

    def __init__(self, H):
        self.H, self.calls = H, 0

    def matvec(self, v):
        self.calls += 1
        return self.H @ v


def proposed(H, g, lam):
    values, vectors = np.linalg.eigh(H)
    u = -vectors @ ((vectors.T @ g) / (np.abs(values) + lam))
    return Step(u, float(g @ u), float(u @ H @ u), float(np.linalg.norm(u)))


def absolute(M):
    values, vectors = np.linalg.eigh(M)
    return (vectors * np.abs(values)) @ vectors.T


@settings(max_examples=100)
@given(seed=st.integers(0, 10**9), lam=st.floats(1e-3, 10.0), known=st.booleans())
def test_the_minimiser_in_the_plane(seed, lam, known):
    H, g, p, _ = case(seed)
    u = proposed(H, g, lam)
    operator = Products(H)
    step = Blend(point(g), operator, u, p).best(lam if known else None)
    assert operator.calls == 1
    shift = lam if known else max(-u.slope - abs(u.quadratic), 0.0) / (u.s @ u.s)
    Q = np.linalg.qr(np.stack([u.s, p], axis=1))[0]
    expected = -Q @ np.linalg.solve(absolute(Q.T @ H @ Q) + shift * np.eye(2), Q.T @ g)
    np.testing.assert_allclose(step.s, expected, rtol=1e-6, atol=1e-8)
    # The model that comes with it is the true one.
    assert step.slope == pytest.approx(g @ expected, rel=1e-6)
    assert step.quadratic == pytest.approx(expected @ H @ expected, rel=1e-5, abs=1e-8)
    assert step.norm == pytest.approx(np.linalg.norm(expected), rel=1e-6)
    assert step.slope < 0.0 < step.predicted_decrease


@settings(max_examples=60)
@given(seed=st.integers(0, 10**9), lam=st.floats(1e-3, 10.0))
def test_with_all_eigenvalues_the_proposed_step_is_the_minimiser(seed, lam):
    """Momentum can add nothing to the exact minimiser of the same model."""
    H, g, p, _ = case(seed)
    operator = DenseOperator(H, H, HessianMemory())
    blend = Blend(point(g), operator, proposed(H, g, lam), p)
    assert best_weights(blend.gram, blend.absolute, blend.slopes, lam) == pytest.approx(
        (1.0, 0.0), abs=1e-8
    )


def test_combinations():
    H, g, p, _ = case(1)
    u = proposed(H, g, 0.1)
    for model in (True, False):
        operator = Products(H)
        step = Blend(point(g), operator, u, p, model=model).step(0.7, -0.4)
        expected = 0.7 * u.s - 0.4 * p
        np.testing.assert_allclose(step.s, expected)
        assert step.slope == pytest.approx(g @ expected)
        assert step.norm == pytest.approx(np.linalg.norm(expected))
        assert operator.calls == int(model)
        if model:
            assert step.quadratic == pytest.approx(expected @ H @ expected)
        else:
            assert np.isnan(step.quadratic)


@pytest.mark.parametrize("second", ["parallel", "opposite", "zero", "nearly"])
def test_one_direction_has_no_momentum(second):
    H, g, p, _ = case(2)
    u = proposed(H, g, 0.3)
    p = {"parallel": 3 * u.s, "opposite": -u.s, "zero": 0 * p, "nearly": u.s + 1e-9 * p}[second]
    blend = Blend(point(g), Products(H), u, p)
    rate, momentum = best_weights(blend.gram, blend.absolute, blend.slopes, 0.3)
    assert momentum == 0.0
    assert rate == pytest.approx(-u.slope / (abs(u.quadratic) + 0.3 * u.norm**2))
    # Without a known damping the one that u implies: alone, u is as long as it should be.
    assert best_weights(blend.gram, blend.absolute, blend.slopes)[0] <= 1.0 + 1e-12


def test_a_flat_plane_has_no_momentum():
    gram, slopes = np.eye(2), np.array([-1.0, -0.5])
    assert best_weights(gram, np.diag([1.0, 1e-12]), slopes, 0.0) == (1.0, 0.0)
    assert best_weights(gram, np.zeros((2, 2)), slopes, 0.0) == (1.0, 0.0)
    assert best_weights(np.zeros((2, 2)), np.zeros((2, 2)), slopes, 0.0) == (1.0, 0.0)
    assert best_weights(gram, np.diag([2.0, np.nan]), slopes, 0.0) == (0.5, 0.0)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_array_library(xp_case, dtype):
    H, g, p, _ = case(4)
    host = Blend(point(g), Products(H), proposed(H, g, 0.2), p).best(0.2)
    u = proposed(H, g, 0.2)
    ours = Step(xp_case.asarray(u.s, dtype), u.slope, u.quadratic, u.norm)
    here = Iterate(xp_case.asarray(0 * g, dtype), 0.0, xp_case.asarray(g, dtype), 1.0, 1.0)
    operator = Products(xp_case.asarray(H, dtype))
    step = Blend(here, operator, ours, xp_case.asarray(p, dtype)).best(0.2)
    assert xp_case.owns(step.s)
    assert step.s.dtype == ours.s.dtype
    tolerance = 1e-9 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(xp_case.to_numpy(step.s), host.s, rtol=tolerance, atol=tolerance)
