"""One row of figures per iteration, for the log, the callback and the history."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from negopt.core.arrays import Array, dot, namespace_of, scalars
from negopt.core.types import Outcome, State

logger = logging.getLogger("negopt")

#: Columns of ``res.history``, in order.
FIELDS = (
    "nit",
    "fun",
    "grad_norm",
    "step_norm",
    "step_size",
    "cosine",
    "tr_radius",
    "rho",
    "accepted",
    "nfev",
    "njev",
    "nhev",
    "min_curvature",
    "time",
)

HEADER = (
    f"{'nit':>6} {'f':>16} {'max|g|':>10} {'|s|':>10} {'step':>10} {'radius':>10} "
    f"{'rho':>9} {'nfev':>7} {'njev':>7} {'nhev':>7}"
)


def row(
    state: State, outcome: Outcome | None, step_norm: float, cosine: float = math.nan
) -> dict[str, float]:
    """Return the figures of one iteration; what a method does not have is nan."""
    out = outcome or Outcome()
    return {
        "nit": state.k,
        "fun": state.iterate.f,
        "grad_norm": state.iterate.gmax,
        "step_norm": step_norm,
        "step_size": out.step_size,
        "cosine": cosine,
        "tr_radius": out.radius,
        "rho": out.rho,
        "accepted": float(out.accepted) if outcome else math.nan,
        "nfev": state.counters.nfev,
        "njev": state.counters.njev,
        "nhev": state.counters.nhev,
        "min_curvature": out.min_curvature,
        "time": state.elapsed,
    }


def record(history: dict[str, list[float]], figures: dict[str, float]) -> None:
    """Append the figures of one iteration; a column that an older record lacks begins with nan."""
    rows = len(history["nit"])
    for name in FIELDS:
        history.setdefault(name, [math.nan] * rows).append(float(figures[name]))


class Heading:
    """The angle between what is searched along and steepest descent, for the history.

    Parameters
    ----------
    state : State
        Before the iteration: copies of x and g are kept, since compiled code writes into its own.
    """

    def __init__(self, state: State) -> None:
        x, g = state.iterate.x, state.iterate.g
        xp = namespace_of(x)
        self._x: Array = xp.asarray(x, copy=True)
        self._g: Array = xp.asarray(g, copy=True)

    def cosine(self, state: State, outcome: Outcome | None) -> float:
        """Return ``-g'd / (||g|| ||d||)`` of the direction d that was searched, nan without a step.

        A step of negative size went along -d.
        """
        if outcome is None or not outcome.accepted:
            return math.nan
        s = state.iterate.x - self._x
        slope, square, length = scalars(dot(self._g, s), dot(self._g, self._g), dot(s, s))
        size = math.sqrt(square) * math.sqrt(length)
        if not 0.0 < size < math.inf:
            return math.nan
        return (slope if outcome.step_size < 0.0 else -slope) / size


def format_row(figures: dict[str, float]) -> str:
    """Return `figures` as one line under `HEADER`."""

    def cell(name: str, width: int, digits: int) -> str:
        value = figures[name]
        return " " * (width - 1) + "-" if math.isnan(value) else f"{value:{width}.{digits}e}"

    return (
        f"{figures['nit']:6d} {figures['fun']:16.8e} {cell('grad_norm', 10, 2)} "
        f"{cell('step_norm', 10, 2)} {cell('step_size', 10, 2)} {cell('tr_radius', 10, 2)} "
        f"{cell('rho', 9, 1)} {figures['nfev']:7d} {figures['njev']:7d} {figures['nhev']:7d}"
    )


@contextmanager
def logging_to_screen(wanted: bool) -> Iterator[None]:
    """Show the log on the screen where that is wanted and the log has no other handler."""
    if not wanted:
        yield
        return
    level = logger.level
    handler = None
    if not logger.hasHandlers():
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
    if logger.getEffectiveLevel() > logging.INFO:
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        if handler is not None:
            logger.removeHandler(handler)
