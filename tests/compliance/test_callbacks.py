"""What a callback is given, and what it may do."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest

import negopt
from negopt.globalize.trust_region import TrustRegion
from negopt.steps.krylov_tr import KrylovTrustRegion
from negopt.steps.sfn_lanczos import SaddleFreeLanczos
from negopt.steps.steihaug import SteihaugToint

#: Step rules whose radius is a length in another norm than the Euclidean one.
OWN_NORM = (KrylovTrustRegion, SaddleFreeLanczos, SteihaugToint)


def run(method, problem, callback, **kwargs):
    return negopt.minimize(
        problem.fun, problem.x0, jac=problem.grad, method=method, callback=callback, **kwargs
    )


def test_intermediate_result_has_the_figures(method, rosenbrock) -> None:
    seen = []
    res = run(method, rosenbrock, lambda intermediate_result: seen.append(intermediate_result))
    assert len(seen) == res.nit
    bounded = isinstance(negopt.METHODS[method].globalize, TrustRegion)
    for k, one in enumerate(seen, start=1):
        assert one.nit == k
        assert one.fun == rosenbrock.fun(one.x)
        assert np.array_equal(one.jac, rosenbrock.grad(one.x))
        assert math.isnan(one.min_curvature) or isinstance(one.min_curvature, float)
        assert one.time >= 0.0
        if one.accepted:
            assert one.step_norm > 0.0
        assert ("tr_radius" in one) == bounded
        if bounded:
            assert one.tr_radius > 0.0
            if not isinstance(negopt.METHODS[method].step, OWN_NORM):
                assert not one.accepted or one.step_norm <= one.tr_radius * (1 + 1e-9)
            assert math.isfinite(one.rho)
    accepted = [one for one in seen if one.accepted]
    assert accepted
    if hasattr(negopt.METHODS[method].globalize, "c1"):  # a line search
        assert all(one.step_size != 0.0 for one in accepted)
        assert sum(one.step_size < 0.0 for one in accepted) == res.n_negative_steps
    for name in ("nfev", "njev", "nhev"):
        counts = [getattr(one, name) for one in seen]
        assert counts == sorted(counts)
        assert counts[-1] <= getattr(res, name)
    if not negopt.METHODS[method].baseline:
        assert [one.fun for one in seen] == sorted((one.fun for one in seen), reverse=True)


def test_negative_steps_are_signed(rosenbrock) -> None:
    seen = []
    res = run(
        "sr1-wolfe-pm",
        rosenbrock,
        lambda intermediate_result: seen.append(intermediate_result.step_size),
    )
    assert res.success
    assert res.n_negative_steps == sum(a < 0.0 for a in seen) > 0
    assert sum(a > 0.0 for a in seen) > 0


@pytest.mark.converges
def test_min_curvature_is_seen_after_an_escape(method, saddle) -> None:
    seen = []
    res = run(
        method, saddle, lambda intermediate_result: seen.append(intermediate_result.min_curvature)
    )
    assert res.success
    if res.n_escapes:
        assert min(c for c in seen if not math.isnan(c)) < 0.0


@pytest.mark.shell
def test_plain_callback_gets_x(method, rosenbrock) -> None:
    seen = []
    res = run(method, rosenbrock, lambda xk: seen.append(xk))
    assert len(seen) == res.nit
    assert all(isinstance(x, np.ndarray) and x.shape == (2,) for x in seen)
    assert rosenbrock.fun(seen[-1]) == pytest.approx(res.fun, abs=1e-9)


@pytest.mark.shell
def test_the_name_of_the_parameter_decides(method, rosenbrock) -> None:
    kinds = []

    class Callable:
        def __call__(self, intermediate_result):
            kinds.append(type(intermediate_result).__name__)

    def two(x, extra=None):
        kinds.append(type(x).__name__)

    def other(intermediate_results):
        kinds.append(type(intermediate_results).__name__)

    def method_of(self, intermediate_result):
        kinds.append(type(intermediate_result).__name__)

    options = {"maxiter": 1}
    for callback in (Callable(), two, other, functools.partial(method_of, None)):
        run(method, rosenbrock, callback, options=options)
    assert kinds == ["OptimizeResult", "ndarray", "ndarray", "OptimizeResult"]


@pytest.mark.shell
def test_a_builtin_without_signature_gets_x(method, rosenbrock) -> None:
    seen: list[np.ndarray] = []
    res = run(method, rosenbrock, seen.append)
    assert len(seen) == res.nit


@pytest.mark.shell
def test_the_copies_are_the_callers(method, rosenbrock) -> None:
    def spoil(intermediate_result):
        intermediate_result.x[:] = np.nan
        intermediate_result.jac[:] = np.nan
        intermediate_result.fun = math.nan

    def spoil_x(xk):
        xk[:] = np.nan

    clean = run(method, rosenbrock, None)
    for callback in (spoil, spoil_x):
        res = run(method, rosenbrock, callback)
        assert np.array_equal(res.x, clean.x)
        assert res.fun == clean.fun


@pytest.mark.shell
def test_the_copies_are_not_written_later(method, rosenbrock) -> None:
    kept, copies = [], []

    def callback(intermediate_result):
        kept.append((intermediate_result.x, intermediate_result.jac))
        copies.append((intermediate_result.x.copy(), intermediate_result.jac.copy()))

    run(method, rosenbrock, callback)
    for mine, then in zip(kept, copies, strict=True):
        assert np.array_equal(mine[0], then[0])
        assert np.array_equal(mine[1], then[1])


@pytest.mark.shell
@pytest.mark.parametrize("at", [1, 3])
@pytest.mark.parametrize("signature", ["xk", "intermediate_result"])
def test_stop_iteration(method, rosenbrock, at, signature) -> None:
    count, lowest = [], [rosenbrock.fun(np.array(rosenbrock.x0))]

    def note(x):
        count.append(0)
        lowest.append(rosenbrock.fun(x))
        if len(count) == at:
            raise StopIteration

    if signature == "xk":
        callback = note
    else:

        def callback(intermediate_result):
            note(intermediate_result.x)

    res = run(method, rosenbrock, callback)
    assert res.nit == at == len(count)
    assert res.status == negopt.Status.CALLBACK == 99
    assert res.success is False or not res.success
    assert res.message == "`callback` raised `StopIteration`."
    assert res.fun <= min(lowest)
    assert res.fun == rosenbrock.fun(res.x)
    assert np.array_equal(res.jac, rosenbrock.grad(res.x))


@pytest.mark.shell
def test_stop_iteration_at_the_last_iteration_still_counts(method, rosenbrock) -> None:
    full = run(method, rosenbrock, None)

    def callback(intermediate_result):
        if intermediate_result.nit == full.nit:
            raise StopIteration

    assert run(method, rosenbrock, callback).status == negopt.Status.CALLBACK


@pytest.mark.shell
def test_a_true_value_does_not_stop(method, rosenbrock, ended) -> None:
    assert ended(run(method, rosenbrock, lambda xk: True))


@pytest.mark.shell
def test_keyboard_interrupt_gives_the_best_point(method, rosenbrock, brief) -> None:
    def callback(intermediate_result):
        if intermediate_result.nit == 3:
            raise KeyboardInterrupt

    res = run(method, rosenbrock, callback)
    assert res.nit == 3
    assert res.status == negopt.Status.INTERRUPTED
    assert not res.success
    assert res.fun == rosenbrock.fun(res.x) < rosenbrock.fun(np.array(rosenbrock.x0))
    rest = {"maxiter": brief["maxiter"] - 3} if brief else {}
    again = run(method, rosenbrock, None, options={"state": res.state, **rest})
    assert np.array_equal(again.x, run(method, rosenbrock, None, options=brief).x)


class Error(Exception):
    """The user's own."""


@pytest.mark.shell
@pytest.mark.parametrize("where", ["fun", "jac", "hessp", "callback", "both", "hess"])
@pytest.mark.parametrize("late", [False, True])
def test_the_users_exceptions_pass_untouched(method, rosenbrock, where, late) -> None:
    if where in ("hessp", "hess") and late:
        pytest.skip("products are asked for once by some methods")
    mine = Error(where)
    count = dict.fromkeys(("fun", "jac", "hessp", "callback", "both", "hess"), 0)

    def watched(name, function):
        def call(*args):
            count[name] += 1
            if name == where and count[name] > (3 if late else 0):
                raise mine
            return function(*args)

        return call

    p = rosenbrock
    kwargs = {
        "fun": watched("fun", p.fun),
        "jac": watched("jac", p.grad),
        "hessp": watched("hessp", p.hessp),
        "callback": watched("callback", lambda xk: None),
    }
    if where == "both":
        kwargs["fun"] = watched("both", lambda x: (p.fun(x), p.grad(x)))
        kwargs["jac"] = True
    if where == "hess":
        del kwargs["hessp"]
        kwargs["hess"] = watched("hess", p.hess)
    # Every method asks for products at a stationary point, the baselines only there.
    x0 = (1.0, 1.0) if where in ("hessp", "hess") else p.x0
    with pytest.raises(Error) as caught:
        negopt.minimize(x0=x0, method=method, **kwargs)
    assert caught.value is mine
    assert caught.value.__cause__ is None


@pytest.mark.shell
def test_a_stop_iteration_of_the_users_function_is_not_the_callbacks(method, rosenbrock) -> None:
    def fun(x):
        raise StopIteration("mine")

    with pytest.raises(StopIteration, match="mine"):
        negopt.minimize(fun, rosenbrock.x0, jac=rosenbrock.grad, method=method)


@pytest.mark.shell
def test_a_callback_that_is_not_callable(method, rosenbrock) -> None:
    with pytest.raises(TypeError, match=r"callback=3 is not callable"):
        run(method, rosenbrock, 3)
