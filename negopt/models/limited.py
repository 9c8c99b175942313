"""The limited-memory model: exact trust-region steps and products from the compact form."""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg.lapack import dgetrf, dgetrs

from negopt.algebra.roots import SymmetricRoot
from negopt.core.arrays import Array
from negopt.core.types import Iterate, Step
from negopt.models.compact_form import CompactForm, Factor
from negopt.models.pair_memory import Weights, along, quiet
from negopt.models.spectrum import spectral_step
from negopt.vectors.primitives import HostArray, combine, products, slope_and_square

#: A boundary step is at least this share of the radius long, and the minimiser for its own length.
ON_BOUNDARY = 0.9
#: Shifts that are tried before the spectrum is asked.
MOST_SHIFTS = 20


class LimitedModel(CompactForm):
    """The model of the stored pairs at one point.

    Parameters
    ----------
    memory : PairMemory
    gamma : float
        The initial matrix is gamma I, gamma > 0.
    n : int
    """

    learns = True

    def newton(self, along: HostArray) -> tuple[HostArray, float]:
        """Return weights and scale of ``B^-1 v``; every pair is convex."""
        m, h = self.m, 1.0 / self.gamma
        upper, _, d = self._split()
        if self._lu is None:
            lu, pivots, _ = dgetrf(upper)
            self._lu = lu, pivots
        lu, pivots = self._lu
        w, _ = dgetrs(lu, pivots, along[:m])
        weights = np.empty(2 * m)
        right = self._yy.dot(w)
        right -= along[m:]
        right *= h
        right += d.dot(w)
        weights[:m], _ = dgetrs(lu, pivots, right, trans=1)
        np.multiply(w, -h, weights[m:])
        return weights, h

    @quiet
    def trust_step(self, iterate: Iterate, radius: float) -> Step:
        """Return the minimiser of the model for a length from 0.9 to 1 times the radius."""
        memory, g = self.memory, iterate.g
        if memory.count == 0:
            return self._along_gradient(iterate, radius)
        around = along(memory, iterate)
        found = self._boundary(iterate, around, radius)
        if found is None:
            return self._by_spectrum(iterate, radius)
        weights, scale, shift = found
        s = combine(weights, memory.rows, scale, g)
        slope, square = slope_and_square(g, s)
        length = math.sqrt(square)
        if not (slope < 0.0 and length < math.inf):
            return self._by_spectrum(iterate, radius)
        quadratic = -slope - shift * square
        if length > radius:  # by rounding
            factor = radius / length
            weights, scale = factor * weights, factor * scale
            s *= factor
            slope, quadratic, length = factor * slope, factor * factor * quadratic, radius
        learnt = Weights(weights, scale, around, shift)
        return Step(s, slope, quadratic, length, shift > 0.0, math.nan, learnt)

    def _boundary(
        self, iterate: Iterate, around: HostArray, radius: float
    ) -> tuple[HostArray, float, float] | None:
        """Return weights, scale and multiplier of the step; None where it needs the spectrum."""
        gamma, gg = self.gamma, iterate.gnorm * iterate.gnorm
        sigma, low, high = 0.0, 0.0, math.inf
        if self.convex:
            weights, scale = self.newton(around)
            weights, scale = -weights, -scale
            image, square = self._measure(weights, scale, around, gg)
            if not 0.0 < square < math.inf:
                return None
            length = math.sqrt(square)
            if length <= radius:
                return weights, scale, 0.0
            # The first shift from the Newton step: s'(B + sigma I)^-1 s with sigma = 0.
            back, h = self.newton(image)
            inner = h * square + float(back.dot(image))
            aim = ON_BOUNDARY * radius
            sigma = square / inner * (length - aim) / aim if inner > 0.0 else math.nan
            if not 0.0 < sigma < math.inf:
                sigma = iterate.gnorm / radius
        else:
            self._settle()
            if not 0 < self._kept().shape[0] < self.n:
                return None
        negative = self._negative()
        right = self._right(around)
        for _ in range(MOST_SHIFTS):
            theta, tau = sigma / gamma, gamma + sigma
            if not theta < 1e100:
                return None
            factor = self._factor(theta)
            if factor.negative is None:
                return None
            if factor.negative > negative:  # B + sigma I is not positive definite
                low = sigma
                sigma = self._raised(sigma, low, high, iterate.gnorm / radius)
                continue
            solved = factor.solve(right)
            scale = -1.0 / tau
            weights = self._right(solved)
            weights *= scale
            image, square = self._measure(weights, scale, around, gg)
            if not 0.0 < square < math.inf:
                return None
            length = math.sqrt(square)
            if length <= radius and (sigma == 0.0 or length >= ON_BOUNDARY * radius):
                self._shifted = sigma, factor
                return weights, scale, sigma
            if length > radius:
                low = max(low, sigma)
            else:
                high = min(high, sigma)
            back = self._right(image)
            inner = (square + float(back.dot(factor.solve(back)))) / tau
            aim = ON_BOUNDARY * radius  # met from above
            trial = sigma + square / inner * (length - aim) / aim if inner > 0.0 else math.nan
            if not low < trial < high:
                trial = self._raised(sigma, low, high, iterate.gnorm / radius)
            if trial == sigma:
                return weights, scale, sigma
            sigma = trial
        return None

    def _measure(
        self, weights: HostArray, scale: float, around: HostArray, gg: float
    ) -> tuple[HostArray, float]:
        """Return rows @ s and s's of ``s = scale g + weights' rows``."""
        image: HostArray = self.memory.gram.dot(weights)
        image += scale * around
        square = scale * scale * gg + scale * float(weights.dot(around))
        return image, square + float(weights.dot(image))

    def _raised(self, sigma: float, low: float, high: float, step: float) -> float:
        """Return a shift inside its bracket, where Newton's is outside it."""
        if high < math.inf:
            return math.sqrt(low * high) if low > 0.0 else 0.01 * high
        if sigma == 0.0:
            if self.memory.shift > 0.0:
                return self.memory.shift
            ratios = self._sy.diagonal() / self._ss.diagonal()
            return max(-float(ratios.min()), 0.0) + step
        return 4.0 * sigma

    def _by_spectrum(self, iterate: Iterate, radius: float) -> Step:
        step = spectral_step(iterate, self.spectrum, radius)
        if step.predicted_decrease > 0.0:
            return step
        return self._along_gradient(iterate, radius)  # pairs beyond the range of the type

    def _along_gradient(self, iterate: Iterate, radius: float) -> Step:
        """Return the step of the initial matrix."""
        gamma, gnorm = self.gamma, iterate.gnorm
        shift = max(gnorm / radius - gamma, 0.0)
        scale = min(1.0 / gamma, radius / gnorm)
        length = scale * gnorm
        learnt: Weights | None = None
        if self.memory.count == 0:
            learnt = Weights(np.zeros(2 * self.m), -scale, np.zeros(2 * self.m), shift)
        slope, quadratic = -length * gnorm, gamma * length * length
        return Step(-scale * iterate.g, slope, quadratic, length, shift > 0.0, math.nan, learnt)

    @quiet
    def matvec(self, v: Array) -> Array:
        """Return ``B v``."""
        memory, gamma = self.memory, self.gamma
        if self._core_factor is None:
            self._settle()
            if not self._kept().size:  # no pair, or none that gamma I does not explain
                return gamma * v
            if self.convex:
                self._core_factor = Factor(self._whole_core(), self.m)
            else:
                core = self._reduced(self._whole_core())
                self._core_factor = Factor(core, self.m, self._reduction())
        weights = self._right(self._core_factor.solve(self._right(products(memory.rows, v))))
        weights *= -gamma
        if not np.isfinite(weights).all():  # pairs whose sizes leave the range of float64
            return self.spectrum.matvec(v)
        return combine(weights, memory.rows, gamma, v)

    @quiet
    def solve(self, v: Array, *, absolute: bool, floor: float = 1e-15) -> Array:
        """Return ``B^-1 v``, or ``|B|^-1 v``, eigenvalues kept `floor` away from zero.

        `floor` is relative to the largest absolute eigenvalue of B.
        """
        if self.memory.count == 0:
            return (1.0 / self.gamma) * v
        if self.convex:
            weights, scale = self.newton(products(self.memory.rows, v))
            return combine(weights, self.memory.rows, scale, v)
        return self.spectrum.solve(v, absolute=absolute, floor=floor)

    @quiet
    def root(self, like: Array) -> SymmetricRoot | None:
        """Return ``|B|^(-1/2)``; None before the first pair."""
        if self.memory.count == 0:
            return None
        return SymmetricRoot(self.spectrum.inverse_root, 1.0 / math.sqrt(self.gamma))

    @quiet
    def solve_shifted(self, v: Array, sigma: float) -> Array:
        """Return ``(B + sigma I)^-1 v`` for a sigma with which that is regular.

        What was factored for the last sigma is kept: first the multiplier of the model's own step.
        """
        memory = self.memory
        if memory.count == 0:
            return (1.0 / (self.gamma + sigma)) * v
        around = products(memory.rows, v)
        if self.convex and sigma == 0.0:
            weights, scale = self.newton(around)
            return combine(weights, memory.rows, scale, v)
        if self._shifted is None or self._shifted[0] != sigma:
            self._settle()
            self._shifted = sigma, self._factor(sigma / self.gamma)
        scale = 1.0 / (self.gamma + sigma)
        weights = self._right(self._shifted[1].solve(self._right(around)))
        weights *= scale
        return combine(weights, memory.rows, scale, v)
