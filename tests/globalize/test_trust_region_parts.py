"""The trust region's first radius, escapes, refusals; what counts as rounding."""

from __future__ import annotations

import math

import numpy as np
import pytest

from negopt.core.types import Iterate, Step
from negopt.decisions.noise import ROUNDINGS
from negopt.globalize.ratio import reduction_ratio, rounding_of
from negopt.globalize.trust_region import TrustRegion


def point(x, f, g):
    g = np.asarray(g, dtype=float)
    gnorm, gmax = float(np.linalg.norm(g)), float(np.max(np.abs(g)))
    return Iterate(np.asarray(x, dtype=float), f, g, gnorm, gmax)


HERE = point([0.0, 0.0], 1.0, [30.0, 40.0])


def test_first_radius():
    assert TrustRegion().init(HERE).radius == 1.0
    assert TrustRegion(max_trust_radius=0.5).init(HERE).radius == 0.5
    assert TrustRegion(initial_trust_radius=7.0).init(HERE).radius == 7.0


def test_an_escape_widens_the_radius_only():
    rule = TrustRegion(max_trust_radius=4.0)
    state = rule.init(HERE)
    rule.escaped(state, HERE, 0.5)
    assert state.radius == 1.0
    rule.escaped(state, HERE, 3.0)
    assert state.radius == 3.0
    rule.escaped(state, HERE, 30.0)
    assert state.radius == 4.0


@pytest.mark.parametrize(
    "options",
    [
        {"initial_trust_radius": 0.0},
        {"initial_trust_radius": math.inf},
        {"max_trust_radius": 0.0},
        {"initial_trust_radius": 2.0, "max_trust_radius": 2.0},
        {"eta": 0.25},
        {"eta": -1e-3},
        {"shrink": 1.0},
        {"grow": 1.0},
        {"first_grow": 1.0},
    ],
)
def test_options_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        TrustRegion(**options)


class Unchanged:
    learns = True


class Proposes:
    def __init__(self, step):
        self.step = step

    def propose(self, iterate, operator, bound):
        return self.step


@pytest.mark.parametrize(
    "step",
    [
        Step(np.zeros(2), -1.0, 0.0, 0.0),
        Step(np.ones(2), 1.0, 0.0, math.sqrt(2)),
        Step(np.ones(2), -1.0, 5.0, math.sqrt(2)),
        Step(np.full(2, np.nan), math.nan, math.nan, math.nan),
    ],
)
def test_a_step_without_promise_is_not_tried(step):
    rule = TrustRegion()
    out = rule.advance(rule.init(HERE), None, HERE, Unchanged(), Proposes(step))
    assert out.stuck
    assert out.trials == 0


def test_a_radius_below_the_spacing_of_x_gives_up():
    here = point([1.0, 1.0], 1.0, [1.0, 0.0])

    class Worse:
        def at(self, x, *, bar=math.inf):
            return point(x, math.nan, [1.0, 0.0])

    class Down:
        def propose(self, iterate, operator, bound):
            s = np.array([-bound.value, 0.0])
            return Step(s, -bound.value, 0.0, bound.value)

    class Fixed:
        learns = False

    rule = TrustRegion()
    out = rule.advance(rule.init(here), Worse(), here, Fixed(), Down())
    assert out.stuck
    assert not out.accepted
    assert 10 < out.trials < 20
    assert "spacing" in out.reason or "resolve" in out.reason


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_rounding_scales_with_the_type(xp_case, dtype):
    x = xp_case.asarray([1.0, 2.0], dtype)
    eps = np.finfo(dtype).eps
    wanted = 8.0 * ROUNDINGS * eps
    assert rounding_of(Iterate(x, -8.0, x, 1.0, 1.0)) == pytest.approx(wanted, abs=0.0)


def test_ratio_of_values_that_differ_clearly():
    s = np.array([-1.0, 0.0])
    there = point(s, 1.0 - 20.0, [0.0, 0.0])
    assert reduction_ratio(HERE, there, Step(s, -30.0, 20.0, 1.0)) == pytest.approx(1.0)
    assert math.isnan(reduction_ratio(HERE, there, Step(s, 0.0, 0.0, 1.0)))
    assert math.isnan(reduction_ratio(HERE, there, Step(s, math.inf, 0.0, 1.0)))
    # Without a gradient at the trial (it was left out above the bar) only values count.
    above = Iterate(s, 1.0, np.full(2, np.nan), math.nan, math.nan)
    assert reduction_ratio(HERE, above, Step(s, -30.0, 20.0, 1.0)) == 0.0
