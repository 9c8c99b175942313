"""The lowest eigenpairs from products, against dense and SciPy's eigenvalues."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import LinearOperator, aslinearoperator, eigsh

import negopt
from negopt import leftmost_eigenpairs, problems


def rotated(values, seed=0):
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.standard_normal((len(values), len(values))))
    h = (q * np.asarray(values)) @ q.T
    return 0.5 * (h + h.T)


def check(h, pairs, rtol=1e-7):
    """Compare with all eigenvalues, and the figures with their definitions."""
    k = len(pairs.values)
    scale = np.max(np.abs(np.linalg.eigvalsh(h)))
    v = pairs.vectors
    assert v.shape == (k, len(h))
    np.testing.assert_allclose(v @ v.T, np.eye(k), atol=1e-10)
    np.testing.assert_allclose(pairs.values, np.linalg.eigvalsh(h)[:k], atol=rtol * scale)
    residuals = np.linalg.norm(v @ h - pairs.values[:, None] * v, axis=1)
    np.testing.assert_allclose(pairs.residuals, residuals, atol=1e-12 * scale)
    assert pairs.converged
    assert np.all(pairs.residuals <= 1e-8 * scale)
    assert np.all(np.diff(pairs.values) >= 0.0)


@settings(max_examples=60)
@given(
    n=st.integers(1, 25),
    seed=st.integers(0, 2**32 - 1),
    levels=st.integers(1, 6),
    share=st.floats(0.0, 1.0),
    scale=st.sampled_from([1e-12, 1.0, 1e12]),
)
def test_any_multiplicities(n, seed, levels, share, scale) -> None:
    """Few distinct values, each many times, in both signs."""
    rng = np.random.default_rng(seed)
    h = rotated(scale * rng.choice(rng.uniform(-1.0, 1.0, levels), n), seed)
    k = 1 + round(share * (n - 1))
    check(h, leftmost_eigenpairs(lambda x, p: h @ p, np.zeros(n), k, rng=seed))


@pytest.mark.parametrize("k", [1, 3])
def test_against_scipys_lanczos_with_restarts(k: int) -> None:
    # n above the size up to which the basis may fill the space
    h = rotated(np.r_[-2.0, -1.9, -1e-3, np.linspace(0.1, 10.0, 397)])
    calls = []
    matrix = LinearOperator(h.shape, matvec=lambda v: calls.append(1) or h @ v, dtype=h.dtype)
    theirs = np.sort(eigsh(matrix, k=k, which="SA", tol=1e-8)[0])
    pairs = leftmost_eigenpairs(h, np.zeros(400), k)
    check(h, pairs)
    np.testing.assert_allclose(pairs.values, theirs, atol=1e-7)
    assert 40 < pairs.products <= 1.5 * len(calls)  # the price of the probe included


def test_memory_is_bounded_by_max_basis() -> None:
    h = rotated(np.r_[-1.0, np.linspace(0.0, 10.0, 299)])
    pairs = leftmost_eigenpairs(h, np.zeros(300), 2, max_basis=12)
    check(h, pairs)
    assert pairs.products > 24  # so there were restarts


@pytest.mark.parametrize("seed", range(3))
def test_all_copies_of_a_multiple_eigenvalue(seed: int) -> None:
    h = rotated(np.r_[[-1.0] * 4, np.linspace(0.0, 1.0, 296)], seed)
    pairs = leftmost_eigenpairs(h, np.zeros(300), 4, rng=seed)
    check(h, pairs)
    check(np.eye(300), leftmost_eigenpairs(np.eye(300), np.zeros(300), 3, rng=seed))


def test_a_single_krylov_space_shows_one_copy() -> None:
    # What the probes are for: two distinct values, and without probes one copy of each.
    h = np.diag(np.r_[[-1.0] * 3, [1.0] * 297])
    assert leftmost_eigenpairs(h, np.zeros(300), 2, probes=0).values[1] == pytest.approx(1.0)
    assert leftmost_eigenpairs(h, np.zeros(300), 2).values[1] == pytest.approx(-1.0)


def test_zero_and_one_variable() -> None:
    pairs = leftmost_eigenpairs(lambda x, p: 0.0 * p, np.zeros(30), 3)
    assert pairs.converged
    assert np.array_equal(pairs.values, np.zeros(3))
    pairs = leftmost_eigenpairs(lambda x, p: -6.0 * x * p, [2.0])
    assert pairs.values == pytest.approx([-12.0])
    assert pairs.products == 1


def test_each_value_has_an_eigenvalue_within_its_residual() -> None:
    """Also where the products did not suffice."""
    h = rotated(np.r_[-1e-3, np.geomspace(1e-4, 1.0, 399)])
    exact = np.linalg.eigvalsh(h)
    for limit in (3, 10, 50):
        pairs = leftmost_eigenpairs(h, np.zeros(400), 3, max_products=limit)
        assert pairs.products == limit
        assert not pairs.converged
        for value, residual in zip(pairs.values, pairs.residuals, strict=True):
            assert np.min(np.abs(exact - value)) <= residual + 1e-14
        assert np.all(pairs.values >= exact[:3] - 1e-14)


def test_a_good_preconditioner_saves_products() -> None:
    h = rotated(np.r_[-1e-3, np.geomspace(1e-4, 1.0, 399)])
    near = np.linalg.inv(h + 2e-3 * np.eye(400))
    plain = leftmost_eigenpairs(h, np.zeros(400), 1)
    for m in (near, aslinearoperator(near), lambda v: near @ v):
        helped = leftmost_eigenpairs(h, np.zeros(400), 1, precondition=m)
        check(h, helped)
        assert helped.products < 0.2 * plain.products


def test_forms_of_the_hessian() -> None:
    problem = problems.get("chained_rosenbrock", 12)
    x = np.linspace(-1.0, 1.0, 12)
    h = problem.hess(x)
    exact = np.linalg.eigvalsh(h)[:2]
    res = negopt.minimize(problem, problem.x0, method="newton-krylov")
    for form, at in (
        (lambda x, p: problem.hessp(x)(p), x),
        (problem, x),
        (h, x),
        (scipy.sparse.csr_array(h), x),
        (aslinearoperator(h), x),
        (h.tolist, None),
        (res.hess, res.x),
    ):
        if at is None:
            with pytest.raises(TypeError):  # a callable that does not take (x, p)
                leftmost_eigenpairs(form, x)
            continue
        want = exact if at is x else np.linalg.eigvalsh(problem.hess(at))[:2]
        np.testing.assert_allclose(leftmost_eigenpairs(form, at, 2).values, want, atol=1e-7)


def test_differences_of_a_gradient() -> None:
    problem = problems.get("chained_rosenbrock", 12)
    x = np.linspace(-1.0, 1.0, 12)
    calls = []

    def jac(x, scale):
        calls.append(1)
        return scale * problem.grad(x)

    pairs = leftmost_eigenpairs(None, x, 2, jac=jac, args=(3.0,))
    np.testing.assert_allclose(
        pairs.values, 3.0 * np.linalg.eigvalsh(problem.hess(x))[:2], rtol=1e-8
    )
    assert len(calls) == 2 * pairs.products + 1
    assert pairs.converged

    class Without:  # an object that has no hessp
        fun, grad = problem.fun, problem.grad

    pairs = leftmost_eigenpairs(Without(), x, 1)
    np.testing.assert_allclose(pairs.values, np.linalg.eigvalsh(problem.hess(x))[:1], rtol=1e-8)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_libraries(xp_case, dtype: str) -> None:
    xp, n = xp_case.xp, 300
    diagonal = xp_case.asarray(np.r_[-2.0, np.linspace(-1.0, 5.0, n - 1)], dtype)
    x = xp_case.asarray(np.zeros(n), dtype)
    pairs = leftmost_eigenpairs(lambda x, p: diagonal * p, x, 2)
    assert pairs.converged
    assert xp_case.owns(pairs.vectors)
    assert pairs.vectors.dtype == getattr(xp, dtype)
    tolerance = 1e-9 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(pairs.values, [-2.0, -1.0], atol=tolerance)
    vectors = np.abs(xp_case.to_numpy(pairs.vectors))
    np.testing.assert_allclose(vectors[:, :2], np.eye(2), atol=1e-6 if dtype == "float64" else 1e-3)


def test_the_same_seed_the_same_bits_and_x_is_left_alone() -> None:
    h, x = rotated(np.linspace(-1.0, 1.0, 300)), np.ones(300)
    x.flags.writeable = False
    first = leftmost_eigenpairs(h, x, rng=5)
    again = leftmost_eigenpairs(h, x, rng=np.random.default_rng(5).spawn(1)[0])
    other = leftmost_eigenpairs(h, x, rng=6)
    assert np.array_equal(first.vectors, again.vectors)
    assert not np.array_equal(first.vectors, other.vectors)
    np.testing.assert_allclose(other.values, first.values, atol=1e-10)


def test_a_seed_is_not_the_callers_stream() -> None:
    """A probe that equals the caller's own random data would see nothing else."""
    seen = []
    n = 20
    leftmost_eigenpairs(lambda x, p: seen.append(p) or p, np.zeros(n), rng=0)
    v = np.random.default_rng(0).standard_normal(n)
    assert abs(seen[0] @ v) < 0.9 * np.linalg.norm(v)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"k": 0}, ValueError, "k=0"),
        ({"k": 5}, ValueError, "n = 4"),
        ({"tol": -1.0}, ValueError, "tol"),
        ({"max_products": 0}, ValueError, "max_products"),
        ({"max_basis": 2}, ValueError, "max_basis"),
        ({"probes": -1}, ValueError, "probes"),
        ({"rng": "x"}, ValueError, "rng='x'"),
        ({"hessp": None}, ValueError, "jac"),
        ({"hessp": 3.0}, TypeError, "hessp=3.0"),
        ({"hessp": np.eye(3)}, ValueError, "shape"),
        ({"hessp": np.ones(4)}, ValueError, "shape"),
        ({"hessp": lambda x, p: np.nan * p}, ValueError, "not finite"),
        ({"hessp": None, "jac": lambda x: np.nan * x}, ValueError, "not finite"),
        ({"x": np.zeros((2, 2))}, ValueError, "'x'"),
        ({"precondition": 3.0}, TypeError, "precondition=3.0"),
    ],
)
def test_bad_input_is_named(change, error, text) -> None:
    arguments = {"hessp": np.eye(4), "x": np.zeros(4), **change}
    with pytest.raises(error, match=text):
        leftmost_eigenpairs(**arguments)
