"""A step of truncated conjugate gradients stays in its ellipsoid and beats the Cauchy point.

Theorem.  With ``M`` of `EllipsoidProducts` and s of `SteihaugToint` for the radius r:

1. ``||s||_M <= r``, with equality where s ends on the boundary;
2. the model falls by at least ``m(0) - m(s_C)``, s_C the minimiser along ``-M^-1 g`` in the
   ellipsoid;
3. the condition number of M is at most ``1 + 1 / ridge``: all its norms are equivalent;
4. the step for a smaller radius is where the same path crosses it: no product is taken.
"""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from negopt.core.bounds import Radius
from negopt.core.types import Iterate, Outcome, Step
from negopt.curvature.ellipsoid import EllipsoidProducts
from negopt.steps.steihaug import SteihaugToint


class Quadratic:
    """Counts the products of one matrix."""

    def __init__(self, matrix):
        self.matrix, self.calls = matrix, 0

    def products(self, iterate):
        def product(v):
            self.calls += 1
            return self.matrix @ v

        return product


def point(g):
    return Iterate(np.zeros_like(g), 0.0, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))


def case(seed, n, metric, diagonal, spread, past=3):
    """Return an operator after `past` points, its objective, the point and the dense metric."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    H = (Q * rng.uniform(-1.0, 3.0, n) * 10.0 ** rng.uniform(-2, 2, n)) @ Q.T
    H = 0.5 * (H + H.T)
    rule = EllipsoidProducts(metric=metric, diagonal=diagonal, ridge=1e-3)
    memory, objective = rule.init(np.zeros(n)), Quadratic(H)
    scales = 10.0 ** rng.uniform(-spread, spread, n)
    for _ in range(past):
        here = point(scales * rng.standard_normal(n))
        operator = rule.model(memory, objective, here)
        step = Step(here.g, 0.0, 0.0, 1.0, learnt=operator.learnt)
        rule.update(memory, here.x, here.g, Outcome(start=here, step=step))
    here = point(scales * rng.standard_normal(n))
    operator = rule.model(memory, objective, here)
    M = np.stack([operator.metric(e) for e in np.eye(n)], axis=1)
    return operator, objective, here, M


CASES = dict(
    seed=st.integers(0, 10**9),
    n=st.integers(1, 12),
    metric=st.sampled_from(["rmsprop", "adagrad", "sphere"]),
    diagonal=st.booleans(),
    spread=st.sampled_from([0.0, 1.0, 4.0]),
    radius=st.floats(-4.0, 4.0).map(lambda p: 10.0**p),
)


@settings(max_examples=200)
@given(**CASES)
def test_inside_the_ellipsoid_and_below_the_cauchy_point(seed, n, metric, diagonal, spread, radius):
    operator, objective, here, M = case(seed, n, metric, diagonal, spread)
    H, g = objective.matrix, here.g
    step = SteihaugToint().propose(here, operator, Radius(radius))
    length = np.sqrt(step.s @ M @ step.s)
    assert length <= radius * (1 + 1e-9)
    if step.on_boundary:
        assert length >= radius * (1 - 1e-6)
    np.testing.assert_allclose(step.norm, length, rtol=1e-6)
    np.testing.assert_allclose(step.euclidean, np.linalg.norm(step.s))
    size = abs(g @ step.s) + np.linalg.norm(H, 2) * step.euclidean**2
    assert abs(step.quadratic - step.s @ H @ step.s) <= 1e-8 * size
    d = -np.linalg.solve(M, g)
    bend, t = d @ H @ d, radius / np.sqrt(d @ M @ d)
    if bend > 0.0:
        t = min(t, -(g @ d) / bend)
    cauchy = -(t * (g @ d) + 0.5 * t * t * bend)
    assert -(g @ step.s + 0.5 * step.s @ H @ step.s) >= cauchy * (1 - 1e-8) - 1e-9 * size


@settings(max_examples=100)
@given(**{k: v for k, v in CASES.items() if k != "radius"})
def test_the_norms_are_equivalent(seed, n, metric, diagonal, spread):
    *_, M = case(seed, n, metric, diagonal, spread)
    assert np.allclose(M, M.T, rtol=0, atol=1e-12 * np.max(np.abs(M)))
    values = np.linalg.eigvalsh(M)
    assert 0.0 < values[-1] <= (1.0 + 1.0 / 1e-3) * (1 + 1e-6) * values[0]


@settings(max_examples=100)
@given(shrink=st.floats(0.01, 0.99), **CASES)
def test_a_smaller_radius_is_free(seed, n, metric, diagonal, spread, radius, shrink):
    operator, objective, here, _ = case(seed, n, metric, diagonal, spread)
    rule = SteihaugToint()
    rule.propose(here, operator, Radius(radius))
    calls = objective.calls
    again = rule.propose(here, operator, Radius(shrink * radius))
    assert objective.calls == calls
    fresh, *_ = case(seed, n, metric, diagonal, spread)
    afresh = rule.propose(here, fresh, Radius(shrink * radius))
    np.testing.assert_allclose(again.s, afresh.s, atol=1e-9 * afresh.euclidean)


def test_the_first_gradient_has_norm_one_whatever_its_scale() -> None:
    for scale in (1e-100, 1.0, 1e100):
        g = scale * np.array([3.0, -0.1, 1e-9])
        for diagonal in (True, False):
            rule = EllipsoidProducts(diagonal=diagonal)
            operator = rule.model(rule.init(g), Quadratic(np.eye(3)), point(g))
            unit = g / np.linalg.norm(g)
            np.testing.assert_allclose(unit @ operator.metric(unit), 1.0)
