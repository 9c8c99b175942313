"""The vector and matrix loops of the compiled loop beside BLAS, LAPACK and the array code."""

from __future__ import annotations

import numpy as np
import pytest

from negopt.core.types import Iterate
from negopt.curvature.inverse import bfgs_update, diagonal, image, sr1_update, symmetric
from negopt.curvature.lbfgs import LBFGS

numba = pytest.importorskip("numba")

from negopt.compiled import linear  # noqa: E402 - with Numba behind it


def called(function):
    """Return a function of the kernel, which Python cannot call, as one that it can."""
    return numba.njit(lambda *args: function(*args))


def vectors(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng, *rng.standard_normal((3, n))


@pytest.mark.parametrize("n", [1, 3, 4, 5, 8, 1000, 1025, 3000])
def test_sums(n) -> None:
    rng, x, g, d = vectors(n, n)
    units = rng.uniform(0.1, 10.0, n)
    np.testing.assert_allclose(called(linear.dot)(x, g), x @ g, atol=1e-11)
    np.testing.assert_allclose(called(linear.sums)(x, g, d), (g @ g, g @ d, x @ x), atol=1e-11)
    assert called(linear.largest)(x) == np.max(np.abs(x))
    assert called(linear.scaled_norm)(1e200 * x, 1e200 * np.max(np.abs(x))) == pytest.approx(
        1e200 * np.linalg.norm(x)
    )
    for in_units in (False, True):
        scaled = d / units if in_units else d
        ref = g @ d, d @ d, scaled @ scaled
        found = called(linear.direction_sums)(g, d, units, in_units)
        np.testing.assert_allclose(found, ref, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(called(linear.square_in)(d, units), np.sum((d * units) ** 2))
    log_x, log_g = np.log(np.abs(x)), np.log(np.abs(g))
    ref = np.var(log_x), np.var(log_g), np.var(log_x + log_g)
    np.testing.assert_allclose(called(linear.log_variances)(x, g), ref, atol=1e-12)
    s, y = d - x, units - g
    found = called(linear.pair_sums)(d, x, units, g)
    np.testing.assert_allclose(found, (s @ s, y @ y, s @ y), rtol=1e-10)


def test_a_zero_has_no_logarithm() -> None:
    assert np.isnan(called(linear.log_variances)(np.array([1.0, 0.0]), np.ones(2))).all()


@pytest.mark.parametrize("n", [1, 7, 64])
def test_elementwise_loops_have_the_bits_of_numpy(n) -> None:
    _, x, g, d = vectors(n, 3)
    out = np.empty(n)
    called(linear.add_to)(x, 0.37, d, out)
    np.testing.assert_array_equal(out, x + 0.37 * d)
    assert called(linear.is_at)(x, 0.37, d, out)
    assert not called(linear.is_at)(x, np.nextafter(0.37, 1.0) * (1.0 + 1e-10), d, out)
    called(linear.subtract)(x, g, 0.25, out)
    np.testing.assert_array_equal(out, 0.25 * (x - g))
    called(linear.scale_to)(-3.0, g, out)
    np.testing.assert_array_equal(out, -3.0 * g)


@pytest.mark.parametrize("in_units", [False, True])
def test_dense_updates_are_those_of_the_array_code(in_units) -> None:
    n = 9
    rng, s, y, _ = vectors(n, 5)
    y *= np.sign(s @ y)
    units = rng.uniform(0.1, 10.0, n) if in_units else None
    store, scratch, out = np.full((3 * n, n), np.nan), np.empty(n), np.empty(n)
    for first, added in ((0, 1.0), (n, 0.0)):
        called(linear.set_diagonal)(
            store, first, 0.3, np.ones(n) if units is None else units, in_units
        )
        matrix = diagonal(0.3, units, s)
        np.testing.assert_allclose(store[first : first + n], matrix)
        for _ in range(3):
            called(linear.bfgs_update)(store, first, s, y, s @ y, added, scratch)
            matrix = bfgs_update(matrix, s, y, float(s @ y), added)
            s, y = s + 0.1 * y, y + 0.1 * s
        found = store[first : first + n]
        np.testing.assert_allclose(found, symmetric(matrix), rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(found, found.T)
        called(linear.image)(store, first, s, out)
        np.testing.assert_allclose(out, image(matrix, s), rtol=1e-9, atol=1e-12)
    v = s - found @ y
    ref, used = sr1_update(matrix.copy(order="F"), s, y, s @ s, y @ y, 1e-12)
    assert used
    called(linear.add_square)(store, n, v / np.sqrt(abs(v @ y)), float(np.sign(v @ y)))
    np.testing.assert_allclose(store[n : 2 * n], symmetric(ref), rtol=1e-8, atol=1e-10)
    np.testing.assert_array_equal(store[n : 2 * n], store[n : 2 * n].T)


@pytest.mark.parametrize("pairs", [1, 3, 5, 8, 12])
@pytest.mark.parametrize("n", [6, 2500])
def test_the_two_loops_are_those_of_the_array_code(pairs, n) -> None:
    m, rule = 5, LBFGS(maxcor=5)
    rng = np.random.default_rng(pairs)
    d = np.linspace(1.0, 9.0, n)
    memory = rule.init(np.zeros(n))
    for _ in range(pairs):
        s = rng.standard_normal(n)
        assert rule.update(memory, s, d * s)
    g, out, used = rng.standard_normal(n), np.empty(n), min(pairs, m)
    gram = np.zeros((2 * m + 4, 2 * m))
    called(linear.multiply_rows)(memory.rows, used, memory.newest, g, gram)
    i = memory.newest
    np.testing.assert_allclose(gram[2 * m, :used], memory.gram[i, :used], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        gram[2 * m + 1, m : m + used], memory.gram[m + i, m : m + used], rtol=1e-9, atol=1e-9
    )
    np.testing.assert_allclose(gram[2 * m + 2], memory.rows @ g, atol=1e-10)
    scale = memory.gram[i, m + i] / memory.gram[m + i, m + i]
    gram[: 2 * m] = memory.gram
    weights = np.zeros(2 * m)
    called(linear.two_loops)(gram, memory.newest, used, scale, gram[2 * m + 2], weights)
    called(linear.combine_rows)(memory.rows, used, weights, scale, g, out)
    here = Iterate(np.zeros(n), 0.0, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))
    ref = rule.model(memory, None, here).solve(g)
    np.testing.assert_allclose(out, ref, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("n", [1, 2, 5, 20, 64])
@pytest.mark.parametrize("scale", [1e-100, 1.0, 1e100])
def test_eigenvalues_exceed_a_number(n, scale) -> None:
    rng = np.random.default_rng(n)
    h = rng.standard_normal((n, n))
    values = np.concatenate([[0.1], rng.uniform(0.1, 2.0, n)])[:n]
    q = np.linalg.qr(h)[0]
    matrix = scale * ((q * values) @ q.T) + scale * 1e-3 * (h - h.T)  # its symmetric part counts
    for least, exceed in ((0.099, True), (0.101, False), (-1.0, True), (3.0, False)):
        room = np.full((n + 1, n), np.nan)
        room[1:] = matrix
        assert called(linear.exceeds)(room, 1, n, scale * least) == exceed


def test_solving_with_a_shifted_matrix() -> None:
    rng = np.random.default_rng(0)
    h = rng.standard_normal((6, 6))
    matrix, z = h @ h.T + np.eye(6), rng.standard_normal(6)
    room, found = matrix.copy(), z.copy()
    assert called(linear.exceeds)(room, 0, 6, 0.5)
    called(linear.solve)(room, 0, 6, found)
    np.testing.assert_allclose((matrix - 0.5 * np.eye(6)) @ found, z, atol=1e-12)


def test_a_matrix_that_is_not_finite_exceeds_nothing() -> None:
    for wrong in (np.nan, np.inf):
        for place in ((0, 0), (0, 1)):
            room = np.eye(2)
            room[place] = wrong
            assert not called(linear.exceeds)(room, 0, 2, 0.1)
