"""`minimize` itself: validation, dispatch, and the shape of the result."""

from __future__ import annotations

import inspect
import math
import pickle

import numpy as np
import pytest
from scipy.optimize import OptimizeResult, OptimizeWarning, rosen, rosen_der, rosen_hess_prod

import negopt

FIELDS = {
    "x",
    "fun",
    "jac",
    "success",
    "status",
    "message",
    "nit",
    "nfev",
    "njev",
    "nhev",
    "min_curvature",
    "curvature_status",
    "method",
    "jac_source",
    "hess_source",
    "n_nonfinite",
    "n_rejected",
    "n_skipped",
    "n_negative_steps",
    "n_escapes",
    "state",
}


def test_the_fields_of_the_result() -> None:
    res = negopt.minimize(rosen, [-1.2, 1.0], jac=rosen_der)
    assert type(res) is OptimizeResult
    assert set(res) >= FIELDS
    assert isinstance(res.fun, float)
    assert isinstance(res.message, str)
    assert type(res.status) is int
    assert isinstance(res.success, bool)
    assert all(type(res[name]) is int for name in ("nit", "nfev", "njev", "nhev"))
    assert "curvature_status" in repr(res)
    assert len(repr(res)) < 5000


def test_a_result_can_be_pickled_and_its_state_goes_on() -> None:
    res = pickle.loads(pickle.dumps(negopt.minimize(rosen, [-1.2, 1.0], jac=rosen_der)))
    again = negopt.minimize(rosen, [-1.2, 1.0], jac=rosen_der, options={"state": res.state})
    assert again.success


def test_arrays_of_the_result_are_the_callers_alone() -> None:
    res = negopt.minimize(rosen, [-1.2, 1.0], jac=rosen_der, options={"maxiter": 5})
    x, g = res.x.copy(), res.jac.copy()
    res.x[:] = np.nan
    res.jac[:] = np.nan
    again = negopt.minimize(
        rosen, [-1.2, 1.0], jac=rosen_der, options={"maxiter": 0, "state": res.state}
    )
    assert np.array_equal(again.x, x)
    assert np.array_equal(again.jac, g)


def test_options_of_the_caller_are_not_changed() -> None:
    options = {"maxiter": 5}
    negopt.minimize(rosen, [-1.2, 1.0], jac=rosen_der, tol=1e-3, options=options)
    assert options == {"maxiter": 5}


def test_jac_source_says_when_differences_are_taken() -> None:
    assert negopt.minimize(rosen, [-1.2, 1.0]).jac_source.startswith("differences of fun (")
    assert negopt.minimize(rosen, [-1.2, 1.0], jac=rosen_der).jac_source == "jac"
    both = negopt.minimize(lambda x: (rosen(x), rosen_der(x)), [-1.2, 1.0], jac=True)
    assert both.jac_source == "fun"


def test_both_hess_and_hessp_use_the_products() -> None:
    def never(x):
        raise AssertionError("hess is not needed")

    res = negopt.minimize(rosen, [-1.2, 1.0], jac=rosen_der, hess=never, hessp=rosen_hess_prod)
    assert res.hess_source == "hessp"
    assert res.success


class Shared:
    """An objective object."""

    def fun(self, x, scale=1.0):
        return scale * rosen(x)

    def grad(self, x, scale=1.0):
        return scale * rosen_der(x)


class WithProducts(Shared):
    """With Hessian products."""

    def hessp(self, x, scale=1.0):
        return lambda p: scale * rosen_hess_prod(x, p)


def test_objective_objects() -> None:
    for thing, source, method in (
        (Shared(), "differences of the gradient", "dqn-wolfe-pm"),
        (WithProducts(), "object", "newton-krylov"),
    ):
        for args in ((), (2.0,)):
            res = negopt.minimize(thing, [-1.2, 1.0], args=args)
            assert res.success
            assert (res.jac_source, res.hess_source, res.method) == ("grad", source, method)
            assert res.fun < 1e-8


def test_what_is_no_function() -> None:
    with pytest.raises(TypeError, match="neither callable nor an object"):
        negopt.minimize(3, [1.0])
    with pytest.raises(TypeError, match="callback=1 is not callable"):
        negopt.minimize(rosen, [1.0, 2.0], callback=1)


@pytest.mark.parametrize("x0", [[[1.0, 2.0]], [], [1j]], ids=["2-D", "empty", "complex"])
def test_what_is_no_start(x0) -> None:
    with pytest.raises(ValueError, match="x0"):
        negopt.minimize(rosen, x0, jac=rosen_der)


def test_failure_with_disp_warns_as_scipy_does() -> None:
    with pytest.warns(OptimizeWarning, match="Maximum number of iterations") as caught:
        negopt.minimize(rosen, [-1.2, 1.0], jac=rosen_der, options={"disp": True, "maxiter": 2})
    assert caught[0].filename == __file__


@pytest.mark.parametrize("maxiter", [-1, 0])
def test_no_iterations_allowed_is_a_limit(maxiter) -> None:
    res = negopt.minimize(rosen, [-1.2, 1.0], jac=rosen_der, options={"maxiter": maxiter})
    assert (res.status, res.nit, res.nfev) == (negopt.Status.LIMIT, 0, 1)


def test_state_in_another_type_moves_to_that_of_x0() -> None:
    half = negopt.minimize(
        rosen, np.float32([-1.2, 1.0]), jac=rosen_der, method="lsr1-tr", options={"maxiter": 5}
    )
    res = negopt.minimize(
        rosen, [-1.2, 1.0], jac=rosen_der, method="lsr1-tr", options={"state": half.state}
    )
    assert res.x.dtype == np.float64
    assert res.success
    assert res.fun < 1e-10


def test_a_generator_of_another_kind_can_be_resumed() -> None:
    kwargs = dict(jac=rosen_der, method="lsr1-tr")
    rng = np.random.Generator(np.random.MT19937(1))
    half = negopt.minimize(rosen, [-1.2, 1.0], options={"maxiter": 5, "rng": rng}, **kwargs)
    again = np.random.Generator(np.random.MT19937(1))
    res = negopt.minimize(rosen, [-1.2, 1.0], options={"state": half.state, "rng": again}, **kwargs)
    assert res.success


def test_show_options_lists_every_option_with_its_default() -> None:
    for name, row in negopt.METHODS.items():
        text = negopt.show_options(name, disp=False)
        for option in (row.option_names() - {"variant"}) | {"gtol", "maxfun", "certify"}:
            assert f"\n  {option} " in text


def test_every_parameter_is_documented() -> None:
    text = inspect.getdoc(negopt.minimize)
    for name in inspect.signature(negopt.minimize).parameters:
        assert name in text
    for section in ("Returns", "Raises", "Warns", "Notes", "References", "Examples"):
        assert f"\n{section}\n---" in text


def test_infinite_and_tiny_starts() -> None:
    with pytest.raises(ValueError, match="finite"):
        negopt.minimize(lambda x: float(x @ x), [math.inf], jac=lambda x: 2 * x)
    res = negopt.minimize(lambda x: float(x @ x), [1e-300], jac=lambda x: 2 * x)
    assert res.success
