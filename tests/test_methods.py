"""The table of methods."""

from __future__ import annotations

import dataclasses
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

import negopt
from negopt.methods import DENSE_LIMIT, METHODS, Method, choose, register


def test_the_table_cannot_be_changed_and_names_its_rows() -> None:
    with pytest.raises(TypeError):
        METHODS["mine"] = METHODS["lsr1-tr"]
    assert all(name == row.name and isinstance(row, Method) for name, row in METHODS.items())
    assert set(METHODS) >= {"lsr1-tr", "lsr1-wolfe-pm", "sr1-wolfe-pm", "sfn-series"}


def test_references_resolve_to_a_publication() -> None:
    for row in METHODS.values():
        assert any(word in row.reference for word in ("doi:", "arXiv:", "(20", "(19")), row.name


def test_options_go_to_the_rule_that_owns_them() -> None:
    base = METHODS["lsr1-tr"]
    row = base.with_options({"maxcor": 3, "eta": 0.1, "disp": True, "unknown": 1})
    assert row.curvature.maxcor == 3
    assert row.globalize.eta == 0.1
    assert row.step == base.step
    assert base.curvature.maxcor != 3  # the table's own row is as it was
    assert base.with_options({}) == base


def test_option_names_are_the_fields_of_the_parts() -> None:
    row = METHODS["sr1-wolfe-pm"]
    fields = {f.name for p in row.parts for f in dataclasses.fields(p)}
    assert row.option_names() == fields | {"variant"}
    assert {"c1", "c2", "maxls", "skip", "flip"} <= row.option_names()


def test_choose() -> None:
    assert choose(10**6, has_products=True) == choose(1, has_products=True) == "newton-krylov"
    assert choose(DENSE_LIMIT, has_products=False) == "dqn-wolfe-pm"
    assert choose(DENSE_LIMIT + 1, has_products=False) == "lqn-tr"


def test_a_row_of_ones_own_from_parts_of_others() -> None:
    mine = dataclasses.replace(
        METHODS["lsr1-wolfe-pm"], name="mine", step=type(METHODS["sr1-wolfe-pm"].step)()
    )
    res = negopt.minimize(
        lambda x: math.cosh(x[0] - 1.0), [4.0], jac=lambda x: [math.sinh(x[0] - 1.0)], method=mine
    )
    assert res.success
    assert res.x == pytest.approx([1.0], abs=1e-5)


MODULE = '''
from __future__ import annotations

from dataclasses import dataclass, field

import negopt
from negopt.core.arrays import norm
from negopt.core.types import saved
from negopt.curvature.identity import IdentityOperator


@saved
@dataclass(slots=True)
class NewestScale:
    scale: float = 0.0


@dataclass(frozen=True)
class NewestRatio:
    """``B = ||y|| / ||s|| I`` of the newest pair."""

    least: float = field(default=1e-8, metadata={"doc": "smallest curvature believed"})

    def init(self, x0):
        return NewestScale()

    def model(self, memory, objective, iterate):
        return IdentityOperator(memory.scale or max(iterate.gnorm, self.least))

    def update(self, memory, s, y, outcome=None):
        length, change = norm(s), norm(y)
        if not 0.0 < length < float("inf") or not change < float("inf"):
            return False
        memory.scale = max(change / length, self.least)
        return True

    def reset(self, memory):
        had = memory.scale != 0.0
        memory.scale = 0.0
        return had


steepest, armijo = negopt.METHODS["gd-armijo"].step, negopt.METHODS["gd-armijo"].globalize
row = negopt.Method(
    "temporary-ratio",
    NewestRatio(),
    steepest,
    armijo,
    summary="gradient descent by the newest ratio",
    guarantee="Armijo's condition",
    reference="none (2026)",
    keeps="B",
)
negopt.methods.register(row)
'''
ASKED = """
import newcomer, negopt
from negopt.cli import main

quadratic = lambda x: ((x - 1.0) ** 2).sum()
for method in ("temporary-ratio", negopt.temporary_ratio):
    res = negopt.minimize(quadratic, [3.0, 0.0], jac=lambda x: 2.0 * (x - 1.0), method=method)
    assert res.success and res.method == "temporary-ratio", res
    assert res.hess.toarray().shape == (2, 2)
assert "smallest curvature believed" in negopt.show_options("temporary-ratio", disp=False)
assert "temporary-ratio: gradient descent" in negopt.show_options(disp=False)
assert main(["methods"]) == main(["methods", "temporary-ratio"]) == 0
try:
    negopt.methods.register(newcomer.row)
except ValueError as error:
    print("twice:", error)
"""


def test_a_method_of_another_module_is_one_row(tmp_path: Path) -> None:
    (tmp_path / "newcomer.py").write_text(MODULE)
    root = Path(__file__).resolve().parents[1]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(root)])}

    def python(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            check=True,
            cwd=root,
            env=environ,
        ).stdout

    said = python("-c", ASKED)
    assert "gradient descent by the newest ratio" in said
    assert "smallest curvature believed" in said
    assert "is taken" in said
    parts = "tests/compliance/test_parts.py"
    told = python("-m", "pytest", "-p", "newcomer", "-q", "-k", "temporary-ratio", parts)
    ran = sum(name.startswith("def test_") for name in (root / parts).read_text().splitlines())
    assert int(told.rpartition(" passed")[0].split()[-1]) > 2 * ran  # on several problems each
    assert "failed" not in told


@pytest.mark.parametrize("name", ["Mine", "my_method", "-a", "a--b", ""])
def test_names_are_words_joined_by_hyphens(name: str) -> None:
    with pytest.raises(ValueError, match="lower-case words"):
        register(dataclasses.replace(METHODS["gd"], name=name))


def test_the_rows_are_in_tiers() -> None:
    assert [name for name, row in METHODS.items() if row.baseline] == ["gd", "adam"]
    defaults = {choose(n, has_products=b) for n in (2, 10**6) for b in (True, False)}
    assert all(METHODS[name].tier == "recommended" for name in defaults)
    for row in METHODS.values():
        assert not row.positive or row.secant
        assert (row.keeps is None) or row.needs == "jac"
