"""What stands in SciPy's place in a client, and what tells minima from saddles, are right."""

from __future__ import annotations

import math

import numpy as np
import pytest
from _stand_in import Call, StandIn
from _truth import Truth, spectrum, truth
from scipy import optimize


def quadratic(H, jac=True) -> Call:
    if jac:
        return Call(lambda x: (0.5 * x @ H @ x, H @ x), True, None, np.ones(len(H)))
    return Call(lambda x: 0.5 * x @ H @ x, None, None, np.ones(len(H)))


@pytest.mark.parametrize("jac", [True, False])
@pytest.mark.parametrize(
    ("diagonal", "kind"),
    [([1.0, 1e-8, 1e6], "minimum"), ([1.0, -1e-8, 1e6], "saddle"), ([1.0, 0.0, 3.0], "singular")],
)
def test_the_truth_is_told_in_any_units(diagonal, kind, jac) -> None:
    found = truth(quadratic(np.diag(diagonal), jac), np.zeros(3))
    assert found.kind == kind
    assert found.error < 1e-4
    assert found.negative == (kind == "saddle")


def test_a_hessian_that_is_not_finite_has_no_kind() -> None:
    assert spectrum(np.full((2, 2), np.nan)).kind == "singular"
    assert spectrum(np.full((2, 2), np.nan)).error == math.inf
    assert Truth(np.array([-1.0, 1.0]), 0.1).kind == "saddle"


@pytest.mark.parametrize(
    "name", ["BFGS", "L-BFGS-B", "CG", "Nelder-Mead", "SLSQP", "Newton-CG", None]
)
def test_a_name_of_scipys_runs_a_method_of_negopt(name) -> None:
    original = optimize.minimize
    stand = StandIn("negopt")
    H = np.diag([1.0, 2.0, 30.0])
    with stand.installed():
        res = optimize.minimize(
            lambda x: x @ H @ x / 2, [1, 2, 3], jac=lambda x: H @ x, method=name, tol=1e-6
        )
        assert optimize.minimize is not original
    assert optimize.minimize is original
    assert res.success
    assert res.method in ("dqn-wolfe-pm", "newton-krylov")
    assert res.nfev <= stand.calls[0].evaluations


def test_the_functions_return_what_scipys_return() -> None:
    H = np.diag([1.0, 2.0, 30.0])
    given = {"x0": [1.0, 2.0, 3.0], "full_output": True, "disp": 0}

    def fun(x):
        return x @ H @ x / 2

    def jac(x):
        return H @ x

    calls = [
        lambda: optimize.fmin_bfgs(fun, fprime=jac, **given),
        lambda: optimize.fmin_cg(fun, fprime=jac, **given),
        lambda: optimize.fmin_ncg(fun, fprime=jac, fhess=lambda x: H, **given),
        lambda: optimize.fmin(fun, **given),
        lambda: optimize.fmin_powell(fun, **given),
        lambda: optimize.fmin_l_bfgs_b(fun, given["x0"], jac),
        lambda: optimize.fmin_l_bfgs_b(lambda x: (fun(x), jac(x)), given["x0"]),
        lambda: optimize.fmin_l_bfgs_b(fun, given["x0"], approx_grad=True),
    ]
    for call in calls:
        theirs, stand = call(), StandIn("negopt")
        with stand.installed():
            ours = call()
        assert len(ours) == len(theirs)
        assert [type(part) for part in ours[:1]] == [type(part) for part in theirs[:1]]
        assert [np.shape(part) for part in ours[:3]] == [np.shape(part) for part in theirs[:3]]
        assert ours[1] <= 1e-6
        if isinstance(theirs[-1], dict):
            assert set(theirs[-1]) <= set(ours[-1])
            assert ours[-1]["warnflag"] == 0
        else:
            assert ours[-1] == 0
        assert len(stand.calls) == 1


def test_bounds_go_to_scipy() -> None:
    stand = StandIn("negopt")
    with stand.installed():
        res = optimize.minimize(lambda x: x @ x, [2.0], method="L-BFGS-B", bounds=[(1.0, 3.0)])
        optimize.fmin_l_bfgs_b(lambda x: x @ x, [2.0], approx_grad=True, bounds=[(1.0, 3.0)])
        free = optimize.minimize(lambda x: x @ x, [2.0], method="L-BFGS-B", bounds=[(None, None)])
    assert "curvature_status" not in res
    assert len(stand.calls) == 1
    assert free.method == "dqn-wolfe-pm"
