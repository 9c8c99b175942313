"""``negopt compare``: methods beside each other on one problem after the other."""

from __future__ import annotations

import math
from argparse import Namespace
from pathlib import Path
from types import ModuleType

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from negopt.cli._console import integer, make_console, power, seconds, short, value
from negopt.cli._errors import UsageError, nearest, one_line, reason
from negopt.cli._network import build, spec_from
from negopt.cli._run import CHECK_PRODUCTS, SCIPY_METHODS, Row, Rules, run_method, warm_up
from negopt.cli._targets import Target, built_in, from_module, from_task
from negopt.methods import DENSE_LIMIT, METHODS

_VERDICTS = {
    "yes": "[bold green]yes[/]",
    "local": "[yellow]local[/]",
    "saddle": "[bold red]saddle[/]",
    "no": "[red]no[/]",
    "error": "[bold red]error[/]",
}
_LEGEND = (
    "solved: max|g| <= gtol and no negative curvature found (local: a minimum above the known "
    f"one). curv.: lowest curvature that {CHECK_PRODUCTS} Hessian products found at the point "
    "returned, the same check for all. nfev, njev, nhev: calls of f, gradient, and Hessian times "
    "vector. s: seconds. neg.: steps of negative length; - where a method has none."
)


def compare(options: Namespace) -> int:
    """Run the chosen methods on every target, and show one table each."""
    console = make_console()
    if options.list_problems:
        return _list_problems(console)
    targets = _targets(options)
    rules = Rules(options.gtol, options.maxiter, options.maxfun, options.seed)
    chosen = [_canonical(name) for name in options.methods] if options.methods else None
    plot = None if options.plot is None else _plotter(options.plot)
    per_target = [chosen or _default_methods(target.n) for target in targets]
    warm_up(sorted({name for names in per_target for name in names}))
    results = []
    for target, names in zip(targets, per_target, strict=True):
        rows = []
        with console.status("") as status:
            for name in names:
                status.update(f"{escape(target.title)}: [bold]{name}[/]")
                rows.append(run_method(name, target, rules))
        _show(console, target, rows, rules.gtol)
        results.append((target, rows))
    console.print(_LEGEND, style="dim")
    if plot is not None:
        _draw(plot, options.plot, results)
        console.print(f"curves: {escape(options.plot)}", soft_wrap=True)
    return 0


def _targets(options: Namespace) -> list[Target]:
    if (options.problem is None) == (options.data is None):
        raise UsageError(
            "compare: give one of --problem NAME and --data FILE (see negopt compare --help)"
        )
    if options.data is not None:
        for name in ("n", "x0"):
            if getattr(options, name) is not None:
                raise UsageError(f"compare: --{name} goes with --problem, not with --data")
        return [from_task(build(spec_from(options)))]
    for name in ("target", "hidden", "activation", "loss", "l2", "standardize"):
        if getattr(options, name) is not None:
            flag = "no-standardize" if name == "standardize" else name
            raise UsageError(f"compare: --{flag} goes with --data, not with --problem")
    own = [name for name in options.problem if ":" in name]
    if options.x0 is not None and len(own) != len(options.problem):
        raise UsageError("compare: --x0 goes with module:object; built-in problems have theirs")
    if options.n is not None and own:
        raise UsageError("compare: --n goes with built-in problems; module:object has x0's size")
    return [
        from_module(name, options.x0) if ":" in name else built_in(name, options.n)
        for name in options.problem
    ]


def _canonical(name: str) -> str:
    """Return the spelling of a method's name that the libraries use."""
    key = name.lower().replace("_", "-")
    if key in METHODS:
        return key
    if key in SCIPY_METHODS:
        return SCIPY_METHODS[key][0]
    known = [*METHODS, *(row[0] for row in SCIPY_METHODS.values())]
    hint = nearest(key, known) or f" Known are {', '.join(known)}."
    raise UsageError(f"unknown method {name!r}.{hint}")


def _default_methods(n: int) -> list[str]:
    """Return negopt's defaults and SciPy's usual choices; dense models for small n only."""
    small = n <= DENSE_LIMIT
    ours = ["lqn-tr", *(["dqn-wolfe-pm", "sr1-wolfe-pm"] if small else []), "newton-krylov"]
    return [*ours, *(["BFGS"] if small else []), "L-BFGS-B", "Newton-CG", "trust-krylov"]


def _show(console: Console, target: Target, rows: list[Row], gtol: float) -> None:
    console.print(f"[bold]{escape(target.title)}[/]", soft_wrap=True)
    padding = (0, 1) if console.width >= 96 else (0, 0)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=padding)
    table.add_column("method", no_wrap=True)
    table.add_column("solved", no_wrap=True)
    for name in ("f", "max|g|", "curv.", "nfev", "njev", "nhev", "s", "neg."):
        table.add_column(name, justify="right", no_wrap=True)
    lowest = min((row.f for row in rows if math.isfinite(row.f)), default=math.nan)
    for row in rows:
        f = value(row.f)
        if row.f <= lowest + 1e-7 * max(1e-3, abs(lowest)):
            f = f"[bold]{f}[/]"
        curvature = short(row.curvature)
        if row.curvature_status == "negative":
            curvature = f"[{'red' if row.verdict == 'saddle' else 'dim'}]{curvature}[/]"
        table.add_row(
            f"[bold cyan]{row.method}[/]" if row.method in METHODS else row.method,
            _VERDICTS[row.verdict],
            f,
            power(row.gmax, 1),
            curvature,
            integer(row.nfev),
            integer(row.njev),
            integer(row.nhev),
            seconds(row.seconds),
            integer(row.negative),
        )
    console.print(table)
    for note, names in _notes(rows, gtol).items():
        console.print(f"  {', '.join(names)}: {escape(note)}", style="dim", soft_wrap=True)
    console.print()


def _notes(rows: list[Row], gtol: float) -> dict[str, list[str]]:
    """Return why methods are not shown as solved: reason -> methods."""
    notes: dict[str, list[str]] = {}
    for row in rows:
        if row.verdict in ("yes", "local"):
            continue
        text = one_line(row.message).rstrip(".")
        if row.verdict == "saddle":
            text = (
                f"stopped where max|g| = {row.gmax:.2g} with curvature {row.curvature:.3g}: "
                "a saddle or a maximum, not a minimum"
            )
        elif row.verdict == "no" and "gtol" not in text:
            text = f"max|g| = {row.gmax:.2g} > gtol = {gtol:g}; {text}"
        notes.setdefault(text if len(text) <= 200 else text[:197] + "...", []).append(row.method)
    return notes


def _list_problems(console: Console) -> int:
    from negopt import problems

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("problem", style="bold", no_wrap=True)
    table.add_column("n", justify="right")
    table.add_column("minimum", justify="right", no_wrap=True)
    table.add_column("tags")
    for problem in problems.collection():
        minimum = "-" if problem.minimum is None else f"{problem.minimum:.6g}"
        table.add_row(problem.name, str(problem.n), minimum, ", ".join(sorted(problem.tags)))
    console.print(table)
    return 0


def _plotter(path: str) -> ModuleType:
    """Return the drawing module, or say at once what stands in the way."""
    from negopt import plot

    try:
        formats = plot.file_formats()
    except ImportError as error:
        raise UsageError(f"--plot: {error}") from error
    ending = Path(path).suffix.removeprefix(".").lower()
    if ending not in formats:
        raise UsageError(f"--plot {path}: the name must end in one of .{', .'.join(formats)}")
    if not Path(path).parent.is_dir():
        raise UsageError(f"--plot {path}: the folder {Path(path).parent} does not exist")
    return plot


def _draw(plot: ModuleType, path: str, results: list[tuple[Target, list[Row]]]) -> None:
    figure, panels = plot.panels([target.title.split(":")[0] for target, _ in results])
    for (target, rows), panel in zip(results, panels, strict=True):
        curves = {row.method: row.curve for row in rows if row.curve[0]}
        plot.convergence(
            curves,
            best=target.minimum,
            emphasise=[row.method for row in rows if row.method in METHODS],
            xlabel="evaluations of f, gradient and Hessian product",
            ax=panel,
        )
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise UsageError(f"--plot {path}: {reason(error)}") from error
