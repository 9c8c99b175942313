"""Progress of a training run: a bar in a terminal, a few plain lines elsewhere."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

from negopt.cli._console import integer, power, value

__all__ = ["Progress", "make_progress"]

#: Evenly spaced plain lines of a whole run; those of 1, 2, 5, 10, 20, ... come besides.
LINES = 10
EARLY = frozenset(step * 10**digits for digits in range(9) for step in (1, 2, 5))


class Progress(Protocol):
    """What shows the iterations."""

    def show(self, iterate: Any) -> None:
        """Show the intermediate result of one iteration."""
        ...


def make_progress(
    console: Console, first: int, until: int, unit: str = "iteration"
) -> AbstractContextManager[_Bar | _Lines]:
    """Return the progress that suits the console."""
    if console.is_terminal and not console.is_dumb_terminal:
        return _Bar(console, first, until)
    return _Lines(console, first, until, unit)


class _Bar:
    def __init__(self, console: Console, first: int, until: int) -> None:
        self.bar = RichProgress(
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("f [bold]{task.fields[f]}[/]  max|g| {task.fields[g]}"),
            TextColumn("[dim]{task.fields[calls]} evaluations[/]"),
            TimeElapsedColumn(),
            console=console,
            refresh_per_second=8,
        )
        self.task = self.bar.add_task("", total=until, completed=first, f="-", g="-", calls="-")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def show(self, iterate: Any) -> None:
        self.bar.update(
            self.task,
            completed=iterate.nit,
            f=value(float(iterate.fun)),
            g=power(float(np.max(np.abs(iterate.jac))), 1),
            calls=integer(iterate.nfev),
        )


class _Lines:
    def __init__(self, console: Console, first: int, until: int, unit: str) -> None:
        self.console, self.unit = console, unit
        self.every = max((until - first) // LINES, 1)
        self.first = first
        self.heading = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def show(self, iterate: Any) -> None:
        k = iterate.nit
        if (k - self.first) % self.every and k - self.first not in EARLY:
            return
        if self.heading:
            self.heading = False
            self.console.print(f"{self.unit:>10} {'f':>12} {'max|g|':>9} {'evaluations':>12}")
        gmax = power(float(np.max(np.abs(iterate.jac))), 1)
        self.console.print(f"{k:>10} {value(float(iterate.fun)):>12} {gmax:>9} {iterate.nfev:>12}")
