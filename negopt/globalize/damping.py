"""Levenberg-Marquardt damping of a saddle-free step, with learning rate and momentum."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from negopt.core import bounds
from negopt.core.arrays import Array, eps_of
from negopt.core.options import check_choice, check_number, option
from negopt.core.protocols import Oracle, P, Products, StepRule
from negopt.core.types import Iterate, Outcome, Step, saved
from negopt.decisions.endings import STALL
from negopt.globalize.blend import Blend
from negopt.globalize.fixed import PATIENCE, take_step
from negopt.globalize.ratio import moves, reduction_ratio, rounding_of, tried

#: Beyond these a step of any problem is shorter than the spacing of x.
MOST = {"relative": 1e18, "absolute": 1e300}


@saved
@dataclass(slots=True)
class Damping:
    """State."""

    damping: float  #: in the units of ``damping_unit``
    factor: float = 2.0  #: what the next rejection multiplies it by
    lowest: float = field(default=math.inf, metadata={"value": True})  #: lowest value of f accepted
    #: shape (n,): the last step that was taken; kept only where momentum may use it
    previous: Array | None = None


@dataclass(frozen=True)
class AdaptiveDamping:
    """Damp more after a poor step, less after a good one; reject what does not descend.

    Parameters
    ----------
    damping : float, default 0.01
        First damping lambda, in the units of `damping_unit`.
    damping_rule : {"nielsen", "levenberg", "fixed"}, default "nielsen"
        How it changes from step to step (see the notes).
    damping_unit : {"relative", "absolute"}, default "relative"
        ``"relative"``: a share of the largest |eigenvalue|, so that the scale of f does
        not matter; ``"absolute"``: the units of the Hessian, as in the source.
    min_damping : float or None, default None
        Never less than this.  None takes the square root of the machine epsilon, and the
        source's 1e-8 where `damping_unit` is absolute.
    omega : float, default 0.9
        Factor of ``"levenberg"``, the source's.
    eta : float, default 1e-4
        A step is accepted when actual / predicted decrease exceeds it.
    learning_rate : float, default 1
        Factor on the proposed step.
    momentum : float, default 0
        Share of the previous step that is added, in [0, 1).
    adaptive : bool, default False
        Choose learning rate and momentum anew for each step, from the quadratic model; one
        more product a step.  `learning_rate` and `momentum` have no say then.
    reject : bool, default True
        False takes every step that is finite, as the source does: f may rise, and the run
        ends where f is no longer finite.

    Notes
    -----
    With the proposed step ``u = -(|H| + lambda I)^-1 g`` and the step before it, p:

    1. ``s = learning_rate u + momentum p``, or the combination that `best_weights` finds for
       the model with absolute curvature in the plane of u and p (`adaptive`).
    2. rho is the actual decrease of f over that of the true model, ``-(g's + s'Hs/2)``.
    3. After a step, lambda is multiplied by ``max(1/3, 1 - (2 rho - 1)^3)`` (``"nielsen"``),
       or by omega where ``rho > 3/4`` and 1 / omega where ``rho < 1/4`` (``"levenberg"``), or
       kept.
    4. A step with ``rho <= eta`` is rejected.  The next trial is u alone, with lambda
       multiplied by 2, 4, 8 ...; u comes from what is known of H by then, without a
       product.  ``"fixed"`` begins the next step with its own lambda.

    The published code of the source never adapts learning rate and momentum: its system of
    two equations has the right-hand side in its first column, so that the solution is (1,
    0).  Its runs are ``damping_rule="levenberg"`` with ``damping_unit="absolute"`` and
    ``reject=False``; docs/saddle-free-series.md has them.

    **Guarantee**: with `reject`, an accepted value is never above the lowest one by more
    than rounding, and a rejected trial costs one value of f and nothing else
    (``tests/globalize/test_damping.py``).

    References
    ----------
    Nielsen (1999), Damping parameter in Marquardt's method, IMM-REP-1999-05.
    Martens and Grosse (2015), arXiv:1503.05671, sections 6 and 7.
    Oldewage, Clarke and Hernandez-Lobato (2024), Series of Hessian-vector products for
    tractable saddle-free Newton optimisation of neural networks, TMLR 02/2024, appendix A.4.
    """

    damping: float = option(0.01, "first damping")
    damping_rule: str = option("nielsen", "'nielsen', 'levenberg' or 'fixed'")
    damping_unit: str = option("relative", "'relative' to the largest |eigenvalue|, or 'absolute'")
    min_damping: float | None = option(
        None, "least damping; None takes sqrt(eps), or 1e-8 absolute"
    )
    omega: float = option(0.9, "factor of the rule 'levenberg'")
    eta: float = option(1e-4, "least ratio of an accepted step")
    learning_rate: float = option(1.0, "factor on the proposed step")
    momentum: float = option(0.0, "share of the previous step added")
    adaptive: bool = option(False, "learning rate and momentum from the quadratic model")
    reject: bool = option(True, "False takes every finite step")

    def __post_init__(self) -> None:
        check_number("damping", self.damping, open_high=True)
        check_choice("damping_rule", self.damping_rule, ("nielsen", "levenberg", "fixed"))
        check_choice("damping_unit", self.damping_unit, ("relative", "absolute"))
        if self.min_damping is not None:
            check_number("min_damping", self.min_damping, open_high=True)
        check_number("omega", self.omega, 0.0, 1.0, open_low=True, open_high=True)
        check_number("eta", self.eta, 0.0, 0.25, open_high=True)
        check_number("learning_rate", self.learning_rate, open_low=True, open_high=True)
        check_number("momentum", self.momentum, 0.0, 1.0, open_high=True)
        check_choice("adaptive", self.adaptive, (False, True))
        check_choice("reject", self.reject, (False, True))

    @property
    def patience(self) -> int:
        """Trials that may pass without progress: many, where steps need not descend."""
        return STALL if self.reject else PATIENCE

    def init(self, iterate: Iterate) -> Damping:
        """Return the first damping."""
        return Damping(self.damping)

    def escaped(self, state: Damping, iterate: Iterate, distance: float) -> None:
        """Start again from the first damping below a saddle, at rest."""
        state.damping, state.factor, state.previous = self.damping, 2.0, None

    def advance(
        self,
        state: Damping,
        objective: Oracle,
        iterate: Iterate,
        operator: P,
        step_rule: StepRule[P],
    ) -> Outcome:
        """Damp until a step is accepted; the basis is re-used, so trials cost only f."""
        if not self.reject:
            return self._take(state, objective, iterate, operator, step_rule)
        out = Outcome(start=iterate)
        lowest, factor = min(state.lowest, iterate.f), state.factor
        damping, least = state.damping, self._least(iterate)
        bar = iterate.f + rounding_of(iterate)
        while True:
            u = step_rule.propose(iterate, operator, self._bound(damping))
            step = u if self.learning_rate >= 1.0 else _scaled(u, self.learning_rate)
            if out.trials == 0:
                joined = self._join(state, iterate, operator, u, damping)
                if joined.slope < 0.0 < joined.predicted_decrease:
                    step = joined
            out.step = step
            x = iterate.x + step.s
            s = x - iterate.x
            # The absolute-value model bounds the true one, so g's < 0 is the promise.
            if not step.slope < 0.0 or not moves(iterate, s, step.length):
                out.stuck = True
                out.reason = "the damped step no longer changes x"
                break
            out.step_size = out.step_norm = step.length
            trial = tried(out, objective, x, s, bar)
            if out.valid:
                out.rho = reduction_ratio(iterate, trial, step, lowest)
                out.accepted = out.rho > self.eta
            if out.accepted:
                factor = 2.0
                self._accept(state, damping, out, least)
                break
            damping = max(damping, least) * (10.0 if not out.valid else factor)
            factor = min(2.0 * factor, 1e3)
            if damping > MOST[self.damping_unit]:
                out.stuck = True
                out.reason = "no damping gives a decrease"
                break
        # Only now: whatever ends an evaluation leaves the state as it was.
        state.factor, state.lowest = factor, lowest
        return out

    def _take(
        self,
        state: Damping,
        objective: Oracle,
        iterate: Iterate,
        operator: P,
        step_rule: StepRule[P],
    ) -> Outcome:
        """Take the step, up or down."""
        lowest = min(state.lowest, iterate.f)
        u = step_rule.propose(iterate, operator, self._bound(state.damping))
        step = self._join(state, iterate, operator, u, state.damping)
        out = Outcome(start=iterate, step=step, step_size=step.length)
        blame = "reject=False; reject=True takes only steps that descend"
        take_step(out, objective, iterate, step.s, step.length, lowest, blame)
        state.lowest = lowest
        if out.accepted and out.trial is not None:
            predicted = step.predicted_decrease
            out.rho = (iterate.f - out.trial.f) / predicted if predicted != 0.0 else math.nan
            self._accept(state, state.damping, out, self._least(iterate))
        return out

    def _join(
        self, state: Damping, iterate: Iterate, operator: Products, u: Step, damping: float
    ) -> Step:
        """Return the step that learning rate and momentum make of `u`."""
        p = state.previous
        if self.adaptive and p is not None:
            # A share is one of what only an operator with all eigenvalues knows.
            unit: float | None = getattr(operator, "largest", None)
            known = damping if self.damping_unit == "absolute" else unit and damping * unit
            return Blend(iterate, operator, u, p).best(known)
        if self.adaptive:
            return u
        if p is None or self.momentum == 0.0:
            return _scaled(u, self.learning_rate)
        # Where every step is taken and the damping is fixed, no model is looked at.
        model = self.reject or self.damping_rule != "fixed"
        blend = Blend(iterate, operator, u, p, model=model)
        return blend.step(self.learning_rate, self.momentum)

    def _accept(self, state: Damping, damping: float, out: Outcome, least: float) -> None:
        """Set the next damping, and keep the step where momentum may use it."""
        if self.damping_rule == "nielsen":
            gain = max(1.0 / 3.0, 1.0 - (2.0 * min(out.rho, 2.0) - 1.0) ** 3)
            state.damping = max(damping * gain, least)
        elif self.damping_rule == "levenberg":
            gain = self.omega if out.rho > 0.75 else 1.0 / self.omega if out.rho < 0.25 else 1.0
            state.damping = max(damping * gain, least)
        if self.adaptive or self.momentum > 0.0:
            state.previous = out.s

    def _least(self, iterate: Iterate) -> float:
        if self.min_damping is not None:
            return self.min_damping
        return math.sqrt(eps_of(iterate.x)) if self.damping_unit == "relative" else 1e-8

    def _bound(self, damping: float) -> bounds.Damping:
        return bounds.Damping(damping, absolute=self.damping_unit == "absolute")


def _scaled(u: Step, rate: float) -> Step:
    """Return ``rate u``."""
    if rate == 1.0:
        return u
    size = rate * u.length
    return Step(rate * u.s, rate * u.slope, rate * rate * u.quadratic, size, learnt=u.learnt)
