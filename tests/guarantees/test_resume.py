"""A run that is stopped and resumed is the run that was not: bit for bit, for every method.

Theorem.  Let a run of N iterations be cut anywhere into pieces, each resumed from ``res.state`` of
the piece before, directly or through ``checkpoint.save`` and ``load``.  Then x, fun, jac, the
counters, the history and the state of the random numbers at the end are those of the run in one
piece.  The state that was handed over is not changed by the run that goes on from it.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import negopt
from negopt import METHODS, checkpoint

N = 12


def fun(x):
    return float(np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2))


def grad(x):
    g = np.zeros_like(x)
    inner = x[1:] - x[:-1] ** 2
    g[:-1] = -400.0 * x[:-1] * inner - 2.0 * (1.0 - x[:-1])
    g[1:] += 200.0 * inner
    return g


def hessp(x, p):
    out = np.zeros_like(x)
    out[:-1] = (1200.0 * x[:-1] ** 2 - 400.0 * x[1:] + 2.0) * p[:-1] - 400.0 * x[:-1] * p[1:]
    out[1:] += 200.0 * p[1:] - 400.0 * x[:-1] * p[:-1]
    return out


def run(name, x0, options, products):
    return negopt.minimize(
        fun,
        x0,
        jac=grad,
        hessp=hessp if products else None,
        method=name,
        options={"gtol": 0.0, "record": True, **options},
    )


def leaves(value, path=""):
    """Yield all arrays and numbers of a state, but for the clock."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            if field.name not in ("elapsed", "message"):
                yield from leaves(getattr(value, field.name), f"{path}.{field.name}")
    elif isinstance(value, dict):
        for key in value:
            if key != "time":
                yield from leaves(value[key], f"{path}[{key}]")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from leaves(item, f"{path}[{i}]")
    else:
        yield path, value


def assert_same(a, b):
    for (path, left), (other, right) in zip(leaves(a), leaves(b), strict=True):
        assert path == other
        np.testing.assert_array_equal(left, right, err_msg=path)


@pytest.mark.parametrize("products", [True, False])
@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=5)
@given(
    cuts=st.lists(st.integers(1, 99), min_size=1, max_size=3, unique=True).map(sorted),
    seed=st.integers(0, 10**6),
    through_file=st.booleans(),
)
def test_pieces_are_the_whole(tmp_path_factory, name, products, cuts, seed, through_file):
    x0 = np.random.default_rng(seed).standard_normal(N)
    whole = run(name, x0, {"maxiter": 100}, products)
    lengths = np.diff([0, *cuts, 100])
    piece = run(name, x0, {"maxiter": int(lengths[0])}, products)
    for length in lengths[1:]:
        if piece.status != negopt.Status.LIMIT:
            break  # at the limits of the precision before the cut
        state = piece.state
        if through_file:
            path = tmp_path_factory.mktemp("run") / "state.npz"
            checkpoint.save(path, piece.state)
            state = checkpoint.load(path)
            assert_same(state, piece.state)
        piece = run(name, x0, {"maxiter": int(length), "state": state}, products)
    np.testing.assert_array_equal(piece.x, whole.x)
    np.testing.assert_array_equal(piece.jac, whole.jac)
    assert piece.fun == whole.fun
    assert piece.status == whole.status
    assert piece.nit == whole.nit
    assert_same(piece.state, whole.state)
    for column in whole.history:
        if column != "time":
            np.testing.assert_array_equal(piece.history[column], whole.history[column])


@pytest.mark.parametrize("name", METHODS)
def test_fifty_and_fifty_are_a_hundred(name, tmp_path):
    x0 = np.full(40, -1.2)
    x0[1::2] = 1.0
    # Or it is done too soon.
    slow = {
        "sfn-series": {"terms": 3},
        "tr-ellipsoid": {"max_products": 3},
        "sfn-exact": {"average": 0.05},
        "new-q-newton": {"variant": "as printed"},
    }.get(name, {})
    whole = run(name, x0, {"maxiter": 100, **slow}, True)
    assert whole.nit == 100
    half = run(name, x0, {"maxiter": 50, **slow}, True)
    assert half.nit == 50
    checkpoint.save(tmp_path / "half.npz", half)
    before = dict(leaves(half.state))
    kept = {path: np.array(value) for path, value in before.items()}
    for state in (half.state, checkpoint.load(tmp_path / "half.npz")):
        rest = run(name, x0, {"maxiter": 50, "state": state, **slow}, True)
        assert_same(rest.state, whole.state)
        np.testing.assert_array_equal(rest.x, whole.x)
    for path, value in leaves(half.state):  # the state that was handed over is as it was
        np.testing.assert_array_equal(value, kept[path], err_msg=path)


@pytest.mark.parametrize("name", METHODS)
def test_across_an_escape(name):
    """The check's random probes go on where they were."""

    def well(x):
        return float(np.sum(x**4) / 4 - x[0] ** 2 / 2 + np.sum(x[1:] ** 2) / 2)

    def slope(x):
        g = x**3 + x
        g[0] -= 2 * x[0]
        return g

    x0 = np.array([0.0, 0.5, -0.7, 0.9])
    options = {"gtol": 1e-6, "rng": 5}
    if METHODS[name].baseline:
        options["learning_rate"] = 0.1
    whole = negopt.minimize(well, x0, jac=slope, method=name, options=options)
    assert whole.n_escapes >= 1
    for cut in range(1, whole.nit, 1 + whole.nit // 40):
        first = negopt.minimize(
            well, x0, jac=slope, method=name, options=options | {"maxiter": cut}
        )
        rest = negopt.minimize(
            well, x0, jac=slope, method=name, options=options | {"state": first.state}
        )
        np.testing.assert_array_equal(rest.x, whole.x)
        assert (rest.nit, rest.nfev, rest.nhev) == (whole.nit, whole.nfev, whole.nhev)
        assert rest.state.rng_state == whole.state.rng_state


@pytest.mark.parametrize("name", [m for m, row in METHODS.items() if row.needs == "jac"])
def test_a_budget_within_the_check_or_an_escape(name):
    """The probes and the model are those of the check that was begun; an escape is all or none."""
    n = 14  # more than are looked at in one piece

    def both(x):
        return float(np.sum(x**4) / 4 - x[0] ** 2 / 2 + np.sum(x[1:] ** 2) / 2), slope(x)

    def slope(x):
        g = x**3 + x
        g[0] -= 2 * x[0]
        return g

    options = {"gtol": 1e-6, "rng": 5}
    if METHODS[name].baseline:
        options["learning_rate"] = 0.3
    for x0 in (np.zeros(n), np.r_[0.0, np.full(n - 1, 0.5)]):
        whole = negopt.minimize(both, x0, jac=True, method=name, options=options)
        assert whole.n_escapes >= 1
        for cut in range(1, min(whole.nfev, 90), 3):
            first = negopt.minimize(
                both, x0, jac=True, method=name, options=options | {"maxfun": cut}
            )
            assert first.nfev <= cut
            rest = negopt.minimize(
                both, x0, jac=True, method=name, options=options | {"state": first.state}
            )
            np.testing.assert_array_equal(rest.x, whole.x)
            assert (rest.nit, rest.n_escapes) == (whole.nit, whole.n_escapes)
            assert rest.state.rng_state == whole.state.rng_state
