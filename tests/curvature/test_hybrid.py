"""The operator of hybrid pairs: its steps are those of the model it forms on demand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negopt import kernels
from negopt._types import Iterate
from negopt.curvature.lqn import HybridPairs
from negopt.steps.spectral_tr import SpectralTrustRegion


def point(g):
    gnorm = float(np.linalg.norm(np.asarray(g, dtype=float)))
    return Iterate(np.zeros_like(g), 0.0, g, gnorm, float(np.max(np.abs(g))))


def fill(rule, n, count, mixed, seed, case=None, dtype="float64"):
    rng = np.random.default_rng(seed)
    lam = rng.uniform(0.1, 10.0, n) * (rng.choice([-1.0, 1.0], n) if mixed else 1.0)
    like = np.zeros(n) if case is None else case.asarray(np.zeros(n), dtype)
    memory = rule.init(like)
    for _ in range(count):
        s = rng.standard_normal(n)
        y = lam * s + 0.05 * rng.standard_normal(n)
        pair = (s, y) if case is None else (case.asarray(s, dtype), case.asarray(y, dtype))
        assert rule.update(memory, *pair)
    return memory, rng.standard_normal(n)


@settings(max_examples=100)
@given(
    seed=st.integers(0, 10**9),
    n=st.integers(1, 30),
    count=st.integers(0, 7),
    mixed=st.booleans(),
    log_radius=st.floats(-3, 3),
)
def test_steps_are_those_of_the_model(seed, n, count, mixed, log_radius):
    rule, radius = HybridPairs(maxcor=5), 10.0**log_radius
    memory, g = fill(rule, n, count, mixed, seed)
    operator = rule.operator(memory, None, point(g))
    direct = operator.trust_step(point(g), radius)
    formed = SpectralTrustRegion().propose(
        point(g), operator.model, radius, np.random.default_rng(0)
    )
    assert direct is not None
    assert direct.predicted_decrease == pytest.approx(formed.predicted_decrease, rel=1e-6)
    assert np.linalg.norm(direct.s) <= radius * (1 + 1e-14)
    assert direct.norm == pytest.approx(np.linalg.norm(direct.s), rel=1e-12)
    B = np.stack([operator.matvec(e) for e in np.eye(n)], axis=1)
    value = g @ direct.s + direct.s @ B @ direct.s / 2
    assert -direct.predicted_decrease == pytest.approx(value, rel=1e-6)
    assert operator.newest_skipped == (count > 0 and operator.model.used[-1] == 0)


def test_a_convex_memory_forms_no_model():
    rule = HybridPairs(maxcor=5)
    memory, g = fill(rule, 40, 7, False, 3)
    operator = rule.operator(memory, None, point(g))
    for radius in (1e-2, 1e3):
        assert operator.trust_step(point(g), radius) is not None
        assert not operator.newest_skipped
    assert "model" not in vars(operator)


def test_newest_pair_that_is_skipped():
    rule = HybridPairs(maxcor=5, gamma=2.0)
    memory = rule.init(np.zeros(30))
    e = np.eye(30)
    rule.update(memory, e[0], -e[0])
    rule.update(memory, e[1], e[2])  # s'y = 0 and s'(y - Bs) < 0: SR1
    for pair, skipped in (((e[4], 0.0 * e[4]), False), ((e[0], -e[0]), True)):
        rule.update(memory, *pair)
        operator = rule.operator(memory, None, point(e[0] + e[5]))
        assert operator.newest_skipped == skipped  # by the model
        operator = rule.operator(memory, None, point(e[0] + e[5]))
        assert operator.trust_step(point(e[0] + e[5]), 0.1) is not None
        assert operator.newest_skipped == skipped  # by the step
        assert "model" not in vars(operator)


def test_a_lost_step_is_taken_from_the_model(monkeypatch):
    rule = HybridPairs(maxcor=5)
    memory, g = fill(rule, 40, 5, False, 3)
    operator = rule.operator(memory, None, point(g))
    before = SpectralTrustRegion().propose(point(g), operator, 0.5, np.random.default_rng(0))
    monkeypatch.setattr(kernels, "convex_step", lambda *_: kernels.LOST)
    assert operator.trust_step(point(g), 0.5) is None
    after = SpectralTrustRegion().propose(point(g), operator, 0.5, np.random.default_rng(0))
    np.testing.assert_allclose(after.s, before.s, atol=1e-8)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("n", "mixed"), [(8, False), (8, True), (40, False), (40, True)])
def test_every_array_library(xp_case, dtype, n, mixed):
    rule = HybridPairs(maxcor=6)
    memory, g = fill(rule, n, 6, mixed, 11, xp_case, dtype)
    host, _ = fill(rule, n, 6, mixed, 11)
    gx = xp_case.asarray(g, dtype)
    here = Iterate(gx, 0.0, gx, float(np.linalg.norm(g)), float(np.max(np.abs(g))))
    tolerance = 1e-9 if dtype == "float64" else 2e-3
    for radius in (0.1, 1e3):
        operator = rule.operator(memory, None, here)
        step = SpectralTrustRegion().propose(here, operator, radius, np.random.default_rng(0))
        assert xp_case.owns(step.s)
        assert step.s.dtype == gx.dtype
        reference = rule.operator(host, None, point(g)).trust_step(point(g), radius)
        s = xp_case.to_numpy(step.s).astype(float)
        assert np.linalg.norm(s - reference.s) <= tolerance * reference.norm
        assert step.predicted_decrease == pytest.approx(reference.predicted_decrease, rel=tolerance)
