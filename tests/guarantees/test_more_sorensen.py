"""The trust-region step is a global minimiser of the model, hard cases included.

Theorem (Moré and Sorensen, 1983).  s minimises ``g's + s'Bs/2`` over ``||s|| <= r`` if and only
if there is a sigma >= 0 with ``(B + sigma I) s = -g``, ``sigma (r - ||s||) = 0`` and ``B + sigma
I`` positive semidefinite.  The step of a limited-memory model is that of a radius of its own, at
least 0.9 of the radius asked for: it satisfies the first and the third condition for its own
length, so its decrease is at least 0.81 of the largest possible, and at least 0.9 of Cauchy's
where the model is convex along g.

Tested for the raw solver and for limited-memory models in all regimes of B: positive definite with
the minimiser inside; positive definite at the boundary; singular; indefinite; the hard case.
References: eigenvalues of the dense B, and arithmetic with 60 digits.  The solver is held to 1e-12;
the models, whose basis is orthonormal to about 1e-8 where pairs are nearly dependent, to 1e-6.
"""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from negopt.algebra.secular import BOUNDARY, HARD, INTERIOR, trust_region_step
from negopt.core.bounds import Radius
from negopt.core.types import Iterate
from negopt.curvature.lqn import HybridPairs
from negopt.curvature.lsr1 import LSR1
from negopt.models.limited import ON_BOUNDARY, LimitedModel
from negopt.models.pair_memory import new_pair_memory, store_pair
from negopt.models.spectrum import spectral_step
from negopt.steps.spectral_tr import SpectralTrustRegion

REGIMES = ["interior", "boundary", "singular", "indefinite", "hard"]


def reference(values, parts, radius):
    """Return the least model value, with 60 digits, from eigenvalues and parts of g."""
    with mpmath.workdps(60):
        lam = [mpmath.mpf(v) for v in values]
        g = [mpmath.mpf(p) for p in parts]
        r = mpmath.mpf(radius)
        low = min(lam)

        def steps(sigma):
            return [
                mpmath.mpf(0) if b == 0 else -b / (a + sigma) for a, b in zip(lam, g, strict=True)
            ]

        def length(sigma):
            if any(a + sigma == 0 and b != 0 for a, b in zip(lam, g, strict=True)):
                return mpmath.inf
            return mpmath.sqrt(mpmath.fsum(v * v for v in steps(sigma)))

        start = max(mpmath.mpf(0), -low)
        if length(start) <= r:
            s = steps(start)
            square = mpmath.fsum(v * v for v in s)
            q = mpmath.fsum(b * v + a * v * v / 2 for a, b, v in zip(lam, g, s, strict=True))
            if low < 0:  # the hard case: the rest of the way along the lowest direction
                q += low / 2 * (r * r - square)
            return q
        # 1/||s|| is concave in sigma: Newton's method from the left never passes the root.
        sigma = max([start, *(abs(b) / r - a for a, b in zip(lam, g, strict=True) if b != 0)])
        for _ in range(300):
            s = steps(sigma)
            square = mpmath.fsum(v * v for v in s)
            slope = mpmath.fsum(v * v / (a + sigma) for a, v in zip(lam, s, strict=True) if v != 0)
            change = square / slope * (mpmath.sqrt(square) / r - 1)
            sigma += change
            if abs(change) <= mpmath.mpf(10) ** -40 * sigma:
                break
        s = steps(sigma)
        return mpmath.fsum(b * v + a * v * v / 2 for a, b, v in zip(lam, g, s, strict=True))


def assert_optimal(B, g, s, radius, tolerance, share=1.0):
    """Check the four conditions; sigma is what the step itself says of it.

    A step of at least `share` of the radius is on the boundary.
    """
    size = np.linalg.norm(g) + np.linalg.norm(B, 2) * np.linalg.norm(s)
    length = np.linalg.norm(s)
    assert length <= radius * (1 + 1e-14)
    sigma = max(0.0, -float(s @ (g + B @ s)) / float(s @ s)) if length > 0 else 0.0
    lowest = np.linalg.eigvalsh(B)[0]
    scale = max(np.linalg.norm(B, 2), np.linalg.norm(g) / radius)
    assert np.linalg.norm(B @ s + sigma * s + g) <= tolerance * size
    assert lowest + sigma >= -tolerance * scale
    assert sigma * (share * radius - length) <= tolerance * scale * radius


def regime(kind, rng, k, scale):
    """Return eigenvalues, parts of g and a radius of one regime."""
    values = np.sort(rng.uniform(0.1, 10.0, k)) * scale
    parts = rng.standard_normal(k) * 10.0 ** rng.uniform(-3, 3)
    if kind in ("singular", "indefinite", "hard"):
        values -= values[0]
    if kind in ("indefinite", "hard"):
        values -= scale * rng.uniform(0.01, 5.0)
    if kind == "singular" and rng.random() < 0.5:
        parts[0] = 0.0
    if kind == "hard":
        if k > 2 and rng.random() < 0.5:
            values[1] = values[0]  # a multiple eigenvalue
        parts[values == values[0]] = 0.0
    gaps = values if kind in ("interior", "boundary") else values - values[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        pieces = np.where(parts == 0.0, 0.0, parts / gaps)
    length = np.linalg.norm(pieces)
    finite = length if np.isfinite(length) and length > 0 else np.linalg.norm(parts) / scale
    if kind == "interior":
        radius = finite * rng.uniform(1.01, 10)
    elif kind == "hard":
        radius = (finite or 1.0) * rng.uniform(1.01, 10)
    else:
        radius = finite * 10 ** rng.uniform(-2, -0.01)
    return values, parts, radius or 1.0


@pytest.mark.parametrize("kind", REGIMES)
@settings(max_examples=60)
@given(k=st.integers(1, 7), seed=st.integers(0, 10**9), power=st.integers(-60, 60))
def test_kernel(kind, k, seed, power):
    rng = np.random.default_rng(seed)
    values, parts, radius = regime(kind, rng, k, 2.0**power)
    order = rng.permutation(k)
    values, parts = values[order], parts[order]
    step = np.empty(k)
    sigma, case, index = trust_region_step(values, parts, radius, step)
    assert_optimal(np.diag(values), parts, step, radius, 1e-12)
    q = float(parts @ step + values @ step**2 / 2)
    q_best = float(reference(values, parts, radius))
    assert q == pytest.approx(q_best, rel=1e-11, abs=1e-300)
    shifted = (values + sigma) * step + parts
    scale = np.linalg.norm(parts) + (np.abs(values).max() + sigma) * np.linalg.norm(step)
    assert np.linalg.norm(shifted) <= 1e-11 * scale
    if kind == "interior":
        assert (sigma, case, index) == (0.0, INTERIOR, -1)
    if kind in ("boundary", "indefinite", "hard"):
        assert case in (BOUNDARY, HARD)
        assert np.linalg.norm(step) == pytest.approx(radius, rel=1e-12)
    if case == HARD:
        assert values[index] == values.min()


@settings(max_examples=100)
@given(
    seed=st.integers(0, 10**9),
    distance=st.integers(-17, -1),
    share=st.integers(-17, 0),
    radius=st.floats(1e-3, 1e3),
)
def test_kernel_close_to_the_hard_case(seed, distance, share, radius):
    """Part of g along the lowest direction, and gap to the next, from 1 down to rounding."""
    rng = np.random.default_rng(seed)
    values = np.array([-1.0, -1.0 + 10.0**distance, 2.0, 3.0])
    parts = np.array([10.0**share, 10.0**share, 1.0, 1.0]) * rng.standard_normal(4)
    step = np.empty(4)
    trust_region_step(values, parts, radius, step)
    assert_optimal(np.diag(values), parts, step, radius, 1e-12)
    q = float(parts @ step + values @ step**2 / 2)
    assert q == pytest.approx(float(reference(values, parts, radius)), rel=1e-12)


@pytest.mark.parametrize("values", [[0.0], [0.0, 0.0], [-0.0, 0.0, 0.0]])
def test_kernel_without_any_curvature(values):
    """B = 0: the step goes down the gradient to the boundary."""
    values = np.array(values)
    parts = np.arange(1.0, len(values) + 1)
    step = np.empty_like(parts)
    trust_region_step(values, parts, 0.5, step)
    np.testing.assert_allclose(step, -0.5 * parts / np.linalg.norm(parts), rtol=1e-14)


@pytest.mark.parametrize("size", [1e-200, 1e200])
@pytest.mark.parametrize("values", [[-1.0, 2.0], [0.5, 2.0], [0.0, 0.0]])
def test_lengths_whose_squares_are_beyond_float64(values, size):
    """The solution is that of the same problem in units of one."""
    values, parts = np.array(values), np.array([1.0, -3.0])
    step, far = np.empty(2), np.empty(2)
    sigma, case, _ = trust_region_step(values, parts, 0.3, step)
    assert trust_region_step(values, size * parts, 0.3 * size, far)[:2] == (
        pytest.approx(sigma, rel=1e-12),
        case,
    )
    np.testing.assert_allclose(far, size * step, rtol=1e-12)


def test_a_radius_too_small_for_its_multiplier():
    step = np.empty(2)
    sigma, case, _ = trust_region_step(np.array([1.0, 2.0]), np.array([3.0, 4.0]), 1e-310, step)
    assert (sigma, case) == (math.inf, BOUNDARY)
    np.testing.assert_allclose(step, [-0.6e-310, -0.8e-310])


def model_of(B, rng, k, n, gamma, span):
    """Return an SR1 model that is exactly B (which differs from gamma I on `span` only)."""
    memory = new_pair_memory(np.zeros(n), max(k, 1))
    weights = np.linalg.qr(rng.standard_normal((k, k)))[0] if k else np.zeros((0, 0))
    for w in weights:
        s = span @ w * 10.0 ** rng.uniform(-2, 2)
        assert store_pair(memory, s, B @ s, None, remember=20, block=0)
    return LimitedModel(memory, gamma, n)


def point(g):
    gnorm = float(np.linalg.norm(g))
    return Iterate(np.zeros_like(g), 0.0, g, gnorm, float(np.max(np.abs(g))))


def check(operator, B, g, radius, step, tolerance=1e-6, share=ON_BOUNDARY):
    """Check a step against the dense B: optimal for its length, and what it promises."""
    assert_optimal(B, g, step.s, radius, tolerance, share)
    q = float(g @ step.s + step.s @ B @ step.s / 2)
    assert step.predicted_decrease == pytest.approx(-q, rel=tolerance)
    lam, vectors = np.linalg.eigh(B)
    own = radius
    if step.on_boundary:
        own = np.linalg.norm(step.s)
        assert own >= share * radius * (1 - 1e-12)
    assert q == pytest.approx(float(reference(lam, vectors.T @ g, own)), rel=tolerance)


@pytest.mark.parametrize("lowest", ["in span", "gamma"])
@pytest.mark.parametrize("kind", REGIMES)
@settings(max_examples=25)
@given(k=st.integers(1, 5), extra=st.integers(0, 6), seed=st.integers(0, 10**9))
@example(k=4, extra=1, seed=33)
@example(k=4, extra=6, seed=137)
def test_models_in_five_regimes(kind, lowest, k, extra, seed):
    """Eigenvalues k in the span of the pairs, and gamma > 0 on the rest of the space."""
    rng = np.random.default_rng(seed)
    n = k + extra
    values, parts, radius = regime(kind, rng, k + 1, 1.0)
    if lowest == "in span":
        low, gamma = np.delete(values, k), values[k]
        inside, outside = np.delete(parts, k), parts[k]
    else:
        assume(extra >= 1)
        low, gamma, inside, outside = values[1:], values[0], parts[1:], parts[0]
        if gamma <= 0.0:  # gamma takes the place of the lowest positive one
            low, gamma = np.append(low[1:], values[0]), low[0]
            inside, outside = np.append(inside[1:], outside), inside[0]
    assume(gamma > 1e-3)
    assume(np.min(np.abs(low - gamma)) > 1e-3)
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    span, rest = Q[:, :k], Q[:, k:]
    B = gamma * np.eye(n) + (span * (low - gamma)) @ span.T
    B = (B + B.T) / 2
    g = span @ inside
    if extra:
        g = g + outside * rest[:, 0]
    assume(np.linalg.norm(g) > 0)
    operator = model_of(B, rng, k, n, gamma, span)
    dense = np.stack([operator.matvec(e) for e in np.eye(n)], axis=1)
    np.testing.assert_allclose(dense, B, atol=1e-8 * max(gamma, np.linalg.norm(B, 2)))
    step = SpectralTrustRegion().propose(point(g), operator, Radius(radius))
    check(operator, B, g, radius, step)
    # By its eigenvalues the step is on the boundary itself.
    step = spectral_step(point(g), operator.spectrum, radius)
    check(operator, B, g, radius, step, share=1.0 - 1e-9)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**9),
    n=st.integers(1, 6),
    pairs=st.integers(0, 9),
    rule=st.sampled_from([LSR1(maxcor=4), LSR1(maxcor=3, gamma="last"), HybridPairs(maxcor=4)]),
    log_radius=st.floats(-4, 4),
)
def test_rules_against_60_digits(seed, n, pairs, rule, log_radius):
    """Models of random, indefinite pairs: B from its columns, eigenvalues with 60 digits."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n))
    A = A + A.T
    memory = rule.init(np.zeros(n))
    for _ in range(pairs):
        s = rng.standard_normal(n) * 10.0 ** rng.uniform(-3, 1)
        rule.update(memory, s, A @ s + 0.1 * np.linalg.norm(s) * rng.standard_normal(n))
    g = rng.standard_normal(n)
    operator = rule.model(memory, None, point(g))
    radius = 10.0**log_radius
    step = SpectralTrustRegion().propose(point(g), operator, Radius(radius))
    B = np.stack([operator.matvec(e) for e in np.eye(n)], axis=1)
    assert np.linalg.norm(B - B.T) <= 1e-7 * np.linalg.norm(B)
    B = (B + B.T) / 2
    assert_optimal(B, g, step.s, radius, 1e-6, ON_BOUNDARY)
    with mpmath.workdps(60):
        lam, vectors = mpmath.eigsy(mpmath.matrix(B.tolist()))
        parts = vectors.T * mpmath.matrix(g.tolist())
        own = float(np.linalg.norm(step.s)) if step.on_boundary else radius
        best = float(reference(list(lam), list(parts), own))
        largest = float(reference(list(lam), list(parts), radius))
    assert -step.predicted_decrease == pytest.approx(best, rel=1e-6)
    assert step.predicted_decrease >= -0.81 * largest * (1 - 1e-6)
    curvature, gnorm = g @ B @ g, np.linalg.norm(g)
    t = radius / gnorm if curvature <= 0.0 else min(radius / gnorm, gnorm**2 / curvature)
    cauchy = t * gnorm**2 - 0.5 * t * t * curvature
    assert step.predicted_decrease >= (0.9 if curvature > 0.0 else 0.81) * cauchy * (1 - 1e-6)


@pytest.mark.parametrize("outside", [1e-3, 1e-6, 1e-9, 1e-12, 1e-15, 0.0])
def test_gamma_lowest_and_g_almost_inside_the_span(outside):
    """As the part of g outside the span vanishes, the step stays optimal all the way."""
    rng = np.random.default_rng(3)
    n, k, gamma = 40, 3, 1e-3
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    span = Q[:, :k]
    B = gamma * np.eye(n) + (span * (np.array([1.0, 2.0, 5.0]) - gamma)) @ span.T
    operator = model_of(B, rng, k, n, gamma, span)
    g = span @ np.array([1.0, -1.0, 0.5]) + outside * Q[:, k]
    for radius in (0.3, 1.05, 3.0):
        step = operator.trust_step(point(g), radius)
        assert_optimal(B, g, step.s, radius, 1e-9, ON_BOUNDARY)
        step = spectral_step(point(g), operator.spectrum, radius)
        assert_optimal(B, g, step.s, radius, 1e-9)


@settings(max_examples=30)
@given(seed=st.integers(0, 10**9), n=st.integers(2, 8), radius=st.floats(0.01, 100))
def test_absolute_model(seed, n, radius):
    """``model="absolute"`` minimises the model of |B|."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n))
    A = A + A.T
    rule = LSR1(maxcor=4)
    memory = rule.init(np.zeros(n))
    for s in rng.standard_normal((3, n)):
        rule.update(memory, s, A @ s)
    g = rng.standard_normal(n)
    operator = rule.model(memory, None, point(g))
    B = np.stack([operator.matvec(e) for e in np.eye(n)], axis=1)
    lam, vectors = np.linalg.eigh((B + B.T) / 2)
    absolute = (vectors * np.abs(lam)) @ vectors.T
    rule = SpectralTrustRegion(model="absolute")
    step = rule.propose(point(g), operator, Radius(radius))
    assert_optimal(absolute, g, step.s, radius, 1e-6)


@pytest.mark.parametrize(("lowest", "part"), [(1.0, 0.7), (-2.0, 0.7), (-2.0, 0.0)])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_array_library(xp_case, dtype, lowest, part):
    """The same step, hard case included, on every library and in float32."""
    n, k, gamma = 9, 2, 4.0
    host = np.random.default_rng(5)
    Q = np.linalg.qr(host.standard_normal((n, n)))[0]
    B = gamma * np.eye(n) + (Q[:, :k] * (np.array([lowest, 5.0]) - gamma)) @ Q[:, :k].T
    memory = new_pair_memory(xp_case.asarray(np.zeros(n), dtype), 3)
    for s in Q[:, :k].T:
        pair = xp_case.asarray(s, dtype), xp_case.asarray(B @ s, dtype)
        assert store_pair(memory, *pair, None, remember=20, block=0)
    g = Q[:, :k] @ np.array([part, -0.4])
    x = xp_case.asarray(np.zeros(n), dtype)
    gx = xp_case.asarray(g, dtype)
    here = Iterate(x, 0.0, gx, float(np.linalg.norm(g)), float(np.max(np.abs(g))))
    operator = LimitedModel(memory, gamma, n)
    step = SpectralTrustRegion().propose(here, operator, Radius(0.5))
    assert xp_case.owns(step.s)
    assert step.s.dtype == gx.dtype
    s = xp_case.to_numpy(step.s).astype(float)
    length = float(np.linalg.norm(s))
    assert ON_BOUNDARY * 0.5 * (1 - 1e-6) <= length <= 0.5 * (1 + 1e-6)
    q = g @ s + s @ B @ s / 2
    lam, vectors = np.linalg.eigh(B)
    tolerance = 1e-9 if dtype == "float64" else 1e-3
    assert q == pytest.approx(float(reference(lam, vectors.T @ g, length)), rel=tolerance)
