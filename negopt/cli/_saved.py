"""The two files of a checkpoint: F holds the solver's state, F.json the recipe of the problem."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from negopt import checkpoint
from negopt.cli._errors import UsageError, reading, reason
from negopt.cli._network import IONOSPHERE, NetworkSpec, Task, build
from negopt.core.checks import check_tree
from negopt.core.files import replacing
from negopt.core.types import State
from negopt.methods import METHODS

#: Raised whenever a recipe written before could no longer be read as it was meant.
FORMAT = 1

#: Numbers, strings, booleans and None, by the names of options.
Options = dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """How to build the problem again, and what was planned."""

    network: NetworkSpec  #: with the data file's absolute path and sha256
    method: str
    options: Options = field(default_factory=dict)  #: of the method
    iterations: int = 200  #: as many as were asked for at first
    until: int = 200  #: iteration at which the plan ends
    every: int | None = 20  #: iterations between two checkpoints; None is an epoch
    #: what `negopt.neural.fit` is told of them; iterations are epochs then
    batches: Options | None = None


def recipe_path(path: str) -> Path:
    """Return the name of the recipe that belongs to the checkpoint `path`."""
    return Path(f"{path}.json")


def write_recipe(path: str, recipe: Recipe) -> None:
    """Write the recipe beside the checkpoint `path`, whole or not at all."""
    tree = dataclasses.asdict(recipe)
    if recipe.network.data != IONOSPHERE or Path(IONOSPHERE).exists():
        tree["network"]["data"] = str(Path(recipe.network.data).resolve())
    text = json.dumps({"format": FORMAT, **tree}, indent=2) + "\n"
    try:
        with replacing(recipe_path(path)) as file:
            file.write(text.encode())
    except OSError as error:
        raise UsageError(f"cannot write the checkpoint {path}: {reason(error)}") from error


def write_state(path: str, state: State) -> None:
    """Write the solver's state to `path`, whole or not at all."""
    try:
        checkpoint.save(path, state)
    except OSError as error:
        raise UsageError(f"cannot write the checkpoint {path}: {reason(error)}") from error


def read(path: str) -> tuple[State, Recipe]:
    """Read both files of a checkpoint.

    It is a UsageError when one is missing, damaged, of a later format, or they do not belong
    together.
    """
    with reading(path):
        state = checkpoint.load(path)
    recipe = _read_recipe(path)
    if state.method != recipe.method:
        raise UsageError(
            f"{path} is a run of {state.method}, but {recipe_path(path)} is of {recipe.method}: "
            "they do not belong together"
        )
    return state, recipe


def known_recipe(path: str) -> Recipe | None:
    """Return the recipe of the checkpoint `path`, or None where there is none to be read."""
    try:
        return _read_recipe(path)
    except UsageError:
        return None


def further(
    recipe: Recipe, done: int, more: int | None, data: str | None, every: int | None
) -> tuple[Task, Recipe]:
    """Return the problem, and the recipe of a run that is resumed after `done` iterations.

    It ends after `more` of them, or with the plan, or after as many as were asked for at first.
    """
    spec = recipe.network if data is None else dataclasses.replace(recipe.network, data=data)
    until = recipe.until if more is None else done + more
    if until <= done:
        until = done + recipe.iterations
    task, every = build(spec), every or recipe.every
    return task, dataclasses.replace(recipe, network=task.spec, until=until, every=every)


def _read_recipe(path: str) -> Recipe:
    source = recipe_path(path)
    try:
        tree = json.loads(source.read_text(encoding="utf-8"))
        version = tree.pop("format")
        if version > FORMAT:
            raise UsageError(f"{source} has format {version}; this negopt reads up to {FORMAT}")
        network = tree.pop("network")
        network["hidden"] = tuple(network["hidden"])
        recipe = Recipe(network=NetworkSpec(**network), **tree)
        check_tree(recipe, Recipe(NetworkSpec(""), "", every=recipe.every), 0, "recipe")
        known = recipe.method in METHODS
    except OSError as error:
        raise UsageError(
            f"cannot read {source}, which says how to rebuild the problem: {reason(error)}"
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{source} is not the recipe of a checkpoint: {reason(error)}") from error
    if not known:
        raise UsageError(f"{source}: {recipe.method!r} is not one of negopt's methods")
    return recipe
