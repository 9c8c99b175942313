"""The limited-memory model: exact trust-region steps and products from the compact form."""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg.lapack import dgetrf, dgetrs

from negopt.algebra.roots import SymmetricRoot
from negopt.core.arrays import Array
from negopt.core.types import Iterate, Step
from negopt.models.compact_form import CompactForm
from negopt.models.pair_memory import DIRECT, Weights, quiet
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
        """Return weights and scale of ``B^-1 v`` from rows @ v; every pair is convex."""
        m, h = self.m, 1.0 / self.gamma
        upper, d = self._split()
        if self._lu is None:
            lu, pivots, _ = dgetrf(upper)
            self._lu = lu, pivots
        lu, pivots = self._lu
        w, _ = dgetrs(lu, pivots, along[:m])
        right = self._yy.dot(w)
        right -= along[m:]
        right *= h
        right += d.dot(w)
        weights = np.empty(2 * m)
        weights[:m], _ = dgetrs(lu, pivots, right, 1)
        np.multiply(w, -h, weights[m:])
        return weights, h

    @quiet
    def trust_step(self, iterate: Iterate, radius: float) -> Step:
        """Return the minimiser of the model for a length from 0.9 to 1 times the radius."""
        memory, g = self.memory, iterate.g
        if memory.count == 0:
            return self._along_gradient(iterate, radius)
        around = memory.along
        if around is None or memory.at != iterate.gnorm:
            around = products(memory.rows, g)
        if self.convex:
            weights, scale = self.newton(around)
            np.negative(weights, weights)
            scale = -scale
            square = 0.0
            if 2 * self.m * self.n > DIRECT:  # else s costs as little as its length
                _, square = self._measure(weights, scale, around, iterate.gnorm * iterate.gnorm)
            if square <= radius * radius:
                s = combine(weights, memory.rows, scale, g)
                slope, square = slope_and_square(g, s)
                if 0.0 < square <= radius * radius and slope < 0.0:
                    learnt = Weights(weights, scale, around)
                    return Step(s, slope, -slope, math.sqrt(square), False, math.nan, learnt)
            found = self._boundary(iterate, around, radius, (weights, scale, square))
        else:
            found = self._boundary(iterate, around, radius, None)
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
        self,
        iterate: Iterate,
        around: HostArray,
        radius: float,
        newton: tuple[HostArray, float, float] | None,
    ) -> tuple[HostArray, float, float] | None:
        """Return weights, scale and multiplier of the step; None where it needs the spectrum.

        `newton` is the Newton step, and its square, where the model is convex and it is too long.
        """
        gg, reach = iterate.gnorm * iterate.gnorm, iterate.gnorm / radius
        sigma, low, high = 0.0, 0.0, math.inf
        if newton is not None:
            weights, scale, square = newton
            if not radius * radius < square < math.inf:
                return None
            # The first shift from the Newton step: s'(B + sigma I)^-1 s with sigma = 0.
            image, _ = self._measure(weights, scale, around, gg)
            back, h = self.newton(image)
            sigma = self._next(0.0, square, h * square + float(back.dot(image)), radius)
            if not 0.0 < sigma < math.inf:
                sigma = reach
        elif not 0 < self.settle() < self.n:
            return None
        negative = self.negative
        right = self.inward(around)
        for _ in range(MOST_SHIFTS):
            tau = self.gamma + sigma
            if not sigma < 1e100 * self.gamma:
                return None
            factor = self._factor(sigma)
            if not self.convex and factor.inertia()[0] > negative:  # B + sigma I is not definite
                low = sigma
                sigma = self._between(low, high, reach)
                continue
            scale = -1.0 / tau
            weights = self.outward(factor.solve(right))
            weights *= scale
            image, square = self._measure(weights, scale, around, gg)
            if not 0.0 < square < math.inf:
                return None
            length = math.sqrt(square)
            if length <= radius and (sigma == 0.0 or length >= ON_BOUNDARY * radius):
                self._shifted = sigma, factor
                return weights, scale, sigma
            if length > radius:
                low = sigma
            else:
                high = sigma
            back = self.inward(image)
            inner = (square + float(back.dot(factor.solve(back)))) / tau
            trial = self._next(sigma, square, inner, radius)
            if not low < trial < high:
                trial = self._between(low, high, reach)
            if trial == sigma:
                return weights, scale, sigma
            sigma = trial
        return None

    @staticmethod
    def _next(sigma: float, square: float, inner: float, radius: float) -> float:
        """Return the next shift by Newton's method: s's, and s'(B + sigma I)^-1 s, are given.

        The length aimed at is met from above.
        """
        aim = ON_BOUNDARY * radius
        if not inner > 0.0:
            return math.nan
        return sigma + square / inner * (math.sqrt(square) - aim) / aim

    def _measure(
        self, weights: HostArray, scale: float, around: HostArray, gg: float
    ) -> tuple[HostArray, float]:
        """Return rows @ s and s's of ``s = scale g + weights' rows``."""
        image: HostArray = self.memory.gram.dot(weights)
        image += scale * around
        square = scale * scale * gg + scale * float(weights.dot(around))
        return image, square + float(weights.dot(image))

    def _between(self, low: float, high: float, reach: float) -> float:
        """Return a shift inside its bracket, where Newton's is outside it."""
        if high < math.inf:
            return math.sqrt(low * high) if low > 0.0 else 0.01 * high
        if low == 0.0 and self.memory.shift > 0.0:
            return self.memory.shift
        ratios = self._sy.diagonal() / self._ss.diagonal()
        first = max(-float(ratios.min()), 0.0) + reach
        return max(math.sqrt(low * first), 4.0 * low) if low > 0.0 else first

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
        if not self.settle():  # no pair, or none that gamma I does not explain
            return gamma * v
        right = self.inward(products(memory.rows, v))
        if self.convex:
            columns = self.columns()
            weights = columns.matrix.dot(self.core().solve(columns.combined(right, 0)))
        else:
            weights = self.core().solve(right)
        weights = self.outward(weights)
        weights *= -gamma
        if not np.isfinite(weights).all():  # pairs whose sizes leave the range of float64
            return self.spectrum.matvec(v)
        return combine(weights, memory.rows, gamma, v)

    @quiet
    def solve(self, v: Array, *, absolute: bool = False, floor: float = 1e-15) -> Array:
        """Return ``B^-1 v``, or ``|B|^-1 v``, eigenvalues kept `floor` away from zero.

        `floor` is relative to the largest absolute eigenvalue of B.
        """
        if self.memory.count == 0 or self.convex:
            return self.solve_shifted(v, 0.0)
        return self.spectrum.solve(v, absolute=absolute, floor=floor)

    @quiet
    def root(self, like: Array) -> SymmetricRoot | None:
        """Return ``|B|^(-1/2)``; None before the first pair."""
        if self.memory.count == 0:
            return None
        return SymmetricRoot(quiet(self.spectrum.inverse_root), 1.0 / math.sqrt(self.gamma))

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
            self.settle()
            self._shifted = sigma, self._factor(sigma)
        scale = 1.0 / (self.gamma + sigma)
        weights = self.outward(self._shifted[1].solve(self.inward(around)))
        weights *= scale
        return combine(weights, memory.rows, scale, v)
