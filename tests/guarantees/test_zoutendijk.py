"""The Zoutendijk sum of a search with positive and negative steps is bounded.

Theorem.  Let g be Lipschitz with constant L.  If every step satisfies the weak Wolfe conditions
with constants c1 < c2, then, with cos_k the cosine of the angle between d_k and -g_k,

    c1 (1 - c2) / L  cos_k^2 ||g_k||^2  <=  f_k - f_{k+1},

so that the sum of ``cos_k^2 ||g_k||^2`` is at most ``L (f_0 - inf f) / (c1 (1 - c2))``.  Every
proposed direction of `Signed` has ``|cos_k| >= angle``; hence g_k tends to zero.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import negopt
from negopt import METHODS
from negopt.core.types import Iterate
from negopt.globalize.wolfe import WolfeSearch
from negopt.steps.signed import Signed

EPS = np.finfo(float).eps
NAMES = [name for name, row in METHODS.items() if isinstance(row.globalize, WolfeSearch)]


@dataclasses.dataclass(frozen=True)
class Watch:
    """A step rule that keeps what another one proposed."""

    inner: Any
    log: list = dataclasses.field(default_factory=list)

    def propose(self, iterate, operator, bound):
        step = self.inner.propose(iterate, operator, bound)
        self.log.append((iterate, step))
        return step


def cosine(iterate, step):
    return abs(iterate.g @ step.s) / (iterate.gnorm * np.linalg.norm(step.s))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40)
@given(
    family=st.sampled_from(["logcosh", "sine"]),
    n=st.integers(1, 10),
    seed=st.integers(0, 10**6),
    c=st.tuples(st.floats(1e-5, 0.3), st.floats(0.35, 0.95)),
    angle=st.sampled_from([0.0, 1e-8, 1e-3, 0.1, 0.4]),
    flip=st.sampled_from(["direction", "eigen"]),
    wolfe=st.sampled_from(["weak", "strong"]),
    spread=st.sampled_from([3.0, 1e3]),
)
@example(
    family="sine",
    n=4,
    seed=4,
    c=(0.12870763473772912, 0.35),
    angle=0.0,
    flip="eigen",
    wolfe="weak",
    spread=3.0,
)
def test_sum_is_bounded(random_function, name, family, n, seed, c, angle, flip, wolfe, spread):
    function = random_function(family, n, seed)
    x0 = spread * np.random.default_rng(seed).standard_normal(function.n)
    row = METHODS[name].with_options(
        {"c1": c[0], "c2": c[1], "angle": angle, "flip": flip, "wolfe": wolfe, "maxls": 60}
    )
    if "angle" not in row.option_names():
        angle = 0.0  # a bound of its own, from the condition number of its model
    watch = Watch(row.step)
    row = dataclasses.replace(row, step=watch)
    seen = []
    negopt.minimize(
        function.fun,
        x0,
        jac=function.grad,
        method=row,
        callback=lambda intermediate_result: seen.append(intermediate_result),
        options={"certify": False, "gtol": 1e-4, "maxiter": 200},
    )
    assert len(watch.log) == len(seen)
    bound = c[0] * (1.0 - c[1]) / function.lipschitz
    total = 0.0
    for (iterate, step), res in zip(watch.log, seen, strict=True):
        cos = cosine(iterate, step)
        assert cos >= angle * (1 - 1e-9)
        if not res.accepted:
            assert res.fun == iterate.f
            continue
        assert (res.step_size < 0.0) == (step.slope > 0.0)
        term = cos**2 * iterate.gnorm**2
        assert bound * term <= iterate.f - res.fun + 1e3 * EPS * abs(iterate.f)
        total += term
    if seen:
        noise = 1e3 * EPS * abs(watch.log[0][0].f) * len(seen)
        assert total <= (watch.log[0][0].f - seen[-1].fun + noise) / bound


class Given:
    """An operator that answers with a fixed vector, whatever it is asked."""

    def __init__(self, answer):
        self.answer = answer

    def solve(self, v, *, absolute, floor):
        return self.answer


@settings(max_examples=200)
@given(
    seed=st.integers(0, 10**9),
    n=st.integers(2, 8),
    share=st.floats(-18, 0).map(lambda e: 10.0**e),
    sign=st.sampled_from([-1.0, 1.0]),
    angle=st.floats(1e-12, 0.49),
    sizes=st.tuples(st.integers(-40, 40), st.integers(-40, 40)),
)
def test_directions_keep_the_angle(seed, n, share, sign, angle, sizes):
    """From almost orthogonal to parallel, ascending or descending, of any lengths."""
    rng = np.random.default_rng(seed)
    g, d = rng.standard_normal((2, n))
    g /= np.linalg.norm(g)
    d -= g * (g @ d)
    d /= np.linalg.norm(d)
    d = 10.0 ** sizes[0] * (np.sqrt(1 - share**2) * d + sign * share * g)
    g *= 10.0 ** sizes[1]
    here = Iterate(np.zeros(n), 0.0, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))
    step = Signed(angle=angle).propose(here, Given(-d), None)
    assert cosine(here, step) >= angle * (1 - 1e-9)
    assert step.slope == pytest.approx(float(g @ step.s), rel=1e-9)
    assert step.norm == pytest.approx(np.linalg.norm(step.s))
    if share > 2 * angle:  # no need to tilt: the direction is the model's own
        np.testing.assert_array_equal(step.s, d)
