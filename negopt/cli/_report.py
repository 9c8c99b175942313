"""The report at the end of a training run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from negopt.cli._console import largest, power, seconds, short, value
from negopt.cli._errors import one_line
from negopt.cli._network import Task
from negopt.core.arrays import Array
from negopt.core.types import Status
from negopt.neural import MLPObjective

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult


def report(
    console: Console, task: Task, result: OptimizeResult, path: str | None, *, batches: bool = False
) -> None:
    """Show loss and accuracy on both parts of the data, and how the run ended."""
    console.print()
    console.print(_scores(task, result.x))
    state = result.state
    colour = "green" if result.success else "yellow"
    if result.status in (Status.SADDLE, Status.NONFINITE, Status.UNBOUNDED):
        colour = "red"
    status = f"[bold {colour}]{Status(result.status).name.lower()}[/]"
    gmax = power(largest(result.jac), 1)
    rows = [
        ("status", f"{status}  {escape(_advice(result, path))}"),
        ("iterations", f"{result.nit} in {seconds(state.elapsed)} s"),
        (
            "evaluations",
            f"{result.nfev} f, {result.njev} gradients, {result.nhev} Hessian products",
        ),
        ("objective", f"f = {value(float(result.fun))} (loss and penalty), max|g| = {gmax}"),
        ("curvature", "not checked: on batches" if batches else _curvature(result)),
    ]
    if result.n_negative_steps:
        rows.append(("", f"{result.n_negative_steps} steps of negative length"))
    if result.n_escapes:
        rows.append(("", f"{result.n_escapes} escapes from saddles"))
    rows.append(("checkpoint", "[dim]none (--checkpoint F keeps a run)[/]"))
    if path is not None:
        rows[-1] = ("checkpoint", escape(path))
        rows.append(("resume with", f"negopt resume {escape(path)} --iterations N"))
    for name, text in rows:
        console.print(f"[dim]{name:<13}[/]{text}", soft_wrap=True)


def _scores(task: Task, x: Array) -> Table:
    """Return loss and accuracy (or R^2) of the training and the test data."""
    objective, spec = task.objective, task.spec
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("")
    table.add_column("samples", justify="right")
    table.add_column(f"{spec.loss} loss", justify="right")
    table.add_column("R^2" if spec.loss == "squared" else "accuracy", justify="right")
    parts = [("training", objective.X, task.y)]
    if task.test_X.shape[0]:
        parts.append(("test", task.test_X, task.test_y))
    for name, X, y in parts:
        plain = MLPObjective(objective.network, X, y, loss=spec.loss)
        if spec.loss == "squared":
            residual = np.asarray(plain.predict(x), dtype=np.float64) - y
            spread = float(np.sum((y - np.mean(y)) ** 2))
            r2 = 1.0 - float(np.sum(residual**2)) / spread if spread > 0.0 else float("nan")
            score = f"{r2:.4f}"
        else:
            score = f"{100.0 * plain.accuracy(x):.2f} %"
        table.add_row(name, str(X.shape[0]), value(float(plain.fun(x))), f"[bold]{score}[/]")
    return table


def _advice(result: OptimizeResult, path: str | None) -> str:
    """Return the solver's message with what to do in the command line's words."""
    text = one_line(result.message)
    advice = re.search(r"[^.]*options=\{'state': res\.state\}\.", text)
    if advice is not None:
        more = " Allow more with --iterations." if "maxiter" in advice[0] and path is None else ""
        text = text.replace(advice[0], more)
    text = text.replace("maxiter =", "iteration")
    return text.replace("Interrupted in the callback", "Interrupted").strip()


def _curvature(result: OptimizeResult) -> str:
    if result.curvature_status == "not checked":
        return "not checked: the run did not come to a stationary point"
    return f"lowest found {short(result.min_curvature)} ({result.curvature_status})"
