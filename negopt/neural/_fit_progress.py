"""What is told while a network is trained: a bar, and the user's callback."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from negopt._result import notifier
from negopt._types import Status

if TYPE_CHECKING:
    from negopt.neural._fit import Training

__all__ = ["Bar", "Callback"]


class Bar:
    """A bar of rich's over all steps, with the figures of the last epoch."""

    def __init__(self, run: Training) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        steps = 1 if run.feed is None else run.feed.plan.count
        limits = run.solver.limits
        self.epochs = run.epochs
        if run.feed is None and limits is not None:
            self.epochs = limits.maxiter
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            refresh_per_second=8,
        )
        self.task = self.bar.add_task(
            "",
            total=self.epochs * steps,
            completed=run.fit.epoch * steps + run.fit.batch,
            epoch=f"{run.fit.epoch}/{self.epochs:g}",
            text="",
        )

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def step(self, run: Training) -> None:
        """Move by a step."""
        self.bar.advance(self.task)

    def epoch(self, run: Training) -> None:
        """Show the figures of an epoch."""
        figures = run.latest
        shown = ["loss", "validation_loss", *run.measures.metrics]
        pairs = ((name, figures[name]) for name in shown if math.isfinite(figures[name]))
        text = "  ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in pairs)
        self.bar.update(self.task, epoch=f"{figures['epoch']:g}/{self.epochs:g}", text=text)


class Callback:
    """The user's callback, once an epoch.

    Parameters
    ----------
    callback : callable
        ``callback(intermediate_result)`` or ``callback(xk)``, by SciPy's rule.
    """

    def __init__(self, callback: Callable[..., Any]) -> None:
        self.latest: dict[str, float] = {}
        try:
            names = set(inspect.signature(callback).parameters)
        except (TypeError, ValueError):
            names = set()

        def with_figures(intermediate_result: Any) -> None:
            for name, value in self.latest.items():
                intermediate_result.setdefault(name, value)
            intermediate_result.epoch = int(self.latest["epoch"])
            callback(intermediate_result=intermediate_result)

        wants_result = names == {"intermediate_result"}
        self.notify = notifier(with_figures if wants_result else callback)

    def step(self, run: Training) -> None:
        """Nothing is told of a step."""

    def epoch(self, run: Training) -> None:
        """Call the user's function; it may end the run, as that of `minimize`."""
        assert self.notify is not None
        self.latest = run.latest
        state = run.state
        try:
            self.notify(state, run.solver.outcome, run.solver.step_norm)
        except StopIteration:
            state.status = Status.CALLBACK
            state.message = "`callback` raised `StopIteration`."
        except KeyboardInterrupt:
            state.status = Status.INTERRUPTED
            state.message = "Interrupted in the callback; resume=True goes on from a checkpoint."
