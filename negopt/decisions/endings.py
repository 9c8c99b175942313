"""What a run and its second-order check decide at an accepted point."""

from __future__ import annotations

#: Trials that lower neither f nor the gradient, after which a run is given up.
STALL = 100
#: What the gradient has to fall to, as a share, to count as progress where f does not fall.
FALL = 0.9

# Why a run is over.
GOES_ON, TARGET, CONVERGED, UNBOUNDED, LIMIT = 0, 1, 2, 3, 4


def progresses(f: float, best: float, gmax: float, before: float) -> bool:
    """Tell whether an accepted point is lower than all before, or its gradient much smaller.

    `before` is the gradient at the last progress, nan while there was none.
    """
    return f < best or gmax < FALL * before


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


def is_better_end(f: float, size: float, f_end: float, gtol: float) -> bool:
    """Tell whether the lowest point seen is reported in place of the one the run has ended at.

    A value lower by rounding alone does not replace a point that was checked, unless it is
    stationary too.
    """
    return size <= gtol and f < f_end


def units_differ(of_x: float, of_g: float, of_both: float) -> bool:
    """Tell whether the variables are in different units.

    The arguments are the variances of the logarithms of ``|x_i|``, ``|g_i|`` and ``|x_i g_i|``.
    A partial derivative has the unit of f over that of its variable.  If the variables are
    in different units and x is of a typical size, ``|g_i|`` falls as ``|x_i|`` grows, and the
    products are much more alike than the ``|g_i|``.
    """
    return of_x >= 1.0 and of_both < 0.49 * of_g
