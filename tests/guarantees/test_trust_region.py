"""Accepted values never rise beyond rounding, no step is longer than the radius, and every model
decrease is at least the Cauchy decrease.

Theorem.  In a run of a trust-region method, with radius r and accepted values f_0, f_1, ...:

1. ``f_{k+1} <= f_k + 1e4 eps |f_k|`` (without rounding: ``f_{k+1} < f_k``);
2. every proposed step has ``||s|| <= r``;
3. ``m(0) - m(s) >= min over t <= r/||g|| of m(-t g)`` taken from m(0), the Cauchy decrease, so
   Powell's bound ``||g||/2 min(r, ||g||/||B||)`` holds;
4. the radius follows the rule: after a rejection or a ratio below 0.1 it is ``min(r, ||s||)`` times
   the minimiser of the parabola through both values and the slope, held between 0.1 (1e-6 before
   the first accepted step) and ``shrink``; after a ratio above 0.75 with ``||s|| > 0.8 r`` it is
   ``min(grow r, max)``, with ``first_grow`` as long as no step has failed; a tenth of the step
   after a trial that is not finite; unchanged otherwise.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import negopt
from negopt import METHODS
from negopt.core.types import Iterate, Step
from negopt.globalize.ratio import reduction_ratio
from negopt.globalize.trust_region import TrustRegion
from negopt.steps.sfn_lanczos import SaddleFreeLanczos
from negopt.steps.steihaug import SteihaugToint

EPS = np.finfo(float).eps
OWN_NORM = (SaddleFreeLanczos, SteihaugToint)
#: Those with a Euclidean ball; the others: test_sfn_lanczos.py, test_ellipsoid.py.
NAMES = [
    name
    for name, row in METHODS.items()
    if isinstance(row.globalize, TrustRegion) and not isinstance(row.step, OWN_NORM)
]


@dataclasses.dataclass(frozen=True)
class Watch:
    """A step rule that keeps what another one proposed, and for which bound."""

    inner: Any
    log: list = dataclasses.field(default_factory=list)

    def propose(self, iterate, operator, bound):
        step = self.inner.propose(iterate, operator, bound)
        bound = bound.value
        # N.B. now: the operator reads the memory, which goes on changing.
        least = cauchy_decrease(iterate.g, operator.matvec, bound)
        exact = -float(iterate.g @ step.s + step.s @ operator.matvec(step.s) / 2)
        self.log.append((step, bound, least, exact))
        return step


def cauchy_decrease(g, matvec, radius):
    gnorm = float(np.linalg.norm(g))
    curvature = float(g @ matvec(g)) / gnorm**2
    t = radius / gnorm
    if curvature > 0:
        t = min(t, 1.0 / curvature)
    return t * gnorm**2 - t**2 * gnorm**2 * curvature / 2


options = st.fixed_dictionaries(
    {},
    optional={
        "eta": st.floats(0.0, 0.2),
        "shrink": st.floats(0.1, 0.9),
        "grow": st.floats(1.1, 10.0),
        "first_grow": st.floats(1.1, 1000.0),
        "initial_trust_radius": st.floats(-3, 2).map(lambda e: 10.0**e),
    },
)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20)
@given(
    family=st.sampled_from(["quartic", "logcosh", "sine", "net"]),
    n=st.integers(1, 9),
    seed=st.integers(0, 10**6),
    chosen=options,
    largest=st.floats(0.1, 1e3),
    model=st.sampled_from(["signed", "absolute"]),
)
def test_runs(random_function, name, family, n, seed, chosen, largest, model):
    function = random_function(family, n, seed)
    x0 = np.random.default_rng(seed).standard_normal(function.n)
    limits = {"max_trust_radius": max(largest, 1.01 * chosen.get("initial_trust_radius", 0.0))}
    if name != "newton-krylov":
        limits["model"] = model
    else:  # a Euclidean ball and g in the basis; its own norm: test_scaled_norm.py
        limits |= {"maxcor": 0, "metric": "sphere"}
    method = METHODS[name].with_options({**chosen, **limits})
    watch = Watch(method.step)
    method = dataclasses.replace(method, step=watch)
    seen = []
    negopt.minimize(
        function.fun,
        x0,
        jac=function.grad,
        hessp=function.hessp if name == "newton-krylov" else None,
        method=method,
        callback=lambda intermediate_result: seen.append(intermediate_result),
        options={"certify": False, "maxiter": 40, "gtol": 1e-7},
    )
    f = function.fun(x0)
    for res in seen:
        if res.get("accepted"):
            assert res.fun <= f + 1e4 * EPS * abs(f)
        else:
            assert res.fun == f
        f = res.fun
        assert res.tr_radius <= limits["max_trust_radius"]
    first = chosen.get("initial_trust_radius")
    if watch.log and first is not None:
        assert watch.log[0][1] == first
    for step, bound, least, exact in watch.log:
        assert np.linalg.norm(step.s) <= bound * (1 + 1e-14)
        assert bound <= limits["max_trust_radius"]
        if model == "signed" or name == "newton-krylov":  # else the model is |B|
            assert step.predicted_decrease >= (0.81 * least) * (1 - 1e-8)
            assert step.predicted_decrease == pytest.approx(exact, rel=1e-6, abs=1e-9 * least)


@dataclasses.dataclass(frozen=True)
class Fixed:
    """A one-dimensional step of a given share of the radius."""

    share: float

    def propose(self, iterate, operator, bound):
        length = self.share * bound.value
        s = -length * iterate.g / iterate.gnorm
        return Step(s, -length * iterate.gnorm, 0.0, length, self.share == 1.0)


class Answers:
    """An objective that answers every trial with the same ratio."""

    def __init__(self, here, rho, wrong):
        self.here, self.rho, self.wrong, self.calls = here, rho, wrong, 0

    def at(self, x, *, bar=math.inf):
        self.calls += 1
        predicted = -float(self.here.g @ (x - self.here.x))
        f = self.here.f - self.rho * predicted
        gmax = 1.0
        if self.wrong == "f":
            f = math.nan
        elif self.wrong == "g":
            gmax = math.nan
        return Iterate(x, f, self.here.g, self.here.gnorm, gmax)


@dataclasses.dataclass
class Learns:
    learns: bool = True


@settings(max_examples=200)
@given(
    rho=st.one_of(st.floats(-2, 2), st.floats(-60, 2)).filter(
        lambda r: min(abs(r - c) for c in (0, 1e-4, 0.05, 0.1, 0.2, 0.75)) > 1e-6
    ),
    eta=st.sampled_from([1e-4, 0.05, 0.2]),
    share=st.sampled_from([0.1, 0.5, 0.79, 0.81, 1.0]),
    radius=st.floats(1e-3, 1e3),
    largest=st.sampled_from([math.inf, 1.5]),
    shrink=st.floats(0.15, 0.95),
    grow=st.floats(1.05, 20.0),
    free=st.booleans(),
    started=st.booleans(),
    wrong=st.sampled_from([None, None, "f", "g"]),
)
def test_radius_rule(rho, eta, share, radius, largest, shrink, grow, free, started, wrong):
    rule = TrustRegion(eta=eta, shrink=shrink, grow=grow, max_trust_radius=largest)
    here = Iterate(np.zeros(2), 0.0, np.array([3.0, 4.0]), 5.0, 4.0)
    state = rule.init(here)
    radius = state.radius = min(radius, largest)
    state.free, state.started = free, started
    answers = Answers(here, rho, wrong)
    out = rule.advance(state, answers, here, Learns(), Fixed(share))
    assert answers.calls == out.trials == 1
    assert out.radius == radius
    length = share * radius
    if wrong is not None:
        assert not out.valid
        assert not out.accepted
        assert state.radius == pytest.approx(0.1 * length, rel=1e-14)
        return
    assert out.valid
    assert out.rho == pytest.approx(rho, rel=1e-9, abs=1e-12)
    assert out.accepted == (rho > eta)
    if rho < max(0.1, eta):  # whatever is rejected shrinks the radius
        parabola = 0.5 / (1.0 - rho)
        factor = shrink if started else min(max(parabola, 1e-6), shrink)
        assert state.radius == pytest.approx(factor * length, rel=1e-9)
        assert not state.free
    elif rho > 0.75 and share > 0.8:
        assert state.radius == min((rule.first_grow if free else grow) * radius, largest)
    else:
        assert state.radius == radius
    assert state.started == (started or out.accepted)
    assert out.informative == (rho > -30.0)


@settings(max_examples=30)
@given(first=st.floats(1e-2, 1e6), shrink=st.floats(0.1, 0.6))
def test_a_model_that_does_not_learn_is_asked_again_with_a_smaller_radius(first, shrink):
    """``f = |x|^4`` beyond a wall of nan: shrinks until the trial is inside and descends."""
    rule = TrustRegion(initial_trust_radius=first, shrink=shrink)
    x = np.array([0.6, 0.8])

    class Wall:
        def at(self, at, *, bar=math.inf):
            r = float(np.linalg.norm(at))
            f = r**4 if r < 1.2 else math.nan
            g = 4 * r**2 * at
            return Iterate(at, f, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))

    here = Wall().at(x)
    state = rule.init(here)
    out = rule.advance(state, Wall(), here, Learns(False), Fixed(1.0))
    assert out.accepted
    assert out.trial.f < here.f
    assert np.linalg.norm(out.s) <= out.radius * (1 + 1e-14)
    assert out.radius <= first


@settings(max_examples=100)
@given(
    f=st.floats(-1e6, 1e6).filter(lambda v: abs(v) > 1e-3),
    change=st.floats(-1.0, 1.0),
    gain=st.floats(-1.0, 2.0),
)
def test_ratio_is_rescued_where_values_are_rounding(f, change, gain):
    """When f - f_+ is noise the ratio comes from the slopes at both ends."""
    g, s = np.array([1e-9, 0.0]), np.array([-1e-9, 0.0])
    here = Iterate(np.zeros(2), f, g, 1e-9, 1e-9)
    end = (2 * gain - 1) * g  # trapezoid: -(g's + g_+'s)/2 = gain times |g's|
    there = Iterate(s, f + 90 * change * EPS * abs(f), end, 1e-9, 1e-9)
    step = Step(s, -1e-18, 0.0, 1e-9)
    assert reduction_ratio(here, there, step) == pytest.approx(gain, rel=1e-9, abs=1e-9)
    assert math.isnan(reduction_ratio(here, there, Step(s, 1e-18, 0.0, 1e-9)))
