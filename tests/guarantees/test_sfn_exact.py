"""A step of "sfn-exact" is that of |H| by its eigenvalues, and a rejected one costs a value of f.

Theorem.  Let ``H = sum theta_i v_i v_i'`` and lambda the damping, absolute or a share of
``max |theta|``.

1. ``s = -sum v_i'g / (max(|theta_i|, floor max|theta|) + lambda) v_i``.
2. Another damping at the same point takes no product and no decomposition.
3. In a run accepted values do not rise beyond rounding; at a minimiser where H is positive definite
   the rate is quadratic once the damping has gone.
4. With ``average=w`` the eigenvalues are those of ``M_k = (1 - w) M_{k-1} + w H_k``, M_0 = H_0;
   with ``adaptive`` learning rate and momentum minimise ``g's + s'(|H_k| + lambda)s/2`` in the
   plane of the step and the one before it.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import negopt
from negopt import METHODS
from negopt.core.bounds import Damping
from negopt.core.types import Iterate
from negopt.curvature.dense import DenseHessian, DenseOperator
from negopt.steps.sfn_exact import SaddleFreeExact

EPS = np.finfo(float).eps


def point(g):
    return Iterate(np.zeros_like(g), 0.0, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))


@settings(max_examples=150)
@given(
    n=st.integers(1, 25),
    seed=st.integers(0, 10**9),
    condition=st.sampled_from([1.0, 10.0, 1e5, 1e14]),
    damping=st.sampled_from([0.0, 1e-6, 1e-2, 1.0, 100.0]),
    absolute=st.booleans(),
    floor=st.sampled_from([1e-10, 1e-4, 0.5]),
)
def test_the_formula(n, seed, condition, damping, absolute, floor):
    rng = np.random.default_rng([seed, n])
    V = np.linalg.qr(rng.standard_normal((n, n)))[0]
    values = condition ** -rng.uniform(0, 1, n) * rng.choice([-1.0, 1.0], n)
    values *= 10.0 ** rng.uniform(-2, 2)
    H, g = (V * values) @ V.T, rng.standard_normal(n)
    H = (H + H.T) / 2
    operator = DenseOperator(H, H)
    bound = Damping(damping, absolute=absolute)
    step = SaddleFreeExact(floor=floor).propose(point(g), operator, bound)
    largest = np.max(np.abs(values))
    size = np.maximum(np.abs(values), floor * largest)
    size = size + (damping if absolute else damping * largest)
    expected = -V @ ((V.T @ g) / size)
    # A rounding of H moves its eigenvalues by eps max|theta|, and those below it change sign.
    noise = 1e2 * n * EPS * largest / np.min(size)
    np.testing.assert_allclose(step.s, expected, atol=(1e-9 + noise) * np.linalg.norm(expected))
    assert step.slope < 0
    assert step.quadratic == pytest.approx(step.s @ H @ step.s, rel=1e-6, abs=1e-9 * -step.slope)
    assert step.norm == pytest.approx(np.linalg.norm(step.s))


@dataclasses.dataclass(frozen=True)
class Watch:
    """The rule, with the operators and dampings it was asked for."""

    inner: SaddleFreeExact
    log: list = dataclasses.field(default_factory=list)

    def propose(self, iterate, operator, bound):
        step = self.inner.propose(iterate, operator, bound)
        self.log.append((operator, bound.value, step))
        return step


@settings(max_examples=40)
@given(
    family=st.sampled_from(["quartic", "logcosh", "sine", "net"]),
    n=st.integers(1, 12),
    seed=st.integers(0, 10**6),
    options=st.fixed_dictionaries(
        {},
        optional={
            "average": st.sampled_from([0.05, 0.5, 1.0]),
            "damping_rule": st.sampled_from(["levenberg", "fixed"]),
            "damping_unit": st.just("absolute"),
            "damping": st.sampled_from([1e-6, 1e-2, 1.0]),
            "learning_rate": st.sampled_from([0.5, 1.5, 3.0]),
            "momentum": st.sampled_from([0.3, 0.9]),
            "adaptive": st.booleans(),
        },
    ),
)
def test_runs(random_function, family, n, seed, options):
    function = random_function(family, n, seed)
    x0 = 3.0 * np.random.default_rng(seed).standard_normal(function.n)
    row = METHODS["sfn-exact"].with_options(options)
    watch = Watch(row.step)
    hessians, seen = [], []

    def hess(x):
        hessians.append(0)
        return np.stack([function.hessp(x, e) for e in np.eye(function.n)])

    res = negopt.minimize(
        function.fun,
        x0,
        jac=function.grad,
        hess=hess,
        method=dataclasses.replace(row, step=watch),
        callback=lambda intermediate_result: seen.append(intermediate_result),
        options={"maxiter": 60, "certify": False, "gtol": 1e-7},
    )
    values = np.array([function.fun(x0), *(one.fun for one in seen)])
    assert np.all(np.diff(values) <= 1e4 * EPS * np.abs(values[:-1]))
    # One Hessian a point, whatever was rejected there; a larger damping each time.
    assert len(hessians) == res.nit == len({id(operator) for operator, _, _ in watch.log})
    for (operator, before, _), (same, after, _) in itertools.pairwise(watch.log):
        assert operator is not same or after > before
    assert res.nfev == 1 + len(watch.log)


def test_the_rate_at_a_minimiser_is_quadratic():
    """``sum log cosh``-like: errors are squared, up to the damping that goes by 1/3 a step."""
    A = np.diag([1.0, 2.0, 5.0])

    def grad(x):
        return A @ x + x**3

    res = negopt.minimize(
        lambda x: float(x @ A @ x / 2 + np.sum(x**4) / 4),
        [0.9, -0.7, 0.5],
        jac=grad,
        hess=lambda x: A + np.diag(3 * x**2),
        method="sfn-exact",
        options={"gtol": 1e-13, "return_all": True, "certify": False, "damping": 1e-10},
    )
    errors = [np.linalg.norm(x) for x in res.allvecs]
    assert res.success
    assert res.nit <= 6
    for e, after in itertools.pairwise(errors):
        assert after <= 3.0 * e**2 + 1e-9 * e


def test_saddles_are_left_without_the_check():
    """The step doubles the distance along negative curvature."""
    res = negopt.minimize(
        lambda x: float(x[0] ** 4 / 4 - x[0] ** 2 / 2 + x[1] ** 2),
        [1e-6, 1.0],
        jac=lambda x: np.array([x[0] ** 3 - x[0], 2 * x[1]]),
        hess=lambda x: np.diag([3 * x[0] ** 2 - 1, 2.0]),
        method="sfn-exact",
        options={"certify": False, "gtol": 1e-9, "damping": 0.0},
    )
    assert res.fun == pytest.approx(-0.25)
    assert res.n_escapes == 0
    assert res.nit <= 30


def test_the_average_with_adaptive_momentum_against_a_dense_reference():
    """The loop of the source's exact method, written out with dense matrices."""
    rng = np.random.default_rng(5)
    A = rng.standard_normal((4, 4))
    A = A + A.T

    def fun(x):
        return float(x @ A @ x / 2 + np.sum(x**4) / 4)

    def grad(x):
        return A @ x + x**3

    def hess(x):
        return A + np.diag(3 * x**2)

    def absolute(H):
        values, vectors = np.linalg.eigh(H)
        return (vectors * np.abs(values)) @ vectors.T

    weight, lam, x = 0.3, 0.5, rng.standard_normal(4)
    x0, average, delta, chosen, path = x, None, None, [], []
    for _ in range(12):
        g, H = grad(x), hess(x)
        average = H if average is None else (1 - weight) * average + weight * H
        u = -np.linalg.solve(absolute(average) + lam * np.eye(4), g)
        w = np.array([1.0, 0.0])
        C = absolute(H)
        if delta is not None:
            P = np.stack([u, delta], axis=1)
            w = -np.linalg.solve(P.T @ (C + lam * np.eye(4)) @ P, P.T @ g)
        s = P @ w if delta is not None else u
        chosen.append(w)
        predicted = -(g @ s + s @ H @ s / 2)
        rho = (fun(x) - fun(x + s)) / predicted
        lam *= 0.9 if rho > 0.75 else 1 / 0.9 if rho < 0.25 else 1.0
        x, delta = x + s, s
        path.append(x)
    assert np.max(np.abs(np.array(chosen)[1:, 1])) > 0.05  # momentum has a say
    res = negopt.minimize(
        fun,
        x0,
        jac=grad,
        hess=hess,
        method="sfn-exact",
        options={
            "average": weight,
            "adaptive": True,
            "damping": 0.5,
            "damping_rule": "levenberg",
            "damping_unit": "absolute",
            "reject": False,
            "maxiter": 12,
            "gtol": 0.0,
            "return_all": True,
        },
    )
    np.testing.assert_allclose(res.allvecs[1:], path, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("variant", list(METHODS["sfn-exact"].variants))
def test_the_settings_of_the_source_run(variant):
    row = METHODS["sfn-exact"].with_options({"variant": variant})
    assert not row.globalize.reject
    if variant == "adaptive as run":
        assert row.curvature == DenseHessian(average=0.05)
    res = negopt.minimize(
        lambda x: float(np.sum(np.cosh(x - 1.0))),
        np.zeros(3),
        jac=lambda x: np.sinh(x - 1.0),
        hess=lambda x: np.diag(np.cosh(x - 1.0)),
        method="sfn-exact",
        options={"variant": variant, "maxiter": 3000},
    )
    assert res.success, res.message
