"""Every method solves small problems, from every kind of start, on every array library."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import OptimizeResult

import negopt


def given(problem, form: str) -> dict:
    """Return the derivative arguments of one form."""
    return {
        "jac": {"jac": problem.grad},
        "hessp": {"jac": problem.grad, "hessp": problem.hessp},
        "hess": {"jac": problem.grad, "hess": problem.hess},
        "none": {},
    }[form]


@pytest.mark.converges
@pytest.mark.parametrize("form", ["jac", "hessp", "none"])
def test_solves_the_small_problems(method, problem, form) -> None:
    check_solved(method, problem, form)


@pytest.mark.shell
@pytest.mark.converges
def test_solves_the_small_problems_with_a_matrix(method, problem) -> None:
    check_solved(method, problem, "hess")


def check_solved(method, problem, form) -> None:
    res = negopt.minimize(problem.fun, problem.x0, method=method, **given(problem, form))
    assert isinstance(res, OptimizeResult)
    assert res.success
    assert res.status == negopt.Status.CONVERGED
    assert res.fun == pytest.approx(problem.fmin, abs=2e-8 if form != "none" else 1e-6)
    assert np.max(np.abs(problem.grad(res.x))) <= (1e-5 if form != "none" else 1e-4)
    assert res.curvature_status in ("positive", "flat", "unsettled")
    assert res.method == method
    assert res.fun == problem.fun(res.x)
    assert "gtol" in res.message


@pytest.mark.shell
def test_x0_is_never_changed(method, rosenbrock, ended) -> None:
    x0 = np.array(rosenbrock.x0)
    kept = x0.copy()
    res = negopt.minimize(rosenbrock.fun, x0, jac=rosenbrock.grad, method=method)
    assert ended(res)
    assert np.array_equal(x0, kept)
    assert not np.shares_memory(res.x, x0)


@pytest.mark.shell
def test_a_user_who_writes_into_x_harms_only_his_copy(method, rosenbrock) -> None:
    def fun(x):
        f = rosenbrock.fun(x)
        x[:] = np.nan
        return f

    def jac(x):
        g = rosenbrock.grad(x)
        x[:] = np.nan
        return g

    clean = negopt.minimize(rosenbrock.fun, rosenbrock.x0, jac=rosenbrock.grad, method=method)
    res = negopt.minimize(fun, rosenbrock.x0, jac=jac, method=method)
    assert np.array_equal(res.x, clean.x)


@pytest.mark.shell
def test_a_user_who_returns_one_buffer_again_and_again(method, rosenbrock) -> None:
    g, h = np.empty(2), np.empty(2)

    def jac(x):
        g[:] = rosenbrock.grad(x)
        return g

    def hessp(x, p):
        h[:] = rosenbrock.hessp(x, p)
        return h

    with_jac = dict(x0=rosenbrock.x0, method=method)
    clean = negopt.minimize(rosenbrock.fun, jac=rosenbrock.grad, hessp=rosenbrock.hessp, **with_jac)
    res = negopt.minimize(rosenbrock.fun, jac=jac, hessp=hessp, **with_jac)
    assert np.array_equal(res.x, clean.x)


@pytest.mark.shell
@pytest.mark.parametrize(
    "x0",
    [
        3.0,
        3,
        [3.0],
        (3,),
        np.float64(3.0),
        np.array(3.0),
        np.array([3]),
        np.array([True]),
        np.array([3.0], dtype=object),
        np.array([3.0], dtype=">f8"),
        np.array([3.0], dtype=np.float16),
        np.array([3.0], dtype=np.longdouble),
    ],
    ids=lambda x: f"{type(x).__name__}-{getattr(x, 'dtype', '')}",
)
def test_starts_of_every_kind(method, x0, ended) -> None:
    seen = []

    def fun(x):
        seen.append((x.shape, x.dtype))
        return (x[0] - 5.0) ** 2

    res = negopt.minimize(fun, x0, jac=lambda x: 2.0 * (x - 5.0), method=method)
    assert ended(res)
    assert not res.success or res.x == pytest.approx([5.0])
    assert set(seen) == {((1,), np.dtype(np.float64))}


@pytest.mark.shell
def test_a_read_only_start_and_a_strided_one(method, rosenbrock) -> None:
    x0 = np.array(rosenbrock.x0)
    clean = negopt.minimize(rosenbrock.fun, x0, jac=rosenbrock.grad, method=method)
    x0.flags.writeable = False
    frozen = negopt.minimize(rosenbrock.fun, x0, jac=rosenbrock.grad, method=method)
    strided = np.repeat(x0, 2)[::2]
    other = negopt.minimize(rosenbrock.fun, strided, jac=rosenbrock.grad, method=method)
    assert np.array_equal(clean.x, frozen.x)
    assert np.array_equal(clean.x, other.x)
    assert frozen.x.flags.writeable


@pytest.mark.parametrize("form", ["jac", "hessp"])
def test_float32_is_kept(method, problem, form, spy, ended, brief) -> None:
    check_float32(method, problem, form, spy, ended, brief)


@pytest.mark.shell
def test_float32_is_kept_with_a_matrix(method, problem, spy, ended, brief) -> None:
    check_float32(method, problem, "hess", spy, ended, brief)


def check_float32(method, problem, form, spy, ended, brief) -> None:
    watch = spy(problem)
    x0 = np.array(problem.x0, dtype=np.float32)
    derivatives = {k: getattr(watch, k) for k in given(problem, form)}
    if method == "gd-armijo" and problem.name == "rosenbrock-6":
        # The condition number is 3400, and rounding x alone changes g by 1e-4: with nothing
        # but gradients to go along, the default of gtol (3e-4) is out of reach: 3e-3 is the end.
        brief = {"gtol": 0.01}
    res = negopt.minimize(watch.fun, x0, method=method, options=brief, **derivatives)
    assert watch.dtypes == {np.dtype(np.float32)}
    assert res.x.dtype == res.jac.dtype == np.float32
    assert isinstance(res.fun, float)
    assert ended(res), res.message
    if res.success:
        rough = 1e-5 if "gtol" not in brief else 1e-3  # f is within g'H^-1 g / 2
        assert res.fun == pytest.approx(problem.fmin, abs=rough * max(1.0, abs(problem.fmin)))


@pytest.mark.shell
def test_float32_gradients_stay_float32_when_the_user_returns_float64(
    method, rosenbrock, ended
) -> None:
    x0 = np.array(rosenbrock.x0, dtype=np.float32)
    res = negopt.minimize(
        lambda x: float(rosenbrock.fun(x.astype(np.float64))),
        x0,
        jac=lambda x: rosenbrock.grad(x.astype(np.float64)),
        method=method,
    )
    assert res.x.dtype == res.jac.dtype == np.float32
    assert ended(res), res.message


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("form", ["jac", "hessp"])
def test_every_array_library(method, xp_case, dtype, form, saddle, ended, brief) -> None:
    seen = []

    def fun(x):
        seen.append(x)
        return saddle.fun(x)

    def jac(x):
        seen.append(x)
        return saddle.grad(x)

    def hessp(x, p):
        seen.extend([x, p])
        return saddle.hessp(x, p)

    x0 = xp_case.asarray(saddle.x0, dtype=dtype)
    extra = {"hessp": hessp} if form == "hessp" else {}
    res = negopt.minimize(fun, x0, jac=jac, method=method, options=brief, **extra)
    assert ended(res), res.message
    for array in [res.x, res.jac, *seen]:
        assert xp_case.owns(array)
        assert array.dtype == x0.dtype
        assert array.shape == (3,)
    assert isinstance(res.fun, float)
    if res.success:
        assert res.fun == pytest.approx(-0.25, abs=1e-5 if dtype == "float32" else 1e-9)
    assert np.array_equal(xp_case.to_numpy(x0), np.array(saddle.x0, dtype=dtype))


@pytest.mark.converges
def test_every_array_library_takes_the_same_path(method, xp_case, rosenbrock) -> None:
    kwargs = dict(jac=rosenbrock.grad, hessp=rosenbrock.hessp, method=method)
    ours = negopt.minimize(rosenbrock.fun, xp_case.asarray(rosenbrock.x0), **kwargs)
    host = negopt.minimize(rosenbrock.fun, np.array(rosenbrock.x0), **kwargs)
    assert ours.status == host.status
    assert abs(ours.nit - host.nit) <= 5  # sums may be taken in another order
    assert xp_case.to_numpy(ours.x) == pytest.approx(host.x, rel=1e-4)


@pytest.mark.shell
@pytest.mark.converges
def test_differences_on_every_array_library(method, xp_case, saddle) -> None:
    x0 = xp_case.asarray([0.3, 1.0, -1.0])
    res = negopt.minimize(saddle.fun, x0, method=method)
    assert res.success, res.message
    assert xp_case.owns(res.x)
    assert res.fun == pytest.approx(-0.25, abs=1e-8)


@pytest.mark.shell
def test_torch_history_is_not_recorded(method, saddle, ended) -> None:
    torch = pytest.importorskip("torch")
    seen = []

    def both(x):
        seen.append(x.requires_grad)
        leaf = x.clone().requires_grad_(True)
        f = saddle.fun(leaf)
        f.backward()
        return f, leaf.grad  # the value still carries its graph

    x0 = torch.tensor(saddle.x0, dtype=torch.float64, requires_grad=True)
    res = negopt.minimize(both, x0, jac=True, method=method)
    assert ended(res)
    assert not any(seen)
    assert not res.x.requires_grad
    assert not res.jac.requires_grad
    assert x0.grad is None


@pytest.mark.shell
def test_arrays_of_two_libraries_are_refused(method, saddle) -> None:
    xp = pytest.importorskip("array_api_strict")
    with pytest.raises(TypeError, match="jac returned a numpy array but x0 is a"):
        negopt.minimize(lambda x: 0.0, xp.asarray([1.0]), jac=lambda x: np.ones(1), method=method)


@pytest.mark.shell
def test_args_reach_every_function(method) -> None:
    seen = []

    def note(name, *args):
        seen.append((name, *args))

    def fun(x, a, b):
        note("fun", a, b)
        return a * (x[0] - b) ** 2

    def jac(x, a, b):
        note("jac", a, b)
        return 2.0 * a * (x - b)

    def hessp(x, p, a, b):
        note("hessp", a, b)
        return 2.0 * a * p

    # From a stationary point, so that every method asks for products.
    for x0 in ([0.0], [4.0]):
        res = negopt.minimize(fun, x0, args=(3.0, 4.0), jac=jac, hessp=hessp, method=method)
        assert not res.success or res.x == pytest.approx([4.0])
    assert set(seen) == {("fun", 3.0, 4.0), ("jac", 3.0, 4.0), ("hessp", 3.0, 4.0)}


@pytest.mark.shell
def test_an_argument_that_is_no_tuple_is_one_argument(method) -> None:
    for x0 in ([0.0], [4.0]):
        res = negopt.minimize(
            lambda x, b: (x[0] - b) ** 2, x0, args=4.0, jac=lambda x, b: 2 * (x - b), method=method
        )
        assert not res.success or res.x == pytest.approx([4.0])
    assert res.success


@pytest.mark.shell
def test_start_at_the_minimum(method, rosenbrock) -> None:
    res = negopt.minimize(rosenbrock.fun, [1.0, 1.0], jac=rosenbrock.grad, method=method)
    assert res.success
    assert (res.nit, res.nfev) == (0, 1)
    assert res.fun == 0.0
    assert np.array_equal(res.x, [1.0, 1.0])


def test_the_same_call_gives_the_same_bits(method, problem, brief) -> None:
    runs = [
        negopt.minimize(problem.fun, problem.x0, jac=problem.grad, method=method, options=brief)
        for _ in range(2)
    ]
    assert np.array_equal(runs[0].x, runs[1].x)
    assert runs[0].nfev == runs[1].nfev


@pytest.mark.converges
def test_rng_changes_nothing_but_the_probes(method, saddle) -> None:
    for seed in (1, np.random.default_rng(5)):
        res = negopt.minimize(
            saddle.fun, saddle.x0, jac=saddle.grad, method=method, options={"rng": seed}
        )
        assert res.success
        assert res.fun == pytest.approx(-0.25, abs=1e-9)


#: Rates with which the baselines solve the quadratic, whose eigenvalues are 1 to 20.
RATES = {
    "gd": [{"learning_rate": 0.09}, {"learning_rate": 0.03, "momentum": 0.7}],
    "adam": [{"learning_rate": 0.05}, {"learning_rate": 0.05, "amsgrad": True}],
}


@pytest.mark.parametrize(
    ("name", "options"), [(name, options) for name in RATES for options in RATES[name]]
)
@pytest.mark.parametrize("form", ["jac", "hessp", "none"])
def test_baselines_solve_the_quadratic_at_a_suitable_rate(name, options, form, quadratic) -> None:
    assert set(RATES) == {name for name, row in negopt.METHODS.items() if row.baseline}
    res = negopt.minimize(
        quadratic.fun, quadratic.x0, method=name, options=options, **given(quadratic, form)
    )
    assert res.success, res.message
    assert res.status == negopt.Status.CONVERGED
    assert res.fun == pytest.approx(quadratic.fmin, abs=1e-6)
    assert np.max(np.abs(quadratic.grad(res.x))) <= (1e-5 if form != "none" else 1e-4)
    assert res.curvature_status == "positive"


@pytest.mark.converges
@pytest.mark.parametrize("scale", [1e-20, 1e-8, 1e8, 1e20])
def test_the_scale_of_f_does_not_matter(method, rosenbrock, scale) -> None:
    plain = negopt.minimize(rosenbrock.fun, rosenbrock.x0, jac=rosenbrock.grad, method=method)
    res = negopt.minimize(
        lambda x: scale * rosenbrock.fun(x),
        rosenbrock.x0,
        jac=lambda x: scale * rosenbrock.grad(x),
        method=method,
        options={"gtol": 1e-5 * scale},
    )
    assert res.success, res.message
    assert res.fun <= 1e-8 * scale
    assert res.nit <= 3 * plain.nit + 10
