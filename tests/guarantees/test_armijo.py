"""Each step of an Armijo search delivers its share of the promise, and gradients tend to zero.

Theorem.  Let g be Lipschitz with constant L.  Then, with the constant c1, the factor b on failed
trials (at least 0.1 with interpolation) and the first trial t_0,

1. each accepted factor t along the step s satisfies ``f(x + t s) <= f + c1 t g's`` (where the
   promise is above the rounding of f; else f does not rise by more than that);
2. for ``s = -g / gamma`` it is at least ``min(t_0, 2 b (1 - c1) gamma / L)``;
3. hence ``sum c1 t_k ||g_k||^2 / gamma_k <= f(x_0) - inf f``, and g_k tends to zero.
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
from negopt.globalize.armijo import ArmijoSearch

EPS = np.finfo(float).eps
NAMES = [name for name, row in METHODS.items() if isinstance(row.globalize, ArmijoSearch)]


@dataclasses.dataclass(frozen=True)
class Watch:
    """A step rule that keeps what another one proposed."""

    inner: Any
    log: list = dataclasses.field(default_factory=list)

    def propose(self, iterate, operator, bound):
        step = self.inner.propose(iterate, operator, bound)
        self.log.append((iterate, step))
        return step


def watched(function, x0, name, options, **more):
    """Return the result, the proposals, and the callback's results of a run."""
    row = METHODS[name].with_options(options)
    watch = Watch(row.step)
    seen = []
    res = negopt.minimize(
        function.fun,
        x0,
        jac=function.grad,
        hessp=function.hessp if row.needs == "hessp" else None,
        method=dataclasses.replace(row, step=watch),
        callback=lambda intermediate_result: seen.append(intermediate_result),
        options={"certify": False, "gtol": 1e-4, **more},
    )
    assert len(watch.log) == len(seen) == res.nit
    return res, watch.log, seen


searches = st.fixed_dictionaries(
    {
        "c1": st.sampled_from([1e-4, 0.1, 0.3, 0.5, 0.8]),
        "backtrack": st.sampled_from([0.2, 0.5, 0.8]),
        "interpolate": st.booleans(),
        "two_way": st.booleans(),
        "forward": st.booleans(),
    }
)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25)
@given(
    family=st.sampled_from(["quartic", "logcosh", "sine", "net"]),
    n=st.integers(1, 10),
    seed=st.integers(0, 10**6),
    search=searches,
    spread=st.sampled_from([0.1, 3.0, 100.0]),
)
def test_each_step_keeps_its_promise(random_function, name, family, n, seed, search, spread):
    function = random_function(family, n, seed)
    x0 = spread * np.random.default_rng(seed).standard_normal(function.n)
    res, log, seen = watched(function, x0, name, search, maxiter=60)
    assert res.fun <= function.fun(x0)
    total = 0.0
    for (here, step), one in zip(log, seen, strict=True):
        if not one.accepted:
            assert one.fun == here.f
            continue
        assert one.step_size > 0.0
        np.testing.assert_allclose(one.x, here.x + one.step_size * step.s, rtol=1e-12)
        assert one.step_norm == pytest.approx(one.step_size * np.linalg.norm(step.s))
        promise = -search["c1"] * one.step_size * (here.g @ step.s)
        assert promise > 0.0
        noise = 200 * EPS * abs(here.f)
        assert one.fun <= here.f - (promise * (1 - 1e-9) if promise > noise else -noise)
        total += here.f - one.fun
    assert total == pytest.approx(function.fun(x0) - res.fun, abs=1e-9 * abs(function.fun(x0)))


@pytest.mark.parametrize("variant", [None, "two-way"])
@settings(max_examples=25)
@given(
    family=st.sampled_from(["logcosh", "sine"]),
    n=st.integers(1, 10),
    seed=st.integers(0, 10**6),
    search=searches,
)
def test_sum_of_decrease_drives_the_gradient_to_zero(
    random_function, variant, family, n, seed, search
):
    """Points 2 and 3, with the known L of the function."""
    function = random_function(family, n, seed)
    x0 = 3.0 * np.random.default_rng(seed).standard_normal(function.n)
    # A search that begins afresh each time has the same t_0 = 1 on a measured step.
    options = {**search, "variant": variant} if variant else {**search, "two_way": False}
    res, log, seen = watched(function, x0, "gd-armijo", options, maxiter=5000)
    assert res.success, res.message
    shrink = 0.1 if search["interpolate"] else search["backtrack"]
    assured = 2.0 * shrink * (1.0 - search["c1"]) / function.lipschitz
    total, begin = 0.0, 1.0 / np.linalg.norm(function.grad(x0))
    for (here, step), one in zip(log, seen, strict=True):
        if not one.accepted:
            continue
        rate = one.step_norm / here.gnorm  # t / gamma
        if not variant:
            begin = step.norm / here.gnorm
        promise = search["c1"] * rate * here.gnorm**2
        if promise > 200 * EPS * abs(here.f):
            assert rate >= min(begin, assured) * (1 - 1e-6)
            total += promise
        if variant and search["two_way"]:
            begin = rate  # or a notch above
    fall = function.fun(x0) - res.fun
    assert total <= fall + 1e3 * EPS * abs(function.fun(x0)) * res.nit


@pytest.mark.parametrize("name", [name for name in NAMES if METHODS[name].needs == "jac"])
@settings(max_examples=10)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-12, 1e-3, 1.0, 1e5, 1e12]))
def test_first_trial_has_length_one(random_function, name, seed, scale):
    """Whatever the scale of f; a Newton step has a length of its own."""
    function = random_function("sine", 4, seed)
    tried = []

    def fun(x):
        tried.append(x.copy())
        return scale * function.fun(x)

    x0 = np.random.default_rng(seed).standard_normal(4)
    for options in ({}, *METHODS[name].variants.values()):
        tried.clear()
        negopt.minimize(
            fun,
            x0,
            jac=lambda x: scale * function.grad(x),
            method=name,
            options={**options, "maxiter": 1, "gtol": 0.0},
        )
        assert np.linalg.norm(tried[1] - x0) == pytest.approx(1.0)


@pytest.mark.parametrize("options", [{}, {"scaling": "none", "first_step": None, "two_way": True}])
@settings(max_examples=30)
@given(
    n=st.integers(1, 8),
    seed=st.integers(0, 10**6),
    shift=st.sampled_from([1.0, -1e3, 1e8]),
    noise=st.sampled_from([0.0, 30.0]),
)
def test_where_f_cannot_resolve_a_step_slopes_decide(options, n, seed, shift, noise):
    """Condition 2: f is large, flat and rough, and the gradient still falls to its tolerance."""
    rng = np.random.default_rng(seed)
    weights, x0 = rng.uniform(1.0, 20.0, n), rng.standard_normal(n)

    def fun(x):
        rough = noise * EPS * abs(shift) * np.sin(1e9 * np.sum(x))
        return float(weights @ x**2) / 2 + shift + rough

    res = negopt.minimize(
        fun,
        x0,
        jac=lambda x: weights * x,
        method="gd-armijo",
        options={"gtol": 1e-9, **options},
    )
    assert res.success, res.message
    assert np.max(np.abs(weights * res.x)) <= 1e-9
