"""Speed: overhead per evaluation, bandwidth, whole solves, start-up and memory, beside SciPy.

``OPENBLAS_NUM_THREADS=1 python docs/experiments/speed.py`` takes about ten minutes on an idle
machine and 3 GB of memory; name what is wanted of ``overhead memory-size bandwidth solves start
memory compiled batch``.  All solvers take turns in one process, and the tables show medians of
the repeats.

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
from _solves import batch, compiled, memory, solves, start_up
from _timing import (
    Rival,
    Vector,
    convex,
    median_of,
    one_thread,
    rosenbrock,
    start,
    streams,
)
from profiles import save

#: Iterations of the short and the long run: m pairs are stored after the short one.
SHORT, LONG = 12, 32
SIZES = (2, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
DEFAULT = Rival("default", None)
SCIPY_DEFAULT = Rival("L-BFGS-B", "L-BFGS-B")
#: Method and pairs -> what the issue asks of L-BFGS-B / negopt: up to n, at least so much.
TARGETS = ((1_000, 4.0), (100_000, 3.0), (1_000_000, 2.0))
DEFAULT_TARGET = 2.0


def with_pairs(method: str, m: int) -> Rival:
    """Return a limited-memory method with m pairs."""
    return Rival(f"{method}, m={m}", method, {"maxcor": m})


RIVALS = (
    *(with_pairs(method, m) for m in (5, 10) for method in (*OURS, "L-BFGS-B")),
    DEFAULT,
    SCIPY_DEFAULT,
    Rival("BFGS", "BFGS", most=100),
    Rival("CG", "CG"),
)
#: Those shown on a convex function too: the model of lqn-tr is another one there.
LATER = tuple(
    r for r in RIVALS if r.label in ("default", "L-BFGS-B", "lqn-tr, m=5", "L-BFGS-B, m=5")
)
OBJECTIVES = {"rosenbrock": rosenbrock, "convex": convex}
Objective = Callable[[Vector], tuple[float, Vector]]


# --- overhead --------------------------------------------------------------------------------


def repeats_at(n: int) -> int:
    """Return how often a run of n variables is repeated."""
    return 25 if n <= 1_000 else 9 if n <= 10_000 else 5 if n <= 100_000 else 3


def marginal(
    rivals: Sequence[Rival], n: int, repeats: int, fun: Objective | None = None
) -> dict[str, tuple[float, float, float]]:
    """Return for each solver: seconds an evaluation in a short run, and at the margin; evaluations.

    At the margin: the long run less the short one, so that what a run costs once cancels.
    """
    fun, x0 = fun or rosenbrock(n), start(n)
    rivals = [rival for rival in rivals if n <= rival.most]
    found: dict[str, list[tuple[float, float, float]]] = {rival.label: [] for rival in rivals}
    for _ in range(repeats):
        for rival in rivals:
            rival.overhead(fun, x0, 3)  # compiles; and its code is in the caches again
            short, few = rival.overhead(fun, x0, SHORT)
            long, many = rival.overhead(fun, x0, LONG)
            found[rival.label].append((short / few, (long - short) / (many - few), many))
    return {
        label: tuple(median_of(column) for column in zip(*rows, strict=True))  # type: ignore[misc]
        for label, rows in found.items()
    }


def opponent(label: str) -> str:
    """Return the label of L-BFGS-B with as many pairs."""
    return f"L-BFGS-B, {label.split(', ')[1]}" if ", m=" in label else "L-BFGS-B"


def overhead(out: Path, first: int | None) -> None:
    """Measure the overhead against n, with L-BFGS-B's as the yardstick."""
    rows = []
    cases = [("rosenbrock", n, RIVALS) for n in SIZES] + [("convex", n, LATER) for n in SIZES]
    for name, n, rivals in [case for case in cases if case[1] in SIZES[:first]]:
        found = marginal(rivals, n, repeats_at(n), OBJECTIVES[name](n))
        log.info("overhead at n = %d, %s", n, name)
        for label, (short, margin, evaluations) in found.items():
            theirs = found[opponent(label)]
            rows.append(
                {
                    "objective": name,
                    "n": n,
                    "solver": label,
                    "us an evaluation": f"{1e6 * margin:.3g}",
                    "L-BFGS-B / it": f"{theirs[1] / margin:.2f}",
                    "us, short solve with start-up": f"{1e6 * short:.3g}",
                    "L-BFGS-B / it, short solve": f"{theirs[0] / short:.2f}",
                    f"evaluations in {LONG} iterations": int(evaluations),
                    "target": target(label, n),
                }
            )
    write_table(rows, out / "speed-overhead.csv")
    ratios(rows, out)


def target(label: str, n: int) -> str:
    """Return the ratio that was asked for, or nothing."""
    if label == DEFAULT.label:
        return f"{DEFAULT_TARGET:g}"
    if label in ("lsr1-tr, m=5", "lsr1-wolfe-pm, m=5"):
        return f"{next(goal for most, goal in TARGETS if n <= most):g}"
    return ""


def ratios(rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write one row a solver and one column a size: the ratios alone, met (+) or missed (-)."""
    table: dict[str, dict[str, str]] = {}
    for row in rows:
        if opponent(str(row["solver"])) == row["solver"]:
            continue
        ratio, goal = str(row["L-BFGS-B / it"]), str(row["target"])
        mark = "" if not goal else " +" if float(ratio) >= float(goal) else f" - ({goal})"
        label = f"{row['solver']}; {row['objective']}"
        table.setdefault(label, {"solver; objective": label})[f"n = {row['n']}"] = ratio + mark
    sizes = list(next(iter(table.values())))
    write_table(
        [{s: r.get(s, "") for s in sizes} for r in table.values()], out / "speed-ratios.csv"
    )


def memory_size(out: Path, first: int | None) -> None:
    """Measure the overhead against m at two sizes."""
    rows = []
    for n in (1_000, 100_000)[:first]:
        for m in (2, 5, 10, 20, 40):
            rivals = [with_pairs(method, m) for method in (*OURS, "L-BFGS-B")]
            fun, x0 = rosenbrock(n), start(n)
            times: dict[str, list[float]] = {rival.label: [] for rival in rivals}
            for _ in range(repeats_at(n) // 3 + 1):
                for rival in rivals:
                    rival.overhead(fun, x0, 3)
                    short, few = rival.overhead(fun, x0, m + 2)
                    long, many = rival.overhead(fun, x0, m + 22)
                    times[rival.label].append((long - short) / (many - few))
            log.info("m = %d at n = %d", m, n)
            rows.append(
                {"n": n, "m": m}
                | {
                    rival.label.split(",")[0]: f"{1e6 * median_of(times[rival.label]):.3g}"
                    for rival in rivals
                }
            )
    write_table(rows, out / "speed-memory-size.csv")


# --- bandwidth -------------------------------------------------------------------------------

#: Vectors of n doubles that an accepted iteration of one evaluation reads and writes, beside
#: 4m for the stored rows: the copy handed to the user 2; the trial measured 5 (region) or 4
#: (search), its pair measured 4, stored 6 and learnt with the rows; the step formed 3 (region)
#: or 2, and measured and followed 5 (search).
TRAFFIC = {"lsr1-tr": 20, "lqn-tr": 20, "lsr1-wolfe-pm": 23}


def bandwidth(out: Path, first: int | None) -> None:
    """Compare the bytes an iteration moves a second with what the memory can do."""
    rows = []
    for n in (100_000, 1_000_000, 4_000_000)[:first]:
        for m in (5, 10):
            before = streams()
            found = marginal([with_pairs(method, m) for method in TRAFFIC], n, 5, convex(n))
            after = streams()
            rate = {name: 0.5 * (before[name] + after[name]) for name in before}
            for label, (_, margin, _) in found.items():
                method = label.split(",")[0]
                moved = 8 * n * (4 * m + TRAFFIC[method])
                rows.append(
                    {
                        "n": n,
                        "m": m,
                        "method": method,
                        "vectors moved": f"4m + {TRAFFIC[method]}",
                        "GB/s": f"{1e-9 * moved / margin:.1f}",
                        "of triad": f"{moved / margin / rate['triad']:.2f}",
                        "of dot": f"{moved / margin / rate['dot']:.2f}",
                        "triad, GB/s": f"{1e-9 * rate['triad']:.1f}",
                        "dot, GB/s": f"{1e-9 * rate['dot']:.1f}",
                    }
                )
            log.info("bandwidth at n = %d, m = %d", n, m)
    write_table(rows, out / "speed-bandwidth.csv")


# --- the figure ------------------------------------------------------------------------------


def draw(against_n: Iterable[Mapping[str, str]], against_m: Iterable[Mapping[str, str]]) -> Any:
    """Return the figure: overhead against n (left) and m (right), doubly logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in (row for row in against_n if row["objective"] == "rosenbrock"):
        point = float(row["n"]), float(row["us an evaluation"])
        lines.setdefault(row["solver"], []).append(point)
    shown = ["lsr1-tr, m=5", "lsr1-wolfe-pm, m=5", "default", "L-BFGS-B, m=5", "BFGS", "CG"]
    for i, label in enumerate(shown):
        if label in lines:
            left.loglog(*zip(*lines[label], strict=True), f"C{i}o-", markersize=3, label=label)
    left.set(xlabel="n", ylabel="us an evaluation beside the objective")
    table = [row for row in against_m if row["n"] == "100000"]
    for i, label in enumerate((*OURS, "L-BFGS-B")):
        points = [(float(row["m"]), float(row[label])) for row in table]
        if points:
            right.loglog(*zip(*points, strict=True), f"C{i}o-", markersize=3, label=label)
    right.set(xlabel="stored pairs m, at n = 100000")
    for ax in (left, right):
        ax.legend(frameon=False, fontsize="x-small")
        ax.grid(visible=True, alpha=0.3, linewidth=0.6)
        ax.spines[["top", "right"]].set_visible(False)
    return figure


PARTS: Mapping[str, Callable[[Path, int | None], None]] = {
    "overhead": overhead,
    "memory-size": memory_size,
    "bandwidth": bandwidth,
    "solves": solves,
    "start": start_up,
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
    if all(tables):
        save(draw(*tables), chosen.out / "speed-scaling.svg")


if __name__ == "__main__":
    main()
