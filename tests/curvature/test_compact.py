"""The memory of pairs and the operator ``gamma I + Q T Q'`` made of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from negopt import kernels
from negopt._types import Iterate
from negopt.curvature.compact import CompactOperator, new_pair_memory, store_pair
from negopt.curvature.lqn import HybridPairs
from negopt.curvature.lsr1 import LSR1, initial_scaling


def pairs(seed, n, count):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n))
    return [(s, (A + A.T) @ s) for s in rng.standard_normal((count, n))]


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**9),
    capacity=st.integers(1, 5),
    n=st.integers(1, 8),
    count=st.integers(0, 13),
)
def test_ring_of_pairs(seed, capacity, n, count):
    """The last m pairs stay, oldest first, and the Gram matrix is theirs."""
    memory = new_pair_memory(np.zeros(n), capacity)
    given_pairs = pairs(seed, n, count)
    for s, y in given_pairs:
        assert store_pair(memory, s, y, 20)
    last = given_pairs[-capacity:]
    assert len(memory.order) == len(last)
    for slot, (s, y) in zip(memory.order, last, strict=True):
        np.testing.assert_array_equal(memory.rows[2 * slot], s)
        np.testing.assert_array_equal(memory.rows[2 * slot + 1], y)
    used = 2 * len(last)
    Z = memory.rows[:used]
    np.testing.assert_allclose(memory.gram[:used, :used], Z @ Z.T, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(memory.gram, memory.gram.T)


@pytest.mark.parametrize(
    ("s", "y"),
    [
        ([0.0, 0.0], [1.0, 1.0]),
        ([np.nan, 1.0], [1.0, 1.0]),
        ([1.0, 1.0], [np.inf, 1.0]),
        ([1.0, 1.0], [np.nan, 1.0]),
    ],
)
def test_unusable_pairs_are_turned_away(s, y):
    memory = new_pair_memory(np.zeros(2), 3)
    store_pair(memory, np.ones(2), np.ones(2), 20)
    before = memory.rows.copy()
    assert not store_pair(memory, np.array(s), np.array(y), 20)
    np.testing.assert_array_equal(memory.rows, before)
    assert memory.order == [0]
    assert len(memory.curvatures) == 1


def test_scaling_rules():
    memory = new_pair_memory(np.zeros(1), 2)
    assert initial_scaling(memory, "max", 3.0) == 3.0  # ||g||: a first step of length 1
    assert initial_scaling(memory, "max", 0.0) == 1.0
    store_pair(memory, np.array([2.0]), np.array([-10.0]), 3)
    assert initial_scaling(memory, "max", 3.0) == 5.0  # ||y|| / ||s||
    for curvature in (100.0, 1.0, 4.0, 16.0):
        store_pair(memory, np.array([1.0]), np.array([curvature]), 3)
    store_pair(memory, np.array([1.0]), np.array([-7.0]), 3)
    assert memory.curvatures == [1.0, 4.0, 16.0]  # the last three positive ones
    assert initial_scaling(memory, "max", 3.0) == 16.0
    assert initial_scaling(memory, "mean", 3.0) == pytest.approx(4.0)
    assert initial_scaling(memory, "last", 3.0) == 32.0
    assert initial_scaling(memory, 0.25, 3.0) == 0.25


@pytest.mark.parametrize("rule", [LSR1(maxcor=3), HybridPairs(maxcor=3)])
def test_reset_forgets_all(rule):
    memory = rule.init(np.zeros(4))
    assert not rule.reset(memory)
    for s, y in pairs(0, 4, 5):
        rule.update(memory, s, y)
    assert rule.reset(memory)
    assert memory.order == []
    assert memory.curvatures == []
    g = np.array([3.0, 0.0, 4.0, 0.0])
    operator = rule.operator(memory, None, Iterate(np.zeros(4), 0.0, g, 5.0, 4.0))
    assert operator.k == 0
    np.testing.assert_array_equal(operator.matvec(g), 5.0 * g)
    for s, y in pairs(1, 4, 2):  # and learns again
        rule.update(memory, s, y)
    operator = rule.operator(memory, None, Iterate(np.zeros(4), 0.0, g, 5.0, 4.0))
    np.testing.assert_allclose(operator.matvec(s), y, atol=1e-9)


@pytest.mark.parametrize(
    ("rule", "options"),
    [
        (LSR1, {"maxcor": 0}),
        (LSR1, {"maxcor": 2.5}),
        (LSR1, {"gamma": "biggest"}),
        (LSR1, {"gamma": 0.0}),
        (LSR1, {"gamma": float("nan")}),
        (LSR1, {"skip": 1.0}),
        (LSR1, {"skip": -1e-8}),
        (HybridPairs, {"remember": 0}),
    ],
)
def test_options_out_of_range(rule, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        rule(**options)


@settings(max_examples=150)
@given(
    seed=st.integers(0, 10**9),
    capacity=st.integers(1, 8),
    rank=st.integers(1, 20),
    extra=st.integers(0, 20),
    rule=st.sampled_from([kernels.SR1_PAIRS, kernels.HYBRID_PAIRS]),
)
@example(seed=100, capacity=6, rank=10, extra=10, rule=1)  # several small pivots
@example(seed=31, capacity=4, rank=6, extra=10, rule=1)  # one direction that is rounding
@example(seed=144, capacity=8, rank=16, extra=11, rule=1)
@example(seed=100, capacity=6, rank=4, extra=10, rule=0)
def test_basis_is_orthonormal_however_dependent_the_pairs(seed, capacity, rank, extra, rule):
    rng = np.random.default_rng(seed)
    n = rank + extra
    span = np.linalg.qr(rng.standard_normal((n, n)))[0][:, :rank]
    A = (span * (10.0 ** rng.uniform(-2, 2, rank) * rng.choice([-1, 1], rank))) @ span.T
    memory = new_pair_memory(np.zeros(n), capacity)
    s = span @ rng.standard_normal(rank)
    for _ in range(capacity + 2):
        s = 0.3 * s + 10.0 ** rng.uniform(-3, 0) * span @ rng.standard_normal(rank)
        y = A @ s
        store_pair(memory, s, y + rng.choice([0, 1e-6]) * np.linalg.norm(y) * s, 20)
    operator = CompactOperator(memory, 1.0, rule, 1e-8, s)
    Q = np.zeros((n, operator.k))
    for i, e in enumerate(np.eye(operator.k)):
        Q[:, i] = operator.expand(e, 0.0, s)
    np.testing.assert_allclose(Q.T @ Q, np.eye(operator.k), atol=1e-6)
    Z = memory.rows[: 2 * len(memory.order)]
    if rule == kernels.SR1_PAIRS:  # the generators of what is in use
        Z = (Z[1::2] - Z[::2])[np.array(memory.order)[operator.used == 1]]
        assert len(Z) == operator.k or operator.identity
    if not len(Z):
        return
    lost = np.linalg.norm(Z - Z @ Q @ Q.T, axis=1) / np.linalg.norm(Z, axis=1)
    assert np.max(lost) <= 2e-3
    assert operator.full == (operator.k == n)


@settings(max_examples=80)
@given(
    seed=st.integers(0, 10**9),
    n=st.integers(1, 16),
    count=st.integers(0, 4),
    gamma=st.sampled_from([-2.0, 0.5, 3.0]),
)
def test_operator(seed, n, count, gamma):
    """Projection, expansion, products, solves and the eigenbasis belong to one matrix."""
    memory = new_pair_memory(np.zeros(n), 4)
    for s, y in pairs(seed, n, count):
        store_pair(memory, s, y, 20)
    operator = CompactOperator(memory, gamma, kernels.SR1_PAIRS, 1e-8, np.zeros(n))
    B = np.stack([operator.matvec(e) for e in np.eye(n)], axis=1)
    values = np.linalg.eigvalsh((B + B.T) / 2)
    size = np.max(np.abs(values))
    v = np.random.default_rng(seed).standard_normal(n)
    inside, outside, rest = operator.split(v, float(np.linalg.norm(v)))
    assert inside @ inside + outside**2 == pytest.approx(v @ v, rel=1e-6)
    if operator.k:
        Q = np.stack([operator.expand(e, 0.0, v) for e in np.eye(operator.k)], axis=1)
        np.testing.assert_allclose(Q.T @ Q, np.eye(operator.k), atol=1e-7)
        np.testing.assert_allclose(Q.T @ v, inside, atol=1e-7 * np.linalg.norm(v))
        if rest is not None:
            np.testing.assert_allclose(v - Q @ inside, rest, atol=1e-12 * np.linalg.norm(v))
    mine = np.sort(np.append(operator.eigen[0], [gamma] * (n - operator.k)))
    np.testing.assert_allclose(mine, values, atol=1e-6 * size)
    if np.min(np.abs(values)) > 1e-4 * size:
        w = operator.solve(v, absolute=False)
        np.testing.assert_allclose(B @ w, v, atol=1e-4 * np.linalg.norm(v))
        lam, vectors = np.linalg.eigh((B + B.T) / 2)
        expected = vectors @ ((vectors.T @ v) / np.abs(lam))
        w = operator.solve(v, absolute=True)
        np.testing.assert_allclose(w, expected, atol=1e-4 * np.linalg.norm(expected))
    assert v @ operator.solve(v, absolute=True) > 0


def test_solve_keeps_a_singular_model_away_from_zero():
    memory = new_pair_memory(np.zeros(3), 2)
    e = np.eye(3)
    store_pair(memory, e[0], 0.0 * e[0], 20)  # B e_0 = 0
    operator = CompactOperator(memory, 2.0, kernels.SR1_PAIRS, 1e-8, e[0])
    w = operator.solve(np.ones(3), absolute=True, floor=1e-3)
    np.testing.assert_allclose(w, [500.0, 0.5, 0.5], rtol=1e-9)


@pytest.mark.parametrize("rule", [kernels.SR1_PAIRS, kernels.HYBRID_PAIRS])
def test_split_of_a_vector_almost_inside(rule):
    memory = new_pair_memory(np.zeros(30), 2)
    s, y = np.random.default_rng(0).standard_normal((2, 30))
    store_pair(memory, s, y, 20)
    operator = CompactOperator(memory, 2.0, rule, 1e-8, s)
    out = np.linalg.qr(np.stack([s, y, np.ones(30)], axis=1))[0][:, 2]
    inside = y - 2.0 * s
    for share in (1e-2, 1e-5, 1e-8, 1e-11):
        v = inside + share * out
        outside = operator.split(v, float(np.linalg.norm(v)))[1]
        assert outside == pytest.approx(share, rel=max(1e-6, 1e-14 / share))
    assert operator.split(inside, float(np.linalg.norm(inside)))[1] == 0.0


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("rule", [kernels.SR1_PAIRS, kernels.HYBRID_PAIRS])
@pytest.mark.parametrize("n", [4, 11])
def test_every_array_library(xp_case, dtype, rule, n):
    memory = new_pair_memory(xp_case.asarray(np.zeros(n), dtype), 3)
    assert xp_case.owns(memory.rows)
    given_pairs = pairs(4, n, 5)
    for s, y in given_pairs:
        assert store_pair(memory, xp_case.asarray(s, dtype), xp_case.asarray(y, dtype), 20)
    assert isinstance(memory.gram, np.ndarray)
    assert memory.gram.dtype == np.float64
    rows = xp_case.to_numpy(memory.rows).astype(float)
    np.testing.assert_allclose(memory.gram, rows @ rows.T, rtol=1e-12, atol=1e-12)
    x = xp_case.asarray(np.ones(n), dtype)
    operator = CompactOperator(memory, 2.0, rule, 1e-8, x)
    tolerance = 1e-10 if dtype == "float64" else 1e-4
    back = operator.solve(operator.matvec(x), absolute=False)
    assert xp_case.owns(back)
    assert back.dtype == x.dtype
    np.testing.assert_allclose(xp_case.to_numpy(back), 1.0, atol=100 * tolerance)
