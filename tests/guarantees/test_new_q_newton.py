"""A step of "new-q-newton" is bounded, descends by Armijo's rule, and saddles repel it.

Theorem.  Let ``t = c ||g||^(1 + alpha)``, with c = 1 or a constant of the run, ``A_j = H + j
spacing t I``, and j the first of 0 ... n with ``min |eig(A_j)| >= spacing t / 2``.

1. There is such a j.
2. ``s = -sum (v_i'g / |a_i|) v_i`` with the eigenpairs of A_j; ``||s|| <= 2 ||g|| / (spacing t)``.
3. In a run with backtracking each step satisfies Armijo's condition with c1 = 1/3, so that f falls,
   and the run ends at a stationary point; at a minimiser where H is regular the rate is quadratic.
4. Beside a strict saddle the iterates go away from it, without the second-order check.
5. ``line_search=False`` is ``x + s``, the method without backtracking.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import negopt
from negopt.core.types import Iterate
from negopt.curvature.dense import DenseOperator
from negopt.steps.sfn_exact import NewQNewton

EPS = np.finfo(float).eps


def point(g):
    return Iterate(np.zeros_like(g), 0.0, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))


def reference(H, g, t, spacing):
    """The step and the shift, by a loop over dense matrices."""
    n = len(g)
    for j in range(n + 1):
        A = H + j * spacing * t * np.eye(n)
        values, vectors = np.linalg.eigh(A)
        if np.min(np.abs(values)) >= 0.5 * spacing * t * (1 - 1e-12):
            break
    else:
        raise AssertionError("no shift")
    v = np.linalg.solve(A, g)  # flipped where A is negative
    negative = vectors[:, values < 0.0]
    return -(v - 2.0 * negative @ (negative.T @ v)), j


@settings(max_examples=200)
@given(
    n=st.integers(1, 15),
    seed=st.integers(0, 10**9),
    alpha=st.sampled_from([0.5, 1.0, 2.0]),
    spacing=st.sampled_from([1e-4, 1e-2, 1.0]),
    worst=st.booleans(),
)
def test_the_step(n, seed, alpha, spacing, worst):
    """Also where the eigenvalues lie so that each rules out the next shift."""
    rng = np.random.default_rng([seed, n])
    V = np.linalg.qr(rng.standard_normal((n, n)))[0]
    g = rng.standard_normal(n)
    t = np.linalg.norm(g) ** (1.0 + alpha)
    values = rng.standard_normal(n)
    if worst:
        values = -(np.arange(n) + 0.3 * rng.uniform(-1, 1, n)) * spacing * t
    H = (V * values) @ V.T
    H = (H + H.T) / 2
    rule = NewQNewton(alpha=alpha, spacing=spacing, units="absolute")
    step = rule.propose(point(g), DenseOperator(H, H), None)
    expected, j = reference(H, g, t, spacing)
    if worst:
        assert j == n
    np.testing.assert_allclose(step.s, expected, atol=1e-6 * np.linalg.norm(expected))
    assert np.linalg.norm(step.s) <= 2 * np.linalg.norm(g) / (spacing * t) * (1 + 1e-6)
    assert step.slope < 0.0
    assert step.slope == pytest.approx(g @ expected, rel=1e-6)


@settings(max_examples=50)
@given(n=st.integers(1, 8), seed=st.integers(0, 10**6), power=st.integers(-20, 20))
def test_the_scale_of_f_does_not_matter(n, seed, power):
    rng = np.random.default_rng([seed, n])
    A = rng.standard_normal((n, n))
    A, g, c = A + A.T, rng.standard_normal(n), 4.0**power
    rule = NewQNewton(spacing=0.1)
    largest, gnorm = np.max(np.abs(np.linalg.eigvalsh(A))), np.linalg.norm(g)
    kept: list = [(), ()]
    for shrink in (1.0, 0.5):  # the second gradient is measured against the first
        plain = rule.propose(point(shrink * g), DenseOperator(A, A, *kept[0]), None)
        B = c * A
        scaled = rule.propose(point(c * shrink * g), DenseOperator(B, B, *kept[1]), None)
        np.testing.assert_array_equal(plain.s, scaled.s)
        kept = [(largest, gnorm), (c * largest, c * gnorm)]
    t = np.max(np.abs(np.linalg.eigvalsh(A))) * 0.25
    expected, _ = reference(A, 0.5 * g, t, 0.1)
    np.testing.assert_allclose(plain.s, expected, rtol=1e-7, atol=1e-9)


@settings(max_examples=40)
@given(
    family=st.sampled_from(["quartic", "logcosh", "sine", "net"]),
    n=st.integers(1, 10),
    seed=st.integers(0, 10**6),
    options=st.fixed_dictionaries(
        {},
        optional={
            "alpha": st.sampled_from([0.5, 2.0]),
            "spacing": st.sampled_from([1e-3, 1.0]),
            "units": st.just("absolute"),
        },
    ),
)
def test_runs_descend_by_armijos_rule(random_function, family, n, seed, options):
    function = random_function(family, n, seed)
    x = 2.0 * np.random.default_rng(seed).standard_normal(function.n)
    seen = []
    res = negopt.minimize(
        function.fun,
        x,
        jac=function.grad,
        hessp=function.hessp,
        method="new-q-newton",
        callback=lambda intermediate_result: seen.append(intermediate_result),
        options={"maxiter": 300, "certify": False, "gtol": 1e-6, **options},
    )
    for one in seen:
        f, slope = function.fun(x), function.grad(x) @ (one.x - x)
        if one.accepted and -slope > 1e5 * EPS * abs(f):
            assert one.fun <= f + slope / 3.0 + 1e-9 * abs(slope)
            assert np.log2(one.step_size) == round(np.log2(one.step_size))  # halved from 1
        x = one.x
    if not options:
        assert res.success, res.message


def test_the_rate_at_a_minimiser_is_quadratic():
    A = np.diag([1.0, 2.0, 5.0])
    res = negopt.minimize(
        lambda x: float(x @ A @ x / 2 + np.sum(x**4) / 4),
        [0.9, -0.7, 0.5],
        jac=lambda x: A @ x + x**3,
        hess=lambda x: A + np.diag(3 * x**2),
        method="new-q-newton",
        options={"gtol": 1e-13, "return_all": True, "certify": False, "spacing": 1.0},
    )
    assert res.success
    assert res.nit <= 8
    errors = [np.linalg.norm(x) for x in res.allvecs]
    for e, after in itertools.pairwise(errors):
        assert after <= 5.0 * e**2 + 1e-15


@settings(max_examples=60)
@given(n=st.integers(2, 8), seed=st.integers(0, 10**6), offset=st.floats(-8, 0))
def test_generic_starts_do_not_end_at_saddles(n, seed, offset):
    """Double wells: 3^k stationary points, 2^k of them minimisers; no certificate, no escape."""
    rng = np.random.default_rng([seed, n])
    wells = np.arange(n) < rng.integers(1, n + 1)
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]

    def fun(x):
        z = Q.T @ x
        return float(np.sum(np.where(wells, z**4 / 4 - z**2 / 2, z**2)))

    def grad(x):
        z = Q.T @ x
        return Q @ np.where(wells, z**3 - z, 2 * z)

    def hess(x):
        z = Q.T @ x
        return (Q * np.where(wells, 3 * z**2 - 1, 2.0)) @ Q.T

    res = negopt.minimize(
        fun,
        10.0**offset * rng.standard_normal(n),
        jac=grad,
        hess=hess,
        method="new-q-newton",
        options={"certify": False, "gtol": 1e-11},
    )
    assert res.success, res.message
    assert res.n_escapes == 0
    assert np.linalg.eigvalsh(hess(res.x))[0] > 1.0
    assert res.fun == pytest.approx(-0.25 * np.sum(wells))


def test_without_backtracking_it_is_the_plain_iteration():
    def fun(x):
        return float(np.sum(x**4) / 4 - x[0] ** 2 / 2 + 0.3 * x[0] * x[1])

    def grad(x):
        return x**3 + np.array([-x[0] + 0.3 * x[1], 0.3 * x[0]])

    def hess(x):
        return np.diag(3 * x**2) + np.array([[-1.0, 0.3], [0.3, 0.0]])

    x = np.array([0.3, 0.4])
    path = [x]
    for _ in range(8):
        g = grad(x)
        x = x + reference(hess(x), g, np.linalg.norm(g) ** 2, 1.0)[0]
        path.append(x)
    assert np.max(np.diff([fun(x) for x in path])) > 0.0  # it may rise
    res = negopt.minimize(
        fun,
        path[0],
        jac=grad,
        hess=hess,
        method="new-q-newton",
        options={
            "variant": "no backtracking",
            "maxiter": 8,
            "gtol": 0.0,
            "return_all": True,
            "certify": False,
        },
    )
    np.testing.assert_allclose(res.allvecs, path, rtol=1e-8, atol=1e-10)
