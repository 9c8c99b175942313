"""Steps of a fixed rate, up or down: what the first-order baselines do."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from negopt.core.arrays import Array, dot, scalars
from negopt.core.checks import VECTOR
from negopt.core.options import check_choice, check_number, option
from negopt.core.protocols import M, Oracle, StepRule
from negopt.core.types import Iterate, Outcome, Step, saved
from negopt.globalize.ratio import moves

#: Trials without a new lowest value after which a rule that need not descend is given up.
PATIENCE = 10_000
#: f above this multiple of max(1, |lowest f|) means that the run has diverged.
DIVERGED = 1e30


def take_step(
    out: Outcome,
    objective: Oracle,
    iterate: Iterate,
    s: Array,
    length: float,
    lowest: float = math.inf,
    blame: str = "a full step",
) -> None:
    """Go to ``x + s``, up or down, unless f or g is not finite there; completes `out`.

    `length` is the Euclidean one of `s`, `lowest` the lowest value accepted so far (with inf no
    finite value counts as divergence).  When the step fails the reason names `blame`: an option
    with its value, and the fix.
    """
    x = iterate.x + s
    s = x - iterate.x  # the displacement as it was rounded
    out.step_norm = length
    if not moves(iterate, s, length):
        out.stuck = True
        out.reason = "the step no longer changes x"
        return
    trial = objective.at(x)
    out.trials += 1
    out.trial, out.s = trial, s
    if not trial.finite:
        out.reason = f"f left its domain with {blame}"
    elif trial.f > DIVERGED * max(1.0, abs(lowest)):
        out.reason = f"the run diverged, f from {lowest:.3g} to {trial.f:.3g}, with {blame}"
    out.accepted = out.valid = not out.reason
    out.stuck = not out.accepted


@saved
@dataclass(slots=True)
class Velocity:
    """State: the velocity, shape (n,), or None at rest, and the lowest f."""

    velocity: Array | None = field(default=None, metadata={"check": VECTOR})
    lowest: float = math.inf


@dataclass(frozen=True)
class FixedRate:
    """Take every proposed step times a fixed rate, up or down.

    Parameters
    ----------
    learning_rate : float, default 1e-3
        Factor on the proposed step.  No default suits all problems: for a gradient it has
        the scale of 1 / curvature, for a step of Adam that of x.

    Notes
    -----
    f may rise.  Where f or g is no longer finite, or f has risen by a factor of 1e30, the
    run ends with the lowest point seen; the message names `learning_rate`.

    **Guarantee**: until then the iterates are those of the recursion, whatever f does
    (``tests/guarantees/test_baselines.py``).
    """

    patience: ClassVar[int] = PATIENCE
    #: Whether f at a trial is compared with f at the point it is tried from.
    compares: ClassVar[bool] = False

    learning_rate: float = option(1e-3, "factor on the step")

    def __post_init__(self) -> None:
        check_number("learning_rate", self.learning_rate, open_low=True, open_high=True)

    def init(self, iterate: Iterate) -> Velocity:
        """Return the state at rest."""
        return Velocity()

    def escaped(self, state: Velocity, iterate: Iterate, distance: float) -> None:
        """Start from rest below the saddle."""
        state.velocity = None

    def advance(
        self,
        state: Velocity,
        objective: Oracle,
        iterate: Iterate,
        operator: M,
        step_rule: StepRule[M],
    ) -> Outcome:
        """Take one step."""
        step = step_rule.propose(iterate, operator, None)
        out = Outcome(start=iterate, step=step, step_size=self.learning_rate)
        velocity, s, length = self._move(state, step)
        lowest = min(state.lowest, iterate.f)
        rate = self.learning_rate
        blame = f"learning_rate={rate:g} (try a tenth of that)"
        take_step(out, objective, iterate, rate * s, rate * length, lowest, blame)
        state.lowest = lowest
        if out.accepted:
            state.velocity = velocity
        return out

    def _move(self, state: Velocity, step: Step) -> tuple[Array | None, Array, float]:
        """Return the velocity to keep, the step at rate 1 and its length."""
        return None, step.s, step.length


@dataclass(frozen=True)
class HeavyBall(FixedRate):
    """A fixed rate with momentum.

    Parameters
    ----------
    learning_rate : float, default 1e-3
        Factor on the velocity.
    momentum : float, default 0
        Share of the last velocity that is kept, in [0, 1).
    nesterov : bool, default False
        Look ahead by the velocity that is coming.

    Notes
    -----
    With the proposed step s

    1. ``v <- momentum v + s``;
    2. ``x <- x + learning_rate v``, or ``x + learning_rate (s + momentum v)`` with `nesterov`.

    **Guarantee**: the recursion is that of ``torch.optim.SGD``, to rounding
    (``tests/guarantees/test_baselines.py``).

    References
    ----------
    Polyak (1964), USSR Computational Mathematics and Mathematical Physics 4, 1-17,
    doi:10.1016/0041-5553(64)90137-5.
    Sutskever, Martens, Dahl and Hinton (2013), On the importance of initialization and
    momentum in deep learning, Proceedings of Machine Learning Research 28, 1139-1147.
    """

    momentum: float = option(0.0, "share of the last velocity kept")
    nesterov: bool = option(False, "look ahead by the velocity")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("momentum", self.momentum, 0.0, 1.0, open_high=True)
        check_choice("nesterov", self.nesterov, (True, False))

    def _move(self, state: Velocity, step: Step) -> tuple[Array | None, Array, float]:
        """Return the velocity to keep, the step at rate 1 and its length."""
        if self.momentum == 0.0:
            return None, step.s, step.length
        v = step.s
        if state.velocity is not None:
            v = self.momentum * state.velocity + v
        s = step.s + self.momentum * v if self.nesterov else v
        return v, s, math.sqrt(scalars(dot(s, s))[0])
