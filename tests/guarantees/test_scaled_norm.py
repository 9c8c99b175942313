"""In its own norm "newton-krylov" keeps the radius and a tenth of Powell's decrease, and with exact
diagonals its iterates do not depend on the units of the variables.

Theorem.  Let ``z = M^1/2 s``, ``a = M^-1/2 g``, ``A = M^-1/2 H M^-1/2``, and r the radius.

1. Every proposed step has ``||z|| <= r``.
2. A step from products has ``m(0) - m(s) >= ||a|| min(r, ||a|| / ||A||) / 20``; without a model
   (``maxcor=0``) its space contains a, and its decrease is at least the Cauchy decrease along a.
3. A step of the model solves its subproblem for a radius of at least nine tenths of the bound:
   its decrease is at least the Cauchy decrease of the model in that ball.
4. With ``metric="diag"`` the iterates of ``f(Dx)`` from ``D^-1 x_0``, D a positive diagonal
   matrix, are ``D^-1 x_k``, when the first radius is the same length in both norms.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import negopt
from negopt import METHODS


@dataclasses.dataclass(frozen=True)
class Watch:
    """A step rule that keeps what another one proposed, in the variables of the metric."""

    inner: Any
    log: list = dataclasses.field(default_factory=list)

    def propose(self, iterate, operator, bound):
        step = self.inner.propose(iterate, operator, bound)
        out = operator.metric.outward
        matrix = np.stack([out(operator.matvec(out(e))) for e in np.eye(iterate.x.size)])
        z = operator.metric.inward(step.s)
        self.log.append((step, bound.value, out(iterate.g), matrix, z, operator.modelled))
        return step


def cauchy_decrease(a, matrix, radius):
    size = np.linalg.norm(a)
    curvature = a @ matrix @ a / size**2
    t = radius / size
    if curvature > 0:
        t = min(t, 1.0 / curvature)
    return t * size**2 - t**2 * size**2 * curvature / 2


@settings(max_examples=60)
@given(
    family=st.sampled_from(["quartic", "logcosh", "sine", "net"]),
    n=st.integers(1, 9),
    seed=st.integers(0, 10**6),
    spread=st.sampled_from([0.0, 3.0]),
    metric=st.sampled_from(["auto", "diag", "rmsprop", "adagrad", "sphere"]),
    maxcor=st.sampled_from([0, 3, 20]),
    products=st.sampled_from(["as needed", "always"]),
    direction=st.sampled_from(["newton", "saddle-free"]),
)
def test_radius_and_decrease(
    random_function, family, n, seed, spread, metric, maxcor, products, direction
):
    function = random_function(family, n, seed)
    rng = np.random.default_rng(seed)
    D = 10.0 ** rng.uniform(-spread, spread, function.n)
    method = METHODS["newton-krylov"].with_options(
        {"metric": metric, "maxcor": maxcor, "products": products, "direction": direction}
    )
    watch = Watch(method.step)
    negopt.minimize(
        lambda x: function.fun(D * x),
        rng.standard_normal(function.n) / D,
        jac=lambda x: D * function.grad(D * x),
        hessp=lambda x, p: D * function.hessp(D * x, D * p),
        method=dataclasses.replace(method, step=watch),
        options={"certify": False, "maxiter": 25, "gtol": 1e-6},
    )
    for step, bound, a, matrix, z, modelled in watch.log:
        assert step.norm <= bound * (1 + 1e-12)
        assert np.linalg.norm(z) <= bound * (1 + 1e-8)
        assert step.length == pytest.approx(np.linalg.norm(step.s), rel=1e-9)
        assert step.slope == pytest.approx(a @ z, rel=1e-6)
        size, largest = np.linalg.norm(a), np.linalg.norm(matrix, 2)
        if direction == "newton" and not modelled:  # a model says so itself (test_more_sorensen)
            exact = -(a @ z + z @ matrix @ z / 2)
            assert step.predicted_decrease == pytest.approx(
                exact, rel=1e-5, abs=1e-9 * size * bound
            )
        least = size * min(bound, size / largest if largest else np.inf) / 20
        if direction == "newton" and (modelled or maxcor == 0):
            # A step of the model may end at nine tenths of the radius.
            least = cauchy_decrease(a, matrix, 0.9 * bound if modelled else bound)
        if direction == "newton" or not modelled:
            assert step.predicted_decrease >= least * (1 - 1e-5)


@settings(max_examples=30)
@given(
    family=st.sampled_from(["quartic", "logcosh", "sine", "net"]),
    n=st.integers(1, 8),
    seed=st.integers(0, 10**6),
    spread=st.floats(0.5, 4.0),
    maxcor=st.sampled_from([0, 20]),
)
def test_units_of_the_variables(random_function, family, n, seed, spread, maxcor):
    function = random_function(family, n, seed)
    rng = np.random.default_rng(seed)
    x0 = rng.standard_normal(function.n)
    g, H = function.grad(x0), np.stack([function.hessp(x0, e) for e in np.eye(function.n)])

    def path(D, radius):
        seen = []
        negopt.minimize(
            lambda x: function.fun(D * x),
            x0 / D,
            jac=lambda x: D * function.grad(D * x),
            hessp=lambda x, p: D * function.hessp(D * x, D * p),
            method="newton-krylov",
            callback=lambda intermediate_result: seen.append(D * intermediate_result.x),
            options={
                "metric": "diag",
                "maxcor": maxcor,
                "certify": False,
                "gtol": 1e-9,
                "maxiter": 6,
                "initial_trust_radius": radius,
            },
        )
        return seen

    def unit(D):  # u'Mu of the first gradient, up to the factor that both runs share
        a = D * g
        return np.sqrt(a @ (np.abs(np.diag(H)) * D * D * a) / (a @ a))

    ones = np.ones(function.n)
    D = 10.0 ** rng.uniform(-spread, spread, function.n)
    plain = path(ones, 0.5)
    scaled = path(D, 0.5 * unit(ones) / unit(D))
    for k, (one, other) in enumerate(zip(plain, scaled, strict=False)):
        # What is rounding in the first step may be multiplied by later ones.
        np.testing.assert_allclose(other, one, rtol=1e-6 * 10**k, atol=1e-7 * 10**k)
    assert plain


@pytest.mark.parametrize("metric", ["auto", "diag"])
def test_badly_scaled_regression(metric):
    """NIST's Misra1a, whose parameters differ by six orders of magnitude, from the far start."""
    problem = negopt.problems.get("nist_misra1a")
    res = negopt.minimize(
        problem, problem.start(), method="newton-krylov", options={"metric": metric}
    )
    assert res.fun == pytest.approx(problem.minimum, rel=1e-6)
    assert res.nfev + res.nhev < 150
