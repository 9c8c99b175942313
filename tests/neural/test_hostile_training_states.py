"""The file of a training run is input, as every state: changed in one place it is refused, or true.

Guarantee.  Let one part of the state of a training run be replaced by anything, and the file be
written with the checksum that fits.  Then `fit` raises ValueError, or the result's loss and
gradient are those of its parameters.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from negopt import checkpoint
from negopt.neural import MLP, MLPObjective, fit, load_ionosphere
from negopt.neural._fit_state import FitState

MUTATIONS = 25
ANYTHING = [
    *(None, math.nan, math.inf, -math.inf, -1, 0, 1, 3, 10**6, 2**70, -1.5, 1e300, "x", "", [], {}),
    *(
        True,
        np.zeros(3),
        np.zeros((2, 2)),
        np.float32(3),
        [1.0, "x"],
        [10**6, 0],
        [0, 99],
        {"a": 1},
    ),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Any:
    """Yield the path of every part of a tree."""
    if path:
        yield path
    if dataclasses.is_dataclass(value):
        for f in dataclasses.fields(value):
            yield from places(getattr(value, f.name), (*path, f.name))
    elif isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))


def at(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        tree = tree[key] if isinstance(tree, dict) else getattr(tree, key)
    return tree


def mutated(state: FitState, rng: np.random.Generator) -> tuple[FitState, tuple[Any, ...]]:
    """Return a copy with one part replaced by something else, and which."""
    state = copy.deepcopy(state)
    found = list(places(state))
    path = found[rng.integers(len(found))]
    holder, old = at(state, path[:-1]), at(state, path)
    new = ANYTHING[rng.integers(len(ANYTHING))]
    if isinstance(old, np.ndarray) and old.size and old.dtype.kind == "f" and rng.integers(2):
        new = old.copy()
        new.reshape(-1)[rng.integers(old.size)] = (math.nan, 1e300, -77.0, 0.0)[rng.integers(4)]
    elif isinstance(old, int) and rng.integers(2):
        new = (old + 1, old - 1, -old - 1, 2**62)[rng.integers(4)]
    if isinstance(holder, dict):
        holder[path[-1]] = new
    else:
        setattr(holder, path[-1], new)
    return state, path


@pytest.mark.parametrize("batch_size", [None, 25])
@pytest.mark.parametrize("method", ["lqn-tr", "dqn-wolfe-pm", "sfn-series", "adam", "gd"])
def test_one_part_of_a_training_file_is_changed(
    method: str, batch_size: int | None, tmp_path: Path
) -> None:
    data = load_ionosphere()
    X = data.X[:, 2:8]
    objective = MLPObjective(MLP([6, 2, 1]), X[:60], data.y[:60], loss="logistic", l2=1e-3)
    arguments: dict[str, Any] = {
        "method": method,
        "batch_size": batch_size,
        "validation": (X[60:90], data.y[60:90]),
        "metrics": {"size": lambda o, x: float(np.max(np.abs(x)))},
    }
    path = tmp_path / "run.npz"
    known = []
    for epochs in (1, 3):
        fit(objective, **arguments, epochs=epochs, checkpoint=path, resume=False)
        known.append(checkpoint.read(path, FitState, "a training run"))
    rng = np.random.default_rng(sum(map(ord, method)))
    ends = set()
    for _ in range(MUTATIONS):
        state, place = mutated(known[rng.integers(len(known))], rng)
        try:
            checkpoint.write(path, state)
        except TypeError:  # it is no data
            continue
        try:
            res = fit(objective, **arguments, epochs=4, checkpoint=path, resume=True)
        except ValueError:
            ends.add("refused")
            continue
        ends.add("ran")
        assert np.all(np.isfinite(res.x)), place
        assert res.fun == pytest.approx(objective.fun(res.x), rel=1e-12), place
        np.testing.assert_allclose(res.jac, objective.grad(res.x), rtol=1e-9, atol=1e-12)
        assert isinstance(res.message, str), place
    assert ends == {"refused", "ran"}
