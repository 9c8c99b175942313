"""Without a gradient: what is solved, and with how many calls of f, beside SciPy.

``python docs/experiments/no_gradient.py`` takes about two minutes: the problems of More, Garbow and
Hillstrom of ``negopt.problems`` as they are, and moved by 10, 100 and 1000 (``f(x - c)`` from
``x0 + c``), and NIST's fits from both their starts.  Every solver is given f alone and runs to its
own end with its own defaults.

Written to ``docs/experiments/results``: ``no-gradient.csv``, one row an instance and solver, and
``no-gradient-summary.csv``, one row a group and solver.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from _runs import Finished, Vector, begin, log, mean_ratio, parser, words, write_table
from scipy import optimize

import negopt
from negopt import problems
from negopt.problems import Problem

OURS, CHECKED, REFERENCE = "negopt, no check", "negopt", "BFGS"
SOLVERS = (OURS, CHECKED, REFERENCE, "L-BFGS-B")

#: How far the problems of More, Garbow and Hillstrom are moved.
SHIFTS = (0.0, 10.0, 100.0, 1000.0)

#: An end is good, or higher than another, by this share of f and this much besides.
SHARE, MUCH = 1e-6, 1e-9


@dataclass(frozen=True, eq=False)
class Instance:
    """A start on a problem that is moved.

    Parameters
    ----------
    group : str
        Row of the summary.
    problem : Problem
    start : array, shape (n,)
        In the problem's own variables.
    shift : float
    number : int
        Of the start.
    """

    group: str
    problem: Problem
    start: Vector
    shift: float = 0.0
    number: int = 0

    @property
    def key(self) -> str:
        """Name, shift and number of the start."""
        return f"{self.problem.name}+{self.shift:g}:{self.number}"


@dataclass(frozen=True)
class End:
    """Where a run has ended: calls of f, f, whether solved, max|g| there, success and status."""

    calls: int
    f: float
    solved: bool
    gmax: float
    success: bool
    status: int


def instances() -> Iterator[Instance]:
    """Yield all starts."""
    for shift in SHIFTS:
        for problem in problems.collection("mgh"):
            start = np.array(problem.x0, dtype=float)
            yield Instance(f"moved by {shift:g}", problem, start, shift)
    for problem in problems.collection("nist"):
        for number, start in enumerate((problem.x0, *problem.starts)):
            yield Instance("NIST", problem, np.array(start, dtype=float), number=number)


def run(instance: Instance, solver: str, cap: int) -> End:
    """Return where a solver ends that is given f alone."""
    calls = 0
    lowest = math.inf, instance.start

    def fun(x: Vector) -> float:
        nonlocal calls, lowest
        if calls >= cap:
            raise Finished
        calls += 1
        at = x - instance.shift
        f = float(instance.problem.fun(at))
        if f < lowest[0]:
            lowest = f, at
        return f

    x, success, status = instance.start, False, -1
    try:
        begun = instance.start + instance.shift
        if solver in (OURS, CHECKED):
            res = negopt.minimize(fun, begun, options={"certify": solver == CHECKED})
        else:
            res = optimize.minimize(fun, begun, method=solver)
        x, success, status = res.x - instance.shift, bool(res.success), int(res.status)
    except Finished:
        x = lowest[1]
    f, g = instance.problem.fun_and_grad(x)
    return End(calls, float(f), is_solved(instance, x), float(np.max(np.abs(g))), success, status)


def is_solved(instance: Instance, x: Vector) -> bool:
    """Tell whether the problem's own derivatives lower f no further from here."""
    f = float(instance.problem.fun(x))
    if not math.isfinite(f):
        return False
    options = {"gtol": 0.0, "maxiter": 200, "maxfun": 400, "certify": False}
    low = negopt.minimize(instance.problem, x, method="newton-krylov", options=options).fun
    return f - min(low, f) <= SHARE * abs(low) + MUCH


def summarise(found: dict[tuple[Instance, str], End]) -> list[dict[str, Any]]:
    """Return one row a group and solver."""
    rows = []
    every = list(dict.fromkeys(instance for instance, _ in found))
    for group in (*dict.fromkeys(i.group for i in every), "all"):
        members = [i for i in every if group in (i.group, "all")]
        names = {i.key: i.problem.name for i in members}
        theirs = {i.key: found[i, REFERENCE] for i in members}
        for solver in SOLVERS:
            ours = {i.key: found[i, solver] for i in members}
            both = [k for k in ours if ours[k].solved and theirs[k].solved]
            costs = {k: float(ours[k].calls) for k in both}
            ratio = mean_ratio(costs, {k: float(theirs[k].calls) for k in both}, names)
            higher = sum(ours[k].f > (1.0 + SHARE) * theirs[k].f + MUCH for k in both)
            rows.append(
                {
                    "problems": group,
                    "solver": solver,
                    "instances": len(members),
                    "solved": sum(end.solved for end in ours.values()),
                    "success": sum(end.success for end in ours.values()),
                    f"calls / {REFERENCE}'s": "1" if solver == REFERENCE else words(ratio),
                    f"f above {REFERENCE}'s": higher,
                }
            )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line asks for."""
    options = parser(__doc__)
    options.set_defaults(cap=30_000)
    chosen = options.parse_args(arguments)
    begin(chosen.out)
    tasks = list(instances())[: chosen.first]
    found: dict[tuple[Instance, str], End] = {}
    for solver in SOLVERS:
        began = time.monotonic()
        with np.errstate(all="ignore"):
            found |= {(task, solver): run(task, solver, chosen.cap) for task in tasks}
        log.info("%-20s %5.0f s", solver, time.monotonic() - began)
    table = [
        {
            "instance": task.key,
            "n": task.problem.n,
            "solver": solver,
            "calls": end.calls,
            "f": f"{end.f:.10g}",
            "max|g|": f"{end.gmax:.2g}",
            "solved": int(end.solved),
            "success": int(end.success),
            "status": end.status,
        }
        for (task, solver), end in found.items()
    ]
    write_table(table, chosen.out / "no-gradient.csv")
    write_table(summarise(found), chosen.out / "no-gradient-summary.csv")


if __name__ == "__main__":
    main()
