"""The trust-region step in a basis of products: accuracy, re-use, models, what is not finite."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negopt.algebra.secular import cubic_radius, trust_region_step
from negopt.core.bounds import Radius
from negopt.core.types import Iterate, Step
from negopt.curvature.exact_products import ProductOperator
from negopt.curvature.metric import Metric
from negopt.models.pair_memory import Weights
from negopt.models.spectrum import Spectrum
from negopt.steps.krylov_tr import FLOOR, KrylovTrustRegion


def point(g):
    return Iterate(np.zeros_like(g), 0.0, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))


class Counted:
    def __init__(self, H):
        self.H, self.count = H, 0

    def __call__(self, v):
        self.count += 1
        return self.H @ v


@settings(max_examples=80)
@given(
    n=st.integers(1, 20),
    seed=st.integers(0, 10**9),
    log_radius=st.floats(-3, 3),
    forcing=st.sampled_from([1e-12, 0.5]),
)
def test_step(n, seed, log_radius, forcing):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n))
    H, g, radius = A + A.T, rng.standard_normal(n), 10.0**log_radius
    product = Counted(H)
    operator = ProductOperator(product)
    rule = KrylovTrustRegion(forcing=forcing)
    step = rule.propose(point(g), operator, Radius(radius))
    assert np.linalg.norm(step.s) <= radius * (1 + 1e-14)
    assert step.slope == pytest.approx(g @ step.s, rel=1e-9)
    assert step.quadratic == pytest.approx(step.s @ H @ step.s, rel=1e-6, abs=1e-8 * radius)
    assert product.count <= n
    if forcing < 1e-10:  # g is generic: the space is complete, and the step that of eigh
        values, vectors = np.linalg.eigh(H)
        small = np.empty(n)
        trust_region_step(values, vectors.T @ g, radius, small)
        best = g @ vectors @ small + values @ small**2 / 2
        assert -step.predicted_decrease == pytest.approx(best, rel=1e-6)
    # A rejected step: the smaller radius is solved for in the same basis.
    count = product.count
    again = rule.propose(point(g), operator, Radius(1e-2 * radius))
    assert np.linalg.norm(again.s) <= 1e-2 * radius * (1 + 1e-14)
    assert product.count - count <= max(0, n - count)
    if operator.basis.k == count:
        assert product.count == count


def test_the_forcing_term_stops_early():
    rng = np.random.default_rng(1)
    Q = np.linalg.qr(rng.standard_normal((60, 60)))[0]
    H = (Q * np.linspace(1, 2, 60)) @ Q.T
    counts = []
    for forcing in (0.5, 1e-3, 1e-8):
        product = Counted(H)
        g = 10 * rng.standard_normal(60)
        step = KrylovTrustRegion(forcing=forcing).propose(
            point(g), ProductOperator(product), Radius(1e6)
        )
        assert np.linalg.norm(H @ step.s + g) <= forcing * np.linalg.norm(g)
        counts.append(product.count)
    assert counts[0] < counts[1] < counts[2] < 60


def test_the_limit_on_products():
    rng = np.random.default_rng(1)
    product = Counted(np.diag(np.geomspace(1e-4, 1e4, 50)))
    rule = KrylovTrustRegion(max_products=7, forcing=1e-9)
    rule.propose(point(rng.standard_normal(50)), ProductOperator(product), Radius(1e9))
    assert product.count == 7


@pytest.mark.parametrize("good", [0, 3])
def test_products_that_are_not_finite(good):
    """Without any product: steepest descent; after some: the best in what there is."""
    left = [good]

    def product(v):
        left[0] -= 1
        return np.diag(np.arange(1.0, 9.0)) @ v if left[0] >= 0 else np.nan * v

    g = np.ones(8)
    step = KrylovTrustRegion(forcing=1e-9).propose(point(g), ProductOperator(product), Radius(0.1))
    assert np.linalg.norm(step.s) == pytest.approx(0.1)
    assert step.predicted_decrease > 0
    if good == 0:
        np.testing.assert_allclose(step.s, -0.1 * g / np.sqrt(8))


def test_refusals():
    with pytest.raises(TypeError, match="radius"):
        KrylovTrustRegion().propose(point(np.ones(2)), ProductOperator(lambda v: v), None)
    with pytest.raises(ValueError, match="max_products"):
        KrylovTrustRegion(max_products=0)
    with pytest.raises(ValueError, match="forcing"):
        KrylovTrustRegion(forcing=1.0)
    with pytest.raises(ValueError, match="direction"):
        KrylovTrustRegion(direction="series")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_array_library(xp_case, dtype):
    rng = np.random.default_rng(3)
    A = rng.standard_normal((6, 6))
    H, g = A + A.T, rng.standard_normal(6)
    Hx, gx = xp_case.asarray(H, dtype), xp_case.asarray(g, dtype)
    here = Iterate(gx, 0.0, gx, float(np.linalg.norm(g)), float(np.max(np.abs(g))))
    step = KrylovTrustRegion(forcing=1e-9).propose(
        here, ProductOperator(lambda v: Hx @ v), Radius(0.7)
    )
    assert xp_case.owns(step.s)
    assert step.s.dtype == gx.dtype
    values, vectors = np.linalg.eigh(H)
    small = np.empty(6)
    trust_region_step(values, vectors.T @ g, 0.7, small)
    tolerance = 1e-9 if dtype == "float64" else 1e-3
    np.testing.assert_allclose(xp_case.to_numpy(step.s), vectors @ small, atol=tolerance)


def spectrum_of(B):
    """Return the eigenvalues of a dense matrix in a basis that is the identity."""
    n = len(B)
    return Spectrum(np.zeros((0, n)), None, B - np.eye(n), 1.0, n)


class DenseModel:
    """A dense matrix as a model; `weighted`: its steps come with their multiplier."""

    gamma = 1.0

    def __init__(self, B, *, weighted=True):
        self.B, self.weighted, self.spectrum = B, weighted, spectrum_of(B)
        self.convex = bool(self.spectrum.eigen[0][0] > 0.0)

    def trust_step(self, iterate, radius):
        values, vectors = self.spectrum.eigen
        small, g = np.empty(len(self.B)), iterate.g
        shift, case, _ = trust_region_step(values, vectors.T @ g, radius, small)
        s = vectors @ small
        learnt = Weights(np.zeros(0), 0.0, np.zeros(0), shift) if self.weighted else None
        return Step(s, g @ s, s @ self.B @ s, float(np.linalg.norm(s)), case > 0, learnt=learnt)

    def solve_shifted(self, v, sigma):
        return np.linalg.solve(self.B + sigma * np.eye(len(v)), v)


class Operator:
    """Products with a metric, a model, and what the step has learnt."""

    first_gnorm = 0.0

    def __init__(self, H, *, metric=None, model=None, modelled=False, weighted=True):
        self.product = self.matvec = Counted(H)
        self.metric, self.modelled = metric or Metric(), modelled
        self.model = None if model is None else DenseModel(model, weighted=weighted)
        self.basis = None

    def learnt(self, space):
        return space


def reference(H, g, radius):
    """Return the minimiser over the ball by eigendecomposition."""
    values, vectors = np.linalg.eigh(H)
    small = np.empty(len(g))
    trust_region_step(values, vectors.T @ g, radius, small)
    return vectors @ small


def symmetric(rng, n):
    A = rng.standard_normal((n, n))
    return A + A.T


@settings(max_examples=40)
@given(n=st.integers(1, 10), seed=st.integers(0, 10**6), log_radius=st.floats(-2, 2))
def test_a_metric_is_a_change_of_variables(n, seed, log_radius):
    rng = np.random.default_rng(seed)
    H, g, radius = symmetric(rng, n), rng.standard_normal(n), 10.0**log_radius
    scale = 10.0 ** rng.uniform(-3, 3, n)
    operator = Operator(H / np.outer(scale, scale), metric=Metric(scale))
    step = KrylovTrustRegion(forcing=1e-12).propose(point(g / scale), operator, Radius(radius))
    z = reference(H, g, radius)
    best = -(g @ z + z @ H @ z / 2)
    assert step.predicted_decrease == pytest.approx(best, rel=1e-6)
    assert step.norm == pytest.approx(np.linalg.norm(step.s / scale), rel=1e-9)
    assert step.euclidean == pytest.approx(np.linalg.norm(step.s))
    rows, images = step.learnt.rows, step.learnt.images
    np.testing.assert_allclose(rows @ rows.T, np.eye(len(rows)), atol=1e-12)
    np.testing.assert_allclose(images, rows @ H, atol=1e-9)


@settings(max_examples=40)
@given(n=st.integers(1, 10), seed=st.integers(0, 10**6), log_radius=st.floats(-2, 2))
def test_saddle_free(n, seed, log_radius):
    rng = np.random.default_rng(seed)
    H, g, radius = symmetric(rng, n), rng.standard_normal(n), 10.0**log_radius
    values, vectors = np.linalg.eigh(H)
    if n > 2:  # one that has to be lifted to the floor
        values[1] = 1e-9
    H = (vectors * values) @ vectors.T
    size = np.maximum(np.abs(values), FLOOR * np.max(np.abs(values)))
    rule = KrylovTrustRegion(forcing=1e-12, direction="saddle-free")
    step = rule.propose(point(g), Operator(H), Radius(radius))
    absolute = (vectors * size) @ vectors.T
    s = reference(absolute, g, radius)
    model = lambda s: g @ s + s @ absolute @ s / 2  # noqa: E731
    assert model(step.s) == pytest.approx(model(s), rel=1e-6)
    assert step.quadratic == pytest.approx(step.s @ H @ step.s, rel=1e-6, abs=1e-9 * radius)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("radius", [0.1, 1e3])
@pytest.mark.parametrize("lift", [5, 30])
def test_a_model_that_is_right_takes_one_product(radius, lift, weighted):
    rng = np.random.default_rng(5)
    H, g = symmetric(rng, 30) + lift * np.eye(30), rng.standard_normal(30)
    operator = Operator(H, model=H, weighted=weighted)
    step = KrylovTrustRegion(forcing=1e-6).propose(point(g), operator, Radius(radius))
    assert operator.product.count == 1
    np.testing.assert_allclose(step.s, reference(H, g, radius), rtol=1e-6, atol=1e-6 * radius)


def test_a_model_that_is_nearly_right_saves_products():
    rng = np.random.default_rng(6)
    Q = np.linalg.qr(rng.standard_normal((60, 60)))[0]
    H = (Q * np.geomspace(1e-4, 1e2, 60)) @ Q.T
    E = symmetric(rng, 60)
    g = rng.standard_normal(60)
    half = (Q * np.geomspace(1e-4, 1e2, 60) ** 0.5) @ Q.T
    near = half @ (np.eye(60) + 0.02 * E / np.linalg.norm(E, 2)) @ half
    counts = []
    for model in (None, near):
        operator = Operator(H, model=model)
        step = KrylovTrustRegion(forcing=1e-6).propose(point(g), operator, Radius(1e9))
        assert np.linalg.norm(H @ step.s + g) <= 1e-6 * np.linalg.norm(g)
        counts.append(operator.product.count)
    assert counts[1] < 0.3 * counts[0]


def test_the_preconditioner():
    rng = np.random.default_rng(7)
    B, r = symmetric(rng, 8), rng.standard_normal(8)
    values, vectors = np.linalg.eigh(B)
    expected = (vectors / (np.abs(values) + 0.3)) @ vectors.T @ r
    np.testing.assert_allclose(spectrum_of(B).absolute_solve(r, 0.3, 1e-10), expected)


def test_a_direction_that_promises_too_little_is_not_enough():
    """Its residual is small, but so is its decrease: the gradient is the next direction."""
    delta, H, g = 0.01, np.array([[0.0, 10.0], [10.0, 0.0]]), np.array([1.0, 0.0])
    model = np.linalg.inv([[delta, 1.0], [1.0, 2.0 / delta]])  # its step: along (delta, 1)
    operator = Operator(H, model=model)
    step = KrylovTrustRegion(forcing=0.51).propose(point(g), operator, Radius(1e3))
    assert operator.product.count == 2
    s = reference(H, g, 1e3)
    assert step.predicted_decrease == pytest.approx(-(g @ s + s @ H @ s / 2))


@pytest.mark.parametrize("direction", ["newton", "saddle-free"])
def test_the_model_in_place_of_products(direction):
    rng = np.random.default_rng(8)
    B, g, scale = symmetric(rng, 5), rng.standard_normal(5), np.array([1.0, 10.0, 0.1, 3.0, 1.0])
    operator = Operator(np.nan * np.eye(5), metric=Metric(scale), model=B, modelled=True)
    step = KrylovTrustRegion(direction=direction).propose(point(g / scale), operator, Radius(0.4))
    assert operator.product.count == 0
    if direction == "saddle-free":
        values, vectors = np.linalg.eigh(B)
        B = (vectors * np.abs(values)) @ vectors.T
    np.testing.assert_allclose(step.s / scale, reference(B, g, 0.4), rtol=1e-7)
    assert step.learnt is None


def spread(n, low, high, seed=1):
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    return (Q * np.geomspace(low, high, n)) @ Q.T, rng.standard_normal(n)


@pytest.mark.parametrize("share", [1e-2, 1e-4, 1e-6])
def test_the_forcing_term_falls_with_the_root_of_the_gradient(share):
    """Residuals of ten times the root of the share of the largest gradient so far."""
    H, g = spread(120, 1e-2, 1e2)
    operator = ProductOperator(Counted(H), first_gnorm=np.linalg.norm(g) / share)
    step = KrylovTrustRegion().propose(point(g), operator, Radius(1e9))
    asked = min(0.5, 10.0 * np.sqrt(share))
    left = np.linalg.norm(H @ step.s + g) / np.linalg.norm(g)
    assert left <= asked
    assert left > 0.1 * asked  # and no product is taken for more
    once = ProductOperator(Counted(H), first_gnorm=np.linalg.norm(g))
    KrylovTrustRegion().propose(point(g), once, Radius(1e9))
    assert once.product.count < operator.product.count or asked == 0.5


@pytest.mark.parametrize("model", [None, "near"])
@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), log_radius=st.floats(-4, 2), low=st.sampled_from([1e-6, -1.0]))
def test_a_path_that_ends_is_gone_on_with_in_its_space(model, seed, log_radius, low):
    """Whether conjugate gradients suffice, the ball ends them, or curvature is not positive."""
    n = 40
    H, g = spread(n, 1e-3, 1e2, seed)
    near = None if model is None else H + 0.1 * np.eye(n)
    if low < 0.0:
        H = H - 0.5 * np.eye(n)
    operator, radius = Operator(H, model=near), 10.0**log_radius
    rule = KrylovTrustRegion(forcing=1e-10)
    step = rule.propose(point(g), operator, Radius(radius))
    z = reference(H, g, radius)
    best = -(g @ z + z @ H @ z / 2)
    assert step.predicted_decrease == pytest.approx(best, rel=1e-6)
    assert step.slope == pytest.approx(g @ step.s)
    assert step.quadratic == pytest.approx(step.s @ H @ step.s, rel=1e-6, abs=1e-6 * best)
    # A smaller radius takes the rows as they are; they are orthonormal then.
    count = operator.product.count
    again = rule.propose(point(g), operator, Radius(0.1 * step.norm))
    space = again.learnt
    np.testing.assert_allclose(space.rows @ space.rows.T, np.eye(space.k), atol=1e-12)
    np.testing.assert_allclose(space.images, space.rows @ H, atol=1e-7)
    np.testing.assert_allclose(space.matrix(), space.rows @ H @ space.rows.T, atol=1e-7)
    assert count <= operator.product.count <= n + 2
    z = reference(H, g, 0.1 * step.norm)
    assert again.predicted_decrease == pytest.approx(-(g @ z + z @ H @ z / 2), rel=1e-6)


@settings(max_examples=60)
@given(
    k=st.integers(1, 8),
    seed=st.integers(0, 10**9),
    power=st.floats(-8, 8),
    kind=st.sampled_from(["convex", "indefinite", "hard"]),
)
def test_the_length_of_the_cubic_minimiser(k, seed, power, kind):
    rng = np.random.default_rng(seed)
    values, parts = rng.standard_normal(k), rng.standard_normal(k)
    if kind == "convex":
        values = np.abs(values)
    if kind == "hard":
        parts[np.argmin(values)] = 0.0
    weight = 10.0**power
    radius = cubic_radius(values, parts, weight)
    shift = weight * radius
    low = max(0.0, -values.min())
    assert shift >= low * (1 - 1e-12)
    if shift > low * (1 + 1e-9) and radius > 0.0:
        assert np.linalg.norm(parts / (values + shift)) == pytest.approx(radius, rel=1e-6)
