"""No module state: threads at once, and a minimize inside a minimize."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.optimize
from scipy.optimize import rosen, rosen_der

import negopt

METHODS = pytest.mark.parametrize("method", list(negopt.METHODS))
#: Most runs end before; a baseline's goes on for a thousand iterations that tell nothing new.
ENOUGH = {"maxiter": 60}
STARTS = [np.array([-1.2 + 0.1 * i, 1.0 - 0.05 * i, 0.3]) for i in range(8)]


@METHODS
def test_eight_threads_give_what_one_gives(method) -> None:
    barrier = threading.Barrier(8)
    options = {"record": True, **ENOUGH}

    def solve(x0):
        return negopt.minimize(rosen, x0, jac=rosen_der, method=method, options=options)

    def together(x0):
        barrier.wait()
        return solve(x0)

    alone = [solve(x0) for x0 in STARTS]
    with ThreadPoolExecutor(8) as pool:
        threaded = list(pool.map(together, STARTS))
    for one, other in zip(alone, threaded, strict=True):
        assert np.array_equal(one.x, other.x)
        assert (one.nfev, one.njev, one.message) == (other.nfev, other.njev, other.message)
        assert np.array_equal(one.history["fun"], other.history["fun"])


@METHODS
def test_threads_may_share_options_strategy_and_start(method) -> None:
    shared = {"hess": scipy.optimize.SR1(), "options": {"maxiter": 40}}
    x0 = STARTS[0]

    def solve(_):
        return negopt.minimize(rosen, x0, jac=rosen_der, method=method, **shared).x

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(solve, range(8)))
    assert all(np.array_equal(results[0], x) for x in results)
    assert shared["options"] == {"maxiter": 40}


@pytest.mark.parametrize(
    "method", [name for name, row in negopt.METHODS.items() if not row.baseline]
)
def test_minimize_inside_fun(method) -> None:
    # f(x) = min over y of (x - 1)^2 + (y - x)^2 + y^4, by the same method
    def inner(x):
        res = negopt.minimize(
            lambda y: (y[0] - x) ** 2 + y[0] ** 4,
            [0.0],
            jac=lambda y: np.array([2.0 * (y[0] - x) + 4.0 * y[0] ** 3]),
            method=method,
            options={"gtol": 1e-10},
        )
        assert res.success
        return res

    def fun(x):
        res = inner(x[0])
        return (x[0] - 1.0) ** 2 + res.fun

    def jac(x):
        y = inner(x[0]).x[0]
        return np.array([2.0 * (x[0] - 1.0) + 2.0 * (x[0] - y)])

    res = negopt.minimize(fun, [3.0], jac=jac, method=method)
    flat = scipy.optimize.minimize(
        lambda z: (z[0] - 1.0) ** 2 + (z[1] - z[0]) ** 2 + z[1] ** 4, [3.0, 0.0], tol=1e-10
    )
    assert res.success
    assert res.fun == pytest.approx(flat.fun, abs=1e-8)
    assert res.x[0] == pytest.approx(flat.x[0], abs=1e-4)


@METHODS
def test_minimize_inside_the_callback(method) -> None:
    kwargs = dict(x0=STARTS[0], jac=rosen_der, method=method, options=ENOUGH)
    plain = negopt.minimize(rosen, **kwargs)

    def callback(xk):
        negopt.minimize(rosen, xk, jac=rosen_der, method=method, options={"maxiter": 2})

    res = negopt.minimize(rosen, **kwargs, callback=callback)
    assert np.array_equal(res.x, plain.x)
    assert res.nfev == plain.nfev
