"""What the scripts on the sources' networks share: images, one training run, tables."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _runs import read_table, write_table

from negopt.neural import MLP, MLPObjective, fit

Row = dict[str, Any]

SIDE = 28


class Images(NamedTuple):
    """Training and test images, shape (N, 784) between 0 and 1, their kinds, and their name."""

    X: np.ndarray[Any, Any]
    y: np.ndarray[Any, Any]
    X_test: np.ndarray[Any, Any]
    y_test: np.ndarray[Any, Any]
    name: str


def images(name: str, train: int, test: int) -> Images:
    """Return the first images of the files in NEGOPT_DATA; noisy patterns where there are none."""
    folder = Path(os.environ.get("NEGOPT_DATA", "")) / name
    if folder.is_dir():
        return Images(*_read(folder, "train", train), *_read(folder, "t10k", test), name)
    rng = np.random.default_rng(0)
    kinds = rng.random((10, SIDE * SIDE))
    y, y_test = rng.integers(10, size=train), rng.integers(10, size=test)
    X, X_test = (
        np.clip(0.5 * kinds[k] + 0.5 * rng.random((k.size, SIDE * SIDE)), 0, 1).astype(np.float32)
        for k in (y, y_test)
    )
    return Images(X, y, X_test, y_test, "patterns")


def _read(folder: Path, part: str, count: int) -> tuple[Any, Any]:
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as file:
        raw = np.frombuffer(file.read(16 + SIDE * SIDE * count), np.uint8, offset=16)
    with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz") as file:
        kinds = np.frombuffer(file.read(8 + count), np.uint8, offset=8)
    return raw.reshape(-1, SIDE * SIDE).astype(np.float32) / 255.0, kinds.astype(np.int64)


def train(
    objective: Any,
    method: str,
    options: Mapping[str, Any],
    *,
    batch_size: int,
    passes: float,
    seed: int,
    measure: Callable[[Any], Mapping[str, float]],
    epochs: int | None = None,
    x0: Any = None,
    **batches: Any,
) -> tuple[Any, list[Row]]:
    """Train, and return the result and a row for each epoch.

    The run ends with the epoch in which the work passes `passes` gradients per sample, or after
    `epochs`.  It begins at `x0`, by default the objective's.  ``measure(x)`` gives the columns of
    a row behind ``epoch``, ``passes`` (a product counts as two) and ``seconds``: of the processor,
    those of measuring left out.
    """
    _load(method)
    curve: list[Row] = []
    began = time.process_time()
    spent = 0.0

    def note(intermediate_result: Any) -> None:
        nonlocal spent
        now = time.process_time()
        here = intermediate_result
        row = {"epoch": len(curve) + 1, "passes": here.passes, "seconds": now - began - spent}
        curve.append({**row, **measure(here.x)})
        spent += time.process_time() - now
        if here.passes >= passes:
            raise StopIteration

    if x0 is None:
        x0 = objective.x0(rng=seed) if callable(objective.x0) else objective.x0
    with np.errstate(over="ignore", invalid="ignore"):
        res = fit(
            objective,
            x0,
            method=method,
            epochs=epochs or int(passes) + 1,
            batch_size=batch_size,
            callback=note,
            rng=seed,
            options=options,
            **batches,
        )
    return res, curve


@cache
def _load(method: str) -> None:
    """Have all that a method needs imported, which is not the work that is measured."""
    rng = np.random.default_rng(0)
    X, y = rng.random((60, 20), np.float32), rng.integers(2, size=60)
    small = MLPObjective(MLP([20, 8, 2], "tanh"), X, y, loss="softmax")
    fit(small, method=method, epochs=6, batch_size=10)


def within(curve: Iterable[Row], column: str, mark: float, key: str) -> str:
    """Return the lowest `key` of the rows whose `column` is within `mark` and a twentieth."""
    found = [row[key] for row in curve if row[column] <= 1.05 * mark]
    return f"{min(found):.4g}" if found else ""


def first(curve: Iterable[Row], key: str, enough: Callable[[float], bool]) -> Row:
    """Return epochs, passes and seconds after which `key` was first enough; empty if never."""
    for row in curve:
        if enough(row[key]):
            return {
                "epochs": row["epoch"],
                "passes": f"{row['passes']:.3g}",
                "seconds": f"{row['seconds']:.3g}",
            }
    return {"epochs": "", "passes": "", "seconds": ""}


def medians(rows: Sequence[Row], names: Sequence[str], shown: Sequence[str]) -> list[Row]:
    """Return one row for each setting of the columns `names`: medians of the columns `shown`.

    A figure that half of the seeds or more lack is left out; one that some lack counts as
    infinite there.
    """
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        # N.B. what was read from a file is text, also where a run has just given a number.
        groups.setdefault(tuple(str(row[name]) for name in names), []).append(row)
    out = []
    for key, part in groups.items():
        row = {**dict(zip(names, key, strict=True)), "seeds": len(part)}
        for column in shown:
            values = [float(r[column]) if r[column] != "" else np.inf for r in part]
            middle = float(np.median(values))
            row[column] = f"{middle:.4g}" if np.isfinite(middle) else ""
        out.append(row)
    return out


class Tables:
    """Two growing tables, of runs and of their epochs, and the medians of the former.

    Parameters
    ----------
    folder : Path
        Rows that are there are kept, but for those of runs that are made again.
    what : str
        Beginning of the names of the files.
    names : sequence of str
        The columns that tell settings apart; ``seed`` tells runs of one setting apart.
    shown : sequence of str
        The columns of the summary.
    """

    def __init__(self, folder: Path, what: str, names: Sequence[str], shown: Sequence[str]) -> None:
        self.names, self.shown = names, shown
        self.paths = [folder / f"{what}{end}.csv" for end in ("-runs", "", "-summary")]
        self.runs, self.curves = (read_table(path) for path in self.paths[:2])

    def add(self, row: Row, curve: list[Row]) -> None:
        """Add a run, and write the tables, so that work that is cut off has left its own."""
        key = [str(row[name]) for name in (*self.names, "seed")]

        def others(table: list[Row]) -> list[Row]:
            return [r for r in table if [str(r[name]) for name in (*self.names, "seed")] != key]

        self.runs = [*others(self.runs), row]
        self.curves = [*others(self.curves), *curve]
        self.write()

    def write(self) -> None:
        """Write the tables and the medians."""
        summary = medians(self.runs, self.names, self.shown)
        for table, path in zip((self.runs, self.curves, summary), self.paths, strict=True):
            write_table(table, path)
