"""Training runs of `negopt.neural.fit`: UCI Energy on all data, and mini-batches.

``python docs/experiments/stochastic.py energy`` is the first experiment of Oldewage, Clarke and
Hernandez-Lobato (2024): 6000 steps on all 588 samples, 8-[12 x 7]-1, in single precision, with
every optimiser of theirs that is a row of negopt's table, at their settings, and with negopt's own
methods as they are.  It needs ``uci/energy_data.txt`` in the folder NEGOPT_DATA; without it the
ionosphere data are taken, which says nothing on the source.  ``... batches`` trains small networks
on batches of several sizes.  ``--help`` lists what can be changed.

Written to ``docs/experiments/results``: ``stochastic-WHAT.csv``, one row a run, and
``stochastic-WHAT-summary.csv``, medians.  Rows are kept from run to run.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _runs import read_table, write_table
from series import Row, energy, ionosphere, start

from negopt.neural import MLP, MLPObjective, fit, load_ionosphere, standardize

log = logging.getLogger("stochastic")

PARTS = ["energy", "batches"]

# --- UCI Energy --------------------------------------------------------------------------------

#: Name -> method, options, and the share of the steps that it is run for.  The source's settings
#: are those of its Tables 3 and 4.  An exact step takes 1057 products: few steps.
OURS: dict[str, tuple[str, dict[str, Any], float]] = {
    "SGD": ("gd", {"learning_rate": 9.45e-2}, 1.0),
    "Adam": (
        "adam",
        {"learning_rate": 1.74e-2, "epsilon": 2.73e-10, "beta1": 0.745, "beta2": 0.9844},
        1.0,
    ),
    "L-BFGS": ("lbfgs-wolfe", {}, 1.0),
    "Ours": ("sfn-series", {"variant": "as run"}, 1.0),
    "Ours (Adaptive)": ("sfn-series", {"variant": "adaptive as run"}, 1.0),
    "Exact SFN": ("sfn-exact", {"variant": "as run"}, 0.01),
    "Exact SFN (Adaptive)": ("sfn-exact", {"variant": "adaptive as run"}, 0.01),
    "Exact SFN, 600 steps": ("sfn-exact", {"variant": "as run"}, 0.1),
    "lqn-tr": ("lqn-tr", {}, 1.0),
    "lqn-tr, 100 pairs": ("lqn-tr", {"maxcor": 100}, 1.0),
    "lsr1-tr": ("lsr1-tr", {}, 1.0),
    "lsr1-wolfe-pm": ("lsr1-wolfe-pm", {}, 1.0),
    "dqn-wolfe-pm": ("dqn-wolfe-pm", {}, 1.0),
    "newton-krylov": ("newton-krylov", {}, 1.0),
    "sfn-lanczos": ("sfn-lanczos", {}, 1.0),
    "sfn-series": ("sfn-series", {}, 1.0),
    "tr-ellipsoid": ("tr-ellipsoid", {}, 1.0),
}
#: Median training and test loss at the end, from the source's Table 5 (50 seeds).
THEIRS = {
    "SGD": (0.001947, 0.002361),
    "Adam": (0.000657, 0.00113),
    "L-BFGS": (0.002619, 0.002929),
    "Ours": (0.006459, 0.007087),
    "Ours (Adaptive)": (0.001029, 0.001678),
    "Exact SFN": (0.0005019, 0.0015),
    "Exact SFN (Adaptive)": (0.0004941, 0.001045),
    "Exact SFN, 600 steps": (0.0005019, 0.0015),
}


def energy_rows(names: Iterable[str], steps: int, seeds: Iterable[int]) -> Iterable[Row]:
    """Yield a row for each run."""
    folder = os.environ.get("NEGOPT_DATA")
    train, test = energy(Path(folder)) if folder else ionosphere()
    for seed in seeds:
        for name in names:
            method, options, share = OURS[name]
            began = time.monotonic()
            with np.errstate(over="ignore", invalid="ignore"):  # some of these settings diverge
                res = fit(
                    train,
                    start(train.network, seed),
                    method=method,
                    epochs=max(1, math.ceil(share * steps)),
                    options={"gtol": 0.0, "certify": False, **options},
                    rng=seed,
                )
            row = {
                "task": "UCI Energy" if folder else "ionosphere",
                "run": name,
                "method": method,
                "seed": seed,
                "steps": res.nit,
                "passes": round(res.passes),
                "train": f"{res.fun:.4g}",
                "test": f"{float(test.fun(res.x)):.4g}",
                "seconds": f"{time.monotonic() - began:.3g}",
            }
            log.info("%s", row)
            yield row


def summarise_energy(rows: list[Row]) -> list[Row]:
    """Return medians over the seeds, beside the source's."""
    out = []
    for name in dict.fromkeys(r["run"] for r in rows):
        part = [r for r in rows if r["run"] == name]
        theirs = THEIRS.get(name, ("", ""))
        middle = {
            key: f"{np.median([float(r[key]) for r in part]):.4g}"
            for key in ("steps", "passes", "train", "test", "seconds")
        }
        out.append(
            {
                "run": name,
                "method": part[0]["method"],
                "seeds": len(part),
                **middle,
                "source_train": theirs[0],
                "source_test": theirs[1],
            }
        )
    return out


# --- batches -------------------------------------------------------------------------------------

#: What is run on batches; first-order methods at several rates, of which a reader takes the best.
BATCHED: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    **{
        f"gd, momentum 0.9, rate {r:g}": ("gd", {"momentum": 0.9, "learning_rate": r}, {})
        for r in (0.01, 0.03, 0.1, 0.3)
    },
    **{f"adam, rate {r:g}": ("adam", {"learning_rate": r}, {}) for r in (0.001, 0.003, 0.01, 0.03)},
    "gd-armijo": ("gd-armijo", {}, {}),
    "lsr1-tr": ("lsr1-tr", {}, {}),
    "lsr1-tr, overlap 0.25": ("lsr1-tr", {}, {"overlap": 0.25}),
    "lqn-tr": ("lqn-tr", {}, {}),
    "lbfgs-wolfe": ("lbfgs-wolfe", {}, {}),
    "tr-ellipsoid": ("tr-ellipsoid", {}, {}),
    "tr-ellipsoid, products on a quarter": ("tr-ellipsoid", {}, {"hessian": 0.25}),
    "sfn-lanczos": ("sfn-lanczos", {}, {}),
    "sfn-series": ("sfn-series", {}, {}),
}
#: Gradients per sample after which the best loss so far is noted.
MARKS = (5, 20, 80)


def ionosphere_task(seed: int) -> tuple[MLPObjective, tuple[Any, Any]]:
    """Return a network on four fifths of the ionosphere data, and the rest of them."""
    data = load_ionosphere()
    order = np.random.default_rng(seed).permutation(351)
    X, mean, std = standardize(data.X[order[:281]])
    rest, _, _ = standardize(data.X[order[281:]], mean, std)
    y = data.y[order]
    network = MLP([34, 8, 1])
    return MLPObjective(network, X, y[:281], loss="logistic", l2=1e-3), (rest, y[281:])


def mnist_task(seed: int) -> tuple[MLPObjective, tuple[Any, Any]]:
    """Return 784-32-10 on 10,000 images of MNIST, in single precision, and 2000 others."""
    import gzip

    folder = Path(os.environ["NEGOPT_DATA"]) / "mnist"
    with gzip.open(folder / "train-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784)
    with gzip.open(folder / "train-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    order = np.random.default_rng(seed).permutation(60000)[:12000]
    X, y = images[order].astype(np.float32) / 255.0, labels[order].astype(np.float32)
    network = MLP([784, 32, 10])
    whole = MLPObjective(network, X[:10000], y[:10000], loss="softmax", l2=1e-4)
    return whole, (X[10000:], y[10000:])


TASKS: dict[str, Callable[[int], tuple[MLPObjective, tuple[Any, Any]]]] = {
    "ionosphere": ionosphere_task,
    "mnist": mnist_task,
}


def batch_rows(
    task: str, names: Iterable[str], sizes: Sequence[int], seeds: Iterable[int], passes: float
) -> Iterable[Row]:
    """Yield a row for each run: the best losses after some work."""
    for seed in seeds:
        train, kept = TASKS[task](seed)
        for size in sizes:
            for name in names:
                yield _batch_row(task, train, kept, name, size, seed, passes)


def _batch_row(
    task: str, train: MLPObjective, kept: Any, name: str, size: int, seed: int, passes: float
) -> Row:
    method, options, batches = BATCHED[name]
    if "hessian" in batches:
        batches = {"hessian_batch_size": max(1, int(batches["hessian"] * size))}

    def enough(intermediate_result: Any) -> None:
        if intermediate_result.passes >= passes:
            raise StopIteration

    began = time.monotonic()
    res = fit(
        train,
        method=method,
        epochs=math.ceil(passes),
        batch_size=size,
        validation=kept,
        metrics={
            "accuracy": lambda objective, x: objective.accuracy(x),
            "train": lambda _, x: float(train.fun(x)),
        },
        callback=enough,
        rng=seed,
        options=options,
        **batches,
    )
    curve = res.history["epochs"]
    row: Row = {"task": task, "run": name, "batch": size, "seed": seed}
    for what, column in (("train", "train"), ("valid", "validation_loss")):
        for mark in (mark for mark in MARKS if mark <= passes or mark == MARKS[0]):
            within = curve[column][curve["passes"] <= mark * 1.05 + 1.0]
            row[f"{what}_{mark}"] = f"{np.min(within):.4g}" if within.size else ""
    row["accuracy"] = f"{curve['accuracy'][res.best_epoch - 1]:.4g}"
    row["rejected"] = f"{1.0 - np.sum(curve['accepted']) / max(res.nit, 1):.3f}"
    row["seconds"] = f"{time.monotonic() - began:.3g}"
    log.info("%s", row)
    return row


def summarise_batches(rows: list[Row]) -> list[Row]:
    """Return medians over the seeds."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["task"], row["run"], row["batch"]), []).append(row)
    out = []
    for (task, run, batch), part in groups.items():
        medians = {}
        for key in list(part[0])[4:]:
            values = [float(r[key]) for r in part if r[key] != ""]
            medians[key] = f"{np.median(values):.3g}" if values else ""
        out.append({"task": task, "run": run, "batch": batch, "seeds": len(part), **medians})
    return out


# --- the command line ------------------------------------------------------------------------


def write(
    rows: Iterable[Row], summarise: Callable[[list[Row]], list[Row]], out: Path, what: str
) -> None:
    """Write the tables after each run, so that a run that is cut off has left its own.

    Rows that are there are kept, but for those of runs that are made again.
    """
    done: list[Row] = read_table(out / f"stochastic-{what}.csv")
    keys = ("task", "run", "batch", "seed")
    for row in rows:
        key = [str(row.get(name)) for name in keys]
        done = [r for r in done if [str(r.get(name)) for name in keys] != key]
        done.append(row)
        write_table(done, out / f"stochastic-{what}.csv")
        write_table(summarise(done), out / f"stochastic-{what}-summary.csv")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("what", nargs="*", metavar="what", help=f"of {', '.join(PARTS)}; or all")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--seeds", type=int, default=5, help="random starts")
    parser.add_argument("--first", type=int, default=0, help="seed of the first of them")
    parser.add_argument("--steps", type=int, default=6000, help="of energy")
    parser.add_argument("--runs", nargs="+", help="only these, by name")
    parser.add_argument("--task", choices=list(TASKS), default="ionosphere", help="of batches")
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 64, 281], help="of batches")
    parser.add_argument("--passes", type=float, default=MARKS[-1], help="of batches")
    chosen = parser.parse_args(arguments)
    what = chosen.what or PARTS
    if not set(what) <= set(PARTS):
        parser.error(f"{' '.join(what)}: choose from {', '.join(PARTS)}")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    seeds = range(chosen.first, chosen.first + chosen.seeds)
    chosen.out.mkdir(parents=True, exist_ok=True)
    if "energy" in what:
        rows = energy_rows(chosen.runs or OURS, chosen.steps, seeds)
        write(rows, summarise_energy, chosen.out, "energy")
    if "batches" in what:
        rows = batch_rows(chosen.task, chosen.runs or BATCHED, chosen.sizes, seeds, chosen.passes)
        write(rows, summarise_batches, chosen.out, f"batches-{chosen.task}")


if __name__ == "__main__":
    main()
