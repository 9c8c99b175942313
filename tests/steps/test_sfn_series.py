"""The saddle-free series: safeguards, limits and the settings of the source."""

from __future__ import annotations

import numpy as np
import pytest

from negopt.core.bounds import Damping
from negopt.core.types import Iterate, Outcome
from negopt.curvature.exact_products import HessianProducts, ProductMemory, ProductOperator
from negopt.steps.acceleration import ACCELERATORS
from negopt.steps.sfn_series import SaddleFreeSeries

H = np.diag([4.0, -1.0, 0.5])
G = np.array([1.0, -2.0, 0.5])


def point(g):
    return Iterate(np.zeros_like(g), 0.0, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))


def counted(matrix):
    calls = []

    def product(v):
        calls.append(v)
        return matrix @ v

    return product, calls


@pytest.mark.parametrize("engine", ["krylov", "binomial"])
def test_no_finite_product_gives_a_unit_gradient_step(engine):
    rule = SaddleFreeSeries(engine=engine)
    operator = ProductOperator(lambda v: np.nan * v)
    step = rule.propose(point(G), operator, None)
    np.testing.assert_allclose(step.s, -G / np.linalg.norm(G))
    assert step.slope < 0
    # a rejected step must not be proposed again
    damped = rule.propose(point(G), operator, Damping(3.0))
    np.testing.assert_allclose(damped.s, step.s / 4.0)


@pytest.mark.parametrize("engine", ["krylov", "binomial"])
def test_no_curvature_gives_a_gradient_step(engine):
    rule = SaddleFreeSeries(engine=engine)
    step = rule.propose(point(G), ProductOperator(lambda v: 0.0 * v), Damping(0.1))
    assert np.all(np.isfinite(step.s))
    np.testing.assert_allclose(step.s / np.linalg.norm(step.s), -G / np.linalg.norm(G))
    assert np.linalg.norm(
        rule.propose(point(G), ProductOperator(lambda v: 0.0 * v), Damping(9.0)).s
    ) < (0.2 * np.linalg.norm(step.s))


def test_a_product_that_fails_on_the_way_ends_the_series():
    left = [8]

    def product(v):
        left[0] -= 1
        return H @ v if left[0] > 0 else np.inf * v

    rule = SaddleFreeSeries(engine="binomial", terms=20, order=1, scaling="source")
    operator = ProductOperator(product)
    with np.errstate(invalid="ignore"):
        step = rule.propose(point(G), operator, Damping(0.1))
    assert len(operator.basis.vectors) == 4
    assert np.all(np.isfinite(step.s))
    assert step.slope < 0
    assert step.quadratic == pytest.approx(10.0 * step.norm**2)  # sqrt(V) for what is not known


def test_the_krylov_engine_stops_when_the_step_settles():
    spectrum = np.diag(np.linspace(1.0, 1.2, 40))
    g = np.ones(40)
    counts = {}
    for change in (0.0, 0.05):
        product, calls = counted(spectrum)
        SaddleFreeSeries(change=change).propose(point(g), ProductOperator(product), Damping(0.01))
        counts[change] = len(calls)
    assert counts[0.05] <= 5 < counts[0.0] <= 20


@pytest.mark.parametrize(
    ("scaling", "extra"),
    [("source", 0), ("power", 10), ("lanczos", 1)],  # four of five products are re-used
)
@pytest.mark.parametrize("terms", [3, 6])
def test_products_of_the_series(scaling, extra, terms):
    """2 (K - 1) for K terms, those of the scaling, and one for s'Hs; none when damped anew."""
    rng = np.random.default_rng(1)
    product, calls = counted(np.diag(rng.standard_normal(30)))
    rule = SaddleFreeSeries(engine="binomial", terms=terms, order=1, scaling=scaling)
    operator = ProductOperator(product)
    rule.propose(point(rng.standard_normal(30)), operator, Damping(0.1))
    assert len(calls) == 2 * (terms - 1) + extra + 1


def test_a_space_that_closes_needs_no_further_product():
    product, calls = counted(H)
    rule = SaddleFreeSeries(engine="binomial", terms=50)
    operator = ProductOperator(product)
    rule.propose(point(G), operator, Damping(0.1))
    assert len(calls) == 3 + 1
    rule.propose(point(G), operator, Damping(0.3))
    assert len(calls) == 3 + 2  # s'Hs


@pytest.mark.parametrize("series", ["damped", "shifted"])
def test_terms_from_the_basis_are_those_from_products(series):
    rng = np.random.default_rng(3)
    A = rng.standard_normal((12, 12))
    A, g = A + A.T, rng.standard_normal(12)
    rule = SaddleFreeSeries(engine="binomial", terms=7, series=series)
    operator = ProductOperator(lambda v: A @ v)
    rule.propose(point(g), operator, Damping(0.1))
    found = operator.basis
    assert len(found.vectors) == 7
    M = np.eye(12) - np.linalg.matrix_power(A + found.shift * np.eye(12), 2) / found.root**2
    v = g / np.linalg.norm(g)
    for k in range(7):
        np.testing.assert_allclose(found.vectors[k], v, atol=1e-12)
        v = M @ v


def test_the_shifted_series_starts_anew_with_another_damping():
    product, calls = counted(np.diag(np.linspace(-3.0, 5.0, 20)))
    rule = SaddleFreeSeries(engine="binomial", terms=6, series="shifted")
    operator = ProductOperator(product)
    rule.propose(point(np.ones(20)), operator, Damping(0.1))
    assert len(calls) == 10 + 1 + 1
    rule.propose(point(np.ones(20)), operator, Damping(0.1))
    assert len(calls) == 12 + 1
    rule.propose(point(np.ones(20)), operator, Damping(0.2))
    assert len(calls) == 13 + 10 + 1  # the size of H is known


def scales(rule, *factors):
    """Return the scale after steps with multiples of H."""
    products, memory, found = HessianProducts(), ProductMemory(), []
    for factor in factors:
        operator = ProductOperator(lambda v, c=factor: c * (H @ v), memory.scale)
        before = memory.scale
        step = rule.propose(point(G), operator, Damping(0.1))
        assert memory.scale == before  # nothing is written before the step has been tried
        products.update(memory, G, G, Outcome(start=point(G), step=step))
        found.append(memory.scale)
    return found


def test_the_source_scaling_is_a_running_maximum_from_100():
    rule = SaddleFreeSeries(engine="binomial", terms=6, scaling="source")
    expected = max(100.0, np.linalg.norm(100 * H @ H @ G) / np.linalg.norm(G))
    assert scales(rule, 1.0, 10.0, 1.0) == pytest.approx([100.0, expected, expected])


def test_the_lanczos_bound_is_let_go_slowly():
    rule = SaddleFreeSeries(engine="binomial", terms=6)
    assert scales(rule, 10.0, 1.0) == pytest.approx([1.1 * 1600, 1.1 * 800])


@pytest.mark.parametrize("kind", ["goe", "logarithmic"])
def test_the_lanczos_bound_keeps_the_series_convergent_and_the_source_does_not(kind):
    rng = np.random.default_rng(4)
    below = {"lanczos": 0, "power": 0, "source": 0}
    inside = 0
    for _ in range(40):
        if kind == "goe":
            A = rng.standard_normal((60, 60))
            A = 20 * (A + A.T)
        else:
            A = 100 * np.diag(10 ** rng.uniform(-4, 0, 60) * rng.choice([-1, 1], 60))
        g, largest = rng.standard_normal(60), np.max(np.linalg.eigvalsh(A) ** 2)
        for scaling in below:
            rule = SaddleFreeSeries(engine="binomial", terms=2, accelerator=None, scaling=scaling)
            operator = ProductOperator(lambda v, A=A: A @ v)
            rule.propose(point(g), operator, Damping(0.1))
            below[scaling] += operator.scale < 0.5 * largest
            inside += scaling == "lanczos" and operator.scale >= largest
    assert below["lanczos"] == 0
    assert below["power"] <= 2
    assert below["source"] >= 30
    assert inside >= 34


def test_power_iteration_estimates_from_below():
    rule = SaddleFreeSeries(engine="binomial", terms=6, scaling="power")
    assert 0.95 * 1.1 * 16 <= scales(rule, 1.0)[0] <= 1.1 * 16


def test_one_term_runs_no_product_but_for_the_model():
    """K = 1 with the source's scaling is gradient descent with rate 1/(10 + lambda)."""
    product, calls = counted(H)
    rule = SaddleFreeSeries(engine="binomial", terms=1, order=0, scaling="source")
    step = rule.propose(point(G), ProductOperator(product), Damping(0.1))
    np.testing.assert_allclose(step.s, -G / 11.0)
    assert len(calls) == 1


@pytest.mark.parametrize("accelerator", [None, *ACCELERATORS])
def test_a_series_cut_short_is_summed_without_what_it_cannot_use(accelerator):
    left = [2]

    def product(v):
        left[0] -= 1
        return H @ v if left[0] >= 0 else np.nan * v

    rule = SaddleFreeSeries(
        engine="binomial", terms=20, order=2, accelerator=accelerator, scaling="source"
    )
    step = rule.propose(point(G), ProductOperator(product), Damping(0.1))
    assert np.all(np.isfinite(step.s))
    assert step.slope < 0


def test_a_series_that_diverges_falls_back_on_descent():
    """With V far below the largest eigenvalue the sum is worthless; the step still descends."""
    rule = SaddleFreeSeries(engine="binomial", terms=20, scaling="source", accelerator=None)
    step = rule.propose(
        point(G), ProductOperator(lambda v: 1e3 * (np.diag([1, -1, 1e-3]) @ v)), Damping(0)
    )
    assert np.all(np.isfinite(step.s))
    assert step.slope < 0


@pytest.mark.parametrize("accelerator", [None, *ACCELERATORS])
def test_the_order_is_what_the_terms_allow_but_not_more_than_four(accelerator):
    windows = [
        SaddleFreeSeries(engine="binomial", terms=k, accelerator=accelerator)._window
        for k in (1, 2, 3, 4, 8, 9, 40)
    ]
    if accelerator is None:
        assert windows == [1] * 7
    elif accelerator == "levin-t":
        assert windows == [1, 1, 3, 4, 6, 6, 6]
    else:
        assert windows == [1, 1, 3, 3, 7, 9, 9]


@pytest.mark.parametrize(
    "options",
    [
        {"engine": "x"},
        {"terms": 0},
        {"change": -1.0},
        {"accelerator": "rho"},
        {"scaling": "x"},
        {"order": -1},
        {"order": 10, "terms": 5, "engine": "binomial"},
        {"order": 4, "terms": 5, "engine": "binomial", "accelerator": "levin-t"},
        {"series": "x"},
    ],
)
def test_options_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SaddleFreeSeries(**options)
