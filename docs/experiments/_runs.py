"""What the experiments share: counted problems, solvers under one rule, statistics, tables.

One evaluation of f and g at a point costs 1, and one Hessian product costs 1; a whole Hessian
costs n products.  A point asked for again costs nothing.  The cost of a run is what it had
spent at the first point with ``max|g| <= tol max(1, max|g0|)`` whose f is not above the lowest
met by more than rounding; what a solver does afterwards is not counted.
"""

from __future__ import annotations

import argparse
import csv
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize

import negopt
from negopt import METHODS, problems

log = logging.getLogger("experiments")

Vector = np.ndarray[Any, np.dtype[Any]]
Product = Callable[[Vector], Vector]

#: Tolerances of the gradient test, and what a run may spend.
TOLERANCES = (1e-5, 1e-8)
CAP = 3000

#: SciPy's methods, with the options that keep them from ending before the test of this file.
_NEVER = {"gtol": 1e-14, "maxiter": 10**6}
SCIPY: Mapping[str, Mapping[str, Any]] = {
    "L-BFGS-B": {"gtol": 0.0, "ftol": 0.0, "maxiter": 10**6, "maxfun": 10**7},
    "BFGS": _NEVER,
    "CG": _NEVER,
    "Newton-CG": {"xtol": 1e-16, "maxiter": 10**6},
    "trust-ncg": _NEVER,
    "trust-krylov": _NEVER,
    "trust-exact": _NEVER,
}
_PRODUCTS = {"Newton-CG", "trust-ncg", "trust-krylov"}


class Finished(Exception):
    """Ends a run from inside an evaluation: solved, or the cap is reached."""


@dataclass(frozen=True)
class Task:
    """A start on a problem.

    Parameters
    ----------
    name : str
        Of the problem: starts and sizes of one problem have the same name.
    x0 : array, shape (n,)
    fun_and_grad : callable
        ``x -> (f, g)``.
    hessp : callable
        ``x -> (v -> H(x) v)``.
    """

    name: str
    x0: Vector
    fun_and_grad: Callable[[Vector], tuple[Any, Vector]]
    hessp: Callable[[Vector], Product]

    @property
    def n(self) -> int:
        """Number of variables."""
        return int(self.x0.size)

    @property
    def key(self) -> str:
        """Name and size."""
        return f"{self.name}-{self.n}"


@dataclass
class Run:
    """What a run cost, and where it came.

    Attributes
    ----------
    cost : int
        All that was spent.
    lowest : float
        Lowest f met.
    hits : dict
        Tolerance -> cost and f at the point that passed the test.
    x : array, shape (n,), or None
        What the solver returned, else the point with the lowest f.
    message : str
        The solver's, or why it ended without one.
    """

    cost: int = 0
    lowest: float = math.inf
    hits: dict[float, tuple[int, float]] = field(default_factory=dict)
    x: Vector | None = None
    message: str = ""


class Counted:
    """A task whose evaluations are counted.

    Parameters
    ----------
    task : Task
    cap : int
        Evaluations and products that may be spent.
    stop : bool
        Whether the run ends at the point that passes the tightest test.
    """

    def __init__(self, task: Task, cap: int, stop: bool) -> None:
        self.task, self.cap, self.stop = task, cap, stop
        self.run = Run()
        self._seen: dict[bytes, tuple[float, Vector]] = {}
        self._linear: tuple[bytes, Product] | None = None
        self._unit = math.nan

    def _pay(self) -> None:
        if self.run.cost >= self.cap:
            raise Finished
        self.run.cost += 1

    def fun_and_grad(self, x: Vector) -> tuple[float, Vector]:
        """Return f and g at `x`."""
        key = x.tobytes()
        if key not in self._seen:
            self._pay()
            value, g = self.task.fun_and_grad(x)
            f = float(value)
            while len(self._seen) >= 16:
                del self._seen[next(iter(self._seen))]
            self._seen[key] = f, g
            self._test(x, f, float(np.max(np.abs(g))))
        f, g = self._seen[key]
        return f, g.copy()

    def _test(self, x: Vector, f: float, gmax: float) -> None:
        if math.isnan(self._unit):
            self._unit = max(1.0, gmax)
        near = f <= self.run.lowest + 1e-6 * max(1.0, abs(self.run.lowest))
        if f < self.run.lowest:
            self.run.lowest, self.run.x = f, x.copy()
        for tol in TOLERANCES:
            if tol not in self.run.hits and near and gmax <= tol * self._unit:
                self.run.hits[tol] = self.run.cost, f
        if self.stop and len(self.run.hits) == len(TOLERANCES):
            raise Finished

    def fun(self, x: Vector) -> float:
        """Return f at `x`."""
        return self.fun_and_grad(x)[0]

    def grad(self, x: Vector) -> Vector:
        """Return g at `x`."""
        return self.fun_and_grad(x)[1]

    def hessp(self, x: Vector, v: Vector) -> Vector:
        """Return H(x) v; what depends on `x` alone is done once."""
        self._pay()
        key = x.tobytes()
        if self._linear is None or self._linear[0] != key:
            self._linear = key, self.task.hessp(x.copy())
        return self._linear[1](v)

    def hess(self, x: Vector) -> Vector:
        """Return H(x): n products."""
        return np.stack([self.hessp(x, row) for row in np.eye(x.size)])


@dataclass(frozen=True)
class Solver:
    """A method of negopt or SciPy with options.

    Parameters
    ----------
    label : str
        Name in tables and figures.
    method : str or None
        Row of METHODS, name of SciPy's, or None: what negopt takes by itself.
    options : mapping
    products : bool
        Whether Hessian products are given to ``method=None``.
    """

    label: str
    method: str | None
    options: Mapping[str, Any] = field(default_factory=dict)
    products: bool = False

    def __call__(self, task: Task, *, cap: int = CAP, gtol: float | None = None) -> Run:
        """Run to the tightest test of this file; with `gtol` to the solver's own end."""
        counted = Counted(task, cap, stop=gtol is None)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                result = self._minimize(counted, gtol)
                counted.run.message = str(result.message)
                counted.run.x = np.array(result.x)
            except Finished:
                counted.run.message = "finished"
            except (ArithmeticError, ValueError, np.linalg.LinAlgError) as error:
                counted.run.message = f"{type(error).__name__}: {error}"
                log.info("%s on %s: %s", self.label, task.key, counted.run.message)
        return counted.run

    def _minimize(self, counted: Counted, gtol: float | None) -> Any:
        x0, method = np.array(counted.task.x0), self.method
        if method in SCIPY:
            options = {**SCIPY[method], **self.options}
            if gtol is not None and "gtol" in options:
                options["gtol"] = gtol
            elif gtol is not None:
                options["xtol"] = gtol
            given: dict[str, Any] = {}
            if method in _PRODUCTS:
                given["hessp"] = counted.hessp
            elif method == "trust-exact":
                given["hess"] = counted.hess
            return optimize.minimize(
                counted.fun, x0, jac=counted.grad, method=method, options=options, **given
            )
        options = {"gtol": 1e-10 if gtol is None else gtol, "maxiter": 10**6, **self.options}
        needs = self.products if method is None else METHODS[method].needs != "jac"
        return negopt.minimize(
            counted.fun_and_grad,
            x0,
            jac=True,
            hessp=counted.hessp if needs else None,
            method=method,
            options=options,
        )


def check_options(method: str, options: Mapping[str, Any]) -> None:
    """Raise where a method has no such option, which `minimize` only warns of, or no such value."""
    unknown = set(options) - METHODS[method].option_names()
    if unknown:
        raise ValueError(f"{method!r} has no option {sorted(unknown)}; change the experiment.")
    METHODS[method].with_options(options)


#: These take as long as all others together: dense, and at the cap for most solvers.
SLOW = {"chebyquad-200", "discrete_boundary_value-200"}


def collection(sizes: Sequence[int | None]) -> list[Task]:
    """Return ``negopt.problems`` without NIST's, in several sizes (None: the default)."""
    left_out = set(problems.names("nist"))
    found: dict[str, Task] = {}
    for size in sizes:
        for problem in problems.collection(n=size):
            task = Task(problem.name, problem.x0, problem.fun_and_grad, problem.hessp)
            if problem.name not in left_out and task.key not in SLOW:
                found.setdefault(task.key, task)
    return list(found.values())


# --- statistics ------------------------------------------------------------------------------

#: Costs of one solver: instance -> cost, nan for a failure.
Costs = Mapping[str, float]


def mean_ratio(ours: Costs, theirs: Costs, names: Mapping[str, str]) -> tuple[float, float, float]:
    """Return the geometric mean of the cost ratio, and a 95 % bootstrap interval of it.

    Instances that both solve count.  What is drawn anew is the *problem*, with all its sizes:
    sizes of one problem say much the same.
    """
    groups: dict[str, list[float]] = {}
    for key, cost in ours.items():
        if math.isfinite(cost) and math.isfinite(theirs[key]):
            groups.setdefault(names[key], []).append(math.log(cost / theirs[key]))
    if not groups:
        return math.nan, math.nan, math.nan
    sums = np.array([[math.fsum(logs), len(logs)] for logs in groups.values()])
    drawn = np.random.default_rng(0).integers(len(sums), size=(2000, len(sums)))
    totals = sums[drawn].sum(axis=1)
    low, high = np.exp(np.percentile(totals[:, 0] / totals[:, 1], [2.5, 97.5]))
    return float(np.exp(sums[:, 0].sum() / sums[:, 1].sum())), float(low), float(high)


def words(ratio: tuple[float, float, float]) -> str:
    """Return a ratio with its interval for a table."""
    return "" if math.isnan(ratio[0]) else f"{ratio[0]:.3f} [{ratio[1]:.3f}, {ratio[2]:.3f}]"


def percent(costs: Costs) -> str:
    """Return the share of instances with a cost."""
    return f"{100.0 * np.mean([math.isfinite(c) for c in costs.values()]):.1f}"


# --- tables and the command line -------------------------------------------------------------


def write_table(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write rows with the keys of the first as header; nothing where there are none."""
    if not rows:
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    log.info("wrote %s", path)


def read_table(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a table; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def cost_rows(tasks: Sequence[Task], costs: Mapping[str, Costs], test: str) -> Iterator[Any]:
    """Yield one row an instance, with the cost of each solver; empty for a failure."""
    for task in tasks:
        found = {label: row[task.key] for label, row in costs.items()}
        shown = {label: int(c) if math.isfinite(c) else "" for label, c in found.items()}
        yield {"test": test, "instance": task.key, "n": task.n, **shown}


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that all experiments have."""
    out = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    out.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    out.add_argument("--cap", type=int, default=CAP, help="evaluations and products of a run")
    out.add_argument("--first", type=int, help="only so many instances")
    return out


def begin(out: Path) -> None:
    """Show progress and make the folder of the results."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    out.mkdir(parents=True, exist_ok=True)
