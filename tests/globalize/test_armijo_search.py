"""The Armijo search one step at a time: where it begins, up and down, and how it fails."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from negopt import METHODS, minimize
from negopt.core.types import Step
from negopt.curvature.identity import IdentityOperator
from negopt.functions.objective import Objective
from negopt.globalize.armijo import ArmijoSearch
from negopt.steps.steepest import SteepestDescent


def advance(search, fun, jac, x, state=None, step_rule=None):
    """Return outcome, state, and the factors on -g that were tried."""
    tried = []

    def seen(at):
        tried.append(at.copy())
        return fun(at)

    objective = Objective(seen, np.array(x, dtype=float), (), jac)
    here = objective.at(objective.x0)
    state = search.init(here) if state is None else state
    out = search.advance(state, objective, here, IdentityOperator(), step_rule or SteepestDescent())
    factors = [float(np.linalg.norm(at - here.x) / here.gnorm) for at in tried[1:]]
    return out, state, factors, objective


def bowl(curvature):
    return lambda x: 0.5 * curvature * float(x @ x), lambda x: curvature * x


def test_the_first_trial_has_length_one_or_the_factor_asked_for() -> None:
    fun, jac = bowl(4.0)
    _, _, factors, _ = advance(ArmijoSearch(), fun, jac, [30.0, 40.0])
    assert factors[0] * 200.0 == pytest.approx(1.0)
    _, _, factors, _ = advance(ArmijoSearch(first_step=1.0), fun, jac, [30.0, 40.0])
    assert factors[0] == pytest.approx(1.0)


def test_down_by_halves_and_by_the_parabola() -> None:
    fun, jac = bowl(64.0)
    plain = ArmijoSearch(first_step=1.0, interpolate=False)
    out, _, factors, objective = advance(plain, fun, jac, [1.0])
    assert factors == pytest.approx([2.0**-k for k in range(len(factors))])
    # f(t) <= f + c1 t g's exactly when t <= 2 (1 - c1) / 64
    assert factors[-1] <= 1.8 / 64 < factors[-2]
    assert out.step_size == factors[-1]
    assert objective.counters.njev == 2  # no gradient where the trial failed
    _, _, factors, _ = advance(ArmijoSearch(first_step=0.1), fun, jac, [1.0])
    assert factors[1] == pytest.approx(1.0 / 64)  # the minimiser


def test_two_way_begins_where_the_last_search_ended() -> None:
    fun, jac = bowl(1.0)
    search = ArmijoSearch(first_step=0.25)
    _, state, factors, _ = advance(search, fun, jac, [1.0])
    assert factors == pytest.approx([0.25])
    _, state, factors, _ = advance(search, fun, jac, [1.0], state)
    assert factors == pytest.approx([0.5])  # a notch up: the first trial held
    state.factor = 64.0
    _, state, factors, _ = advance(search, fun, jac, [1.0], state)
    assert factors[0] == pytest.approx(64.0)
    assert state.factor == pytest.approx(factors[-1])  # no notch: it had to come down
    one_way = dataclasses.replace(search, two_way=False)
    assert advance(one_way, fun, jac, [1.0], state)[2] == pytest.approx([0.25])


def test_forward_goes_up_while_f_falls() -> None:
    fun, jac = bowl(1.0)
    search = ArmijoSearch(first_step=0.125, forward=True)
    out, _, factors, _ = advance(search, fun, jac, [1.0])
    assert factors == pytest.approx([0.125, 0.25, 0.5, 1.0, 2.0])
    assert out.step_size == 1.0
    assert out.trial.f == 0.0
    bounded = dataclasses.replace(search, max_step=0.3)
    out, _, factors, _ = advance(bounded, fun, jac, [1.0])
    assert factors == pytest.approx([0.125, 0.25, 0.3])
    assert out.step_size == 0.3


def test_not_finite_shortens_tenfold() -> None:
    def fun(x):
        return float(-x[0]) if x[0] < 0.05 else math.nan

    out, _, factors, _ = advance(ArmijoSearch(), fun, lambda x: -np.ones(1), [0.0])
    assert factors == pytest.approx([1.0, 0.1, 0.01])
    assert out.accepted


def test_bounds_and_failures_say_why() -> None:
    jac = bowl(1.0)[1]
    peak = lambda x: 0.0 if x[0] == 1.0 else 1.0  # noqa: E731
    out, _, factors, _ = advance(ArmijoSearch(min_step=0.3), peak, jac, [1.0])
    assert (out.stuck, out.accepted) == (True, False)
    assert "below min_step=0.3" in out.reason
    assert min(factors) >= 0.3
    out, _, factors, _ = advance(ArmijoSearch(), peak, jac, [1.0])
    assert out.reason == f"no decrease in {len(factors)} evaluations along the step"
    # from 0 every step changes x: the number of trials ends the search
    out, _, factors, _ = advance(
        ArmijoSearch(), lambda x: float(abs(x[0])), lambda x: np.ones(1), [0.0]
    )
    assert out.stuck
    assert len(factors) == 40


@pytest.mark.parametrize("slope", [0.0, 1.0, math.nan])
def test_a_step_that_does_not_descend_is_refused(slope) -> None:
    @dataclasses.dataclass(frozen=True)
    class Wrong:
        def propose(self, iterate, operator, bound):
            return Step(iterate.g, slope, 1.0, iterate.gnorm)

    fun, jac = bowl(1.0)
    out, _, factors, _ = advance(ArmijoSearch(), fun, jac, [1.0], step_rule=Wrong())
    assert out.stuck
    assert not factors
    assert "does not descend" in out.reason


def test_without_a_search_each_step_is_taken_as_it_is() -> None:
    fun, jac = bowl(1.5)
    search = ArmijoSearch(first_step=1.0, line_search=False)
    out, _, factors, _ = advance(search, fun, jac, [1.0])
    assert factors == [1.0]
    assert out.accepted
    assert out.step_size == 1.0
    fun, jac = bowl(4.0)
    out, _, _, _ = advance(search, fun, jac, [1.0])
    assert out.accepted
    assert out.trial.f > fun(np.ones(1))  # up
    assert search.patience > ArmijoSearch().patience
    row = dataclasses.replace(
        METHODS["gd-armijo"].with_options({"scaling": "none"}), globalize=search
    )
    res = minimize(fun, [1.0], jac=jac, method=row)
    assert not res.success
    assert "diverged" in res.message
    assert "line_search=False (use True)" in res.message
    assert res.x[0] == 1.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"c1": 0.0}, "c1=0.0"),
        ({"c1": 1.0}, "c1=1.0"),
        ({"backtrack": 1.0}, "backtrack=1.0"),
        ({"first_step": 0.0}, "first_step=0.0"),
        ({"min_step": 2.0, "max_step": 1.0}, "min_step=2.0: must be at most max_step=1.0"),
        ({"two_way": "yes"}, "two_way='yes'"),
    ],
)
def test_bad_options(options, words) -> None:
    with pytest.raises(ValueError, match=words):
        ArmijoSearch(**options)
