"""The screen: one way to make a console, and how numbers are written."""

from __future__ import annotations

import math
import os

import numpy as np
from rich.console import Console

from negopt.core.arrays import Array

#: Width where there is no terminal to ask.
PIPE_WIDTH = 100


def make_console() -> Console:
    """Return a console that does not colour numbers, and is wide enough in a pipe."""
    console = Console(highlight=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(highlight=False, emoji=False, width=PIPE_WIDTH)
    return console


def largest(vector: Array) -> float:
    """Return the largest absolute entry."""
    return float(np.max(np.abs(vector)))


def value(number: float) -> str:
    """Return an objective value."""
    return f"{number:.6g}" if 1e-3 <= abs(number) < 1e6 or number == 0.0 else power(number, 4)


def short(number: float) -> str:
    """Return a gradient norm or a curvature in three digits."""
    return f"{number:.3g}" if 1e-2 <= abs(number) < 1e4 or number == 0.0 else power(number, 1)


def power(number: float, digits: int) -> str:
    """Return scientific notation; ``-`` where there is no number."""
    return "-" if math.isnan(number) else f"{number:.{digits}e}"


def integer(number: int | None) -> str:
    """Return a count; ``-`` where there is none."""
    return "-" if number is None else str(number)


def seconds(number: float) -> str:
    """Return a time in seconds, at least two digits of it."""
    if number >= 100.0:
        return f"{number:.0f}"
    return f"{number:.2f}" if number >= 0.095 else f"{number:.3f}"
