"""Everything that a training run needs to go on, and its file."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from negopt import checkpoint
from negopt._array import Array, from_host, library_of, namespace_of, to_host
from negopt._report import FIELDS
from negopt._resume import adopt
from negopt._types import State, saved
from negopt.methods import Method

__all__ = ["EPOCH_FIELDS", "STEP_FIELDS", "FitState", "load", "new_columns", "save", "where"]

#: Columns of the history: one row a step ...
STEP_FIELDS = (*FIELDS, "loss", "epoch", "passes")
#: ... and one row an epoch, before those of the metrics.
EPOCH_FIELDS = (
    *("epoch", "loss", "validation_loss", "grad_norm", "accepted"),
    *("nit", "nfev", "njev", "nhev", "passes", "time"),
)

Columns = dict[str, Any]


@saved
@dataclass(slots=True)
class FitState:
    """A training run between two steps: arrays, numbers and strings.

    Attributes
    ----------
    solver : State
    settings : dict
        What a run that goes on must have in common with this one.
    seed : int
        Of the order of the samples.
    epoch, batch : int
        Epochs completed, and batches of the present one.
    at : list of int
        Epoch and batch whose loss the value and gradient of ``solver.iterate`` are.
    steps, epochs : dict of lists
        The history.
    best_x : array, shape (n,), or None
        Parameters of the lowest validation loss.
    best_loss : float
    best_buffers : dict or None
        Buffers that it was measured with.
    best_epoch, waited : int
        Epoch of that, from 1, and epochs that have passed since.
    loss, weight : float
        Sums over the batches of the present epoch.
    gradient : float
        The same of the gradient's norm.
    accepted, hopeful : int
        Steps of the present epoch that were accepted, and those after which the method could
        go on from where it was.
    passes : float
        Gradients per sample so far, a Hessian product counted as two.
    buffers : dict or None
        Buffers of the network, where its objective hands them out.
    """

    solver: State
    settings: dict[str, Any]
    seed: int = 0
    epoch: int = 0
    batch: int = 0
    at: list[int] = field(default_factory=lambda: [0, 0])
    steps: Columns = field(default_factory=dict)
    epochs: Columns = field(default_factory=dict)
    best_x: Array | None = None
    best_loss: float = math.inf
    best_buffers: dict[str, Any] | None = None
    best_epoch: int = 0
    waited: int = 0
    loss: float = 0.0
    gradient: float = 0.0
    weight: float = 0.0
    accepted: int = 0
    hopeful: int = 0
    passes: float = 0.0
    buffers: dict[str, Any] | None = None


def new_columns(names: tuple[str, ...]) -> Columns:
    """Return empty columns."""
    return {name: [] for name in names}


def save(path: str | os.PathLike[str], state: FitState, rng: np.random.Generator) -> None:
    """Write the run to `path`, whole or not at all; see `negopt.checkpoint.save`."""
    state.solver.rng_state = dict(rng.bit_generator.state)
    # As arrays: numbers in a JSON text would be slow to write once there are many.
    checkpoint.write(path, replace(state, steps=_packed(state.steps), epochs=_packed(state.epochs)))


def _packed(table: Columns) -> Columns:
    return {name: np.asarray(column, dtype=np.float64) for name, column in table.items()}


def load(
    path: str | os.PathLike[str], method: Method, start: Array, settings: dict[str, Any]
) -> FitState:
    """Read a run back, in the library of `start`.

    Raises
    ------
    ValueError
        When the file is not that of a training run, is damaged, or is of a run with other
        settings.
    """
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
            f"{name!r} is the checkpoint of another run: {'; '.join(different)}. Go on with what "
            "it was begun with, or begin anew with another checkpoint."
        )
    state.solver = adopt(state.solver, method.name, start, (method.curvature, method.globalize))
    if state.best_x is not None:
        state.best_x = _like(state.best_x, start)
    for table in (state.steps, state.epochs):
        for key, column in table.items():
            table[key] = column.tolist()
    return state


def _like(x: Array, start: Array) -> Array:
    if library_of(x) == library_of(start):
        xp = namespace_of(start)
        return xp.astype(xp.asarray(x, copy=True), start.dtype)
    return from_host(to_host(x), start)


def where(checkpoint_path: Any, resume: Any) -> tuple[Any, Any]:
    """Return the file to write and the file to go on from, each None where there is none.

    Raises
    ------
    ValueError
        When a file would be overwritten by chance, or resuming makes no sense.
    """
    own = resume not in (None, True, False)
    if own and not Path(resume).exists():
        raise FileNotFoundError(f"resume={os.fspath(resume)!r}: there is no such file.")
    if checkpoint_path is None:
        if own:
            return resume, resume
        if resume:
            raise ValueError("resume=True goes on from checkpoint=, which is not given.")
        return None, None
    path = Path(checkpoint_path)
    if not path.parent.is_dir():
        raise ValueError(f"checkpoint={os.fspath(path)!r}: the folder does not exist.")
    if own:
        if path.exists() and not path.samefile(resume):
            raise ValueError(
                f"checkpoint={os.fspath(path)!r} exists already, and is not the file that the run "
                f"goes on from, resume={os.fspath(resume)!r}: resume=True goes on from the former; "
                "else give another name, or remove it."
            )
        return checkpoint_path, resume
    if not path.exists() or resume is False:
        return checkpoint_path, None
    if resume is None:
        raise ValueError(
            f"checkpoint={os.fspath(path)!r} exists already: resume=True goes on from it, "
            "resume=False overwrites it."
        )
    return checkpoint_path, checkpoint_path
