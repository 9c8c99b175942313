"""Is a stationary point a minimum?  Against dense eigenvalues, on random spectra."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import negopt
from negopt import neural
from negopt.core.types import BudgetExhausted
from negopt.functions.objective import Objective
from negopt.solver.second_order import certify, escape


def quadratic(h, **options):
    """Return the objective x'Hx/2 at its stationary point."""
    n = len(h)
    o = Objective(
        lambda x: 0.5 * float(x @ h @ x),
        np.zeros(n),
        (),
        lambda x: h @ x,
        None,
        lambda x, p: h @ p,
        **options,
    )
    return o, o.at(o.x0)


def rotated(values, seed=0):
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.standard_normal((len(values), len(values))))
    return q @ np.diag(values) @ q.T


def check(h, limit=20, seed=0):
    o, here = quadratic(h)
    return certify(o, here, np.random.default_rng(seed), limit), o, here


class FirstProbe:
    """Random numbers, but the first vector is given."""

    def __init__(self, first):
        self.first, self.rng = first, np.random.default_rng(0)

    def standard_normal(self, n):
        first, self.first = self.first, None
        return self.rng.standard_normal(n) if first is None else first


@pytest.mark.parametrize("weight", [1e-4, 1e-6, 1e-10])
def test_negative_curvature_of_small_weight_in_the_probe(weight) -> None:
    """The first Ritz value looks settled; it is not believed before the space has grown."""
    n = 30
    h = np.diag(np.r_[-1.0, np.ones(n - 1)])
    o, here = quadratic(h)
    certificate = certify(o, here, FirstProbe(np.r_[weight, np.ones(n - 1)]), 20).certificate
    assert certificate.status == "negative"
    assert certificate.min_curvature == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ([1.0, 2.0, 3.0], "positive"),
        ([-1.0, 2.0, 3.0], "negative"),
        ([-1e-3, 1.0, 1.0], "negative"),
        ([0.0, 1.0, 2.0], "flat"),
        ([-1.0, -2.0, -3.0], "negative"),
        ([0.0, 0.0], "flat"),
        ([5.0], "positive"),
        ([-5.0], "negative"),
        ([1.0, 1.0, 1.0, -1.0], "negative"),
        ([2.0] * 10, "positive"),
        ([1e-30, 2e-30], "positive"),
        ([-1e-30, 2e-30], "negative"),
        ([1e30, -2e30], "negative"),
    ],
)
def test_verdicts(values, status) -> None:
    for seed in range(5):
        found, o, _ = check(rotated(values, seed), seed=seed)
        certificate = found.certificate
        assert certificate.status == status
        scale = max(map(abs, values))
        assert certificate.min_curvature >= min(values) - 1e-9 * scale
        if certificate.products == len(values):
            assert certificate.min_curvature == pytest.approx(min(values), abs=1e-9 * scale)
        assert certificate.products == o.counters.nhev <= len(values)


@settings(max_examples=60)
@given(
    n=st.integers(1, 15),
    seed=st.integers(0, 2**32 - 1),
    negative=st.integers(0, 3),
    repeated=st.booleans(),
)
def test_complete_checks_agree_with_eigenvalues(n, seed, negative, repeated) -> None:
    rng = np.random.default_rng(seed)
    values = 10.0 ** rng.uniform(-2.0, 2.0, n)
    if repeated:
        values = np.round(np.log10(values)) + 3.0
    values[: min(negative, n)] *= -1.0
    certificate = check(rotated(values, seed), limit=n, seed=seed)[0].certificate
    scale = np.max(np.abs(values))
    assert certificate.status == ("negative" if values.min() < 0.0 else "positive")
    assert certificate.min_curvature >= values.min() - 1e-8 * scale


def test_a_negative_direction_is_a_proof() -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        h = rotated(np.r_[-0.5, rng.uniform(0.1, 10.0, 29)], seed)
        found, o, _ = check(h, seed=seed)
        assert o.counters.nhev <= 20
        assert found.certificate.status == "negative"
        curvature = found.step @ h @ found.step / (found.step @ found.step)
        assert curvature == pytest.approx(found.certificate.min_curvature, rel=1e-6)
        assert curvature < 0.0


def test_the_axes_are_no_blind_spot() -> None:
    # a negative eigenvalue on any coordinate axis is found, whichever it is
    for i in range(12):
        values = np.ones(12)
        values[i] = -0.1
        found, _, _ = check(np.diag(values), seed=i)
        assert found.certificate.status == "negative"


def test_products_that_are_not_finite_give_no_verdict() -> None:
    o = Objective(
        lambda x: 0.0, np.zeros(2), (), np.zeros_like, None, lambda x, p: np.full(2, np.nan)
    )
    certificate = certify(o, o.at(o.x0), np.random.default_rng(0), 20).certificate
    assert certificate.status == "unknown"
    assert math.isnan(certificate.min_curvature)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
@pytest.mark.parametrize("n", [1, 5, 12, 13])
def test_products_that_are_not_finite_warn_of_nothing(wrong, n) -> None:
    def slope(x):
        return np.where(x == 0.0, 0.0, wrong)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        res = negopt.minimize(lambda x: -float(x @ x), np.zeros(n), jac=slope)
    assert res.curvature_status == "unknown"
    assert "products not finite" in res.message


def test_a_flat_point_is_no_end_where_a_lower_one_is_known() -> None:
    """The budget ends the run on the way down from it."""

    def valley(x):
        g = -4.0 * x**3
        g[0] = x[0]
        return 0.5 * x[0] ** 2 - float(np.sum(x[1:] ** 4)), g

    for n in (3, 14):
        for maxfun in range(1, 90):
            res = negopt.minimize(valley, np.zeros(n), jac=True, options={"maxfun": maxfun})
            if res.fun < -1e-12:
                assert not res.success
                assert res.curvature_status == "flat"
                assert "flat curvature, and maxfun" in res.message
                break
        else:
            pytest.fail("no lower point was found")


def test_float32_takes_rounding_for_flat_not_for_negative() -> None:
    h = rotated([1.0, 1e-7, 3.0]).astype(np.float32)
    o = Objective(
        lambda x: 0.0, np.zeros(3, np.float32), (), np.zeros_like, None, lambda x, p: h @ p
    )
    found = certify(o, o.at(o.x0), np.random.default_rng(0), 20)
    assert found.certificate.status == "flat"


def test_escape_goes_below_and_on_while_it_pays() -> None:
    def fun(x):
        return 0.25 * x[0] ** 4 - 0.5 * x[0] ** 2 + 0.5 * x[1] ** 2

    def jac(x):
        return np.array([x[0] ** 3 - x[0], x[1]])

    o = Objective(fun, np.zeros(2), (), jac, None, None)
    here = o.at(o.x0)
    found = certify(o, here, np.random.default_rng(0), 20)
    lower = escape(o, here, found)
    assert lower.f < -0.1  # not a step at the noise floor that falls back
    assert fun(lower.x) == lower.f


def test_escape_takes_the_lower_side() -> None:
    # x^3 - x^2/10: both sides are lower at first, the left side much more
    o = Objective(
        lambda x: float(x[0] ** 3 - 0.1 * x[0] ** 2),
        np.zeros(1),
        (),
        lambda x: 3.0 * x**2 - 0.2 * x,
        None,
        None,
    )
    here = o.at(o.x0)
    found = certify(o, here, np.random.default_rng(0), 20)
    assert escape(o, here, found).x[0] < 0.0


def test_no_escape_from_what_is_not_higher_than_its_surroundings() -> None:
    o = Objective(lambda x: 1.0, np.zeros(2), (), np.zeros_like, None, lambda x, p: -p)
    here = o.at(o.x0)
    found = certify(o, here, np.random.default_rng(0), 20)
    assert found.certificate.status == "negative"
    assert escape(o, here, found) is None
    found.step = None
    assert escape(o, here, found) is None


def test_budgets_hold_inside_the_check() -> None:
    o, here = quadratic(np.diag([-1.0, 2.0]), maxfun=1)
    found = certify(o, here, np.random.default_rng(0), 20)
    with pytest.raises(BudgetExhausted):
        escape(o, here, found)


def ends_of_a_network():
    """Yield objective, point and root where small negative eigenvalues lie below large ones."""
    data = neural.load_ionosphere()
    network = neural.MLP([34, 8, 1])
    objective = neural.MLPObjective(
        network,
        neural.standardize(data.X)[0],
        neural.binary_labels(data.y),
        loss="logistic",
        l2=1e-4,
    )
    # Plain settings, whose ends on this network are known to be such points.
    plain = {"block": 1, "interpolate": False, "maxcor": 20, "first_grow": 100.0}
    row = negopt.METHODS["lqn-tr"].with_options(plain)
    for seed in (2, 5, 6, 7, 9, 12):
        res = negopt.minimize(
            objective, objective.x0(rng=seed), method=row, options={"certify": False}
        )
        assert res.success
        product = objective.hessp(res.x)
        h = np.stack([product(e) for e in np.eye(network.size)])
        if np.linalg.eigvalsh(h)[0] > -1e-5:
            continue
        o = Objective(objective, res.x)
        here = o.at(res.x)
        yield o, here, row.curvature.model(res.state.memory, None, here).root(here.x)


def test_the_model_of_the_run_shows_where_to_look() -> None:
    alone = guided = saddles = 0
    for o, here, root in ends_of_a_network():
        saddles += 1
        for probe in range(3):
            for how in (None, root):
                found = certify(o, here, np.random.default_rng(probe), 20, how).certificate
                assert found.status in ("negative", "unsettled")
                if how is None:
                    alone += found.min_curvature < 0.0
                else:
                    guided += found.min_curvature < 0.0
    assert saddles >= 3
    # At which of the ends the model knows the way depends on their last digits.
    assert guided > alone
