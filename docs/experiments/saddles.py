"""How methods leave strict saddles: what it costs, and where they end.

``python docs/experiments/saddles.py`` takes about ten minutes and writes to
``docs/experiments/results``: ``saddles.csv``, one row a saddle, distance and solver, and
``saddles-summary.csv``, one row a solver; ``--help`` lists what can be changed.  With
``--solvers`` only those are run, and the rows of the others are kept.

A start lies at a distance from a saddle in a random direction.  Every solver runs to its own
end with the same tolerance, ``gtol=1e-5``, so that the check of a minimum is part of the cost.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from _runs import Run, Solver, Task, Vector, begin, log, parser, read_table, write_table

from negopt import METHODS, minimize, problems
from negopt.neural import MLP, MLPObjective, load_ionosphere, standardize

GTOL = 1e-5

#: Variables of the coupled double wells and of the factorisation.
SIZES = {"coupled_double_wells": (20, 100), "matrix_factorisation": (40,)}

RIVALS = ("BFGS", "L-BFGS-B", "Newton-CG", "trust-ncg", "trust-krylov", "trust-exact")


@dataclass(frozen=True)
class Saddle:
    """A strict saddle (or maximum) of a problem.

    Parameters
    ----------
    family : str
        Of the problem.
    task : Task
        It starts at the saddle.
    lowest : float
        Smallest eigenvalue of the Hessian there.
    """

    family: str
    task: Task
    lowest: float


def spectrum(task: Task, x: Vector) -> Vector:
    """Return the eigenvalues of the Hessian at `x`, in rising order."""
    product = task.hessp(x)
    H = np.stack([product(row) for row in np.eye(task.n)])
    return np.asarray(np.linalg.eigvalsh(0.5 * (H + H.T)))


def is_minimum(task: Task, x: Vector) -> bool:
    """Tell whether the gradient vanishes and no eigenvalue is negative.

    Where minima form a valley, eigenvalues near zero have either sign at a point that is only
    near the valley: a ten-thousandth of the largest is allowed for.
    """
    f, g = task.fun_and_grad(x)
    if not (math.isfinite(float(f)) and np.max(np.abs(g)) <= 10.0 * GTOL):
        return False
    values = spectrum(task, x)
    return bool(values[0] >= -1e-4 * max(1.0, float(np.max(np.abs(values)))))


def known_saddles() -> Iterator[tuple[str, Task]]:
    """Yield family and task for the saddles that ``negopt.problems`` knows."""
    for name in problems.names("saddle"):
        for size in SIZES.get(name, (None,)):
            problem = problems.get(name, size)
            for i, point in enumerate(problem.saddles[:2]):
                task = Task(name, np.array(point), problem.fun_and_grad, problem.hessp)
                yield f"{task.key}, {i + 1}" if len(problem.saddles) > 1 else task.key, task


def network_saddles() -> Iterator[tuple[str, Task]]:
    """Yield networks at the best point where all hidden units are equal.

    Equal units have equal gradients, so a minimum among the points with equal units is
    stationary; it is a saddle where units that differ do better.
    """
    corners = np.array([[a, b] for a in (-1.0, 1.0) for b in (-1.0, 1.0)])
    data = load_ionosphere()
    radar = standardize(data.X)[0][:, :8]
    for name, X, y, hidden in (
        ("network, exclusive or", corners, np.array([0, 1, 1, 0]), 4),
        ("network, ionosphere", radar, data.y, 3),
    ):
        yield name, equal_units(name, X, y, hidden)


def equal_units(name: str, X: Vector, y: Vector, hidden: int) -> Task:
    """Return a tanh network at a minimum among the points with equal hidden units."""
    inputs = X.shape[1]
    objective = MLPObjective(MLP([inputs, hidden, 1]), X, y, loss="logistic", l2=1e-3)
    # Row by row the weights of each unit, the biases, the weights of the output, its bias.
    shared = [*list(range(inputs)) * hidden, *[inputs] * hidden, *[inputs + 1] * hidden, inputs + 2]
    spread = np.eye(inputs + 3)[shared]

    def fun_and_grad(few: Vector) -> tuple[Any, Vector]:
        f, g = objective.fun_and_grad(spread @ few)
        return f, spread.T @ g

    start = np.random.default_rng(0).standard_normal(inputs + 3)
    found = minimize(fun_and_grad, start, jac=True, options={"gtol": 1e-10})
    return Task(name, spread @ found.x, objective.fun_and_grad, objective.hessp)


def strict_saddles() -> list[Saddle]:
    """Return the stationary points whose Hessian has a clearly negative eigenvalue."""
    found: list[Saddle] = []
    for family, task in (*known_saddles(), *network_saddles()):
        values = spectrum(task, task.x0)
        gmax = float(np.max(np.abs(task.fun_and_grad(task.x0)[1])))
        strict = values[0] < -1e-3 * np.max(np.abs(values))
        log.info("%s: |g| %.1e, lowest eigenvalue %.3g", family, gmax, values[0])
        if strict:
            found.append(Saddle(family, task, float(values[0])))
    return found


def solvers() -> list[Solver]:
    """Return every row of METHODS, the defaults without their check, and SciPy's methods."""
    rows = [Solver(name, name) for name in METHODS]
    unchecked = [
        Solver(f"{name}, no check", name, {"certify": False})
        for name in ("lqn-tr", "newton-krylov", "dqn-wolfe-pm")
    ]
    return [*rows, *unchecked, *(Solver(f"SciPy's {name}", name) for name in RIVALS)]


def starts(saddle: Saddle, distance: float, seeds: int) -> Iterator[Task]:
    """Yield starts at a distance from the saddle, in random directions."""
    task = saddle.task
    for seed in range(seeds):
        direction = np.random.default_rng([seed, 1]).standard_normal(task.n)
        x0 = task.x0 + distance * direction / np.linalg.norm(direction)
        yield Task(task.name, x0, task.fun_and_grad, task.hessp)


def measure(
    chosen: Sequence[Solver],
    saddles: Sequence[Saddle],
    distances: Sequence[float],
    seeds: int,
    cap: int,
) -> list[dict[str, Any]]:
    """Return one row a solver, saddle and distance."""
    rows = []
    for solver in chosen:
        began = time.monotonic()
        for saddle in saddles:
            for distance in distances:
                tasks = list(starts(saddle, distance, seeds))
                runs: list[Run] = [solver(task, cap=cap, gtol=GTOL) for task in tasks]
                good = [
                    run.x is not None and is_minimum(task, run.x)
                    for task, run in zip(tasks, runs, strict=True)
                ]
                costs = [run.cost for run, ended in zip(runs, good, strict=True) if ended]
                rows.append(
                    {
                        "solver": solver.label,
                        "saddle": saddle.family,
                        "n": saddle.task.n,
                        "lowest eigenvalue": f"{saddle.lowest:.4g}",
                        "distance": f"{distance:g}",
                        "runs": seeds,
                        "minima": sum(good),
                        "evaluations": f"{geometric_mean(costs):.4g}" if costs else "",
                    }
                )
        log.info("%-30s %5.0f s", solver.label, time.monotonic() - began)
    return rows


def geometric_mean(costs: Sequence[float]) -> float:
    """Return the geometric mean."""
    return math.exp(math.fsum(map(math.log, costs)) / len(costs))


def summarise(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row a solver: share of minima and evaluations, by distance."""
    table = []
    for solver in dict.fromkeys(row["solver"] for row in rows):
        line: dict[str, Any] = {"solver": solver}
        for distance in dict.fromkeys(row["distance"] for row in rows):
            part = [r for r in rows if (r["solver"], r["distance"]) == (solver, distance)]
            share = sum(int(r["minima"]) for r in part) / sum(int(r["runs"]) for r in part)
            line[f"{distance}: minima, %"] = f"{100.0 * share:.1f}"
            # Each start that ended in a minimum counts once.
            costs = [float(r["evaluations"]) for r in part for _ in range(int(r["minima"]))]
            line[f"{distance}: evaluations"] = f"{geometric_mean(costs):.1f}" if costs else ""
        table.append(line)
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line asks for."""
    options = parser(__doc__)
    options.add_argument("--distances", type=float, nargs="+", default=[1e-2, 1e-4, 1e-6, 1e-8])
    options.add_argument("--seeds", type=int, default=5, help="random directions")
    options.add_argument("--solvers", nargs="+", help="labels of the table; nothing is all")
    chosen = options.parse_args(arguments)
    begin(chosen.out)
    known = {solver.label: solver for solver in solvers()}
    labels = chosen.solvers or list(known)
    if not set(labels) <= set(known):
        options.error(f"--solvers {labels}: choose from {list(known)}")
    saddles = strict_saddles()[: chosen.first]
    wanted = [known[label] for label in labels]
    rows = measure(wanted, saddles, chosen.distances, chosen.seeds, chosen.cap)
    if chosen.solvers:
        kept = set(known) - set(labels)
        rows += [row for row in read_table(chosen.out / "saddles.csv") if row["solver"] in kept]
        rows.sort(key=lambda row: list(known).index(row["solver"]))
    write_table(rows, chosen.out / "saddles.csv")
    write_table(summarise(rows), chosen.out / "saddles-summary.csv")


if __name__ == "__main__":
    main()
