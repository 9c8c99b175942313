"""Figures 2 and 3 and Table 1 of Shea and Schmidt (2024) on real data.

``python docs/experiments/networks.py`` writes tables (.csv) and figures (.png) to
``docs/experiments/results``; ``--help`` lists what can be changed.  The sets of the table are
read from the folder ``libsvm`` in that of the variable NEGOPT_DATA; without it only ionosphere,
which ships with negopt, is run.  Rows of the table are kept from run to run, so that it can be
made in parts.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _networks_figures import draw_depths, draw_directions, draw_table
from _runs import begin, read_table, write_table

from negopt import minimize
from negopt.neural import (
    MLP,
    MLPObjective,
    binary_labels,
    load_ionosphere,
    read_libsvm,
    standardize,
)

log = logging.getLogger("networks")

PARTS = ["depth", "table"]
Row = dict[str, Any]
History = Mapping[str, Any]

#: Nothing ends a run but its budget, and it is the same on every machine.
PLAIN: dict[str, Any] = {"gtol": 0.0, "certify": False, "record": True, "compiled": False}

# --- Figure 2: full models, depth 1 to 8 -----------------------------------------------------

SIGNED, POSITIVE = "SR1, signed", "SR1, positive"
#: The source's methods with its settings, and the same rows as they are by default.
FULL: dict[str, tuple[str, dict[str, Any]]] = {
    "BFGS": ("bfgs-wolfe", {"variant": "shea-schmidt"}),
    SIGNED: ("sr1-wolfe-pm", {"variant": "shea-schmidt"}),
    "BFGS, our defaults": ("bfgs-wolfe", {}),
    "SR1, our defaults": ("sr1-wolfe-pm", {}),
}


def lowest(history: History, key: str, marks: Sequence[int]) -> list[float]:
    """Return the lowest value up to each mark of the column `key`, which does not fall."""
    best, where = np.minimum.accumulate(history["fun"]), np.asarray(history[key])
    return [float(best[max(np.searchsorted(where, mark, side="right") - 1, 0)]) for mark in marks]


def until_ascent(history: History) -> History:
    """Return the run of a search that knows positive steps only.

    Up to the first direction that ascends it is that of the signed search; there it has nothing
    to find, and ends.
    """
    negative = np.flatnonzero(np.asarray(history["step_size"]) < 0.0)
    end = negative[0] if negative.size else len(history["fun"])
    return {name: np.asarray(values)[:end] for name, values in history.items()}


def deep_network(data: Any, depth: int, width: int) -> MLPObjective:
    """Return half the mean squared error of a network with so many hidden layers."""
    network = MLP((data.X.shape[1], *[width] * depth, 1))
    return MLPObjective(network, data.X, binary_labels(data.y))


def compare_depths(depths: Sequence[int], width: int, steps: int, seeds: int) -> Iterator[Row]:
    """Yield one row for each depth, method and seed, with the whole history."""
    data = load_ionosphere()
    for depth in depths:
        objective = deep_network(data, depth, width)
        began = time.monotonic()
        for seed in range(seeds):
            x0 = objective.x0(rng=seed)
            for label, (method, options) in FULL.items():
                res = minimize(
                    objective, x0, method=method, options={**PLAIN, "maxiter": steps, **options}
                )
                yield {"depth": depth, "method": label, "seed": seed, "history": res.history}
                if label == SIGNED:
                    cut = until_ascent(res.history)
                    yield {"depth": depth, "method": POSITIVE, "seed": seed, "history": cut}
        log.info("depth %d: %.0f s", depth, time.monotonic() - began)


def summarise_depths(runs: Sequence[Row], steps: int) -> tuple[list[Row], list[Row]]:
    """Return the curves, medians over seeds, and one row for each depth and method."""
    curves: list[Row] = []
    table: list[Row] = []
    for depth, method in dict.fromkeys((run["depth"], run["method"]) for run in runs):
        part = [r["history"] for r in runs if (r["depth"], r["method"]) == (depth, method)]
        losses = np.array([lowest(h, "nit", range(steps + 1)) for h in part])
        low, middle, high = np.percentile(losses, [25, 50, 75], axis=0)
        for k in range(steps + 1):
            ends = {"low": f"{low[k]:.4g}", "loss": f"{middle[k]:.4g}", "high": f"{high[k]:.4g}"}
            curves.append({"depth": depth, "method": method, "iteration": k, **ends})
        signs = np.concatenate([h["step_size"][1:] for h in part])
        row: Row = {"depth": depth, "method": method, "loss": f"{middle[-1]:.3g}"}
        row["quartiles"] = f"{low[-1]:.2g} to {high[-1]:.2g}"
        row["iterations"] = int(np.median([h["nit"][-1] for h in part]))
        row["evaluations"] = int(np.median([h["nfev"][-1] for h in part]))
        row["negative steps, %"] = f"{100.0 * np.mean(signs < 0.0):.0f}" if signs.size else "0"
        table.append(row)
    return curves, table


# --- Table 1: limited memory, the LIBSVM sets ------------------------------------------------

#: Set: file, features, and the source's training losses.
COLUMNS = ("GD", "Adam", "L-BFGS", "L-SR1", "L-SR1 damped", "L-SR1 signed")
DNF = float("nan")
SOURCE, FLIPPED, IDENTITY = "source, signed", "L-SR1 flipped", "L-SR1 signed, identity"
SETS: dict[str, tuple[str, int | None, tuple[float, ...]]] = {
    "a1a": ("a1a", 123, (0.217, 0.203, 0.315, 0.500, 0.214, 0.199)),
    "a9a": ("a9a.xz", 123, (0.220, 0.212, 0.332, 0.330, 0.216, 0.211)),
    "colon-cancer": ("colon-cancer.xz", None, (0.006, 0.046, 0.500, 0.183, DNF, 0.003)),
    "heart": ("heart", None, (0.455, 0.382, 0.388, 0.237, 0.239, 0.237)),
    "ijcnn1": ("ijcnn1.xz", None, (0.132, 0.120, 0.131, 0.165, 0.130, 0.120)),
    "ionosphere": ("ionosphere_scale", None, (0.201, 0.118, 0.201, 0.500, 0.199, 0.170)),
    "leukemia": ("leu.xz", None, (0.028, 0.001, 0.160, 0.160, DNF, 0.064)),
    "madelon": ("madelon.xz", None, (0.500, 0.500, 0.490, 0.396, 0.382, 0.396)),
    "mushrooms": ("mushrooms.xz", 112, (0.040, 0.018, 0.166, 0.500, 0.019, 0.009)),
    "splice": ("splice.xz", None, (0.270, 0.260, 0.485, 0.500, 0.262, 0.195)),
    "svmguide3": ("svmguide3", 21, (0.295, 0.276, 0.374, 0.374, 0.267, 0.260)),
    "w1a": ("w1a.xz", 300, (0.088, 0.059, 0.200, 0.200, 0.071, 0.063)),
    "w8a": ("w8a.xz", 300, (0.096, 0.066, 0.193, 0.193, 0.079, 0.071)),
}
#: Run: the row of negopt's table and its options; Adam is given its best rate on each set.
RATES = (1e-3, 1e-2, 1e-1)
LIMITED: dict[str, tuple[str, dict[str, Any]]] = {
    "GD": ("gd-armijo", {}),
    **{f"Adam {rate:g}": ("adam", {"learning_rate": rate}) for rate in RATES},
    "L-BFGS": ("lbfgs-wolfe", {}),
    "L-SR1 damped": ("lsr1-damped", {}),
    "L-SR1 signed": ("lsr1-wolfe-pm", {"flip": "direction"}),
    IDENTITY: ("lsr1-wolfe-pm", {"flip": "direction", "gamma": 1.0, "wolfe": "strong"}),
    FLIPPED: ("lsr1-wolfe-pm", {}),
    "lqn-tr": ("lqn-tr", {}),
}
#: Sets with more samples are trained from one start.
LARGE = 10_000


def load(name: str, scale: str) -> tuple[Any, Any]:
    """Return features and labels -1 and +1 of a set, as the file has them or standardised."""
    file, features, _ = SETS[name]
    folder = os.environ.get("NEGOPT_DATA")
    if folder:
        data = read_libsvm(Path(folder) / "libsvm" / file, features)
    elif name == "ionosphere":
        data = load_ionosphere()
    else:
        raise FileNotFoundError(
            f"{name}: set NEGOPT_DATA to a folder that holds libsvm/{file}, or take ionosphere."
        )
    X = standardize(data.X)[0] if scale == "standardised" else data.X
    return X, binary_labels(data.y)


def train_set(
    name: str, scale: str, network: str, marks: Sequence[int], seeds: int, runs: Sequence[str]
) -> list[Row]:
    """Return one row a method: medians of the lowest training loss after so many evaluations."""
    X, y = load(name, scale)
    widths = [int(width) for width in network.split("-")]
    objective = MLPObjective(MLP((X.shape[1], *widths, 1)), X, y)
    starts = [objective.x0(rng=seed) for seed in range(1 if len(X) > LARGE else seeds)]
    head = {"set": name, "scale": scale, "network": network, "samples": len(X)}
    head |= {"parameters": objective.network.size, "starts": len(starts)}
    rows: list[Row] = []
    for label in runs:
        method, options = LIMITED[label]
        began = time.monotonic()
        found: dict[str, list[Any]] = {}
        for x0 in starts:
            budget = {**PLAIN, "maxiter": marks[-1], "maxfun": marks[-1]}
            res = minimize(objective, x0, method=method, options={**budget, **options})
            found.setdefault(label, []).append(res.history)
            if label == "L-SR1 signed":
                found.setdefault("L-SR1", []).append(until_ascent(res.history))
        for run, histories in found.items():
            losses = np.median([lowest(h, "nfev", marks) for h in histories], axis=0)
            spent = int(np.median([h["nfev"][-1] for h in histories]))
            row = {**head, "run": run, "evaluations": spent}
            row["seconds"] = f"{(time.monotonic() - began) / len(starts):.2g}"
            rows.append({**row, **{str(m): f"{v:.4g}" for m, v in zip(marks, losses, strict=True)}})
        log.info("%s %s %s: %.4g", name, network, label, float(rows[-1][str(marks[-1])]))
    return rows


def keep(rows: Sequence[Row], path: Path) -> list[Row]:
    """Merge rows into those of the file; what was there of the same kind is replaced.

    So is all of the file where it was made with other numbers of evaluations.
    """
    keys = ("scale", "network", "set", "run")
    kept = [row for row in read_table(path) if not rows or set(row) == set(rows[0])]
    found = {tuple(row[k] for k in keys): row for row in [*kept, *rows]}
    order = {name: i for i, name in enumerate([*SETS, *LIMITED, "L-SR1"])}
    merged = sorted(
        found.values(), key=lambda r: (r["scale"], r["network"], order[r["set"]], order[r["run"]])
    )
    write_table(merged, path)
    return merged


def wide(rows: Sequence[Row], mark: str) -> list[Row]:
    """Return the table of the page: a row for each set with the loss of each method."""
    table: list[Row] = []
    for key in dict.fromkeys((r["scale"], r["network"], r["set"]) for r in rows):
        part = {r["run"]: r for r in rows if (r["scale"], r["network"], r["set"]) == key}
        if not set(LIMITED) <= set(part):
            continue  # made in parts, and some are to come
        loss = {run: float(row[mark]) for run, row in part.items()}
        loss["Adam"] = min(loss.pop(f"Adam {rate:g}") for rate in RATES)
        line: Row = {"scale": key[0], "network": key[1], "set": key[2]}
        line["parameters"] = next(iter(part.values()))["parameters"]
        for run in (*COLUMNS, IDENTITY, FLIPPED, "lqn-tr"):
            line[run] = f"{loss[run]:.3f}"
        line[SOURCE] = f"{SETS[key[2]][2][COLUMNS.index('L-SR1 signed')]:.3f}"
        table.append(line)
    return table


def count(table: Sequence[Row]) -> list[Row]:
    """Return on how many sets a loss, as it is printed, is no worse than another."""
    pairs = [(run, SOURCE) for run in ("L-SR1 signed", IDENTITY, FLIPPED)]
    pairs += [("L-SR1 signed", run) for run in ("L-SR1 damped", "Adam", "L-BFGS")]
    counts: list[Row] = []
    for scale, network in dict.fromkeys((row["scale"], row["network"]) for row in table):
        part = [row for row in table if (row["scale"], row["network"]) == (scale, network)]
        line: Row = {"features": scale, "hidden": network, "sets": len(part)}
        for ours, theirs in pairs:
            line[f"{ours} <= {theirs}"] = sum(float(r[ours]) <= float(r[theirs]) for r in part)
        counts.append(line)
    return counts


def write_tables(rows: Sequence[Row], out: Path) -> None:
    """Write one table for each network, the counts, the source's table and the figure."""
    table = wide(rows, mark=list(rows[0])[-1])
    if not table:
        return
    for scale, network in dict.fromkeys((row["scale"], row["network"]) for row in table):
        part = [row for row in table if (row["scale"], row["network"]) == (scale, network)]
        shown = [{k: v for k, v in row.items() if k not in ("scale", "network")} for row in part]
        write_table(shown, out / f"networks-{scale}-{network}.csv")
    write_table(count(table), out / "networks-counts.csv")
    source: list[Row] = []
    for name, (_, _, losses) in SETS.items():
        values = ["DNF" if value != value else f"{value:.3f}" for value in losses]
        source.append({"set": name, **dict(zip(COLUMNS, values, strict=True))})
    write_table(source, out / "networks-source.csv")
    draw_table(table, out / "networks-table.png")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("what", nargs="*", metavar="what", help=f"of {', '.join(PARTS)}; or all")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--depths", type=int, nargs="+", default=list(range(1, 9)))
    parser.add_argument("--width", type=int, default=10, help="of the hidden layers")
    parser.add_argument("--steps", type=int, default=50, help="iterations of the full models")
    parser.add_argument("--seeds", type=int, default=10, help="random starts for each depth")
    parser.add_argument("--sets", nargs="*", help="of the table; all that there are by default")
    parser.add_argument(
        "--networks", nargs="*", default=["10", "50", "20-20"], help="widths; none: only draw"
    )
    parser.add_argument("--methods", nargs="+", default=list(LIMITED), choices=list(LIMITED))
    parser.add_argument("--scale", choices=["raw", "standardised"], default="raw")
    parser.add_argument("--starts", type=int, default=3, help="random starts for each set")
    parser.add_argument("--evaluations", type=int, default=200, help="of f and g, for each run")
    chosen = parser.parse_args(arguments)
    what = chosen.what or PARTS
    sets = chosen.sets or (list(SETS) if os.environ.get("NEGOPT_DATA") else ["ionosphere"])
    if not set(what) <= set(PARTS):
        parser.error(f"{' '.join(what)}: choose from {', '.join(PARTS)}")
    if not set(sets) <= set(SETS):
        parser.error(f"--sets {' '.join(sets)}: choose from {', '.join(SETS)}")
    begin(chosen.out)
    if "depth" in what:
        runs = list(compare_depths(chosen.depths, chosen.width, chosen.steps, chosen.seeds))
        curves, table = summarise_depths(runs, chosen.steps)
        write_table(curves, chosen.out / "networks-depth.csv")
        write_table(table, chosen.out / "networks-depth-summary.csv")
        draw_depths(curves, chosen.out / "networks-depth.png")
        draw_directions(runs, (SIGNED, "BFGS"), chosen.out / "networks-directions.png")
    if "table" in what:
        marks = [max(chosen.evaluations // part, 1) for part in (4, 2, 1)]
        for network in chosen.networks:
            for name in sets:
                rows = train_set(name, chosen.scale, network, marks, chosen.starts, chosen.methods)
                keep(rows, chosen.out / "networks-table.csv")
        rows = keep([], chosen.out / "networks-table.csv")
        if rows:
            write_tables(rows, chosen.out)


if __name__ == "__main__":
    main()
