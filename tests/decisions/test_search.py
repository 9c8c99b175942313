"""The scalar Wolfe search: cubic steps, invalid trials, limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from negopt import kernels


def work(f0=1.0, d0=-1.0, alpha=1.0, **changes):
    w = np.zeros(kernels.SEARCH_WORK)
    options = {"c1": 1e-4, "c2": 0.9, "strong": False, "noise": 0.0, "limit": 30, "alpha_max": 1e20}
    options |= changes
    kernels.search_start(w, f0, d0, alpha, *options.values())
    return w


@settings(max_examples=200)
@given(
    c=st.tuples(*[st.floats(-3, 3)] * 4),
    a=st.floats(-5, 5),
    width=st.floats(0.1, 5).flatmap(lambda v: st.sampled_from([v, -v])),
)
def test_cubic_minimizer(c, a, width):
    """It is where the derivative vanishes and the second derivative is positive."""
    assume(abs(c[3]) > 0.05 and abs(c[2] ** 2 - 3 * c[1] * c[3]) > 1e-2)
    cubic = np.polynomial.Polynomial(c)
    slope, curvature = cubic.deriv(), cubic.deriv(2)
    b = a + width
    x = kernels.cubic_minimizer(a, cubic(a), slope(a), b, cubic(b), slope(b))
    roots = np.roots(slope.coef[::-1])
    real = roots[np.isreal(roots)].real
    minima = real[curvature(real) > 1e-3]
    if len(minima):
        assert x == pytest.approx(minima[0], rel=1e-4, abs=1e-4)
    elif c[2] ** 2 < 3 * c[1] * c[3]:
        assert math.isnan(x)


def test_cubic_minimizer_without_a_minimum():
    assert math.isnan(kernels.cubic_minimizer(0.0, 0.0, 0.0, 1.0, 0.0, 0.0))  # constant
    assert math.isnan(kernels.cubic_minimizer(0.0, 0.0, math.inf, 1.0, 0.0, 0.0))
    # A parabola: the cubic term vanishes.
    assert kernels.cubic_minimizer(0.0, 1.0, -2.0, 3.0, 4.0, 4.0) == pytest.approx(1.0)


def test_start_keeps_the_first_trial_below_the_limit():
    w = work(alpha=5.0, alpha_max=2.0)
    assert w[kernels.ALPHA] == 2.0
    assert w[kernels.HI] == math.inf
    assert w[kernels.COUNT] == 0


def test_an_acceptable_first_trial_is_taken():
    w = work()
    assert kernels.search_step(w, 0.5, 0.0) == kernels.WOLFE
    assert w[kernels.ALPHA] == 1.0


def test_weak_takes_what_strong_refuses():
    for strong, task in ((False, kernels.WOLFE), (True, kernels.EVALUATE)):
        w = work(strong=strong)
        assert kernels.search_step(w, 0.5, 5.0) == task
    assert 0.0 < w[kernels.ALPHA] < 1.0  # the minimum lies before


@pytest.mark.parametrize(
    ("f", "d"), [(math.nan, 0.0), (math.inf, 0.0), (-math.inf, 0.0), (0.0, math.nan)]
)
def test_invalid_trials_shrink_tenfold(f, d):
    w = work()
    for k in range(1, 6):
        assert kernels.search_step(w, f, d) == kernels.EVALUATE
        assert w[kernels.ALPHA] == pytest.approx(10.0**-k)
    assert w[kernels.BEST] == 0.0


def test_expansion_is_between_two_and_ten_fold():
    w = work(f0=0.0, d0=-1.0)
    alphas = []
    for _ in range(5):  # a straight line: nothing bends, so the longest expansion
        a = w[kernels.ALPHA]
        alphas.append(a)
        assert kernels.search_step(w, -a, -1.0) == kernels.EVALUATE
    assert alphas == pytest.approx([1.0, 10.0, 100.0, 1e3, 1e4])
    assert w[kernels.BEST] == 1e4


def test_expansion_ends_at_the_largest_step():
    w = work(f0=0.0, alpha_max=3.0)
    assert kernels.search_step(w, -1.0, -1.0) == kernels.EVALUATE
    assert w[kernels.ALPHA] == 3.0
    assert kernels.search_step(w, -3.0, -1.0) == kernels.ARMIJO
    assert w[kernels.BEST] == 3.0


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_the_limit_is_kept(limit):
    w = work(limit=limit)
    tasks = [kernels.search_step(w, 2.0, 1.0) for _ in range(limit)]
    assert tasks == [kernels.EVALUATE] * (limit - 1) + [kernels.FAILED]


def test_rounding_level_is_judged_by_slopes():
    f0 = 1.0
    w = work(f0=f0, d0=-1e-20, noise=1e-13)
    assert kernels.search_step(w, f0 + 1e-15, 0.0) == kernels.WOLFE
    w = work(f0=f0, d0=-1e-20)
    assert kernels.search_step(w, f0 + 1e-15, 0.0) == kernels.EVALUATE


def test_the_bracket_closes_on_a_jump():
    """No point satisfies the conditions: the search ends instead of going on for ever."""
    w = work(f0=0.0, d0=-1.0, limit=1000)
    task, count = kernels.EVALUATE, 0
    while task == kernels.EVALUATE:
        a = w[kernels.ALPHA]
        task = kernels.search_step(w, -a if a < 0.3 else 1.0, -1.0)
        count += 1
    assert task == kernels.ARMIJO
    assert w[kernels.BEST] == pytest.approx(0.3, rel=1e-12)
    assert count < 200
