"""The gradient of a function without one: steps that balance noise and curvature."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import numpy as np

from negopt.core.arrays import Array, eps_of, from_host, to_host
from negopt.core.types import Iterate
from negopt.decisions import differences as decide
from negopt.functions.differences import Values, Vector, one_sided, resolved, two_sided
from negopt.functions.noise import noise_along
from negopt.functions.taken import FORWARD, MEASURED, Balance, Differences

if TYPE_CHECKING:
    import numpy.typing as npt


class Balanced(Differences):
    """Gradients by differences whose steps balance the noise of f and its curvature.

    Parameters
    ----------
    n : int

    Notes
    -----
    1. A run begins with forward differences of steps ``sqrt(eps |x_i|)`` and shortens them to
       ``2 sqrt(e / c_i)`` as its pairs show the curvature ``c_i`` along each variable.  The noise e
       is guessed from above: the rounding of f, and what the rounding of x changes it by.
    2. Where a gradient is no longer told from its error, `sharper` measures the noise and goes on,
       for good, with central differences of steps ten times as long, which measure ``c_i`` too.
       Where these are exhausted, it measures the noise over longer distances and, if it is another
       there, chooses the steps anew.
    3. Steps that are off by less than a factor of four are kept: the truncation of forward
       differences with the same steps cancels in the pairs of the run.

    **Guarantee**: a gradient takes the values that `cost` says, and one more for each component
    that is not finite on one side (``tests/test_balance.py``).

    References
    ----------
    Gill, Murray, Saunders and Wright (1983), SIAM J. Sci. Stat. Comput. 4, 310-321,
    doi:10.1137/0904025.  More and Wild (2011), SIAM J. Sci. Comput. 33, 1292-1314,
    doi:10.1137/100786125.
    """

    adaptive = True

    def __init__(self, n: int) -> None:
        super().__init__("balanced", n)
        #: The last gradient and the second differences found with it.
        self._measured: tuple[Array, Vector] | None = None

    @property
    def central(self) -> bool:
        """Whether gradients are of second order."""
        return self.state.stage > FORWARD

    @property
    def cost(self) -> int:
        """Values that one gradient takes, besides that at the point itself."""
        return 2 * self.n if self.central else self.n

    @property
    def source(self) -> str:
        """What results and messages call it."""
        return f"differences of fun ({'central' if self.central else 'forward'})"

    # --- gradients -------------------------------------------------------------------

    def gradient(self, values: Values, x: Array, f: float) -> Array:
        """Return the gradient at `x`, where f is known."""
        with np.errstate(all="ignore"):
            if not self.state.steps.any():
                return from_host(self._first_gradient(values, x, f), x)
            steps = self.steps_at(x)
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
            steps = self.steps_at(x)
            signed = np.where(to_host(x) >= 0.0, steps, -steps)
            change, h = one_sided(values, x, f, signed, np.arange(self.n))
            return from_host(change / h - 0.5 * h * self.state.curvature, x)

    def _first_gradient(self, values: Values, x: Array, f: float) -> Vector:
        """Return forward differences with first steps, longer ones where f does not change."""
        eps = eps_of(x)
        steps = self._first_steps(to_host(x), eps)
        g = self._forward(values, x, f, steps)
        longer = decide.first_step(0.0, eps)
        (lost,) = np.nonzero((steps < longer) & (np.abs(g) * steps <= 256.0 * eps * abs(f)))
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
        ahead, behind, h = two_sided(values, x, resolved(x, steps), which)
        g, second = (ahead - behind) / (2.0 * h), ahead - 2.0 * f + behind
        for side, edge in ((ahead, behind), (behind, ahead)):
            alone = np.isfinite(side) & ~np.isfinite(edge)
            sign = 1.0 if side is ahead else -1.0
            g[alone] = sign * (side[alone] - f) / h[alone]
            second[alone] = 0.0
        return g, second, h

    def _first_steps(self, host: Vector, eps: float) -> Vector:
        return _at_least(np.asarray([decide.first_step(x, eps) for x in host.tolist()]), host, eps)

    # --- what is known of them ----------------------------------------------------------

    def steps_at(self, x: Array) -> Vector:
        """Return the lengths of the steps at a point."""
        return _at_least(self.state.steps, to_host(x), eps_of(x))

    def prepare(self, here: Iterate) -> None:
        """Choose the steps for the points that are to come after an iterate."""
        state = self.state
        steps = self._balanced(here)
        off = np.maximum(steps / state.steps, state.steps / steps) > decide.OFF
        state.steps = np.where(off, steps, state.steps)

    def learn(self, here: Iterate, s: Array, y: Array) -> None:
        """Take from a step to an iterate what it says of the curvature."""
        measured = self._measured
        if measured is not None and measured[0] is here.g:
            self._take(here, measured[1], self.state.steps, np.arange(self.n))
        elif not self.central:
            super().learn(here, s, y)

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
        first = self._first_steps(x, eps)
        steps = np.asarray([decide.balanced_step(noise, c) for c in state.curvature.tolist()])
        if self.central:
            first = np.maximum(first, decide.first_step(0.0, eps))
            limit = 1e3 * math.sqrt(max(state.roundings, 1.0))
            steps = np.minimum(decide.LONGER * steps, limit * first)
        else:
            # What pairs show of a curvature is a lower bound, reason for shorter steps only; and an
            # entry of x that becomes small says nothing of a scale.
            steps = np.minimum(steps, np.maximum(first, state.steps))
        return _at_least(steps, x, eps)

    def trusts(self, iterate: Iterate, gtol: float, first: float) -> bool:
        """Tell whether a gradient that is no more than its error says that a point is stationary.

        Where the curvature along a variable is known, its error leaves no more to gain than the
        noise of f.  Elsewhere, as far out on a plateau, the error itself has to be small; against
        the gradient at the start, `first`, only where the difference is zero.
        """
        # A curvature that was noise is known as a bound by the noise of that time.
        noise = 2.0 * max(self.noise(iterate), self.state.noise)
        steps = self.steps_at(iterate.x)
        with np.errstate(all="ignore"):
            second = self.state.curvature * steps * steps
        figures = (np.abs(to_host(iterate.g)), self.errors(iterate), second)
        return all(
            decide.is_resolved(bend, noise)
            or decide.trusted(error, gtol, first if g <= gtol else 0.0)
            for g, error, bend in zip(*(part.tolist() for part in figures), strict=True)
        )

    # --- better ones ------------------------------------------------------------------

    def is_doubtful(self, iterate: Iterate, gtol: float) -> bool:
        """Tell whether a better gradient is needed to say whether a point is stationary."""
        g, errors = np.abs(to_host(iterate.g)), self.errors(iterate)
        if self._is_settled(iterate) or not np.all(np.isfinite(g)):
            return False
        if self.central:
            # Zero for all that is known; but the noise was measured over short distances only.
            return not g.any() or bool(np.max(g) > gtol and np.all(g <= np.maximum(gtol, errors)))
        small = np.all(g <= np.maximum(gtol, decide.EXHAUSTED * errors))
        return bool(small and (np.max(errors) > gtol or not self.state.curvature.all()))

    def sharper(
        self, values: Values, here: Iterate, require: Callable[[int], None]
    ) -> Array | None:
        """Return central differences, or better ones, and go on with these; see the class."""
        if self._is_settled(here):
            return None
        before = self.state
        try:
            g = self._sharper(values, here, require, before)
        except BaseException:
            self.state = before
            raise
        for part in fields(Balance):  # the state of a run holds this very object
            setattr(before, part.name, getattr(self.state, part.name))
        self.state = before
        return g

    def _is_settled(self, iterate: Iterate) -> bool:
        """Tell whether nothing is to be had here beyond what there is.

        As f falls, its noise may fall with it or not: what it is taken for is to be measured again.
        """
        if self.state.stage < MEASURED:
            return False
        return not decide.is_another(self.state.noise, self.noise(iterate))

    def _sharper(
        self, values: Values, here: Iterate, require: Callable[[int], None], before: Balance
    ) -> Array | None:
        with np.errstate(all="ignore"):
            # What is noise to steps that have failed may be smooth over much shorter ones.
            steps = self._balanced(here) * (decide.LONGER if self.central else 1.0)
            found = decide.SPREAD * noise_along(values, here.x, here.f, steps, require)
            known = self.noise(here)
            state = replace(before, stage=min(before.stage + 1, MEASURED))
            if self.central and not decide.is_another(found, known):
                self.state = replace(before, stage=MEASURED, noise=known)
                return None
            if found > 0.0:
                state.roundings *= found / known
            self.state = state
            state.noise = self.noise(here)
            g = self._central_anew(values, here, require)
        if g is None:
            self.state = before
        return g

    def _central_anew(
        self, values: Values, here: Iterate, require: Callable[[int], None]
    ) -> Array | None:
        """Return central differences, those of which the step was far off taken twice."""
        state = self.state
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
        if not np.all(np.isfinite(g)):
            return None
        out = from_host(g, here.x)
        self._measured = out, second
        return out


def _at_least(steps: Vector, host: Vector, eps: float) -> Vector:
    """Return the steps, lengthened where x would not resolve them."""
    least = [decide.least_step(float(entry), eps) for entry in host]
    return np.asarray(np.maximum(steps, least))
