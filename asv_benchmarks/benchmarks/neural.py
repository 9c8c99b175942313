"""Training a small network on real data."""

from __future__ import annotations

import importlib.util
import math

from negopt import neural

from .common import METHODS, Meter, solve

SEED = 0


class Ionosphere:
    """A tanh network with 8 hidden units, logistic loss, all 351 samples."""

    params = (list(METHODS),)
    param_names = ("method",)

    def setup(self, method: str) -> None:
        data = neural.load_ionosphere()
        network = neural.MLP([data.X.shape[1], 8, 1])
        self.objective = neural.MLPObjective(network, data.X, data.y, loss="logistic", l2=1e-4)
        self.x0 = self.objective.x0(rng=SEED)
        solve(Meter(self.objective), self.x0, method, maxiter=3)

    def time_100_iterations(self, method: str) -> None:
        solve(Meter(self.objective), self.x0, method, maxiter=100)

    def track_loss_after_300_evaluations(self, method: str) -> float:
        """Return the lowest loss within 300 evaluations, a Hessian product counting one."""
        best = math.inf
        budget = 300
        meter = Meter(self.objective)
        plain = meter.fun_and_grad

        def watched(x):
            nonlocal best
            f, g = plain(x)
            if meter.evaluations + meter.products <= budget:
                best = min(best, f)
            return f, g

        meter.fun_and_grad = watched
        solve(meter, self.x0, method, maxiter=budget)
        return best

    track_loss_after_300_evaluations.unit = "loss"


class Batches:
    """The same network on batches of 64, for work of 20 gradients per sample."""

    params = (["lqn-tr", "lsr1-tr", "tr-ellipsoid", "gd", "adam"],)
    param_names = ("method",)

    def setup(self, method: str) -> None:
        data = neural.load_ionosphere()
        network = neural.MLP([data.X.shape[1], 8, 1])
        self.objective = neural.MLPObjective(network, data.X, data.y, loss="logistic", l2=1e-4)
        self.options = {"learning_rate": 0.01} if method in ("gd", "adam") else {}
        neural.fit(self.objective, method=method, epochs=1, batch_size=64, options=self.options)

    def fit(self, method: str):
        def enough(intermediate_result):
            if intermediate_result.passes >= 20:
                raise StopIteration

        return neural.fit(
            self.objective,
            method=method,
            epochs=20,
            batch_size=64,
            options=self.options,
            callback=enough,
            rng=SEED,
        )

    def time_20_gradients(self, method: str) -> None:
        self.fit(method)

    def track_loss_after_20_gradients(self, method: str) -> float:
        return float(self.fit(method).fun)

    track_loss_after_20_gradients.unit = "loss"


class Closure:
    """A network of PyTorch and a closure, 50 calls on all data; skipped without PyTorch."""

    params = (["negopt", "negopt, lsr1-wolfe-pm", "LBFGS", "LBFGS, strong_wolfe", "Adam"],)
    param_names = ("optimizer",)

    def setup(self, optimizer: str) -> None:
        if importlib.util.find_spec("torch") is None:
            raise NotImplementedError  # asv's word for a benchmark that does not apply
        import torch

        from negopt.neural.torch import Optimizer

        torch.set_num_threads(1)
        data = neural.load_ionosphere()
        self.X, self.y = torch.tensor(data.X).float(), torch.tensor(data.y > 0).float()
        self.made = {
            "negopt": Optimizer,
            "negopt, lsr1-wolfe-pm": lambda p: Optimizer(p, "lsr1-wolfe-pm"),
            "LBFGS": torch.optim.LBFGS,
            "LBFGS, strong_wolfe": lambda p: torch.optim.LBFGS(p, line_search_fn="strong_wolfe"),
            "Adam": lambda p: torch.optim.Adam(p, lr=0.03),
        }[optimizer]
        self.run()

    def run(self) -> float:
        import torch

        torch.manual_seed(SEED)
        net = torch.nn.Sequential(
            torch.nn.Linear(self.X.shape[1], 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)
        )
        optimizer, losses = self.made(net.parameters()), []

        def closure():
            optimizer.zero_grad()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(net(self.X)[:, 0], self.y)
            loss.backward()
            losses.append(loss.item())
            return loss

        while len(losses) < 50:
            optimizer.step(closure)
        return min(losses[:50])

    def time_50_calls(self, optimizer: str) -> None:
        self.run()

    def track_loss_after_50_calls(self, optimizer: str) -> float:
        return self.run()

    track_loss_after_50_calls.unit = "loss"
