"""BFGS, L-BFGS and the hybrid on every array library; options, resets, ascents."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import negopt
from negopt.core.types import Iterate, Outcome, State
from negopt.curvature.bfgs import BFGS
from negopt.curvature.dqn import HybridInverse
from negopt.curvature.inverse import DenseInverse
from negopt.curvature.lbfgs import LBFGS
from negopt.curvature.sr1 import SR1
from negopt.curvature.sr1_matrix import SR1Matrix
from negopt.solver.resume import adopt

RULES = {
    "bfgs": BFGS(),
    "bfgs-identity": BFGS(h0="identity"),
    "lbfgs": LBFGS(maxcor=3),
    "hybrid": HybridInverse(),
    "sr1-matrix": SR1Matrix(),
}


def here(g, x=None):
    x = np.zeros_like(g) if x is None else x
    return Iterate(x, 0.0, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("units", [False, True])
def test_every_array_library(xp_case, rule, dtype, units):
    rng = np.random.default_rng(4)
    scale = np.array([1e-3, 0.1, 1.0, 10.0, 1e3]) if units else np.ones(5)
    x, g = xp_case.asarray(scale, dtype), xp_case.asarray((1.0 + 0.1 * scale**0) / scale, dtype)
    host = xp_case.to_numpy(g).astype(float)
    point = Iterate(x, 0.0, g, float(np.linalg.norm(host)), float(np.max(np.abs(host))))
    memory = rule.init(x)
    first = Outcome(start=point)
    for s in rng.standard_normal((6, 5)):
        y = np.array([1.0, 2.0, 3.0, 4.0, 5.0]) * s + 0.1 * s[::-1]
        s, y = xp_case.asarray(scale * s, dtype), xp_case.asarray(y / scale, dtype)
        rule.update(memory, s, y, first)
    operator = rule.model(memory, None, point)
    sees_units = hasattr(rule, "units")
    assert (getattr(operator, "units", None) is not None) == (units and sees_units)
    out = operator.solve(y)
    assert xp_case.owns(out)
    assert out.dtype == y.dtype
    error = (xp_case.to_numpy(out) - xp_case.to_numpy(s)).astype(float) / scale
    tolerance = 1e-9 if dtype == "float64" else 2e-3
    if dtype == "float64" or sees_units or not units:
        assert np.linalg.norm(error) <= tolerance * np.linalg.norm(xp_case.to_numpy(s) / scale)


def test_rescaled_is_limited_memory_with_all_pairs():
    dense, limited = BFGS(units="same"), LBFGS(maxcor=20)
    rng = np.random.default_rng(0)
    A = rng.standard_normal((6, 6))
    A = A @ A.T + np.eye(6)
    memories = dense.init(np.zeros(6)), limited.init(np.zeros(6))
    g = rng.standard_normal(6)
    for s in rng.standard_normal((9, 6)):
        y = A @ s + 0.1 * rng.standard_normal(6)
        assert dense.update(memories[0], s, y) == limited.update(memories[1], s, y)
        a, b = (
            rule.model(memory, None, here(g)).solve(g)
            for rule, memory in zip((dense, limited), memories, strict=True)
        )
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("rule", [BFGS(), BFGS(h0="identity"), HybridInverse(), SR1()])
def test_matrices_are_updated_in_place_and_copies_are_their_own(rule):
    """After the first pair no n x n array is made; a copied state stays as it is."""
    rng = np.random.default_rng(0)
    memory = rule.init(np.zeros(6))

    def matrices():
        return [getattr(memory, k) for k in ("matrix", "rest", "free") if hasattr(memory, k)]

    for k, s in enumerate(rng.standard_normal((5, 6))):
        held, kept = matrices(), copy.deepcopy(memory)
        before = rule.model(kept, None, here(s)).solve(s)
        assert rule.update(memory, s, np.arange(1.0, 7.0) * s)
        if k > 0:
            assert all(a is b for a, b in zip(held, matrices(), strict=True))
        after = rule.model(kept, None, here(s)).solve(s)
        np.testing.assert_array_equal(before, after)


def test_a_copy_in_another_order_is_updated_too():
    """A checkpoint may come back in C order, which BLAS copies without a word."""
    rng = np.random.default_rng(1)
    one, two = HybridInverse().init(np.zeros(4)), HybridInverse().init(np.zeros(4))
    for s in rng.standard_normal((6, 4)):
        y = np.array([1.0, -2.0, 3.0, 4.0]) * s
        assert HybridInverse().update(one, s, y) == HybridInverse().update(two, s, y)
        for name in ("matrix", "rest", "free"):
            if getattr(two, name) is not None:
                setattr(two, name, np.ascontiguousarray(getattr(two, name)))
    for name in ("matrix", "rest", "free"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_triangle_is_made_whole_for_another_library(xp_case, dtype):
    """float64 NumPy holds one triangle; a state that goes on elsewhere has both."""
    rule = HybridInverse()
    memory = rule.init(np.zeros(4))
    for s in np.random.default_rng(1).standard_normal((6, 4)):
        rule.update(memory, s, np.array([1.0, -2.0, 3.0, 4.0]) * s)
    g = np.array([1.0, 2.0, 3.0, 4.0])
    state = State("dqn-wolfe-pm", here(g), here(g), memory, None)
    other = adopt(state, "dqn-wolfe-pm", xp_case.asarray(np.zeros(4), dtype))
    moved = rule.model(other.memory, None, other.iterate)
    host = rule.model(memory, None, here(g)).solve(g)
    out = xp_case.to_numpy(moved.solve(other.iterate.g))
    np.testing.assert_allclose(out, host, rtol=1e-12 if dtype == "float64" else 1e-4)


def test_what_an_operator_gives_is_the_callers():
    """An image is a new array, and so is the matrix: writing to them changes no model."""
    operator = DenseInverse(np.asfortranarray([[2.0, 1.0], [0.0, 3.0]]))
    v = np.array([1.0, 1.0])
    operator.solve(v)[:] = 9.0
    operator.matrix[:] = 9.0
    np.testing.assert_array_equal(operator.solve(v), [3.0, 4.0])
    np.testing.assert_array_equal(operator.matrix, [[2.0, 1.0], [1.0, 3.0]])
    np.testing.assert_array_equal(v, [1.0, 1.0])


def test_an_ascending_model_is_forgotten_on_demand():
    g = np.array([1.0, 2.0])
    for on_ascent, kept in (("mirror", True), ("reset", False)):
        rule = SR1(on_ascent=on_ascent)
        memory = rule.init(g)
        memory.matrix = -np.eye(2)
        out = rule.model(memory, None, here(g)).solve(g)
        np.testing.assert_allclose(out, -g if kept else g / np.linalg.norm(g))
        np.testing.assert_array_equal(memory.matrix, -np.eye(2))  # an operator writes nothing
        s = np.array([0.5, 0.0])
        assert rule.update(memory, s, 4.0 * s, Outcome(start=here(g)))
        first = -1.0 if kept else 0.9 / 4.0
        np.testing.assert_allclose(np.diag(memory.matrix), [0.25, first])
        memory.matrix = 3.0 * np.eye(2)  # a descending one stays
        out = rule.model(memory, None, here(g)).solve(g)
        np.testing.assert_allclose(out, 3.0 * g)


@pytest.mark.parametrize("method", ["dqn-wolfe-pm", "sr1-wolfe-pm", "bfgs-wolfe", "sr1-tr"])
def test_units_can_be_switched_off(method):
    p = negopt.problems.get("nist_misra1a")
    runs = [
        negopt.minimize(p, p.x0, method=method, options={"units": units, "maxfun": 400})
        for units in ("auto", "same")
    ]
    assert runs[0].fun == pytest.approx(p.minimum, rel=1e-6)
    assert runs[0].nfev != runs[1].nfev


@pytest.mark.parametrize(
    ("rule", "options"),
    [
        (BFGS, {"h0": "x"}),
        (BFGS, {"units": "x"}),
        (BFGS, {"skip": 1.0}),
        (LBFGS, {"maxcor": 0}),
        (LBFGS, {"skip": -1.0}),
        (SR1, {"on_ascent": "x"}),
        (SR1, {"units": "x"}),
    ],
)
def test_options_out_of_range(rule, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        rule(**options)
