"""Gradients by differences with the user's steps, and what they are known to."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from negopt.core.arrays import Array, eps_of, from_host, to_host
from negopt.core.checks import FLOATS, NONNEGATIVE, POSITIVE, Entries, OneOf, refuse
from negopt.core.types import Iterate, State, saved
from negopt.decisions import differences as decide
from negopt.functions.differences import (
    SCHEMES,
    Values,
    Vector,
    checked_steps,
    scheme_gradient,
    usual_steps,
)

if TYPE_CHECKING:
    import numpy.typing as npt

#: What the differences of a run are by now: forward; central; central after the noise of f was
#: measured over longer distances, with nothing further to be had while it is what it was.
FORWARD, CENTRAL, MEASURED = 0, 1, 2

#: What is known of each variable; what has changed there may have overflowed.
ALONG = Entries(("n",), low=0.0, most=FLOATS, optional=False, dtype="float64")
CHANGED = Entries(("n",), finite=False, dtype="float64")


@saved
@dataclass(slots=True)
class Balance:
    """What a run has learnt about the differences that it takes."""

    #: shape (n,): second derivatives along the variables, as far as they showed; 0 where unknown
    curvature: Array = field(metadata={"host": True, "check": ALONG})
    #: shape (n,): the steps, without signs; 0 before the first
    steps: Array = field(metadata={"host": True, "check": ALONG})
    #: shape (n,): what doubled steps have changed; None before that was tried
    truncation: Array | None = field(default=None, metadata={"host": True, "check": CHANGED})
    #: noise of f in units of what it is guessed to be
    roundings: float = field(default=1.0, metadata={"check": POSITIVE})
    #: what the noise was taken for where it was measured last; 0 before
    noise: float = field(default=0.0, metadata={"check": NONNEGATIVE})
    #: FORWARD, CENTRAL or MEASURED
    stage: int = field(default=FORWARD, metadata={"check": OneOf((FORWARD, CENTRAL, MEASURED))})

    def check(self, n: int, name: str) -> None:
        """Raise ValueError where some steps are known and others are not."""
        if np.any(self.steps) and not np.all(self.steps):
            refuse(f"{name}.steps", self.steps, "all zero, or all positive")
        if self.truncation is not None and not np.all(self.truncation >= 0.0):
            refuse(f"{name}.truncation", self.truncation, "nonnegative")


class Differences:
    """Gradients by one scheme, with the steps of `scipy.optimize.approx_derivative`.

    Parameters
    ----------
    scheme : {"2-point", "3-point", "cs"}
    n : int
    relative, absolute : array_like or None
        The user's steps.

    Notes
    -----
    The error of a gradient is guessed from the noise of f and from the curvature that the pairs of
    the run show.  Before a run ends for a small gradient, `sharper` takes one more with twice the
    steps: what that changes is their truncation.
    """

    #: Whether the steps are chosen here.
    adaptive = False

    def __init__(
        self,
        scheme: str,
        n: int,
        relative: npt.ArrayLike | None = None,
        absolute: npt.ArrayLike | None = None,
    ) -> None:
        self.scheme, self.n = scheme, n
        self._user_steps = checked_steps(relative, absolute, n)
        self.state = Balance(np.zeros(n), np.zeros(n))
        #: The last point where steps were doubled.
        self._doubled: Iterate | None = None

    @property
    def central(self) -> bool:
        """Whether gradients are of second order."""
        return self.scheme != "2-point"

    @property
    def cost(self) -> int:
        """Values that one gradient takes, besides that at the point itself."""
        return SCHEMES[self.scheme][0] * self.n

    @property
    def source(self) -> str:
        """What results and messages call it."""
        return f"differences of fun ({self.scheme})"

    def go_on(self, state: State) -> None:
        """Continue from what a state of an earlier run holds, or give it what is known here."""
        kept = state.differences
        if kept is None:
            state.differences = self.state
        elif isinstance(kept, Balance):  # checked with the rest of the state
            self.state = kept
        else:
            refuse("options['state'].differences", kept, "a Balance, or None")

    def gradient(self, values: Values, x: Array, f: float) -> Array:
        """Return the gradient at `x`, where f is known."""
        with np.errstate(all="ignore"):
            step = usual_steps(x, self.scheme, *self._user_steps)
            return from_host(scheme_gradient(values, x, f, self.scheme, step), x)

    def prepare(self, here: Iterate) -> None:
        """Choose the steps for the points that are to come after an iterate."""

    def learn(self, here: Iterate, s: Array, y: Array) -> None:
        """Take from a step to an iterate what it says of the curvature."""
        state = self.state
        with np.errstate(all="ignore"):
            change, sy = np.abs(to_host(y)), float(to_host(s) @ to_host(y))
            if sy > decide.CLEAR * self.noise(here) and math.isfinite(sy):
                change = np.maximum(
                    change - 2.0 * self.errors(here, constant=False, least=True), 0.0
                )
                pairs = zip(change.tolist(), state.curvature.tolist(), strict=True)
                shown = np.asarray([decide.shown_curvature(y_i, sy, c) for y_i, c in pairs])
                state.curvature = np.where(np.isfinite(shown), shown, state.curvature)

    # --- what is known of them ----------------------------------------------------------

    def noise(self, iterate: Iterate) -> float:
        """Return the change of f at a point that is noise.

        See `negopt.decisions.differences.noise_of`.
        """
        eps, state = eps_of(iterate.x), self.state
        x, g = to_host(iterate.x), to_host(iterate.g)
        with np.errstate(all="ignore"):
            bent = float(state.curvature @ (x * x))
            noise = decide.noise_of(iterate.f, float(np.abs(g) @ np.abs(x)), bent, eps)
            # Whatever was measured elsewhere: f is rounded to its own last place.
            noise = max(state.roundings * noise, 0.5 * eps * abs(iterate.f))
        return noise if 0.0 < noise < math.inf else float(np.finfo(float).tiny)

    def steps_at(self, x: Array) -> Vector:
        """Return the lengths of the steps at a point."""
        return np.abs(usual_steps(x, self.scheme, *self._user_steps))

    def errors(self, iterate: Iterate, *, constant: bool = True, least: bool = False) -> Vector:
        """Return the error of each component of the gradient at an iterate, on the host.

        An estimate from the noise of f, the curvature seen so far and the spacing of x; shape
        (n,).  Without the `constant` part, the truncation of forward differences, it is that of
        a change of the gradient; `least` takes the rounding of f for its noise until that has been
        measured.
        """
        x, eps, state = iterate.x, eps_of(iterate.x), self.state
        if self.scheme == "cs":
            return np.asarray(eps * np.abs(to_host(iterate.g)))
        noise = self.noise(iterate)
        if least and state.stage == FORWARD:
            noise = eps * abs(iterate.f)
        steps = self.steps_at(x).tolist()
        if self.central or not constant:
            errors = [decide.central_error(noise, h) for h in steps]
        else:
            curved = zip(state.curvature.tolist(), steps, strict=True)
            errors = [decide.forward_error(noise, c, h) for c, h in curved]
        if state.truncation is not None and constant:
            return np.asarray(state.truncation + np.minimum(errors, state.truncation))
        # No point that x can be is closer to one where g_i is zero.
        return np.asarray(eps * np.abs(to_host(x)) * state.curvature + errors)

    def tells_slope(self, here: Iterate, s: Array, slope: float) -> bool:
        """Tell whether the slope along a step is more than the error of the gradient."""
        along = float(self.errors(here) @ np.abs(to_host(s)))
        return not abs(slope) <= decide.EXHAUSTED * along

    def tells_pair(self, here: Iterate, s: Array, sy: float, expected: float) -> bool:
        """Tell whether a pair is more than error; where the noise is only guessed, it may be.

        A curvature that is no more than error is news too where the model has `expected` another.
        """
        along = float(self.errors(here, constant=False, least=True) @ np.abs(to_host(s)))
        return not max(abs(sy), expected) <= decide.EXHAUSTED * along

    def trusts(self, iterate: Iterate, gtol: float, first: float) -> bool:
        """Tell whether a gradient that is no more than its error says that a point is stationary.

        `first` is the norm of the gradient at the start.
        """
        return decide.trusted(float(np.max(self.errors(iterate))), gtol, first)

    # --- better ones ------------------------------------------------------------------

    def is_doubtful(self, iterate: Iterate, gtol: float) -> bool:
        """Tell whether more is needed to say whether a point is stationary."""
        if self.scheme == "cs" or self._doubled is iterate:
            return False
        g = np.abs(to_host(iterate.g))
        return bool(np.all(g <= np.maximum(gtol, self.errors(iterate))))

    def sharper(
        self, values: Values, here: Iterate, require: Callable[[int], None]
    ) -> Array | None:
        """Return a better gradient at an iterate, and go on with its kind; None: there is none.

        `require` is called before a number of values is taken, and raises where a budget does
        not allow them.  With the user's steps there is none; what they are worth is found out.
        """
        if self.scheme == "cs" or self._doubled is here:
            return None
        require(self.cost)
        step = 2.0 * usual_steps(here.x, self.scheme, *self._user_steps)
        with np.errstate(all="ignore"):
            twice = scheme_gradient(values, here.x, here.f, self.scheme, step)
            off = np.abs(twice - to_host(here.g))
        off = off / (3.0 if self.central else 1.0)  # a truncation of second order is fourfold
        self.state.truncation = np.where(np.isfinite(off), off, math.inf)
        self._doubled = here
        return None
