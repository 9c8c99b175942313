"""Every row's three parts keep the protocols that hold them together."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

import negopt
from negopt.core.bounds import Radius
from negopt.core.method import TIERS
from negopt.core.types import Iterate, Outcome, Step
from negopt.functions.objective import Objective
from negopt.globalize.trust_region import TrustRegion
from negopt.models.limited import LimitedModel


@pytest.fixture
def row(method):
    """The method's row."""
    return negopt.METHODS[method]


@pytest.fixture
def started(row, problem):
    """Objective, first point, memory and operator."""
    objective = Objective(problem.fun, np.array(problem.x0), (), problem.grad, None, problem.hessp)
    here = objective.at(objective.x0)
    memory = row.curvature.init(here.x)
    return objective, here, memory


class Asked(Exception):
    """Ends a step where the step rule is asked, with the bound that it is given."""


class Asker:
    """A step rule that tells which bound a globalisation hands to it."""

    def propose(self, iterate, operator, bound):
        raise Asked(bound)


def bound_of(row, objective, here, operator):
    """Return a bound of the kind, and about the size, that the globalisation gives."""
    try:
        row.globalize.advance(row.globalize.init(here), objective, here, operator, Asker())
    except Asked as asked:
        return asked.args[0]
    raise AssertionError("no step was asked for")


def applied(operator):
    """Return the operator's linear map, B or its inverse, whichever it offers."""
    if hasattr(operator, "solve"):
        return lambda v: operator.solve(v)
    return operator.matvec


def learn(row, problem, objective, here, memory, count=4) -> bool:
    """Feed a few pairs of the problem; tell whether any was kept."""
    rng = np.random.default_rng(0)
    kept = []
    for _ in range(count):
        s = 0.3 * rng.standard_normal(len(problem.x0))
        kept.append(row.curvature.update(memory, s, problem.grad(here.x + s) - here.g))
    return any(kept)


def test_rules_are_frozen_and_documented(row) -> None:
    for part in row.parts:
        assert dataclasses.is_dataclass(part)
        assert type(part).__dataclass_params__.frozen
        assert type(part).__doc__
        for f in dataclasses.fields(part):
            assert f.metadata.get("doc"), (type(part).__name__, f.name)
    names = [f.name for part in row.parts for f in dataclasses.fields(part)]
    assert len(names) == len(set(names))  # one owner for each option
    run = {f.name for f in dataclasses.fields(negopt.core.options.RunOptions)}
    assert not run & set(names)


def test_the_row_says_what_it_is(row, method) -> None:
    assert row.name == method
    assert row.needs in ("jac", "hessp")
    assert row.summary
    assert row.guarantee
    assert row.reference
    assert row.tier in TIERS
    with pytest.raises(dataclasses.FrozenInstanceError):
        row.name = "other"


def test_the_model_is_of_what_the_row_says(row, started, problem) -> None:
    objective, here, memory = started
    learn(row, problem, objective, here, memory)
    operator = row.curvature.model(memory, objective, here)
    if row.needs == "hessp":
        assert row.keeps is None  # the Hessian itself is there to be handed out
    if row.keeps == "B":
        v = np.linspace(-1.0, 2.0, len(problem.x0))
        matrix = np.stack([operator.matvec(e) for e in np.eye(len(v))])
        back = operator.matvec(operator.solve(v))
        assert np.allclose(back, v, atol=1e-12 * np.linalg.cond(matrix))
    elif row.keeps == "H":
        matrix = np.stack([operator.solve(e) for e in np.eye(len(problem.x0))])
        if getattr(operator, "matrix", None) is not None:
            assert np.allclose(operator.matrix, matrix, atol=1e-12 * np.max(np.abs(matrix)))
        if row.positive:
            assert np.linalg.eigvalsh(matrix)[0] > 0.0


def test_the_operator_offers_what_the_step_asks_for(row, started, problem) -> None:
    objective, here, memory = started
    for taught in (False, True):
        if taught:
            learn(row, problem, objective, here, memory)
        operator = row.curvature.model(memory, objective, here)
        assert isinstance(operator.learns, bool)
        bound = bound_of(row, objective, here, operator)
        if isinstance(row.globalize, TrustRegion):
            bound = Radius(0.7)
        step = row.step.propose(here, operator, bound)
        assert isinstance(step, Step)
        assert step.s.shape == here.x.shape
        assert step.s.dtype == here.x.dtype
        assert math.isfinite(step.quadratic)
        assert step.slope == pytest.approx(here.g @ step.s, rel=1e-6, abs=1e-9)
        assert step.predicted_decrease == -(step.slope + 0.5 * step.quadratic)
        if isinstance(row.globalize, TrustRegion):
            assert step.norm <= 0.7 * (1 + 1e-10)
            assert step.length == pytest.approx(np.linalg.norm(step.s))
            assert step.predicted_decrease > 0.0
            if not math.isnan(step.euclidean):
                continue  # a ball of another norm has another Cauchy point
            # never below the Cauchy decrease of the same model
            g, bg = here.g, operator.matvec(here.g)
            curvature = g @ bg
            t = 0.7 / np.linalg.norm(g)
            if curvature > 0.0:
                t = min(t, g @ g / curvature)
            cauchy = t * (g @ g) - 0.5 * t * t * curvature
            # ... but that of products preconditioned by a model, which promises a tenth of it, and
            # a step of a limited-memory model, nine tenths
            share = 0.1 if getattr(operator, "model", None) is not None else 1.0
            if isinstance(operator, LimitedModel):
                share = 0.9 if curvature > 0.0 else 0.81
            assert step.predicted_decrease >= share * cauchy * (1 - 1e-8)


def test_matvec_is_linear_and_symmetric(row, started, problem) -> None:
    objective, here, memory = started
    learn(row, problem, objective, here, memory)
    operator = row.curvature.model(memory, objective, here)
    apply = operator.matvec if hasattr(operator, "matvec") else applied(operator)
    n = len(problem.x0)
    matrix = np.stack([apply(e) for e in np.eye(n)], axis=1)
    scale = np.max(np.abs(matrix))
    assert np.allclose(matrix, matrix.T, atol=1e-8 * scale)
    v = np.linspace(-1.0, 2.0, n)
    assert np.allclose(apply(v), matrix @ v, atol=1e-8 * scale)


def test_the_newest_pair_obeys_the_secant_equation(row, started, problem) -> None:
    objective, here, memory = started
    if row.needs == "hessp":
        pytest.skip("exact products")
    if not row.secant:
        pytest.skip("no secant model")
    curvature = row.curvature
    if hasattr(curvature, "block"):  # a block averages the newest equation with older ones
        curvature = dataclasses.replace(curvature, block=1)
    rng = np.random.default_rng(2)
    for _ in range(3):
        s = 0.2 * rng.standard_normal(len(problem.x0))
        y = problem.grad(here.x + s) - here.g
        kept = curvature.update(memory, s, y)
    if row.positive and not s @ y > 0.0:
        assert not kept
        return
    assert kept
    operator = curvature.model(memory, objective, here)
    if hasattr(operator, "matvec"):
        assert np.allclose(operator.matvec(s), y, rtol=1e-6, atol=1e-6 * np.max(np.abs(y)))
    else:
        assert np.allclose(operator.solve(y), s, rtol=1e-6, atol=1e-6)


def test_bad_pairs_change_nothing(row, started, problem) -> None:
    objective, here, memory = started
    if row.needs == "hessp":
        pytest.skip("exact products")
    learn(row, problem, objective, here, memory)
    n = len(problem.x0)

    def image():
        operator = row.curvature.model(memory, objective, here)
        return applied(operator)(np.linspace(1.0, 2.0, n))

    before = image()
    for bad_s, bad_y in ((np.nan, 1.0), (0.0, 1.0), (1.0, np.nan), (1.0, np.inf)):
        assert row.curvature.update(memory, np.full(n, bad_s), np.full(n, bad_y)) is False
        assert np.array_equal(image(), before)


def test_reset_forgets(row, started, problem) -> None:
    objective, here, memory = started
    if row.needs == "hessp":
        assert row.curvature.reset(memory) is False
        return
    fresh = applied(row.curvature.model(memory, objective, here))(here.g)
    assert row.curvature.reset(memory) is False  # nothing to forget yet
    row.curvature.model(memory, objective, here)
    learned = learn(row, problem, objective, here, memory)
    assert learned or row.positive
    # True asks the solver for a fresh start: of no use to a baseline, whose steps are fixed.
    assert row.curvature.reset(memory) is (learned and not row.baseline)
    again = applied(row.curvature.model(memory, objective, here))(here.g)
    assert np.array_equal(fresh, again)


def test_advance_reports_facts(row, started, problem) -> None:
    objective, here, memory = started
    state = row.globalize.init(here)
    for _ in range(5):
        if here.gnorm < 1e-6:  # the solver does not go on from here
            break
        operator = row.curvature.model(memory, objective, here)
        spent = objective.counters.nfev
        out = row.globalize.advance(state, objective, here, operator, row.step)
        assert isinstance(out, Outcome)
        assert out.trials == objective.counters.nfev - spent
        if out.accepted:
            assert isinstance(out.trial, Iterate)
            assert out.valid
            assert out.trial.finite
            assert np.array_equal(out.s, out.trial.x - here.x)
            assert out.trial.f < here.f
            row.curvature.update(memory, out.s, out.trial.g - here.g)
            here = out.trial
        elif not out.stuck:
            assert out.rho <= row.globalize.eta
    assert here.f < problem.fun(np.array(problem.x0))
    row.globalize.escaped(state, here, 0.5)


def test_states_hold_data_only(row, started) -> None:
    _, here, memory = started

    def walk(value):
        if dataclasses.is_dataclass(value):
            for f in dataclasses.fields(value):
                walk(getattr(value, f.name))
        elif isinstance(value, (list, tuple)):
            for v in value:
                walk(v)
        else:
            assert value is None or isinstance(value, (bool, int, float, str, np.ndarray))

    walk(memory)
    walk(row.globalize.init(here))


def test_a_users_own_row(problem) -> None:
    base = negopt.METHODS["lsr1-tr"]
    mine = dataclasses.replace(base, name="mine", curvature=type(base.curvature)(maxcor=3))
    res = negopt.minimize(problem.fun, problem.x0, jac=problem.grad, method=mine)
    assert res.success
    assert res.method == "mine"
    assert "mine" not in negopt.METHODS
