"""The guarded door: counts, budgets, the best point, differences."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import scipy.optimize
from scipy.optimize import rosen, rosen_der, rosen_hess, rosen_hess_prod

from negopt.core.types import BudgetExhausted
from negopt.functions.objective import Objective

X = np.array([-1.2, 1.0, 0.5])


def objective(jac=rosen_der, fun=rosen, x0=X, hess=None, hessp=None, **options):
    return Objective(fun, x0, (), jac, hess, hessp, **options)


def test_a_point_is_evaluated_whole() -> None:
    o = objective()
    p = o.at(X)
    assert (p.f, p.gmax, p.gnorm) == (
        rosen(X),
        np.max(np.abs(rosen_der(X))),
        pytest.approx(np.linalg.norm(rosen_der(X))),
    )
    assert np.array_equal(p.g, rosen_der(X))
    assert (o.counters.nfev, o.counters.njev) == (1, 1)
    assert o.best is p


def test_above_the_bar_no_gradient_is_asked_for() -> None:
    o = objective()
    p = o.at(X, bar=rosen(X) - 1.0)
    assert p.f == rosen(X)
    assert math.isnan(p.gmax)
    assert np.all(np.isnan(p.g))
    assert (o.counters.nfev, o.counters.njev, o.counters.n_nonfinite) == (1, 0, 0)
    assert o.best is None
    assert o.at(X, bar=rosen(X)).finite


def test_the_best_point_is_the_lowest_finite_one() -> None:
    o = objective()
    for x in (X, np.ones(3), np.zeros(3)):
        o.at(x)
    assert np.array_equal(o.best.x, np.ones(3))
    bad = objective(jac=lambda x: np.full(3, np.nan))
    assert not bad.at(np.ones(3)).finite
    assert bad.best is None
    assert bad.counters.n_nonfinite == 1


def test_of_equal_values_the_flatter_is_the_best() -> None:
    o = objective(fun=lambda x: 1.0, jac=lambda x: x)
    o.at(np.array([3.0, 3.0, 3.0]))
    o.at(np.array([1.0, 2.0, 0.0]))
    o.at(np.array([2.5, 2.0, 0.0]))
    assert o.best.gmax == 2.0


@pytest.mark.parametrize(("scheme", "cost"), [("2-point", 4), ("3-point", 7), ("cs", 4), (None, 4)])
def test_differences_agree_and_cost_what_they_say(scheme, cost) -> None:
    o = objective(jac=scheme)
    assert o.evaluation_cost == cost
    p = o.at(X)
    accuracy = {"3-point": 1e-8, "cs": 1e-13}.get(scheme, 1e-5)
    assert p.g == pytest.approx(rosen_der(X), rel=accuracy)
    assert o.counters.nfev == cost
    assert o.counters.njev == 1
    assert o.gradient_source == f"differences of fun ({scheme or 'forward'})"


def test_differences_in_float32_step_by_its_own_epsilon() -> None:
    x = X.astype(np.float32)
    steps = []

    def fun(at):
        steps.append(float(np.max(np.abs(at - x))))
        assert at.dtype == np.float32
        return rosen(at)

    p = objective(jac="2-point", fun=fun, x0=x).at(x)
    assert p.g.dtype == np.float32
    assert p.g == pytest.approx(rosen_der(X), rel=2e-2)
    assert all(1e-4 < s < 1e-3 for s in steps[1:])


@pytest.mark.parametrize("options", [{"absolute_step": 1e-3}, {"relative_step": 1e-3}])
def test_difference_steps_of_the_user(options) -> None:
    moved = []

    def fun(x):
        moved.append(float(np.max(np.abs(x - X))))
        return rosen(x)

    objective(jac="2-point", fun=fun, **options).at(X)
    expected = [1e-3] * 3 if "absolute_step" in options else list(1e-3 * np.abs(X))
    assert moved[1:] == pytest.approx(expected)


def test_absolute_difference_steps_are_per_variable() -> None:
    seen = []

    def fun(x):
        seen.append(x.copy())
        return 0.0

    objective(jac="2-point", fun=fun, absolute_step=np.array([0.1, 0.2, 0.3])).at(X)
    assert [float((x - X)[i]) for i, x in enumerate(seen[1:])] == pytest.approx([0.1, 0.2, 0.3])


def test_maxfun_forbids_before_the_call() -> None:
    o = objective(maxfun=2)
    o.at(X)
    o.at(X + 1)
    with pytest.raises(BudgetExhausted, match=r"maxfun=2 evaluations.*2 made.*needs 1"):
        o.at(X + 2)
    assert o.counters.nfev == 2
    whole = objective(jac="2-point", maxfun=6)
    whole.at(X)
    with pytest.raises(BudgetExhausted, match=r"4 made.*needs 4"):
        whole.at(X + 1)
    assert whole.counters.nfev == 4


def test_maxtime_forbids_before_the_call() -> None:
    o = objective(maxtime=0.02)
    o.at(X)
    time.sleep(0.03)
    for call in (lambda: o.at(X), lambda: o.gradient(X)):
        with pytest.raises(BudgetExhausted, match=r"maxtime=0\.02 s is used up"):
            call()
    assert o.counters.nfev == o.counters.njev == 1


@pytest.mark.parametrize(
    ("kwargs", "source", "exact"),
    [
        ({"hessp": rosen_hess_prod}, "hessp", True),
        ({"hess": rosen_hess}, "hess", True),
        ({"hess": lambda x: scipy.sparse.csr_array(rosen_hess(x))}, "hess", True),
        ({"hess": scipy.optimize.BFGS()}, "BFGS", False),
        ({}, "differences of the gradient", False),
    ],
    ids=["hessp", "hess", "sparse", "BFGS", "differences"],
)
def test_products(kwargs, source, exact) -> None:
    o = objective(**kwargs)
    p = o.at(X)
    v = np.array([1.0, -2.0, 0.5])
    product = o.products(p)
    assert o.product_source == source
    assert o.exact_products is exact
    if source != "BFGS":
        accuracy = 1e-12 if exact else 1e-5
        assert product(v) == pytest.approx(rosen_hess_prod(X, v), rel=accuracy)
        assert product(1e-8 * v) == pytest.approx(1e-8 * rosen_hess_prod(X, v), rel=accuracy)
        assert np.array_equal(product(0.0 * v), np.zeros(3))
    o.products(p)(v)  # shares with the other what depends on the point alone
    if source == "hessp":
        assert o.counters.nhev == 4
    elif source == "hess":
        assert o.counters.nhev == 1  # one matrix, however many products
    elif source.startswith("diff"):
        assert (o.counters.nhev, o.counters.njev, o.counters.nfev) == (0, 4, 1)


def test_products_by_differences_try_the_other_side_of_a_cliff() -> None:
    def jac(x):
        return np.where(x > 1.0, np.nan, 2.0 * x)

    o = objective(fun=lambda x: float(x @ x), jac=jac, x0=np.ones(2))
    p = o.at(np.ones(2))
    for v in (np.array([1.0, 0.0]), np.array([0.0, -1.0])):
        assert o.products(p)(v) == pytest.approx(2.0 * v, abs=1e-6)


def test_a_strategy_is_copied_and_learns() -> None:
    mine = scipy.optimize.SR1()
    o = objective(hess=mine)
    p = o.at(X)
    s = np.array([0.1, 0.2, -0.1])
    y = rosen_der(X + s) - p.g
    o.learn(s, y)
    assert o.products(p)(s) == pytest.approx(y)
    assert not hasattr(mine, "B") or mine.B is None


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"fun": 3}, TypeError, "fun=3 is neither callable nor an object"),
        ({"jac": "4-point"}, ValueError, "jac='4-point': use a callable, True"),
        ({"jac": 3}, ValueError, "jac=3: use"),
        ({"hess": "dense"}, ValueError, "hess='dense': use"),
    ],
)
def test_what_cannot_be_used(changes, error, words) -> None:
    with pytest.raises(error, match=words):
        objective(**changes)


@pytest.mark.parametrize("name", ["absolute_step", "relative_step"])
def test_steps_of_another_length_are_named(name) -> None:
    with pytest.raises(ValueError, match=r"(eps|finite_diff_rel_step) has 2 entries; x0 has 3"):
        objective(jac="2-point", **{name: [1e-6, 1e-6]})


def test_a_gradient_that_is_forgotten_is_named() -> None:
    with pytest.raises(ValueError, match="jac returned None; it must return the 3 entries"):
        objective(jac=lambda x: None).at(X)


def test_noise_of_products_by_source() -> None:
    eps = 2.0**-52
    assert objective(hessp=rosen_hess_prod).product_noise == eps
    assert objective().product_noise == eps**0.5
    assert objective(jac=None).product_noise == eps**0.25


def test_a_gradient_where_f_is_infinite_counts_as_not_finite() -> None:
    """The short way of a gradient alone counts what the long way does."""

    def fun(x):
        return (np.inf if x[0] > 1.0 else float(x @ x)), 2.0 * x

    objective = Objective(fun, np.zeros(2), (), True)
    objective.at(np.zeros(2))
    np.testing.assert_array_equal(objective.gradient(np.full(2, 0.5)), np.ones(2))
    assert objective.counters.n_nonfinite == 0
    objective.gradient(np.full(2, 2.0))
    assert objective.counters.n_nonfinite == 1
