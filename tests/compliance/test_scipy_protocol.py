"""Every method as a callable: `scipy.optimize.minimize(method=...)`, `basinhopping`."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
from scipy.optimize import OptimizeWarning

import negopt


@pytest.fixture
def call(method):
    """The method's public callable."""
    return getattr(negopt, method.replace("-", "_"))


@pytest.mark.shell
def test_the_same_result_as_by_name(method, call, rosenbrock) -> None:
    ours = negopt.minimize(rosenbrock.fun, rosenbrock.x0, jac=rosenbrock.grad, method=method)
    kwargs = dict(x0=rosenbrock.x0, jac=rosenbrock.grad)
    for res in (
        scipy.optimize.minimize(rosenbrock.fun, method=call, **kwargs),
        negopt.minimize(rosenbrock.fun, method=call, **kwargs),
        call(rosenbrock.fun, **kwargs),
        negopt.minimize(rosenbrock.fun, method=method.upper(), **kwargs),
        negopt.minimize(rosenbrock.fun, method=negopt.METHODS[method], **kwargs),
    ):
        assert np.array_equal(res.x, ours.x)
        assert (res.nfev, res.njev, res.method) == (ours.nfev, ours.njev, method)


@pytest.mark.shell
@pytest.mark.converges
def test_tol_and_options(call, rosenbrock) -> None:
    res = scipy.optimize.minimize(
        rosenbrock.fun,
        rosenbrock.x0,
        jac=rosenbrock.grad,
        method=call,
        tol=1.0,
        options={"record": True, "maxiter": 500},
    )
    assert res.success
    assert 1e-5 < np.max(np.abs(res.jac)) <= 1.0
    assert len(res.history["nit"]) == res.nit + 1
    short = scipy.optimize.minimize(
        rosenbrock.fun, rosenbrock.x0, jac=rosenbrock.grad, method=call, options={"maxiter": 3}
    )
    assert short.nit == 3
    assert not short.success


@pytest.mark.shell
def test_jac_true_is_evaluated_once_a_point(call, rosenbrock, ended) -> None:
    seen = []

    def both(x):
        seen.append(x.tobytes())
        return rosenbrock.fun(x), rosenbrock.grad(x)

    res = scipy.optimize.minimize(both, rosenbrock.x0, jac=True, method=call)
    assert ended(res)
    assert len(seen) == len(set(seen))


@pytest.mark.shell
@pytest.mark.converges
@pytest.mark.parametrize("jac", ["2-point", "3-point", None, False])
def test_differences(call, rosenbrock, jac) -> None:
    res = scipy.optimize.minimize(rosenbrock.fun, rosenbrock.x0, jac=jac, method=call)
    assert res.success, res.message
    assert res.fun < 1e-6


@pytest.mark.shell
@pytest.mark.converges
def test_second_derivatives_and_args(call) -> None:
    def fun(x, a, b):
        return a * np.sum((x - b) ** 4) + np.sum((x - b) ** 2)

    def jac(x, a, b):
        return 4.0 * a * (x - b) ** 3 + 2.0 * (x - b)

    def hess(x, a, b):
        return np.diag(12.0 * a * (x - b) ** 2 + 2.0)

    def hessp(x, p, a, b):
        return (12.0 * a * (x - b) ** 2 + 2.0) * p

    for extra in ({"hess": hess}, {"hessp": hessp}, {"hess": scipy.optimize.SR1()}):
        res = scipy.optimize.minimize(
            fun, np.zeros(3), args=(2.0, 5.0), jac=jac, method=call, **extra
        )
        assert res.success
        assert res.x == pytest.approx([5.0] * 3)


@pytest.mark.shell
@pytest.mark.parametrize("signature", ["xk", "intermediate_result"])
def test_callback_and_stop_iteration(call, rosenbrock, signature) -> None:
    seen = []

    def note(x):
        seen.append(x)
        if len(seen) == 2:
            raise StopIteration

    if signature == "xk":
        callback = note
    else:

        def callback(intermediate_result):
            assert "nhev" in intermediate_result
            note(intermediate_result.x)

    res = scipy.optimize.minimize(
        rosenbrock.fun, rosenbrock.x0, jac=rosenbrock.grad, method=call, callback=callback
    )
    assert res.status == 99
    assert not res.success
    assert len(seen) == res.nit == 2
    assert res.fun == rosenbrock.fun(res.x)


@pytest.mark.shell
def test_float32_and_scalars(call, rosenbrock, ended) -> None:
    res = scipy.optimize.minimize(
        rosenbrock.fun,
        np.array(rosenbrock.x0, dtype=np.float32),
        jac=rosenbrock.grad,
        method=call,
    )
    assert res.x.dtype == np.float32
    res = scipy.optimize.minimize(lambda x: (x[0] - 2) ** 2, 0, method=call)
    assert ended(res)
    assert not res.success or res.x == pytest.approx([2.0], abs=1e-5)
    assert res.x.shape == (1,)


@pytest.mark.shell
def test_unknown_options_point_at_the_users_line(call, rosenbrock) -> None:
    with pytest.warns(OptimizeWarning, match="Unknown solver option 'gtoll'.*'gtol'") as caught:
        scipy.optimize.minimize(
            rosenbrock.fun,
            rosenbrock.x0,
            jac=rosenbrock.grad,
            method=call,
            options={"gtoll": 1e-3},
        )
    assert caught[0].filename == __file__
    with pytest.warns(OptimizeWarning, match="Unknown solver option 'gtoll'"):
        call(rosenbrock.fun, rosenbrock.x0, jac=rosenbrock.grad, gtoll=1e-3)


@pytest.mark.shell
def test_bounds_and_constraints_name_scipys_methods(method, call, rosenbrock) -> None:
    bounds = scipy.optimize.Bounds(np.zeros(2), np.ones(2))
    linear = scipy.optimize.LinearConstraint(np.ones((1, 2)), 0, 1)
    for extra in ({"bounds": bounds}, {"constraints": linear}, {"constraints": [linear]}):
        with pytest.raises(ValueError, match=rf"{method}.*trust-constr"):
            scipy.optimize.minimize(
                rosenbrock.fun, rosenbrock.x0, jac=rosenbrock.grad, method=call, **extra
            )
        with pytest.raises(ValueError, match=rf"{method}.*trust-constr"):
            negopt.minimize(
                rosenbrock.fun, rosenbrock.x0, jac=rosenbrock.grad, method=call, **extra
            )


@pytest.mark.shell
@pytest.mark.converges
def test_inside_basinhopping(call) -> None:
    def both(x):
        f = np.cos(14.5 * x[0] - 0.3) + (x[1] + 0.2) * x[1] + (x[0] + 0.2) * x[0]
        g = np.array([-14.5 * np.sin(14.5 * x[0] - 0.3) + 2.0 * x[0] + 0.2, 2.0 * x[1] + 0.2])
        return f, g

    res = scipy.optimize.basinhopping(
        both,
        [1.0, 1.0],
        minimizer_kwargs={"method": call, "jac": True},
        niter=150,  # the hops are drawn at random: one method takes 91 to the lowest well
        rng=np.random.default_rng(3),
    )
    assert res.x == pytest.approx([-0.195, -0.1], abs=5e-3)
    assert res.lowest_optimization_result.success


def test_what_a_callable_says_of_itself(method, call) -> None:
    assert method in repr(call)
    assert call.__name__ == method.replace("-", "_")
    assert negopt.METHODS[method].summary in call.__doc__
    assert "basinhopping" in call.__doc__
