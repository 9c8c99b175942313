"""Truncated conjugate gradients against a dense reference, and its borders."""

from __future__ import annotations

import math

import numpy as np
import pytest

from negopt.core.bounds import Radius
from negopt.core.types import Iterate
from negopt.curvature.ellipsoid import Ellipsoid, EllipsoidOperator
from negopt.steps.steihaug import SteihaugToint


def point(g):
    return Iterate(0.0 * g, 0.0, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))


def operator_of(H, diagonal=None, calls=None):
    def product(v):
        if calls is not None:
            calls.append(1)
        return H @ v

    return EllipsoidOperator(product, 0.0, Ellipsoid(diagonal=diagonal))


def textbook(H, M, g, radius, goal, limit):
    """Conn, Gould and Toint (2000), algorithm 7.5.1, in dense matrices."""
    s, r = np.zeros_like(g), g.copy()
    z = np.linalg.solve(M, r)
    p = -z
    first = r @ z
    for _ in range(limit):
        bend = p @ H @ p
        if bend > 0.0:
            t = (r @ z) / bend
            ahead = s + t * p
        if bend <= 0.0 or ahead @ M @ ahead >= radius**2:
            a, b, c = p @ M @ p, s @ M @ p, s @ M @ s - radius**2
            return s + (-b + math.sqrt(b * b - a * c)) / a * p, True
        s, r_new = ahead, r + t * (H @ p)
        z_new = np.linalg.solve(M, r_new)
        if r_new @ z_new <= goal**2 * first:
            return s, False
        p = -z_new + (r_new @ z_new) / (r @ z) * p
        r, z = r_new, z_new
    return s, False


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("indefinite", [False, True])
@pytest.mark.parametrize("radius", [1e-2, 1.0, 1e3])
def test_the_textbook_step(seed, indefinite, radius) -> None:
    rng = np.random.default_rng(seed)
    n = 8
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    H = (Q * rng.uniform(-0.5 if indefinite else 0.5, 3.0, n)) @ Q.T
    weights, g = 10.0 ** rng.uniform(-1, 1, n), rng.standard_normal(n)
    step = SteihaugToint(forcing=0.1).propose(point(g), operator_of(H, weights), Radius(radius))
    s, boundary = textbook(H, np.diag(weights), g, radius, 0.1, 50)
    assert step.on_boundary is boundary
    np.testing.assert_allclose(step.s, s, atol=1e-8 * np.linalg.norm(s))


def test_a_positive_definite_model_is_solved() -> None:
    rng = np.random.default_rng(5)
    A = rng.standard_normal((6, 6))
    H, g = A @ A.T + np.eye(6), rng.standard_normal(6)
    step = SteihaugToint(forcing=1e-10).propose(point(g), operator_of(H), Radius(1e6))
    np.testing.assert_allclose(step.s, -np.linalg.solve(H, g), rtol=1e-6)
    assert step.predicted_decrease == pytest.approx(0.5 * g @ np.linalg.solve(H, g))


def test_the_limit_on_products() -> None:
    calls = []
    H = np.diag(np.linspace(1.0, 1e4, 40))
    rule = SteihaugToint(max_products=3, forcing=1e-8)
    step = rule.propose(point(np.ones(40)), operator_of(H, calls=calls), Radius(1e6))
    assert len(calls) == 3
    assert step.predicted_decrease > 0.0


def test_products_that_are_not_finite() -> None:
    """None at all: steepest descent; a later one: the step so far."""
    g = np.array([3.0, 4.0])
    step = SteihaugToint().propose(point(g), operator_of(np.nan * np.eye(2)), Radius(0.5))
    np.testing.assert_allclose(step.s, -0.5 * g / 5.0)
    assert step.predicted_decrease > 0.0
    left = [1]

    def product(v):
        left[0] -= 1
        return np.diag([1.0, 50.0]) @ v if left[0] >= 0 else np.full(2, np.inf)

    operator = EllipsoidOperator(product, 0.0, Ellipsoid())
    step = SteihaugToint(forcing=1e-8).propose(point(g), operator, Radius(10.0))
    assert np.all(np.isfinite(step.s))
    assert step.predicted_decrease > 0.0


def test_no_curvature_goes_to_the_boundary() -> None:
    g = np.array([1.0, -2.0, 2.0])
    step = SteihaugToint().propose(point(g), operator_of(np.zeros((3, 3))), Radius(6.0))
    np.testing.assert_allclose(step.s, -2.0 * g)
    assert step.on_boundary


def test_bad_options() -> None:
    with pytest.raises(ValueError, match="max_products=0"):
        SteihaugToint(max_products=0)
    with pytest.raises(ValueError, match="forcing=1"):
        SteihaugToint(forcing=1.0)
    with pytest.raises(TypeError, match="radius"):
        SteihaugToint().propose(point(np.ones(2)), operator_of(np.eye(2)), None)
