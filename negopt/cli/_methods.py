"""``negopt methods``: the table of methods, and the options of one."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Sequence

from rich import box
from rich.markup import escape
from rich.table import Table

from negopt.cli._console import make_console
from negopt.cli._errors import UsageError, nearest
from negopt.core.options import RunOptions, option_table
from negopt.methods import METHODS, Method


def methods(options: Namespace) -> int:
    """Show all methods, or the options of one."""
    console = make_console()
    if options.name is None:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
        table.add_column("method", style="bold", no_wrap=True)
        table.add_column("needs", no_wrap=True)
        table.add_column("summary", ratio=3)
        table.add_column("reference", style="dim", ratio=2)
        for row in METHODS.values():
            table.add_row(row.name, row.needs, escape(row.summary), escape(row.reference))
        console.print(table)
        console.print(
            "needs: jac = gradients, hessp = Hessian products (taken by differences if missing).\n"
            "[bold]negopt methods NAME[/] shows the options of one. "
            "SciPy's names work wherever these do in [bold]negopt compare[/].",
            soft_wrap=True,
        )
        return 0
    method = find_method(options.name)
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column()
    console.print(f"[bold]{method.name}[/]: {escape(method.summary)}\n", soft_wrap=True)
    for name in ("needs", "guarantee", "reference"):
        facts.add_row(name, escape(getattr(method, name)))
    console.print(facts)
    columns = ("option", "default", "meaning")
    console.print(_table(f"Options of {method.name}", columns, option_table(method.parts)))
    if method.variants:
        title, headings = (
            "Named settings, by the option variant",
            ("variant", "options that it sets"),
        )
        console.print(_table(title, headings, method.variant_table()))
    console.print(_table("Options of every method", columns, option_table([RunOptions])))
    return 0


def find_method(name: str) -> Method:
    """Return negopt's method of that name, in any case."""
    method = METHODS.get(name.lower())
    if method is None:
        hint = nearest(name, METHODS) or f" negopt's are {', '.join(METHODS)}."
        raise UsageError(f"{name!r} is not one of negopt's methods.{hint}")
    return method


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )
    table.add_column(columns[0], style="bold", no_wrap=True)
    for name in columns[1:-1]:
        table.add_column(name, no_wrap=True)
    table.add_column(columns[-1])
    for row in rows:
        table.add_row(*map(escape, row))
    return table
