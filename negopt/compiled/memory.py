"""The memories of the two curvature rules, in and out of a workspace."""

from __future__ import annotations

from typing import Any, Protocol

from negopt._method import Method
from negopt.compiled import kernel as k
from negopt.curvature.compact import PairMemory
from negopt.curvature.dqn import HybridInverse, HybridMemory
from negopt.curvature.lbfgs import LBFGS
from negopt.globalize.wolfe import WolfeSearch
from negopt.steps.signed import Signed

__all__ = ["Adapter", "adapter_for"]


class Adapter(Protocol):
    """How a memory travels between a state and a workspace."""

    def work(self, n: int, memory: Any, maxls: int, check: int) -> k.Work:
        """Return a workspace for it, with the constants of the rule."""
        ...

    def load(self, memory: Any, w: k.Work) -> None:
        """Copy a memory into the workspace."""
        ...

    def save(self, memory: Any, w: k.Work) -> None:
        """Write it back."""
        ...


def adapter_for(method: Method) -> Adapter | None:
    """Return the adapter of a method, None where the loop does not know it."""
    step: Any = method.step
    # N.B. just these types: a subclass may do anything.
    if type(step) is not Signed or type(method.globalize) is not WolfeSearch:
        return None
    if type(method.curvature) is HybridInverse and step.flip == "direction":
        return Dense(method.curvature)
    return Pairs(method.curvature) if type(method.curvature) is LBFGS else None


class Dense:
    """`negopt.curvature.dqn`: two matrices of BFGS and one of SR1."""

    def __init__(self, rule: HybridInverse) -> None:
        self.rule = rule

    def work(self, n: int, memory: HybridMemory | None, maxls: int, check: int) -> k.Work:
        """Return a workspace for it, with the constants of the rule."""
        w = k.new_work(n, maxls=maxls, check=check)
        w.ints[k.AUTO_UNITS] = self.rule.units == "auto"
        w.ints[k.DESCENT] = self.rule.choose == "descent"
        w.reals[k.SKIP], w.reals[k.SKIP_BFGS] = self.rule.skip, 2.2e-16
        return w

    def load(self, memory: HybridMemory, w: k.Work) -> None:
        """Copy the matrices."""
        n = w.store.shape[1]
        if memory.free is not None:
            w.ints[k.HAS_SR1] = 1
            w.store[k.SR1 * n :] = memory.free
            if memory.units is not None:
                w.ints[k.UNITS] = 1
                w.vectors[k.U] = memory.units
        if memory.matrix is not None:
            w.ints[k.HAS_BFGS] = 1
            w.store[k.BFGS * n : k.REST * n] = memory.matrix
            w.store[k.REST * n : k.SR1 * n] = memory.rest
            w.reals[k.GAMMA] = memory.gamma

    def save(self, memory: HybridMemory, w: k.Work) -> None:
        """Copy the matrices back."""
        n = w.store.shape[1]
        if w.ints[k.HAS_SR1]:
            memory.free = w.store[k.SR1 * n :].copy()
            memory.units = w.vectors[k.U].copy() if w.ints[k.UNITS] else None
        if w.ints[k.HAS_BFGS]:
            memory.matrix = w.store[k.BFGS * n : k.REST * n].copy()
            memory.rest = w.store[k.REST * n : k.SR1 * n].copy()
            memory.gamma = float(w.reals[k.GAMMA])


class Pairs:
    """`negopt.curvature.lbfgs`: pairs, and products among them."""

    def __init__(self, rule: LBFGS) -> None:
        self.rule = rule

    def work(self, n: int, memory: PairMemory | None, maxls: int, check: int) -> k.Work:
        """Return a workspace for it, with the constants of the rule."""
        pairs = self.rule.maxcor if memory is None else memory.gram.shape[0] // 2
        w = k.new_work(n, pairs=pairs, maxls=maxls, check=check)
        w.reals[k.SKIP] = self.rule.skip
        return w

    # N.B. the memory has s and y in rows 2i and 2i + 1, the workspace in rows i and m + i.

    def load(self, memory: PairMemory, w: k.Work) -> None:
        """Copy the pairs."""
        m, count = int(w.ints[k.PAIRS]), len(memory.order)
        for part in range(2):
            w.store[part * m : part * m + m] = memory.rows[part::2]
            for other in range(2):
                w.gram[part * m : part * m + m, other * m : other * m + m] = memory.gram[
                    part::2, other::2
                ]
        w.ints[k.STORED] = count
        w.ints[k.ORDER : k.ORDER + count] = memory.order

    def save(self, memory: PairMemory, w: k.Work) -> None:
        """Copy the pairs back."""
        m, count = int(w.ints[k.PAIRS]), int(w.ints[k.STORED])
        for part in range(2):
            memory.rows[part::2] = w.store[part * m : part * m + m]
            for other in range(2):
                memory.gram[part::2, other::2] = w.gram[
                    part * m : part * m + m, other * m : other * m + m
                ]
        memory.order = w.ints[k.ORDER : k.ORDER + count].tolist()
        memory.along = None
        if count:
            s, y = int(memory.order[-1]), m + int(memory.order[-1])
            memory.curvatures = [float(w.gram[y, y] / w.gram[s, y])]
