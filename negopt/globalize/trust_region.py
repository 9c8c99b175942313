"""The trust region: radius rule and acceptance."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from negopt.core import bounds
from negopt.core.arrays import dot, eps_of, scalars
from negopt.core.checks import POSITIVE
from negopt.core.options import check_choice, check_number, option
from negopt.core.protocols import M, Oracle, StepRule
from negopt.core.types import Iterate, Outcome, Step, saved
from negopt.decisions.region import NONFINITE_FACTOR, WORTHLESS, grows, is_poor, shrink_factor
from negopt.globalize.ratio import moves, reduction_ratio, rounding_of, tried


@saved
@dataclass(slots=True)
class Radius:
    """State of the trust region."""

    radius: float = field(metadata={"check": POSITIVE})
    #: no step has failed yet: the radius is still looking for the scale of the problem
    free: bool = True
    started: bool = False  #: a step has been accepted
    lowest: float = field(default=math.inf, metadata={"value": True})  #: lowest value of f accepted


@dataclass(frozen=True)
class TrustRegion:
    """Accept a step that keeps a share of its promise; adapt the radius to the ratio.

    Parameters
    ----------
    initial_trust_radius : float or None, default None
        First radius; None takes 1 whatever the scale of f, as SciPy's trust regions do.
    max_trust_radius : float, default inf
        The radius never grows beyond it.
    eta : float, default 1e-4
        A step is accepted when actual / predicted decrease exceeds it.
    shrink : float, default 0.5
        Factor on ``min(radius, ||s||)`` after a ratio below 0.1.  Until a first step is
        accepted the parabola through both values and the slope may ask for less.
    grow : float, default 2.0
        Factor on the radius after a ratio above 0.75 with ``||s|| > 0.8 radius``.
    first_grow : float, default 100.0
        The same until a first step fails: the way up from a radius that was a guess.
    interpolate : bool, default False
        After a rejected step take the radius to the minimiser of the cubic through the
        values and slopes at both ends, if it lies between 0.1 and `shrink` of the step.

    Notes
    -----
    A trial with f or g not finite is no information on the model: the radius falls
    to a tenth of the step and the pair is not stored.

    **Guarantee**: an accepted value is never above the lowest one by more than rounding,
    450 eps |f|, and no step is longer than the radius (``tests/guarantees/test_trust_region.py``).

    References
    ----------
    Conn, Gould and Toint (2000), Trust-Region Methods, doi:10.1137/1.9780898719857.
    """

    initial_trust_radius: float | None = option(None, "first radius; None takes 1")
    max_trust_radius: float = option(math.inf, "largest radius")
    eta: float = option(1e-4, "least ratio of an accepted step")
    shrink: float = option(0.5, "factor after a poor step")
    grow: float = option(2.0, "factor after a good boundary step")
    first_grow: float = option(100.0, "the same until a first step fails")
    interpolate: bool = option(False, "radius after a rejection from a cubic along the step")

    def __post_init__(self) -> None:
        first = self.initial_trust_radius
        if first is not None:
            check_number("initial_trust_radius", first, open_low=True, open_high=True)
        check_number("max_trust_radius", self.max_trust_radius, open_low=True)
        if first is not None and first >= self.max_trust_radius:
            raise ValueError(
                f"initial_trust_radius={first!r}: must be less than "
                f"max_trust_radius={self.max_trust_radius!r}."
            )
        check_number("eta", self.eta, 0.0, 0.25, open_high=True)
        check_number("shrink", self.shrink, 0.0, 1.0, open_low=True, open_high=True)
        check_number("grow", self.grow, 1.0, open_low=True)
        check_number("first_grow", self.first_grow, 1.0, open_low=True)
        check_choice("interpolate", self.interpolate, (True, False))

    #: Why a trust region is stuck.
    NO_DECREASE: ClassVar[str] = "the model predicts no decrease that x can resolve"

    @staticmethod
    def too_small(reach: float) -> str:
        """Say that the radius is too small for x to change."""
        return f"the radius {reach:.3g} is below the spacing of x"

    def init(self, iterate: Iterate) -> Radius:
        """Return the first radius."""
        first = self.initial_trust_radius
        if first is None:
            first = 1.0
        return Radius(min(first, self.max_trust_radius))

    def escaped(self, state: Radius, iterate: Iterate, distance: float) -> None:
        """Trust at least the distance that an escape from a saddle has just covered."""
        state.radius = min(max(state.radius, distance), self.max_trust_radius)

    def advance(
        self,
        state: Radius,
        objective: Oracle,
        iterate: Iterate,
        operator: M,
        step_rule: StepRule[M],
    ) -> Outcome:
        """Try one step; an exact model is asked again, a learning one once."""
        radius, free, started = state.radius, state.free, state.started
        lowest = min(state.lowest, iterate.f)
        out = Outcome(start=iterate, radius=radius)
        # A rejected trial's gradient is worth having only to a model that learns from it.
        bar = math.inf if operator.learns else iterate.f + rounding_of(iterate)
        while True:
            step = step_rule.propose(iterate, operator, bounds.Radius(radius))
            out.step, out.radius = step, radius
            x = iterate.x + step.s
            s = x - iterate.x  # the displacement as it was rounded
            out.step_norm = step.length
            if not step.predicted_decrease > 0.0 or not moves(iterate, s, step.length):
                out.stuck = True
                out.reason = self.NO_DECREASE
                break
            trial = tried(out, objective, x, s, bar)
            if not out.valid:
                radius, free = NONFINITE_FACTOR * step.norm, False
            else:
                out.rho = reduction_ratio(iterate, trial, step, lowest)
                out.informative = out.rho > WORTHLESS
                out.accepted = out.rho > self.eta
                radius, free = self._resized(radius, free, started, step, iterate, trial, out.rho)
            if out.accepted:
                started = True
                break
            # The radius as a Euclidean length: its own norm may be another one.
            reach = radius * (step.length / step.norm)
            if reach <= eps_of(iterate.x) * max(iterate.xnorm, 1e-300):
                out.stuck = True
                out.reason = self.too_small(reach)
                break
            if operator.learns:
                break
        # Only now: whatever ends an evaluation leaves the state as it was.
        state.radius, state.free, state.started, state.lowest = radius, free, started, lowest
        return out

    def _resized(
        self,
        radius: float,
        free: bool,
        started: bool,
        step: Step,
        iterate: Iterate,
        trial: Iterate,
        rho: float,
    ) -> tuple[float, bool]:
        """Return the next radius, and whether no step has failed yet."""
        if is_poor(rho, self.eta):
            factor = shrink_factor(self.shrink, started, step.slope, trial.f - iterate.f)
            if self.interpolate and started and not rho > self.eta and trial.gmax < math.inf:
                factor = min(max(_cubic_minimiser(iterate, trial, step), 0.1), self.shrink)
            return factor * min(radius, step.norm), False
        if grows(rho, step.norm, radius):
            radius = min((self.first_grow if free else self.grow) * radius, self.max_trust_radius)
        return radius, free


def _cubic_minimiser(iterate: Iterate, trial: Iterate, step: Step) -> float:
    """Minimiser, as a share of `step`, of the cubic through f and its slopes at both ends."""
    end = scalars(dot(trial.g, step.s))[0]
    z = step.slope + end - 3.0 * (trial.f - iterate.f)
    square = z * z - step.slope * end
    if not square >= 0.0:
        return 1.0
    root = math.sqrt(square)
    bottom = end - step.slope + 2.0 * root
    return 1.0 - (end + root - z) / bottom if bottom != 0.0 else 1.0
