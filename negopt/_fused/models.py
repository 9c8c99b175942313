"""What the fused kernels know of a method: its memory and its rules, in and out of a workspace."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from negopt._method import Method
from negopt._types import State
from negopt.curvature.dqn import HybridInverse
from negopt.globalize.wolfe import SearchLength, WolfeSearch
from negopt.kernels import work as w
from negopt.steps.signed import Signed

__all__ = ["Model", "Search", "model_for"]

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
NOTHING = np.zeros((0, 0))


class Model(Protocol):
    """How the memory of a curvature rule travels between a state and a workspace."""

    def sizes(self, state: State) -> dict[str, Any]:
        """Return the sizes that `negopt.kernels.work.allocate` needs for this memory."""
        ...

    def arrays(self, state: State) -> tuple[FloatArray, FloatArray]:
        """Return the rows and the Gram matrix of the stored pairs, used in place."""
        ...

    def load(self, state: State, work: w.Work) -> None:
        """Copy the memory into the workspace."""
        ...

    def save(self, state: State, work: w.Work) -> None:
        """Write the memory back into the state."""
        ...


def model_for(method: Method) -> Model | None:
    """Return the adapter of a method's curvature, None where the kernels do not know it."""
    step: Any = method.step
    if _is(method, HybridInverse, Signed, WolfeSearch) and step.flip == "direction":
        return DenseModel(method)
    return None


def _is(method: Method, *parts: type) -> bool:
    """Tell whether the three parts are just these: a subclass may do anything."""
    return (type(method.curvature), type(method.step), type(method.globalize)) == parts


class DenseModel:
    """`negopt.curvature.dqn`: two matrices of BFGS and one of SR1, copied in and out."""

    def __init__(self, method: Method) -> None:
        self.rule: Any = method.curvature
        self.step: Any = method.step
        self.first = 1.0

    def sizes(self, state: State) -> dict[str, Any]:
        """Look at the units of an empty memory."""
        if state.memory.free is None:
            self.first = self.rule.look(state.memory, state.iterate)
        return {"scratch": 5, "matrices": 3, "units": state.memory.units is not None}

    def arrays(self, state: State) -> tuple[FloatArray, FloatArray]:
        """Return nothing: there are no pairs."""
        return NOTHING, NOTHING

    def load(self, state: State, work: w.Work) -> None:
        """Copy the matrices."""
        memory, ints, reals = state.memory, work.ints, work.reals
        ints[w.MODEL] = w.DENSE
        reals[w.FIRST] = self.first
        if memory.free is not None:
            ints[w.HAS_FREE] = 1
            work.matrices[2] = memory.free
        if memory.matrix is not None:
            ints[w.HAS_POSITIVE] = 1
            work.matrices[0], work.matrices[1] = memory.matrix, memory.rest
            reals[w.GAMMA] = memory.gamma
        if memory.units is not None:
            work.units[:] = memory.units
        reals[w.SKIP], reals[w.ANGLE] = self.rule.skip, self.step.angle
        ints[w.CHOICE] = self.rule.choose == "descent"

    def save(self, state: State, work: w.Work) -> None:
        """Copy the matrices back."""
        memory = state.memory
        if work.ints[w.HAS_FREE]:
            memory.free = work.matrices[2].copy()
        if work.ints[w.HAS_POSITIVE]:
            memory.matrix, memory.rest = work.matrices[0].copy(), work.matrices[1].copy()
            memory.gamma = float(work.reals[w.GAMMA])


class Search:
    """`negopt.globalize.wolfe`."""

    points = 4

    def __init__(self, rule: Any) -> None:
        self.rule: WolfeSearch = rule
        self.limit = rule.maxls + 2

    def load(self, state: SearchLength, reals: FloatArray, ints: Any) -> None:
        """Set the constants of the search and what it remembers."""
        rule = self.rule
        ints[w.RULE] = w.SEARCH
        reals[w.C1], reals[w.C2], reals[w.EXPAND] = rule.c1, rule.c2, rule.expand
        ints[w.STRONG], ints[w.MAXLS] = rule.wolfe == "strong", rule.maxls
        reals[w.LAST_LENGTH], reals[w.LOWEST] = state.length, state.lowest

    def save(self, state: SearchLength, reals: FloatArray, ints: Any) -> None:
        """Write back what the search remembers."""
        state.length, state.lowest = float(reals[w.LAST_LENGTH]), float(reals[w.LOWEST])

    def outcome(self, outcome: Any, reals: FloatArray, ints: Any, task: int) -> None:
        """Complete the outcome of the last iteration."""
        outcome.step_size = float(reals[w.STEP_SIZE]) if outcome.accepted else math.nan
        if task == w.SEARCH_FAILED:
            outcome.reason = self.rule.no_decrease(outcome.trials)
        elif task == w.NOT_MOVED:
            outcome.reason = self.rule.NOT_MOVED
