"""Passes over long vectors give the sums of plain NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from negopt import kernels

SIZES = [1, 2, 7, 2047, 2048, 2049, 5000]


def vectors(seed, n, count):
    return [
        np.ascontiguousarray(v) for v in np.random.default_rng(seed).standard_normal((count, n))
    ]


@pytest.mark.parametrize("n", SIZES)
def test_look(n):
    x_trial, x, g_trial, g, copy = vectors(n, n, 5)
    g_trial.flags.writeable = False  # as another library hands it over
    s, y = x_trial - x, g_trial - g
    expected = (
        g_trial @ g_trial,
        np.max(np.abs(g_trial)),
        g_trial @ s,
        s @ s,
        s @ y,
        y @ y,
        x_trial @ x_trial,
    )
    got = kernels.look(x_trial, x, g_trial, g, copy)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12 * n)
    np.testing.assert_array_equal(copy, g_trial)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -1e300])
def test_look_at_what_is_not_finite(n, bad):
    for place in (0, n // 2, n - 1):
        x_trial, x, g_trial, g, copy = vectors(n, n, 5)
        g_trial[place] = bad
        got = kernels.look(x_trial, x, g_trial, g, copy)
        assert not math.isfinite(got[0])
        np.testing.assert_array_equal(got[1], abs(bad))
        np.testing.assert_array_equal(copy, g_trial)


def test_look_keeps_the_first_of_nan_and_inf_as_nan():
    for bad in ([math.nan, math.inf], [math.inf, math.nan]):
        x_trial, x, g_trial, g, copy = vectors(0, 6000, 5)
        g_trial[[3, 5990]] = bad
        assert math.isnan(kernels.look(x_trial, x, g_trial, g, copy)[1])


@pytest.mark.parametrize("n", SIZES)
def test_products(n):
    x_trial, x, g_trial, g = vectors(n, n, 4)
    rows = np.random.default_rng(1).standard_normal((8, n))
    before = rows.copy()
    for slot, used in ((0, 2), (1, 4), (1, 8), (3, 8)):
        for wanted in (g, g_trial):
            out = np.full((3, 8), 7.0)
            kernels.products(rows, used, slot, x_trial, x, g_trial, g, wanted, out)
            here = slice(2 * slot, 2 * slot + 2)
            np.testing.assert_array_equal(rows[here], [x_trial - x, g_trial - g])
            expected = before.copy()
            expected[here] = rows[here]
            np.testing.assert_array_equal(rows, expected)
            near = 1e-12 * n
            for line, v in zip(out, (rows[2 * slot], rows[2 * slot + 1], wanted), strict=True):
                np.testing.assert_allclose(line[:used], rows[:used] @ v, atol=near)
            assert np.all(out[:, used:] == 7.0)
            rows[:] = before


@pytest.mark.parametrize("n", SIZES)
def test_rows_times(n):
    rows = np.random.default_rng(n).standard_normal((6, n))
    (g,) = vectors(n, n, 1)
    for used in (0, 2, 4, 6):
        out = np.full((3, 6), 7.0)
        kernels.rows_times(rows, used, g, out)
        np.testing.assert_allclose(out[2, :used], rows[:used] @ g, atol=1e-12 * n)
        assert np.all(out[:, used:] == 7.0)


@pytest.mark.parametrize("n", SIZES)
def test_what_is_computed_again_is_the_same_to_the_last_bit(n):
    x_trial, x, g_trial, g = vectors(n, n, 4)
    rows = np.random.default_rng(n).standard_normal((10, n))
    for used in (2, 4, 6, 8, 10):
        before, after = np.zeros((3, 10)), np.zeros((3, 10))
        kernels.products(rows, used, 0, x_trial, x, g_trial, g, g, before)
        kernels.rows_times(rows, used, g, after)
        np.testing.assert_array_equal(after[2], before[2])


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("scale", [1.0, 1e-15])
def test_combine(n, scale):
    g, x, x_trial = vectors(n, n, 3)
    weights = scale * np.array([0.5, -2.0, 0.0, 0.0, 3.0, 3.0, 1.0, -1.0, 0.0, 2.0, 7.0, 7.0])
    rows = np.random.default_rng(n).standard_normal((12, n))
    rows[10:] = math.nan  # not in use
    for used, a in ((10, scale), (8, 0.5 * scale), (4, 0.25 * scale), (2, 0.0), (0, -scale)):
        sums = kernels.combine(rows, weights, used, a, g, x, x_trial)
        expected = x + (weights[:used] @ rows[:used] + a * g)
        np.testing.assert_allclose(x_trial, expected, rtol=1e-14, atol=1e-14)
        s = x_trial - x  # as it was rounded: at 1e-15 much of the step is lost
        np.testing.assert_allclose(
            sums, (s @ s, g @ s, x_trial @ x_trial), rtol=1e-12, atol=1e-12 * scale * n
        )
        assert sums[0] == pytest.approx(s @ s, rel=1e-12)


def test_rows_without_weight_are_not_read():
    g, x, x_trial = vectors(0, 40, 3)
    rows = np.full((4, 40), math.nan)
    rows[2:] = 1.0
    kernels.combine(rows, np.array([0.0, 0.0, 1.0, 1.0]), 4, 0.0, g, x, x_trial)
    np.testing.assert_allclose(x_trial, x + 2.0)
