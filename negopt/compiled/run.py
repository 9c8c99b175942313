"""One run in the compiled loop, and `negopt.solver.loop.Solver` where that hands back."""

from __future__ import annotations

import math
import time
from typing import NamedTuple, cast

import numpy as np

from negopt.compiled import layout as k
from negopt.compiled.jitted import GRADIENTS, OK, STATUS, VALUES, Target
from negopt.compiled.kernel import KERNEL
from negopt.compiled.linear import EPS
from negopt.compiled.memory import Adapter
from negopt.core.arrays import FloatArray
from negopt.core.method import Method
from negopt.core.options import RunOptions
from negopt.core.types import BudgetExhausted, Certificate, Iterate, Outcome, State
from negopt.functions.differences import product_error
from negopt.functions.objective import Objective
from negopt.globalize.wolfe import SearchLength, WolfeSearch
from negopt.solver.loop import PRODUCTS, Solver
from negopt.steps.signed import Signed

#: Seconds after which compiled code comes back, so that Ctrl-C and ``maxtime`` are seen to.
SLICE = 0.02

#: Stands for points that are in the workspace: where n is large each vector that is held counts.
HELD = Iterate(np.zeros(0), math.nan, np.zeros(0), math.nan, math.nan, math.nan)

#: More than any count can come to.
ENDLESS = 2**62

#: Up to here the Hessian is formed in full, in compiled code, where its products allow it.
WHOLE = 64


class Setting(NamedTuple):
    """What does not change in a run, or between the problems of a batch."""

    method: Method
    run: RunOptions
    objective: Objective
    adapter: Adapter
    target: Target

    @property
    def check(self) -> int:
        """The number of variables where the second-order check is made in compiled code, else 0."""
        run, n = self.run, self.objective.n
        wanted = run.certify and run.maxfun is None and run.maxtime is None
        few = (
            n <= min(WHOLE, run.certify_products or PRODUCTS) and not self.objective.exact_products
        )
        return n if wanted and few else 0

    def work(self, memory: object) -> k.Work:
        """Return a workspace with a memory, or None, and all constants."""
        search = cast(WolfeSearch, self.method.globalize)
        w = self.adapter.work(self.objective.n, memory, self.check)
        ints, reals = w.ints, w.reals
        ints[k.CHECK] = self.check > 0
        ints[k.EUCLIDEAN] = self.run.norm == 2
        ints[k.STRONG], ints[k.MAXLS] = search.wolfe == "strong", search.maxls
        reals[k.C1], reals[k.C2], reals[k.EXPAND] = search.c1, search.c2, search.expand
        reals[k.ANGLE] = cast(Signed, self.method.step).angle
        reals[k.FTARGET] = self.run.ftarget
        reals[k.LOWEST], reals[k.STALLED_F] = math.inf, math.nan
        reals[k.STALLED_GMAX] = math.nan
        reals[k.NOISE] = product_error(EPS, "")
        return w


class Run:
    """The compiled loop at work on one run; the solver decides what that hands back."""

    def __init__(self, solver: Solver, setting: Setting) -> None:
        self.solver, self.setting, self.target = solver, setting, setting.target
        self._slice = 1  # evaluations that are made at a time: as many as fit into SLICE
        self._iterate: Iterate | None = None  # what the workspace holds, as it was written out
        self._work = k.IDLE

    def step(self, state: State, iterations: int = 1) -> State:
        """Go on for as many iterations; sets ``state.status`` when the run is over."""
        solver = self.solver
        solver.outcome, solver.step_norm = None, math.nan
        try:
            if self._iterate is None or self._iterate is not state.iterate:
                self._load(state)
            self._work.ints[k.PAUSE_AT] = min(state.k + iterations, ENDLESS)
            try:
                task = self._drive()
            finally:
                raised = self._write(state)
            self._say(task)
            if task != k.PAUSE:
                certificate = self._checked(task)
                self.finish(state)
                if task == k.RAISED:
                    solver.objective.at(raised)  # raises what it has raised
                    return solver.step(state)
                if certificate is not None:
                    solver.settle(state, certificate)
                else:
                    solver.conclude(state, task == k.STALLS)
                    solver.check_stop(state)
        except BudgetExhausted as error:
            self.finish(state)
            solver.exhausted(state, error)
        solver.complete(state)
        return state

    def finish(self, state: State) -> None:
        """Write the memory of the run back into its state."""
        if self._iterate is not None:
            self.setting.adapter.save(state.memory, self._work)
            reals = self._work.reals
            search = cast(SearchLength, state.globalize)
            search.length, search.lowest = float(reals[k.LAST_LENGTH]), float(reals[k.LOWEST])
            self._iterate, self._work = None, k.IDLE  # what follows may need the memory

    def _drive(self) -> int:
        """Evaluate until the loop has something to say, a slice of time after another."""
        solve, objective, head = KERNEL.compile(), self.solver.objective, self.target.head
        task = k.SPENT
        while task == k.SPENT:
            begun, values, gradients = time.perf_counter(), int(head[VALUES]), int(head[GRADIENTS])
            limit = values + min(self._slice, objective.allowance())
            task = int(solve(0, 1, self.target.address, head, self._work, k.NO_BATCH, limit))
            made = int(head[VALUES]) - values
            objective.spend(made, int(head[GRADIENTS]) - gradients)
            # From one evaluation to as many as fit, carefully: the first may be a fast one.
            elapsed = max(time.perf_counter() - begun, 1e-9)
            self._slice = max(min(int(made * SLICE / elapsed), 64 * self._slice), 1)
        head[STATUS] = OK
        return task

    def _say(self, task: int) -> None:
        """Hand the solver the facts of the last iteration."""
        ints, reals, solver = self._work.ints, self._work.reals, self.solver
        accepted, valid, trials = bool(ints[k.ACCEPTED]), bool(ints[k.FINITE]), int(ints[k.TRIALS])
        stuck = task in (k.SEARCH_FAILED, k.NOT_MOVED)
        outcome = Outcome(accepted=accepted, valid=valid, stuck=stuck, trials=trials)
        solver.outcome = outcome
        search = cast(WolfeSearch, solver.method.globalize)
        outcome.endless = task == k.NO_END
        if task == k.SEARCH_FAILED:
            f = float(self._work.figures[int(ints[k.TRIAL]), k.F])
            outcome.endless = not valid and f == -math.inf
            outcome.reason = search.no_decrease(outcome.trials)
        elif task == k.NOT_MOVED:
            outcome.reason = search.NOT_MOVED
        if outcome.accepted:
            outcome.step_size = float(reals[k.STEP_SIZE])
        if outcome.valid and task != k.SEARCH_FAILED:
            solver.step_norm = float(reals[k.STEP_NORM])

    def _checked(self, task: int) -> Certificate | None:
        """Return what the second-order check has found, None where the solver has to make it."""
        if task != k.CERTAIN:
            return None
        lowest = float(self._work.reals[k.SMALLEST])
        return Certificate("positive", lowest, products=self.setting.check)

    def _load(self, state: State) -> None:
        solver, objective = self.solver, self.solver.objective
        assert solver.limits is not None
        limits = solver.limits
        self._work = w = self.setting.work(state.memory)
        ints, reals = w.ints, w.reals
        self._put(0, state.iterate)
        if objective.best is not None and objective.best is not state.iterate:
            self._put(1, objective.best)
            ints[k.BEST] = 1
        # N.B. figures of the start are formed as a batch forms them, to the last bit.
        ints[k.PHASE] = k.START if state.k == 0 else k.ARRIVED
        reals[k.F_START] = limits.f0
        ints[k.K], ints[k.MAXITER] = state.k, min(limits.maxiter, ENDLESS)
        ints[k.STALLED], ints[k.RESETS] = state.stalled, state.resets
        reals[k.STALLED_F], reals[k.STALLED_GMAX] = state.stalled_f, state.stalled_gmax
        reals[k.GTOL], reals[k.BOTTOM] = limits.gtol, limits.unbounded_below
        search = cast(SearchLength, state.globalize)
        reals[k.LAST_LENGTH], reals[k.LOWEST] = search.length, search.lowest
        objective.forget_start()
        objective.best = state.best = state.iterate = self._iterate = HELD

    def _put(self, place: int, point: Iterate) -> None:
        w = self._work
        w.vectors[2 * place], w.vectors[2 * place + 1] = point.x, point.g
        known = math.isfinite(point.xnorm)
        xnorm = point.xnorm if known else float(np.linalg.norm(point.x))
        size = point.gnorm if w.ints[k.EUCLIDEAN] else point.gmax
        w.figures[place] = point.f, point.gnorm, point.gmax, xnorm, size, 0.0

    def _get(self, place: int) -> Iterate:
        w = self._work
        f, gnorm, gmax, xnorm, *_ = w.figures[place].tolist()
        x, g = w.vectors[2 * place].copy(), w.vectors[2 * place + 1].copy()
        return Iterate(x, f, g, gnorm, gmax, xnorm)

    def _write(self, state: State) -> FloatArray:
        """Write out the points and the counts, to which the memory follows; return the trial x.

        Of half an iteration nothing is left: the iterate is that before it.
        """
        ints, reals, objective = self._work.ints, self._work.reals, self.solver.objective
        here, lowest, trial = int(ints[k.ITERATE]), int(ints[k.BEST]), int(ints[k.TRIAL])
        state.iterate = self._iterate = self._get(here)
        objective.best = state.iterate if lowest == here else self._get(lowest)
        state.best = objective.best
        state.k = int(ints[k.K])
        state.stalled, state.resets = int(ints[k.STALLED]), int(ints[k.RESETS])
        state.stalled_f = float(reals[k.STALLED_F])
        state.stalled_gmax = float(reals[k.STALLED_GMAX])
        counters = state.counters
        for name, place in (
            ("n_rejected", k.REJECTED),
            ("n_nonfinite", k.NONFINITE),
            ("n_skipped", k.SKIPPED),
            ("n_negative_steps", k.NEGATIVE),
        ):
            setattr(counters, name, getattr(counters, name) + int(ints[place]))
            ints[place] = 0
        return np.array(self._work.vectors[2 * trial])
