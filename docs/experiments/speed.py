"""Speed: overhead per evaluation, whole solves, the first solve, and memory, beside SciPy.

``OPENBLAS_NUM_THREADS=1 python docs/experiments/speed.py`` takes about six minutes on an idle
machine and 3 GB of memory; name what is wanted of ``overhead memory-size products solves cold
memory compiled batch``.  All solvers take turns in one process, and the tables show the least of
the repeats; a difference that is within the noise of the clock is left blank.

Written to ``docs/experiments/results``: ``speed-WHAT.csv`` and the figure ``speed-scaling.svg``.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _runs import begin, log, parser, read_table, write_table
from _solves import LIMITED as OURS
from _solves import batch, cold, compiled, memory, products, solves
from _timing import (
    Rival,
    Vector,
    convex,
    least,
    margin,
    one_thread,
    rosenbrock,
    shown,
    start,
)
from profiles import save

#: Iterations of the short and the long run: ten pairs are stored after the short one.
SHORT, LONG = 12, 32
SIZES = (2, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
DEFAULT = Rival("default", None)


def with_pairs(method: str, m: int) -> Rival:
    """Return a limited-memory method with m pairs."""
    return Rival(f"{method}, m={m}", method, {"maxcor": m})


RIVALS = (
    DEFAULT,
    Rival("lqn-tr", "lqn-tr"),
    *(with_pairs(method, 10) for method in OURS),
    with_pairs("lsr1-tr", 5),
    with_pairs("lsr1-wolfe-pm", 5),
    with_pairs("L-BFGS-B", 5),
    with_pairs("L-BFGS-B", 10),
    Rival("BFGS", "BFGS", most=100),
    Rival("CG", "CG", most=100_000),
)
#: Those shown on a convex function too: the model of lqn-tr is another one there.
LATER = tuple(r for r in RIVALS if r.label in ("default", "lqn-tr, m=10", "L-BFGS-B, m=10"))
OBJECTIVES = {"rosenbrock": rosenbrock, "convex": convex}
Objective = Callable[[Vector], tuple[float, Vector]]


# --- overhead --------------------------------------------------------------------------------


def repeats_at(n: int) -> int:
    """Return how often a run of n variables is repeated."""
    return 9 if n <= 1_000 else 5 if n <= 10_000 else 3


def marginal(
    rivals: Sequence[Rival], n: int, repeats: int, lengths: tuple[int, int], fun: Objective
) -> dict[str, tuple[float, float, int]]:
    """Return for each solver: seconds an evaluation in a short run, and at the margin; evaluations.

    At the margin: the long run less the short one, so that what a run costs once cancels; nan
    where the difference is within the noise.
    """
    x0, times = start(n), max(1, 40 // n)
    found: dict[str, tuple[list[float], list[float], int, int]] = {}
    for _ in range(repeats):
        for rival in (rival for rival in rivals if n <= rival.most):
            rival.overhead(fun, x0, 3)  # its code is in the caches again
            short, few = rival.overhead(fun, x0, lengths[0], times)
            long, many = rival.overhead(fun, x0, lengths[1], times)
            known = found.setdefault(rival.label, ([], [], few, many))
            known[0].append(short)
            known[1].append(long)
    return {
        label: (least(short) / few, margin(short, long) / max(many - few, 1), many)
        for label, (short, long, few, many) in found.items()
    }


def opponent(label: str) -> str:
    """Return the label of L-BFGS-B with as many pairs; its own are ten."""
    return f"L-BFGS-B, {label.split(', ')[1]}" if ", m=" in label else "L-BFGS-B, m=10"


def overhead(out: Path, first: int | None) -> None:
    """Measure the overhead against n, with L-BFGS-B's as the yardstick."""
    rows = []
    cases = [("rosenbrock", n, RIVALS) for n in SIZES] + [("convex", n, LATER) for n in SIZES]
    for name, n, rivals in [case for case in cases if case[1] in SIZES[:first]]:
        found = marginal(rivals, n, repeats_at(n), (SHORT, LONG), OBJECTIVES[name](n))
        log.info("overhead at n = %d, %s", n, name)
        for label, (short, further, evaluations) in found.items():
            theirs = found[opponent(label)]
            rows.append(
                {
                    "objective": name,
                    "n": n,
                    "solver": label,
                    "us per evaluation": shown(further, scale=1e6),
                    "L-BFGS-B / it": shown(theirs[1] / further, ".2f"),
                    "us, short solve with start-up": shown(short, scale=1e6),
                    "L-BFGS-B / it, short solve": shown(theirs[0] / short, ".2f"),
                    f"evaluations in {LONG} iterations": evaluations,
                }
            )
    write_table(rows, out / "speed-overhead.csv")
    ratios(rows, out)


def ratios(rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write one row a solver and one column a size: the ratios alone."""
    table: dict[str, dict[str, str]] = {}
    for row in rows:
        if str(row["solver"]).startswith("L-BFGS-B"):
            continue
        label = f"{row['solver']}; {row['objective']}"
        columns = table.setdefault(label, {"solver; objective": label})
        columns[f"n = {row['n']}"] = str(row["L-BFGS-B / it"])
    sizes = list(next(iter(table.values())))
    write_table(
        [{s: r.get(s, "") for s in sizes} for r in table.values()], out / "speed-ratios.csv"
    )


def memory_size(out: Path, first: int | None) -> None:
    """Measure the overhead against m at two sizes."""
    rows = []
    for n in (1_000, 100_000)[:first]:
        for m in (5, 10, 20, 40)[:first]:
            rivals = [with_pairs(method, m) for method in (*OURS, "L-BFGS-B")]
            found = marginal(rivals, n, repeats_at(n), (m + 2, m + 22), rosenbrock(n))
            log.info("m = %d at n = %d", m, n)
            rows.append(
                {"n": n, "m": m}
                | {label.split(",")[0]: shown(row[1], scale=1e6) for label, row in found.items()}
            )
    write_table(rows, out / "speed-memory-size.csv")


# --- the figure ------------------------------------------------------------------------------


def draw(against_n: Iterable[Mapping[str, str]], against_m: Iterable[Mapping[str, str]]) -> Any:
    """Return the figure: overhead against n (left) and m (right), doubly logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in against_n:
        if row["objective"] == "rosenbrock" and row["us per evaluation"]:
            point = float(row["n"]), float(row["us per evaluation"])
            lines.setdefault(row["solver"], []).append(point)
    names = ["default", "lqn-tr, m=10", "lsr1-wolfe-pm, m=10", "L-BFGS-B, m=10", "BFGS", "CG"]
    for i, label in enumerate(names):
        if label in lines:
            left.loglog(*zip(*lines[label], strict=True), f"C{i}o-", markersize=3, label=label)
    left.set(xlabel="n", ylabel="us per evaluation beside the objective")
    table = [row for row in against_m if row["n"] == "100000"]
    for i, label in enumerate((*OURS, "L-BFGS-B")):
        points = [(float(row["m"]), float(row[label])) for row in table if row[label]]
        if points:
            right.loglog(*zip(*points, strict=True), f"C{i}o-", markersize=3, label=label)
    right.set(xlabel="stored pairs m, at n = 100000")
    for ax in (left, right):
        if ax.lines:
            ax.legend(frameon=False, fontsize="x-small")
        ax.grid(visible=True, alpha=0.3, linewidth=0.6)
        ax.spines[["top", "right"]].set_visible(False)
    return figure


PARTS: Mapping[str, Callable[[Path, int | None], None]] = {
    "overhead": overhead,
    "memory-size": memory_size,
    "products": products,
    "solves": solves,
    "cold": cold,
    "memory": memory,
    "compiled": compiled,
    "batch": batch,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line asks for."""
    options = parser(__doc__)
    options.add_argument("what", nargs="*", help=f"of {list(PARTS)}; nothing is all")
    chosen = options.parse_args(arguments)
    what = chosen.what or list(PARTS)
    if not set(what) <= set(PARTS):
        options.error(f"{what}: choose from {list(PARTS)}")
    begin(chosen.out)
    log.info("%s, NumPy %s", platform.processor() or platform.machine(), np.__version__)
    with one_thread():
        for name in what:
            PARTS[name](chosen.out, chosen.first)
    tables = [read_table(chosen.out / f"speed-{name}.csv") for name in ("overhead", "memory-size")]
    if all(tables) and {"overhead", "memory-size"} & set(what):
        save(draw(*tables), chosen.out / "speed-scaling.svg")


if __name__ == "__main__":
    main()
