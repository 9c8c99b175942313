"""The baselines are the published recursions, step by step, and what diverges says so.

Theorem.  With rate a, "gd" makes ``v <- momentum v - g, x <- x + a v`` (Nesterov's form:
``x + a (momentum v - g)``) and "adam" Kingma and Ba's recursion with bias correction, AMSGrad's
with ``amsgrad=True``: the iterates are those of ``torch.optim.SGD`` and ``torch.optim.Adam`` and of
an independent implementation, to rounding, whatever f does.  On a convex quadratic with largest
eigenvalue L, "gd" without momentum lowers f in each step when a < 2/L; when a > 2/L f grows without
bound, and the run ends without success, with its lowest point and a message that names the rate.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import negopt
from negopt import Status
from negopt.core.types import Outcome
from negopt.functions.objective import Objective

STEPS = 40


def path(function, x0, name, options, steps=STEPS):
    """Return the iterates of a run."""
    res = negopt.minimize(
        function.fun,
        x0,
        jac=function.grad,
        method=name,
        options={"maxiter": steps, "gtol": 0.0, "certify": False, "return_all": True, **options},
    )
    assert res.nit == steps
    assert res.status == Status.LIMIT
    assert res.fun == min(function.fun(x) for x in res.allvecs)
    return np.array(res.allvecs)


def heavy_ball(grad, x, steps, *, learning_rate, momentum=0.0, nesterov=False):
    points, v = [x], np.zeros_like(x)
    for _ in range(steps):
        v = momentum * v - grad(x)
        x = x + learning_rate * (momentum * v - grad(x) if nesterov else v)
        points.append(x)
    return np.array(points)


def adam(grad, x, steps, *, learning_rate, beta1, beta2, epsilon, amsgrad=False):
    """Kingma and Ba, algorithm 1, with the sums written out instead of running means."""
    gradients, points = [], [x]
    largest = np.zeros_like(x)
    for t in range(1, steps + 1):
        gradients.append(grad(x))
        age = np.arange(t - 1, -1, -1)[:, None]
        history = np.array(gradients)
        m = np.sum((1 - beta1) * beta1**age * history, axis=0) / (1 - beta1**t)
        v = np.sum((1 - beta2) * beta2**age * history**2, axis=0)
        largest = np.maximum(largest, v)
        spread = np.sqrt((largest if amsgrad else v) / (1 - beta2**t))
        x = x - learning_rate * m / (spread + epsilon)
        points.append(x)
    return np.array(points)


functions = st.fixed_dictionaries(
    {
        "family": st.sampled_from(["logcosh", "sine", "net"]),
        "n": st.integers(1, 9),
        "seed": st.integers(0, 10**6),
    }
)
sgd_options = st.fixed_dictionaries(
    {
        "learning_rate": st.sampled_from([1e-3, 0.05, 0.5]),
        "momentum": st.sampled_from([0.0, 0.5, 0.95]),
        "nesterov": st.booleans(),
    }
)
adam_options = st.fixed_dictionaries(
    {
        "learning_rate": st.sampled_from([1e-3, 0.05, 0.5]),
        "beta1": st.sampled_from([0.0, 0.5, 0.9]),
        "beta2": st.sampled_from([0.9, 0.999]),
        "epsilon": st.sampled_from([1e-8, 1e-2]),
        "amsgrad": st.booleans(),
    }
)


def begin(random_function, which):
    function = random_function(which["family"], which["n"], which["seed"])
    return function, np.random.default_rng(which["seed"]).standard_normal(function.n)


def assert_close(ours, theirs):
    """Agreement to rounding, which a rough function may amplify from step to step."""
    scale = 1.0 + np.max(np.abs(theirs))
    assert np.max(np.abs(ours[:6] - theirs[:6])) <= 1e-13 * scale
    assert np.max(np.abs(ours - theirs)) <= 1e-7 * scale


@settings(max_examples=40)
@given(which=functions, options=sgd_options)
def test_gd_is_the_recursion(random_function, which, options):
    function, x0 = begin(random_function, which)
    ours = path(function, x0, "gd", options)
    assert_close(ours, heavy_ball(function.grad, x0, STEPS, **options))


@settings(max_examples=40)
@given(which=functions, options=adam_options)
def test_adam_is_the_recursion(random_function, which, options):
    function, x0 = begin(random_function, which)
    ours = path(function, x0, "adam", options)
    assert_close(ours, adam(function.grad, x0, STEPS, **options))


def torch_path(torch, function, x0, optimizer):
    x = torch.tensor(x0, requires_grad=True)
    rule = optimizer([x])
    points = [x0]
    for _ in range(STEPS):
        x.grad = torch.tensor(function.grad(x.detach().numpy()))
        rule.step()
        points.append(x.detach().numpy().copy())
    return np.array(points)


@settings(max_examples=10)
@given(which=functions, options=sgd_options)
def test_gd_is_torchs(random_function, which, options):
    torch = pytest.importorskip("torch")
    function, x0 = begin(random_function, which)
    theirs = torch_path(
        torch,
        function,
        x0,
        lambda p: torch.optim.SGD(
            p,
            lr=options["learning_rate"],
            momentum=options["momentum"],
            nesterov=options["nesterov"] and options["momentum"] > 0.0,
        ),
    )
    assert_close(path(function, x0, "gd", options), theirs)


@settings(max_examples=10)
@given(which=functions, options=adam_options)
def test_adam_is_torchs(random_function, which, options):
    torch = pytest.importorskip("torch")
    function, x0 = begin(random_function, which)
    theirs = torch_path(
        torch,
        function,
        x0,
        lambda p: torch.optim.Adam(
            p,
            lr=options["learning_rate"],
            betas=(options["beta1"], options["beta2"]),
            eps=options["epsilon"],
            amsgrad=options["amsgrad"],
        ),
    )
    assert_close(path(function, x0, "adam", options), theirs)


def test_the_defaults_are_the_published_ones():
    row = negopt.METHODS["adam"]
    published = (row.curvature.beta1, row.curvature.beta2, row.curvature.epsilon)
    assert published == (0.9, 0.999, 1e-8)
    assert row.globalize.learning_rate == negopt.METHODS["gd"].globalize.learning_rate == 1e-3


def test_the_operator_may_be_asked_for_twice():
    """The gradient at a point counts once, when the point is left."""
    rule = negopt.METHODS["adam"].curvature
    objective = Objective(lambda x: float(x @ x), np.array([1.0, -2.0]), (), lambda x: 2 * x)
    here, there = objective.at(np.array([1.0, -2.0])), objective.at(np.array([0.5, -1.0]))
    once, twice = rule.init(here.x), rule.init(here.x)
    for memory, times in ((once, 1), (twice, 3)):
        for point in (here, there):
            for _ in range(times):
                operator = rule.model(memory, objective, point)
            assert rule.update(memory, there.x - here.x, there.g - here.g, Outcome(start=here))
        operator = rule.model(memory, objective, here)
        assert memory.count == 2
        if times == 1:
            first = operator
    np.testing.assert_array_equal(operator.mean, first.mean)
    np.testing.assert_array_equal(operator.diagonal, first.diagonal)


@settings(max_examples=30)
@given(n=st.integers(1, 8), seed=st.integers(0, 10**6), share=st.floats(0.01, 0.99))
def test_gd_descends_below_two_over_l(n, seed, share):
    rng = np.random.default_rng(seed)
    weights, x0 = rng.uniform(0.1, 20.0, n), rng.standard_normal(n)
    values = []
    negopt.minimize(
        lambda x: float(weights @ x**2) / 2,
        x0,
        jac=lambda x: weights * x,
        method="gd",
        callback=lambda intermediate_result: values.append(intermediate_result.fun),
        options={"learning_rate": share * 2.0 / np.max(weights), "maxiter": 50},
    )
    assert np.all(np.diff(values) <= 0.0)


@settings(max_examples=20)
@given(n=st.integers(1, 8), seed=st.integers(0, 10**6), share=st.floats(1.2, 1e6))
def test_a_run_that_diverges_says_so(n, seed, share):
    rng = np.random.default_rng(seed)
    weights, x0 = rng.uniform(0.1, 20.0, n), rng.standard_normal(n)
    rate = share * 2.0 / np.max(weights)
    values = []

    def fun(x):
        values.append(float(weights @ x**2) / 2)
        return values[-1]

    res = negopt.minimize(
        fun,
        x0,
        jac=lambda x: weights * x,
        method="gd",
        options={"learning_rate": rate, "maxiter": 10_000},
    )
    assert not res.success
    assert res.status == Status.NONFINITE
    assert f"learning_rate={rate:g} (try a tenth of that)" in res.message
    assert "diverged" in res.message
    assert res.fun == min(values)


@pytest.mark.parametrize("method", ["gd", "adam"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_leaving_the_domain_says_so(method, bad):
    def fun(x):
        return float(-x[0]) if x[0] < 1.0 else bad

    res = negopt.minimize(
        fun, [0.0], jac=lambda x: -np.ones(1), method=method, options={"learning_rate": 0.3}
    )
    assert res.status == Status.NONFINITE
    assert not res.success
    assert res.x[0] == pytest.approx(0.9)
    assert "f left its domain with learning_rate=0.3" in res.message


def test_a_long_climb_is_not_taken_for_the_end():
    """Momentum carries the run over a hill: more than a hundred steps without a new lowest f."""

    def fun(x):
        return float(np.cos(x[0]) + 1e-3 * x[0] ** 2)

    res = negopt.minimize(
        fun,
        [0.5],
        jac=lambda x: -np.sin(x) + 2e-3 * x,
        method="gd",
        options={"learning_rate": 1e-4, "momentum": 0.9999, "maxiter": 4000, "record": True},
    )
    assert res.nit == 4000
    assert res.status == Status.LIMIT
    below = np.minimum.accumulate(res.history["fun"])
    assert np.max(np.diff(np.flatnonzero(np.diff(below) < 0.0))) > 150
