"""What `speed` measures with: a clock inside the objective, and fresh processes."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
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


class Clocked:
    """A function, ``x -> (f, g)`` say, that adds up its own seconds."""

    def __init__(self, fun: Callable[..., Any]) -> None:
        self.fun = fun
        self.seconds = 0.0
        self.calls = 0

    def __call__(self, *args: Vector) -> Any:
        begun = time.perf_counter()
        out = self.fun(*args)
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
        call = optimize.minimize if self.scipys else negopt.minimize
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return call(fun, x0, jac=True, method=self.method, options=options)

    def overhead(self, fun: Any, x0: Vector, iterations: int, times: int = 1) -> tuple[float, int]:
        """Return the seconds spent outside `fun` in so many iterations, and the evaluations.

        Both of a run, from as many runs as are asked for.
        """
        clocked = Clocked(fun)
        endless = ENDLESS[str(self.method)] if self.scipys else {"gtol": 0.0}
        begun = time.perf_counter()
        for _ in range(times):
            self.minimize(clocked, x0, maxiter=iterations, **endless)
        seconds = time.perf_counter() - begun - clocked.seconds
        return seconds / times, clocked.calls // times


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


def rosenbrock_product(x: Vector, p: Vector) -> Vector:
    """Return the product of its Hessian at `x` with `p`."""
    head = x[:-1]
    out = np.zeros_like(x)
    out[1:] = 200.0 * p[1:] - 400.0 * head * p[:-1]
    out[:-1] += (1200.0 * head**2 - 400.0 * x[1:] + 2.0) * p[:-1] - 400.0 * head * p[1:]
    return out


def convex(n: int) -> Callable[[Vector], tuple[float, Vector]]:
    """Return ``sum d_i x_i^2 / 2 + x_i^4 / 4`` with d from 1 to 1000."""
    d = _curvatures(n)

    def fun(x: Vector) -> tuple[float, Vector]:
        square = x * x
        g = (d + square) * x
        return float(0.5 * (d @ square) + 0.25 * (square @ square)), g

    return fun


def convex_product(x: Vector, p: Vector) -> Vector:
    """Return the product of its Hessian at `x` with `p`."""
    return (_curvatures(x.size) + 3.0 * x * x) * p


@cache
def _curvatures(n: int) -> Vector:
    return np.geomspace(1.0, 1e3, n)


def start(n: int) -> Vector:
    """Return its start, perturbed so that the variables differ."""
    x0 = np.where(np.arange(n) % 2 == 0, -1.2, 1.0)
    return x0 + 0.1 * np.sin(np.arange(n))


def least(times: Sequence[float]) -> float:
    """Return the least of several times: what else the machine does only adds to them."""
    return min(times)


def margin(short: Sequence[float], long: Sequence[float]) -> float:
    """Return by how much long runs outlast short ones; nan where that is within the clock's noise.

    The noise is what the two fastest runs of a kind differ by, thrice.
    """
    noise = 0.0
    for times in (short, long):
        fastest = sorted(times)[:2]
        noise += fastest[-1] - fastest[0]
    found = least(long) - least(short)
    return found if found > 3.0 * noise and found > 0.0 else math.nan


def shown(value: float, form: str = ".3g", scale: float = 1.0) -> str:
    """Return a figure for a table; nothing where there is none."""
    return f"{scale * value:{form}}" if math.isfinite(value) else ""


# --- fresh processes -------------------------------------------------------------------------


def fresh(code: str) -> Any:
    """Run `code` in a process of its own, nothing compiled; return the JSON that it prints last."""
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "NUMBA_CACHE_DIR": cache},
        )
    return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def one_thread() -> Iterator[None]:
    """Refuse to measure with several BLAS threads: SciPy's small products would crawl."""
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        raise SystemExit("set OPENBLAS_NUM_THREADS=1 (and OMP_NUM_THREADS=1) before Python starts.")
    yield
