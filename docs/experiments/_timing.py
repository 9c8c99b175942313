"""What `speed` measures with: a clock inside the objective, streams of memory, fresh processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import optimize

import negopt

Vector = np.ndarray[Any, np.dtype[Any]]

#: SciPy's methods, which never end before the iterations are used up.
ENDLESS: Mapping[str, Mapping[str, Any]] = {
    "L-BFGS-B": {"gtol": 0.0, "ftol": 0.0, "maxfun": 10**9},
    "BFGS": {"gtol": 0.0},
    "CG": {"gtol": 0.0},
}
#: Bytes of a vector that no cache holds.
LARGE = 64 * 2**20


class Clocked:
    """A function ``x -> (f, g)`` that adds up its own seconds."""

    def __init__(self, fun: Callable[[Vector], tuple[float, Vector]]) -> None:
        self.fun = fun
        self.seconds = 0.0
        self.calls = 0

    def __call__(self, x: Vector) -> tuple[float, Vector]:
        begun = time.perf_counter()
        out = self.fun(x)
        self.seconds += time.perf_counter() - begun
        self.calls += 1
        return out


@dataclass(frozen=True)
class Rival:
    """A method of either library with options.

    Parameters
    ----------
    label : str
    method : str or None
    options : mapping
    most : float
        Largest n it is run at.
    """

    label: str
    method: str | None
    options: Mapping[str, Any] = field(default_factory=dict)
    most: float = 10**7

    @property
    def scipys(self) -> bool:
        """Whether it is SciPy's."""
        return self.method in ENDLESS

    def minimize(self, fun: Any, x0: Vector, **options: Any) -> Any:
        """Run it on ``fun(x) -> (f, g)``."""
        options = {**self.options, **options}
        if not self.scipys:
            options.setdefault("compiled", True)  # else a cold cache would be waited for
        call = optimize.minimize if self.scipys else negopt.minimize
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return call(fun, x0, jac=True, method=self.method, options=options)

    def overhead(self, fun: Any, x0: Vector, iterations: int) -> tuple[float, int]:
        """Return the seconds spent outside `fun` in so many iterations, and the evaluations."""
        clocked = Clocked(fun)
        endless = ENDLESS[str(self.method)] if self.scipys else {"gtol": 0.0}
        begun = time.perf_counter()
        self.minimize(clocked, x0, maxiter=iterations, **endless)
        return time.perf_counter() - begun - clocked.seconds, clocked.calls


def rosenbrock(n: int) -> Callable[[Vector], tuple[float, Vector]]:
    """Return the chained Rosenbrock function in plain NumPy, cheaper than the collection's."""

    def fun(x: Vector) -> tuple[float, Vector]:
        a = x[1:] - x[:-1] ** 2
        b = 1.0 - x[:-1]
        g = np.empty(n)
        g[1:] = 200.0 * a
        g[0] = 0.0
        g[:-1] -= 400.0 * a * x[:-1] + 2.0 * b
        return float(100.0 * (a @ a) + b @ b), g

    return fun


def convex(n: int) -> Callable[[Vector], tuple[float, Vector]]:
    """Return ``sum d_i x_i^2 / 2 + x_i^4 / 4`` with d from 1 to 1000."""
    d = np.geomspace(1.0, 1e3, n)

    def fun(x: Vector) -> tuple[float, Vector]:
        square = x * x
        g = (d + square) * x
        return float(0.5 * (d @ square) + 0.25 * (square @ square)), g

    return fun


def start(n: int) -> Vector:
    """Return its start, perturbed so that the variables differ."""
    x0 = np.where(np.arange(n) % 2 == 0, -1.2, 1.0)
    return x0 + 0.1 * np.sin(np.arange(n))


def median_of(times: Sequence[float]) -> float:
    """Return the median."""
    return float(np.median(np.array(times)))


# --- bandwidth -------------------------------------------------------------------------------


def streams(repeats: int = 7) -> dict[str, float]:
    """Return bytes per second of a triad and of a sum of products, arrays beyond any cache.

    STREAM's rule: what is read and what is written count, not what a write fetches first.
    """
    import numba

    @numba.njit(fastmath=True)
    def triad(a: Vector, b: Vector, c: Vector) -> None:
        for i in range(a.shape[0]):
            a[i] = b[i] + 3.0 * c[i]

    @numba.njit(fastmath=True)
    def dot(b: Vector, c: Vector) -> float:
        total = 0.0
        for i in range(b.shape[0]):
            total += b[i] * c[i]
        return total

    a, b, c = (np.ones(LARGE // 8) for _ in range(3))
    seen: dict[str, list[float]] = {"triad": [], "dot": []}
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        triad(a, b, c)
        middle = time.perf_counter()
        dot(b, c)
        end = time.perf_counter()
        seen["triad"].append(3 * LARGE / (middle - begun))
        seen["dot"].append(2 * LARGE / (end - middle))
    return {name: median_of(rates[1:]) for name, rates in seen.items()}


# --- fresh processes -------------------------------------------------------------------------


def fresh(code: str, **environ: str) -> Any:
    """Run `code` in a process of its own; return the JSON that it prints last."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environ},
    )
    return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def one_thread() -> Iterator[None]:
    """Refuse to measure with several BLAS threads: SciPy's small products would crawl."""
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        raise SystemExit("set OPENBLAS_NUM_THREADS=1 (and OMP_NUM_THREADS=1) before Python starts.")
    yield
