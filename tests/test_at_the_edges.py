"""Points at the edges of what numbers can be: nothing overflows, and no end is made of it."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

import negopt
from negopt.core.types import Status
from negopt.functions.objective import Objective

METHODS = [name for name, row in negopt.METHODS.items() if not row.baseline]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_difference_of_gradients_writes_to_no_point(dtype):
    """With jac=True a point of a product may become the lowest: its gradient stays what it was."""

    def both(x):
        return float(np.sum(x**4 - x)), 4.0 * x**3 - 1.0

    x0 = np.asarray([3.0, -2.0, 0.5], dtype)
    objective = Objective(both, x0, (), True)
    start = objective.at(x0)
    product = objective.measured_products(start)
    product(-1.0 * start.g, 1e-3)  # downhill
    best = objective.best
    assert best is not start
    assert best.f == both(best.x)[0]
    np.testing.assert_array_equal(best.g, both(best.x)[1])


@pytest.mark.parametrize("method", [*METHODS, "gd"])
def test_no_run_ends_at_infinity(method):
    """The limit of f and g for an infinite x is no value of a point."""
    c = np.linspace(1.0, 3.0, 130).astype("f4")

    def both(x):
        with np.errstate(all="ignore"):
            e = np.exp(-c * x)
            return float(np.sum(e)), (-c * e).astype("f4")

    res = negopt.minimize(
        both,
        np.zeros(130, "f4"),
        method=method,
        jac=True,
        options={"gtol": 0.0, "maxiter": 300},
    )
    assert np.all(np.isfinite(res.x))
    assert res.fun == both(res.x)[0]


def test_an_infinite_x_is_no_finite_point():
    """Whatever f and g are there."""
    objective = Objective(lambda x: (float(np.exp(-x[0])), -np.exp(-x)), np.ones(1), (), True)
    point = objective.at(np.asarray([math.inf]))
    assert not point.finite
    assert objective.best is None


def test_the_first_differences_are_steps_at_all():
    """Where x is spaced wider than the square root of eps |x|."""
    res = negopt.minimize(lambda x: float(np.sum((x / 1e20 - 1.0) ** 2)), [2e20, -3e20])
    np.testing.assert_allclose(res.jac, [2e-20, -8e-20], rtol=1e-3)


@pytest.mark.parametrize("rate", [50.0, 100.0])
def test_a_gradient_that_is_not_resolved_is_no_minimum(rate):
    """Far out on a plateau, above the start."""

    def fun(x):
        with np.errstate(over="ignore"):
            return float(np.sum(np.exp(rate * x) - rate * x))

    res = negopt.minimize(fun, np.full(12, 0.5), method="gd")
    assert not res.success
    assert res.fun <= fun(np.full(12, 0.5))


@pytest.mark.parametrize("constant", [1e12, 1e20, 1e304])
def test_a_constant_that_hides_f_is_no_minimum(constant):
    """A gradient of zero by differences says nothing where f cannot show its changes."""
    res = negopt.minimize(lambda x: constant + float(x @ x), [1.0, 1.0])
    assert res.status == Status.PRECISION
    assert "says nothing" in res.message


@pytest.mark.parametrize("weight", [1e-3, 1.0, 1e6])
def test_a_fit_is_a_minimum_whatever_its_weights(weight):
    """Its curvature is resolved, and so is its minimum."""
    t = np.linspace(0.0, 6.0, 300)
    data = 50.0 * np.sin(1.3 * t + 0.4) + np.cos(91.0 * t)
    res = negopt.minimize(
        lambda p: weight * float(np.sum((p[0] * np.sin(p[1] * t + p[2]) - data) ** 2)),
        [40.0, 1.2, 0.2],
    )
    assert res.success, res.message


@pytest.mark.parametrize("slope", [1.0, 1e3, 1e-3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_escape_stays_among_the_numbers(dtype, slope):
    """Along a slope that the gradient hides f falls for ever."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        res = negopt.minimize(
            lambda x: -slope * float(x[0]) ** 2,
            np.zeros(2, dtype),
            jac=lambda x: np.asarray([-2.0 * slope * float(x[0]), 0.0]).astype(dtype),
            method="sr1-tr",
        )
    assert np.all(np.isfinite(res.x))
    assert math.isfinite(res.fun)


class Singular(np.linalg.LinAlgError):
    """An exception of the user's."""


@pytest.mark.parametrize("after", [0, 1, 4])
@pytest.mark.parametrize("form", ["hess", "hessp", "object"])
def test_products_that_raise_are_counted_and_end_the_run(form, after):
    """At x0 the exception passes through; later it ends the run."""
    calls = []

    def failing():
        calls.append(1)
        if len(calls) > after:
            raise Singular("no")

    def hess(x):
        failing()
        return np.diag(12.0 * x * x + 0.1)

    def hessp(x, p):
        failing()
        return (12.0 * x * x + 0.1) * p

    class Given:
        def fun(self, x):
            return float(np.sum(x**4 + 0.05 * x * x))

        def grad(self, x):
            return 4.0 * x**3 + 0.1 * x

    class Whole(Given):
        def hessp(self, x):
            return lambda p: hessp(x, p)

    given = Given()
    kwargs = {"object": {}, "hess": {"hess": hess}, "hessp": {"hessp": hessp}}[form]
    if form == "object":
        fun = Whole()
    else:
        fun, kwargs["jac"] = given.fun, given.grad

    def run():
        return negopt.minimize(
            fun, [20.0], method="sfn-lanczos", options={"catch": (Singular,)}, **kwargs
        )

    if after == 0:
        with pytest.raises(Singular):
            run()
        return
    res = run()
    assert not res.success
    assert res.nhev == len(calls)
    assert "Singular" in res.message
    assert res.fun == given.fun(res.x)


def test_a_run_with_large_figures_is_resumed():
    """What a run has left its state may go on."""

    def fun(x):
        return 1e200 * float(np.sum((x - 1.0) ** 4))

    def jac(x):
        return 4e200 * (x - 1.0) ** 3

    whole = negopt.minimize(fun, [3.0, -2.0], jac=jac, method="sr1-tr", options={"maxiter": 20})
    part = negopt.minimize(fun, [3.0, -2.0], jac=jac, method="sr1-tr", options={"maxiter": 7})
    rest = negopt.minimize(
        fun,
        [3.0, -2.0],
        jac=jac,
        method="sr1-tr",
        options={"maxiter": whole.nit - part.nit, "state": part.state},
    )
    np.testing.assert_array_equal(rest.x, whole.x)
    assert rest.nit == whole.nit


def test_a_compiled_run_that_is_watched_goes_on_for_long():
    """Each of its hundreds of iterations is handed to a callback."""
    numba = pytest.importorskip("numba")

    def chain(x):
        t = x[1:] - x[:-1] ** 2
        g = np.zeros_like(x)
        g[:-1] = -400.0 * x[:-1] * t - 2.0 * (1.0 - x[:-1])
        g[1:] += 200.0 * t
        return np.sum(100.0 * t * t + (1.0 - x[:-1]) ** 2), g

    seen = []
    res = negopt.minimize(
        numba.njit(chain),
        np.full(60, -1.2),
        jac=True,
        method="lbfgs-wolfe",
        callback=lambda xk: seen.append(1),
    )
    assert res.success
    assert len(seen) == res.nit > 250


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("cut", [3, 10])
def test_a_run_by_differences_in_float32_is_resumed_bit_for_bit(n, cut):
    """Its gradients are known to a few digits: the kept one is as good as one found anew."""
    rng = np.random.default_rng(n)
    x0 = (1e-3 * rng.standard_normal(n)).astype(np.float32)

    def fun(x):
        z = np.asarray(x, np.float64) - 0.3
        return float(np.float32(np.sum(np.cos(z)) + 0.05 * z @ z))

    def run(maxiter, **more):
        return negopt.minimize(fun, x0, method="gd", options={"maxiter": maxiter, **more})

    whole, part = run(40), run(cut)
    rest = run(40 - cut, state=part.state)
    np.testing.assert_array_equal(rest.x, whole.x)
    assert rest.fun == whole.fun
    assert rest.nfev == whole.nfev
