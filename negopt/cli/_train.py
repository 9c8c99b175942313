"""``negopt train`` and ``negopt resume``: a network on a data file, with checkpoints."""

from __future__ import annotations

import ast
import dataclasses
import warnings
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from negopt.cli import _batches, _saved
from negopt.cli._console import make_console
from negopt.cli._errors import Interrupted, UsageError, interrupted, nearest, reason
from negopt.cli._methods import find_method
from negopt.cli._network import NetworkSpec, Task, build, spec_from
from negopt.cli._progress import watching
from negopt.cli._report import report
from negopt.core.options import RunOptions, collect
from negopt.core.types import State, Status
from negopt.entry.minimize import minimize
from negopt.methods import METHODS, choose
from negopt.neural._fit_setup import ON_BATCHES
from negopt.neural.train import EPOCHS

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

ITERATIONS, EVERY = 200, 20
#: Options of `minimize` that the command line sets itself,
#: or that mean one call, which is a chunk here.
_OURS = (
    *("state", "maxiter", "rng", "disp", "record", "return_all"),
    *("maxfun", "maxtime", "grtol", "eps", "finite_diff_rel_step"),
)


def train(options: Namespace) -> int:
    """Train a network, from the start or from a checkpoint."""
    if options.resume_from is not None:
        return _train_further(options)
    if options.data is None:
        raise UsageError("train: give --data FILE, or --data ionosphere (see negopt train --help)")
    path = options.checkpoint
    if path is None and options.checkpoint_every is not None:
        raise UsageError("train: --checkpoint-every needs --checkpoint F")
    if path is not None:
        _check_new(path, overwrite=options.overwrite)
    batches = _batches.batches_of(options)
    spec = spec_from(options, test_fraction=0.2)
    method = None if options.method is None else find_method(options.method).name
    task = build(spec)
    if method is None:
        method = choose(task.objective.network.size, has_products=True)
        method = method if batches is None else ON_BATCHES
    iterations = options.iterations or ITERATIONS
    every = options.checkpoint_every or EVERY
    if batches is not None:
        iterations, every = options.epochs or EPOCHS, options.checkpoint_every
    given = _method_options(method, options.option, options.gtol)
    recipe = _saved.Recipe(task.spec, method, given, iterations, iterations, every, batches)
    if batches is not None:
        return _batches.run(task, recipe, path, None)
    return _run(task, recipe, None, path, fresh=True)


def resume(options: Namespace) -> int:
    """Resume from a checkpoint."""
    return _resume(options.checkpoint, options.checkpoint, options.iterations, options.data)


def _train_further(options: Namespace) -> int:
    fixed = [f.name for f in dataclasses.fields(NetworkSpec)]
    for name in (*fixed, "method", "gtol", *_batches.NAMES, "epochs"):
        if name != "data" and getattr(options, name, None) is not None:
            flag = "no-standardize" if name == "standardize" else name.replace("_", "-")
            raise UsageError(f"train: --{flag} is fixed by --resume-from {options.resume_from}")
    if options.option:
        raise UsageError(f"train: --option is fixed by --resume-from {options.resume_from}")
    path = options.checkpoint or options.resume_from
    if path != options.resume_from:
        _check_new(path, overwrite=options.overwrite)
    return _resume(
        options.resume_from, path, options.iterations, options.data, options.checkpoint_every
    )


def _resume(
    source: str, path: str, iterations: int | None, data: str | None, every: int | None = None
) -> int:
    planned = _saved.known_recipe(source)
    if planned is not None and planned.batches is not None:
        return _batches.resume(source, path, planned, iterations, data, every)
    state, recipe = _saved.read(source)
    task, recipe = _saved.further(recipe, state.k, iterations, data, every)
    if state.iterate.x.shape != task.x0.shape:
        raise UsageError(
            f"{source} has {state.iterate.x.shape[0]} parameters, but the network of "
            f"{_saved.recipe_path(source)} has {task.x0.shape[0]}: they do not belong together"
        )
    return _run(task, recipe, state, path, fresh=path != source)


def _check_new(path: str, *, overwrite: bool) -> None:
    if Path(path).is_dir():
        raise UsageError(f"--checkpoint {path} is a folder; name a file")
    if not Path(path).parent.is_dir():
        raise UsageError(f"--checkpoint {path}: the folder {Path(path).parent} does not exist")
    if Path(path).exists() and not overwrite:
        raise UsageError(
            f"--checkpoint {path} exists; resume it with `negopt resume {path}`, or add --overwrite"
        )


def _method_options(method: str, given: list[str], gtol: float | None) -> _saved.Options:
    """Return ``--option NAME=VALUE`` and ``--gtol`` as the method's options."""
    known = METHODS[method].option_names() | {f.name for f in dataclasses.fields(RunOptions)}
    known -= set(_OURS)
    options: _saved.Options = {} if gtol is None else {"gtol": gtol}
    for item in given:
        name, equals, text = item.partition("=")
        if not equals:
            raise UsageError(f"--option {item}: write NAME=VALUE")
        if name not in known:
            hint = nearest(name, known) or f" `negopt methods {method}` lists them."
            raise UsageError(f"--option {item}: {method} has no option {name!r} here.{hint}")
        try:
            options[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            options[name] = float(text) if text.lower() in ("inf", "-inf") else text
    try:
        METHODS[method].with_options(options)
        RunOptions(**collect(RunOptions, options))
    except (ValueError, TypeError) as error:
        raise UsageError(f"--option: {reason(error)}") from error
    return options


def _run(
    task: Task, recipe: _saved.Recipe, state: State | None, path: str | None, *, fresh: bool
) -> int:
    """Run up to ``recipe.until`` in chunks of iterations, saving after each."""
    console = make_console()
    console.print(f"[bold]{recipe.method}[/] on {task.title}", soft_wrap=True)
    first = 0 if state is None else state.k
    if state is not None:
        console.print(f"resumed after iteration {first}", soft_wrap=True)
    saved: list[int] = []

    def ended(at: str | None) -> Interrupted:
        return interrupted(path, at, f" (iteration {saved[-1]})" if saved else None)

    with watching(console, first, recipe.until) as callback:
        try:
            result = _chunks(task, recipe, state, path, callback, saved, fresh=fresh)
        except KeyboardInterrupt:
            raise ended(None) from None
        except ValueError as error:
            raise UsageError(reason(error)) from error
    report(console, task, result, path)
    if result.status == Status.INTERRUPTED:
        raise ended(f"iteration {result.state.k}")
    return 0


def _chunks(
    task: Task,
    recipe: _saved.Recipe,
    state: State | None,
    path: str | None,
    callback: Callable[[OptimizeResult], None],
    saved: list[int],
    *,
    fresh: bool,
) -> OptimizeResult:
    """Return the last result; `saved` gets the iteration of every checkpoint.

    A chunk resumes from the state of the one before, so the iterates are those of one run.
    """

    def step(state: State | None, chunk: int) -> OptimizeResult:
        run = {"rng": recipe.network.seed, "maxiter": chunk, "state": state}
        return minimize(
            task.objective,
            task.x0,
            method=recipe.method,
            callback=callback,
            options={**recipe.options, **run},
        )

    def save(path: str, state: State) -> None:
        _saved.write_state(path, state)
        saved.append(state.k)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if path is not None:
            # Before any work: a run that cannot be saved should not begin.
            state = step(None, 0).state if state is None else state
            if fresh:  # a recipe must never stand beside the state of another run
                Path(path).unlink(missing_ok=True)
            _saved.write_recipe(path, recipe)
            save(path, state)
        while True:
            left = recipe.until - (0 if state is None else state.k)
            result = step(state, left if path is None else min(left, recipe.every or EVERY))
            state = result.state
            if path is not None:
                save(path, state)
            if result.status != Status.LIMIT or state.k >= recipe.until:
                return result
