"""Accelerators of vector sequences against exact scalar theory and dense references."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negopt.steps.acceleration import (
    ACCELERATORS,
    accelerate,
    hybrid_pade,
    levin_t,
    sums_needed,
    topological_shanks,
    wynn_epsilon,
)

LIMIT = np.array([1.0, -2.0, 0.5, 3.0])
EXACT = ("wynn", "shanks", "pade")  # on N geometric parts


def geometric(count, ratios, directions):
    """Return count sums of LIMIT plus a geometric part along each direction."""
    return [
        LIMIT + sum(r**k * v for r, v in zip(ratios, directions, strict=True)) for k in range(count)
    ]


def window(rng, accelerator, order):
    """Return a random sequence that looks like partial sums: shrinking, several ratios."""
    ratios = rng.uniform(-0.9, 0.9, 3 * order + 2)
    return geometric(
        sums_needed(accelerator, order), ratios, rng.standard_normal((len(ratios), len(LIMIT)))
    )


# --- what each is exact for -----------------------------------------------------------------


@pytest.mark.parametrize("accelerator", [*EXACT, "levin-t"])
@settings(max_examples=40)
@given(
    ratio=st.floats(-0.95, 0.95).filter(lambda r: abs(r) > 0.05),
    seed=st.integers(0, 10**6),
    first=st.integers(0, 100),
)
def test_exact_for_a_geometric_sequence(accelerator, ratio, seed, first):
    direction = np.random.default_rng(seed).standard_normal(4)
    out = accelerate(geometric(3, [ratio], [direction]), accelerator, first=first)
    np.testing.assert_allclose(out, LIMIT, atol=1e-10)


@pytest.mark.parametrize("accelerator", EXACT)
@settings(max_examples=30)
@given(seed=st.integers(0, 10**6))
def test_exact_for_two_ratios_at_order_two(accelerator, seed):
    """For Wynn: the entry of column c adds to column c - 2 of the row below."""
    a, b = np.random.default_rng(seed).standard_normal((2, 4))
    out = accelerate(geometric(5, [0.8, -0.5], [a, b]), accelerator)
    np.testing.assert_allclose(out, LIMIT, atol=1e-7)


@pytest.mark.parametrize("accelerator", EXACT)
@pytest.mark.parametrize("ratio", [0.7, -0.5, 1.8])
def test_more_order_than_ratios_does_no_harm(accelerator, ratio):
    """Singular Hankel systems, zero entries in the table; a divergent sequence has a limit too."""
    sums = geometric(7, [ratio], [np.array([1.0, 0.5, -1.0, 2.0])])
    np.testing.assert_allclose(accelerate(sums, accelerator), LIMIT, atol=1e-8)


@settings(max_examples=40)
@given(shift=st.floats(0.5, 50.0), seed=st.integers(0, 10**6))
def test_logarithmic_convergence_is_what_the_factor_of_sablonniere_is_for(shift, seed):
    direction = np.random.default_rng(seed).standard_normal(4)
    sums = [LIMIT + direction / (k + shift) for k in range(3)]
    np.testing.assert_allclose(wynn_epsilon(sums, sablonniere=True), LIMIT, atol=1e-9)
    half = LIMIT + 0.5 * direction / (1 + shift)
    np.testing.assert_allclose(wynn_epsilon(sums), half, atol=1e-9)


@settings(max_examples=20)
@given(ratio=st.floats(0.1, 0.9), seed=st.integers(0, 10**6))
def test_the_factor_of_sablonniere_overshoots_a_geometric_sequence(ratio, seed):
    sums = geometric(3, [ratio], [np.random.default_rng(seed).standard_normal(4)])
    np.testing.assert_allclose(wynn_epsilon(sums, sablonniere=True), 2 * LIMIT - sums[1], atol=1e-9)


@pytest.mark.parametrize("order", [1, 2, 3])
@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), first=st.integers(0, 30))
def test_levin_is_exact_where_its_remainder_is(order, seed, first):
    """e_k = (s_k - s_{k-1}) (a_0 + a_1 / (k + 1) + ...) with N coefficients."""
    rng = np.random.default_rng(seed)
    a = np.concatenate(([rng.uniform(-3, -1)], rng.uniform(-0.3, 0.3, order - 1)))
    errors = [1.0]
    for k in range(first + 1, first + order + 2):
        c = sum(a[i] / (k + 1.0) ** i for i in range(order))
        errors.append(errors[-1] * c / (c - 1))
    direction = rng.standard_normal(4)
    sums = [LIMIT + e * direction for e in errors]
    np.testing.assert_allclose(levin_t(sums, first=first), LIMIT, atol=1e-8)


# --- against references written another way -------------------------------------------------


def determinant(rows):
    """Return an exact determinant (Laplace; rows of Fractions)."""
    if len(rows) == 1:
        return rows[0][0]
    return sum(
        (-1) ** j * rows[0][j] * determinant([row[:j] + row[j + 1 :] for row in rows[1:]])
        for j in range(len(rows))
    )


def scalar_shanks(s, n, order):
    """Return e_N(s_n) as Shanks's ratio of determinants."""
    differences = [
        [s[n + i + j + 1] - s[n + i + j] for j in range(order + 1)] for i in range(order)
    ]
    over = determinant([[s[n + j] for j in range(order + 1)], *differences])
    under = determinant([[Fraction(1)] * (order + 1), *differences])
    return over / under


def leibniz(count):
    sums, total = [], Fraction(0)
    for k in range(count):
        total += Fraction((-1) ** k, 2 * k + 1)
        sums.append(total)
    return sums


@pytest.mark.parametrize("accelerator", ["wynn", "shanks"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_in_one_dimension_it_is_the_scalar_shanks_transformation(accelerator, order):
    s = leibniz(2 * order + 1)
    out = accelerate([np.array([float(v)]) for v in s], accelerator)
    assert out[0] == pytest.approx(float(scalar_shanks(s, 0, order)), rel=1e-11)
    assert abs(out[0] - math.pi / 4) < 0.2 ** (order + 1)


@pytest.mark.parametrize("order", [1, 2, 4, 8])
def test_in_one_dimension_it_is_the_scalar_t_transformation(order):
    """Levin's formula with A_n, R_n = a_n and n = k + 1, in rational arithmetic."""
    s = leibniz(order + 2)
    over = under = Fraction(0)
    for j in range(order + 1):
        n, term = j + 2, s[j + 1] - s[j]
        weight = Fraction((-1) ** j * math.comb(order, j) * n ** (order - 1)) / term
        over, under = over + weight * s[j + 1], under + weight
    out = levin_t([np.array([float(v)]) for v in s])
    assert out[0] == pytest.approx(float(over / under), rel=1e-9)
    if order == 8:  # ten terms of a series that needs 10^8 for this
        assert out[0] == pytest.approx(math.pi / 4, abs=1e-7)


def table(sums, factor):
    """Return the epsilon table's last entry by the definition, columns from -1."""
    columns = [[0.0 * sums[0]] * (len(sums) + 1), list(sums)]
    for c in range(1, len(sums)):
        last, before = columns[-1], columns[-2]
        columns.append(
            [
                before[m + 1] + factor(c) * (d := last[m + 1] - last[m]) / (d @ d)
                for m in range(len(last) - 1)
            ]
        )
    return columns[-1][0]


def dense_shanks(sums):
    """Return sum q_j s_{N+j} with sum q = 1 and y'(sum q_j D_{i+j}) = 0, one linear system."""
    order, D = len(sums) // 2, np.diff(np.array(sums), axis=0)
    rows = [[D[0] @ D[i + j] for j in range(order + 1)] for i in range(order)]
    q = np.linalg.solve(np.array([*rows, [1.0] * (order + 1)]), np.eye(order + 1)[-1])
    return q @ np.array(sums[order:])


def dense_pade(sums):
    """Return the approximant from all residuals stacked, by least squares on the matrix."""
    order, D = len(sums) // 2, np.diff(np.array(sums), axis=0)
    stacked = np.vstack([D[i : i + order + 1].T for i in range(order)])
    q = np.append(1.0, np.linalg.lstsq(stacked[:, 1:], -stacked[:, 0], rcond=None)[0])
    return q @ np.array(sums[order:]) / np.sum(q)


def dense_levin(sums, first):
    """Return S from s_j = S + omega_j (a_0 + a_1/(k_j + 1) + ...), entry by entry."""
    order, D = len(sums) - 2, np.diff(np.array(sums), axis=0)
    k = first + 1 + np.arange(order + 1)
    omega = D @ D[-1]
    basis = np.stack([np.ones(order + 1), *(omega / (k + 1.0) ** i for i in range(order))], axis=1)
    return np.linalg.solve(basis / np.abs(basis).max(0), np.array(sums[1:]))[0]


@pytest.mark.parametrize("order", [1, 2, 3])
@settings(max_examples=25)
@given(seed=st.integers(0, 10**6))
def test_against_the_definitions(order, seed):
    rng = np.random.default_rng(seed)
    sums = window(rng, "wynn", order)
    close = dict(rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(wynn_epsilon(sums), table(sums, lambda c: 1), **close)
    np.testing.assert_allclose(
        wynn_epsilon(sums, sablonniere=True), table(sums, lambda c: c // 2 + 1), **close
    )
    expected = dense_shanks(sums)
    np.testing.assert_allclose(
        topological_shanks(sums), expected, atol=1e-5 * max(1.0, np.max(np.abs(expected)))
    )
    np.testing.assert_allclose(hybrid_pade(sums), dense_pade(sums), **close)
    sums = window(rng, "levin-t", order)
    expected = dense_levin(sums, 4)
    np.testing.assert_allclose(
        levin_t(sums, first=4), expected, atol=1e-5 * max(1.0, np.max(np.abs(expected)))
    )


def test_pade_of_order_one_by_hand():
    """The formula of the docstring, which is what the source document ran at every order."""
    s = np.random.default_rng(5).standard_normal((3, 4)).cumsum(axis=0)
    old, new = s[1] - s[0], s[2] - s[1]
    expected = s[1] - new * (old @ new) / (new @ (new - old))
    np.testing.assert_allclose(hybrid_pade(list(s)), expected, rtol=1e-10)


def test_moments_of_a_positive_operator_have_positive_hankel_determinants():
    """What makes the topological transformation exist for a series with V above H^2."""
    rng = np.random.default_rng(2)
    Q = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    z = rng.uniform(0, 1, 8)
    v, c, sums, total = rng.standard_normal(8), 1.0, [], 0.0
    for k in range(1, 12):
        total = total + c * v
        sums.append(total)
        v, c = (Q * z) @ (Q.T @ v), c * (2 * k - 1) / (2 * k)
    D = np.diff(np.array(sums), axis=0)
    moments = D @ D[0]
    for order in (1, 2, 3, 4):
        hankel = [[moments[i + j] for j in range(order)] for i in range(order)]
        assert np.linalg.eigvalsh(np.array(hankel))[0] > 0


# --- symmetries, and where there is nothing to divide ---------------------------------------


@pytest.mark.parametrize("accelerator", ACCELERATORS)
@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), order=st.integers(1, 2))
def test_commutes_with_shift_scale_and_rotation(accelerator, seed, order):
    rng = np.random.default_rng(seed)
    sums = window(rng, accelerator, order)
    Q = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    shift, scale = rng.standard_normal(4), 2.0 ** rng.integers(-20, 20)
    moved = accelerate([scale * (Q @ s) + scale * shift for s in sums], accelerator, first=3)
    expected = scale * (Q @ accelerate(sums, accelerator, first=3)) + scale * shift
    np.testing.assert_allclose(moved, expected, atol=1e-4 * np.max(np.abs(expected)))


@pytest.mark.parametrize("accelerator", ACCELERATORS)
@pytest.mark.parametrize("order", [0, 1, 2, 8])
@pytest.mark.parametrize("scale", [1.0, 0.0, 1e-200])
def test_a_converged_sequence_stays(accelerator, order, scale):
    sums = [scale * LIMIT for _ in range(sums_needed(accelerator, order))]
    np.testing.assert_array_equal(accelerate(sums, accelerator), scale * LIMIT)


@pytest.mark.parametrize("accelerator", ACCELERATORS)
@pytest.mark.parametrize("moving", [1, 2, 3])
def test_a_sequence_that_converges_on_the_way_is_finite(accelerator, moving):
    """The last sums agree: no division by zero, and the answer is what they agree on."""
    sums = [LIMIT + 0.1**k for k in range(moving)] + [LIMIT.copy() for _ in range(7 - moving)]
    out = accelerate(sums, accelerator)
    assert np.all(np.isfinite(out))
    np.testing.assert_allclose(out, LIMIT, atol=1e-2)


@pytest.mark.parametrize("accelerator", ACCELERATORS)
def test_one_term_that_vanishes_is_finite(accelerator):
    e = np.eye(4)
    sums = [0.0 * LIMIT, e[0], e[0], e[0] + e[1], e[0] + 2 * e[1]]
    assert np.all(np.isfinite(accelerate(sums, accelerator)))


@pytest.mark.parametrize("accelerator", ACCELERATORS)
def test_equal_steps_have_no_limit_and_stay_finite(accelerator):
    out = accelerate([k * LIMIT for k in range(5)], accelerator)
    assert np.all(np.isfinite(out))


@pytest.mark.parametrize("accelerator", ACCELERATORS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_sum_that_is_not_finite_is_handed_back(accelerator, bad):
    """No exception: whoever asked judges the step."""
    sums = [k * LIMIT for k in range(4)] + [bad * LIMIT]
    assert not np.all(np.isfinite(accelerate(sums, accelerator)))


def test_sums_needed():
    assert [sums_needed(name, 0) for name in ACCELERATORS] == [1] * 5
    assert [sums_needed(name, 3) for name in ACCELERATORS] == [7, 7, 7, 5, 7]


def test_refusals():
    with pytest.raises(ValueError, match="odd number"):
        wynn_epsilon([LIMIT, LIMIT])
    with pytest.raises(ValueError, match="odd number"):
        hybrid_pade([LIMIT, LIMIT])
    with pytest.raises(ValueError, match="three or more"):
        levin_t([LIMIT, LIMIT])
    with pytest.raises(ValueError, match="first"):
        levin_t([LIMIT, LIMIT, LIMIT], first=-1)
    with pytest.raises(ValueError, match="use one of 'wynn'"):
        accelerate([LIMIT], "rho")


@pytest.mark.parametrize("accelerator", ACCELERATORS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_array_library(xp_case, accelerator, dtype):
    directions = np.array([[1.0, 2.0, -1.0, 0.5], [0.3, -0.2, 0.1, 0.4]])
    host = geometric(sums_needed(accelerator, 2), [0.5, -0.3], directions)
    sums = [xp_case.asarray(s, dtype) for s in host]
    out = accelerate(sums, accelerator, first=2)
    assert xp_case.owns(out)
    assert out.dtype == sums[0].dtype
    tolerance = 1e-9 if dtype == "float64" else 2e-4
    expected = accelerate(host, accelerator, first=2)
    np.testing.assert_allclose(xp_case.to_numpy(out), expected, atol=tolerance)


@pytest.mark.parametrize("accelerator", ACCELERATORS)
def test_tiny_float32_sums_do_not_overflow(accelerator):
    """Squares of the sums, and inverses of their squares, are beyond float32."""
    directions = np.array([[1.0, 2.0, -1.0, 0.5]])
    host = geometric(3, [0.5], directions)
    out = accelerate([(1e-30 * s).astype(np.float32) for s in host], accelerator)
    expected = 1e-30 * accelerate(host, accelerator)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-35)
