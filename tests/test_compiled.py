"""Objectives compiled by the user: the same runs, their own exceptions, no compilation twice."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import negopt
from negopt._compiled import compiled
from negopt.kernels._jit import jit_disabled

numba = pytest.importorskip("numba")
pytestmark = pytest.mark.skipif(jit_disabled(), reason="nothing is compiled")

X0 = np.array([-1.2, 1.0, 0.5])


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


@pytest.mark.parametrize(
    ("fun", "jac", "hidden"),
    [
        (both, True, (python(both), True)),
        (value, slope, (python(value), python(slope))),
        (Given(), None, (python(value), python(slope))),
        (Pair(), None, (Hidden(), None)),
        (value, None, (python(value), None)),
        (value, "3-point", (python(value), "3-point")),
    ],
    ids=["pair", "separate", "object", "object with pair", "2-point", "3-point"],
)
def test_a_jitted_objective_gives_the_run_that_python_gives(fun, jac, hidden) -> None:
    res = negopt.minimize(fun, X0, (2.0,), jac=jac)
    ref = negopt.minimize(hidden[0], X0, (2.0,), jac=hidden[1])
    np.testing.assert_allclose(res.x, ref.x, rtol=1e-6)
    assert (res.nit, res.nfev, res.njev, res.status) == (ref.nit, ref.nfev, ref.njev, ref.status)
    assert res.curvature_status == ref.curvature_status


def test_it_is_compiled_indeed(monkeypatch) -> None:
    from negopt._fused import engine

    calls = []
    evaluator = engine.evaluator

    def counting(objective):
        evaluate = evaluator(objective)

        def counted(x):
            calls.append(1)
            return evaluate(x)

        return counted

    monkeypatch.setattr(engine, "evaluator", counting)
    negopt.minimize(both, X0, (1.0,), jac=True, options={"compiled": True})
    assert not calls
    negopt.minimize(python(both), X0, (1.0,), jac=True, options={"compiled": True})
    assert calls


def test_other_values_of_the_arguments_compile_nothing() -> None:
    @numba.njit
    def fun(x, target, weights, pair):
        r = x - target
        return np.sum(weights * r * r) + pair[0], 2.0 * weights * r

    targets = [np.array([1.0, 2.0, 3.0]), np.array([-1.0, 0.5, 8.0])]
    args = [(t, np.full(3, 1.0 + i), (float(i), 3)) for i, t in enumerate(targets)]
    results = [negopt.minimize(fun, X0, a, jac=True) for a in args]
    for i, (res, t) in enumerate(zip(results, targets, strict=True)):
        np.testing.assert_allclose(res.x, t, atol=1e-8)
        assert res.fun == pytest.approx(i, abs=1e-12)
    before = len(fun.signatures)
    one, other = (compiled((fun, None, ""), a, 3) for a in args)
    assert one.address == other.address
    assert len(fun.signatures) == before


def test_a_new_objective_compiles_no_kernel_again() -> None:
    from negopt.kernels.drive import drive_dense as drive

    negopt.minimize(both, X0, (1.0,), jac=True)
    before = len(drive.signatures)

    @numba.njit
    def fun(x):
        return x[0] ** 2 + x[1] ** 2, 2.0 * x

    assert negopt.minimize(fun, [3.0, 4.0], jac=True).success
    assert len(drive.signatures) == before == 1


@numba.njit
def raising(x):
    if x[0] > 0.5:
        raise ArithmeticError("half")
    return (x[0] - 1.0) ** 2, 2.0 * (x - 1.0)


@numba.njit
def too_long(x):
    return (x[0] - 1.0) ** 2, np.zeros(x.shape[0] if x[0] < 0.5 else 5)


@numba.njit
def lifted(x):
    return (x[0] - 1.0) ** 2, np.full(1 if x[0] < 0.5 else 2, 2.0 * (x[0] - 1.0))


def test_an_exception_is_the_users_own() -> None:
    with pytest.raises(ArithmeticError, match="half"):
        negopt.minimize(raising, [0.0], jac=True)


def test_a_gradient_of_a_wrong_length_is_named() -> None:
    with pytest.raises(ValueError, match=r"fun \(jac=True\) returned shape \(2,\)"):
        negopt.minimize(lifted, [0.0], jac=True)


@pytest.mark.parametrize("args", [("text",), ([1.0],), (object(),)], ids=["text", "list", "object"])
def test_arguments_that_have_no_address_are_handed_over_by_python(args) -> None:
    fun = numba.njit(lambda x: (x[0] ** 2, 2.0 * x))
    assert compiled((fun, None, ""), args, 1) is None


def test_what_is_not_jitted_is_not_compiled() -> None:
    assert compiled((python(both), None, ""), (1.0,), 3) is None
    assert compiled((value, python(slope), ""), (1.0,), 3) is None
    assert compiled((value, None, "cs"), (1.0,), 3) is None


def test_what_numba_cannot_type_falls_back_to_the_call_from_python() -> None:
    @numba.njit
    def column(x):
        return x[0] ** 2, (2.0 * x).reshape((-1, 1))

    assert compiled((column, None, ""), (), 1) is None
    assert negopt.minimize(column, [3.0], jac=True).success


def test_integer_values_and_gradients() -> None:
    @numba.njit
    def fun(x):
        return 3, [0, 0]

    res = negopt.minimize(fun, [1, 2], jac=True)
    assert res.fun == 3.0
    assert type(res.fun) is float


def test_values_that_are_not_finite_are_no_exception() -> None:
    @numba.njit
    def fun(x):
        return x[0] - np.log(x[0])

    @numba.njit
    def jac(x):
        return 1.0 - 1.0 / x

    res = negopt.minimize(fun, [8.0], jac=jac)
    assert res.success
    assert res.x[0] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("budget", [2, 7, 8, 11, 30])
@pytest.mark.parametrize("jac", [slope, None])
def test_maxfun_is_never_exceeded(budget, jac) -> None:
    options = {"maxfun": budget, "certify": False}
    if jac is None and budget < X0.size + 1:
        pytest.skip("not one evaluation")
    res = negopt.minimize(value, X0, (1.0,), jac=jac, options=options)
    ref = negopt.minimize(python(value), X0, (1.0,), jac=jac and python(jac), options=options)
    assert res.nfev == ref.nfev <= budget
    assert res.message == ref.message
    np.testing.assert_allclose(res.x, ref.x, rtol=1e-9)


def test_the_callback_sees_every_iteration() -> None:
    seen = []
    res = negopt.minimize(both, X0, (1.0,), jac=True, callback=lambda xk: seen.append(xk))
    assert len(seen) == res.nit
    assert not np.isnan(seen).any()


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


SCRIPT = """
import numba, numpy as np, negopt
@numba.njit
def fun(x, a):
    r = x - a
    return r @ r if False else np.sum(r * r), 2.0 * r
res = negopt.minimize(fun, [1.0, 2.0], (np.array([3.0, 4.0]),), jac=True)
print(res.success, np.allclose(res.x, [3.0, 4.0]))
"""


@pytest.mark.parametrize("changed", [{"NEGOPT_DISABLE_JIT": "1"}], ids=["disabled"])
def test_it_works_without_the_kernels_of_negopt(changed) -> None:
    root = str(Path(negopt.__file__).resolve().parents[1])
    env = {**os.environ, **changed}
    env["PYTHONPATH"] = os.pathsep.join([root, env.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "True True"
