"""What is known about the problems: minimisers, minima, saddles, published values."""

import csv
import math

import numpy as np
import pytest
import scipy.optimize

from negopt import problems

SMALL = 8
NOT_NIST = [name for name in problems.names() if not name.startswith("nist_")]


def _small(name):
    return next(p for p in problems.collection(n=SMALL) if p.name == name)


def _relative_gradient(problem, x):
    """Return the gradient in units of the curvature: the scaled distance to stationarity."""
    h = problem.hess(x)
    scale = np.sqrt(np.maximum(np.abs(np.diag(h)), 1e-300))
    largest = max(1.0, abs(float(problem.fun(x))))
    return np.max(np.abs(problem.grad(x)) / scale) / np.sqrt(largest)


def _polished(problem, start=None):
    """Return the end point of a second-order method from a starting point."""
    x0 = problem.x0 if start is None else start
    with np.errstate(all="ignore"):
        result = scipy.optimize.minimize(
            problem.fun,
            x0,
            jac=problem.grad,
            hess=problem.hess,
            method="trust-exact",
            options={"gtol": 1e-10, "maxiter": 3000},
        )
    return result.x


WITH_MINIMIZER = [n for n in NOT_NIST if _small(n).minimizer is not None]


@pytest.mark.parametrize("name", WITH_MINIMIZER)
def test_minimizer_has_the_minimum_a_zero_gradient_and_no_negative_curvature(name):
    p = _small(name)
    f, g = p.fun_and_grad(p.minimizer)
    data = name in {"meyer", "kowalik_osborne", "osborne_1"}  # NIST certifies 11 digits
    assert f == pytest.approx(p.minimum, rel=1e-9 if data else 1e-12, abs=1e-13)
    if not data:
        assert np.max(np.abs(g)) <= 1e-10 * max(1.0, np.max(np.abs(np.diag(p.hess(p.minimizer)))))
    assert _relative_gradient(p, p.minimizer) <= (1e-5 if data else 1e-7)
    eigenvalues = np.linalg.eigvalsh(p.hess(p.minimizer))
    assert eigenvalues[0] >= -1e-10 * max(eigenvalues[-1], 1.0)


# These names count the problems: a new saddle must be named here with its kind.
STRICT = {
    "strict_saddle": 1,
    "himmelblau": 5,
    "three_hump_camel": 2,
    "six_hump_camel": 2,
    "mueller_brown": 2,
    "styblinski_tang": 2,
    "coupled_double_wells": 1,
    "matrix_factorisation": 1,
    "phase_retrieval": 1,
}
DEGENERATE = {"degenerate_saddle": 1, "monkey_saddle": 1, "deep_linear_chain": 1}


def test_every_problem_with_saddles_is_checked():
    assert {p.name: len(p.saddles) for p in problems.collection() if p.saddles} == {
        **STRICT,
        **DEGENERATE,
    }


@pytest.mark.parametrize("name", STRICT)
def test_strict_saddles_are_stationary_with_negative_curvature(name):
    p = _small(name)
    for saddle in p.saddles:
        eigenvalues, _ = np.linalg.eigh(p.hess(saddle))
        assert np.max(np.abs(p.grad(saddle))) <= 1e-12 * np.max(np.abs(eigenvalues))
        assert eigenvalues[0] < -1e-2
        assert p.fun(saddle) > p.minimum


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_saddles_are_stationary_flat_and_not_minimal(name):
    p = _small(name)
    (saddle,) = p.saddles
    assert np.max(np.abs(p.grad(saddle))) == 0.0
    assert np.linalg.eigvalsh(p.hess(saddle))[0] == 0.0
    # No eigenvalue tells, but there are lower points as near as one likes.
    toward = p.minimizer - saddle
    assert all(p.fun(saddle + t * toward) < p.fun(saddle) for t in (1e-1, 1e-2))


NUMERIC = [
    ("osborne_2", None),
    ("watson", 6),
    ("watson", 9),
    ("watson", 12),
    ("penalty_1", 4),
    ("penalty_1", 10),
    ("penalty_2", 4),
    ("penalty_2", 10),
    ("chebyquad", 5),
    ("chebyquad", 8),
    ("chebyquad", 10),
    ("discrete_boundary_value", 10),
    ("discrete_integral_equation", 10),
    ("broyden_tridiagonal", 10),
    ("broyden_banded", 10),
    ("edensch", 36),
    ("cragglvy", 10),
    ("cragglvy", 50),
]


@pytest.mark.parametrize(("name", "n"), NUMERIC)
def test_minimum_without_closed_form_is_reached(name, n):
    p = problems.get(name, n)
    assert p.fun(_polished(p)) == pytest.approx(p.minimum, rel=2e-6, abs=1e-18)


@pytest.mark.parametrize(("name", "n"), [("cosine", 5), ("eg2", 6)])
def test_minimum_of_trigonometric_sums_is_reached(name, n):
    p = problems.get(name, n)
    rng = np.random.default_rng(0)
    starts = rng.uniform(-2.0, 2.0, (20, n))
    ends = [scipy.optimize.minimize(p.fun, s, jac=p.grad, method="BFGS") for s in starts]
    assert min(float(end.fun) for end in ends) == pytest.approx(p.minimum, rel=1e-8)


LOCAL = [
    ("freudenstein_roth", None, 1),
    ("biggs_exp6", None, 1),
    ("trigonometric", 10, 1),
    ("chebyquad", 10, 1),
    ("three_hump_camel", None, 20),
    ("six_hump_camel", None, 20),
    ("mueller_brown", None, 20),
    ("lennard_jones_7", None, 30),
]


@pytest.mark.parametrize(("name", "n", "tries"), LOCAL)
def test_local_minima_are_reached(name, n, tries):
    p = problems.get(name, n)
    rng = np.random.default_rng(0)
    missing = set(p.local_minima)
    assert missing
    for k in range(tries):
        start = p.x0 if k == 0 else p.x0 + rng.standard_normal(p.n) * 0.5 * (1 + np.abs(p.x0))
        with np.errstate(all="ignore"):
            result = scipy.optimize.minimize(
                p.fun, start, jac=p.grad, method="BFGS", options={"gtol": 1e-8}
            )
        missing -= {v for v in missing if result.fun == pytest.approx(v, rel=2e-7)}
        if not missing:
            break
    assert not missing


def test_values_published_with_the_sif_files():
    # The solutions noted in EDENSCH.SIF, CRAGGLVY.SIF, SCHMVETT.SIF and CURLY10.SIF.
    assert problems.get("edensch", 36).minimum == pytest.approx(219.28, abs=0.01)
    assert problems.get("edensch", 2000).minimum == pytest.approx(1.20032e4, abs=0.1)
    assert problems.get("cragglvy", 10).minimum == pytest.approx(1.886566, abs=1e-6)
    assert problems.get("cragglvy", 1000).minimum == pytest.approx(336.42, abs=0.01)
    assert problems.get("schmvett", 500).minimum == -1494.0
    assert problems.get("curly", 1000).minimum == pytest.approx(-1.003163e5, abs=0.1)


@pytest.mark.parametrize("variant", "abcdefghijkl")
def test_every_dixmaan_variant_has_its_minimum_at_zero(variant):
    p = problems.get("dixmaan", 9, variant=variant)
    x = _polished(p)
    assert p.fun(x) == pytest.approx(1.0, abs=1e-12)
    assert p.fun(np.zeros(9)) == 1.0


# Sums of squares at the standard start that can be formed by hand.
STARTS = {
    "rosenbrock": 24.2,
    "freudenstein_roth": 400.5,
    "powell_badly_scaled": 1.0 + (1.0 + math.exp(-1.0) - 1.0001) ** 2,
    "brown_badly_scaled": (1.0 - 1e6) ** 2 + (1.0 - 2e-6) ** 2 + 1.0,
    "beale": 14.203125,
    "helical_valley": 2500.0,
    "powell_singular": 215.0,
    "wood": 19192.0,
    "watson": 30.0,
}
# Residual norms there, as printed by the test drivers of MINPACK (ANL-80-74, 1980).
NORMS = {
    "bard": 6.456136,
    "kowalik_osborne": 0.07289151,
    "meyer": 41153.47,
    "box_3d": 32.11158,
    "jennrich_sampson": 64.58565,
    "brown_dennis": 2815.438,
    "osborne_1": 0.9375640,
    "osborne_2": 1.446865,
}


@pytest.mark.parametrize("name", [*STARTS, *NORMS])
def test_value_at_the_standard_start(name):
    p = problems.get(name)
    f = p.fun(p.x0)
    if name in STARTS:
        assert f == pytest.approx(STARTS[name], rel=1e-14)
    else:
        assert math.sqrt(f) == pytest.approx(NORMS[name], rel=3e-7)


def _table(folder):
    path = folder / "mgh" / "mgh_minima.csv"
    if not path.is_file():
        pytest.skip(f"no {path.name} in the data folder")
    with path.open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def _published(row, n, m):
    """Evaluate the fmin column, a number or one of four formulas in n and m."""
    formulas = {
        "m - n": m - n,
        "m (m - 1) / (2 (2 m + 1))": m * (m - 1) / (2 * (2 * m + 1)),
        "(m^2 + 3 m - 6) / (2 (2 m - 3))": (m * m + 3 * m - 6) / (2 * (2 * m - 3)),
    }
    return formulas[row["fmin"]] if row["fmin"] in formulas else float(row["fmin"])


def test_recorded_minima_are_the_published_ones(data_dir):
    names, seen = problems.names("mgh"), set()
    for row in _table(data_dir):
        number = int(row["number"])
        sizes = [int(row["n"])] if row["n"].isdigit() else [4, 8]
        if row["n"].startswith("1 to 7"):
            sizes = [1, 2, 3, 4, 5, 6, 7, 9]
        for n in sizes:
            p = problems.get(names[number - 1], n)
            assert p.reference.endswith(f"problem {number}")
            published = _published(row, n, 2 * n)
            assert any(
                value == pytest.approx(published, rel=1e-5, abs=1e-12)
                for value in (p.minimum, *p.local_minima)
            ), (p.name, n, published)
        seen.add(number)
    assert seen == set(range(1, 36))
