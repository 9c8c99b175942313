"""The dense SR1 matrix is the textbook's, exact on quadratics after n pairs; the step is optimal.

Theorem.  Let B be updated by ``B + rr'/r's`` with ``r = y - Bs``, skipped where
``|s'r| < skip ||s|| ||r||``.

1. B is symmetric, and ``B s = y`` for the newest pair used.
2. On a quadratic with Hessian A, n independent pairs that are used make B = A.
3. The trust-region step satisfies ``(B + sigma I) s = -g`` with ``B + sigma I`` positive
   semidefinite and ``sigma (radius - ||s||) = 0``; with units D the same in ``s / D``.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import negopt
from negopt.core.bounds import Radius
from negopt.core.types import Iterate, Outcome
from negopt.curvature.inverse import symmetric
from negopt.curvature.sr1_matrix import MatrixMemory, MatrixOperator, SR1Matrix
from negopt.steps.spectral_tr import SpectralTrustRegion


def here(g, x=None):
    x = np.zeros_like(g) if x is None else x
    return Iterate(x, 0.0, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))


@settings(max_examples=100)
@given(
    seed=st.integers(0, 10**9),
    n=st.integers(1, 9),
    count=st.integers(1, 12),
    noise=st.sampled_from([0.0, 0.5]),
)
def test_update(seed, n, count, noise):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n))
    A = A + A.T
    rule = SR1Matrix()
    memory = rule.init(np.zeros(n))
    B = None
    for _ in range(count):
        s = rng.standard_normal(n)
        y = A @ s + noise * rng.standard_normal(n)
        if B is None:
            sy, ratio = s @ y, np.linalg.norm(y) / np.linalg.norm(s)
            B = np.eye(n) * (y @ y / (0.9 * sy) if sy > 0 else ratio)
        else:
            B = symmetric(memory.matrix)
        r = y - B @ s
        kept = rule.update(memory, s, y)
        if not kept:
            np.testing.assert_array_equal(symmetric(memory.matrix), B)
            continue
        new = symmetric(memory.matrix)
        expected = B + np.outer(r, r) / (r @ s)
        size = np.linalg.norm(expected, 2)
        np.testing.assert_allclose(new, expected, atol=1e-9 * size)
        assert np.linalg.norm(new @ s - y) <= 1e-9 * size * np.linalg.norm(s)


@settings(max_examples=50)
@given(seed=st.integers(0, 10**9), n=st.integers(1, 8))
def test_quadratics_are_learnt_in_n_pairs(seed, n):
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    A = (Q * (rng.uniform(0.5, 4.0, n) * rng.choice([-1, 1], n))) @ Q.T
    rule = SR1Matrix()
    memory = rule.init(np.zeros(n))
    biggest = 0.0
    for s in np.linalg.qr(rng.standard_normal((n, n)))[0]:
        assume(rule.update(memory, s, A @ s))
        biggest = max(biggest, np.linalg.norm(symmetric(memory.matrix), 2))
    assume(biggest < 1e4)
    np.testing.assert_allclose(symmetric(memory.matrix), A, atol=1e-7 * biggest)


@settings(max_examples=150)
@given(
    seed=st.integers(0, 10**9),
    n=st.integers(1, 9),
    radius=st.floats(-3, 3).map(lambda e: 10.0**e),
    spread=st.sampled_from([0.0, 3.0]),
    hard=st.booleans(),
)
def test_step_is_optimal(seed, n, radius, spread, hard):
    rng = np.random.default_rng(seed)
    small = rng.standard_normal((n, n))
    small = small + small.T
    units = 10.0 ** rng.uniform(-spread, spread, n)
    inside = rng.standard_normal(n)
    if hard:  # no part of g along the lowest eigenvector
        low = np.linalg.eigh(small)[1][:, 0]
        inside -= low * (low @ inside)
        assume(np.linalg.norm(inside) > 1e-6)
    g = inside / units
    operator = MatrixOperator(small, units if spread else None)
    if not spread:
        units = np.ones(n)
        g = inside
    step = SpectralTrustRegion().propose(here(g), operator, Radius(radius))
    z = step.s / units
    assert step.norm == pytest.approx(np.linalg.norm(z), rel=1e-9)
    assert step.length == pytest.approx(np.linalg.norm(step.s), rel=1e-9)
    assert step.norm <= radius * (1 + 1e-9)
    # sigma from the equation itself
    residual = -(inside + small @ z)
    sigma = (residual @ z) / (z @ z)
    scale = np.linalg.norm(inside) + np.linalg.norm(small, 2) * np.linalg.norm(z)
    assert np.linalg.norm(residual - sigma * z) <= 1e-6 * scale
    assert np.linalg.eigvalsh(small)[0] + sigma >= -1e-6 * (np.linalg.norm(small, 2) + abs(sigma))
    if step.norm < radius * (1 - 1e-9):
        assert abs(sigma) * np.linalg.norm(z) <= 1e-6 * scale


def test_the_operator_speaks_the_users_units():
    small = np.array([[2.0, 1.0], [1.0, -3.0]])
    units = np.array([10.0, 0.1])
    operator = MatrixOperator(small, units)
    B = small / np.outer(units, units)
    v = np.array([1.0, -2.0])
    np.testing.assert_allclose(operator.matvec(v), B @ v)
    np.testing.assert_allclose(operator.solve(v), np.linalg.solve(B, v))


def test_units_are_seen_at_the_start_and_forgotten_by_a_reset():
    rule = SR1Matrix()
    x = np.array([500.0, 1e-4])
    g = np.array([1e-3, 4e3])
    memory = rule.init(x)
    operator = rule.model(memory, None, here(g, x))
    np.testing.assert_array_equal(operator.units, x)
    # the first step, in these units, has length 1
    step = SpectralTrustRegion().propose(here(g, x), operator, Radius(10.0))
    assert step.norm == pytest.approx(1.0)
    s, y = np.array([1.0, 1e-5]), np.array([1e-4, 20.0])
    assert rule.update(memory, s, y, Outcome(start=here(g, x)))
    np.testing.assert_array_equal(memory.units, x)
    assert rule.reset(memory)
    assert memory == MatrixMemory()
    assert rule.model(memory, None, here(np.ones(2), np.ones(2))).units is None


@pytest.mark.parametrize("options", [{"b0": "x"}, {"units": "x"}, {"skip": 1.0}])
def test_options_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SR1Matrix(**options)


def test_it_leaves_saddles_by_itself():
    """Negative curvature met on the way is in the model: no second-order check is needed."""
    res = negopt.minimize(
        lambda x: float(x[0] ** 4 / 4 - x[0] ** 2 / 2 + x[1] ** 2 / 2),
        [1e-4, 1.0],
        jac=lambda x: np.array([x[0] ** 3 - x[0], x[1]]),
        method="sr1-tr",
        options={"certify": False, "gtol": 1e-8},
    )
    assert res.success
    assert res.fun == pytest.approx(-0.25)
