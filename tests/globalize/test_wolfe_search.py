"""The search as the methods use it: first trials, failures, refusals."""

from __future__ import annotations

import dataclasses
import weakref

import numpy as np
import pytest

from negopt import line_search_wolfe_pm
from negopt.core.types import BudgetExhausted, Step
from negopt.functions.objective import Objective
from negopt.globalize.wolfe import SearchLength, WolfeSearch


@dataclasses.dataclass
class Along:
    d: np.ndarray

    def propose(self, iterate, operator, bound):
        slope = float(iterate.g @ self.d)
        return Step(self.d, slope, -slope, float(np.linalg.norm(self.d)))


def search(fun, grad, x, d, state=None, **options):
    rule = WolfeSearch(**options)
    asked = []

    def watched(at):
        asked.append(at.copy())
        return fun(at)

    objective = Objective(watched, np.asarray(x, dtype=float), jac=grad)
    here = objective.at(objective.x0)
    state = rule.init(here) if state is None else state
    out = rule.advance(state, objective, here, None, Along(np.asarray(d)))
    return out, state, asked[1:], here


def sphere(x):
    return float(x @ x) / 2


@pytest.mark.parametrize(
    ("length", "d", "first"),
    [(0.0, 100.0, 1.0), (0.0, 0.5, 0.5), (2.0, 100.0, 20.0), (2.0, 5.0, 5.0)],
)
def test_first_trial(length, d, first):
    """Length 1 at most at the start, then at most ten times the last step."""
    _, _, asked, _ = search(sphere, lambda x: x, [-1000.0], [d], SearchLength(length))
    assert asked[0][0] + 1000.0 == pytest.approx(first)


def test_the_length_is_remembered():
    out, state, _, here = search(sphere, lambda x: x, [3.0], [-3.0])
    assert out.accepted
    assert state.length == pytest.approx(np.linalg.norm(out.trial.x - here.x))


def test_failure_is_said():
    """The gradient has the wrong sign: no step descends."""
    out, _state, asked, _ = search(sphere, lambda x: -x, [1.0], [1.0], maxls=12)
    assert out.stuck
    assert not out.accepted
    assert out.trials == len(asked) <= 12
    assert "found no decrease" in out.reason


def test_the_last_valid_trial_is_no_excuse_for_points_that_are_not_finite():
    out, _, _, _ = search(lambda x: 1.0 if x[0] == 1 else np.nan, lambda x: x, [1.0], [-1.0])
    assert out.stuck
    assert not out.valid


def test_armijo_point_when_the_slope_jumps():
    """Wolfe's second condition holds nowhere before the jump: the best decrease is taken."""
    out, _, _, _ = search(
        lambda x: -x[0] if x[0] < 0.3 else 1.0, lambda x: -np.ones(1), [0.0], [1.0], maxls=60
    )
    assert out.accepted
    assert out.trial.f == pytest.approx(-0.3, abs=0.01)


def test_a_wrong_gradient_cannot_let_f_increase_step_by_step():
    """f rises by less than its rounding a step, the slopes say descent: one rounding is all."""

    def fun(x):
        return float(1.0 + 4e-14 * x[0])

    def grad(x):
        return -1e-20 * np.exp(-x)

    x, state = np.zeros(1), None
    for _ in range(20):
        out, state, _, _ = search(fun, grad, x, [1.0], state)
        if not out.accepted:
            break
        x = out.trial.x
    assert 0.0 < fun(x) - 1.0 <= 451 * np.finfo(float).eps


def test_the_state_is_written_after_the_last_evaluation():
    """A budget that runs out within a search leaves the state as it was."""
    objective = Objective(lambda x: -x[0], np.zeros(1), jac=lambda x: -np.ones(1), maxfun=4)
    here = objective.at(objective.x0)
    state = SearchLength(0.5, -1.0)
    with pytest.raises(BudgetExhausted):
        WolfeSearch().advance(state, objective, here, None, Along(np.ones(1)))
    assert state == SearchLength(0.5, -1.0)
    assert objective.counters.nfev == 4


def test_a_step_that_x_cannot_resolve_is_not_evaluated_twice():
    """At x = 1e16 steps of less than 1 go nowhere, and the bracket shrinks to them."""
    out, _, asked, _ = search(
        lambda x: 1.0 + abs(x[0] - 1e16), lambda x: np.ones(1), [1e16], [-8.0], maxls=40
    )
    assert out.stuck
    points = [float(at[0]) for at in asked]
    assert len(points) == len(set(points)) <= 8
    assert 1e16 not in points


def test_two_points_at_most_are_held():
    """The best so far and the one at hand, however many trials a search takes."""
    alive = []

    class Watched(Objective):
        def at(self, x, **options):
            assert sum(r() is not None for r in alive) <= 2
            point = super().at(x, **options)
            self.best = None
            alive.append(weakref.ref(point.x))
            return point

    objective = Watched(
        lambda x: -x[0] if x[0] < 0.3 else 1.0, np.zeros(1), jac=lambda x: -np.ones(1)
    )
    here = objective.at(objective.x0)
    alive.clear()
    out = WolfeSearch(maxls=60).advance(SearchLength(), objective, here, None, Along(np.ones(1)))
    assert out.accepted
    assert out.trials == len(alive) > 20


@pytest.mark.parametrize(
    "options",
    [{"c1": 0.95}, {"c2": 1.0}, {"c1": 0.0}, {"wolfe": "exact"}, {"maxls": 0}, {"expand": 1.0}],
)
def test_options_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        WolfeSearch(**options)


def test_public_search_refuses():
    x, p = np.ones(2), -np.ones(2)
    grad = lambda at: at  # noqa: E731
    with pytest.raises(ValueError, match="c1"):
        line_search_wolfe_pm(sphere, grad, x, p, c1=0.9, c2=0.1)
    with pytest.raises(ValueError, match="shape"):
        line_search_wolfe_pm(sphere, grad, x, np.ones(3))
    with pytest.raises(ValueError, match="zero"):
        line_search_wolfe_pm(sphere, grad, x, np.array([1.0, -1.0]))
    with pytest.raises(ValueError, match="finite"):
        line_search_wolfe_pm(lambda at: np.nan, grad, x, p)


def test_public_search_options():
    x, p = np.array([10.0]), np.array([-1.0])
    grad = lambda at: at  # noqa: E731
    plain = line_search_wolfe_pm(sphere, grad, x, p, c2=0.1)
    assert plain[0] == pytest.approx(10.0, abs=1.0)
    known = line_search_wolfe_pm(sphere, grad, x, p, gfk=x, old_fval=50.0, c2=0.1)
    assert known[0] == plain[0]
    assert (known[1], known[2]) == (plain[1] - 1, plain[2] - 1)
    with pytest.warns(RuntimeWarning, match="not met"):
        assert line_search_wolfe_pm(sphere, grad, x, p, c2=0.1, amax=2.0)[0] is None
    with pytest.warns(RuntimeWarning, match="not met"):
        out = line_search_wolfe_pm(
            sphere, grad, x, p, c2=0.1, extra_condition=lambda a, at, f, g: False
        )
    assert out[0] is None
    assert out[3] is None
    assert out[4] == 50.0
    out = line_search_wolfe_pm(
        lambda at, c: c * sphere(at), lambda at, c: c * at, x, p, args=(3.0,), c2=0.1
    )
    assert out[0] == pytest.approx(plain[0])
    first = []
    line_search_wolfe_pm(
        lambda at: first.append(at[0]) or sphere(at), grad, x, p, old_fval=50.0, old_old_fval=50.5
    )
    assert 10.0 - first[0] == pytest.approx(1.01 * 2 * 0.5 / 10)
