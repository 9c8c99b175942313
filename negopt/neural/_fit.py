"""The training loop: which loss the next step is taken on, and what is recorded of it.

The steps are those of `negopt.solver.loop.Solver`.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field

from negopt.core.arrays import Array, copy_of
from negopt.core.types import BudgetExhausted, Iterate, State, Status
from negopt.diagnostics.derivatives import ObjectiveLike
from negopt.functions.objective import Objective
from negopt.globalize.fixed import DIVERGED
from negopt.neural import _fit_state
from negopt.neural._batches import Feed
from negopt.neural._fit_progress import Measures, Watch
from negopt.neural._fit_state import STEP_FIELDS, FitState
from negopt.neural._switch import FINAL, switch_batch
from negopt.neural._text import PathLike
from negopt.solver.loop import Solver
from negopt.solver.report import Heading, row
from negopt.solver.stopping import precision_message


@dataclass(eq=False)
class Training:
    """A run of `negopt.neural.fit`."""

    solver: Solver
    objective: ObjectiveLike  #: over all data
    fit: FitState
    feed: Feed | None  #: None takes every step on all data: that is `minimize`
    epochs: float  #: after which a run on batches ends
    patience: int | None
    measures: Measures
    path: PathLike | None  #: file that the run is saved in ...
    every: int | None  #: ... every so many steps, by default each epoch
    watches: list[Watch] = field(default_factory=list)
    latest: dict[str, float] = field(default_factory=dict)  #: figures of the last epoch

    def __post_init__(self) -> None:
        method = self.solver.method
        compares = getattr(method.globalize, "compares", True)
        self._secant = getattr(method.curvature, "secant", True)
        #: No two values on one batch are compared: the trial of a step may be the first point
        #: on the next batch, and a step costs one gradient, as in any first-order loop.
        self._ahead = self.feed is not None and not compares and not self._secant
        self._pair_gradients = 0
        self._heading: Heading | None = None  # of the present step

    @property
    def state(self) -> State:
        """The solver's state."""
        return self.fit.solver

    def run(self) -> None:
        """Take steps until a status is set."""
        state, fit = self.state, self.fit
        if self.feed is not None:
            self._clear_status(state)
        if not fit.steps["nit"]:
            self._record(math.nan)
        self._check_end()
        if state.status is None:
            self.save()  # before any work: a run that cannot be saved should not begin
        while state.status is None:
            before = fit.epoch, fit.batch
            if self.feed is None:
                self._step_on_all()
            else:
                self._step_on_batch(self.feed)
            if (fit.epoch, fit.batch) == before:  # a budget ended the run before the step was done
                break
            due = fit.epoch != before[0] if self.every is None else state.k % self.every == 0
            if due and state.status is None:
                self.save()
        self.save()

    # --- steps ---------------------------------------------------------------------------

    def _step_on_all(self) -> None:
        state, solver = self.state, self.solver
        begin, work, before = state.iterate, self._work(), state.k
        self._heading = Heading(state)
        solver.step(state)
        if state.k > before:
            self._count(work, 1.0, 1.0)
            self._done(begin.f, begin.gmax, 1.0, self.objective)
            self._end_epoch()

    def _step_on_batch(self, feed: Feed) -> None:
        state, fit, solver, plan = self.state, self.fit, self.solver, feed.plan
        place = [fit.epoch, fit.batch]
        batch = feed.batch(*(self._following(feed) if self._ahead else place))
        before, work = state.k, self._work()
        try:
            if self._ahead:
                switch_batch(solver, state, batch, evaluate=False)
            elif fit.at != place:
                switch_batch(solver, state, batch)
                fit.at = place
        except BudgetExhausted as error:
            solver.exhausted(state, error)
            return
        figures = state.iterate.f, state.iterate.gmax
        if state.iterate.finite and state.iterate.gmax > 0.0:
            self._share_pairs(feed, place)
            self._heading = Heading(state)
            solver.step(state)
            if state.k == before:
                return
            self._clear_status(state)
            self._check_divergence(state)
        else:
            # The loss of this batch is not defined here, or flat: there is no step to take.
            solver.outcome, solver.step_norm = None, math.nan
        if self._ahead:
            fit.at = self._following(feed)
        self._count(work, batch.size / plan.samples, batch.products_size / plan.samples)
        state.counters.njev += self._pair_gradients  # of fewer samples: passes has their share
        self._pair_gradients = 0
        self._done(*figures, plan.batch(*place).size, batch)
        fit.batch += 1
        if fit.batch == plan.count:
            self._end_epoch()

    def _following(self, feed: Feed) -> list[int]:
        """Return the batch after the present one."""
        fit = self.fit
        last = fit.batch + 1 == feed.plan.count
        return [fit.epoch + 1, 0] if last else [fit.epoch, fit.batch + 1]

    def _share_pairs(self, feed: Feed, place: list[int]) -> None:
        """Have the pair of the coming step formed on the samples that two batches share."""
        shared = feed.overlap(*place) if self._secant else None
        if shared is None:
            self.solver.difference = None
            return
        objective = Objective(shared, self.state.iterate.x)

        def difference(here: Iterate, trial: Iterate) -> Array:
            first, second = objective.gradient(here.x), objective.gradient(trial.x)
            self._pair_gradients += 2
            self.fit.passes += 2.0 * shared.size / feed.plan.samples
            return second - first

        self.solver.difference = difference

    def _clear_status(self, state: State) -> None:
        """Clear a status that is about one batch only."""
        if state.status is not None and state.status not in FINAL:
            state.status, state.message = None, ""

    def _check_divergence(self, state: State) -> None:
        """End a run whose loss has grown beyond all bounds."""
        if state.status is None and state.iterate.f > DIVERGED * max(1.0, abs(state.f0)):
            state.status = Status.NONFINITE
            state.message = (
                f"The run diverged, the loss from {state.f0:.3g} to {state.iterate.f:.3g}: steps "
                "that are not compared with the loss need a smaller learning_rate."
            )

    def _work(self) -> tuple[int, int]:
        """Return evaluations and products so far."""
        counters = self.state.counters
        return max(counters.nfev, counters.njev), counters.nhev

    def _count(self, since: tuple[int, int], share: float, share_of_products: float) -> None:
        """Add the work since then, on shares of the samples, to the passes."""
        values, products = (a - b for a, b in zip(self._work(), since, strict=True))
        self.fit.passes += values * share + 2.0 * products * share_of_products

    # --- the record --------------------------------------------------------------------------

    def _done(self, loss: float, gmax: float, size: float, objective: object) -> None:
        """Record a step that began at the value `loss`, with the largest derivative `gmax`."""
        fit, outcome = self.fit, self.solver.outcome
        fit.viable += outcome is not None and not outcome.stuck
        if outcome is not None and outcome.accepted:
            fit.accepted += 1
            if hasattr(objective, "commit"):
                objective.commit(self.state.iterate.x)
        if math.isfinite(loss):
            fit.loss += size * loss
            fit.gradient += size * gmax
            fit.weight += size
        self._record(loss)
        for watch in self.watches:
            watch.step(self)

    def _record(self, loss: float) -> None:
        fit, solver = self.fit, self.solver
        cosine = self._heading.cosine(self.state, solver.outcome) if self._heading else math.nan
        figures = row(self.state, solver.outcome, solver.step_norm, cosine)
        figures |= {"loss": loss, "epoch": fit.epoch + 1, "passes": fit.passes}
        for name in STEP_FIELDS:
            fit.steps[name].append(float(figures[name]))

    def _end_epoch(self) -> None:
        fit, state = self.fit, self.state
        weight = fit.weight or math.nan
        figures = {name: column[-1] for name, column in fit.steps.items()}
        figures |= {"loss": fit.loss / weight, "grad_norm": fit.gradient / weight}
        figures |= {"accepted": float(fit.accepted), "validation_loss": math.nan}
        figures |= self.measures(state.iterate.x)
        self.latest = {name: figures[name] for name in fit.epochs}
        for name, value in self.latest.items():
            fit.epochs[name].append(value)
        stuck = fit.viable == 0  # a rejected step may only have been too long
        fit.epoch, fit.batch = fit.epoch + 1, 0
        fit.loss = fit.gradient = fit.weight = 0.0
        fit.accepted = fit.viable = 0
        self._keep_best(self.latest["validation_loss"])
        if self.feed is not None and state.status is None and stuck:
            self._give_up()
        self._check_end()
        for watch in self.watches:
            watch.epoch(self)

    def _keep_best(self, loss: float) -> None:
        """Keep the parameters if they are the best on the validation data."""
        fit = self.fit
        if loss < fit.best_loss:
            fit.best_x = copy_of(self.state.iterate.x)
            fit.best_loss, fit.best_epoch, fit.waited = loss, fit.epoch, 0
            if hasattr(self.objective, "buffers"):  # the loss was measured with these
                fit.best_buffers = copy.deepcopy(self.objective.buffers())
        else:
            fit.waited += 1

    def _check_end(self) -> None:
        """End the run after its epochs, or when the validation loss no longer falls."""
        fit, state = self.fit, self.state
        if state.status is not None:
            return
        if self.patience is not None and fit.waited >= self.patience:
            state.status = Status.EARLY
            state.message = (
                f"The validation loss has not fallen for {fit.waited} epochs (patience = "
                f"{self.patience}); its lowest, {fit.best_loss:.6g}, is of epoch {fit.best_epoch}, "
                "whose parameters are returned."
            )
            if fit.best_x is None:
                state.message = (
                    f"The validation loss was not finite in any of {fit.epoch} epochs (patience = "
                    f"{self.patience}): look at the validation data."
                )
        elif self.feed is not None and fit.epoch >= self.epochs:
            state.status = Status.EPOCHS
            state.message = f"All {fit.epoch} epochs have been run."

    def _give_up(self) -> None:
        state, outcome = self.state, self.solver.outcome
        reason = f": {outcome.reason}" if outcome is not None and outcome.reason else ""
        if not state.iterate.finite:
            state.status = Status.NONFINITE
            state.message = f"The loss was not finite on any batch of epoch {self.fit.epoch}."
            return
        assert self.solver.limits is not None
        state.status = Status.PRECISION
        state.message = precision_message(
            state.iterate,
            self.solver.limits,
            f"no step could be made on any batch of epoch {self.fit.epoch}{reason}",
        )

    def save(self) -> None:
        """Write the run to its file, where it has one."""
        if self.path is None:
            return
        if hasattr(self.objective, "buffers"):
            self.fit.buffers = self.objective.buffers()
        _fit_state.save(self.path, self.fit, self.solver.draws)
