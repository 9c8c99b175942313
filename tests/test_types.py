"""The data types: statuses, points, steps, states."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle

import numpy as np
import pytest
import scipy.optimize
from scipy.optimize import rosen, rosen_der

import negopt
from negopt.core.types import Certificate, Counters, Iterate, Outcome, State, Status, Step


def test_statuses_are_the_documented_numbers() -> None:
    assert {s.name: int(s) for s in Status} == {
        "CONVERGED": 0,
        "LIMIT": 1,
        "PRECISION": 2,
        "NONFINITE": 3,
        "SADDLE": 4,
        "TARGET": 5,
        "UNBOUNDED": 6,
        "EPOCHS": 7,
        "EARLY": 8,
        "FAILED": -1,
        "INTERRUPTED": 98,
        "CALLBACK": 99,
    }
    reached = [Status.CONVERGED, Status.TARGET, Status.EPOCHS, Status.EARLY]
    assert [s for s in Status if s.success] == reached
    assert negopt.Status is Status


@pytest.mark.parametrize(
    ("f", "gmax", "finite"),
    [
        (1.0, 2.0, True),
        (math.nan, 2.0, False),
        (1.0, math.nan, False),
        (math.inf, 0.0, False),
        (-math.inf, 0.0, False),
        (0.0, math.inf, False),
    ],
)
def test_a_point_is_finite_when_f_and_g_are(f, gmax, finite) -> None:
    point = Iterate(np.zeros(1), f, np.zeros(1), gmax, gmax)
    assert point.finite is finite


def test_predicted_decrease_is_that_of_the_quadratic_model() -> None:
    b = np.diag([2.0, -1.0])
    g, s = np.array([1.0, -3.0]), np.array([-0.5, 0.25])
    step = Step(s, float(g @ s), float(s @ b @ s), float(np.linalg.norm(s)))
    assert step.predicted_decrease == pytest.approx(-(g @ s + 0.5 * s @ b @ s))
    assert not step.on_boundary


def test_defaults_say_nothing_happened() -> None:
    out = Outcome()
    assert (out.trial, out.s, out.accepted, out.valid, out.stuck, out.trials) == (
        None,
        None,
        False,
        True,
        False,
        0,
    )
    assert math.isnan(out.rho)
    assert math.isnan(out.step_size)
    assert Certificate().status == "not checked"
    assert set(dataclasses.asdict(Counters()).values()) == {0}


def test_a_state_is_data() -> None:
    for method in negopt.METHODS:
        state = negopt.minimize(
            rosen, [-1.2, 1.0], jac=rosen_der, method=method, options={"maxiter": 4}
        ).state
        assert isinstance(state, State)
        assert state.method == method
        assert state.k == 4
        for clone in (copy.deepcopy(state), pickle.loads(pickle.dumps(state))):
            assert np.array_equal(clone.iterate.x, state.iterate.x)
            assert clone.counters == state.counters
            assert clone.rng_state == state.rng_state
        assert method in repr(state)
        assert len(repr(state)) < 500  # a result can be printed


def test_optimize_result_is_scipys_and_other_names_are_unknown() -> None:
    import negopt.core.types as types

    assert types.OptimizeResult is scipy.optimize.OptimizeResult
    with pytest.raises(AttributeError, match="OptimizeResults"):
        _ = types.OptimizeResults
