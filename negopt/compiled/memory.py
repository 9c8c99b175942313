"""The memories of the two curvature rules, in and out of a workspace."""

from __future__ import annotations

from negopt.compiled import layout as k
from negopt.core.method import Method
from negopt.curvature.dqn import HybridInverse, HybridMemory
from negopt.curvature.inverse import symmetric
from negopt.curvature.lbfgs import LBFGS
from negopt.globalize.wolfe import WolfeSearch
from negopt.models.pair_memory import BFGS, PairMemory
from negopt.steps.signed import Signed


def adapter_for(method: Method) -> Adapter | None:
    """Return the adapter of a method, None where the loop does not know it."""
    step, rule = method.step, method.curvature
    # N.B. just these types: a subclass may do anything.
    if type(step) is not Signed or type(method.globalize) is not WolfeSearch:
        return None
    if type(rule) is HybridInverse and step.flip == "direction":
        return Dense(rule)
    return Pairs(rule) if type(rule) is LBFGS else None


class Dense:
    """`negopt.curvature.dqn`: two matrices of BFGS and one of SR1."""

    def __init__(self, rule: HybridInverse) -> None:
        self.rule = rule

    def work(self, n: int, memory: object, check: int) -> k.Work:
        """Return a workspace with a memory in it, or none, and the constants of the rule."""
        w = k.new_work(n, check=check)
        w.ints[k.AUTO_UNITS] = self.rule.units == "auto"
        w.ints[k.DESCENT] = self.rule.choose == "descent"
        w.reals[k.SKIP], w.reals[k.SKIP_BFGS] = self.rule.skip, 2.2e-16
        if not isinstance(memory, HybridMemory):
            return w
        if memory.free is not None:
            w.ints[k.HAS_SR1] = 1
            w.store[k.SR1 * n :] = symmetric(memory.free)
            if memory.units is not None:
                w.ints[k.UNITS] = 1
                w.vectors[k.U] = memory.units
        if memory.matrix is not None:
            w.ints[k.HAS_BFGS] = 1
            w.store[k.BFGS * n : k.REST * n] = symmetric(memory.matrix)
            w.store[k.REST * n : k.SR1 * n] = symmetric(memory.rest)
            w.reals[k.GAMMA] = memory.gamma
        return w

    def save(self, memory: object, w: k.Work) -> None:
        """Copy the matrices back."""
        assert isinstance(memory, HybridMemory)
        n = w.store.shape[1]
        if w.ints[k.HAS_SR1]:
            memory.free = w.store[k.SR1 * n :].copy().T  # in Fortran order
            memory.units = w.vectors[k.U].copy() if w.ints[k.UNITS] else None
        if w.ints[k.HAS_BFGS]:
            memory.matrix = w.store[k.BFGS * n : k.REST * n].copy().T
            memory.rest = w.store[k.REST * n : k.SR1 * n].copy().T
            memory.gamma = float(w.reals[k.GAMMA])


class Pairs:
    """`negopt.curvature.lbfgs`: pairs in place, and products among them."""

    def __init__(self, rule: LBFGS) -> None:
        self.rule = rule

    def work(self, n: int, memory: object, check: int) -> k.Work:
        """Return a workspace with a memory in it, or none, and the constants of the rule."""
        kept = memory if isinstance(memory, PairMemory) else None
        pairs = self.rule.maxcor if kept is None else kept.capacity
        w = k.new_work(n, pairs=pairs, check=check)
        w.reals[k.SKIP] = self.rule.skip
        if kept is None:
            return w
        w.gram[: 2 * pairs], w.ints[k.STORED] = kept.gram, kept.count
        return w._replace(store=kept.rows)

    def save(self, memory: object, w: k.Work) -> None:
        """Write back what is in which slot."""
        assert isinstance(memory, PairMemory)
        m, count = int(w.ints[k.PAIRS]), int(w.ints[k.STORED])
        memory.gram[:] = w.gram[: 2 * m]
        memory.kinds[: min(count, m)] = BFGS
        memory.count, memory.along = count, None
        if count:
            i = memory.newest
            memory.curvatures = [float(memory.gram[m + i, m + i] / memory.gram[i, m + i])]


#: How a memory travels between a state and a workspace.
Adapter = Dense | Pairs
