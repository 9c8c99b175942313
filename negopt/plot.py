"""Figures of runs: convergence, signed steps, spectra, performance profiles.

Matplotlib is imported when a figure is drawn (``pip install 'negopt[plot]'``).  Figures
are made without ``pyplot``, so there is no global state, no window and no backend to
choose: save one with ``figure.savefig("name.png")``, or pass your own ``ax``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["convergence", "performance_profile", "spectrum", "step_sizes"]

_POSITIVE, _NEGATIVE = "#1f77b4", "#d62728"
_STYLES = ("-", "--", "-.", ":")


def _figure(width: float, height: float) -> Any:
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

    Raises
    ------
    ImportError
        When matplotlib is not installed.
    """
    return sorted(_figure(1.0, 1.0).canvas.get_supported_filetypes())


def panels(titles: Sequence[str]) -> tuple[Any, list[Any]]:
    """Return a figure with one panel for each title.

    Parameters
    ----------
    titles : sequence of str

    Returns
    -------
    figure : matplotlib.figure.Figure
    axes : list of matplotlib.axes.Axes
    """
    columns = min(len(titles), 3)
    rows = math.ceil(len(titles) / columns)
    figure = _figure(6.4 if columns == 1 else 4.6 * columns, 4.4 if rows == 1 else 3.6 * rows)
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(len(titles))]
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title, fontsize="medium")
    return figure, axes


def _axes(ax: Any, width: float = 6.4, height: float = 4.4) -> Any:
    return _figure(width, height).add_subplot() if ax is None else ax


def _finish(ax: Any, xlabel: str, ylabel: str) -> Any:
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.grid(visible=True, alpha=0.3, linewidth=0.6)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    return ax.figure


def _history(result: Any, name: str) -> np.ndarray[Any, Any]:
    """Return one column of ``res.history``, or say how to get it."""
    history = getattr(result, "history", None)
    if history is None:
        raise ValueError("the result has no history; minimise with options={'record': True}.")
    return np.asarray(history[name], dtype=np.float64)


def convergence(
    results: Any,
    *,
    labels: Sequence[str] | None = None,
    best: float | None = None,
    xlabel: str = "evaluations of f",
    emphasise: Iterable[str] = (),
    ax: Any = None,
) -> Any:
    """Draw how far f is above the best value known, against evaluations.

    Parameters
    ----------
    results : OptimizeResult, mapping, or sequence
        One or several runs: results of `negopt.minimize` with
        ``options={"record": True}``, or pairs ``(evaluations, values)``.  A mapping has
        the labels as its keys.
    labels : sequence of str, optional
        One for each run, when `results` is not a mapping; the method's name by default.
    best : float, optional
        Value that f is measured from.  By default the lowest value of all runs; a run
        that went below `best` lowers it.
    xlabel : str, optional
        What the evaluations are.
    emphasise : iterable of str, optional
        Labels of runs that are drawn thick.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        With one monotone curve for each run: the lowest f so far.

    Raises
    ------
    ValueError
        When there is no run, a result has no history, or labels do not fit.
    ImportError
        When matplotlib is not installed.

    Notes
    -----
    The value axis is logarithmic.  Where f reaches the best value itself the curve ends
    at the smallest positive distance seen, since zero has no place on it.
    """
    curves = _curves(results, labels)
    lowest = min(float(np.min(values)) for _, _, values in curves)
    base = lowest if best is None else min(float(best), lowest)
    ax = _axes(ax)
    thick = set(emphasise)
    gaps = [np.minimum.accumulate(values) - base for _, _, values in curves]
    positive = np.concatenate([gap[gap > 0.0] for gap in gaps])
    floor = float(np.min(positive)) if positive.size else 1e-16
    for i, ((label, evaluations, _), gap) in enumerate(zip(curves, gaps, strict=True)):
        ax.plot(
            evaluations,
            np.maximum(gap, floor),
            label=label,
            linewidth=2.0 if label in thick else 1.2,
            linestyle="-" if label in thick else _STYLES[i % len(_STYLES)],
            drawstyle="steps-post",
            marker="o",
            markevery=[-1],
            markersize=4,
        )
    ax.set_yscale("log")
    ax.set_xlim(left=0)
    ax.legend(
        fontsize="small",
        framealpha=0.7,
        edgecolor="none",
        ncols=1 + (len(curves) - 1) // 9,
        loc="upper right",
    )
    return _finish(ax, xlabel, f"f - best   (best = {base:.6g})")


def _curves(
    results: Any, labels: Sequence[str] | None
) -> list[tuple[str, np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Return (label, evaluations, values) of every run, finite values only."""
    if hasattr(results, "history") or hasattr(results, "nfev"):
        results = [results]
    if isinstance(results, Mapping):
        names, runs = [str(name) for name in results], list(results.values())
    else:
        runs = list(results)
        names = [str(getattr(run, "method", f"run {i + 1}")) for i, run in enumerate(runs)]
    if labels is not None:
        if len(labels) != len(runs):
            raise ValueError(f"'labels' has {len(labels)} entries for {len(runs)} results.")
        names = list(labels)
    if not runs:
        raise ValueError("'results' is empty; give at least one run.")
    curves = []
    for name, run in zip(names, runs, strict=True):
        if hasattr(run, "history") or hasattr(run, "nfev"):
            evaluations, values = _history(run, "nfev"), _history(run, "fun")
        else:
            evaluations, values = (np.asarray(part, dtype=np.float64) for part in run)
        if evaluations.shape != values.shape or values.ndim != 1:
            raise ValueError(
                f"run {name!r} has {evaluations.shape} evaluations for {values.shape} values."
            )
        finite = np.isfinite(values)
        if not finite.any():
            raise ValueError(f"run {name!r} has no finite value.")
        curves.append((name, evaluations[finite], values[finite]))
    return curves


def step_sizes(result: Any, *, ax: Any = None) -> Any:
    """Draw the signed step size of every iteration of a line-search method.

    Parameters
    ----------
    result : OptimizeResult
        Of ``"lsr1-wolfe-pm"`` or ``"sr1-wolfe-pm"`` with ``options={"record": True}``.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        Steps with negative length, against the direction, are red.

    Raises
    ------
    ValueError
        When the result has no history, or its method takes no signed steps.
    ImportError
        When matplotlib is not installed.

    References
    ----------
    Shea and Schmidt (2024), Don't Be So Positive: negative step sizes in second-order
    methods.
    """
    sizes, iterations = _history(result, "step_size"), _history(result, "nit")
    known = np.isfinite(sizes)
    if not known.any():
        method = getattr(result, "method", "this method")
        raise ValueError(
            f"{method!r} has no signed step sizes; use 'sr1-wolfe-pm' or 'lsr1-wolfe-pm'."
        )
    ax = _axes(ax, 7.2, 3.8)
    for negative, colour, label in (
        (False, _POSITIVE, "positive"),
        (True, _NEGATIVE, "negative"),
    ):
        chosen = known & ((sizes < 0.0) == negative)
        if chosen.any():
            ax.vlines(iterations[chosen], 0.0, sizes[chosen], color=colour, linewidth=0.8)
            _dots(ax, iterations[chosen], sizes[chosen], colour, label, 3.5)
    ax.axhline(0.0, color="black", linewidth=0.8)
    ax.set_yscale("symlog", linthresh=_linear_range(sizes[known]))
    ax.legend(frameon=False, fontsize="small")
    return _finish(ax, "iteration", "step size")


def _dots(ax: Any, x: Any, y: Any, colour: str, label: str, size: float) -> None:
    """Draw one group of points; the legend says how many there are."""
    ax.plot(x, y, "o", color=colour, markersize=size, label=f"{label} ({len(x)})")


def _linear_range(values: np.ndarray[Any, Any]) -> float:
    """Return where a symmetric log axis turns linear: a low percentile of the sizes."""
    sizes = np.abs(values[values != 0.0])
    return float(max(np.percentile(sizes, 5), 1e-12 * np.max(sizes))) if sizes.size else 1.0


def spectrum(values: Any, *, ax: Any = None) -> Any:
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
    ImportError
        When matplotlib is not installed.
    """
    if hasattr(values, "density"):
        if not values.exact:
            return _density(values, _axes(ax))
        values = values.nodes
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    if ordered.ndim != 1 or ordered.size == 0 or not np.all(np.isfinite(ordered)):
        raise ValueError(
            f"'values' has shape {ordered.shape}; give a vector of finite eigenvalues."
        )
    ax = _axes(ax)
    index = np.arange(1, ordered.size + 1)
    scale = float(np.max(np.abs(ordered)))
    for chosen, colour, label in (
        (ordered < 0.0, _NEGATIVE, "negative"),
        (ordered >= 0.0, _POSITIVE, "zero or positive"),
    ):
        if chosen.any():
            _dots(ax, index[chosen], ordered[chosen], colour, label, 4.0)
    ax.axhline(0.0, color="black", linewidth=0.8)
    if scale > 0.0:
        ax.set_yscale("symlog", linthresh=max(_linear_range(ordered), 1e-10 * scale))
    ax.legend(frameon=False, fontsize="small")
    return _finish(ax, "index", "eigenvalue")


def _density(found: Any, ax: Any) -> Any:
    """Draw a sampled spectrum; the axis ends at a tenth of the peak of one eigenvalue."""
    width = found.default_width
    grid = np.linspace(found.min - 4.0 * width, found.max + 4.0 * width, 2000)
    height, share = found.density(grid, width), found.below(0.0)[0]
    for chosen, colour, label in (
        (grid < 0.0, _NEGATIVE, f"negative ({share:.1%})"),
        (grid >= 0.0, _POSITIVE, "zero or positive"),
    ):
        ax.fill_between(grid, height, where=chosen, color=colour, alpha=0.5, label=label)
    for end in (found.min, found.max):  # an eigenvalue of little weight is not seen otherwise
        ax.axvline(end, color="black", linewidth=0.8, linestyle=":")
    ax.set_yscale("log")
    ax.set_ylim(bottom=0.1 / (found.n * width * math.sqrt(2.0 * math.pi)))
    ax.legend(frameon=False, fontsize="small")
    return _finish(ax, "eigenvalue", "density")


def performance_profile(
    costs: Any, labels: Sequence[str], *, xmax: float | None = None, ax: Any = None
) -> Any:
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
    ImportError
        When matplotlib is not installed.

    Notes
    -----
    1. ``r[p, s] = costs[p, s] / min_s costs[p, s]``, infinite for a failure.
    2. ``rho_s(tau)`` is the share of *all* problems with ``r[p, s] <= tau``: problems
       that nobody solved count against everyone.

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
    ax = _axes(ax)
    for i, label in enumerate(labels):
        reached = np.sort(ratios[np.isfinite(ratios[:, i]), i])
        shares = np.arange(1, reached.size + 1) / table.shape[0]
        ax.plot(
            np.concatenate(([1.0], reached, [right])),
            np.concatenate(([0.0], shares, shares[-1:] if shares.size else [0.0])),
            drawstyle="steps-post",
            linestyle=_STYLES[i % len(_STYLES)],
            label=label,
        )
    ax.set_xscale("log", base=2)
    ax.set_xlim(1.0, right)
    ax.set_ylim(0.0, 1.02)
    ax.legend(frameon=False, fontsize="small", loc="lower right")
    return _finish(ax, "cost relative to the best solver", "share of problems solved")
