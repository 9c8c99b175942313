"""Objectives compiled by `numba.njit`: whole solves, SciPy on the same objective beside them."""

from __future__ import annotations

import time

import numba
import numpy as np

import negopt

from .common import SMOKE, ratio, solve


@numba.njit(cache=True)
def rosenbrock(x):
    """Return the chained Rosenbrock function and its gradient."""
    f, g = 0.0, np.zeros(x.shape[0])
    for i in range(x.shape[0] - 1):
        a, b = x[i + 1] - x[i] * x[i], 1.0 - x[i]
        f += 100.0 * a * a + b * b
        g[i] -= 400.0 * a * x[i] + 2.0 * b
        g[i + 1] += 200.0 * a
    return f, g


class Bare:
    """Hands a compiled function on as it is, where `Meter` would hide it."""

    def __init__(self) -> None:
        self.fun_and_grad = rosenbrock


SIZES = (2,) if SMOKE else (2, 10, 100, 1_000, 10_000)
METHODS = ("lbfgs-wolfe", "default")


class Compiled:
    """The chained Rosenbrock function from its classical start, to the end or 100 iterations."""

    params = (list(SIZES), list(METHODS))
    param_names = ("n", "method")
    timeout = 120

    def setup_cache(self) -> dict[tuple[int, str], tuple[float, float, float, float]]:
        """Measure all in one process: an objective is compiled anew in each."""
        found = {}
        for n in SIZES:
            x0 = np.where(np.arange(n) % 2 == 0, -1.2, 1.0)
            most = 3000 if n <= 100 else 100

            def scipys(x0=x0, most=most):
                return solve(Bare(), x0, "L-BFGS-B", maxiter=most, maxfun=10**6)

            for method in METHODS:
                name = method
                if method == "default":
                    name = negopt.methods.choose(n, has_products=False)

                def ours(x0=x0, most=most, name=name):
                    return solve(Bare(), x0, name, maxiter=most, certify=False)

                speed = ratio(scipys, ours)
                begun = time.perf_counter()
                mine = ours()
                took = time.perf_counter() - begun
                found[n, method] = took, speed, scipys().nfev / mine.nfev, float(mine.fun)
        return found

    def track_seconds(self, cache, n: int, method: str) -> float:
        return cache[n, method][0]

    track_seconds.unit = "s"

    def track_ratio_time(self, cache, n: int, method: str) -> float:
        return cache[n, method][1]

    def track_ratio_evaluations(self, cache, n: int, method: str) -> float:
        return cache[n, method][2]

    def track_final_value(self, cache, n: int, method: str) -> float:
        return cache[n, method][3]
