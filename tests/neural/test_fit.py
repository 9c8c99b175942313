"""`negopt.neural.fit`: on all data it is `minimize`; validation, early stopping, errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import negopt
from negopt import Status, minimize
from negopt.neural import MLP, MLPObjective, fit, load_ionosphere, read_libsvm

METHODS = list(negopt.METHODS)


def split(n: int = 260) -> tuple[MLPObjective, tuple[Any, Any]]:
    """Return ionosphere as an objective over n shuffled samples, and the rest of them."""
    data = load_ionosphere()
    order = np.random.default_rng(1).permutation(data.X.shape[0])
    X, y = data.X[order], data.y[order]
    objective = MLPObjective(MLP([34, 3, 1]), X[:n], y[:n], loss="logistic", l2=1e-3)
    return objective, (X[n:], y[n:])


def accuracy(objective: MLPObjective, x: Any) -> float:
    """Return the share of right labels."""
    return objective.accuracy(x)


# --- on all data -------------------------------------------------------------------------


def facts(message: str) -> str:
    """Return what a message says of the run, without what the caller may do about it."""
    message = message.replace("(maxiter =", "(epochs =")
    return message.partition(". Raise")[0].partition("; raise")[0]


@pytest.mark.parametrize("method", METHODS)
def test_all_data_is_minimize(method: str) -> None:
    objective, _ = split(80)
    x0 = objective.x0(rng=3)
    options = {"compiled": False}
    res = fit(objective, x0, method=method, epochs=6, options=options, rng=5)
    path: list[Any] = []
    ref = minimize(
        objective,
        x0,
        method=method,
        callback=lambda intermediate_result: path.append(intermediate_result.fun),
        options={**options, "maxiter": 6, "rng": 5, "record": True},
    )
    assert np.array_equal(res.x, ref.x)
    assert np.array_equal(res.jac, ref.jac)
    assert (res.fun, res.nit, res.nfev, res.njev, res.nhev) == (
        *(ref.fun, ref.nit, ref.nfev, ref.njev, ref.nhev),
    )
    assert (res.status, facts(res.message)) == (ref.status, facts(ref.message))
    for name in set(ref.history) - {"time"}:
        np.testing.assert_array_equal(res.history[name], ref.history[name], err_msg=name)
    assert list(res.history["fun"][1:]) == path
    assert list(res.history["loss"][1:]) == list(res.history["fun"][:-1])


def test_all_data_stops_and_checks_the_curvature_as_minimize() -> None:
    objective, _ = split(30)
    res = fit(objective, method="newton-krylov")
    ref = minimize(objective, objective.x0(rng=0), method="newton-krylov")
    assert res.status == Status.CONVERGED
    assert np.array_equal(res.x, ref.x)
    assert res.curvature_status == ref.curvature_status != "not checked"
    assert res.hess.shape == ref.hess.shape
    assert fit(objective, method=negopt.lsr1_tr, epochs=4).method == "lsr1-tr"
    assert fit(objective, epochs=2).method == minimize(objective, objective.x0(rng=0)).method


def test_a_budget_on_all_data_is_that_of_minimize() -> None:
    objective, _ = split(60)
    options = {"maxfun": 9, "compiled": False}
    res = fit(objective, method="lqn-tr", options=options)
    ref = minimize(objective, objective.x0(rng=0), method="lqn-tr", options=options)
    assert res.status == Status.LIMIT
    assert np.array_equal(res.x, ref.x)
    assert facts(res.message) == facts(ref.message)


@pytest.mark.parametrize("batch_size", [None, 20])
def test_messages_advise_what_fit_has(batch_size: int | None, tmp_path: Any) -> None:
    objective, _ = split(60)
    path = tmp_path / "run.npz"
    arguments: dict[str, Any] = {"method": "lqn-tr", "batch_size": batch_size}

    def message(checkpoint: Any = None, **options: Any) -> str:
        options = {**arguments, "options": options, "checkpoint": checkpoint}
        return str(fit(objective, resume=False, **options).message)

    found = [message(maxfun=9), message(path, maxfun=9), message(maxiter=2)]
    assert all("state" not in text for text in found)
    assert "raise maxfun, or continue from here with x0=res.x." in found[0]
    assert f"raise maxfun; resume={str(path)!r} continues from here." in found[1]
    limit = "epochs" if batch_size is None else "maxiter"
    assert f"({limit} = 2 in this call, 2 in all)" in found[2]
    assert f"Raise {limit}, or continue from here with x0=res.x." in found[2]


# --- every method learns on batches ---------------------------------------------------------

SETTINGS: dict[str, dict[str, Any]] = {
    "gd": {"learning_rate": 0.5, "momentum": 0.5},
    "adam": {"learning_rate": 0.05},
}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_on_batches(method: str) -> None:
    objective, kept = split()
    x0 = objective.x0(rng=0)
    res = fit(
        objective,
        x0,
        method=method,
        epochs=4,
        batch_size=65,
        validation=kept,
        metrics={"accuracy": accuracy},
        options=SETTINGS.get(method),
    )
    assert res.status == Status.EPOCHS
    assert res.success
    assert res.nit == 16  # 4 epochs of 4 batches
    assert res.fun < 0.75 * float(objective.fun(x0))
    assert objective.on(*kept).accuracy(res.x) > 0.75
    assert math.isclose(res.fun, float(objective.fun(res.x)), rel_tol=1e-12)
    np.testing.assert_allclose(res.jac, objective.grad(res.x), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize(
    ("method", "options", "batches"),
    [
        ("sfn-series", {}, {}),
        ("sfn-series", {"variant": "as run", "learning_rate": 0.3}, {}),
        ("sfn-series", {"variant": "adaptive", "damping": 0.0933}, {}),
        ("sfn-series", {"variant": "adaptive as run", "damping": 0.0933}, {}),
        ("tr-ellipsoid", {"metric": "rmsprop"}, {"hessian_batch_size": 20}),
        ("tr-ellipsoid", {"metric": "adagrad"}, {}),
        ("lsr1-tr", {"maxcor": 5}, {"overlap": 0.25}),
        ("lbfgs-wolfe", {}, {"overlap": 0.5}),
        ("gd-armijo", {"variant": "two-way"}, {}),
    ],
)
def test_the_sources_algorithms_learn_heart(
    data_dir: Any, method: str, options: dict[str, Any], batches: dict[str, Any]
) -> None:
    data = read_libsvm(data_dir / "libsvm" / "heart_scale")
    order = np.random.default_rng(0).permutation(270)
    X, y = data.X[order], data.y[order]
    objective = MLPObjective(MLP([13, 5, 1]), X[:200], y[:200], loss="logistic", l2=1e-3)
    kept = X[200:], y[200:]
    res = fit(
        objective,
        method=method,
        epochs=6,
        batch_size=50,
        validation=kept,
        options=options,
        **batches,
    )
    loss = res.history["epochs"]["validation_loss"]
    assert np.min(loss) < 0.55
    assert objective.on(*kept).accuracy(res.x) > 0.75


# --- the start, the data, the history ----------------------------------------------------------


def test_the_same_seed_is_the_same_run() -> None:
    objective, _ = split(90)
    runs = [fit(objective, epochs=2, batch_size=20, method="lsr1-tr", rng=r) for r in (4, 4, 5)]
    assert np.array_equal(runs[0].x, runs[1].x)
    assert not np.array_equal(runs[0].x, runs[2].x)
    first, second = (
        fit(objective, epochs=2, batch_size=20, method="adam", rng=np.random.default_rng(8))
        for _ in range(2)
    )
    assert np.array_equal(first.x, second.x)


def test_data_may_be_given() -> None:
    objective, (X, y) = split(90)
    other = MLPObjective(objective.network, X, y, loss="logistic", l2=1e-3)
    x0 = other.x0(rng=0)
    options: dict[str, Any] = {"method": "lsr1-tr", "epochs": 2, "batch_size": 30}
    ours = fit(objective, x0, data=(X, y), **options)
    assert np.array_equal(ours.x, fit(other, x0, **options).x)
    full = fit(objective, x0, data=(X, y), method="lqn-tr", epochs=3)
    options = {"maxiter": 3, "compiled": False}
    ref = minimize(other, x0, method="lqn-tr", options=options)
    assert np.array_equal(full.x, ref.x)


def test_the_history() -> None:
    objective, kept = split(100)
    res = fit(
        objective,
        method="lsr1-wolfe-pm",
        epochs=3,
        batch_size=40,
        validation=kept,
        metrics={"accuracy": accuracy},
    )
    steps, epochs = res.history, res.history["epochs"]
    assert len(steps["loss"]) == res.nit + 1 == 10
    assert list(steps["epoch"]) == [1, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert math.isnan(steps["loss"][0])
    # The mean over an epoch is that of its samples: the last batch has 20 of them.
    assert epochs["loss"][0] == pytest.approx(np.average(steps["loss"][1:4], weights=[40, 40, 20]))
    assert np.all(np.diff(steps["passes"]) > 0)
    assert steps["passes"][-1] == epochs["passes"][-1] == res.passes
    assert list(epochs["epoch"]) == [1, 2, 3]
    assert np.all(epochs["accepted"] <= 3)
    assert np.all((epochs["accuracy"] > 0.3) & (epochs["accuracy"] <= 1.0))
    best = int(np.argmin(epochs["validation_loss"]))
    assert res.best_epoch == best + 1
    assert res.validation_loss == epochs["validation_loss"][best]
    assert float(objective.on(*kept).fun(res.x)) == res.validation_loss
    assert float(objective.on(*kept).fun(res.x_last)) == epochs["validation_loss"][-1]
    assert np.any(steps["step_size"] != 0)


def test_passes_are_gradients_per_sample() -> None:
    objective, _ = split(100)
    counted = Counting(objective)
    res = fit(counted, method="adam", epochs=3, batch_size=30)
    # A first-order method costs one gradient a sample and epoch, and one batch to begin with.
    assert res.passes == pytest.approx(3 + 0.3)
    # What is returned is evaluated on all samples once the run is over.
    assert counted.samples == pytest.approx(100 * res.passes + 100)
    counted.samples = 0
    res = fit(counted, method="lsr1-tr", epochs=3, batch_size=30, overlap=0.3)
    assert counted.samples == pytest.approx(100 * res.passes + 100)


class Counting:
    """An objective that counts the samples it is evaluated on, with no more than it must have."""

    def __init__(self, inner: MLPObjective, parent: Counting | None = None) -> None:
        self.inner, self.parent, self.samples = inner, parent, 0
        self.data = inner.data

    def x0(self, rng: Any) -> Any:
        return self.inner.x0(rng=rng)

    def on(self, X: Any, y: Any) -> Counting:
        return Counting(self.inner.on(X, y), self.parent or self)

    def fun(self, x: Any) -> float:
        return float(self.inner.fun(x))

    def grad(self, x: Any) -> Any:
        (self.parent or self).samples += self.inner.X.shape[0]
        return self.inner.grad(x)


# --- early stopping, callback, progress -------------------------------------------------------


def test_patience_ends_the_run_at_the_best_epoch() -> None:
    objective, kept = split(60)
    kwargs: dict[str, Any] = {"method": "lqn-tr", "batch_size": 20, "validation": kept}
    res = fit(objective, epochs=200, patience=4, **kwargs)
    assert res.status == Status.EARLY
    assert res.success
    loss = res.history["epochs"]["validation_loss"]
    assert len(loss) == res.best_epoch + 4
    assert res.best_epoch == np.argmin(loss) + 1
    assert f"epoch {res.best_epoch}" in res.message
    short = fit(objective, epochs=res.best_epoch, **kwargs)
    assert np.array_equal(short.x_last, res.x)
    full = fit(objective, patience=3, method="lqn-tr", validation=kept)
    assert full.status == Status.EARLY
    assert float(objective.fun(full.x)) == full.fun  # the three belong together
    assert np.array_equal(objective.grad(full.x), full.jac)


def test_patience_where_no_validation_loss_is_finite() -> None:
    class Lost(MLPObjective):
        def fun(self, x: Any) -> Any:
            return math.nan if self.X.shape[0] < 60 else super().fun(x)

    objective, kept = split(60)
    lost = Lost(objective.network, *objective.data, loss="logistic")
    res = fit(lost, method="lqn-tr", epochs=9, validation=(kept[0][:5], kept[1][:5]), patience=3)
    assert res.status == Status.EARLY
    assert res.message.startswith("The validation loss was not finite in any of 3 epochs")
    assert math.isnan(res.validation_loss)
    assert res.fun < float(lost.fun(lost.x0(rng=0)))


def test_callback_by_scipys_rule() -> None:
    objective, kept = split(60)
    seen: list[Any] = []

    def watch(intermediate_result: Any) -> None:
        seen.append(intermediate_result)
        if intermediate_result.epoch == 2:
            raise StopIteration

    res = fit(objective, method="adam", epochs=5, batch_size=20, validation=kept, callback=watch)
    assert res.status == Status.CALLBACK
    assert [r.nit for r in seen] == [3, 6]
    assert [r.validation_loss for r in seen] == list(res.history["epochs"]["validation_loss"])
    points: list[Any] = []
    fit(objective, method="adam", epochs=3, callback=lambda xk: points.append(xk))
    assert [p.shape for p in points] == [(objective.network.size,)] * 3

    def press(xk: Any) -> None:
        raise KeyboardInterrupt

    assert fit(objective, batch_size=20, callback=press).status == Status.INTERRUPTED

    def fail(xk: Any) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        fit(objective, batch_size=20, callback=fail)


def test_progress_is_shown_and_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    objective, kept = split(60)
    kwargs: dict[str, Any] = {"method": "lqn-tr", "epochs": 3, "validation": kept}
    for batch_size in (None, 25):
        plain = fit(objective, batch_size=batch_size, **kwargs)
        assert capsys.readouterr().out == ""
        shown = fit(objective, batch_size=batch_size, progress=True, **kwargs)
        out = capsys.readouterr().out
        assert "epoch 3/3" in out
        assert "validation loss" in out
        assert np.array_equal(plain.x, shown.x)


# --- types and devices --------------------------------------------------------------------------


def test_every_library_keeps_its_arrays(xp_case: Any) -> None:
    objective, (X, y) = split(60)
    X0, y0 = objective.data
    network = MLP([34, 3, 1])
    as_theirs = xp_case.asarray
    theirs = MLPObjective(network, as_theirs(X0), as_theirs(y0), loss="logistic")
    x0 = MLPObjective(network, X0, y0, loss="logistic").x0(rng=0)
    kwargs: dict[str, Any] = {"epochs": 2, "batch_size": 25, "method": "lqn-tr"}
    res = fit(theirs, as_theirs(x0), validation=(as_theirs(X), as_theirs(y)), **kwargs)
    assert xp_case.owns(res.x)
    assert xp_case.owns(res.jac)
    ref = fit(MLPObjective(network, X0, y0, loss="logistic"), x0, validation=(X, y), **kwargs)
    np.testing.assert_allclose(xp_case.to_numpy(res.x), ref.x, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("method", ["lsr1-tr", "tr-ellipsoid", "adam", "sfn-series"])
def test_float32_stays_float32(method: str) -> None:
    objective, (X, y) = split(60)
    X0, y0 = objective.data
    small = MLPObjective(MLP([34, 3, 1]), X0.astype(np.float32), y0, loss="logistic")
    res = fit(small, method=method, epochs=2, batch_size=25, validation=(X.astype(np.float32), y))
    assert res.x.dtype == res.jac.dtype == res.x_last.dtype == np.float32
    assert res.state.iterate.x.dtype == np.float32


# --- mistakes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"epochs": 0}, "epochs=0"),
        ({"patience": 3}, "give validation="),
        ({"overlap": 0.2}, "give batch_size="),
        ({"batch_size": 10, "overlap": 0.7}, "overlap=0.7"),
        ({"batch_size": 10, "hessian_batch_size": 11}, "hessian_batch_size=11"),
        ({"batch_size": 10, "options": {"gtol": 1e-3}}, "the loss of one batch"),
        ({"options": {"rng": 3}}, "pass rng= to fit"),
        ({"options": {"state": None}}, "resume="),
        ({"epochs": 3, "options": {"maxiter": 3}}, "pass one"),
        ({"method": "L-BFGS-B"}, "negopt's methods"),
        ({"method": "lsr1"}, "Did you mean"),
        ({"metrics": {"loss": accuracy}}, "column of the history"),
        ({"metrics": [accuracy]}, "metrics is a list"),
        ({"metrics": {"mine": lambda objective, x: None}}, r"metrics\['mine'\] returned None"),
        ({"rng": -1}, "rng=-1"),
        ({"rng": "one"}, "rng='one'"),
        ({"data": ([[1.0]], [1.0])}, "first axis counts the samples"),
        ({"data": np.ones((3, 2))}, "the pair"),
        ({"data": ()}, "the pair"),
        ({"data": (np.ones((3, 34)), np.ones(2))}, "same number"),
        ({"validation": (np.full((3, 34), np.nan), np.ones(3))}, "not finite"),
        ({"validation": (np.ones((3, 34)),)}, r"1 parts, .* as on\(X, y\)"),
        ({"data": (np.ones((3, 34)), np.ones(3), np.ones(3))}, "3 parts"),
        ({"options": 5}, "options=5: pass a dict"),
        ({"checkpoint_every": 0}, "checkpoint_every=0"),
        ({"checkpoint_every": 3}, "give checkpoint= too"),
        ({"resume": True}, "not given"),
    ],
)
def test_mistakes_are_named(arguments: dict[str, Any], match: str) -> None:
    objective, _ = split(30)
    with pytest.raises((ValueError, TypeError), match=match):
        fit(objective, **arguments)


def test_an_objective_without_on() -> None:
    class Plain:
        x0 = np.ones(3)

        def fun(self, x: Any) -> float:
            return float(x @ x)

        def grad(self, x: Any) -> Any:
            return 2 * x

    assert fit(Plain(), method="lqn-tr").fun < 1e-8
    with pytest.raises(TypeError, match=r"on\(inputs, targets\)"):
        fit(Plain(), batch_size=3)
    with pytest.raises(TypeError, match=r"validation= needs an objective with on"):
        fit(Plain(), validation=(np.ones((2, 2)), np.ones(2)))
    with pytest.raises(ValueError, match="pass x0"):
        fit(type("NoStart", (), {"fun": Plain.fun, "grad": Plain.grad})())


def test_an_unknown_option_warns() -> None:
    from scipy.optimize import OptimizeWarning

    objective, _ = split(30)
    with pytest.warns(OptimizeWarning, match="maxcors"):
        fit(objective, method="lsr1-tr", epochs=1, options={"maxcors": 3})
