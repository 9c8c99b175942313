"""Speed: overhead per evaluation, bandwidth, whole solves, start-up and memory, beside SciPy.

``OPENBLAS_NUM_THREADS=1 python docs/experiments/speed.py`` takes about ten minutes on an idle
machine and 3 GB of memory; name what is wanted of ``overhead memory-size bandwidth solves start
memory``.  All solvers take turns in one process, and the tables show medians of the repeats.

Written to ``docs/experiments/results``: ``speed-WHAT.csv`` and the figure ``speed-scaling.svg``.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _runs import Task, begin, collection, log, mean_ratio, parser, read_table, words, write_table
from _timing import (
    Clocked,
    Rival,
    Vector,
    convex,
    fresh,
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
OURS = ("lsr1-tr", "lsr1-wolfe-pm", "lqn-tr")
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
    return 40 if n <= 1_000 else 15 if n <= 10_000 else 9 if n <= 100_000 else 7


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
    rate = streams()
    log.info("triad %.1f GB/s, dot %.1f GB/s", 1e-9 * rate["triad"], 1e-9 * rate["dot"])
    rows = []
    for n in (100_000, 1_000_000, 4_000_000)[:first]:
        for m in (5, 10):
            found = marginal([with_pairs(method, m) for method in TRAFFIC], n, 5, convex(n))
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


# --- whole solves ----------------------------------------------------------------------------

SOLVES = (
    Rival("negopt", None, {"gtol": 1e-6}),
    Rival("negopt, unchecked", None, {"gtol": 1e-6, "certify": False}),
    Rival("L-BFGS-B", "L-BFGS-B", {"gtol": 1e-6, "ftol": 0.0, "maxiter": 5000, "maxfun": 5000}),
    Rival("BFGS", "BFGS", {"gtol": 1e-6, "maxiter": 5000}),
)


def solves(out: Path, first: int | None) -> None:
    """Time whole solves of the collection, each solver to its own test ``max|g| <= 1e-6``."""
    rows = []
    for task in collection([None, 30])[:first]:
        times: dict[str, list[float]] = {rival.label: [] for rival in SOLVES}
        ends: dict[str, Any] = {}
        for turn in range(6):
            for rival in SOLVES:
                clocked = Clocked(task.fun_and_grad)
                begun = time.perf_counter()
                result = rival.minimize(clocked, np.array(task.x0))
                if turn:  # the first compiles
                    times[rival.label].append(time.perf_counter() - begun)
                ends[rival.label] = clocked.calls, float(np.max(np.abs(result.jac))), result.fun
        rows.append(solve_row(task, times, ends))
        log.info("solved %s", task.key)
    write_table(rows, out / "speed-solves.csv")
    summarise(rows, out)


def solve_row(task: Task, times: Mapping[str, Sequence[float]], ends: Mapping[str, Any]) -> Any:
    """Return the seconds, evaluations and final f of one instance; empty where it failed."""
    row: dict[str, Any] = {"instance": task.key, "n": task.n}
    for label, (calls, size, f) in ends.items():
        good = size <= 1e-6
        row[f"ms, {label}"] = f"{1e3 * median_of(times[label]):.4g}" if good else ""
        row[f"evaluations, {label}"] = calls if good else ""
        row[f"f, {label}"] = f"{f:.9g}"
    return row


def summarise(rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write one row a solver of SciPy's: mean ratios over what both solve, and shares."""
    names = {str(row["instance"]): str(row["instance"]).rpartition("-")[0] for row in rows}

    def column(what: str, label: str) -> dict[str, float]:
        cells = ((str(row["instance"]), row[f"{what}, {label}"]) for row in rows)
        return {key: float(cell) if cell != "" else math.nan for key, cell in cells}

    table = []
    for ours in ("negopt", "negopt, unchecked"):
        for theirs in ("L-BFGS-B", "BFGS"):
            mine, yours = column("ms", ours), column("ms", theirs)
            both = [k for k in mine if math.isfinite(mine[k]) and math.isfinite(yours[k])]
            faster = np.mean([mine[key] < yours[key] for key in both])
            table.append(
                {
                    "ours": ours,
                    "SciPy's": theirs,
                    "instances": len(rows),
                    "solved by both": len(both),
                    "time, SciPy's / ours": words(mean_ratio(yours, mine, names)),
                    "evaluations, SciPy's / ours": words(
                        mean_ratio(
                            column("evaluations", theirs), column("evaluations", ours), names
                        )
                    ),
                    "faster on, %": f"{100.0 * faster:.0f}",
                }
            )
    write_table(table, out / "speed-solves-summary.csv")


# --- start-up and memory ---------------------------------------------------------------------

_START = """
import json, time
import numpy as np
begun = time.perf_counter()
{imports}
middle = time.perf_counter()
{call}
print(json.dumps([middle - begun, time.perf_counter() - begun]))
"""
_CALL = "minimize(lambda x: (float(x @ x), 2.0 * x), np.ones({n}), jac=True{more})"


def start_up(out: Path, first: int | None) -> None:
    """Time imports and first solves in fresh processes, NumPy imported before."""
    cases = {
        "import negopt": ("import negopt", "", {}),
        "first solve, n = 10": ("import negopt; minimize = negopt.minimize", 10, {}),
        "first solve, n = 200": ("import negopt; minimize = negopt.minimize", 200, {}),
        "the same, NEGOPT_DISABLE_JIT=1": (
            "import negopt; minimize = negopt.minimize",
            200,
            {"NEGOPT_DISABLE_JIT": "1"},
        ),
        "SciPy, L-BFGS-B": ("from scipy.optimize import minimize", 200, {}),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for _ in range(first or 9):
        for name, (imports, n, environ) in cases.items():
            more = ", method='L-BFGS-B'" if name.startswith("SciPy") else ""
            call = _CALL.format(n=n, more=more) if n else ""
            found = fresh(_START.format(imports=imports, call=call), **environ)  # type: ignore[arg-type]
            times[name].append(tuple(found))
    rows = [
        {
            "what": name,
            "ms to import": f"{1e3 * median_of([a for a, _ in found]):.0f}",
            "ms in all, beyond NumPy's import": f"{1e3 * median_of([b for _, b in found]):.0f}",
        }
        for name, found in times.items()
    ]
    write_table(rows, out / "speed-start.csv")


#: The objective writes into arrays of its own, made before: what is traced is the solver's.
_PEAK = """
import json, resource, tracemalloc
import numpy as np
import negopt
n, m, method, maxiter = {n}, {m}, {method!r}, {maxiter}
d, g = np.linspace(1.0, 30.0, n), np.empty(n)
def fun(x):
    np.multiply(d, x, out=g)
    return 0.5 * float(g @ x), g
options = {{"maxcor": m, "maxiter": maxiter}}
negopt.minimize(lambda x: (float(x @ x), 2.0 * x), np.ones(50), jac=True, method=method,
                options={{"compiled": True}})
x0 = np.ones(n)
tracemalloc.start()
res = negopt.minimize(fun, x0, jac=True, method=method, options=options)
peak = tracemalloc.get_traced_memory()[1]
rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([peak / (8 * n), rss / 2**20, res.nit, res.curvature_status]))
"""


def memory(out: Path, first: int | None) -> None:
    """Read the peak of traced memory in fresh processes, for a run that ends and is checked."""
    rows = []
    cases = [(n, m, name) for n in (100_000, 1_000_000) for m in (5, 10) for name in OURS]
    for n, m, method in [*cases, (10_000_000, 10, "lqn-tr")][:first]:
        held, rss, nit, verdict = fresh(_PEAK.format(n=n, m=m, method=method, maxiter=200))
        rows.append(
            {
                "n": n,
                "m": m,
                "method": method,
                "vectors held at the peak": f"{held:.2f}",
                "bound, 2m + 12": 2 * m + 12,
                "process, GiB": f"{rss:.2f}",
                "iterations": nit,
                "second-order check": verdict,
            }
        )
        log.info("memory of %s at n = %d, m = %d: %.2f", method, n, m, held)
    write_table(rows, out / "speed-memory.csv")


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
