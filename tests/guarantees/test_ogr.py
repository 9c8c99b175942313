"""Online regression recovers the projected Hessian of a quadratic, signs included.

Theorem.  Let pairs (s_i, y_i) be given one by one, and Q be the orthonormal basis of the
displacements that the model keeps.

1. If ``y_i = H s_i`` for a symmetric H, of any inertia, then ``M = Q'HQ`` whatever the number of
   pairs and whatever was dropped for the subspace to have d dimensions.
2. For any pairs: while at most d were given, or when d >= n, M is the symmetrised weighted
   least-squares estimate ``Q'(sum w y s')(sum w s s')^-1 Q``; with ``centre="mean"`` that of
   gradients on positions, both less their weighted means.
3. ``solve`` applies the inverse of ``QMQ' + gamma (I - QQ')``, or of its absolute value with
   eigenvalues in the subspace no smaller than ``floor`` times the largest: ``-|B|^-1 g`` descends.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import negopt
from negopt.core.options import RunOptions
from negopt.core.types import Iterate, Outcome
from negopt.curvature.regression import GradientRegression
from negopt.functions.objective import Objective
from negopt.solver.loop import Solver


def iterate(g):
    return Iterate(np.zeros_like(g), 0.0, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))


def taught(rule, steps, changes):
    memory = rule.init(steps[0])
    for s, y in zip(steps, changes, strict=True):
        assert rule.update(memory, s, y)
    return memory, rule.model(memory, None, iterate(np.ones(len(steps[0]))))


def symmetric(rng, n):
    turn = np.linalg.qr(rng.standard_normal((n, n)))[0]
    values = rng.uniform(-5.0, 5.0, n)
    return (turn * values) @ turn.T


@settings(max_examples=60)
@given(
    n=st.integers(1, 12),
    directions=st.integers(1, 6),
    count=st.integers(1, 25),
    seed=st.integers(0, 10**6),
    decay=st.sampled_from([0.3, 0.8, 1.0]),
    centre=st.sampled_from(["step", "mean"]),
    lengths=st.sampled_from([0.0, 2.0]),
)
def test_quadratic(n, directions, count, seed, decay, centre, lengths):
    rng = np.random.default_rng(seed)
    H = symmetric(rng, n)
    steps = rng.standard_normal((count, n)) * 10.0 ** rng.uniform(-lengths, lengths, (count, 1))
    rule = GradientRegression(directions=directions, decay=decay, centre=centre)
    _, operator = taught(rule, steps, steps @ H)
    Q = operator.basis()
    k = len(Q)
    assert k == len(operator.values) <= min(n, directions, count)
    np.testing.assert_allclose(Q @ Q.T, np.eye(k), atol=1e-8)
    np.testing.assert_allclose(Q @ H @ Q.T, np.diag(operator.values), atol=1e-6)
    if centre == "step" and count <= min(n, directions) and decay == 1.0 and lengths == 0.0:
        # nothing was lost, as long as no direction is too narrow to be measured
        spread = np.linalg.svd(steps / np.linalg.norm(steps, axis=1)[:, None], compute_uv=False)
        if spread[-1] > 2e-2 * spread[0]:
            np.testing.assert_allclose(steps @ Q.T @ Q, steps, atol=1e-8)
    if k == n:
        np.testing.assert_allclose(np.sort(operator.values), np.linalg.eigvalsh(H), atol=1e-6)


def least_squares(steps, changes, decay, centre):
    """Return the symmetrised estimate in the whole space, from all pairs at once."""
    count = len(steps)
    if centre == "step":
        weights = decay ** np.arange(count - 1, -1, -1.0) / np.sum(steps**2, axis=1)
        dx, dg = steps, changes
    else:
        x = np.vstack([np.zeros_like(steps[:1]), np.cumsum(steps, axis=0)])
        g = np.vstack([np.zeros_like(changes[:1]), np.cumsum(changes, axis=0)])
        weights = decay ** np.arange(count, -1, -1.0)
        dx = x - weights @ x / np.sum(weights)
        dg = g - weights @ g / np.sum(weights)
    root = np.sqrt(weights)[:, None]
    # lstsq solves (root dx) A = root dg; H is A', defined on the span of dx
    return np.linalg.lstsq(root * dx, root * dg, rcond=1e-9)[0].T


@settings(max_examples=60)
@given(
    n=st.integers(1, 8),
    count=st.integers(1, 14),
    seed=st.integers(0, 10**6),
    decay=st.sampled_from([0.5, 0.8, 1.0]),
    centre=st.sampled_from(["step", "mean"]),
)
def test_weighted_least_squares(n, count, seed, decay, centre):
    rng = np.random.default_rng(seed)
    steps, changes = rng.standard_normal((2, count, n))  # no Hessian has these
    rule = GradientRegression(directions=max(n, count), decay=decay, centre=centre, least_spread=0)
    _, operator = taught(rule, steps, changes)
    Q = operator.basis()
    assume(len(Q) == min(n, count))
    spread = np.linalg.svd(steps, compute_uv=False)
    assume(spread[-1] > 1e-2 * spread[0])  # a well-posed regression
    estimate = Q @ least_squares(steps, changes, decay, centre) @ Q.T
    scale = np.max(np.abs(estimate))
    np.testing.assert_allclose(
        np.diag(operator.values), 0.5 * (estimate + estimate.T), atol=1e-5 * scale
    )


@settings(max_examples=60)
@given(
    n=st.integers(1, 9),
    directions=st.integers(1, 6),
    count=st.integers(0, 12),
    seed=st.integers(0, 10**6),
    floor=st.sampled_from([1e-15, 1e-3, 0.5]),
)
def test_solve_against_the_dense_model(n, directions, count, seed, floor):
    rng = np.random.default_rng(seed)
    rule = GradientRegression(directions=directions)
    steps, changes = rng.standard_normal((2, max(count, 1), n))
    memory = rule.init(steps[0])
    for s, y in zip(steps[:count], changes[:count], strict=True):
        rule.update(memory, s, y)
    g = rng.standard_normal(n)
    operator = rule.model(memory, None, iterate(g))
    Q = operator.basis() if count else np.zeros((0, n))
    outside = np.eye(n) - Q.T @ Q
    B = Q.T @ np.diag(operator.values) @ Q + operator.gamma * outside
    assert operator.gamma > 0.0
    np.testing.assert_allclose(operator.matvec(g), B @ g, atol=1e-9 * np.linalg.norm(B))
    size = np.maximum(np.abs(operator.values), floor * np.max(np.abs(operator.values), initial=0))
    for absolute in (True, False):
        sign = 1.0 if absolute else np.sign(operator.values)
        inverse = Q.T @ np.diag(sign / size) @ Q + outside / operator.gamma
        ours = operator.solve(g, absolute=absolute, floor=floor)
        np.testing.assert_allclose(ours, inverse @ g, atol=1e-9 * np.linalg.norm(inverse))
    d = -operator.solve(g, absolute=True, floor=floor)
    assert g @ d < 0.0


def test_curvature_outside_is_that_of_the_last_step():
    rule = GradientRegression()
    memory = rule.init(np.zeros(3))
    here = iterate(np.array([3.0, 0.0, 4.0]))
    assert rule.model(memory, None, here).gamma == 5.0  # a first step of length 1
    s, y = np.array([1.0, 0.0, 0.0]), np.array([2.0, 2.0, 0.0])
    assert rule.update(memory, s, y)
    assert rule.model(memory, None, here).gamma == pytest.approx(8.0 / 2.0)
    assert rule.update(memory, s, -y)
    assert rule.model(memory, None, here).gamma == pytest.approx(np.sqrt(8.0))
    assert rule.update(
        memory, 0.5 * s, 0.0 * y, Outcome(start=here)
    )  # linear: ten times as far as the last step
    assert rule.model(memory, None, here).gamma == pytest.approx(0.1 * 5.0 / 0.5)


@settings(max_examples=20)
@given(n=st.integers(2, 12), negative=st.integers(1, 3), seed=st.integers(0, 10**6))
def test_negative_curvature_is_left_without_the_check(n, negative, seed):
    """From close to a strict saddle; the eigenvalues of both signs are in the model."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((n, n)))[0]
    wells = np.arange(n) < min(negative, n - 1)

    def fun(x):
        z = turn.T @ x
        return float(np.sum(np.where(wells, z**4 / 4 - z**2 / 2, z**2)))

    def grad(x):
        z = turn.T @ x
        return turn @ np.where(wells, z**3 - z, 2.0 * z)

    x0 = turn @ np.where(wells, 1e-3, 1.0)
    row = negopt.METHODS["ogr"]
    solver = Solver(row, Objective(fun, x0, (), grad), RunOptions(certify=False))
    state, lowest = solver.init(), []
    while state.status is None:
        solver.step(state)
        operator = row.curvature.model(state.memory, None, state.iterate)
        lowest.append(np.min(operator.values, initial=np.inf))
    assert state.status == negopt.Status.CONVERGED
    assert state.iterate.f == pytest.approx(-0.25 * np.sum(wells), abs=1e-8)
    assert min(lowest) < -0.1  # the saddle's curvature is -1 along the wells


def test_beats_gradient_descent_on_the_collection():
    """Evaluations of f and g until the gradient is small, on problems that are not easy."""
    names = ["rosenbrock", "beale", "wood", "helical_valley", "brown_dennis"]
    cost = {}
    for method, options in (("ogr", {}), ("gd-armijo", {}), ("gd-armijo", {"variant": "two-way"})):
        total = 0
        for name in names:
            problem = negopt.problems.get(name)
            res = negopt.minimize(
                problem.fun,
                problem.x0,
                jac=problem.grad,
                method=method,
                options={"certify": False, "maxfun": 2000, **options},
            )
            assert res.success or options
            total += res.nfev + res.njev
        cost[method, *options] = total
    assert cost["ogr",] < 0.7 * cost["gd-armijo",]
    assert cost["ogr",] < 0.2 * cost["gd-armijo", "variant"]
