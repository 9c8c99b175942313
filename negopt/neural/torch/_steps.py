"""A closure of a training loop as an objective, and a run that continues from batch to batch."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable

import torch

from negopt.core.messages import Words
from negopt.core.options import RunOptions
from negopt.core.types import BudgetExhausted, Iterate, State, Status
from negopt.functions.objective import Objective
from negopt.methods import Method
from negopt.neural._switch import forget_values
from negopt.neural.torch._frozen import Buffers, RandomNumbers
from negopt.neural.torch._vector import Parameters
from negopt.solver.loop import Solver

#: The names of the options in messages, and how to resume.
WORDS = Words(
    {"maxiter": "max_iter", "maxfun": "max_eval", "gtol": "tolerance_grad"}, ", or call step again"
)


class Closure:
    """The closure as a function of the flat vector, the same function at each call.

    Each call begins from the present states of `random`, and leaves `buffers` as they are;
    `accept` advances them.
    """

    def __init__(
        self,
        closure: Callable[[], float | torch.Tensor],
        parameters: Parameters,
        random: RandomNumbers,
        buffers: Buffers | None,
    ) -> None:
        self._closure, self._parameters = closure, parameters
        self._random, self._states = random, random.states()
        self._buffers = buffers
        self._trials: list[tuple[float | torch.Tensor, list[torch.Tensor]]] = []
        self.first: float | torch.Tensor | None = None  #: what the first call returned

    def __call__(self, x: torch.Tensor) -> tuple[float | torch.Tensor, torch.Tensor]:
        """Return the loss and the gradient at `x`, shape (n,)."""
        self._parameters.write(x)
        self._random.restore(self._states)
        none: list[torch.Tensor] = []
        trial = contextlib.nullcontext(none) if self._buffers is None else self._buffers.trial()
        with torch.enable_grad(), trial as after:
            loss = self._closure()
        if loss is None:
            raise ValueError("the closure returned None; it must return the loss.")
        if self.first is None:
            self.first = loss
        value = loss.detach() if isinstance(loss, torch.Tensor) else float(loss)
        if self._buffers is not None:
            self._trials.append((value, after))
        return value, self._parameters.gradients()

    def accept(self, point: Iterate | None) -> None:
        """Advance the buffers by the pass at `point`, and forget all other trials."""
        if self._buffers is not None and point is not None:
            for value, after in reversed(self._trials):
                if float(value) == point.f:
                    self._buffers.commit(after)
                    break
        self._trials.clear()


def advance(
    closure: Closure,
    x: torch.Tensor,
    state: State | None,
    method: Method,
    run: RunOptions,
    change: float,
) -> tuple[State, BaseException | None]:
    """Continue from `state`, that of the step before, with the closure's function at `x`.

    The budgets of `run` are those of this call, which also stops when a step, or the change of f,
    is no larger than `change`.  Returns the state, changed in place, whose ``iterate`` is where
    the parameters belong; and what the closure has raised, with the state before the iteration.
    """
    objective = Objective(
        closure,  # value and gradient together: every gradient, of a difference too, counts
        x,
        jac=True,
        maxfun=math.inf if run.maxfun is None else float(run.maxfun),
        maxtime=math.inf if run.maxtime is None else float(run.maxtime),
        words=WORDS,
    )
    solver = Solver(method, objective, run)
    try:
        start = objective.at(objective.x0)
    except BudgetExhausted as exhausted:
        raise ValueError(exhausted.message) from None
    if not start.finite:
        raise ValueError(
            f"the closure gives f = {start.f} and max|g| = {start.gmax} at the start of this step: "
            "both must be finite; look at the batch and at the parameters."
        )
    state = solver.init(start) if state is None else _resumed(solver, state, start)
    closure.accept(None)  # the pass at the start is that of the last accepted point
    error = None
    while state.status is None:
        here = state.iterate
        before = copy.copy(state.globalize), copy.copy(state.memory)
        try:
            solver.step(state)
        except BaseException as raised:  # noqa: BLE001 - raised again by the optimizer
            state.globalize, state.memory = before
            error = raised
            break
        closure.accept(state.iterate if state.iterate is not here else None)
        if state.iterate is not here and state.status is None:
            if solver.step_norm <= change or abs(state.iterate.f - here.f) < change:
                state.status = Status.CONVERGED
                state.message = (
                    f"The step or the change of f is within tolerance_change = {change:g}."
                )
    lowest = solver.finish(state)
    if error is None and _descends(method):
        state.iterate = lowest  # below the iterate where a search was cut, or passed a lower one
    return state, error


def _resumed(solver: Solver, state: State, start: Iterate) -> State:
    """Return `state` continued at `start`, where the parameters are.

    Unless the values are those of the last iterate it is another function (another batch):
    the curvature pairs and the radius or step length stay, values of f are forgotten.
    """
    state.counters.nfev += solver.objective.counters.nfev
    state.counters.njev += solver.objective.counters.njev
    if start.f != state.iterate.f or start.gnorm != state.iterate.gnorm:
        state.f0, state.stalled, state.resets = start.f, 0, 0
        state.stalled_f, state.stalled_gmax, state.straight = math.nan, math.nan, 0
        if state.status is not Status.LIMIT:  # the other function's last steps were tiny
            state.globalize = solver.method.globalize.init(start)
        forget_values(state.globalize)
        forget_values(state.memory)
    state.iterate = state.best = start
    return solver.resume(state)


def _descends(method: Method) -> bool:
    """Tell whether the method accepts no point above the last one by more than rounding."""
    return not method.baseline and getattr(method.globalize, "reject", True) is not False
