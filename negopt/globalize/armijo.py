"""Armijo's rule with two-way backtracking."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from negopt.core.arrays import dot, scalars
from negopt.core.checks import NONNEGATIVE
from negopt.core.options import check_choice, check_number, option
from negopt.core.protocols import M, Oracle, StepRule
from negopt.core.types import Iterate, Outcome, Step, saved
from negopt.decisions.endings import STALL
from negopt.globalize.fixed import PATIENCE, take_step
from negopt.globalize.ratio import moves, rounding_of, tried

#: Trials of one search on its way up: with factors of two they span thirty decades.
LONGEST = 100
#: Trials of one on its way down, to a factor of 1e-12: f may not be what the gradient says.
SHORTEST = 40


@saved
@dataclass(slots=True)
class StepFactor:
    """State of the search."""

    #: factor that a two-way search begins with; 0 before the first step
    factor: float = field(default=0.0, metadata={"check": NONNEGATIVE})
    #: factor that the first trial had; 0 before it
    first: float = field(default=0.0, metadata={"check": NONNEGATIVE})
    lowest: float = field(default=math.inf, metadata={"value": True})  #: lowest value of f accepted


@dataclass(frozen=True)
class ArmijoSearch:
    """Shorten a descent step until f falls in proportion; lengthen it while it may be longer.

    Parameters
    ----------
    c1 : float, default 0.1
        Share of the decrease ``-t g's`` promised by the slope that must be delivered.
        Values from 1e-4 to 0.3 cost the same on `negopt.problems`; Truong and Nguyen have
        0.5, with which no step goes beyond the minimiser of a quadratic along it.
    backtrack : float, default 0.5
        Largest factor on a step that failed, and the reciprocal of that on the way up.
    interpolate : bool, default True
        Shorten to the minimiser of the parabola through both values and the slope,
        between 0.1 and `backtrack` of the step that failed; False shortens by `backtrack`.
    two_way : bool, default True
        Begin with the factor of the last step, one notch longer when that was the first
        one tried; False begins each search with the first factor of the run.
    forward : bool, default False
        Go up within a search, while the condition holds and f falls further.
    first_step : float or None, default None
        First factor on the proposed step; None gives the first trial of a run length 1,
        whatever the scale of f.  A Newton step is meant with 1.
    min_step, max_step : float, default 0, inf
        Bounds on the factor.  A search that would go below `min_step` has failed; with 0
        it fails where the step no longer changes x.
    line_search : bool, default True
        False takes each step with the first factor as it is, up or down.

    Notes
    -----
    Along the proposed step s with ``g's < 0`` the accepted factor t satisfies Armijo's
    condition

    1. ``f(x + t s) <= f + c1 t g's``;
    2. where the promise ``c1 t g's`` is below the rounding of f, and the values agree to
       within it: ``g(x + t s)'s <= (2 c1 - 1) g's``, the same condition for a
       quadratic, in slopes, which keep their digits.

    A trial that is not finite shortens the step tenfold.  The gradient is left out at
    points that fail.

    **Guarantee**: condition 1 or 2 holds for each accepted step; for steps with
    ``-g's >= a ||g|| ||s||`` and ``||s|| >= b ||g||`` the gradient tends to zero when f is
    bounded below and g is Lipschitz (``tests/guarantees/test_armijo.py``).

    References
    ----------
    Armijo (1966), Pacific Journal of Mathematics 16, 1-3, doi:10.2140/pjm.1966.16.1.
    Truong and Nguyen (2021), Backtracking gradient descent method and some applications
    in large scale optimisation, part 2, Applied Mathematics and Optimization 84,
    2557-2586, doi:10.1007/s00245-020-09718-8.
    Hager and Zhang (2005), SIAM J. Optim. 16, 170-192, doi:10.1137/030601880.
    """

    c1: float = option(0.1, "share of the promised decrease, in (0, 1)")
    backtrack: float = option(0.5, "factor on a step that failed")
    interpolate: bool = option(True, "shorten by a parabola, within [0.1, backtrack]")
    two_way: bool = option(True, "begin with the last factor, or a notch above it")
    forward: bool = option(False, "go up within a search while f falls")
    first_step: float | None = option(
        None, "first factor on the step; None: a first trial of length 1"
    )
    min_step: float = option(0.0, "least factor on the step")
    max_step: float = option(math.inf, "largest factor on the step")
    line_search: bool = option(True, "False takes each step as it is, up or down")

    def __post_init__(self) -> None:
        check_number("c1", self.c1, 0.0, 1.0, open_low=True, open_high=True)
        check_number("backtrack", self.backtrack, 0.0, 1.0, open_low=True, open_high=True)
        if self.first_step is not None:
            check_number("first_step", self.first_step, open_low=True, open_high=True)
        for name in ("interpolate", "two_way", "forward", "line_search"):
            check_choice(name, getattr(self, name), (True, False))
        check_number("min_step", self.min_step, open_high=True)
        check_number("max_step", self.max_step, open_low=True)
        if self.min_step > self.max_step:
            raise ValueError(
                f"min_step={self.min_step!r}: must be at most max_step={self.max_step!r}."
            )

    @property
    def patience(self) -> int:
        """Trials that may pass without progress: many, where steps need not descend."""
        return STALL if self.line_search else PATIENCE

    def init(self, iterate: Iterate) -> StepFactor:
        """Return the state before the first search."""
        return StepFactor()

    def escaped(self, state: StepFactor, iterate: Iterate, distance: float) -> None:
        """Keep the factor: it measures the curvature of f, not a distance."""

    def advance(
        self,
        state: StepFactor,
        objective: Oracle,
        iterate: Iterate,
        operator: M,
        step_rule: StepRule[M],
    ) -> Outcome:
        """Search along the proposed step."""
        step = step_rule.propose(iterate, operator, None)
        out = Outcome(start=iterate, step=step)
        lowest = min(state.lowest, iterate.f)
        if not (step.slope < 0.0 and 0.0 < step.length < math.inf):
            out.stuck = True
            out.reason = f"the proposed step does not descend (slope {step.slope:.3g})"
            return out
        first = state.first
        if first == 0.0:
            first = 1.0 / step.length if self.first_step is None else self.first_step
        begin = state.factor if self.two_way and state.factor > 0.0 else first
        t = min(max(begin, self.min_step), self.max_step)
        if not self.line_search:
            out.step_size = t
            blame = "line_search=False (use True)"
            take_step(out, objective, iterate, t * step.s, t * step.length, lowest, blame)
            state.first, state.lowest = first, lowest
            return out
        best, t, shrunk = self._search(lowest, objective, iterate, step, t, out)
        # Only now: whatever ends an evaluation leaves the state as it was.
        state.first, state.lowest = first, lowest
        if best is None:
            out.stuck = True
            out.reason = f"no decrease in {out.trials} evaluations along the step"
            if t < self.min_step:
                out.reason += f", the next factor {t:.3g} being below min_step={self.min_step:g}"
            return out
        state.factor = t if shrunk or self.forward else t / self.backtrack
        out.trial, out.s = best, best.x - iterate.x
        out.accepted = out.valid = True
        out.step_size, out.step_norm = t, t * step.length
        return out

    def _search(
        self, lowest: float, objective: Oracle, iterate: Iterate, step: Step, t: float, out: Outcome
    ) -> tuple[Iterate | None, float, bool]:
        """Return the accepted trial, or None, its factor, and whether any trial failed."""
        noise = rounding_of(iterate)
        # Within rounding of the lowest value: an inaccurate gradient cannot let f increase.
        ceiling = min(iterate.f, lowest) + noise
        best: Iterate | None = None
        good, shrunk = t, False
        while True:
            x = iterate.x + t * step.s
            if not moves(iterate, x - iterate.x, t * step.length):
                return best, good, shrunk
            promise = -self.c1 * t * step.slope
            blurred = promise <= noise
            bar = ceiling if blurred else iterate.f - promise
            if best is not None:  # on the way up
                bar = min(bar, best.f)
            trial = tried(out, objective, x, x - iterate.x, bar)
            falls = trial.finite and not trial.f > bar
            if falls and not (blurred and self._steep(iterate, trial, step)):
                best, good = trial, t
                if shrunk or not self.forward or t >= self.max_step or out.trials >= LONGEST:
                    return best, good, shrunk
                t = min(t / self.backtrack, self.max_step)
                continue
            if best is not None:
                return best, good, True
            shrunk = True
            t *= self._shorter(iterate, trial, t * step.slope) if out.valid else 0.1
            if t < self.min_step or out.trials >= SHORTEST:
                return None, t, True

    def _steep(self, iterate: Iterate, trial: Iterate, step: Step) -> bool:
        """Tell whether the slope at a trial that f cannot tell from x rises too far."""
        if trial.f < iterate.f - rounding_of(iterate):
            return False
        return scalars(dot(trial.g, step.s))[0] > (2.0 * self.c1 - 1.0) * step.slope

    def _shorter(self, iterate: Iterate, trial: Iterate, slope: float) -> float:
        """Return the factor on a step of the slope `slope` that failed."""
        bend = trial.f - iterate.f - slope
        if not self.interpolate or not bend > 0.0:
            return self.backtrack
        return min(max(-0.5 * slope / bend, 0.1), self.backtrack)
