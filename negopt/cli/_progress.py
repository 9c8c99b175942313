"""Progress of a training run: a bar in a terminal, a few plain lines elsewhere; and Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from negopt.cli._console import integer, largest, power, value

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

    Callback = Callable[[OptimizeResult], None]

#: Evenly spaced plain lines of a whole run; those of 1, 2, 5, 10, 20, ... come besides.
LINES = 10
EARLY = frozenset(step * 10**digits for digits in range(9) for step in (1, 2, 5))


@contextmanager
def watching(
    console: Console, first: int, until: int, unit: str = "iteration"
) -> Iterator[Callback]:
    """Yield a callback that shows iterations or epochs, and ends the run after Ctrl-C.

    The first Ctrl-C lets the iteration or epoch end, to be saved; a second does not wait.
    """
    pressed = False

    def press(*_: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    def callback(intermediate_result: OptimizeResult) -> None:
        if unit == "epoch":
            intermediate_result.nit = intermediate_result.epoch
            intermediate_result.fun = intermediate_result.loss
        show(intermediate_result)
        if pressed:
            raise KeyboardInterrupt

    before = None
    if threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGINT, press)
    try:
        with _shown(console, first, until, unit) as show:
            yield callback
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)


@contextmanager
def _shown(console: Console, first: int, until: int, unit: str) -> Iterator[Callback]:
    """Yield what shows an iteration in the way that suits the console."""
    if console.is_dumb_terminal or not console.is_terminal:
        yield _Lines(console, first, until, unit).show
        return
    columns = (
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TextColumn("f [bold]{task.fields[f]}[/]  max|g| {task.fields[g]}"),
        TextColumn("[dim]{task.fields[calls]} evaluations[/]"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, refresh_per_second=8) as bar:
        task = bar.add_task("", total=until, completed=first, f="-", g="-", calls="-")

        def show(iterate: OptimizeResult) -> None:
            f, g = value(float(iterate.fun)), power(largest(iterate.jac), 1)
            bar.update(task, completed=iterate.nit, f=f, g=g, calls=integer(iterate.nfev))

        yield show


class _Lines:
    def __init__(self, console: Console, first: int, until: int, unit: str) -> None:
        self.console, self.unit, self.first = console, unit, first
        self.every = max((until - first) // LINES, 1)
        self.heading = True

    def show(self, iterate: OptimizeResult) -> None:
        k = iterate.nit
        if (k - self.first) % self.every and k - self.first not in EARLY:
            return
        if self.heading:
            self.heading = False
            self.console.print(f"{self.unit:>10} {'f':>12} {'max|g|':>9} {'evaluations':>12}")
        f, g = value(float(iterate.fun)), power(largest(iterate.jac), 1)
        self.console.print(f"{k:>10} {f:>12} {g:>9} {iterate.nfev:>12}")
