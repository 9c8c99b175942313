"""Decisions of the second-order check: how far it looks, what it believes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from negopt.decisions import curvature as plain
from negopt.decisions.curvature import DOUBT, FEWEST, FLAT, NEGATIVE, POSITIVE, UNSETTLED, WIDEST

INF = math.inf
EPS = 2.0**-52


@pytest.fixture
def curvature(both):
    """The functions, as they are and compiled."""
    return both(plain)


@pytest.mark.parametrize(
    ("f", "f0", "reach", "expected"),
    [
        (3.0, 3.0, 0.0, 3.0),
        (-3.0, -3.0, 9.0, 3.0),
        (0.0, 7.0, 9.0, 7.0),  # what the run has gained
        (0.0, 1e20, 9.0, 1e20 * EPS**0.75),  # a start far away has values of its own
        (0.0, 1e6, 9.0, 81.0),
        (0.0, 1e6, 0.0, 1e6 * EPS**0.75),  # x may be zero
        (2.0, 1.0, 9.0, 2.0),  # higher than the start: nothing gained
        (2.0, -INF, 9.0, 2.0),  # no start
    ],
)
def test_energy(curvature, f, f0, reach, expected):
    assert curvature.energy(f, f0, reach, EPS) == pytest.approx(expected)


def test_length_of_a_difference(curvature):
    assert curvature.length_of_difference(1e-8, 4.0, EPS, 0.0, 0.0) == 2e-8
    assert curvature.length_of_difference(1e-8, 4.0, EPS, 1e6, 0.0) == pytest.approx(1e10 * EPS)
    assert curvature.length_of_difference(1e-8, 0.0, EPS, 0.0, 0.0) == 1e-8
    assert curvature.length_of_difference(1e-8, 4.0, EPS, 0.0, 2e-8) == 2e-4
    assert curvature.length_of_difference(1e-8, 0.0, EPS, 0.0, 2e-8) == 2e-5
    assert curvature.length_without_model(1e-8, 3.0) == 6e-6
    assert curvature.length_without_model(1e-3, 3.0) == 6e-3


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, 10e-8 * 2.0),
        ({"error": 1e-4}, 10e-4 * 2.0),
        ({"gnorm": 1e-5}, 2.0 * 1e-5 / math.sqrt(8.0) * 2.0),  # a valley floor bends
        ({"gnorm": 1e9}, WIDEST * 2.0),
        ({"energy": 0.0}, WIDEST * 2.0),
        ({"gnorm": 1e9, "unit": 1.0}, WIDEST),
        ({"asymmetry": 0.5}, 2.5),
    ],
)
def test_tolerance(curvature, changed, expected):
    values = dict(error=1e-8, largest=2.0, unit=2.0, energy=4.0, gnorm=0.0, asymmetry=0.0)
    assert curvature.tolerance_of_curvature(*(values | changed).values()) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("size", "unit", "expected"),
    [(1.0, 1.0, 1e-6), (1e-3, 1.0, 1e-9), (10.0, 1.0, 1e-6), (1e5, 2.0, 30 * EPS * 2e10)],
)
def test_tolerance_along_a_direction(curvature, size, unit, expected):
    assert curvature.along_direction(1e-6, EPS, size, unit) == pytest.approx(expected)


def test_length_against_noise(curvature):
    assert curvature.length_against_noise(1e-8, 1.9e-4, 2.0, 1.0) == 1e-8
    assert curvature.length_against_noise(1e-8, 1e-2, 2.0, 1e4) == pytest.approx(1e-4)
    assert curvature.length_against_noise(1.0, 1e-2, 2.0, 1.0) == 1.0


def test_no_curvature_at_all_is_flat(curvature):
    tolerance = curvature.tolerance_of_curvature(1e-8, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert curvature.verdict(0.0, 0.0, 0.0, tolerance, 2, 2) == FLAT


@pytest.mark.parametrize(
    ("lowest", "residual", "k", "kind"),
    [
        (-1.01e-3, 1.0, 10, NEGATIVE),  # all of it is known
        (-1.01e-3, 1.01e-4, 9, NEGATIVE),
        (-1.01e-3, 1.02e-4, 9, UNSETTLED),
        (-1e-3, 1e-3, 9, FLAT),
        (-1e-3, 1.01e-3, 9, UNSETTLED),
        (1e-3, 1.01e-3, 10, FLAT),
        (1.01e-3, 1.0, 10, POSITIVE),
        (1.01e-3, 0.0, 9, UNSETTLED),  # more could hide below it
        (1.0, 0.0, 9, POSITIVE),
        (1.0, 0.0, FEWEST - 1, UNSETTLED),
    ],
)
def test_verdict(curvature, lowest, residual, k, kind):
    assert curvature.verdict(lowest, 1.0, residual, 1e-3, k, 10) == kind


def test_the_bound_holds_for_the_worst_spectrum():
    """Lanczos from normal probes, one negative eigenvalue below a spectrum that hides it well."""
    rng, n, wrong, trials = np.random.default_rng(0), 60, 0, 400
    values = np.r_[-1e-3, 0.5 - 0.5 * np.cos(np.linspace(0.25 * math.pi, math.pi, n - 1))]
    for _ in range(trials):
        basis, q = np.zeros((0, n)), rng.standard_normal(n)
        for k in range(1, n):
            basis = np.vstack([basis, q / np.linalg.norm(q)])
            ritz = np.linalg.eigvalsh(basis * values @ basis.T)
            if ritz[0] < 0.0:
                break
            if plain.is_beyond_doubt(ritz[0], ritz[-1], k, n):
                wrong += 1
                break
            q = values * basis[-1]
            q -= basis.T @ (basis @ q)
            q -= basis.T @ (basis @ q)
    assert wrong <= DOUBT * trials


@pytest.mark.parametrize(
    ("again", "confirmed"),
    [(-1.0, True), (-0.5, True), (-2.0, True), (-0.49, False), (-2.01, False), (1.0, False)],
)
def test_confirmation(curvature, again, confirmed):
    assert curvature.confirms(again, -1.0, 1e-3) is confirmed


def test_what_is_within_the_tolerance_confirms_nothing(curvature):
    assert not curvature.confirms(-0.9e-3, -1.1e-3, 1e-3)
