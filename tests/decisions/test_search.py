"""The scalar Wolfe search: cubic steps, invalid trials, limits, rounding; plain and compiled."""

from __future__ import annotations

import functools
import math
import types

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from negopt.decisions import search as plain


@functools.cache
def compiled():
    """Return the module's functions compiled from their source, as the batch loop has them."""
    numba = pytest.importorskip("numba")
    names = {k: v for k, v in vars(plain).items() if not k.startswith("_")}
    functions = {k: v for k, v in names.items() if isinstance(v, types.FunctionType)}
    for function in functions.values():
        numba.extending.register_jitable(function)
    return types.SimpleNamespace(**(names | {k: numba.njit(v) for k, v in functions.items()}))


@pytest.fixture(params=["plain", "compiled"])
def search(request):
    """The functions on a list of floats, and compiled on an array."""
    return plain if request.param == "plain" else compiled()


def work(search, f0=1.0, d0=-1.0, alpha=1.0, **changes):
    """Return a started work vector."""
    w = [0.0] * plain.SEARCH_WORK if search is plain else np.full(plain.SEARCH_WORK, np.nan)
    options = {"c1": 1e-4, "c2": 0.9, "strong": False, "noise": 0.0, "limit": 30, "alpha_max": 1e20}
    options |= changes
    search.search_start(w, f0, d0, alpha, *options.values())
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
    x = plain.cubic_minimizer(a, cubic(a), slope(a), b, cubic(b), slope(b))
    roots = np.roots(slope.coef[::-1])
    real = roots[np.isreal(roots)].real
    minima = real[curvature(real) > 1e-3]
    if len(minima):
        assert x == pytest.approx(minima[0], rel=1e-4, abs=1e-4)
    elif c[2] ** 2 < 3 * c[1] * c[3]:
        assert math.isnan(x)


def test_cubic_minimizer_without_a_minimum():
    assert math.isnan(plain.cubic_minimizer(0.0, 0.0, 0.0, 1.0, 0.0, 0.0))  # constant
    assert math.isnan(plain.cubic_minimizer(0.0, 0.0, math.inf, 1.0, 0.0, 0.0))
    # A parabola: the cubic term vanishes.
    assert plain.cubic_minimizer(0.0, 1.0, -2.0, 3.0, 4.0, 4.0) == pytest.approx(1.0)


def test_start_keeps_the_first_trial_below_the_limit(search):
    w = work(search, alpha=5.0, alpha_max=2.0)
    assert w[plain.ALPHA] == 2.0
    assert w[plain.HI] == math.inf
    assert w[plain.COUNT] == 0


def test_an_acceptable_first_trial_is_taken(search):
    w = work(search)
    assert search.search_step(w, 0.5, 0.0) == plain.WOLFE
    assert w[plain.ALPHA] == 1.0


def test_weak_takes_what_strong_refuses(search):
    for strong, task in ((False, plain.WOLFE), (True, plain.EVALUATE)):
        w = work(search, strong=strong)
        assert search.search_step(w, 0.5, 5.0) == task
    assert 0.0 < w[plain.ALPHA] < 1.0  # the minimum lies before


@pytest.mark.parametrize(
    ("f", "d"), [(math.nan, 0.0), (math.inf, 0.0), (-math.inf, 0.0), (0.0, math.nan)]
)
def test_invalid_trials_shrink_tenfold(search, f, d):
    w = work(search)
    for k in range(1, 6):
        assert search.search_step(w, f, d) == plain.EVALUATE
        assert w[plain.ALPHA] == pytest.approx(10.0**-k)
    assert w[plain.BEST] == 0.0


def test_expansion_is_between_two_and_ten_fold(search):
    w = work(search, f0=0.0, d0=-1.0)
    alphas = []
    for _ in range(5):  # a straight line: nothing bends, so the longest expansion
        a = w[plain.ALPHA]
        alphas.append(a)
        assert search.search_step(w, -a, -1.0) == plain.EVALUATE
    assert alphas == pytest.approx([1.0, 10.0, 100.0, 1e3, 1e4])
    assert w[plain.BEST] == 1e4


def test_expansion_goes_to_the_minimum_of_the_cubic_or_tenfold(search):
    for minimum, trial in ((5.0, 5.0), (500.0, 10.0), (1.2, 2.0)):
        w = work(search, f0=0.0, d0=-1.0, c2=0.1)
        assert search.search_step(w, 0.5 / minimum - 1.0, 1.0 / minimum - 1.0) == search.EVALUATE
        assert w[plain.ALPHA] == pytest.approx(trial)


def test_a_bracket_shrinks_by_a_tenth_at_least(search):
    w = work(search, f0=0.0, d0=-1.0)  # 1e6 a^2 - a has its minimum at 5e-7
    assert search.search_step(w, 1e6 - 1.0, 2e6 - 1.0) == search.EVALUATE
    assert w[plain.ALPHA] == pytest.approx(0.1)


def test_expansion_ends_at_the_largest_step(search):
    w = work(search, f0=0.0, alpha_max=3.0)
    assert search.search_step(w, -1.0, -1.0) == plain.EVALUATE
    assert w[plain.ALPHA] == 3.0
    assert search.search_step(w, -3.0, -1.0) == plain.ENDLESS
    assert w[plain.BEST] == 3.0


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_the_limit_is_kept(search, limit):
    w = work(search, limit=limit)
    tasks = [search.search_step(w, 2.0, 1.0) for _ in range(limit)]
    assert tasks == [plain.EVALUATE] * (limit - 1) + [plain.FAILED]


def test_rounding_level_is_judged_by_slopes(search):
    f0 = 1.0
    w = work(search, f0=f0, d0=-1e-20, noise=1e-13)
    assert search.search_step(w, f0 + 1e-15, 0.0) == plain.WOLFE
    w = work(search, f0=f0, d0=-1e-20)
    assert search.search_step(w, f0 + 1e-15, 0.0) == plain.EVALUATE


def test_the_bracket_closes_on_a_jump(search):
    """No point satisfies the conditions: the search ends instead of going on for ever."""
    w = work(search, f0=0.0, d0=-1.0, limit=1000)
    task, count = plain.EVALUATE, 0
    while task == plain.EVALUATE:
        a = w[plain.ALPHA]
        task = search.search_step(w, -a if a < 0.3 else 1.0, -1.0)
        count += 1
    assert task == plain.ARMIJO
    assert w[plain.BEST] == pytest.approx(0.3, rel=1e-12)
    assert count < 200


def test_approximate_decrease_needs_a_slope_that_has_turned():
    """Where f is rounding the slope must have risen to (2 c1 - 1) d0: almost to its mirror image.

    Of a parabola through the point that is the sufficient decrease itself; a slope that has
    merely begun to rise, or risen far beyond, is none.
    """
    for d, holds in ((0.0, True), (0.79, True), (0.81, False), (1.0, False)):
        assert plain.is_decrease(1.0 + 1e-16, d, 1.0, 1.0, -1.0, 0.1, 1e-13) is holds
    assert not plain.is_decrease(1.0 + 2e-13, 0.0, 1.0, 1.0, -1.0, 0.1, 1e-13)
    assert not plain.is_decrease(1.0 - 2e-13, 0.0, 1.0, 1.0, -1.0, 0.1, 1e-13)
    # a decrease beyond the noise is judged by values alone
    assert plain.is_decrease(0.8, 1.0, 1.0, 1.0, -1.0, 0.1, 1e-13)


def test_a_blurred_parabola_is_left_where_armijo_says(search):
    """With f = 1 + 1e-20 (a^2 / 2 - a) all values are 1: slopes say where a = 2 (1 - c1) is."""
    for alpha, task in ((1.59, search.WOLFE), (1.61, search.EVALUATE)):
        w = work(search, f0=1.0, d0=-1e-20, alpha=alpha, c1=0.2, noise=1e-13)
        assert search.search_step(w, 1.0 + 2.3e-16, 1e-20 * (alpha - 1.0)) == task


def test_slow_brackets_are_bisected(search):
    """At a kink the cubic misses the minimum again and again: two steps in turn shrink well."""
    w = work(search, f0=0.0, d0=-1.0, limit=1000)
    task, widths = search.EVALUATE, []
    while task == search.EVALUATE:
        a = w[plain.ALPHA]
        after = a - 0.6
        f, d = (after - 0.6, -1.0) if after < 0.0 else (1e6 * after - 0.6, 1e6)
        task = search.search_step(w, f, d)
        widths.append(w[plain.HI] - w[plain.LO])
    assert task == search.WOLFE
    shrinks = [after / before for before, after in zip(widths[:-3], widths[2:-1], strict=True)]
    assert len(shrinks) > 15
    assert max(shrinks) <= 0.66 * 0.9 + 1e-6


def test_the_first_trial_is_judged_as_in_the_search(search):
    """`is_wolfe` and the first call of `search_step` agree."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        f, d = (
            float(rng.choice([0.5, 1.0 - 1e-15, 1.0, 1.0 + 1e-15, 2.0, np.inf])),
            float(rng.choice([-1.0, -0.5, 0.0, 0.5, 0.9, 1.5, np.nan])),
        )
        strong, noise = bool(rng.integers(2)), float(rng.choice([0.0, 1e-13]))
        w = work(search, c1=0.1, c2=0.7, strong=strong, noise=noise)
        said = search.is_wolfe(f, d, 1.0, 1.0, -1.0, 0.1, 0.7, strong, noise)
        assert said == (search.search_step(w, f, d) == plain.WOLFE)
