"""What the fused kernels know of a method: its memory and its rules, in and out of a workspace."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from negopt._method import Method
from negopt._types import State
from negopt.curvature.dqn import HybridInverse
from negopt.curvature.lbfgs import LBFGS
from negopt.curvature.lqn import HybridPairs
from negopt.curvature.lsr1 import GAMMA_RULES, LSR1
from negopt.globalize.trust_region import Radius, TrustRegion
from negopt.globalize.wolfe import SearchLength, WolfeSearch
from negopt.kernels import fused
from negopt.kernels import work as w
from negopt.kernels.generators import compact_room
from negopt.kernels.limited import GIVEN
from negopt.steps.signed import Signed
from negopt.steps.spectral_tr import SpectralTrustRegion

__all__ = ["Model", "Region", "Search", "model_for", "rule_for"]

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
NOTHING = np.zeros((0, 0))


class Model(Protocol):
    """How the memory of a curvature rule travels between a state and a workspace."""

    #: The kernel of its kind.
    advance: Any

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
    if _is(method, LSR1, Signed, WolfeSearch) or _is(
        method, LSR1, SpectralTrustRegion, TrustRegion
    ):
        return PairModel(method, w.SR1_ROWS)
    if _is(method, HybridPairs, SpectralTrustRegion, TrustRegion) and step.model == "signed":
        return PairModel(method, w.HYBRID_ROWS)
    if _is(method, LBFGS, Signed, WolfeSearch):
        return PairModel(method, w.BFGS_ROWS)
    return None


def rule_for(method: Method) -> Search | Region:
    """Return the adapter of a method's globalisation."""
    if isinstance(method.globalize, WolfeSearch):
        return Search(method.globalize)
    return Region(method.globalize)


def _is(method: Method, *parts: type) -> bool:
    """Tell whether the three parts are just these: a subclass may do anything."""
    return (type(method.curvature), type(method.step), type(method.globalize)) == parts


class DenseModel:
    """`negopt.curvature.dqn`: two matrices of BFGS and one of SR1, copied in and out."""

    def __init__(self, method: Method) -> None:
        self.rule: Any = method.curvature
        self.step: Any = method.step
        self.first = 1.0
        self.advance = fused.advance_dense

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


class PairModel:
    """`negopt.curvature.lsr1`, `lqn` and `lbfgs`: pairs in place, by slot."""

    def __init__(self, method: Method, kind: int) -> None:
        self.rule: Any = method.curvature
        self.step: Any = method.step
        self.kind = kind
        self.search = isinstance(method.globalize, WolfeSearch)
        self.remember = getattr(self.rule, "remember", 1)
        if kind == w.HYBRID_ROWS:
            self.advance = fused.advance_hybrid_region
        elif kind == w.BFGS_ROWS:
            self.advance = fused.advance_bfgs_search
        else:
            self.advance = fused.advance_sr1_search if self.search else fused.advance_sr1_region

    def sizes(self, state: State) -> dict[str, Any]:
        """Return the sizes for as many pairs as the memory holds."""
        pairs = state.memory.gram.shape[0] // 2
        small, whole = 0, 0
        if self.kind == w.HYBRID_ROWS:
            small, whole = 5, pairs
        elif self.kind == w.SR1_ROWS:
            small, whole = compact_room(pairs)
        return {
            "scratch": int(self.search),
            "pairs": pairs,
            "remember": self.remember,
            "small": small,
            "whole": whole,
        }

    def arrays(self, state: State) -> tuple[FloatArray, FloatArray]:
        """Return rows and Gram matrix of the memory itself."""
        return state.memory.rows, state.memory.gram

    def load(self, state: State, work: w.Work) -> None:
        """Set the order of the pairs and the constants of the rules."""
        memory, ints, reals = state.memory, work.ints, work.reals
        ints[w.MODEL] = self.kind
        if memory.along is not None and memory.at == state.iterate.gnorm:
            work.along[: memory.along.shape[0]] = memory.along
            ints[w.KNOWN_PRODUCTS] = 1
        # N.B. of a state that was made with a longer memory of them.
        curvatures = memory.curvatures[-self.remember :]
        ints[w.STORED], ints[w.CURVATURES] = len(memory.order), len(curvatures)
        work.order[: len(memory.order)] = memory.order
        work.curvatures[: len(curvatures)] = curvatures
        gamma = getattr(self.rule, "gamma", 0.0)  # L-BFGS has a scale of its own
        ints[w.SCALING] = GAMMA_RULES.index(gamma) if isinstance(gamma, str) else GIVEN
        reals[w.FIXED_GAMMA] = 0.0 if isinstance(gamma, str) else gamma
        reals[w.SKIP] = self.rule.skip
        ints[w.BLOCK] = getattr(self.rule, "block", 1)
        if self.search:
            reals[w.ANGLE], reals[w.FLOOR] = self.step.angle, self.step.floor
            ints[w.FLIP] = self.step.flip == "eigen"
        else:
            ints[w.ABSOLUTE] = self.step.model == "absolute"

    def save(self, state: State, work: w.Work) -> None:
        """Write back which slots hold what."""
        memory, ints = state.memory, work.ints
        memory.order = work.order[: ints[w.STORED]].tolist()
        memory.curvatures = work.curvatures[: ints[w.CURVATURES]].tolist()
        memory.along = None
        if ints[w.KNOWN_PRODUCTS]:
            memory.along = work.along[: 2 * ints[w.STORED]].copy()
            memory.at = float(work.points[ints[w.ITERATE], w.GNORM])


class Region:
    """`negopt.globalize.trust_region`."""

    points, limit = 3, 0

    def __init__(self, rule: Any) -> None:
        self.rule: TrustRegion = rule

    def load(self, state: Radius, reals: FloatArray, ints: Any) -> None:
        """Set the constants of the radius and what it remembers."""
        rule = self.rule
        ints[w.RULE] = w.REGION
        reals[w.ETA], reals[w.SHRINK], reals[w.GROW] = rule.eta, rule.shrink, rule.grow
        reals[w.FIRST_GROW], reals[w.MAX_RADIUS] = rule.first_grow, rule.max_trust_radius
        ints[w.INTERPOLATE] = rule.interpolate
        reals[w.RADIUS], reals[w.LOWEST] = state.radius, state.lowest
        ints[w.FREE], ints[w.STARTED] = state.free, state.started

    def save(self, state: Radius, reals: FloatArray, ints: Any) -> None:
        """Write back what the radius remembers."""
        state.radius, state.lowest = float(reals[w.RADIUS]), float(reals[w.LOWEST])
        state.free, state.started = bool(ints[w.FREE]), bool(ints[w.STARTED])

    def outcome(self, outcome: Any, reals: FloatArray, ints: Any, task: int) -> None:
        """Complete the outcome of the last iteration."""
        outcome.rho, outcome.radius = float(reals[w.RHO]), float(reals[w.USED_RADIUS])
        if task == w.SMALL_RADIUS:
            outcome.reason = self.rule.too_small(float(reals[w.RADIUS]))


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
