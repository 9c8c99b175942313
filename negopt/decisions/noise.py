"""What is rounding: one epsilon, one rule."""

from __future__ import annotations

#: Changes of f below this many roundings of f are noise.
ROUNDINGS = 450.0


def rounding(f: float, eps: float) -> float:
    """Return the change of f that is rounding noise, ``450 eps |f|``, 1e-13 |f| in float64."""
    return ROUNDINGS * eps * abs(f)
