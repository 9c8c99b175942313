"""Decisions about pairs, models and directions, each at its guard against rounding and overflow."""

from __future__ import annotations

import math

import numpy as np
import pytest

from negopt.decisions import pairs as plain

INF, NAN = math.inf, math.nan


@pytest.fixture
def pairs(both):
    """The functions, as they are and compiled."""
    return both(plain)


@pytest.mark.parametrize(
    ("ss", "yy", "sy", "usable"),
    [
        (1.0, 1.0, -1.0, True),
        (5e-324, 1e308, 0.0, True),
        (0.0, 1.0, 0.0, False),
        (1.0, 0.0, 0.0, False),
        (INF, 1.0, 1.0, False),
        (1.0, INF, 1.0, False),
        (1.0, 1.0, INF, False),
        (NAN, 1.0, 1.0, False),
        (1.0, NAN, 1.0, False),
        (1.0, 1.0, NAN, False),
    ],
)
def test_usable(pairs, ss, yy, sy, usable):
    assert pairs.is_usable(ss, yy, sy) == usable


@pytest.mark.parametrize(
    ("ss", "yy", "sy", "storable"),
    [
        (1.0, 0.0, 0.0, True),
        (1.0, 0.9e120, 1.0, True),
        (1.0, 1.1e120, 1.0, False),
        (1.1e-200, 1e-300, 0.0, True),
        (0.9e-200, 1e-300, 0.0, False),
        (1.0, 1.0, INF, False),
        (NAN, 1.0, 1.0, False),
    ],
)
def test_storable(pairs, ss, yy, sy, storable):
    assert pairs.is_storable(ss, yy, sy) == storable


@pytest.mark.parametrize("size", [1e-150, 1.0, 1e150])
def test_positive(pairs, size):
    """The cosine decides, whatever the lengths are: their squares may not be multiplied."""
    ss, yy = size * size, 4.0 * size * size
    assert pairs.is_positive(ss, yy, 2.0 * size * size * 1.01e-8, 1e-8)
    assert not pairs.is_positive(ss, yy, 2.0 * size * size * 0.99e-8, 1e-8)
    assert not pairs.is_positive(ss, yy, 0.0, 0.0)
    assert not pairs.is_positive(ss, yy, -size * size, 1e-8)
    assert not pairs.is_positive(ss, yy, NAN, 1e-8)


def test_sr1_skip(pairs):
    """A residual that is rounding, or as good as orthogonal to w, makes no update."""
    least = plain.RESIDUAL * 2.0  # of a vector of length 2
    assert pairs.takes_sr1((1.01 * least) ** 2, 1.01 * least, 1.0, 1e-8, least)
    assert not pairs.takes_sr1((0.99 * least) ** 2, 0.99 * least, 1.0, 1e-8, least)
    for sign in (1.0, -1.0):
        assert pairs.takes_sr1(4.0, sign * 6.06e-8, 9.0, 1e-8, least)
        assert not pairs.takes_sr1(4.0, sign * 5.94e-8, 9.0, 1e-8, least)
    assert not pairs.takes_sr1(1.0, 0.0, 1.0, 0.0, least)  # whatever `skip` is
    assert not pairs.takes_sr1(1.0, 1e-310, 1.0, 0.0, least)  # v v' / v'w overflows
    assert not pairs.takes_sr1(NAN, 1.0, 1.0, 1e-8, least)
    assert not pairs.takes_sr1(1.0, NAN, 1.0, 1e-8, least)
    assert pairs.takes_sr1(1e300, 1e300, 1e300, 1e-8, least)


@pytest.mark.parametrize(
    ("sy", "scale"),
    [
        (4.0, 0.9 * 4.0 / 16.0),
        (-4.0, 0.5),
        (0.0, 0.5),
        (0.9e-12 * 8.0, 0.5),
        (1.1e-12 * 8, 4.95e-13),
    ],
)
def test_the_first_scale_of_sr1(pairs, sy, scale):
    """0.9 s'y / y'y, or ||s|| / ||y|| where s'y is not positive beyond rounding."""
    assert pairs.sr1_scale(4.0, 16.0, sy) == pytest.approx(scale, rel=1e-12)


def test_scales(pairs):
    assert pairs.bfgs_scale(16.0, 4.0) == 0.25
    assert pairs.unit_scale(4.0) == 0.25
    for gnorm in (0.0, INF, NAN):
        assert pairs.unit_scale(gnorm) == 1.0


def test_choice_between_the_models(pairs):
    # e = H_free g, d = H_bfgs g: cosines 0.5 and 0.4, of lengths that differ widely
    assert pairs.takes_free(0.5e-9, 1e-18, 0.4e9, 1e18, False)
    assert pairs.takes_free(-0.5e-9, 1e-18, 0.4e9, 1e18, False)
    assert not pairs.takes_free(0.3e-9, 1e-18, 0.4e9, 1e18, False)
    assert not pairs.takes_free(0.5, 1.0, 0.5, 1.0, False)  # of two alike, that of BFGS
    assert not pairs.takes_free(NAN, NAN, 0.5, 1.0, False)
    assert pairs.takes_free(1e-9, 1.0, 0.5, 1.0, True)
    assert not pairs.takes_free(-0.9, 1.0, 0.5, 1.0, True)


def test_directions(pairs):
    assert pairs.is_direction(0.0, 1.0, 1.0)
    for bad in (
        (NAN, 1.0, 1.0),
        (1.0, 0.0, 1.0),
        (1.0, INF, 1.0),
        (1.0, 1.0, INF),
        (1.0, 1.0, 0.0),
    ):
        assert not pairs.is_direction(*bad)
    for sign in (1.0, -1.0):
        assert pairs.is_orthogonal(sign * 1e-8 * 6.0, 2.0, 3.0, 1e-8)
        assert not pairs.is_orthogonal(sign * 1.01e-8 * 6.0, 2.0, 3.0, 1e-8)
    # g = (2, 0), d = (0, 3): the tilted direction makes twice the least angle
    d = np.array([-pairs.tilt(2.0, 3.0, 1e-3) * 2.0, 3.0])
    assert -d[0] / np.linalg.norm(d) == pytest.approx(2e-3, rel=1e-5)


@pytest.mark.parametrize(
    ("norm", "last", "factor"),
    [
        (100.0, 0.0, 0.01),
        (0.5, 0.0, 1.0),
        (100.0, 2.0, 0.2),
        (5.0, 2.0, 1.0),
        (1e300, 1e-10, 1e-309),
    ],
)
def test_first_trial(pairs, norm, last, factor):
    assert pairs.first_trial(norm, last, 10.0) == pytest.approx(factor, rel=1e-12)


def test_noise_of_a_search(pairs):
    eps = 2.0**-52
    full = pairs.search_noise(-2.0, -2.0, eps)
    assert full == pytest.approx(2e-13, rel=1e-3)  # the one rule of noise.py
    # what f has risen by is no longer to be had
    assert pairs.search_noise(-2.0, -2.0 - 0.25 * full, eps) == pytest.approx(0.75 * full, rel=1e-2)
    assert pairs.search_noise(-2.0, -2.0 - 1.1 * full, eps) == 0.0
    assert pairs.search_noise(0.0, 0.0, eps) == 0.0
    assert pairs.search_noise(1.0, 1.0, 2.0**-23) == pytest.approx(450 * 2.0**-23)


def test_displacements_that_x_may_not_resolve(pairs):
    assert pairs.is_unresolved(1e-8, 1.0)
    assert not pairs.is_unresolved(1.1e-8, 1.0)
    assert pairs.is_unresolved(0.0, 0.0)
    assert pairs.is_unresolved(1.0, NAN)  # where the length of x is not known
