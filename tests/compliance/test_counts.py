"""No point is evaluated twice, the counters are the calls, and no budget is exceeded."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
from scipy.sparse.linalg import LinearOperator

import negopt

#: What a method is asked is the same in every form: the others are told apart by the shell alone.
FORMS = ("object", "object-without-both", "2-point", "3-point", "cs", "None", "False")
PRODUCTS = ("list", "sparse", "operator", "SR1", "BFGS", "2-point")


def arguments(watch, form: str, shared_objective) -> dict:
    """Return fun and jac of one form."""
    if form == "callable":
        return {"fun": watch.fun, "jac": watch.jac}
    if form == "True":
        return {"fun": watch.both, "jac": True}
    if form.startswith("object"):
        shared = shared_objective(watch)
        if form == "object-without-both":
            shared.fun_and_grad = None
        return {"fun": shared}
    if form == "cs":
        return {"fun": watch.fun, "jac": "cs"}
    return {"fun": watch.fun, "jac": {"None": None, "False": False}.get(form, form)}


def second(watch, form: str) -> dict:
    """Return hess or hessp of one form."""
    n = len(watch.problem.x0)
    return {
        "none": lambda: {},
        "hessp": lambda: {"hessp": watch.hessp},
        "dense": lambda: {"hess": watch.hess},
        "list": lambda: {"hess": lambda x: watch.hess(x).tolist()},
        "sparse": lambda: {"hess": lambda x: scipy.sparse.csr_array(watch.hess(x))},
        "operator": lambda: {
            "hess": lambda x: LinearOperator((n, n), matvec=watch.hess(x).__matmul__)
        },
        "SR1": lambda: {"hess": scipy.optimize.SR1()},
        "BFGS": lambda: {"hess": scipy.optimize.BFGS()},
        "2-point": lambda: {"hess": "2-point"},
    }[form]()


@pytest.mark.parametrize("form", ["callable", "True"])
def test_no_value_or_gradient_twice_and_counted(
    method, problem, form, spy, shared_objective, ended, brief
) -> None:
    check_values(method, problem, form, spy, shared_objective, ended, brief)


@pytest.mark.shell
@pytest.mark.parametrize("form", FORMS)
def test_no_value_or_gradient_twice_in_any_form(
    method, problem, form, spy, shared_objective, ended, brief
) -> None:
    check_values(method, problem, form, spy, shared_objective, ended, brief)


def check_values(method, problem, form, spy, shared_objective, ended, brief) -> None:
    watch = spy(problem)
    res = negopt.minimize(
        x0=problem.x0, method=method, options=brief, **arguments(watch, form, shared_objective)
    )
    assert ended(res), res.message
    assert res.nfev == len(watch.values)
    assert len(set(watch.values)) == len(watch.values)
    assert len(set(watch.gradients)) == len(watch.gradients)
    if form in ("callable", "True") or form.startswith("object"):
        assert res.njev == len(watch.gradients)
    else:
        assert res.njev > 0
        assert "differences of fun" in res.jac_source
        assert not watch.gradients
    if form in ("2-point", "3-point", "cs"):
        assert form in res.jac_source


@pytest.mark.parametrize("form", ["none", "hessp", "dense"])
def test_no_product_twice_and_counted(method, problem, form, spy, ended, brief) -> None:
    check_products(method, problem, form, spy, ended, brief)


@pytest.mark.shell
@pytest.mark.parametrize("form", PRODUCTS)
def test_no_product_twice_in_any_form(method, problem, form, spy, ended, brief) -> None:
    check_products(method, problem, form, spy, ended, brief)


def check_products(method, problem, form, spy, ended, brief) -> None:
    watch = spy(problem)
    res = negopt.minimize(
        watch.fun, problem.x0, jac=watch.jac, method=method, options=brief, **second(watch, form)
    )
    assert ended(res), res.message
    least = 1 if res.success else 0  # products are asked for at a stationary point at the latest
    assert res.nfev == len(watch.values) == len(set(watch.values))
    assert res.njev == len(watch.gradients) == len(set(watch.gradients))
    if form == "hessp":
        assert res.nhev == len(watch.products) == len(set(watch.products)) >= least
        assert not watch.matrices
    elif form in ("dense", "list", "sparse", "operator"):
        assert res.nhev == len(watch.matrices) == len(set(watch.matrices)) >= least
    else:
        assert not watch.products
        assert res.nhev == 0
    expected = {
        "none": "differences of the gradient",
        "2-point": "differences of the gradient",
        "hessp": "hessp",
    }.get(form, form if form in ("SR1", "BFGS") else "hess")
    assert res.hess_source == expected


@pytest.mark.converges
def test_objects_share_one_linearisation_per_point(method, problem, spy, shared_objective) -> None:
    watch = spy(problem)
    res = negopt.minimize(shared_objective(watch), problem.x0, method=method)
    assert res.success
    assert len(set(watch.matrices)) == len(watch.matrices)  # one linearisation a point
    assert res.nhev == len(watch.products) == len(set(watch.products)) > 0
    assert res.hess_source == "object"


@pytest.mark.shell
@pytest.mark.converges
def test_a_strategy_is_not_changed_and_can_be_used_again(method, rosenbrock) -> None:
    strategy = scipy.optimize.SR1()
    before = dict(vars(strategy))
    runs = [
        negopt.minimize(
            rosenbrock.fun, rosenbrock.x0, jac=rosenbrock.grad, hess=strategy, method=method
        )
        for _ in range(2)
    ]
    assert runs[0].success
    assert np.array_equal(runs[0].x, runs[1].x)
    assert vars(strategy) == before


@pytest.mark.parametrize("form", ["callable", "2-point"])
def test_maxfun_is_never_exceeded(method, form, spy, shared_objective, rosenbrock, brief) -> None:
    check_maxfun(method, form, spy, shared_objective, rosenbrock, brief)


@pytest.mark.shell
@pytest.mark.parametrize("form", ["True", "3-point", "cs", "object"])
def test_maxfun_is_never_exceeded_in_any_form(
    method, form, spy, shared_objective, rosenbrock, brief
) -> None:
    check_maxfun(method, form, spy, shared_objective, rosenbrock, brief)


def check_maxfun(method, form, spy, shared_objective, rosenbrock, brief) -> None:
    n = len(rosenbrock.x0)
    cost = {"2-point": 1 + n, "3-point": 1 + 2 * n, "cs": 1 + n}.get(form, 1)
    full = spy(rosenbrock)
    whole = negopt.minimize(
        x0=rosenbrock.x0, method=method, options=brief, **arguments(full, form, shared_objective)
    )
    total = len(full.values)
    budgets = sorted({*range(cost, cost + 12), total // 2, total - 1, total})
    for maxfun in budgets:
        watch = spy(rosenbrock)
        res = negopt.minimize(
            x0=rosenbrock.x0,
            method=method,
            options={"maxfun": maxfun, **brief},
            **arguments(watch, form, shared_objective),
        )
        assert res.nfev == len(watch.values) <= maxfun
        assert res.fun == rosenbrock.fun(res.x)
        if not whole.success and res.nit == whole.nit:
            assert maxfun == total  # a baseline's iterations were used up first
        elif not res.success:
            assert res.status == negopt.Status.LIMIT
            assert f"maxfun={maxfun}" in res.message
            assert maxfun - res.nfev < cost  # and it was used
        else:
            assert maxfun >= total - 25 * cost  # all but the check of the curvature


@pytest.mark.shell
def test_maxfun_too_small_for_one_evaluation_says_so(method, rosenbrock) -> None:
    calls = []
    with pytest.raises(ValueError, match=r"budget.*maxfun=2.*needs 3"):
        negopt.minimize(calls.append, rosenbrock.x0, method=method, options={"maxfun": 2})
    assert not calls


@pytest.mark.shell
@pytest.mark.parametrize("maxiter", [0, 1, 2, 7])
def test_maxiter_is_exact(method, rosenbrock, maxiter) -> None:
    res = negopt.minimize(
        rosenbrock.fun,
        rosenbrock.x0,
        jac=rosenbrock.grad,
        method=method,
        options={"maxiter": maxiter},
    )
    assert res.nit == maxiter
    assert res.status == negopt.Status.LIMIT
    assert not res.success
    assert "Maximum number of iterations" in res.message
    assert str(maxiter) in res.message


@pytest.mark.shell
def test_maxtime_is_checked_between_evaluations(method, rosenbrock) -> None:
    calls = []

    def slow(x):
        calls.append(0)
        time.sleep(0.02)
        return rosenbrock.fun(x)

    begin = time.perf_counter()
    res = negopt.minimize(
        slow, rosenbrock.x0, jac=rosenbrock.grad, method=method, options={"maxtime": 0.1}
    )
    assert time.perf_counter() - begin < 5.0
    assert res.status == negopt.Status.LIMIT
    assert "maxtime=0.1 s" in res.message
    assert 1 <= len(calls) <= 6
    assert res.fun == rosenbrock.fun(res.x)


@pytest.mark.shell
def test_maxtime_zero_still_returns_the_start_or_says_why(method, rosenbrock) -> None:
    with pytest.raises(ValueError, match="maxtime=0"):
        negopt.minimize(
            rosenbrock.fun,
            rosenbrock.x0,
            jac=rosenbrock.grad,
            method=method,
            options={"maxtime": 0},
        )


@pytest.mark.shell
@pytest.mark.converges
def test_ftarget_stops_with_success(method, rosenbrock) -> None:
    full = negopt.minimize(rosenbrock.fun, rosenbrock.x0, jac=rosenbrock.grad, method=method)
    res = negopt.minimize(
        rosenbrock.fun,
        rosenbrock.x0,
        jac=rosenbrock.grad,
        method=method,
        options={"ftarget": 1.0},
    )
    assert res.status == negopt.Status.TARGET
    assert res.success
    assert res.fun <= 1.0
    assert res.nfev < full.nfev
    assert "ftarget = 1" in res.message
    at_once = negopt.minimize(
        rosenbrock.fun,
        rosenbrock.x0,
        jac=rosenbrock.grad,
        method=method,
        options={"ftarget": 100.0},
    )
    assert (at_once.nit, at_once.nfev, at_once.status) == (0, 1, negopt.Status.TARGET)


@pytest.mark.shell
@pytest.mark.converges
@pytest.mark.parametrize("order", [1, 2, 3.5, math.inf])
def test_gtol_bounds_the_norm_that_was_asked_for(method, problem, order) -> None:
    res = negopt.minimize(
        problem.fun,
        problem.x0,
        jac=problem.grad,
        method=method,
        options={"gtol": 1e-3, "norm": order},
    )
    assert res.success
    assert np.linalg.norm(res.jac, order) <= 1e-3 * (1 + 1e-12)


@pytest.mark.shell
@pytest.mark.converges
def test_tol_is_gtol_and_gtol_wins(method, rosenbrock) -> None:
    kwargs = dict(x0=rosenbrock.x0, jac=rosenbrock.grad, method=method)
    loose = negopt.minimize(rosenbrock.fun, tol=1.0, **kwargs)
    tight = negopt.minimize(rosenbrock.fun, tol=1e-9, **kwargs)
    both = negopt.minimize(rosenbrock.fun, tol=1.0, options={"gtol": 1e-9}, **kwargs)
    assert "gtol = 1;" in loose.message
    assert np.max(np.abs(tight.jac)) <= 1e-9 < np.max(np.abs(loose.jac)) <= 1.0
    assert both.nfev == tight.nfev


@pytest.mark.shell
@pytest.mark.converges
def test_grtol_is_relative_to_the_first_gradient(method, rosenbrock) -> None:
    first = np.max(np.abs(rosenbrock.grad(np.array(rosenbrock.x0))))
    res = negopt.minimize(
        rosenbrock.fun,
        rosenbrock.x0,
        jac=rosenbrock.grad,
        method=method,
        options={"grtol": 0.01},
    )
    assert res.success
    assert 1e-5 < np.max(np.abs(res.jac)) <= 0.01 * first


@pytest.mark.shell
@pytest.mark.converges
def test_xrtol_stops_at_a_small_step(method, rosenbrock) -> None:
    res = negopt.minimize(
        rosenbrock.fun,
        rosenbrock.x0,
        jac=rosenbrock.grad,
        method=method,
        options={"xrtol": 1e-2, "gtol": 0.0},
    )
    assert res.success
    assert "xrtol = 0.01" in res.message


@pytest.mark.shell
@pytest.mark.converges
def test_certify_false_costs_nothing_and_is_said(method, rosenbrock, spy) -> None:
    counts = []
    for certify in (True, False):
        watch = spy(rosenbrock)
        res = negopt.minimize(
            watch.fun,
            rosenbrock.x0,
            jac=watch.jac,
            method=method,
            options={"certify": certify},
        )
        counts.append(res.nfev + res.njev)
        assert res.success
        assert res.njev == len(watch.gradients)
    assert counts[1] < counts[0]
    assert res.curvature_status == "not checked"
    assert math.isnan(res.min_curvature)
    assert "not checked (certify=False)" in res.message


@pytest.mark.parametrize("limit", [1, 2, 20])
def test_the_check_uses_at_most_its_products(problem, spy, limit) -> None:
    watch = spy(problem)
    res = negopt.minimize(
        watch.fun,
        problem.x0,
        jac=watch.jac,
        hessp=watch.hessp,
        method="lqn-tr",  # needs no products itself
        options={"certify_products": limit, "max_escapes": 0},
    )
    assert res.nit > 0
    assert 0 < res.nhev == len(watch.products) <= limit


@pytest.mark.shell
def test_derivatives_without_use_are_a_warning(method, rosenbrock) -> None:
    kwargs = dict(jac=rosenbrock.grad, hessp=rosenbrock.hessp, method=method)
    if negopt.METHODS[method].needs == "hessp":
        negopt.minimize(rosenbrock.fun, rosenbrock.x0, options={"certify": False}, **kwargs)
        return
    with pytest.warns(RuntimeWarning, match="does not use Hessian information") as caught:
        res = negopt.minimize(rosenbrock.fun, rosenbrock.x0, options={"certify": False}, **kwargs)
    assert res.nhev == 0
    assert caught[0].filename == __file__
