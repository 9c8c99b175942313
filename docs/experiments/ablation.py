"""Each default against what it might have been, on ``negopt.problems``.

``python docs/experiments/ablation.py`` takes about ten minutes and writes to
``docs/experiments/results``: ``ablation-costs.csv`` (all costs), ``ablation-METHOD.csv`` (one
row a change) and ``methods.csv`` (the methods against each other, by size); ``--help`` lists
what can be changed.  What a cost is, and how the intervals come about: ``_runs.py``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from _runs import (
    TOLERANCES,
    Costs,
    Solver,
    Task,
    begin,
    check_options,
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

from negopt.methods import DENSE_LIMIT, METHODS, choose

REFERENCE = Solver("L-BFGS-B", "L-BFGS-B")

#: Default method -> what is changed in it, in words, and the options that do so; with "method"
#: it is another row of METHODS.
CHANGES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "lqn-tr": {
        "secant equations one after the other": {"block": 1},
        "3 secant equations together": {"block": 3},
        "10 secant equations together": {"block": 10},
        "5 pairs": {"maxcor": 5},
        "10 pairs": {"maxcor": 10},
        "20 pairs": {"maxcor": 20},
        "80 pairs": {"maxcor": 80},
        "initial scaling: largest curvature": {"gamma": "max"},
        "initial scaling: last curvature": {"gamma": "last"},
        "initial scaling from 20 curvatures": {"remember": 20},
        "initial scaling from the last 2 curvatures": {"remember": 2},
        "no SR1 pairs: negative curvature is left out": {"skip": 0.99},
        "absolute eigenvalues in the step": {"model": "absolute"},
        "radius after a rejection: halved": {"interpolate": False},
        "radius at first: doubled": {"first_grow": 2.0},
        "radius at first: times 100": {"first_grow": 100.0},
        "radius later: times 4": {"grow": 4.0},
        "accept only a tenth of the promise": {"eta": 0.1},
    },
    "newton-krylov": {
        "no model beside the products": {"maxcor": 0},
        "products in every step": {"products": "always"},
        "a round trust region": {"metric": "sphere"},
        "a trust region scaled by the diagonal": {"metric": "diag"},
        "saddle-free directions": {"direction": "saddle-free"},
        "residual 0.1": {"forcing": 0.1},
        "residual 0.9": {"forcing": 0.9},
        "at most 10 products a step": {"max_products": 10},
        "radius after a poor step: halved": {"shrink": 0.5},
        "radius after a rejection from a cubic": {"interpolate": True},
        "radius at first: doubled": {"first_grow": 2.0},
        "radius at first: times 10": {"first_grow": 10.0},
        "radius later: times 4": {"grow": 4.0},
        "accept only a tenth of the promise": {"eta": 0.1},
    },
    "dqn-wolfe-pm": {
        "SR1 alone": {"method": "sr1-wolfe-pm"},
        "SR1 alone, forgotten where it ascends": {"method": "sr1-wolfe-pm", "on_ascent": "reset"},
        "BFGS alone": {"method": "bfgs-wolfe"},
        "SR1 where it descends, else BFGS": {"choose": "descent"},
        "the same units for all variables": {"units": "same"},
        "updates skipped from 1e-8 on": {"skip": 1e-8},
        "signs per eigenvalue": {"flip": "eigen"},
        "strong Wolfe conditions": {"wolfe": "strong"},
        "Wolfe's c2 = 0.1": {"c2": 0.1},
        "first trial may grow twofold": {"expand": 2.0},
        "angle with the gradient at least 1e-3": {"angle": 1e-3},
    },
}

#: Sizes by which the methods are compared: label -> least and largest n.
SIZES = {
    "n at most 5": (1, 5),
    "6 to 20": (6, 20),
    "21 to 50": (21, 50),
    "more": (51, 10**9),
}


def defaults() -> set[str]:
    """Return the methods that ``method=None`` may take."""
    sizes = (1, DENSE_LIMIT, DENSE_LIMIT + 1, 10**6)
    return {choose(n, has_products=given) for n in sizes for given in (False, True)}


def changed(method: str, change: str) -> tuple[str, dict[str, Any]]:
    """Return the row of METHODS and the options that a change stands for."""
    options = dict(CHANGES[method][change])
    return options.pop("method", method), options


def is_for(method: str, n: int) -> bool:
    """Tell whether a method is measured at size n: a default for small n only there."""
    return method != choose(DENSE_LIMIT, has_products=False) or n <= DENSE_LIMIT


Found = dict[tuple[str, float], dict[str, float]]


def measure(tasks: Sequence[Task], solvers: Sequence[Solver], cap: int, found: Found) -> None:
    """Add (label, tolerance) -> costs of all solvers, where they are not known."""
    for solver in solvers:
        began = time.monotonic()
        known = found.get((solver.label, TOLERANCES[-1]), {})
        runs = {task.key: solver(task, cap=cap) for task in tasks if task.key not in known}
        for tol in TOLERANCES:
            found.setdefault((solver.label, tol), {}).update(
                {k: float(r.hits[tol][0]) if tol in r.hits else math.nan for k, r in runs.items()}
            )
        log.info("%-60s %4d runs %5.0f s", solver.label, len(runs), time.monotonic() - began)


def only(costs: Costs, tasks: Sequence[Task]) -> dict[str, float]:
    """Return the costs of some tasks."""
    return {task.key: costs[task.key] for task in tasks}


def summarise(method: str, tasks: Sequence[Task], found: Found) -> list[dict[str, str]]:
    """Return one row a change: solved, and costs against L-BFGS-B and the default."""
    names = {task.key: task.name for task in tasks}
    loose, tight = TOLERANCES
    rows = []
    for label in (method, *(f"{method}: {change}" for change in CHANGES[method])):
        costs = {tol: only(found[label, tol], tasks) for tol in TOLERANCES}
        rivals = {tol: only(found[REFERENCE.label, tol], tasks) for tol in TOLERANCES}
        unchanged = {tol: only(found[method, tol], tasks) for tol in TOLERANCES}
        row = {"change": label.removeprefix(f"{method}: ") if label != method else "(none)"}
        for tol in TOLERANCES:
            row[f"solved at {tol:g}, %"] = percent(costs[tol])
        row[f"cost / L-BFGS-B at {loose:g}"] = words(mean_ratio(costs[loose], rivals[loose], names))
        row[f"cost / L-BFGS-B at {tight:g}"] = words(mean_ratio(costs[tight], rivals[tight], names))
        versus = "" if label == method else words(mean_ratio(costs[tight], unchanged[tight], names))
        row[f"cost / unchanged at {tight:g}"] = versus
        rows.append(row)
    rivals = {tol: only(found[REFERENCE.label, tol], tasks) for tol in TOLERANCES}
    blank = dict.fromkeys(rows[0], "")
    solved = {f"solved at {tol:g}, %": percent(rivals[tol]) for tol in TOLERANCES}
    return [*rows, {**blank, "change": "SciPy's L-BFGS-B", **solved}]


def compare(labels: Sequence[str], tasks: Sequence[Task], found: Found) -> list[dict[str, str]]:
    """Return one row a method: costs against L-BFGS-B and share solved, by size."""
    names = {task.key: task.name for task in tasks}
    tight = TOLERANCES[-1]
    rows = []
    for label in labels:
        row = {"method": label}
        for size, (low, high) in SIZES.items():
            part = [task for task in tasks if low <= task.n <= high]
            ours, theirs = (only(found[who, tight], part) for who in (label, REFERENCE.label))
            row[f"{size}: solved, %"] = percent(ours) if part else ""
            row[f"{size}: cost / L-BFGS-B"] = words(mean_ratio(ours, theirs, names))
        rows.append(row)
    return rows


def stored(path: Path, tasks: Sequence[Task]) -> Found:
    """Return the costs of an earlier run, of what is still measured; empty is a failure."""
    found: Found = {}
    wanted = {task.key for task in tasks}
    changes = {f"{method}: {change}" for method in CHANGES for change in CHANGES[method]}
    known = {REFERENCE.label, *METHODS, *changes}
    for row in read_table(path):
        tol, key = float(row.pop("test")), row.pop("instance")
        del row["n"]
        for label, cost in row.items():
            if key in wanted and label in known:
                found.setdefault((label, tol), {})[key] = float(cost) if cost else math.nan
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line asks for."""
    options = parser(__doc__)
    options.add_argument("what", nargs="*", help="default methods, 'methods'; nothing is all")
    options.add_argument("--sizes", type=int, nargs="*", default=[30], help="beside each default")
    options.add_argument("--keep", action="store_true", help="what is stored is not run again")
    chosen = options.parse_args(arguments)
    what = chosen.what or [*sorted(defaults()), "methods"]
    if not set(what) <= {*defaults(), "methods"}:
        options.error(f"{what}: use {sorted(defaults())} or 'methods'")
    begin(chosen.out)
    path = chosen.out / "ablation-costs.csv"
    tasks = collection([None, *chosen.sizes])[: chosen.first]
    found = stored(path, tasks) if chosen.keep else {}
    measure(tasks, [REFERENCE], chosen.cap, found)
    for method in what:
        if method == "methods":
            run_methods(tasks, chosen.cap, found, chosen.out)
        else:
            run_changes(method, tasks, chosen.cap, found, chosen.out)
    rows: list[Any] = []
    for tol in TOLERANCES:
        table = {
            label: {task.key: costs.get(task.key, math.nan) for task in tasks}
            for (label, at), costs in found.items()
            if at == tol
        }
        rows += cost_rows(tasks, table, f"{tol:g}")
    write_table(rows, path)


def run_changes(method: str, tasks: Sequence[Task], cap: int, found: Found, out: Path) -> None:
    """Measure one default method and all its changes."""
    part = [task for task in tasks if is_for(method, task.n)]
    solvers = [Solver(method, method)]
    for change in CHANGES[method]:
        name, options = changed(method, change)
        check_options(name, options)
        solvers.append(Solver(f"{method}: {change}", name, options))
    measure(part, solvers, cap, found)
    write_table(summarise(method, part, found), out / f"ablation-{method}.csv")


def run_methods(tasks: Sequence[Task], cap: int, found: Found, out: Path) -> None:
    """Measure the rows of METHODS against each other."""
    labels = [name for name, row in METHODS.items() if not row.baseline]
    measure(tasks, [Solver(name, name) for name in labels], cap, found)
    write_table(compare(labels, tasks, found), out / "methods.csv")


if __name__ == "__main__":
    main()
