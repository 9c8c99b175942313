"""Directives whose tables are read from the code when the documentation is built."""

from __future__ import annotations

import ast
import inspect
import tomllib
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import negopt
from negopt.core.options import RunOptions, option_table
from negopt.entry.callables import callables

ROOT = Path(__file__).resolve().parents[2]
CELL = "`"  # a cell that begins with a backquote is shown as code


def table(header: list[str], rows: list[list[str]]) -> nodes.table:
    """Return a docutils table of plain and code cells."""
    group = nodes.tgroup(cols=len(header))
    for _ in header:
        group += nodes.colspec(colwidth=1)

    def row(cells: list[str]) -> nodes.row:
        out = nodes.row()
        for cell in cells:
            text: nodes.Node = (
                nodes.literal(text=cell.strip(CELL))
                if cell.startswith(CELL)
                else nodes.inline(text=cell)
            )
            out += nodes.entry("", nodes.paragraph("", "", text))
        return out

    head, body = nodes.thead(), nodes.tbody()
    head += row(header)
    for cells in rows:
        body += row(cells)
    group += [head, body]
    out = nodes.table(classes=["table"])
    out += group
    return out


def first_line(text: str | None) -> str:
    """Return the first paragraph of a docstring, on one line."""
    return " ".join((text or "").strip().split("\n\n")[0].split())


class Methods(SphinxDirective):
    """The rows of ``negopt.METHODS``."""

    def run(self) -> list[nodes.Node]:
        rows = [
            [
                f"`{name}`",
                *(type(part).__name__ for part in method.parts),
                f"`{method.needs}`",
                method.summary,
                method.reference,
            ]
            for name, method in negopt.METHODS.items()
        ]
        head = ["name", "curvature", "step", "globalise", "needs", "in words", "reference"]
        return [table(head, rows)]


class Callables(SphinxDirective):
    """The callable of every method, under its name in Python."""

    def run(self) -> list[nodes.Node]:
        rows = [
            [f"`negopt.{name}`", negopt.METHODS[method].summary]
            for name, method in callables().items()
        ]
        return [table(["callable", "method"], rows)]


class Options(SphinxDirective):
    """The options of every method, then those of each: what ``negopt.show_options`` prints."""

    def run(self) -> list[nodes.Node]:
        groups = {"every method": [RunOptions]}
        groups |= {name: list(method.parts) for name, method in negopt.METHODS.items()}
        out: list[nodes.Node] = []
        for name, parts in groups.items():
            rows = [[f"`{a}`", f"`{b}`", c] for a, b, c in option_table(parts)]
            out.append(nodes.rubric("", "", nodes.literal(text=name)))
            out.append(table(["option", "default", "meaning"], rows))
            if name in negopt.METHODS and negopt.METHODS[name].variants:
                told = negopt.METHODS[name].variant_table()
                head = ["variant", "options that it sets"]
                out.append(table(head, [[f"`{a}`", b] for a, b in told]))
        return out


def attribute_comments(source: str) -> dict[str, str]:
    """Return the ``#:`` comments above the assignments of a class body."""
    lines = source.splitlines()
    out = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            start, words = node.lineno - 2, []
            while start >= 0 and lines[start].strip().startswith("#:"):
                words.insert(0, lines[start].strip()[2:].strip())
                start -= 1
            out[node.targets[0].id] = " ".join(words)
    return out


class Statuses(SphinxDirective):
    """The members of ``negopt.Status``, each with the comment above it."""

    def run(self) -> list[nodes.Node]:
        said = attribute_comments(inspect.getsource(negopt.Status))
        rows = [
            [
                str(status.value),
                f"`{status.name}`",
                "yes" if status.success else "no",
                said[status.name].replace("``", ""),
            ]
            for status in negopt.Status
        ]
        return [table(["status", "name", "success", "meaning"], rows)]


class Guarantees(SphinxDirective):
    """The files of ``tests/guarantees`` with their first lines."""

    def run(self) -> list[nodes.Node]:
        rows = []
        for path in sorted((ROOT / "tests" / "guarantees").glob("test_*.py")):
            self.env.note_dependency(str(path))
            said = first_line(ast.get_docstring(ast.parse(path.read_text())))
            rows.append([said.replace("``", ""), f"`{path.relative_to(ROOT)}`"])
        if not rows:
            raise self.error("tests/guarantees holds no test")
        return [table(["guarantee", "proved by"], rows)]


class Problems(SphinxDirective):
    """The names of ``negopt.problems``."""

    def run(self) -> list[nodes.Node]:
        rows = []
        for name in negopt.problems.names():
            problem = negopt.problems.get(name)
            rows.append([f"`{name}`", str(len(problem.x0))])
        return [table(["name", "variables by default"], rows)]


class Layers(SphinxDirective):
    """The layers of the import contract."""

    def run(self) -> list[nodes.Node]:
        path = ROOT / "pyproject.toml"
        self.env.note_dependency(str(path))
        contracts: list[dict[str, Any]] = tomllib.loads(path.read_text())["tool"]["importlinter"][
            "contracts"
        ]
        layers = next(c["layers"] for c in contracts if c["type"] == "layers")
        text = "\n".join(layer.replace("(", "").replace(")", "") for layer in layers)
        return [nodes.literal_block(text, text)]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    for name, directive in {
        "negopt-callables": Callables,
        "negopt-guarantees": Guarantees,
        "negopt-layers": Layers,
        "negopt-methods": Methods,
        "negopt-options": Options,
        "negopt-problems": Problems,
        "negopt-statuses": Statuses,
    }.items():
        app.add_directive(name, directive)
    # The tables depend on the code, which Sphinx does not watch.
    return {"parallel_read_safe": True, "parallel_write_safe": True}
