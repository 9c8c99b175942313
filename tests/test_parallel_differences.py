"""The option ``workers``: differences side by side give the same run."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der

import negopt

X0 = [-1.2, 1.0, 0.5, 0.8]


class Counted:
    """A map that counts the points it was given."""

    def __init__(self) -> None:
        self.calls = self.points = 0

    def __call__(self, f, points):
        points = list(points)
        self.calls += 1
        self.points += len(points)
        return map(f, points)


def same(one, two) -> None:
    assert np.array_equal(one.x, two.x)
    for name in ("fun", "nfev", "njev", "nit", "status", "message", "jac_source"):
        assert getattr(one, name) == getattr(two, name), name


def shifted(x, a, b):
    return a * float(np.sum((x - b) ** 4 + (x - b) ** 2))


@pytest.mark.parametrize("jac", [None, "2-point", "3-point", "cs"])
@pytest.mark.parametrize("method", ["dqn-wolfe-pm", "lqn-tr", "newton-krylov"])
def test_a_map_gives_the_same_run(jac, method) -> None:
    fun = rosen if jac != "cs" else lambda x: np.sum((x - 1.0) ** 2 + 0.1 * (x - 1.0) ** 4)
    alone = negopt.minimize(fun, X0, jac=jac, method=method)
    counted = Counted()
    res = negopt.minimize(fun, X0, jac=jac, method=method, options={"workers": counted})
    same(res, alone)
    assert counted.calls > 0
    assert counted.points >= counted.calls
    assert counted.points < res.nfev  # values alone are not its business
    with ThreadPoolExecutor(3) as pool:
        same(negopt.minimize(fun, X0, jac=jac, method=method, options={"workers": pool.map}), alone)


def test_processes_give_the_same_run_and_are_ended() -> None:
    before = set(multiprocessing.active_children())
    alone = negopt.minimize(shifted, X0, (2.0, 3.0))
    for workers in (1, 2):
        res = negopt.minimize(shifted, X0, (2.0, 3.0), options={"workers": workers})
        same(res, alone)
    with multiprocessing.get_context("forkserver").Pool(2) as pool:
        same(negopt.minimize(shifted, X0, (2.0, 3.0), options={"workers": pool.map}), alone)
        raised = pytest.raises(ZeroDivisionError, match="mine")
        with raised:
            negopt.minimize(failing, X0, options={"workers": pool.map})
    assert set(multiprocessing.active_children()) <= before


def failing(x):
    if x[0] != X0[0]:
        raise ZeroDivisionError("mine")
    return rosen(x)


def test_a_gradient_makes_workers_idle() -> None:
    counted = Counted()
    res = negopt.minimize(rosen, X0, jac=rosen_der, options={"workers": counted})
    assert res.success
    assert counted.calls == 0
    assert negopt.minimize(rosen, X0, jac=rosen_der, options={"workers": -1}).success


def test_budgets_hold() -> None:
    for maxfun in range(1, 40, 3):
        counted = Counted()
        options = {"maxfun": maxfun, "workers": counted}
        if maxfun < 5:
            with pytest.raises(ValueError, match="budget does not allow one evaluation"):
                negopt.minimize(rosen, X0, options=options)
        else:
            res = negopt.minimize(rosen, X0, options=options)
            assert res.nfev <= maxfun
            assert counted.points <= maxfun


def test_what_cannot_be_sent_to_processes_says_so() -> None:
    with pytest.raises(ValueError, match=r"workers=2: fun and args cannot be sent.*ThreadPool"):
        negopt.minimize(lambda x: rosen(x), X0, options={"workers": 2})


@pytest.mark.parametrize(
    "wrong",
    [lambda f, points: [1.0], lambda f, points: [], lambda f, points: [1.0] * 99],
    ids=["one", "none", "many"],
)
def test_a_map_that_loses_values_is_named(wrong) -> None:
    with pytest.raises(ValueError, match=r"workers returned .* values for .* points"):
        negopt.minimize(rosen, X0, options={"workers": wrong})


def test_values_of_workers_are_checked_as_all_are() -> None:
    with pytest.raises(ValueError, match="fun returned None"):
        negopt.minimize(rosen, X0, options={"workers": lambda f, points: [None for _ in points]})
    res = negopt.minimize(
        rosen, X0, options={"workers": lambda f, points: [np.array([[f(p)]]) for p in points]}
    )
    same(res, negopt.minimize(rosen, X0))


def test_a_result_outlives_its_pool() -> None:
    with ThreadPoolExecutor(2) as pool:
        res = negopt.minimize(rosen, X0, method="newton-krylov", options={"workers": pool.map})
    assert np.all(np.isfinite(res.hess @ np.ones(4)))
