"""Models by their eigenvalues: products, solves and steps against the dense matrix."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negopt.core.types import Iterate
from negopt.models.spectrum import Spectrum, spectral_step


def point(g):
    return Iterate(np.zeros_like(g), 0.0, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))


def build(rng, n, k, *, values=None, gamma=None):
    """Return a spectrum of k directions, in weights of r >= k rows, and its dense matrix."""
    gamma = 10.0 ** rng.uniform(-2, 2) if gamma is None else gamma
    if values is None:
        values = rng.standard_normal(k) * 10.0 ** rng.uniform(-2, 2, k)
    V = np.linalg.qr(rng.standard_normal((k, k)))[0]
    small = (V * (values - gamma)) @ V.T
    if k == n:
        return Spectrum(np.zeros((2, n)), None, small, gamma, n), gamma * np.eye(n) + small
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0][:, :k]
    mixed = rng.standard_normal((k + 2, k))
    rows, weights = mixed @ Q.T, np.linalg.pinv(mixed)
    B = gamma * np.eye(n) + Q @ small @ Q.T
    return Spectrum(rows, weights, small, gamma, n), B


@settings(max_examples=100)
@given(seed=st.integers(0, 10**9), n=st.integers(1, 12), outside=st.integers(0, 12))
def test_products_and_solves(seed, n, outside):
    rng = np.random.default_rng(seed)
    k = max(n - outside, 0)
    model, B = build(rng, n, k)
    v = rng.standard_normal(n)
    size, norm = np.linalg.norm(B, 2), np.linalg.norm(v)
    np.testing.assert_allclose(model.matvec(v), B @ v, atol=1e-11 * size * norm)
    values, vectors = np.linalg.eigh(B)
    worst = 1e-10 * size / np.min(np.abs(values)) ** 2 * norm
    inside = vectors.T @ v
    found = model.solve(v)
    np.testing.assert_allclose(found, vectors @ (inside / values), atol=worst)
    found = model.solve(v, absolute=True)
    np.testing.assert_allclose(found, vectors @ (inside / np.abs(values)), atol=worst)
    floor = np.maximum(np.abs(values), 0.5 * max(size, model.gamma))
    found = model.solve(v, absolute=True, floor=0.5)
    if k < n:
        np.testing.assert_allclose(found, vectors @ (inside / floor), atol=1e-9 * norm / floor[0])
    assert model.full == (k == n)
    parts, length, _ = model.split(v, norm)
    assert np.hypot(np.linalg.norm(parts), length) == pytest.approx(norm)


@settings(max_examples=150)
@given(
    seed=st.integers(0, 10**9),
    n=st.integers(1, 10),
    outside=st.integers(0, 10),
    kind=st.sampled_from(["any", "positive", "hard", "inside"]),
    log_radius=st.floats(-3, 3),
    absolute=st.booleans(),
)
def test_steps(seed, n, outside, kind, log_radius, absolute):
    """The optimality conditions of Moré and Sorensen, hard case included."""
    rng = np.random.default_rng(seed)
    k = max(n - outside, 0)
    values = rng.standard_normal(k)
    if kind == "positive":
        values = np.abs(values) + 0.1
    model, B = build(rng, n, k, values=values, gamma=10.0 ** rng.uniform(-1, 1))
    g = rng.standard_normal(n)
    lam, vectors = np.linalg.eigh(B)
    if kind == "hard" and n > 1:
        g -= vectors[:, 0] * (vectors[:, 0] @ g)
    elif kind == "inside" and 0 < k < n:
        g = model.expand(rng.standard_normal(k), 0.0, g)
    radius = 10.0**log_radius
    step = spectral_step(point(g), model, radius, absolute=absolute)
    if absolute:
        lam = np.abs(lam)
        B = (vectors * lam) @ vectors.T
    s, length = step.s, np.linalg.norm(step.s)
    assert length <= radius * (1 + 1e-12)
    assert step.predicted_decrease == pytest.approx(-(g @ s + 0.5 * s @ B @ s), rel=1e-8)
    sigma = max(-float(s @ (g + B @ s)) / length**2, 0.0)
    size = np.linalg.norm(B, 2)
    assert np.linalg.norm(B @ s + sigma * s + g) <= 1e-8 * (np.linalg.norm(g) + size * length)
    scale = size + np.linalg.norm(g) / radius
    assert min(lam) + sigma >= -1e-8 * scale
    assert sigma * (radius - length) <= 1e-8 * scale * radius
    if step.on_boundary:
        assert length == pytest.approx(radius, rel=1e-9)


@pytest.mark.parametrize("part", [1e-2, 1e-5, 1e-8, 1e-12, 0.0])
def test_a_vector_almost_inside_the_basis(part):
    """The part outside is formed where its length would cancel."""
    rng = np.random.default_rng(2)
    model, _ = build(rng, 30, 4)
    inside = model.expand(rng.standard_normal(4), 0.0, np.zeros(30))
    other = rng.standard_normal(30)
    other -= model.expand(model.project(other), 0.0, other)
    v = inside + part * np.linalg.norm(inside) / np.linalg.norm(other) * other
    _, length, _ = model.split(v, float(np.linalg.norm(v)))
    expected = part * np.linalg.norm(inside) if part > 1e-9 else 0.0
    assert length == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_array_library(xp_case, dtype):
    rng = np.random.default_rng(4)
    n, k = 8, 3
    host, B = build(rng, n, k, values=np.array([-1.0, 0.5, 2.0]), gamma=1.5)
    rows = xp_case.asarray(host.rows, dtype)
    vals, vecs = host.eigen
    small = (vecs * (vals - 1.5)) @ vecs.T
    model = Spectrum(rows, host.weights, small, 1.5, n)
    g = rng.standard_normal(n)
    v = xp_case.asarray(g, dtype)
    tolerance = 1e-10 if dtype == "float64" else 1e-4
    values, vectors = np.linalg.eigh(B)
    solved = vectors @ ((vectors.T @ g) / np.abs(values))
    for found, expected in ((model.matvec(v), B @ g), (model.solve(v, absolute=True), solved)):
        assert xp_case.owns(found)
        assert found.dtype == v.dtype
        np.testing.assert_allclose(xp_case.to_numpy(found), expected, atol=tolerance * 10)
    here = Iterate(v, 0.0, v, float(np.linalg.norm(g)), float(np.max(np.abs(g))))
    step = spectral_step(here, model, 0.7)
    assert xp_case.owns(step.s)
    assert step.s.dtype == v.dtype
    expected = spectral_step(point(g), host, 0.7).s
    np.testing.assert_allclose(xp_case.to_numpy(step.s), expected, atol=tolerance)
