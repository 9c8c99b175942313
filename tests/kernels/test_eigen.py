"""Small symmetric matrices: eigenvalues and solves, against LAPACK."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negopt import kernels

KINDS = {
    "random": lambda rng, k: rng.standard_normal(k),
    "clustered": lambda rng, k: 1.0 + 1e-12 * rng.standard_normal(k),
    "double": lambda rng, k: rng.choice([-1.0, 1.0], k),
    "deficient": lambda rng, k: rng.choice([0.0, 1.0], k) * rng.standard_normal(k),
    "graded": lambda rng, k: 10.0 ** rng.uniform(-20, 0, k),
    "zero": lambda rng, k: np.zeros(k),
}


def matrix(seed, k, kind, scale):
    rng = np.random.default_rng(seed)
    if kind in KINDS:
        Q = np.linalg.qr(rng.standard_normal((k, k)))[0]
        A = (Q * KINDS[kind](rng, k)) @ Q.T
    elif kind == "diagonal":
        A = np.diag(rng.standard_normal(k))
    elif kind == "tridiagonal":
        A = np.diag(np.ones(k - 1), 1) + np.diag(np.ones(k - 1), -1)
    elif kind == "sparse":
        A = rng.standard_normal((k, k)) * (rng.random((k, k)) < 0.2)
    else:
        D = 10.0 ** (np.linspace(0, -12, k) if kind == "falling" else np.linspace(-12, 0, k))
        A = rng.standard_normal((k, k)) * np.outer(D, D)
    return scale * 0.5 * (A + A.T)


def padded(A):
    """The matrix in the corner of a larger array of nan."""
    k = len(A)
    out = np.full((k + 2, k + 2), np.nan)
    out[:k, :k] = A
    return out


ALL = [*KINDS, "diagonal", "tridiagonal", "sparse", "falling", "rising"]


@settings(max_examples=400)
@given(
    seed=st.integers(0, 10**9),
    k=st.one_of(st.integers(1, 12), st.integers(13, 60)),
    kind=st.sampled_from(ALL),
    scale=st.sampled_from([1.0, 1e300, 1e-290]),
)
def test_symmetric_eigen(seed, k, kind, scale):
    A = matrix(seed, k, kind, scale)
    values, vectors = np.full(k + 1, np.nan), np.full((k + 2, k + 2), np.nan)
    scratch = np.full((k + 2, k + 2), np.nan)
    assert kernels.symmetric_eigen(padded(A), k, values, vectors, scratch)
    values, vectors = values[:k] / scale, vectors[:k, :k]
    A = A / scale
    expected = np.linalg.eigvalsh(A)
    size = max(np.max(np.abs(expected)), 1e-300)
    near = 4e-15 * max(k, 4)
    np.testing.assert_allclose(values, expected, atol=near * size, rtol=0)
    assert np.all(np.diff(values) >= 0)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(k), atol=near, rtol=0)
    np.testing.assert_allclose(A @ vectors.T, vectors.T * values, atol=near * size, rtol=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_eigen_of_what_is_not_finite(bad):
    A = np.eye(3)
    A[2, 0] = A[0, 2] = bad
    scratch = np.empty((5, 5))
    assert not kernels.symmetric_eigen(padded(A), 3, np.empty(3), np.empty((3, 3)), scratch)


@settings(max_examples=150)
@given(
    seed=st.integers(0, 10**9),
    k=st.integers(1, 12),
    lowest=st.sampled_from([-1.0, -1e-3, 0.0, 1e-3, 1.0]),
    power=st.integers(-40, 40),
    shift=st.sampled_from([0.0, 0.5, 3.0]),
)
def test_solves(seed, k, lowest, power, shift):
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((k, k)))[0]
    values = rng.uniform(1.0, 10.0, k)
    values[0] = lowest
    scale = 2.0**power
    A = (Q * values) @ Q.T - shift * np.eye(k)
    A = scale * (A + A.T) / 2
    b, out, scratch = rng.standard_normal(k), np.empty(k), np.full((k + 2, k + 2), np.nan)
    full = A + scale * shift * np.eye(k)
    definite = kernels.solve_definite_to(padded(A), k, scale * shift, b, out, scratch)
    if lowest != 0.0:
        assert definite == (lowest > 0)
    if definite and lowest > 0:
        np.testing.assert_allclose(full @ out, b, atol=1e-9)
    least = 1e-12
    solved = kernels.solve_indefinite_to(padded(A), k, scale * shift, least, b, out, scratch)
    assert solved == (lowest != 0.0)
    if solved:
        np.testing.assert_allclose(full @ out, b, atol=1e-9)
    assert not kernels.solve_indefinite_to(padded(A), k, scale * shift, 1.0, b, out, scratch)
