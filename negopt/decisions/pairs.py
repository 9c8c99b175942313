"""Curvature pairs, the models made of them, and the directions these give: what is decided.

Of a pair s, y the functions see ``ss = s's``, ``yy = y'y`` and ``sy = s'y``.
"""

from __future__ import annotations

import math

from negopt.decisions.noise import rounding

#: An SR1 residual shorter than this share of the vector that it should vanish against is rounding.
RESIDUAL = 1e-12
#: ``s'y`` below this share of ``||s|| ||y||`` is no measure of a scale.
SCALE = 1e-12
#: A displacement shorter than this share of ``||x||`` may have been lost in the rounding of x.
UNRESOLVED = 1e-8


def is_usable(ss: float, yy: float, sy: float) -> bool:
    """Tell whether the pair is finite and neither vector is zero."""
    return math.isfinite(sy) and 0.0 < ss < math.inf and 0.0 < yy < math.inf


def is_storable(ss: float, yy: float, sy: float) -> bool:
    """Tell whether a limited memory can hold the pair.

    Its small algebra leaves the range of float64 where s is as good as zero, or the curvature
    above 1e60.
    """
    return 1e-200 < ss < math.inf and yy < 1e120 * ss and math.isfinite(sy)


def is_positive(ss: float, yy: float, sy: float, skip: float) -> bool:
    """Tell whether ``s'y > skip ||s|| ||y||``: a BFGS update then stays positive definite."""
    return sy > skip * math.sqrt(ss) * math.sqrt(yy)


def balance(size: float, ss: float) -> float:
    """Return the factor on s and y that brings ``s'y``, or what stands for its size, close to 1.

    It is a power of two, so that nothing is rounded.  A size far below ``s's`` would make s leave
    the range of float32.
    """
    return math.ldexp(1.0, -math.frexp(max(size, 1e-30 * ss))[1] // 2)


def takes_sr1(vv: float, vw: float, ww: float, skip: float, least: float) -> bool:
    """Tell whether the rank-one update ``v v' / v'w`` is well defined.

    v is the residual of the secant equation (``s - H y``, or ``y - B s``), w the vector that the
    model is applied to in it (y, or s), `skip` the least cosine of their angle.  Up to the length
    `least` v is rounding: ``RESIDUAL`` times that of the vector that the model should have
    returned, unless rounding is known better.
    """
    size = math.sqrt(vv)
    if not size > least or vw == 0.0 or not math.isfinite(vv / vw):
        return False
    return abs(vw) >= skip * size * math.sqrt(ww)


def sr1_scale(ss: float, yy: float, sy: float) -> float:
    """Return the multiple of the identity that the inverse model of SR1 starts from.

    It is ``0.9 s'y / y'y``, and ``||s|| / ||y||`` where ``s'y`` is not positive.  Exactly
    ``s'y / y'y`` would make the first denominator of SR1 zero.
    """
    if is_positive(ss, yy, sy, SCALE):
        return 0.9 * sy / yy
    return math.sqrt(ss / yy)


def bfgs_scale(yy: float, sy: float) -> float:
    """Return ``s'y / y'y``, the initial scale of an inverse BFGS model (gamma)."""
    return sy / yy


def unit_scale(gnorm: float) -> float:
    """Return the multiple of the gradient that makes a first step of length 1."""
    return 1.0 / gnorm if 0.0 < gnorm < math.inf else 1.0


def takes_free(ge: float, ee: float, gd: float, dd: float, descent: bool) -> bool:
    """Choose SR1's image ``e = H g`` before that of BFGS, d.

    With `descent` where e has positive slope; else where it makes the smaller angle with the
    line of g.
    """
    if descent:
        return ge > 0.0
    return abs(ge) * math.sqrt(dd) > gd * math.sqrt(ee)


def is_direction(slope: float, square: float, inside: float) -> bool:
    """Tell whether a direction is finite and not zero: ``g'd``, ``d'd``, and that in units."""
    return math.isfinite(slope) and 0.0 < square < math.inf and 0.0 < inside < math.inf


def is_orthogonal(slope: float, gnorm: float, length: float, angle: float) -> bool:
    """Tell whether ``|g'd| <= angle ||g|| ||d||``: the direction is then tilted."""
    return abs(slope) <= angle * gnorm * length


def tilt(gnorm: float, length: float, angle: float) -> float:
    """Return the multiple of -g that brings such a direction to twice the least angle."""
    return 2.0 * angle * length / gnorm


def first_trial(norm: float, last: float, expand: float) -> float:
    """Return the first step factor of a search along a direction of length `norm`.

    Its trial has length 1 at most where no step was taken yet (`last` is 0), else at most
    `expand` times that of the last step.
    """
    reach = expand * last if last > 0.0 else 1.0
    return min(1.0, reach / norm)


def search_noise(f: float, lowest: float, eps: float) -> float:
    """Return the change of f up to which a search from f goes by slopes.

    It is the rounding of f, less what f exceeds the lowest accepted value by: an inaccurate
    gradient cannot let f increase step by step.
    """
    return max(rounding(f, eps) - (f - lowest), 0.0)


def is_unresolved(length: float, xnorm: float) -> bool:
    """Tell whether a displacement may have been lost, wholly or in part, in the rounding of x."""
    return not length > UNRESOLVED * xnorm  # unknown lengths, nan, too
