"""Decisions at an accepted point: progress, the end of a run, what a curvature is."""

from __future__ import annotations

import math

import numpy as np
import pytest

import negopt
from negopt.decisions import endings as plain
from negopt.decisions.endings import (
    CONVERGED,
    GOES_ON,
    LIMIT,
    STALL,
    TARGET,
    UNBOUNDED,
)

INF, NAN = math.inf, math.nan
EPS = 2.0**-52


@pytest.fixture
def endings(both):
    """The functions, as they are and compiled."""
    return both(plain)


def above(x):
    return math.nextafter(x, INF)


def below(x):
    return math.nextafter(x, -INF)


@pytest.mark.parametrize(
    ("f", "gmax", "before", "progress"),
    [
        (1.0 - 2e-13, 9.0, 1.0, True),
        (1.0 - 5e-14, 9.0, 1.0, False),  # rounding
        (1.0, 0.9, 1.0, False),
        (1.0, below(0.9), 1.0, True),
        (1.0, 0.6, 1.0, True),  # a tenth less is enough
        (2.0, 0.6, 1.0, True),
        (1.0, 0.0, NAN, False),  # there was no progress to compare with
        (1.0 - 2e-13, NAN, NAN, True),
        (1.0, NAN, 1.0, False),
        (NAN, 2.0, 1.0, False),
    ],
)
def test_progress(endings, f, gmax, before, progress):
    assert endings.progresses(f, 1.0, gmax, before, EPS) is progress


def test_when_f_and_g_are_compared(endings):
    assert [i for i in range(1, 100) if endings.is_suspect(i - 1, i)] == [15, 30]
    assert endings.is_suspect(0, 50)
    assert not endings.is_suspect(30, 99)


def test_first_progress(endings):
    assert endings.progresses(1.0, NAN, 1.0, NAN, EPS)
    assert not endings.progresses(NAN, NAN, 1.0, NAN, EPS)


@pytest.mark.parametrize(
    ("f0", "most", "expected"),
    [
        (0.0, 1e308, -1e30),
        (-50.0, 1e308, -5e31),
        (1e290, 1e308, -1e300),
        (-1e300, 1e308, -1e301),
        (1e20, 1e38, -1e30),
        (-1e38, 1e38, -1e39),
    ],
)
def test_what_is_taken_for_minus_infinity(endings, f0, most, expected):
    assert endings.bottom(f0, most) == pytest.approx(expected)
    assert endings.bottom(f0, most) < f0


def test_straight_lines(endings):
    assert endings.is_straight(1.0, -1.0, -2.0)
    assert endings.is_straight(1.0, -5.0, -2.0)  # bent downwards
    assert not endings.is_straight(1.0, -0.9, -2.0)
    assert not endings.is_straight(1.0, 1.0, 0.0)
    assert not endings.is_straight(1.0, NAN, -2.0)


def test_f_and_g_disagree(endings):
    assert not endings.disagree(-1.0, -0.95, 0.0)
    assert endings.disagree(-1.0, -0.8, 0.0)
    assert not endings.disagree(-1.0, -0.8, 0.1)  # the error of the difference
    assert endings.disagree(-1.0, 0.01, 0.0)
    assert endings.disagree(0.0, 1.0, 0.0)
    assert not endings.disagree(0.0, 0.0, 0.0)
    assert not endings.disagree(-1.0, NAN, 0.0)


@pytest.mark.parametrize(
    ("f", "size", "k", "reason"),
    [
        (1.0, 1.0, 0, GOES_ON),
        (0.5, 0.0, 9, TARGET),
        (above(0.5), 0.1, 9, CONVERGED),
        (1.0, above(0.1), 8, GOES_ON),
        (1.0, above(0.1), 9, LIMIT),
        (1.0, NAN, 8, GOES_ON),
        (NAN, 0.1, 8, CONVERGED),
        (NAN, 1.0, 8, GOES_ON),
    ],
)
def test_why_a_run_is_over(endings, f, size, k, reason):
    assert endings.why_over(f, size, k, 0.1, 0.5, -INF, 9) == reason


def test_a_run_without_bound(endings):
    assert endings.why_over(-8.0, 1.0, 0, 0.1, -INF, -8.0, 9) == GOES_ON
    assert endings.why_over(below(-8.0), 1.0, 0, 0.1, -INF, -8.0, 9) == UNBOUNDED
    assert endings.why_over(-INF, 1.0, 0, 0.1, -INF, -8.0, 9) == TARGET


def test_the_end_that_is_reported(endings):
    assert endings.is_better_end(below(1.0), 0.1, 1.0, 0.1)
    assert endings.is_better_end(1.0, 0.1, 1.0, 0.1)
    assert not endings.is_better_end(above(1.0), 0.1, 1.0, 0.1)
    assert not endings.is_better_end(0.5, above(0.1), 1.0, 0.1)
    assert not endings.is_better_end(0.5, NAN, 1.0, 0.1)
    assert not endings.is_better_end(NAN, 0.0, 1.0, 0.1)


def test_units(endings):
    assert endings.units_differ(1.0, 1.0, below(0.49))
    assert not endings.units_differ(1.0, 1.0, 0.49)
    assert not endings.units_differ(below(1.0), 1.0, 0.1)
    assert not endings.units_differ(NAN, 1.0, 0.1)
    assert not endings.units_differ(1.0, NAN, 0.1)
    assert not endings.units_differ(1.0, 1.0, NAN)


def flat_value(fall):
    """Return a function whose value falls once, and whose gradient falls as x does, or never."""

    def fun(x):
        g = x if fall else np.where(x >= 0.0, 1.0, -1.0)
        return 1e17 + (64.0 if x[0] == 1.0 else 0.0), g

    return fun


@pytest.mark.parametrize("method", ["lqn-tr", "newton-krylov"])
def test_a_gradient_that_falls_slowly_is_progress(method):
    """f is rounding, and the gradient falls by a tenth in 67 trials, by half in 330."""
    options = {"maxiter": 300, "initial_trust_radius": 1e-3, "max_trust_radius": 1.5e-3}
    res = negopt.minimize(
        flat_value(True),
        np.array([1.0, 0.0]),
        jac=True,
        hessp=(lambda x, v: v) if method == "newton-krylov" else None,
        method=method,
        options={**options, "certify": False},
    )
    assert res.status == negopt.Status.LIMIT
    assert res.nit == 300


def test_a_run_without_progress_is_given_up():
    res = negopt.minimize(
        flat_value(False),
        np.array([1.0, 0.5]),
        jac=True,
        method="lqn-tr",
        options={"max_trust_radius": 1e-3, "initial_trust_radius": 5e-4, "certify": False},
    )
    assert res.status == negopt.Status.PRECISION
    assert f"in {STALL} trials" in res.message
