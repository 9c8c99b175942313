"""The model beside the products: when it is trusted, what it learns, the metric it lives in."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest

import negopt
from negopt._types import Iterate
from negopt.curvature.compact import CompactOperator
from negopt.curvature.lqn import HybridPairs
from negopt.curvature.metric import Metric
from negopt.curvature.newton import MOST_FAILURES, ModelledProducts, _in_metric

RNG = np.random.default_rng(0)


class Quadratic:
    """Products of one matrix, counted."""

    def __init__(self, H):
        self.H, self.count = H, 0

    def products(self, iterate):
        def product(v):
            self.count += 1
            return self.H @ v

        return product


def point(g, f=0.0):
    g = np.asarray(g, dtype=float)
    return Iterate(np.zeros_like(g), f, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))


def taught(rule, n=4, count=3, seed=1):
    """Return a matrix, and a memory that has seen pairs of it."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n))
    H, memory = A + A.T, rule.init(np.zeros(n))
    for _ in range(count):
        s = rng.standard_normal(n)
        assert rule.update(memory, s, H @ s)
    return H, memory


def judged(rule, memory, *, factor, decrease, modelled):
    """Return whether the model makes the step after one with these results."""
    memory.f, memory.gnorm, memory.predicted, memory.modelled = 0.0, 1.0, 1.0, modelled
    here = point([factor, 0.0, 0.0, 0.0], f=-decrease)
    return rule.operator(memory, Quadratic(np.eye(4)), here).modelled


@pytest.mark.parametrize(
    ("modelled", "factor", "decrease", "next_one"),
    [
        (False, 0.5, 0.1, True),  # the gradient was halved
        (False, 0.6, 0.5, True),  # half of the promise was kept
        (False, 0.6, 0.4, False),
        (True, 0.5, 0.1, True),
        (True, 0.6, 0.9, False),  # not good enough for a second one in a row
        (True, 0.6, 0.1, False),
    ],
)
def test_when_the_model_is_trusted(modelled, factor, decrease, next_one):
    rule = ModelledProducts(metric="sphere")
    _, memory = taught(rule)
    assert judged(rule, memory, factor=factor, decrease=decrease, modelled=modelled) is next_one


def test_never_before_a_first_step_nor_twice_at_one_point():
    rule = ModelledProducts()
    _, memory = taught(rule)
    objective = Quadratic(np.eye(4))
    assert not rule.operator(memory, objective, point(np.ones(4))).modelled
    memory.predicted = 0.0
    assert not rule.operator(memory, objective, point(np.ones(4))).modelled
    always = ModelledProducts(products="always")
    _, memory = taught(always)
    assert not judged(always, memory, factor=0.1, decrease=1.0, modelled=False)
    plain = ModelledProducts(maxcor=0)
    memory = plain.init(np.zeros(4))
    assert memory.pairs is None
    assert not judged(plain, memory, factor=0.1, decrease=1.0, modelled=False)


def test_a_model_that_fails_is_asked_less_and_less():
    rule = ModelledProducts(metric="sphere")
    _, memory = taught(rule)
    gaps = []
    for _ in range(MOST_FAILURES + 1):
        assert not judged(rule, memory, factor=0.9, decrease=0.0, modelled=True)
        gaps.append(1)
        while not judged(rule, memory, factor=0.1, decrease=1.0, modelled=False):
            gaps[-1] += 1
    assert gaps == [1, 1, 3, 7, 15, 31, 31]
    assert judged(rule, memory, factor=0.1, decrease=1.0, modelled=True)  # one success
    assert memory.failures == 0


def test_the_model_is_that_of_lqn_in_the_variables_of_the_metric():
    rule = ModelledProducts(metric="sphere", maxcor=5)
    _, memory = taught(rule, n=12, count=5)
    scale = 10.0 ** RNG.uniform(-2, 2, 12)
    other = HybridPairs(maxcor=5, block=1)
    pairs, scaled = other.init(np.zeros(12)), _in_metric(memory.pairs, Metric(scale))
    order = memory.pairs.order
    for slot in order:
        s, y = memory.pairs.rows[2 * slot], memory.pairs.rows[2 * slot + 1]
        other.update(pairs, s / scale, scale * y)
    expected = other.operator(pairs, None, point(np.ones(12)))
    assert scaled.curvatures == pytest.approx(pairs.curvatures)
    found = CompactOperator(scaled, expected.gamma, 1, 1e-8, np.ones(12))
    for v in np.eye(12):
        np.testing.assert_allclose(found.matvec(v), expected.matvec(v), rtol=1e-8, atol=1e-8)
    assert _in_metric(memory.pairs, Metric()) is memory.pairs


@pytest.mark.parametrize("metric", ["sphere", "diag"])
def test_the_operator(metric):
    rule = ModelledProducts(metric=metric)
    H, memory = taught(rule, n=6, count=8)
    objective = Quadratic(H)
    operator = rule.operator(memory, objective, point(np.ones(6)))
    assert operator.metric.round is (metric == "sphere")
    before = objective.count
    assert not operator.modelled
    np.testing.assert_allclose(operator.matvec(np.ones(6)), H @ np.ones(6))
    assert objective.count == before + 1
    operator.modelled = True  # from here on it is the model
    newest = memory.pairs.rows[2 * memory.pairs.order[-1]]
    np.testing.assert_allclose(operator.matvec(newest), H @ newest, rtol=1e-6, atol=1e-6)
    dense = np.stack([operator.matvec(e) for e in np.eye(6)])
    v = np.ones(6)
    np.testing.assert_allclose(operator.solve(dense @ v, absolute=False), v, rtol=1e-6)
    scaled = np.stack([operator.metric.outward(row) for row in dense])
    scaled = np.stack([operator.metric.outward(row) for row in scaled.T])
    values, vectors = np.linalg.eigh((scaled + scaled.T) / 2)
    inside = (vectors / np.abs(values)) @ vectors.T @ operator.metric.outward(v)
    found = operator.solve(v, absolute=True)
    np.testing.assert_allclose(found, operator.metric.outward(inside), rtol=1e-6)
    assert objective.count == before + 1


def test_what_a_step_costs_is_learnt():
    rule = ModelledProducts(metric="diag", maxcor=8)
    H = np.diag([1.0, 2.0, 3.0])
    memory = rule.init(np.zeros(3))
    operator = rule.operator(memory, Quadratic(H), point([1.0, 2.0, 3.0]))
    rows = np.linalg.qr(RNG.standard_normal((3, 3)))[0]
    images = operator.metric.outward(operator.metric.outward(rows) @ H)
    operator.record(rows, images, 0.25)
    assert memory.predicted == 0.25
    kept = copy.copy(memory.rows)
    rows *= 0.0  # the basis is the step's own and may change
    assert np.array_equal(memory.rows, kept)
    s = np.array([1.0, 1.0, 1.0])
    assert rule.update(memory, s, H @ s)
    assert memory.rows is None
    assert len(memory.pairs.order) == 4
    for slot in memory.pairs.order:
        np.testing.assert_allclose(memory.pairs.rows[2 * slot + 1], H @ memory.pairs.rows[2 * slot])
    np.testing.assert_allclose(memory.metric.diagonal, [1.0, 2.0, 3.0])


def test_reset():
    rule = ModelledProducts()
    memory = rule.init(np.zeros(4))
    assert not rule.reset(memory)
    _, memory = taught(rule)
    rule.operator(memory, Quadratic(np.eye(4)), point(np.ones(4)))
    assert rule.reset(memory)
    assert memory.pairs.order == []
    assert math.isnan(memory.f)
    assert not rule.reset(memory)


def test_refusals():
    with pytest.raises(ValueError, match="maxcor"):
        ModelledProducts(maxcor=-1)
    with pytest.raises(ValueError, match="products"):
        ModelledProducts(products="never")


def test_products_are_saved():
    """Over a few problems, against a plain Lanczos trust region."""
    cost = {"lanczos": 0, None: 0}
    for name in ("broyden_tridiagonal", "cragglvy", "genrose", "trigonometric"):
        problem = negopt.problems.get(name, 30)
        for variant in cost:
            res = negopt.minimize(
                problem, problem.x0, method="newton-krylov", options={"variant": variant}
            )
            assert res.success
            cost[variant] += res.nfev + res.nhev
    assert cost[None] < 0.8 * cost["lanczos"]
