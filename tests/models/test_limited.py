"""The limited-memory model against dense recursions; its pairs' products against direct ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from negopt import problems
from negopt.algebra.secular import trust_region_step
from negopt.core.options import RunOptions
from negopt.core.types import Iterate
from negopt.curvature.lqn import HybridPairs
from negopt.functions.objective import Objective
from negopt.methods import METHODS
from negopt.models import pair_memory
from negopt.models.limited import ON_BOUNDARY, LimitedModel
from negopt.models.pair_memory import BFGS, SR1, forget, new_pair_memory, secant_block, store_pair
from negopt.solver.loop import Solver

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
        model.solve(v), np.linalg.solve(B, v), atol=1e-11 * size * np.linalg.norm(v)
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
    found = model.solve(v)
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
    step = model.trust_step(point(g), radius)
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


# --- what is stored --------------------------------------------------------------------


def run(method, fun, x0, steps):
    """Return how many pairs were stored, and the largest error of products with them."""
    solver = Solver(METHODS[method], Objective(fun, x0, jac=True), RunOptions(certify=False))
    state = solver.init()
    memory, worst, count = state.memory, 0.0, 0
    for _ in range(steps):
        solver.step(state)
        if memory.count < count or not state.iterate.gnorm > 0.0:
            break  # nothing is left to be gained, and the model is forgotten
        count = memory.count
        if not count:
            continue
        rows = memory.rows
        size = np.linalg.norm(rows, axis=1)
        live = np.outer(size, size) > 0.0
        error = np.abs(memory.gram - rows @ rows.T)[live] / np.outer(size, size)[live]
        worst = max(worst, float(error.max()))
        if memory.along is not None and memory.at == state.iterate.gnorm:
            error = np.abs(memory.along - rows @ state.iterate.g)[size > 0.0] / size[size > 0.0]
            worst = max(worst, float(error.max()) / state.iterate.gnorm)
    return count, worst


@pytest.mark.parametrize("direct", [0, pair_memory.DIRECT])
@pytest.mark.parametrize("name", ["genrose", "cragglvy", "curly", "trigonometric", "dixmaan"])
@pytest.mark.parametrize("method", ["lqn-tr", "lsr1-tr"])
def test_products_of_one_pass(method, name, direct, monkeypatch):
    """Rows @ y by difference and rows @ s from the Gram matrix stay those that they stand for.

    Over 300 steps: rejected ones, indefinite models, close to convergence, and nearly dependent
    pairs, whose large weights would multiply the error from pair to pair.
    """
    monkeypatch.setattr(pair_memory, "DIRECT", direct)
    problem = problems.get(name, n=42)
    count, worst = run(method, problem.fun_and_grad, problem.x0, 300)
    assert count > 8
    assert worst < (1e-12 if direct else 1e-6)


def test_products_from_the_gram_matrix_are_believed_most_of_the_time(monkeypatch):
    """Long vectors are read once more in few steps only."""
    monkeypatch.setattr(pair_memory, "DIRECT", 0)
    passes = 0

    def counted(rows, v, of=pair_memory.products):
        nonlocal passes
        passes += 1
        return of(rows, v)

    monkeypatch.setattr(pair_memory, "products", counted)
    problem = problems.get("chained_rosenbrock", n=200)
    steps = 150
    run("lqn-tr", problem.fun_and_grad, problem.x0, steps)
    assert passes < 1.3 * steps


# --- the block, and pairs that say nothing new ------------------------------------------------


def memory_of(pairs, m=8, block=1, **options):
    memory = new_pair_memory(np.zeros(len(pairs[0][0])), m)
    for s, y in pairs:
        assert store_pair(
            memory, np.array(s), np.array(y), None, remember=4, block=block, **options
        )
    return memory


def twisted(skew, cross, scale=1.0):
    """Return two pairs with ``s_1'y_2`` and ``s_2'y_1`` cross -+ skew / 2, at a unit diagonal."""
    one, two = cross - 0.5 * skew, cross + 0.5 * skew
    return [([scale, 0.0, 0.0], [1.0, one, 3.0]), ([0.0, 1.0, 0.0], [two, 1.0, 2.0])]


@pytest.mark.parametrize(
    ("skew", "cross", "joins"),
    [
        (0.4, 0.0, True),
        (0.6, 0.0, False),  # the measurements of the cross curvature contradict each other
        (-0.6, 0.3, False),
        (0.0, 0.97, True),
        (0.0, 0.98, False),  # S'Y is nearly singular
        (0.0, -0.98, False),
        (0.0, 1.5, False),
    ],
)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_what_joins_a_block(skew, cross, joins, scale):
    pairs = twisted(skew, cross)
    if scale != 1.0:  # another unit of one variable
        pairs = [([scale * s[0], s[1], s[2]], [y[0] / scale, y[1], y[2]]) for s, y in pairs]
    assert memory_of(pairs, block=5).block == (2 if joins else 0)


def test_a_block_is_of_the_newest_convex_pairs():
    rng = np.random.default_rng(3)
    A = np.diag(np.linspace(1.0, 3.0, 12))
    pairs = [(s, A @ s) for s in np.linalg.qr(rng.standard_normal((12, 12)))[0]]
    assert [memory_of(pairs[:k], m=4, block=3).block for k in (1, 2, 3, 4, 9)] == [0, 2, 3, 3, 3]
    s, _ = pairs[9]
    memory = memory_of([*pairs[:9], (s, -s)], m=4, block=3)
    assert (memory.block, memory.concave) == (0, 1)
    for k, block in ((10, 0), (11, 2)):
        store_pair(memory, *pairs[k], None, remember=4, block=3)
        assert memory.block == block
    assert secant_block(memory, 5) == 2


def test_nearly_dependent_pairs_are_kept():
    """B is right though the pairs differ by a thousandth of their length only."""
    rng = np.random.default_rng(4)
    A = matrix(rng, 30, convex=False)
    s = rng.standard_normal(30)
    pairs = []
    for _ in range(4):
        s = s + 1e-3 * rng.standard_normal(30)
        pairs.append((s, A @ s))
    memory = memory_of(pairs, block=0)
    B, largest = recursion(memory, 3.0)
    np.testing.assert_allclose(columns(LimitedModel(memory, 3.0, 30)), B, atol=1e-7 * largest)


def test_a_pair_that_the_initial_matrix_knows_is_left_out():
    """It is no direction, and no reason to leave out the pairs before it."""
    rng = np.random.default_rng(5)
    A = matrix(rng, 20, convex=False)
    s, t = rng.standard_normal((2, 20))
    memory = memory_of([(s, A @ s), (t, 3.0 * t)], block=0)
    model = LimitedModel(memory, 3.0, 20)
    np.testing.assert_allclose(model.matvec(s), A @ s, atol=1e-9)
    v = rng.standard_normal(20)
    v -= (v @ (A @ s - 3.0 * s)) / np.sum((A @ s - 3.0 * s) ** 2) * (A @ s - 3.0 * s)
    np.testing.assert_allclose(model.matvec(v), 3.0 * v, atol=1e-9)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_repeated_pairs(count):
    """Where N is singular the oldest pairs are left out, not the newest."""
    rng = np.random.default_rng(6)
    A = matrix(rng, 20, convex=False)
    S = rng.standard_normal((3, 20))
    pairs = [(s, A @ s) for s in S]
    memory = memory_of([*pairs, *(count * [pairs[-1]])], block=0)
    model = LimitedModel(memory, 30.0, 20)
    s, y = pairs[-1]
    assert np.linalg.norm(model.matvec(s) - y) <= 1e-8 * np.linalg.norm(y)
    B = columns(model)
    assert np.linalg.norm(B, 2) < 1e3
    g = rng.standard_normal(20)
    check_step(model, B, g, 0.01, 1e-6)


def test_a_pair_close_to_the_initial_matrix_counts():
    rng = np.random.default_rng(7)
    s, u = rng.standard_normal((2, 20))
    y = 3.0 * s + 0.01 * u
    model = LimitedModel(memory_of([(s, y)], block=0), 3.0, 20)
    np.testing.assert_allclose(model.matvec(s), y, atol=1e-9)


def test_a_residual_orthogonal_to_its_step():
    """The SR1 update is not defined: the newest pair alone is."""
    rng = np.random.default_rng(8)
    A = matrix(rng, 20, convex=False)
    s, t, r = rng.standard_normal((3, 20))
    first = [(s, A @ s)]
    y = LimitedModel(memory_of(first, block=0), 3.0, 20).matvec(t)
    memory = memory_of([*first, (t, y + r - t * (r @ t) / (t @ t))], block=0)
    model = LimitedModel(memory, 3.0, 20)
    B = columns(model)
    assert np.linalg.norm(B, 2) < 1e3
    check_step(model, B, rng.standard_normal(20), 0.01, 1e-6)


def test_a_repeated_convex_pair():
    """The basis is formed without the older of two pairs that are the same."""
    rng = np.random.default_rng(9)
    A = matrix(rng, 20, convex=True)
    s = rng.standard_normal(20)
    pairs = [(s, A @ s), (s * (1.0 + 1e-13 * rng.standard_normal(20)), A @ s)]
    memory = memory_of(pairs)
    B, largest = recursion(memory, 2.0)
    np.testing.assert_allclose(columns(LimitedModel(memory, 2.0, 20)), B, atol=1e-9 * largest)


def test_rules_for_pairs():
    n = 5
    s, zero = np.ones(n), np.zeros(n)
    memory = new_pair_memory(zero, 3)
    keep = {"remember": 2, "block": 1}
    assert not store_pair(memory, zero, s, None, **keep)
    assert not store_pair(memory, s, np.full(n, np.nan), None, **keep)
    assert not store_pair(memory, s, np.full(n, np.inf), None, **keep)
    assert not store_pair(memory, 1e-70 * s, s, None, **keep)
    assert not store_pair(memory, s, -s, None, convex_only=True, **keep)
    assert not store_pair(memory, s, zero, None, convex_only=True, **keep)
    assert not forget(memory)
    for factor in (1.0, 2.0, -3.0, 4.0):
        assert store_pair(memory, s, factor * s, None, **keep)
    assert memory.curvatures == pytest.approx([2.0, 4.0])
    assert memory.kinds.tolist() == [BFGS, BFGS, SR1]
    assert memory.concave == 1
    assert np.abs(np.log2(np.abs(np.diagonal(memory.gram[:3, 3:])))).max() <= 2.0
    assert forget(memory)
    assert (memory.count, memory.concave, memory.curvatures) == (0, 0, [])
    np.testing.assert_array_equal(memory.gram, new_pair_memory(zero, 3).gram)


@settings(max_examples=300)
@given(seed=SEEDS, n=st.sampled_from([1, 2, 10]), gamma_power=st.integers(-30, 30))
def test_pairs_of_every_size(seed, n, gamma_power):
    """Whatever the pairs, no exception, no warning, and a step inside the ball that descends."""
    rng = np.random.default_rng(seed)
    memory = new_pair_memory(np.zeros(n), int(rng.integers(1, 7)))
    block = int(rng.integers(0, 4))
    A = matrix(rng, n, convex=rng.random() < 0.5)
    s = y = np.ones(n)
    for _ in range(rng.integers(1, 12)):
        kind = rng.integers(7)
        if kind < 4:
            s = rng.standard_normal(n)
            y = A @ s
        if kind == 1:
            y = y * 10.0 ** rng.uniform(-140, 140)
        elif kind == 2:
            s = s * 10.0 ** rng.uniform(-90, 90)
            y = rng.choice([1.0, -1.0, 10.0**gamma_power]) * s
        elif kind == 4:
            y = 0.0 * y
        elif kind == 5:
            s = s * (1.0 + 1e-12)
        store_pair(memory, s, y, None, remember=3, block=block)
    model = LimitedModel(memory, 10.0**gamma_power, n)
    g = rng.standard_normal(n) * 10.0 ** rng.uniform(-50, 50)
    radius = 10.0 ** rng.uniform(-50, 50)
    step = model.trust_step(point(g), radius)
    assert np.linalg.norm(step.s) <= radius * (1 + 1e-12)
    assert step.predicted_decrease > 0.0
    assert np.isfinite(model.solve(g, absolute=True)).all()
    assert np.isfinite(model.matvec(g)).all()


def test_how_many_pairs_are_kept():
    sizes = {n: HybridPairs().init(np.zeros(n)).capacity for n in (1, 2, 3, 10, 15, 200, 201, 501)}
    assert sizes == {1: 10, 2: 10, 3: 20, 10: 20, 15: 30, 200: 40, 201: 20, 501: 10}
    assert HybridPairs(maxcor=3).init(np.zeros(300)).capacity == 3
