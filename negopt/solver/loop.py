"""The only loop body: one step of any method, and what a stationary point leads to."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from negopt.algebra.roots import DenseRoot
from negopt.core.arrays import Array, all_finite, dot, scalars
from negopt.core.options import RunOptions
from negopt.core.protocols import Model, Root, Rooted
from negopt.core.randomness import Draws
from negopt.core.types import (
    BudgetExhausted,
    Certificate,
    Iterate,
    NoSecondDerivatives,
    Outcome,
    State,
    Status,
)
from negopt.decisions.endings import STALL, is_better_end
from negopt.functions.objective import Objective
from negopt.globalize.ratio import rounding_of
from negopt.methods import Method
from negopt.solver import resolution, stopping
from negopt.solver.progress import endless, is_extreme, is_ours, stalls, stuck, watch
from negopt.solver.second_order import Finding, certify, escape, finding, no_way_down

#: Hessian products of a check, and more where they are less than a tenth of the run's gradients.
PRODUCTS = 20
#: Variables up to which the check decomposes the Hessian that the user gives.
DENSE = 300


class Solver:
    """Runs one method on one objective, a step at a time.

    Parameters
    ----------
    method : Method
        With its options already handed to its rules.
    objective : Objective
    run : RunOptions
    limits : stopping.Limits or None
        Set by `init` or `resume`.
    """

    def __init__(self, method: Method, objective: Objective, run: RunOptions) -> None:
        self.method = method
        self.objective = objective
        self.run = run
        self.draws = Draws(run.rng)
        self.limits: stopping.Limits | None = None
        self.outcome: Outcome | None = None
        self.step_norm = math.nan
        #: Tells a curvature rule that asks for it of a step whose pair says nothing.
        self._failed = getattr(method.curvature, "failed", None)
        #: A rule whose steps need not descend says how many trials it may be left alone.
        self.patience = int(getattr(method.globalize, "patience", STALL))
        #: Gives the y of a pair where that is not the change of g (overlapping batches).
        self.difference: Callable[[Iterate, Iterate], Array] | None = None
        self._operator: Model | None = None
        self._clock = time.monotonic()

    def init(self, start: Iterate | None = None) -> State:
        """Return the first state, at `start`, by default what `evaluate_start` returns."""
        start = self.evaluate_start() if start is None else start
        state = State(
            method=self.method.name,
            iterate=start,
            best=start,
            memory=self.method.curvature.init(start.x),
            globalize=self.method.globalize.init(start),
            counters=self.objective.counters,
        )
        state.f0, state.measure0 = start.f, stopping.gradient_measure(start, self.run.norm)
        state.stalled_f, state.stalled_gmax = start.f, start.gmax
        resolution.go_on(self.objective, state)
        self.limits = stopping.limits_of(self.run, state, self.objective.words)
        self.check_stop(state)
        return state

    def evaluate_start(self) -> Iterate:
        """Return f and g at x0, or raise ValueError where these are not finite."""
        objective = self.objective
        try:
            start = objective.at(objective.x0)
        except BudgetExhausted as error:
            reason = error.message.partition("; raise")[0]
            raise ValueError(
                f"the budget does not allow one evaluation at x0: {reason}; raise it."
            ) from None
        if not math.isfinite(start.f):
            raise ValueError(
                f"fun(x0) = {start.f}: f must be finite at x0; choose another starting point."
            )
        if not start.finite:
            raise ValueError(
                f"the gradient at x0 from {objective.gradient_source} is not finite "
                f"(max|g| = {start.gmax}); check jac, or choose another starting point."
            )
        return start

    def resume(self, state: State) -> State:
        """Go on from `state`, which is already a copy of the caller's."""
        self.objective.counters = state.counters
        self.objective.best = state.best
        resolution.go_on(self.objective, state)
        if state.rng_state:  # a generator of its own: the caller's is left as it is
            self.draws.go_back(state.rng_state)
        before = state.status, state.message
        state.status, state.message = None, ""
        self._elapsed_before = state.elapsed
        limits = self.limits = stopping.limits_of(self.run, state, self.objective.words)
        verdict = stopping.verdict_on(self.objective, state, limits)
        done = before[0] is Status.CONVERGED and verdict and verdict[0] is Status.CONVERGED
        if done and (state.certificate.status != "not checked" or not self.run.certify):
            state.status, state.message = before  # checked already, nothing to add
        else:
            self.check_stop(state, resumed=True)
        return state

    _elapsed_before = 0.0

    def _size(self, iterate: Iterate) -> float:
        return stopping.size_of(self.objective, iterate, self.run.norm)

    # --- one step --------------------------------------------------------------------

    def step(self, state: State) -> State:
        """Take one iteration; sets ``state.status`` when the run is over."""
        if is_extreme(state.iterate):  # what overflows is refused wherever it is used
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                return self._step(state)
        return self._step(state)

    def _step(self, state: State) -> State:
        self.outcome, self.step_norm, k = None, math.nan, state.k
        try:
            try:
                self._advance(state)
                if state.status is None:
                    self.check_stop(state)
            except (ArithmeticError, ValueError, RuntimeError) as error:
                if not is_ours(error):
                    raise
                state.k = k + 1
                self.outcome = Outcome(stuck=True, reason=f"the model broke down ({error})")
                stuck(self, state, self.outcome)
                if state.status is None:
                    self.check_stop(state)
        except BudgetExhausted as error:
            # No part has written its state before its last evaluation, so that half an
            # iteration counts for nothing: resuming begins it again.
            self.exhausted(state, error)
        except NoSecondDerivatives as error:
            if state.k == 0:  # there is no run to lose
                if isinstance(error.__cause__, self.run.catch):
                    raise error.__cause__ from None
                raise
            state.status = Status.PRECISION
            state.message = f"The run needs second derivatives: {str(error).rstrip('.')}."
        self.complete(state)
        return state

    def exhausted(self, state: State, error: BudgetExhausted) -> None:
        """End the run: a budget forbids the next evaluation."""
        state.status = Status.LIMIT
        state.message = f"{error.message}."

    def complete(self, state: State) -> None:
        """Bring up to date what a state keeps of every iteration."""
        state.best = self.objective.best or state.best
        state.elapsed = self._elapsed_before + time.monotonic() - self._clock

    def _advance(self, state: State) -> None:
        method, objective, here = self.method, self.objective, state.iterate
        taken = objective.differences
        if taken is not None:
            taken.prepare(here)
        operator = self._operator = method.curvature.model(state.memory, objective, here)
        outcome = self.outcome = method.globalize.advance(
            state.globalize, objective, here, operator, method.step
        )
        state.k += 1
        counters, trial, accepted = state.counters, outcome.trial, outcome.accepted
        if outcome.trials > 1 or not accepted:
            counters.n_rejected += max(outcome.trials - int(accepted), 0)
        if outcome.valid and trial is not None and outcome.s is not None:
            self.step_norm = outcome.step_norm
            # A difference of gradients may be beyond the numbers that they are.
            most = math.inf if self.limits is None else self.limits.most
            telling = outcome.informative and trial.finite and here.gmax + trial.gmax <= most
            s = outcome.s
            if telling and (taken is None or resolution.learnt(taken, here, trial, s, outcome)):
                if self.difference is None:
                    self._learn(state, s, trial.g - here.g, outcome, accepted=accepted)
                else:  # a y of another kind: nothing that was measured belongs to it
                    y, told = self.difference(here, trial), replace(outcome, trial=None)
                    self._learn(state, s, y, told, accepted=accepted)
            elif self._failed is not None:
                self._failed(state.memory, outcome)
        elif self._failed is not None:
            self._failed(state.memory, outcome)
        if accepted and trial is not None:
            state.iterate = trial
            state.resets = 0
            if outcome.step_size < 0.0:
                counters.n_negative_steps += 1
            watch(self, state, outcome, trial)
            if taken is not None:
                resolution.followed(objective, state, here, outcome)
        elif outcome.stuck:
            stuck(self, state, outcome)
        else:
            watch(self, state, outcome, None)

    def go_to(self, state: State, point: Iterate) -> None:
        """Go to a lower point that no step of the method has led to."""
        s = point.x - state.iterate.x
        self._learn(state, s, point.g - state.iterate.g, accepted=True)
        distance = math.sqrt(scalars(dot(s, s))[0])
        self.method.globalize.escaped(state.globalize, point, distance)
        state.iterate = point

    def conclude(self, state: State, stalled: bool) -> None:
        """Decide what an iteration made elsewhere, with `outcome`, leads to."""
        if self.outcome is not None and self.outcome.stuck:
            stuck(self, state, self.outcome)
        elif self.outcome is not None and self.outcome.endless:
            endless(self, state)
        elif stalled:
            stalls(self, state)

    def _learn(
        self, state: State, s: Array, y: Array, outcome: Outcome | None = None, *, accepted: bool
    ) -> None:
        if not self.method.curvature.update(state.memory, s, y, outcome):
            state.counters.n_skipped += 1
        if accepted:
            self.objective.learn(s, y)

    # --- the end, and what looks like it ----------------------------------------------

    def check_stop(self, state: State, *, limited: bool = True, resumed: bool = False) -> None:
        """End the run where a test holds, that of `maxiter` where the run is `limited`.

        Where it is `resumed` the lowest point may be of half an escape, which is begun again.
        """
        assert self.limits is not None
        if state.status is not None:
            return
        best = self.objective.best or state.iterate
        if best is not state.iterate and not resumed and best.gmax <= self.limits.gtol:
            if is_better_end(best.f, self._size(best), state.iterate.f, self.limits.gtol):
                state.iterate = best  # a trial that was not accepted, and there is no better end
        if self.objective.differences is not None:
            resolution.resolve(self.objective, state, self.limits.gtol)
        verdict = stopping.verdict_on(
            self.objective, state, self.limits, self.outcome, limited=limited
        )
        if verdict is None or state.status is not None:
            return
        state.status, state.message = verdict
        if state.status is not Status.CONVERGED:
            return
        if self._size(state.iterate) <= self.limits.gtol:
            self._second_order(state)
        else:
            state.certificate = Certificate()
            state.message += "; the curvature was not checked (the gradient is not small)."

    def settle(self, state: State, certificate: Certificate) -> None:
        """End the run at a minimum whose curvature was checked elsewhere."""
        assert self.limits is not None
        state.certificate = certificate
        if self.outcome is not None:
            self.outcome.min_curvature = certificate.min_curvature
        verdict = stopping.verdict_on(self.objective, state, self.limits)
        assert verdict is not None
        state.status, state.message = verdict
        if state.status is Status.CONVERGED:
            state.message += finding(certificate)

    def _second_order(self, state: State) -> None:
        """Check the curvature; leave a saddle downhill or say that it is one."""
        run = self.run
        state.certificate = Certificate()
        if not run.certify or run.certify_products == 0:
            state.message += "; the curvature was not checked (certify=False)."
            return
        # Where n is large the check needs the room.
        self.objective.forget_start()
        state.best = self.objective.best or state.best
        if self.outcome is not None:
            self.outcome.start = self.outcome.step = self.outcome.s = None
        drawn = self.draws.state
        try:
            found = self._look(state)
        except BudgetExhausted as error:  # half a check counts for nothing: resuming begins it
            self.draws.go_back(drawn)
            state.message += f"; the curvature was not checked: {error.message}."
            return
        state.certificate = certificate = found.certificate
        if self.outcome is not None:
            self.outcome.min_curvature = certificate.min_curvature
        try:
            # A flat point may be a plateau, or a degenerate saddle; a zero mode has either sign.
            flat = certificate.status == "flat" and (state.k == 0 or certificate.min_curvature < 0)
            if (flat or certificate.status == "negative") and self._leave(state, found):
                return  # the verdict, if there is one already, is about the lower point
        except BudgetExhausted as error:
            self.draws.go_back(drawn)
            place = f"Stationary point with {certificate.status} curvature"
            state.status, state.message = Status.LIMIT, f"{place}, and {error.message}."
            return
        if state.status is Status.CONVERGED:
            state.message += finding(certificate)

    def _look(self, state: State) -> Finding:
        """Make the check; what fails in it loses no run, and no point of it becomes the result."""
        objective, here = self.objective, state.iterate
        best = objective.best
        limit = self.run.certify_products
        if limit is None:
            limit = max(PRODUCTS, state.counters.njev // 10)
        try:
            return certify(objective, here, self.draws, limit, self._root(state), state.f0)
        except NoSecondDerivatives as error:
            return Finding(Certificate("unknown", reason=str(error).rstrip(".")))
        except Exception as error:
            if state.k == 0:  # there is no run yet to lose
                raise
            return Finding(Certificate("unknown", reason=f"{type(error).__name__}: {error}"))
        finally:
            objective.best = best

    def _root(self, state: State) -> Root | None:
        """Return the root of the Hessian here where `hess` gives it, else of the run's model."""
        objective, here, operator = self.objective, state.iterate, self._operator
        if objective.product_source == "hess" and objective.n <= DENSE:
            matrix = objective.hessian(here)
            return DenseRoot(matrix, inverse=False) if all_finite(matrix) else None
        if (
            operator is None
            and self.outcome is None
            and (state.k == 0 or self.method.needs != "jac")
        ):
            return None  # at x0, or resumed where the model was not in the memory
        if operator is None or operator.learns:  # the last step's pair is in the memory by now
            operator = self.method.curvature.model(state.memory, objective, here)
        return operator.root(here.x) if isinstance(operator, Rooted) else None

    def _leave(self, state: State, found: Finding) -> bool:
        """Step off a saddle; return False, with the status set, when there is no way down."""
        run, here, certificate = self.run, state.iterate, found.certificate
        known, lower, failed = self.objective.best, None, ""
        if state.counters.n_escapes < run.max_escapes:
            try:
                lower = escape(self.objective, here, found)
            except BudgetExhausted:
                best = self.objective.best or here
                below = best is not known and best.f < here.f - rounding_of(here)
                if below or certificate.status == "negative":
                    raise
            except Exception as error:
                if state.k == 0:
                    raise
                failed = f" The search for one raised {type(error).__name__}: {error}."
        if lower is None:
            self.objective.best = known
            if certificate.status == "negative":
                state.status = Status.SADDLE
                tried = state.counters.n_escapes, run.max_escapes
                state.message = no_way_down(certificate, *tried) + failed
            return False
        self.go_to(state, lower)
        state.counters.n_escapes += 1
        state.certificate = Certificate()  # that was about the saddle
        state.status, state.message = None, ""
        self.check_stop(state)  # the lower point may end the run by itself
        return True

    def finish(self, state: State) -> Iterate:
        """Return the point to report and complete the state."""
        best = self.objective.best or state.iterate
        state.best = best
        state.rng_state = self.draws.state
        # A verdict is about the iterate: a value lower by rounding alone does not replace it.
        return state.iterate if state.status in (Status.CONVERGED, Status.SADDLE) else best
