"""The density of eigenvalues, against exact spectra."""

from __future__ import annotations

import numpy as np
import pytest

import negopt
from negopt import problems, spectrum
from negopt.core.randomness import generator
from negopt.diagnostics.derivatives import random_direction

N = 400


@pytest.fixture(scope="module")
def matrix():
    """A symmetric random matrix with a few outliers."""
    rng = np.random.default_rng(3)
    a = rng.standard_normal((N, N))
    h = (a + a.T) / np.sqrt(2.0 * N)
    u = rng.standard_normal((N, 2)) / np.sqrt(N)
    return h + u @ np.diag([6.0, -4.0]) @ u.T


def test_a_small_spectrum_is_exact() -> None:
    problem = problems.get("chained_rosenbrock", 30)
    exact = np.linalg.eigvalsh(problem.hess(problem.x0))
    s = spectrum(problem, problem.x0)
    assert s.exact
    assert s.products == 30
    np.testing.assert_allclose(s.nodes, exact, atol=1e-10)
    assert s.weights == pytest.approx(1.0 / 30)
    assert (s.min, s.max) == pytest.approx((exact[0], exact[-1]))
    assert s.trace == (pytest.approx(exact.sum()), 0.0)
    assert s.frobenius == (pytest.approx(np.sqrt((exact**2).sum())), 0.0)
    assert s.below(5.0) == ((exact < 5.0).mean(), 0.0)


def test_quadrature_is_exact_for_polynomials(matrix) -> None:
    """sum_i w_i theta_i^p = v'H^p v for each probe v, up to p = 2 steps - 1."""
    s = spectrum(matrix, np.zeros(N), n_probes=2, n_steps=4, rng=9)
    random = generator(9)
    for i in range(2):
        v = random_direction(np.zeros(N), random)
        own = s.probe == i
        for power in range(8):
            want = v @ np.linalg.matrix_power(matrix, power) @ v
            found = 2.0 * np.sum(s.weights[own] * s.nodes[own] ** power)
            assert found == pytest.approx(want, rel=1e-9, abs=1e-11)
    beyond = v @ np.linalg.matrix_power(matrix, 8) @ v
    assert 2.0 * np.sum(s.weights[own] * s.nodes[own] ** 8) != pytest.approx(beyond, rel=1e-3)


def test_moments_are_unbiased_and_errors_honest(matrix) -> None:
    exact = np.linalg.eigvalsh(matrix)
    runs = [spectrum(matrix, np.zeros(N), n_probes=5, n_steps=3, rng=i) for i in range(60)]
    for power in (1, 2, 3):
        values, errors = np.transpose([s.moment(power) for s in runs])
        true = np.sum(exact**power)
        spread = np.std(values, ddof=1)
        assert abs(np.mean(values) - true) < 3.0 * spread / np.sqrt(60)
        assert 0.7 < np.sqrt(np.mean(errors**2)) / spread < 1.4
    assert runs[0].trace == runs[0].moment(1)
    assert runs[0].frobenius[0] ** 2 == pytest.approx(runs[0].moment(2)[0])
    assert runs[0].moment(0)[0] == pytest.approx(N)


def test_the_distribution_is_close(matrix) -> None:
    exact = np.linalg.eigvalsh(matrix)
    s = spectrum(matrix, np.zeros(N), n_probes=6, n_steps=60)
    assert not s.exact
    assert s.products == 360
    assert s.weights.sum() == pytest.approx(1.0)
    for t in np.linspace(-3.0, 4.0, 29):
        share, error = s.below(t)
        assert abs(share - np.mean(exact < t)) < min(0.03, 2.0 * error + 0.003)
    grid = np.linspace(-8.0, 10.0, 3001)
    assert np.trapezoid(s.density(grid), grid) == pytest.approx(1.0)
    assert np.trapezoid(s.density(grid, 0.5), grid) == pytest.approx(1.0)
    smooth = np.mean(np.exp(-0.5 * ((grid[:, None] - exact) / 0.3) ** 2), axis=1)
    smooth /= 0.3 * np.sqrt(2.0 * np.pi)
    assert np.max(np.abs(s.density(grid, 0.3) - smooth)) < 0.04


def test_the_ends_are_found(matrix) -> None:
    exact = np.linalg.eigvalsh(matrix)
    for steps in (5, 20, 60):
        s = spectrum(matrix, np.zeros(N), n_probes=2, n_steps=steps)
        assert exact[0] - 1e-12 <= s.min
        assert s.max <= exact[-1] + 1e-12
        distance = np.min(np.abs(exact - s.nodes[:, None]), axis=1)
        assert np.all(distance <= s.residuals + 1e-12)
    assert s.min == pytest.approx(exact[0], abs=1e-8)
    assert s.max == pytest.approx(exact[-1], abs=1e-8)


def test_the_error_covers_what_quadrature_cannot_tell() -> None:
    """One node stands for a cluster around zero, and may lie on either side of it."""
    values = np.r_[np.linspace(-1e-6, 1e-6, 200), np.linspace(1.0, 2.0, 100)]
    for seed in range(5):
        s = spectrum(np.diag(values), np.zeros(300), n_probes=4, n_steps=10, rng=seed)
        share, error = s.below(0.0)
        assert abs(share - 1.0 / 3.0) < error
        assert error > 0.2
        share, error = s.below(0.5)  # in the gap there is no doubt
        assert abs(share - 2.0 / 3.0) < 3.0 * error
        assert error < 0.1


def test_a_space_that_ends_early() -> None:
    s = spectrum(np.eye(300) * 3.0, np.zeros(300), n_probes=2, n_steps=20)
    assert s.products == 2
    assert s.nodes == pytest.approx([3.0, 3.0])
    assert s.trace == (pytest.approx(900.0), pytest.approx(0.0, abs=1e-9))
    assert np.all(np.isfinite(s.density([3.0])))
    assert np.isnan(spectrum(np.eye(300), np.zeros(300), n_probes=1).trace[1])


def test_zero() -> None:
    s = spectrum(lambda x, p: 0.0 * p, np.zeros(2))
    assert s.frobenius == (0.0, 0.0)
    assert s.density([0.0])[0] > 0.0


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_libraries(xp_case, dtype: str) -> None:
    diagonal = xp_case.asarray(np.linspace(-1.0, 3.0, 200), dtype)
    x = xp_case.asarray(np.zeros(200), dtype)
    s = spectrum(lambda x, p: diagonal * p, x, n_probes=3, n_steps=30)
    assert type(s.nodes) is np.ndarray
    assert s.min == pytest.approx(-1.0, abs=2e-2)
    mean, error = s.moment(1)
    assert abs(mean - 200.0) < 5.0 * error
    exact = spectrum(lambda x, p: diagonal * p, x)
    assert exact.exact
    np.testing.assert_allclose(exact.nodes, np.linspace(-1.0, 3.0, 200), atol=1e-6)


def test_repeatable_and_differences() -> None:
    problem = problems.get("chained_rosenbrock", 100)
    first = spectrum(problem, problem.x0, n_probes=2, n_steps=5, rng=1)
    assert np.array_equal(
        first.nodes, spectrum(problem, problem.x0, n_probes=2, n_steps=5, rng=1).nodes
    )
    assert not np.array_equal(
        first.nodes, spectrum(problem, problem.x0, n_probes=2, n_steps=5, rng=2).nodes
    )
    by_differences = spectrum(None, problem.x0, jac=problem.grad, n_probes=2, n_steps=5, rng=1)
    np.testing.assert_allclose(by_differences.nodes, first.nodes, rtol=1e-7, atol=1e-5)


def test_bad_input_is_named() -> None:
    for change, text in (
        ({"n_probes": 0}, "n_probes"),
        ({"n_steps": 0}, "n_steps"),
        ({"rng": -1}, "rng=-1"),
        ({"hessp": lambda x, p: np.nan * p}, "not finite"),
    ):
        with pytest.raises(ValueError, match=text):
            spectrum(**{"hessp": np.eye(2), "x": np.ones(2), **change})
    s = negopt.spectrum(np.eye(2), np.ones(2))
    with pytest.raises(ValueError, match="width"):
        s.density([0.0], 0.0)
    with pytest.raises(ValueError, match="power"):
        s.moment(-1)
