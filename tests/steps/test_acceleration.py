"""Wynn's epsilon algorithm on vector sequences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negopt.steps.acceleration import wynn_epsilon

LIMIT = np.array([1.0, -2.0, 0.5, 3.0])


@settings(max_examples=50)
@given(
    ratio=st.floats(-0.95, 0.95).filter(lambda r: abs(r) > 0.05),
    seed=st.integers(0, 10**6),
)
def test_exact_for_a_geometric_sequence(ratio, seed):
    direction = np.random.default_rng(seed).standard_normal(4)
    sums = [LIMIT + ratio**k * direction for k in range(3)]
    np.testing.assert_allclose(wynn_epsilon(sums), LIMIT, atol=1e-10)


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6))
def test_exact_for_two_ratios_in_column_four(seed):
    """The entry of column c adds to column c - 2 of the row below: five sums, two ratios."""
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, 4))
    sums = [LIMIT + 0.8**k * a + (-0.5) ** k * b for k in range(5)]
    np.testing.assert_allclose(wynn_epsilon(sums), LIMIT, atol=1e-7)


def test_index_of_the_column_before_the_last():
    """By hand: eps_m^(c) = eps_{m+1}^(c-2) + 1/(eps_{m+1}^(c-1) - eps_m^(c-1))."""
    sums = [np.array([v]) for v in (1.0, 3.0, 4.0, 9.0, 11.0)]
    table = [[0.0] * 6, [1.0, 3.0, 4.0, 9.0, 11.0]]
    for _ in range(4):
        last, before = table[-1], table[-2]
        table.append([before[m + 1] + 1 / (last[m + 1] - last[m]) for m in range(len(last) - 1)])
    assert wynn_epsilon(sums)[0] == pytest.approx(table[-1][0])
    table = [[0.0] * 6, [1.0, 3.0, 4.0, 9.0, 11.0]]
    for c in range(1, 5):
        last, before = table[-1], table[-2]
        table.append(
            [before[m + 1] + (c // 2 + 1) / (last[m + 1] - last[m]) for m in range(len(last) - 1)]
        )
    assert wynn_epsilon(sums, sablonniere=True)[0] == pytest.approx(table[-1][0])


@pytest.mark.parametrize("sablonniere", [False, True])
@pytest.mark.parametrize("count", [1, 3, 5, 9])
def test_a_converged_sequence_stays(count, sablonniere):
    out = wynn_epsilon([LIMIT.copy() for _ in range(count)], sablonniere=sablonniere)
    np.testing.assert_array_equal(out, LIMIT)


@pytest.mark.parametrize("moving", [1, 2, 3])
def test_a_sequence_that_converges_on_the_way_is_finite(moving):
    """The last sums agree: no division by zero, and the answer is what they agree on."""
    sums = [LIMIT + 0.1**k for k in range(moving)] + [LIMIT.copy() for _ in range(7 - moving)]
    out = wynn_epsilon(sums)
    assert np.all(np.isfinite(out))
    np.testing.assert_allclose(out, LIMIT, atol=1e-2)


def test_an_even_number_is_refused():
    with pytest.raises(ValueError, match="odd number"):
        wynn_epsilon([LIMIT, LIMIT])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_array_library(xp_case, dtype):
    sums = [
        xp_case.asarray(LIMIT + 0.5**k * np.array([1.0, 2.0, -1.0, 0.5]), dtype) for k in range(3)
    ]
    out = wynn_epsilon(sums)
    assert xp_case.owns(out)
    assert out.dtype == sums[0].dtype
    np.testing.assert_allclose(xp_case.to_numpy(out), LIMIT, atol=1e-5)
