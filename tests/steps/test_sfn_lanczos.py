"""Saddle-free Newton in a Krylov space: how far it grows, what it refuses, every library."""

from __future__ import annotations

import numpy as np
import pytest

from negopt.core.bounds import Radius
from negopt.core.types import Iterate, Outcome
from negopt.curvature.exact_products import HessianProducts, ProductMemory, ProductOperator
from negopt.steps.sfn_lanczos import SaddleFreeLanczos

G = np.array([1.0, -2.0, 0.5])


def point(g):
    return Iterate(np.zeros_like(g), 0.0, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))


def products_for(rule, g, first_gnorm=0.0):
    H = np.diag(np.linspace(0.1, 10.0, g.size))
    operator = ProductOperator(lambda v: H @ v, first_gnorm=first_gnorm)
    step = rule.propose(point(g), operator, Radius(1e6))
    residual = np.linalg.norm(H @ step.s + g) / np.linalg.norm(g)
    return operator.basis.k, residual


def test_it_grows_until_the_residual_is_small_enough():
    g = np.random.default_rng(1).standard_normal(60)
    counts = []
    for forcing in (0.5, 0.1, 1e-3):
        count, residual = products_for(SaddleFreeLanczos(forcing=forcing), g)
        assert residual <= forcing
        counts.append(count)
    assert counts[0] < counts[1] < counts[2] < 50


def test_a_small_gradient_asks_for_more():
    g = np.random.default_rng(1).standard_normal(60)
    first = 1e6 * np.linalg.norm(g)
    count, residual = products_for(SaddleFreeLanczos(), g, first)
    assert residual <= 10.0 * np.sqrt(np.linalg.norm(g) / first)
    assert count > products_for(SaddleFreeLanczos(), g)[0]


def test_no_more_products_than_allowed():
    g = np.random.default_rng(1).standard_normal(60)
    assert products_for(SaddleFreeLanczos(max_products=3, forcing=1e-9), g)[0] == 3


def test_another_radius_takes_no_product_whatever_it_would_like():
    H = np.diag(np.linspace(0.1, 10.0, 60))
    operator = ProductOperator(lambda v: H @ v)
    here = point(np.random.default_rng(1).standard_normal(60))
    rule = SaddleFreeLanczos(forcing=0.01)
    rule.propose(here, operator, Radius(1e-3))
    used = operator.basis.k
    for bound in (1e6, 1e-6):
        step = rule.propose(here, operator, Radius(bound))
        assert step.norm <= bound
        assert operator.basis.k == used
    assert used < products_for(rule, here.g)[0]


def test_no_finite_product_gives_a_gradient_step_to_the_boundary():
    operator = ProductOperator(lambda v: np.nan * v)
    step = SaddleFreeLanczos().propose(point(G), operator, Radius(0.25))
    np.testing.assert_allclose(step.s, -0.25 * G / np.linalg.norm(G))
    assert step.on_boundary
    assert operator.scale == 0.0


def test_the_unit_waits_for_the_first_curvature():
    memory, rule, products = ProductMemory(), SaddleFreeLanczos(), HessianProducts()
    for curvature, unit in ((0.0, 0.0), (-7.0, 7.0), (3.0, 7.0)):
        operator = ProductOperator(lambda v, c=curvature: c * v, memory.scale)
        step = rule.propose(point(G), operator, Radius(0.25))
        products.update(memory, G, G, Outcome(start=point(G), step=step))
        assert memory.scale == pytest.approx(unit)


def test_it_needs_a_radius():
    with pytest.raises(TypeError, match="TrustRegion"):
        SaddleFreeLanczos().propose(point(G), ProductOperator(lambda v: v), None)


@pytest.mark.parametrize(
    "options",
    [
        {"max_products": 0},
        {"forcing": 0.0},
        {"forcing": 1.0},
        {"floor": 0.0},
        {"floor": 1.0},
        {"model": "signed"},
    ],
)
def test_options_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SaddleFreeLanczos(**options)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_array_library(xp_case, dtype):
    H = np.diag([3.0, -1.0, 0.4])
    host = SaddleFreeLanczos(forcing=1e-12).propose(
        point(G), ProductOperator(lambda v: H @ v), Radius(0.3)
    )
    Hx, gx = xp_case.asarray(H, dtype), xp_case.asarray(G, dtype)
    here = Iterate(xp_case.asarray(np.zeros(3), dtype), 0.0, gx, float(np.linalg.norm(G)), 2.0)
    operator = ProductOperator(lambda v: Hx @ v)
    step = SaddleFreeLanczos(forcing=1e-12).propose(here, operator, Radius(0.3))
    assert xp_case.owns(step.s)
    assert step.s.dtype == gx.dtype
    tolerance = 1e-9 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(xp_case.to_numpy(step.s), host.s, rtol=tolerance, atol=tolerance)
    assert step.norm == pytest.approx(0.3, rel=tolerance)
