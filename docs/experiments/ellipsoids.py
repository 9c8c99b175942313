"""Trust regions shaped by past gradients, on an MLP and an autoencoder.

``python docs/experiments/ellipsoids.py`` compares `tr-ellipsoid` with a sphere and with the
ellipsoids of RMSProp and Adagrad, and both with first-order methods: Figure 3 of "Adaptive norms
for deep learning with regularized Newton methods", on the first images of MNIST and Fashion-MNIST
in the folder NEGOPT_DATA (noisy patterns where there is none).  It takes a few minutes on one
core.  ``--large`` takes all images and the source's autoencoder: hours.  ``--help`` lists what can
be changed.

Written to ``docs/experiments/results``: ``ellipsoids.csv``, one row an epoch,
``ellipsoids-runs.csv``, one row a run, ``ellipsoids-summary.csv``, medians, and
``ellipsoids.png``.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _nets import Images, Row, Tables, first, images, train, within
from _nets_figures import draw_ellipsoids

from negopt.neural import MLP, MLPObjective

log = logging.getLogger("ellipsoids")

#: Of the fully connected networks in the authors' code: first radii and batches.
UNIFORM = {"variant": "adolphs", "metric": "sphere", "initial_trust_radius": 0.05}
SECOND, FIRST = 512, 128

#: Name -> method, options, batch, share of a batch for the products.
RUNS: dict[str, tuple[str, dict[str, Any], int, float]] = {
    "TR, sphere": ("tr-ellipsoid", {"metric": "sphere"}, SECOND, 1.0),
    "TR, RMSProp": ("tr-ellipsoid", {}, SECOND, 1.0),
    "TR, Adagrad": ("tr-ellipsoid", {"metric": "adagrad"}, SECOND, 1.0),
    "TR, RMSProp, products on a quarter": ("tr-ellipsoid", {}, SECOND, 0.25),
    "TR, sphere, source's radii": ("tr-ellipsoid", UNIFORM, SECOND, 1.0),
    "TR, RMSProp, source's radii": ("tr-ellipsoid", {"variant": "adolphs"}, SECOND, 1.0),
    "lqn-tr": ("lqn-tr", {}, SECOND, 1.0),
    "lsr1-tr": ("lsr1-tr", {}, SECOND, 1.0),
    **{f"SGD, {r:g}": ("gd", {"learning_rate": r}, FIRST, 1.0) for r in (0.05, 0.2)},
    **{f"Adam, {r:g}": ("adam", {"learning_rate": r}, FIRST, 1.0) for r in (1e-3, 3e-3, 1e-2)},
}
NETWORKS = ("MLP", "autoencoder")
#: Gradients per sample after which the loss is noted.
MARKS = (20, 60, 200)
ENOUGH = 0.99
#: What tells settings apart, and what the summary shows of them.
KEYS = ("data", "network", "run")
SHOWN = [
    *(f"loss_{mark}" for mark in MARKS),
    *("epochs_99", "passes_99", "seconds_99", "test_accuracy", "steps", "epochs", "seconds"),
]


def task(network: str, data: Images, *, large: bool) -> MLPObjective:
    """Return the objective over the training images."""
    if network == "MLP":
        return MLPObjective(MLP([784, 128, 10], "tanh"), data.X, data.y, loss="softmax", l2=1e-4)
    half = [1000, 500, 250, 30] if large else [128, 32]
    sizes = [784, *half, *half[-2::-1], 784]
    return MLPObjective(MLP(sizes, "sigmoid"), data.X, data.X, loss="squared")


def run(
    name: str, network: str, data: Images, seed: int, passes: float, *, large: bool = False
) -> tuple[Row, list[Row]]:
    """Return the row of a run, and its curve."""
    method, options, size, share = RUNS[name]
    objective = task(network, data, large=large)
    targets = data.y_test if network == "MLP" else data.X_test
    test = objective.on(data.X_test, targets)

    def measure(x: Any) -> Row:
        accuracy = {"accuracy": objective.accuracy(x)} if network == "MLP" else {}
        return {"loss": float(objective.fun(x)), **accuracy}

    batches = {} if share == 1.0 else {"hessian_batch_size": max(1, int(share * size))}
    res, curve = train(
        objective,
        method,
        options,
        batch_size=size,
        passes=passes,
        seed=seed,
        measure=measure,
        **batches,
    )
    x = res.x_last
    row: Row = {"data": data.name, "network": network, "run": name, "seed": seed}
    row |= {f"loss_{mark}": within(curve, "passes", mark, "loss") for mark in MARKS}
    key = "accuracy" if network == "MLP" else "loss"
    reached = first(curve, key, lambda v: network == "MLP" and v >= ENOUGH)
    row |= {f"{what}_99": value for what, value in reached.items()}
    row["test_loss"] = f"{float(test.fun(x)):.4g}"
    row["test_accuracy"] = f"{test.accuracy(x):.4f}" if network == "MLP" else ""
    row["rejected"] = f"{res.n_rejected / max(res.nit, 1):.3f}"
    row["steps"] = res.nit
    row |= {"epochs": len(curve), "passes": f"{res.passes:.4g}"}
    row["seconds"] = f"{curve[-1]['seconds']:.3g}" if curve else ""
    log.info("%s", row)
    shown = {"data": data.name, "network": network, "run": name, "seed": seed}
    keys = ("passes", "seconds", "loss")
    return row, [
        {
            **shown,
            "epoch": r["epoch"],
            **{k: f"{r[k]:.5g}" for k in keys},
            "accuracy": f"{r['accuracy']:.4f}" if network == "MLP" else "",
        }
        for r in curve
    ]


def work(tables: Tables, chosen: Any) -> None:
    """Run everything that was asked for."""
    for which in chosen.sets:
        data = images(which, chosen.images, chosen.images // 5)
        for network in chosen.networks:
            for name in chosen.runs:
                for seed in range(chosen.first, chosen.first + chosen.seeds):
                    tables.add(*run(name, network, data, seed, chosen.passes, large=chosen.large))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--seeds", type=int, default=3, help="random starts")
    parser.add_argument("--first", type=int, default=0, help="seed of the first of them")
    parser.add_argument("--images", type=int, default=2500, help="to train on, the first ones")
    parser.add_argument("--passes", type=float, default=MARKS[-1], help="gradients per sample")
    parser.add_argument("--sets", nargs="+", default=["fashion-mnist", "mnist"])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--runs", nargs="+", choices=list(RUNS), default=list(RUNS))
    parser.add_argument("--large", action="store_true", help="the source's sizes")
    parser.add_argument("--draw", action="store_true", help="only what follows from the tables")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    chosen.out.mkdir(parents=True, exist_ok=True)
    if chosen.large:
        chosen.images = 60000
    tables = Tables(chosen.out, "ellipsoids", KEYS, SHOWN)
    if not chosen.draw:
        work(tables, chosen)
    tables.write()
    draw_ellipsoids(chosen.out)


if __name__ == "__main__":
    main()
