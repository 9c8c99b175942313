"""Vectors of n entries that a run holds at its peak: the formula of ``docs/speed.md``."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import negopt
from negopt._certify import LEAST, ROOM, certify
from negopt._objective import Objective
from negopt.kernels._jit import jit_disabled

N = 100_000
#: The reference makes a new array where the engine writes into its own.
ENGINE = pytest.mark.skipif(jit_disabled(), reason="the formula is that of compiled runs")
#: What is no vector: Python objects, and the blocks in which a restart works.
REST = 0.4


def peak(fun, x0, **keywords):
    """Return a result, and the vectors that were held at the peak beside the caller's own."""
    tracemalloc.start()
    try:
        res = negopt.minimize(fun, x0, jac=True, **keywords)
        return res, tracemalloc.get_traced_memory()[1] / (8 * x0.shape[0])
    finally:
        tracemalloc.stop()


def quiet(n, low=1.0):
    """Return a function that allocates nothing, so that all that is traced is the solver's."""
    d, g = np.linspace(low, 30.0, n), np.empty(n)

    def fun(x):
        np.multiply(d, x, out=g)
        return 0.5 * float(g @ x), g

    return fun


@ENGINE
@pytest.mark.parametrize("m", [5, 10])
@pytest.mark.parametrize(
    ("method", "engine"),
    [("lsr1-tr", 8), ("lqn-tr", 8), ("lsr1-wolfe-pm", 11), ("lbfgs-wolfe", 11)],
)
def test_limited_memory_holds_few_vectors(method, engine, m) -> None:
    options = {"maxcor": m, "maxiter": 30, "compiled": True}
    fun = quiet(N)
    negopt.minimize(fun, np.ones(N), jac=True, method=method, options=options | {"maxiter": 2})
    _, held = peak(fun, np.ones(N), method=method, options=options)
    assert held <= 2 * m + engine + REST
    res, held = peak(fun, np.ones(N), method=method, options=options | {"maxiter": 300})
    assert res.curvature_status == "positive"
    assert 2 * m + 6 < held < 2 * m + 12


@ENGINE
def test_a_dense_method_holds_few_matrices() -> None:
    n = 400
    fun, options = quiet(n), {"maxiter": 20, "compiled": True}
    negopt.minimize(fun, np.ones(n), jac=True, method="dqn-wolfe-pm", options=options)
    _, held = peak(fun, np.ones(n), method="dqn-wolfe-pm", options=options)
    assert held <= 7 * n


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
    certificate, newton = certify(objective, here, np.random.default_rng(0), 20)
    assert newton is None
    assert certificate.status == "negative"
    assert certificate.products <= 20
    v = certificate.direction
    assert float(v @ v) == pytest.approx(1.0)
    # The images of the space were combined with it: what they say of v is what H says.
    assert float(v @ (d * v)) == pytest.approx(certificate.min_curvature, rel=1e-10)
