"""The newest pair obeys the secant equation; a pair that is turned away changes nothing.

Theorem.  Let (s, y) be the newest pair that was stored.

1. The limited-memory model satisfies ``B s = y``, and the dense inverse ``H y = s``.
2. A pair that is turned away (BFGS: one without positive curvature; all: one that the model knows
   already) leaves the model as it was.
3. If all pairs are convex, ``s'y > 0``, and enter by BFGS, B is positive definite.
4. With ``block`` above 1 the model of hybrid pairs satisfies the secant equations of all pairs
   of the block, ``B S = Y``, where S'Y is symmetric, as on every quadratic.
5. On a quadratic the SR1 model of n independent pairs is the Hessian.

That B is the matrix that the textbook updates make of gamma I, pair after pair, is tested in
``tests/models/test_limited.py``.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from negopt.core.types import Iterate, Outcome
from negopt.curvature.inverse import symmetric
from negopt.curvature.lbfgs import LBFGS
from negopt.curvature.lqn import HybridPairs
from negopt.curvature.lsr1 import LSR1
from negopt.curvature.sr1 import SR1


def here(n):
    return Iterate(np.zeros(n), 0.0, np.ones(n), float(np.sqrt(n)), 1.0)


def columns(operator, n):
    return np.stack([operator.matvec(e) for e in np.eye(n)], axis=1)


def random_pairs(seed, n, count, noise, *, convex=False):
    """Return pairs of a random symmetric matrix, with an error of relative size `noise`."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n))
    A = A @ A.T + 0.1 * np.eye(n) if convex else A + A.T
    out = []
    for _ in range(count):
        s = rng.standard_normal(n) * 10.0 ** rng.uniform(-6, 2)
        error = noise * np.linalg.norm(s) * rng.standard_normal(n)
        out.append((s, A @ s + error))
    return out


RULES = [
    LSR1(maxcor=5),
    LSR1(maxcor=3, gamma=1.0),
    LSR1(maxcor=4, gamma="last"),
    HybridPairs(maxcor=5, block=1),
    HybridPairs(maxcor=3, gamma="max"),
    HybridPairs(maxcor=4, gamma=0.5),
    LBFGS(maxcor=3),
]


@settings(max_examples=150)
@given(
    rule=st.sampled_from(RULES),
    seed=st.integers(0, 10**9),
    n=st.integers(1, 12),
    count=st.integers(1, 9),
    noise=st.sampled_from([0.0, 0.1, 1.0]),
)
def test_newest_pair(rule, seed, n, count, noise):
    memory = rule.init(np.zeros(n))
    newest = None
    for pair in random_pairs(seed, n, count, noise):
        if rule.update(memory, *pair):
            newest = pair
    assume(newest is not None)
    s, y = newest
    assume(memory.block < 2 or noise == 0.0)
    operator = rule.model(memory, None, here(n))
    B = columns(operator, n)
    size = np.linalg.norm(y) + np.linalg.norm(B, 2) * np.linalg.norm(s)
    assert np.linalg.norm(B @ s - y) <= 1e-6 * size
    assert np.linalg.norm(B - B.T) <= 1e-6 * np.linalg.norm(B)


@settings(max_examples=100)
@given(
    rule=st.sampled_from([LBFGS(maxcor=4), HybridPairs(maxcor=4), HybridPairs(maxcor=4, block=1)]),
    seed=st.integers(0, 10**9),
    n=st.integers(1, 12),
    count=st.integers(1, 9),
)
def test_convex_pairs_keep_the_model_positive_definite(rule, seed, n, count):
    memory = rule.init(np.zeros(n))
    for s, y in random_pairs(seed, n, count, 0.0, convex=True):
        assert rule.update(memory, s, y)
    B = columns(rule.model(memory, None, here(n)), n)
    assert np.linalg.eigvalsh(0.5 * (B + B.T))[0] > 0.0


@settings(max_examples=50)
@given(seed=st.integers(0, 10**9), n=st.integers(2, 12), count=st.integers(0, 4))
def test_pairs_that_are_turned_away(seed, n, count):
    rng = np.random.default_rng(seed)
    rule = LBFGS()
    memory = rule.init(np.zeros(n))
    for s, y in random_pairs(seed, n, count, 0.0, convex=True):
        rule.update(memory, s, y)
    before = repr(memory)
    s, y = rng.standard_normal((2, n))
    for wrong in (-abs(s @ y) / (s @ y) * y if s @ y else -s, 0.0 * s, np.full(n, np.nan)):
        assert not rule.update(memory, s, wrong)
    assert not rule.update(memory, 0.0 * s, y)
    assert repr(memory) == before


@pytest.mark.parametrize(
    "rule",
    [
        LSR1(maxcor=5, gamma=2.0),
        HybridPairs(maxcor=5, gamma=2.0),
        LSR1(maxcor=5, gamma=2.0, skip=0.99),
    ],
)
@pytest.mark.parametrize("kind", ["known", "orthogonal", "telling"])
def test_a_concave_pair_that_the_model_knows_is_turned_away(rule, kind):
    """The residual ``y - Bs`` is rounding, or orthogonal to s; judged by what was measured."""
    rng = np.random.default_rng(8)
    n = 9
    A = -np.diag(np.linspace(1.0, 4.0, n))
    memory = rule.init(np.zeros(n))
    for s in rng.standard_normal((3, n)):
        assert rule.update(memory, s, A @ s)
    g = rng.standard_normal(n)
    start = Iterate(np.zeros(n), 0.0, g, float(np.linalg.norm(g)), float(np.abs(g).max()))
    operator = rule.model(memory, None, start)
    B = columns(operator, n)
    step = operator.trust_step(start, 0.5)
    if step.learnt is None:
        pytest.skip("by the spectrum")
    r = rng.standard_normal(n)
    r -= step.s * (r @ step.s) / (step.s @ step.s)
    y = B @ step.s + {"known": 0.0, "orthogonal": 1.0, "telling": 1.0}[kind] * r
    if kind == "telling":
        y = y - 0.5 * step.s
    assert step.s @ y < 0.0
    end = g + y
    trial = Iterate(step.s, -1.0, end, float(np.linalg.norm(end)), float(np.abs(end).max()))
    outcome = Outcome(start, step, trial, step.s, accepted=True)
    stored = rule.update(memory, step.s, y, outcome)
    assert stored == (kind == "telling" and rule.skip < 0.5)
    if not stored:
        np.testing.assert_array_equal(columns(rule.model(memory, None, start), n), B)


@settings(max_examples=100)
@given(
    seed=st.integers(0, 10**9),
    n=st.integers(1, 10),
    count=st.integers(1, 12),
    h0=st.sampled_from(["scaled", "identity"]),
)
def test_dense_inverse(seed, n, count, h0):
    rule = SR1(h0=h0)
    memory = rule.init(np.zeros(n))
    for s, y in random_pairs(seed, n, count, 0.3):
        before = None if memory.matrix is None else symmetric(memory.matrix)
        kept = rule.update(memory, s, y)
        H = None if memory.matrix is None else symmetric(memory.matrix)
        if not kept:
            if before is not None:
                np.testing.assert_array_equal(H, before)
            continue
        size = np.linalg.norm(s) + np.linalg.norm(H, 2) * np.linalg.norm(y)
        assert np.linalg.norm(H @ y - s) <= 1e-11 * size


@settings(max_examples=50)
@given(seed=st.integers(0, 10**9), n=st.integers(2, 10))
def test_skipped_pairs_leave_the_dense_inverse(seed, n):
    rng = np.random.default_rng(seed)
    rule = SR1(skip=1e-10)
    memory = rule.init(np.zeros(n))
    for s, y in random_pairs(seed, n, 3, 0.3):
        rule.update(memory, s, y)
    H = symmetric(memory.matrix)
    y = rng.standard_normal(n)
    v = rng.standard_normal(n) * np.linalg.norm(H @ y)
    for _ in range(3):
        v -= y * (v @ y) / (y @ y)
    assert not rule.update(memory, H @ y + v, y)  # the denominator v'y is zero
    np.testing.assert_array_equal(symmetric(memory.matrix), H)
    assert not rule.update(memory, H @ y, y)  # the secant equation holds already
    np.testing.assert_array_equal(symmetric(memory.matrix), H)
    assert not rule.update(memory, np.zeros(n), y)
    assert not rule.update(memory, y, np.zeros(n))
    np.testing.assert_array_equal(symmetric(memory.matrix), H)


@settings(max_examples=30)
@given(seed=st.integers(0, 10**9), n=st.integers(1, 8))
def test_quadratics_are_learnt_in_n_pairs(seed, n):
    """SR1 on a quadratic: after n independent pairs the inverse and the compact B are exact."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    values = rng.uniform(0.5, 4.0, n) * rng.choice([-1, 1], n)
    A = (Q * values) @ Q.T
    dense, limited = SR1(), LSR1(maxcor=n, gamma=10.0)
    inverse, memory = dense.init(np.zeros(n)), limited.init(np.zeros(n))
    for s in np.linalg.qr(rng.standard_normal((n, n)))[0]:
        assume(dense.update(inverse, s, A @ s))
        limited.update(memory, s, A @ s)
    H = symmetric(inverse.matrix)
    assume(np.linalg.norm(H, 2) < 1e3)
    np.testing.assert_allclose(H @ A, np.eye(n), atol=1e-6)
    operator = limited.model(memory, None, here(n))
    np.testing.assert_allclose(columns(operator, n), A, atol=1e-6)


@settings(max_examples=100)
@given(
    seed=st.integers(0, 10**9),
    n=st.integers(2, 30),
    count=st.integers(2, 8),
    window=st.integers(2, 6),
    convex=st.booleans(),
)
def test_blocks_on_quadratics(seed, n, count, window, convex):
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    A = (Q * rng.uniform(0.1 if convex else -1.0, 3.0, n)) @ Q.T
    rule = HybridPairs(maxcor=8, gamma=0.7, block=window)
    memory = rule.init(np.zeros(n))
    pairs = []
    for _ in range(count):
        s = rng.standard_normal(n) * 10.0 ** rng.uniform(-3, 2)
        pairs.append((s, A @ s))
        assert rule.update(memory, *pairs[-1])
    B = columns(rule.model(memory, None, here(n)), n)
    size = np.linalg.norm(B, 2)
    assume(size < 1e3)
    for s, y in pairs[count - max(memory.block, 1) :]:
        assert np.linalg.norm(B @ s - y) <= 1e-6 * size * np.linalg.norm(s)
    if convex:
        assert np.linalg.eigvalsh(B)[0] > 0.0


def test_a_block_holds_more_than_the_newest_equation():
    """What plain BFGS forgets of a quadratic and the block keeps."""
    rng = np.random.default_rng(3)
    A = np.diag(np.linspace(1.0, 4.0, 12))
    pairs = [(s, A @ s) for s in rng.standard_normal((4, 12))]

    def errors(block):
        rule = HybridPairs(maxcor=6, block=block)
        memory = rule.init(np.zeros(12))
        for s, y in pairs:
            rule.update(memory, s, y)
        operator = rule.model(memory, None, here(12))
        return [np.linalg.norm(operator.matvec(s) - y) / np.linalg.norm(y) for s, y in pairs]

    assert max(errors(block=4)) < 1e-12
    assert max(errors(block=1)) > 1e-2
    assert errors(block=1)[-1] < 1e-12


@pytest.mark.parametrize("rule", [LSR1(maxcor=4), HybridPairs(maxcor=4, block=1), SR1()])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_array_library(xp_case, rule, dtype):
    n = 7
    x = xp_case.asarray(np.zeros(n), dtype)
    memory = rule.init(x)
    for s, y in random_pairs(11, n, 5, 0.2):
        s, y = xp_case.asarray(s, dtype), xp_case.asarray(y, dtype)
        assert rule.update(memory, s, y)
    g = xp_case.asarray(np.ones(n), dtype)
    operator = rule.model(memory, None, Iterate(x, 0.0, g, math.sqrt(n), 1.0))
    tolerance = 1e-9 if dtype == "float64" else 1e-3
    if isinstance(rule, SR1):
        assert xp_case.owns(memory.matrix)
        H = np.triu(xp_case.to_numpy(memory.matrix).astype(float))
        H = H + np.triu(H, 1).T
        s, y = (xp_case.to_numpy(v).astype(float) for v in (s, y))
        assert np.linalg.norm(H @ y - s) <= 10 * tolerance * np.linalg.norm(s)
        return
    product, solved = operator.matvec(s), operator.solve(y)
    for found, expected in ((product, y), (solved, s)):
        assert xp_case.owns(found)
        assert found.dtype == x.dtype
        found, expected = (xp_case.to_numpy(v).astype(float) for v in (found, expected))
        assert np.linalg.norm(found - expected) <= tolerance * np.linalg.norm(expected)
