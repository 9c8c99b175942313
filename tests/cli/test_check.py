"""`negopt check`: what it shows, its exit codes, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from negopt.cli import main

MODULE = """
import numpy as np

class Right:
    x0 = [0.3, -1.2]
    def fun(self, x):
        return x[0] ** 4 / 4 - x[0] ** 2 / 2 + x[1] ** 2 / 2
    def grad(self, x):
        return np.array([x[0] ** 3 - x[0], x[1]])

class Wrong(Right):
    def grad(self, x):
        return np.array([x[0] ** 3 - x[0], -x[1]])
    def hessp(self, x):
        return lambda p: np.array([(3 * x[0] ** 2 - 1) * p[0], -p[1]])

right, wrong = Right(), Wrong()

def pair(x):
    return x @ x, 2.0 * x

def bowl(x):
    return x @ x
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"objectives_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return name


def test_right_and_wrong(module: str, capsys) -> None:
    assert main(["check", f"{module}:right"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{module}:right: n = 2")
    assert "The derivatives are right." in out
    assert main(["check", f"{module}:wrong"]) == 1
    out = capsys.readouterr().out
    assert "jac[1] is 1.2 where differences of fun say -1.2 (the sign is wrong)" in out
    assert main(["check", f"{module}:wrong", "--x0", "-0.3,2", "--seed", "3"]) == 1
    assert "jac[1] is -2 where differences of fun say 2" in capsys.readouterr().out
    assert main(["check", f"{module}:pair", "--x0", "1,2"]) == 0


def test_built_in_problems(capsys) -> None:
    assert main(["check", "chained-rosenbrock", "--n", "6"]) == 0
    out = capsys.readouterr().out
    assert "n = 6" in out
    assert "Hessian: largest relative mismatch" in out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["{}:bowl", "--x0", "1,2"], "neither grad nor hessp"),
        (["{}:right", "--n", "3"], "--n is for built-in problems"),
        (["rosenbrock", "--x0", "1,2"], "--x0 is for module:object"),
        (["rosenbrok"], "Did you mean rosenbrock"),
        (["{}:nothing"], "has no 'nothing'"),
        ([], "OBJECTIVE"),
    ],
)
def test_mistakes_are_one_line(module: str, capsys, arguments: list[str], text: str) -> None:
    assert main(["check", *(item.format(module) for item in arguments)]) == 2
    captured = capsys.readouterr()
    assert text in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
