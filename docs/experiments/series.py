"""Figures 9 and 10 of Oldewage, Clarke and Hernández-Lobato (2024), and negopt's own engine.

``python docs/experiments/series.py`` takes some minutes and writes tables (.csv) and
figures (.png) to ``docs/experiments/results``; ``--help`` lists what can be changed.  With
the variable NEGOPT_DATA set to a folder that holds ``uci/energy_data.txt`` the training is
that of the paper, else one of the same kind on the data that ship with negopt.
"""

from __future__ import annotations

import argparse
import io
import logging
import math
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _runs import write_table

from negopt import METHODS, minimize
from negopt.core.bounds import Damping
from negopt.core.types import Iterate
from negopt.curvature.exact_products import ProductOperator
from negopt.neural import MLP, MLPObjective, binary_labels, load_ionosphere, standardize
from negopt.steps.acceleration import ACCELERATORS, accelerate, sums_needed
from negopt.steps.sfn_series import SaddleFreeSeries, series_coefficients

log = logging.getLogger("series")

PARTS = ["accelerators", "terms", "variants"]

Vector = np.ndarray[Any, np.dtype[Any]]
Row = dict[str, Any]

# --- Figure 10: accelerators on a random Hessian ---------------------------------------------

#: What is compared: the rule of V and the damping as a share of sqrt(V).
SETTINGS = {
    "heuristic": ("V: the source's heuristic", 0.0),
    "bound": ("V: a bound", 0.0),
    "damped": ("V: a bound; damping 0.1", 0.1),
}
LARGEST = "levin-t, largest entry"
TABLEAU = ["tab:blue", "tab:green", "tab:cyan", "tab:orange", "tab:purple", "tab:red", "tab:pink"]
COLOURS = dict(zip([*ACCELERATORS, LARGEST, "krylov"], TABLEAU, strict=True)) | {"series": "black"}


def exact_step(H: Vector, g: Vector, damping: float) -> Vector:
    """Return ``(|H| + damping I)^-1 g`` by an eigendecomposition."""
    values, vectors = np.linalg.eigh(H)
    return np.asarray(vectors @ ((vectors.T @ g) / (np.abs(values) + damping)))


def scale_of(setting: str, H: Vector, g: Vector) -> float:
    """Return V: the source's heuristic at its first step, or what is known to be a bound."""
    if setting == "heuristic":
        return max(100.0, float(np.linalg.norm(H @ (H @ g)) / np.linalg.norm(g)))
    return 1.1 * float(np.max(np.linalg.eigvalsh(H) ** 2))


def partial_sums(H: Vector, g: Vector, V: float, terms: int, d: float) -> list[Vector]:
    """Return the partial sums of the series; it ends where it has exploded."""
    sums: list[Vector] = []
    v, total = g, np.zeros_like(g)
    for c in series_coefficients(terms, d):
        total = total + c * v
        sums.append(total / math.sqrt(V))
        v = v - H @ (H @ v) / V
        if np.linalg.norm(v) > 1e60 * np.linalg.norm(g):
            break
    return sums


def levin_of_largest_entries(sums: Sequence[Vector], first: int) -> Vector:
    """Return Levin's t-transformation as the source's figure has it.

    The remainder is estimated by the entry of largest size of the term that follows, which
    need not be the same entry, nor of the same sign, from one term to the next.
    """
    terms = np.diff(np.array(sums), axis=0)
    omega = terms[np.arange(len(terms)), np.argmax(np.abs(terms), axis=1)]
    order = len(terms) - 1
    index = first + 1.0 + np.arange(order + 1)
    signs = np.array([(-1.0) ** j * math.comb(order, j) for j in range(order + 1)])
    weights = signs * index ** (order - 1) / omega
    return np.asarray(weights @ np.array(sums[:-1]) / np.sum(weights))


def accelerated(sums: Sequence[Vector], method: str, order: int, terms: int) -> Vector | None:
    """Return what a method makes of the first `terms` sums; None where it has too few."""
    window = 1 if not order else sums_needed("levin-t" if method == LARGEST else method, order)
    if not window <= terms <= len(sums):
        return None
    used, first = sums[terms - window : terms], terms - window
    if not order:
        return used[0]
    if method == LARGEST:
        return levin_of_largest_entries(used, first)
    return np.asarray(accelerate(used, method, first=first))


def krylov_steps(H: Vector, g: Vector, damping: float, counts: Sequence[int]) -> Iterator[Vector]:
    """Yield the steps of negopt's own engine after so many products, with the series' sign."""
    here = Iterate(np.zeros_like(g), 0.0, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))

    def product(v: Vector) -> Vector:
        return np.asarray(H @ v)

    for count in counts:
        rule = SaddleFreeSeries(terms=count, change=0.0)
        bound = Damping(damping, absolute=True)
        yield -rule.propose(here, ProductOperator(product), bound).s


def compare_accelerators(dimension: int, terms: int, draws: int, seed: int) -> list[Row]:
    """Return rows of medians over random Hessians: cosine and norm ratio with the exact step."""
    points = [int(k) for k in np.unique(np.round(np.geomspace(2, terms, 30)))]
    counts = sorted({min(2 * (k - 1), dimension) for k in points})
    methods = [("series", 0)] + [(a, n) for a in (*ACCELERATORS, LARGEST) for n in (1, 2)]
    found: dict[tuple[str, str, int, int], list[tuple[float, float]]] = {}
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw])
        entries = np.triu(rng.standard_normal((dimension, dimension)))
        H, g = entries + np.triu(entries, 1).T, rng.standard_normal(dimension)
        for setting, (_, d) in SETTINGS.items():
            V = scale_of(setting, H, g)
            exact = exact_step(H, g, d * math.sqrt(V))
            sums = partial_sums(H, g, V, terms, d)
            for method, order in methods:
                for k in points:
                    step = accelerated(sums, method, order, k)
                    key = (setting, method, order, 2 * (k - 1))
                    found.setdefault(key, []).append(agreement(step, exact))
            own = krylov_steps(H, g, d * math.sqrt(V), counts)
            for count, step in zip(counts, own, strict=True):
                found.setdefault((setting, "krylov", 0, count), []).append(agreement(step, exact))
        log.info("random Hessian %d of %d", draw + 1, draws)
    rows = []
    for (setting, method, order, products), pairs in found.items():
        cosine, ratio = np.median(np.array(pairs), axis=0)
        if not math.isnan(cosine):
            row = {"setting": setting, "method": method, "order": order, "products": products}
            rows.append({**row, "cosine": f"{cosine:.4g}", "norm_ratio": f"{ratio:.4g}"})
    return rows


def agreement(step: Vector | None, exact: Vector) -> tuple[float, float]:
    """Return the cosine with the exact step and the ratio of the norms; nan without a step."""
    if step is None or not np.all(np.isfinite(step)):
        return math.nan, math.nan
    size, target = float(np.linalg.norm(step)), float(np.linalg.norm(exact))
    return float(step @ exact) / (size * target), size / target


def curves(rows: list[Row], setting: str) -> Iterator[tuple[str, str, int, list[Row]]]:
    """Yield label, method, order and rows of each curve of a setting."""
    chosen = [r for r in rows if r["setting"] == setting]
    for method, order in dict.fromkeys((r["method"], r["order"]) for r in chosen):
        part = [r for r in chosen if (r["method"], r["order"]) == (method, order)]
        yield f"{order} x {method}" if order else method, method, order, part


def draw_accelerators(rows: list[Row], path: Path) -> None:
    """Write the figure: settings down, cosine and norm ratio across."""
    figure, axes = new_figure(len(SETTINGS), 2, (10, 9.5))
    widest = max(r["products"] for r in rows)
    for (cosines, ratios), (setting, (title, _)) in zip(axes, SETTINGS.items(), strict=True):
        for label, method, order, part in curves(rows, setting):
            style: dict[str, Any] = {"color": COLOURS[method], "label": label}
            style["linestyle"] = "--" if order == 2 else "-"
            style["linewidth"] = 2.0 if order == 0 else 1.2
            products = [r["products"] for r in part]
            cosines.plot(products, [float(r["cosine"]) for r in part], **style)
            ratios.plot(products, [float(r["norm_ratio"]) for r in part], **style)
        near = setting == "damped"
        cosines.set(title=title, ylabel="cosine with the exact step")
        cosines.set(ylim=(0.8 if near else -0.1, 1.02))
        ratios.set(title=title, ylabel="norm / exact norm", yscale="linear" if near else "log")
        ratios.set(ylim=(0.3, 1.1) if near else (3e-2, 3e1))
        for ax in (cosines, ratios):
            ax.axhline(1.0, color="grey", linewidth=0.8)
            ax.set(xscale="log", xlim=(1.8, 1.1 * widest))
    for ax in axes[-1]:
        ax.set(xlabel="Hessian products")
    figure.legend(*axes[1][0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    save(figure, path)


def summarise_accelerators(rows: list[Row]) -> list[Row]:
    """Return one row a method: cosine and norm ratio after about 10, 100 and all terms."""
    products = sorted({r["products"] for r in rows if r["method"] == "series"})
    marks = {min(products, key=lambda p: abs(p - mark)): None for mark in (18, 198, 10**9)}
    table = []
    for setting in SETTINGS:
        for label, method, _, part in curves(rows, setting):
            line: Row = {"setting": setting, "method": label}
            for mark in marks:
                row = next((r for r in part if r["products"] == mark), None)
                if row is None and method == "krylov":
                    row = part[-1]  # complete: more products change nothing
                line[f"{mark} products"] = "-" if row is None else _pair(row)
            table.append(line)
    return table


def _pair(row: Row) -> str:
    ratio = float(row["norm_ratio"])
    return f"{float(row['cosine']):.2f}, " + (f"{ratio:.2f}" if ratio < 100 else f"{ratio:.0e}")


# --- Figure 9, the number of terms in training; and the named variants -------------------------

#: The source's settings for UCI Energy (its Table 3); Figure 9 has another K and N.
SOURCE: dict[str, Any] = {"variant": "as run"}
#: Its learning rate makes up for steps that are too short; those of a Krylov space are not.
KRYLOV: dict[str, Any] = {"engine": "krylov", "change": 0.0, "learning_rate": 0.5, "momentum": 0.0}
DEFAULT = "krylov, as it is"


def energy(folder: Path) -> tuple[MLPObjective, MLPObjective]:
    """Return training and test loss of the source's first task: 588 and 76 samples.

    The 104 between them are those that its settings were tuned on.
    """
    table = np.loadtxt(folder / "uci" / "energy_data.txt")
    order = np.loadtxt(folder / "uci" / "energy_permutation_indices.txt", dtype=int)
    train, mean, std = standardize(table[order[:692]])
    test, _, _ = standardize(table[order[692:]], mean, std)
    network = MLP((8, *[12] * 7, 1), "relu")
    return mean_squared(network, train[:588]), mean_squared(network, test)


def ionosphere() -> tuple[MLPObjective, MLPObjective]:
    """Return a task of the same kind from the data that ship with negopt."""
    data = load_ionosphere()
    table = np.column_stack([data.X, binary_labels(data.y)])
    table = np.random.default_rng(0).permutation(table)
    network = MLP((data.X.shape[1], *[12] * 3, 1), "relu")
    return mean_squared(network, table[:300]), mean_squared(network, table[300:])


def mean_squared(network: MLP, table: Vector) -> MLPObjective:
    """Return half the mean squared error in single precision, as the source has it."""
    table = table.astype(np.float32)
    return MLPObjective(network, table[:, :-1], table[:, -1:])


def start(network: MLP, seed: int) -> Vector:
    """Return starting parameters as the source's library draws them.

    Weights are normal, cut off at two deviations, with deviation ``1 / sqrt(inputs)``; biases
    are zero.
    """
    rng = np.random.default_rng(seed)
    x = np.zeros(network.size, dtype=np.float32)
    for layer in network.unflatten(x)["layers"]:
        weight = layer["weight"]
        draws = rng.standard_normal(20 * weight.size)
        draws = draws[np.abs(draws) <= 2.0][: weight.size]
        weight[...] = draws.reshape(weight.shape) / math.sqrt(weight.shape[1])
    return x


def runs_of(terms: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Return the options of each run, by name."""
    runs = {f"K = {k}": {**SOURCE, "terms": k, "order": min(1, (k - 1) // 2)} for k in terms}
    for products in (4, max(2 * (terms[-1] - 1), 1)):
        runs[f"krylov, {products} products"] = {**SOURCE, **KRYLOV, "terms": products}
    runs[DEFAULT] = {}
    return runs


def train_once(train: MLPObjective, seed: int, steps: int, options: dict[str, Any]) -> Any:
    """Return the result of a run, with its history."""
    plain = {"maxiter": steps, "gtol": 0.0, "certify": False, "record": True}
    x0 = start(train.network, seed)
    with np.errstate(over="ignore", invalid="ignore"):  # some of these settings diverge
        return minimize(train, x0, method="sfn-series", options={**plain, **options})


def compare_runs(runs: dict[str, dict[str, Any]], steps: int, seeds: int) -> tuple[str, list[Row]]:
    """Return the name of the task and rows of medians over random starts."""
    folder = os.environ.get("NEGOPT_DATA")
    train, test = energy(Path(folder)) if folder else ionosphere()
    marks = np.unique(np.round(np.geomspace(1, steps, 40)).astype(int))
    rows: list[Row] = []
    for name, options in runs.items():
        began = time.monotonic()
        results = [train_once(train, seed, steps, options) for seed in range(seeds)]
        losses, costs = [], []
        for history in (res.history for res in results):
            missing = (0, steps + 1 - len(history["fun"]))  # of a run that ended early
            losses.append(np.pad(np.minimum.accumulate(history["fun"]), missing, mode="edge"))
            cost = history["nfev"] + history["njev"] + 2.0 * history["nhev"]
            costs.append(np.pad(cost, missing, mode="edge"))
        loss, cost = np.median(losses, axis=0), np.median(costs, axis=0)
        last = float(np.median([float(test.fun(res.x)) for res in results]))
        for k in marks:
            row = {"run": name, "step": int(k), "cost": int(cost[k]), "train": f"{loss[k]:.4g}"}
            rows.append({**row, "test": f"{last:.4g}" if k == steps else ""})
        log.info("%s: %.4g in %.0f s", name, loss[-1], time.monotonic() - began)
    return ("UCI Energy" if folder else "ionosphere"), rows


def draw_runs(task: str, rows: list[Row], path: Path) -> None:
    """Write the figure: training loss by step and by cost."""
    from matplotlib import colormaps

    figure, axes = new_figure(1, 2, (10, 4.8))
    names = list(dict.fromkeys(r["run"] for r in rows))
    series = [name for name in names if not name.startswith("krylov")]
    for name in names:
        part = [r for r in rows if r["run"] == name]
        style: dict[str, Any] = {"color": "tab:pink", "label": name}
        if name in series:
            style["color"] = colormaps["viridis"](0.9 * series.index(name) / len(series))
        else:
            style["linestyle"] = ("-", "--", ":")[len(names) - 1 - names.index(name)]
        for ax, key in zip(axes[0], ("step", "cost"), strict=True):
            ax.plot([r[key] for r in part], [float(r["train"]) for r in part], **style)
    for ax, label in zip(axes[0], ("step", "values, gradients, and 2 a product"), strict=True):
        ax.set(xscale="log", yscale="log", xlabel=label, ylabel=f"{task}: training loss")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    save(figure, path)


# --- writing ---------------------------------------------------------------------------------


def new_figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """Return a figure without global state, and its axes as a two-dimensional array."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def save(figure: Any, path: Path) -> None:
    """Write a figure with 128 colours, which keeps the file small."""
    from PIL import Image  # comes with matplotlib

    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=85, format="png")
    Image.open(drawn).convert("RGB").quantize(128).save(path, optimize=True)
    log.info("wrote %s", path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("what", nargs="*", metavar="what", help=f"of {', '.join(PARTS)}; or all")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--dimension", type=int, default=100, help="of the random Hessians")
    parser.add_argument("--draws", type=int, default=10, help="random Hessians")
    parser.add_argument("--length", type=int, default=1000, help="terms of the long series")
    parser.add_argument("--seed", type=int, default=0, help="of the random Hessians")
    parser.add_argument("--terms", type=int, nargs="+", default=[2, 3, 4, 6, 8, 10], help="K")
    parser.add_argument("--steps", type=int, default=300, help="of training")
    parser.add_argument("--seeds", type=int, default=3, help="random starts of training")
    chosen = parser.parse_args(arguments)
    what = chosen.what or PARTS
    if not set(what) <= set(PARTS):
        parser.error(f"{' '.join(what)}: choose from {', '.join(PARTS)}")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    chosen.out.mkdir(parents=True, exist_ok=True)
    if "accelerators" in what:
        rows = compare_accelerators(chosen.dimension, chosen.length, chosen.draws, chosen.seed)
        write_table(rows, chosen.out / "series-accelerators.csv")
        write_table(summarise_accelerators(rows), chosen.out / "series-accelerators-summary.csv")
        draw_accelerators(rows, chosen.out / "series-accelerators.png")
    named = {name: {"variant": name} for name in METHODS["sfn-series"].variants}
    training = {"terms": runs_of(sorted(chosen.terms)), "variants": {**named, DEFAULT: {}}}
    for part, runs in training.items():
        if part in what:
            task, rows = compare_runs(runs, chosen.steps, chosen.seeds)
            write_table(rows, chosen.out / f"series-{part}.csv")
            last = list({row["run"]: row for row in rows}.values())
            write_table(last, chosen.out / f"series-{part}-summary.csv")
            draw_runs(task, rows, chosen.out / f"series-{part}.png")


if __name__ == "__main__":
    main()
