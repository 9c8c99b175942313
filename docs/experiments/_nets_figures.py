"""The figures of ``ellipsoids.py``, ``lenet.py`` and ``images.py``, from their tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _networks_figures import save
from _runs import read_table

Row = dict[str, Any]

COLOURS = {
    "TR, sphere": "tab:gray",
    "TR, RMSProp": "tab:red",
    "TR, Adagrad": "tab:orange",
    "TR, RMSProp, products on a quarter": "deeppink",
    "TR, sphere, source's radii": "black",
    "TR, RMSProp, source's radii": "tab:purple",
    "SGD": "tab:green",
    "Adam": "tab:blue",
    "lsr1-tr": "tab:olive",
    "lqn-tr": "tab:brown",
    "SGD, 0.01": "lightgreen",
    "Adam, 0.001": "lightskyblue",
}


def _figure(rows: int, columns: int) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.9 * columns, 3.0 * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _lines(ax: Any, rows: Sequence[Row], horizontal: str, vertical: str, name: str) -> None:
    """Draw one line a seed."""
    for i, seed in enumerate(dict.fromkeys(row["seed"] for row in rows)):
        part = [row for row in rows if row["seed"] == seed]
        x, y = ([float(row[key]) for row in part] for key in (horizontal, vertical))
        label = name if i == 0 else None
        family = name.split(", ", maxsplit=1)[0] if name.startswith(("SGD", "Adam")) else name
        colour = COLOURS.get(name) if vertical == "test_error" else None
        colour = colour or COLOURS[family]
        ax.plot(x, y, ".-", markersize=3, linewidth=1, alpha=0.8, color=colour, label=label)


def _legend(figure: Any, axes: Any) -> None:
    """Put one legend below all panels, of the runs in any of them."""
    found: dict[str, Any] = {}
    for ax in axes.flat:
        handles, labels = ax.get_legend_handles_labels()
        found |= dict(zip(labels, handles, strict=True))
    figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=5)


def _best(summary: Sequence[Row], family: str, key: str) -> str | None:
    """Return the run of the family with the lowest `key`."""
    runs = [row for row in summary if row["run"].startswith(family) and row[key] != ""]
    return min(runs, key=lambda row: float(row[key]))["run"] if runs else None


def draw_ellipsoids(out: Path) -> None:
    """Write the loss of one start against passes, epochs and seconds, a row for each task."""
    curves = read_table(out / "ellipsoids.csv")
    curves = [row for row in curves if row["seed"] == curves[0]["seed"]]
    summary = read_table(out / "ellipsoids-summary.csv")
    tasks = list(dict.fromkeys((row["data"], row["network"]) for row in curves))
    columns = {"passes": "gradients per sample", "epoch": "epochs", "seconds": "CPU seconds"}
    figure, axes = _figure(len(tasks), len(columns))
    for line, (data, network) in zip(axes, tasks, strict=True):
        here, ends = (
            [row for row in table if (row["data"], row["network"]) == (data, network)]
            for table in (curves, summary)
        )
        present = {row["run"] for row in here}
        names = [name for name in COLOURS if name in present and "tr" in name.lower()]
        names += [n for f in ("SGD", "Adam") if (n := _best(ends, f, "loss_200")) is not None]
        for ax, (column, label) in zip(line, columns.items(), strict=True):
            for name in names:
                _lines(ax, [r for r in here if r["run"] == name], column, "loss", name)
            ax.set(yscale="log", xlabel=label, ylabel="training loss")
            ax.set_title(f"{network}, {data}", fontsize="medium")
            ax.grid(visible=True, alpha=0.3, linewidth=0.6)
    _legend(figure, axes)
    save(figure, out / "ellipsoids.png")


def draw_lenet(out: Path, network: str) -> None:
    """Write the test error against the work, a panel for each batch."""
    curves = read_table(out / f"{network}.csv")
    kinds = {(row["norm"], row["batch"]) for row in curves}
    order = sorted(kinds, key=lambda kind: (kind[0] != "yes", int(kind[1])))
    figure, axes = _figure((len(order) + 1) // 2, min(2, len(order)))
    for ax in axes.flat[len(order) :]:
        ax.set_axis_off()
    names = [name for name in dict.fromkeys(row["run"] for row in curves) if _main(name)]
    for ax, (norm, size) in zip(axes.flat, order, strict=False):
        here = [r for r in curves if (r["norm"], r["batch"]) == (norm, size)]
        for name in names:
            _lines(ax, [r for r in here if r["run"] == name], "passes", "test_error", name)
        title = f"{network}, batches of {size}, {'batch norm' if norm == 'yes' else 'no norm'}"
        ax.set_title(title, fontsize="medium")
        ax.set(yscale="log", xlabel="gradients per sample", ylabel="test error")
        ax.grid(visible=True, alpha=0.3, linewidth=0.6)
        ax.yaxis.set_major_formatter(_percent)
        ax.yaxis.set_minor_formatter("")
        low, high = ax.get_ylim()
        marks = (0.02, 0.05, 0.1, 0.2, 0.5) if low < 0.2 else (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
        ax.set_yticks([mark for mark in marks if low <= mark <= high])
    _legend(figure, axes)
    save(figure, out / f"{network}.png")


def _main(name: str) -> bool:
    """Return whether a run is one of those for all sizes."""
    return not name.startswith("lsr1-tr,")


def _percent(value: float, _: Any = None) -> str:
    return f"{100 * np.round(value, 4):g} %"


#: Runs that are drawn, those of several rates by what comes before the rate.
IMAGES = {
    "Ours (Adaptive), as meant": "deeppink",
    "Ours (Adaptive)": "tab:orange",
    "Ours": "tab:red",
    "SGD": "tab:green",
    "Adam": "tab:blue",
    "gd, momentum 0.9": "tab:cyan",
    "adam": "tab:blue",
    "lqn-tr": "tab:brown",
    "lqn-tr, 3200": "sandybrown",
    "lsr1-tr": "tab:olive",
    "tr-ellipsoid": "tab:purple",
    "tr-ellipsoid, 3200": "violet",
    "sfn-series": "black",
    "sfn-lanczos": "tab:gray",
}
TICKS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 100.0)
TITLES = {"fashion-mnist": "Fashion-MNIST", "cifar10": "CIFAR-10, 4000 images"}


def draw_images(out: Path) -> None:
    """Write losses of one start against the work, a row for each task; the best rate of several."""
    curves, summary = read_table(out / "images.csv"), read_table(out / "images-summary.csv")
    tasks = [task for task in TITLES if any(row["task"] == task for row in summary)]
    panels = (("passes", "loss"), ("passes", "test_loss"), ("seconds", "test_loss"))
    words = {
        "passes": "gradients per sample",
        "seconds": "CPU seconds",
        "loss": "training loss",
        "test_loss": "test loss",
    }
    figure, axes = _figure(len(tasks), len(panels))
    figure.set_figheight(1.2 + 3.0 * len(tasks))  # for the legend
    for line, task in zip(axes, tasks, strict=True):
        ends = [row for row in summary if row["task"] == task]
        names = [row["run"] for row in ends if row["run"] in IMAGES]
        names += [n for f in ("gd,", "adam,") if (n := _best(ends, f, "test_loss")) is not None]
        for ax, (horizontal, vertical) in zip(line, panels, strict=True):
            for name in names:
                rows = [r for r in curves if (r["task"], r["run"]) == (task, name)]
                rows = [r for r in rows if r["seed"] == rows[0]["seed"]]
                label = name if name in IMAGES else name.rpartition(", ")[0]
                colour = IMAGES[label]
                x, y = ([float(row[key]) for row in rows] for key in (horizontal, vertical))
                ax.plot(x, y, ".-", markersize=3, linewidth=1, color=colour, label=label)
            ax.set(xscale="log", yscale="log", xlabel=words[horizontal], ylabel=words[vertical])
            low, high = ax.get_ylim()
            high = min(high, 4.0 * low)  # one run that rises would leave no room for the others
            ax.set_ylim(low, high)
            shown = [mark for mark in TICKS if low <= mark <= high]
            ax.set_yticks(shown, [f"{mark:g}" for mark in shown])
            ax.xaxis.set_minor_formatter("")
            ax.yaxis.set_minor_formatter("")
            ax.set_title(TITLES[task], fontsize="medium")
            ax.grid(visible=True, alpha=0.3, linewidth=0.6)
    _legend(figure, axes)
    save(figure, out / "images.png")
