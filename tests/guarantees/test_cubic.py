"""A cubic step is the global minimiser of the regularised model, and accepted values never rise.

Theorem.  For "newton-cubic" with the weight sigma, in the variables of its metric:

1. in a complete space the step s satisfies ``(H + t I) s = -g`` with ``t = sigma ||s||`` and
   ``H + t I`` positive semidefinite, the conditions of a global minimiser of
   ``g's + s'Hs/2 + sigma/3 ||s||^3``, hard case included;
2. in a run ``f_{k+1} <= f_k`` but for rounding, and every step descends;
3. the weight follows the error of the quadratic: after a ratio below 0.1 it is that of which
   the cubic is an upper bound at the trial, at least `raise_weight` times what it was and
   ``-g's / ||s||^3``, at most 100 times either; after one above 0.75 the same if that is less,
   not below its share by `lower_weight`; 100 times after a trial that is not finite; unchanged
   otherwise.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import negopt
from negopt.core.bounds import CubicWeight
from negopt.core.types import Iterate, Step
from negopt.curvature.exact_products import ProductOperator
from negopt.globalize.cubic import RANGE, CubicRegularization
from negopt.steps.krylov_tr import KrylovTrustRegion, cubic_radius

EPS = np.finfo(float).eps


def point(g, f=0.0):
    g = np.asarray(g, dtype=float)
    return Iterate(np.zeros_like(g), f, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))


def check(values, parts, weight, y):
    """Assert the conditions of a global minimiser in an eigenbasis."""
    t = weight * np.linalg.norm(y)
    scale = max(np.max(np.abs(values)), t)
    assert np.min(values) + t >= -1e-9 * scale
    size = np.linalg.norm(parts) + scale * np.linalg.norm(y)
    np.testing.assert_allclose((values + t) * y, -parts, atol=1e-7 * size)


@settings(max_examples=80)
@given(
    n=st.integers(1, 12),
    seed=st.integers(0, 10**9),
    log_weight=st.floats(-4, 4),
    shift=st.sampled_from([0.0, 10.0, -10.0]),
)
def test_the_step_is_the_global_minimiser(n, seed, log_weight, shift):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n))
    H, g, weight = A + A.T + shift * np.eye(n), rng.standard_normal(n), 10.0**log_weight
    operator = ProductOperator(lambda v: H @ v)
    rule = KrylovTrustRegion(forcing=1e-12)
    step = rule.propose(point(g), operator, CubicWeight(weight))
    values, vectors = np.linalg.eigh(H)
    check(values, vectors.T @ g, weight, vectors.T @ step.s)
    # A larger weight is solved for in the same basis, and gives a shorter step.
    count = operator.basis.k
    shorter = rule.propose(point(g), operator, CubicWeight(10.0 * weight))
    assert operator.basis.k == count
    assert shorter.norm <= step.norm * (1 + 1e-12)


@pytest.mark.parametrize("weight", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("lost", [0.0, 1e-18])
def test_the_hard_case(weight, lost):
    """g has no part, or next to none, along the lowest eigenvector."""
    values, parts = np.array([-2.0, 1.0, 3.0]), 1e-3 * np.array([lost, 1.0, -1.0]) / weight
    radius = cubic_radius(values, parts, weight)
    assert radius == pytest.approx(2.0 / weight, rel=1e-6)
    inside = parts / (values + 2.0 + 1e-300)
    assert np.linalg.norm(inside[1:]) < radius  # the rest goes along the eigenvector


@settings(max_examples=25)
@given(
    family=st.sampled_from(["quartic", "logcosh", "sine", "net"]),
    n=st.integers(1, 9),
    seed=st.integers(0, 10**6),
    maxcor=st.sampled_from([0, 20]),
    metric=st.sampled_from(["auto", "diag", "sphere"]),
)
def test_values_never_rise(random_function, family, n, seed, maxcor, metric):
    function = random_function(family, n, seed)
    x0 = np.random.default_rng(seed).standard_normal(function.n)
    seen = []
    res = negopt.minimize(
        function.fun,
        x0,
        jac=function.grad,
        hessp=function.hessp,
        method="newton-cubic",
        callback=lambda intermediate_result: seen.append(intermediate_result),
        options={"maxcor": maxcor, "metric": metric},
    )
    assert res.success
    f = function.fun(x0)
    for one in seen:
        assert one.fun <= f + 1e4 * EPS * abs(f)
        f = one.fun


class Fixed:
    """A step rule that proposes one unit step down the gradient, without curvature."""

    def propose(self, iterate, operator, bound):
        assert isinstance(bound, CubicWeight)
        s = -iterate.g / iterate.gnorm
        return Step(s, -iterate.gnorm, 0.0, 1.0)


class Answers:
    """An objective whose trial has a given value."""

    def __init__(self, f):
        self.f = f

    def at(self, x, *, bar=math.inf):
        g = np.zeros_like(x)
        return Iterate(x, self.f, g, 0.0, 0.0 if math.isfinite(self.f) else math.nan)


class Learns:
    learns = True


@pytest.mark.parametrize(
    ("f", "free", "expected"),
    [
        (-0.05, True, 4.0 * 1.0),  # wanted 2.85, but at least raise_weight times
        (2.0, True, 9.0),  # wanted 3 (2 + 1)
        (1e6, True, 100.0),  # at most 100 times
        (-0.5, True, 1.0),  # neither good nor poor
        (-0.9, True, 0.3),  # wanted 3 (-0.9 + 1)
        (-0.9, False, 0.3),
        (-1.0, True, 0.01),  # wanted nothing: at most 100 times less while no step failed
        (-1.0, False, 0.25),
        (math.nan, False, 100.0),
        (math.inf, True, 100.0),
    ],
)
def test_the_weight(f, free, expected):
    rule = CubicRegularization(initial_weight=1.0)
    here = point([1.0, 0.0])
    state = rule.init(here)
    state.free = free
    out = rule.advance(state, Answers(f), here, Learns(), Fixed())
    assert state.weight == pytest.approx(expected)
    assert out.accepted is (f <= -1e-4)
    if not f <= -0.1:  # nan too
        assert not state.free


def test_a_weight_that_makes_no_difference_is_raised_until_it_does():
    rule = CubicRegularization(initial_weight=1e-9)
    here = point([1.0, 0.0])
    state = rule.init(here)
    rule.advance(state, Answers(-0.05), here, Learns(), Fixed())
    assert state.weight == pytest.approx(2.85)  # wanted, and above -g's / ||s||^3 = 1
    state = CubicRegularization(initial_weight=1e-9).init(here)
    rule.advance(state, Answers(1e6), here, Learns(), Fixed())
    assert state.weight == pytest.approx(100.0)


def test_a_weight_that_can_grow_no_more_ends_the_run():
    rule = CubicRegularization()
    here = point([2.0, 0.0])
    state = rule.init(here)
    assert state.weight == 2.0  # without curvature the first step has length 1
    state.weight = 2.0 * RANGE
    out = rule.advance(state, Answers(1.0), here, Learns(), Fixed())
    assert out.stuck
    assert "weight" in out.reason


def test_an_escape_allows_for_its_length():
    rule, here = CubicRegularization(), point([2.0, 0.0])
    state = rule.init(here)
    rule.escaped(state, here, 10.0)
    assert state.weight == pytest.approx(0.02)
    rule.escaped(state, here, 0.1)
    assert state.weight == pytest.approx(0.02)


def test_refusals():
    for bad in ({"eta": 0.3}, {"raise_weight": 1.0}, {"lower_weight": 0.5}, {"initial_weight": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            CubicRegularization(**bad)
