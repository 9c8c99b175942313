"""The trust region: radius rule and acceptance."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from numpy.random import Generator

from negopt._array import dot, eps_of, norm, scalars
from negopt._types import Iterate, Oracle, Outcome, StepRule
from negopt.globalize.ratio import reduction_ratio, rounding_of

__all__ = ["Radius", "TrustRegion"]


@dataclass(slots=True)
class Radius:
    """State of the trust region."""

    radius: float
    rejected: int = 0


@dataclass(frozen=True)
class TrustRegion:
    """Accept a step that keeps a share of its promise; adapt the radius to the ratio.

    Parameters
    ----------
    initial_trust_radius : float or None, default None
        First radius; None takes ``min(1, ||g||)``.
    max_trust_radius : float, default inf
        The radius never grows beyond it.
    eta : float, default 1e-4
        A step is accepted when actual / predicted decrease exceeds it.
    shrink : float, default 0.5
        Factor on ``min(radius, ||s||)`` after a ratio below 0.1.
    grow : float, default 2.0
        Factor on the radius after a ratio above 0.75 with ``||s|| > 0.8 radius``.

    Notes
    -----
    A trial with f or g not finite is no information on the model: the radius falls
    to a tenth of the step and the pair is not stored.

    **Guarantee**: accepted values never rise by more than rounding, and no step is
    longer than the radius (``tests/guarantees/test_trust_region.py``).

    References
    ----------
    Conn, Gould and Toint (2000), Trust-Region Methods, doi:10.1137/1.9780898719857.
    """

    initial_trust_radius: float | None = field(
        default=None, metadata={"doc": "first radius; None takes min(1, ||g||)"}
    )
    max_trust_radius: float = field(default=math.inf, metadata={"doc": "largest radius"})
    eta: float = field(default=1e-4, metadata={"doc": "least ratio of an accepted step"})
    shrink: float = field(default=0.5, metadata={"doc": "factor after a poor step"})
    grow: float = field(default=2.0, metadata={"doc": "factor after a good boundary step"})

    def __post_init__(self) -> None:
        first = self.initial_trust_radius
        if first is not None and not (first > 0.0 and math.isfinite(first)):
            raise ValueError(f"initial_trust_radius={first!r}: must be positive and finite.")
        if not self.max_trust_radius > 0.0:
            raise ValueError(f"max_trust_radius={self.max_trust_radius!r}: must be positive.")
        if first is not None and first >= self.max_trust_radius:
            raise ValueError(
                f"initial_trust_radius={first!r}: must be less than "
                f"max_trust_radius={self.max_trust_radius!r}."
            )
        if not 0.0 <= self.eta < 0.25:
            raise ValueError(f"eta={self.eta!r}: must lie in [0, 0.25).")
        if not 0.0 < self.shrink < 1.0:
            raise ValueError(f"shrink={self.shrink!r}: must lie in (0, 1).")
        if not self.grow > 1.0:
            raise ValueError(f"grow={self.grow!r}: must exceed 1.")

    def init(self, iterate: Iterate) -> Radius:
        """Return the first radius."""
        first = self.initial_trust_radius
        if first is None:
            first = min(1.0, iterate.gnorm) if iterate.gnorm > 0.0 else 1.0
        return Radius(min(first, self.max_trust_radius))

    def escaped(self, state: Radius, iterate: Iterate, distance: float) -> None:
        """Trust at least the distance that an escape from a saddle has just covered."""
        state.radius = min(max(state.radius, distance), self.max_trust_radius)
        state.rejected = 0

    def advance(
        self,
        state: Radius,
        objective: Oracle,
        iterate: Iterate,
        operator: Any,
        step_rule: StepRule,
        rng: Generator,
    ) -> Outcome:
        """Try one step; an exact model is asked again, a learning one once."""
        out = Outcome(radius=state.radius)
        smallest = eps_of(iterate.x) * max(norm(iterate.x), 1e-300)
        # A rejected trial's gradient is worth having only to a model that learns from it.
        bar = math.inf if operator.learns else iterate.f + 1e3 * rounding_of(iterate)
        while True:
            used = state.radius
            step = step_rule.propose(iterate, operator, used, rng)
            out.radius = used
            x = iterate.x + step.s
            s = x - iterate.x  # the displacement as it was rounded
            moved = scalars(dot(s, s))[0]
            if not moved > 0.0 or not step.predicted_decrease > 0.0:
                out.stuck = True
                out.reason = "the model predicts no decrease that x can resolve"
                return out
            trial = objective.at(x, bar=bar)
            out.trials += 1
            out.trial, out.s = trial, s
            out.valid = trial.finite or math.isfinite(trial.f) and trial.f > bar
            if not out.valid:
                state.radius = 0.1 * step.norm
            else:
                out.rho = reduction_ratio(iterate, trial, step)
                self._resize(state, step.norm, out.rho)
                out.accepted = out.rho > self.eta
            if out.accepted:
                state.rejected = 0
                return out
            state.rejected += 1
            if state.radius <= smallest:
                out.stuck = True
                out.reason = f"the radius {state.radius:.3g} is below the spacing of x"
                return out
            if operator.learns:
                return out

    def _resize(self, state: Radius, length: float, rho: float) -> None:
        if not rho >= 0.1:  # nan too
            state.radius = self.shrink * min(state.radius, length)
        elif rho > 0.75 and length > 0.8 * state.radius:
            state.radius = min(self.grow * state.radius, self.max_trust_radius)
