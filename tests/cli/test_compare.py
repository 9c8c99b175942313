"""`negopt compare`: what it shows, how it counts, and what it refuses."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from negopt.cli import main
from negopt.cli._run import Counted, Rules, run_method
from negopt.cli._targets import Target, built_in

MODULE = """
import numpy as np

calls = {"fun": 0, "grad": 0, "hessp": 0}

class Saddle:
    x0 = [0.0, 1.0]
    def fun(self, x):
        calls["fun"] += 1
        return x[0] ** 4 / 4 - x[0] ** 2 / 2 + x[1] ** 2 / 2
    def grad(self, x):
        calls["grad"] += 1
        return np.array([x[0] ** 3 - x[0], x[1]])
    def hessp(self, x):
        def product(p):
            calls["hessp"] += 1
            return np.array([(3 * x[0] ** 2 - 1) * p[0], p[1]])
        return product

saddle = Saddle()
number = 3

def bowl(x):
    return float(np.sum((x - 1.0) ** 2))

def pair(x):
    return bowl(x), 2.0 * (x - 1.0)

def raises(x):
    raise RuntimeError("no\\nway")

def nan(x):
    return float("nan")

class Wrong:
    x0 = [1.0, 2.0]
    def fun(self, x):
        return bowl(x)
    def grad(self, x):
        return np.ones(3)

wrong = Wrong()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a current folder that holds the module `own_problem`."""
    (tmp_path / "own_problem.py").write_text(MODULE)
    (tmp_path / "broken_module.py").write_text("raise OSError(5, 'on\\npurpose')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "own_problem", None)
    del sys.modules["own_problem"]
    return tmp_path


def rows(text: str) -> dict[str, list[str]]:
    """Return the table's rows: method -> its cells."""
    found = {}
    for line in text.splitlines():
        cells = line.split()
        if len(cells) == 10 and cells[1] in ("yes", "no", "saddle", "local", "error"):
            found[cells[0]] = cells[1:]
    return found


def test_built_in_problems(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--problem", "beale,Wood", "--methods", "LQN-TR,l-bfgs-b"]) == 0
    out = capsys.readouterr().out
    assert "beale: n = 2" in out
    assert "wood: n = 4" in out
    assert len(re.findall(r"^lqn-tr +yes", out, re.MULTILINE)) == 2
    assert len(re.findall(r"^L-BFGS-B +yes", out, re.MULTILINE)) == 2
    assert "\x1b" not in out  # no colours in a pipe


def test_default_methods_mix_both_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--problem", "powell-singular", "--maxiter", "200"]) == 0
    shown = rows(capsys.readouterr().out)
    assert {"lqn-tr", "newton-krylov", "sr1-wolfe-pm", "L-BFGS-B", "trust-krylov"} <= set(shown)
    assert main(["compare", "--problem", "tridia", "--n", "400"]) == 0
    shown = rows(capsys.readouterr().out)
    assert not {"sr1-wolfe-pm", "BFGS"} & set(shown)  # dense models are for small n


def test_a_saddle_is_shown_as_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["compare", "--problem", "own_problem:saddle", "--methods", "BFGS,trust-krylov,lqn-tr"]
    assert main(argv) == 0
    out = capsys.readouterr().out
    shown = rows(out)
    for name in ("BFGS", "trust-krylov"):
        verdict, f, _, curvature = shown[name][:4]
        assert verdict == "saddle"
        assert float(f) == 0.0
        assert float(curvature) == pytest.approx(-1.0)
        assert shown[name][-1] == "-"  # SciPy's take no negative steps
    assert shown["lqn-tr"][0] == "yes"
    assert float(shown["lqn-tr"][1]) == pytest.approx(-0.25)
    assert shown["lqn-tr"][-1].isdigit()
    assert "BFGS, trust-krylov: stopped where" in out


@pytest.mark.parametrize("method", ["newton-krylov", "lqn-tr", "Newton-CG", "BFGS", "trust-exact"])
def test_counts_are_the_users_own(folder: Path, method: str) -> None:
    from negopt.cli._targets import from_module

    target = from_module("own_problem:saddle", None)
    calls = sys.modules["own_problem"].calls
    calls.update(fun=0, grad=0, hessp=0)
    before = dict(calls)
    counted = Counted(target)
    assert counted.fun(np.array([1.0, 2.0])) == pytest.approx(1.75)
    assert (counted.nfev, calls["fun"] - before["fun"]) == (1, 1)
    row = run_method(method, target, Rules())
    # The judge's own evaluations are the user's calls beyond those that are counted.
    assert 0 < row.nfev < calls["fun"]
    assert 0 < row.njev < calls["grad"]
    uses_products = method in ("newton-krylov", "Newton-CG", "trust-exact")
    assert (row.nhev > 0) == uses_products


def test_negopt_is_counted_as_it_counts_itself() -> None:
    import negopt

    target = built_in("wood", None)
    row = run_method("lqn-tr", target, Rules())
    res = negopt.minimize(
        target.fun, target.x0, method="lqn-tr", jac=target.grad, options={"gtol": 1e-5, "rng": 0}
    )
    assert (row.nfev, row.njev) == (res.nfev, res.njev)
    assert row.f == res.fun
    assert row.negative == res.n_negative_steps


def test_maxfun_is_never_exceeded() -> None:
    target = built_in("chained_rosenbrock", 20)
    for method in ("lqn-tr", "newton-krylov", "BFGS", "L-BFGS-B", "TNC", "Nelder-Mead", "CG"):
        row = run_method(method, target, Rules(maxfun=15))
        assert row.nfev <= 15, method
        assert row.verdict == "no", method
        assert np.isfinite(row.f), method


def test_every_method_of_scipy_runs() -> None:
    from negopt.cli._run import SCIPY_METHODS

    target = built_in("himmelblau", None)
    got = {row[0]: run_method(row[0], target, Rules(gtol=1e-3)) for row in SCIPY_METHODS.values()}
    assert {name for name, row in got.items() if row.verdict == "error"} == set()
    assert sum(row.verdict == "yes" for row in got.values()) >= 12
    assert all(row.negative is None for row in got.values())


def test_a_method_that_raises_is_a_row() -> None:
    def fun(x: np.ndarray) -> float:
        if x[0] < 0.9:
            raise RuntimeError("left\nthe domain")
        return float(x @ x)

    row = run_method("BFGS", Target("t", fun, np.ones(2), lambda x: 2 * x), Rules())
    assert row.verdict == "error"
    assert row.message == "RuntimeError: left the domain"


@pytest.mark.parametrize(
    ("name", "start"), [("bowl", "--x0=-1,2"), ("pair", "--x0=3,4"), ("saddle", "--x0=0.5,0.5")]
)
def test_own_functions_and_objects(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, start: str
) -> None:
    argv = ["compare", "--problem", f"own_problem:{name}", start]
    assert main([*argv, "--methods", "lqn-tr,newton-krylov,Newton-CG,trust-exact"]) == 0
    out = capsys.readouterr().out
    assert [row[0] for row in rows(out).values()] == ["yes"] * 4
    assert ("gradient by differences" in out) == (name == "bowl")


def test_x0_may_begin_with_a_minus(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["compare", "--problem", "own_problem:bowl", "--x0", "-1.5,2", "--methods", "BFGS"]
    assert main(argv) == 0
    assert "f(x0) = 7.25" in capsys.readouterr().out


def test_network_on_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 2))
    lines = [f"{a:.3f},{b:.3f},{'good' if a * b > 0 else 'bad'}" for a, b in X]
    data = tmp_path / "xor.csv"
    data.write_text("first,second,label\n" + "\n".join(lines) + "\n")
    argv = ["compare", "--data", str(data), "--hidden", "3", "--l2", "0.01", "--seed", "1"]
    assert main([*argv, "--methods", "newton-krylov,sfn-series,L-BFGS-B"]) == 0
    out = capsys.readouterr().out
    assert "xor.csv: 30 samples, network 2-3-1 (tanh), 13 parameters, logistic loss" in out
    assert [row[0] for row in rows(out).values()] == ["yes"] * 3


def test_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "curves.png"
    argv = ["compare", "--problem", "beale,wood", "--methods", "lqn-tr,CG", "--plot", str(path)]
    assert main(argv) == 0
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert str(path) in capsys.readouterr().out


def test_list_problems(capsys: pytest.CaptureFixture[str]) -> None:
    from negopt import problems

    assert main(["compare", "--list-problems"]) == 0
    out = capsys.readouterr().out
    assert [name for name in problems.names() if name not in out] == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", "--problem NAME and --data FILE"),
        ("--problem rosenbrok", "Did you mean rosenbrock"),
        ("--problem zzzz", "--list-problems"),
        ("--problem wood --n 7", "must be 4"),
        ("--problem wood --n 0", "1 or more"),
        ("--problem wood,,beale", "empty name"),
        ("--problem wood --methods bfsg", "Did you mean BFGS"),
        ("--problem wood --methods xyzzy", "Known are lqn-tr"),
        ("--problem wood --data ionosphere", "one of --problem"),
        ("--problem wood --x0 1,2,3,4", "--x0 goes with module:object"),
        ("--problem wood --hidden 3", "--hidden goes with --data"),
        ("--problem wood --gtol nan", "finite number"),
        ("--problem wood --maxiter 1.5", "whole number"),
        ("--problem wood --nonsense", "unrecognized arguments"),
        ("--problem wood --plot curves.xyz", "must end in one of"),
        ("--problem wood --plot nowhere/curves.png", "does not exist"),
        ("--data nowhere.csv", "no such file"),
        ("--data own_problem.py", "line"),
        ("--data .", "directory"),
        ("--data ionosphere --n 3", "--n goes with --problem"),
        ("--data ionosphere --loss hinge", "choose from logistic"),
        ("--data ionosphere --activation gelu", "choose from tanh"),
        ("--data ionosphere --hidden 3,x", "layer sizes"),
        ("--data ionosphere --l2 -1", "0 or more"),
        ("--problem :saddle", "is not module:object"),
        ("--problem nowhere_module:f", "No module named"),
        ("--problem broken_module:f", "cannot import broken_module"),
        ("--problem own_problem:sadle", "Did you mean"),
        ("--problem own_problem:number", "neither callable"),
        ("--problem own_problem:Saddle", "is a class"),
        ("--problem own_problem:bowl", "no x0"),
        ("--problem own_problem:bowl --x0 1,a", "not numbers"),
        ("--problem own_problem:bowl --x0 1 --n 3", "--n goes with built-in"),
        ("--problem own_problem:raises --x0 1", "RuntimeError: no way"),
        ("--problem own_problem:nan --x0 1", "is nan at x0"),
        ("--problem own_problem:wrong", "gradient has shape (3,)"),
    ],
)
def test_mistakes_are_told_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: str, expected: str
) -> None:
    assert main(["compare", *arguments.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("negopt: error: ")
    assert expected in err
    assert "Traceback" not in err


def test_without_matplotlib(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["compare", "--problem", "wood", "--plot", "curves.png"]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "negopt[plot]" in err


def test_ctrl_c(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("negopt.cli._compare.run_method", interrupt)
    assert main(["compare", "--problem", "wood"]) == 130
    assert capsys.readouterr().err == "negopt: interrupted\n"


@pytest.mark.parametrize("arguments", [["--help"], ["compare", "--help"], ["train", "--help"]])
def test_help_has_examples(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "examples:" in out
    assert "negopt train" in out or "negopt compare" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    import negopt

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"negopt {negopt.__version__}\n"


def test_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["compere"]) == 2
    assert "invalid choice" in capsys.readouterr().err


def test_methods(capsys: pytest.CaptureFixture[str]) -> None:
    from negopt import METHODS

    assert main(["methods"]) == 0
    out = capsys.readouterr().out
    assert [name for name in METHODS if name not in out] == []
    for name, method in METHODS.items():
        assert main(["methods", name.upper()]) == 0
        out = capsys.readouterr().out
        assert [o for o in method.option_names() if o not in out] == []
        assert "certify_products" in out
    assert main(["methods", "lqn-rt"]) == 2
    err = capsys.readouterr().err
    assert "Did you mean lqn-tr" in err
    assert err.count("\n") == 1


def test_as_a_module() -> None:
    argv = [sys.executable, "-m", "negopt", "compare", "--problem", "beale", "--methods", "lqn-tr"]
    # ASCII alone: a terminal that knows no lines and no colours.
    environ = {**os.environ, "PYTHONIOENCODING": "ascii", "NO_COLOR": "1"}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environ)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^lqn-tr *\| *yes", done.stdout, re.MULTILINE)
    argv[-1] = "nonsense"
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environ)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_the_command_line_is_light() -> None:
    code = (
        "import sys, negopt.cli\n"
        "negopt.cli.main(['--help'])\n"
        "print([m for m in ('numba', 'numpy', 'scipy', 'rich', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
