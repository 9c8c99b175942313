"""Budgets, resuming, callbacks and threads with the fused engine."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der

import negopt
from negopt import Status, checkpoint
from negopt.kernels._jit import jit_disabled

METHODS = pytest.mark.parametrize("method", ["lsr1-tr", "lsr1-wolfe-pm", "lqn-tr", "dqn-wolfe-pm"])
START = np.array([-1.2, 1.0, -1.2, 1.0, 0.3])
ON = {"compiled": True}


def both(x):
    return rosen(x), rosen_der(x)


def run(method, fun=both, jac=True, x0=START, callback=None, **options):
    options = ON | {"gtol": 1e-8} | options
    return negopt.minimize(fun, x0, jac=jac, method=method, callback=callback, options=options)


def same_ends(one, two) -> None:
    for name in ("x", "fun", "jac", "nit", "nfev", "njev", "status", "message", "n_rejected"):
        assert np.array_equal(getattr(one, name), getattr(two, name)), name
    assert one.state.counters == two.state.counters
    assert one.state.rng_state == two.state.rng_state


@METHODS
def test_a_budget_of_evaluations_is_kept_to_the_last(method) -> None:
    whole = run(method, certify=False)
    for budget in (1, 2, 3, 5, 8, whole.nfev - 1):
        calls = []

        def counted(x, calls=calls):
            calls.append(x)
            return both(x)

        res = run(method, counted, maxfun=budget, certify=False)
        assert res.nfev == len(calls) == budget
        assert res.status == Status.LIMIT
        assert res.fun == min(rosen(x) for x in calls)
        reference = run(method, maxfun=budget, certify=False, compiled=False)
        assert res.message.split(";")[0] == reference.message.split(";")[0]
        assert (res.nit, res.nfev, res.status) == (
            reference.nit,
            reference.nfev,
            reference.status,
        )


@METHODS
@pytest.mark.parametrize("limit", [0, 1, 4])
def test_a_limit_of_iterations(method, limit) -> None:
    one, two = (run(method, maxiter=limit, compiled=c) for c in (False, True))
    assert one.nit == two.nit == limit
    assert (one.status, one.nfev, one.message) == (two.status, two.nfev, two.message)
    assert np.allclose(one.x, two.x, rtol=1e-9)


@METHODS
def test_a_budget_of_time(method) -> None:
    def slow(x):
        time.sleep(0.002)
        return both(x)

    res = run(method, slow, maxtime=0.02)
    assert res.status == Status.LIMIT
    assert "maxtime" in res.message


@METHODS
def test_resumed_after_any_budget_it_is_the_run_in_one_piece(method, tmp_path) -> None:
    whole = run(method)
    # N.B. a second-order check that a budget cuts off begins anew, with other random numbers.
    for budget in range(1, run(method, certify=False).nfev, 16 if jit_disabled() else 3):
        part = run(method, maxfun=budget)
        before = part.state.iterate.x.copy(), part.state.k
        for option in ({}, {"callback": lambda x: None}):
            # Half a line search is made again: the rest is the same to the last bit.
            rest = run(method, state=part.state, **option)
            assert np.array_equal(rest.x, whole.x)
            assert rest.nit == whole.nit
            assert rest.message == whole.message
        assert np.array_equal(part.state.iterate.x, before[0])
        assert part.state.k == before[1]
    for limit in range(1, whole.nit, 16 if jit_disabled() else 4):
        part = run(method, maxiter=limit)
        same_ends(run(method, state=part.state), whole)
        file = tmp_path / f"{limit}.npz"
        checkpoint.save(file, part.state)
        same_ends(run(method, state=checkpoint.load(file)), whole)


@METHODS
@pytest.mark.parametrize("n", [17] if jit_disabled() else [17, 64, 101])
def test_sums_in_vector_registers_are_the_same_when_resumed(method, n) -> None:
    """What is kept between iterations has to be summed up in one order everywhere."""
    start = np.tile([-1.2, 1.0], n)[:n]
    whole = run(method, x0=start, maxiter=40, certify=False)
    for limit in (1, 8, 15, 30):
        part = run(method, x0=start, maxiter=limit)
        rest = run(method, x0=start, state=part.state, maxiter=40 - limit, certify=False)
        assert np.array_equal(rest.x, whole.x)


@METHODS
@pytest.mark.parametrize("first", [False, True])
def test_either_engine_takes_up_the_state_of_the_other(method, first) -> None:
    whole = run(method)
    part = run(method, maxiter=9, compiled=first)
    rest = run(method, state=part.state, compiled=not first)
    assert rest.success
    assert abs(rest.nfev - whole.nfev) <= 0.3 * whole.nfev
    assert np.allclose(rest.x, whole.x, atol=1e-6)


@METHODS
def test_callbacks_see_every_iteration(method) -> None:
    seen = {}
    for compiled in (False, True):
        rows = seen[compiled] = []

        def watch(intermediate_result):
            rows.append((intermediate_result.nit, intermediate_result.fun, intermediate_result.x))  # noqa: B023

        res = run(method, callback=watch, compiled=compiled, maxiter=12)
        assert len(rows) == res.nit == 12
    for one, two in zip(seen[False], seen[True], strict=True):
        assert one[0] == two[0]
        assert np.allclose(one[2], two[2], rtol=1e-6)
    points = []
    res = run(method, callback=lambda xk: points.append(xk), maxiter=12)
    assert np.array_equal(points[-1], seen[True][-1][2])
    unwatched = run(method, maxiter=12)
    assert np.array_equal(unwatched.x, res.x)  # one call for all, one for each: the same run


@METHODS
@pytest.mark.parametrize(
    ("error", "status"),
    [(StopIteration, Status.CALLBACK), (KeyboardInterrupt, Status.INTERRUPTED)],
)
def test_a_callback_ends_the_run(method, error, status) -> None:
    count = []

    def stop(xk):
        count.append(xk.copy())
        if len(count) == 6:
            raise error

    res = run(method, callback=stop)
    assert res.status == status
    assert res.nit == 6
    assert res.fun <= rosen(count[-1])
    whole = run(method)
    same_ends(run(method, state=res.state), whole)


@METHODS
@pytest.mark.parametrize("at", [1, 2, 3, 7, 12])
def test_errors_of_the_function_surface_untouched(method, at) -> None:
    class OwnError(Exception):
        pass

    count = []

    def breaks(x):
        count.append(1)
        if len(count) == at:
            raise OwnError("mine", at)
        return both(x)

    with pytest.raises(OwnError) as caught:
        run(method, breaks)
    assert caught.value.args == ("mine", at)
    assert caught.value.__cause__ is None
    count.clear()
    with pytest.raises(OwnError):
        run(method, rosen, lambda x: breaks(x)[1])


@METHODS
def test_runs_in_threads_and_runs_within_runs(method) -> None:
    alone = run(method)
    found, runs = [], 1 if jit_disabled() else 3

    def nested(x):
        inner = run(method, lambda z: (float(z @ z), 2.0 * z), x0=x[:2].copy())
        return rosen(x) + inner.fun, rosen_der(x)

    def work():
        found.extend([run(method) for _ in range(runs)])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 * runs
    for res in found:
        same_ends(res, alone)
    inside = run(method, nested)
    assert np.allclose(inside.x, alone.x, atol=1e-6)


@METHODS
def test_what_is_returned_is_the_callers_own(method) -> None:
    """Neither points nor states share memory with a run that goes on."""
    kept = []
    res = run(method, callback=lambda xk: kept.append(xk), maxiter=8, return_all=True)
    for i, x in enumerate(kept):
        assert np.array_equal(x, res.allvecs[i + 1])
    again = run(method, maxiter=3)
    memory = again.state.memory
    array = memory.rows if hasattr(memory, "rows") else memory.free
    before = array.copy()
    run(method, state=again.state)
    assert np.array_equal(array, before)
