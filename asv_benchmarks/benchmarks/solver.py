"""The loop: what a solver spends beside the objective."""

from __future__ import annotations

import time

import negopt

from .common import DENSE, METHODS, Meter, solve


class Overhead:
    """Microseconds an evaluation, with the objective's own time subtracted."""

    params = ([10, 1_000, 100_000], [m for m in METHODS if m not in DENSE])
    param_names = ("n", "method")
    unit = "us"

    def setup(self, n: int, method: str) -> None:
        self.problem = negopt.problems.get("chained_rosenbrock", n)
        solve(Meter(self.problem), self.problem.x0, method, maxiter=3)

    def track_overhead_per_evaluation(self, n: int, method: str) -> float:
        best = float("inf")
        for _ in range(3 if n < 100_000 else 1):
            meter = Meter(self.problem)
            start = time.perf_counter()
            solve(meter, self.problem.x0, method, maxiter=40)
            spent = time.perf_counter() - start - meter.seconds
            best = min(best, spent / (meter.evaluations + meter.products))
        return 1e6 * best
