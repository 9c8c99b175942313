"""``negopt train --batch-size``: a network on mini-batches, by `negopt.neural.fit`."""

from __future__ import annotations

import warnings
from argparse import Namespace
from pathlib import Path

from negopt import checkpoint
from negopt.cli import _saved
from negopt.cli._console import make_console
from negopt.cli._errors import UsageError, interrupted, reading, reason
from negopt.cli._network import Task
from negopt.cli._progress import watching
from negopt.cli._report import report
from negopt.core.types import Status
from negopt.neural import fit
from negopt.neural._fit_state import FitState

#: Arguments of `fit` that the command line has too.
NAMES = ("batch_size", "hessian_batch_size", "overlap")


def batches_of(options: Namespace) -> _saved.Options | None:
    """Return what the command line says of batches; None for all data at once.

    An argument that has no meaning with batches, or none without, is a UsageError.
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
        console.print(f"resumed after epoch {done}", soft_wrap=True)
    with watching(console, done, recipe.until, "epoch") as callback:
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
            raise interrupted(path, None, _kept(path)) from None
        except OSError as error:
            raise UsageError(f"cannot write the checkpoint {path}: {reason(error)}") from error
        except (ValueError, TypeError) as error:
            raise UsageError(reason(error)) from error
    report(console, task, result, path, batches=True)
    if result.status == Status.INTERRUPTED:
        epochs = len(result.history["epochs"]["epoch"])
        raise interrupted(path, f"epoch {epochs}", _kept(path))
    return 0


def resume(
    source: str,
    path: str,
    recipe: _saved.Recipe,
    epochs: int | None,
    data: str | None,
    every: int | None,
) -> int:
    """Resume from the checkpoint `source`, for as many epochs more."""
    with reading(source):
        done = checkpoint.read(source, FitState, "a training run").epoch
    task, recipe = _saved.further(recipe, done, epochs, data, every)
    return run(task, recipe, path, source, done)


def _kept(path: str | None) -> str | None:
    return "" if path is not None and Path(path).exists() else None
