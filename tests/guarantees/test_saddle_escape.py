"""Where the check covers the space, no saddle is reported as a minimum: it is left, or named.

Theorem.  Let x be a strict saddle with a lower point along the direction of negative curvature.
From x, from its stable manifold and from within 1e-8 of them, every method ends with success
below the saddle, with Hessian products and with gradients alone, at a point where the second-order
check is "positive", "flat" or, where it has not seen the whole space, "unsettled".  With
``certify=False`` it may stop at the saddle, and says "not checked"; with ``max_escapes=0`` it ends
with status SADDLE and without success.  When the products of the check reach n, its verdict is that
of the eigenvalues.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import negopt
from negopt import METHODS, Status
from negopt.functions.objective import Objective
from negopt.solver.second_order import certify


@dataclasses.dataclass
class DoubleWells:
    """``sum_i (z_i^4/4 - a_i z_i^2/2) + sum_j b_j z_j^2/2`` with z = Q'x: a saddle at 0, f = 0."""

    Q: np.ndarray
    curvature: np.ndarray

    @property
    def wells(self):
        return self.curvature < 0

    def fun(self, x):
        z = self.Q.T @ x
        return float(np.sum(self.curvature * z**2 / 2 + self.wells * z**4 / 4))

    def grad(self, x):
        z = self.Q.T @ x
        return self.Q @ (self.curvature * z + self.wells * z**3)

    def hessp(self, x, p):
        z = self.Q.T @ x
        return self.Q @ ((self.curvature + 3 * self.wells * z**2) * (self.Q.T @ p))


def saddle(n, seed, rotated):
    rng = np.random.default_rng([seed, n])
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0] if rotated else np.eye(n)
    curvature = 10.0 ** rng.uniform(-1, 1, n)
    curvature[: rng.integers(1, n)] *= -1.0
    return DoubleWells(Q, curvature), rng


saddles = st.fixed_dictionaries(
    {"n": st.integers(2, 30), "seed": st.integers(0, 10**6), "rotated": st.booleans()}
)


@pytest.mark.parametrize("name", [name for name, row in METHODS.items() if not row.baseline])
@settings(max_examples=20)
@given(
    which=saddles,
    start=st.sampled_from(["saddle", "stable manifold", "near"]),
    products=st.booleans(),
)
def test_escape(name, which, start, products):
    function, rng = saddle(**which)
    z = np.zeros(which["n"])
    if start == "stable manifold":
        z[~function.wells] = rng.standard_normal(np.sum(~function.wells))
    elif start == "near":
        z = 1e-8 * rng.standard_normal(which["n"])
    res = negopt.minimize(
        function.fun,
        function.Q @ z,
        jac=function.grad,
        hessp=function.hessp if products else None,
        method=name,
    )
    assert res.success, res.message
    assert res.fun < -1e-4
    assert res.curvature_status in ("positive", "flat", "unsettled")
    assert np.max(np.abs(res.jac)) <= 1e-5
    H = np.stack([function.hessp(res.x, e) for e in np.eye(which["n"])], axis=1)
    values = np.linalg.eigvalsh(H)
    assert values[0] > -1e-4 * values[-1]
    assert res.min_curvature >= -1e-4 * values[-1]


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=8)
@given(which=saddles)
def test_without_the_check_it_stops_and_says_so(name, which):
    function, _ = saddle(**which)
    x0 = np.zeros(which["n"])
    res = negopt.minimize(
        function.fun, x0, jac=function.grad, method=name, options={"certify": False}
    )
    assert res.nit == 0
    assert res.curvature_status == "not checked"
    assert np.isnan(res.min_curvature)
    assert "not checked" in res.message
    np.testing.assert_array_equal(res.x, x0)


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=8)
@given(which=saddles, products=st.booleans())
def test_without_escapes_it_is_no_success(name, which, products):
    function, _ = saddle(**which)
    res = negopt.minimize(
        function.fun,
        np.zeros(which["n"]),
        jac=function.grad,
        hessp=function.hessp if products else None,
        method=name,
        options={"max_escapes": 0},
    )
    assert res.status == Status.SADDLE
    assert not res.success
    assert res.curvature_status == "negative"
    assert res.min_curvature < 0
    assert "max_escapes = 0" in res.message


@settings(max_examples=150)
@given(
    n=st.integers(1, 20),
    seed=st.integers(0, 10**9),
    lowest=st.sampled_from([-1.0, -1e-1, -1e-2, -1e-3, 0.0, 1e-3, 1e-1]),
    repeated=st.booleans(),
    exact=st.booleans(),
)
def test_verdict_is_that_of_the_eigenvalues(n, seed, lowest, repeated, exact):
    """The largest eigenvalue is 1, the lowest as given, the others anywhere between."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(max(lowest, 0.0), 1.0, n)
    if repeated:
        values = rng.choice([max(lowest, 0.0), 0.5, 1.0], n)
    values[0], values[-1] = 1.0, lowest
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    H = (Q * values) @ Q.T
    H = (H + H.T) / 2

    def grad(x):
        return H @ x

    objective = Objective(
        lambda x: float(x @ H @ x / 2), np.zeros(n), jac=grad, hess=(lambda x: H) if exact else None
    )
    here = objective.at(np.zeros(n))
    found = certify(objective, here, np.random.default_rng(seed), 22)
    result, d = found.certificate, found.step
    confirming = 2 if result.status == "negative" and not exact else 0
    assert result.products <= n + confirming
    true = np.linalg.eigvalsh(H)
    if result.status == "negative":  # a proof, whatever the number of products
        assert d @ H @ d / (d @ d) == pytest.approx(result.min_curvature, rel=1e-6, abs=1e-9)
        assert d @ H @ d < 0
    assert result.min_curvature >= true[0] - 1e-6
    if result.status != "unsettled":
        expected = "negative" if lowest < 0 else "flat" if lowest == 0 else "positive"
        assert result.status == expected
    else:
        assert result.products == 20 < n  # only a space that is not complete leaves it open


@settings(max_examples=100)
@given(n=st.integers(2, 20), seed=st.integers(0, 10**9), depth=st.floats(0.02, 1.0))
@example(n=18, seed=18, depth=0.02440762324521089)
def test_settled_early_or_not_one_negative_eigenvalue_is_found(n, seed, depth):
    """One eigenvalue -depth among positive ones up to 1: found with at most 20 products."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.0, 1.0, n)
    values[0] = -depth
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    H = (Q * values) @ Q.T
    objective = Objective(lambda x: 0.0, np.zeros(n), jac=lambda x: H @ x)
    here = objective.at(np.zeros(n))
    found = certify(objective, here, np.random.default_rng(seed + 1), 22)
    assert found.certificate.status == "negative"


def test_degenerate_saddle_is_left_too():
    """``x^2 - y^4``, cut off by ``y^6``: flat at 0, and lower beside it."""
    res = negopt.minimize(
        lambda x: float(x[0] ** 2 - x[1] ** 4 + x[1] ** 6),
        [0.0, 0.0],
        jac=lambda x: np.array([2 * x[0], -4 * x[1] ** 3 + 6 * x[1] ** 5]),
    )
    assert res.success
    assert res.fun == pytest.approx(-4 / 27, abs=1e-6)


def test_plain_maximum_and_monkey_saddle():
    for fun, grad in (
        (lambda x: float(np.cos(x[0]) + np.cos(x[1])), lambda x: -np.sin(x)),
        (
            lambda x: float(x[0] ** 3 - 3 * x[0] * x[1] ** 2 + (x @ x) ** 2),
            lambda x: np.array([3 * x[0] ** 2 - 3 * x[1] ** 2, -6 * x[0] * x[1]]) + 4 * (x @ x) * x,
        ),
    ):
        res = negopt.minimize(fun, [0.0, 0.0], jac=grad)
        assert res.success
        assert res.fun < fun(np.zeros(2)) - 0.1


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e6])
@pytest.mark.parametrize(
    ("scale", "offset"), [(1.0, 1e6), (1e-4, 1e3), (1e-10, 1e-2), (1e10, 1e16)]
)
def test_a_first_step_too_short_for_the_rounding_of_f(unit, scale, offset):
    """Without a model: where f has a large value, a saddle is left by a step that shows in it."""

    def fun(x):
        z = x[0] / unit
        return offset + scale * (0.25 * z**4 - 0.5 * 0.1 * z * z)

    def grad(x):
        z = x[0] / unit
        return np.array([scale * (z**3 - 0.1 * z) / unit])

    res = negopt.minimize(fun, np.zeros(1), jac=grad)
    assert res.n_escapes > 0, res.message
    assert res.fun < offset
