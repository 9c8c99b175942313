"""Saddle-free Newton by a series on Fashion-MNIST and CIFAR-10, beside its source's figures.

``python docs/experiments/images.py fashion-mnist`` is the second experiment of Oldewage, Clarke
and Hernandez-Lobato (2024): 784-50-10 with ReLU on all 60,000 images, standardised pixel by pixel,
a sixth of them kept for validation, 10 epochs in single precision, with every optimiser of theirs
that is a row of negopt's table at their settings, and with negopt's own methods.  ``... cifar10``
is a reduced form of their last: a residual network of 8 layers with batch norm on the *subset* of
CIFAR-10 with 4000 images, for a fixed work.  The data are looked for in the folder NEGOPT_DATA;
without them noisy patterns are taken, which say nothing on the source.  ``--help`` lists what can
be changed.

Written to ``docs/experiments/results``: ``images.csv``, one row an epoch, ``images-runs.csv``, one
row a run, ``images-summary.csv``, medians, and ``images.png``.
"""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _nets import Images, Row, Tables, images, train
from _nets_figures import draw_images
from series import start

from negopt.neural import MLP, MLPObjective, standardize

log = logging.getLogger("images")

#: The source's settings, from its Tables 3 and 4.
OURS = {
    "variant": "as run",
    "terms": 13,
    "order": 5,
    "damping": 5.77e-2,
    "learning_rate": 0.305,
    "momentum": 0.428,
}
ADAPTIVE = {"terms": 14, "order": 2, "damping": 9.33e-2}
ADAM = {"learning_rate": 6.55e-4, "epsilon": 5.99e-5, "beta1": 0.525, "beta2": 0.9805}
#: Of the residual network on CIFAR-10, tuned there for batches of 3200.
CIFAR_OURS = {
    "variant": "as run",
    "terms": 2,
    "order": 0,
    "damping": 2.44e-3,
    "learning_rate": 0.562,
    "momentum": 0.115,
}
CIFAR_ADAPTIVE = {"terms": 5, "order": 2, "damping": 1.04e-4}

#: Task -> name of the run -> method, options, size of the batches.
RUNS: dict[str, dict[str, tuple[str, dict[str, Any], int]]] = {
    "fashion-mnist": {
        "Ours": ("sfn-series", OURS, 400),
        "Ours (Adaptive)": ("sfn-series", {"variant": "adaptive as run", **ADAPTIVE}, 800),
        "Ours (Adaptive), as meant": ("sfn-series", {"variant": "adaptive", **ADAPTIVE}, 800),
        "SGD": ("gd", {"learning_rate": 1.88e-2}, 50),
        "Adam": ("adam", ADAM, 200),
        **{
            f"gd, momentum 0.9, {r:g}": ("gd", {"learning_rate": r, "momentum": 0.9}, 200)
            for r in (0.003, 0.01, 0.03)
        },
        "lqn-tr": ("lqn-tr", {}, 800),
        "lsr1-tr": ("lsr1-tr", {}, 800),
        "tr-ellipsoid": ("tr-ellipsoid", {}, 800),
        "sfn-series": ("sfn-series", {}, 800),
        "sfn-lanczos": ("sfn-lanczos", {}, 800),
        **{f"{name}, 3200": (name, {}, 3200) for name in ("lqn-tr", "tr-ellipsoid")},
    },
    "cifar10": {
        "Ours": ("sfn-series", CIFAR_OURS, 200),
        "Ours (Adaptive)": ("sfn-series", {"variant": "adaptive as run", **CIFAR_ADAPTIVE}, 200),
        **{
            f"gd, momentum 0.9, {r:g}": ("gd", {"learning_rate": r, "momentum": 0.9}, 200)
            for r in (0.03, 0.1)
        },
        **{f"adam, {r:g}": ("adam", {"learning_rate": r}, 200) for r in (0.003, 0.01)},
        "lqn-tr": ("lqn-tr", {}, 200),
        "lsr1-tr": ("lsr1-tr", {}, 200),
    },
}
#: Median loss at the end in training and in test, from the source's Table 5 (50 seeds).
THEIRS = {
    ("fashion-mnist", "Ours"): (0.237, 0.3691),
    ("fashion-mnist", "Ours (Adaptive)"): (0.233, 0.3684),
    ("fashion-mnist", "SGD"): (0.2762, 0.3693),
    ("fashion-mnist", "Adam"): (0.2425, 0.3582),
}
#: What tells settings apart, and what the summary shows of them.
KEYS = ("task", "run", "method", "batch")
SHOWN = [
    *("epochs", "steps", "passes", "loss", "validation_loss", "test_loss", "test_accuracy"),
    *("lowest_test_loss", "rejected", "seconds", "source_loss", "source_test_loss"),
]


# --- tasks -----------------------------------------------------------------------------------


def fashion(data: Images, seed: int) -> tuple[MLPObjective, Any]:
    """Return the objective over five sixths of the images, and what is measured of it."""
    order = np.random.default_rng(seed).permutation(len(data.X))
    kept, rest = np.split(order, [len(order) * 5 // 6])
    X, mean, std = standardize(data.X)
    objective = MLPObjective(MLP([784, 50, 10], "relu"), X[kept], data.y[kept], loss="softmax")
    validation = objective.on(X[rest], data.y[rest])
    test = objective.on(standardize(data.X_test, mean, std)[0], data.y_test)

    def measure(x: Any) -> Row:
        return {
            "loss": float(objective.fun(x)),
            "validation_loss": float(validation.fun(x)),
            "test_loss": float(test.fun(x)),
            "test_accuracy": float(test.accuracy(x)),
        }

    return objective, measure


def cifar(data: Images, seed: int) -> tuple[Any, Any]:
    """Return the objective of the residual network, and what is measured of it."""
    import torch
    from lenet import resnet, tensors
    from torch.nn import functional

    from negopt.neural.torch import TorchObjective

    torch.manual_seed(seed)
    X, y, X_test, y_test = tensors(data, (3, 32, 32))
    net = resnet(depth=1, width=8).train()
    objective = TorchObjective(net, functional.cross_entropy, X, y)

    def measure(x: Any) -> Row:
        seen, unseen = (objective.predict(x, a) for a in (X, X_test))  # in evaluation mode
        return {
            "loss": float(functional.cross_entropy(seen, y)),
            "validation_loss": math.nan,
            "test_loss": float(functional.cross_entropy(unseen, y_test)),
            "test_accuracy": float((unseen.argmax(1) == y_test).float().mean()),
        }

    return objective, measure


def read(task: str, count: int) -> Images:
    """Return the first images of the task."""
    if task == "fashion-mnist":
        return images(task, count, min(10000, count))
    import lenet

    return lenet.cifar(min(count, 4000), min(count, 1000))


# --- runs ------------------------------------------------------------------------------------


def run(
    task: str, name: str, data: Images, seed: int, epochs: int, passes: float
) -> tuple[Row, list[Row]]:
    """Return the row of a run, and its curve."""
    method, options, size = RUNS[task][name]
    whole = task == "fashion-mnist"
    objective, measure = (fashion if whole else cifar)(data, seed)
    res, curve = train(
        objective,
        method,
        options,
        batch_size=min(size, len(data.X) // 2),
        passes=passes,
        epochs=epochs,
        seed=seed,
        measure=measure,
        x0=start(objective.network, seed) if whole else None,
    )
    key: Row = {"task": task, "run": name, "method": method, "batch": str(size), "seed": seed}
    last = curve[-1]
    theirs = THEIRS.get((task, name), ("", ""))
    row: Row = {**key, "data": data.name, "epochs": len(curve), "steps": res.nit}
    row["passes"] = f"{res.passes:.4g}"
    for column in ("loss", "validation_loss", "test_loss", "test_accuracy"):
        row[column] = "" if math.isnan(last[column]) else f"{last[column]:.4f}"
    row["lowest_test_loss"] = f"{min(r['test_loss'] for r in curve):.4f}"
    row["rejected"] = f"{res.n_rejected / max(res.nit, 1):.3f}"
    row |= {"seconds": f"{last['seconds']:.3g}"}
    row |= {"source_loss": theirs[0], "source_test_loss": theirs[1]}
    log.info("%s %s", row, res.message)
    shown = ("passes", "seconds", "loss", "test_loss", "test_accuracy")
    return row, [
        {**key, "epoch": r["epoch"], **{column: f"{r[column]:.4g}" for column in shown}}
        for r in curve
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("tasks", nargs="*", default=["fashion-mnist"], help="cifar10 needs torch")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--runs", nargs="+", help="names; by default all of the task")
    parser.add_argument("--seeds", type=int, default=1, help="random starts and splits")
    parser.add_argument("--first", type=int, default=0, help="seed of the first of them")
    parser.add_argument("--images", type=int, default=60000, help="the first ones")
    parser.add_argument("--epochs", type=int, help="by default 10, of cifar10 as the work allows")
    parser.add_argument("--passes", type=float, default=30.0, help="cifar10: gradients per sample")
    parser.add_argument("--draw", action="store_true", help="only what follows from the tables")
    chosen = parser.parse_args(arguments)
    for task in chosen.tasks:
        if task not in RUNS:
            parser.error(f"there is no task {task!r}; choose from {list(RUNS)}")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    chosen.out.mkdir(parents=True, exist_ok=True)
    tables = Tables(chosen.out, "images", KEYS, SHOWN)
    for task in [] if chosen.draw else chosen.tasks:
        data = read(task, chosen.images)
        whole = task == "fashion-mnist"
        epochs = chosen.epochs or (10 if whole else math.ceil(chosen.passes))
        passes = math.inf if whole else chosen.passes
        for seed in range(chosen.first, chosen.first + chosen.seeds):
            for name in chosen.runs or RUNS[task]:
                tables.add(*run(task, name, data, seed, epochs, passes))
    tables.write()
    draw_images(chosen.out)


if __name__ == "__main__":
    main()
