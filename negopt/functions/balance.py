"""The gradient of a function without one: steps that balance noise and curvature."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from negopt.core.arrays import Array, eps_of, from_host, to_host
from negopt.core.types import Iterate, State, saved
from negopt.decisions import differences as decide
from negopt.functions.differences import (
    SCHEMES,
    Values,
    Vector,
    checked_steps,
    one_sided,
    scheme_gradient,
    two_sided,
    usual_steps,
)
from negopt.functions.noise import noise_along

if TYPE_CHECKING:
    import numpy.typing as npt

#: What the differences of a run are by now: forward; central; central after the noise of f was
#: measured, with nothing further to be had.
FORWARD, CENTRAL, MEASURED = 0, 1, 2


@saved
@dataclass(slots=True)
class Balance:
    """What a run has learnt about the differences that it takes."""

    #: shape (n,): second derivatives along the variables, as far as they showed; 0 where unknown
    curvature: Array = field(metadata={"host": True})
    #: shape (n,): the steps, without signs; 0 before the first
    steps: Array = field(metadata={"host": True})
    #: noise of f in units of its own rounding
    roundings: float = 1.0
    #: FORWARD, CENTRAL or MEASURED
    stage: int = FORWARD


class Differences:
    """Gradients by differences of values, and what they are known to.

    Parameters
    ----------
    scheme : {"balanced", "2-point", "3-point", "cs"}
    n : int
    relative, absolute : array_like or None
        The user's steps; with ``"balanced"`` there are none.

    Notes
    -----
    1. ``"2-point"``, ``"3-point"`` and ``"cs"`` have the steps of
       `scipy.optimize.approx_derivative` everywhere.
    2. ``"balanced"`` begins with forward differences of steps ``sqrt(eps |x_i|)`` and shortens
       them to ``2 sqrt(e / c_i)`` as the pairs of the run show the curvature ``c_i`` along each
       variable; e is the noise of f, its rounding and what the rounding of x changes it by.
    3. Where a gradient is no longer told from its error, `sharper` takes central differences,
       which measure ``c_i`` as well, with steps ten times as long, and then for good.  Where
       these are exhausted the noise of f is measured, and the steps are chosen anew.

    **Guarantee**: no more than the values that `cost` says are taken, but for components that
    are not finite on one side (``tests/test_balance.py``).

    References
    ----------
    Gill, Murray, Saunders and Wright (1983), SIAM J. Sci. Stat. Comput. 4, 310-321,
    doi:10.1137/0904025.  More and Wild (2011), SIAM J. Sci. Comput. 33, 1292-1314,
    doi:10.1137/100786125.
    """

    def __init__(
        self,
        scheme: str,
        n: int,
        relative: npt.ArrayLike | None = None,
        absolute: npt.ArrayLike | None = None,
    ) -> None:
        self.scheme, self.n = scheme, n
        self.adaptive = scheme == "balanced"
        self.user_steps = checked_steps(relative, absolute, n)
        self.state = Balance(np.zeros(n), np.zeros(n))
        #: The last gradient and the second differences found with it.
        self._measured: tuple[Array, Vector] | None = None

    @property
    def central(self) -> bool:
        """Whether gradients are of second order."""
        return self.scheme in ("3-point", "cs") or self.state.stage > FORWARD

    @property
    def cost(self) -> int:
        """Values that one gradient takes, besides that at the point itself."""
        if not self.adaptive:
            return SCHEMES[self.scheme][0] * self.n
        return 2 * self.n if self.central else self.n

    @property
    def source(self) -> str:
        """What results and messages call it."""
        name = self.scheme if not self.adaptive else ("central" if self.central else "forward")
        return f"differences of fun ({name})"

    # --- gradients -------------------------------------------------------------------

    def gradient(self, values: Values, x: Array, f: float) -> Array:
        """Return the gradient at `x`, where f is known."""
        with np.errstate(all="ignore"):
            if not self.adaptive:
                step = usual_steps(x, self.scheme, *self.user_steps)
                return from_host(scheme_gradient(values, x, f, self.scheme, step), x)
            host = to_host(x)
            if not self.state.steps.any():
                return from_host(self._first_gradient(values, x, f), x)
            steps = _at_least(self.state.steps, host, eps_of(x))
            every = np.arange(self.n)
            if not self.central:
                return from_host(self._forward(values, x, f, steps), x)
            g, second, _ = self._central(values, x, f, steps, every)
            g = from_host(g, x)
            self._measured = g, second
            return g

    def near(self, values: Values, x: Array, f: float) -> Array:
        """Return the gradient close to an iterate with a central one, for products, from n values.

        Forward differences are corrected by the curvature found there: what is left is its change.
        """
        with np.errstate(all="ignore"):
            host, state = to_host(x), self.state
            steps = _at_least(state.steps, host, eps_of(x))
            signed = np.where(host >= 0.0, steps, -steps)
            change, h = one_sided(values, x, f, signed, np.arange(self.n))
            return from_host(change / h - 0.5 * h * state.curvature, x)

    def _first_gradient(self, values: Values, x: Array, f: float) -> Vector:
        """Return forward differences with first steps, longer ones where f does not change."""
        eps = eps_of(x)
        steps = self._first_steps(to_host(x), eps)
        g = self._forward(values, x, f, steps)
        longer = decide.first_step(0.0, eps)
        (lost,) = np.nonzero((steps < longer) & (np.abs(g) * steps <= 4.0 * eps * abs(f)))
        if lost.size:  # an entry of x that is small by chance says nothing of a scale
            steps[lost] = longer
            change, h = one_sided(values, x, f, steps, lost)
            g[lost] = change / h
        self.state.steps = steps
        return g

    def _forward(self, values: Values, x: Array, f: float, steps: Vector) -> Vector:
        """Return forward differences, away from zero; to the other side where f is not finite."""
        signed = np.where(to_host(x) >= 0.0, steps, -steps)
        change, h = one_sided(values, x, f, signed, np.arange(self.n))
        g = change / h
        (lost,) = np.nonzero(~np.isfinite(g))
        if 0 < lost.size < self.n:  # the edge of where f is defined
            change, h = one_sided(values, x, f, -signed, lost)
            g[lost] = change / h
        return g

    def _central(
        self, values: Values, x: Array, f: float, steps: Vector, which: npt.NDArray[np.intp]
    ) -> tuple[Vector, Vector, Vector]:
        """Return central and second differences of the variables `which`, and their steps."""
        ahead, behind, h = two_sided(values, x, steps, which)
        g, second = (ahead - behind) / (2.0 * h), ahead - 2.0 * f + behind
        for side, edge in ((ahead, behind), (behind, ahead)):
            alone = np.isfinite(side) & ~np.isfinite(edge)
            sign = 1.0 if side is ahead else -1.0
            g[alone] = sign * (side[alone] - f) / h[alone]
            second[alone] = 0.0
        return g, second, h

    def _first_steps(self, host: Vector, eps: float) -> Vector:
        return np.asarray([decide.first_step(float(entry), eps) for entry in host])

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
            noise *= state.roundings
        return noise if 0.0 < noise < math.inf else np.finfo(float).tiny

    def errors(self, iterate: Iterate, *, constant: bool = True) -> Vector:
        """Return the error of each component of the gradient at an iterate, on the host.

        An estimate from the noise of f, the curvature seen so far and the spacing of x; shape
        (n,).  Without the `constant` part, the truncation of forward differences, it is that of
        a change of the gradient.
        """
        x, eps = iterate.x, eps_of(iterate.x)
        if self.scheme == "cs":
            return eps * np.abs(to_host(iterate.g))
        noise, state = self.noise(iterate), self.state
        if not constant and state.stage == FORWARD:  # a guess from above: not to lose any pair
            noise = eps * abs(iterate.f)
        if self.adaptive:
            steps = _at_least(state.steps, to_host(x), eps)
        else:
            steps = np.abs(usual_steps(x, self.scheme, *self.user_steps))
        if self.central or not constant:
            errors = [decide.central_error(noise, h) for h in steps.tolist()]
        else:
            curved = zip(state.curvature.tolist(), steps.tolist(), strict=True)
            errors = [decide.forward_error(noise, c, h) for c, h in curved]
        # No point that x can be is closer to one where g_i is zero.
        return np.asarray(eps * np.abs(to_host(x)) * state.curvature + errors)

    def prepare(self, here: Iterate) -> None:
        """Choose the steps for the points that are to come after an iterate."""
        state = self.state
        if self.adaptive:
            steps = self._balanced(here)
            off = np.maximum(steps / state.steps, state.steps / steps) > decide.OFF
            state.steps = np.where(off, steps, state.steps)

    def learn(self, here: Iterate, s: Array, y: Array) -> None:
        """Take from a step to an iterate what it says of the curvature."""
        state, measured = self.state, self._measured
        if measured is not None and measured[0] is here.g:
            self._take(here, measured[1], state.steps, np.arange(self.n))
            return
        if self.central:
            return
        with np.errstate(all="ignore"):
            change, sy = np.abs(to_host(y)), float(to_host(s) @ to_host(y))
            if sy > decide.CLEAR * self.noise(here) and math.isfinite(sy):
                change = np.maximum(change - 2.0 * self.errors(here, constant=False), 0.0)
                shown = np.maximum(change * change / sy, decide.FADING * state.curvature)
                state.curvature = np.where(np.isfinite(shown), shown, state.curvature)

    def tells(self, here: Iterate, s: Array, change: float, *, constant: bool) -> bool:
        """Tell whether a product of a step with the gradient, or its change, is not just error."""
        along = float(self.errors(here, constant=constant) @ np.abs(to_host(s)))
        return not abs(change) <= decide.EXHAUSTED * along

    def _take(
        self, here: Iterate, second: Vector, steps: Vector, which: npt.NDArray[np.intp]
    ) -> None:
        """Take second differences with `steps` as curvature; where they are noise, as a bound."""
        noise, curvature = self.noise(here), self.state.curvature.copy()
        for i, change, h in zip(
            which.tolist(), second.tolist(), steps[which].tolist(), strict=True
        ):
            if not math.isfinite(change):
                continue
            if decide.is_resolved(change, noise):
                curvature[i] = abs(change) / (h * h)
            else:
                curvature[i] = min(curvature[i], 8.0 * noise / (h * h))
        self.state.curvature = curvature

    def _balanced(self, here: Iterate) -> Vector:
        """Return the steps that balance the noise of f and the curvature."""
        state, noise, eps = self.state, self.noise(here), eps_of(here.x)
        x = to_host(here.x)
        # An entry of x that becomes small says nothing of a scale: curvature shortens steps.
        first = np.maximum(self._first_steps(x, eps), state.steps)
        if self.central:
            first = np.maximum(first, decide.first_step(0.0, eps))
        steps = np.asarray([decide.balanced_step(noise, c) for c in state.curvature.tolist()])
        if self.central:
            limit = 1e3 * math.sqrt(max(state.roundings, 1.0))
            steps = np.minimum(decide.LONGER * steps, limit * first)
        else:
            # What pairs show of a curvature is a lower bound: reason for shorter steps only.
            steps = np.minimum(steps, first)
        return _at_least(steps, x, eps)

    # --- better ones ------------------------------------------------------------------

    def is_doubtful(self, iterate: Iterate, gtol: float) -> bool:
        """Tell whether a better gradient is needed to say whether a point is stationary."""
        if not self.adaptive or self.state.stage == MEASURED:
            return False
        g, errors = np.abs(to_host(iterate.g)), self.errors(iterate)
        if not np.all(np.isfinite(g)):
            return False
        if self.central:
            # Zero for all that is known; but the noise was guessed, and is to be measured first.
            return not g.any() or bool(np.max(g) > gtol and np.all(g <= np.maximum(gtol, errors)))
        small = np.all(g <= np.maximum(gtol, decide.EXHAUSTED * errors))
        return bool(small and (np.max(errors) > gtol or not self.state.curvature.all()))

    def go_on(self, state: State) -> None:
        """Continue from what a state of an earlier run holds, where that is of this kind."""
        kept = state.differences
        if isinstance(kept, Balance) and kept.steps.shape == kept.curvature.shape == (self.n,):
            self.state = kept
        else:
            state.differences = self.state

    def sharper(
        self, values: Values, here: Iterate, require: Callable[[int], None]
    ) -> Array | None:
        """Return a better gradient at an iterate, and go on with its kind; None: there is none.

        `require` is called before a number of values is taken, and raises where a budget does
        not allow them.
        """
        if not self.adaptive or self.state.stage == MEASURED:
            return None
        before = self.state
        state = replace(before, stage=before.stage + 1)
        with np.errstate(all="ignore"):
            # What is noise to steps that have failed may be smooth over much shorter ones.
            steps = self._balanced(here) * (decide.LONGER if self.central else 1.0)
            found = decide.SPREAD * noise_along(values, here.x, here.f, steps, require)
            known = self.noise(here)
            if found > 0.0:
                state.roundings *= found / known
            if self.central and not decide.is_another(found, known):
                self.state = replace(before, stage=MEASURED)
                return None
            return self._central_anew(values, here, require, state)

    def _central_anew(
        self, values: Values, here: Iterate, require: Callable[[int], None], state: Balance
    ) -> Array | None:
        """Return central differences, those of which the step was far off taken twice."""
        before, self.state = self.state, state
        try:
            steps = self._balanced(here)
            require(2 * self.n)
            every = np.arange(self.n)
            g, second, h = self._central(values, here.x, here.f, steps, every)
            state.steps = h.copy()
            self._take(here, second, h, every)
            better = self._balanced(here)
            (off,) = np.nonzero(np.maximum(better / h, h / better) > 2.0 * decide.OFF)
            if off.size:
                require(2 * off.size)
                again, change, longer = self._central(values, here.x, here.f, better, off)
                g[off], second[off], state.steps[off] = again, change, longer
                self._take(here, second[off], state.steps, off)
        except BaseException:
            self.state = before
            raise
        if not np.all(np.isfinite(g)):
            self.state = before
            return None
        out = from_host(g, here.x)
        self._measured = out, second
        return out


def _at_least(steps: Vector, host: Vector, eps: float) -> Vector:
    """Return the steps, lengthened where x would not resolve them."""
    least = [decide.least_step(float(entry), eps) for entry in host]
    return np.asarray(np.maximum(steps, least))
