"""The Wolfe search: reverse communication over a work vector.

The caller evaluates value and slope at ``w[ALPHA]`` and hands them to `search_step` until that
returns another task than ``EVALUATE``.  The work vector is a list of floats in the array code
and a float64 array where this file is compiled.
"""

from __future__ import annotations

import math
from typing import Protocol


class Work(Protocol):
    """A mutable sequence of `SEARCH_WORK` floats."""

    def __getitem__(self, slot: int, /) -> float: ...
    def __setitem__(self, slot: int, value: float, /) -> None: ...


# Slots of the work vector.
ALPHA = 0  # trial step to evaluate next
F0, D0 = 1, 2  # value and slope at 0 (the slope is negative)
LO, F_LO, D_LO = 3, 4, 5  # sufficient decrease holds, slope still too negative
HI, F_HI, D_HI = 6, 7, 8  # upper end of the bracket; inf while there is none
BEST, F_BEST = 9, 10  # lowest trial with sufficient decrease; 0 while there is none
C1, C2, STRONG, NOISE = 11, 12, 13, 14
COUNT, LIMIT, ALPHA_MAX = 15, 16, 17
OLD_LO, OLD_F, OLD_D = 18, 19, 20  # the LO before the last one, for extrapolation
WIDTH = 21  # bracket width two trials ago, to force bisection
SEARCH_WORK = 22

# Tasks that the search returns.
EVALUATE, WOLFE, ARMIJO, FAILED, ENDLESS = 0, 1, 2, 3, 4


def search_start(
    w: Work,
    f0: float,
    d0: float,
    alpha: float,
    c1: float,
    c2: float,
    strong: bool,
    noise: float,
    limit: int,
    alpha_max: float,
) -> None:
    """Prepare the work vector for a search from 0 with slope `d0` < 0."""
    w[ALPHA] = min(alpha, alpha_max)
    w[F0] = f0
    w[D0] = d0
    w[LO] = 0.0
    w[F_LO] = f0
    w[D_LO] = d0
    w[HI] = math.inf
    w[F_HI] = math.inf
    w[D_HI] = math.inf
    w[BEST] = 0.0
    w[F_BEST] = math.inf
    w[C1] = c1
    w[C2] = c2
    w[STRONG] = 1.0 if strong else 0.0
    w[NOISE] = noise
    w[COUNT] = 0.0
    w[LIMIT] = limit
    w[ALPHA_MAX] = alpha_max
    w[OLD_LO] = 0.0
    w[OLD_F] = f0
    w[OLD_D] = d0
    w[WIDTH] = math.inf


def cubic_minimizer(a: float, fa: float, da: float, b: float, fb: float, db: float) -> float:
    """Return the local minimiser of the cubic through two values and slopes, or nan."""
    width = b - a
    theta = 3.0 * (fa - fb) / width + da + db
    scale = max(abs(theta), abs(da), abs(db))
    if scale == 0.0 or not math.isfinite(scale):
        return math.nan
    radicand = (theta / scale) ** 2 - (da / scale) * (db / scale)
    if radicand < 0.0:
        return math.nan
    root = scale * math.sqrt(radicand)
    if width < 0.0:
        root = -root
    bottom = db - da + 2.0 * root
    if bottom == 0.0:
        return math.nan
    return b - width * (db + root - theta) / bottom


def is_decrease(
    f: float, d: float, alpha: float, f0: float, d0: float, c1: float, noise: float
) -> bool:
    """Tell whether value f and slope d at `alpha` are a sufficient decrease.

    Hager and Zhang's approximate test, in slopes, takes over where f0 - f is rounding noise.
    """
    if f <= f0 + c1 * alpha * d0:
        return True
    return abs(f - f0) <= noise and d <= (2.0 * c1 - 1.0) * d0


def is_flatter(d: float, d0: float, c2: float, strong: bool) -> bool:
    """Tell whether the slope d satisfies the curvature condition."""
    return d >= c2 * d0 and (not strong or d <= -c2 * d0)


def is_wolfe(
    f: float,
    d: float,
    alpha: float,
    f0: float,
    d0: float,
    c1: float,
    c2: float,
    strong: bool,
    noise: float,
) -> bool:
    """Tell whether `search_step` accepts a first trial: most searches need no more."""
    if not (math.isfinite(f) and math.isfinite(d)):
        return False
    return is_decrease(f, d, alpha, f0, d0, c1, noise) and is_flatter(d, d0, c2, strong)


def search_step(w: Work, f: float, d: float) -> int:
    """Take value and slope at ``w[ALPHA]``; say what to do next.

    Returns ``EVALUATE`` (evaluate at the new ``w[ALPHA]``), ``WOLFE`` (the trial
    satisfies the conditions), ``ARMIJO`` (they cannot be met within the limits;
    ``w[BEST]`` has sufficient decrease), ``FAILED`` (no decrease was found) or ``ENDLESS``
    (``w[BEST]`` is the longest step allowed, and f still falls there).

    The invariant is that of Lewis and Overton: at LO sufficient decrease holds and
    the slope is below ``c2 d0``; HI violates one of the two from the other side, or
    is not finite.  Then a point satisfying even the strong conditions lies between,
    and the bracket shrinks to it.
    """
    a = w[ALPHA]
    f0 = w[F0]
    d0 = w[D0]
    lo = w[LO]
    w[COUNT] += 1.0
    invalid = not (math.isfinite(f) and math.isfinite(d))
    if invalid:
        w[HI] = a
        w[F_HI] = math.inf
        w[D_HI] = math.inf
    else:
        decrease = is_decrease(f, d, a, f0, d0, w[C1], w[NOISE])
        if decrease and (f < w[F_BEST] or w[BEST] == 0.0):
            w[BEST] = a
            w[F_BEST] = f
        if decrease and is_flatter(d, d0, w[C2], w[STRONG] == 1.0):
            return WOLFE
        if decrease and d < w[C2] * d0:
            w[OLD_LO] = lo
            w[OLD_F] = w[F_LO]
            w[OLD_D] = w[D_LO]
            w[LO] = a
            w[F_LO] = f
            w[D_LO] = d
            lo = a
        else:
            w[HI] = a
            w[F_HI] = f
            w[D_HI] = d
    hi = w[HI]
    exhausted = w[COUNT] >= w[LIMIT]
    if hi == math.inf:
        if a >= w[ALPHA_MAX]:
            exhausted = True
        trial = cubic_minimizer(w[OLD_LO], w[OLD_F], w[OLD_D], lo, w[F_LO], w[D_LO])
        if not trial > lo:  # concave so far: the cubic has no minimum ahead
            trial = 10.0 * a
        w[ALPHA] = min(max(2.0 * a, min(trial, 10.0 * a)), w[ALPHA_MAX])
    else:
        width = hi - lo
        if width <= 4e-16 * hi:
            exhausted = True
        if not math.isfinite(w[F_HI]):
            trial = lo + 0.1 * width
        else:
            trial = cubic_minimizer(lo, w[F_LO], w[D_LO], hi, w[F_HI], w[D_HI])
            if not (lo < trial < hi) or width > 0.66 * w[WIDTH]:
                trial = lo + 0.5 * width
            trial = min(max(trial, lo + 0.1 * width), hi - 0.1 * width)
            # N.B. one slow reduction is allowed before bisection is forced.
            w[WIDTH] = width if width <= 0.66 * w[WIDTH] else math.inf
        w[ALPHA] = trial
    if exhausted:
        if hi == math.inf and a >= w[ALPHA_MAX] and w[BEST] == a:
            return ENDLESS
        return ARMIJO if w[BEST] > 0.0 else FAILED
    return EVALUATE
