"""The fused engine and the reference make the same iterates, up to rounding."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import numpy as np
import pytest

import negopt
from negopt import kernels, problems
from negopt._fused.engine import engine_for
from negopt._objective import Objective
from negopt._options import RunOptions
from negopt._solver import Solver
from negopt._types import STALL, State
from negopt.globalize import trust_region
from negopt.kernels import fused, line, region
from negopt.kernels import work as w
from negopt.kernels._jit import jit_disabled

#: Method and options of each case.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "lsr1-tr": ("lsr1-tr", {}),
    "lsr1-wolfe-pm": ("lsr1-wolfe-pm", {}),
    "lsr1-wolfe-pm direction": ("lsr1-wolfe-pm", {"flip": "direction"}),
    "lqn-tr": ("lqn-tr", {}),
    "lbfgs-wolfe": ("lbfgs-wolfe", {}),
    "dqn-wolfe-pm": ("dqn-wolfe-pm", {}),
    "dqn-wolfe-pm descent": ("dqn-wolfe-pm", {"choose": "descent"}),
}
METHODS = ("lsr1-tr", "lsr1-wolfe-pm", "lqn-tr", "dqn-wolfe-pm", "lbfgs-wolfe")
#: Iterations from which a step is made with both; kernels are slow as plain Python.
LOOK_AT = (0, 2, 9) if jit_disabled() else (0, 1, 3, 7, 14, 22)
PROBLEMS = [*problems.collection()][:: 8 if jit_disabled() else 1]
#: Where a problem is smaller than the memory, this many times the machine's precision was seen.
TOLERANCE = 1e-5


def new_solver(method: Any, problem: Any, **options: Any) -> Solver:
    options = {"gtol": 1e-9, "certify": False, "compiled": True} | options
    objective = Objective(problem, np.array(problem.x0), ())
    return Solver(method, objective, RunOptions(**options))


def one_step(method: Any, problem: Any, state: State, *, compiled: bool) -> tuple[Solver, State]:
    """Make one iteration from a copy of `state`."""
    solver = new_solver(method, problem)
    state = solver.resume(copy.deepcopy(state))
    assert state.status is None
    if not compiled:
        return solver, solver.step(state)
    engine = engine_for(solver, state.iterate.x)
    engine.step(state, 1)
    engine.finish(state)
    return solver, state


def alike(a: float, b: float, tolerance: float = TOLERANCE) -> bool:
    """Tell whether two figures are equal up to a share of the larger; nan equals nan."""
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return a == b or abs(a - b) <= tolerance * max(abs(a), abs(b))


def close(a: Any, b: Any, size: float) -> bool:
    return bool(np.linalg.norm(np.asarray(a) - np.asarray(b)) <= TOLERANCE * size)


def differences(before: State, one: tuple[Solver, State], two: tuple[Solver, State]) -> list[str]:
    """Name what is not the same after a step with either engine."""
    (solver_a, a), (solver_b, b) = one, two
    wrong = []

    def check(name: str, good: bool) -> None:
        if not good:
            wrong.append(name)

    outcome_a, outcome_b = solver_a.outcome, solver_b.outcome
    here = a.iterate
    moved = float(np.linalg.norm(here.x - before.iterate.x))
    change_g = float(np.linalg.norm(here.g - before.iterate.g)) + before.iterate.gnorm
    check("x", close(here.x, b.iterate.x, moved))
    check("g", close(here.g, b.iterate.g, change_g))
    # N.B. f itself is known to some eps |f| only
    for of in ("iterate", "best"):
        p, q, r = getattr(a, of), getattr(b, of), before.iterate
        room = TOLERANCE * abs(p.f - r.f) + 1e-11 * abs(r.f)
        check(f"f of {of}", abs(p.f - q.f) <= room + 1e-300)
        check(f"gmax of {of}", close(p.gmax, q.gmax, change_g))
        check(f"gnorm of {of}", close(p.gnorm, q.gnorm, change_g))
        check(f"xnorm of {of}", alike(p.xnorm, q.xnorm))
    for name in ("k", "resets", "stalled", "status", "counters"):
        check(name, getattr(a, name) == getattr(b, name))
    one_max, two_max = a.stalled_gmax, b.stalled_gmax
    check("stalled_gmax", alike(one_max, two_max) or close(one_max, two_max, change_g))
    words = [s.message.replace("<", "=").partition("=")[0] for s in (a, b)]
    check("message", words[0] == words[1])
    for name in ("accepted", "valid", "stuck", "trials", "reason"):
        check(f"outcome.{name}", getattr(outcome_a, name) == getattr(outcome_b, name))
    for name in ("step_size", "radius", "rho"):
        loose = 1e-2 if name == "rho" else TOLERANCE  # a difference of values over another one
        good = alike(getattr(outcome_a, name), getattr(outcome_b, name), loose)
        check(f"outcome.{name}", good)
    check("step_norm", alike(solver_a.step_norm, solver_b.step_norm))
    for part in dataclasses.fields(a.globalize):
        p, q = getattr(a.globalize, part.name), getattr(b.globalize, part.name)
        check(part.name, alike(float(p), float(q)))
    wrong.extend(memory_differences(a.memory, b.memory))
    return wrong


def memory_differences(a: Any, b: Any) -> list[str]:
    wrong = []
    for part in dataclasses.fields(a):
        p, q = getattr(a, part.name), getattr(b, part.name)
        used = 2 * len(a.order) if hasattr(a, "order") else 0
        if part.name in ("along", "at"):
            continue  # what the engine knows for itself; the reference multiplies anew
        if part.name == "order":
            good = p == q
        elif part.name == "curvatures":
            good = len(p) == len(q) and all(map(alike, p, q))
        elif p is None or q is None:
            good = p is q
        elif part.name == "rows":
            sizes = np.linalg.norm(p[:used], axis=1)
            # y is a difference of gradients, which is known less well
            good = bool(np.all(np.linalg.norm((p - q)[:used], axis=1) <= 1e-4 * sizes))
        elif part.name == "gram":
            p, q = p[:used, :used], q[:used, :used]
            sizes = np.sqrt(np.outer(np.diag(p), np.diag(p)))
            good = bool(np.all(np.abs(p - q) <= 2e-4 * sizes))
        elif part.name == "rest":  # what is left of it fades in rounding
            units = np.ones(p.shape[0]) if a.units is None else a.units
            good = bool(np.max(np.abs(p - q) / np.outer(units, units)) <= TOLERANCE)
        else:
            good = bool(np.max(np.abs(p - q)) <= TOLERANCE * np.max(np.abs(p)))
        if not good:
            wrong.append(f"memory.{part.name}")
    return wrong


@pytest.mark.filterwarnings("ignore:overflow")  # in the reference, where a trial is far out
@pytest.mark.parametrize("case", CASES)
def test_every_iteration_is_that_of_the_reference(case) -> None:
    name, options = CASES[case]
    method = negopt.METHODS[name].with_options(options)
    wrong, looked_at, resolved = [], 0, 0
    for problem in PROBLEMS:
        if problem.n > 60:
            continue
        solver = new_solver(method, problem, maxiter=LOOK_AT[-1] + 1)
        state = solver.init()
        while state.status is None:
            if state.k in LOOK_AT:
                before = copy.deepcopy(state)
                one = one_step(method, problem, before, compiled=False)
                two = one_step(method, problem, before, compiled=True)
                looked_at += 1
                # A step that x hardly resolves is a step of its rounding.
                if not one[0].step_norm <= 1e-6 * before.iterate.xnorm:
                    resolved += 1
                    found = differences(before, one, two)
                    if found:
                        wrong.append((problem.name, before.k, found))
            solver.step(state)
    assert resolved > 0.8 * looked_at > 10
    assert not wrong


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("method", METHODS)
def test_whole_runs_end_alike(method) -> None:
    """Rounding grows along a run: what is asked for is the same end at the same cost."""
    ratios, ends = [], []
    for problem in PROBLEMS[::3]:
        if problem.n > 60:
            continue
        one, two = (
            negopt.minimize(
                problem,
                problem.x0,
                method=method,
                options={"compiled": compiled, "maxiter": 100, "gtol": 1e-5},
            )
            for compiled in (False, True)
        )
        same = not one.success or math.isclose(one.fun, two.fun, rel_tol=1e-2, abs_tol=1e-4)
        ends.append(one.status == two.status and same)
        ratios.append(math.log(two.nfev / one.nfev))
    assert np.mean(ends) >= 0.9
    assert abs(np.mean(ratios)) <= 0.1


@pytest.mark.parametrize("method", METHODS)
def test_runs_that_rounding_cannot_turn_are_equal(method) -> None:
    """On a small convex problem even the whole record is the same."""
    scale = np.array([1.0, 3.0, 10.0])

    def fun(x):
        return float(np.sum(scale * x**2 + 0.1 * x**4)), 2.0 * scale * x + 0.4 * x**3

    records = []
    for compiled in (False, True):
        given = {"compiled": compiled, "record": True, "return_all": True}
        res = negopt.minimize(fun, [1.0, -2.0, 0.5], jac=True, method=method, options=given)
        records.append(res)
    one, two = records
    assert one.message.partition(":")[0] == two.message.partition(":")[0]
    assert (one.nit, one.nfev, one.njev, one.status) == (two.nit, two.nfev, two.njev, two.status)
    assert np.allclose(np.array(one.allvecs), np.array(two.allvecs), rtol=1e-6, atol=1e-7)
    assert one.history.keys() == two.history.keys()
    for name, column in one.history.items():
        if name != "time":
            good = np.allclose(column, two.history[name], rtol=1e-4, atol=1e-7, equal_nan=True)
            assert good, name


@pytest.mark.parametrize("method", METHODS)
def test_the_record_has_no_step_where_none_was_made(method) -> None:
    """What fails leaves no length of the step before behind."""

    def fun(x):  # a cliff that each step from its edge falls from
        inside = x[0] >= 1.0
        return (float(np.sum(x**2)) if inside else math.nan), 2.0 * x

    for compiled in (False, True):
        given = {"record": True, "compiled": compiled, "maxiter": 300}
        res = negopt.minimize(fun, [1.5, 2.0], jac=True, method=method, options=given)
        columns = {name: np.array(column[1:]) for name, column in res.history.items()}
        none = np.isnan(columns["step_norm"])
        assert np.any(none)
        if method.endswith("tr"):
            assert np.array_equal(none, np.isnan(columns["rho"]))
        else:
            assert np.array_equal(none, columns["accepted"] == 0.0)


def test_constants_that_stand_twice() -> None:
    assert fused.PATIENCE == STALL
    assert region.WORTHLESS == trust_region.WORTHLESS
    assert np.finfo(float).eps == w.EPS
    assert w.SEARCH_SIZE >= kernels.SEARCH_WORK
    assert line.TRY == kernels.EVALUATE
    tasks = [w.EVALUATE, w.PAUSE, w.STOP, w.STUCK, w.GAVE_UP, w.RARE, w.RAISED, w.FOLD]
    tasks += [w.SMALL_RADIUS, w.SEARCH_FAILED, w.NOT_MOVED]
    assert len(set(tasks)) == len(tasks)


@pytest.mark.parametrize("f", [1.0, -3.0, 1e8])
def test_the_noise_of_a_search_is_that_of_the_reference(f) -> None:
    from negopt.globalize.wolfe import _noise

    assert _noise(np.zeros(2), f) == 450.0 * w.EPS * abs(f)
