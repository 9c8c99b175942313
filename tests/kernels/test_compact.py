"""Limited-memory SR1 in generators, against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negopt import kernels


def memory(seed, n, capacity, count, *, noise=0.1, span=None):
    """Rows, Gram matrix and order of slots of pairs of an indefinite matrix."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n))
    A = A + A.T
    rows = np.zeros((2 * capacity, n))
    order = np.roll(np.arange(count), rng.integers(0, count) if count == capacity else 0)
    base = rng.standard_normal((span, n)) if span else np.eye(n)
    for slot in order:
        s = base.T @ rng.standard_normal(len(base)) * 10.0 ** rng.uniform(-4, 2)
        rows[2 * slot] = s
        rows[2 * slot + 1] = A @ s + noise * np.linalg.norm(s) * rng.standard_normal(n)
    return rows, rows @ rows.T, order.astype(np.int64)


def recursion(rows, order, gamma, take):
    """The textbook SR1 matrix of the pairs in `take` (by age)."""
    B = gamma * np.eye(rows.shape[1])
    for age, slot in enumerate(order):
        if take[age]:
            r = rows[2 * slot + 1] - B @ rows[2 * slot]
            B = B + np.outer(r, r) / (r @ rows[2 * slot])
    return B


def build(rows, gram, order, gamma, skip=1e-8):
    c = kernels.new_compact(len(rows) // 2)
    for array in c:
        array[...] = 7 if array.dtype == np.int64 else np.nan  # nothing is read before written
    c.kept[:] = 0
    k, full = kernels.compact_build(rows, gram, order, gamma, skip, c)
    if full:
        return c, k, full, np.eye(k)
    Q = np.zeros((rows.shape[1], k))
    weights = np.empty(len(rows))
    for i in range(k):
        kernels.compact_weights(order, k, gamma, c, np.eye(k)[i], weights)
        Q[:, i] = rows.T @ weights
    return c, k, full, Q


def put_inside(c, rows, order, k, full, gamma, g):
    if full:
        c.inside[:k] = g
    else:
        kernels.compact_inside(rows @ g, order, k, gamma, c)


CASES = dict(
    seed=st.integers(0, 10**9),
    n=st.integers(1, 14),
    capacity=st.integers(1, 7),
    filled=st.floats(0, 1),
    gamma=st.sampled_from([0.3, 2.0, 40.0]),
    noise=st.sampled_from([0.0, 0.1, 2.0]),
)


@settings(max_examples=200)
@given(**CASES)
def test_model_is_that_of_the_recursion(seed, n, capacity, filled, gamma, noise):
    count = round(filled * capacity)
    rows, gram, order = memory(seed, n, capacity, count, noise=noise)
    c, k, full, Q = build(rows, gram, order, gamma)
    assert full == (count > 0 and n <= count + 2)
    np.testing.assert_allclose(Q.T @ Q, np.eye(k), atol=1e-6)
    expected = recursion(rows, order, gamma, c.used)
    B = gamma * np.eye(n) + Q @ c.small[:k, :k] @ Q.T
    size = np.linalg.norm(expected, 2)
    if size < 1e4 * gamma:  # else an update nearly divided by zero
        np.testing.assert_allclose(B, expected, atol=1e-6 * size)
    if not full:
        assert k == np.sum(c.used[:count])
        assert k == count or noise == 0.0 or n < 2 * count


@settings(max_examples=100)
@given(
    seed=st.integers(0, 10**9),
    n=st.integers(12, 30),
    capacity=st.integers(2, 8),
    span=st.integers(1, 8),
    noise=st.sampled_from([0.0, 1e-13, 1e-10, 1e-7, 1e-4]),
)
def test_dependent_pairs(seed, n, capacity, span, noise):
    """The basis is orthonormal whatever depends on what, and the newest secant equation holds."""
    rows, gram, order = memory(seed, n, capacity, capacity, noise=noise, span=span)
    gamma = 3.0
    c, k, full, Q = build(rows, gram, order, gamma)
    if full:
        return
    np.testing.assert_allclose(Q.T @ Q, np.eye(k), atol=1e-6)
    s, y = rows[2 * order[-1]], rows[2 * order[-1] + 1]
    B = gamma * np.eye(n) + Q @ c.small[:k, :k] @ Q.T
    if c.used[capacity - 1]:
        size = np.linalg.norm(y) + np.linalg.norm(B, 2) * np.linalg.norm(s)
        assert np.linalg.norm(B @ s - y) <= 1e-5 * size


def test_a_repeated_pair_keeps_the_newest():
    rng = np.random.default_rng(0)
    rows, gram, order = memory(0, 20, 4, 4, noise=0.3)
    newest, oldest = order[-1], order[0]
    for small in (0.0, 1e-9, 1e-6):
        rows[2 * oldest : 2 * oldest + 2] = 3 * rows[2 * newest : 2 * newest + 2]
        rows[2 * oldest + 1] += small * rng.standard_normal(20)
        gram = rows @ rows.T
        c, k, _, Q = build(rows, gram, order, 1.0)
        assert list(c.used) == [0, 1, 1, 1]
        assert k == 3
        B = np.eye(20) + Q @ c.small[:k, :k] @ Q.T
        np.testing.assert_allclose(B @ rows[2 * newest], rows[2 * newest + 1], rtol=1e-8, atol=1e-8)


def test_skips():
    e = np.eye(9)
    for y, skip, used in (
        (e[0] + e[1], 1e-8, 0),  # r's = 0
        (1.01 * e[0] + e[1], 0.1, 0),
        (1.01 * e[0] + e[1], 1e-3, 1),
        (e[0], 1e-8, 0),  # r = 0
        ((1 + 1e-8) * e[0], 1e-8, 0),  # r is rounding
    ):
        for n in (9, 3):  # in generators, in variables
            rows = np.stack([e[0], y])[:, :n].copy()
            c, _, full, _ = build(rows, rows @ rows.T, np.zeros(1, dtype=np.int64), 1.0, skip)
            assert full == (n == 3)
            assert c.used[0] == used


@settings(max_examples=200)
@given(
    **CASES,
    power=st.floats(-4, 4),
    absolute=st.booleans(),
    inside=st.booleans(),
)
def test_trust_region_step(seed, n, capacity, filled, gamma, noise, power, absolute, inside):
    """Optimality of Moré and Sorensen with the dense matrix, and the sums that are returned."""
    count = round(filled * capacity)
    rows, gram, order = memory(seed, n, capacity, count, noise=noise)
    c, k, full, Q = build(rows, gram, order, gamma)
    B = gamma * np.eye(n) + Q @ c.small[:k, :k] @ Q.T
    if absolute:
        values, vectors = np.linalg.eigh((B + B.T) / 2)
        B = (vectors * np.abs(values)) @ vectors.T
    g = np.random.default_rng(seed + 1).standard_normal(n)
    if inside and k:
        g = Q @ np.random.default_rng(seed + 1).standard_normal(k)
    gnorm = float(np.linalg.norm(g))
    radius = 10.0**power
    put_inside(c, rows, order, k, full, gamma, g)
    case, a, slope, quadratic, length = kernels.compact_trust(
        k, full, gamma, absolute, gnorm, radius, c
    )
    assert case in (kernels.INTERIOR, kernels.BOUNDARY, kernels.HARD)
    s = a * g + Q @ c.step[:k]
    size = np.linalg.norm(B, 2)
    assert slope == pytest.approx(g @ s, abs=1e-6 * gnorm * radius)
    assert quadratic == pytest.approx(s @ B @ s, abs=1e-5 * size * radius**2 + 1e-9 * abs(slope))
    assert length == pytest.approx(np.linalg.norm(s), rel=1e-5)
    assert length <= radius * (1 + 1e-12)
    # The multiplier that fits best, and what it leaves of the optimality conditions.
    sigma = max(-(s @ (B @ s + g)) / (s @ s), 0.0)
    residual = np.linalg.norm(B @ s + sigma * s + g)
    assert residual <= 1e-6 * (gnorm + (size + sigma) * np.linalg.norm(s))
    assert np.linalg.eigvalsh((B + B.T) / 2)[0] + sigma >= -1e-6 * size
    if case == kernels.INTERIOR:
        assert sigma * np.linalg.norm(s) <= 1e-5 * (gnorm + size * np.linalg.norm(s))
    else:
        assert length == pytest.approx(radius, rel=1e-9)


@settings(max_examples=200)
@given(**CASES, absolute=st.booleans(), floor=st.sampled_from([1e-15, 1e-3]))
def test_direction(seed, n, capacity, filled, gamma, noise, absolute, floor):
    count = round(filled * capacity)
    rows, gram, order = memory(seed, n, capacity, count, noise=noise)
    c, k, full, Q = build(rows, gram, order, gamma)
    g = np.random.default_rng(seed + 1).standard_normal(n)
    put_inside(c, rows, order, k, full, gamma, g)
    gnorm = float(np.linalg.norm(g))
    good, a, slope, length = kernels.compact_solve(k, full, gamma, absolute, floor, gnorm, c)
    assert good
    d = a * g + Q @ c.step[:k]
    B = gamma * np.eye(n) + Q @ c.small[:k, :k] @ Q.T
    values, vectors = np.linalg.eigh((B + B.T) / 2)
    largest = max(np.max(np.abs(values)), gamma)
    least = np.min(np.abs(values)) / largest
    if least < 1e-5 or abs(least / floor - 1) < 1e-3:
        return  # as sensitive as that
    size = np.maximum(np.abs(values), floor * largest)
    if not absolute:
        size = np.where(values < 0, -size, size)
    expected = -vectors @ ((vectors.T @ g) / size)
    near = 1e-3 * np.linalg.norm(expected)
    np.testing.assert_allclose(d, expected, atol=near)
    assert slope == pytest.approx(g @ expected, abs=near * gnorm)
    assert length == pytest.approx(np.linalg.norm(expected), rel=1e-3)


def test_hands_back():
    c = kernels.new_compact(3)
    c.inside[:] = 1.0
    assert kernels.compact_trust(0, False, 0.0, False, 1.0, 1.0, c)[0] == -1
    assert kernels.compact_trust(0, False, -1.0, False, 1.0, 1.0, c)[0] == -1
    case, a, slope, quadratic, length = kernels.compact_trust(0, False, 2.0, False, 3.0, 9.0, c)
    assert (case, a, slope, quadratic, length) == (0, -0.5, -4.5, 4.5, 1.5)
    c.small[0, 0] = np.nan
    assert kernels.compact_trust(1, False, 2.0, False, 3.0, 9.0, c)[0] == -1
    assert not kernels.compact_solve(1, False, 2.0, True, 1e-15, 3.0, c)[0]
    assert kernels.compact_solve(0, False, -2.0, False, 1e-15, 3.0, c)[:3] == (True, 0.5, 4.5)


def test_hard_case_in_all_variables():
    """g without a part along the lowest eigenvector: the step goes to the boundary along it."""
    rows = np.array([[1.0, 0.0], [-3.0, 0.0]])
    c, k, full, _ = build(rows, rows @ rows.T, np.zeros(1, dtype=np.int64), 2.0)
    assert full
    put_inside(c, rows, None, k, full, 2.0, np.array([0.0, 1.0]))
    case, _, _, _, length = kernels.compact_trust(k, full, 2.0, False, 1.0, 5.0, c)
    assert case == kernels.HARD
    assert length == pytest.approx(5.0)
    np.testing.assert_allclose(np.abs(c.step[:2]), [np.sqrt(25 - 0.04), 0.2])


@pytest.mark.parametrize("maxcor", [1, 5, 20])
def test_arrays_do_not_overlap(maxcor):
    c = kernels.new_compact(maxcor)
    for number, array in enumerate(c):
        array[...] = number
    for number, array in enumerate(c):
        assert array.flags.c_contiguous
        assert np.all(array == number)
    size = maxcor + 2
    shapes = {
        "used": (maxcor,),
        "barred": (maxcor,),
        "scratch": (size + 2, size + 2),
        **dict.fromkeys(("kept", "sizes"), (size,)),
        **dict.fromkeys(("values", "inside", "parts", "step", "line"), (size + 1,)),
    }
    for name, array in c._asdict().items():
        assert array.shape == shapes.get(name, (size, size)), name
    assert sum(a.size for a in c) == sum(kernels.compact_room(maxcor))
