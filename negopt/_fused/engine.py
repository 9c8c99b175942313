"""Runs a method through the fused kernels, and the reference solver where they hand back.

The state of a run is one and the same: the engine loads it into a workspace, goes on for
as many iterations as it may, and writes it back.  Whatever is rare is then decided by
`negopt._solver.Solver`, on that state.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from negopt._array import is_plain
from negopt._certify import ROOM
from negopt._fused.evaluate import evaluator
from negopt._fused.models import Model, model_for, rule_for
from negopt._fused.native import native_for
from negopt._fused.space import CompiledSpace
from negopt._solver import Solver
from negopt._space import Space
from negopt._types import BudgetExhausted, Iterate, Outcome, State
from negopt.kernels import work as w
from negopt.kernels._jit import is_compiled, jit_disabled
from negopt.kernels.fold import fold_pairs
from negopt.kernels.space import place, ritz

__all__ = ["Engine", "engine_for"]


#: Seconds of iterations in plain NumPy that a process makes before it compiles a kernel that
#: is not on disk yet: 10 to 20 s, once for a machine, and too much for one small solve.
COLD = 1.0


#: Stands for points that are in the workspace.
HELD = Iterate(np.zeros(0), math.nan, np.zeros(0), math.nan, math.nan, math.nan)


class Cold:
    """What this process has spent while kernels were not compiled."""

    seconds = 0.0

    @classmethod
    def waits(cls, kernel: Any) -> bool:
        """Tell whether the reference does better for now, since `kernel` is not compiled."""
        return cls.seconds <= COLD and not is_compiled(kernel)

    @classmethod
    def step(cls, solver: Solver, state: State) -> State:
        """Make an iteration of the reference, and count its time."""
        start = time.perf_counter()
        solver.step(state)
        # N.B. its own small kernels may have been compiled in this time: that does not count.
        cls.seconds += min(time.perf_counter() - start, 0.1)
        return state


def engine_for(solver: Solver, x0: Any) -> Engine | None:
    """Return the engine of a run, or None where only the reference can do it."""
    run = solver.run
    if run.compiled != True and jit_disabled():  # noqa: E712 - "auto" is neither
        return None
    model = model_for(solver.method)
    if model is None or not is_plain(x0) or run.xrtol > 0.0 or run.norm not in (2, math.inf):
        return None
    evaluate = evaluator(solver.objective)
    return None if evaluate is None else Engine(solver, model, evaluate)


class Engine:
    """The fused kernels at work on one run.

    Parameters
    ----------
    solver : Solver
        Decides what the kernels hand back.
    model : Model
        How the memory of the method's curvature travels.
    evaluate : callable
        ``x -> (f, g)``, counted and checked.
    """

    def __init__(self, solver: Solver, model: Model, evaluate: Any) -> None:
        self.solver, self.model, self.evaluate = solver, model, evaluate
        self.rule = rule_for(solver.method)
        self._auto = self._cold = solver.run.compiled is not True
        self._native: tuple[Any] | None = None  # not looked for yet
        self._buffers: tuple[Any, ...] = ()
        self._places: list[Any] = []  # the points' x
        self._iterate: Iterate | None = None  # what the workspace holds, as it was written out

    @property
    def cold(self) -> bool:
        """Whether the run is in the reference for now."""
        self._cold = self._cold and Cold.waits(self.model.advance)
        return self._cold

    @property
    def native(self) -> Any:
        """What evaluates a jitted objective in compiled code, or None; looked for once."""
        if self._native is None:
            now = self.solver.run.compiled is True or Cold.seconds > COLD
            self._native = (native_for(self.solver.objective, self.model.advance, now),)
        return self._native[0]

    def step(self, state: State, iterations: int = 1) -> State:
        """Go on for as many iterations; sets ``state.status`` when the run is over."""
        solver = self.solver
        if self.cold:
            return Cold.step(solver, state)
        solver.outcome, solver.step_norm = None, math.nan
        try:
            if self._iterate is None or self._iterate is not state.iterate:
                self._load(state)
            self.work.ints[w.PAUSE_AT] = min(state.k + iterations, 2**62)
            task = self._drive(state)
            if task in (w.RARE, w.FOLD):
                self.finish(state)
                return solver.step(state) if task == w.RARE else Cold.step(solver, state)
            if task != w.PAUSE:
                self.finish(state)
                solver.space = self.space
                solver.conclude(state, task == w.GAVE_UP)
                solver.check_stop(state)
        except BudgetExhausted as error:
            self.finish(state)
            solver.exhausted(state, error)
        solver.complete(state)
        return state

    @property
    def space(self) -> type[Space]:
        """What the second-order check is made with."""
        many = self.solver.objective.n * self.solver.run.certify_products > ROOM
        cold = self._auto and (Cold.waits(place) or Cold.waits(ritz))
        return Space if many or cold else CompiledSpace

    def finish(self, state: State) -> None:
        """Write the memory of the run back into its state."""
        if self._iterate is not None:
            self.model.save(state, self.work)
            self.rule.save(state.globalize, self.work.reals, self.work.ints)
            self._iterate = None
            # What follows, the second-order check for one, may need the memory.
            self._buffers, self._places = (), []
            del self.work

    def _drive(self, state: State) -> int:
        advance, evaluate, places = self.model.advance, self.evaluate, self._places
        ints, buffers, native = self.work.ints, self._buffers, self.native
        task = advance(0.0, places[0], *buffers)
        try:
            while True:
                if native is not None:
                    task = native.run(int(task), advance, evaluate, places, buffers)
                while task == w.EVALUATE:
                    f, g = evaluate(places[ints[w.TRIAL]])
                    task = advance(f, g, *buffers)
                if task != w.FOLD or (self._auto and Cold.waits(fold_pairs)):
                    break
                fold_pairs(*buffers)
                task = advance(0.0, places[0], *buffers)
        except BudgetExhausted:
            # Half an iteration counts for nothing: the iterate is still that before it.
            self._write(state)
            raise
        self._write(state)
        self.solver.outcome = self._outcome(int(task))
        if ints[w.FINITE] and task != w.SEARCH_FAILED:
            self.solver.step_norm = float(self.work.reals[w.STEP_NORM])
        return int(task)

    # --- the state, in and out ---------------------------------------------------------

    def _load(self, state: State) -> None:
        solver, rule = self.solver, self.rule
        assert solver.limits is not None
        sizes: dict[str, Any] = {"points": rule.points, "limit": rule.limit}
        sizes |= self.model.sizes(state)
        buffer, ints = w.allocate(int(state.iterate.x.shape[0]), **sizes)
        self._buffers = buffer, *self.model.arrays(state), ints
        self.work = work = w.parts(*self._buffers)
        self._places = [work.vectors[2 * i] for i in range(rule.points)]
        self._put(0, state.iterate)
        objective = solver.objective
        best = objective.best
        if best is not None and best is not state.iterate:
            self._put(1, best)
            ints[w.BEST] = 1
        limits, reals = solver.limits, work.reals
        ints[w.KEPT] = -1
        ints[w.K], ints[w.MAXITER] = state.k, min(limits.maxiter, 2**62)
        ints[w.EUCLIDEAN] = limits.order == 2
        ints[w.STALLED], ints[w.RESETS] = state.stalled, state.resets
        reals[w.STALLED_GMAX] = state.stalled_gmax
        reals[w.GTOL], reals[w.FTARGET] = limits.gtol, limits.ftarget
        reals[w.UNBOUNDED_BELOW] = limits.unbounded_below
        rule.load(state.globalize, reals, ints)
        self.model.load(state, work)
        # N.B. where n is large every vector that is held counts: until they are written out
        # again, the points are in the workspace alone.
        ints[w.MOVED] = 1
        objective.forget_start()
        self._iterate = HELD
        objective.best = state.best = state.iterate = HELD

    def _put(self, place: int, point: Iterate) -> None:
        self.work.vectors[2 * place], self.work.vectors[2 * place + 1] = point.x, point.g
        xnorm = point.xnorm
        if not math.isfinite(xnorm):
            xnorm = float(np.linalg.norm(point.x))
        self.work.points[place] = point.f, point.gnorm, point.gmax, xnorm, 0.0, 0.0

    def _get(self, place: int) -> Iterate:
        f, gnorm, gmax, xnorm, *_ = self.work.points[place].tolist()
        x, g = self.work.vectors[2 * place].copy(), self.work.vectors[2 * place + 1].copy()
        return Iterate(x, f, g, gnorm, gmax, xnorm)

    def _write(self, state: State) -> None:
        """Write out the points and the counts; the memory follows in `finish`."""
        ints, reals, objective = self.work.ints, self.work.reals, self.solver.objective
        ints[w.PHASE] = 0
        here, lowest = int(ints[w.ITERATE]), int(ints[w.BEST])
        if int(ints[w.MOVED]):
            state.iterate = self._get(here)
            ints[w.MOVED] = 0
        best = objective.best
        f, gmax = float(self.work.points[lowest, w.F]), float(self.work.points[lowest, w.GMAX])
        if lowest == here:
            objective.best = state.iterate
        elif best is None or best.f != f or best.gmax != gmax:
            objective.best = self._get(lowest)
        state.best = objective.best or state.iterate
        state.k = int(ints[w.K])
        state.stalled, state.resets = int(ints[w.STALLED]), int(ints[w.RESETS])
        state.stalled_gmax = float(reals[w.STALLED_GMAX])
        counters = state.counters
        counters.n_rejected += int(ints[w.REJECTED])
        counters.n_nonfinite += int(ints[w.NONFINITE])
        counters.n_skipped += int(ints[w.SKIPPED])
        counters.n_negative_steps += int(ints[w.NEGATIVE])
        ints[[w.REJECTED, w.NONFINITE, w.SKIPPED, w.NEGATIVE]] = 0
        self._iterate = state.iterate

    def _outcome(self, task: int) -> Outcome:
        """Return the facts of the last iteration."""
        ints = self.work.ints
        outcome = Outcome(
            accepted=bool(ints[w.ACCEPTED]),
            valid=bool(ints[w.FINITE]),
            stuck=task >= w.SMALL_RADIUS,
            trials=int(ints[w.TRIALS]),
        )
        self.rule.outcome(outcome, self.work.reals, ints, task)
        return outcome
