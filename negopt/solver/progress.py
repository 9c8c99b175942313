"""When progress ends, or seems to have no end: what is looked at then, and what that leads to."""

from __future__ import annotations

import dataclasses
import math
import traceback
from typing import TYPE_CHECKING

from negopt import functions
from negopt.core.arrays import Array, dot, eps_of, is_plain, most_of, norm, scalars
from negopt.core.protocols import Oracle
from negopt.core.types import BudgetExhausted, Iterate, Outcome, State, Status
from negopt.decisions.endings import (
    STALL,
    STEPS_AHEAD,
    disagree,
    is_straight,
    is_suspect,
    progresses,
)
from negopt.globalize.ratio import rounding_of
from negopt.solver import resolution
from negopt.solver.stopping import precision_message, size_of, unbounded_message

if TYPE_CHECKING:
    from negopt.solver.loop import Solver

#: How often a straight line is followed ten times as far: 20 decades are no scale of any problem.
DECADES = 20


def look_ahead(
    objective: Oracle, here: Iterate, trial: Iterate, length: float, bottom: float
) -> tuple[Iterate, bool]:
    """Follow the line from `here` through `trial`, while f falls in proportion.

    Returns
    -------
    point : Iterate
        The last point at which it had, `trial` itself where it does not go on.
    endless : bool
        Whether f falls without end: by 20 decades, below `bottom`, or as far as numbers go.

    Notes
    -----
    A point counts when f has fallen by half of what it has fallen by to `trial`, in proportion to
    the distance, `length` at first.  One that does not ends it, so that a look that finds nothing
    costs one evaluation.
    """
    s, fall, times = trial.x - here.x, here.f - trial.f, 1.0
    most = 1e-3 * most_of(here.x)
    for _ in range(DECADES):
        times *= 10.0
        if not times * length + norm(here.x) < most:
            return trial, True
        point = objective.at(here.x + times * s)
        if point.f == -math.inf:
            return trial, True
        if not (point.finite and here.f - point.f >= 0.5 * times * fall):
            return trial, False
        trial = point
        if trial.f < bottom:
            break
    return trial, True


def disagreement(objective: Oracle, here: Iterate, *directions: Array) -> str:
    """Say that f and its gradient disagree along one of `directions`; "" where they do not.

    **Guarantee**: at a kink f is not said to contradict its gradient; a run with a gradient that
    contradicts f ends within 50 evaluations of its last progress, and says so
    (``tests/test_nothing_lost.py``).

    Notes
    -----
    1. Along a direction the slope ``g'd`` is compared with a central difference of f, over
       ``eps^(1/3) max(1, ||x||)`` to both sides, as `negopt.decisions.endings.disagree` says.
    2. Where they differ, a second difference, over a quarter of that, has to say the same: f may
       have a kink there, or noise of its own.
    """
    step = eps_of(here.x) ** (1.0 / 3.0) * max(1.0, norm(here.x))
    bar = here.f - rounding_of(here)  # above it values are all that is needed
    try:
        for d in directions:
            size = norm(d)
            if not 0.0 < size < math.inf:
                continue
            unit = d / size
            slope = scalars(dot(here.g, unit))[0]
            if not abs(slope) * step > 2.0 * rounding_of(here):
                continue  # f cannot resolve it
            rates, bends = [], []
            for h in (step, 0.25 * step):
                ahead = objective.at(here.x + h * unit, bar=bar).f
                behind = objective.at(here.x - h * unit, bar=bar).f
                rates.append((ahead - behind) / (2.0 * h))
                bends.append(abs(ahead - 2.0 * here.f + behind) / h)
                if not disagree(slope, rates[-1], rounding_of(here) / h):
                    break
            else:
                off = abs(rates[1] - slope)
                if abs(rates[1] - rates[0]) <= 0.25 * off and not bends[1] > max(
                    0.5 * bends[0], 0.5 * off
                ):
                    return (
                        f"The function and its gradient disagree: along the last step f changes "
                        f"at a rate of {rates[1]:.3g}, and the gradient says {slope:.3g}"
                    )
    except BudgetExhausted:
        pass  # the end stands without it
    return ""


def is_extreme(point: Iterate) -> bool:
    """Tell whether products of three figures of a point may be beyond the range of its numbers."""
    plain = is_plain(point.x)
    few, many = (1e-75, 1e75) if plain else (1e-9, 1e9)
    return not (few < point.gmax < many and -many < point.f < many and point.xnorm < many)


def is_ours(error: Exception) -> bool:
    """Tell whether linear algebra of a method has failed, and nothing of the user's has raised.

    Whatever is raised beneath `negopt.functions` is the user's.
    """
    algebra = any(kind.__name__.endswith("LinAlgError") for kind in type(error).mro())
    if not (algebra or isinstance(error, ArithmeticError) or "infs or NaNs" in str(error)):
        return False
    frames = traceback.walk_tb(error.__traceback__)
    return not any(f.f_globals.get("__package__") == functions.__name__ for f, _ in frames)


def watch(solver: Solver, state: State, outcome: Outcome, trial: Iterate | None) -> None:
    """Give up when many trials have lowered neither f nor the gradient.

    At rounding level a step is accepted by its slopes; with a wrong or noisy gradient the
    run would follow a level set for ever.
    """
    objective, f_before, patience = solver.objective, state.stalled_f, solver.patience
    eps = eps_of(state.iterate.x)
    if objective.differences is not None:
        f_before, fewer = resolution.to_beat(objective.differences, state.best)
        eps, patience = 0.0, fewer if patience == STALL else patience
    if trial is not None and progresses(trial.f, f_before, trial.gmax, state.stalled_gmax, eps):
        state.stalled, state.stalled_f, state.stalled_gmax = 0, trial.f, trial.gmax
        if outcome.endless:
            endless(solver, state)
        elif outcome.step is not None and solver.patience <= STALL:
            _straight(solver, state, outcome, trial)
        return
    before = state.stalled
    state.stalled += outcome.trials
    limits = solver.limits
    if limits is None or size_of(objective, state.iterate, limits.order) <= limits.gtol:
        return
    if is_suspect(before, state.stalled) or state.stalled >= patience:
        stalls(solver, state, patience)


def _straight(solver: Solver, state: State, outcome: Outcome, trial: Iterate) -> None:
    """Where step after step f falls in a straight line, see how far it does.

    A model that has seen no curvature has no scale for its steps.
    """
    step, here = outcome.step, outcome.start
    assert step is not None
    assert here is not None
    if not is_straight(here.f, trial.f, step.slope * (outcome.step_norm / step.length)):
        state.straight = 0
        return
    state.straight += 1
    if state.straight < STEPS_AHEAD or solver.limits is None:
        return
    state.straight = 0
    length, bottom = outcome.step_norm, solver.limits.unbounded_below
    far, falls = look_ahead(solver.objective, here, trial, length, bottom)
    if far is not trial:
        solver.go_to(state, far)
    if falls:
        endless(solver, state)


def endless(solver: Solver, state: State) -> None:
    """End the run where f falls without end, unless it has reached what it was asked for."""
    assert solver.limits is not None
    solver.check_stop(state, limited=False)
    if state.status is None:
        lowest = solver.objective.best or state.iterate
        state.status = Status.UNBOUNDED
        state.message = unbounded_message(lowest, solver.limits)


def _afresh(solver: Solver, state: State, point: Iterate) -> None:
    """Let the globalisation begin anew at `point`; only the lowest value accepted is kept.

    Otherwise f could creep up, by its rounding each time.
    """
    old, new = state.globalize, solver.method.globalize.init(point)
    if dataclasses.is_dataclass(new):  # that of a user's own rule may be anything
        for f in dataclasses.fields(new):
            if f.metadata.get("value"):
                setattr(new, f.name, getattr(old, f.name))
    state.globalize = new


def _retreat(solver: Solver, state: State) -> bool:
    """Begin anew at the lowest point seen, where that is lower than the iterate.

    It was a trial that no rule has accepted.  Rules that need not descend would only come back.
    """
    here, best = state.iterate, solver.objective.best
    if best is None or best is here or solver.patience > STALL:
        return False
    if not best.f < here.f - rounding_of(here):
        return False
    solver.method.curvature.reset(state.memory)
    _afresh(solver, state, best)
    solver.method.globalize.escaped(state.globalize, best, norm(best.x - here.x))
    state.iterate, state.stalled, state.resets = best, 0, 0
    return True


def stalls(solver: Solver, state: State, patience: int = STALL) -> None:
    """See whether f and g contradict each other; give up when a run has stalled for long."""
    found = _contradiction(solver, state)
    if found or state.stalled >= patience:
        reason = f"neither f nor the gradient has fallen in {state.stalled} trials"
        _give_up(solver, state, reason, found)


def _contradiction(solver: Solver, state: State) -> str:
    """Say that f and g disagree where the run stands, "" where they do not."""
    objective, outcome, here = solver.objective, solver.outcome, state.iterate
    if objective.differences is not None:  # g is what differences of f have given
        return ""
    step = None if outcome is None or outcome.step is None else outcome.step.s
    down = -1.0 * here.g
    return disagreement(objective, here, down if step is None else step, down)


def _give_up(solver: Solver, state: State, reason: str, found: str) -> None:
    """End the run where it stands, or go on from the lowest point seen, or a better gradient."""
    if resolution.sharpened(solver.objective, state, solver.method):
        return
    solver.check_stop(state, limited=False)
    limits, here = solver.limits, state.iterate
    if state.status is not None or limits is None:
        return
    if not found and _retreat(solver, state):  # the way down may be far longer than the steps were
        length, bottom = norm(state.iterate.x - here.x), limits.unbounded_below
        far, falls = look_ahead(solver.objective, here, state.iterate, length, bottom)
        if far is not state.iterate:
            solver.go_to(state, far)
        if falls:
            endless(solver, state)
        return
    state.status = Status.PRECISION
    end = solver.objective.best or here
    told = resolution.told_at(solver.objective, end, limits.order)
    state.message = precision_message(end, limits, reason, told, found)


def stuck(solver: Solver, state: State, outcome: Outcome) -> None:
    """Forget the model once and start afresh from here; then give up with the reason."""
    if outcome.valid and resolution.sharpened(solver.objective, state, solver.method):
        return
    before = state.stalled
    state.stalled += outcome.trials
    found = ""
    if outcome.valid and is_suspect(before, state.stalled):
        found = _contradiction(solver, state)
    had_memory = solver.method.curvature.reset(state.memory)
    if had_memory and not found and state.resets == 0 and state.stalled < solver.patience:
        state.resets = 1
        _afresh(solver, state, state.iterate)
        return
    if outcome.endless:
        endless(solver, state)
        return
    trial = outcome.trial
    if outcome.valid or outcome.trials == 0:
        found = found or _contradiction(solver, state)
        _give_up(solver, state, outcome.reason, found)
    elif _retreat(solver, state):
        return
    elif trial is not None and trial.finite:
        state.status = Status.NONFINITE  # the rule itself calls it a divergence
        state.message = f"{outcome.reason[0].upper()}{outcome.reason[1:]}."
    else:
        state.status = Status.NONFINITE
        state.message = (
            f"Only non-finite values around the best point: {outcome.reason}; "
            f"{state.counters.n_nonfinite} trials were not finite. Restrict the domain of "
            "fun (return a large finite value outside it), or scale the variables."
        )
