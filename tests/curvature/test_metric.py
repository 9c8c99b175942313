"""The metric: its change of variables, its unit, what it learns, and that it is never singular."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negopt.core.arrays import norm
from negopt.core.types import Iterate
from negopt.curvature.metric import ASKED, FALL, Metric, MetricMemory, MetricRule, learn_diagonal


def point(g, x=None):
    g = np.asarray(g, dtype=float)
    x = np.zeros_like(g) if x is None else np.asarray(x, dtype=float)
    return Iterate(x, 0.0, g, norm(g), float(np.max(np.abs(g))))


def matrix(metric, n):
    """Return the diagonal of M."""
    return metric.inward(metric.inward(np.ones(n)))


class Quadratic:
    """An objective that hands out products of one matrix and counts them."""

    def __init__(self, H):
        self.H, self.count = H, 0

    def products(self, iterate):
        def product(v):
            self.count += 1
            return self.H @ v

        return product


def test_change_of_variables():
    assert Metric().round
    v = np.array([1.0, 2.0])
    assert np.array_equal(Metric().outward(v), v)
    metric = Metric(np.array([0.5, 4.0]))
    assert not metric.round
    assert np.array_equal(metric.outward(v), [0.5, 8.0])
    assert np.array_equal(metric.inward(metric.outward(v)), v)
    rows = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert np.array_equal(metric.outward(rows), [[0.5, 8.0], [1.5, 16.0]])


@settings(max_examples=30)
@given(kind=st.sampled_from(["rmsprop", "adagrad"]), n=st.integers(1, 9), seed=st.integers(0, 999))
def test_moments_of_gradients(kind, n, seed):
    """Against the plain recursion, with the unit of the first point."""
    rng = np.random.default_rng(seed)
    rule, memory = MetricRule(metric=kind, decay=0.7), MetricMemory()
    v, unit = np.zeros(n), None
    for _ in range(4):
        g = rng.standard_normal(n)
        metric, memory = rule.measure(memory, point(g))
        v = 0.7 * v + 0.3 * g * g if kind == "rmsprop" else v + g * g
        u = g / np.linalg.norm(g)
        if unit is None:
            unit = u @ (np.sqrt(v) * u)
            assert np.linalg.norm(metric.inward(u)) == pytest.approx(1.0)
        np.testing.assert_allclose(matrix(metric, n), np.maximum(np.sqrt(v) / unit, 1e-8))


@settings(max_examples=30)
@given(n=st.integers(1, 12), k=st.integers(1, 12), seed=st.integers(0, 999))
def test_the_diagonal_from_a_basis(n, k, seed):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n))
    H, scale = A + A.T, 10.0 ** rng.uniform(-3, 3, n)
    metric = Metric(scale)
    rows = np.linalg.qr(rng.standard_normal((n, n)))[0][: min(k, n)]
    images = (rows * scale) @ H * scale
    start = rng.standard_normal(n)
    found = learn_diagonal(start, rows, images, metric)
    weight = np.sum(rows**2, axis=0)
    expected = (1 - weight) * start + np.diag(rows.T @ rows @ (scale[:, None] * H * scale)) / (
        scale**2
    )
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8 * np.max(np.abs(expected)))
    if k >= n:  # the basis is complete
        for first in (None, start):
            exact = learn_diagonal(first, rows, images, metric)
            np.testing.assert_allclose(scale * exact * scale, np.diag(H) * scale**2, atol=1e-6)


def test_a_coordinate_that_was_not_touched_is_unknown():
    rows = np.array([[1.0, 0.0, 0.0]])
    found = learn_diagonal(None, rows, np.array([[5.0, 7.0, 7.0]]), Metric())
    assert np.array_equal(found, [5.0, 0.0, 0.0])
    _, memory = MetricRule(metric="diag").measure(MetricMemory(diagonal=found), point([1, 1, 1]))
    assert np.array_equal(memory.size, [5.0, 5.0, 5.0])


def test_rows_that_are_not_orthogonal_count_once():
    rows = np.array([[1.0, 0.0], [1.0, 0.0]])
    found = learn_diagonal(np.array([3.0, 3.0]), rows, 5.0 * rows, Metric())
    assert np.array_equal(found, [5.0, 3.0])


def test_a_curvature_that_passes_through_zero_falls_slowly():
    rule, here = MetricRule(metric="diag"), point([1.0, 1.0])
    _, memory = rule.measure(MetricMemory(diagonal=np.array([-4.0, 4.0])), here)
    assert np.array_equal(memory.size, [4.0, 4.0])
    memory = dataclasses.replace(memory, diagonal=np.array([1e-9, 8.0]))
    _, memory = rule.measure(memory, here)
    np.testing.assert_allclose(memory.size, [FALL * 4.0, 8.0])


@pytest.mark.parametrize("kind", ["rmsprop", "adagrad", "diag"])
@pytest.mark.parametrize("g", [[1.0, 0.0], [1e-150, 1e150], [1e-170, 0.0], [1.0, 1e-300]])
def test_never_singular(kind, g):
    memory = MetricMemory(diagonal=np.array(g))
    for _ in range(5):
        metric, memory = MetricRule(metric=kind).measure(memory, point(g))
        size = matrix(metric, 2)
        assert np.all(np.isfinite(size))
        assert np.all(size > 0.0)
        if kind != "diag":
            assert np.all(size >= 1e-8 * (1 - 1e-12))


def test_a_curvature_that_is_gone_keeps_a_share_of_what_it_was():
    rule, here = MetricRule(metric="diag"), point([1.0, 1.0])
    memory = MetricMemory(diagonal=np.array([4e6, 2e-6]))
    for _ in range(20):
        _, memory = rule.measure(memory, here)
        memory = dataclasses.replace(memory, diagonal=np.array([1e-300, 1e-300]))
    np.testing.assert_allclose(memory.size, [4e-2, 2e-14])


def test_auto():
    rule = MetricRule()
    small, large = point(np.ones(20)), point(np.ones(21))
    assert rule.measure(MetricMemory(), small)[0].round
    spread = np.geomspace(1.0, 100.0, 20)
    assert not rule.measure(MetricMemory(diagonal=spread), small)[0].round
    # Above 20 variables an estimate is believed only where it spans much.
    assert rule.measure(MetricMemory(diagonal=np.geomspace(1.0, 100.0, 21)), large)[0].round
    assert not rule.measure(MetricMemory(diagonal=np.geomspace(1.0, 1e8, 21)), large)[0].round
    # Units that x and g agree on are taken before anything is known of H.
    x = np.array([1e-3, 1.0, 1e3])
    units = rule.measure(MetricMemory(), point(1.0 / x, x))[0]
    np.testing.assert_allclose(matrix(units, 3) * x**2, matrix(units, 3)[1])
    assert np.linalg.norm(units.inward(1 / x / np.linalg.norm(1 / x))) == pytest.approx(1.0)
    assert MetricRule(metric="sphere").measure(MetricMemory(diagonal=spread), small)[0].round


def test_diag_asks_for_the_first_diagonal():
    H = np.array([[2.0, 1.0], [1.0, -3.0]])
    objective = Quadratic(H)
    memory = MetricRule(metric="diag").ask(MetricMemory(), objective, point([1.0, 1.0]))
    assert np.array_equal(memory.diagonal, [2.0, -3.0])
    assert objective.count == 2
    MetricRule(metric="diag").ask(memory, objective, point([1.0, 1.0]))
    MetricRule().ask(MetricMemory(), objective, point([1.0, 1.0]))
    assert objective.count == 2
    large = Quadratic(np.eye(ASKED + 1))
    MetricRule(metric="diag").ask(MetricMemory(), large, point(np.ones(ASKED + 1)))
    assert large.count == 0
    bad = MetricRule(metric="diag").ask(MetricMemory(), Quadratic(H * np.nan), point([1.0, 1.0]))
    assert bad.diagonal is None


def test_refusals():
    with pytest.raises(ValueError, match="metric='round'"):
        MetricRule(metric="round")
    with pytest.raises(ValueError, match="decay"):
        MetricRule(decay=1.0)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", ["auto", "diag", "rmsprop", "adagrad"])
def test_every_array_library(xp_case, dtype, kind):
    rows, images = np.eye(3), np.diag([2.0, 3.0, -4.0])
    g = np.array([1.0, -2.0, 0.5])
    to = lambda a: xp_case.asarray(a, dtype)  # noqa: E731
    known = learn_diagonal(None, [to(v) for v in rows], [to(v) for v in images], Metric())
    here = Iterate(to(g), 0.0, to(g), float(np.linalg.norm(g)), 2.0)
    metric, memory = MetricRule(metric=kind).measure(MetricMemory(diagonal=known), here)
    like = MetricRule(metric=kind).measure(
        MetricMemory(diagonal=np.array([2.0, 3.0, -4.0])), point(g)
    )[0]
    v = to(np.ones(3))
    assert xp_case.owns(metric.outward(v))
    assert metric.outward(v).dtype == v.dtype
    np.testing.assert_allclose(
        xp_case.to_numpy(metric.outward(v)), like.outward(np.ones(3)), rtol=1e-5
    )
    assert isinstance(memory.unit, float)
