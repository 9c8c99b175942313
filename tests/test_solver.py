"""The only loop body: steps, restarts of the model, escapes, what is reported."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der

import negopt
from negopt.core.options import RunOptions
from negopt.core.types import State, Status
from negopt.functions.objective import Objective
from negopt.solver.loop import Solver

METHODS = pytest.mark.parametrize("method", list(negopt.METHODS))
#: All but the baselines, which need not converge with their default options.
CONVERGENT = pytest.mark.parametrize(
    "method", [name for name, row in negopt.METHODS.items() if not row.baseline]
)


def solver(method, fun=rosen, jac=rosen_der, x0=(-1.2, 1.0), **options):
    objective = Objective(
        fun, np.array(x0), (), jac, None, None, maxfun=options.pop("maxfun", math.inf)
    )
    return Solver(negopt.METHODS[method], objective, RunOptions(**options))


@CONVERGENT
def test_a_step_at_a_time_is_minimize(method) -> None:
    s = solver(method)
    state = s.init()
    assert isinstance(state, State)
    assert state.k == 0
    values = [state.iterate.f]
    while state.status is None:
        before = state.k
        assert s.step(state) is state
        assert state.k == before + 1
        values.append(state.iterate.f)
    assert values == sorted(values, reverse=True) or min(np.diff(values)) < 0.0
    alike = {"compiled": False}  # by the same code, to the last bit
    res = negopt.minimize(rosen, [-1.2, 1.0], jac=rosen_der, method=method, options=alike)
    assert np.array_equal(s.finish(state).x, res.x)
    assert state.status is Status.CONVERGED
    assert state.counters.nfev == res.nfev


@CONVERGENT
def test_accepted_values_never_rise_by_more_than_rounding(method) -> None:
    s = solver(method, x0=np.tile([-1.2, 1.0], 5))
    state = s.init()
    last = state.iterate.f
    for _ in range(60):
        if state.status is not None:
            break
        s.step(state)
        assert state.iterate.f <= last + 1e-12 * abs(last) + 1e-300
        last = state.iterate.f


@METHODS
def test_convergence_at_the_start_needs_no_step(method) -> None:
    s = solver(method, x0=(1.0, 1.0))
    assert s.init().status is Status.CONVERGED


@METHODS
def test_default_maxiter_grows_with_n(method) -> None:
    for n, most in ((2, 1000), (10, 2000)):
        s = solver(method, x0=np.zeros(n))
        s.init()
        assert s.limits.maxiter == most


def test_default_gtol_follows_the_type() -> None:
    for dtype, gtol in ((np.float64, 1e-5), (np.float32, math.sqrt(2.0**-23))):
        objective = Objective(rosen, np.array([-1.2, 1.0], dtype), (), rosen_der)
        s = Solver(negopt.METHODS["lsr1-tr"], objective, RunOptions())
        s.init()
        assert s.limits.gtol == pytest.approx(gtol)


@METHODS
def test_a_budget_that_ends_in_the_middle_of_a_step(method) -> None:
    s = solver(method, maxfun=4)
    state = s.init()
    while state.status is None:
        s.step(state)
    assert state.status is Status.LIMIT
    assert state.counters.nfev == 4
    assert s.finish(state).f == state.best.f


@METHODS
def test_escapes_are_bounded(method) -> None:
    def fun(x):
        return float(np.sum(np.cos(x)))

    s = solver(method, fun=fun, jac=lambda x: -np.sin(x), x0=np.zeros(3), max_escapes=0)
    state = s.init()
    assert state.status is Status.SADDLE
    assert state.counters.n_escapes == 0
    assert s.finish(state).f == 3.0


@CONVERGENT
def test_the_reported_saddle_is_the_iterate(method) -> None:
    # among points that are equal to rounding, the verdict is about the one that was checked
    res = negopt.minimize(
        lambda x: float(x[0] ** 2 - x[1] ** 2 + 1.0),
        [1.0, 0.0],
        jac=lambda x: np.array([2.0 * x[0], -2.0 * x[1]]),
        method=method,
        options={"max_escapes": 0},
    )
    assert res.status == Status.SADDLE
    assert np.max(np.abs(res.jac)) <= 1e-5
    assert res.min_curvature == pytest.approx(-2.0, rel=1e-3)


@METHODS
def test_not_finite_start(method) -> None:
    with pytest.raises(ValueError, match=r"fun\(x0\) = nan"):
        solver(method, fun=lambda x: math.nan).init()
    with pytest.raises(ValueError, match="gradient at x0 from jac"):
        solver(method, jac=lambda x: x * math.nan).init()


@CONVERGENT
def test_a_model_is_forgotten_once_before_giving_up(method) -> None:
    # f stops falling: rounding alone, the precision status and its reason
    res = negopt.minimize(
        lambda x: float(np.float32(rosen(x))),
        [-1.2, 1.0],
        jac=rosen_der,
        method=method,
        options={"gtol": 0.0, "maxiter": 3000},
    )
    assert res.status in (Status.PRECISION, Status.CONVERGED)
    assert res.fun < 1e-3
    if res.status == Status.PRECISION:
        assert "No further decrease is possible" in res.message


def test_a_message_speaks_of_one_check_even_when_an_escape_lands_on_a_minimum() -> None:
    """From the saddle of a double well the first escape may be stationary at once."""
    f = lambda x: float(x[0] ** 4 / 4 - x[0] ** 2 / 2)  # noqa: E731
    g = lambda x: np.array([x[0] ** 3 - x[0]])  # noqa: E731
    res = negopt.minimize(f, [0.0], jac=g, options={"gtol": 0.5})
    assert res.n_escapes == 1
    assert res.nit == 0
    assert res.success
    assert res.message.count("lowest curvature found") == 1
    assert "(positive)" in res.message
