"""L-SR1 in a trust region on batches: convolutions with and without batch norm.

``python docs/experiments/lenet.py`` follows section 4 of Ramamurthy and Duffy, "L-SR1: a second
order optimization method for deep learning", on the first images of MNIST in the folder
NEGOPT_DATA (noisy patterns where there is none), with a small network of LeNet's kind: sizes of
batches, memory, factors of the radius and the share of skipped updates, beside Adam and SGD with
momentum.  It takes some minutes on one core.  ``--large`` takes the source's network, all images
and 20 epochs: hours.  ``--network resnet-20`` is its residual network, on the subset of CIFAR-10
with 4000 images: six minutes a run.  ``--help`` lists what can be changed.

Written to ``docs/experiments/results``: ``lenet.csv``, one row an epoch, ``lenet-runs.csv``, one
row a run, ``lenet-summary.csv``, medians, and ``lenet.png``; ``resnet-20.csv`` and so on.
"""

from __future__ import annotations

import argparse
import logging
import lzma
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _nets import Images, Row, Tables, first, images, train
from _nets_figures import draw_lenet
from torch import nn
from torch.nn import functional

from negopt.neural.torch import TorchObjective

log = logging.getLogger("lenet")

#: The source's memory, and its factors of the radius, which are negopt's defaults.
SOURCE = {"maxcor": 5, "shrink": 0.5, "grow": 2.0}

#: Name -> method, options, arguments of `fit`: run for all sizes, with and without norm.
RUNS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "lsr1-tr": ("lsr1-tr", SOURCE, {}),
    "lqn-tr": ("lqn-tr", {}, {}),
    **{f"SGD, {r:g}": ("gd", {"learning_rate": r, "momentum": 0.9}, {}) for r in (0.01, 0.1)},
    **{f"Adam, {r:g}": ("adam", {"learning_rate": r}, {}) for r in (1e-3, 1e-2)},
}
#: The same, with batch norm and one size only.
VARIANTS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    **{f"lsr1-tr, memory {m}": ("lsr1-tr", {**SOURCE, "maxcor": m}, {}) for m in (2, 10)},
    **{
        f"lsr1-tr, factors {a:g} and {b:g}": ("lsr1-tr", {**SOURCE, "shrink": a, "grow": b}, {})
        for b in (1.2, 2.0)
        for a in (0.2, 0.5, 0.8)
        if (a, b) != (0.5, 2.0)
    },
    "lsr1-tr, overlap 0.25": ("lsr1-tr", SOURCE, {"overlap": 0.25}),
}
#: Test errors whose first epoch is noted, by network.
TARGETS = {"lenet": (0.1, 0.07), "resnet-20": (0.65, 0.55)}
#: What tells settings apart, and what the summary shows of them.
KEYS = ("data", "network", "norm", "batch", "run")
SHOWN = ("error", "last_error", "skipped", "rejected", "epochs", "seconds")


# --- networks and data -----------------------------------------------------------------------


def lenet(*, norm: bool, maps: tuple[int, int] = (8, 16), width: int = 64) -> nn.Module:
    """Return two convolutions with pooling and a full layer; the source's has (20, 50), 500."""
    first_maps, second_maps = maps
    layers: list[nn.Module] = []
    for before, after in ((1, first_maps), (first_maps, second_maps)):
        layers += [nn.Conv2d(before, after, 5), nn.ReLU()]
        layers += [nn.BatchNorm2d(after)] if norm else []
        layers += [nn.MaxPool2d(2)]
    layers += [nn.Flatten(), nn.Linear(16 * second_maps, width), nn.Tanh()]
    layers += [nn.BatchNorm1d(width)] if norm else []
    return nn.Sequential(*layers, nn.Linear(width, 10))


class Block(nn.Module):
    """Two convolutions and a shortcut without parameters."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.stride, self.more = stride, after - before
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        short = x[:, :, :: self.stride, :: self.stride]
        short = functional.pad(short, (0, 0, 0, 0, self.more // 2, self.more - self.more // 2))
        return functional.relu(self.body(x) + short)


def resnet(depth: int = 3, width: int = 16) -> nn.Module:
    """Return the residual network of 6 `depth` + 2 layers for images of 32 x 32."""
    begin = nn.Conv2d(3, width, 3, 1, 1, bias=False)
    layers: list[nn.Module] = [begin, nn.BatchNorm2d(width), nn.ReLU()]
    before = width
    for maps in (width, 2 * width, 4 * width):
        for i in range(depth):
            layers.append(Block(before, maps, 2 if maps > before and i == 0 else 1))
            before = maps
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 10))


def cifar(train_count: int, test_count: int) -> Images:
    """Return images of the subset of CIFAR-10, or patterns in three colours."""
    folder = Path(os.environ.get("NEGOPT_DATA", "")) / "cifar10-subset"
    if not folder.is_dir():
        flat = images("patterns", train_count, test_count)
        X, X_test = (np.resize(a, (len(a), 3072)) for a in (flat.X, flat.X_test))
        return Images(X, flat.y, X_test, flat.y_test, "patterns")
    parts: list[Any] = []
    for name, count in (("train_first4000", train_count), ("test_first1000", test_count)):
        with lzma.open(folder / f"{name}.bin.xz") as file:
            raw = np.frombuffer(file.read(), np.uint8).reshape(-1, 3073)[:count]
        parts += [raw[:, 1:].astype(np.float32) / 255.0, raw[:, 0].astype(np.int64)]
    return Images(*parts, "CIFAR-10, subset")


def tensors(data: Images, shape: tuple[int, ...]) -> tuple[torch.Tensor, ...]:
    """Return the images, scaled by mean and deviation of the training images, and kinds."""
    mean, deviation = data.X.mean(), data.X.std()
    X, X_test = ((a.reshape(-1, *shape) - mean) / deviation for a in (data.X, data.X_test))
    return tuple(torch.from_numpy(a) for a in (X, data.y, X_test, data.y_test))


# --- runs ------------------------------------------------------------------------------------


def run(chosen: Any, data: Images, name: str, size: int, seed: int, *, norm: bool) -> Any:
    """Return the row of a run, and its curve."""
    method, options, batches = {**RUNS, **VARIANTS}[name]
    torch.manual_seed(seed)
    if chosen.network == "resnet-20":
        net, shape = resnet(), (3, 32, 32)
    else:
        large = {"maps": (20, 50), "width": 500} if chosen.large else {}
        net, shape = lenet(norm=norm, **large), (1, 28, 28)
    X, y, X_test, y_test = tensors(data, shape)
    objective = TorchObjective(net.train(), functional.cross_entropy, X, y)

    def measure(x: Any) -> Row:
        z = objective.predict(x, X_test)  # in evaluation mode
        return {
            "test_error": float((z.argmax(1) != y_test).float().mean()),
            "test_loss": float(functional.cross_entropy(z, y_test)),
        }

    res, curve = train(
        objective,
        method,
        options,
        batch_size=size,
        passes=chosen.passes,
        seed=seed,
        measure=measure,
        **batches,
    )
    key: Row = {
        "data": data.name,
        "network": chosen.network,
        "norm": "yes" if norm else "no",
        "batch": size,
        "run": name,
    }
    losses = res.history["epochs"]["loss"]
    row = {**key, "seed": seed}
    for target in TARGETS[chosen.network]:
        reached = first(curve, "test_error", lambda v, t=target: v <= t)
        row |= {f"{what}_{100 * target:g}%": value for what, value in reached.items()}
    row["error"] = f"{min(r['test_error'] for r in curve):.4f}"
    row["last_error"] = f"{curve[-1]['test_error']:.4f}"
    row["last_loss"] = f"{losses[-1]:.3g}"
    row["skipped"] = f"{res.n_skipped / max(res.nit, 1):.4f}" if method == "lsr1-tr" else ""
    row["rejected"] = f"{res.n_rejected / max(res.nit, 1):.3f}"
    row |= {"steps": res.nit, "epochs": len(curve), "passes": f"{res.passes:.4g}"}
    row["seconds"] = f"{curve[-1]['seconds']:.3g}"
    log.info("%s", row)
    shown = ("passes", "seconds", "loss", "test_error", "test_loss")
    return row, [
        {**key, "seed": seed, "epoch": r["epoch"], **{k: f"{r[k]:.4g}" for k in shown}}
        for r in ({**r, "loss": loss} for r, loss in zip(curve, losses, strict=True))
    ]


def work(tables: Tables, chosen: Any) -> None:
    """Run everything that was asked for."""
    if chosen.network == "resnet-20":
        data = cifar(chosen.images, chosen.images // 4)
    else:
        data = images("mnist", chosen.images, chosen.images)
    residual = chosen.network == "resnet-20"  # it always has norms
    norms = [True] if residual else [word == "yes" for word in chosen.norm]
    for seed in range(chosen.first, chosen.first + chosen.seeds):
        for norm in norms:
            for size in chosen.sizes:
                for name in chosen.runs:
                    if name in RUNS or (norm and size == chosen.size):
                        tables.add(*run(chosen, data, name, size, seed, norm=norm))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    names = [*RUNS, *VARIANTS]
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--seeds", type=int, default=1, help="random starts")
    parser.add_argument("--first", type=int, default=0, help="seed of the first of them")
    parser.add_argument("--images", type=int, default=2500, help="to train on, the first ones")
    parser.add_argument("--passes", type=float, default=20.0, help="gradients per sample")
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 256, 1024], help="of batches")
    parser.add_argument("--size", type=int, default=512, help="of batches, for the variants")
    parser.add_argument("--norm", nargs="+", choices=["yes", "no"], default=["yes", "no"])
    parser.add_argument("--runs", nargs="+", choices=names, default=names)
    parser.add_argument("--network", choices=["lenet", "resnet-20"], default="lenet")
    parser.add_argument("--large", action="store_true", help="the source's sizes")
    parser.add_argument("--draw", action="store_true", help="only what follows from the tables")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    chosen.out.mkdir(parents=True, exist_ok=True)
    if chosen.large and chosen.network == "lenet":
        chosen.images, chosen.passes = 20000, 40.0
    counted = ("epochs", "passes", "seconds")
    marks = [f"{what}_{100 * t:g}%" for t in TARGETS[chosen.network] for what in counted]
    tables = Tables(chosen.out, chosen.network, KEYS, [*marks, *SHOWN])
    if not chosen.draw:
        work(tables, chosen)
    tables.write()
    draw_lenet(chosen.out, chosen.network)


if __name__ == "__main__":
    main()
