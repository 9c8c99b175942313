"""A physics-informed network: negopt beside ``torch.optim.LBFGS`` and Adam.

``python docs/experiments/pinn.py`` takes some minutes on one core and writes to
``docs/experiments/results``: ``pinn.csv``, one row a type of numbers, recipe, optimizer, start
and number of calls, ``pinn-summary.csv``, the medians of the last, and the figure ``pinn.png``;
``--help`` lists what can be changed.

Burgers' equation ``u_t + u u_x = nu u_xx`` on -1 < x < 1, 0 < t < 1, with u = -sin(pi x) at
t = 0 and u = 0 at both ends, which the form of u satisfies.  The solution is known, so the true
error is measured: that of the parameters with the lowest loss met.  All optimizers start from
the same parameters.  A call of the closure, the loss with its gradient, costs 1; a product with
a Hessian or a Gauss-Newton matrix costs 2, a little more than it takes.  In two stages, Adam has
the first calls.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import itertools
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _pinn_figure import draw
from _runs import read_table, write_table
from torch import nn

import negopt
from negopt.neural.torch import Optimizer, TorchObjective

log = logging.getLogger("pinn")

Row = dict[str, Any]
#: ``run(module, points, account)`` changes the module until the account is spent.
Run = Callable[[Any, torch.Tensor, Any], None]

#: Calls after which rows are written; the first stage of two has FIRST of them.
CALLS = (50, 100, 150, 200, 300, 400)
FIRST = 100
TYPES = {"float32": torch.float32, "float64": torch.float64}
#: What a product costs, in calls.
PRODUCT = 2


# --- the equation ----------------------------------------------------------------------------


def solution(x: Any, t: Any, nu: float) -> Any:
    """Return u at the points: the formula of Cole and Hopf, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite.hermgauss(120)
    places = np.pi * (np.asarray(x)[..., None] - np.sqrt(4 * nu * np.asarray(t))[..., None] * nodes)
    # The largest exponent is taken out: it cancels in the quotient.
    heights = weights * np.exp(-(np.cos(places) + 1) / (2 * np.pi * nu))
    return -np.sum(heights * np.sin(places), axis=-1) / np.sum(heights, axis=-1)


class Network(nn.Module):
    """A function N of (x, t) by layers with tanh, with its derivatives."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        sizes = [2, *widths, 1]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        for layer in self.layers:
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, points: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the output N at the points, shape (m, 2), and N_x, N_t and N_xx.

        Derivatives are carried from layer to layer, which costs a fraction of a backward pass
        for each of them.
        """
        first = self.layers[0]
        h = first(points)
        x, t = (column.expand_as(h) for column in first.weight.T)
        xx = torch.zeros_like(h)
        for layer in self.layers[1:]:
            a = torch.tanh(h)
            slope = 1 - a * a
            bent = slope * (xx - 2 * a * x * x)
            # One product of matrices for all four.
            h, x, t, xx = (torch.stack([a, slope * x, slope * t, bent]) @ layer.weight.T).unbind()
            h = h + layer.bias
        return h[:, 0], x[:, 0], t[:, 0], xx[:, 0]


class Burgers(nn.Module):
    """What u = t (1 - x^2) N(x, t) - sin(pi x), exact at t = 0 and at both ends, leaves.

    Parameters
    ----------
    network : Network
        N.
    nu : float
        Viscosity.
    """

    def __init__(self, network: nn.Module, nu: float) -> None:
        super().__init__()
        self.network, self.nu = network, nu

    def values(self, points: torch.Tensor) -> torch.Tensor:
        """Return u at the points, shape (m, 2)."""
        x, t = points.unbind(1)
        return t * (1 - x * x) * self.network(points)[0] - torch.sin(math.pi * x)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        """Return u_t + u u_x - nu u_xx at the points."""
        n, n_x, n_t, n_xx = self.network(points)
        x, t = points.unbind(1)
        bump, sine, cosine = 1 - x * x, torch.sin(math.pi * x), torch.cos(math.pi * x)
        u = t * bump * n - sine
        u_x = t * (bump * n_x - 2 * x * n) - math.pi * cosine
        u_t = bump * (n + t * n_t)
        u_xx = t * (bump * n_xx - 4 * x * n_x - 2 * n) + math.pi**2 * sine
        return u_t + u * u_x - self.nu * u_xx


def inside(points: int) -> torch.Tensor:
    """Return points of the domain, spread evenly: Sobol's, scrambled."""
    drawn = torch.quasirandom.SobolEngine(2, scramble=True, seed=0).draw(points).double()
    return drawn * torch.tensor([2.0, 1.0]) - torch.tensor([1.0, 0.0])


def total(residuals: torch.Tensor) -> torch.Tensor:
    """Return the loss, a mean square."""
    return residuals.square().mean()


class Error:
    """Relative error of a network in the mean square, on a grid."""

    def __init__(self, nu: float, steps: int = 101) -> None:
        x, t = np.meshgrid(np.linspace(-1, 1, 2 * steps), np.linspace(0, 1, steps))
        self.points = torch.from_numpy(np.stack([x.ravel(), t.ravel()], axis=1))
        self.solution = torch.from_numpy(solution(x, t, nu).ravel())

    def __call__(self, module: Burgers, parameters: torch.Tensor) -> float:
        """Return that of a module with these parameters, in double precision."""
        copied = copy.deepcopy(module).double()
        with torch.no_grad():
            nn.utils.vector_to_parameters(parameters.double(), copied.parameters())
            gap = copied.values(self.points) - self.solution
        return float(gap.norm() / self.solution.norm())


# --- optimizers ------------------------------------------------------------------------------


class Spent(Exception):
    """Ends a run from inside an evaluation."""


class Account:
    """Calls, seconds and the lowest loss of a run.

    Parameters
    ----------
    limit : int
        Calls that may be made.
    marks : sequence of int
        Numbers of calls after which the state of the run is kept.
    """

    def __init__(self, limit: int, marks: Sequence[int]) -> None:
        self.limit, self.marks = limit, sorted(marks)
        self.calls, self.lowest, self.seconds = 0, math.inf, 0.0
        self.best: torch.Tensor | None = None
        self.kept: dict[int, tuple[float, torch.Tensor, float]] = {}
        self._begun = time.process_time()

    def start(self, limit: int) -> None:
        """Let the clock run from here, and calls up to `limit` be made."""
        self.limit, self._begun = limit, time.process_time() - self.seconds

    def pay(self, cost: int = 1) -> None:
        """Count a cost, before it is incurred."""
        if self.calls + cost > self.limit:
            self.finish(self.limit)
            raise Spent
        self.finish(self.calls + cost - 1)  # marks that are passed inside of a product
        self.calls += cost

    def met(self, loss: float, parameters: Callable[[], torch.Tensor]) -> None:
        """Note what a call gave."""
        if loss < self.lowest:
            self.lowest, self.best = loss, parameters()
        self.finish(self.calls)

    def finish(self, calls: int) -> None:
        """Keep the state for all marks up to `calls` that have none."""
        self.seconds = time.process_time() - self._begun
        for mark in self.marks:
            if mark <= calls and mark not in self.kept and self.best is not None:
                self.kept[mark] = self.lowest, self.best, self.seconds


def with_closure(optimizer_of: Callable[[Any], Any]) -> Run:
    """Return a run of an optimizer in the style of torch's."""

    def run(module: Burgers, points: torch.Tensor, account: Account) -> None:
        parameters = list(module.parameters())
        optimizer = optimizer_of(parameters)

        def closure() -> torch.Tensor:
            account.pay()
            optimizer.zero_grad()
            loss = total(module(points))
            loss.backward()
            account.met(
                loss.item(), lambda: nn.utils.parameters_to_vector(parameters).detach().clone()
            )
            return loss

        idle = 0
        while idle < 3:  # an optimizer at its end looks once a step, and does nothing
            before = account.calls
            optimizer.step(closure)
            adam = isinstance(optimizer, torch.optim.Adam)
            idle = idle + 1 if account.calls <= before + 1 and not adam else 0

    return run


class Paid:
    """An objective whose evaluations and products are counted."""

    def __init__(
        self, module: Burgers, points: torch.Tensor, account: Account, gauss_newton: bool
    ) -> None:
        self.objective = TorchObjective(module, total, points)
        self.account = account
        self._products = self.objective.gnp if gauss_newton else self.objective.hessp

    def fun_and_grad(self, x: Any) -> tuple[Any, Any]:
        """Return the loss and its gradient."""
        self.account.pay()
        f, g = self.objective.fun_and_grad(x)
        self.account.met(float(f), lambda: torch.tensor(x))
        return f, g

    def fun(self, x: Any) -> Any:
        """Return the loss."""
        return self.fun_and_grad(x)[0]

    def grad(self, x: Any) -> Any:
        """Return the gradient."""
        return self.fun_and_grad(x)[1]

    def hessp(self, x: Any) -> Callable[[Any], Any]:
        """Return the product with the matrix at `x`."""
        product = self._products(x)

        def paid(p: Any) -> Any:
            self.account.pay(PRODUCT)
            return product(p)

        return paid


def with_products(gauss_newton: bool) -> Run:
    """Return a run of newton-krylov; NumPy's vectors, as the module is on the CPU."""

    def run(module: Burgers, points: torch.Tensor, account: Account) -> None:
        paid = Paid(module, points, account, gauss_newton)
        options = {"maxiter": 10**6, "certify": False}
        negopt.minimize(
            paid, paid.objective.x0.numpy(), method="newton-krylov", tol=0.0, options=options
        )

    return run


#: A step goes on to the end of the budget: tolerances meant for other losses end nothing.
_LONG = {"max_iter": 10**6, "tolerance_grad": 0.0, "tolerance_change": 0.0}
_OURS = {**_LONG, "max_eval": 10**6}

OPTIMIZERS: Mapping[str, Run] = {
    "negopt": with_closure(lambda p: Optimizer(p, **_OURS)),
    "negopt, history 10": with_closure(lambda p: Optimizer(p, history_size=10, **_OURS)),
    "negopt, lsr1-wolfe-pm": with_closure(lambda p: Optimizer(p, "lsr1-wolfe-pm", **_OURS)),
    "negopt, lbfgs-wolfe": with_closure(lambda p: Optimizer(p, "lbfgs-wolfe", **_OURS)),
    "negopt, newton-krylov": with_products(gauss_newton=False),
    "negopt, newton-krylov, Gauss-Newton": with_products(gauss_newton=True),
    "torch LBFGS": with_closure(lambda p: torch.optim.LBFGS(p, **_LONG)),
    "torch LBFGS, strong_wolfe": with_closure(
        lambda p: torch.optim.LBFGS(p, line_search_fn="strong_wolfe", **_LONG)
    ),
    "torch Adam, 1e-1": with_closure(lambda p: torch.optim.Adam(p, lr=1e-1)),
    "torch Adam, 1e-2": with_closure(lambda p: torch.optim.Adam(p, lr=1e-2)),
}
#: The first of two stages, at the rate that brought it furthest in so many calls.
ADAM = "torch Adam, 1e-1"


def play(label: str, module: Burgers, points: torch.Tensor, account: Account, limit: int) -> None:
    """Let an optimizer make calls up to `limit`, on a module that it changes."""
    account.start(limit)
    with contextlib.suppress(Spent):
        OPTIMIZERS[label](module, points, account)
    account.finish(limit)  # also where it ended before


def recipes(
    module: Burgers, points: torch.Tensor, first: int, calls: Sequence[int]
) -> Iterator[tuple[str, str, Account]]:
    """Yield (recipe, optimizer, account) for all, from the parameters of `module`."""
    for label in OPTIMIZERS:
        account = Account(0, calls)
        play(label, copy.deepcopy(module), points, account, max(calls))
        yield "one stage", label, account
    begun, warmed = Account(0, calls), copy.deepcopy(module)
    play(ADAM, warmed, points, begun, first)
    for label in [label for label in OPTIMIZERS if label != ADAM]:
        account, after = copy.deepcopy(begun), copy.deepcopy(warmed)
        play(label, after, points, account, max(calls))
        yield "Adam first", label, account


# --- tables and the command line -------------------------------------------------------------


def medians(rows: Sequence[Row], calls: int) -> list[Row]:
    """Return medians over the starts after so many calls, of both types side by side."""
    out = []
    for recipe, label in dict.fromkeys((r["recipe"], r["optimizer"]) for r in rows):
        row: Row = {"recipe": recipe, "optimizer": label}
        for kind in dict.fromkeys(r["type"] for r in rows):
            wanted = (kind, recipe, label, calls)
            part = [
                r
                for r in rows
                if (r["type"], r["recipe"], r["optimizer"], int(r["calls"])) == wanted
            ]
            for key, form in (("loss", ".1e"), ("error", ".1e"), ("seconds", ".1f")):
                row[f"{key}, {kind}"] = format(np.median([float(r[key]) for r in part]), form)
        out.append(row)
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all recipes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--types", nargs="+", choices=list(TYPES), default=list(TYPES))
    parser.add_argument("--calls", nargs="+", type=int, default=list(CALLS))
    parser.add_argument("--first", type=int, default=FIRST, help="calls of the first stage")
    parser.add_argument("--seeds", type=int, default=3, help="starts of the network")
    parser.add_argument("--widths", nargs="+", type=int, default=[20, 20], help="of layers")
    parser.add_argument("--points", type=int, default=256, help="inside of the domain")
    parser.add_argument("--viscosity", type=float, default=0.1 / math.pi)
    parser.add_argument("--draw", action="store_true", help="only draw what is stored")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    chosen.out.mkdir(parents=True, exist_ok=True)
    if chosen.draw:
        draw(read_table(chosen.out / "pinn.csv"), chosen.out / "pinn.png")
        return
    torch.set_num_threads(1)  # so that seconds of the processor are seconds of a run
    error = Error(chosen.viscosity)
    rows: list[Row] = []
    for seed, kind in itertools.product(range(chosen.seeds), chosen.types):
        torch.manual_seed(seed)
        module = Burgers(Network(chosen.widths), chosen.viscosity).to(TYPES[kind])
        points = inside(chosen.points).to(TYPES[kind])
        for recipe, label, account in recipes(module, points, chosen.first, chosen.calls):
            head = {"type": kind, "recipe": recipe, "optimizer": label, "seed": seed}
            for count, (loss, best, seconds) in account.kept.items():
                measured = {
                    "loss": f"{loss:.4g}",
                    "error": f"{error(module, best):.4g}",
                    "seconds": f"{seconds:.3f}",
                }
                rows.append({**head, "calls": count, **measured})
            log.info("%s", rows[-1])
            write_table(rows, chosen.out / "pinn.csv")
    write_table(medians(rows, max(chosen.calls)), chosen.out / "pinn-summary.csv")
    draw(rows, chosen.out / "pinn.png")


if __name__ == "__main__":
    main()
