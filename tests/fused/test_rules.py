"""Every option of the four rows, with the fused engine as with the reference."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der

import negopt
from negopt import METHODS, Method
from negopt._fused.engine import engine_for
from negopt._fused.models import model_for
from negopt._objective import Objective
from negopt._options import RunOptions
from negopt._solver import Solver
from negopt.curvature.lsr1 import LSR1
from negopt.globalize.wolfe import WolfeSearch
from negopt.kernels._jit import jit_disabled
from negopt.steps.signed import Signed

PAIRS = [
    {"maxcor": 1},
    {"maxcor": 2},
    {"maxcor": 60},
    {"gamma": "max"},
    {"gamma": "mean"},
    {"gamma": "last"},
    {"gamma": 1.0},
    {"gamma": 25.0},
    {"skip": 0.0},
    {"skip": 0.3},
    {"remember": 1},
    {"remember": 7},
]
REGION = [
    {"initial_trust_radius": 0.01},
    {"initial_trust_radius": 50.0},
    {"max_trust_radius": 0.2},
    {"eta": 0.0},
    {"eta": 0.2},
    {"shrink": 0.1},
    {"shrink": 0.9},
    {"grow": 1.5},
    {"first_grow": 1.5},
    {"first_grow": 1e6},
    {"interpolate": True},
    {"interpolate": False},
]
SEARCH = [
    {"c1": 1e-3, "c2": 0.1},
    {"c1": 0.4, "c2": 0.5},
    {"wolfe": "strong"},
    {"wolfe": "strong", "c2": 0.1},
    {"maxls": 1},
    {"maxls": 2},
    {"expand": 1.1},
    {"expand": 1e6},
    {"angle": 0.0},
    {"angle": 0.3},
]
ROWS = {
    "lsr1-tr": [*PAIRS, *REGION, {"model": "absolute"}],
    "lqn-tr": [*PAIRS, *REGION, {"block": 1}, {"block": 2}, {"block": 30}],
    "lsr1-wolfe-pm": [
        *PAIRS,
        *SEARCH,
        {"flip": "direction"},
        {"flip": "direction", "floor": 1e-3},
        {"floor": 1e-3},
    ],
    "lbfgs-wolfe": [{"maxcor": 1}, {"maxcor": 3}, {"skip": 0.0}, {"skip": 0.3}, *SEARCH],
    "dqn-wolfe-pm": [
        *SEARCH,
        {"choose": "descent"},
        {"units": "same"},
        {"skip": 0.0},
        {"skip": 0.3},
    ],
}
CASES = [(method, options) for method, several in ROWS.items() for options in several]
NAMES = [f"{method} {options}" for method, options in CASES]
START = np.array([-1.2, 1.0, 0.5, -0.3, 2.0])


def plain(x):
    """A function that is concave in places, and no least squares."""
    return rosen(x) + 3.0 * float(np.sum(np.cos(2.0 * x))), rosen_der(x) - 6.0 * np.sin(2.0 * x)


def run(method, compiled, **options):
    options = {"compiled": compiled, "certify": False} | options
    return negopt.minimize(plain, START, jac=True, method=method, options=options)


@pytest.mark.parametrize(("method", "options"), CASES, ids=NAMES)
def test_options_mean_the_same(method, options) -> None:
    """For as long as rounding has not grown: 12 iterations."""
    one, two = (run(method, c, maxiter=12, **options) for c in (False, True))
    for name in ("status", "nit", "nfev", "n_rejected", "n_negative_steps", "message"):
        if name != "message" or one.status == negopt.Status.LIMIT:
            a, b = (str(getattr(r, name)).split("|g|")[0] for r in (one, two))
            assert a == b, name
    assert one.state.counters == two.state.counters
    assert np.allclose(one.x, two.x, rtol=1e-6, atol=1e-8)
    assert two.fun < plain(START)[0]


@pytest.mark.parametrize("method", ROWS)
def test_other_options_when_resumed(method) -> None:
    changes = [{"skip": 0.1}]
    if method not in ("dqn-wolfe-pm", "lbfgs-wolfe"):
        changes += [{"remember": 1}, {"remember": 50}, {"gamma": 3.0}]
    for options in changes:
        ends = []
        for compiled in (False, True):
            part = run(method, compiled, maxiter=8)
            rest = run(method, compiled, maxiter=1, state=part.state, **options)
            assert rest.nit == 9
            ends.append(rest)
        if "remember" not in options:  # the reference forgets an iteration later
            assert np.allclose(ends[0].x, ends[1].x, rtol=1e-6)


def test_only_the_very_parts_are_known() -> None:
    class OwnPairs(LSR1):
        """Anything may be changed here."""

    for row in METHODS.values():
        known = model_for(row) is not None
        assert known == (row.name in ROWS), row.name
    own = Method("own", OwnPairs(), Signed(), WolfeSearch(), needs="jac", summary="", guarantee="")
    assert model_for(own) is None
    mixed = Method("mix", LSR1(maxcor=3), Signed(), WolfeSearch(), needs="jac")
    assert model_for(mixed) is not None
    assert model_for(METHODS["dqn-wolfe-pm"].with_options({"flip": "eigen"})) is None
    assert model_for(METHODS["lqn-tr"].with_options({"model": "absolute"})) is None
    one, two = (run(mixed, c, maxiter=12) for c in (False, True))
    assert np.allclose(one.x, two.x, rtol=1e-6)


@pytest.mark.parametrize("n", [2, 4])
def test_the_kernels_as_plain_python(n) -> None:
    """All five entries, with what is rare: under NEGOPT_DISABLE_JIT they are Python."""

    def fun(x):
        outside = np.max(np.abs(x)) > 3.0
        f = float(np.sum(x**4 / 4 - x**2 / 2)) + 0.1 * float(np.prod(x))
        g = x**3 - x + 0.1 * np.array([np.prod(np.delete(x, i)) for i in range(n)])
        return (np.inf if outside else f), g

    start = np.array([2.9, -0.1, 0.2, -2.0])[:n]
    for method in ROWS:
        objective = Objective(fun, start, (), True)
        solver = Solver(METHODS[method], objective, RunOptions(compiled=True, maxiter=40))
        state = solver.init()
        engine = engine_for(solver, start)
        while state.status is None:
            engine.step(state, 3)
        engine.finish(state)
        assert solver.finish(state).f < fun(start)[0]
        assert state.status.success


@pytest.mark.skipif(jit_disabled(), reason="nothing is compiled")
def test_a_small_run_does_not_wait_for_a_kernel_that_it_meets_on_the_way(monkeypatch) -> None:
    """Concave pairs have a kernel of their own: not compiled, it leaves them to the reference."""
    from negopt._fused import engine

    def folded(*buffers):
        raise AssertionError("called")

    x0 = np.tile([-1.2, 1.0], 500)
    asked = {"method": "lqn-tr", "jac": rosen_der}
    options = {"maxiter": 100, "maxcor": 10, "certify": False}
    there = engine.fold_pairs
    calls = []
    monkeypatch.setattr(engine, "fold_pairs", lambda *b: (calls.append(1), there(*b)))
    whole = negopt.minimize(rosen, x0, **asked, options=options | {"compiled": True})
    assert calls
    compiled = engine.is_compiled
    monkeypatch.setattr(engine, "fold_pairs", folded)
    monkeypatch.setattr(engine, "is_compiled", lambda k: k is not folded and compiled(k))
    monkeypatch.setattr(engine.Cold, "seconds", 0.0)
    res = negopt.minimize(rosen, x0, **asked, options=options)
    assert engine.Cold.seconds > 0.0
    assert res.nit == whole.nit
    assert res.fun == pytest.approx(whole.fun, rel=1e-3)
