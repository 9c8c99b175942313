"""The signed step of the line search satisfies the Wolfe conditions, up and down alike.

Theorem.  Let f be continuously differentiable and bounded below along the line through x with
direction p, let ``g'p != 0`` and ``0 < c1 < c2 < 1``.  If ``line_search_wolfe_pm`` returns a
step a, then ``a g'p < 0`` (a < 0 for a direction of ascent) and

    f(x + a p) <= f(x) + c1 a g'p                          (sufficient decrease)
    sign(a) g(x + a p)'p >= c2 sign(a) g'p                 (curvature, weak form)
    |g(x + a p)'p| <= c2 |g'p|                             (curvature, strong form)

or, where the difference of two values is below 450 eps |f(x)|, Hager and Zhang's approximate
condition in the place of the first.  The search along -p returns -a, bit for bit.  Points where
f is not finite are never returned; the search shrinks away from them.
"""

from __future__ import annotations

import dataclasses
import math
import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from negopt import line_search_wolfe_pm
from negopt.core.types import Step
from negopt.functions.objective import Objective
from negopt.globalize.wolfe import WolfeSearch

EPS = np.finfo(float).eps

lines = st.fixed_dictionaries(
    {
        "family": st.sampled_from(["quartic", "logcosh", "sine", "net"]),
        "n": st.integers(1, 8),
        "seed": st.integers(0, 10**6),
        "length": st.floats(-4, 4).map(lambda e: 10.0**e),
    }
)
constants = st.tuples(st.floats(1e-6, 0.4), st.floats(0.05, 0.95)).filter(lambda c: c[0] < c[1])


def draw_line(build, line):
    """Return the function, a point, and a direction that may ascend or descend."""
    function = build(line["family"], line["n"], line["seed"])
    rng = np.random.default_rng(line["seed"])
    x, p = 1.5 * rng.standard_normal((2, function.n))
    return function, x, line["length"] * p / np.linalg.norm(p)


def assert_wolfe(function, x, p, a, c1, c2, strong):
    f0, slope = function.fun(x), float(function.grad(x) @ p)
    fa, da = function.fun(x + a * p), float(function.grad(x + a * p) @ p)
    sign = math.copysign(1.0, a)
    assert a * slope < 0.0
    exact = fa <= f0 + c1 * a * slope
    rounding = abs(fa - f0) <= 450 * EPS * abs(f0)
    assert exact or (rounding and sign * da <= (2 * c1 - 1) * sign * slope)
    assert sign * da >= c2 * sign * slope
    if strong:
        assert abs(da) <= c2 * abs(slope)


@settings(max_examples=150)
@given(line=lines, c=constants, strong=st.booleans())
def test_conditions_hold_and_mirror(random_function, line, c, strong):
    function, x, p = draw_line(random_function, line)
    c1, c2 = c
    slope = float(function.grad(x) @ p)
    assume(abs(slope) > 1e-6 * np.linalg.norm(p))
    first = line_search_wolfe_pm(
        function.fun, function.grad, x, p, c1=c1, c2=c2, strong=strong, maxiter=60
    )
    a = first[0]
    assert a is not None
    assert_wolfe(function, x, p, a, c1, c2, strong)
    assert first[3] == function.fun(x + a * p)
    assert first[4] == function.fun(x)
    assert first[5] == float(function.grad(x + a * p) @ p)
    mirror = line_search_wolfe_pm(
        function.fun, function.grad, x, -p, c1=c1, c2=c2, strong=strong, maxiter=60
    )
    assert mirror[0] == -a
    assert mirror[1:5] == first[1:5]
    assert mirror[5] == -first[5]


@settings(max_examples=60)
@given(
    line=lines,
    distance=st.floats(-3, 0).map(lambda e: 10.0**e),
    where=st.sampled_from(["nan", "inf", "-inf", "nan gradient"]),
    strong=st.booleans(),
)
def test_non_finite_regions_are_shrunk_away_from(random_function, line, distance, where, strong):
    function, x, p = draw_line(random_function, line)
    assume(abs(float(function.grad(x) @ p)) > 1e-6 * np.linalg.norm(p))

    def inside(at):
        return np.linalg.norm(at - x) < distance

    def fun(at):
        if inside(at) or where == "nan gradient":
            return function.fun(at)
        return float(where)

    def grad(at):
        return function.grad(at) if inside(at) else np.full_like(at, np.nan)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        a = line_search_wolfe_pm(fun, grad, x, p, strong=strong, maxiter=80)[0]
    if a is not None:
        assert inside(x + a * p)
        assert_wolfe(function, x, p, a, 1e-4, 0.9, strong)
    else:  # along a convex line: they hold nowhere, the slope is too negative to the edge
        sign = -math.copysign(1.0, float(function.grad(x) @ p))
        ends = x + sign * np.linspace(0, 0.999, 2001)[1:, None] * distance * p / np.linalg.norm(p)
        slopes = np.array([sign * float(function.grad(e) @ p) for e in ends])
        first = sign * float(function.grad(x) @ p)
        if np.all(np.diff(slopes) >= 0.0):
            assert np.all(slopes < 0.9 * first + 1e-3 * abs(first))


@dataclasses.dataclass(frozen=True)
class Along:
    """A step rule that proposes a fixed direction."""

    direction: np.ndarray

    def propose(self, iterate, operator, bound):
        slope = float(iterate.g @ self.direction)
        return Step(self.direction, slope, -slope, float(np.linalg.norm(self.direction)))


@settings(max_examples=80)
@given(line=lines, c=constants, wolfe=st.sampled_from(["weak", "strong"]))
def test_the_methods_search_keeps_the_same_conditions(random_function, line, c, wolfe):
    function, x, p = draw_line(random_function, line)
    assume(abs(float(function.grad(x) @ p)) > 1e-6 * np.linalg.norm(p))
    rule = WolfeSearch(c1=c[0], c2=c[1], wolfe=wolfe, maxls=60)
    objective = Objective(function.fun, x, jac=function.grad)
    here = objective.at(x)
    out = rule.advance(rule.init(here), objective, here, None, Along(p))
    assert out.accepted
    assert_wolfe(function, x, p, out.step_size, *c, wolfe == "strong")
    np.testing.assert_array_equal(out.trial.x, x + out.step_size * p)
    np.testing.assert_array_equal(out.s, out.trial.x - x)
    assert objective.counters.nfev == out.trials + 1


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("strong", [True, False])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_every_array_library(xp_case, dtype, strong, sign):
    xp = xp_case.xp
    x = xp_case.asarray([1.5, -0.75, 2.0], dtype)
    p = xp_case.asarray(sign * np.array([-1.0, 0.25, -3.0]), dtype)

    def fun(at):
        return xp.sum(at**4) / 4 - xp.sum(at * at) / 2

    def grad(at):
        return at**3 - at

    a, fc, gc, fa, f0, da = line_search_wolfe_pm(fun, grad, x, p, strong=strong)
    assert math.copysign(1.0, a) == sign
    assert fc >= 2
    assert gc >= 2
    host, step = xp_case.to_numpy(x).astype(float), xp_case.to_numpy(p).astype(float)
    end = host + a * step
    slope, final = float((host**3 - host) @ step), float((end**3 - end) @ step)
    assert fa <= f0 + 1e-4 * a * slope + 1e-5 * abs(f0)
    assert sign * final >= 0.9 * sign * slope - 1e-5 * abs(slope)
    assert final == pytest.approx(da, rel=1e-4, abs=1e-4)
