"""Adaptive cubic regularisation: the weight of ``||s||^3`` instead of a radius."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from negopt.core.bounds import CubicWeight
from negopt.core.checks import POSITIVE
from negopt.core.options import check_number, option
from negopt.core.protocols import M, Oracle, StepRule
from negopt.core.types import Iterate, Outcome, Step, saved
from negopt.globalize.ratio import moves, reduction_ratio, rounding_of, tried

#: The weight is kept within this factor of the first one.
RANGE = 1e30


@saved
@dataclass(slots=True)
class CubicState:
    """State of the cubic regularisation."""

    #: sigma of the term ``sigma/3 ||s||^3``
    weight: float = field(metadata={"check": POSITIVE})
    first: float = field(metadata={"check": POSITIVE})  #: its first value
    #: no step has failed yet: the weight is still looking for the scale of the problem
    free: bool = True
    lowest: float = field(default=math.inf, metadata={"value": True})  #: lowest value of f accepted


@dataclass(frozen=True)
class CubicRegularization:
    """Accept a step that keeps a share of its promise; adapt the weight to the error.

    Parameters
    ----------
    initial_weight : float or None, default None
        First weight sigma; None takes the norm of the first gradient, so that without
        curvature the first step has length 1.
    eta : float, default 1e-4
        A step is accepted when actual / predicted decrease of the quadratic exceeds it.
    raise_weight : float, default 4.0
        Least factor on the weight after a ratio below 0.1.
    lower_weight : float, default 4.0
        Largest divisor of the weight after a ratio above 0.75; 100 until a first step fails.

    Notes
    -----
    1. The step minimises ``q(s) + sigma/3 ||s||^3`` with ``q(s) = g's + s'Hs/2``.
    2. f at the trial says which weight would have made that an upper bound there,
       ``sigma_+ = 3 (f(x + s) - f(x) - q(s)) / ||s||^3``.
    3. After a ratio below 0.1 the weight becomes ``sigma_+``, but at least `raise_weight` times
       what it was and at least ``-g's / ||s||^3``, with which it makes a difference, and at most
       100 times the larger of the two; after a ratio above 0.75 it becomes ``sigma_+`` if
       that is less, but not less than the weight over `lower_weight`.
    4. A trial with f or g not finite multiplies the weight by 100, which divides a
       long step by 10.

    **Guarantee**: the step is the global minimiser of the regularised model in its space, and
    an accepted value is below the one before, but for rounding
    (``tests/guarantees/test_cubic.py``).

    References
    ----------
    Nesterov and Polyak (2006), Mathematical Programming 108, 177-205,
    doi:10.1007/s10107-006-0706-8.
    Cartis, Gould and Toint (2011), Mathematical Programming 127, 245-295,
    doi:10.1007/s10107-009-0286-5.
    """

    initial_weight: float | None = option(None, "first weight; None takes the norm of the gradient")
    eta: float = option(1e-4, "least ratio of an accepted step")
    raise_weight: float = option(4.0, "least factor after a poor step")
    lower_weight: float = option(4.0, "largest divisor after a good step; 100 at the start")

    def __post_init__(self) -> None:
        if self.initial_weight is not None:
            check_number("initial_weight", self.initial_weight, open_low=True, open_high=True)
        check_number("eta", self.eta, 0.0, 0.25, open_high=True)
        check_number("raise_weight", self.raise_weight, 1.0, 100.0, open_low=True)
        check_number("lower_weight", self.lower_weight, 1.0, 100.0, open_low=True)

    def init(self, iterate: Iterate) -> CubicState:
        """Return the first weight."""
        first = self.initial_weight
        if first is None:
            first = iterate.gnorm if iterate.gnorm > 0.0 else 1.0
        return CubicState(first, first)

    def escaped(self, state: CubicState, iterate: Iterate, distance: float) -> None:
        """Allow for a step as long as the escape from a saddle that has just been made."""
        if iterate.gnorm > 0.0 and distance > 0.0:
            weight = min(state.weight, iterate.gnorm / distance / distance)
            state.weight = self._within(state, weight)

    def advance(
        self,
        state: CubicState,
        objective: Oracle,
        iterate: Iterate,
        operator: M,
        step_rule: StepRule[M],
    ) -> Outcome:
        """Try one step; an exact model is asked again, a learning one once."""
        out = Outcome(start=iterate)
        weight, free = state.weight, state.free
        lowest = min(state.lowest, iterate.f)
        bar = math.inf if operator.learns else iterate.f + rounding_of(iterate)
        while True:
            step = step_rule.propose(iterate, operator, CubicWeight(weight))
            out.step = step
            x = iterate.x + step.s
            s = x - iterate.x
            out.step_norm = step.length
            if not step.predicted_decrease > 0.0 or not moves(iterate, s, step.length):
                out.stuck = True
                out.reason = "the model predicts no decrease that x can resolve"
                break
            trial = tried(out, objective, x, s, bar)
            before = weight
            if not out.valid:
                weight, free = self._within(state, 100.0 * weight), False
            else:
                out.rho = reduction_ratio(iterate, trial, step, lowest)
                out.accepted = out.rho > self.eta
                weight, free = self._adapted(weight, free, step, iterate, trial, out.rho)
                weight = self._within(state, weight)
            if out.accepted:
                break
            if weight == before:
                out.stuck = True
                out.reason = f"the weight {before:.3g} is as large as it may be"
                break
            if operator.learns:
                break
        # Only now: whatever ends an evaluation leaves the state as it was.
        state.weight, state.free, state.lowest = weight, free, lowest
        return out

    def _adapted(
        self, weight: float, free: bool, step: Step, iterate: Iterate, trial: Iterate, rho: float
    ) -> tuple[float, bool]:
        """Return the next weight, and whether no step has failed yet."""
        cube = step.norm * step.norm * step.norm  # ** would raise where this is inf
        error = trial.f - iterate.f + step.predicted_decrease
        wanted = 3.0 * error / cube if cube > 0.0 and math.isfinite(error) else 0.0
        if not (rho >= 0.1 and rho > self.eta):  # nan too
            # One at which it matters beside the curvature along the step: -g's = s'Hs at its end.
            matters = -step.slope / cube if cube > 0.0 else 0.0
            least = max(self.raise_weight * weight, matters)
            return min(max(wanted, least), 100.0 * max(weight, matters)), False
        if rho > 0.75:
            weight = min(weight, max(wanted, weight / (100.0 if free else self.lower_weight)))
        return weight, free

    @staticmethod
    def _within(state: CubicState, weight: float) -> float:
        return min(max(weight, state.first / RANGE), state.first * RANGE)
