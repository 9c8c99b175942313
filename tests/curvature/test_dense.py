"""The Hessian as a matrix: its average, its eigenvalues, what is not finite, every library."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import negopt
from negopt.core.types import Iterate, Outcome, Step
from negopt.curvature import dense
from negopt.curvature.dense import DenseHessian, DenseOperator, HessianMemory
from negopt.functions.objective import Objective

RNG = np.random.default_rng(3)
A = RNG.standard_normal((5, 5))
A = A + A.T
B = np.diag([2.0, -1.0, 0.5, 3.0, -4.0])
V = RNG.standard_normal(5)
HERE = Iterate(np.zeros(5), 0.0, V, float(np.linalg.norm(V)), 1.0)


class Hessians:
    """An objective that gives one matrix after the other."""

    def __init__(self, *matrices):
        self.matrices = list(matrices)

    def hessian(self, iterate):
        return self.matrices.pop(0)


def tried(rule, memory, operator):
    """Tell the rule of a step that was taken with the operator."""
    operator.eigen()
    step = Step(V, 0.0, 0.0, 1.0, learnt=operator.learnt)
    assert rule.update(memory, V, V, Outcome(start=HERE, step=step))


def absolute(H):
    values, vectors = np.linalg.eigh(H)
    return (vectors * np.abs(values)) @ vectors.T


def test_without_an_average_the_model_is_the_hessian():
    rule = DenseHessian()
    memory = rule.init(HERE.x)
    operator = rule.model(memory, Hessians(A), HERE)
    assert operator.model is operator.matrix is A
    assert memory == HessianMemory()
    assert operator.learns is False
    np.testing.assert_allclose(operator.matvec(V), A @ V)
    np.testing.assert_allclose(operator.absolute_matvec(V), absolute(A) @ V)


def test_the_average_is_of_the_signed_matrices():
    rule = DenseHessian(average=0.25)
    memory = rule.init(HERE.x)
    first = rule.model(memory, Hessians(A), HERE)
    np.testing.assert_array_equal(first.model, A)
    assert memory.average is None  # nothing is written before the step has been tried
    tried(rule, memory, first)
    kept = memory.average.copy()
    second = rule.model(memory, Hessians(B), HERE)
    tried(rule, memory, second)
    mean = 0.75 * A + 0.25 * B
    np.testing.assert_allclose(memory.average, mean)
    np.testing.assert_array_equal(first.model, kept)  # the older array is as it was
    np.testing.assert_allclose(second.solve(V, absolute=True), np.linalg.solve(absolute(mean), V))
    # Products are those of the point, whatever the average.
    np.testing.assert_allclose(second.matvec(V), B @ V)
    np.testing.assert_allclose(second.absolute_matvec(V), np.abs(B) @ V)


def test_a_matrix_that_is_not_finite_leaves_the_average():
    rule = DenseHessian(average=0.5)
    memory = rule.init(HERE.x)
    bad = A.copy()
    bad[1, 2] = np.nan
    operator = rule.model(memory, Hessians(bad), HERE)
    assert memory.average is None
    assert operator.eigen() is None
    np.testing.assert_array_equal(operator.solve(V, absolute=True), V)
    tried(rule, memory, operator)
    assert memory.average is None
    tried(rule, memory, rule.model(memory, Hessians(A), HERE))
    operator = rule.model(memory, Hessians(bad), HERE)
    tried(rule, memory, operator)
    np.testing.assert_array_equal(memory.average, A)
    np.testing.assert_allclose(operator.solve(V, absolute=True), np.linalg.solve(absolute(A), V))


def test_reset_forgets_the_average_and_the_scales():
    rule = DenseHessian(average=0.5)
    memory = HessianMemory(None, 3.0, 4.0)
    assert rule.reset(memory) is False
    assert (memory.scale, memory.gnorm) == (0.0, 0.0)
    tried(rule, memory, rule.model(memory, Hessians(A), HERE))
    assert rule.reset(memory) is True
    assert memory.average is None
    assert rule.update(memory, V, V) is True


@pytest.mark.parametrize("average", [0.0, -0.1, 1.1])
def test_options_out_of_range(average):
    with pytest.raises(ValueError, match="average"):
        DenseHessian(average=average)


def test_solve_floors_small_eigenvalues():
    operator = DenseOperator(H := np.diag([4.0, -1e-9, 1e-3]), H)
    v = np.ones(3)
    np.testing.assert_allclose(operator.solve(v, absolute=True, floor=1e-2), [0.25, 25.0, 25.0])
    np.testing.assert_allclose(operator.solve(v), [0.25, -1e9, 1e3], rtol=1e-6)
    assert operator.largest == 4.0
    zero = DenseOperator(Z := np.zeros((3, 3)), Z)
    np.testing.assert_array_equal(zero.solve(v, absolute=True), v)


def test_eigenvalues_are_formed_once(monkeypatch):
    calls = []
    original = dense.eigen_of
    monkeypatch.setattr(dense, "eigen_of", lambda m: calls.append(0) or original(m))
    operator = DenseOperator(A, A)
    for _ in range(3):
        operator.eigen()
        operator.solve(V, absolute=True)
        operator.absolute_matvec(V)
    assert len(calls) == 1


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_array_library(xp_case, dtype):
    Ax, v = xp_case.asarray(A, dtype), xp_case.asarray(V, dtype)
    operator = DenseOperator(Ax, Ax)
    tolerance = 1e-9 if dtype == "float64" else 1e-4
    for image, expected in (
        (operator.matvec(v), A @ V),
        (operator.absolute_matvec(v), absolute(A) @ V),
        (operator.solve(v, absolute=True), np.linalg.solve(absolute(A), V)),
        (operator.solve(v), np.linalg.solve(A, V)),
    ):
        assert xp_case.owns(image)
        assert image.dtype == v.dtype
        error = xp_case.to_numpy(image).astype(float) - expected
        assert np.linalg.norm(error) <= 10 * tolerance * np.linalg.norm(expected)


@pytest.mark.parametrize("form", ["hess", "hessp", "gradient"])
def test_the_hessian_comes_from_what_there_is(form):
    def grad(x):
        return A @ x + x**3

    given = {
        "hess": {"hess": lambda x: A + np.diag(3 * x**2)},
        "hessp": {"hessp": lambda x, p: A @ p + 3 * x**2 * p},
        "gradient": {},
    }[form]
    objective = Objective(lambda x: 0.0, V.copy(), (), grad, **given)
    here = objective.at(objective.x0)
    rule = DenseHessian()
    operator = rule.model(rule.init(here.x), objective, here)
    expected = A + np.diag(3 * V**2)
    np.testing.assert_allclose(operator.matrix, expected, atol=1e-9 if given else 1e-4)
    np.testing.assert_array_equal(operator.matrix, operator.matrix.T)
    assert objective.counters.nhev == {"hess": 1, "hessp": 5, "gradient": 0}[form]


def test_a_run_with_the_average_is_the_same_in_pieces():
    """The average is part of the state, and a budget in the midst of a step is no step."""

    def fun(x):
        return float(np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2))

    def grad(x):
        g, a = np.zeros_like(x), x[1:] - x[:-1] ** 2
        g[:-1] = -400.0 * x[:-1] * a - 2.0 * (1.0 - x[:-1])
        g[1:] += 200.0 * a
        return g

    def run(**options):
        options = {"average": 0.3, "gtol": 1e-8, "certify": False, **options}
        return negopt.minimize(fun, [-1.2, 1.0, 0.5], jac=grad, method="sfn-exact", options=options)

    whole = run()
    assert whole.success
    state = None
    for _ in range(200):
        piece = run(maxfun=3, **({} if state is None else {"state": state}))
        state = piece.state
        if piece.success:
            break
    np.testing.assert_array_equal(piece.x, whole.x)
    assert piece.nit == whole.nit
    kept = dataclasses.asdict(piece.state.memory)["average"]
    np.testing.assert_array_equal(kept, whole.state.memory.average)
