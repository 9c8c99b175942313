"""Bases of products: the recurrence, orthogonality, breakdown, limits; any directions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negopt.algebra.krylov import LanczosBasis, Subspace


def grown(H, start, limit):
    basis = LanczosBasis(lambda v: H @ v, start, limit)
    while basis.grow():
        pass
    return basis


@settings(max_examples=60)
@given(n=st.integers(1, 40), seed=st.integers(0, 10**9), limit=st.integers(1, 45))
def test_recurrence(n, seed, limit):
    """``H Q' = Q' T + beta q e_k'``, Q orthonormal though the spectrum spans ten decades."""
    rng = np.random.default_rng(seed)
    V = np.linalg.qr(rng.standard_normal((n, n)))[0]
    H = (V * (10.0 ** rng.uniform(-5, 5, n) * rng.choice([-1, 1], n))) @ V.T
    start = rng.standard_normal(n)
    basis = grown(H, start, limit)
    k, size = basis.k, np.linalg.norm(H, 2)
    assert k <= min(limit, n)
    Q = basis.rows[:k]
    np.testing.assert_allclose(Q @ Q.T, np.eye(k), atol=1e-13)
    np.testing.assert_allclose(Q[0] * np.linalg.norm(start), start, rtol=1e-12, atol=1e-14)
    T = basis.matrix()
    np.testing.assert_array_equal(T, T.T)
    np.testing.assert_allclose(Q @ H @ Q.T, T, atol=1e-12 * size)
    rest = H @ Q.T - Q.T @ T
    np.testing.assert_allclose(rest[:, : k - 1], 0.0, atol=1e-12 * size)
    assert np.linalg.norm(rest[:, -1]) == pytest.approx(basis.beta[-1], abs=1e-12 * size)
    tall = basis.tall_matrix()
    assert tall.shape == (k + 1, k)
    np.testing.assert_array_equal(tall[:k], T)
    assert tall[k, k - 1] == basis.beta[-1]
    w = rng.standard_normal(k)
    np.testing.assert_allclose(basis.combine(w), Q.T @ w)


@pytest.mark.parametrize("distinct", [1, 2, 3])
def test_breakdown_when_the_space_closes(distinct):
    rng = np.random.default_rng(distinct)
    V = np.linalg.qr(rng.standard_normal((30, 30)))[0]
    values = np.arange(1.0, distinct + 1)[np.arange(30) % distinct]
    basis = grown((V * values) @ V.T, rng.standard_normal(30), 30)
    assert basis.broke_down
    assert basis.k == distinct
    assert basis.beta[-1] == 0.0
    np.testing.assert_allclose(np.linalg.eigvalsh(basis.matrix()), np.arange(1.0, distinct + 1))
    assert not basis.grow()


def test_whole_space_and_zero_matrix():
    basis = grown(np.diag(np.arange(1.0, 6.0)), np.ones(5), 99)
    assert (basis.k, basis.broke_down, basis.beta[-1]) == (5, True, 0.0)
    basis = grown(np.zeros((4, 4)), np.ones(4), 4)
    assert (basis.k, basis.broke_down) == (1, True)
    assert basis.matrix()[0, 0] == 0.0


@pytest.mark.parametrize("good", [0, 1, 4])
def test_ends_before_a_product_that_is_not_finite(good):
    left = [good]

    def product(v):
        left[0] -= 1
        return np.diag(np.arange(1.0, 11.0)) @ v if left[0] >= 0 else np.inf * v

    basis = LanczosBasis(product, np.ones(10), 10)
    with np.errstate(invalid="ignore"):
        while basis.grow():
            pass
    assert basis.invalid
    assert not basis.broke_down
    assert basis.k == good
    assert not basis.grow()


def test_memory_is_reserved_as_it_grows():
    basis = LanczosBasis(lambda v: np.arange(1.0, 501.0) * v, np.ones(500), 100)
    assert basis.rows.shape[0] < 20
    while basis.grow():
        assert basis.rows.shape[0] <= 101
    assert basis.k == 100
    np.testing.assert_allclose(basis.rows[:100] @ basis.rows[:100].T, np.eye(100), atol=1e-13)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_array_library(xp_case, dtype):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((20, 20))
    H = xp_case.asarray(A + A.T, dtype)
    basis = grown(H, xp_case.asarray(rng.standard_normal(20), dtype), 20)
    assert basis.k == 20
    assert xp_case.owns(basis.rows)
    assert basis.rows.dtype == H.dtype
    tolerance = 1e-11 if dtype == "float64" else 2e-5
    Q = xp_case.to_numpy(basis.rows)[:20].astype(float)
    np.testing.assert_allclose(Q @ Q.T, np.eye(20), atol=tolerance)
    values = np.linalg.eigvalsh(basis.matrix())
    np.testing.assert_allclose(values, np.linalg.eigvalsh(A + A.T), atol=20 * tolerance)


@settings(max_examples=40)
@given(n=st.integers(1, 30), k=st.integers(1, 35), seed=st.integers(0, 10**9))
def test_a_subspace_of_any_directions(n, k, seed):
    """Rows are orthonormal, images and projection those of H, though directions nearly repeat."""
    rng = np.random.default_rng(seed)
    H = rng.standard_normal((n, n))
    H = H + H.T
    space = Subspace(lambda v: H @ v, np.zeros(n), k)
    direction = rng.standard_normal(n)
    for _ in range(k):
        space.grow(direction)
        direction = direction + 10.0 ** rng.uniform(-6, 0) * rng.standard_normal(n)
    assert 1 <= space.k <= min(n, k)
    V = space.rows
    np.testing.assert_allclose(V @ V.T, np.eye(space.k), atol=1e-13)
    np.testing.assert_allclose(space.images, V @ H, atol=1e-12 * n)
    np.testing.assert_allclose(space.matrix(), V @ H @ V.T, atol=1e-11 * n)
    weights = rng.standard_normal(space.k)
    np.testing.assert_allclose(space.image(weights), H @ space.combine(weights), atol=1e-11 * n)
    np.testing.assert_allclose(space.project(direction), V @ direction)


@settings(max_examples=25, deadline=None)
@given(
    k=st.integers(1, 24),
    blocks=st.booleans(),
    nearly=st.floats(-9, 0),
    seed=st.integers(0, 10**9),
)
def test_directions_taken_as_they_are_become_orthonormal(k, blocks, nearly, seed):
    """In one block or several, dependent to any degree: the span and the images stay."""
    rng = np.random.default_rng(seed)
    n, limit = (2_500, 100) if blocks else (60, 24)
    d = rng.standard_normal(n)
    g = rng.standard_normal(n)
    space = Subspace(lambda v: d * v, g, limit)
    v, taken = rng.standard_normal(n), []
    for _ in range(k):
        taken.append(v / np.linalg.norm(v))
        w, curvature = space.take(taken[-1])
        np.testing.assert_array_equal(w, d * taken[-1])
        assert curvature == pytest.approx(taken[-1] @ w, abs=1e-12)
        v = v + 10.0**nearly * rng.standard_normal(n) * np.linalg.norm(v) / np.sqrt(n)
    for row, image, known in zip(*space.vectors(), taken, strict=True):
        np.testing.assert_array_equal(row, known)
        np.testing.assert_array_equal(image, d * known)
    z = space.conjugate(rng.standard_normal(n)) if k == 1 else None
    assert z is None or abs(z @ (d * taken[0])) <= 1e-12 * np.linalg.norm(z)
    space.orthonormalise()
    V = space.rows
    assert 1 <= space.k <= k
    assert space.k == k or nearly < -7
    np.testing.assert_allclose(V @ V.T, np.eye(space.k), atol=1e-13)
    np.testing.assert_allclose(space.images, V * d, atol=1e-7)
    np.testing.assert_allclose(space.matrix(), (V * d) @ V.T, atol=1e-7)
    np.testing.assert_allclose(space.along, V @ g, atol=1e-10 * np.linalg.norm(g))
    assert space.sizable == pytest.approx(np.abs(np.diag((V * d) @ V.T)).max(), abs=1e-7)
    for known in taken:
        assert np.linalg.norm(known - V.T @ (V @ known)) <= 1e-7
    assert space.grow(rng.standard_normal(n)) or space.k == space.limit
    weights = rng.standard_normal(space.k)
    np.testing.assert_allclose(space.image(weights), d * space.combine(weights), atol=1e-6)


def test_what_a_subspace_refuses():
    left = [2]

    def product(v):
        left[0] -= 1
        return v if left[0] >= 0 else np.nan * v

    space = Subspace(product, np.zeros(4), 3)
    for nothing in (np.zeros(4), np.full(4, np.nan), np.array([np.inf, 0, 0, 0])):
        assert not space.grow(nothing)
    assert space.grow(np.array([1.0, 0, 0, 0]))
    assert not space.grow(np.array([-5.0, 1e-12, 0, 0]))  # the old direction and rounding
    assert left[0] == 1
    assert space.grow(np.array([-5.0, 1e-3, 0, 0]))
    assert not space.grow(np.array([0, 0, 1.0, 0]))  # its product is not finite
    assert space.invalid
    assert space.k == 2
    full = Subspace(lambda v: v, np.zeros(2), 9)
    assert full.grow(np.array([1.0, 0]))
    assert full.grow(np.array([1.0, 1.0]))
    assert not full.grow(np.array([0.3, 0.4]))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_subspace_in_every_array_library(xp_case, dtype):
    rng = np.random.default_rng(2)
    H = rng.standard_normal((12, 12))
    H = H + H.T
    Hx = xp_case.asarray(H, dtype)
    space = Subspace(lambda v: Hx @ v, xp_case.asarray(np.zeros(12), dtype), 10)
    for _ in range(10):
        assert space.grow(xp_case.asarray(rng.standard_normal(12), dtype))
    assert xp_case.owns(space.rows)
    V = xp_case.to_numpy(space.rows)
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(V @ V.T, np.eye(10), atol=tolerance)
    np.testing.assert_allclose(space.matrix(), V @ H @ V.T, atol=50 * tolerance)
    assert space.matrix().dtype == np.float64
