"""What is rounding: one epsilon, one rule."""

from __future__ import annotations

#: Changes of f below this many roundings of f are noise.
ROUNDINGS = 100.0


def rounding(f: float, eps: float) -> float:
    """Return the change of f that is rounding noise, ``100 eps |f|``."""
    return ROUNDINGS * eps * abs(f)
