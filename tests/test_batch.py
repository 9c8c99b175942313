"""`minimize_batch`: each problem as `minimize` solves it, failures alone, any number of threads."""

from __future__ import annotations

import logging
import os
import threading

import numpy as np
import pytest
import scipy.optimize

import negopt
from negopt.core.types import Status

try:
    import numba
except ImportError:
    numba = None
JIT = numba is not None and os.environ.get("NEGOPT_DISABLE_JIT", "0") in ("", "0")


def jitted(function):
    return numba.njit(function) if JIT else function


def double_well(x, shift, depth):
    """Minima at x_0 = +-1 + shift, a saddle at shift."""
    z = x[0] - shift
    f = depth * (z**4 / 4.0 - z**2 / 2.0)
    g = np.zeros(x.shape[0])
    g[0] = depth * (z**3 - z)
    for i in range(1, x.shape[0]):
        f += 0.5 * x[i] ** 2
        g[i] = x[i]
    return f, g


K = 40
SHIFT = np.linspace(-1.0, 1.0, K)
BOTH = pytest.mark.parametrize("fun", [double_well, jitted(double_well)], ids=["python", "jitted"])


def starts(k=K, n=3, seed=0):
    return np.random.default_rng(seed).standard_normal((k, n))


def same(one, other):
    assert set(one) == set(other)
    for name in set(one) - {"message", "method", "jac_source"}:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    assert one.message[:] == other.message[:]


@BOTH
def test_each_problem_is_the_one_that_minimize_solves(fun) -> None:
    X0 = starts()
    res = negopt.minimize_batch(fun, X0, (SHIFT,), jac=True, common=(2.0,))
    assert res.x.shape == res.jac.shape == (K, 3)
    for i in range(K):
        one = negopt.minimize(double_well, X0[i], (SHIFT[i], 2.0), jac=True)
        assert res.status[i] == one.status == 0
        assert (res.nit[i], res.nfev[i], res.njev[i]) == (one.nit, one.nfev, one.njev)
        np.testing.assert_allclose(res.x[i], one.x, atol=1e-7)
        assert res.fun[i] == pytest.approx(one.fun, abs=1e-10)
        assert res.curvature_status[i] == one.curvature_status == "positive"
        # The compiled loop looks along the variables, the array code from a random probe.
        assert 0.9 < res.min_curvature[i] < 4.1
    assert res.method == "dqn-wolfe-pm"
    assert "lowest curvature found" in res.message[0]


@pytest.mark.skipif(not JIT, reason="nothing is compiled")
@pytest.mark.parametrize("method", ["dqn-wolfe-pm", "lbfgs-wolfe"])
@pytest.mark.parametrize(
    "options",
    [{}, {"certify": False}, {"maxiter": 4}, {"norm": 2}, {"grtol": 1e-2, "ftarget": -0.4}],
    ids=str,
)
def test_compiled_batches_have_the_bits_of_single_runs(method, options) -> None:
    """Saddles, maxima and failures among them."""
    fun, X0 = jitted(double_well), starts(n=4)
    X0[3] = [SHIFT[3], 1.0, 1.0, 1.0]  # on the stable manifold of its saddle
    X0[7] = [SHIFT[7], 0.0, 0.0, 0.0]  # at the saddle
    X0[8] = [SHIFT[8] + 1.0, 0.0, 0.0, 0.0]  # at the minimum
    depth = np.linspace(0.5, 3.0, K)
    res = negopt.minimize_batch(fun, X0, (SHIFT, depth), method, jac=True, options=options)
    for i in range(K):
        one = negopt.minimize(fun, X0[i], (SHIFT[i], depth[i]), method, jac=True, options=options)
        for name in ("x", "jac", "fun", "status", "nit", "nfev", "njev", "min_curvature"):
            np.testing.assert_array_equal(res[name][i], one[name], err_msg=f"{name} of {i}")
        assert res.curvature_status[i] == one.curvature_status


@BOTH
def test_a_saddle_is_left_in_a_batch_too(fun) -> None:
    X0 = np.column_stack([SHIFT, np.ones((K, 2))])  # on the saddle's stable manifold
    res = negopt.minimize_batch(fun, X0, (SHIFT,), jac=True, common=(1.0,))
    assert res.success.all()
    np.testing.assert_allclose(np.abs(res.x[:, 0] - SHIFT), 1.0, atol=1e-6)
    off = negopt.minimize_batch(
        fun, X0, (SHIFT,), jac=True, common=(1.0,), options={"certify": False}
    )
    np.testing.assert_allclose(off.x[:, 0], SHIFT, atol=1e-6)
    assert set(off.curvature_status) == {"not checked"}
    assert "certify=False" in off.message[0]


@BOTH
def test_the_number_of_threads_changes_nothing(fun) -> None:
    X0 = starts(n=4)
    X0[3] = [SHIFT[3], 1.0, 1.0, 1.0]  # one that goes through Python
    X0[5, 1] = np.nan
    results = [
        negopt.minimize_batch(fun, X0, (SHIFT,), jac=True, common=(1.0,), workers=w)
        for w in (1, 2, 7)
    ]
    same(results[0], results[1])
    same(results[0], results[2])
    assert results[0].status[5] == Status.FAILED
    assert np.delete(results[0].success, 5).all()


def sometimes(x, kind):
    if kind == 1:
        raise ValueError("of its own")
    f = np.sum((x - 1.0) ** 2)
    g = 2.0 * (x - 1.0)
    if kind == 2:
        f = np.nan
    if kind == 3:
        g = np.zeros(x.shape[0] + 1)
    return f, g


@pytest.mark.parametrize("fun", [sometimes, jitted(sometimes)], ids=["python", "jitted"])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_problem_that_fails_fails_alone(fun, workers) -> None:
    kinds = np.array([0, 1, 0, 2, 3, 0])
    X0 = np.zeros((6, 2))
    res = negopt.minimize_batch(fun, X0, (kinds,), jac=True, workers=workers)
    assert res.status.tolist() == [0, -1, 0, -1, -1, 0]
    assert res.success.tolist() == [True, False, True, False, False, True]
    assert "ValueError: of its own" in res.message[1]
    assert "f must be finite at x0" in res.message[3]
    assert "returned shape (3,)" in res.message[4]
    failed = kinds > 0
    assert np.isnan(res.fun[failed]).all()
    assert np.isnan(res.jac[failed]).all()
    np.testing.assert_array_equal(res.x[failed], X0[failed])
    np.testing.assert_allclose(res.x[~failed], 1.0)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_ends_all(workers) -> None:
    calls = []

    def fun(x, i):
        calls.append(i)
        if i == 2:
            raise KeyboardInterrupt
        return float(x @ x), 2.0 * x

    with pytest.raises(KeyboardInterrupt):
        negopt.minimize_batch(fun, np.ones((200, 2)), (np.arange(200),), jac=True, workers=workers)
    assert max(calls) < 199


@BOTH
def test_starts_are_read_and_not_written(fun) -> None:
    X0 = starts(2 * K, 6)[::2, ::2]
    kept = X0.copy()
    res = negopt.minimize_batch(fun, X0, (SHIFT,), jac=True, common=(1.0,))
    np.testing.assert_array_equal(X0, kept)
    X0.flags.writeable = False
    same(res, negopt.minimize_batch(fun, X0.copy(), (SHIFT,), jac=True, common=(1.0,)))
    assert not np.shares_memory(res.x, X0)


@BOTH
def test_integers_lists_and_single_variables(fun) -> None:
    res = negopt.minimize_batch(fun, [[2], [3]], ([0, 1],), jac=True, common=(1,))
    assert res.x.dtype == np.float64
    np.testing.assert_allclose(res.x, [[1.0], [2.0]], atol=1e-6)


@BOTH
def test_float32_stays_float32(fun) -> None:
    X0 = starts().astype(np.float32)
    res = negopt.minimize_batch(fun, X0, (SHIFT,), jac=True, common=(1.0,))
    assert res.x.dtype == res.jac.dtype == np.float32
    np.testing.assert_allclose(np.abs(res.x[:, 0] - SHIFT), 1.0, atol=1e-2)


@BOTH
def test_no_problems_at_all(fun) -> None:
    res = negopt.minimize_batch(fun, np.zeros((0, 3)), (np.zeros(0),), jac=True, common=(1.0,))
    assert res.x.shape == res.jac.shape == (0, 3)
    assert res.fun.shape == res.success.shape == res.curvature_status.shape == (0,)
    assert len(res.message) == 0


@BOTH
def test_limits_and_targets(fun) -> None:
    X0 = starts()
    few = negopt.minimize_batch(
        fun, X0, (SHIFT,), jac=True, common=(1.0,), options={"maxiter": 1, "gtol": 1e-12}
    )
    assert (few.status == Status.LIMIT).all()
    assert "maxiter = 1" in few.message[0]
    assert (few.nit == 1).all()
    high = negopt.minimize_batch(
        fun, X0, (SHIFT,), jac=True, common=(1.0,), options={"ftarget": 1e6}
    )
    assert (high.status == Status.TARGET).all()
    assert high.success.all()
    assert (high.nfev == 1).all()


@pytest.mark.skipif(not JIT, reason="nothing is compiled")
def test_unbounded_problems_say_so() -> None:
    @numba.njit
    def fall(x, a):
        return -a * x[0] ** 4, -4.0 * a * x**3

    res = negopt.minimize_batch(fall, [[1.0], [2.0]], ([1.0, 2.0],), jac=True)
    assert (res.status == Status.UNBOUNDED).all()
    assert "unbounded below" in res.message[1]


@pytest.mark.parametrize("method", ["lqn-tr", "bfgs-wolfe", "newton-krylov", "lsr1-tr"])
@BOTH
def test_other_methods(fun, method) -> None:
    res = negopt.minimize_batch(fun, starts(), (SHIFT,), method, jac=True, common=(1.0,))
    assert res.success.all()
    assert res.method == method
    np.testing.assert_allclose(np.abs(res.x[:, 0] - SHIFT), 1.0, atol=1e-4)


@BOTH
def test_budgets_are_those_of_each_problem(fun) -> None:
    res = negopt.minimize_batch(
        fun, starts(), (SHIFT,), jac=True, common=(1.0,), options={"maxfun": 4}
    )
    assert res.nfev.max() <= 4
    assert (res.status == Status.LIMIT).any()


@BOTH
def test_units_are_found_per_problem(fun) -> None:
    def scaled(x, c):
        f, g = 0.0, np.zeros(3)
        for i in range(3):
            z = x[i] / 10.0 ** (3 * i) - c
            f += z * z + 0.1 * z**4
            g[i] = (2.0 * z + 0.4 * z**3) / 10.0 ** (3 * i)
        return f, g

    scaled_fun = scaled if fun is double_well else jitted(scaled)
    X0 = np.array([[3.0, 2e3, 5e6], [3.0, 2.0, 5.0], [1.0, 2e3, 5e6]])
    c = np.array([1.0, 2.0, -3.0])
    options = {"certify": False}  # all but one of the curvatures are rounding here
    res = negopt.minimize_batch(scaled_fun, X0, (c,), jac=True, options=options)
    for i in range(3):
        one = negopt.minimize(scaled, X0[i], (c[i],), jac=True, options=options)
        assert (res.nit[i], res.nfev[i], res.status[i]) == (one.nit, one.nfev, one.status)


def test_generators_do_not_make_the_order_matter() -> None:
    def solve(workers):
        options = {"rng": np.random.default_rng(5)}
        return negopt.minimize_batch(
            double_well, starts(), (SHIFT,), jac=True, common=(1.0,), options=options,
            workers=workers,
        )  # fmt: skip

    same(solve(1), solve(4))


def test_a_batch_inside_a_batch_in_threads() -> None:
    def fun(x, shift):
        inner = negopt.minimize_batch(double_well, [[1.5]], ([shift],), jac=True, common=(1.0,))
        return float((x[0] - inner.x[0, 0]) ** 2), 2.0 * (x - inner.x[0])

    res = negopt.minimize_batch(fun, np.zeros((4, 1)), (SHIFT[:4],), jac=True, workers=4)
    np.testing.assert_allclose(res.x[:, 0], SHIFT[:4] + 1.0, atol=1e-5)


@BOTH
def test_two_batches_at_once(fun) -> None:
    alone = negopt.minimize_batch(fun, starts(), (SHIFT,), jac=True, common=(1.0,))
    results = [None] * 4

    def solve(i):
        results[i] = negopt.minimize_batch(fun, starts(), (SHIFT,), jac=True, common=(1.0,))

    threads = [threading.Thread(target=solve, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for res in results:
        same(alone, res)


@pytest.mark.skipif(not JIT, reason="nothing is compiled")
def test_a_new_objective_or_batch_compiles_no_kernel_again(caplog) -> None:
    negopt.minimize_batch(jitted(double_well), starts(), (SHIFT,), jac=True, common=(1.0,))
    with caplog.at_level(logging.INFO, "negopt"):
        fun = jitted(double_well)
        negopt.minimize_batch(fun, starts(7, 2), (SHIFT[:7],), jac=True, common=(1.0,))
        negopt.minimize_batch(fun, starts(9, 4), (SHIFT[:9],), jac=True, common=(2.0,))
    assert {r.getMessage() for r in caplog.records} == {
        "compiling 'double_well' for negopt's loop: once in this process"
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X0": np.zeros(3)}, r"'X0' must have shape \(k, n\)"),
        ({"X0": np.zeros((3, 0))}, r"'X0' must have shape \(k, n\)"),
        ({"args": (np.zeros(2),)}, r"args\[0\] has shape \(2,\); its first axis must count the 3"),
        ({"args": (1.0,)}, r"args\[0\] has shape \(\)"),
        ({"workers": 0}, "workers=0: must be an integer >= 1"),
        ({"method": "L-BFGS-B"}, "method='L-BFGS-B' is SciPy's"),
        ({"options": {"state": object()}}, r"options\['state'\] belongs to a single run"),
        ({"options": {"gtol": -1.0}}, "gtol"),
        ({"jac": 3}, "jac=3"),
    ],
)
def test_mistakes_are_named_before_anything_runs(change, message) -> None:
    call = {"fun": None, "X0": np.zeros((3, 2)), "args": (np.zeros(3),), "jac": True} | change
    call["fun"] = lambda *_: pytest.fail("was called")
    with pytest.raises(ValueError, match=message):
        negopt.minimize_batch(**call)


def test_an_unknown_option_warns_once() -> None:
    with pytest.warns(scipy.optimize.OptimizeWarning, match="gtoll") as seen:
        negopt.minimize_batch(
            double_well, starts(), (SHIFT,), jac=True, common=(1.0,), options={"gtoll": 1}
        )
    assert len(seen) == 1


def test_messages_are_a_sequence() -> None:
    res = negopt.minimize_batch(double_well, starts(), (SHIFT,), jac=True, common=(1.0,))
    assert len(res.message) == K
    assert list(res.message)[-1] == res.message[-1] == res.message[K - 1]
    assert res.message[:2] == [res.message[0], res.message[1]]
    assert str(K) in repr(res.message)
    with pytest.raises(IndexError, match="40 problems"):
        _ = res.message[K]


def test_arrays_of_other_libraries() -> None:
    torch = pytest.importorskip("torch")
    target = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    res = negopt.minimize_batch(
        lambda x, t: (((x - t) ** 2).sum(), 2.0 * (x - t)),
        torch.zeros((2, 2), dtype=torch.float64),
        (target,),
        jac=True,
    )
    assert isinstance(res.x, torch.Tensor)
    assert torch.allclose(res.x, target)
