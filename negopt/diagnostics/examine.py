"""Measurements of a function: values and gradients along lines through x0."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from negopt.core.arrays import (
    Array,
    all_finite,
    dot,
    eps_of,
    from_host,
    namespace_of,
    norm,
    scalars,
)
from negopt.diagnostics.derivatives import random_direction
from negopt.diagnostics.given import Fault, Given
from negopt.diagnostics.taylor import POINTS, RATIO, Trail, noise_level, order, step_range

#: A measured step: h, f ahead and behind, g's across and forward, length.
Row = tuple[float, float, float, float, float, float]


@dataclass(slots=True)
class Line:
    """A direction, what is claimed along it, and what is measured."""

    d: Array  #: a unit vector
    slope: float = math.nan  #: claimed ``g'd``
    curvature: float = math.nan  #: claimed ``d'Hd``
    product: Array | None = None  #: claimed ``H d``
    values: Trail = field(default_factory=Trail)  #: mismatch of the slope
    #: Mismatch of the product, or of the curvature where there is no gradient.
    products: Trail = field(default_factory=Trail)


class Examination:
    """Measures a function and its claimed derivatives around x0."""

    def __init__(
        self, given: Given, rng: Generator, directions: int, components: int, rtol: float
    ) -> None:
        self.given, self.rng, self.rtol = given, rng, rtol
        self.components = components
        self.x, self.n = given.x, given.n
        self.eps = eps_of(self.x)
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.lines = [self._line(i % 2 == 1) for i in range(directions)]
        self.spread = self.quantum = 0.0
        self.gradient_error = self.hessian_error = math.nan
        self.asymmetry = self.nonlinearity = math.nan
        self.gradient_orders: list[float] = []
        self.hessian_orders: list[float] = []
        self.f0 = self.noise = math.nan  # noise: standard deviation of f next to x0 ...
        self.gradient_noise: Array | None = None  # ... and of each entry of the gradient
        self.g: Array | None = None
        self.gnorm = 0.0

    def _line(self, scaled: bool) -> Line:
        """Return a random direction; a scaled one moves entries in proportion to themselves."""
        d = random_direction(self.x, self.rng)
        if scaled:
            d = d * self._sizes()
            d = d / norm(d)
        return Line(d)

    def _sizes(self) -> Array:
        """Return the absolute entries of x0, 1 where they are 0."""
        xp = namespace_of(self.x)
        size = xp.abs(self.x)
        return xp.where(size > 0.0, size, xp.ones_like(size))

    # --- at x0 -----------------------------------------------------------------------

    def start(self) -> None:
        """Evaluate everything at x0, twice; raise a Fault where a value is not finite."""
        given = self.given
        self.f0 = given.value(self.x)
        if not math.isfinite(self.f0):
            raise Fault(f"fun(x0) is {self.f0}; choose an x0 at which it is finite")
        again = given.value(self.x)
        self._twice("fun", abs(again - self.f0), abs(self.f0), f"{self.f0:.10g}, then {again:.10g}")
        if given.gradient is not None:
            self.g = self._finite(given.gradient(self.x), "jac(x0)")
            self.gnorm = norm(self.g)
            change = norm(given.gradient(self.x) - self.g)
            self._twice("jac", change, self.gnorm, f"gradients that are {change:.3g} apart")
        if given.product is not None:
            name = f"{given.product_name}(x0) p" if given.hess_only else "hessp(x0, p)"
            for line in self.lines:
                line.product = self._finite(given.product(line.d), name)
                line.curvature = scalars(dot(line.product, line.d))[0]
            first = self.lines[0]
            assert first.product is not None
            change = norm(given.product(first.d) - first.product)
            what = f"products that are {change:.3g} apart"
            self._twice(given.product_name, change, norm(first.product), what)
        if self.g is not None:
            for line in self.lines:
                line.slope = scalars(dot(self.g, line.d))[0]
        self._noise()

    def _finite(self, v: Array, name: str) -> Array:
        if not all_finite(v):
            raise Fault(f"{name} has entries that are not finite")
        return v

    def _twice(self, name: str, change: float, size: float, what: str) -> None:
        """Compare two calls at one point."""
        if change == 0.0:
            return
        if change <= 100.0 * self.eps * size:
            self.notes.append(f"{name} differs by rounding between two calls at x0")
            return
        self.problems.append(
            f"{name} is not deterministic: two calls at x0 gave {what}; fix the random numbers, "
            "or the mini-batch, that it uses"
        )

    def _noise(self) -> None:
        """Measure the noise of f, and of each entry of g, at points next to x0.

        Where they show none, not even rounding, values may come in steps coarser than those
        of their type: points farther apart show these.
        """
        self.noise, self.gradient_noise = self._noise_at(16.0 * self.eps)
        blind = self.gradient_noise is not None and norm(self.gradient_noise) == 0.0
        if self.noise == 0.0 or blind:
            noise, gradient_noise = self._noise_at(self.eps**0.5)
            self.noise = self.noise or noise
            self.gradient_noise = gradient_noise if blind else self.gradient_noise

    def _noise_at(self, share: float) -> tuple[float, Array | None]:
        """Move every entry of x0 by this share of itself, `POINTS` times."""
        xp = namespace_of(self.x)
        move = from_host(self.rng.choice((-share, share), self.n), self.x) * self._sizes()
        values, gradients = [], []
        for i in range(1, POINTS + 1):
            x = self.x + i * move
            linear = 0.0 if self.g is None else scalars(dot(self.g, x - self.x))[0]
            values.append(self.given.value(x) - self.f0 - linear)
            if self.given.gradient is not None and self.g is not None:
                gradients.append(self.given.gradient(x) - self.g)
        level = float(noise_level(np.array(values)))
        level = level if math.isfinite(level) else 0.0
        if not gradients:
            return level, None
        found = noise_level(xp.stack(gradients, axis=0))
        return level, xp.where(xp.isfinite(found), found, xp.zeros_like(found))

    @property
    def noisy(self) -> bool:
        """Whether f varies by much more than rounding where it should be linear."""
        return self.noise > 1e4 * self.eps * max(abs(self.f0), self.spread)

    # --- along lines -------------------------------------------------------------------

    def follow(self, line: Line, steps: list[float] | None = None) -> None:
        """Measure along a line; with `steps` given, values alone."""
        alone = steps is not None
        steps = steps or step_range(self.eps, norm(self.x))
        products = not alone and line.product is not None and self.g is not None
        rows = [self._measured(line, h, products=products) for h in steps]
        values = [f for row in rows for f in row[1:3] if math.isfinite(f)]
        self.spread = max([self.spread, *(abs(f - self.f0) for f in values)])
        noise = self._noise_of(values)
        constant = all(f == self.f0 for f in values)
        for row in rows:
            self._add_values(line, row, noise, constant)
        if not alone:
            self._add_orders(line, rows, noise)
        self._refine(line, rows[-1][0], noise, products)

    def _refine(self, line: Line, h: float, noise: float, products: bool) -> None:
        """Add smaller steps as long as a claim seems wrong and rounding errors are small.

        The mismatch of a function that changes within the steps so far vanishes there.
        """
        for _ in range(40):
            if not (line.values.open or line.products.open):
                return
            h /= RATIO
            s = (self.x + h * line.d) - (self.x - h * line.d)
            length = norm(s)
            if length == 0.0:  # x cannot be moved by less
                return
            # Among neighbouring floats: rounding turns the line, and f is at its roughest.
            close = h < 1e3 * self.eps * (1.0 + norm(self.x))
            close = close or norm(s / length - line.d) > 0.05
            if close and line.values.decided and line.products.decided:
                return
            self._add_values(line, self._measured(line, h, products=products), noise, False)

    def _measured(self, line: Line, h: float, *, products: bool) -> Row:
        """Evaluate at both ends of a step; gradients go straight into the line's trail."""
        ahead, behind = self.x + h * line.d, self.x - h * line.d
        gradient = self.given.gradient if products else None
        above = self.given.value(ahead)
        uphill = None if gradient is None else gradient(ahead)
        below = self.given.value(behind)
        if uphill is not None and gradient is not None:
            self._add_product(line, h, ahead - behind, uphill, gradient(behind))
        s = ahead - behind
        if self.g is None:
            return h, above, below, 0.0, 0.0, 2.0 * h
        # The displacements as they were rounded.
        across, forward = scalars(dot(self.g, s), dot(self.g, ahead - self.x))
        return h, above, below, across, forward, norm(s)

    def _noise_of(self, values: list[float]) -> float:
        """Return the noise of f, or the step that its values come in, where they do."""
        if self.noise == 0.0 and any(f == self.f0 for f in values):
            changes = [abs(f - self.f0) for f in values if f != self.f0]
            smallest = min(changes, default=0.0)
            if smallest <= 1e-5 * abs(self.f0):
                self.quantum = max(self.quantum, smallest)
        return self.noise or self.quantum

    def _rounding(self, noise: float, *values: float) -> float:
        return 3.0 * noise + self.eps * (abs(self.f0) + sum(map(abs, values)))

    def _add_values(self, line: Line, row: Row, noise: float, constant: bool) -> None:
        h, above, below, across, _, length = row
        rounding = self._rounding(noise, above, below)
        size = max(abs(self.f0), abs(above - self.f0), abs(below - self.f0))
        if self.g is not None:
            # Where f does not resolve the step, a difference of zero says nothing.
            unresolved = above == below == self.f0 and abs(across) < 1e-6 * abs(self.f0)
            if length > 0.0 and (constant or not unresolved):
                quotient = (above - below - across) / length
                line.values.add(h, quotient, rounding / length + self.eps * self.gnorm, size)
        elif line.product is not None:
            quotient = (above - 2.0 * self.f0 + below) / (h * h) - line.curvature
            line.products.add(h, quotient, 2.0 * rounding / (h * h), size / h)

    def _add_product(self, line: Line, h: float, s: Array, uphill: Array, downhill: Array) -> None:
        """Compare ``H d`` with the difference of two gradients."""
        product = self.given.product
        assert product is not None
        assert line.product is not None
        assert self.gradient_noise is not None
        length = norm(s)
        if length == 0.0:
            return
        claim, taken = line.product, s / length
        if norm(taken - line.d) > 1e-2 * self.rtol:  # the step as it was rounded
            claim = product(taken)
        quotient = (uphill - downhill) / length - claim
        sizes = norm(uphill) + norm(downhill)
        noise = 3.0 * norm(self.gradient_noise) + self.eps * sizes
        line.products.add(h, quotient, noise / length + self.eps * norm(line.product), sizes)

    def _add_orders(self, line: Line, rows: list[Row], noise: float) -> None:
        """Record the orders of the Taylor remainders."""
        if self.g is None:
            return
        steps = [row[0] for row in rows]
        floors = [self._rounding(noise, row[1]) + self.eps * self.gnorm * row[0] for row in rows]
        first = [row[1] - self.f0 - row[4] for row in rows]
        self.gradient_orders.append(order(steps, [abs(r) for r in first], floors))
        if line.product is not None:
            second = [r - 0.5 * h * h * line.curvature for r, h in zip(first, steps, strict=True)]
            self.hessian_orders.append(order(steps, [abs(r) for r in second], floors))
