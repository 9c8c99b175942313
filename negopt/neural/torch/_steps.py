"""A closure of a training loop as an objective, and a run that goes on from batch to batch."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable
from typing import Any

import torch

from negopt._objective import Objective
from negopt._options import RunOptions
from negopt._solver import Solver
from negopt._types import BudgetExhausted, Iterate, State, Status
from negopt._words import Words
from negopt.methods import Method
from negopt.neural._switch import forget_values
from negopt.neural.torch._frozen import Buffers, RandomNumbers
from negopt.neural.torch._vector import Parameters

__all__ = ["Closure", "advance"]

#: What messages call the options, and how a run goes on.
WORDS = Words(
    {"maxiter": "max_iter", "maxfun": "max_eval", "gtol": "tolerance_grad"}, ", or call step again"
)


class Closure:
    """The closure as a function of the flat vector, the same function at each call.

    Parameters
    ----------
    closure : callable
        Zeroes the gradients, computes the loss, goes backward, and returns the loss.
    parameters : Parameters
    random : RandomNumbers
        Each call begins from their states as they are now.
    buffers : Buffers or None
        Left as they are by each call; `accept` advances them.

    Attributes
    ----------
    first : object
        What the closure returned at the first call; None before.
    """

    def __init__(
        self,
        closure: Callable[[], Any],
        parameters: Parameters,
        random: RandomNumbers,
        buffers: Buffers | None,
    ) -> None:
        self._closure, self._parameters = closure, parameters
        self._random, self._states = random, random.states()
        self._buffers = buffers
        self._trials: list[tuple[Any, list[torch.Tensor]]] = []
        self.first: Any = None

    def __call__(self, x: torch.Tensor) -> tuple[Any, torch.Tensor]:
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
    """Go on from `state` with the closure's function, from `x`.

    Parameters
    ----------
    closure : Closure
    x : tensor, shape (n,)
        Where the parameters are.
    state : State or None
        Of the step before, with the memory of curvature; changed in place.
    method : Method
    run : RunOptions
        Its budgets are those of this call.
    change : float
        Stop when a step, or the change of f, is no larger.

    Returns
    -------
    state : State
        Its ``iterate`` is where the parameters belong.
    error : exception or None
        What the closure has raised; the state is that before the iteration.
    """
    objective = Objective(
        closure,  # of one piece: every gradient, of a difference too, is a call that counts
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
    state = solver.init(start) if state is None else _taken_up(solver, state, start)
    closure.accept(None)  # the pass at the start is that of the point accepted last
    error = None
    while state.status is None:
        here = state.iterate
        before = copy.copy(state.globalize), copy.copy(state.memory)
        try:
            solver.step(state)
        except BaseException as raised:  # noqa: BLE001 - handed on when all is put right
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


def _taken_up(solver: Solver, state: State, start: Iterate) -> State:
    """Go on at `start`, where the parameters are, with what is known of the function.

    Unless the values are those of the last iterate it is another function (another batch):
    the memory of curvature and the reach of the steps stay, values to compare with do not.
    """
    state.counters.nfev += solver.objective.counters.nfev
    state.counters.njev += solver.objective.counters.njev
    if start.f != state.iterate.f or start.gnorm != state.iterate.gnorm:
        state.f0, state.stalled, state.resets = start.f, 0, 0
        state.stalled_gmax = math.nan
        if state.status is not Status.LIMIT:  # at the end of the other one steps were tiny
            state.globalize = solver.method.globalize.init(start)
        forget_values(state.globalize)
        forget_values(state.memory)
    state.iterate = state.best = start
    return solver.resume(state)


def _descends(method: Method) -> bool:
    """Tell whether the method accepts no point above the last one by more than rounding."""
    return not method.baseline and getattr(method.globalize, "reject", True) is not False
