"""A run of `negopt.neural.fit` that is cut, or killed, and resumed is the run in one piece."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import negopt
from negopt import Status, checkpoint
from negopt.neural import MLP, MLPObjective, fit, load_ionosphere

METHODS = list(negopt.METHODS)
SOURCE = str(Path(negopt.__file__).parents[1])


def problem(dtype: Any = np.float64) -> tuple[MLPObjective, tuple[Any, Any]]:
    """Return ionosphere as an objective over 60 samples, and 40 others."""
    data = load_ionosphere()
    X = data.X[:, 2:10].astype(dtype)
    objective = MLPObjective(MLP([8, 2, 1]), X[:60], data.y[:60], loss="logistic", l2=1e-3)
    return objective, (X[60:100], data.y[60:100])


class Killed(Exception):
    """Stands for a crash."""


def crash_after(saves: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process 'die' once a checkpoint has been written as often."""
    from negopt.neural import _fit_state

    original, count = _fit_state.save, [0]

    def save(*args: Any) -> None:
        original(*args)
        count[0] += 1
        if count[0] == saves:
            raise Killed

    monkeypatch.setattr(_fit_state, "save", save)


def assert_same(part: Any, whole: Any) -> None:
    """Assert that two runs are one, but for the time they took."""
    for name in ("x", "jac", "x_last"):
        assert np.array_equal(part[name], whole[name]), name
    for name in ("fun", "nit", "nfev", "njev", "nhev", "status", "best_epoch"):
        assert part[name] == whole[name], name
    # What follows "Raise epochs" depends on whether there is a file to go on from.
    assert part.message.partition(" Raise")[0] == whole.message.partition(" Raise")[0]
    assert part.passes == whole.passes
    np.testing.assert_equal(part.validation_loss, whole.validation_loss)
    for first, second in ((part.history, whole.history),):
        for name in set(first) - {"time", "epochs"}:
            np.testing.assert_array_equal(first[name], second[name], err_msg=name)
        assert set(first["epochs"]) == set(second["epochs"])
        for name in set(first["epochs"]) - {"time"}:
            np.testing.assert_array_equal(first["epochs"][name], second["epochs"][name])
    assert part.state.rng_state == whole.state.rng_state
    assert part.state.counters == whole.state.counters
    assert np.array_equal(part.state.iterate.g, whole.state.iterate.g)


@pytest.mark.parametrize("batch_size", [None, 25])
@pytest.mark.parametrize("method", METHODS)
def test_a_crashed_run_goes_on_bit_for_bit(
    method: str, batch_size: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective, kept = problem()
    arguments: dict[str, Any] = {
        "method": method,
        "epochs": 4 if batch_size else 12,
        "batch_size": batch_size,
        "validation": kept,
        "metrics": {"accuracy": lambda objective, x: objective.accuracy(x)},
        "patience": 11,
        "rng": 3,
        "options": {"learning_rate": 0.1} if method in ("gd", "adam") else None,
    }
    whole = fit(objective, **arguments)
    path = tmp_path / "run.npz"
    arguments |= {"checkpoint": path, "checkpoint_every": 5}
    with monkeypatch.context() as patch:
        crash_after(3, patch)
        with pytest.raises(Killed):
            fit(objective, **arguments)
    with pytest.raises(ValueError, match="resume=True continues"):
        fit(objective, **arguments)  # nothing is overwritten by chance
    part = fit(problem()[0], **arguments, resume=True)
    assert part.nit > 10
    assert_same(part, whole)
    again = fit(objective, **arguments, resume=True)  # the run was over: nothing is left to do
    assert_same(again, whole)


@pytest.mark.parametrize("saves", [1, 2, 4, 6])
@pytest.mark.parametrize(
    ("method", "batches"),
    [
        ("lsr1-tr", {"overlap": 0.3}),
        ("sfn-series", {"hessian_batch_size": 10}),
        ("adam", {}),
        ("lbfgs-wolfe", {}),
    ],
)
def test_wherever_it_was_cut(
    saves: int,
    method: str,
    batches: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    objective, kept = problem(np.float32)
    arguments: dict[str, Any] = {
        "method": method,
        "epochs": 5,
        "batch_size": 25,
        "validation": kept,
        "patience": 2,
        "rng": np.random.SeedSequence(5).generate_state(1)[0],
        **batches,
    }
    whole = fit(objective, **arguments)
    path = tmp_path / "run.npz"
    with monkeypatch.context() as patch:
        crash_after(saves, patch)
        with pytest.raises(Killed):
            fit(objective, **arguments, checkpoint=path, checkpoint_every=2)
    # Somewhere else, from a copy: the old file is left as it was.
    before = path.read_bytes()
    part = fit(objective, **arguments, checkpoint=tmp_path / "new.npz", resume=path)
    assert path.read_bytes() == before
    assert part.x.dtype == np.float32
    assert_same(part, whole)


def test_a_budget_is_no_other_run(tmp_path: Path) -> None:
    objective, _ = problem()
    arguments: dict[str, Any] = {"method": "lsr1-tr", "epochs": 4, "batch_size": 25}
    whole = fit(objective, **arguments)
    path = tmp_path / "run.npz"
    arguments["checkpoint"] = path
    for limit in (1, 2, 3, 5):
        part = fit(objective, **arguments, resume=True, options={"maxfun": limit})
        assert part.status == Status.LIMIT
    part = fit(objective, **arguments, resume=True)
    assert np.array_equal(part.x, whole.x)
    assert part.nit == whole.nit
    longer = fit(objective, **{**arguments, "epochs": 6}, resume=True)
    ref = fit(objective, **{**arguments, "epochs": 6, "checkpoint": None})
    assert_close_history(longer, ref)


def assert_close_history(part: Any, whole: Any) -> None:
    """Assert equal points and losses; the budgets have cost evaluations."""
    assert np.array_equal(part.x, whole.x)
    for name in ("loss", "fun", "step_norm", "tr_radius"):
        np.testing.assert_array_equal(part.history[name], whole.history[name], err_msg=name)


def test_all_data_resumed_for_more_epochs(tmp_path: Path) -> None:
    objective, _ = problem()
    path = tmp_path / "run.npz"
    options = {"gtol": 1e-9, "compiled": False}
    arguments: dict[str, Any] = {"method": "lsr1-tr", "options": options}
    fit(objective, epochs=5, checkpoint=path, **arguments)
    part = fit(objective, epochs=11, checkpoint=path, resume=True, **arguments)
    ref = negopt.minimize(
        objective, objective.x0(rng=0), method="lsr1-tr", options={**options, "maxiter": 11}
    )
    assert part.nit == 11
    assert np.array_equal(part.x, ref.x)


def test_buffers_are_kept(tmp_path: Path) -> None:
    class Buffered(MLPObjective):
        mean = np.zeros(2)

        def commit(self, x: Any) -> None:
            Buffered.mean = 0.9 * Buffered.mean + 0.1 * x[:2]

        def buffers(self) -> dict[str, Any]:
            return {"mean": Buffered.mean}

        def load_buffers(self, buffers: dict[str, Any]) -> None:
            Buffered.mean = buffers["mean"]

    X, y = problem()[0].data
    objective = Buffered(MLP([8, 2, 1]), X, y, loss="logistic")
    arguments: dict[str, Any] = {"method": "lsr1-tr", "batch_size": 25}
    fit(objective, epochs=4, **arguments)
    whole, Buffered.mean = Buffered.mean, np.zeros(2)
    path = tmp_path / "run.npz"
    fit(objective, epochs=2, checkpoint=path, **arguments)
    Buffered.mean = np.zeros(2)
    fit(objective, epochs=4, checkpoint=path, resume=True, **arguments)
    assert np.array_equal(Buffered.mean, whole)
    assert np.any(whole != 0.0)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_library_goes_on(xp_case: Any, dtype: str, tmp_path: Path) -> None:
    host, (X, y) = problem()
    inputs, targets = (xp_case.asarray(a, dtype) for a in host.data)
    objective = MLPObjective(host.network, inputs, targets, loss="logistic")
    kept = xp_case.asarray(X, dtype), xp_case.asarray(y, dtype)
    arguments: dict[str, Any] = {"method": "lsr1-tr", "batch_size": 25, "validation": kept}
    whole = fit(objective, epochs=4, **arguments)
    path = tmp_path / "run.npz"
    fit(objective, epochs=2, checkpoint=path, **arguments)
    part = fit(objective, epochs=4, checkpoint=path, resume=True, **arguments)
    assert xp_case.owns(part.x)
    assert xp_case.owns(part.state.iterate.g)
    assert part.x.dtype == whole.x.dtype == inputs.dtype
    for name in ("x", "jac", "x_last"):
        ours, theirs = xp_case.to_numpy(part[name]), xp_case.to_numpy(whole[name])
        np.testing.assert_array_equal(ours, theirs)


# --- files -----------------------------------------------------------------------------------


def test_bad_files(tmp_path: Path) -> None:
    objective, kept = problem()
    good = tmp_path / "good.npz"
    arguments: dict[str, Any] = {"method": "lsr1-tr", "epochs": 2, "batch_size": 25}
    fit(objective, **arguments, checkpoint=good)
    for size in (0, 1, 100, 1000, good.stat().st_size - 1):
        cut = tmp_path / "cut.npz"
        cut.write_bytes(good.read_bytes()[:size])
        with pytest.raises(ValueError, match=r"cut.npz' is (not a negopt|a damaged) checkpoint"):
            fit(objective, **arguments, resume=cut)
    res = negopt.minimize(objective, objective.x0(rng=0), options={"maxiter": 2})
    checkpoint.save(tmp_path / "other.npz", res)
    with pytest.raises(ValueError, match=r"holds a State, not a training run: it is of minimize"):
        fit(objective, **arguments, resume=tmp_path / "other.npz")
    with pytest.raises(ValueError, match=r"holds a FitState, not a state: .*negopt.neural.fit"):
        checkpoint.load(good)
    with pytest.raises(FileNotFoundError, match=r"nowhere.npz"):
        fit(objective, **arguments, resume=tmp_path / "nowhere.npz")
    with pytest.raises(ValueError, match="folder does not exist"):
        fit(objective, **arguments, checkpoint=tmp_path / "nowhere" / "run.npz")
    for changes, words in (
        ({"method": "lqn-tr"}, "method is 'lqn-tr', then 'lsr1-tr'"),
        ({"batch_size": 20}, "batches is '20 of 60 samples', then '25 of 60 samples'"),
        ({"batch_size": None}, "batches is 'all data'"),
        ({"options": {"maxcor": 3}}, r"options\['maxcor'\] is '3', then '\d+'"),
        ({"validation": kept}, r"validation is '\(40 x 8 float64 \w{8}, 40 .*', then 'None'"),
        ({"data": kept}, "25 of 40"),
    ):
        with pytest.raises(ValueError, match=words):
            fit(objective, **{**arguments, **changes}, resume=good)
    other = MLPObjective(objective.network, *objective.data, loss="logistic", l2=1e-1)
    with pytest.raises(
        ValueError, match=r"was .* and is now .*: the data, the network or the loss"
    ):
        fit(other, **arguments, resume=good)
    with np.load(good, allow_pickle=False) as file:  # arrays and a text: no code
        assert {file[name].dtype.kind for name in file.files} <= set("fiu")


@pytest.mark.parametrize("batch_size", [None, 25])
def test_data_that_have_changed_are_refused(batch_size: int | None, tmp_path: Path) -> None:
    objective, (V, v) = problem()
    X, y = objective.data
    path = tmp_path / "run.npz"
    arguments: dict[str, Any] = {"method": "lsr1-tr", "batch_size": batch_size}
    fit(objective, epochs=2, **arguments, validation=(V, v), checkpoint=path)

    def go_on(data: Any, validation: Any) -> Any:
        other = MLPObjective(objective.network, *data, loss="logistic", l2=1e-3)
        return fit(other, epochs=3, **arguments, validation=validation, resume=path)

    swapped = np.arange(60)
    swapped[[7, 50]] = swapped[[50, 7]]
    nudged = X.copy()
    nudged[59, 7] += 1e-9  # far below what the loss shows
    for data in ((X[swapped], y[swapped]), (nudged, y), (X, y[swapped[::-1]])):
        with pytest.raises(ValueError, match=r"another run: data is '\(60 x 8 float64"):
            go_on(data, (V, v))
    for kept in ((V[::-1], v[::-1]), (V[:39], v[:39])):
        with pytest.raises(ValueError, match=r"another run: validation is '\("):
            go_on((X, y), kept)
    with pytest.raises(ValueError, match="parameters is '21 of float32', then '21 of float64'"):
        go_on((X.astype(np.float32), y), (V.astype(np.float32), v))
    res = go_on((np.asfortranarray(X), y.copy()), (V, v))  # the same data, elsewhere in memory
    assert len(res.history["epochs"]["loss"]) == 3


def test_a_file_beside_that_of_resume_is_not_overwritten(tmp_path: Path) -> None:
    objective, _ = problem()
    arguments: dict[str, Any] = {"method": "adam", "batch_size": 25}
    first, second = tmp_path / "a.npz", tmp_path / "b.npz"
    fit(objective, epochs=2, **arguments, checkpoint=first)
    fit(objective, epochs=1, **arguments, checkpoint=second)
    before = second.read_bytes()
    with pytest.raises(ValueError, match=r"b.npz' exists already, .*a.npz': resume=True"):
        fit(objective, epochs=3, **arguments, resume=first, checkpoint=second)
    assert second.read_bytes() == before
    with pytest.raises(ValueError, match="folder does not exist"):
        fit(objective, **arguments, resume=first, checkpoint=tmp_path / "nowhere" / "b.npz")
    same = first.parent / "." / first.name
    assert fit(objective, epochs=3, **arguments, resume=first, checkpoint=same).nit == 9


def test_resume_may_begin_and_may_overwrite(tmp_path: Path) -> None:
    objective, _ = problem()
    path = tmp_path / "run.npz"
    arguments: dict[str, Any] = {"method": "adam", "batch_size": 25, "checkpoint": path}
    first = fit(objective, epochs=2, **arguments, resume=True)  # there is none yet
    assert first.nit == 6
    second = fit(objective, epochs=2, **arguments, resume=False)
    assert np.array_equal(first.x, second.x)
    assert fit(objective, epochs=3, **arguments, resume=True).nit == 9


# --- a real kill -------------------------------------------------------------------------------

SCRIPT = """
import sys, time
import numpy as np
from negopt.neural import MLP, MLPObjective, fit, load_ionosphere

data = load_ionosphere()

class Slow(MLPObjective):
    def fun_and_grad(self, x):
        time.sleep(float(sys.argv[3]))
        return super().fun_and_grad(x)

objective = Slow(MLP([34, 3, 1]), data.X[:200], data.y[:200], loss="logistic", l2=1e-3)
res = fit(
    objective, method=sys.argv[2], epochs=12, batch_size=40, overlap=0.2,
    validation=(data.X[200:], data.y[200:]), patience=9, rng=7,
    checkpoint=sys.argv[1], checkpoint_every=3, resume=True,
)
time_free = {k: v for k, v in res.history.items() if k not in ("epochs", "time")}
time_free |= {"e_" + k: v for k, v in res.history["epochs"].items() if k != "time"}
np.savez(sys.argv[1] + ".result.npz", x=res.x, last=res.x_last, end=res.fun, **time_free)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.parametrize("method", ["lsr1-tr"])
def test_kill_9_loses_at_most_the_work_since_the_last_checkpoint(
    method: str, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": SOURCE}

    def start(name: str, seconds: float) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(script), str(tmp_path / name), method, str(seconds)]
        return subprocess.Popen(command, env=environment)

    def written() -> tuple[int, int] | None:
        """Tell one checkpoint from the next."""
        found = path.stat() if path.exists() else None
        return None if found is None else (found.st_ino, found.st_mtime_ns)

    calm = start("whole.npz", 0.0)
    path = tmp_path / "run.npz"
    seen = set()
    for kill in range(2):
        process = start("run.npz", 0.01)
        before = written()
        limit = time.monotonic() + 60
        # Not at a checkpoint but somewhere after the second one of this life.
        for _ in range(2):
            while written() == before:
                assert time.monotonic() < limit
                assert process.poll() is None
                time.sleep(0.002)
            before = written()
        time.sleep(0.013 * kill)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not (tmp_path / "run.npz.result.npz").exists()
        with np.load(path) as file:
            seen.add(file["state.steps.nit"].size)
    assert len(seen) == 2  # each life has got further than the one before
    assert start("run.npz", 0.0).wait() == 0
    assert calm.wait() == 0
    with (
        np.load(tmp_path / "run.npz.result.npz") as part,
        np.load(tmp_path / "whole.npz.result.npz") as whole,
    ):
        assert set(part.files) == set(whole.files)
        for name in whole.files:
            np.testing.assert_array_equal(part[name], whole[name], err_msg=name)
    # What a kill in the middle of a write has left beside the file, the next write has taken.
    assert not [p.name for p in tmp_path.iterdir() if p.name.endswith(".tmp")]
