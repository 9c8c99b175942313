"""The limited-memory model against dense recursions, and the pairs' products against direct ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from negopt._types import Iterate
from negopt.algebra.secular import trust_region_step
from negopt.models import limited
from negopt.models.limited import (
    BFGS,
    ON_BOUNDARY,
    SR1,
    LimitedModel,
    forget,
    new_pair_memory,
    secant_block,
    store_pair,
)

SEEDS = st.integers(0, 10**9)
SIZES = st.sampled_from([1, 2, 10, 50])


def matrix(rng, n, *, convex):
    """Return a random symmetric matrix."""
    q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    values = 10.0 ** rng.uniform(-1, 1, n)
    if not convex:
        values *= rng.choice([-1.0, 1.0], n)
    return (q * values) @ q.T


def stored(rng, n, m, count, *, convex=True, block=1, noise=0.0):
    """Return a memory after `count` pairs of a matrix, with an error of relative size `noise`."""
    A = matrix(rng, n, convex=convex)
    memory = new_pair_memory(np.zeros(n), m)
    for _ in range(count):
        s = rng.standard_normal(n) * 10.0 ** rng.uniform(-4, 4)
        y = A @ s + noise * np.linalg.norm(s) * rng.standard_normal(n) / math.sqrt(n)
        store_pair(memory, s, y, None, remember=4, block=block)
    return memory


def newest(memory):
    """Return the pairs in the memory with the update of each, oldest first."""
    m, count = memory.capacity, min(memory.count, memory.capacity)
    slots = [(memory.count - count + i) % m for i in range(count)]
    return [(memory.rows[i], memory.rows[m + i], int(memory.kinds[i])) for i in slots]


def recursion(memory, gamma):
    """Return B by the textbook updates of gamma I, and the largest norm on the way."""
    pairs = newest(memory)
    B = gamma * np.eye(pairs[0][0].shape[0])
    largest = abs(gamma)
    single = pairs[: len(pairs) - memory.block] if memory.block > 1 else pairs
    for s, y, kind in single:
        if kind == BFGS:
            Bs = B @ s
            B = B - np.outer(Bs, Bs) / (s @ Bs) + np.outer(y, y) / (s @ y)
        else:
            assert kind == SR1
            r = y - B @ s
            if np.linalg.norm(r) > 1e-13 * np.linalg.norm(y):
                B = B + np.outer(r, r) / (r @ s)
        largest = max(largest, np.linalg.norm(B, 2))
    if memory.block > 1:
        S = np.stack([s for s, _, _ in pairs[-memory.block :]], axis=1)
        Y = np.stack([y for _, y, _ in pairs[-memory.block :]], axis=1)
        C = 0.5 * (S.T @ Y + Y.T @ S)
        BS = B @ S
        B = B - BS @ np.linalg.solve(S.T @ BS, BS.T) + Y @ np.linalg.solve(C, Y.T)
        largest = max(largest, np.linalg.norm(B, 2))
    return B, largest


def columns(model):
    return np.stack([model.matvec(e) for e in np.eye(model.n)], axis=1)


def point(g):
    return Iterate(np.zeros_like(g), 0.0, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))


# --- the matrix ------------------------------------------------------------------------


@settings(max_examples=80)
@given(
    seed=SEEDS,
    n=SIZES,
    m=st.integers(1, 8),
    count=st.integers(1, 20),
    block=st.sampled_from([1, 3, 5]),
    noise=st.sampled_from([0.0, 0.02]),
)
def test_convex_pairs(seed, n, m, count, block, noise):
    """(Block) BFGS, pair after pair: B v, B^-1 v and (B + sigma I)^-1 v."""
    rng = np.random.default_rng(seed)
    memory = stored(rng, n, m, count, block=block, noise=noise)
    assume(not memory.concave)
    gamma = 10.0 ** rng.uniform(-1, 1)
    model = LimitedModel(memory, gamma, n)
    assert model.convex
    B, largest = recursion(memory, gamma)
    size = np.linalg.cond(B)
    assume(largest < 1e4)
    v = rng.standard_normal(n)
    np.testing.assert_allclose(
        model.solve(v, absolute=False), np.linalg.solve(B, v), atol=1e-11 * size * np.linalg.norm(v)
    )
    for sigma in (0.0, 0.3, 1e3):
        expected = np.linalg.solve(B + sigma * np.eye(n), v)
        found = model.solve_shifted(v, sigma)
        np.testing.assert_allclose(found, expected, atol=1e-10 * size * np.linalg.norm(expected))
    np.testing.assert_allclose(columns(model), B, atol=1e-6 * largest)


def well_posed(memory, gamma):
    """Tell whether no denominator of the recursion is nearly zero."""
    B = gamma * np.eye(memory.rows.shape[1])
    for s, y, kind in newest(memory):
        Bs = B @ s
        r = y - Bs
        if kind == BFGS:
            if abs(s @ Bs) < 1e-3 * np.linalg.norm(s) * np.linalg.norm(Bs):
                return False
            B = B - np.outer(Bs, Bs) / (s @ Bs) + np.outer(y, y) / (s @ y)
        else:
            if abs(s @ r) < 1e-3 * np.linalg.norm(s) * max(np.linalg.norm(r), np.linalg.norm(y)):
                return False
            B = B + np.outer(r, r) / (r @ s)
    return np.linalg.cond(B) < 1e6


@settings(max_examples=120)
@given(
    seed=SEEDS,
    n=SIZES,
    m=st.integers(1, 6),
    count=st.integers(1, 13),
    block=st.sampled_from([0, 1]),
)
def test_mixed_pairs(seed, n, m, count, block):
    """Convex pairs by BFGS, others by SR1, or all by SR1."""
    rng = np.random.default_rng(seed)
    memory = stored(rng, n, m, count, convex=False, block=block, noise=0.5)
    gamma = 10.0 ** rng.uniform(-1, 1)
    assume(well_posed(memory, gamma))
    model = LimitedModel(memory, gamma, n)
    B, largest = recursion(memory, gamma)
    np.testing.assert_allclose(columns(model), B, atol=1e-6 * largest)
    v = rng.standard_normal(n)
    values, vectors = np.linalg.eigh(B)
    expected = vectors @ ((vectors.T @ v) / np.abs(values))
    size = np.linalg.cond(B) * np.linalg.norm(expected)
    np.testing.assert_allclose(model.solve(v, absolute=True), expected, atol=1e-8 * size)
    found = model.solve(v, absolute=False)
    np.testing.assert_allclose(found, np.linalg.solve(B, v), atol=1e-8 * size)
    sigma = abs(values[0]) * 10.0 ** rng.uniform(-1, 2)
    shifted = B + sigma * np.eye(n)
    assume(np.linalg.cond(shifted) < 1e6)
    found, expected = model.solve_shifted(v, sigma), np.linalg.solve(shifted, v)
    size = np.linalg.cond(shifted) * np.linalg.norm(expected)
    np.testing.assert_allclose(found, expected, atol=1e-8 * size)


# --- the step ----------------------------------------------------------------------------


def decreases(B, g, radius):
    """Return the largest decrease of the model in the ball, and Cauchy's."""
    values, vectors = np.linalg.eigh(B)
    small = np.empty_like(values)
    trust_region_step(values, vectors.T @ g, radius, small)
    best = -float(small @ (vectors.T @ g) + 0.5 * values @ (small * small))
    curvature, gnorm = g @ B @ g, np.linalg.norm(g)
    share = radius / gnorm
    if curvature > 0.0:
        share = min(share, gnorm**2 / curvature)
    return best, share * gnorm**2 - 0.5 * share**2 * curvature, curvature


def check_step(model, B, g, radius, tolerance):
    """Check a trust-region step against the dense B; return it and its multiplier."""
    rng = np.random.default_rng(1)
    step = model.trust_step(point(g), radius, rng)
    s = step.s
    length, size = np.linalg.norm(s), np.linalg.norm(B, 2)
    assert length <= radius * (1 + 1e-14)
    assert step.norm == pytest.approx(length, rel=1e-10)
    assert step.slope == pytest.approx(g @ s, rel=1e-9)
    decrease = -float(g @ s + 0.5 * s @ B @ s)
    scale = np.linalg.norm(g) * length + size * length**2
    assert step.predicted_decrease == pytest.approx(decrease, abs=tolerance * scale)
    sigma = -float(s @ (g + B @ s)) / length**2
    assert np.linalg.norm(B @ s + sigma * s + g) <= tolerance * (np.linalg.norm(g) + size * length)
    most = max(size, np.linalg.norm(g) / radius)
    assert np.linalg.eigvalsh(B)[0] + sigma >= -tolerance * most
    assert sigma >= -tolerance * most
    if step.on_boundary:
        assert length >= ON_BOUNDARY * radius * (1 - 1e-12)
    else:
        assert abs(sigma) <= tolerance * most
    best, cauchy, curvature = decreases(B, g, radius)
    assert decrease >= (0.81 - tolerance) * best
    assert decrease >= ((0.9 if curvature > 0.0 else 0.81) - tolerance) * cauchy
    if step.learnt is not None:
        assert step.learnt.shift == pytest.approx(sigma, abs=tolerance * most)
        rows = model.memory.rows
        np.testing.assert_allclose(
            step.learnt.weights @ rows + step.learnt.scale * g, s, atol=1e-8 * length
        )
        products = rows @ g
        np.testing.assert_allclose(step.learnt.along, products, atol=1e-12 * abs(products).max())
    return step, sigma


@settings(max_examples=150)
@given(
    seed=SEEDS,
    n=SIZES,
    m=st.integers(1, 8),
    count=st.integers(0, 20),
    kind=st.sampled_from(["convex", "block", "mixed", "sr1"]),
    log_radius=st.floats(-5, 3),
)
def test_steps(seed, n, m, count, kind, log_radius):
    rng = np.random.default_rng(seed)
    convex = kind in ("convex", "block")
    block = {"convex": 1, "block": 4, "mixed": 1, "sr1": 0}[kind]
    noise = 0.0 if convex else 0.3
    memory = stored(rng, n, m, count, convex=convex, block=block, noise=noise)
    gamma = 10.0 ** rng.uniform(-1, 1)
    B, largest = recursion(memory, gamma) if count else (gamma * np.eye(n), gamma)
    assume(largest < 1e4)
    assume(kind in ("convex", "block") or count == 0 or well_posed(memory, gamma))
    g = rng.standard_normal(n) * 10.0 ** rng.uniform(-3, 3)
    radius = 10.0**log_radius * np.linalg.norm(g)
    check_step(LimitedModel(memory, gamma, n), B, g, radius, 1e-6)
