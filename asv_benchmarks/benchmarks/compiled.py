"""Objectives compiled by `numba.njit`: whole solves, SciPy on the same objective beside them."""

from __future__ import annotations

import numba
import numpy as np

from .common import FUSED, ratio, solve


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


class Compiled:
    """The chained Rosenbrock function from its classical start."""

    params = ([2, 10, 100, 1_000, 10_000], [m for m in FUSED if m != "dqn-wolfe-pm"])
    param_names = ("n", "method")

    def setup(self, n: int, method: str) -> None:
        self.x0 = np.where(np.arange(n) % 2 == 0, -1.2, 1.0)
        self.budget = 3000 if n <= 100 else 100
        self.ours(method)

    def ours(self, method: str) -> object:
        return solve(Bare(), self.x0, method, maxiter=self.budget, certify=False)

    def scipys(self) -> object:
        return solve(Bare(), self.x0, "L-BFGS-B", maxiter=self.budget, maxfun=10**6)

    def time_solve(self, n: int, method: str) -> None:
        self.ours(method)

    def track_ratio_time(self, n: int, method: str) -> float:
        return ratio(self.scipys, lambda: self.ours(method))

    def track_ratio_evaluations(self, n: int, method: str) -> float:
        theirs, ours = self.scipys(), self.ours(method)
        return float(theirs.nfev / ours.nfev)

    def track_final_value(self, n: int, method: str) -> float:
        return float(self.ours(method).fun)
