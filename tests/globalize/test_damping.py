"""Levenberg-Marquardt damping: Nielsen's rule, rejections, what is not finite."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import negopt
from negopt._types import Iterate, Step
from negopt.globalize.damping import AdaptiveDamping

HERE = Iterate(np.zeros(2), 0.0, np.array([3.0, 4.0]), 5.0, 4.0)


@dataclasses.dataclass
class Downhill:
    """Steps of length 1/(1 + bound) along -g, with the dampings that were asked for."""

    asked: list = dataclasses.field(default_factory=list)

    def propose(self, iterate, operator, bound, rng):
        self.asked.append(bound)
        length = 1.0 / (1.0 + bound)
        return Step(-length * iterate.g / iterate.gnorm, -length * iterate.gnorm, 0.0, length)


class Ratios:
    """An objective that gives each trial the next ratio; nan is not finite."""

    def __init__(self, *ratios):
        self.ratios = list(ratios)

    def at(self, x, *, bar=math.inf):
        rho = self.ratios.pop(0) if self.ratios else 1.0
        f = rho * float(HERE.g @ x)
        return Iterate(x, f, HERE.g, 5.0, 4.0)


def advance(rule, state, *ratios):
    steps = Downhill()
    out = rule.advance(state, Ratios(*ratios), HERE, None, steps, np.random.default_rng(0))
    return out, steps.asked


@settings(max_examples=80)
@given(rho=st.floats(1e-3, 5.0), damping=st.floats(1e-6, 1e3))
def test_nielsens_rule(rho, damping):
    rule = AdaptiveDamping(damping=damping)
    state = rule.init(HERE)
    out, asked = advance(rule, state, rho)
    assert out.accepted
    assert asked == [damping]
    gain = max(1 / 3, 1 - (2 * min(rho, 2.0) - 1) ** 3)
    assert state.damping == pytest.approx(max(damping * gain, 1.5e-8), rel=1e-6)


def test_rejections_damp_two_four_eight_times_more():
    rule = AdaptiveDamping(damping=0.01)
    state = rule.init(HERE)
    out, asked = advance(rule, state, -1.0, -1.0, -1.0, 1.0)
    assert out.accepted
    assert out.trials == 4
    assert asked == pytest.approx([0.01, 0.02, 0.08, 0.64])
    assert state.factor == 2.0
    assert state.damping == pytest.approx(0.64 / 3)


def test_what_is_not_finite_damps_tenfold():
    rule = AdaptiveDamping(damping=0.01)
    out, asked = advance(rule, rule.init(HERE), math.nan, math.inf, 1.0)
    assert out.accepted
    assert asked == pytest.approx([0.01, 0.1, 1.0])


def test_least_damping():
    rule = AdaptiveDamping(damping=0.0, min_damping=1e-3)
    state = rule.init(HERE)
    advance(rule, state, 1.0)
    assert state.damping == 1e-3
    _, asked = advance(AdaptiveDamping(damping=0.0), AdaptiveDamping(damping=0.0).init(HERE), -1, 1)
    assert asked == pytest.approx([0.0, 2 * math.sqrt(np.finfo(float).eps)])


def test_gives_up_when_no_damping_helps():
    rule = AdaptiveDamping()
    out, _ = advance(rule, rule.init(HERE), *[-1.0] * 500)
    assert out.stuck
    assert not out.accepted
    assert "no damping" in out.reason


def test_a_step_that_ascends_is_not_tried():
    class Uphill:
        def propose(self, iterate, operator, bound, rng):
            return Step(iterate.g, 25.0, 0.0, 5.0)

    rule = AdaptiveDamping()
    out = rule.advance(rule.init(HERE), Ratios(), HERE, None, Uphill(), np.random.default_rng(0))
    assert out.stuck
    assert out.trials == 0


def test_an_escape_starts_from_the_first_damping():
    rule = AdaptiveDamping(damping=0.5)
    state = rule.init(HERE)
    advance(rule, state, -1.0, -1.0, 1.0)
    rule.escaped(state, HERE, 1.0)
    assert (state.damping, state.factor) == (0.5, 2.0)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), engine=st.sampled_from(["krylov", "binomial"]))
def test_monotone_decrease(seed, engine):
    """Accepted values never rise by more than rounding."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((5, 5))
    A = A + A.T

    def fun(x):
        return float(x @ A @ x / 2 + np.sum(x**4))

    seen = []
    negopt.minimize(
        fun,
        rng.standard_normal(5),
        jac=lambda x: A @ x + 4 * x**3,
        hessp=lambda x, p: A @ p + 12 * x**2 * p,
        method="sfn-series",
        callback=lambda intermediate_result: seen.append(intermediate_result.fun),
        options={"engine": engine, "maxiter": 60},
    )
    values = np.array(seen)
    assert np.all(np.diff(values) <= 1e4 * np.finfo(float).eps * np.abs(values[:-1]))


@pytest.mark.parametrize(
    "options", [{"damping": -1.0}, {"damping": math.inf}, {"min_damping": -1.0}, {"eta": 0.25}]
)
def test_options_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        AdaptiveDamping(**options)
