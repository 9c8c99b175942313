"""Steps from all eigenvalues: what replaces them where they fail, options, every library."""

from __future__ import annotations

import numpy as np
import pytest

from negopt.core.bounds import Damping, damping_in
from negopt.core.types import Iterate, Outcome
from negopt.curvature.dense import DenseHessian, DenseOperator, HessianMemory
from negopt.steps.sfn_exact import NewQNewton, SaddleFreeExact

G = np.array([3.0, 0.0, -4.0])
RULES = [SaddleFreeExact(), NewQNewton()]


def point(g):
    return Iterate(np.zeros_like(g), 0.0, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))


def exact(H):
    return DenseOperator(H, H)


def test_a_damping_has_a_unit():
    assert damping_in(None, 7.0) == 0.0
    assert damping_in(Damping(0.5), 8.0) == 4.0
    assert damping_in(Damping(0.5, absolute=True), 8.0) == 0.5
    assert type(damping_in(Damping(0.5, absolute=True), 8.0)) is float


@pytest.mark.parametrize("rule", RULES, ids=["exact", "new-q-newton"])
@pytest.mark.parametrize("H", [np.zeros((3, 3)), np.full((3, 3), np.nan)], ids=["zero", "nan"])
def test_no_curvature_gives_a_unit_gradient_step(rule, H):
    step = rule.propose(point(G), exact(H), None)
    np.testing.assert_allclose(step.s, -G / 5.0)
    assert (step.slope, step.norm) == (pytest.approx(-5.0), pytest.approx(1.0))
    assert step.predicted_decrease > 0.0


def test_without_curvature_damping_shortens_the_step():
    """Or a rejected step would be tried again."""
    lengths = [
        SaddleFreeExact().propose(point(G), exact(np.zeros((3, 3))), d).norm
        for d in (Damping(0.0), Damping(1.0), Damping(9.0), Damping(45.0, absolute=True))
    ]
    assert lengths == pytest.approx([1.0, 0.5, 0.1, 0.1])


def test_small_eigenvalues_are_replaced_as_in_the_source():
    H = np.diag([2.0, -4e-4, 1e-5])
    rule = SaddleFreeExact(threshold=5.2e-4, replacement=1.54e-4)
    step = rule.propose(point(np.ones(3)), exact(H), Damping(0.0))
    np.testing.assert_allclose(step.s, [-0.5, -1 / 1.54e-4, -1 / 1.54e-4])
    plain = SaddleFreeExact().propose(point(np.ones(3)), exact(H), Damping(0.0))
    np.testing.assert_allclose(plain.s, [-0.5, -1 / 4e-4, -1e5])


def test_the_floor_is_a_share_of_the_largest():
    step = SaddleFreeExact(floor=1e-2).propose(
        point(np.ones(3)), exact(np.diag([-8.0, 1.0, 0.0])), Damping(0.0)
    )
    np.testing.assert_allclose(step.s, [-1 / 8, -1.0, -1 / 0.08])


def test_the_unit_of_new_q_newton_is_kept():
    """The scale of H at the start, and the largest gradient so far."""
    rule, curvature, memory = NewQNewton(), DenseHessian(), HessianMemory()
    for scale, g, kept in ((2.0, G, (2.0, 5.0)), (9.0, 3 * G, (2.0, 15.0)), (9.0, G, (2.0, 15.0))):
        H = np.diag([1.0, -1.0, 0.5]) * scale
        operator = DenseOperator(H, H, memory.scale, memory.gnorm)
        step = rule.propose(point(g), operator, None)
        curvature.update(memory, g, g, Outcome(start=point(g), step=step))
        assert (memory.scale, memory.gnorm) == kept


@pytest.mark.parametrize(
    ("rule", "options"),
    [
        (SaddleFreeExact, {"floor": -1.0}),
        (SaddleFreeExact, {"floor": 1.0}),
        (SaddleFreeExact, {"threshold": -1.0}),
        (SaddleFreeExact, {"replacement": np.inf}),
        (NewQNewton, {"alpha": 0.0}),
        (NewQNewton, {"spacing": 0.0}),
        (NewQNewton, {"units": "si"}),
    ],
)
def test_options_out_of_range(rule, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        rule(**options)


@pytest.mark.parametrize("rule", RULES, ids=["exact", "new-q-newton"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_array_library(xp_case, rule, dtype):
    A = np.random.default_rng(1).standard_normal((3, 3))
    A = A + A.T
    host = rule.propose(point(G), exact(A), Damping(0.1))
    Ax, gx = xp_case.asarray(A, dtype), xp_case.asarray(G, dtype)
    here = Iterate(xp_case.asarray(np.zeros(3), dtype), 0.0, gx, 5.0, 4.0)
    step = rule.propose(here, exact(Ax), Damping(0.1))
    assert xp_case.owns(step.s)
    assert step.s.dtype == gx.dtype
    tolerance = 1e-9 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(xp_case.to_numpy(step.s), host.s, rtol=tolerance, atol=tolerance)
    assert step.slope == pytest.approx(host.slope, rel=tolerance)
    assert step.quadratic == pytest.approx(host.quadratic, rel=tolerance)
