"""BFGS models are positive definite, obey the newest secant equation and equal the dense recursion.

Theorem.  Let every pair kept have ``s'y > 0``.

1. The dense H is symmetric and positive definite, and ``H y = s``.
2. With ``h0="rescaled"`` it is the matrix that the textbook recursion makes of all pairs from
   ``s'y/y'y`` of the newest pair times the identity; with the others, from their first matrix.
3. The two loops on coefficients give ``H v`` of that recursion over the last m pairs.
4. A pair without positive curvature is skipped and changes nothing.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import negopt
from negopt.core.types import Iterate
from negopt.curvature.bfgs import BFGS
from negopt.curvature.lbfgs import LBFGS


def here(g):
    return Iterate(np.zeros_like(g), 0.0, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))


def recursion(H, pairs):
    """Apply the product form of the update, oldest pair first."""
    for s, y in pairs:
        V = np.eye(len(s)) - np.outer(y, s) / (s @ y)
        H = V.T @ H @ V + np.outer(s, s) / (s @ y)
    return H


def convex_pairs(seed, n, count, noise):
    """Return pairs with s'y > 0 of lengths that differ widely."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n))
    A = A @ A.T + 0.3 * np.eye(n)
    out = []
    for _ in range(count):
        s = rng.standard_normal(n)
        y = A @ s + noise * np.linalg.norm(A @ s) * rng.standard_normal(n) / np.sqrt(n)
        if s @ y > 0.05 * np.linalg.norm(s) * np.linalg.norm(y):
            size = 10.0 ** rng.uniform(-6, 3)
            out.append((size * s, size * y))
    return out


PAIRS = {
    "seed": st.integers(0, 10**9),
    "n": st.integers(1, 10),
    "count": st.integers(1, 14),
    "noise": st.sampled_from([0.0, 0.3]),
}


@settings(max_examples=150)
@given(h0=st.sampled_from(["rescaled", "scaled", "identity"]), **PAIRS)
def test_dense(h0, seed, n, count, noise):
    pairs = convex_pairs(seed, n, count, noise)
    rule = BFGS(h0=h0)
    memory = rule.init(np.zeros(n))
    for s, y in pairs:
        assert rule.update(memory, s, y)
    if not pairs:
        assert memory.matrix is None
        return
    H = rule.model(memory, None, here(np.ones(n))).matrix
    np.testing.assert_array_equal(H, H.T)
    s, y = pairs[-1]
    np.testing.assert_allclose(H @ y, s, atol=1e-8 * np.linalg.norm(s))
    s, y = pairs[-1 if h0 == "rescaled" else 0]
    first = 1.0 if h0 == "identity" else (s @ y) / (y @ y)
    dense = recursion(first * np.eye(n), pairs)
    np.testing.assert_allclose(H, dense, atol=1e-7 * np.linalg.norm(dense, 2))
    values = np.linalg.eigvalsh(H)
    assert values[0] > -1e-10 * values[-1]
    if np.linalg.cond(dense) < 1e8:
        assert values[0] > 0.0


@settings(max_examples=150)
@given(maxcor=st.sampled_from([1, 3, 20]), **PAIRS)
def test_two_loops(maxcor, seed, n, count, noise):
    pairs = convex_pairs(seed, n, count, noise)
    rule = LBFGS(maxcor=maxcor)
    memory = rule.init(np.zeros(n))
    for s, y in pairs:
        assert rule.update(memory, s, y)
    v = np.random.default_rng(seed).standard_normal(n)
    operator = rule.model(memory, None, here(v))
    if not pairs:
        np.testing.assert_allclose(np.linalg.norm(operator.solve(v)), 1.0)
        return
    s, y = pairs[-1]
    dense = recursion((s @ y) / (y @ y) * np.eye(n), pairs[-maxcor:])
    out = operator.solve(v)
    np.testing.assert_allclose(
        out, dense @ v, atol=1e-7 * np.linalg.norm(dense, 2) * np.linalg.norm(v)
    )
    np.testing.assert_array_equal(operator.solve(v, absolute=True), out)
    assert v @ out > 0.0
    np.testing.assert_allclose(operator.solve(y), s, atol=1e-7 * np.linalg.norm(s))


@pytest.mark.parametrize("rule", [BFGS(), BFGS(h0="identity"), LBFGS(maxcor=3)])
def test_other_pairs_are_turned_away(rule):
    pairs = convex_pairs(3, 5, 6, 0.3)
    memory = rule.init(np.zeros(5))
    for s, y in pairs:
        rule.update(memory, s, y)
    v = np.arange(1.0, 6.0)
    before = rule.model(memory, None, here(v)).solve(v)
    s = np.array([1.0, 0.0, 0.0, 0.0, 0.0])
    for y in (-s, np.array([0.0, 2.0, 0.0, 0.0, 0.0]), 0.0 * s, np.nan * s):
        assert not rule.update(memory, s, y)
        after = rule.model(memory, None, here(v)).solve(v)
        np.testing.assert_array_equal(before, after)
    assert not rule.update(memory, 0.0 * s, s)


@pytest.mark.parametrize("method", ["bfgs-wolfe", "lbfgs-wolfe"])
def test_no_dearer_than_scipy(method):
    """Evaluations on a few classical problems: within 1.2 of the SciPy code of the same name."""
    from scipy.optimize import minimize

    names = ["rosenbrock", "beale", "wood", "box_3d", "genrose", "engval1", "dixmaan", "chebyquad"]
    logs = []
    for name in names:
        p = negopt.problems.get(name)
        twin = "BFGS" if method == "bfgs-wolfe" else "L-BFGS-B"
        options = {"gtol": 1e-5} | ({"ftol": 0.0} if twin == "L-BFGS-B" else {})
        theirs = minimize(p.fun_and_grad, p.x0, jac=True, method=twin, options=options)
        ours = negopt.minimize(p, p.x0, method=method, options={"certify": False})
        assert ours.success
        logs.append(np.log(ours.nfev / theirs.nfev))
    assert np.exp(np.mean(logs)) < 1.2
