"""Without a gradient: balanced steps, what gradients by differences are known to, how runs end."""

from __future__ import annotations

import math
import warnings
import zlib

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import rosen, rosen_der

from negopt import Status, minimize, problems
from negopt.core.types import Iterate
from negopt.decisions import differences as decide
from negopt.functions.noise import noise_along
from negopt.functions.objective import Objective
from negopt.functions.taken import CENTRAL, FORWARD, MEASURED

UNCHECKED = {"certify": False}


def counted(f):
    """Return f and a list that grows by one entry a call."""
    calls = []

    def fun(x):
        calls.append(x.copy())
        return f(x)

    return fun, calls


def unlimited(_calls):
    """Allow any number of values."""


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


# --- the user's schemes are SciPy's ----------------------------------------------------------


@pytest.mark.parametrize("jac", ["2-point", "3-point"])
@pytest.mark.parametrize("relative", [None, 1e-5, -1e-5, [1e-4, 1e-5, 1e-6]])
@settings(max_examples=10)
@given(x=st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3))
def test_schemes_evaluate_where_scipy_does(jac, relative, x):
    ours, theirs = counted(lambda at: float(np.sum(at))), counted(lambda at: float(np.sum(at)))
    Objective(ours[0], np.asarray(x), jac=jac, relative_step=relative).at(np.asarray(x))
    options = {"maxiter": 0, "finite_diff_rel_step": relative}
    scipy.optimize.minimize(theirs[0], x, method="BFGS", jac=jac, options=options)
    found, wanted = ({tuple(at) for at in side[1]} for side in (ours, theirs))
    assert found == wanted


@pytest.mark.parametrize("eps", [1e-3, -1e-3, [1e-3, -1e-4, 1e-5], 1e-30])
def test_absolute_steps_are_scipys(eps):
    x = np.array([-2.0, 3.0, 0.5])
    ours, theirs = counted(rosen), counted(rosen)
    Objective(ours[0], x, absolute_step=eps).at(x)
    options = {"maxiter": 0, "eps": np.asarray(eps)}
    scipy.optimize.minimize(theirs[0], x, method="BFGS", options=options)
    found, wanted = ({tuple(at) for at in side[1]} for side in (ours, theirs))
    assert found == wanted


@pytest.mark.parametrize(
    "real",
    [lambda x: float(rosen(x.real)), lambda x: abs(rosen(x)), lambda x: np.float32(rosen(x.real))],
    ids=["float", "abs", "float32"],
)
def test_complex_steps_need_complex_values(real):
    with pytest.raises(ValueError, match=r"jac='cs': fun returned .* jac='3-point'"):
        minimize(real, [-1.2, 1.0], jac="cs")


@pytest.mark.parametrize(
    "wrap",
    [complex, np.complex128, lambda v: np.asarray(v)[None]],
    ids=["complex", "complex128", "array"],
)
def test_complex_values_of_any_kind_are_taken(wrap):
    def f(x):
        value = (x[0] - 1) ** 2 + (x[1] - 2) ** 4
        return wrap(value) if x.dtype == complex else value

    res = minimize(f, [3.0, 3.0], jac="cs")
    assert res.success
    assert res.fun < 1e-6


# --- the noise of f ---------------------------------------------------------------------------


def hashed(x):
    """Return a number in [-1, 1] that has nothing to do with those of points nearby."""
    return zlib.crc32(np.ascontiguousarray(x).tobytes()) / 2.0**31 - 1.0


@settings(max_examples=40)
@given(
    size=st.floats(-11, -2),
    shift=st.sampled_from([0.0, 10.0, 1e3]),
    seed=st.integers(0, 10**6),
    n=st.integers(1, 5),
)
def test_noise_is_found(size, shift, seed, n):
    """Of noise that is spread evenly over [-e, e] the standard deviation is e / sqrt(3)."""
    e, x = 10.0**size, shift + np.random.default_rng(seed).standard_normal(n)

    def f(at):
        return float(np.sum(np.cos(at - shift))) + e * hashed(at)

    found = noise_along(lambda at: map(f, at), x, f(x), np.full(n, math.sqrt(e)), unlimited)
    assert e / 12.0 < found < 6.0 * e


def test_noise_of_single_precision_is_found():
    def f(at):
        return float(np.float32(1.0 + np.sum(at**2)))

    x = np.array([0.3, 0.7])
    found = noise_along(lambda at: map(f, at), x, f(x), np.full(2, 1e-8), unlimited)
    assert 1e-9 < found < 1e-6


def test_noise_of_a_constant_does_not_show():
    x = np.ones(2)
    fun, calls = counted(lambda at: 1.0)
    asked = []
    found = noise_along(lambda at: map(fun, at), x, 1.0, np.full(2, 1e-8), asked.append)
    assert math.isnan(found)
    assert len(calls) == sum(asked) == 24


# --- what a gradient is known to -------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 6),
    seed=st.integers(0, 10**6),
    spread=st.floats(0, 5),
    offset=st.sampled_from([0.0, 1.0, 1e4]),
    shift=st.sampled_from([0.0, 10.0, 1000.0]),
)
def test_an_end_with_success_is_stationary_to_what_is_reported(n, seed, spread, offset, shift):
    """On convex quadratics in all kinds of units, wherever they lie and whatever their minimum."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n)) + 2.0 * np.eye(n)
    H = A.T @ A
    scale = 10.0 ** rng.uniform(-spread / 2, spread / 2, n)
    H = H * scale[:, None] * scale[None, :]
    at = shift + 1.0 / scale

    def f(x):
        return float(0.5 * (x - at) @ H @ (x - at)) + offset

    objective = Objective(f, at + rng.standard_normal(n) / scale)
    res = minimize(f, objective.x0, options=UNCHECKED)
    if res.success:
        objective.differences.go_on(res.state)
        error = objective.gradient_error(res.state.iterate)
        assert np.all(np.abs(H @ (res.state.iterate.x - at)) <= 1.2e-5 + 10.0 * error)


@pytest.mark.parametrize("start", [[40.0, 0.301, 0.8], [50.0, 0.3, 1.0], [30.0, 0.29, 0.0]])
@pytest.mark.parametrize("jac", [None, "2-point", "3-point"])
@pytest.mark.parametrize("method", [None, "lqn-tr", "bfgs-wolfe"])
def test_a_sine_does_not_end_with_success_where_its_gradient_is_large(start, jac, method):
    """300 points: the curvature along the frequency is 1e10, and SciPy's steps are too long."""
    t = np.arange(300.0)
    y = 50.0 * np.sin(0.3 * t + 1.0) + 5.0 * np.random.default_rng(0).standard_normal(300)

    def f(p):
        return float(np.sum((p[0] * np.sin(p[1] * t + p[2]) - y) ** 2))

    def gradient(p):
        r, c = p[0] * np.sin(p[1] * t + p[2]) - y, p[0] * np.cos(p[1] * t + p[2])
        return 2.0 * np.array([r @ np.sin(p[1] * t + p[2]), r @ (c * t), r @ c])

    res = minimize(f, start, jac=jac, method=method, options=UNCHECKED)
    first = np.abs(gradient(np.asarray(start))).max()
    if res.success:
        assert np.abs(gradient(res.x)).max() <= 1e-6 * first + 0.1
    else:
        assert res.status == Status.PRECISION
        assert "resolve the gradient to" in res.message
    if jac is None:
        assert res.success


def test_one_gradient_takes_what_it_says():
    fun, calls = counted(rosen)
    x = np.array([-1.2, 1.0, 0.7])
    objective = Objective(fun, x)
    here = objective.at(x)
    assert len(calls) == objective.evaluation_cost == 4
    better = objective.sharper(here)
    assert better.f == here.f
    assert objective.evaluation_cost == 7
    assert objective.gradient_source == "differences of fun (central)"
    assert np.all(np.abs(better.g - rosen_der(x)) <= 20.0 * objective.gradient_error(better))
    assert np.abs(better.g - rosen_der(x)).max() < 0.1 * np.abs(here.g - rosen_der(x)).max()
    done = len(calls)
    objective.at(x + 1e-3)
    assert len(calls) - done == 7
    assert len({tuple(at) for at in calls}) == len(calls)


def test_gradients_for_products_cost_n_and_are_corrected():
    x = np.array([-1.2, 1.0, 0.7])
    objective = Objective(rosen, x)
    here = objective.sharper(objective.at(x))
    before = objective.counters.nfev
    near = objective.gradient(x + 1e-5)
    assert objective.counters.nfev - before == 4
    assert near == pytest.approx(rosen_der(x + 1e-5), abs=1e-4)
    assert here.g == pytest.approx(rosen_der(x), abs=1e-6)


def test_the_edge_of_the_domain_is_taken_from_inside():
    """f is not finite beyond x = 1, where it is lowest."""

    def f(x):
        return (x[0] - 1.0) ** 2 + (x[1] - 2.0) ** 2 if x[0] <= 1.0 else math.inf

    objective = Objective(f, np.array([1.0, 0.0]))
    here = objective.at(objective.x0)
    assert here.g == pytest.approx([0.0, -4.0], abs=1e-6)
    assert objective.sharper(here).g == pytest.approx([0.0, -4.0], abs=1e-4)


def test_a_point_around_which_nothing_is_finite_keeps_its_gradient():
    x = np.array([1.0, 2.0])

    def f(at):
        return float(at @ at) if np.array_equal(at, x) else math.nan

    objective = Objective(f, x)
    here = objective.at(x)
    assert objective.sharper(Iterate(x, here.f, 2.0 * x, 4.0, 4.0, 2.0)) is None
    assert objective.differences.state.stage == FORWARD


@pytest.mark.parametrize("tiny", [1e-30, -1e-25, 1e-14])
def test_an_entry_that_is_small_by_chance_has_a_gradient(tiny):
    objective = Objective(lambda x: float(np.sum((x - 2.0) ** 2)), np.array([tiny, 1.0]))
    assert objective.at(objective.x0).g == pytest.approx([-4.0, -2.0], rel=1e-2)


# --- whole runs ------------------------------------------------------------------------------


def test_a_valley_is_followed_to_its_end():
    def f(x):
        return (x[0] - 80.0) ** 2 + 1e6 * (x[1] - x[0]) ** 2

    res = minimize(f, [0.0, 0.0], options=UNCHECKED)
    assert res.success
    assert res.fun < 1e-8
    assert res.nfev < 250


#: Problem, and the most calls of fun that a run takes, 1.25 times what was measured.
COUNTS = {"rosenbrock": 185, "helical_valley": 175, "wood": 680, "bard": 105, "beale": 75}


@pytest.mark.parametrize("shift", [0.0, 10.0, 100.0, 1000.0])
@pytest.mark.parametrize("name", COUNTS)
def test_moved_problems_are_solved_at_the_same_cost(name, shift):
    p = problems.get(name)
    fun, calls = counted(lambda x: float(p.fun(x - shift)))
    res = minimize(fun, p.x0 + shift, options=UNCHECKED)
    assert res.success
    assert res.fun <= p.minimum * (1.0 + 1e-6) + 1e-9
    assert len(calls) == res.nfev <= COUNTS[name]


def test_fits_take_no_more_than_scipy_and_end_no_higher():
    """On NIST's fits that SciPy's BFGS solves, from their nearer starts."""
    logs, ours, theirs = [], 0, 0
    for name in ("danwood", "chwirut2", "eckerle4", "rat42", "gauss1", "boxbod", "misra1a"):
        p = problems.get(f"nist_{name}")
        start = p.starts[0]
        res = minimize(lambda x, p=p: float(p.fun(x)), start, options=UNCHECKED)
        ref = scipy.optimize.minimize(lambda x, p=p: float(p.fun(x)), start, method="BFGS")
        bound = p.minimum * (1.0 + 1e-6)
        ours += res.fun <= bound
        theirs += ref.fun <= bound
        if res.fun <= bound and ref.fun <= bound:
            logs.append(math.log(res.nfev / ref.nfev))
    assert ours == 7 >= theirs
    assert np.mean(logs) < 0.0


@pytest.mark.parametrize("e", [1e-10, 1e-6])
def test_noise_ends_a_run_at_its_level_and_is_named(e):
    """A run neither creeps to maxiter nor calls a point stationary that is not."""

    def f(x):
        return float(np.sum(np.arange(1, 5) * (x - 1.0) ** 2)) + e * hashed(x)

    res = minimize(f, np.zeros(4), options=UNCHECKED)
    exact = float(np.sum(np.arange(1, 5) * (res.x - 1.0) ** 2))
    assert exact < 100.0 * e
    assert res.nfev < 2000
    assert "differences of fun (central) resolve the gradient to" in res.message
    assert res.state.differences.stage >= CENTRAL


def test_values_in_single_precision_are_minimised():
    res = minimize(lambda x: float(np.float32(1.0 + rosen(x))), [-1.2, 1.0], options=UNCHECKED)
    assert rosen(res.x) < 1e-3
    assert "resolve the gradient to" in res.message


@pytest.mark.parametrize(
    "f", [lambda x: 3.0, lambda x: float(x @ x)], ids=["constant", "at the minimum"]
)
@pytest.mark.parametrize("start", [[0.0, 0.0], [1e-20, 0.0]])
def test_no_slope_at_all(f, start):
    res = minimize(f, start, options=UNCHECKED)
    assert res.success
    assert res.nfev < 150


def test_a_single_precision_start_uses_its_own_rounding():
    x0 = np.array([-1.2, 1.0], dtype=np.float32)
    res = minimize(lambda x: float(rosen(x)), x0, options=UNCHECKED)
    assert res.success
    assert res.x.dtype == np.float32
    assert res.fun < 1e-5


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_runs_in_every_array_library(xp_case, dtype):
    xp = xp_case.xp
    weights = xp_case.asarray([1.0, 10.0, 100.0], dtype)
    x0 = xp_case.asarray([3.0, -2.0, 0.5], dtype)
    res = minimize(lambda x: xp.sum(weights * (x - 1.0) ** 2), x0, options=UNCHECKED)
    assert res.success, res.message
    assert xp_case.owns(res.x)
    tolerance = 1e-5 if dtype == "float64" else 1e-2
    np.testing.assert_allclose(xp_case.to_numpy(res.x), 1.0, atol=tolerance)


# --- states and budgets ----------------------------------------------------------------------


def test_a_run_cut_anywhere_goes_on_as_if_it_had_not_been():
    def f(x):
        return float(rosen(x - 3.0)) + 10.0

    whole = minimize(f, [1.0, 4.0], options=UNCHECKED)
    assert whole.jac_source == "differences of fun (central)"
    for cut in range(1, whole.nit, 3):
        part = minimize(f, [1.0, 4.0], options={"maxiter": cut, **UNCHECKED})
        rest = minimize(f, [1.0, 4.0], options={"state": part.state, **UNCHECKED})
        np.testing.assert_array_equal(rest.x, whole.x)
        assert rest.nfev == whole.nfev
        assert rest.jac_source == whole.jac_source


@pytest.mark.parametrize("start", [[1.0, 4.0], [4.0, 4.0]])
@pytest.mark.parametrize("jac", [None, "2-point", "3-point"])
def test_maxfun_is_kept_whatever_the_differences_are_by_then(start, jac):
    def f(x):
        return float(rosen(x - 3.0)) + 10.0

    total = minimize(f, start, jac=jac, options=UNCHECKED).nfev
    for most in range(5, total + 3):
        fun, calls = counted(f)
        res = minimize(fun, start, jac=jac, options={"maxfun": most, **UNCHECKED})
        assert res.nfev == len(calls) <= most
        assert res.success or res.status in (Status.LIMIT, Status.PRECISION)
        assert res.fun == f(res.x)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", np.array([1e-8, -1e-8])),
        ("steps", np.array([1e-8, 0.0])),
        ("steps", np.array([1e-8, math.nan])),
        ("steps", np.ones(3)),
        ("steps", None),
        ("curvature", np.array([1.0, math.inf])),
        ("truncation", np.ones(1)),
        ("roundings", 0.0),
        ("roundings", "1"),
        ("stage", 7),
        (None, "differences"),
    ],
)
def test_what_no_run_leaves_is_refused(name, value):
    state = minimize(rosen, [-1.2, 1.0], options={"maxiter": 5}).state
    if name is None:
        state.differences = value
    else:
        setattr(state.differences, name, value)
    with pytest.raises(ValueError, match=r"state'\].differences"):
        minimize(rosen, [-1.2, 1.0], options={"state": state})


def test_a_state_of_a_run_with_a_gradient_goes_on_without_one():
    part = minimize(rosen, [-1.2, 1.0], jac=rosen_der, options={"maxiter": 10})
    assert part.state.differences is None
    assert minimize(rosen, [-1.2, 1.0], options={"state": part.state}).success


def test_stages_are_in_order():
    assert FORWARD < CENTRAL < MEASURED


# --- the decisions ---------------------------------------------------------------------------


@given(noise=st.floats(1e-30, 1e10), curvature=st.floats(1e-20, 1e20), off=st.floats(0.1, 10.0))
def test_the_balanced_step_has_the_least_error(noise, curvature, off):
    h = decide.balanced_step(noise, curvature)
    best = decide.forward_error(noise, curvature, h)
    assert best <= decide.forward_error(noise, curvature, off * h) * (1.0 + 1e-12)
    assert best == pytest.approx(2.0 * math.sqrt(noise) * math.sqrt(curvature))


@settings(max_examples=60)
@given(n=st.integers(1, 6), seed=st.integers(0, 10**6))
def test_pairs_never_show_more_curvature_than_there_is(n, seed):
    """Where the Hessian is positive definite and constant."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n))
    H, s = A.T @ A + 1e-3 * np.eye(n), rng.standard_normal(n)
    y = H @ s
    for i in range(n):
        shown = decide.shown_curvature(float(y[i]), float(s @ y), 0.0)
        assert shown <= H[i, i] * (1.0 + 1e-9)
