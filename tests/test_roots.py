"""Roots of models: ``L L' = |B|^-1``, in whatever units the variables are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from negopt.algebra.roots import DenseRoot, DiagonalRoot, ScaledRoot, SymmetricRoot


def matrix_of(root, n):
    eye = np.eye(n)
    L = np.stack([root.step(e) for e in eye], axis=1)
    back = np.stack([root.slope(e) for e in eye], axis=1)
    np.testing.assert_allclose(L.T, back, rtol=1e-12)
    return L


def symmetric(n, seed, negative=0):
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.standard_normal((n, n)))
    values = 10.0 ** rng.uniform(-1.0, 1.0, n)
    values[:negative] *= -1.0
    return (q * values) @ q.T


@pytest.mark.parametrize("inverse", [False, True])
def test_of_a_positive_definite_matrix(inverse):
    B = symmetric(6, 0)
    L = matrix_of(DenseRoot(np.linalg.inv(B) if inverse else B, inverse=inverse), 6)
    np.testing.assert_allclose(L.T @ B @ L, np.eye(6), atol=1e-12)


@given(
    n=st.integers(1, 8),
    seed=st.integers(0, 10**6),
    inverse=st.booleans(),
    decades=st.floats(0.0, 6.0),
)
def test_units_do_not_matter(n, seed, inverse, decades):
    B = symmetric(n, seed)
    d = 10.0 ** np.random.default_rng(seed).uniform(-decades, decades, n)
    changed = B * d * d[:, None] if inverse else B / d / d[:, None]
    first, second = DenseRoot(B, inverse=inverse), DenseRoot(changed, inverse=inverse)
    L = matrix_of(first, n)
    error = 1e-8 * np.max(np.abs(L / first.scale[:, None]))
    np.testing.assert_allclose(
        matrix_of(second, n) / second.scale[:, None], L / first.scale[:, None], atol=error
    )
    np.testing.assert_allclose(second.scale / d, first.scale, rtol=1e-9)


def test_an_indefinite_matrix_becomes_plus_or_minus_one():
    B = symmetric(7, 3, 2)
    L = matrix_of(DenseRoot(B, inverse=False), 7)
    values = np.linalg.eigvalsh(L.T @ B @ L)
    np.testing.assert_allclose(values, [-1.0, -1.0, 1.0, 1.0, 1.0, 1.0, 1.0])


@pytest.mark.parametrize(
    "B",
    [
        np.zeros((2, 2)),
        np.array([[0.0, 1.0], [1.0, 0.0]]),
        np.array([[1e-20, 1.0], [1.0, 1.0]]),
        np.diag([1e-200, 1.0, 1e200]),
        np.diag([0.0, 4.0]),
    ],
)
def test_hard_diagonals(B):
    root = DenseRoot(B, inverse=False)
    L = matrix_of(root, len(B))
    assert np.isfinite(L).all()
    assert (root.scale > 0.0).all()
    assert np.linalg.matrix_rank(L / root.scale[:, None]) == len(B)


def test_units_of_a_root():
    units = np.array([10.0, 0.1])
    dense = DenseRoot(np.diag([4.0, 9.0]), inverse=False, units=units)
    np.testing.assert_allclose(dense.step(np.ones(2)), units * [0.5, 1.0 / 3.0])
    root = ScaledRoot(SymmetricRoot(lambda v: 2.0 * v, 2.0), units)
    np.testing.assert_allclose(root.step(np.ones(2)), 2.0 * units)
    np.testing.assert_allclose(root.slope(np.ones(2)), 2.0 * units)
    np.testing.assert_allclose(root.scale, 2.0 * units)
    diagonal = DiagonalRoot(units)
    np.testing.assert_allclose(diagonal.slope(diagonal.step(np.ones(2))), units**2)
