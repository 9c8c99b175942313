"""Whole solves on built-in problems: seconds, evaluations, memory."""

from __future__ import annotations

import math

import negopt

from .common import DENSE, METHODS, Meter, solve

#: Problems and their size: a curved valley; wells with saddles between them.
PROBLEMS = {"chained_rosenbrock": 100, "coupled_double_wells": 50}
MAXITER = 3000


class Solve:
    """Standard starts of classical problems."""

    params = (list(PROBLEMS), list(METHODS))
    param_names = ("problem", "method")

    def setup(self, name: str, method: str) -> None:
        self.problem = negopt.problems.get(name, PROBLEMS[name])
        # Compile what is compiled, outside the measurement.
        solve(Meter(self.problem), self.problem.x0, method, maxiter=3)

    def time_solve(self, name: str, method: str) -> None:
        solve(Meter(self.problem), self.problem.x0, method, maxiter=MAXITER)

    def track_evaluations_to_solution(self, name: str, method: str) -> float:
        """Evaluations of (f, g), a Hessian product counting one, to one accuracy for all."""
        meter = Meter(self.problem, stop=True)
        solve(meter, self.problem.x0, method, maxiter=MAXITER)
        return meter.evaluations + meter.products if meter.solved else math.nan

    track_evaluations_to_solution.unit = "evaluations"

    def track_final_value(self, name: str, method: str) -> float:
        """Return the f that the method itself was content with."""
        return float(solve(Meter(self.problem), self.problem.x0, method, maxiter=MAXITER).fun)

    track_final_value.unit = "f"


class Memory:
    """Peak memory of a process that does a few iterations at large n (dense methods left out)."""

    params = ([200_000], [m for m in METHODS if m not in DENSE])
    param_names = ("n", "method")

    def setup(self, n: int, method: str) -> None:
        self.problem = negopt.problems.get("chained_rosenbrock", n)

    def peakmem_solve(self, n: int, method: str) -> None:
        solve(Meter(self.problem), self.problem.x0, method, maxiter=12)
