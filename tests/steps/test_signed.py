"""Directions of indefinite models: sign, tilt, flips, and what is not finite."""

from __future__ import annotations

import numpy as np
import pytest

from negopt.core.types import Iterate
from negopt.curvature.inverse import DenseInverse
from negopt.steps.signed import Signed


def point(g):
    return Iterate(np.zeros_like(g), 0.0, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))


def inverse(matrix):
    return DenseInverse(np.asarray(matrix, dtype=float), 1.0)


def test_direction_keeps_the_models_sign():
    g = np.array([1.0, 2.0])
    step = Signed().propose(point(g), inverse(np.diag([1.0, -3.0])), None)
    np.testing.assert_array_equal(step.s, [-1.0, 6.0])
    assert step.slope == 11.0  # ascends: the search goes backwards
    assert step.quadratic == -11.0  # d'Bd = -g'd
    assert step.norm == pytest.approx(np.sqrt(37.0))


def test_eigen_always_descends():
    g = np.array([1.0, 2.0])
    step = Signed(flip="eigen").propose(point(g), inverse(np.diag([1.0, -3.0])), None)
    np.testing.assert_allclose(step.s, [-1.0, -6.0])
    assert step.slope < 0


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_orthogonal_directions_are_tilted_to_descent(sign):
    g = np.array([1.0, 0.0])
    matrix = [[sign * 1e-6, 1.0], [1.0, 0.0]]
    step = Signed(angle=1e-3).propose(point(g), inverse(matrix), None)
    cos = -step.slope / np.linalg.norm(step.s)
    assert cos == pytest.approx(2e-3, rel=1e-2)
    np.testing.assert_allclose(abs(step.s[1]), 1.0)


def test_no_tilt_with_angle_zero():
    g = np.array([1.0, 0.0])
    step = Signed(angle=0.0).propose(point(g), inverse([[1e-6, 1.0], [1.0, 0.0]]), None)
    np.testing.assert_array_equal(step.s, [-1e-6, -1.0])


@pytest.mark.parametrize(
    "matrix", [np.full((2, 2), np.nan), np.zeros((2, 2)), np.diag([np.inf, 1])]
)
def test_a_useless_model_gives_the_gradient(matrix):
    g = np.array([1.0, 2.0])
    with np.errstate(invalid="ignore"):
        step = Signed().propose(point(g), inverse(matrix), None)
    np.testing.assert_array_equal(step.s, -g)
    assert step.slope == pytest.approx(-5.0)


@pytest.mark.parametrize(
    "options", [{"flip": "x"}, {"angle": -1.0}, {"angle": 0.5}, {"floor": 0.0}, {"floor": 1.0}]
)
def test_options_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Signed(**options)
