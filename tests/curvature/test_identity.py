"""Gradient descent's curvature: none, or one number of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negopt.core.types import Iterate, Outcome
from negopt.curvature.identity import NoCurvature, ScaledIdentity


def iterate(g):
    return Iterate(np.zeros_like(g), 0.0, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))


HERE = iterate(np.array([3.0, 4.0]))


@settings(max_examples=60)
@given(n=st.integers(1, 8), count=st.integers(1, 9), seed=st.integers(0, 10**6))
def test_gamma_is_between_the_eigenvalues(n, count, seed) -> None:
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.1, 50.0, n)
    rule = ScaledIdentity()
    memory = rule.init(np.zeros(n))
    for _ in range(count):
        s = rng.standard_normal(n)
        assert rule.update(memory, s, values * s)
        gamma = rule.model(memory, None, iterate(np.ones(n))).scale
        assert np.min(values) * (1 - 1e-12) <= gamma <= np.max(values) * (1 + 1e-12)


def test_the_spectral_rule() -> None:
    rule = ScaledIdentity()
    memory = rule.init(np.zeros(2))
    assert rule.model(memory, None, HERE).scale == 5.0  # a first step of length 1
    # s and y enclose less than 45 degrees: s'y / s's
    rule.update(memory, np.array([1.0, 0.0]), np.array([2.0, 1.0]))
    assert rule.model(memory, None, HERE).scale == pytest.approx(2.0)
    # more: the largest y'y / s'y of those before, too
    rule.update(memory, np.array([1.0, 0.0]), np.array([1.0, 2.0]))
    assert rule.model(memory, None, HERE).scale == pytest.approx(5.0)
    rule.update(memory, np.array([1.0, 0.0]), np.array([0.1, 0.2]))
    assert rule.model(memory, None, HERE).scale == pytest.approx(5.0)
    for _ in range(4):  # five steps back, no further
        rule.update(memory, np.array([1.0, 0.0]), np.array([0.1, 0.2]))
    assert rule.model(memory, None, HERE).scale == pytest.approx(0.5)


def test_negative_and_no_curvature() -> None:
    rule = ScaledIdentity()
    memory = rule.init(np.zeros(2))
    rule.model(memory, None, HERE)
    assert rule.update(memory, np.array([2.0, 0.0]), np.array([-6.0, 0.0]))
    assert rule.model(memory, None, HERE).scale == pytest.approx(3.0)
    # f is linear there: the next step is ten times as long as the last one
    assert rule.update(memory, np.array([2.0, 0.0]), np.zeros(2), Outcome(start=HERE))
    scale = rule.model(memory, None, HERE).scale
    assert HERE.gnorm / scale == pytest.approx(20.0)
    assert rule.reset(memory)
    assert rule.model(memory, None, HERE).scale == 5.0


def test_no_scaling_is_the_gradient_itself() -> None:
    for rule in (NoCurvature(), ScaledIdentity(scaling="none")):
        memory = rule.init(np.zeros(2))
        rule.update(memory, np.array([1.0, 0.0]), np.array([7.0, 0.0]))
        operator = rule.model(memory, None, HERE)
        assert np.array_equal(operator.solve(HERE.g, absolute=True), HERE.g)
        assert np.array_equal(operator.matvec(HERE.g), HERE.g)
    with pytest.raises(ValueError, match="scaling='bb': use one of"):
        ScaledIdentity(scaling="bb")
