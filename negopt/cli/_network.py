"""A network on a data file: from arguments, or from a checkpoint, to an objective."""

from __future__ import annotations

import dataclasses
import hashlib
from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from negopt.cli._errors import UsageError, nearest, reason
from negopt.core.arrays import Array
from negopt.core.checks import NONNEGATIVE, OneOf
from negopt.neural import (
    MLP,
    Dataset,
    MLPObjective,
    binary_labels,
    class_labels,
    load_ionosphere,
    read_table,
    standardize,
)

IONOSPHERE = "ionosphere"
LOSSES = ("logistic", "softmax", "squared")
ACTIVATIONS = ("tanh", "sigmoid", "softplus", "relu")
DTYPES = ("float64", "float32")


@dataclass(frozen=True)
class NetworkSpec:
    """All that is needed to build the same objective and start again.

    `loss` may be "auto" until `build` has seen the labels.
    """

    data: str
    target: str | None = None
    hidden: tuple[int, ...] = (8,)
    activation: str = field(default="tanh", metadata={"check": OneOf(ACTIVATIONS)})
    loss: str = field(default="auto", metadata={"check": OneOf(("auto", *LOSSES))})
    l2: float = field(default=1e-4, metadata={"check": NONNEGATIVE})
    standardize: bool = True
    seed: int = 0
    dtype: str = field(default="float64", metadata={"check": OneOf(DTYPES)})
    test_fraction: float = field(default=0.0, metadata={"check": NONNEGATIVE})
    sha256: str = ""


@dataclass(frozen=True)
class Task:
    """The objective of a network on its training data, and the data kept apart."""

    spec: NetworkSpec
    objective: MLPObjective
    x0: Array
    y: Array
    test_X: Array
    test_y: Array
    samples: int

    @property
    def title(self) -> str:
        """Data and network in one line."""
        spec, network = self.spec, self.objective.network
        train = int(self.objective.X.shape[0])
        kept = f" + {self.samples - train} test" if self.samples > train else ""
        sizes = "-".join(map(str, network.sizes))
        return (
            f"{Path(spec.data).name}: {train}{kept} samples, network {sizes} ({spec.activation}), "
            f"{network.size} parameters, {spec.loss} loss, l2 = {spec.l2:g}"
        )


def spec_from(options: Namespace, *, test_fraction: float = 0.0) -> NetworkSpec:
    """Return the spec that the command line asks for; what was not given is the default."""
    names = {f.name for f in dataclasses.fields(NetworkSpec)}
    given = {
        name: value for name, value in vars(options).items() if name in names and value is not None
    }
    spec = NetworkSpec(**{"test_fraction": test_fraction, **given})
    for name, choices in (
        ("activation", ACTIVATIONS),
        ("loss", (*LOSSES, "auto")),
        ("dtype", DTYPES),
    ):
        value = getattr(spec, name)
        if value not in choices:
            hint = nearest(value, choices)
            raise UsageError(f"--{name} {value}: choose from {', '.join(choices)}.{hint}")
    return spec


def build(spec: NetworkSpec) -> Task:
    """Read the data and build the objective.

    It is a UsageError when the file cannot be read, its columns or labels do not fit, or it is
    not the file that ``spec.sha256`` was taken of.
    """
    data, digest = _read(spec)
    if spec.sha256 and digest != spec.sha256:
        raise UsageError(
            f"{spec.data} has changed since the checkpoint was written (sha256 {digest[:12]}..., "
            f"then {spec.sha256[:12]}...); restore that file, or train afresh"
        )
    try:
        return _build(dataclasses.replace(spec, sha256=digest), data)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{spec.data}: {reason(error)}") from error


def _read(spec: NetworkSpec) -> tuple[Dataset, str]:
    if spec.data == IONOSPHERE and not Path(spec.data).exists():
        data = load_ionosphere()
        return data, hashlib.sha256(data.X.tobytes() + data.y.tobytes()).hexdigest()
    path = Path(spec.data)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return read_table(path, target=_column(spec.target)), digest
    except OSError as error:
        raise UsageError(f"cannot read the data file {spec.data}: {reason(error)}") from error
    except ValueError as error:  # it names the file and the line
        raise UsageError(f"cannot read the data: {reason(error)}") from error


def _column(target: str | None) -> int | str:
    if target is None:
        return -1
    try:
        return int(target)
    except ValueError:
        return target


def _build(spec: NetworkSpec, data: Dataset) -> Task:
    loss = _guess_loss(data.y) if spec.loss == "auto" else spec.loss
    spec = dataclasses.replace(spec, loss=loss)
    y, outputs = _labels(loss, data.y)
    count = int(data.X.shape[0])
    kept = round(spec.test_fraction * count)
    if kept >= count:
        raise ValueError(f"{count} samples leave none to train on at --test-fraction.")
    order = np.random.default_rng(spec.seed).permutation(count)
    # In the order of the file: a run without a test set sums what the file holds as it stands.
    test, train = np.sort(order[:kept]), np.sort(order[kept:])
    X, test_X = data.X[train], data.X[test]
    y, test_y = y[train], y[test]
    if spec.standardize:
        X, mean, std = standardize(X)
        test_X = (test_X - mean) / std
        if loss == "squared":
            centre, spread = float(np.mean(y)), float(np.std(y)) or 1.0
            y, test_y = (y - centre) / spread, (test_y - centre) / spread
    X, test_X = X.astype(spec.dtype), test_X.astype(spec.dtype)
    network = MLP((int(X.shape[1]), *spec.hidden, outputs), activation=spec.activation)
    objective = MLPObjective(network, X, y, loss=loss, l2=spec.l2)
    return Task(spec, objective, objective.x0(rng=spec.seed), y, test_X, test_y, count)


def _guess_loss(y: Array) -> str:
    """Return the loss that the labels ask for: two, several, or numbers."""
    values = np.unique(y)
    if values.size == 2:
        return "logistic"
    words = y.dtype.kind not in "fiu"
    if words or (values.size <= 20 and y.size >= 5 * values.size and np.all(values == values // 1)):
        return "softmax"
    return "squared"


def _labels(loss: str, y: Array) -> tuple[Array, int]:
    """Return targets in the form that the loss takes, and the number of outputs."""
    if loss == "logistic":
        return binary_labels(y), 1
    if loss == "softmax":
        indices, classes = class_labels(y)
        return indices, int(classes.size)
    if y.dtype.kind not in "fiu":
        raise ValueError("the target column is text; the squared loss needs numbers.")
    return np.asarray(y, dtype=np.float64), 1
