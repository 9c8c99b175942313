"""``negopt train --batch-size``: a network on mini-batches, by `negopt.neural.fit`."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

from negopt import checkpoint
from negopt._types import Status
from negopt.cli import _saved
from negopt.cli._console import make_console
from negopt.cli._errors import Interrupted, UsageError, reason
from negopt.cli._interrupt import CtrlC
from negopt.cli._network import Task, build
from negopt.cli._progress import make_progress
from negopt.cli._report import report
from negopt.neural import fit
from negopt.neural._fit_setup import ON_BATCHES as METHOD
from negopt.neural._fit_state import FitState
from negopt.neural.train import EPOCHS

__all__ = ["EPOCHS", "METHOD", "NAMES", "batches_of", "go_on", "run"]

#: Arguments of `fit` that the command line has too.
NAMES = ("batch_size", "hessian_batch_size", "overlap")


def batches_of(options: Any) -> dict[str, Any] | None:
    """Return what the command line says of batches; None for all data at once.

    Raises
    ------
    UsageError
        For an argument that has no meaning with batches, or none without.
    """
    given = {n: getattr(options, n) for n in NAMES if getattr(options, n) is not None}
    if options.batch_size is None:
        for name in (*given, *(("epochs",) if options.epochs is not None else ())):
            raise UsageError(f"train: --{name.replace('_', '-')} needs --batch-size B")
        return None
    for name, instead in (("iterations", "--epochs N"), ("gtol", "--epochs N")):
        if getattr(options, name) is not None:
            raise UsageError(f"train: --{name} is not for batches; use {instead}")
    return given


def run(
    task: Task, recipe: _saved.Recipe, path: str | None, source: str | None, done: int = 0
) -> int:
    """Run up to epoch ``recipe.until``, from the start or from the checkpoint `source`."""
    console = make_console()
    console.print(f"[bold]{recipe.method}[/] on {task.title}", soft_wrap=True)
    if source is not None:
        console.print(f"going on from epoch {done}", soft_wrap=True)
    with CtrlC() as ctrl_c, make_progress(console, done, recipe.until, "epoch") as progress:

        def callback(intermediate_result: Any) -> None:
            intermediate_result.nit = intermediate_result.epoch
            intermediate_result.fun = intermediate_result.loss
            progress.show(intermediate_result)
            if ctrl_c.pressed:
                raise KeyboardInterrupt

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if path is not None:
                    if source != path:  # a recipe must never stand beside another run's state
                        Path(path).unlink(missing_ok=True)
                    _saved.write_recipe(path, recipe)
                result = fit(
                    task.objective,
                    task.x0,
                    method=recipe.method,
                    epochs=recipe.until,
                    rng=recipe.network.seed,
                    callback=callback,
                    checkpoint=path,
                    checkpoint_every=recipe.every,
                    resume=source,
                    options=recipe.options,
                    **(recipe.batches or {}),
                )
        except KeyboardInterrupt:
            raise Interrupted(_interrupted(path, None)) from None
        except OSError as error:
            raise UsageError(f"cannot write the checkpoint {path}: {reason(error)}") from error
        except (ValueError, TypeError) as error:
            raise UsageError(reason(error)) from error
    report(console, task, result, path, batches=True)
    if result.status == Status.INTERRUPTED:
        raise Interrupted(_interrupted(path, len(result.history["epochs"]["epoch"])))
    return 0


def go_on(
    source: str,
    path: str,
    recipe: _saved.Recipe,
    epochs: int | None,
    data: str | None,
    every: int | None,
) -> int:
    """Go on from the checkpoint `source`, for as many epochs more."""
    try:
        done = checkpoint.read(source, FitState, "a training run").epoch
    except OSError as error:
        raise UsageError(f"cannot read the checkpoint {source}: {reason(error)}") from error
    except ValueError as error:
        raise UsageError(reason(error)) from error
    spec = recipe.network if data is None else dataclasses.replace(recipe.network, data=data)
    until = recipe.until if epochs is None else done + epochs
    if until <= done:
        until = done + recipe.iterations
    task = build(spec)
    recipe = dataclasses.replace(
        recipe, network=task.spec, until=until, every=every or recipe.every
    )
    return run(task, recipe, path, source, done)


def _interrupted(path: str | None, epoch: int | None) -> str:
    where = "interrupted" if epoch is None else f"interrupted after epoch {epoch}"
    if path is None:
        return f"{where}; nothing was saved (--checkpoint F keeps a run)"
    if not Path(path).exists():
        return f"{where}; nothing was saved yet"
    return f"{where}; the last checkpoint is {path}: go on with `negopt resume {path}`"
