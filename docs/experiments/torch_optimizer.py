"""`negopt.neural.torch.Optimizer` beside ``torch.optim.LBFGS`` and Adam.

``python docs/experiments/torch_optimizer.py`` takes some minutes on one core and writes to
``docs/experiments/results``: ``torch-optimizer.csv``, one row a task, optimizer, seed and number
of calls of the closure, and ``torch-batches.csv``, one row an optimizer and seed; ``--help``
lists what can be changed.

Two tasks on all data at once: a small convolutional network on images (Fashion-MNIST, where the
variable NEGOPT_DATA names a folder that holds ``fashion-mnist``, else noisy patterns), and a small
causal transformer that learns how numbers are spelt.  All optimizers start from the same
parameters and run the same closure; a call is one value with its gradient.  What is compared is
the lowest loss met in so many calls, and the seconds of one processor that they took.

A third task goes through batches, a new one at each step, with batch norm and dropout.  What is
compared is the loss on all training images, in evaluation mode, after so many calls.
"""

from __future__ import annotations

import argparse
import gzip
import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _runs import write_table
from torch import nn
from torch.nn import functional

from negopt.neural.torch import Optimizer

log = logging.getLogger("torch_optimizer")

Data = tuple[torch.Tensor, torch.Tensor]
Task = tuple[nn.Module, Data, Data]

TASKS = ("images", "spelling", "batches")
CALLS = (25, 50, 100, 200)

#: Each is made by one line from the parameters.  The arguments of torch's are its defaults but
#: for the line search and for the learning rates of Adam.
OPTIMIZERS: Mapping[str, Callable[[Any], torch.optim.Optimizer]] = {
    "negopt": Optimizer,
    "negopt, lsr1-wolfe-pm": lambda p: Optimizer(p, "lsr1-wolfe-pm"),
    "negopt, lsr1-tr": lambda p: Optimizer(p, "lsr1-tr"),
    "torch LBFGS, strong_wolfe": lambda p: torch.optim.LBFGS(p, line_search_fn="strong_wolfe"),
    "torch LBFGS": torch.optim.LBFGS,
    "torch Adam, 1e-2": lambda p: torch.optim.Adam(p, lr=1e-2),
    "torch Adam, 1e-3": lambda p: torch.optim.Adam(p, lr=1e-3),
}

#: On batches: few iterations on each, so that none is learnt by heart.
ON_BATCHES: Mapping[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "negopt": lambda net: Optimizer(net.parameters(), max_iter=2, max_eval=4, module=net),
    "torch LBFGS, strong_wolfe": lambda net: torch.optim.LBFGS(
        net.parameters(), max_iter=2, max_eval=4, line_search_fn="strong_wolfe"
    ),
    "torch LBFGS": lambda net: torch.optim.LBFGS(net.parameters(), max_iter=2),
    "torch LBFGS, rate 0.5": lambda net: torch.optim.LBFGS(net.parameters(), max_iter=2, lr=0.5),
    "torch Adam, 3e-3": lambda net: torch.optim.Adam(net.parameters(), lr=3e-3),
}


# --- tasks -----------------------------------------------------------------------------------


def images(samples: int, seed: int) -> Task:
    """Return a convolutional network, and training and held-out images of ten kinds."""
    folder = Path(os.environ.get("NEGOPT_DATA", "")) / "fashion-mnist"
    if folder.is_dir():
        train, test = (read_images(folder, name, samples) for name in ("train", "t10k"))
    else:
        train, test = patterns(samples)
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2, padding=2),
        nn.Tanh(),
        nn.Conv2d(8, 16, 5, stride=2, padding=2),
        nn.Tanh(),
        nn.AvgPool2d(2, ceil_mode=True),
        nn.Flatten(),
        nn.Linear(16 * 4 * 4, 10),
    )
    return net, train, test


def read_images(folder: Path, name: str, samples: int) -> Data:
    """Return the first images of a file, scaled to mean 0 and deviation 1, and their kinds."""
    with gzip.open(folder / f"{name}-images-idx3-ubyte.gz") as file:
        raw = np.frombuffer(file.read(16 + 784 * samples), np.uint8, offset=16)
    with gzip.open(folder / f"{name}-labels-idx1-ubyte.gz") as file:
        kinds = np.frombuffer(file.read(8 + samples), np.uint8, offset=8)
    X = torch.from_numpy(raw.reshape(-1, 1, 28, 28).astype(np.float32))
    return (X - X.mean()) / X.std(), torch.from_numpy(kinds.astype(np.int64))


def patterns(samples: int) -> tuple[Data, Data]:
    """Return images that are one of ten patterns under noise."""
    generator = torch.Generator().manual_seed(0)
    kinds = functional.avg_pool2d(torch.randn(10, 1, 84, 84, generator=generator), 3) * 3
    made = []
    for _ in range(2):
        y = torch.randint(10, (samples,), generator=generator)
        made.append((kinds[y] + 6 * torch.randn(samples, 1, 28, 28, generator=generator), y))
    return made[0], made[1]


class Transformer(nn.Module):
    """A causal transformer over characters."""

    def __init__(self, characters: int, length: int, width: int = 32) -> None:
        super().__init__()
        self.embed = nn.Embedding(characters, width)
        self.place = nn.Parameter(0.02 * torch.randn(length, width))
        layer = nn.TransformerEncoderLayer(width, 2, 2 * width, 0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(width, characters)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.layers(self.embed(x) + self.place, mask=self.mask, is_causal=True)
        return self.out(hidden).transpose(1, 2)


_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty "
    "ninety"
)
ONES, TENS = _WORDS.split()[:20], _WORDS.split()[20:]


def spelt(number: int) -> str:
    """Return a number below a million in words."""
    if number < 20:
        return ONES[number]
    if number < 100:
        rest = f"-{ONES[number % 10]}" if number % 10 else ""
        return TENS[number // 10 - 2] + rest
    unit, name = (1000, "thousand") if number >= 1000 else (100, "hundred")
    rest = f" {spelt(number % unit)}" if number % unit else ""
    return f"{spelt(number // unit)} {name}{rest}"


def spelling(samples: int, seed: int, length: int = 32) -> Task:
    """Return a transformer, and lines of training and held-out text."""
    rng = np.random.default_rng(0)
    count = 2 * samples * length + 1
    text = ""
    while len(text) < count:
        number = int(rng.integers(10**6))
        text += f"{number}: {spelt(number)}. "
    letters = sorted(set(text))
    ids = torch.tensor([letters.index(c) for c in text[:count]])
    X, y = ids[:-1].view(-1, length), ids[1:].view(-1, length)
    torch.manual_seed(seed)
    net = Transformer(len(letters), length)
    return net, (X[:samples], y[:samples]), (X[samples:], y[samples:])


# --- runs --------------------------------------------------------------------------------------


def run(
    task: Task, optimizer_of: Callable[[Any], Any], calls: Sequence[int]
) -> list[dict[str, Any]]:
    """Return rows (calls, lowest loss, seconds); the last has the share of right answers too."""
    net, (X, y), held_out = task
    optimizer = optimizer_of(net.parameters())
    lowest, seconds = [], []
    begun = time.process_time()

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(net(X), y)
        loss.backward()
        # min() keeps its first argument where the other is nan.
        lowest.append(min(lowest[-1] if lowest else math.inf, loss.item()))
        seconds.append(time.process_time() - begun)
        return loss

    idle = 0
    while len(lowest) < calls[-1] and idle < 3:
        before = len(lowest)
        optimizer.step(closure)
        # An optimizer that is at its end looks once a step and does nothing.
        idle = idle + 1 if len(lowest) <= before + 1 and not is_adam(optimizer) else 0
    rows = []
    for count in calls:
        at = min(count, len(lowest)) - 1
        rows.append({"calls": count, "loss": f"{lowest[at]:.6g}", "seconds": f"{seconds[at]:.3f}"})
    return [{**row, "held out": ""} for row in rows[:-1]] + [
        {**rows[-1], "held out": f"{right(net, held_out):.4f}"}
    ]


def run_on_batches(
    samples: int, seed: int, optimizer_of: Callable[[nn.Module], Any], calls: int
) -> dict[str, Any]:
    """Return the row of a run that sees a quarter of the images at a time."""
    _, (X, y), held_out = images(samples, seed)
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2, padding=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 5, stride=2, padding=2),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(16 * 7 * 7, 10),
    )
    optimizer, made, begun = optimizer_of(net), 0, time.process_time()
    rng = np.random.default_rng(seed)
    while made < calls:
        rows = torch.from_numpy(rng.permutation(samples)[: max(samples // 4, 2)])

        def closure(rows: torch.Tensor = rows) -> torch.Tensor:
            nonlocal made
            made += 1
            optimizer.zero_grad()
            loss = functional.cross_entropy(net(X[rows]), y[rows])
            loss.backward()
            return loss

        optimizer.step(closure)
    seconds = time.process_time() - begun
    net.eval()
    with torch.no_grad():
        loss = functional.cross_entropy(net(X), y).item()
    return {
        "calls": made,
        "loss": f"{loss:.6g}",
        "seconds": f"{seconds:.3f}",
        "held out": f"{right(net, held_out):.4f}",
    }


def is_adam(optimizer: Any) -> bool:
    """Tell whether a step is one call."""
    return isinstance(optimizer, torch.optim.Adam)


def right(net: nn.Module, data: Data) -> float:
    """Return the share of samples that are told right."""
    with torch.no_grad():
        return float((net(data[0]).argmax(dim=1) == data[1]).float().mean())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all optimizers on all tasks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--calls", nargs="+", type=int, default=list(CALLS))
    parser.add_argument("--seeds", type=int, default=3, help="starts of each network")
    parser.add_argument("--images", type=int, default=1000, help="images to train on")
    parser.add_argument("--lines", type=int, default=128, help="lines of text to train on")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    chosen.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # so that seconds of the processor are seconds of a run
    rows = []
    for name in [name for name in chosen.tasks if name != "batches"]:
        for seed in range(chosen.seeds):
            for label, optimizer_of in OPTIMIZERS.items():
                if name == "images":
                    task = images(chosen.images, seed)
                else:
                    task = spelling(chosen.lines, seed)
                size = sum(p.numel() for p in task[0].parameters())
                head = {"task": name, "parameters": size, "optimizer": label, "seed": seed}
                found = run(task, optimizer_of, sorted(chosen.calls))
                rows += [{**head, **row} for row in found]
                log.info("%s %d %s: %s", name, seed, label, found[-1])
            write_table(rows, chosen.out / "torch-optimizer.csv")
    if "batches" in chosen.tasks:
        rows = []
        for seed in range(chosen.seeds):
            for label, made_by in ON_BATCHES.items():
                row = run_on_batches(2 * chosen.images, seed, made_by, max(chosen.calls))
                rows.append({"optimizer": label, "seed": seed, **row})
                log.info("batches %d %s: %s", seed, label, row)
        write_table(rows, chosen.out / "torch-batches.csv")


if __name__ == "__main__":
    main()
