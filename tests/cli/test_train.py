"""`negopt train` and `negopt resume`: chunks equal one run, checkpoints, mistakes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import negopt
from negopt import checkpoint
from negopt.cli import main

METHODS = list(negopt.METHODS)
SOURCE = str(Path(negopt.__file__).parents[1])


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


TRAIN = "train --data small.libsvm --hidden 4".split()


def fails(capsys: pytest.CaptureFixture[str], argv: list[str], expected: str) -> None:
    """Assert that `argv` ends with code 2 and one line that holds `expected`."""
    capsys.readouterr()
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert err.startswith("negopt: error: ")
    assert expected in err


def test_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [*TRAIN, "--iterations", "100", "--method", "newton-krylov", "--checkpoint", "run.npz"]
    assert main(argv) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "newton-krylov on small.libsvm: 32 + 8 test samples, network 3-4-1 (tanh)" in out
    assert re.search(r"^training +32 +[\d.e-]+ +[\d.]+ %$", out, re.MULTILINE)
    assert re.search(r"^test +8 +[\d.e-]+ +[\d.]+ %$", out, re.MULTILINE)
    assert re.search(r"^status +converged +Optimization terminated", out, re.MULTILINE)
    assert re.search(r"^curvature +lowest found .*\((positive|flat|unsettled)\)", out, re.MULTILINE)
    assert "negopt resume run.npz" in out
    assert "\x1b" not in out
    assert main([*TRAIN, "--gtol", "0", "--iterations", "50", "--method", "sr1-wolfe-pm"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^status +limit +.*Allow more with --iterations\.$", out, re.MULTILINE)
    assert re.search(r"^ +[1-9]\d* steps of negative length$", out, re.MULTILINE)
    assert "negopt resume" not in out


def test_report_agrees_with_the_library(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from negopt.neural import MLP, MLPObjective, binary_labels, read_libsvm, standardize

    argv = [
        *TRAIN,
        "--iterations",
        "7",
        "--method",
        "lqn-tr",
        "--test-fraction",
        "0",
        "--seed",
        "4",
    ]
    assert main([*argv, "--checkpoint", "run.npz", "--checkpoint-every", "3"]) == 0
    data = read_libsvm("small.libsvm")
    objective = MLPObjective(
        MLP((3, 4, 1)),
        standardize(data.X)[0],
        binary_labels(data.y),
        loss="logistic",
        l2=1e-4,
    )
    res = negopt.minimize(
        objective, objective.x0(rng=4), method="lqn-tr", options={"maxiter": 7, "rng": 4}
    )
    assert np.array_equal(checkpoint.load("run.npz").best.x, res.x)
    assert f"{100 * objective.accuracy(res.x):.2f} %" in capsys.readouterr().out


@pytest.mark.parametrize("method", METHODS)
def test_chunks_equal_one_run(folder: Path, method: str) -> None:
    argv = [*TRAIN, "--method", method, "--iterations", "25", "--gtol", "1e-4"]
    assert main([*argv, "--checkpoint", "one.npz", "--checkpoint-every", "1000"]) == 0
    assert main([*argv, "--checkpoint", "many.npz", "--checkpoint-every", "3"]) == 0
    one, many = checkpoint.load("one.npz"), checkpoint.load("many.npz")
    assert one.k > 5
    assert (one.k, one.status, one.counters) == (many.k, many.status, many.counters)
    for name in ("iterate", "best"):
        first, second = getattr(one, name), getattr(many, name)
        assert first.f == second.f
        assert np.array_equal(first.x, second.x)
        assert np.array_equal(first.g, second.g)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_resume_continues_bit_for_bit(
    folder: Path, capsys: pytest.CaptureFixture[str], dtype: str
) -> None:
    argv = [*TRAIN, "--method", "lsr1-wolfe-pm", "--dtype", dtype, "--option", "maxcor=4"]
    assert main([*argv, "--iterations", "16", "--checkpoint", "whole.npz"]) == 0
    assert main([*argv, "--iterations", "6", "--checkpoint", "part.npz"]) == 0
    assert main(["resume", "part.npz", "--iterations", "10"]) == 0
    assert "resumed after iteration 6" in capsys.readouterr().out
    whole, part = checkpoint.load("whole.npz"), checkpoint.load("part.npz")
    assert whole.k == part.k == 16
    assert str(part.iterate.x.dtype) == dtype
    assert np.array_equal(whole.iterate.x, part.iterate.x)
    assert np.array_equal(whole.best.x, part.best.x)


def test_resume_follows_the_plan(folder: Path) -> None:
    argv = [*TRAIN, "--method", "lsr1-tr", "--iterations", "5", "--checkpoint", "run.npz"]
    assert main(argv) == 0
    assert checkpoint.load("run.npz").k == 5
    assert main(["resume", "run.npz"]) == 0  # the plan was fulfilled: as many again
    assert checkpoint.load("run.npz").k == 10
    recipe = json.loads(Path("run.npz.json").read_text())
    recipe["until"] = 12
    Path("run.npz.json").write_text(json.dumps(recipe))
    assert main(["resume", "run.npz"]) == 0  # the rest of the plan
    assert checkpoint.load("run.npz").k == 12


def test_resume_from_writes_elsewhere(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TRAIN, "--method", "lsr1-tr", "--iterations", "4", "--checkpoint", "a"]) == 0
    before = Path("a").read_bytes()
    assert main("train --resume-from a --iterations 3 --checkpoint b".split()) == 0
    assert Path("a").read_bytes() == before
    assert checkpoint.load("b").k == 7
    assert main("resume b --iterations 1".split()) == 0
    fails(capsys, "train --resume-from a --hidden 9".split(), "--hidden is fixed")
    fails(capsys, "train --resume-from a --method lqn-tr".split(), "--method is fixed")
    fails(capsys, "train --resume-from a --option eta=1".split(), "--option is fixed")
    fails(capsys, "train --resume-from a --checkpoint b".split(), "exists")


def test_the_data_may_move_but_not_change(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([*TRAIN, "--iterations", "2", "--checkpoint", "run.npz"]) == 0
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    assert main("resume ../run.npz --iterations 1".split()) == 0  # the path was kept whole
    shutil.move(folder / "small.libsvm", folder / "moved")
    fails(capsys, ["resume", "../run.npz"], "no such file")
    assert main("resume ../run.npz --iterations 1 --data ../moved".split()) == 0
    with (folder / "moved").open("a") as file:
        file.write("+1 1:0.5\n")
    before = (folder / "run.npz").read_bytes()
    fails(capsys, ["resume", "../run.npz"], "has changed since")
    assert (folder / "run.npz").read_bytes() == before


@pytest.mark.filterwarnings("ignore:Exception ignored in. <_io.FileIO")  # by np.load
def test_bad_checkpoints(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [*TRAIN, "--method", "lsr1-tr", "--iterations", "2", "--checkpoint"]
    assert main([*argv, "good"]) == 0
    assert main([*TRAIN, "--method", "lqn-tr", "--iterations", "2", "--checkpoint", "lqn"]) == 0
    assert main([*argv, "wide", "--hidden", "7"]) == 0
    fails(capsys, ["resume", "nowhere"], "no such file")
    Path("text").write_text("not a checkpoint")
    fails(capsys, ["resume", "text"], "not a negopt checkpoint")
    Path("cut").write_bytes(Path("good").read_bytes()[:500])
    fails(capsys, ["resume", "cut"], "not a negopt checkpoint")
    shutil.copy("good", "alone")
    fails(capsys, ["resume", "alone"], "says how to rebuild")
    for text, expected in (
        ("{", "not the recipe"),
        ("[]", "not the recipe"),
        ("{}", "not the recipe"),
        (Path("lqn.json").read_text(), "do not belong together"),
        (Path("wide.json").read_text(), "do not belong together"),
        (Path("good.json").read_text().replace('"format": 1', '"format": 99'), "format 99"),
    ):
        Path("alone.json").write_text(text)
        fails(capsys, ["resume", "alone"], expected)
    Path("alone.json").write_text(Path("good.json").read_text())
    assert main(["resume", "alone"]) == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("train", "--data FILE"),
        ("train --data nowhere", "no such file"),
        ("train --data ionosphere --method BFGS", "not one of negopt's methods"),
        ("train --data ionosphere --method lqn", "Did you mean lqn-tr"),
        ("train --data ionosphere --iterations 0", "1 or more"),
        ("train --data ionosphere --test-fraction 1", "below 1"),
        ("train --data ionosphere --dtype float16", "choose from float64"),
        ("train --data ionosphere --option eta", "NAME=VALUE"),
        ("train --data ionosphere --option etta=1", "no option 'etta'"),
        ("train --data ionosphere --option certify_products=-3", "certify_products=-3"),
        ("train --data ionosphere --option state=1", "no option 'state' here"),
        ("train --data ionosphere --checkpoint-every 5", "needs --checkpoint"),
        ("train --data ionosphere --checkpoint nowhere/F", "does not exist"),
        ("train --data ionosphere --checkpoint .", "is a folder"),
        ("train --data small.libsvm --test-fraction 0.99", "leave none"),
        ("train --data three.csv --loss logistic", "exactly two"),
        ("train --data three.csv --target nothing", "'nothing'"),
        ("train --data words.csv --loss squared", "is text"),
        ("train --resume-from nowhere", "no such file"),
        ("resume", "required: F"),
        ("resume small.libsvm", "not a negopt checkpoint"),
    ],
)
def test_mistakes_are_told_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: str, expected: str
) -> None:
    Path("three.csv").write_text("a,b\n" + "\n".join(f"0.{i},{i % 3}" for i in range(30)))
    Path("words.csv").write_text("a,b\n" + "\n".join(f"0.{i},w{i % 3}" for i in range(30)))
    fails(capsys, arguments.split(), expected)


def test_a_checkpoint_is_not_overwritten_by_chance(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [*TRAIN, "--iterations", "2", "--checkpoint", "run.npz"]
    assert main(argv) == 0
    before = Path("run.npz").read_bytes()
    fails(capsys, argv, "negopt resume run.npz")
    assert Path("run.npz").read_bytes() == before
    assert main([*argv, "--method", "lsr1-tr", "--overwrite"]) == 0
    assert checkpoint.load("run.npz").method == "lsr1-tr"


def test_a_folder_that_cannot_be_written_is_told_before_the_work(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    fails(capsys, [*TRAIN, "--checkpoint", "run.npz"], "no space left")
    assert sorted(path.name for path in folder.iterdir()) == ["small.libsvm"]


@pytest.mark.parametrize(
    ("target", "loss", "score"),
    [
        ("number", "squared", "R^2"),
        ("kind", "softmax", "accuracy"),
        ("side", "logistic", "accuracy"),
    ],
)
def test_the_loss_follows_the_labels(
    folder: Path, capsys: pytest.CaptureFixture[str], target: str, loss: str, score: str
) -> None:
    rng = np.random.default_rng(0)
    columns = {"number": lambda v: f"{50 + 9 * v:.4f}", "side": lambda v: str(int(v > 0))}
    columns["kind"] = lambda v: "low" if v < -0.4 else "high" if v > 0.4 else "mid"
    lines = [f"a,b,{target}"]
    for a, b in rng.standard_normal((60, 2)):
        lines.append(f"{a:.4f},{b:.4f},{columns[target](a - b)}")
    Path("data.csv").write_text("\n".join(lines))
    argv = ["train", "--data", "data.csv", "--target", target, "--hidden", "none"]
    assert main([*argv, "--iterations", "50"]) == 0
    out = capsys.readouterr().out
    assert f"{loss} loss" in out
    test = re.search(r"^test +12 +\S+ +([\d.]+)", out, re.MULTILINE)
    assert score in out
    assert test is not None
    assert float(test[1]) > (0.99 if score == "R^2" else 75.0)


class _PressAt:
    """Presses Ctrl-C while a given iteration is shown."""

    def __init__(self, k: int) -> None:
        self.k = k

    def __call__(self, shown: object, iterate: object) -> None:
        if iterate.nit == self.k:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)  # the handler runs between two byte codes


def test_ctrl_c_saves_and_names_the_checkpoint(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    argv = [*TRAIN, "--method", "lsr1-wolfe-pm", "--iterations", "30", "--checkpoint"]
    assert main([*argv, "whole"]) == 0
    capsys.readouterr()
    press = _PressAt(7)
    # A process in the background starts with Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    with monkeypatch.context() as patch:
        patch.setattr("negopt.cli._progress._Lines.show", lambda self, it: press(self, it))
        assert main([*argv, "run.npz"]) == 130
        out, err = capsys.readouterr()
        assert "interrupted" in out
        assert err == (
            "negopt: interrupted after iteration 7; the last checkpoint is run.npz (iteration 7): "
            "resume it with `negopt resume run.npz`\n"
        )
        assert main(TRAIN) == 130
        assert "nothing was saved (--checkpoint F" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert main(["resume", "run.npz"]) == 0
    whole, part = checkpoint.load("whole"), checkpoint.load("run.npz")
    assert whole.k == part.k
    assert np.array_equal(whole.iterate.x, part.iterate.x)


def test_a_second_ctrl_c_does_not_wait(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from negopt.neural import MLPObjective

    original, count = MLPObjective.fun_and_grad, [0]

    def slow(self: MLPObjective, x: np.ndarray) -> object:
        count[0] += 1
        if count[0] == 9:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.01)
        return original(self, x)

    monkeypatch.setattr(MLPObjective, "fun_and_grad", slow)
    argv = [*TRAIN, "--method", "lsr1-tr", "--checkpoint", "run.npz", "--checkpoint-every", "3"]
    assert main(argv) == 130
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    saved = checkpoint.load("run.npz").k
    assert saved in (3, 6)
    assert f"the last checkpoint is run.npz (iteration {saved})" in err


def test_a_bar_in_a_terminal(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "110")
    assert main([*TRAIN, "--iterations", "5", "--method", "lsr1-tr"]) == 0
    out = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().out)
    assert "5/5" in out
    assert "max|g|" in out


def test_no_color(folder: Path) -> None:
    argv = [sys.executable, "-m", "negopt", *TRAIN, "--iterations", "3", "--checkpoint", "run.npz"]
    environ = {**os.environ, "NO_COLOR": "1", "FORCE_COLOR": "", "PYTHONPATH": SOURCE}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environ)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert re.search(r"^ iteration +f +max\|g\|", done.stdout, re.MULTILINE)
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environ)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
