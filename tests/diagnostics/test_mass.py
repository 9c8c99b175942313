"""The diagonal's share of a Hessian's absolute mass."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negopt import diagonal_mass, problems


def share(h) -> float:
    return np.sum(np.abs(np.diag(h))) / np.sum(np.abs(h))


@settings(max_examples=30)
@given(n=st.integers(1, 12), seed=st.integers(0, 2**32 - 1))
def test_exact(n: int, seed: int) -> None:
    a = np.random.default_rng(seed).standard_normal((n, n))
    found = diagonal_mass(lambda x, p: (a + a.T) @ p, np.zeros(n))
    assert found.value == pytest.approx(share(a + a.T))
    assert (found.standard_error, found.columns, found.exact) == (0.0, n, True)


def test_ends() -> None:
    assert diagonal_mass(np.diag([1.0, -2.0, 0.0]), np.zeros(3)).value == 1.0
    assert diagonal_mass(1.0 - np.eye(4), np.zeros(4)).value == 0.0
    assert np.isnan(diagonal_mass(np.zeros((2, 2)), np.zeros(2)).value)


def test_samples_are_within_their_errors() -> None:
    rng = np.random.default_rng(4)
    scale = np.exp(rng.standard_normal(300))  # columns of very different sizes
    a = rng.standard_normal((300, 300)) * scale * scale[:, None]
    h = a + a.T + np.diag(20.0 * rng.standard_normal(300))
    off, errors = [], []
    for seed in range(40):
        found = diagonal_mass(h, np.zeros(300), max_products=60, rng=seed)
        assert found.columns == 60
        assert not found.exact
        off.append(found.value - share(h))
        errors.append(found.standard_error)
    assert abs(np.mean(off)) < 3.0 * np.std(off) / np.sqrt(40) + 0.1 * np.std(off)
    assert 0.6 < np.sqrt(np.mean(np.square(errors))) / np.std(off) < 1.5
    everything = diagonal_mass(h, np.zeros(300), max_products=299, rng=0)
    assert everything.standard_error < 0.1 * np.mean(errors)  # the population is finite
    assert np.isnan(diagonal_mass(h, np.zeros(300), max_products=1).standard_error)


def test_reference_lines() -> None:
    """Against the random matrices that they are the shares of."""
    rng = np.random.default_rng(7)
    n, found = 40, []
    for _ in range(60):
        w = np.triu(rng.standard_normal((n, n)), 1)
        found.append(np.abs(w + w.T + np.diag(2.0 * rng.standard_normal(n))))
    mass = diagonal_mass(np.eye(n), np.zeros(n))
    assert share(np.mean(found, axis=0)) == pytest.approx(mass.wigner(0.5), rel=0.05)
    assert mass.wigner() == pytest.approx(1.0 / n)
    found = []
    for _ in range(60):
        x = rng.standard_normal((n, 200))
        found.append(np.abs(x @ x.T))
    assert share(np.mean(found, axis=0)) == pytest.approx(mass.least_squares(200), rel=0.02)
    with pytest.raises(ValueError, match="ratio"):
        mass.wigner(-1.0)
    with pytest.raises(ValueError, match="samples"):
        mass.least_squares(0)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_libraries(xp_case, dtype: str) -> None:
    problem = problems.get("chained_rosenbrock", 10)
    x = xp_case.asarray(problem.x0, dtype)
    want = share(problem.hess(problem.x0))
    assert diagonal_mass(problem, x).value == pytest.approx(want, rel=1e-5)
    by_differences = diagonal_mass(None, x, jac=problem.grad)
    assert by_differences.value == pytest.approx(want, rel=2e-2)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="max_products"):
        diagonal_mass(np.eye(2), np.zeros(2), max_products=0)
