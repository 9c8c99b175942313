"""What `negopt compare` minimises: a built-in problem, a user's object, a network."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from negopt import problems
from negopt.cli._errors import UsageError, nearest, reason
from negopt.cli._network import Task
from negopt.core.arrays import Array

Vector = npt.NDArray[np.float64]
Function = Callable[[Vector], Array]


@dataclass(frozen=True)
class Target:
    """A function with what derivatives it has, and where to start.

    `grad` None means differences of `fun`; `hessp` None differences of the gradient.
    """

    title: str
    fun: Function
    x0: Vector
    grad: Function | None = None
    hessp: Callable[[Vector], Function] | None = None
    minimum: float | None = None

    @property
    def n(self) -> int:
        """Number of variables."""
        return int(self.x0.shape[0])


def built_in(name: str, n: int | None) -> Target:
    """Return a problem of `negopt.problems`; hyphens and underscores are alike."""
    known = problems.names()
    key = name.lower().replace("-", "_")
    if key not in known:
        hint = nearest(key, known) or " `negopt compare --list-problems` lists them."
        raise UsageError(f"unknown problem {name!r}.{hint}")
    try:
        found = problems.get(key, n)
    except ValueError as error:
        raise UsageError(f"--n: {reason(error)}") from error
    facts = "" if found.minimum is None else f", known minimum {found.minimum:.6g}"
    start = np.array(found.x0)
    return Target(
        f"{found.name}: n = {found.n}, f(x0) = {float(found.fun(start)):.6g}{facts}",
        found.fun,
        start,
        found.grad,
        found.hessp,
        found.minimum,
    )


def from_task(task: Task) -> Target:
    """Return a network on its data."""
    objective = task.objective
    return Target(task.title, objective.fun, task.x0, objective.grad, objective.hessp)


def from_module(text: str, x0: list[float] | None) -> Target:
    """Import ``module:object`` and return it as a target that could be evaluated once."""
    module_name, _, path = text.partition(":")
    if not module_name or not path:
        raise UsageError(f"{text!r} is not module:object, such as mymodule:objective")
    found = _import(module_name, path)
    if isinstance(found, type):
        raise UsageError(f"{text} is a class; name an instance of it")
    fun, grad = _function(text, found)
    start = _start(text, found, x0)
    hessp = getattr(found, "hessp", None)
    target = Target(text, fun, start, grad, hessp if callable(hessp) else None)
    return _checked(text, target)


def _import(module_name: str, path: str) -> object:
    with _here_on_path():
        try:
            found: object = importlib.import_module(module_name)
        # The user's module may raise anything while it is imported.
        except Exception as error:
            raise UsageError(f"cannot import {module_name}: {reason(error)}") from error
    for name in path.split("."):
        if not hasattr(found, name):
            names = [item for item in dir(found) if not item.startswith("_")]
            raise UsageError(f"{module_name} has no {path!r}.{nearest(name, names)}")
        found = getattr(found, name)
    return found


@contextmanager
def _here_on_path() -> Iterator[None]:
    """Let modules of the current folder be imported, as ``python -m`` does."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def _function(text: str, found: object) -> tuple[Function, Function | None]:
    fun, grad = getattr(found, "fun", None), getattr(found, "grad", None)
    if callable(fun):
        return fun, grad if callable(grad) else None
    if callable(found):
        return found, None
    raise UsageError(
        f"{text} is a {type(found).__name__}: neither callable nor an object with fun and grad"
    )


def _start(text: str, found: object, x0: list[float] | None) -> Vector:
    start = getattr(found, "x0", None) if x0 is None else x0
    if start is None:
        raise UsageError(f"{text} has no x0; give a starting point, such as --x0 1,2,3")
    try:
        if callable(start):
            start = start()
        vector = np.array(start, dtype=np.float64)
    except Exception as error:
        raise UsageError(f"{text}: x0 is not a vector: {reason(error)}") from error
    if vector.ndim != 1 or vector.size == 0:
        raise UsageError(f"{text}: x0 has shape {vector.shape}; it must be a vector")
    return vector


def _checked(text: str, target: Target) -> Target:
    """Evaluate once at x0, so that what is wrong is told before any method runs."""
    start = target.x0
    try:
        first = target.fun(start.copy())
        if isinstance(first, tuple) and len(first) == 2:
            pair = _Pair(target.fun)
            target = Target(text, pair.fun, start, pair.grad, target.hessp)
            first = first[0]
        f = float(np.asarray(first, dtype=np.float64).reshape(()))
        if target.grad is not None:
            _check_gradient(target.grad(start.copy()), start)
    except Exception as error:
        raise UsageError(f"{text} cannot be evaluated at x0: {reason(error)}") from error
    if not math.isfinite(f):
        raise UsageError(f"{text} is {f} at x0; choose another start with --x0")
    how = "" if target.grad is not None else ", gradient by differences"
    title = f"{text}: n = {target.n}, f(x0) = {f:.6g}{how}"
    return Target(title, target.fun, start, target.grad, target.hessp)


def _check_gradient(raw: Array, start: Vector) -> None:
    g = np.asarray(raw, dtype=np.float64)
    if g.shape != start.shape:
        raise ValueError(f"the gradient has shape {g.shape}, x0 has {start.shape}")
    if not np.all(np.isfinite(g)):
        raise ValueError("the gradient at x0 is not finite")


class _Pair:
    """A function that returns ``(f, g)``, as two functions that share the last call."""

    def __init__(self, both: Function) -> None:
        self.both, self.key = both, b""
        self.pair: tuple[Array, Array] = (math.nan, None)

    def _at(self, x: Vector) -> tuple[Array, Array]:
        key = x.tobytes()
        if key != self.key:
            f, g = self.both(x)
            self.key, self.pair = key, (f, g)
        return self.pair

    def fun(self, x: Vector) -> Array:
        return self._at(x)[0]

    def grad(self, x: Vector) -> Array:
        return self._at(x)[1]
