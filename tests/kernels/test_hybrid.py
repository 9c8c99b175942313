"""Steps of hybrid pairs against dense matrices: recursions, block formula, subproblem."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from negopt import kernels

SEEDS = st.integers(0, 10**9)


def pivot(matrix):
    """Return the last pivot of a matrix scaled to a unit diagonal."""
    size = np.sqrt(np.diag(matrix))
    return 1.0 / np.linalg.inv(matrix / np.outer(size, size))[-1, -1]


def sequence(pairs, gamma, skip=1e-8):
    """Apply the textbook updates, oldest pair first."""
    B = gamma * np.eye(len(pairs[0][0]))
    used = []
    for s, y in pairs:
        Bs = B @ s
        bars = 1e-8 * np.linalg.norm(s) * np.array([np.linalg.norm(y), np.linalg.norm(Bs)])
        if s @ y > bars[0] and s @ Bs > bars[1]:
            B = B - np.outer(Bs, Bs) / (s @ Bs) + np.outer(y, y) / (s @ y)
            used.append(2)
            continue
        r = y - Bs
        real = np.linalg.norm(r) > 1e-7 * np.linalg.norm(y)
        if real and abs(r @ s) >= skip * np.linalg.norm(r) * np.linalg.norm(s):
            B = B + np.outer(r, r) / (r @ s)
            used.append(1)
        else:
            used.append(0)
    return B, used


def greedy(pairs, inner, used, window):
    """Choose the block by determinants; `inner` gives S'BS, or Y'HY, of a list of pairs."""
    taken = []
    looked_at = 0
    for i in range(len(pairs) - 1, -1, -1):
        if used[i] == 0:
            continue
        looked_at += 1
        if looked_at > window or (used[i] == 1 and not taken):
            break
        if used[i] == 1:
            continue
        S, Y = (np.stack([pairs[j][part] for j in [*taken, i]], axis=1) for part in (0, 1))
        cross = S.T @ Y
        size = np.sqrt(np.diag(cross))
        cross = cross / np.outer(size, size)
        alike = np.max(np.abs(cross - cross.T)) <= 0.5
        if alike and pivot(cross + cross.T) >= 0.05 and pivot(inner([*taken, i])) >= 0.01:
            taken.append(i)
    return taken if len(taken) > 1 else []


def with_block(B, pairs, taken):
    if not taken:
        return B
    S, Y = (np.stack([pairs[j][part] for j in taken], axis=1) for part in (0, 1))
    C = (S.T @ Y + Y.T @ S) / 2
    B = B - B @ S @ np.linalg.solve(S.T @ B @ S, S.T @ B) + Y @ np.linalg.solve(C, Y.T)
    return (B + B.T) / 2


def subproblem(B, g, radius):
    """Solve by eigenvalues and bisection; return the least value of the model."""
    lam, V = np.linalg.eigh(B)
    b = V.T @ g
    if lam[0] > 0 and np.linalg.norm(b / lam) <= radius:
        s = -b / lam
    else:
        low, high = 0.0, np.linalg.norm(g) / radius + lam[-1] - lam[0]
        for _ in range(200):
            t = (low + high) / 2
            shift = lam - lam[0] + max(lam[0], 0.0) + t
            low, high = (t, high) if np.linalg.norm(b / shift) > radius else (low, t)
        s = -b / (lam - lam[0] + max(lam[0], 0.0) + high)
        s[0] += np.copysign(np.sqrt(max(radius**2 - s @ s, 0.0)), s[0]) if lam[0] < 0 else 0.0
    return b @ s + (lam * s) @ s / 2


def make(seed, n, count, kind, noise=0.01, spread=2.0):
    """Return rows in slots, the order of the slots, and the pairs, oldest first."""
    rng = np.random.default_rng(seed)
    lam = 10.0 ** rng.uniform(-spread, spread, n)
    if kind == "mixed":
        lam *= rng.choice([-1.0, 1.0], n, p=[0.3, 0.7])
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    order = rng.permutation(count).astype(np.int64)
    rows = np.zeros((2 * count + 2, n))
    pairs = []
    drift = rng.standard_normal(n)
    for slot in order:
        s = rng.standard_normal(n)
        if kind == "near":  # displacements that hardly turn
            s = drift + 1e-5 * s
        s *= 10.0 ** rng.uniform(-4, 1)
        y = Q @ (lam * (Q.T @ s))
        y += noise * np.linalg.norm(y) * rng.standard_normal(n) / np.sqrt(n)
        rows[2 * slot], rows[2 * slot + 1] = s, y
        pairs.append((s, y))
    return rows, order, pairs, rng


def call(kernel, rows, order, gamma, g, radius, *, skip=None, window=5):
    coef, info = np.full(len(rows), np.nan), np.zeros(5)
    given_ = rows @ rows.T, order, gamma, *([] if skip is None else [skip]), window
    used = [] if skip is None else [np.zeros(len(order), dtype=np.int64)]
    gnorm = float(np.linalg.norm(g))
    route = kernel(*given_, rows @ g, gnorm, radius, coef, info, *used)
    s = info[0] * g + rows.T @ coef
    return route, s, info, (used[0] if used else None)


def check(B, g, s, info, route, radius, tolerance):
    """The step is the minimiser, and what is said of it is true."""
    value = g @ s + s @ B @ s / 2
    best = subproblem(B, g, radius)
    assert value == pytest.approx(best, rel=tolerance)
    assert np.linalg.norm(s) <= radius * (1 + tolerance)
    assert info[1] == pytest.approx(g @ s, rel=tolerance)
    assert info[3] == pytest.approx(np.linalg.norm(s), rel=tolerance)
    assert info[1] + info[2] / 2 == pytest.approx(value, rel=tolerance)
    if route == kernels.SPHERE:
        assert info[3] == pytest.approx(radius, rel=1e-12)
        assert np.linalg.norm(B @ s + info[4] * s + g) <= tolerance * np.linalg.norm(g) * 10
    else:
        assert np.linalg.norm(B @ s + g) <= tolerance * np.linalg.norm(g) * 10


@settings(max_examples=150)
@given(
    seed=SEEDS,
    n=st.integers(1, 30),
    count=st.integers(0, 9),
    window=st.integers(1, 6),
    power=st.integers(-4, 4),
    gamma=st.sampled_from([0.1, 1.0, 30.0]),
)
def test_convex_pairs(seed, n, count, window, power, gamma):
    """Also where the pairs are more than the variables (n <= 2 count)."""
    rows, order, pairs, rng = make(seed, n, count, "convex")
    assume(kernels.all_convex(rows @ rows.T, order))
    g = rng.standard_normal(n)
    B, used = sequence(pairs, gamma) if pairs else (gamma * np.eye(n), [])
    assert set(used) <= {2}
    H = np.linalg.inv(B)

    def inverse(chosen):
        Y = np.stack([pairs[j][1] for j in chosen], axis=1)
        return Y.T @ H @ Y

    taken = greedy(pairs, inverse, used, window) if window > 1 else []
    block = np.zeros(window, dtype=np.int64)
    k = kernels.convex_block(rows @ rows.T, order, gamma, window, block)
    assume(np.linalg.cond(B) < 1e9)
    assert list(block[:k]) == taken
    B = with_block(B, pairs, taken)
    assume(np.linalg.cond(B) < 1e7)
    newton = np.linalg.norm(np.linalg.solve(B, g))
    radius = newton * 10.0 ** (power / 2.0 + 0.1)
    route, s, info, _ = call(kernels.convex_step, rows, order, gamma, g, radius, window=window)
    assert route == (kernels.NEWTON if power >= 0 else kernels.SPHERE)
    check(B, g, s, info, route, radius, 1e-6)


@settings(max_examples=60)
@given(seed=SEEDS, n=st.integers(12, 40), count=st.integers(2, 8), power=st.integers(-3, 3))
def test_near_dependent_pairs(seed, n, count, power):
    """Where a basis of the pairs would lose seven digits, the step keeps them."""
    rows, order, pairs, rng = make(seed, n, count, "near", noise=0.0, spread=1.0)
    B, used = sequence(pairs, 1.0)
    assume(set(used) == {2} and np.linalg.cond(B) < 1e7)
    block = np.zeros(5, dtype=np.int64)
    k = kernels.convex_block(rows @ rows.T, order, 1.0, 5, block)
    B = with_block(B, pairs, list(block[:k]))
    g = rng.standard_normal(n)
    radius = np.linalg.norm(np.linalg.solve(B, g)) * 10.0 ** (power / 2.0 + 0.1)
    route, s, info, _ = call(kernels.convex_step, rows, order, 1.0, g, radius)
    check(B, g, s, info, route, radius, 1e-5)


def test_pairs_that_are_not_convex_are_seen():
    rows, order, _, _ = make(1, 8, 3, "convex", noise=0.0)
    assert kernels.all_convex(rows @ rows.T, order)
    slot = 2 * order[1]
    rows[slot + 1] *= -1.0
    assert not kernels.all_convex(rows @ rows.T, order)
    rows[slot + 1] = 0.0
    assert not kernels.all_convex(rows @ rows.T, order)


@settings(max_examples=150)
@given(
    seed=SEEDS,
    n=st.integers(1, 12),
    count=st.integers(1, 8),
    window=st.integers(1, 5),
    power=st.integers(-4, 4),
)
def test_mixed_pairs_as_a_dense_matrix(seed, n, count, window, power):
    rows, order, pairs, rng = make(seed, n, count, "mixed", spread=1.0)
    B, used = sequence(pairs, 2.0)
    if window > 1:
        sequential = B

        def direct(chosen):
            S = np.stack([pairs[j][0] for j in chosen], axis=1)
            return S.T @ sequential @ S

        B = with_block(B, pairs, greedy(pairs, direct, used, window))
    size = np.linalg.norm(B, 2)
    assume(size < 1e5)
    mine, flags = np.empty((n, n)), np.zeros(count, dtype=np.int64)
    kernels.dense_pairs(rows, order, 2.0, 1e-8, window, mine, flags)
    assume(list(flags) == used)
    np.testing.assert_allclose(mine, B, atol=1e-8 * size)
    g = rng.standard_normal(n)
    radius = 10.0 ** (power / 2.0)
    x, info = np.empty(n), np.zeros(5)
    route = kernels.matrix_step(mine.copy(), g.copy(), 2.0, 0.0, radius, x, info)
    check(mine, g, x, info, route, radius, 1e-6)


@settings(max_examples=100)
@given(seed=SEEDS, extra=st.integers(1, 20), count=st.integers(1, 7), power=st.integers(-4, 4))
def test_mixed_pairs_in_their_basis(seed, extra, count, power):
    n = 2 * count + extra
    rows, order, _, rng = make(seed, n, count, "mixed", spread=1.0)
    g = rng.standard_normal(n)
    radius = 10.0 ** (power / 2.0)
    route, s, info, flags = call(kernels.folded_step, rows, order, 2.0, g, radius, skip=1e-8)
    B, used = np.empty((n, n)), np.zeros(count, dtype=np.int64)
    kernels.dense_pairs(rows, order, 2.0, 1e-8, 5, B, used)
    assume(np.linalg.norm(B, 2) < 1e5)
    np.testing.assert_array_equal(flags, used)
    check(B, g, s, info, route, radius, 1e-5)


@pytest.mark.parametrize("share", [1e-2, 1e-5, 1e-8, 1e-11])
def test_gradient_almost_inside_the_basis(share):
    """What is left of g outside is followed all the same: the factor on g keeps its digits."""
    rows, order, _, rng = make(7, 30, 4, "mixed", spread=0.5, noise=0.0)
    out = rng.standard_normal(30)
    out -= rows.T @ np.linalg.lstsq(rows.T, out, rcond=None)[0]
    g = rows.T @ rng.standard_normal(len(rows))
    g = g / np.linalg.norm(g) + share * out / np.linalg.norm(out)
    route, s, info, _ = call(kernels.folded_step, rows, order, 2.0, g, 0.3, skip=1e-8)
    assert route == kernels.SPHERE
    along = s @ out / np.linalg.norm(out)
    assert along == pytest.approx(-share / (2.0 + info[4]), rel=max(1e-6, 1e-14 / share))


@settings(max_examples=150)
@given(
    seed=SEEDS,
    k=st.integers(1, 12),
    extra=st.booleans(),
    kind=st.sampled_from(["interior", "boundary", "indefinite", "hard", "singular"]),
)
def test_matrix_over_a_ball(seed, k, extra, kind):
    rng = np.random.default_rng(seed)
    n = k + extra
    lam = np.sort(rng.uniform(0.5, 5.0, k)) * 10.0 ** rng.uniform(-3, 3)
    if kind not in ("interior", "boundary"):
        lam -= lam[0] * (1.0 if kind == "singular" else rng.uniform(1.5, 4.0))
    Q = np.linalg.qr(rng.standard_normal((k, k)))[0]
    b = rng.standard_normal(k)
    if kind == "hard":
        b[0] = 0.0
    gamma, outside = abs(lam[-1]) + 1.0, abs(rng.standard_normal()) * extra
    A = (Q * lam) @ Q.T
    A = (A + A.T) / 2
    g = np.append(Q @ b, outside) if extra else Q @ b
    full = np.zeros((n, n))
    full[:k, :k] = A
    if extra:
        full[k, k] = gamma
    assume(np.linalg.norm(g) > 1e-8)
    gaps = lam - lam[0] if kind in ("hard", "indefinite", "singular") else lam
    reach = np.linalg.norm(b[gaps > 0] / gaps[gaps > 0]) + outside / gamma
    least = 0.0 if kind == "boundary" else 1e-3  # a singular matrix may have no reach at all
    radius = {"interior": 2.0, "hard": 2.0}.get(kind, 0.1) * max(reach, least)
    x, info = np.empty(n), np.zeros(5)
    right = g.copy()
    route = kernels.matrix_step(A.copy(), right, gamma, outside, radius, x, info)
    assert route == (kernels.NEWTON if kind == "interior" else kernels.SPHERE)
    check(full, g, x, info, route, radius, 1e-6)


@settings(max_examples=60)
@given(seed=SEEDS, n=st.integers(1, 30), kind=st.sampled_from(["random", "graded", "split"]))
def test_eigenvectors_of_a_tridiagonal_matrix(seed, n, kind):
    rng = np.random.default_rng(seed)
    d, e = rng.standard_normal((2, n))
    if kind == "graded":
        d, e = d * 10.0 ** rng.uniform(-8, 8, n), e * 10.0 ** rng.uniform(-8, 8, n)
    elif kind == "split":
        d[:] = 1.0
        e[rng.random(n) < 0.5] = 0.0
    T = np.diag(d) + np.diag(e[:-1], 1) + np.diag(e[:-1], -1)
    values, vectors = d.copy(), np.empty((n, n))
    assert kernels.rotated_eigen(values, e.copy(), vectors)
    size = np.max(np.abs(T)) + 1e-300
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(n), atol=1e-12)
    np.testing.assert_allclose(vectors @ T @ vectors.T, np.diag(values), atol=1e-12 * size)
