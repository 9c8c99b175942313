"""What all benchmarks share: the list of methods, and one call that runs any of them."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable
from typing import Any

# With an existing environment asv does not set the matrix's variables; NumPy is
# not imported yet.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import negopt

#: `make asv-smoke` asks whether every benchmark runs: the defaults and few sizes are enough.
SMOKE = os.environ.get("NEGOPT_SMOKE", "0") not in ("", "0")
OURS = tuple(name for name, row in negopt.METHODS.items() if not SMOKE or row.tier == "recommended")
SCIPY = ("L-BFGS-B", "BFGS", "trust-krylov", "Newton-CG")
METHODS = OURS + SCIPY
#: Methods that hold an n by n matrix, left out where n is large.
DENSE = (
    "sr1-wolfe-pm",
    "dqn-wolfe-pm",
    "sr1-tr",
    "bfgs-wolfe",
    "sfn-exact",
    "new-q-newton",
    "BFGS",
)
#: SciPy's methods that use Hessian products.
PRODUCTS = ("trust-krylov", "Newton-CG")
GTOL = 1e-5


class Solved(Exception):
    """Raised by `Meter` at the first point that is accurate enough."""


class Meter:
    """An objective that counts and times itself, the same for every method.

    Parameters
    ----------
    objective : object
        With ``fun_and_grad(x)`` and ``hessp(x)``.
    stop : bool, default False
        Raise `Solved` at the first gradient with ``max|g| <= 1e-5 max(1, max|g0|)``:
        every method is held to one rule, whatever its own stopping test is.
    """

    def __init__(self, objective: Any, *, stop: bool = False) -> None:
        self._objective = objective
        self._stop = stop
        self._target = -math.inf
        self._point: np.ndarray | None = None
        self.evaluations = 0
        self.products = 0
        self.seconds = 0.0
        self.solved = False

    def fun_and_grad(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Return f and g: one evaluation."""
        start = time.perf_counter()
        f, g = self._objective.fun_and_grad(x)
        self.seconds += time.perf_counter() - start
        self.evaluations += 1
        if self._stop:
            size = float(np.max(np.abs(g)))
            if self.evaluations == 1:
                self._target = GTOL * max(1.0, size)
            elif size <= self._target:
                self.solved = True
                raise Solved
        return float(f), g

    def hessp(self, x: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Return ``H(x) p``: one product; what depends on x alone is kept."""
        start = time.perf_counter()
        if self._point is None or not np.array_equal(self._point, x):
            self._point = np.array(x)
            self._product = self._objective.hessp(self._point)
        out = self._product(p)
        self.seconds += time.perf_counter() - start
        self.products += 1
        return out


def solve(meter: Meter, x0: np.ndarray, method: str, **options: Any) -> Any:
    """Minimise with a method of either library; None when `Solved` ended the run."""
    keywords: dict[str, Any] = {"jac": True, "method": method}
    if method in PRODUCTS or (method in negopt.METHODS and "hessp" in negopt.METHODS[method].needs):
        keywords["hessp"] = meter.hessp
    if method == "L-BFGS-B":
        options = {"ftol": 0.0, **options}
    if method == "Newton-CG":
        options = {"xtol": 1e-8, **options}
    else:
        options = {"gtol": GTOL, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return negopt.minimize(meter.fun_and_grad, x0, options=options, **keywords)
        except Solved:
            return None


def ratio(theirs: Callable[[], object], ours: Callable[[], object], repeats: int = 5) -> float:
    """Return the median seconds of one call over those of another, taking turns."""
    times: list[tuple[float, float]] = []
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        theirs()
        middle = time.perf_counter()
        ours()
        times.append((middle - begun, time.perf_counter() - middle))
    a, b = np.median(np.array(times[1:]), axis=0)  # the first turn loads and compiles
    return float(a / b)
