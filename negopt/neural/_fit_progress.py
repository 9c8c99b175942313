"""What is measured and shown while a network is trained: metrics, a bar, the user's callback."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, Self

from negopt.core.arrays import Array, copy_of, scalars
from negopt.core.types import Status
from negopt.diagnostics.derivatives import ObjectiveLike
from negopt.solver.result import notifier

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

    from negopt.neural._fit import Training

#: Name -> ``metric(objective, x) -> float``, functions of the user's own objective.
Metrics = Mapping[str, Callable[[Any, Array], float]]


class Measures:
    """What is measured at the end of an epoch, ``x -> {name: value}``."""

    def __init__(self, objective: ObjectiveLike, metrics: Metrics, *, validates: bool) -> None:
        self.objective, self.metrics, self.validates = objective, metrics, validates

    def __call__(self, x: Array) -> dict[str, float]:
        """Return the validation loss, and each metric."""
        copy = copy_of(x)
        figures = {}
        if self.validates:
            figures["validation_loss"] = scalars(self.objective.fun(copy))[0]
        for name, metric in self.metrics.items():
            value = metric(self.objective, copy)
            try:
                figures[name] = float(value)
            except (TypeError, ValueError):
                raise TypeError(
                    f"metrics[{name!r}] returned {value!r}; it must return a number."
                ) from None
        return figures


class Watch(Protocol):
    """What is called after every step and epoch."""

    def step(self, run: Training) -> None:
        """See a step."""

    def epoch(self, run: Training) -> None:
        """See the end of an epoch; may set ``run.state.status``."""


class Bar:
    """A bar of rich's over all steps, with the figures of the last epoch."""

    def __init__(self, run: Training) -> None:
        from rich import progress

        steps = 1 if run.feed is None else run.feed.plan.count
        limits = run.solver.limits
        self.epochs = run.epochs
        if run.feed is None and limits is not None:
            self.epochs = limits.maxiter
        self.bar = progress.Progress(
            progress.TextColumn("epoch {task.fields[epoch]}"),
            progress.BarColumn(bar_width=28),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[text]}"),
            progress.TimeElapsedColumn(),
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
    """The user's callback, ``callback(intermediate_result)`` or ``callback(xk)``, once an epoch."""

    def __init__(self, callback: Callable[..., object]) -> None:
        self.latest: dict[str, float] = {}
        try:
            names = set(inspect.signature(callback).parameters)
        except (TypeError, ValueError):
            names = set()

        def with_figures(intermediate_result: OptimizeResult) -> None:
            for name, value in self.latest.items():
                intermediate_result.setdefault(name, value)
            intermediate_result.epoch = int(self.latest["epoch"])
            callback(intermediate_result=intermediate_result)

        wants_result = names == {"intermediate_result"}
        self.notify = notifier(with_figures if wants_result else callback)

    def step(self, run: Training) -> None:
        """Do nothing: a step is not reported."""

    def epoch(self, run: Training) -> None:
        """Call the user's function, which may end the run as in `minimize`."""
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
            state.message = "Interrupted in the callback; resume=True continues from a checkpoint."
