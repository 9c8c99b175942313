"""Figures of runs: convergence, loss, steps, trust radius."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from negopt.plot._base import (
    NEGATIVE,
    POSITIVE,
    STYLES,
    Vector,
    axes_of,
    dots,
    finish,
    history_of,
    linear_range,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from scipy.optimize import OptimizeResult

    Run: TypeAlias = OptimizeResult | tuple[npt.ArrayLike, npt.ArrayLike]
    Runs: TypeAlias = Run | Mapping[str, Run] | Sequence[Run]

__all__ = ["convergence", "cosines", "loss", "step_sizes", "trust_radius"]

#: Columns of a history that runs can be drawn against, and what the axis is called.
AGAINST = {"nit": "iteration", "nfev": "evaluations of f", "time": "seconds"}


def convergence(
    results: Runs,
    *,
    labels: Sequence[str] | None = None,
    best: float | None = None,
    xlabel: str = "evaluations of f",
    emphasise: Iterable[str] = (),
    ax: Axes | None = None,
) -> Figure:
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

    Notes
    -----
    The value axis is logarithmic.  Where f reaches the best value itself the curve ends
    at the smallest positive distance seen, since a logarithmic axis has no zero.
    """
    curves = _curves(results, labels, "nfev", "fun")
    lowest = min(float(np.min(values)) for _, _, values in curves)
    base = lowest if best is None else min(float(best), lowest)
    ax = axes_of(ax)
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
            linestyle="-" if label in thick else STYLES[i % len(STYLES)],
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
    return finish(ax, xlabel, f"f - best   (best = {base:.6g})")


def _curves(
    results: Runs, labels: Sequence[str] | None, x: str, y: str
) -> list[tuple[str, Vector, Vector]]:
    """Return (label, places, values) of every run, finite values only."""
    names, runs = _named(results, labels)
    curves = []
    for name, run in zip(names, runs, strict=True):
        if _is_result(run):
            places, values = history_of(run, x), history_of(run, y)
        else:
            places, values = (np.asarray(part, dtype=np.float64) for part in run)
        if places.shape != values.shape or values.ndim != 1:
            raise ValueError(
                f"run {name!r} has {places.shape} evaluations for {values.shape} values."
            )
        finite = np.isfinite(values)
        if not finite.any():
            raise ValueError(f"run {name!r} has no finite value.")
        curves.append((name, places[finite], values[finite]))
    return curves


def _is_result(run: object) -> bool:
    return hasattr(run, "history") or hasattr(run, "nfev")


def _named(results: Runs, labels: Sequence[str] | None) -> tuple[list[str], list[Run]]:
    """Return the labels and the runs of one result, a mapping or a sequence."""
    if _is_result(results):
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
    return names, runs


def loss(
    results: Runs,
    *,
    labels: Sequence[str] | None = None,
    x: str = "nit",
    xlabel: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw the values of f as they are, up and down, against iterations, evaluations or seconds.

    Parameters
    ----------
    results : OptimizeResult, mapping, or sequence
        As for :func:`convergence`; of a pair ``(places, values)`` both are drawn as given.
    labels : sequence of str, optional
        One for each run, when `results` is not a mapping; the method's name by default.
    x : {"nit", "nfev", "time"}, default "nit"
        Column of the history to draw against.
    xlabel : str, optional
        What that is, for pairs.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        The value axis is logarithmic when all values are positive.

    Raises
    ------
    ValueError
        When there is no run, a result has no history, labels do not fit, or `x` is unknown.
    """
    if x not in AGAINST:
        raise ValueError(f"'x' is {x!r}; choose from {sorted(AGAINST)}.")
    curves = _curves(results, labels, x, "fun")
    ax = axes_of(ax)
    for i, (label, places, values) in enumerate(curves):
        style = STYLES[i % len(STYLES)]
        ax.plot(places, values, label=label, linewidth=1.3, linestyle=style)
    if all(np.min(values) > 0.0 for _, _, values in curves):
        ax.set_yscale("log")
    ax.legend(frameon=False, fontsize="small")
    return finish(ax, AGAINST[x] if xlabel is None else xlabel, "f")


def step_sizes(result: OptimizeResult, *, ax: Axes | None = None) -> Figure:
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

    References
    ----------
    Shea and Schmidt (2024), Don't Be So Positive: negative step sizes in second-order
    methods.
    """
    sizes, iterations = history_of(result, "step_size"), history_of(result, "nit")
    known = np.isfinite(sizes)
    if not known.any():
        method = getattr(result, "method", "this method")
        raise ValueError(
            f"{method!r} has no signed step sizes; use 'sr1-wolfe-pm' or 'lsr1-wolfe-pm'."
        )
    ax = axes_of(ax, 7.2, 3.8)
    _stems(ax, iterations[known], sizes[known], ("positive", "negative"))
    ax.set_yscale("symlog", linthresh=linear_range(sizes[known]))
    ax.margins(y=0.08)
    return finish(ax, "iteration", "step size")


def cosines(result: OptimizeResult, *, ax: Axes | None = None) -> Figure:
    """Draw the cosine between each searched direction and steepest descent.

    Parameters
    ----------
    result : OptimizeResult
        Of any method, with ``options={"record": True}``.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        Directions that ascend, which a search of both signs follows backwards, are red.

    Raises
    ------
    ValueError
        When the result has no history, or not one step was taken.

    Notes
    -----
    ``cos = -g'd / (||g|| ||d||)``: 1 is steepest descent, 0 a direction along a level set.

    References
    ----------
    Shea and Schmidt (2024), Don't Be So Positive: negative step sizes in second-order
    methods.
    """
    values, iterations = history_of(result, "cosine"), history_of(result, "nit")
    known = np.isfinite(values)
    if not known.any():
        raise ValueError("the result has no step whose angle could be drawn.")
    ax = axes_of(ax, 7.2, 3.8)
    _stems(ax, iterations[known], values[known], ("descends", "ascends"))
    ax.set_ylim(-1.05, 1.05)
    return finish(ax, "iteration", "cosine with steepest descent")


def trust_radius(
    results: Runs, *, labels: Sequence[str] | None = None, ax: Axes | None = None
) -> Figure:
    """Draw the trust radius of every iteration, with the trials that were rejected.

    Parameters
    ----------
    results : OptimizeResult, mapping, or sequence
        Runs of trust-region methods with ``options={"record": True}``; a mapping has the
        labels as its keys.
    labels : sequence of str, optional
        One for each run, when `results` is not a mapping; the method's name by default.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        One step curve for each run; crosses are rejected trials.

    Raises
    ------
    ValueError
        When there is no run, a result has no history, its method has no trust radius, or
        labels do not fit.
    """
    names, runs = _named(results, labels)
    ax = axes_of(ax, 7.2, 3.8)
    for i, (name, run) in enumerate(zip(names, runs, strict=True)):
        radii, iterations = history_of(run, "tr_radius"), history_of(run, "nit")
        known = np.isfinite(radii)
        if not known.any():
            raise ValueError(f"{name!r} has no trust radius; use a trust-region method.")
        missed = known & (history_of(run, "accepted") == 0.0)
        style = STYLES[i % len(STYLES)]
        (line,) = ax.step(
            iterations[known],
            radii[known],
            where="mid",
            linewidth=1.2,
            linestyle=style,
            label=f"{name} ({int(np.sum(missed))} rejected)",
        )
        ax.plot(iterations[missed], radii[missed], "x", color=line.get_color(), markersize=5)
    ax.set_yscale("log")
    ax.legend(frameon=False, fontsize="small")
    return finish(ax, "iteration", "trust radius")


def _stems(ax: Axes, places: Vector, values: Vector, words: tuple[str, str]) -> None:
    """Draw values as stems from zero: blue above, red below."""
    for negative, colour, label in zip((False, True), (POSITIVE, NEGATIVE), words, strict=True):
        chosen = (values < 0.0) == negative
        if chosen.any():
            ax.vlines(places[chosen], 0.0, values[chosen], color=colour, linewidth=0.8)
            dots(ax, places[chosen], values[chosen], colour, label, 3.5)
    ax.axhline(0.0, color="black", linewidth=0.8)
    ax.legend(fontsize="small", framealpha=0.9, edgecolor="none")  # it may lie over stems
