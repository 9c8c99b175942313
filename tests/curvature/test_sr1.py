"""The dense inverse: first scaling, skips, the absolute value, reset."""

from __future__ import annotations

import numpy as np
import pytest

from negopt.core.arrays import to_host
from negopt.core.types import Iterate
from negopt.curvature.sr1 import SR1


def here(g):
    return Iterate(np.zeros_like(g), 0.0, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))


def test_before_the_first_pair_the_step_has_length_one():
    g = np.array([3.0, -4.0])
    rule = SR1()
    operator = rule.model(rule.init(g), None, here(g))
    np.testing.assert_allclose(operator.solve(g), g / 5.0)
    rule = SR1(h0="identity")
    operator = rule.model(rule.init(g), None, here(g))
    np.testing.assert_array_equal(operator.solve(g, absolute=True), g)


@pytest.mark.parametrize(
    ("y", "scale"),
    [([2.0, 0.0], 0.45), ([2.0, 2.0], 0.225), ([-4.0, 0.0], 0.25), ([0.0, 5.0], 0.2)],
)
def test_first_scaling(y, scale):
    """0.9 s'y/y'y, or ||s||/||y|| without positive curvature; the pair then fits."""
    rule = SR1()
    memory = rule.init(np.zeros(2))
    s, y = np.array([1.0, 0.0]), np.array(y)
    assert rule.update(memory, s, y)
    v = s - scale * y
    expected = scale * np.eye(2) + np.outer(v, v) / (v @ y)
    H = rule.model(memory, None, here(y)).matrix
    np.testing.assert_allclose(H, expected, atol=1e-15)
    np.testing.assert_allclose(H @ y, s, atol=1e-15)


def test_collinear_pairs_in_one_dimension():
    rule = SR1()
    memory = rule.init(np.zeros(1))
    assert rule.update(memory, np.array([1.0]), np.array([4.0]))
    assert memory.matrix[0, 0] == pytest.approx(0.25)
    assert not rule.update(memory, np.array([2.0]), np.array([8.0]))
    assert rule.update(memory, np.array([1.0]), np.array([-2.0]))
    assert memory.matrix[0, 0] == pytest.approx(-0.5)


@pytest.mark.parametrize(
    ("s", "y"),
    [
        ([0.0, 0.0], [1.0, 0.0]),
        ([1.0, 0.0], [0.0, 0.0]),
        ([np.nan, 0.0], [1.0, 0.0]),
        ([1.0, 0.0], [np.inf, 0.0]),
    ],
)
def test_unusable_pairs(s, y):
    rule = SR1()
    memory = rule.init(np.zeros(2))
    assert not rule.update(memory, np.array(s), np.array(y))
    assert memory.matrix is None
    assert not rule.reset(memory)


def test_absolute_solve_and_reset():
    rule = SR1()
    memory = rule.init(np.zeros(2))
    memory.matrix = np.array([[0.0, 2.0], [2.0, 0.0]])  # eigenvalues 2 and -2
    g = np.array([1.0, 3.0])
    operator = rule.model(memory, None, here(g))
    np.testing.assert_allclose(operator.solve(g, absolute=True), 2.0 * g)
    np.testing.assert_allclose(operator.solve(g), [6.0, 2.0])
    memory.matrix = np.diag([1.0, 0.0])
    operator = rule.model(memory, None, here(g))
    np.testing.assert_allclose(operator.solve(g, absolute=True, floor=0.1), [1.0, 0.3])
    assert rule.reset(memory)
    assert memory.matrix is None


@pytest.mark.parametrize("options", [{"h0": "zero"}, {"skip": -1.0}, {"skip": 1.0}])
def test_options_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SR1(**options)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_array_library(xp_case, dtype):
    rule = SR1()
    rng = np.random.default_rng(2)
    x = xp_case.asarray(np.zeros(5), dtype)
    memory = rule.init(x)
    for s, y in zip(rng.standard_normal((3, 5)), rng.standard_normal((3, 5)), strict=True):
        rule.update(memory, xp_case.asarray(s, dtype), xp_case.asarray(y, dtype))
    g = xp_case.asarray(rng.standard_normal(5), dtype)
    host = xp_case.to_numpy(g).astype(float)
    point = Iterate(x, 0.0, g, float(np.linalg.norm(host)), float(np.max(np.abs(host))))
    operator = rule.model(memory, None, point)
    H = to_host(operator.matrix)
    tolerance = 1e-12 if dtype == "float64" else 1e-4
    values, vectors = np.linalg.eigh(H)
    absolute = (vectors * np.abs(values)) @ vectors.T
    for flag, matrix in ((False, H), (True, absolute)):
        out = operator.solve(g, absolute=flag)
        assert xp_case.owns(out)
        assert out.dtype == g.dtype
        error = np.linalg.norm(xp_case.to_numpy(out) - matrix @ host)
        assert error <= tolerance * np.linalg.norm(H, 2) * np.linalg.norm(host)
