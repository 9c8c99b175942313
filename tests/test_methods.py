"""The table of methods."""

from __future__ import annotations

import dataclasses
import math

import pytest

import negopt
from negopt.methods import DENSE_LIMIT, METHODS, Method, choose


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
