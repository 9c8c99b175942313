"""A state with another function: f and g anew at the state's point, the curvature kept.

Theorem.  The run from a state of f, on h, is the run of h from the state's point with the memory
of f: every value it reports is one of h, its counts are its own, and the evaluation that showed
that h is not f is its first.  From a state of f, on f, it goes on bit for bit, and that evaluation
counts nowhere.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

import negopt
from negopt import METHODS

A = np.logspace(0, 4, 30)


def shifted(c):
    """Return f and its gradient: a quartic that is ill conditioned, with its minimum at c."""

    def fun(x):
        d = x - c
        return 0.5 * d @ (A * d) + np.sum(d**4) / 100

    def jac(x):
        d = x - c
        return A * d + d**3 / 25

    return fun, jac


def solve(c, method, x0=None, calls=None, **options):
    fun, jac = shifted(c)

    def counted(x):
        if calls is not None:
            calls.append(x.copy())
        return fun(x)

    x0 = np.full(30, 3.0) if x0 is None else x0
    own = {"learning_rate": 1e-4} if METHODS[method].baseline else {}
    return negopt.minimize(counted, x0, jac=jac, method=method, options={**own, **options})


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("maxiter", [3, 40, 400])
def test_the_results_are_those_of_the_other_function(method, maxiter) -> None:
    state, calls = solve(0.0, method, maxiter=maxiter).state, []
    res = solve(0.1, method, calls=calls, state=state, maxiter=30)
    fun, jac = shifted(0.1)
    assert res.fun == fun(res.x)
    assert np.array_equal(res.jac, jac(res.x))
    assert np.array_equal(calls[0], state.iterate.x)
    assert res.nfev == len(calls)
    assert res.nit <= 30
    assert res.state.f0 == fun(calls[0])
    assert res.fun < res.state.f0


@pytest.mark.parametrize("method", ["dqn-wolfe-pm", "bfgs-wolfe", "lqn-tr", "sr1-tr"])
def test_the_curvature_is_kept(method) -> None:
    """Continuing on other data is cheaper than beginning anew from the same point."""
    first = solve(0.0, method)
    anew = solve(0.1, method, x0=first.x)
    further = solve(0.1, method, state=first.state)
    assert further.success
    assert anew.success
    assert further.nfev < 0.7 * anew.nfev


@pytest.mark.parametrize("method", ["lqn-tr", "dqn-wolfe-pm", "newton-krylov"])
def test_the_same_function_costs_one_look_that_counts_nowhere(method) -> None:
    half, calls = solve(0.0, method, maxiter=5), []
    rest = solve(0.0, method, calls=calls, state=half.state, maxiter=5)
    whole = solve(0.0, method, maxiter=10)
    assert np.array_equal(rest.x, whole.x)
    assert (rest.nfev, rest.njev, rest.nit) == (whole.nfev, whole.njev, whole.nit)
    assert len(calls) == rest.nfev - half.nfev + 1


def test_a_value_that_is_not_that_of_the_point_is_not_believed() -> None:
    state = solve(0.0, "lqn-tr", maxiter=5).state
    state.best.f = -1e9
    res = solve(0.0, "lqn-tr", state=state)
    assert res.success
    assert res.fun == shifted(0.0)[0](res.x)
    state = solve(0.0, "lqn-tr", maxiter=5).state
    state.iterate.g[3] *= -1.0  # its length is as it was
    res = solve(0.0, "lqn-tr", state=state, maxiter=0)
    assert np.array_equal(res.jac, shifted(0.0)[1](res.x))


def test_rounding_of_another_machine_is_the_same_function() -> None:
    """The counts go on; what is reported is what f is now."""
    state = solve(0.0, "lqn-tr", maxiter=5).state
    nfev = state.counters.nfev
    fun, jac = shifted(0.0)

    def other(x):
        return fun(x) * (1.0 + 1e-15)

    res = negopt.minimize(
        other, np.zeros(30), jac=jac, method="lqn-tr", options={"state": state, "maxiter": 3}
    )
    assert res.nit == 8
    assert res.nfev > nfev
    assert res.fun == other(res.x)


def test_a_function_that_is_not_finite_there() -> None:
    state = solve(0.0, "lqn-tr", maxiter=5).state
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match=r"options\['state'\] f = (nan|inf) .*: both must be"):
            negopt.minimize(
                lambda x, value=value: value,
                np.zeros(30),
                jac=lambda x: x,
                method="lqn-tr",
                options={"state": state},
            )


@pytest.mark.parametrize("jac", ["2-point", "3-point", None])
def test_without_a_gradient(jac) -> None:
    """The gradient is formed too: all of it is the one evaluation that counts nowhere."""
    calls = []

    def counted(c):
        def fun(x):
            calls.append(0)
            return shifted(c)[0](x)

        return fun

    def run(c, **options):
        return negopt.minimize(counted(c), np.ones(30), jac=jac, method="lqn-tr", options=options)

    half = run(0.0, maxiter=4)
    calls.clear()
    rest = run(0.0, state=half.state, maxiter=4)
    assert len(calls) == rest.nfev - half.nfev + (61 if jac == "3-point" else 31)
    assert np.array_equal(rest.x, run(0.0, maxiter=8).x)
    half.state.iterate.g[3] *= -1.0
    now = run(0.0, state=half.state, maxiter=0)
    np.testing.assert_allclose(now.jac, shifted(0.0)[1](now.x), rtol=1e-3, atol=0.1)
    other = run(0.1, state=half.state, maxiter=4)
    assert other.fun == shifted(0.1)[0](other.x)
    np.testing.assert_allclose(other.jac, shifted(0.1)[1](other.x), rtol=1e-3, atol=0.1)
    with pytest.raises(ValueError, match=r"of another function: .* evaluations, maxfun=5; raise"):
        run(0.1, state=half.state, maxfun=5)


def test_the_first_evaluation_is_within_the_budget() -> None:
    state, calls = solve(0.0, "lqn-tr", maxiter=5).state, []
    res = solve(0.1, "lqn-tr", calls=calls, state=state, maxfun=7)
    assert len(calls) == res.nfev <= 7
