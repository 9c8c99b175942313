"""The trust region: the reduction ratio, and the next radius."""

from __future__ import annotations

import math

#: A trial whose ratio is below this lies so far outside the region where f resembles its
#: model that its pair would only spoil the scaling of the next one.
WORTHLESS = -30.0
#: Ratios below which a step is poor, and above which it is good.
POOR, GOOD = 0.1, 0.75
#: Share of the radius from which on a step is on the boundary.
BOUNDARY = 0.8
#: Least factor on a first radius, which is only a guess; factor after a trial that is not finite.
LEAST_FACTOR, NONFINITE_FACTOR = 1e-6, 0.1


def is_blurred(f: float, trial: float, noise: float, lowest: float) -> bool:
    """Tell whether the change of f is rounding, so that the slopes at both ends decide.

    That holds only while f stays within rounding of `lowest`, the lowest value accepted: otherwise
    an inaccurate gradient could let f increase step by step.
    """
    return abs(f - trial) <= noise and trial <= lowest + noise


def ratio(actual: float, predicted: float) -> float:
    """Return actual over predicted decrease; nan where none was predicted."""
    return actual / predicted if 0.0 < predicted < math.inf else math.nan


def is_poor(rho: float, eta: float) -> bool:
    """Tell whether the region has to shrink (for a nan too)."""
    return not (rho >= POOR and rho > eta)


def shrink_factor(shrink: float, started: bool, slope: float, change: float) -> float:
    """Return the factor on the shorter of radius and step after a poor step.

    Until a first step is accepted the radius is only a guess: then it goes down to the minimiser
    of the parabola through both values and the slope at 0.  Later a model that has learnt from
    the failure knows better, and the jump would only cost.
    """
    bend = change - slope
    if started or not math.isfinite(bend) or not bend > 0.0 > slope:
        return shrink
    return min(max(-0.5 * slope / bend, LEAST_FACTOR), shrink)


def grows(rho: float, norm: float, radius: float) -> bool:
    """Tell whether a good step on the boundary asks for a larger radius."""
    return rho > GOOD and norm > BOUNDARY * radius
