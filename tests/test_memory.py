"""Vectors of n entries that a run holds at its peak: the formulas of ``docs/speed.md``."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest

import negopt
from negopt.functions.objective import Objective
from negopt.solver.second_order import LEAST, ROOM, certify

N = 100_000
#: What is no vector: Python objects, small matrices, and the blocks in which a restart works.
REST = 0.4
LIMITED = ("lsr1-tr", "lqn-tr", "lsr1-wolfe-pm", "lbfgs-wolfe")


def quiet(n, low=1.0):
    """Return a function that allocates nothing, so that all that is traced is the solver's."""
    d, g = np.linspace(low, 30.0, n), np.empty(n)

    def fun(x):
        np.multiply(d, x, out=g)
        return 0.5 * float(g @ x), g

    return fun


def products(n):
    """Return the Hessian products of `quiet`, written into one array."""
    d, image = np.linspace(1.0, 30.0, n), np.empty(n)
    return lambda x, p: np.multiply(d, p, out=image)


def run(method, n, **options):
    """Return a result on the function of `quiet`; with products where the method asks for them."""
    hessp = products(n) if negopt.METHODS[method].needs == "hessp" else None
    return negopt.minimize(
        quiet(n), np.ones(n), jac=True, hessp=hessp, method=method, options=options
    )


def peak(method, n=N, **options):
    """Return a result, the vectors held at the peak, and those that are left with the result.

    The start and the function's own arrays, four vectors, are the caller's.
    """
    run(method, n, maxiter=2)  # imports
    hessp = products(n) if negopt.METHODS[method].needs == "hessp" else None
    fun, x0 = quiet(n), np.ones(n)
    tracemalloc.start()
    try:
        res = negopt.minimize(fun, x0, jac=True, hessp=hessp, method=method, options=options)
        left, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return res, most / (8 * n), left / (8 * n)


@pytest.mark.parametrize("m", [5, 10])
@pytest.mark.parametrize("method", LIMITED)
def test_limited_memory_holds_few_vectors(method, m) -> None:
    _, held, _ = peak(method, maxcor=m, maxiter=30)
    assert held <= 2 * m + 9 + REST
    res, held, left = peak(method, maxcor=m, maxiter=300)
    assert res.curvature_status in ("positive", "unsettled")
    assert 2 * m + 6 < held < 2 * m + 12
    # With the result: the pairs, and two points.
    assert left <= 2 * m + 4 + REST


@pytest.mark.parametrize("m", [5, 10])
def test_newton_krylov_holds_two_vectors_a_product(m) -> None:
    """Those of one iteration, room for ten at first and for five more at a time."""
    res, held, _ = peak("newton-krylov", maxcor=m)
    assert res.success
    assert held <= 2 * m + 47


def test_a_dense_method_holds_few_matrices() -> None:
    n = 400
    _, held, _ = peak("dqn-wolfe-pm", n, maxiter=20)
    assert held <= 7 * n


@pytest.mark.parametrize("method", [*LIMITED, "newton-krylov", "newton-cubic", "sfn-lanczos"])
@pytest.mark.parametrize("options", [{}, {"maxiter": 5}, {"maxfun": 5}])
def test_nothing_waits_for_the_collector_of_cycles(method, options) -> None:
    """On a device a cycle would hold its vectors until Python happens to look for it."""
    n = 20_000
    run(method, n, maxiter=2)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        run(method, n, **options)
        left = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
        gc.enable()
    assert left < 8 * n


@pytest.mark.parametrize("how", ["raise", "stop"])
def test_a_run_that_is_cut_off_leaves_nothing(how) -> None:
    n, calls = 20_000, []
    fun = quiet(n)

    def failing(x):
        calls.append(1)
        if how == "raise" and len(calls) % 10 == 0:
            raise ArithmeticError
        return fun(x)

    def callback(intermediate_result):
        if intermediate_result.nit >= 3:
            raise StopIteration

    def cut_off():
        try:
            negopt.minimize(failing, np.ones(n), jac=True, callback=callback)
        except ArithmeticError:
            assert how == "raise"

    cut_off()
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        cut_off()
        left = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
        gc.enable()
    assert left < 8 * n


def test_the_check_restarts_where_n_is_large() -> None:
    """The direction of a lone negative curvature is found with three vectors as with twenty."""
    n = ROOM // LEAST + 1
    d = np.linspace(1.0, 30.0, n)
    d[7] = -20.0
    objective = Objective(
        lambda x: 0.5 * float(x @ (d * x)),
        np.zeros(n),
        (),
        lambda x: d * x,
        None,
        lambda x, p: d * p,
    )
    here = objective.at(objective.x0)
    found = certify(objective, here, np.random.default_rng(0), 20)
    certificate = found.certificate
    assert certificate.status == "negative"
    assert certificate.products <= 20
    v = found.step
    # The images of the space were combined with it: what they say of v is what H says.
    assert float(v @ (d * v)) / float(v @ v) == pytest.approx(certificate.min_curvature, rel=1e-9)
