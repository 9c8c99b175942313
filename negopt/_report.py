"""One row of figures per iteration, for the log, the callback and the history."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from negopt._types import Outcome, State

__all__ = ["FIELDS", "HEADER", "format_row", "logging_to_screen", "row"]

logger = logging.getLogger("negopt")

#: Columns of ``res.history``, in order.
FIELDS = (
    "nit",
    "fun",
    "grad_norm",
    "step_norm",
    "step_size",
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


def row(state: State, outcome: Outcome | None, step_norm: float) -> dict[str, float]:
    """Return the figures of one iteration; what a method does not have is nan."""
    nan = float("nan")
    return {
        "nit": state.k,
        "fun": state.iterate.f,
        "grad_norm": state.iterate.gmax,
        "step_norm": step_norm,
        "step_size": outcome.step_size if outcome else nan,
        "tr_radius": outcome.radius if outcome else nan,
        "rho": outcome.rho if outcome else nan,
        "accepted": float(outcome.accepted) if outcome else nan,
        "nfev": state.counters.nfev,
        "njev": state.counters.njev,
        "nhev": state.counters.nhev,
        "min_curvature": outcome.min_curvature if outcome else nan,
        "time": state.elapsed,
    }


def format_row(figures: dict[str, Any]) -> str:
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
    """Show the log on the screen while it is wanted and nobody else handles it."""
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
