"""The figures of docs/plots.md: every kind that ``negopt.plot`` draws, on one small network.

``python docs/experiments/plots.py`` takes some seconds and writes ``plots-*.png`` to
``docs/experiments/results``.  The network is 34-10-10-1, trained on the ionosphere data that
ship with negopt.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from _networks_figures import save

from negopt import minimize, plot, spectrum
from negopt.neural import MLP, MLPObjective, binary_labels, load_ionosphere

#: The same on every machine.
PLAIN: dict[str, Any] = {"gtol": 1e-8, "certify": False, "record": True, "compiled": False}


def network(*hidden: int) -> MLPObjective:
    """Return half the mean squared error of a network on the ionosphere data."""
    data = load_ionosphere()
    return MLPObjective(MLP((data.X.shape[1], *hidden, 1)), data.X, binary_labels(data.y))


def train(objective: MLPObjective, method: str, steps: int, **options: Any) -> Any:
    """Return a recorded run from the start with seed 0."""
    options = {**PLAIN, "maxiter": steps, **options}
    return minimize(objective, objective.x0(rng=0), method=method, options=options)


def draw_convergence(steps: int) -> Any:
    """Return how far f is above the best value, by evaluations."""
    objective = network(10, 10)
    names = ("gd-armijo", "lbfgs-wolfe", "lsr1-wolfe-pm", "lqn-tr")
    return plot.convergence({name: train(objective, name, steps) for name in names})


def draw_loss(steps: int) -> Any:
    """Return values as they are, of rules that need not descend beside one that does."""
    objective = network(10, 10)
    runs = {
        "gd, momentum 0.9": train(objective, "gd", steps, learning_rate=0.3, momentum=0.9),
        "adam": train(objective, "adam", steps, learning_rate=0.03),
        "lqn-tr": train(objective, "lqn-tr", steps),
    }
    return plot.loss(runs)


def draw_steps(steps: int) -> Any:
    """Return step sizes and cosines of a search of both signs."""
    found = train(network(10, 10), "sr1-wolfe-pm", steps, variant="shea-schmidt")
    figure, (left, right) = plot.panels(["step sizes", "cosines"])
    plot.step_sizes(found, ax=left)
    return plot.cosines(found, ax=right) and figure


def draw_radius(steps: int) -> Any:
    """Return the trust radii of two methods."""
    objective = network(10, 10)
    names = ("lsr1-tr", "newton-krylov")
    return plot.trust_radius({name: train(objective, name, steps) for name in names})


def draw_spectrum(steps: int) -> Any:
    """Return the eigenvalues of a small network, and the density of a larger one."""
    figure, axes = plot.panels(["34-10-10-1, each eigenvalue", "34-50-50-1, density"])
    for ax, hidden in zip(axes, ((10, 10), (50, 50)), strict=True):
        objective = network(*hidden)
        x = train(objective, "lqn-tr", steps).x
        plot.spectrum(spectrum(objective, x, rng=0, n_probes=5, n_steps=60), ax=ax)
    return figure


DRAWN: dict[str, Callable[[int], Any]] = {
    "convergence": draw_convergence,
    "loss": draw_loss,
    "steps": draw_steps,
    "radius": draw_radius,
    "spectrum": draw_spectrum,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--steps", type=int, default=60, help="iterations of each run")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    chosen.out.mkdir(parents=True, exist_ok=True)
    for name, draw in DRAWN.items():
        save(draw(chosen.steps), chosen.out / f"plots-{name}.png")


if __name__ == "__main__":
    main()
