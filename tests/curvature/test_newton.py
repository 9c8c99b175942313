"""The model beside the products: when it is trusted, what it learns, the metric it lives in."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import negopt
from negopt.algebra.krylov import Subspace
from negopt.core.bounds import Radius
from negopt.core.types import Iterate, Outcome, Step
from negopt.curvature.lqn import HybridPairs
from negopt.curvature.metric import Metric
from negopt.curvature.newton import MOST_FAILURES, ModelledProducts, _in_metric
from negopt.models.limited import LimitedModel
from negopt.steps.krylov_tr import KrylovTrustRegion

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


def judged(rule, memory, *, factor, decrease, modelled, accepted=True):
    """Return whether the model makes the step after one with these results."""
    start = point([1.0, 0.0, 0.0, 0.0])
    memory.trusted = modelled
    operator = rule.model(memory, Quadratic(np.eye(4)), start)
    assert operator.modelled is modelled
    trial = point([factor, 0.0, 0.0, 0.0], f=-decrease)
    step = Step(start.g, -1.0, 0.0, 1.0, learnt=operator.learnt(None))
    rule.failed(memory, Outcome(start, step, trial, accepted=accepted))
    return rule.model(memory, Quadratic(np.eye(4)), trial).modelled


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
    assert not rule.model(memory, Quadratic(np.eye(4)), point(np.ones(4))).modelled
    assert not judged(rule, memory, factor=1.0, decrease=0.0, modelled=False)
    assert not judged(rule, memory, factor=0.1, decrease=1.0, modelled=True, accepted=False)
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
    for slot in range(5):
        s, y = memory.pairs.rows[slot], memory.pairs.rows[5 + slot]
        other.update(pairs, s / scale, scale * y)
    expected = other.model(pairs, None, point(np.ones(12)))
    assert scaled.curvatures == pytest.approx(pairs.curvatures)
    found = LimitedModel(scaled, expected.gamma, 12)
    for v in np.eye(12):
        np.testing.assert_allclose(found.matvec(v), expected.matvec(v), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("metric", ["sphere", "diag"])
def test_the_operator(metric):
    rule = ModelledProducts(metric=metric)
    H, memory = taught(rule, n=6, count=8)
    objective = Quadratic(H)
    operator = rule.model(memory, objective, point(np.ones(6)))
    assert operator.metric.round is (metric == "sphere")
    before = objective.count
    assert not operator.modelled
    np.testing.assert_allclose(operator.matvec(np.ones(6)), H @ np.ones(6))
    assert objective.count == before + 1
    operator.modelled = True  # from here on it is the model
    newest = memory.pairs.rows[memory.pairs.newest]
    np.testing.assert_allclose(operator.matvec(newest), H @ newest, rtol=1e-6, atol=1e-6)
    assert objective.count == before + 1


def test_what_a_step_costs_is_learnt():
    rule = ModelledProducts(metric="diag", maxcor=8)
    H = np.diag([1.0, 2.0, 3.0])
    memory = rule.init(np.zeros(3))
    start = point([1.0, 2.0, 3.0])
    operator = rule.model(memory, Quadratic(H), start)
    scale = operator.metric.inverse_root
    space = Subspace(lambda v: scale * (H @ (scale * v)), scale * start.g, 3)
    for v in np.linalg.qr(RNG.standard_normal((3, 3)))[0]:
        assert space.grow(v)
    s = np.array([1.0, 1.0, 1.0])
    step = Step(s, -1.0, 0.0, 1.0, learnt=operator.learnt(space))
    assert memory.metric.diagonal is None
    assert memory.pairs.count == 0
    assert rule.update(memory, s, H @ s, Outcome(start, step, start, s))
    assert memory.pairs.count == 4
    for slot in range(4):
        s, y = memory.pairs.rows[slot], memory.pairs.rows[8 + slot]
        np.testing.assert_allclose(y, H @ s)
    np.testing.assert_allclose(memory.metric.diagonal, [1.0, 2.0, 3.0])
    assert step.learnt.space is None


def test_the_operator_is_pure():
    """Nothing that a rule remembers depends on how often its operator is asked for."""
    problem = negopt.problems.get("broyden_tridiagonal", 30)
    options = {"maxiter": 7, "certify": False}
    state = negopt.minimize(problem, problem.x0, method="newton-krylov", options=options).state
    rule = negopt.METHODS["newton-krylov"].curvature
    before = repr(state.memory)
    objective = Quadratic(np.eye(30))
    for _ in range(3):
        operator = rule.model(state.memory, objective, state.iterate)
        KrylovTrustRegion().propose(state.iterate, operator, Radius(0.1))
    assert repr(state.memory) == before


@pytest.mark.parametrize("maxcor", [0, 5])
@pytest.mark.parametrize("metric", ["sphere", "rmsprop"])
def test_vectors_are_freed_without_the_collector(maxcor, metric):
    rule = ModelledProducts(maxcor=maxcor, metric=metric)
    H, memory = taught(rule, n=30, count=4 if maxcor else 0)
    here = point(np.ones(30))
    gc.collect()
    gc.disable()
    try:
        operator = rule.model(memory, Quadratic(H), here)
        step = KrylovTrustRegion().propose(here, operator, Radius(0.5))
        space = weakref.ref(operator.basis)
        assert space() is not None
        del operator, step
        assert space() is None
    finally:
        gc.enable()


def test_reset():
    rule = ModelledProducts()
    memory = rule.init(np.zeros(4))
    assert not rule.reset(memory)
    _, memory = taught(rule)
    memory.trusted, memory.wait, memory.failures = True, 3, 2
    assert rule.reset(memory)
    assert memory.pairs.count == 0
    assert (memory.trusted, memory.wait, memory.failures) == (False, 0, 0)
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


def test_fewer_pairs_where_a_pass_over_them_is_long():
    sizes = {n: ModelledProducts().init(np.zeros(n)).pairs.capacity for n in (1, 2000, 2001)}
    assert sizes == {1: 20, 2000: 20, 2001: 5}
    assert ModelledProducts(maxcor=7).init(np.zeros(2001)).pairs.capacity == 7
