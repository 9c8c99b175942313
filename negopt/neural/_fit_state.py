"""The state of a training run, and its file."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from negopt import checkpoint
from negopt.core import checks
from negopt.core.arrays import Array, from_host, library_of, namespace_of, to_host
from negopt.core.checks import Count
from negopt.core.randomness import Draws
from negopt.core.types import State, saved
from negopt.methods import Method
from negopt.neural._text import PathLike
from negopt.solver.report import FIELDS
from negopt.solver.resume import adopt

#: Columns of the history: one row a step ...
STEP_FIELDS = (*FIELDS, "loss", "epoch", "passes")
#: ... and one row an epoch, before those of the metrics.
EPOCH_FIELDS = (
    *("epoch", "loss", "validation_loss", "grad_norm", "accepted"),
    *("nit", "nfev", "njev", "nhev", "passes", "time"),
)

Columns: TypeAlias = dict[str, list[float]]
Settings: TypeAlias = dict[str, str | bool | list[str]]


class Strings:
    """Settings: strings, truth values and lists of strings, by name."""

    def __call__(self, value: object, n: int, name: str) -> None:
        """Check every one."""
        if type(value) is not dict:
            checks.refuse(name, value, "a dict of settings")
        for key, one in value.items():
            texts = one if type(one) is list else [one]
            if not all(isinstance(text, (str, bool)) for text in (key, *texts)):
                checks.refuse(f"{name}[{key!r}]", one, "a string, a truth value or a list of them")


class Buffers:
    """Arrays of a network by name, of any shape and type; or None."""

    def __call__(self, value: object, n: int, name: str) -> None:
        """Check that they are arrays."""
        if value is None:
            return
        if type(value) is not dict:
            checks.refuse(name, value, "a dict of arrays, or None")
        for key, one in value.items():
            if not (isinstance(key, str) and isinstance(one, np.ndarray) and one.dtype != object):
                checks.refuse(f"{name}[{key!r}]", one, "an array of numbers")


@saved
@dataclass(slots=True)
class FitState:
    """A training run between two steps: arrays, numbers and strings."""

    solver: State
    #: what a resumed run must have in common with this one
    settings: Settings = field(metadata={"check": Strings()})
    #: of the order of the samples
    seed: int = field(default=0, metadata={"check": Count(2**63)})
    epoch: int = 0  #: epochs completed
    batch: int = 0  #: batches of the present epoch completed
    #: Epoch and batch whose loss the value and gradient of ``solver.iterate`` are.
    at: list[int] = field(default_factory=lambda: [0, 0])
    #: the history, a row for each step
    steps: Columns = field(default_factory=dict, metadata={"check": checks.Columns()})
    #: the history, a row for each epoch
    epochs: Columns = field(default_factory=dict, metadata={"check": checks.Columns()})
    #: parameters of the lowest validation loss
    best_x: Array | None = field(default=None, metadata={"check": checks.VECTOR})
    best_loss: float = math.inf
    #: buffers that it was measured with
    best_buffers: dict[str, Array] | None = field(default=None, metadata={"check": Buffers()})
    best_epoch: int = 0  #: its epoch, from 1
    waited: int = 0  #: epochs since then
    loss: float = 0.0  #: sum over the batches of the present epoch
    gradient: float = 0.0  #: the same of the gradient's norm
    weight: float = 0.0
    accepted: int = 0  #: accepted steps of the present epoch
    viable: int = 0  #: its steps after which the method could continue from where it was
    passes: float = 0.0  #: gradients per sample so far, a Hessian product counted as two
    #: those of the network, where it has any
    buffers: dict[str, Array] | None = field(default=None, metadata={"check": Buffers()})

    def check(self, n: int, name: str) -> None:
        """Raise ValueError where the parts do not belong together."""
        if len(self.at) != 2:
            checks.refuse(f"{name}.at", self.at, "an epoch and a batch")
        Count(self.epoch + 1)(self.at[0], n, f"{name}.at[0]")
        Count()(self.at[1], n, f"{name}.at[1]")
        metrics = self.settings.get("metrics")
        more = metrics if isinstance(metrics, list) else []
        for part, names in (("steps", STEP_FIELDS), ("epochs", (*EPOCH_FIELDS, *more))):
            table: Columns | None = getattr(self, part)
            if table is None or table.keys() != set(names):
                checks.refuse(f"{name}.{part}", table, f"a table of {', '.join(names)}")
        rows = len(self.epochs["epoch"])
        if rows != self.epoch:
            checks.refuse(f"rows of {name}.epochs", rows, f"one for each of {self.epoch} epochs")
        if self.best_epoch > self.epoch or (self.best_x is None) != (self.best_epoch == 0):
            checks.refuse(f"{name}.best_epoch", self.best_epoch, "an epoch that was run, or 0")


def save(path: PathLike, state: FitState, draws: Draws) -> None:
    """Write the run to `path`, whole or not at all; see `negopt.checkpoint.save`."""
    state.solver.rng_state = draws.state
    # As arrays: numbers in a JSON text would be slow to write once there are many.
    checkpoint.write(path, replace(state, steps=_packed(state.steps), epochs=_packed(state.epochs)))


def _packed(table: Columns) -> dict[str, Array]:
    return {name: np.asarray(column, dtype=np.float64) for name, column in table.items()}


def load(path: PathLike, method: Method, start: Array, settings: Settings) -> FitState:
    """Read a run back, in the library of `start`; raise where its settings are others."""
    state: FitState = checkpoint.read(path, FitState, "a training run")
    name = os.fspath(path)
    then = state.settings
    different = [
        f"{key} is {settings.get(key)!r}, then {then.get(key)!r}"
        for key in dict.fromkeys((*settings, *then))
        if settings.get(key) != then.get(key)
    ]
    if settings["method"] != then.get("method"):  # the options differ by their names then
        different = different[:1]
    if different:
        raise ValueError(
            f"{name!r} is the checkpoint of another run: {'; '.join(different)}. Resume with the "
            "settings that it was begun with, or begin anew with another checkpoint."
        )
    state.solver = adopt(state.solver, method.name, start, (method.curvature, method.globalize))
    if state.best_x is not None:
        state.best_x = _like(state.best_x, start)
    for table in (state.steps, state.epochs):
        for key, column in table.items():
            table[key] = np.asarray(column).tolist()
    return state


def _like(x: Array, start: Array) -> Array:
    if library_of(x) == library_of(start):
        xp = namespace_of(start)
        return xp.astype(xp.asarray(x, copy=True), start.dtype)
    return from_host(to_host(x), start)


def where(
    checkpoint_path: PathLike | None, resume: PathLike | bool | None
) -> tuple[PathLike | None, PathLike | None]:
    """Return the file to write and the file to resume from, each None where there is none.

    No file is overwritten by chance.
    """
    own = None if resume is None or isinstance(resume, bool) else resume
    if own is not None and not Path(own).exists():
        raise FileNotFoundError(f"resume={os.fspath(own)!r}: there is no such file.")
    if checkpoint_path is None:
        if resume is True:
            raise ValueError("resume=True continues from checkpoint=, which is not given.")
        return own, own
    path = Path(checkpoint_path)
    if not path.parent.is_dir():
        raise ValueError(f"checkpoint={os.fspath(path)!r}: the folder does not exist.")
    if own is not None:
        if path.exists() and not path.samefile(own):
            raise ValueError(
                f"checkpoint={os.fspath(path)!r} exists already, and is not the file that the run "
                f"continues, resume={os.fspath(own)!r}: resume=True continues the former; "
                "else give another name, or remove it."
            )
        return checkpoint_path, own
    if not path.exists() or resume is False:
        return checkpoint_path, None
    if resume is None:
        raise ValueError(
            f"checkpoint={os.fspath(path)!r} exists already: resume=True continues from it, "
            "resume=False overwrites it."
        )
    return checkpoint_path, checkpoint_path
