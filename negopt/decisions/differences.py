"""Differences of a function in place of its gradient: their steps, and what they resolve.

The noise of f is an absolute number, the change of f that says nothing; a curvature is the second
derivative along one variable.
"""

from __future__ import annotations

import math

#: Central steps are this many times as long as forward ones: the second difference, which comes
#: with them, is then known to a few per cent.
LONGER = 10.0
#: A curvature that a run's pairs show is believed a little less after every further pair.
FADING = 0.9
#: Pairs whose ``s'y`` is below this multiple of the noise of f show no curvature.
CLEAR = 1e3
#: Steps are changed when they are off by more than this factor: a change of step between two
#: points would show in the difference of their gradients.
OFF = 4.0
#: The noise of f as a multiple of its standard deviation.
SPREAD = 2.0
#: Components below this multiple of their error are as good as zero to forward differences.
EXHAUSTED = 3.0


def first_step(x: float, eps: float) -> float:
    """Return the step where nothing is known of the curvature, ``sqrt(eps |x|)``.

    It is between what a function of relative changes wants, ``sqrt(eps) |x|``, and one that
    varies over a length of 1 wherever x is.
    """
    return math.sqrt(eps * (abs(x) if x != 0.0 else 1.0))


def noise_of(f: float, sloped: float, bent: float, eps: float) -> float:
    """Return what the rounding of f, of x and in between may change f by.

    `sloped` is the sum of ``|g_i x_i|`` and `bent` that of ``c_i x_i**2`` with the curvature c.
    The rounding of f is ``eps |f|``.  In a sum of squares residuals r are rounded to
    ``eps |J x|``, however small they are themselves, which changes f by up to
    ``2 ||r|| eps ||J x||``: with ``2 J'J`` for the Hessian ``eps sqrt(2 f bent)``.  What is left
    where f tends to 0 is of second order.
    """
    return eps * (abs(f) + sloped + math.sqrt(2.0 * abs(f) * bent)) + eps * eps * bent


def is_another(found: float, known: float) -> bool:
    """Tell whether the noise that was measured is another than the steps were chosen for."""
    return found > 3.0 * known or 0.0 < found < 0.2 * known


def least_step(x: float, eps: float) -> float:
    """Return the least step: some units of the last place of x, and of a first step."""
    return 16.0 * eps * max(abs(x), first_step(x, eps))


def balanced_step(noise: float, curvature: float) -> float:
    """Return the forward step with the least error, ``2 sqrt(noise / |curvature|)``."""
    return 2.0 * math.sqrt(noise) / math.sqrt(curvature) if curvature > 0.0 else math.inf


def forward_error(noise: float, curvature: float, step: float) -> float:
    """Return the error of a forward difference: truncation, and noise at both ends."""
    return 0.5 * step * curvature + 2.0 * noise / step


def central_error(noise: float, step: float) -> float:
    """Return the error of a central difference: noise, the truncation being of third order."""
    return 2.0 * noise / step


def shown_curvature(y: float, sy: float, before: float) -> float:
    """Return the curvature along a variable after a pair, of which y is the entry.

    Where the Hessian is positive definite and constant, ``y_i**2 <= H_ii s'y`` (Cauchy and
    Schwarz), with equality where the step is along a stiff variable: the largest such value.
    """
    return max(y * y / sy, FADING * before)


def trusted(error: float, gtol: float, first: float) -> bool:
    """Tell whether a gradient of zero, by steps that the user has chosen, is worth anything.

    `error` is its error, `first` the norm of the gradient at the start.
    """
    return error <= max(1e2 * gtol, 1e-6 * first)


def is_resolved(second: float, noise: float) -> bool:
    """Tell whether a second difference ``f(x + h) - 2 f(x) + f(x - h)`` is more than noise."""
    return abs(second) > 8.0 * noise
