"""Options find their owners; unknown names warn with the nearest; the table is complete."""

from __future__ import annotations

import dataclasses
import math
import warnings

import numpy as np
import pytest
from scipy.optimize import OptimizeWarning

from negopt.core.options import (
    RunOptions,
    as_options,
    check_choice,
    check_integer,
    check_number,
    collect,
    option_table,
    warn_unknown,
)


def test_collect_takes_what_the_class_owns() -> None:
    given = {"gtol": 1.0, "maxcor": 5, "disp": True}
    assert collect(RunOptions, given) == {"gtol": 1.0, "disp": True}
    assert given == {"gtol": 1.0, "maxcor": 5, "disp": True}


def test_every_common_option_is_documented_and_its_default_valid() -> None:
    RunOptions()
    rows = option_table([RunOptions])
    assert [r[0] for r in rows] == [f.name for f in dataclasses.fields(RunOptions)]
    assert all(len(r[2]) > 10 for r in rows)
    assert {r[0]: r[1] for r in rows}["maxiter"] == "None"


def test_numpys_numbers_are_numbers() -> None:
    run = RunOptions(
        gtol=np.float32(1e-3), maxiter=np.int64(5), certify_products=np.int32(3), norm=np.float64(2)
    )
    assert run.maxiter == 5


@pytest.mark.parametrize("value", [-1, -1e-300, math.nan, "1", None, 1j, [1]])
def test_check_number_refuses(value) -> None:
    with pytest.raises(ValueError, match=r"depth=.*: must be a number in \[0, inf"):
        check_number("depth", value)


def test_check_number_knows_open_ends() -> None:
    check_number("a", 0)
    check_number("a", 1, 0, 1)
    with pytest.raises(ValueError, match=r"a=0: must be a number in \(0, 1\]"):
        check_number("a", 0, 0, 1, open_low=True)
    with pytest.raises(ValueError, match=r"a=1: must be a number in \[0, 1\)"):
        check_number("a", 1, 0, 1, open_high=True)


@pytest.mark.parametrize("value", [0, 1.0, True, "3", None, math.nan])
def test_check_integer_refuses(value) -> None:
    with pytest.raises(ValueError, match=r"m=.*: must be an integer >= 1"):
        check_integer("m", value)


def test_check_integer_and_choice_accept() -> None:
    check_integer("m", np.int16(1))
    check_integer("m", 0, 0)
    check_choice("c", "a", ("a", "b"))
    with pytest.raises(ValueError, match=r"c='x': use one of 'a', 'b'"):
        check_choice("c", "x", ("a", "b"))


@pytest.mark.parametrize("value", [0, 0.0, math.nan, math.inf, "a", [1e-8, 0.0], [1e-8, "b"]])
@pytest.mark.parametrize("name", ["eps", "finite_diff_rel_step"])
def test_steps_of_differences_are_refused(name, value) -> None:
    with pytest.raises(ValueError, match=f"{name}=.*must be a finite number other than 0"):
        RunOptions(**{name: value})


@pytest.mark.parametrize("value", [1e-8, -1e-8, [1e-8, 1e-6], np.full(3, 1e-4)])
def test_steps_of_differences_are_accepted(value) -> None:
    run = RunOptions(eps=value, finite_diff_rel_step=value)
    assert run.eps is run.finite_diff_rel_step is value


@pytest.mark.parametrize("name", ["certify", "record", "return_all"])
def test_a_word_is_no_truth(name) -> None:
    RunOptions(**{name: np.True_})
    with pytest.raises(ValueError, match=f"{name}='no': use one of True, False"):
        RunOptions(**{name: "no"})


def test_options_are_a_dict() -> None:
    given = {"gtol": 1.0}
    copy = as_options(given)
    assert copy == given
    assert copy is not given
    assert as_options(None) == {}
    for wrong in (5, ["gtol"], "gtol"):
        with pytest.raises(TypeError, match=r"options=.*pass a dict"):
            as_options(wrong)


def test_unknown_names_warn_once_each_with_the_nearest() -> None:
    with pytest.warns(OptimizeWarning) as caught:
        warn_unknown({"gtoll": 1, "maxiter": 2, "qqq": 3}, {"gtol", "maxiter"}, "m")
    texts = [str(w.message) for w in caught]
    assert len(texts) == 2
    assert "'gtoll' for method 'm'. Did you mean 'gtol'?" in texts[0]
    assert "Did you mean" not in texts[1]
    assert caught[0].filename == __file__
    assert "negopt.show_options('m')" in texts[1]


def test_known_names_do_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_unknown({"gtol": 1}, {"gtol"}, "m")
