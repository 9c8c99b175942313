"""Objectives compiled by the user: the compiled loop is the array code, and compiles once."""

from __future__ import annotations

import json
import logging
import math
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import negopt
from negopt import problems

numba = pytest.importorskip("numba")
pytestmark = pytest.mark.skipif(
    os.environ.get("NEGOPT_DISABLE_JIT", "0") not in ("", "0"), reason="nothing is compiled"
)

X0 = np.array([-1.2, 1.0, 0.5])
METHODS = ["dqn-wolfe-pm", "lbfgs-wolfe"]
EVERY = pytest.mark.parametrize("method", METHODS)


@numba.njit
def both(x, scale):
    """Rosenbrock's function, which spoils the x that it gets."""
    n = x.shape[0]
    f, g = 0.0, np.zeros(n)
    for i in range(n - 1):
        a, b = x[i + 1] - x[i] * x[i], 1.0 - x[i]
        f += scale * (100.0 * a * a + b * b)
        g[i] += scale * (-400.0 * a * x[i] - 2.0 * b)
        g[i + 1] += scale * 200.0 * a
    x[:] = np.nan
    return f, g


@numba.njit
def value(x, scale):
    return both(x, scale)[0]


@numba.njit
def slope(x, scale):
    return both(x, scale)[1]


class Given:
    fun = staticmethod(value)
    grad = staticmethod(slope)


class Pair(Given):
    fun_and_grad = staticmethod(both)


def python(function):
    """Return the same function out of the compiler's sight."""
    return lambda *args: function(*args)


class Hidden:
    fun, grad, fun_and_grad = (staticmethod(python(f)) for f in (value, slope, both))


@pytest.fixture
def calls(monkeypatch):
    """Count the calls of the kernel."""
    from negopt.compiled.kernel import KERNEL

    made, compile_it = [], KERNEL.compile

    def counting():
        kernel = compile_it()

        def counted(*args):
            made.append(1)
            return kernel(*args)

        return counted

    monkeypatch.setattr(KERNEL, "compile", counting)
    return made


# --- which runs it takes -------------------------------------------------------------------------


@EVERY
def test_jitted_objectives_take_the_loop_and_python_objectives_never(method, calls) -> None:
    negopt.minimize(both, X0, (1.0,), method, jac=True)
    assert calls
    del calls[:]
    negopt.minimize(python(both), X0, (1.0,), method, jac=True, options={"compiled": True})
    negopt.minimize(both, X0, (1.0,), method, jac=True, options={"compiled": False})
    negopt.minimize(value, X0, (1.0,), method, jac=python(slope))
    negopt.minimize(value, X0, (1.0,), method)
    negopt.minimize(value, X0, (1.0,), method, jac="3-point")
    negopt.minimize(both, X0, (1.0,), method, jac=True, options={"xrtol": 1e-9})
    negopt.minimize(both, X0, (1.0,), method, jac=True, options={"norm": 3})
    negopt.minimize(both, X0.astype(np.float32), (1.0,), method, jac=True)
    for other in ("lqn-tr", "bfgs-wolfe", "lsr1-wolfe-pm"):
        negopt.minimize(both, X0, (1.0,), other, jac=True)
    assert not calls


@EVERY
@pytest.mark.parametrize(
    ("fun", "jac", "hidden"),
    [
        (both, True, (python(both), True)),
        (value, slope, (python(value), python(slope))),
        (Given(), None, (python(value), python(slope))),
        (Pair(), None, (Hidden(), None)),
    ],
    ids=["pair", "separate", "object", "object with pair"],
)
def test_a_jitted_objective_gives_the_run_that_python_gives(fun, jac, hidden, method) -> None:
    res = negopt.minimize(fun, X0, (2.0,), method, jac=jac)
    ref = negopt.minimize(hidden[0], X0, (2.0,), method, jac=hidden[1])
    np.testing.assert_allclose(res.x, ref.x, rtol=1e-5)
    assert res.status == ref.status
    assert (res.nit, res.njev) == (ref.nit, ref.njev)
    # The check of the compiled loop forms gradients by fun_and_grad, where there is one.
    assert res.nfev == ref.nfev + (X0.size if isinstance(fun, Pair) else 0)
    assert res.curvature_status == ref.curvature_status
    assert 0.2 < res.min_curvature / ref.min_curvature < 5.0  # along other directions


# --- the loop beside the array code --------------------------------------------------------------


def quartic(seed, n):
    """Return a function with saddles, maxima and minima, and its start."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((n, n))
    return a + a.T, rng.standard_normal(n)


@numba.njit
def wells(x, a, fourth):
    """Return ``x'Ax / 2 + fourth sum x^4 / 4`` and its gradient."""
    n = x.shape[0]
    f, g = 0.0, np.zeros(n)
    for i in range(n):
        for j in range(n):
            g[i] += a[i, j] * x[j]
        f += 0.5 * x[i] * g[i] + 0.25 * fourth * x[i] ** 4
        g[i] += fourth * x[i] ** 3
    return f, g


@EVERY
@pytest.mark.parametrize("n", [1, 2, 5, 17, 40])
@pytest.mark.parametrize("norm", [2, np.inf])
def test_the_first_ten_iterations_are_those_of_the_array_code(method, n, norm) -> None:
    for seed in range(5):
        a, x0 = quartic(seed, n)
        ends = []
        for fun in (wells, python(wells)):
            options = {"maxiter": 10, "record": True, "return_all": True, "norm": norm}
            ends.append(negopt.minimize(fun, x0, (a, 0.5), method, jac=True, options=options))
        res, ref = ends
        assert res.nit == ref.nit
        for x, y in zip(res.allvecs, ref.allvecs, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-7)
        assert (res.nfev, res.n_rejected, res.n_negative_steps, res.n_skipped) == (
            ref.nfev, ref.n_rejected, ref.n_negative_steps, ref.n_skipped
        )  # fmt: skip
        for name in ("step_norm", "step_size", "cosine"):
            np.testing.assert_allclose(
                res.history[name], ref.history[name], rtol=1e-5, atol=1e-8, err_msg=name
            )


@EVERY
@pytest.mark.parametrize(
    "options",
    [
        {"wolfe": "strong", "c2": 0.1},
        {"expand": 2.0},
        {"angle": 0.45},
        {"c1": 0.2, "maxls": 3},
    ],
    ids=str,
)
def test_options_of_the_rules_reach_the_loop(method, options) -> None:
    def counts(fun, given):
        ends = [
            negopt.minimize(fun, x0, (a, 0.5), method, jac=True, options={"maxiter": 12, **given})
            for a, x0 in (quartic(seed, 25) for seed in range(6))
        ]
        return [(r.nit, r.nfev, round(float(r.fun), 6)) for r in ends]

    assert counts(wells, options) == counts(python(wells), options)
    if not ("angle" in options and method == "dqn-wolfe-pm"):  # of two directions it has the better
        assert counts(wells, options) != counts(wells, {})


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("dqn-wolfe-pm", {"choose": "descent"}),
        ("dqn-wolfe-pm", {"skip": 0.9}),
        ("lbfgs-wolfe", {"maxcor": 2}),
        ("lbfgs-wolfe", {"maxcor": 30}),
        ("lbfgs-wolfe", {"skip": 0.5}),
    ],
    ids=str,
)
def test_options_of_the_models_reach_the_loop(method, options) -> None:
    a, x0 = quartic(4, 12)
    given = {"options": options | {"certify": False}, "jac": True}
    res = negopt.minimize(wells, x0, (a, 0.5), method, **given)
    ref = negopt.minimize(python(wells), x0, (a, 0.5), method, **given)
    assert (res.nit, res.nfev, res.n_skipped) == (ref.nit, ref.nfev, ref.n_skipped)
    np.testing.assert_allclose(res.x, ref.x, rtol=1e-5, atol=1e-6)


@numba.njit
def in_units(x, c):
    f, g = 0.0, np.zeros(3)
    for i in range(3):
        z = x[i] / 10.0 ** (3 * i) - c
        f += z * z + 0.1 * z**4
        g[i] = (2.0 * z + 0.4 * z**3) / 10.0 ** (3 * i)
    return f, g


@pytest.mark.parametrize("x0", [[3.0, 2e3, 5e6], [3.0, 2.0, 5.0], [0.0, 2e3, 5e6]])
@pytest.mark.parametrize("units", ["auto", "same"])
def test_units_of_the_variables_are_found(x0, units) -> None:
    options = {"certify": False, "units": units}
    res = negopt.minimize(in_units, x0, (1.0,), "dqn-wolfe-pm", jac=True, options=options)
    ref = negopt.minimize(python(in_units), x0, (1.0,), "dqn-wolfe-pm", jac=True, options=options)
    assert (res.nit, res.nfev, res.status) == (ref.nit, ref.nfev, ref.status)


PRESENT = []


def present(x):
    """Evaluate the problem of the collection that is tried."""
    with np.errstate(all="ignore"):
        return float(PRESENT[0].fun(x)), np.ascontiguousarray(PRESENT[0].grad(x), dtype=np.float64)


@numba.njit
def from_python(x):
    with numba.objmode(f="float64", g="float64[::1]"):
        f, g = present(x)
    return f, g


@EVERY
def test_small_problems_of_the_collection_take_as_many_evaluations(method) -> None:
    ratios, differ = [], []
    for problem in problems.collection():
        if problem.n > 30:
            continue
        PRESENT[:] = [problem]
        given = {"method": method, "jac": True, "options": {"maxiter": 500, "certify": False}}
        with np.errstate(all="ignore"):
            res = negopt.minimize(from_python, problem.x0, **given)
            ref = negopt.minimize(present, problem.x0, **given)
        ratios.append(np.log(res.nfev / ref.nfev))
        if res.status != ref.status:
            differ.append((problem.name, res.status, ref.status))
    assert len(ratios) > 50
    assert abs(np.mean(ratios)) < 3.0 * np.std(ratios) / math.sqrt(len(ratios))
    assert np.std(ratios) < 0.2  # rounding makes some differ,
    assert np.mean(np.abs(ratios) < 0.02) > 0.7  # and most not
    assert len(differ) <= 4, differ


@EVERY
def test_saddles_are_left(method) -> None:
    a = np.diag([1.0, 2.0, -1.0])
    for fun in (wells, python(wells)):
        res = negopt.minimize(fun, [1.0, 1.0, 0.0], (a, 1.0), method, jac=True)
        assert res.success
        assert res.n_escapes == 1
        assert res.curvature_status == "positive"
        np.testing.assert_allclose(np.abs(res.x), [0.0, 0.0, 1.0], atol=1e-5)


@EVERY
def test_the_check_of_the_loop_agrees_with_that_of_the_array_code(method) -> None:
    """On the ends of the collection: what the loop calls a minimum is one."""
    minima = 0
    for problem in problems.collection():
        if problem.n > 20:
            continue
        PRESENT[:] = [problem]
        given = {"method": method, "jac": True, "options": {"maxiter": 500}}
        with np.errstate(all="ignore"):
            res = negopt.minimize(from_python, problem.x0, **given)
            ref = negopt.minimize(present, problem.x0, **given)
        same = np.allclose(res.x, ref.x, rtol=1e-3, atol=1e-3)
        if res.curvature_status == "positive" and same and ref.success:
            minima += 1
            assert ref.curvature_status in ("positive", "unsettled", "flat"), problem.name
    assert minima > 25


def test_a_check_that_finds_no_minimum_is_made_by_the_array_code() -> None:
    a = np.diag([1.0, 2.0, -1.0])
    options = {"max_escapes": 0}
    for fun in (wells, python(wells)):
        res = negopt.minimize(
            fun, [1.0, 1.0, 0.0], (a, 1.0), "dqn-wolfe-pm", jac=True, options=options
        )
        assert res.status == negopt.Status.SADDLE
        assert res.curvature_status == "negative"
        assert -1.0 - 1e-6 <= res.min_curvature < 0.0


@EVERY
def test_hessian_products_of_the_users_are_the_ones_that_count(method) -> None:
    seen = []

    def hessp(x, p, a, fourth):
        seen.append(1)
        return a @ p + 3.0 * fourth * x**2 * p

    res = negopt.minimize(wells, [1.0, 2.0], (np.eye(2), 1.0), method, jac=True, hessp=hessp)
    assert res.nhev == len(seen) == 2
    assert res.min_curvature == pytest.approx(1.0)


def test_a_descent_without_end_and_a_target() -> None:
    @numba.njit
    def fall(x):
        return -(x[0] ** 4), -4.0 * x**3

    res = negopt.minimize(fall, [1.0], jac=True)
    assert res.status == negopt.Status.UNBOUNDED
    res = negopt.minimize(both, X0, (1.0,), jac=True, options={"ftarget": 1.0})
    assert res.status == negopt.Status.TARGET


@EVERY
def test_a_wrong_gradient_ends_a_run(method) -> None:
    """Where neither f nor the gradient falls any more, the array code says so."""

    @numba.njit
    def level(x):
        return 1.0, np.ones(2)

    @numba.njit
    def wrong(x):
        return x[0] ** 2 + x[1] ** 2, -2.0 * x

    for fun in (level, wrong):
        ends = [negopt.minimize(f, [1.0, 2.0], (), method, jac=True) for f in (fun, python(fun))]
        assert [r.status for r in ends] == 2 * [negopt.Status.PRECISION]
        assert ends[0].message.partition(";")[0] == ends[1].message.partition(";")[0]
        assert (ends[0].nit, ends[0].nfev) == (ends[1].nit, ends[1].nfev)


# --- what is handed back -------------------------------------------------------------------------


@numba.njit
def raising(x):
    if x[0] > 0.5:
        raise ArithmeticError("half")
    return (x[0] - 1.0) ** 2, 2.0 * (x - 1.0)


@numba.njit
def lifted(x):
    return (x[0] - 1.0) ** 2, np.full(1 if x[0] < 0.5 else 2, 2.0 * (x[0] - 1.0))


@EVERY
def test_an_exception_is_the_users_own(method) -> None:
    with pytest.raises(ArithmeticError, match="half"):
        negopt.minimize(raising, [0.0], (), method, jac=True)


@EVERY
def test_a_gradient_of_a_wrong_length_is_named(method) -> None:
    with pytest.raises(ValueError, match=r"fun \(jac=True\) returned shape \(2,\)"):
        negopt.minimize(lifted, [0.0], (), method, jac=True)


def test_an_exception_in_the_check_loses_no_run() -> None:
    @numba.njit
    def edge(x):
        if x[0] > 1.0 + 1e-8:
            raise ArithmeticError("edge")
        return (x[0] - 1.0) ** 2, 2.0 * (x - 1.0)

    res = negopt.minimize(edge, [0.0], jac=True, options={"gtol": 1e-6})
    assert res.success
    assert res.curvature_status == "unknown"
    assert "ArithmeticError: edge" in res.message


def test_values_that_are_not_finite_are_no_exception() -> None:
    @numba.njit
    def fun(x):
        return x[0] - np.log(x[0])

    @numba.njit
    def jac(x):
        return 1.0 - 1.0 / x

    res = negopt.minimize(fun, [8.0], jac=jac)
    ref = negopt.minimize(python(fun), [8.0], jac=python(jac))
    assert res.success
    assert res.x[0] == pytest.approx(1.0, abs=1e-6)
    assert (res.nfev, res.n_nonfinite) == (ref.nfev, ref.n_nonfinite)
    assert res.n_nonfinite > 0


@EVERY
@pytest.mark.parametrize("budget", [2, 7, 8, 11, 30])
@pytest.mark.parametrize("jac", [slope, None])
def test_maxfun_is_never_exceeded(budget, jac, method) -> None:
    options = {"maxfun": budget, "certify": False}
    if jac is None and budget < X0.size + 1:
        pytest.skip("not one evaluation")
    res = negopt.minimize(value, X0, (1.0,), method, jac=jac, options=options)
    hidden = python(value), X0, (1.0,), method
    ref = negopt.minimize(*hidden, jac=jac and python(jac), options=options)
    assert res.nfev == ref.nfev <= budget
    assert res.message == ref.message
    np.testing.assert_allclose(res.x, ref.x, rtol=1e-7)


def test_maxtime_is_kept() -> None:
    @numba.njit
    def slow(x):
        total = 0.0
        for i in range(3_000_000):
            total += np.sin(i * x[0])
        f, g = 0.0, np.zeros(x.shape[0])
        for i in range(x.shape[0] - 1):
            a, b = x[i + 1] - x[i] * x[i], 1.0 - x[i]
            f += 100.0 * a * a + b * b
            g[i] += -400.0 * a * x[i] - 2.0 * b
            g[i + 1] += 200.0 * a
        return f + 0.0 * total, g

    x0 = np.tile([-1.2, 1.0], 10)
    negopt.minimize(slow, x0, jac=True, options={"maxiter": 1})
    begun = time.monotonic()
    res = negopt.minimize(slow, x0, jac=True, options={"maxtime": 0.3})
    assert res.status == negopt.Status.LIMIT
    assert "maxtime" in res.message
    assert time.monotonic() - begun < 3.0


def test_a_compilation_does_not_count_against_maxtime() -> None:
    @numba.njit
    def fun(x):
        return np.sum((x - 1.0) ** 2), 2.0 * (x - 1.0)

    fun(np.zeros(2))  # what remains is to be compiled for the loop, in some tenths of a second
    res = negopt.minimize(fun, np.zeros(2), jac=True, options={"maxtime": 0.1})
    assert res.success


@EVERY
def test_the_callback_sees_every_iteration_and_changes_nothing(method) -> None:
    seen = []
    res = negopt.minimize(both, X0, (1.0,), method, jac=True, callback=lambda xk: seen.append(xk))
    assert len(seen) == res.nit
    assert not np.isnan(seen).any()
    alone = negopt.minimize(both, X0, (1.0,), method, jac=True)
    np.testing.assert_array_equal(res.x, alone.x)
    assert res.nfev == alone.nfev


@EVERY
def test_a_run_in_parts_is_the_run_in_one_piece(method) -> None:
    whole = negopt.minimize(both, X0, (1.0,), method, jac=True)
    state = None
    while state is None or state.status != 0:
        options = {"maxiter": 3, "state": state}
        res = negopt.minimize(both, X0, (1.0,), method, jac=True, options=options)
        state = res.state
    assert (res.nit, res.nfev) == (whole.nit, whole.nfev)
    np.testing.assert_array_equal(res.x, whole.x)


@EVERY
def test_either_code_goes_on_from_a_state_of_the_other(method) -> None:
    a, x0 = quartic(1, 15)
    whole = negopt.minimize(python(wells), x0, (a, 0.5), method, jac=True)
    for first, then in ((wells, python(wells)), (python(wells), wells)):
        state = negopt.minimize(first, x0, (a, 0.5), method, jac=True, options={"maxiter": 6}).state
        res = negopt.minimize(then, x0, (a, 0.5), method, jac=True, options={"state": state})
        assert res.success
        assert abs(res.nit - whole.nit) <= 2
        np.testing.assert_allclose(res.x, whole.x, rtol=1e-4, atol=1e-5)


def test_eight_threads_at_once() -> None:
    starts = [X0 + 0.1 * i for i in range(8)]
    barrier = threading.Barrier(8)

    def together(i):
        barrier.wait()
        return negopt.minimize(both, starts[i], (1.0 + i,), jac=True)

    with ThreadPoolExecutor(8) as pool:
        threaded = list(pool.map(together, range(8)))
    for i, res in enumerate(threaded):
        alone = negopt.minimize(both, starts[i], (1.0 + i,), jac=True)
        assert np.array_equal(alone.x, res.x)
        assert alone.nfev == res.nfev


# --- arguments and what they are called with -----------------------------------------------------


def test_other_values_of_the_arguments_compile_nothing(caplog) -> None:
    @numba.njit
    def fun(x, target, weights, pair):
        r = x - target
        return np.sum(weights * r * r) + pair[0], 2.0 * weights * r

    targets = [np.array([1.0, 2.0, 3.0]), np.array([-1.0, 0.5, 8.0])]
    args = [(t, np.full(3, 1.0 + i), (float(i), 3)) for i, t in enumerate(targets)]
    with caplog.at_level(logging.INFO, "negopt"):
        for i, (a, t) in enumerate(zip(args, targets, strict=True)):
            res = negopt.minimize(fun, X0, a, jac=True)
            np.testing.assert_allclose(res.x, t, atol=1e-8)
            assert res.fun == pytest.approx(i, abs=1e-12)
    assert sum("'fun'" in r.getMessage() for r in caplog.records) == 1
    assert len(fun.signatures) == 1


@pytest.mark.parametrize("args", [("text",), ([1.0],), (object(),)], ids=["text", "list", "object"])
def test_arguments_that_have_no_address_are_handed_over_by_python(args) -> None:
    from negopt.compiled.jitted import target

    fun = numba.njit(lambda x: (x[0] ** 2, 2.0 * x))
    assert target(fun, None, args, 1) is None


def test_what_numba_cannot_type_falls_back_to_the_call_from_python(calls) -> None:
    @numba.njit
    def column(x):
        return x[0] ** 2, (2.0 * x).reshape((-1, 1))

    assert negopt.minimize(column, [3.0], jac=True).success
    assert not calls


def test_integer_values_and_gradients() -> None:
    @numba.njit
    def fun(x):
        return 3, [0, 0]

    res = negopt.minimize(fun, [1, 2], jac=True)
    assert res.fun == 3.0
    assert type(res.fun) is float


# --- what is compiled, and what is imported ------------------------------------------------------


def run_script(text, cache, **changed):
    """Run a script with a cache of its own; return what it printed as JSON."""
    root = str(Path(negopt.__file__).resolve().parents[1])
    env = {**os.environ, "NUMBA_CACHE_DIR": str(cache), **changed}
    env["PYTHONPATH"] = os.pathsep.join([root, env.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", text], env=env, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


IMPORTS = """
import json, sys
import negopt
light = "numba" in sys.modules
for method in ("dqn-wolfe-pm", "lbfgs-wolfe"):
    negopt.minimize(lambda x: (float(x @ x), 2.0 * x), [1.0, 2.0], jac=True, method=method)
negopt.minimize_batch(lambda x, a: (float(x @ x), 2.0 * x), [[1.0, 2.0]], ([1.0],), jac=True)
print(json.dumps([light, "numba" in sys.modules]))
"""


def test_python_objectives_import_no_numba(tmp_path) -> None:
    assert run_script(IMPORTS, tmp_path) == [False, False]


SCRIPT = """
import json, logging, sys
import numba, numpy as np

lines = []
class Keep(logging.Handler):
    def emit(self, record):
        lines.append(record.getMessage())
logging.getLogger("negopt").addHandler(Keep())
logging.getLogger("negopt").setLevel(logging.INFO)

import negopt

@numba.njit
def fun(x, a):
    f, g = 0.0, np.zeros(x.shape[0])
    for i in range(x.shape[0]):
        z = x[i] - a[i]
        f += np.cosh(z) * (1.0 + 0.1 * i)
        g[i] = np.sinh(z) * (1.0 + 0.1 * i)
    return f, g

def solve():
    a, ends = np.linspace(-1.0, 1.0, 7), []
    for method in ("dqn-wolfe-pm", "lbfgs-wolfe"):
        res = negopt.minimize(fun, np.full(7, 2.0), (a,), jac=True, method=method)
        ends.append([res.x.tobytes().hex(), res.nfev])
        many = negopt.minimize_batch(
            fun, np.full((40, 7), 2.0), (np.tile(a, (40, 1)),), jac=True, method=method
        )
        ends.append([many.x.tobytes().hex(), many.nfev.tolist()])
    return ends

first = solve()
assert solve() == solve() == first
print(json.dumps([first, lines]))
"""


def test_the_loop_is_announced_and_compiled_once_and_cold_runs_have_the_bits_of_warm_ones(
    tmp_path,
) -> None:
    cold, lines = run_script(SCRIPT, tmp_path)
    of_loop = [line for line in lines if "the loop for jitted objectives" in line]
    assert len(of_loop) == 1
    # The user's function, once for each set of types: alone, and with the arguments of a batch.
    assert sum("'fun'" in line for line in lines) == len(lines) - 1 == 2
    indices = list(tmp_path.rglob("*.nbi"))
    assert len(indices) == 1, "one kernel is kept"
    warm, lines = run_script(SCRIPT, tmp_path)
    assert warm == cold
    assert not [line for line in lines if "the loop for" in line]
    # A cache that cannot be written changes nothing but the wait.
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert run_script(SCRIPT, tmp_path)[0] == cold
    finally:
        for path in (tmp_path, *tmp_path.rglob("*")):
            path.chmod(0o755)


PRECOMPILE = """
import json
import negopt
print(json.dumps([negopt.precompile(progress=False), negopt.precompile(progress=False)]))
"""


def test_precompile_compiles_what_a_run_would_have_to(tmp_path) -> None:
    first, second = run_script(PRECOMPILE, tmp_path)
    assert first == ["the loop for jitted objectives"]
    assert second == []
    _, lines = run_script(SCRIPT, tmp_path)
    assert not [line for line in lines if "the loop for" in line]


def test_precompile_on_the_command_line_says_what_it_does(capsys) -> None:
    from negopt.cli import main

    negopt.precompile(progress=False)
    assert main(["precompile"]) == 0
    out, err = capsys.readouterr()
    assert "nothing to compile" in out
    assert "the loop for jitted objectives: on disk already" in err
    assert main(["precompile", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_it_works_without_compiled_code(tmp_path) -> None:
    done = run_script(SCRIPT, tmp_path, NEGOPT_DISABLE_JIT="1")
    assert done[1] == []
    assert not list(tmp_path.rglob("*.nbi"))
