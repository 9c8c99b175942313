"""Pair models, basis factors and triangular solves on Gram matrices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negopt import kernels


def rows(seed, count, n, *, rank=None):
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((2 * count, n)) * 10.0 ** rng.uniform(-4, 4, (2 * count, 1))
    if rank is not None:
        span = np.linalg.qr(rng.standard_normal((n, n)))[0][:, :rank]
        Z = Z @ span @ span.T
    return Z


def factor_of(Z, drop=1e-11):
    gram = Z @ Z.T
    factor, kept = np.empty_like(gram), np.zeros(len(Z), dtype=np.int64)
    k, loss = kernels.basis_factor(gram, drop, factor, kept)
    return factor, kept, k, loss


@settings(max_examples=100)
@given(seed=st.integers(0, 10**9), count=st.integers(1, 6), n=st.integers(1, 14))
def test_basis_factor(seed, count, n):
    """Q = Z_kept' R^-1 is orthonormal, and spans every row."""
    Z = rows(seed, count, n)
    factor, kept, k, loss = factor_of(Z)
    assert k == min(2 * count, n)
    assert loss > 0.0
    assert len(set(kept[:k])) == k
    R = factor[:k][:, kept[:k]]
    np.testing.assert_array_equal(R, np.triu(R))
    Q = np.linalg.solve(R.T, Z[kept[:k]])
    condition = np.linalg.cond(Z[kept[:k]] / np.linalg.norm(Z[kept[:k]], axis=1)[:, None])
    np.testing.assert_allclose(Q @ Q.T, np.eye(k), atol=1e-13 * condition**2)
    sizes = np.linalg.norm(Z, axis=1)
    np.testing.assert_allclose((Z - factor[:k].T @ Q) / sizes[:, None], 0.0, atol=1e-5)


@settings(max_examples=150)
@given(
    seed=st.integers(0, 10**9),
    count=st.integers(1, 8),
    n=st.integers(2, 12),
    rank=st.integers(1, 6),
)
def test_basis_of_dependent_rows_says_how_good_it_is(seed, count, n, rank):
    """More rows than directions: Q is orthonormal to about the loss it returns."""
    Z = rows(seed, count, n, rank=min(rank, n))
    factor, kept, k, loss = factor_of(Z)
    R = factor[:k][:, kept[:k]]
    Q = np.linalg.solve(R.T, Z[kept[:k]])
    assert loss > 0.0
    np.testing.assert_allclose(Q @ Q.T, np.eye(k), atol=30.0 * loss + 1e-13)


def test_zero_and_repeated_rows_add_no_direction():
    Z = np.zeros((4, 5))
    Z[0, 0], Z[2, 0], Z[3, 1] = 2.0, 3.0, 1.0
    factor, kept, k, _loss = factor_of(Z)
    assert k == 2
    assert sorted(kept[:2]) == [2, 3]  # the newest pair
    np.testing.assert_allclose(factor[:2, 0], [2.0, 0.0])  # row 0 lies in the span
    assert factor_of(np.zeros((2, 3)))[2] == 0


@settings(max_examples=50)
@given(seed=st.integers(0, 10**9), count=st.integers(1, 5))
def test_solve_kept(seed, count):
    factor, kept, k, _ = factor_of(rows(seed, count, 12))
    R = factor[:k][:, kept[:k]]
    w = np.random.default_rng(seed).standard_normal(k)
    for transposed, matrix in ((False, R), (True, R.T)):
        x = kernels.solve_kept(factor, kept, k, w, transposed)
        np.testing.assert_allclose(matrix @ x, w, atol=1e-8)
        assert x is not w


@settings(max_examples=80)
@given(
    seed=st.integers(0, 10**9),
    k=st.integers(1, 9),
    lowest=st.sampled_from([-1.0, -1e-3, 0.0, 1e-3, 1.0]),
    power=st.integers(-40, 40),
)
def test_solve_definite(seed, k, lowest, power):
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((k, k)))[0]
    values = rng.uniform(1.0, 10.0, k)
    values[0] = lowest
    A = (Q * values) @ Q.T
    A = 2.0**power * (A + A.T) / 2
    b, out = rng.standard_normal(k), np.empty(k)
    if kernels.solve_definite(A, b, out):
        assert lowest > 0 or (lowest == 0 and np.linalg.eigvalsh(A)[0] > -1e-13 * 2.0**power * 10)
    if lowest > 0:
        assert kernels.solve_definite(A, b, out)
        np.testing.assert_allclose(A @ out, b, atol=1e-10 * np.linalg.norm(b))
    elif lowest < 0:
        assert not kernels.solve_definite(A, b, out)


def model(Z, gamma, rule, skip=1e-8):
    gram = Z @ Z.T
    core, used = np.empty_like(gram), np.zeros(len(Z) // 2, dtype=np.int64)
    kernels.pair_model(gram, gamma, rule, skip, core, used)
    return gamma * np.eye(Z.shape[1]) + Z.T @ core @ Z, used


def test_pair_model_takes_the_update_that_fits():
    e = np.eye(3)
    positive, negative = np.stack([e[0], 2 * e[0] + e[1]]), np.stack([e[0], -3 * e[0] + e[1]])
    for Z, hybrid, bfgs in ((positive, 2, 2), (negative, 1, 0)):
        for rule, expected in (
            (kernels.SR1_PAIRS, 1),
            (kernels.HYBRID_PAIRS, hybrid),
            (kernels.BFGS_PAIRS, bfgs),
        ):
            B, used = model(Z, 1.0, rule)
            assert used[0] == expected
            np.testing.assert_allclose(B, B.T, atol=1e-15)
            if expected:
                np.testing.assert_allclose(B @ Z[0], Z[1], atol=1e-14)
            else:
                np.testing.assert_array_equal(B, np.eye(3))
            if expected == 2:
                assert np.linalg.eigvalsh(B)[0] > 0


def test_pair_model_skips():
    e = np.eye(3)
    B, used = model(np.stack([e[0], e[0] + e[1]]), 1.0, kernels.SR1_PAIRS)  # r's = 0
    assert used[0] == 0
    np.testing.assert_array_equal(B, np.eye(3))
    _, used = model(np.stack([e[0], 1.01 * e[0] + e[1]]), 1.0, kernels.SR1_PAIRS, 0.1)
    assert used[0] == 0
    _, used = model(np.stack([e[0], 1.01 * e[0] + e[1]]), 1.0, kernels.SR1_PAIRS, 0.001)
    assert used[0] == 1


@pytest.mark.parametrize("rule", [0, 1, 2])
def test_pair_model_of_many_pairs_is_symmetric(rule):
    for seed in range(20):
        B, _ = model(rows(seed, 4, 9), 1.0, rule)
        np.testing.assert_allclose(B, B.T, atol=1e-9 * np.linalg.norm(B))
