"""The saddle-free series: safeguards, limits and the settings of the source."""

from __future__ import annotations

import numpy as np
import pytest

from negopt._types import Iterate
from negopt.curvature.products import ProductMemory, ProductOperator
from negopt.steps.sfn_series import SaddleFreeSeries

RNG = np.random.default_rng(0)
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
    step = rule.propose(point(G), ProductOperator(lambda v: np.nan * v), 0.1, RNG)
    np.testing.assert_allclose(step.s, -G / np.linalg.norm(G))
    assert step.slope < 0


@pytest.mark.parametrize("engine", ["krylov", "binomial"])
def test_no_curvature_gives_a_gradient_step(engine):
    rule = SaddleFreeSeries(engine=engine)
    step = rule.propose(point(G), ProductOperator(lambda v: 0.0 * v), 0.1, RNG)
    assert np.all(np.isfinite(step.s))
    np.testing.assert_allclose(step.s / np.linalg.norm(step.s), -G / np.linalg.norm(G))


def test_a_product_that_fails_on_the_way_ends_the_series():
    left = [8]

    def product(v):
        left[0] -= 1
        return H @ v if left[0] > 0 else np.inf * v

    rule = SaddleFreeSeries(engine="binomial", terms=20, order=1)
    operator = ProductOperator(product)
    with np.errstate(invalid="ignore"):
        step = rule.propose(point(G), operator, 0.1, RNG)
    assert len(operator.basis) < 20
    assert np.all(np.isfinite(step.s))
    assert step.slope < 0


def test_the_krylov_engine_stops_when_the_step_settles():
    spectrum = np.diag(np.linspace(1.0, 1.2, 40))
    g = np.ones(40)
    counts = {}
    for change in (0.0, 0.05):
        product, calls = counted(spectrum)
        SaddleFreeSeries(change=change).propose(point(g), ProductOperator(product), 0.01, RNG)
        counts[change] = len(calls)
    assert counts[0.05] <= 5 < counts[0.0] <= 20


def test_products_of_the_series():
    """2 (K - 1) for K terms, and five or fewer for the Lanczos bound."""
    product, calls = counted(H)
    SaddleFreeSeries(engine="binomial", terms=6, scaling="source").propose(
        point(G), ProductOperator(product), 0.1, RNG
    )
    assert len(calls) == 2 * 5 + 1  # and s'Hs
    product, calls = counted(H)
    SaddleFreeSeries(engine="binomial", terms=6).propose(
        point(G), ProductOperator(product), 0.1, RNG
    )
    assert len(calls) == 2 * 5 + 1 + 3


def test_the_source_scaling_is_a_running_maximum_from_100():
    memory = ProductMemory()
    rule = SaddleFreeSeries(engine="binomial", terms=6, scaling="source")
    rule.propose(point(G), ProductOperator(lambda v: H @ v, memory), 0.1, RNG)
    assert memory.scale == 100.0
    rule.propose(point(G), ProductOperator(lambda v: 10 * (H @ v), memory), 0.1, RNG)
    expected = np.linalg.norm(100 * H @ H @ G) / np.linalg.norm(G)
    assert memory.scale == pytest.approx(max(100.0, expected))
    rule.propose(point(G), ProductOperator(lambda v: H @ v, memory), 0.1, RNG)
    assert memory.scale == pytest.approx(max(100.0, expected))


def test_the_lanczos_bound_is_let_go_slowly():
    memory = ProductMemory()
    rule = SaddleFreeSeries(engine="binomial", terms=6)
    rule.propose(point(G), ProductOperator(lambda v: 10 * (H @ v), memory), 0.1, RNG)
    assert memory.scale == pytest.approx(1.1 * 1600)
    rule.propose(point(G), ProductOperator(lambda v: H @ v, memory), 0.1, RNG)
    assert memory.scale == pytest.approx(1.1 * 800)


def test_a_series_that_diverges_falls_back_on_descent():
    """With V far below the largest eigenvalue the sum is worthless; the step still descends."""
    rule = SaddleFreeSeries(engine="binomial", terms=20, scaling="source", accelerator=None)
    step = rule.propose(
        point(G), ProductOperator(lambda v: 1e3 * (np.diag([1, -1, 1e-3]) @ v)), 0, RNG
    )
    assert np.all(np.isfinite(step.s))
    assert step.slope < 0


@pytest.mark.parametrize(
    "options",
    [
        {"engine": "x"},
        {"terms": 0},
        {"change": -1.0},
        {"accelerator": "shanks"},
        {"scaling": "x"},
        {"order": -1},
        {"order": 10, "terms": 5, "engine": "binomial"},
    ],
)
def test_options_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SaddleFreeSeries(**options)
