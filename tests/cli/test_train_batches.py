"""`negopt train --batch-size`: what `negopt.neural.fit` does, checkpoints, mistakes."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from negopt import checkpoint
from negopt.cli import main
from negopt.neural import MLP, MLPObjective, binary_labels, fit, read_libsvm, standardize
from negopt.neural._fit_state import FitState

TRAIN = "train --data small.libsvm --hidden 4 --batch-size 10".split()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a current folder with a small data file of two classes."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((40, 3))
    y = np.where(X[:, 0] * X[:, 1] + 0.3 * X[:, 2] > 0, 1, -1)
    lines = [
        f"{label:+d} " + " ".join(f"{i + 1}:{v:.4f}" for i, v in enumerate(row))
        for label, row in zip(y, X, strict=True)
    ]
    (tmp_path / "small.libsvm").write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(path: str) -> FitState:
    """Return the run that a checkpoint holds."""
    state: FitState = checkpoint.read(path, FitState, "a training run")
    return state


def fails(capsys: pytest.CaptureFixture[str], argv: list[str], expected: str) -> None:
    """Assert that `argv` ends with code 2 and one line that holds `expected`."""
    capsys.readouterr()
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert expected in err


def test_it_is_fit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [*TRAIN, "--epochs", "3", "--test-fraction", "0", "--seed", "4", "--overlap", "0.3"]
    assert main([*argv, "--method", "lsr1-tr", "--checkpoint", "run.npz"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    data = read_libsvm("small.libsvm")
    X = standardize(data.X)[0]
    objective = MLPObjective(MLP((3, 4, 1)), X, binary_labels(data.y), loss="logistic", l2=1e-4)
    res = fit(
        objective,
        objective.x0(rng=4),
        method="lsr1-tr",
        epochs=3,
        batch_size=10,
        overlap=0.3,
        rng=4,
    )
    assert np.array_equal(read("run.npz").solver.iterate.x, res.x)
    assert f"{100 * objective.accuracy(res.x):.2f} %" in out
    assert re.search(r"^status +epochs +All 3 epochs have been run\.$", out, re.MULTILINE)
    assert re.search(rf"^ +3 +\S+ +\S+ +{res.nfev}$", out, re.MULTILINE)
    assert "negopt resume run.npz" in out


def test_resume_continues_bit_for_bit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [*TRAIN, "--hessian-batch-size", "5", "--method", "tr-ellipsoid"]
    assert main([*argv, "--epochs", "6", "--checkpoint", "whole.npz"]) == 0
    assert main([*argv, "--epochs", "2", "--checkpoint", "part.npz"]) == 0
    assert main("resume part.npz --iterations 1".split()) == 0
    assert "resumed after epoch 2" in capsys.readouterr().out
    assert main("train --resume-from part.npz --iterations 3 --checkpoint new.npz".split()) == 0
    whole, part, new = read("whole.npz"), read("part.npz"), read("new.npz")
    assert (part.epoch, new.epoch) == (3, 6)
    assert np.array_equal(whole.solver.iterate.x, new.solver.iterate.x)
    assert main(["resume", "whole.npz"]) == 0  # the plan was fulfilled: as many again
    assert read("whole.npz").epoch == 12
    assert json.loads(Path("whole.npz.json").read_text())["batches"] == {
        "batch_size": 10,
        "hessian_batch_size": 5,
    }


def test_mistakes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fails(capsys, [*TRAIN, "--iterations", "3"], "use --epochs N")
    fails(capsys, [*TRAIN, "--gtol", "1e-3"], "use --epochs N")
    fails(capsys, [*TRAIN, "--option", "gtol=1e-3"], "the loss of one batch")
    fails(capsys, [*TRAIN, "--overlap", "0.7"], "overlap=0.7")
    fails(capsys, "train --data small.libsvm --epochs 3".split(), "--epochs needs --batch-size")
    assert main([*TRAIN, "--epochs", "1", "--checkpoint", "run.npz"]) == 0
    fails(capsys, [*TRAIN, "--checkpoint", "run.npz"], "negopt resume run.npz")
    fails(capsys, "train --resume-from run.npz --overlap 0.1".split(), "--overlap is fixed")
    assert main([*TRAIN, "--epochs", "2", "--checkpoint", "run.npz", "--overwrite"]) == 0
    assert read("run.npz").epoch == 2
    Path("cut").write_bytes(Path("run.npz").read_bytes()[:500])
    Path("cut.json").write_text(Path("run.npz.json").read_text())
    fails(capsys, ["resume", "cut"], "not a negopt checkpoint")
    Path("small.libsvm").write_text(Path("small.libsvm").read_text() + "+1 1:0.5\n")
    fails(capsys, ["resume", "run.npz"], "has changed since")


def test_ctrl_c_ends_after_the_epoch(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    argv = [*TRAIN, "--epochs", "5", "--checkpoint"]
    assert main([*argv, "whole"]) == 0
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))

    def press(self: object, iterate: object) -> None:
        if iterate.nit == 2:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)

    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr("negopt.cli._progress._Lines.show", press)
        assert main([*argv, "run.npz"]) == 130
    assert capsys.readouterr().err == (
        "negopt: interrupted after epoch 2; the last checkpoint is run.npz: resume it with "
        "`negopt resume run.npz`\n"
    )
    assert main(["resume", "run.npz"]) == 0
    assert np.array_equal(read("whole").solver.iterate.x, read("run.npz").solver.iterate.x)
