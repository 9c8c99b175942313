"""What `speed` measures of whole runs: solves, first solves, memory, jitted objectives, batches."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _runs import Task, collection, log, mean_ratio, words, write_table
from _timing import (
    Clocked,
    Rival,
    convex,
    convex_product,
    fresh,
    least,
    rosenbrock,
    rosenbrock_product,
    shown,
    start,
)
from scipy import optimize

import negopt

#: The limited-memory methods.
LIMITED = ("lsr1-tr", "lsr1-wolfe-pm", "lbfgs-wolfe", "lqn-tr")

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
        for turn in range(4):
            for rival in SOLVES:
                clocked = Clocked(task.fun_and_grad)
                begun = time.perf_counter()
                result = rival.minimize(clocked, np.array(task.x0))
                if turn:  # the first loads
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
        row[f"ms, {label}"] = f"{1e3 * least(times[label]):.4g}" if good else ""
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


# --- Hessian products ------------------------------------------------------------------------

KRYLOV = ("newton-krylov", "trust-krylov")
#: Objective and variables.  The chain takes as many iterations as there are variables.
CURVED = (
    *(("rosenbrock", n) for n in (2, 10, 100)),
    *(("convex", n) for n in (2, 10, 100, 1_000, 10_000, 100_000)),
)
FUNCTIONS = {"rosenbrock": (rosenbrock, rosenbrock_product), "convex": (convex, convex_product)}


def products(out: Path, first: int | None) -> None:
    """Time the methods on Hessian products, outside the objective, to ||g|| <= 1e-5."""
    rows = []
    for kind, n in CURVED[:first]:
        times: dict[str, list[float]] = {name: [] for name in KRYLOV}
        counts: dict[str, tuple[int, int, float]] = {}
        for turn in range(6 if n <= 1_000 else 4):
            for name in KRYLOV:
                seconds, counts[name] = _krylov(name, kind, n)
                if turn:
                    times[name].append(seconds)
        per = {name: least(times[name]) / sum(counts[name][:2]) for name in KRYLOV}
        for name in KRYLOV:
            evaluations, calls, size = counts[name]
            rows.append(
                {
                    "objective": kind,
                    "n": n,
                    "solver": name,
                    "evaluations": evaluations,
                    "products": calls,
                    "||g||": f"{size:.1e}",
                    "us per evaluation or product": shown(per[name], scale=1e6),
                    "trust-krylov / it": shown(per["trust-krylov"] / per[name], ".2f"),
                    "ms in all": shown(least(times[name]), scale=1e3),
                    "trust-krylov / it, in all": shown(
                        least(times["trust-krylov"]) / least(times[name]), ".2f"
                    ),
                }
            )
        log.info("products, %s, n = %d", kind, n)
    write_table(rows, out / "speed-products.csv")


def _krylov(name: str, kind: str, n: int) -> tuple[float, tuple[int, int, float]]:
    """Return the seconds of a solve outside f, g and products; what it took, and the last ||g||."""
    make, product = FUNCTIONS[kind]
    fun, hessp = Clocked(make(n)), Clocked(product)
    ours = name in negopt.METHODS
    call: Any = negopt.minimize if ours else optimize.minimize
    options: dict[str, Any] = {"gtol": 1e-5, "maxiter": 2000}
    options |= {"norm": 2, "certify": False} if ours else {}
    begun = time.perf_counter()
    res = call(fun, start(n), jac=True, hessp=hessp, method=name, options=options)
    seconds = time.perf_counter() - begun - fun.seconds - hessp.seconds
    return seconds, (fun.calls, hessp.calls, float(np.linalg.norm(res.jac)))


# --- the first solve, and memory -------------------------------------------------------------

_COLD = """
import json, sys, time
import numpy as np
clock = time.process_time
n = {n}
x0 = np.where(np.arange(n) % 2 == 0, -1.2, 1.0)
def fun(x):
    a, b, g = x[1:] - x[:-1] ** 2, 1.0 - x[:-1], np.zeros(n)
    g[1:] = 200.0 * a
    g[:-1] -= 400.0 * a * x[:-1] + 2.0 * b
    return float(100.0 * (a @ a) + b @ b), g
def hessp(x, p):
    out = np.zeros(n)
    out[1:] = 200.0 * p[1:] - 400.0 * x[:-1] * p[:-1]
    out[:-1] += (1200.0 * x[:-1] ** 2 - 400.0 * x[1:] + 2.0) * p[:-1] - 400.0 * x[:-1] * p[1:]
    return out
begun = clock()
{imports}
minimize
times = [clock() - begun]
def solve(**more):
    begun = clock()
    minimize(fun, x0, jac=True{keywords}, options={{"gtol": 1e-8, **more}})
    return clock() - begun
{compilation}
times += [solve() for _ in range(3)]
print(json.dumps([times, "numba" in sys.modules]))
"""
_JITTED = """
import numba
@numba.njit
def fun(x):
    f, g = 0.0, np.zeros(x.shape[0])
    for i in range(x.shape[0] - 1):
        a, b = x[i + 1] - x[i] * x[i], 1.0 - x[i]
        f += 100.0 * a * a + b * b
        g[i] -= 400.0 * a * x[i] + 2.0 * b
        g[i + 1] += 200.0 * a
    return f, g
begun = clock()
fun(x0)
times.append(clock() - begun)
times[-1] += solve(maxiter=1)
"""
_OURS = "import negopt; minimize = negopt.minimize"
_SCIPYS = "from scipy.optimize import minimize"
#: Method, variables, keywords, whether the objective is jitted.
_FIRST = (
    ("default", 2, "", False),
    ("default", 300, "", False),
    ("default", 1_000, "", False),
    ("newton-krylov", 300, ", hessp=hessp", False),
    ("lbfgs-wolfe", 300, ", method='lbfgs-wolfe'", True),
)


def cold(out: Path, first: int | None) -> None:
    """Time the first three solves of fresh processes in which nothing has been compiled."""
    rows = []
    for name, n, keywords, in_numba in _FIRST[:first]:
        for label, imports, more in (
            (name, _OURS, keywords),
            ("L-BFGS-B", _SCIPYS, ", method='L-BFGS-B'"),
        ):
            compilation = _JITTED if in_numba else "times.append(float('nan'))"
            code = _COLD.format(n=n, imports=imports, keywords=more, compilation=compilation)
            found = [fresh(code) for _ in range(1 if first or in_numba else 3)]
            spent = [least(column) for column in zip(*(times for times, _ in found), strict=True)]
            rows.append(
                {
                    "n": n,
                    "objective": "jitted" if in_numba else "Python",
                    "solver": label,
                    "import": shown(spent[0], ".3f"),
                    "compilation": shown(spent[1], ".2f"),
                    "first solve": shown(spent[2], ".3f"),
                    "second": shown(spent[3], ".3f"),
                    "third": shown(spent[4], ".3f"),
                    "Numba": "imported" if found[0][1] else "",
                }
            )
        log.info("first solves of %s, n = %d", name, n)
    write_table(rows, out / "speed-cold.csv")


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
products = {{}}
if negopt.METHODS[method].needs == "hessp":
    image = np.empty(n)
    products = {{"hessp": lambda x, p: np.multiply(d[:p.size], p, out=image[:p.size])}}
negopt.minimize(lambda x: (float(x @ x), 2.0 * x), np.ones(50), jac=True, method=method, **products)
x0 = np.ones(n)
tracemalloc.start()
res = negopt.minimize(fun, x0, jac=True, method=method, options=options, **products)
peak = tracemalloc.get_traced_memory()[1]
rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([peak / (8 * n), rss / 2**20, res.nit, res.curvature_status]))
"""


def memory(out: Path, first: int | None) -> None:
    """Read the peak of traced memory in fresh processes, for a run that ends and is checked."""
    rows = []
    methods = (*LIMITED, "newton-krylov")
    cases = [(n, m, name) for n, m in ((100_000, 5), (100_000, 10)) for name in methods]
    cases += [(1_000_000, 10, "lqn-tr"), (1_000_000, 10, "newton-krylov")]
    for n, m, method in [*cases, (4_000_000, 10, "lqn-tr")][:first]:
        held, rss, nit, verdict = fresh(_PEAK.format(n=n, m=m, method=method, maxiter=200))
        rows.append(
            {
                "n": n,
                "m": m,
                "method": method,
                "vectors held at the peak": f"{held:.2f}",
                "bound": 2 * m + (12 if method in LIMITED else 46),
                "process, GiB": f"{rss:.2f}",
                "iterations": nit,
                "second-order check": verdict,
            }
        )
        log.info("memory of %s at n = %d, m = %d: %.2f", method, n, m, held)
    write_table(rows, out / "speed-memory.csv")


# --- compiled objectives and batches ---------------------------------------------------------

#: Fits of which SciPy makes so many, as a sample.
SAMPLE = 1_000


def jitted() -> tuple[Any, Any]:
    """Return two compiled functions: the chained Rosenbrock function, and the misfit of a peak."""
    import numba

    @numba.njit
    def rosenbrock(x):  # type: ignore[no-untyped-def]
        f, g = 0.0, np.zeros(x.shape[0])
        for i in range(x.shape[0] - 1):
            a, b = x[i + 1] - x[i] * x[i], 1.0 - x[i]
            f += 100.0 * a * a + b * b
            g[i] -= 400.0 * a * x[i] + 2.0 * b
            g[i + 1] += 200.0 * a
        return f, g

    @numba.njit
    def misfit(p, y, t):  # type: ignore[no-untyped-def]
        f, g = 0.0, np.zeros(4)
        for i in range(t.shape[0]):
            z = (t[i] - p[1]) / p[2]
            e = np.exp(-0.5 * z * z)
            r = p[0] * e + p[3] - y[i]
            f += 0.5 * r * r
            g[0] += r * e
            g[1] += r * p[0] * e * z / p[2]
            g[2] += r * p[0] * e * z * z / p[2]
            g[3] += r
        return f, g

    return rosenbrock, misfit


def compiled(out: Path, first: int | None) -> None:
    """Time whole solves of a compiled objective, which SciPy gets too."""
    fun = jitted()[0]
    rows = []
    for n in (2, 10, 100, 1_000, 10_000)[:first]:
        x0 = np.where(np.arange(n) % 2 == 0, -1.2, 1.0)
        # To the end where that is near; else as many iterations for all.
        most = 5_000 if n <= 100 else 100
        tight: dict[str, Any] = {"gtol": 1e-8, "maxiter": most}
        rivals = [
            Rival("lbfgs-wolfe", "lbfgs-wolfe", {**tight, "certify": False}),
            Rival("lbfgs-wolfe, checked", "lbfgs-wolfe", tight),
            # Its matrices have n^2 entries.
            Rival("dqn-wolfe-pm", "dqn-wolfe-pm", {**tight, "certify": False}, most=1_000),
            Rival("default", None, {**tight, "certify": False}),
            Rival("default, checked", None, tight),
            Rival("L-BFGS-B", "L-BFGS-B", {**tight, "ftol": 0.0, "maxfun": 10**6}),
        ]
        rivals = [rival for rival in rivals if n <= rival.most]
        times: dict[str, list[float]] = {rival.label: [] for rival in rivals}
        ends: dict[str, Any] = {}
        # Short solves come in rows, as they do in use: a lone one measures what is in the cache.
        row = max(1, 200 // n)
        for turn in range(6 if n <= 1_000 else 4):
            for rival in rivals:
                begun = time.perf_counter()
                for _ in range(row):
                    ends[rival.label] = rival.minimize(fun, x0)
                if turn:
                    times[rival.label].append((time.perf_counter() - begun) / row)
        theirs = least(times["L-BFGS-B"])
        for label, end in ends.items():
            rows.append(
                {
                    "n": n,
                    "solver": label,
                    "ms": f"{1e3 * least(times[label]):.4g}",
                    "L-BFGS-B / it": f"{theirs / least(times[label]):.1f}",
                    "evaluations": end.nfev,
                    "f": f"{end.fun:.3g}",
                    "max|g|": f"{np.max(np.abs(end.jac)):.1e}",
                }
            )
        log.info("compiled, n = %d", n)
    write_table(rows, out / "speed-compiled.csv")


def batch(out: Path, first: int | None) -> None:
    """Time 10,000 fits of four parameters at once, and in a loop over SciPy."""
    fun, k = jitted()[1], 10_000 if first is None else 100 * first
    rng, t = np.random.default_rng(0), np.linspace(-3.0, 3.0, 21)
    true = np.array([1.0, 0.0, 1.0, 0.2]) + 0.2 * rng.standard_normal((k, 4))
    z = (t - true[:, 1:2]) / true[:, 2:3]
    clean = true[:, :1] * np.exp(-0.5 * z * z) + true[:, 3:]
    y = clean + 0.02 * rng.standard_normal(clean.shape)
    starts = np.tile([0.8, 0.3, 1.3, 0.0], (k, 1))
    cases = {
        "minimize_batch": {},
        "minimize_batch, workers=1": {"workers": 1},
        "minimize_batch, workers=1, unchecked": {"workers": 1, "options": {"certify": False}},
    }
    times: dict[str, list[float]] = {name: [] for name in (*cases, "L-BFGS-B", "BFGS")}
    ends: dict[str, tuple[float, float, float]] = {}
    sample = min(SAMPLE, k)
    for turn in range(max(2, first or 3)):
        for name, keywords in cases.items():
            begun = time.perf_counter()
            res = negopt.minimize_batch(
                fun,
                starts,
                (y,),
                jac=True,
                common=(t,),
                **keywords,  # type: ignore[arg-type]
            )
            if turn:
                times[name].append(time.perf_counter() - begun)
            ends[name] = np.mean(res.nfev), np.mean(res.fun[:sample]), np.mean(res.success)
        for name in ("L-BFGS-B", "BFGS"):
            begun = time.perf_counter()
            found = [
                optimize.minimize(fun, starts[i], (y[i], t), name, jac=True, tol=1e-5)
                for i in range(sample)
            ]
            if turn:
                times[name].append((time.perf_counter() - begun) * k / sample)
            ends[name] = (
                float(np.mean([r.nfev for r in found])),
                float(np.mean([r.fun for r in found])),
                float(np.mean([r.success for r in found])),
            )
    theirs = least(times["L-BFGS-B"])
    rows = [
        {
            "solver": name,
            f"s for {k} fits": f"{least(found):.3f}",
            "L-BFGS-B / it": f"{theirs / least(found):.1f}",
            "evaluations a fit": f"{ends[name][0]:.1f}",
            "mean f": f"{ends[name][1]:.6g}",
            "success, %": f"{100.0 * ends[name][2]:.1f}",
        }
        for name, found in times.items()
    ]
    write_table(rows, out / "speed-batch.csv")
