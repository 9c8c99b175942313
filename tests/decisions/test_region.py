"""Decisions of the trust region and on what is rounding, each at its guard."""

from __future__ import annotations

import math

import numpy as np
import pytest

import negopt
from negopt.decisions import noise
from negopt.decisions import region as plain

INF, NAN = math.inf, math.nan
EPS = 2.0**-52


@pytest.fixture
def region(both):
    """The functions, as they are and compiled."""
    return both(plain)


def above(x):
    return math.nextafter(x, INF)


def below(x):
    return math.nextafter(x, -INF)


def test_rounding():
    assert noise.rounding(-3.0, EPS) == 1350.0 * EPS
    assert noise.rounding(0.0, EPS) == 0.0
    assert noise.rounding(1e-300, EPS) > 0.0
    assert noise.rounding(INF, EPS) == INF
    assert math.isnan(noise.rounding(NAN, EPS))


@pytest.mark.parametrize(
    ("f", "trial", "lowest", "blurred"),
    [
        (8.0, 8.0, 8.0, True),
        (8.0, 9.0, 8.0, True),  # the change is as large as rounding
        (8.0, above(9.0), 8.0, False),
        (8.0, 7.0, 8.0, True),
        (8.0, below(7.0), 8.0, False),
        (8.0, 8.0, 7.0, True),  # within rounding of the lowest value
        (8.0, above(8.0), 7.0, False),
        (8.0, 8.0, below(7.0), False),
        (8.0, 8.5, 7.4, False),
        (8.0, NAN, 8.0, False),
        (8.0, 8.0, NAN, False),
        (8.0, INF, 8.0, False),
        (8.0, -INF, 8.0, False),
        (8.0, 8.0, INF, True),
    ],
)
def test_when_the_slopes_decide(region, f, trial, lowest, blurred):
    assert region.is_blurred(f, trial, 1.0, lowest) is blurred


def test_the_ratio_of_a_decrease_that_is_none(region):
    assert region.ratio(1.0, 2.0) == 0.5
    assert region.ratio(-1.0, 2.0) == -0.5
    assert region.ratio(0.0, 5e-324) == 0.0
    assert region.ratio(-INF, 1.0) == -INF
    for predicted in (0.0, -0.0, -5e-324, -1.0, INF, NAN):
        assert math.isnan(region.ratio(1.0, predicted))


def test_poor_and_good_steps(region):
    assert not region.is_poor(0.1, 1e-4)
    assert region.is_poor(below(0.1), 1e-4)
    assert region.is_poor(0.2, 0.2)  # not accepted
    assert not region.is_poor(above(0.2), 0.2)
    assert region.is_poor(NAN, 1e-4)
    assert region.is_poor(-INF, 1e-4)
    assert not region.is_poor(INF, 1e-4)
    assert not region.grows(0.75, 1.0, 1.0)
    assert region.grows(above(0.75), 1.0, 1.0)
    assert not region.grows(1.0, 0.8, 1.0)
    assert region.grows(1.0, above(0.8), 1.0)
    assert not region.grows(NAN, 1.0, 1.0)
    assert not region.grows(1.0, NAN, 1.0)


@pytest.mark.parametrize(
    ("started", "slope", "change", "factor"),
    [
        (True, -1.0, 9.0, 0.5),
        (False, -1.0, 9.0, 0.05),  # -slope / (2 (change - slope))
        (False, -1.0, 0.0, 0.5),
        (False, -1.0, above(0.0), 0.5),
        (False, -1.0, 1e9, 1e-6),
        (False, -1.0, -0.5, 0.5),  # the parabola's minimiser is the step itself
        (False, -1.0, -2.0, 0.5),  # no parabola
        (False, 0.0, 1.0, 0.5),
        (False, 1.0, 9.0, 0.5),
        (False, NAN, 1.0, 0.5),
        (False, -1.0, NAN, 0.5),
        (False, -1.0, INF, 0.5),
        (False, -INF, 1.0, 0.5),
    ],
)
def test_a_first_radius_goes_down_to_the_parabola(region, started, slope, change, factor):
    assert region.shrink_factor(0.5, started, slope, change) == pytest.approx(factor)


@pytest.mark.parametrize("method", ["lqn-tr", "lsr1-tr", "newton-krylov", "sr1-tr"])
def test_f_does_not_creep_up_on_the_word_of_a_wrong_gradient(method):
    """Each increase is rounding, and the gradient promises a decrease: they must not add up."""
    n, highest = 3, 1.0

    def fun(x):
        return 1.0 + 5e-15 * float(x.sum())

    def jac(x):  # of another function, which falls where fun grows
        return x - 1e4

    def accepted(intermediate_result):
        nonlocal highest
        highest = max(highest, intermediate_result.fun)

    options = {"maxiter": 200, "maxfun": 1000, "max_trust_radius": 2.0, "certify": False}
    negopt.minimize(
        fun,
        np.zeros(n),
        jac=jac,
        hessp=(lambda x, v: v) if method == "newton-krylov" else None,
        method=method,
        callback=accepted,
        options=options,
    )
    # Once more where a run that is stuck starts afresh.
    assert highest <= 1.0 + 2.0 * noise.rounding(1.0, EPS)
