"""Of the SR1 and the BFGS direction the one with the smaller angle to the line of g is taken.

Theorem.  For every g, ``|cos(g, d)|`` of the direction taken is the larger of those of the two
models, hence at least that of BFGS.  Both models are those of the textbook recursions.  Where x
and g at the start show that the variables have different units, ``x -> D x`` with any diagonal D
gives the same run up to rounding: both updates do not depend on units, and neither does the start.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import negopt
from negopt.core.types import Iterate
from negopt.curvature.dqn import HybridInverse
from negopt.curvature.inverse import natural_units, symmetric


def here(g, x=None):
    x = np.zeros_like(g) if x is None else x
    return Iterate(x, 0.0, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))


def current(memory):
    """Return the BFGS model."""
    return None if memory.matrix is None else symmetric(memory.matrix + memory.gamma * memory.rest)


def cosine(g, d):
    return abs(g @ d) / (np.linalg.norm(g) * np.linalg.norm(d))


@settings(max_examples=150)
@given(
    seed=st.integers(0, 10**9),
    n=st.integers(1, 8),
    count=st.integers(0, 10),
    choose=st.sampled_from(["angle", "descent"]),
)
def test_choice(seed, n, count, choose):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n))
    A = A + A.T + rng.uniform(0.0, 4.0) * np.eye(n)
    rule = HybridInverse(choose=choose)
    memory = rule.init(np.zeros(n))
    for s in rng.standard_normal((count, n)):
        y = A @ s
        rule.update(memory, s, y)
        if s @ y > 0.01 * np.linalg.norm(s) * np.linalg.norm(y):
            H = current(memory)
            np.testing.assert_allclose(H @ y, s, atol=1e-6 * np.linalg.norm(s))
    g = rng.standard_normal(n)
    d = rule.model(memory, None, here(g)).solve(g)
    positive = current(memory)
    if positive is None:
        return
    options = positive @ g, symmetric(memory.free) @ g
    scale = max(np.linalg.norm(positive), np.linalg.norm(memory.free)) * np.linalg.norm(g)
    near = [np.linalg.norm(d - e) <= 1e-13 * scale for e in options]
    assert any(near)
    if choose == "angle":
        assert cosine(g, d) >= max(cosine(g, e) for e in options) * (1 - 1e-12)
    elif g @ options[1] > 0.0:
        assert near[1]
    else:
        assert near[0]


@settings(max_examples=40)
@given(seed=st.integers(0, 10**9), n=st.integers(2, 6))
def test_units_do_not_matter_where_they_are_seen(seed, n):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n))
    A = A @ A.T + 2.0 * np.eye(n)
    start = rng.uniform(0.8, 1.2, n)
    D = 10.0 ** np.linspace(-4, 4, n)

    def fun(x, units):
        z = x / units
        return float(z @ A @ z / 2 + np.sum(z**4) / 4)

    def grad(x, units):
        z = x / units
        return (A @ z + z**3) / units

    paths = []
    for units in (D, D[::-1].copy()):
        x = units * start
        assert natural_units(here(grad(x, units), x)) is not None
        res = negopt.minimize(
            fun,
            x,
            args=(units,),
            jac=grad,
            method="dqn-wolfe-pm",
            options={"certify": False, "gtol": 0.0, "maxiter": 5, "return_all": True},
        )
        paths.append([v / units for v in res.allvecs])
    for a, b in zip(*paths, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)


@pytest.mark.parametrize(
    ("x", "g"),
    [
        ([1.0], [1e-9]),  # one variable has no other to differ from
        ([1.0, 1.0, 1.0], [1e-3, 1.0, 1e3]),  # gradients differ, x does not
        ([1e-3, 1.0, 1e3], [1.0, 1.0, 1.0]),  # x differs, gradients do not
        ([1e-3, 1.0, 1e3], [1e-3, 1.0, 1e3]),  # the wrong way round
        ([0.0, 1.0, 1e3], [1e3, 1.0, 1e-3]),  # a zero has no size
        ([1e-3, 1.0, 1e3], [1e3, 0.0, 1e-3]),
    ],
)
def test_no_units_without_evidence(x, g):
    assert natural_units(here(np.array(g), np.array(x))) is None


def test_units_with_evidence():
    x = np.array([-1e-3, 1.0, 1e3])
    units = natural_units(here(np.array([2e3, -1.0, 1e-3]), x))
    np.testing.assert_array_equal(units, np.abs(x))


def test_a_fit_with_parameters_of_different_sizes_is_found():
    """NIST's Misra1a, from both starts, to the certified residual."""
    p = negopt.problems.get("nist_misra1a")
    for which in (0, 1):
        res = negopt.minimize(p, p.start(which=which), method="dqn-wolfe-pm")
        assert res.fun == pytest.approx(p.minimum, rel=1e-6)


@pytest.mark.parametrize("options", [{"choose": "x"}, {"units": "x"}, {"skip": -1.0}])
def test_options_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        HybridInverse(**options)
