"""Every method reaches a stationary point from everywhere on smooth functions bounded below.

Theorem.  Let f be twice continuously differentiable and bounded below, with bounded level sets.
Then every row of ``METHODS`` but the baselines ends, within its budget, with ``max|g| <= gtol``
and success; its value is not above f(x0), x, fun and jac belong together, and the Hessian there has
no eigenvalue below the accuracy of the second-order check.  A run that gives up says so: it has
success False and a gradient above gtol.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import negopt
from negopt import METHODS, Status

NAMES = [name for name, row in METHODS.items() if not row.baseline]


def dense_hessian(function, x):
    return np.stack([function.hessp(x, e) for e in np.eye(x.size)], axis=1)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25)
@given(
    family=st.sampled_from(["quartic", "logcosh", "sine", "net"]),
    n=st.integers(1, 12),
    seed=st.integers(0, 10**6),
    spread=st.sampled_from([0.1, 1.0, 10.0]),
    products=st.booleans(),
)
def test_random_functions(random_function, name, family, n, seed, spread, products):
    function = random_function(family, n, seed)
    x0 = spread * np.random.default_rng(seed).standard_normal(function.n)
    gtol = 1e-5
    res = negopt.minimize(
        function.fun,
        x0,
        jac=function.grad,
        hessp=function.hessp if products else None,
        method=name,
        options={"gtol": gtol, "maxfun": 20000, "maxiter": 5000},
    )
    gmax = np.max(np.abs(function.grad(res.x)))
    assert res.fun == function.fun(res.x)
    np.testing.assert_array_equal(res.jac, function.grad(res.x))
    assert res.fun <= function.fun(x0)
    assert res.success, res.message
    assert res.status == Status.CONVERGED
    assert gmax <= gtol
    values = np.linalg.eigvalsh(dense_hessian(function, res.x))
    assert values[0] >= -2e-5 * np.max(np.abs(values))
    assert res.curvature_status in ("positive", "flat")


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=8)
@given(n=st.integers(1, 8), seed=st.integers(0, 10**6), limit=st.integers(1, 25))
def test_short_budgets_are_kept_and_confessed(random_function, name, n, seed, limit):
    function = random_function("quartic", n, seed)
    x0 = 10.0 * np.random.default_rng(seed).standard_normal(n)
    calls = [0]

    def fun(x):
        calls[0] += 1
        return function.fun(x)

    res = negopt.minimize(fun, x0, jac=function.grad, method=name, options={"maxfun": limit})
    assert calls[0] == res.nfev <= limit
    assert res.success == (res.status == Status.CONVERGED)
    if not res.success:
        assert res.status in (Status.LIMIT, Status.SADDLE)
        assert str(limit) in res.message
    else:
        assert np.max(np.abs(res.jac)) <= 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_pieces_without_curvature(name):
    """Huber's function: the Hessian is exactly zero far out."""

    def fun(x):
        a = np.abs(x)
        return float(np.sum(np.where(a < 1, a * a / 2, a - 0.5)))

    res = negopt.minimize(
        fun,
        [5.0, -7.0, 9.0],
        jac=lambda x: np.clip(x, -1, 1),
        hessp=lambda x, p: np.where(np.abs(x) < 1, p, 0.0),
        method=name,
    )
    assert res.success
    assert np.max(np.abs(res.x)) <= 1e-4
