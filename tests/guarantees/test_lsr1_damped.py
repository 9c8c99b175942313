"""The repaired limited-memory model is positive definite and its direction keeps an angle with -g.

Theorem.  Let B have the eigenvalues l_i and let L be the largest ``|l_i|``.  "shift" takes
``B + t I`` with the least t >= 0 that makes all eigenvalues at least ``delta L``, "flip" the
values ``max(|l_i|, delta L)``, "clip" ``max(l_i, delta L)``.  Then ``d = -A^-1 g`` satisfies

    -g'd >= 2 sqrt(k) / (1 + k) ||g|| ||d||  (Kantorovich),

with k the condition number of A, at most ``1 + 2/delta``.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import negopt
from negopt.core.types import Iterate
from negopt.curvature.lsr1 import LSR1
from negopt.steps.damped import Damped


def here(g):
    return Iterate(np.zeros_like(g), 0.0, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))


def model(seed, n, count, maxcor):
    """Return an operator taught with pairs of an indefinite matrix, and B itself."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n))
    A = A + A.T
    rule = LSR1(maxcor=maxcor)
    memory = rule.init(np.zeros(n))
    for s in rng.standard_normal((count, n)):
        rule.update(memory, s, A @ s + 0.1 * rng.standard_normal(n))
    g = rng.standard_normal(n)
    operator = rule.model(memory, None, here(g))
    B = np.stack([operator.matvec(e) for e in np.eye(n)], axis=1)
    return operator, 0.5 * (B + B.T), g


def repaired(B, repair, delta):
    """Return A from the dense matrix."""
    values, vectors = np.linalg.eigh(B)
    least = delta * np.max(np.abs(values))
    if repair == "shift":
        return B + max(0.0, least - values[0]) * np.eye(len(B))
    values = np.maximum(np.abs(values) if repair == "flip" else values, least)
    return (vectors * values) @ vectors.T


@settings(max_examples=200)
@given(
    seed=st.integers(0, 10**9),
    n=st.integers(1, 14),
    count=st.integers(0, 8),
    maxcor=st.sampled_from([2, 5]),
    repair=st.sampled_from(["shift", "flip", "clip"]),
    delta=st.sampled_from([1e-4, 1e-2, 0.3, 1.0]),
)
def test_direction(seed, n, count, maxcor, repair, delta):
    operator, B, g = model(seed, n, count, maxcor)
    step = Damped(repair=repair, delta=delta).propose(here(g), operator, None)
    A = repaired(B, repair, delta)
    k = np.linalg.cond(A)
    assert k <= (1.0 + 2.0 / delta) * (1 + 1e-8)
    expected = -np.linalg.solve(A, g)
    np.testing.assert_allclose(step.s, expected, atol=1e-6 * np.linalg.norm(expected))
    assert step.slope == pytest.approx(g @ step.s, rel=1e-9)
    assert step.norm == pytest.approx(np.linalg.norm(step.s))
    bound = 2.0 * np.sqrt(k) / (1.0 + k)
    assert -step.slope >= bound * np.linalg.norm(g) * step.norm * (1 - 1e-6)


@settings(max_examples=50)
@given(seed=st.integers(0, 10**9), n=st.integers(2, 12))
def test_a_positive_definite_model_is_left_alone(seed, n):
    rng = np.random.default_rng(seed)
    rule = LSR1(maxcor=n, gamma=10.0)
    memory = rule.init(np.zeros(n))
    scales = rng.uniform(1.0, 4.0, n)
    for s in np.eye(n):
        rule.update(memory, s, scales * s)
    g = rng.standard_normal(n)
    operator = rule.model(memory, None, here(g))
    for repair in ("shift", "flip", "clip"):
        step = Damped(repair=repair, delta=1e-3).propose(here(g), operator, None)
        np.testing.assert_allclose(step.s, -g / scales, rtol=1e-8)


@pytest.mark.parametrize("repair", ["shift", "flip", "clip"])
def test_it_finishes_in_many_variables(repair):
    """Dense damping cost the source an eigendecomposition of size n; this one is of size 2m."""
    n = 20000
    weights = np.linspace(1.0, 10.0, n)

    res = negopt.minimize(
        lambda x: float(np.sum(weights * (x * x - 1.0) ** 2)) / 4.0,
        np.full(n, 0.3),
        jac=lambda x: weights * x * (x * x - 1.0),
        method="lsr1-damped",
        options={"repair": repair, "maxiter": 100, "certify": False},
    )
    assert res.success
    np.testing.assert_allclose(np.abs(res.x), 1.0, atol=1e-4)


@pytest.mark.parametrize("options", [{"repair": "x"}, {"delta": 0.0}, {"delta": 2.0}])
def test_options_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Damped(**options)
