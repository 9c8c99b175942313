"""The repaired direction on every array library, and of a gradient beyond the type's range."""

from __future__ import annotations

import numpy as np
import pytest

from negopt.core.types import Iterate
from negopt.curvature.lsr1 import LSR1
from negopt.steps.damped import Damped


@pytest.mark.parametrize("repair", ["shift", "flip", "clip"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_array_library(xp_case, repair, dtype):
    n = 8
    rng = np.random.default_rng(1)
    rule = LSR1(maxcor=2)
    x = xp_case.asarray(np.zeros(n), dtype)
    memory = rule.init(x)
    for s in rng.standard_normal((3, n)):
        y = np.linspace(-9.0, 1.0, n) * s
        assert rule.update(memory, xp_case.asarray(s, dtype), xp_case.asarray(y, dtype))
    g = xp_case.asarray(rng.standard_normal(n), dtype)
    host = xp_case.to_numpy(g).astype(float)
    point = Iterate(x, 0.0, g, float(np.linalg.norm(host)), float(np.max(np.abs(host))))
    operator = rule.model(memory, None, point)
    step = Damped(repair=repair, delta=0.1).propose(point, operator, None)
    assert xp_case.owns(step.s)
    assert step.s.dtype == g.dtype
    values, _ = operator.spectrum.eigen
    assert values[0] < 0.0
    s = xp_case.to_numpy(step.s).astype(float)
    assert step.slope == pytest.approx(host @ s, rel=1e-5)
    assert step.slope < 0.0
    assert step.norm == pytest.approx(np.linalg.norm(s), rel=1e-5)


def test_a_direction_out_of_range_becomes_the_gradient():
    g = np.array([1e200, 1.0])
    point = Iterate(np.zeros(2), 0.0, g, 1e200, 1e200)
    rule = LSR1(gamma=1e-250)
    with np.errstate(over="ignore", invalid="ignore"):
        step = Damped().propose(point, rule.model(rule.init(g), None, point), None)
    np.testing.assert_array_equal(step.s, -g)
