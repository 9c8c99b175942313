"""Two engines for the saddle-free step: a Krylov space and the binomial series."""

from __future__ import annotations

import math

import negopt

from .common import Meter, solve


class SaddleFree:
    """Hessian products and evaluations to one accuracy, for each engine."""

    params = (["chained_rosenbrock", "coupled_double_wells"], ["krylov", "binomial"])
    param_names = ("problem", "engine")

    def track_evaluations_to_solution(self, name: str, engine: str) -> float:
        problem = negopt.problems.get(name, 20)
        meter = Meter(problem, stop=True)
        solve(meter, problem.x0, "sfn-series", engine=engine, maxiter=1000)
        return meter.evaluations + meter.products if meter.solved else math.nan

    track_evaluations_to_solution.unit = "evaluations"
