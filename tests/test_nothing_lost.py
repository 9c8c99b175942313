"""Ends that hold: the best trial, unbounded functions, f and g at odds, exceptions, warnings."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import sys
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.linalg import LinAlgError
from scipy.optimize import rosen, rosen_der

import negopt
from negopt.core.types import NoSecondDerivatives, Status


def _load(name: str) -> ModuleType:
    """Return a module that lies beside this one, wherever the tests are run from."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fuzz = _load("fuzz")

#: All but the baselines, whose steps are those of a recursion, whatever f does.
DESCEND = [name for name, row in negopt.METHODS.items() if not row.baseline]
METHODS = pytest.mark.parametrize("method", DESCEND)


# --- whatever a run meets ------------------------------------------------------------------


@pytest.mark.parametrize("method", list(negopt.METHODS))
def test_random_problems_end_as_they_should(method) -> None:
    """See ``fuzz.py`` for what is checked: 15 problems a method, hostile ones among them."""
    for seed in range(15):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fuzz.run(fuzz.make(seed, [method]))
        ours = [
            w
            for w in caught
            if issubclass(w.category, RuntimeWarning) and w.filename.startswith(fuzz.PACKAGE)
        ]
        assert not ours, (seed, [str(w.message) for w in ours])


# --- the best trial ------------------------------------------------------------------------


@METHODS
def test_the_best_trial_becomes_the_iterate(method) -> None:
    """From 1e-20 the first trial of many methods is the minimum, and no search accepts it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        res = negopt.minimize(
            lambda x: x[0] - np.log(x[0]), [1e-20], jac=lambda x: 1.0 - 1.0 / x, method=method
        )
    assert res.success, res.message
    assert res.x[0] == pytest.approx(1.0, abs=1e-5)
    assert np.max(np.abs(res.jac)) <= 1e-5
    assert f"max|g| = {abs(res.jac[0]):.3g} <=" in res.message


@METHODS
@pytest.mark.parametrize("maxiter", [1, 3, 10])
def test_a_message_has_the_figures_of_the_result(method, maxiter) -> None:
    res = negopt.minimize(
        rosen, [-1.2, 1.0], jac=rosen_der, method=method, options={"maxiter": maxiter}
    )
    assert f"max|g| = {np.max(np.abs(res.jac)):.3g} >" in res.message


# --- unbounded below -----------------------------------------------------------------------


def linear(c, n, dtype=np.float64):
    """Return c times the sum of x, and its gradient."""
    return lambda x: float(c * np.sum(x)), lambda x: np.full(n, c, dtype)


SADDLE = np.array([1.0, -1e-4, 1e4])
UNBOUNDED = {
    "x": (*linear(1.0, 1), [0.0]),
    "sum of 200": (*linear(1.0, 200), np.zeros(200)),
    "1e-3 x": (*linear(1e-3, 1), [0.0]),
    "1e200 x": (*linear(1e200, 2), [0.0, 1.0]),
    "from 1e20": (*linear(1.0, 1), [1e20]),
    "from 1e300": (*linear(1.0, 1), [1e300]),
    "float32": (*linear(1.0, 5, np.float32), np.zeros(5, np.float32)),
    "float32 from 1e9": (*linear(1.0, 5, np.float32), np.full(5, 1e9, np.float32)),
    "quadratic": (lambda x: 0.5 * x @ (SADDLE * x), lambda x: SADDLE * x, np.ones(3)),
    "large quadratic": (lambda x: 1e290 * (1.0 - x @ x), lambda x: -2e290 * x, [0.1, 0.1]),
    "hyperbola": (lambda x: -np.sqrt(1.0 + x @ x), lambda x: -x / np.sqrt(1.0 + x @ x), [1.0, 2.0]),
    "exponential": (lambda x: -np.sum(np.exp(x)), lambda x: -np.exp(x), [1.0, 0.0]),
}


@METHODS
@pytest.mark.parametrize("name", UNBOUNDED)
def test_unbounded_below_is_recognised(method, name) -> None:
    fun, jac, x0 = UNBOUNDED[name]
    with np.errstate(over="ignore"):
        res = negopt.minimize(fun, x0, jac=jac, method=method)
    assert res.status == Status.UNBOUNDED, res.message
    assert not res.success
    assert math.isfinite(res.fun)
    assert f"f = {res.fun:.3g} from" in res.message
    assert res.nfev <= 250


@METHODS
def test_a_long_slope_has_its_end(method) -> None:
    """f falls in a straight line over four decades, and then turns."""

    def fun(x):
        return float(np.sum(np.sqrt(1.0 + (x - 1e4) ** 2)))

    def jac(x):
        return (x - 1e4) / np.sqrt(1.0 + (x - 1e4) ** 2)

    res = negopt.minimize(fun, [0.0, 1.0], jac=jac, method=method)
    assert res.success, res.message
    assert res.x == pytest.approx([1e4, 1e4])


# --- f and g at odds -----------------------------------------------------------------------


def one_sign(x):
    g = rosen_der(x)
    g[1] *= -1.0
    return g


def of_another(x):
    return 2.0 * (x - 3.0)


AGES = np.linspace(0.0, 1.0, 20)
SIZES = np.exp(-2.0 * AGES) + 0.1 * np.sin(9.0 * AGES)


def fit(p):
    return float(np.sum((p[0] * np.exp(-p[1] * AGES) + p[2] - SIZES) ** 2))


def fit_short(p):
    """Return the gradient without the last point."""
    e = np.exp(-p[1] * AGES)
    r = p[0] * e + p[2] - SIZES
    j = np.stack([e, -p[0] * AGES * e, np.ones_like(AGES)], axis=1)
    return 2.0 * j[:-1].T @ r[:-1]


AT_ODDS = {
    "one sign": (rosen, one_sign, [-1.2, 1.0]),
    "all signs": (lambda x: float(x @ x), lambda x: -2.0 * x, [1.0, 2.0]),
    "of another function": (rosen, of_another, [-1.2, 1.0]),
    "a point is missing": (fit, fit_short, [1.0, 1.0, 0.0]),
}


@METHODS
@pytest.mark.parametrize("name", AT_ODDS)
def test_f_and_g_that_disagree_are_named(method, name) -> None:
    fun, jac, x0 = AT_ODDS[name]
    values = []

    def counted(x):
        values.append(fun(x))
        return values[-1]

    res = negopt.minimize(counted, x0, jac=jac, method=method)
    if res.success:  # a zero of g that happens to lie on the way
        assert name == "a point is missing"
        return
    assert res.status == Status.PRECISION
    assert "The function and its gradient disagree" in res.message
    assert "check_grad" in res.message
    # Trials from the last progress on: the comparison itself takes 8 evaluations at most.
    search = np.array(values[:-8] or values)
    lowest = np.min(search)
    last = int(np.argmax(search <= lowest + 1e-13 * abs(lowest)))
    assert len(values) - 1 - last <= 50


@METHODS
def test_a_kink_is_no_wrong_gradient(method) -> None:
    res = negopt.minimize(
        lambda x: float(np.sum(np.abs(x))), [1.1, -0.3], jac=np.sign, method=method
    )
    assert "disagree" not in res.message


# --- exceptions ----------------------------------------------------------------------------


def definite(x):
    """Raise outside of a half-plane, as a Cholesky factorisation does."""
    if x[0] < 0.5:
        raise LinAlgError("not positive definite")
    return float((x[0] - 1.0) ** 2 - 0.1 * np.log(x[0] - 0.49) + x[1] ** 2)


def definite_grad(x):
    return np.array([2.0 * (x[0] - 1.0) - 0.1 / (x[0] - 0.49), 2.0 * x[1]])


@METHODS
@pytest.mark.parametrize("form", ["jac", "both", "object"])
def test_an_exception_that_is_caught_rejects_the_trial(method, form) -> None:
    fun, jac = definite, definite_grad
    if form == "both":
        fun, jac = lambda x: (definite(x), definite_grad(x)), True
    elif form == "object":
        fun, jac = fuzz.Both(definite, definite_grad), None
    options = {"catch": LinAlgError}
    res = negopt.minimize(fun, [30.0, 40.0], jac=jac, method=method, options=options)
    assert res.success, res.message
    assert np.max(np.abs(res.jac)) <= 1e-5


@dataclasses.dataclass(frozen=True)
class Broken:
    """A step rule whose numbers leave their range, wherever it is."""

    def propose(self, iterate, operator, bound):
        raise OverflowError(34, "Numerical result out of range")


@pytest.mark.parametrize("method", ["lqn-tr", "newton-krylov", "bfgs-wolfe"])
def test_the_budgets_of_a_run_whose_algebra_fails_each_time(method) -> None:
    """It creeps from lower trial to lower trial: its budgets hold, and it ends as others do."""
    row = dataclasses.replace(negopt.METHODS[method], name="broken", step=Broken())
    for name, most in [("maxiter", k) for k in range(1, 8)] + [("maxfun", k) for k in range(1, 40)]:
        res = negopt.minimize(
            lambda x: (rosen(x), rosen_der(x)),
            [1e3, -1e3],
            jac=True,
            method=row,
            options={name: most},
        )
        assert res[{"maxiter": "nit", "maxfun": "nfev"}[name]] <= most
        assert res.status in (Status.LIMIT, Status.PRECISION), res.message


def test_what_is_not_caught_passes_through() -> None:
    options = {"catch": (LinAlgError,)}
    with pytest.raises(LinAlgError, match="not positive definite"):  # at x0 there is no trial
        negopt.minimize(definite, [0.4, 1.0], jac=definite_grad, options=options)

    def other(x):
        if len(seen) > 3:
            raise ZeroDivisionError("mine")
        seen.append(1)
        return rosen(x)

    seen: list[int] = []
    with pytest.raises(ZeroDivisionError, match="mine"):
        negopt.minimize(other, [-1.2, 1.0], jac=rosen_der, options=options)
    with pytest.raises(ValueError, match="catch='LinAlgError': use a class of exceptions"):
        negopt.minimize(definite, [1.0, 1.0], options={"catch": "LinAlgError"})


def test_a_hessian_that_raises_ends_the_run_with_the_best_point() -> None:
    calls = []

    def hess(x):
        calls.append(1)
        if len(calls) > 2:
            raise LinAlgError("no Hessian")
        return np.eye(2)

    kwargs = {"jac": rosen_der, "hess": hess, "method": "newton-krylov"}
    with pytest.raises(LinAlgError, match="no Hessian"):
        negopt.minimize(rosen, [-1.2, 1.0], **kwargs)
    calls.clear()
    res = negopt.minimize(rosen, [-1.2, 1.0], **kwargs, options={"catch": LinAlgError})
    assert res.status == Status.PRECISION
    assert "no Hessian" in res.message
    assert res.fun == rosen(res.x) < rosen(np.array([-1.2, 1.0]))


class Derived:
    """An objective whose second derivatives an adapter derives, and which do not exist."""

    x0 = np.array([-1.2, 1.0])
    fun, grad = staticmethod(rosen), staticmethod(rosen_der)

    def hessp(self, x):
        def product(p):
            raise NoSecondDerivatives("the network has no second derivatives.")

        return product


def test_the_default_method_needs_no_second_derivatives_that_do_not_exist() -> None:
    res = negopt.minimize(Derived(), Derived.x0)
    assert res.method == "dqn-wolfe-pm"
    assert res.success, res.message
    assert res.x == pytest.approx([1.0, 1.0])
    assert res.curvature_status in ("not checked", "unknown")
    assert (
        res.nfev
        == negopt.minimize(
            rosen, Derived.x0, jac=rosen_der, method="dqn-wolfe-pm", options={"certify": False}
        ).nfev
    )
    with pytest.raises(NoSecondDerivatives):
        negopt.minimize(Derived(), Derived.x0, method="newton-krylov")


@METHODS
def test_linear_algebra_that_fails_is_a_model_that_broke_down(method, monkeypatch) -> None:
    """One failure in the middle costs the model, not the run."""
    row = negopt.METHODS[method]
    calls = []
    propose = type(row.step).propose

    def failing(self, iterate, operator, bound):
        calls.append(1)
        if len(calls) == 4:
            raise LinAlgError("eigenvalues did not converge")
        return propose(self, iterate, operator, bound)

    monkeypatch.setattr(type(row.step), "propose", failing)
    res = negopt.minimize(rosen, [-1.2, 1.0], jac=rosen_der, method=method)
    assert len(calls) >= 4
    assert math.isfinite(res.fun)
    assert res.success or "broke down" in res.message


def test_float32_to_the_last_bit() -> None:
    c = np.linspace(1, 3, 130).astype(np.float32)

    def fun(x):
        return np.sum(np.exp(-c * x)), (-c * np.exp(-c * x)).astype(np.float32)

    options = {"gtol": 0.0, "maxiter": 400}
    res = negopt.minimize(
        fun, np.zeros(130, np.float32), jac=True, method="lqn-tr", options=options
    )
    assert res.fun == fun(res.x)[0]


# --- the same ends in compiled code ----------------------------------------------------------


def jit_linear(x):
    return np.sum(x), np.ones(x.size)


def jit_barrier(x):
    return np.sum(x - np.log(x)), 1.0 - 1.0 / x


def jit_wrong(x):
    return np.sum(x * x), -2.0 * x - 1.0


def jit_flat(x):
    return 1.0, np.ones(x.size)


JITTED = {
    "unbounded": (jit_linear, np.zeros(3), Status.UNBOUNDED),
    "from far away": (jit_linear, np.full(2, 1e20), Status.UNBOUNDED),
    "best trial": (jit_barrier, np.full(1, 1e-20), Status.CONVERGED),
    "at odds": (jit_wrong, np.array([1.0, 2.0]), Status.PRECISION),
    "constant": (jit_flat, np.array([1.0, 2.0]), Status.PRECISION),
}


@pytest.mark.parametrize("name", JITTED)
def test_compiled_runs_and_batches_end_alike(name) -> None:
    numba = pytest.importorskip("numba")
    fun, x0, status = JITTED[name]
    jitted = numba.njit(fun)
    for method in ("dqn-wolfe-pm", "lbfgs-wolfe"):
        for options in ({}, {"maxiter": 0}, {"norm": 2}):
            calls: list[np.ndarray] = []
            kwargs = {"jac": True, "method": method, "options": options}
            with np.errstate(all="ignore"):
                plain = negopt.minimize(
                    fun, x0, callback=lambda xk, calls=calls: calls.append(1), **kwargs
                )
                loop = negopt.minimize(jitted, x0, **kwargs)
                batch = negopt.minimize_batch(jitted, np.stack([x0, x0]), **kwargs)
            wanted = Status.LIMIT if options.get("maxiter") == 0 else status
            assert plain.status == loop.status == wanted
            assert list(batch.status) == [wanted, wanted]
            assert plain.nit == loop.nit == batch.nit[1] == len(calls)
            assert plain.nfev == loop.nfev == batch.nfev[0]
            assert plain.fun == loop.fun == batch.fun[0]
            assert plain.success == loop.success == batch.success[0]
            ends = [m.partition(", or go on")[0].rstrip(".") for m in (plain.message, loop.message)]
            assert ends[0] == ends[1] == batch.message[0].partition(", or go on")[0].rstrip(".")
