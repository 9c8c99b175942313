"""What a run and its second-order check decide at an accepted point."""

from __future__ import annotations

from negopt.decisions.noise import rounding

#: Trials that lower neither f nor the gradient, after which a run is given up.
STALL = 100
#: Such trials after which f and g are compared, and as many again: they may contradict each other.
SUSPECT = 15
#: Such trials after which a run with a gradient by differences is given up.
FEWER = 10
#: Share of f, beside its noise, that f has to fall by there to count as progress.
CREEPS = 1e-9
#: What the gradient has to fall to, as a share, to count as progress where f does not fall.
FALL = 0.9
#: f below minus this multiple of max(1, |f0|) is taken for minus infinity, and f below minus this
#: share of the largest number.
BOTTOM, CLEAR = 1e30, 1e-8
#: Share of what the slope promises that f falls by along a straight line, and how many such steps
#: in a row a run takes before it looks further ahead.
STRAIGHT, STEPS_AHEAD = 0.999, 10

# Why a run is over.
GOES_ON, TARGET, CONVERGED, UNBOUNDED, LIMIT = 0, 1, 2, 3, 4


def progresses(f: float, f_before: float, gmax: float, gmax_before: float, eps: float) -> bool:
    """Tell whether an accepted point is progress: f lower by more than rounding, or g much smaller.

    What was `before` is that at the last progress, nan while there was none.
    """
    fallen = f == f and not f >= f_before - rounding(f_before, eps)
    return fallen or gmax < FALL * gmax_before


def is_suspect(before: int, stalled: int) -> bool:
    """Tell whether f and g are to be compared when so many trials have brought no progress."""
    return before < SUSPECT <= stalled or before < 2 * SUSPECT <= stalled


def bottom(f0: float, most: float) -> float:
    """Return the value of f that is taken for minus infinity in a run that began at `f0`.

    It is ``-1e30 max(1, |f0|)``, but clear of the largest number `most` of its type.
    """
    return -min(BOTTOM * max(1.0, abs(f0)), max(CLEAR * most, 10.0 * abs(f0)))


def is_straight(f: float, trial: float, slope: float) -> bool:
    """Tell whether f has fallen by all that its slope promised: nothing bends it upwards."""
    return trial - f <= STRAIGHT * slope < 0.0


def is_better_end(f: float, size: float, f_end: float, gtol: float) -> bool:
    """Tell whether the lowest point seen, which no step has gone to, ends the run.

    It has to be stationary: a value lower by rounding alone is no reason.
    """
    return size <= gtol and f <= f_end


def disagree(slope: float, rate: float, noise: float) -> bool:
    """Tell whether a difference quotient of f, with an error of `noise`, contradicts the slope."""
    return abs(rate - slope) > 0.1 * max(abs(slope), abs(rate)) + 2.0 * noise


def why_over(
    f: float, size: float, k: int, gtol: float, ftarget: float, bottom: float, maxiter: int
) -> int:
    """Tell whether a run ends at a point after k iterations, and why; the first that holds.

    `size` is the norm of the gradient that `gtol` bounds; a value below `bottom` is taken for
    minus infinity.
    """
    if f <= ftarget:
        return TARGET
    if size <= gtol:
        return CONVERGED
    if f < bottom:
        return UNBOUNDED
    if k >= maxiter:
        return LIMIT
    return GOES_ON


def units_differ(of_x: float, of_g: float, of_both: float) -> bool:
    """Tell whether the variables are in different units.

    The arguments are the variances of the logarithms of ``|x_i|``, ``|g_i|`` and ``|x_i g_i|``.
    A partial derivative has the unit of f over that of its variable.  If the variables are
    in different units and x is of a typical size, ``|g_i|`` falls as ``|x_i|`` grows, and the
    products are much more alike than the ``|g_i|``.
    """
    return of_x >= 1.0 and of_both < 0.49 * of_g
