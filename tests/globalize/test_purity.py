"""A step that a budget ends leaves no trace; vectors are freed without Python's collector."""

from __future__ import annotations

import copy
import gc
from collections import Counter

import numpy as np
import pytest

import negopt
from negopt.core.options import RunOptions
from negopt.core.types import Status
from negopt.functions.objective import Objective
from negopt.solver.loop import Solver

#: What a step rule or a model keeps of one point.
OF_A_POINT = ("LanczosBasis", "Subspace", "_Path", "_Terms", "LimitedModel", "DenseOperator")


def fun(x):
    return float(np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2))


def grad(x):
    g, a = np.zeros_like(x), x[1:] - x[:-1] ** 2
    g[:-1] = -400.0 * x[:-1] * a - 2.0 * (1.0 - x[:-1])
    g[1:] += 200.0 * a
    return g


def hessp(x, p):
    h = np.zeros_like(x)
    h[:-1] = (1200.0 * x[:-1] ** 2 - 400.0 * x[1:] + 2.0) * p[:-1] - 400.0 * x[:-1] * p[1:]
    h[1:] += 200.0 * p[1:] - 400.0 * x[:-1] * p[:-1]
    return h


METHODS = [name for name, row in negopt.METHODS.items() if row.needs == "hessp" or row.baseline]


@pytest.mark.parametrize("method", [*METHODS, "ogr", "gd-armijo"])
def test_a_step_that_a_budget_ends_leaves_no_trace(method) -> None:
    """Whether the budget ends its first evaluation or, after rejected trials, a later one."""
    row = negopt.METHODS[method]
    x0 = np.array([-1.2, 1.0, -0.5, 0.8])
    ended = 0
    for allowed in (0, 1, 2):
        objective = Objective(fun, x0.copy(), (), grad, hessp=hessp, maxfun=1e9)
        solver = Solver(row, objective, RunOptions(certify=False))
        state = solver.init()
        for _ in range(30):
            before = copy.deepcopy((state.memory, state.globalize))
            objective.maxfun = objective.counters.nfev + allowed
            solver.step(state)
            if state.status is not None and state.status is not Status.LIMIT:
                break
            if state.status is Status.LIMIT:
                ended += 1
                np.testing.assert_equal(as_data((state.memory, state.globalize)), as_data(before))
                state.status, state.message, objective.maxfun = None, "", 1e9
                solver.step(state)
                if state.status is not None:
                    break
    assert ended >= 10


def as_data(value):
    """Return a state as nested lists, which compare entry by entry."""
    if hasattr(value, "__dataclass_fields__"):
        names = value.__dataclass_fields__
        return [type(value).__name__, *(as_data(getattr(value, name)) for name in names)]
    if isinstance(value, (list, tuple)):
        return [as_data(one) for one in value]
    return value


@pytest.mark.parametrize("method", METHODS)
def test_what_is_known_of_a_point_goes_with_it(method) -> None:
    gc.collect()
    gc.disable()
    try:
        before = live()
        x0 = np.tile([-1.2, 1.0], 20)
        options = {"maxiter": 15, "certify": False}
        given = {} if negopt.METHODS[method].baseline else {"hessp": hessp}
        res = negopt.minimize(fun, x0, jac=grad, method=method, options=options, **given)
        assert res.nit > 3
        left = live() - before
    finally:
        gc.enable()
    assert max(left.values(), default=0) <= 1, left


def live() -> Counter[str]:
    names = (type(one).__name__ for one in gc.get_objects())
    return Counter(name for name in names if name in OF_A_POINT)
