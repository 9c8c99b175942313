"""Levenberg-Marquardt damping: rules, units, rejections, momentum, what is not finite.

With ``reject`` an accepted value is never above the lowest one by more than rounding, and a
rejected trial costs one value of f.  The settings of the source document are reproduced, and with
them what its code does: a learning rate of 1 and a momentum of 0 whatever the model says.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import negopt
from negopt.core.types import Iterate, Step
from negopt.globalize.damping import AdaptiveDamping

HERE = Iterate(np.zeros(2), 0.0, np.array([3.0, 4.0]), 5.0, 4.0)


@dataclasses.dataclass
class Downhill:
    """Steps of length 1/(1 + bound) along -g, with the dampings that were asked for."""

    asked: list = dataclasses.field(default_factory=list)

    def propose(self, iterate, operator, bound):
        self.asked.append(bound.value)
        self.absolute = bound.absolute
        length = 1.0 / (1.0 + bound.value)
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
    out = rule.advance(state, Ratios(*ratios), HERE, None, steps)
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
        def propose(self, iterate, operator, bound):
            return Step(iterate.g, 25.0, 0.0, 5.0)

    rule = AdaptiveDamping()
    out = rule.advance(rule.init(HERE), Ratios(), HERE, None, Uphill())
    assert out.stuck
    assert out.trials == 0


def test_an_escape_starts_from_the_first_damping():
    rule = AdaptiveDamping(damping=0.5)
    state = rule.init(HERE)
    advance(rule, state, -1.0, -1.0, 1.0)
    rule.escaped(state, HERE, 1.0)
    assert (state.damping, state.factor) == (0.5, 2.0)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    engine=st.sampled_from(["krylov", "binomial"]),
    chosen=st.fixed_dictionaries(
        {},
        optional={
            "damping_rule": st.sampled_from(["levenberg", "fixed"]),
            "damping_unit": st.just("absolute"),
            "learning_rate": st.sampled_from([0.3, 1.9, 5.0]),
            "momentum": st.sampled_from([0.5, 0.95]),
            "adaptive": st.booleans(),
        },
    ),
)
def test_monotone_decrease(seed, engine, chosen):
    """Accepted values never rise by more than rounding, whatever the options."""
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
        options={"engine": engine, "maxiter": 60, **chosen},
    )
    values = np.array(seen)
    assert np.all(np.diff(values) <= 1e4 * np.finfo(float).eps * np.abs(values[:-1]))


@settings(max_examples=60)
@given(rho=st.floats(1e-3, 2.0), damping=st.floats(1e-5, 1e3), omega=st.sampled_from([0.9, 2 / 3]))
def test_levenbergs_rule(rho, damping, omega):
    rule = AdaptiveDamping(damping=damping, damping_rule="levenberg", omega=omega)
    state = rule.init(HERE)
    out, asked = advance(rule, state, rho)
    assert out.accepted
    assert asked == [damping]
    factor = omega if rho > 0.75 else 1 / omega if rho < 0.25 else 1.0
    assert state.damping == pytest.approx(damping * factor)


def test_a_fixed_damping_comes_back_after_rejections():
    rule = AdaptiveDamping(damping=0.3, damping_rule="fixed")
    state = rule.init(HERE)
    out, asked = advance(rule, state, -1.0, -1.0, 1.0)
    assert out.accepted
    assert asked == pytest.approx([0.3, 0.6, 2.4])
    assert state.damping == 0.3


@pytest.mark.parametrize("reject", [True, False])
def test_the_unit_travels_with_the_damping(reject):
    for unit, least in (("relative", 2**-26), ("absolute", 1e-8)):
        rule = AdaptiveDamping(damping=1e-9, damping_unit=unit, reject=reject)
        state = rule.init(HERE)
        steps = Downhill()
        out = rule.advance(state, Ratios(1.0), HERE, None, steps)
        assert out.accepted
        assert out.start is HERE
        assert isinstance(out.step, Step)
        assert steps.asked == [1e-9]
        assert steps.absolute is (unit == "absolute")
        assert state.damping == pytest.approx(least)


@pytest.mark.parametrize(
    ("rate", "lengths"), [(0.5, [0.5, 0.5 / 1.5]), (3.0, [3.0, 1 / 1.5])], ids=["short", "long"]
)
def test_learning_rate(rate, lengths):
    """The first trial is the scaled step; rejected, a step longer than u is u."""
    tried = []

    class Watched(Ratios):
        def at(self, x, *, bar=math.inf):
            tried.append(np.linalg.norm(x))
            return super().at(x, bar=bar)

    rule = AdaptiveDamping(damping=0.0, min_damping=0.25, learning_rate=rate)
    state = rule.init(HERE)
    out = rule.advance(state, Watched(-1.0, 1.0), HERE, None, Downhill())
    assert out.accepted
    assert tried == pytest.approx(lengths)


class Matrix:
    """An operator that counts its products."""

    learns = False

    def __init__(self, H):
        self.H, self.calls = H, 0

    def matvec(self, v):
        self.calls += 1
        return self.H @ v


def test_heavy_ball_on_the_steps_that_were_taken():
    rule = AdaptiveDamping(damping=0.5, damping_rule="fixed", learning_rate=0.8, momentum=0.5)
    operator = Matrix(np.eye(2))
    state = rule.init(HERE)
    first = rule.advance(state, Ratios(1.0), HERE, operator, Downhill())
    u = -HERE.g / 5.0 / 1.5
    np.testing.assert_allclose(first.s, 0.8 * u)
    assert operator.calls == 0
    second = rule.advance(state, Ratios(1.0), HERE, operator, Downhill())
    np.testing.assert_allclose(second.s, 0.8 * u + 0.5 * first.s)
    assert operator.calls == 1  # the model of the combination
    third = rule.advance(state, Ratios(-1.0, -1.0, 1.0), HERE, operator, Downhill())
    assert third.trials == 3
    np.testing.assert_allclose(third.s, -0.8 * HERE.g / 5.0 / 5.0)  # without the momentum
    assert operator.calls == 2  # a product a step, none for what was rejected
    np.testing.assert_array_equal(state.previous, third.s)
    rule.escaped(state, HERE, 1.0)
    assert state.previous is None


def test_nothing_is_kept_or_asked_for_without_momentum():
    rule = AdaptiveDamping()
    state = rule.init(HERE)
    advance(rule, state, 1.0)  # the operator is None
    assert state.previous is None


def test_a_combination_that_promises_nothing_is_not_tried():
    """The previous step points uphill and outweighs u."""
    rule = AdaptiveDamping(damping=0.5, damping_rule="fixed", momentum=0.9)
    state = rule.init(HERE)
    state.previous = 10.0 * HERE.g
    out = rule.advance(state, Ratios(1.0), HERE, Matrix(np.eye(2)), Downhill())
    np.testing.assert_allclose(out.s, -HERE.g / 5.0 / 1.5)


def test_without_rejection_every_finite_step_is_taken():
    rule = AdaptiveDamping(damping=1.0, damping_rule="levenberg", reject=False, momentum=0.5)
    state = rule.init(HERE)
    for ratio, factor in ((-3.0, 1 / 0.9), (0.5, 1.0), (1.0, 0.9)):
        before = state.damping
        operator = Matrix(np.zeros((2, 2)))
        out = rule.advance(state, Ratios(ratio), HERE, operator, Downhill())
        assert out.accepted
        assert out.trials == 1
        assert out.rho == pytest.approx(ratio)
        assert state.damping == pytest.approx(before * factor)
        np.testing.assert_array_equal(state.previous, out.s)
    for bad in (math.nan, math.inf, -math.inf):
        out, _ = advance(AdaptiveDamping(reject=False), AdaptiveDamping().init(HERE), bad)
        assert out.stuck
        assert not out.accepted
        assert not out.valid
        assert "reject=True" in out.reason
    assert AdaptiveDamping(reject=False).patience > 1000 > AdaptiveDamping().patience


@pytest.mark.parametrize("reject", [True, False])
def test_the_model_of_a_scaled_step(reject):
    """rho compares with ``-(g's + s'Hs/2)`` of the step that is taken."""
    H = np.diag([3.0, 1.0])

    class Newton:
        def propose(self, iterate, operator, bound):
            u = -np.linalg.solve(H, iterate.g)
            return Step(u, float(HERE.g @ u), float(u @ H @ u), float(np.linalg.norm(u)))

    class Quadratic:
        def at(self, x, *, bar=math.inf):
            g = HERE.g + H @ x
            return Iterate(x, float(HERE.g @ x + x @ H @ x / 2), g, 1.0, 1.0)

    rule = AdaptiveDamping(learning_rate=0.4, reject=reject)
    state = rule.init(HERE)
    out = rule.advance(state, Quadratic(), HERE, None, Newton())
    assert out.rho == pytest.approx(1.0)
    assert out.step_norm == pytest.approx(np.linalg.norm(out.s))


def test_without_rejection_a_run_that_diverges_ends():
    """Against the lowest value, not the last."""
    rule = AdaptiveDamping(reject=False, damping_rule="fixed")
    state = rule.init(HERE)
    far = Iterate(HERE.x, 5e29, HERE.g, 5.0, 4.0)
    for here, ratio, accepted in ((HERE, -1e29, True), (far, -1e30, False)):
        out = rule.advance(state, Ratios(ratio), here, None, Downhill())
        assert out.accepted == accepted


def test_a_fixed_heavy_ball_needs_no_product():
    rule = AdaptiveDamping(damping_rule="fixed", momentum=0.5, reject=False)
    state = rule.init(HERE)
    for _ in range(3):
        out, _ = advance(rule, state, 1.0)  # the operator is None
        assert out.accepted


@pytest.mark.parametrize(
    "options",
    [
        {"damping": -1.0},
        {"damping": math.inf},
        {"damping_rule": "marquardt"},
        {"damping_unit": "lambda"},
        {"min_damping": -1.0},
        {"omega": 1.0},
        {"eta": 0.25},
        {"learning_rate": 0.0},
        {"momentum": 1.0},
        {"adaptive": "yes"},
        {"reject": None},
    ],
)
def test_options_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        AdaptiveDamping(**options)
