"""The adaptive mode of the source document: what its code does, against a loop written anew."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import negopt
from negopt.core.types import Step
from negopt.functions.objective import Objective
from negopt.globalize.damping import AdaptiveDamping


class Matrix:
    """An operator that counts its products."""

    learns = False

    def __init__(self, H):
        self.H, self.calls = H, 0

    def matvec(self, v):
        self.calls += 1
        return self.H @ v


A = np.array([[2.0, 0.5, 0.0], [0.5, -1.0, 0.3], [0.0, 0.3, 0.4]])


def fun(x):
    return float(x @ A @ x / 2 + np.sum(x**4) / 4)


def grad(x):
    return A @ x + x**3


def hess(x):
    return A + np.diag(3 * x**2)


def source_loop(x, lam, steps, *, as_run):
    """Iterates and weights of the adaptive loop; `as_run` puts b into the first column."""
    path, weights, delta = [x], [], None
    for _ in range(steps):
        g, H = grad(x), hess(x)
        values, vectors = np.linalg.eigh(H)
        C = (vectors * (np.abs(values) + lam)) @ vectors.T
        # Off the minimiser, as the step of a truncated series is.
        u = -np.linalg.solve(C, g) + 0.1 * np.array([1.0, -1.0, 1.0]) * g
        w = np.array([1.0, 0.0])
        if delta is not None:
            P = np.stack([u, delta], axis=1)
            M, b = P.T @ C @ P, -P.T @ g
            if as_run:
                M[:, 0] = b
            w = np.linalg.solve(M, b)
        s = P @ w if delta is not None else u
        rho = (fun(x) - fun(x + s)) / -(g @ s + s @ H @ s / 2)
        lam = max(lam * (0.9 if rho > 0.75 else 1 / 0.9 if rho < 0.25 else 1.0), 1e-8)
        x, delta = x + s, s
        path.append(x)
        weights.append(w)
    return np.array(path), np.array(weights)


class Truncated:
    """The step rule of `source_loop`."""

    def propose(self, iterate, operator, bound):
        assert bound.absolute
        g = iterate.g
        values, vectors = np.linalg.eigh(operator.H)
        u = -vectors @ ((vectors.T @ g) / (np.abs(values) + bound.value))
        u = u + 0.1 * np.array([1.0, -1.0, 1.0]) * g
        return Step(u, float(g @ u), float(u @ operator.H @ u), float(np.linalg.norm(u)))


class Absolute(Matrix):
    def absolute_matvec(self, v):
        values, vectors = np.linalg.eigh(self.H)
        return vectors @ (np.abs(values) * (vectors.T @ v))


@pytest.mark.parametrize("as_run", [True, False])
def test_the_adaptive_mode_of_the_source_adapts_the_damping_alone(as_run):
    """Its system has the solution (1, 0) at every step; the equations of the text do not."""
    x0 = np.array([0.6, 0.2, -0.9])
    path, weights = source_loop(x0, 0.05, 8, as_run=as_run)
    if as_run:
        np.testing.assert_allclose(weights, np.tile([1.0, 0.0], (8, 1)), atol=1e-9)
    else:
        assert np.max(np.abs(weights[1:] - [1.0, 0.0])) > 0.05
    rule = AdaptiveDamping(
        damping=0.05,
        damping_rule="levenberg",
        damping_unit="absolute",
        adaptive=not as_run,
        reject=False,
    )
    objective = Objective(fun, x0, jac=grad)
    here = objective.at(x0)
    state = rule.init(here)
    for expected in path[1:]:
        operator = Absolute(hess(here.x))
        out = rule.advance(state, objective, here, operator, Truncated())
        np.testing.assert_allclose(out.trial.x, expected, rtol=1e-7, atol=1e-9)
        here = out.trial


@pytest.mark.parametrize("adaptive", [True, False])
@settings(max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_products_of_a_run(adaptive, seed):
    """Those of the Krylov spaces, and with `adaptive` one for each step after the first."""
    rng = np.random.default_rng(seed)
    M = rng.standard_normal((4, 4))
    M = M + M.T
    calls = []

    def hessp(x, p):
        calls.append(x.tobytes())
        return M @ p + 3 * x**2 * p

    options = {"terms": 2, "change": 0.0, "adaptive": adaptive, "certify": False, "maxiter": 15}
    res = negopt.minimize(
        lambda x: float(x @ M @ x / 2 + np.sum(x**4) / 4),
        3.0 * rng.standard_normal(4),
        jac=lambda x: M @ x + x**3,
        hessp=hessp,
        method="sfn-series",
        options=options,
    )
    extra = res.nit - 1 if adaptive else 0
    assert len(calls) == res.nhev == 2 * res.nit + extra
    assert res.n_rejected == res.nfev - 1 - res.nit
