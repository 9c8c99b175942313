"""The figures of ``networks.py``."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from negopt import plot

log = logging.getLogger("networks")

Row = dict[str, Any]

#: What is below is drawn here.
FLOOR = 3e-4


def save(figure: Any, path: Path) -> None:
    """Write a figure with 128 colours, which keeps the file small."""
    from PIL import Image  # comes with matplotlib

    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=85, format="png")
    Image.open(drawn).convert("RGB").quantize(128).save(path, optimize=True)
    log.info("wrote %s", path)


def draw_depths(curves: Sequence[Row], path: Path) -> None:
    """Write the figure of losses by iteration, a panel for each depth."""
    depths = list(dict.fromkeys(row["depth"] for row in curves))
    figure, axes = plot.panels([f"{depth} hidden layer{'s'[: depth > 1]}" for depth in depths])
    for ax, depth in zip(axes, depths, strict=True):
        part = [row for row in curves if row["depth"] == depth]
        runs, ends = {}, []
        for method in dict.fromkeys(row["method"] for row in part):
            rows = [row for row in part if row["method"] == method]
            low, middle, high = (
                np.array([float(row[key]) for row in rows]) for key in ("low", "loss", "high")
            )
            iterations = np.array([row["iteration"] for row in rows])
            runs[method] = (iterations, middle)
            ends.append((iterations, low, high))
        plot.loss(runs, ax=ax)
        for line, (iterations, low, high) in zip(ax.get_lines(), ends, strict=True):
            ax.fill_between(iterations, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        ax.set_ylabel("training loss")
        if ax is not axes[0]:
            ax.get_legend().remove()
    save(figure, path)


def draw_directions(runs: Sequence[Row], methods: Sequence[str], path: Path) -> None:
    """Write step sizes and cosines of the first start, at the least and the greatest depth."""
    depths = sorted({run["depth"] for run in runs})
    chosen = [
        run
        for depth in dict.fromkeys((depths[0], depths[-1]))
        for method in methods
        for run in runs
        if (run["depth"], run["method"], run["seed"]) == (depth, method, 0)
    ]
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 2.6 * len(chosen)), layout="constrained")
    axes = figure.subplots(len(chosen), 2, squeeze=False)
    for (left, right), run in zip(axes, chosen, strict=True):
        result = SimpleNamespace(history=run["history"], method=run["method"])
        plot.step_sizes(result, ax=left)
        plot.cosines(result, ax=right)
        for ax in (left, right):
            layers = f"{run['depth']} hidden layer{'s'[: run['depth'] > 1]}"
            ax.set_title(f"{run['method']}, {layers}", fontsize="medium")
    save(figure, path)


#: Run of the table: colour and mark.
MARKS = {
    "Adam": ("tab:green", "s"),
    "L-BFGS": ("tab:orange", "^"),
    "L-SR1 damped": ("tab:purple", "D"),
    "L-SR1 signed": ("tab:blue", "o"),
    "L-SR1 flipped": ("tab:cyan", "o"),
    "lqn-tr": ("tab:red", "v"),
}


def draw_table(table: Sequence[Row], path: Path) -> None:
    """Write the losses of the table beside the source's, a panel for each network."""
    kinds = list(dict.fromkeys((row["scale"], row["network"]) for row in table))
    titles = [f"hidden layers {network}, features {scale}" for scale, network in kinds]
    figure, axes = plot.panels(titles)
    names = list(dict.fromkeys(row["set"] for row in table))
    for ax, kind in zip(axes, kinds, strict=True):
        rows = [row for row in table if (row["scale"], row["network"]) == kind]
        places = np.array([names.index(row["set"]) for row in rows])
        source = np.array([float(row["source, signed"]) for row in rows])
        ax.vlines(source, places - 0.4, places + 0.4, color="black", label="source, L-SR1 signed")
        for run, (colour, mark) in MARKS.items():
            values = np.maximum([float(row[run]) for row in rows], FLOOR)
            ax.plot(values, places, mark, color=colour, markersize=5, alpha=0.8, label=run)
        ax.set(xscale="log", xlim=(0.8 * FLOOR, 1.0), xlabel="training loss")
        ax.set_yticks(range(len(names)), names, fontsize="small")
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.grid(visible=True, alpha=0.3, linewidth=0.6)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    save(figure, path)
