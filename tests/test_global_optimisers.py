"""SciPy's global optimisers take the methods; their box holds, and no result lies about it."""

from __future__ import annotations

import functools
import math

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from scipy.optimize import Bounds, rosen, rosen_der, rosen_hess

import negopt
from negopt.entry.box import bounds_nothing, box_of

METHODS = ["lqn-tr", "dqn-wolfe-pm", "newton-krylov", "gd-armijo"]


def callable_of(method):
    return getattr(negopt, method.replace("-", "_"))


class Inside:
    """A function that is an error outside its box, and counts its calls."""

    def __init__(self, fun, box) -> None:
        self.fun, self.box, self.calls = fun, box, 0

    def __call__(self, x):
        self.calls += 1
        for value, (low, high) in zip(x, self.box, strict=True):
            assert low <= value <= high, "called outside"
        return self.fun(x)


def wells(x):
    return float(np.sum(x * x - 10.0 * np.cos(2.0 * np.pi * x)) + 10.0 * len(x))


def sloped(x):
    return float(np.sum(x) + 0.1 * np.sum((x - 0.3) ** 2))


def entropy(x):
    return sum(a * math.log(a) for a in x)  # an error where an entry is negative


#: (function, box, value of the minimum in the box, whether a wall holds it)
PROBLEMS = {
    "rosenbrock": (rosen, [(0.0, 2.0)] * 3, 0.0, False),
    "wells": (wells, [(-5.12, 4.0)] * 2, 0.0, False),
    "entropy": (entropy, [(1e-3, 2.0)] * 2, -2.0 / math.e, False),
    "entropy at a wall": (
        entropy,
        [(0.5, 2.0), (1e-3, 0.2)],
        0.2 * math.log(0.2) + 0.5 * math.log(0.5),
        True,
    ),
    "slope": (sloped, [(-1.0, 2.0), (0.5, 3.0)], -0.5 + 0.1 * (1.3**2 + 0.2**2), True),
}


def right(res, problem) -> None:
    fun, box, lowest, _ = PROBLEMS[problem]
    low, high = np.array(box).T
    assert np.all((res.x >= low) & (res.x <= high))
    assert float(np.squeeze(res.fun)) == pytest.approx(fun(res.x), abs=1e-12)
    assert float(np.squeeze(res.fun)) == pytest.approx(lowest, abs=2e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("problem", sorted(set(PROBLEMS) - {"wells"}))  # luck decides there
def test_shgo(method, problem) -> None:
    fun, box, _, _ = PROBLEMS[problem]
    spy = Inside(fun, box)
    search = functools.partial(scipy.optimize.shgo, spy, box, n=128, sampling_method="sobol")
    right(search(minimizer_kwargs={"method": callable_of(method)}), problem)


@pytest.mark.parametrize("method", METHODS)
def test_shgo_with_derivatives(method) -> None:
    box = [(0.0, 2.0)] * 3
    for extra in ({"jac": rosen_der}, {"jac": rosen_der, "hess": rosen_hess}):
        res = scipy.optimize.shgo(
            rosen, box, minimizer_kwargs={"method": callable_of(method), **extra}
        )
        assert res.success
        assert res.fun == pytest.approx(0.0, abs=1e-9)


#: With bounds for the local search every problem; without them those that no wall holds, and whose
#: domain does not end at the box.
ANNEALED = [*((name, True) for name in PROBLEMS), ("rosenbrock", False), ("wells", False)]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("problem", "passed"), ANNEALED)
def test_dual_annealing(method, problem, passed) -> None:
    fun, box, _, _ = PROBLEMS[problem]
    kwargs = {"method": callable_of(method), **({"bounds": box} if passed else {})}
    res = scipy.optimize.dual_annealing(fun, box, minimizer_kwargs=kwargs, maxiter=60, rng=1)
    right(res, problem)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_differential_evolution_polishes(method, problem) -> None:
    fun, box, _, _ = PROBLEMS[problem]
    call = callable_of(method)
    for polish in (call, functools.partial(scipy.optimize.minimize, method=call)):
        res = scipy.optimize.differential_evolution(fun, box, polish=polish, rng=1, maxiter=40)
        right(res, problem)
    spy = Inside(fun, box)
    right(scipy.optimize.differential_evolution(spy, box, polish=call, rng=1, maxiter=40), problem)


@pytest.mark.parametrize("method", METHODS)
def test_basinhopping_with_and_without_bounds(method) -> None:
    kwargs = {"method": callable_of(method), "jac": rosen_der}
    for bounds in (None, [(None, None)] * 2, [(-2.0, 0.5), (-2.0, 2.0)]):
        res = scipy.optimize.basinhopping(
            rosen, [0.2, 0.3], minimizer_kwargs={**kwargs, "bounds": bounds}, niter=3, rng=1
        )
        wall = bounds is not None and bounds[0][1] == 0.5
        assert res.fun == pytest.approx(0.25 if wall else 0.0, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_brute_finishes(method) -> None:
    grid = ((-2.0, 2.0), (-2.0, 2.0))
    call = callable_of(method)
    for finish in (call, functools.partial(scipy.optimize.minimize, method=call)):
        x = scipy.optimize.brute(lambda x: rosen(x), grid, Ns=7, finish=finish)
        np.testing.assert_allclose(x, [1.0, 1.0], atol=1e-3)


def test_a_run_that_walls_hold_says_so() -> None:
    """SciPy's L-BFGS-B goes on along the wall, and the result names both."""
    found = []

    def polish(*args, **kwargs):
        found.append(negopt.lqn_tr(*args, **kwargs))
        return found[-1]

    call = functools.partial(scipy.optimize.differential_evolution, sloped, rng=1, maxiter=20)
    box = [(-1.0, 2.0), (0.5, 3.0)]
    call(box, polish=negopt.lqn_tr)
    with pytest.raises(ValueError, match=r"lqn-tr.* cannot use bounds"):
        call(box, polish=polish)  # a user's own function passes the bounds: his choice
    res = minimize_like_de(negopt.lqn_tr, sloped, [0.3, 1.0], Bounds(*np.array(box).T))
    assert res.success
    assert res.method == "lqn-tr, L-BFGS-B"
    assert res.curvature_status == "not checked"
    assert "The bounds held lqn-tr; L-BFGS-B went on along them" in res.message
    assert res.x == pytest.approx([-1.0, 0.5])
    free = minimize_like_de(negopt.lqn_tr, rosen, [0.3, 1.0], Bounds(-3, [3, 3]), jac=rosen_der)
    assert (free.method, free.curvature_status) == ("lqn-tr", "positive")


def minimize_like_de(method, fun, x0, bounds, **options):
    """Call a method as a module of SciPy does."""
    names = {"__name__": "scipy.optimize._differentialevolution", "method": method}
    exec("def call(*args, **kwargs): return method(*args, **kwargs)", names)
    return names["call"](fun, np.array(x0), bounds=bounds, constraints=(), **options)


@given(
    st.lists(
        st.tuples(
            st.floats(-5, 5),
            st.just(0.0) | st.floats(1e-3, 4.0),
            st.floats(0.0, 1.0),
            st.floats(-4, 4),
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(METHODS),
    st.booleans(),
)
@settings(max_examples=60)
def test_what_is_found_in_a_box_is_its_minimum(parts, method, with_jac) -> None:
    """**Guarantee**: x in the box, f its value there, success at the bounded minimum alone."""
    low, width, share, centre = np.array(parts).T
    high = low + width
    scale = 1.0 + np.arange(len(parts))

    def fun(x):
        assert np.all((x >= low) & (x <= high))
        return float(np.sum(scale * (x - centre) ** 2))

    def jac(x):
        assert np.all((x >= low) & (x <= high))
        return 2.0 * scale * (x - centre)

    x0 = np.clip(low + share * width, low, high)
    res = minimize_like_de(
        callable_of(method), fun, x0, Bounds(low, high), jac=jac if with_jac else None
    )
    assert np.all((res.x >= low) & (res.x <= high))
    assert res.fun == fun(res.x)
    if res.success:
        best = np.clip(centre, low, high)
        assert res.fun <= fun(best) + 1e-5 * max(1.0, fun(best))


def test_constraints_are_refused_inside_global_optimisers_too() -> None:
    constraint = {"type": "ineq", "fun": lambda x: 1.0 - x[0]}
    with pytest.raises(ValueError, match=r"lqn-tr.* cannot use bounds or constraints"):
        scipy.optimize.shgo(
            rosen,
            [(0.0, 2.0)] * 2,
            constraints=constraint,
            minimizer_kwargs={"method": negopt.lqn_tr},
        )


def test_a_user_who_passes_bounds_is_told_that_they_are_not_for_these_methods() -> None:
    for minimize in (scipy.optimize.minimize, negopt.minimize):
        with pytest.raises(ValueError, match=r"lqn-tr.* cannot use bounds.*'L-BFGS-B'"):
            minimize(rosen, [0.1, 0.2], method=negopt.lqn_tr, bounds=[(0, 1)] * 2)
    with pytest.raises(ValueError, match=r"lqn-tr.* cannot use bounds"):
        negopt.lqn_tr(rosen, [0.1, 0.2], bounds=[(0, 1)] * 2)


@pytest.mark.parametrize(
    ("bounds", "nothing"),
    [
        (None, True),
        ([(None, None)], True),
        ([(-math.inf, math.inf), (None, math.inf)], True),
        (Bounds(), True),
        (np.array([[-np.inf, np.inf]]), True),
        ([(0, None)], False),
        ([(None, 1)], False),
        ([(math.nan, None)], False),
        ([], False),
        ([(1, 2, 3)], False),
        ("bounds", False),
        (3, False),
        (Bounds(0.0), False),
    ],
    ids=str,
)
def test_which_bounds_bound_nothing(bounds, nothing) -> None:
    assert bounds_nothing(bounds) is nothing
    assert nothing or box_of(bounds) is None or not np.isinf(np.array(box_of(bounds))).all()
