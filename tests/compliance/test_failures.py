"""Values that are not finite, and runs that end badly: the best point is always returned."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.optimize

import negopt


def log_barrier(x):
    """Sum of x - log x: nan for x < 0, inf at 0; minimum n at x = 1."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sum(x - np.log(x))


def log_barrier_grad(x):
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(x > 0.0, 1.0 - 1.0 / x, np.nan)


def check_best(res, fun, grad, values) -> None:
    """Check that the result is the lowest finite point seen, consistent in itself."""
    assert math.isfinite(res.fun)
    assert np.all(np.isfinite(res.x))
    assert np.all(np.isfinite(res.jac))
    assert res.fun == fun(res.x)
    assert np.array_equal(res.jac, grad(res.x))
    finite = [v for v in values if math.isfinite(v)]
    assert res.fun <= min(finite) + 1e-13 * abs(res.fun)


@pytest.mark.converges
@pytest.mark.parametrize("start", [50.0, 3.0, 1e-3])
@pytest.mark.parametrize("form", ["jac", "hessp"])
def test_domains(method, start, form) -> None:
    values = []

    def fun(x):
        values.append(float(log_barrier(x)))
        return values[-1]

    def hessp(x, p):
        return p / x**2

    extra = {"hessp": hessp} if form == "hessp" else {}
    res = negopt.minimize(fun, np.full(5, start), jac=log_barrier_grad, method=method, **extra)
    assert res.success, res.message
    assert res.fun == pytest.approx(5.0)
    assert res.n_nonfinite == sum(not math.isfinite(v) for v in values)
    check_best(res, log_barrier, log_barrier_grad, values)


@pytest.mark.converges
def test_f_finite_but_its_gradient_not(method) -> None:
    # f is finite everywhere; its gradient is nan beyond a cliff on the way
    def jac(x):
        return np.where(x < -0.5, np.nan, 2.0 * (x - 1.0))

    def fun(x):
        return float(np.sum((x - 1.0) ** 2)) if np.all(x >= -0.5) else -1e3

    res = negopt.minimize(fun, [30.0, 40.0], jac=jac, method=method)
    assert res.success, res.message
    assert res.x == pytest.approx([1.0, 1.0], abs=1e-5)
    assert res.fun == fun(res.x) >= 0.0


@pytest.mark.shell
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_not_finite_at_the_start(method, bad) -> None:
    calls = []

    def fun(x):
        calls.append(0)
        return bad

    with pytest.raises(ValueError, match=r"fun\(x0\) = .*(nan|inf).*finite at x0"):
        negopt.minimize(fun, [1.0, 2.0], jac=lambda x: x, method=method)
    assert len(calls) == 1


@pytest.mark.shell
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_gradient_not_finite_at_the_start(method, bad) -> None:
    with pytest.raises(ValueError, match=r"gradient at x0 from jac is not finite.*check jac"):
        negopt.minimize(lambda x: 0.0, [1.0, 2.0], jac=lambda x: x * bad, method=method)


def test_not_finite_everywhere_else(method) -> None:
    x0 = np.array([1.0, 1.0])

    def fun(x):
        return 2.0 if np.array_equal(x, x0) else math.nan

    res = negopt.minimize(fun, x0, jac=lambda x: np.ones(2), method=method)
    assert res.status == negopt.Status.NONFINITE
    assert not res.success
    assert (res.fun, list(res.x), list(res.jac)) == (2.0, [1.0, 1.0], [1.0, 1.0])
    assert res.n_nonfinite == res.nfev - 1 > 0
    assert res.nfev < 100
    assert "not finite" in res.message or "non-finite" in res.message


@pytest.mark.parametrize("after", [1, 2, 5, 9])
def test_f_breaks_down_on_the_way(method, after, rosenbrock) -> None:
    values = []

    def fun(x):
        f = float(rosenbrock.fun(x)) if len(values) < after else math.nan
        values.append(f)
        return f

    res = negopt.minimize(fun, rosenbrock.x0, jac=rosenbrock.grad, method=method)
    assert not res.success
    assert res.status in (negopt.Status.NONFINITE, negopt.Status.PRECISION)
    check_best(res, rosenbrock.fun, rosenbrock.grad, values)


@pytest.mark.parametrize("after", [0, 1, 3])
def test_products_that_are_not_finite(method, after, rosenbrock) -> None:
    """From the first on they are an error, like a gradient at x0; later the run is returned."""
    calls = []

    def hessp(x, p):
        calls.append(0)
        return rosenbrock.hessp(x, p) if len(calls) <= after else np.full(2, np.nan)

    def run():
        return negopt.minimize(
            rosenbrock.fun, rosenbrock.x0, jac=rosenbrock.grad, hessp=hessp, method=method
        )

    if after == 0 and negopt.METHODS[method].needs == "hessp":
        with pytest.raises(ValueError, match="hessp is not finite at the start; correct hessp"):
            run()
        return
    res = run()
    check_best(res, rosenbrock.fun, rosenbrock.grad, [rosenbrock.fun(np.array(rosenbrock.x0))])
    if res.success:
        assert np.max(np.abs(res.jac)) <= 1e-5
        assert res.curvature_status in ("unknown", "positive", "flat", "unsettled")
    if after == 0 and res.success:
        assert res.curvature_status == "unknown"
        assert "unknown (products not finite)" in res.message


def test_a_kink_ends_with_the_lowest_point(method) -> None:
    values = []

    def fun(x):
        values.append(float(abs(x[0])))
        return values[-1]

    res = negopt.minimize(fun, [1.1], jac=np.sign, method=method)
    assert res.fun == min(values)
    assert res.fun == abs(res.x[0])
    assert not res.success or res.fun == 0.0


def test_the_best_point_at_every_budget(method, rosenbrock) -> None:
    values = []

    def both(x):
        values.append(float(rosenbrock.fun(x)))
        return values[-1], rosenbrock.grad(x)

    for maxfun in range(1, 40, 3):
        values.clear()
        options = {"maxfun": maxfun}
        res = negopt.minimize(both, rosenbrock.x0, jac=True, method=method, options=options)
        assert res.fun == min(values)
        check_best(res, rosenbrock.fun, rosenbrock.grad, values)


@pytest.mark.converges
def test_a_wrong_gradient_is_not_called_success(method) -> None:
    res = negopt.minimize(
        lambda x: float(np.sum(x**2)), [1.0, 2.0], jac=lambda x: -2.0 * x - 1.0, method=method
    )
    assert res.fun <= 5.0
    assert not res.success
    assert res.status == negopt.Status.PRECISION
    assert "check_grad" in res.message
    assert res.nfev < 1000


@pytest.mark.converges
def test_unbounded_below(method) -> None:
    res = negopt.minimize(
        lambda x: float(-np.sum(x**2)), [1.0, 0.5], jac=lambda x: -2.0 * x, method=method
    )
    assert not res.success
    assert res.status in (negopt.Status.UNBOUNDED, negopt.Status.NONFINITE)
    assert res.fun < -1e20
    assert math.isfinite(res.fun)


def test_a_maximum_with_no_way_found_is_not_success(method) -> None:
    # f says that nothing is lower, the products say that the curvature is negative
    res = negopt.minimize(
        lambda x: 1.0, [0.0, 0.0], jac=np.zeros_like, hessp=lambda x, p: -p, method=method
    )
    assert res.status == negopt.Status.SADDLE
    assert not res.success
    assert res.curvature_status == "negative"
    assert res.min_curvature == pytest.approx(-1.0)
    assert "saddle" in res.message
    assert "max_escapes" in res.message


@pytest.mark.shell
def test_no_escapes_allowed_reports_the_saddle(method, saddle) -> None:
    res = negopt.minimize(
        saddle.fun, [0.0, 0.0, 0.0], jac=saddle.grad, method=method, options={"max_escapes": 0}
    )
    assert res.status == negopt.Status.SADDLE
    assert res.fun == 0.0
    assert res.n_escapes == 0


@pytest.mark.converges
@pytest.mark.parametrize("strategy", [scipy.optimize.SR1, scipy.optimize.BFGS])
def test_a_quasi_newton_hessian_of_the_user_certifies_nothing(method, saddle, strategy) -> None:
    res = negopt.minimize(saddle.fun, saddle.x0, jac=saddle.grad, hess=strategy(), method=method)
    assert res.success
    assert res.fun == pytest.approx(-0.25, abs=1e-9)


@pytest.mark.converges
def test_a_saddle_is_left_from_the_point_itself(method, saddle) -> None:
    for extra in ({}, {"hessp": saddle.hessp}):
        res = negopt.minimize(saddle.fun, [0.0, 0.0, 0.0], jac=saddle.grad, method=method, **extra)
        assert res.success
        assert res.fun == pytest.approx(-0.25, abs=1e-9)
        assert res.n_escapes >= 1
        assert res.min_curvature > 0.0


@pytest.mark.shell
@pytest.mark.parametrize(
    ("returned", "error", "words"),
    [
        (np.ones(2), ValueError, "scalar value"),
        ([1.0, 2.0], ValueError, "scalar value"),
        (None, ValueError, "scalar value"),
        (1.0 + 2.0j, (TypeError, ValueError), "complex|scalar"),
        (np.array(1.0 + 2.0j), TypeError, "complex"),
    ],
    ids=["vector", "list", "None", "complex", "0-d complex"],
)
def test_f_of_a_wrong_kind(method, returned, error, words) -> None:
    with pytest.raises(error, match=words):
        negopt.minimize(lambda x: returned, [1.0, 2.0], jac=lambda x: x, method=method)


@pytest.mark.shell
@pytest.mark.parametrize(
    "form",
    [lambda f: np.array([f]), lambda f: [f], np.float32, np.array],
    ids=["vector", "list", "float32", "0-d"],
)
def test_f_of_one_entry_is_a_number(method, form, ended) -> None:
    res = negopt.minimize(
        lambda x: form((x[0] - 1.0) ** 2), [2.0], jac=lambda x: 2.0 * (x - 1.0), method=method
    )
    assert ended(res)
    assert isinstance(res.fun, float)


@pytest.mark.shell
def test_g_of_a_wrong_shape(method, ended) -> None:
    with pytest.raises(ValueError, match=r"jac returned shape \(3,\); it must return 2 entries"):
        negopt.minimize(lambda x: 0.0, [1.0, 2.0], jac=lambda x: np.ones(3), method=method)
    res = negopt.minimize(
        lambda x: x @ x, [1.0, 2.0], jac=lambda x: (2.0 * x)[:, None], method=method
    )
    assert ended(res)
    assert res.jac.shape == (2,)


@pytest.mark.shell
def test_jac_true_without_a_pair(method) -> None:
    with pytest.raises(ValueError, match=r"jac=True fun must return the pair"):
        negopt.minimize(lambda x: 1.0, [1.0], jac=True, method=method)


@pytest.mark.shell
def test_hessian_of_a_wrong_shape(method, rosenbrock) -> None:
    with pytest.raises(ValueError, match=r"hess returned shape \(3, 3\)"):
        negopt.minimize(
            rosenbrock.fun,
            [1.0, 1.0],  # stationary: every method asks for the Hessian
            jac=rosenbrock.grad,
            hess=lambda x: np.eye(3),
            method=method,
        )
