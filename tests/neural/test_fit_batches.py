"""Batches of `negopt.neural.fit`: who is in them, and what a step on one of them is.

The network without hidden layers and the squared loss are a least-squares problem: the
Hessian over any samples is known, so a pair tells which samples it was formed on.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import negopt
from negopt import Status
from negopt.core.options import RunOptions
from negopt.curvature.lsr1 import LSR1
from negopt.functions.objective import Objective
from negopt.globalize.fixed import FixedRate
from negopt.neural import MLP, MLPObjective, fit
from negopt.neural._batches import Plan
from negopt.neural._fit_setup import feed_of
from negopt.neural._switch import switch_batch
from negopt.solver.loop import Solver

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((50, 4)), RNG.standard_normal(50)


def linear() -> MLPObjective:
    """Return a least-squares problem as a network."""
    return MLPObjective(MLP([4, 1]), X, Y, l2=0.01)


def hessian(rows: Any) -> Any:
    """Return its Hessian over some samples."""
    A = np.column_stack([X[rows], np.ones(len(rows))])
    return A.T @ A / len(rows) + 0.01 * np.eye(5)


def plan_of(batch_size: int, overlap: float = 0.0, rng: Any = 0) -> Plan:
    """Return the plan of a run."""
    return feed_of(linear(), None, batch_size, None, overlap, rng).plan


# --- the plan ---------------------------------------------------------------------------------


@given(
    samples=st.integers(1, 60),
    size=st.integers(1, 60),
    share=st.floats(0.0, 0.5),
    seed=st.integers(0, 2**63 - 1),
)
def test_an_epoch_holds_every_sample(samples: int, size: int, share: float, seed: int) -> None:
    size = min(size, samples)
    plan = Plan(samples, size, min(math.ceil(share * size), size // 2), seed=seed)
    batches = [plan.batch(3, i) for i in range(plan.count)]
    assert set(np.concatenate(batches).tolist()) == set(range(samples))
    for i, rows in enumerate(batches):
        assert len(set(rows.tolist())) == rows.size  # nobody twice: nothing is padded
        assert rows.size == size or i == plan.count - 1
        assert 0 < rows.size <= size + 1
        assert rows.size > 1 or size == 1 or samples == 1  # batch norm needs two
        following = batches[i + 1] if i + 1 < plan.count else rows[:0]
        common = set(rows.tolist()) & set(following.tolist())
        overlap = plan.overlap(3, i)
        assert common == set([] if overlap is None else overlap.tolist())
        if i + 1 < plan.count:
            assert len(common) == plan.shared
    if plan.shared == 0:
        assert sum(rows.size for rows in batches) == samples


def test_each_epoch_has_its_own_order() -> None:
    plan = plan_of(10)
    first, second = plan.batch(0, 0), plan.batch(1, 0)
    assert not np.array_equal(first, second)
    assert np.array_equal(first, plan_of(10).batch(0, 0))
    assert not np.array_equal(first, plan_of(10, rng=1).batch(0, 0))
    # The start of the same seed, and the solver, draw from other streams.
    assert not np.array_equal(first, np.random.default_rng(0).permutation(50)[:10])


# --- the recursions of the textbooks --------------------------------------------------------------


def gradient(rows: Any, x: Any) -> Any:
    """Return the gradient over some samples, from the formula."""
    A = np.column_stack([X[rows], np.ones(len(rows))])
    return A.T @ (A @ x - Y[rows]) / len(rows) + 0.01 * x


def value(rows: Any, x: Any) -> float:
    """Return the loss over some samples, from the formula."""
    A = np.column_stack([X[rows], np.ones(len(rows))])
    return float(0.5 * np.mean((A @ x - Y[rows]) ** 2) + 0.005 * x @ x)


def rows_of(plan: Plan, epochs: int) -> list[Any]:
    return [plan.batch(e, i) for e in range(epochs) for i in range(plan.count)]


def test_gd_is_stochastic_gradient_descent() -> None:
    objective, x = linear(), np.ones(5)
    res = fit(
        objective,
        x,
        method="gd",
        epochs=3,
        batch_size=15,
        options={"learning_rate": 0.2, "momentum": 0.5},
    )
    v, losses = np.zeros(5), []
    for rows in rows_of(plan_of(15), 3):
        losses.append(value(rows, x))
        v = 0.5 * v + gradient(rows, x)
        x = x - 0.2 * v
    np.testing.assert_allclose(res.x, x, rtol=1e-12)
    np.testing.assert_allclose(res.history["loss"][1:], losses, rtol=1e-12)


def test_adam_is_adam() -> None:
    x, m, v = np.ones(5), np.zeros(5), np.zeros(5)
    res = fit(linear(), x, method="adam", epochs=3, batch_size=15, options={"learning_rate": 0.1})
    for t, rows in enumerate(rows_of(plan_of(15), 3), start=1):
        g = gradient(rows, x)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        x = x - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(res.x, x, rtol=1e-12)


def test_a_line_search_is_judged_on_its_batch() -> None:
    options = {"scaling": "none", "interpolate": False, "first_step": 4.0, "c1": 0.3}
    x, losses, sizes = np.ones(5), [], []
    res = fit(linear(), x, method="gd-armijo", epochs=3, batch_size=15, options=options)
    for rows in rows_of(plan_of(15), 3):
        f, g, t = value(rows, x), gradient(rows, x), 4.0
        while value(rows, x - t * g) > f - 0.3 * t * g @ g:
            t *= 0.5
        x = x - t * g
        losses.append(f)
        sizes.append(t)
    np.testing.assert_allclose(res.x, x, rtol=1e-12)
    np.testing.assert_allclose(res.history["loss"][1:], losses, rtol=1e-12)
    np.testing.assert_allclose(res.history["step_size"][1:], sizes)
    assert len(set(sizes)) > 1


# --- pairs and products ---------------------------------------------------------------------------


@pytest.mark.parametrize("overlap", [0.0, 0.3])
def test_a_pair_is_of_one_batch(overlap: float, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs: list[tuple[Any, Any]] = []
    update = LSR1.update

    def record(self: LSR1, memory: Any, s: Any, y: Any, outcome: Any = None) -> bool:
        pairs.append((s.copy(), y.copy()))
        return update(self, memory, s, y, outcome)

    monkeypatch.setattr(LSR1, "update", record)
    res = fit(linear(), method="lsr1-tr", epochs=3, batch_size=20, overlap=overlap)
    plan = plan_of(20, overlap)
    assert len(pairs) == 3 * plan.count
    assert plan.count == (3 if overlap == 0.0 else 4)
    for k, (s, y) in enumerate(pairs):
        place = divmod(k, plan.count)
        shared = plan.overlap(*place)
        rows = plan.batch(*place) if shared is None else shared
        np.testing.assert_allclose(y, hessian(rows) @ s, rtol=1e-8, atol=1e-12)
    # Two more gradients for each pair on an overlap, one at each batch and one at each trial.
    shared_pairs = 3 * (plan.count - 1) if overlap else 0
    assert res.njev == len(pairs) * 2 + 2 * shared_pairs


@pytest.mark.parametrize("size", [None, 8])
def test_products_from_a_smaller_batch(size: int | None) -> None:
    seen: list[tuple[Any, Any]] = []

    class Watched(MLPObjective):
        def hessp(self, x: Any) -> Any:
            product = super().hessp(x)

            def watched(p: Any) -> Any:
                seen.append((p.copy(), product(p)))
                return product(p)

            return watched

    objective = Watched(MLP([4, 1]), X, Y, l2=0.01)
    res = fit(objective, method="tr-ellipsoid", epochs=2, batch_size=25, hessian_batch_size=size)
    plan = plan_of(25)
    some = [rows[: size or 25] for rows in rows_of(plan, 2)]
    for p, image in seen:
        errors = [np.linalg.norm(hessian(rows) @ p - image) for rows in some]
        assert min(errors) < 1e-12 * np.linalg.norm(image)
    assert len(seen) == res.nhev >= 4
    expected = (res.nfev * 25 + 2 * res.nhev * (size or 25)) / 50
    assert res.passes == pytest.approx(expected)


def test_products_from_some_samples_with_gradients_from_all() -> None:
    res = fit(linear(), method="newton-krylov", epochs=30, hessian_batch_size=25)
    assert res.status == Status.EPOCHS
    A = np.column_stack([X, np.ones(50)])
    exact = np.linalg.solve(A.T @ A / 50 + 0.01 * np.eye(5), A.T @ Y / 50)
    np.testing.assert_allclose(res.x, exact, atol=1e-5)


# --- from batch to batch ------------------------------------------------------------------------


def test_switching_keeps_what_is_learnt_and_forgets_values() -> None:
    objective = linear()
    first, second = objective.take(np.arange(20)), objective.take(np.arange(20, 50))
    for name in ("lsr1-tr", "newton-krylov", "lsr1-wolfe-pm", "newton-cubic", "sfn-series"):
        method = negopt.METHODS[name]
        batch = Objective(first, objective.x0(rng=0))
        solver = Solver(method, batch, RunOptions(gtol=0.0, certify=False))
        state = solver.init()
        for _ in range(3):
            solver.step(state)
        kept = {
            f: getattr(state.globalize, f)
            for f in ("radius", "length", "weight", "damping")
            if hasattr(state.globalize, f)
        }
        assert state.globalize.lowest < math.inf
        x, k, counts = state.iterate.x, state.k, state.counters.nfev
        switch_batch(solver, state, second)
        assert state.iterate.x is x
        assert state.iterate.f == float(second.fun(x))
        assert np.array_equal(state.iterate.g, second.grad(x))
        assert state.best is state.iterate is batch.best
        assert state.globalize.lowest == math.inf
        assert {f: getattr(state.globalize, f) for f in kept} == kept
        assert (state.k, state.counters.nfev) == (k, counts + 1)
        if name == "newton-krylov":
            assert not state.memory.trusted
            assert state.memory.pairs.count > 0
        if name == "lsr1-tr":
            assert state.memory.count > 0
        solver.step(state)
        assert state.k == k + 1


def test_after_a_rejected_step_the_next_batch_begins_at_the_same_point() -> None:
    res = fit(
        linear(),
        np.full(5, 3.0),
        method="lsr1-tr",
        epochs=4,
        batch_size=10,
        options={"initial_trust_radius": 1e3},
    )
    steps, plan = res.history, plan_of(10)
    rejected = np.flatnonzero(steps["accepted"] == 0.0)
    assert rejected.size == res.n_rejected >= 1
    assert rejected[0] == 2
    assert steps["fun"][2] == steps["loss"][2]
    # The point before the third step is that before the second: the loss is another batch's.
    x = after_the_first_step(plan.batch(0, 0))
    assert steps["loss"][2] == pytest.approx(value(plan.batch(0, 1), x))
    assert steps["loss"][3] == pytest.approx(value(plan.batch(0, 2), x))


def after_the_first_step(rows: Any) -> Any:
    objective = linear().take(rows)
    options = {"initial_trust_radius": 1e3, "maxiter": 1}
    return negopt.minimize(objective, np.full(5, 3.0), method="lsr1-tr", options=options).x


class Odd:
    """A least-squares problem that is ill on some samples."""

    def __init__(self, rows: Any, ill: Any, kind: str, log: list[Any] | None = None) -> None:
        self.rows, self.ill, self.kind = rows, ill, kind
        self.log: list[Any] = [] if log is None else log
        self.data = (X, Y)
        self.x0 = np.ones(5)

    def take(self, indices: Any) -> Odd:
        return Odd(indices, self.ill, self.kind, self.log)

    def fun_and_grad(self, x: Any) -> tuple[float, Any]:
        ill = set(self.rows.tolist()) & set(self.ill.tolist())
        if ill and self.kind == "nan":
            return math.nan, np.full(5, math.nan)
        if ill and self.kind == "flat":
            return 1.0, np.zeros(5)
        if self.kind == "island" and not np.array_equal(x, self.x0):
            return math.nan, np.full(5, math.nan)
        return value(self.rows, x), gradient(self.rows, x)

    def fun(self, x: Any) -> float:
        return self.fun_and_grad(x)[0]

    def grad(self, x: Any) -> Any:
        return self.fun_and_grad(x)[1]

    def commit(self, x: Any) -> None:
        self.log.append((len(self.rows), x.copy()))


@pytest.mark.parametrize("method", ["lsr1-tr", "lbfgs-wolfe", "gd-armijo"])
@pytest.mark.parametrize("kind", ["nan", "flat"])
def test_a_batch_that_is_ill_is_passed_over(method: str, kind: str) -> None:
    ill = plan_of(10).batch(0, 2)[:1]
    res = fit(Odd(np.arange(50), ill, kind), method=method, epochs=5, batch_size=10)
    assert res.status == Status.EPOCHS
    steps = res.history["accepted"]
    assert steps[3] != 1.0
    assert np.sum(steps == 1.0) >= 12
    healthy = np.setdiff1d(np.arange(50), ill)
    assert value(healthy, res.x) < 0.8 * value(healthy, np.ones(5))


def test_an_epoch_without_a_step_ends_the_run() -> None:
    everyone = np.arange(50)
    res = fit(Odd(everyone, everyone, "flat"), method="gd-armijo", epochs=50, batch_size=10)
    assert res.status == Status.PRECISION
    assert not res.success
    assert "no step could be made on any batch of epoch 1" in res.message
    assert np.array_equal(res.x, np.ones(5))


@pytest.mark.parametrize("method", ["lsr1-tr", "lbfgs-wolfe", "adam"])
def test_only_non_finite_values_around_end_the_run(method: str) -> None:
    whole = Odd(np.arange(50), np.arange(0), "island")
    res = fit(whole, method=method, epochs=500, batch_size=10)
    assert res.status == Status.NONFINITE
    assert np.array_equal(res.x, np.ones(5))
    assert math.isfinite(res.fun)


def test_a_divergence_ends_the_run() -> None:
    res = fit(linear(), method="gd", epochs=500, batch_size=10, options={"learning_rate": 1e3})
    assert res.status == Status.NONFINITE
    assert "learning_rate" in res.message


def test_buffers_are_committed_once_an_accepted_step() -> None:
    whole = Odd(np.arange(50), np.arange(0), "")
    res = fit(whole, method="lsr1-tr", epochs=2, batch_size=20)
    accepted = int(np.nansum(res.history["accepted"]))
    assert len(whole.log) == accepted > 3
    assert {n for n, _ in whole.log} == {20, 10}
    assert np.array_equal(whole.log[-1][1], res.x)
    whole.log.clear()
    res = fit(whole, method="lsr1-tr", epochs=4)
    assert len(whole.log) == int(np.nansum(res.history["accepted"]))
    assert whole.log[0][0] == 50


def test_a_users_own_method_and_budgets() -> None:
    row = negopt.METHODS["lsr1-tr"]
    own = negopt.Method("own", row.curvature, row.step, row.globalize)
    res = fit(linear(), method=own, epochs=2, batch_size=20)
    assert res.method == "own"
    ref = fit(linear(), method="lsr1-tr", epochs=2, batch_size=20)
    assert np.array_equal(res.x, ref.x)
    # A rule that compares no values, with a model of pairs: y is of one batch there too.
    fixed = negopt.Method(
        "fixed", row.curvature, negopt.METHODS["lbfgs-wolfe"].step, FixedRate(0.1)
    )
    res = fit(linear(), method=fixed, epochs=2, batch_size=20)
    assert res.njev >= 2 * res.nit
    for limit in range(1, 9):
        res = fit(linear(), method="lsr1-tr", epochs=9, batch_size=20, options={"maxfun": limit})
        assert res.status == Status.LIMIT
        assert res.nfev <= limit
        assert "maxfun" in res.message
    res = fit(linear(), method="lsr1-tr", epochs=9, batch_size=20, options={"maxiter": 4})
    assert (res.status, res.nit) == (Status.LIMIT, 4)


class Masked:
    """A loss with a random mask of its seed, over a tree of data, as adapters have it."""

    seeds: ClassVar[list[Any]] = []

    def __init__(self, inputs: Any, targets: Any, seed: Any = 0, training: bool = True) -> None:
        self.inputs, self.targets, self.training = inputs, targets, training
        self.mask = np.random.default_rng(seed).integers(2, size=4) if training else np.ones(4)
        self.x0 = np.ones(4)

    def on(
        self, inputs: Any, targets: Any = None, *, seed: Any = None, training: Any = None
    ) -> Masked:
        if seed is not None:
            Masked.seeds.append(seed)
        return Masked(inputs, targets, seed, self.training if training is None else training)

    def fun_and_grad(self, x: Any) -> tuple[float, Any]:
        a, (b, _) = self.inputs["a"], self.inputs["others"]
        A = np.asarray(a) * self.mask
        r = A @ x - np.asarray(b)
        return float(0.5 * np.mean(r**2)), A.T @ r / len(r)

    def fun(self, x: Any) -> float:
        return self.fun_and_grad(x)[0]

    def grad(self, x: Any) -> Any:
        return self.fun_and_grad(x)[1]


def test_trees_of_data_and_masks_of_a_batch() -> None:
    inputs = {"a": X, "others": [Y, np.arange(50)]}
    whole = Masked(inputs, None)
    Masked.seeds.clear()
    first = fit(whole, method="lqn-tr", epochs=3, batch_size=20, validation=(inputs, None))
    seeds = Masked.seeds.copy()
    assert len(set(seeds)) >= 9  # a mask for each batch ...
    Masked.seeds.clear()
    second = fit(whole, method="lqn-tr", epochs=3, batch_size=20, validation=(inputs, None))
    assert Masked.seeds == seeds  # ... and the same ones in the same run
    assert np.array_equal(first.x, second.x)
    plain = Masked(inputs, None, training=False)
    assert first.validation_loss == plain.fun(first.x)  # validation has no mask
    given = fit(whole, data=(inputs,), method="lqn-tr", epochs=3, batch_size=20)
    assert np.array_equal(given.x, first.x_last)


def test_data_of_another_library() -> None:
    jax = pytest.importorskip("jax")
    inputs = {"a": jax.numpy.asarray(X), "others": (jax.numpy.asarray(Y), np.arange(50))}
    res = fit(Masked(inputs, None), method="lqn-tr", epochs=2, batch_size=20)
    assert res.nit == 6
