"""Half a run and the rest of it are the run, bit for bit; history, log and options."""

from __future__ import annotations

import copy
import dataclasses
import logging
import pickle

import numpy as np
import pytest
from scipy.optimize import OptimizeWarning

import negopt
from negopt import checkpoint

EXTENDED = np.tile([-1.2, 1.0], 10)


def fun(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def jac(x):
    g = np.zeros_like(x)
    a = x[1:] - x[:-1] ** 2
    g[:-1] += -400.0 * a * x[:-1] - 2.0 * (1.0 - x[:-1])
    g[1:] += 200.0 * a
    return g


def solve(method, x0=EXTENDED, f=fun, **options):
    return negopt.minimize(f, x0, jac=jac, method=method, options=options)


def same(one, other) -> None:
    assert np.array_equal(one.x, other.x)
    assert np.array_equal(one.jac, other.jac)
    for name in ("fun", "nit", "nfev", "njev", "nhev", "status", "n_rejected", "n_skipped"):
        assert getattr(one, name) == getattr(other, name), name


def test_two_halves_are_the_whole(method, tmp_path) -> None:
    total = 50
    whole = solve(method, maxiter=total)
    for first in (0, 1, 10, 25):
        state = solve(method, maxiter=first).state
        checkpoint.save(tmp_path / "run.npz", state)
        loaded = checkpoint.load(tmp_path / "run.npz")
        pickled = pickle.loads(pickle.dumps(state))
        for copied in (state, loaded, pickled):
            same(solve(method, maxiter=total - first, state=copied), whole)


@pytest.mark.converges
def test_resuming_through_a_saddle(method, saddle) -> None:
    kwargs = dict(jac=saddle.grad, method=method)
    whole = negopt.minimize(saddle.fun, saddle.x0, **kwargs)
    assert whole.nit > 0
    for first in range(whole.nit):
        half = negopt.minimize(saddle.fun, saddle.x0, options={"maxiter": first}, **kwargs)
        rest = negopt.minimize(saddle.fun, saddle.x0, options={"state": half.state}, **kwargs)
        same(rest, whole)
        assert rest.n_escapes == whole.n_escapes


def test_resuming_in_many_pieces(method) -> None:
    whole = solve(method, maxiter=12)
    state = None
    for _ in range(6):
        res = solve(method, maxiter=2, **({} if state is None else {"state": state}))
        state = res.state
    same(res, whole)


def test_float32_and_every_library(method, xp_case, rosenbrock, tmp_path) -> None:
    for dtype in ("float64", "float32"):
        x0 = xp_case.asarray(rosenbrock.x0, dtype=dtype)
        kwargs = dict(jac=rosenbrock.grad, method=method)
        whole = negopt.minimize(rosenbrock.fun, x0, options={"maxiter": 12}, **kwargs)
        half = negopt.minimize(rosenbrock.fun, x0, options={"maxiter": 6}, **kwargs)
        checkpoint.save(tmp_path / "run.npz", half.state)
        state = checkpoint.load(tmp_path / "run.npz")
        rest = negopt.minimize(rosenbrock.fun, x0, options={"maxiter": 6, "state": state}, **kwargs)
        assert xp_case.owns(rest.x)
        assert rest.x.dtype == x0.dtype
        assert np.array_equal(xp_case.to_numpy(rest.x), xp_case.to_numpy(whole.x))


def test_the_callers_state_is_not_changed(method) -> None:
    half = solve(method, maxiter=5)
    before = copy.deepcopy(half.state)
    solve(method, maxiter=20, state=half.state)
    again = solve(method, maxiter=20, state=half.state)
    same(again, solve(method, maxiter=20, state=before))
    assert half.state.k == 5
    assert half.state.status == negopt.Status.LIMIT


def test_budgets_are_of_the_call_and_counters_of_the_run(method) -> None:
    half = solve(method, maxfun=10)
    calls = []

    def counted(x):
        calls.append(0)
        return fun(x)

    rest = solve(method, f=counted, maxfun=10, state=half.state)
    assert half.nfev == 10
    assert len(calls) == 11  # that which looks whether f is the same counts nowhere
    assert rest.nfev == 20
    assert rest.nit > half.nit
    assert rest.fun <= half.fun


@pytest.mark.shell
@pytest.mark.converges
def test_going_on_after_convergence_ends_at_once(method, rosenbrock) -> None:
    kwargs = dict(jac=rosenbrock.grad, method=method)
    done = negopt.minimize(rosenbrock.fun, rosenbrock.x0, **kwargs)
    again = negopt.minimize(rosenbrock.fun, rosenbrock.x0, options={"state": done.state}, **kwargs)
    assert again.success
    assert again.nit == done.nit
    assert again.fun <= done.fun
    assert again.nfev <= done.nfev + 1
    tighter = negopt.minimize(
        rosenbrock.fun, rosenbrock.x0, options={"state": done.state, "gtol": 1e-13}, **kwargs
    )
    assert tighter.fun <= done.fun
    if np.max(np.abs(done.jac)) > 1e-13:  # else the last Newton step has hit the minimiser
        assert tighter.nfev > done.nfev


@pytest.mark.shell
@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("text", "is a str; pass res.state"),
        (3, "is a int; pass res.state"),
        ({}, "is a dict; pass res.state"),
    ],
)
def test_what_is_no_state(method, state, words) -> None:
    with pytest.raises(ValueError, match=words):
        solve(method, state=state)


@pytest.mark.shell
def test_states_of_others(method) -> None:
    other = "lsr1-tr" if method != "lsr1-tr" else "lqn-tr"
    half = solve(method, maxiter=2)
    with pytest.raises(ValueError, match=f"from method '{method}'"):
        solve(other, state=half.state)
    with pytest.raises(ValueError, match="has 20 variables but x0 has 3"):
        solve(method, x0=np.zeros(3), state=half.state)


@pytest.mark.shell
def test_history(method) -> None:
    seen = []
    res = negopt.minimize(
        fun,
        EXTENDED,
        jac=jac,
        method=method,
        callback=lambda intermediate_result: seen.append(intermediate_result),
        options={"record": True, "maxiter": 30},
    )
    history = res.history
    assert {len(values) for values in history.values()} == {res.nit + 1}
    assert all(v.dtype == np.float64 and v.ndim == 1 for v in history.values())
    assert list(history["nit"]) == list(range(res.nit + 1))
    assert list(history["fun"][1:]) == [one.fun for one in seen]
    assert history["fun"][0] == fun(EXTENDED)
    assert history["grad_norm"][0] == np.max(np.abs(jac(EXTENDED)))
    assert list(history["nfev"][1:]) == [one.nfev for one in seen]
    assert np.all(np.diff(history["time"]) >= 0.0)
    assert np.all(np.diff(history["fun"]) <= 0.0)
    half = solve(method, record=True, maxiter=10)
    rest = solve(method, record=True, maxiter=20, state=half.state)
    for name in ("nit", "fun", "nfev"):
        assert list(rest.history[name]) == list(history[name]), name
    assert len(half.history["nit"]) == 11


@pytest.mark.shell
def test_no_history_unless_asked(method) -> None:
    assert "history" not in solve(method, maxiter=2)
    assert "allvecs" not in solve(method, maxiter=2)


@pytest.mark.shell
def test_return_all(method) -> None:
    res = solve(method, maxiter=10, return_all=True)
    assert len(res.allvecs) == res.nit + 1
    assert np.array_equal(res.allvecs[0], EXTENDED)
    assert fun(res.allvecs[-1]) == res.fun


@pytest.mark.shell
@pytest.mark.converges
def test_disp_logs_one_aligned_line_an_iteration(method, rosenbrock, caplog, capsys) -> None:
    with caplog.at_level(logging.INFO, logger="negopt"):
        res = negopt.minimize(
            rosenbrock.fun,
            rosenbrock.x0,
            jac=rosenbrock.grad,
            method=method,
            options={"disp": True},
        )
    messages = [record.getMessage() for record in caplog.records if record.name == "negopt"]
    rows = [m for m in messages if m.lstrip()[:1].isdigit()]
    assert len(rows) == res.nit + 1
    header = messages[0].splitlines()[-1]
    assert {len(r) for r in rows} == {len(header)}
    assert messages[-1] == res.message
    assert method in messages[0]


@pytest.mark.shell
def test_silence_without_disp(method, rosenbrock, caplog, capsys) -> None:
    with caplog.at_level(logging.DEBUG):
        negopt.minimize(rosenbrock.fun, rosenbrock.x0, jac=rosenbrock.grad, method=method)
    assert not [r for r in caplog.records if r.name.startswith("negopt")]
    assert capsys.readouterr() == ("", "")


@pytest.mark.shell
def test_unknown_options_name_the_nearest(method, rosenbrock, ended) -> None:
    with pytest.warns(OptimizeWarning, match=r"Unknown solver option 'max_iter'.*'maxiter'") as w:
        res = negopt.minimize(
            rosenbrock.fun,
            rosenbrock.x0,
            jac=rosenbrock.grad,
            method=method,
            options={"max_iter": 3},
        )
    assert ended(res)
    assert len(w) == 1
    assert w[0].filename == __file__  # points at the user's line
    with pytest.warns(OptimizeWarning, match="Unknown solver option 'zzz'") as w:
        solve(method, maxiter=1, zzz=1)
    assert "Did you mean" not in str(w[0].message)


@pytest.mark.shell
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gtol": -1.0}, r"gtol=-1.0: must be"),
        ({"gtol": "small"}, r"gtol='small': must be"),
        ({"gtol": float("nan")}, r"gtol=nan: must be"),
        ({"grtol": -1.0}, r"grtol=-1.0"),
        ({"xrtol": -1.0}, r"xrtol=-1.0"),
        ({"maxfun": 0}, r"maxfun=0: at least one"),
        ({"maxfun": -3}, r"maxfun=-3"),
        ({"maxtime": -1}, r"maxtime=-1"),
        ({"maxiter": "many"}, r"maxiter='many': must be"),
        ({"norm": 0}, r"norm=0: must be"),
        ({"ftarget": "low"}, r"ftarget='low': must be"),
        ({"certify_products": -1}, r"certify_products=-1: must be"),
        ({"certify_products": 2.5}, r"certify_products=2.5: must be"),
        ({"max_escapes": -1}, r"max_escapes=-1: must be"),
    ],
)
def test_bad_options_of_all(method, options, words) -> None:
    with pytest.raises(ValueError, match=words):
        solve(method, **options)


#: Every option that a rule owns, with one row that has the rule at this default.
OWNED = list(
    {
        (type(part), f.name, repr(getattr(part, f.name))): pytest.param(
            name, f.name, id=f"{name}-{f.name}"
        )
        for name, row in negopt.METHODS.items()
        for part in row.parts
        for f in dataclasses.fields(part)
    }.values()
)

VARIANTS = [
    pytest.param(name, variant, id=f"{name}-{variant}")
    for name, row in negopt.METHODS.items()
    for variant in row.variants
]


@pytest.mark.parametrize(("name", "option"), OWNED)
def test_bad_options_of_the_parts(name, option) -> None:
    for value in (-7.5, "nonsense", float("nan")):  # no option takes one of these
        with pytest.raises((ValueError, TypeError), match=rf"{option}.*{value!r}"):
            solve(name, maxiter=2, **{option: value})


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_a_variant_is_its_options(name, variant) -> None:
    settings = dict(negopt.METHODS[name].variants[variant])
    assert f"variant={variant!r}" in negopt.show_options(name, disp=False)
    res = solve(name, maxiter=5, variant=variant)
    same(res, solve(name, maxiter=5, **settings))
    assert res.fun <= fun(EXTENDED)
    with pytest.raises(ValueError, match=rf"variant='none'.*{variant}"):
        solve(name, variant="none")
    option = next(iter(settings))  # an option given beside it comes first
    default = next(
        getattr(p, option) for p in negopt.METHODS[name].parts if option in p.__dataclass_fields__
    )
    beside = solve(name, maxiter=5, variant=variant, **{option: default})
    same(beside, solve(name, maxiter=5, **{**settings, option: default}))


def test_every_option_is_documented(method) -> None:
    rows = [line.split() for line in negopt.show_options(method, disp=False).splitlines()]
    for option in negopt.METHODS[method].option_names() - {"variant"}:
        assert any(row[:1] == [option] and len(row) >= 3 for row in rows), option


@pytest.mark.parametrize(("name", "option"), OWNED)
def test_the_default_of_every_option_is_accepted(name, option) -> None:
    default = next(
        getattr(part, option)
        for part in negopt.METHODS[name].parts
        if option in part.__dataclass_fields__
    )
    plain = solve(name, maxiter=3)
    same(solve(name, maxiter=3, **{option: default}), plain)


@pytest.mark.shell
@pytest.mark.parametrize(
    ("extra", "word"),
    [
        ({"bounds": [(0, 1)] * 20}, "bounds"),
        ({"constraints": {"type": "eq", "fun": fun}}, "constraints"),
        ({"constraints": [{"type": "eq", "fun": fun}]}, "constraints"),
    ],
)
def test_bounds_and_constraints_name_scipys_methods(method, extra, word) -> None:
    with pytest.raises(ValueError, match=r"L-BFGS-B.*trust-constr") as caught:
        negopt.minimize(fun, EXTENDED, jac=jac, method=method, **extra)
    assert word in str(caught.value)
    assert method in str(caught.value)
