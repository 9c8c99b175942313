"""Figures of spectra: eigenvalues one by one, or their density."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from negopt.diagnostics.density import Spectrum
from negopt.plot._base import NEGATIVE, POSITIVE, axes_of, dots, finish, linear_range

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["spectrum"]


def spectrum(values: npt.ArrayLike | Spectrum, *, ax: Axes | None = None) -> Figure:
    """Draw eigenvalues (or Ritz values) of a Hessian in rising order, or their density.

    Parameters
    ----------
    values : array_like, shape (k,), or Spectrum
        Real eigenvalues, in any order; or what `negopt.spectrum` returned.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        Negative eigenvalues are red; the axis is logarithmic in both signs.  Of a sampled
        `Spectrum` the smoothed density, on a logarithmic axis.

    Raises
    ------
    ValueError
        When `values` is empty, not a vector, or not finite.
    """
    if isinstance(values, Spectrum):
        if not values.exact:
            return _density(values, axes_of(ax))
        values = values.nodes
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    if ordered.ndim != 1 or ordered.size == 0 or not np.all(np.isfinite(ordered)):
        raise ValueError(
            f"'values' has shape {ordered.shape}; give a vector of finite eigenvalues."
        )
    ax = axes_of(ax)
    index = np.arange(1.0, ordered.size + 1.0)
    scale = float(np.max(np.abs(ordered)))
    for chosen, colour, label in (
        (ordered < 0.0, NEGATIVE, "negative"),
        (ordered >= 0.0, POSITIVE, "zero or positive"),
    ):
        if chosen.any():
            dots(ax, index[chosen], ordered[chosen], colour, label, 4.0)
    ax.axhline(0.0, color="black", linewidth=0.8)
    if scale > 0.0:
        ax.set_yscale("symlog", linthresh=max(linear_range(ordered), 1e-10 * scale))
        ax.margins(y=0.05)
    ax.legend(frameon=False, fontsize="small")
    return finish(ax, "index", "eigenvalue")


def _density(found: Spectrum, ax: Axes) -> Figure:
    """Draw a sampled spectrum; the axis ends at a tenth of the peak of one eigenvalue."""
    width = found.default_width
    grid = np.linspace(found.min - 4.0 * width, found.max + 4.0 * width, 2000)
    height, share = found.density(grid, width), found.below(0.0)[0]
    for chosen, colour, label in (
        (grid < 0.0, NEGATIVE, f"negative ({share:.1%})"),
        (grid >= 0.0, POSITIVE, "zero or positive"),
    ):
        ax.fill_between(grid, height, where=chosen, color=colour, alpha=0.5, label=label)
    for end in (found.min, found.max):  # an eigenvalue of little weight is not seen otherwise
        ax.axvline(end, color="black", linewidth=0.8, linestyle=":")
    ax.set_yscale("log")
    lowest = 0.1 / (found.n * width * math.sqrt(2.0 * math.pi))
    ax.set_ylim(lowest, max(3.0 * float(np.max(height)), 10.0 * lowest))
    ax.legend(frameon=False, fontsize="small")
    return finish(ax, "eigenvalue", "density")
