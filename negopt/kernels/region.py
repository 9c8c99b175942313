"""The trust region of the fused engine: the counterpart of `negopt.globalize.trust_region`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from negopt.kernels import work as w
from negopt.kernels._jit import jit_inline
from negopt.kernels.limited import learn_pair
from negopt.kernels.passes import look
from negopt.kernels.work import Work, finish_point, free_point

FloatArray = np.ndarray[Any, np.dtype[np.float64]]

#: As in `negopt.globalize.trust_region`; a test compares them.
WORTHLESS = -30.0


@jit_inline
def open_region(work: Work) -> int:
    """Prepare an iteration; return the point that the trial goes to."""
    reals, ints = work.reals, work.ints
    here = ints[w.ITERATE]
    reals[w.LOWEST] = min(reals[w.LOWEST], work.points[here, w.F])
    reals[w.USED_RADIUS] = reals[w.RADIUS]
    reals[w.RHO] = math.nan
    ints[w.TRIALS] = 0
    ints[w.FINITE] = 1
    ints[w.TRIAL] = free_point(work)
    return ints[w.TRIAL]  # type: ignore[no-any-return]


@jit_inline
def enter_region(work: Work, square: float, slope: float, quadratic: float) -> int:
    """Measure the step that was written to the trial; EVALUATE if it promises anything.

    One that does not is left to the reference: of a step that x can hardly resolve the slope is
    that of its rounding.
    """
    reals, ints = work.reals, work.ints
    here, trial = ints[w.ITERATE], ints[w.TRIAL]
    length = math.sqrt(square)
    radius = reals[w.RADIUS]
    if length > radius:
        if length > (1.0 + 1e-10) * radius:  # through an ill-conditioned basis
            factor = radius / length
            x, out = work.vectors[2 * here], work.vectors[2 * trial]
            for i in range(x.shape[0]):
                out[i] = x[i] + factor * (out[i] - x[i])
            slope, quadratic = factor * slope, factor * factor * quadratic
        length = radius
    reals[w.SLOPE], reals[w.QUADRATIC] = slope, quadratic
    reals[w.NORM] = length
    reals[w.STEP_NORM] = length
    if not (-(slope + 0.5 * quadratic) > 0.0 and square > 0.0):
        return w.RARE
    return w.EVALUATE


@jit_inline
def judge_region(f: float, g: FloatArray, work: Work) -> int:
    """Take f and g at the trial: accept or reject it, learn, set the radius."""
    reals, ints = work.reals, work.ints
    here, trial = ints[w.ITERATE], ints[w.TRIAL]
    points = work.points
    square, gmax, along, _, _, _, xx = look(
        work.vectors[2 * trial],
        work.vectors[2 * here],
        g,
        work.vectors[2 * here + 1],
        work.vectors[2 * trial + 1],
    )
    ints[w.TRIALS] = 1
    ints[w.ACCEPTED] = 0
    length = reals[w.NORM]
    finite = finish_point(work, trial, f, square, gmax, xx)
    ints[w.FINITE] = 1 if finite else 0
    accepted = False
    if not finite:
        reals[w.RADIUS] = 0.1 * length
        ints[w.FREE] = 0
    else:
        rho = ratio(work, f, along)
        reals[w.RHO] = rho
        resize(work, f, along, rho)
        accepted = rho > reals[w.ETA]
        if rho > WORTHLESS:
            if not learn_pair(work, here, trial, trial if accepted else here):
                ints[w.SKIPPED] += 1
    ints[w.K] += 1
    ints[w.SKIPPED] += ints[w.NEWEST_SKIPPED]
    if not accepted:
        ints[w.REJECTED] += 1
        if reals[w.RADIUS] <= w.EPS * max(points[here, w.XNORM], 1e-300):
            return w.SMALL_RADIUS
        return w.PAUSE
    ints[w.ACCEPTED] = 1
    ints[w.STARTED] = 1
    ints[w.RESETS] = 0
    ints[w.ITERATE] = trial
    ints[w.MOVED] = 1
    return w.PAUSE


@jit_inline
def ratio(work: Work, f: float, along: float) -> float:
    """Return actual over predicted decrease: `negopt.globalize.ratio.reduction_ratio`."""
    reals = work.reals
    here = work.points[work.ints[w.ITERATE], w.F]
    predicted = -(reals[w.SLOPE] + 0.5 * reals[w.QUADRATIC])
    if not (math.isfinite(predicted) and predicted > 0.0):
        return math.nan
    actual = here - f
    noise = 100.0 * w.EPS * abs(here)
    if abs(actual) <= noise and f <= reals[w.LOWEST] + noise:
        actual = -0.5 * (reals[w.SLOPE] + along)
    return float(actual / predicted)


@jit_inline
def resize(work: Work, f: float, along: float, rho: float) -> None:
    """Set the next radius."""
    reals, ints = work.reals, work.ints
    length, slope = reals[w.NORM], reals[w.SLOPE]
    radius = reals[w.RADIUS]
    if not (rho >= 0.1 and rho > reals[w.ETA]):  # nan too
        factor = reals[w.SHRINK]
        bend = f - work.points[ints[w.ITERATE], w.F] - slope
        if ints[w.STARTED] == 0 and math.isfinite(bend) and bend > 0.0 > slope:
            factor = min(max(-0.5 * slope / bend, 1e-6), factor)
        elif ints[w.INTERPOLATE] == 1 and not rho > reals[w.ETA]:
            bottom = cubic_minimiser(bend, slope, along)
            factor = min(max(bottom, 0.1), factor)
        reals[w.RADIUS] = factor * min(radius, length)
        ints[w.FREE] = 0
    elif rho > 0.75 and length > 0.8 * radius:
        grow = reals[w.FIRST_GROW] if ints[w.FREE] == 1 else reals[w.GROW]
        reals[w.RADIUS] = min(grow * radius, reals[w.MAX_RADIUS])


@jit_inline
def cubic_minimiser(bend: float, slope: float, end: float) -> float:
    """Minimiser, as a share of the step, of the cubic through f and its slopes at both ends.

    `bend` is what f exceeds its linear prediction by.
    """
    z = slope + end - 3.0 * (bend + slope)
    square = z * z - slope * end
    if not square >= 0.0:
        return 1.0
    root = math.sqrt(square)
    bottom = end - slope + 2.0 * root
    return 1.0 - (end + root - z) / bottom if bottom != 0.0 else 1.0
