"""The signed Wolfe search, beside SciPy's."""

from __future__ import annotations

import numpy as np
import scipy.optimize

import negopt


class LineSearch:
    """One search on the 100-variable Rosenbrock function along the steepest descent."""

    params = (["negopt", "negopt, ascent direction", "scipy"],)
    param_names = ("search",)

    def setup(self, search: str) -> None:
        problem = negopt.problems.get("chained_rosenbrock", 100)
        self.fun, self.jac = problem.fun, problem.grad
        self.x = np.array(problem.x0)
        self.g = self.jac(self.x)
        self.direction = self.g if "ascent" in search else -self.g
        self.search = (
            scipy.optimize.line_search if search == "scipy" else negopt.line_search_wolfe_pm
        )
        self.time_search(search)

    def time_search(self, search: str) -> None:
        self.search(self.fun, self.jac, self.x, self.direction, gfk=self.g)


class NegativeSteps:
    """How often the signed search steps backwards, and what the curvature is where it does."""

    params = (["chained_rosenbrock", "coupled_double_wells", "matrix_factorisation"],)
    param_names = ("problem",)

    def setup(self, name: str) -> None:
        self.problem = negopt.problems.get(name)
        points = [np.array(self.problem.x0)]
        self.steps = self.negative = self.convex = 0

        def look(intermediate_result):
            x, result = points[-1], intermediate_result
            s = result.x - x
            points.append(result.x)
            self.steps += 1
            if result.get("step_size", 1.0) < 0.0:
                self.negative += 1
                self.convex += bool(s @ self.problem.hessp(x)(s) > 0.0)

        negopt.minimize(self.problem, self.problem.x0, method="sr1-wolfe-pm", callback=look)

    def track_share_of_steps_that_are_negative(self, name: str) -> float:
        return self.negative / self.steps

    def track_share_of_those_with_positive_curvature(self, name: str) -> float:
        return self.convex / self.negative if self.negative else float("nan")
