"""The figure of ``pinn.py``."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _networks_figures import save

#: Optimizer: colour and mark.
LOOKS = {
    "negopt": ("tab:red", "v"),
    "negopt, history 10": ("tab:orange", "v"),
    "negopt, lsr1-wolfe-pm": ("tab:blue", "o"),
    "negopt, lbfgs-wolfe": ("tab:cyan", "^"),
    "negopt, newton-krylov": ("tab:purple", "D"),
    "negopt, newton-krylov, Gauss-Newton": ("tab:pink", "P"),
    "torch LBFGS": ("tab:gray", "x"),
    "torch LBFGS, strong_wolfe": ("black", "s"),
    "torch Adam, 1e-1": ("tab:green", "<"),
    "torch Adam, 1e-2": ("tab:olive", ">"),
}


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the figure: errors by calls, a panel for each recipe and type."""
    from matplotlib.figure import Figure

    kinds = list(dict.fromkeys(r["type"] for r in rows))
    recipes = list(dict.fromkeys(r["recipe"] for r in rows))
    figure = Figure(figsize=(10.0, 3.6 * len(kinds) + 1.2), layout="constrained")
    axes = figure.subplots(len(kinds), len(recipes), sharex=True, sharey=True, squeeze=False)
    for ax, (kind, recipe) in zip(axes.flat, itertools.product(kinds, recipes), strict=True):
        for label, (colour, mark) in LOOKS.items():
            part = [
                r for r in rows if (r["type"], r["recipe"], r["optimizer"]) == (kind, recipe, label)
            ]
            calls = sorted({int(r["calls"]) for r in part})
            errors = [
                np.median([float(r["error"]) for r in part if int(r["calls"]) == count])
                for count in calls
            ]
            ax.plot(calls, errors, color=colour, marker=mark, markersize=4, label=label)
        ax.set_title(f"{recipe}, {kind}", fontsize="medium")
        ax.set_yscale("log")
        ax.grid(visible=True, which="both", alpha=0.3, linewidth=0.6)
    for ax in axes[-1]:
        ax.set_xlabel("calls")
    for ax in axes[:, 0]:
        ax.set_ylabel("relative error of the solution")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    save(figure, path)
