"""Difference quotients over a range of steps, and what they say of a claimed derivative."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from negopt.core.arrays import Array, namespace_of, norm

#: Each step is this much smaller than the one before.
RATIO = 4.0
#: Range of steps over which a mismatch must last to be called a mistake; the shorter one
#: where the larger steps show the truncation error of a function that they resolve.
REACH = {False: RATIO**4, True: RATIO**2}
#: Points that a noise level is read from.
POINTS = 8


def step_range(eps: float, length: float) -> list[float]:
    """Return the falling steps along a unit vector from a point of that `length`.

    From a quarter of ``1 + length``, where truncation errors dominate, down to where rounding
    errors do; the best step of a central difference, ``eps^(1/3)``, lies well inside.
    """
    top = 0.25 * (1.0 + length)
    count = 1 + int(math.log(0.25 / eps**0.6) / math.log(RATIO))
    return [top * RATIO**-j for j in range(count)]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the differences say of one claim."""

    #: The mismatch exceeds the error of the differences at every step from the best one down
    #: to where rounding errors dominate.
    suspect: bool
    wrong: bool  #: it does so over a range of steps of at least `REACH`
    error: float  #: size of the mismatch at the best step
    uncertainty: float  #: error of the quotient there
    closest: float  #: least mismatch at the best step or a smaller one
    mismatch: float | Array  #: measured minus claimed, at the best step


@dataclass(slots=True)
class Trail:
    """Mismatch between central differences and a claim, over falling steps.

    The quotient at step h is off by ``c h^2`` (truncation), which two steps in a row show,
    and by ``noise / h`` (rounding); the best step is the one where their sum is least.
    """

    steps: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)  #: sizes of the mismatch
    noises: list[float] = field(default_factory=list)  #: the quotients' share of noise
    sizes: list[float] = field(default_factory=list)  #: of the function that is differenced
    _before: float | Array = 0.0
    _changes: list[float] = field(default_factory=list)
    _best: tuple[float, int, float | Array] = (math.inf, -1, 0.0)

    def add(self, step: float, mismatch: float | Array, noise: float, value: float) -> None:
        """Add the next, smaller, step; one that is not finite is left out."""
        size = size_of(mismatch)
        if not (math.isfinite(size) and math.isfinite(noise)):
            return
        if self.steps:
            self._changes.append(size_of(mismatch - self._before))
            self._consider(len(self.steps) - 1)
        self.steps.append(step)
        self.errors.append(size)
        self.noises.append(noise)
        self.sizes.append(value)
        self._before = mismatch

    def _consider(self, j: int) -> None:
        """Keep step j when its quotient is the most accurate so far."""
        near = self._changes[j - 1 : j + 1] if j else self._changes[:1]
        if j:  # the change down to this step, had it only begun to shrink
            near = [near[0] / RATIO, *near[1:]]
        total = max(near) + self.noises[j]
        if total < self._best[0]:
            self._best = total, j, self._before

    def _falling(self, j: int) -> bool:
        """Whether the changes down to step j shrink, as those of ``c h^2`` do (16-fold)."""
        if j < 2:
            return False
        first, second = self._changes[j - 2], self._changes[j - 1]
        return first >= 4.0 * second and first > 3.0 * self.noises[j - 1]

    @property
    def open(self) -> bool:
        """Whether the claim seems wrong and a smaller step could still say otherwise."""
        found = self.verdict(0.0)
        return found is not None and found.suspect and self.noises[-1] <= 0.1 * found.error

    @property
    def decided(self) -> bool:
        """Whether smaller steps are not needed for a verdict."""
        found = self.verdict(0.0)
        return found is None or found.wrong or not found.suspect

    def verdict(self, allowed: float) -> Verdict | None:
        """Return the verdict; None when fewer than two steps were finite.

        A mismatch of `allowed`, the rounding error of the claim itself, is accepted.
        """
        if len(self.steps) < 2:
            return None
        uncertainty, j, mismatch = self._best
        last = len(self.steps) - 1
        total = self._changes[last - 1] + self.noises[last]
        if total < uncertainty:
            uncertainty, j, mismatch = total, last, self._before
        error = self.errors[j]
        wrong = error > 10.0 * uncertainty + allowed
        # A true derivative is approached as steps fall; a wrong one keeps its distance,
        # over REACH at least: a function may be rough on a scale below the large steps.
        after = range(j + 1, len(self.steps))
        later = [i for i in after if self.noises[i] <= 0.5 * max(error, self.errors[i])]
        moved = [i for i in later if abs(self.errors[i] - error) > 0.1 * error + self.noises[i]]
        wrong = wrong and not moved
        clear = [self.steps[i] for i in later if self.noises[i] <= 0.1 * error]
        reach = REACH[self._falling(j)]
        reached = bool(clear) and clear[-1] <= 1.01 * self.steps[j] / reach
        # A step over which f would change by a tenth of its own size is too long to tell.
        size = float(np.median(self.sizes))
        reached = reached and (size == 0.0 or 10.0 * clear[-1] * error <= size)
        closest = error if wrong else min(self.errors[j:])
        return Verdict(wrong, wrong and reached, error, uncertainty, closest, mismatch)


def size_of(value: float | Array) -> float:
    """Return the length of a vector, or the size of a number."""
    return abs(value) if isinstance(value, float) else norm(value)


def order(steps: Sequence[float], remainders: Sequence[float], floors: Sequence[float]) -> float:
    """Return the power of the step that a Taylor remainder falls with.

    The median over the smallest steps at which the remainder stands clear of its rounding
    error; nan when it does so at fewer than two: then it is zero to rounding.
    """
    clear = [
        (h, r)
        for h, r, floor in zip(steps, remainders, floors, strict=True)
        if math.isfinite(r) and r > 20.0 * floor
    ][-4:]
    slopes = [math.log(r / s) / math.log(h / k) for (h, r), (k, s) in itertools.pairwise(clear)]
    return float(np.median(slopes)) if slopes else math.nan


def noise_level(values: Array) -> Array:
    """Return the noise of a function from its values at equally spaced points, very close.

    `values` have shape (POINTS,) or (POINTS, n).  The standard deviation returned, shape () or
    (n,), is the largest of ``sqrt(g_k mean(T_k^2))`` for k = 4, 5, 6, where T_k are
    differences of order k, in which nothing smooth is left, and ``g_k = (k!)^2 / (2k)!``.

    References
    ----------
    More and Wild (2011), Estimating computational noise, SIAM Journal on Scientific
    Computing 33, 1292-1314, doi:10.1137/100786125.
    """
    xp = namespace_of(values)
    level = None
    for k in range(1, 7):
        values = values[1:, ...] - values[:-1, ...]
        if k < 4:
            continue
        share = math.factorial(k) ** 2 / math.factorial(2 * k)
        now = xp.sqrt(share * xp.mean(values * values, axis=0))
        level = now if level is None else xp.where(now > level, now, level)
    return level
