"""The ellipsoid's matrix against its formula, and what a memory may hold."""

from __future__ import annotations

import numpy as np
import pytest

from negopt.core.types import Iterate, Outcome, Step
from negopt.curvature.ellipsoid import EllipsoidProducts


class Nothing:
    """Products that nobody asks for."""

    def products(self, iterate):
        return lambda v: 0.0 * v


def point(g):
    return Iterate(0.0 * g, 0.0, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))


def walk(rule, gradients):
    memory = rule.init(gradients[0])
    for g in gradients:
        operator = rule.model(memory, Nothing(), point(g))
        step = Step(g, 0.0, 0.0, 1.0, learnt=operator.learnt)
        rule.update(memory, g, g, Outcome(start=point(g), step=step))
    return operator, memory


def reference(rule, gradients):
    """Return M by its formula."""
    count = len(gradients)
    weights = rule.decay ** np.arange(count)[::-1] if rule.metric == "rmsprop" else np.ones(count)

    def root(pairs):
        A = sum(w * np.outer(g, g) for w, g in pairs)
        A = np.diag(np.diag(A)) if rule.diagonal else A
        values, vectors = np.linalg.eigh(A)
        R = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
        return R + rule.ridge * np.linalg.norm(R, 2) * np.eye(len(A))

    first = gradients[0] / np.linalg.norm(gradients[0])
    return root(zip(weights, gradients, strict=True)) / (
        first @ root([(1.0, gradients[0])]) @ first
    )


@pytest.mark.parametrize("metric", ["rmsprop", "adagrad"])
@pytest.mark.parametrize("diagonal", [True, False])
def test_the_formula(metric, diagonal) -> None:
    rng = np.random.default_rng(4)
    gradients = list(rng.standard_normal((5, 6)) * 10.0 ** rng.uniform(-3, 3, (5, 1)))
    rule = EllipsoidProducts(metric=metric, diagonal=diagonal, ridge=0.01, decay=0.6)
    operator, _ = walk(rule, gradients)
    M = np.stack([operator.metric(e) for e in np.eye(6)], axis=1)
    expected = reference(rule, gradients)
    np.testing.assert_allclose(M, expected, atol=1e-9 * np.max(expected))
    v = rng.standard_normal(6)
    np.testing.assert_allclose(operator.metric_solve(operator.metric(v)), v, rtol=1e-8)


def test_asking_twice_at_one_point_changes_nothing() -> None:
    rule = EllipsoidProducts()
    memory = rule.init(np.zeros(3))
    here = point(np.array([1.0, -2.0, 0.5]))
    one = rule.model(memory, Nothing(), here).metric(here.g)
    two = rule.model(memory, Nothing(), here).metric(here.g)
    np.testing.assert_array_equal(one, two)


def test_a_variable_that_never_mattered_keeps_a_bound() -> None:
    operator, _ = walk(EllipsoidProducts(ridge=1e-2), [np.array([1.0, 0.0])] * 4)
    assert operator.metric(np.array([0.0, 1.0]))[1] > 0.0


def test_a_sphere_and_vanishing_gradients_are_the_identity() -> None:
    v = np.array([1.0, 2.0])
    operator, memory = walk(EllipsoidProducts(metric="sphere"), [v])
    np.testing.assert_array_equal(operator.metric(v), v)
    assert memory.moment is None
    operator, _ = walk(EllipsoidProducts(), [1e-200 * v])
    np.testing.assert_array_equal(operator.metric_solve(v), v)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("diagonal", [True, False])
def test_every_array_library(xp_case, dtype, diagonal) -> None:
    g = xp_case.asarray(np.array([1.0, -3.0, 0.2]), dtype)
    rule = EllipsoidProducts(diagonal=diagonal)
    memory = rule.init(g)
    here = Iterate(0.0 * g, 0.0, g, float(np.sqrt(10.04)), 3.0)
    operator = rule.model(memory, Nothing(), here)
    out = operator.metric_solve(operator.metric(g))
    assert xp_case.owns(out)
    assert out.dtype == g.dtype
    np.testing.assert_allclose(xp_case.to_numpy(out), xp_case.to_numpy(g), rtol=1e-3)


@pytest.mark.parametrize(
    ("option", "value"), [("metric", "round"), ("diagonal", 2), ("decay", 1.0), ("ridge", 0.0)]
)
def test_bad_options(option, value) -> None:
    with pytest.raises(ValueError, match=f"{option}="):
        EllipsoidProducts(**{option: value})
