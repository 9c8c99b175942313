"""Levenberg-Marquardt damping of a saddle-free step, with rejection."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from numpy.random import Generator

from negopt._array import eps_of
from negopt._options import check_number
from negopt._types import Iterate, Oracle, Outcome, StepRule, saved
from negopt.globalize.ratio import moves, reduction_ratio, rounding_of

__all__ = ["AdaptiveDamping", "Damping"]


@saved
@dataclass(slots=True)
class Damping:
    """State: the damping as a share of the largest |eigenvalue|, its growth, the lowest f."""

    damping: float
    factor: float = 2.0
    lowest: float = math.inf


@dataclass(frozen=True)
class AdaptiveDamping:
    """Damp more after a poor step, less after a good one; reject what does not descend.

    Parameters
    ----------
    damping : float, default 0.01
        First damping, relative to the largest |eigenvalue| seen.
    min_damping : float or None, default None
        Never less than this; None takes the square root of the machine epsilon.
    eta : float, default 1e-4
        A step is accepted when actual / predicted decrease exceeds it.

    Notes
    -----
    The damping is multiplied by ``max(1/3, 1 - (2 rho - 1)^3)`` after an accepted step
    and by 2, 4, 8 ... after consecutive rejections (Nielsen's rule).  The ratio is
    formed with the true quadratic model, whose product is known from the basis.

    References
    ----------
    Nielsen (1999), Damping parameter in Marquardt's method, IMM-REP-1999-05.
    """

    damping: float = field(default=0.01, metadata={"doc": "first relative damping"})
    min_damping: float | None = field(
        default=None, metadata={"doc": "least relative damping; None takes sqrt(eps)"}
    )
    eta: float = field(default=1e-4, metadata={"doc": "least ratio of an accepted step"})

    def __post_init__(self) -> None:
        check_number("damping", self.damping, open_high=True)
        if self.min_damping is not None:
            check_number("min_damping", self.min_damping, open_high=True)
        check_number("eta", self.eta, 0.0, 0.25, open_high=True)

    def init(self, iterate: Iterate) -> Damping:
        """Return the first damping."""
        return Damping(self.damping)

    def escaped(self, state: Damping, iterate: Iterate, distance: float) -> None:
        """Start again from the first damping below a saddle."""
        state.damping, state.factor = self.damping, 2.0

    def advance(
        self,
        state: Damping,
        objective: Oracle,
        iterate: Iterate,
        operator: Any,
        step_rule: StepRule,
        rng: Generator,
    ) -> Outcome:
        """Damp until a step is accepted; the basis is re-used, so trials cost only f."""
        out = Outcome()
        state.lowest = min(state.lowest, iterate.f)
        least = self.min_damping
        if least is None:
            least = math.sqrt(eps_of(iterate.x))
        bar = iterate.f + rounding_of(iterate)
        while True:
            step = step_rule.propose(iterate, operator, state.damping, rng)
            x = iterate.x + step.s
            s = x - iterate.x
            # The absolute-value model bounds the true one, so g's < 0 is the promise.
            if not step.slope < 0.0 or not moves(iterate, s, step.length):
                out.stuck = True
                out.reason = "the damped step no longer changes x"
                return out
            out.step_size = out.step_norm = step.length
            trial = objective.at(x, bar=bar)
            out.trials += 1
            out.trial, out.s = trial, s
            out.valid = trial.finite or (math.isfinite(trial.f) and trial.f > bar)
            if out.valid:
                out.rho = reduction_ratio(iterate, trial, step, state.lowest)
                out.accepted = out.rho > self.eta
            if out.accepted:
                gain = max(1.0 / 3.0, 1.0 - (2.0 * min(out.rho, 2.0) - 1.0) ** 3)
                state.damping = max(state.damping * gain, least)
                state.factor = 2.0
                return out
            state.damping = max(state.damping, least) * (10.0 if not out.valid else state.factor)
            state.factor = min(2.0 * state.factor, 1e3)
            if state.damping > 1e18:
                out.stuck = True
                out.reason = "no damping gives a decrease"
                return out
