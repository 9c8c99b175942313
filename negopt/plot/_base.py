"""What all figures share: matplotlib, when one is drawn, and the look of the axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from scipy.optimize import OptimizeResult

POSITIVE, NEGATIVE = "#1f77b4", "#d62728"
STYLES = ("-", "--", "-.", ":")

Vector = npt.NDArray[np.float64]


def new_figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "figures need matplotlib, which is not installed: pip install 'negopt[plot]'"
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def file_formats() -> list[str]:
    """Return the endings of files that a figure can be saved as.

    Returns
    -------
    list of str
        Such as ``"png"``, without the dot.
    """
    return sorted(new_figure(1.0, 1.0).canvas.get_supported_filetypes())


def panels(titles: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """Return a figure with one panel for each title.

    Parameters
    ----------
    titles : sequence of str

    Returns
    -------
    figure : matplotlib.figure.Figure
    axes : list of matplotlib.axes.Axes

    Raises
    ------
    ValueError
        When there is no title.
    """
    if not titles:
        raise ValueError("'titles' is empty; give one for each panel.")
    columns = min(len(titles), 3)
    rows = math.ceil(len(titles) / columns)
    figure = new_figure(6.4 if columns == 1 else 4.6 * columns, 4.4 if rows == 1 else 3.6 * rows)
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(len(titles))]
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title, fontsize="medium")
    return figure, axes


def axes_of(ax: Axes | None, width: float = 6.4, height: float = 4.4) -> Axes:
    return new_figure(width, height).add_subplot() if ax is None else ax


def finish(ax: Axes, xlabel: str, ylabel: str) -> Figure:
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.grid(visible=True, alpha=0.3, linewidth=0.6)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    return cast("Figure", ax.figure)


def history_of(result: OptimizeResult, name: str) -> Vector:
    """Return one column of ``res.history``, or say how to get it."""
    history = getattr(result, "history", None)
    if history is None:
        raise ValueError("the result has no history; minimise with options={'record': True}.")
    return np.asarray(history[name], dtype=np.float64)


def dots(ax: Axes, x: Vector, y: Vector, colour: str, label: str, size: float) -> None:
    """Draw one group of points; the legend says how many there are."""
    ax.plot(x, y, "o", color=colour, markersize=size, label=f"{label} ({len(x)})")


def linear_range(values: Vector) -> float:
    """Return where a symmetric log axis turns linear: a power of ten near the smallest sizes."""
    sizes = np.abs(values[values != 0.0])
    if not sizes.size:
        return 1.0
    small = max(float(np.percentile(sizes, 5)), 1e-12 * float(np.max(sizes)))
    # Elsewhere the axis has ticks inside the linear part, one over the other.
    return float(10.0 ** math.floor(math.log10(small)))
