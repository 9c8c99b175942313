"""The second-order check: how far it looks, what it believes, when it is over.

All lengths and curvatures are in the variables q of a root L, ``x + L q``, that the check looks
in (`negopt.algebra.roots`): curvatures have no units but those of f, and are about one where the
root is that of a good model.
"""

from __future__ import annotations

import math

#: What a curvature is.
POSITIVE, FLAT, NEGATIVE, UNSETTLED = 1, 2, 3, 4

#: Probability that a positive verdict on part of the space is allowed to be wrong.
DOUBT = 1e-2
#: Products before it is asked for: fewer do not show how large the largest curvature is.
FEWEST = 3
#: Share of the largest curvature that products contradict each other by where g is noisy.
NOISY = 1e-4
#: Roundings that a quadratic form of unit length is allowed.
ROUNDINGS = 30.0
#: A multiple of its error that a curvature has to exceed.
MARGIN = 10.0
#: No curvature above this share of the largest is called flat for want of a small gradient.
WIDEST = 1e-4
#: A negative Ritz value is settled when its residual is below this share of it.
SETTLED = 0.1


def energy(f: float, f0: float, reach: float, eps: float) -> float:
    """Return the scale of the values that f takes about here, as far as the run has shown it.

    `f0` is f at the start, `reach` the length of x in the natural length of each variable: a
    start so far away that f is no longer what it is here has values of its own.  N.B. x may be
    zero.
    """
    gained = max(f0 - f, 0.0)
    return max(abs(f), min(gained, max(reach * reach, math.pow(eps, 0.75) * gained)))


def length_of_difference(
    error: float, energy: float, eps: float, reach: float, noise: float
) -> float:
    """Return the length h of a difference of gradients along a unit vector.

    `error` is the relative error of such a difference at its best, `reach` the length of x in
    the natural length of each variable.  Where a unit step changes f by about a half, f bends on a
    length of ``sqrt(energy)``, and the noise of g is ``eps sqrt(energy)``, or more where `noise`,
    its norm, is known to be; and h must not be lost in the rounding of x.
    """
    bend = math.sqrt(energy)
    length = max(error * bend, 1e4 * eps * reach, math.sqrt(noise * bend), 1e3 * noise)
    return length if length > 0.0 else error


def length_without_model(error: float, reach: float) -> float:
    """Return the same where nothing is known of the curvatures, in the units of the variables.

    N.B. 1.5, so that no point is one of the differences for the gradient itself.
    """
    return 1.5 * max(error, 1e-6) * (1.0 + reach)


def tolerance_of_curvature(
    error: float,
    largest: float,
    unit: float,
    energy: float,
    gnorm: float,
    asymmetry: float,
) -> float:
    """Return the curvature that is zero within what is known.

    `error` is the relative error of a product and `largest` the largest absolute curvature met,
    `asymmetry` what the products contradict each other by.  At a point that is only almost
    stationary, a distance of ``gnorm / unit`` away where `unit` is the usual curvature, a valley
    floor that bends has curvatures of either sign.
    """
    distance = gnorm / math.sqrt(unit * energy) if unit * energy > 0.0 else math.inf
    bent = min(2.0 * distance, WIDEST) * unit
    return max(MARGIN * error * largest, bent, 5.0 * asymmetry)


def along_direction(tolerance: float, eps: float, size: float, unit: float) -> float:
    """Return the same along one direction, of length `size` in the natural length of each variable.

    Where that is small the model takes f to be steep, and errors of products weigh as little as the
    direction itself; where it is large, it is flat, and roundings of the quadratic form weigh more.
    """
    return max(tolerance * min(size, 1.0), ROUNDINGS * eps * size * size * unit)


def length_against_noise(h: float, asymmetry: float, largest: float, energy: float) -> float:
    """Return a longer difference where products contradict each other, or h itself.

    What they contradict each other by, times h, is the noise of g, if it is that: its effect is
    balanced with what f bends by on a length of ``sqrt(energy)``.
    """
    if not asymmetry > NOISY * largest:
        return h
    return max(h, math.sqrt(asymmetry * h * math.sqrt(energy)))


def is_beyond_doubt(lowest: float, largest: float, k: int, n: int) -> bool:
    """Tell whether k Lanczos steps from a normal probe show that no curvature is negative.

    A Ritz value exceeds the lowest eigenvalue by more than a share e of the largest with a
    probability of at most ``1.65 sqrt(n) ((1 - sqrt e) / (1 + sqrt e))^(k - 1/2)``, whatever the
    spectrum (Kuczynski and Wozniakowski 1992, doi:10.1137/0613066).  `largest`, the largest that
    was met, stands for the largest there is.
    """
    if k >= n or k < FEWEST:
        return k >= n
    root = math.sqrt(min(max(lowest / largest, 0.0), 1.0))
    return 1.648 * math.sqrt(n) * math.pow((1.0 - root) / (1.0 + root), k - 0.5) <= DOUBT


def verdict(
    lowest: float, largest: float, residual: float, tolerance: float, k: int, n: int
) -> int:
    """Return what a Ritz value is, UNSETTLED where more products are needed to tell."""
    if lowest < -tolerance:
        return NEGATIVE if k >= n or residual <= SETTLED * -lowest else UNSETTLED
    if lowest <= tolerance:
        return FLAT if k >= n or residual <= tolerance else UNSETTLED
    return POSITIVE if is_beyond_doubt(lowest, largest, k, n) else UNSETTLED


def confirms(again: float, lowest: float, tolerance: float) -> bool:
    """Tell whether a curvature measured again, on another length, is the same negative one."""
    return again < -tolerance and 0.5 * lowest >= again >= 2.0 * lowest
