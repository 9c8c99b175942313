"""Figures that compare solvers over many problems."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from negopt.plot._base import STYLES, axes_of, finish

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["performance_profile"]


def performance_profile(
    costs: npt.ArrayLike,
    labels: Sequence[str],
    *,
    xmax: float | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw the performance profile of several solvers over a set of problems.

    Parameters
    ----------
    costs : array_like, shape (n_problems, n_solvers)
        Positive costs, such as evaluations or seconds; inf or nan for a failure.
    labels : sequence of str, length n_solvers
        Names of the solvers.
    xmax : float, optional
        Largest ratio shown; by default just beyond the largest finite one.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        Share of problems solved within a factor tau of the best solver, against tau.

    Raises
    ------
    ValueError
        When `costs` is not a table of positive numbers, or labels do not fit.

    Notes
    -----
    1. ``r[p, s] = costs[p, s] / min_s costs[p, s]``, infinite for a failure.
    2. ``rho_s(tau)`` is the share of *all* problems with ``r[p, s] <= tau``: a problem
       that no solver solved counts against all.

    References
    ----------
    Dolan and More (2002), Benchmarking optimization software with performance profiles,
    Mathematical Programming 91, 201-213, doi:10.1007/s101070100263.
    """
    table = np.array(costs, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] == 0 or table.shape[1] != len(labels):
        raise ValueError(
            f"'costs' has shape {table.shape}; give (n_problems, {len(labels)}), a column for "
            "each label."
        )
    table[np.isnan(table)] = math.inf
    if np.any(table <= 0.0):
        raise ValueError("'costs' has entries that are not positive; a failure is inf or nan.")
    best = np.min(table, axis=1, keepdims=True)
    ratios = np.full_like(table, math.inf)
    np.divide(table, best, out=ratios, where=np.isfinite(table))
    finite = ratios[np.isfinite(ratios)]
    largest = float(np.max(finite)) if finite.size else 1.0
    right = max(1.05 * largest, 1.1) if xmax is None else float(xmax)
    ax = axes_of(ax)
    for i, label in enumerate(labels):
        reached = np.sort(ratios[np.isfinite(ratios[:, i]), i])
        shares = np.arange(1, reached.size + 1) / table.shape[0]
        ax.plot(
            np.concatenate(([1.0], reached, [right])),
            np.concatenate(([0.0], shares, shares[-1:] if shares.size else [0.0])),
            drawstyle="steps-post",
            linestyle=STYLES[i % len(STYLES)],
            label=label,
        )
    ax.set_xscale("log", base=2)
    ax.set_xlim(1.0, right)
    ax.set_ylim(0.0, 1.02)
    ax.legend(frameon=False, fontsize="small", loc="lower right")
    return finish(ax, "cost relative to the best solver", "share of problems solved")
