"""Whole solves on built-in problems: seconds, evaluations, memory."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np

import negopt

from .common import DENSE, METHODS, OURS, PRODUCTS, SMOKE, Meter, ratio, solve

#: Problems and their size: a curved valley; wells with saddles between them.
PROBLEMS = {"chained_rosenbrock": 100, "coupled_double_wells": 50}
if SMOKE:
    PROBLEMS = {"coupled_double_wells": 50}
MAXITER = 3000


class Solve:
    """Standard starts of classical problems."""

    params = (list(PROBLEMS), list(METHODS))
    param_names = ("problem", "method")

    def setup(self, name: str, method: str) -> None:
        self.problem = negopt.problems.get(name, PROBLEMS[name])
        # Load what a method needs, outside the measurement.
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


class SolveBesideSciPy:
    """Whole solves: seconds of SciPy's method over those of negopt's, which takes turns with it."""

    params = (list(PROBLEMS), list(OURS))
    param_names = ("problem", "method")

    def setup(self, name: str, method: str) -> None:
        self.problem = negopt.problems.get(name, PROBLEMS[name])
        products = "hessp" in negopt.METHODS[method].needs
        self.rival = PRODUCTS[0] if products else "L-BFGS-B"

    def runs(self, method: str) -> Meter:
        meter = Meter(self.problem, stop=True)
        solve(meter, self.problem.x0, method, maxiter=MAXITER)
        return meter

    def track_ratio_time(self, name: str, method: str) -> float:
        if not (self.runs(self.rival).solved and self.runs(method).solved):
            return math.nan
        return ratio(lambda: self.runs(self.rival), lambda: self.runs(method), 3)

    def track_ratio_evaluations(self, name: str, method: str) -> float:
        theirs, ours = self.runs(self.rival), self.runs(method)
        if not (theirs.solved and ours.solved):
            return math.nan
        return (theirs.evaluations + theirs.products) / (ours.evaluations + ours.products)


class Memory:
    """Peak memory of a process that does a few iterations at large n (dense methods left out)."""

    params = ([200_000], [m for m in METHODS if m not in DENSE])
    param_names = ("n", "method")

    def setup(self, n: int, method: str) -> None:
        self.problem = negopt.problems.get("chained_rosenbrock", n)

    def peakmem_solve(self, n: int, method: str) -> None:
        solve(Meter(self.problem), self.problem.x0, method, maxiter=12)


class Vectors:
    """Vectors of n entries that a run holds at its peak beside the caller's: docs/speed.md."""

    params = (
        [100_000],
        [5, 10],
        ["lsr1-tr", "lsr1-wolfe-pm", "lqn-tr", "newton-krylov", "L-BFGS-B"],
    )
    param_names = ("n", "pairs", "method")
    unit = "vectors"

    def track_vectors_held(self, n: int, pairs: int, method: str) -> float:
        d, g, image = np.linspace(1.0, 30.0, n), np.empty(n), np.empty(n)

        class Quiet:
            """Allocates nothing itself."""

            def fun_and_grad(self, x):
                np.multiply(d, x, out=g)
                return 0.5 * float(g @ x), g

            def hessp(self, x):
                return lambda p: np.multiply(d, p, out=image)

        x0 = np.ones(n)
        solve(Meter(Quiet()), x0, method, maxiter=3, maxcor=pairs)
        tracemalloc.start()
        solve(Meter(Quiet()), x0, method, maxiter=200, maxcor=pairs)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak / (8 * n)
