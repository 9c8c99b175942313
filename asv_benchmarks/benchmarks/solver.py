"""The loop: what a solver spends beside the objective."""

from __future__ import annotations

import time

import numpy as np

import negopt

from .common import DENSE, METHODS, SMOKE, Meter, solve

#: Iterations of the short and the long run whose difference is the cost at the margin.
SHORT, LONG = 12, 32


class Overhead:
    """Microseconds an evaluation, with the objective's own time subtracted."""

    params = ([10, 10_000], [m for m in METHODS if m not in DENSE])
    param_names = ("n", "method")
    unit = "us"

    def setup(self, n: int, method: str) -> None:
        self.problem = negopt.problems.get("chained_rosenbrock", n)
        solve(Meter(self.problem), self.problem.x0, method, maxiter=3)

    def track_overhead_per_evaluation(self, n: int, method: str) -> float:
        best = float("inf")
        for _ in range(3):
            meter = Meter(self.problem)
            start = time.perf_counter()
            solve(meter, self.problem.x0, method, maxiter=40)
            spent = time.perf_counter() - start - meter.seconds
            best = min(best, spent / (meter.evaluations + meter.products))
        return 1e6 * best


class OverheadBesideLBFGSB:
    """Overhead of L-BFGS-B over that of a limited-memory method with as many pairs."""

    params = (
        [2] if SMOKE else [2, 100, 10_000, 100_000],
        [5, 10],
        ["lsr1-tr", "lsr1-wolfe-pm", "lqn-tr"],
    )
    param_names = ("n", "pairs", "method")

    def setup(self, n: int, pairs: int, method: str) -> None:
        self.problem = negopt.problems.get("chained_rosenbrock", n)

    def margin(self, method: str, pairs: int, iterations: int) -> tuple[float, int]:
        meter = Meter(self.problem)
        start = time.perf_counter()
        solve(meter, self.problem.x0, method, maxcor=pairs, maxiter=iterations, gtol=0.0)
        return time.perf_counter() - start - meter.seconds, meter.evaluations

    def track_ratio_overhead(self, n: int, pairs: int, method: str) -> float:
        times: dict[str, list[float]] = {"L-BFGS-B": [], method: []}
        for _ in range(20 if n <= 100 else 3):
            for name, found in times.items():
                self.margin(name, pairs, 3)  # its code is in the caches again
                short, few = self.margin(name, pairs, SHORT)
                long, many = self.margin(name, pairs, LONG)
                found.append((long - short) / (many - few))
        theirs, ours = (float(np.median(np.array(found))) for found in times.values())
        return theirs / ours
