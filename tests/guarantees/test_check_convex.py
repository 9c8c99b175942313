"""A convex function is never said to have negative curvature.

Theorem.  Let f be a convex sum of losses of ``A x - y``, of any rank and whatever the units of
the variables.  Where a run ends, and at the start, the check never says "negative", there is no
escape and no end at a saddle, with products, with gradients and with values alone.  A strict
minimum that pairs of the whole space have led to is "positive" in whatever units the variables
are.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import negopt
from negopt import Status


def losses(kind, A, y):
    """Return f, gradient and products of a sum of convex losses."""

    def square(r):
        return 0.5 * r * r, r, np.ones_like(r)

    def logistic(r):
        p = 1.0 / (1.0 + np.exp(-np.abs(r)))
        s = np.where(r >= 0.0, p, 1.0 - p)
        return np.logaddexp(0.0, r), s, p * (1.0 - p)

    def huber(r):
        root = np.sqrt(1.0 + r * r)
        return root - 1.0, r / root, root**-3

    loss = {"square": square, "logistic": logistic, "huber": huber}[kind]

    def fun(x):
        return float(np.sum(loss(A @ x - y)[0]))

    def grad(x):
        return A.T @ loss(A @ x - y)[1]

    def hessp(x, p):
        return A.T @ (loss(A @ x - y)[2] * (A @ p))

    return fun, grad, hessp


@pytest.mark.parametrize("method", [None, "lqn-tr", "newton-krylov", "lbfgs-wolfe"])
@settings(max_examples=40)
@given(
    n=st.integers(1, 12),
    lost=st.integers(0, 4),
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(["square", "logistic", "huber"]),
    decades=st.sampled_from([0.0, 2.0, 5.0]),
    given_=st.sampled_from(["hessp", "jac", "values"]),
)
def test_convex_functions(method, n, lost, seed, kind, decades, given_):
    rng = np.random.default_rng([seed, n])
    rank = max(n - lost, 0)
    A = rng.standard_normal((2 * n + 3, rank)) @ rng.standard_normal((rank, n))
    A *= 10.0 ** rng.uniform(-decades, decades, n)
    y = rng.standard_normal(2 * n + 3) * (kind != "logistic")
    fun, grad, hessp = losses(kind, A, y)
    extra = {"jac": grad} if given_ != "values" else {}
    if given_ == "hessp":
        extra["hessp"] = hessp
    x0 = rng.standard_normal(n) / np.maximum(np.abs(A).max(axis=0, initial=0.0), 1e-300)
    with np.errstate(all="ignore"):
        res = negopt.minimize(
            fun, np.clip(x0, -1e8, 1e8), method=method, options={"maxiter": 300}, **extra
        )
    assert res.curvature_status != "negative", res.message
    assert res.status != Status.SADDLE
    assert res.n_escapes == 0


@pytest.mark.parametrize("method", ["lqn-tr", "newton-krylov", "lbfgs-wolfe", "dqn-wolfe-pm"])
@pytest.mark.parametrize("seed", range(6))
def test_strict_minimum_in_any_units(method, seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 9))
    units = 10.0 ** rng.permutation(np.linspace(-4.0, 4.0, n))
    A = rng.standard_normal((8 * n, n)) / units
    fun, grad, _ = losses("logistic", A, 0.0)

    def penalised(x):
        return fun(x) + 0.5 * float(np.sum((x / units) ** 2))

    def slope(x):
        return grad(x) + x / units**2

    options = {"maxiter": 3000, "gtol": 1e-5}
    res = negopt.minimize(penalised, np.zeros(n), method=method, jac=slope, options=options)
    assert res.success, res.message
    assert res.curvature_status == "positive", res.message


@pytest.mark.parametrize("n", [2, 3, 8, 40])
@pytest.mark.parametrize("method", [None, "lqn-tr", "lbfgs-wolfe"])
def test_a_flat_direction_at_the_end_costs_one_attempt_at_most(n, method):
    """``(||x||^2 - 1)^2``: every rotation is a zero mode."""
    x0 = np.linspace(0.3, 1.0, n)
    given_ = {"jac": lambda x: 4.0 * (x @ x - 1.0) * x, "method": method}
    res = negopt.minimize(lambda x: (x @ x - 1.0) ** 2, x0, **given_)
    off = negopt.minimize(lambda x: (x @ x - 1.0) ** 2, x0, options={"certify": False}, **given_)
    assert res.curvature_status in ("flat", "unsettled")
    assert res.n_escapes == 0
    assert res.nfev <= off.nfev + 2
    np.testing.assert_array_equal(res.x, off.x)


@pytest.mark.parametrize("decades", [4.0, 7.0])
@pytest.mark.parametrize("method", [None, "lqn-tr", "newton-krylov", "dqn-wolfe-pm"])
@pytest.mark.parametrize("seed", range(4))
def test_a_hessian_that_is_given_decides_in_any_units(seed, method, decades):
    """Where `hess` is there it is decomposed itself: minima are positive, saddles are left."""
    rng = np.random.default_rng(seed)
    n = 5
    d = 10.0 ** rng.uniform(-decades, decades, n)
    q, _ = np.linalg.qr(rng.standard_normal((n, n)))
    for sign in (1.0, -1.0):
        curved = np.r_[sign, np.ones(n - 1)]  # along the first column of Q: a double well

        def fun(x, curved=curved):
            z = q.T @ (x / d)
            return float(0.5 * z @ (curved * z) + 0.25 * z[0] ** 4)

        def grad(x, curved=curved):
            z = q.T @ (x / d)
            return (q @ (curved * z + np.r_[z[0] ** 3, np.zeros(n - 1)])) / d

        def hess(x, curved=curved):
            z = q.T @ (x / d)
            inner = np.diag(curved + np.r_[3.0 * z[0] ** 2, np.zeros(n - 1)])
            return (q @ inner @ q.T) / d / d[:, None]

        res = negopt.minimize(fun, np.zeros(n), jac=grad, hess=hess, method=method)
        assert res.curvature_status == "positive" if sign > 0.0 else res.n_escapes > 0
