"""What is SciPy's goes to SciPy unchanged; what stands where SciPy stood does the same."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
from scipy.optimize import rosen, rosen_der, rosen_hess, rosen_hess_prod

import negopt
from negopt.methods import DENSE_LIMIT

SCIPY_METHODS = (
    "Nelder-Mead",
    "Powell",
    "CG",
    "BFGS",
    "Newton-CG",
    "L-BFGS-B",
    "TNC",
    "COBYLA",
    "COBYQA",
    "SLSQP",
    "trust-constr",
    "dogleg",
    "trust-ncg",
    "trust-exact",
    "trust-krylov",
)
X0 = [-1.2, 1.0, 0.7]


def equal(one, other) -> None:
    """Check two results entry by entry."""
    assert type(one) is type(other)
    assert set(one) == set(other)
    for name in one:
        a, b = one[name], other[name]
        if name in ("execution_time", "hess_inv", "constr", "jac", "grad", "final_simplex"):
            if isinstance(a, np.ndarray) and a.dtype != object:
                assert np.array_equal(a, b), name
        elif isinstance(a, np.ndarray):
            assert np.array_equal(a, b), name
        elif isinstance(a, (int, float, str, bool, np.generic)):
            assert a == b or (a != a and b != b), name


def both(*args, **kwargs):
    """Call negopt's and SciPy's minimize; return both results."""
    return negopt.minimize(*args, **kwargs), scipy.optimize.minimize(*args, **kwargs)


def test_all_of_scipys_names_are_known() -> None:
    from scipy.optimize._minimize import MINIMIZE_METHODS

    assert set(MINIMIZE_METHODS) <= {name.lower() for name in SCIPY_METHODS}


@pytest.mark.parametrize("name", SCIPY_METHODS)
@pytest.mark.parametrize("case", [str, str.lower, str.upper], ids=["as is", "lower", "upper"])
def test_scipys_names_go_to_scipy(name, case) -> None:
    kwargs = {"options": {"maxiter": 15}}
    if name not in ("Nelder-Mead", "Powell", "COBYLA", "COBYQA"):
        kwargs["jac"] = rosen_der
    if name in ("dogleg", "trust-ncg", "trust-exact", "trust-krylov", "Newton-CG", "trust-constr"):
        kwargs["hess"] = rosen_hess
    if name == "dogleg":
        kwargs["options"]["maxiter"] = 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, theirs = both(rosen, X0, method=case(name), **kwargs)
    equal(ours, theirs)
    assert "curvature_status" not in ours


def test_a_callable_method_gets_what_scipy_gives_it() -> None:
    seen = []

    def custom(fun, x0, args=(), **kwargs):
        seen.append((args, {k: v for k, v in kwargs.items() if k != "callback"}, x0.tolist()))
        return scipy.optimize.OptimizeResult(x=x0, fun=fun(x0), success=True)

    both(
        rosen,
        X0,
        method=custom,
        jac=rosen_der,
        hessp=rosen_hess_prod,
        bounds=[(0, 2)] * 3,
        tol=0.5,
        options={"mine": 3},
    )
    assert repr(seen[0]) == repr(seen[1])
    assert seen[0][1]["mine"] == 3
    assert seen[0][1]["tol"] == 0.5


def test_callbacks_and_args_with_scipys_names() -> None:
    points: list[np.ndarray] = []
    res = negopt.minimize(
        lambda x, a: a * rosen(x), X0, (2.0,), "BFGS", callback=lambda xk: points.append(xk)
    )
    assert len(points) == res.nit
    assert res.fun == 2.0 * rosen(res.x)


@pytest.mark.parametrize(
    "extra",
    [
        {"bounds": [(0.0, 0.5)] * 3},
        {"bounds": scipy.optimize.Bounds(np.zeros(3), np.full(3, 0.5))},
        {"constraints": {"type": "eq", "fun": lambda x: x[0] - 0.3}},
        {"constraints": [{"type": "ineq", "fun": lambda x: 0.3 - x[0]}]},
        {"constraints": ({"type": "ineq", "fun": lambda x: 0.3 - x[0]},)},
        {"constraints": scipy.optimize.LinearConstraint(np.ones((1, 3)), 0.0, 1.0)},
        {"constraints": [scipy.optimize.LinearConstraint(np.ones((1, 3)), 0.0, 1.0)]},
        {"constraints": scipy.optimize.NonlinearConstraint(lambda x: x @ x, 0.0, 1.0)},
        {
            "bounds": [(0.0, 0.5)] * 3,
            "constraints": {"type": "ineq", "fun": lambda x: 1.0 - np.sum(x)},
        },
    ],
    ids=[
        "bounds",
        "Bounds",
        "dict",
        "list",
        "tuple",
        "Linear",
        "list of Linear",
        "Nonlinear",
        "both",
    ],
)
def test_no_method_with_bounds_or_constraints_does_what_scipy_does(extra) -> None:
    ours, theirs = both(rosen, X0, jac=rosen_der, **extra)
    assert ours.method == ("SLSQP" if "constraints" in extra else "L-BFGS-B")
    assert ours.curvature_status == "not checked"
    for name in ("method", "curvature_status", "min_curvature"):
        del ours[name]  # of these every result has one
    equal(ours, theirs)


@pytest.mark.parametrize(
    "bounds",
    [
        [(None, None)] * 3,
        [(-np.inf, np.inf)] * 3,
        [(None, np.inf), (-np.inf, None), [None, None]],
        scipy.optimize.Bounds(),
        scipy.optimize.Bounds(np.full(3, -np.inf), np.inf),
    ],
    ids=["None", "inf", "mixed", "Bounds", "arrays"],
)
def test_infinite_bounds_are_none(bounds) -> None:
    free = negopt.minimize(rosen, X0, jac=rosen_der)
    for method in (None, "dqn-wolfe-pm", negopt.dqn_wolfe_pm):
        for minimize in (negopt.minimize, scipy.optimize.minimize):
            if minimize is negopt.minimize or callable(method):
                res = minimize(rosen, X0, jac=rosen_der, method=method, bounds=bounds)
                assert np.array_equal(res.x, free.x)
                assert (res.nfev, res.method) == (free.nfev, "dqn-wolfe-pm")


def test_empty_constraints_are_none() -> None:
    for empty in ((), [], None):
        res = negopt.minimize(rosen, X0, jac=rosen_der, constraints=empty)
        assert res.method == "dqn-wolfe-pm"


def test_the_default_by_what_was_passed() -> None:
    cases = [
        ({}, 3, "dqn-wolfe-pm"),
        ({"jac": rosen_der}, 3, "dqn-wolfe-pm"),
        ({"jac": rosen_der}, DENSE_LIMIT, "dqn-wolfe-pm"),
        ({"jac": rosen_der}, DENSE_LIMIT + 1, "lqn-tr"),
        ({"jac": rosen_der, "hessp": rosen_hess_prod}, 3, "newton-krylov"),
        ({"jac": rosen_der, "hess": rosen_hess}, 101, "newton-krylov"),
    ]
    for kwargs, n, name in cases:
        x0 = np.full(n, 1.001)
        assert negopt.minimize(rosen, x0, options={"maxiter": 1}, **kwargs).method == name


def test_an_unknown_name_is_an_error_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"Unknown solver 'bfgss'.*'bfgs'"):
        negopt.minimize(rosen, X0, method="bfgss")
    with pytest.raises(ValueError, match=r"Unknown solver 'lsr1-rt'.*'lsr1-tr'"):
        negopt.minimize(rosen, X0, method="lsr1-rt")
    assert negopt.minimize(rosen, X0, method="LSR1_TR").method == "lsr1-tr"
    with pytest.raises(ValueError, match="Unknown solver 3"):
        negopt.minimize(rosen, X0, method=3)


def test_positional_arguments_in_scipys_order() -> None:
    ours = negopt.minimize(
        rosen, X0, (), None, rosen_der, None, rosen_hess_prod, None, (), 1e-3, None, {"maxiter": 99}
    )
    assert ours.success
    assert "gtol = 0.001" in ours.message


def test_show_options_knows_both() -> None:
    text = negopt.show_options("BFGS", disp=False)
    assert text == scipy.optimize.show_options("minimize", "BFGS", False)
    assert "maxcor" in negopt.show_options("lsr1-tr", disp=False)
    with pytest.raises(ValueError, match="Unknown solver"):
        negopt.show_options("lsr1")


def test_show_options_prints(capsys) -> None:
    assert negopt.show_options() is None
    printed = capsys.readouterr().out
    for name in negopt.METHODS:
        assert name in printed


def test_negopt_may_stand_in_scipys_place(monkeypatch) -> None:
    # a program that replaces scipy.optimize.minimize must not send us in a circle
    original = scipy.optimize.minimize
    monkeypatch.setattr(scipy.optimize, "minimize", negopt.minimize)
    for method in ("BFGS", "Nelder-Mead"):
        equal(scipy.optimize.minimize(rosen, X0, method=method), original(rosen, X0, method=method))


#: Tests of SciPy's own suite that check what negopt deliberately does otherwise.
NOT_OURS = {
    "test_bfgs_nan_return": "asks for fun=nan although a finite value was seen",
}

REPLACED = """
import scipy.optimize
import negopt
scipy.optimize.minimize = negopt.minimize
"""

#: The same where negopt's methods run in place of SciPy's, by the names of the latter.
NOT_OUR_METHODS = {
    **NOT_OURS,
    "WrapperNoDisp and (test_cg or test_bfgs)": "counts the calls, and compares the points, of CG "
    "and BFGS; hess_inv0 may be indefinite; c1, c2 are those of SciPy's search",
    "test_invalid_c1_c2": "the message names c1 or c2 alone",
    "WrapperNoDisp and test_ncg": "counts the calls of Newton-CG",
    "test_finite_differences_hess": "asks for an error where differences do",
    "test_initial_step_scaling": "the first step of SciPy's search",
    "test_nan_values": "f that is nan at x0 is an error",
    "test_dogleg_user_warning": "a warning of dogleg's",
    "test_solver_concordance": "compares the iterations of SciPy's methods",
    "test_njev": "as many gradients as values in every local search",
}

SWAPPED = """
import scipy.optimize
import negopt
original = scipy.optimize.minimize
ours = {"bfgs": negopt.dqn_wolfe_pm, "cg": negopt.lbfgs_wolfe}
for name in ("newton-cg", "trust-ncg", "trust-krylov", "trust-exact", "dogleg"):
    ours[name] = negopt.newton_krylov
ran = []

def minimize(fun, x0, args=(), method=None, *more, **named):
    if isinstance(method, str) and method.lower() in ours:
        ran.append(method)
        method = ours[method.lower()]
    return original(fun, x0, args, method, *more, **named)

scipy.optimize.minimize = minimize

def pytest_sessionfinish():
    print("negopt ran", len(ran), "times")
"""


@pytest.mark.skipif(
    importlib.util.find_spec("scipy.optimize.tests") is None, reason="SciPy without its tests"
)
@pytest.mark.parametrize(
    ("plugin", "chosen", "others"),
    [
        (REPLACED, "Simple or WrapperNoDisp or TestTrustRegionSolvers or TestNewtonCg", NOT_OURS),
        (
            SWAPPED,
            "Simple or WrapperNoDisp or TestTrustRegionSolvers or TestBasinHopping",
            NOT_OUR_METHODS,
        ),
    ],
    ids=["negopt's minimize", "negopt's methods"],
)
def test_scipys_own_tests_pass(tmp_path: Path, plugin, chosen, others) -> None:
    (tmp_path / "replaced.py").write_text(plugin)
    skipped = "".join(f" and not ({name})" for name in others)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "replaced",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:randomly",
            "-W",
            "ignore",
            "--tb=short",
            "--pyargs",
            "scipy.optimize.tests.test_optimize",
            "scipy.optimize.tests.test_trustregion",
            "scipy.optimize.tests.test__basinhopping",
            "-k",
            f"({chosen}) and not workers{skipped}",
        ],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": f"{tmp_path}:{Path(negopt.__file__).parents[1]}",
            "PYTEST_ADDOPTS": "",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
    if plugin is SWAPPED:
        ran = re.search(r"negopt ran (\d+) times", done.stdout)
        assert ran is not None
        assert int(ran[1]) > 100
