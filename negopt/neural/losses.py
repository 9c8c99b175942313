"""Losses of a network's outputs: value, derivative, and second-order product.

Every loss is a mean over the N samples.  The value is summed in float64 whatever
the type of the arrays; the derivatives keep that type.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

from negopt.core.arrays import (
    Array,
    FloatArray,
    device_of,
    from_host,
    is_array,
    library_of,
    namespace_of,
    to_host,
)
from negopt.neural.activations import log_sum_exp, sigmoid, softplus

__all__ = ["LOSSES", "Logistic", "Loss", "LossAt", "SoftmaxCrossEntropy", "Squared"]


class LossAt(NamedTuple):
    """A loss at one set of outputs, shape (N, K)."""

    value: Array  #: the loss, a scalar in float64
    gradient: Array  #: its derivative with respect to the outputs, shape (N, K)
    #: Product of its second derivative with a change of the outputs, shape (N, K).
    hessian_product: Callable[[Array], Array]


class Loss(Protocol):
    """A loss of :class:`negopt.neural.MLPObjective`; your own has these members."""

    name: str

    def target(self, y: ArrayLike, like: Array, outputs: int) -> Array:
        """Check the labels or values `y` and return the array that `at` takes.

        `like`, shape (N, d), gives the number of samples, library, type and device;
        `outputs` is the number K of the network's outputs.
        """

    def at(self, z: Array, target: Array) -> LossAt:
        """Return value, derivative and second-order product at the outputs `z`."""

    def predict(self, z: Array, y: Array) -> Array:
        """Return predictions, in the coding of the training labels `y`."""


class Squared:
    """Half the mean squared error, ``1/(2 N) sum_i ||z_i - y_i||^2``.

    The squares are summed over the outputs and averaged over the samples.

    Notes
    -----
    The half makes the derivative ``(z - y)/N``.  Libraries that leave it out and average
    over outputs too report ``2 * value / K``.
    """

    name = "squared"

    def target(self, y: ArrayLike, like: Array, outputs: int) -> Array:
        """Return `y`, shape (N,) for one output or (N, K), in the type of `like`."""
        values = _array_like(y, like)
        shape, wanted = tuple(values.shape), (like.shape[0], outputs)
        if shape != wanted and (outputs > 1 or shape != wanted[:1]):
            raise ValueError(
                f"'y' has shape {shape}; {wanted[0]} samples and {outputs} output(s) need {wanted}."
            )
        if not np.all(np.isfinite(to_host(values))):
            raise ValueError("'y' has entries that are not finite; drop those samples.")
        xp = namespace_of(values)
        return xp.astype(xp.reshape(values, wanted), like.dtype)

    def at(self, z: Array, target: Array) -> LossAt:
        """Return value, derivative and second-order product at `z`, shape (N, K)."""
        xp, n = namespace_of(z), z.shape[0]
        r = z - target
        return LossAt(xp.sum(r * r, dtype=xp.float64) / (2 * n), r / n, lambda rz: rz / n)

    def predict(self, z: Array, y: Array) -> Array:
        """Return the outputs, as a vector when `y` is one."""
        return namespace_of(z).reshape(z, (-1,)) if y.ndim == 1 else z


class Logistic:
    """Logistic loss of one output, ``1/N sum_i log(1 + exp(-s_i z_i))``, ``s_i`` = +-1.

    Labels are -1 and +1, or 0 and 1 (0 counts as -1).  The loss does not overflow
    for any finite output.
    """

    name = "logistic"

    def target(self, y: ArrayLike, like: Array, outputs: int) -> Array:
        """Return the signs of the labels `y`, shape (N,) or (N, 1), as (N, 1)."""
        if outputs != 1:
            raise ValueError(
                f"the logistic loss takes a network with one output, this one has {outputs}; "
                "use loss='softmax' for several classes."
            )
        labels = _labels(y, like)
        different = set(np.unique(labels))
        if not (different <= {-1.0, 1.0} or different <= {0.0, 1.0}):
            raise ValueError(
                f"'y' holds the labels {_few(labels)}; the logistic loss takes -1 and 1, or 0 and "
                "1 (see negopt.neural.binary_labels)."
            )
        return from_host(np.where(labels > 0, 1.0, -1.0)[:, None], like)

    def at(self, z: Array, target: Array) -> LossAt:
        """Return value, derivative and second-order product at `z`, shape (N, 1)."""
        xp, n = namespace_of(z), z.shape[0]
        margin = target * z
        wrong = sigmoid(-margin)  # probability that the model gives to the other label
        weight = wrong * sigmoid(margin) / n
        return LossAt(
            xp.sum(softplus(-margin), dtype=xp.float64) / n,
            -target * wrong / n,
            lambda rz: weight * rz,
        )

    def predict(self, z: Array, y: Array) -> Array:
        """Return labels, shape (N,), in the coding of `y`."""
        xp = namespace_of(z)
        positive = xp.astype(xp.reshape(z, (-1,)) > 0, z.dtype)
        return 2 * positive - 1 if np.min(to_host(y)) < 0 else positive


class SoftmaxCrossEntropy:
    """Softmax cross-entropy, ``1/N sum_i (log sum_k exp(z_ik) - z_i[y_i])``.

    Labels are whole numbers 0 .. K-1, one per sample.

    Notes
    -----
    The second-order product of a row is ``(P - p p') Rz / N`` with the softmax
    probabilities ``p`` and ``P = diag(p)``; it is formed in O(K).  The loss does
    not change when a row of outputs is shifted, so its Hessian is singular.
    """

    name = "softmax"

    def target(self, y: ArrayLike, like: Array, outputs: int) -> Array:
        """Return the labels `y`, shape (N,), as one-hot rows, shape (N, K)."""
        if outputs < 2:
            raise ValueError(
                "the softmax loss takes a network with one output per class, this one has 1; "
                "use loss='logistic' for two classes and one output."
            )
        labels = _labels(y, like)
        if np.any(labels != np.floor(labels)) or np.min(labels) < 0 or np.max(labels) >= outputs:
            raise ValueError(
                f"'y' holds the labels {_few(labels)}; a network with {outputs} outputs takes "
                f"whole numbers from 0 to {outputs - 1} (see negopt.neural.class_labels)."
            )
        return from_host(labels[:, None] == np.arange(outputs)[None, :], like)

    def at(self, z: Array, target: Array) -> LossAt:
        """Return value, derivative and second-order product at `z`, shape (N, K)."""
        xp, n = namespace_of(z), z.shape[0]
        log_sum, p = log_sum_exp(z)

        def hessian_product(rz: Array) -> Array:
            weighted = p * rz
            return (weighted - p * xp.sum(weighted, axis=1, keepdims=True)) / n

        # One-hot rows: the sum picks z[y] exactly.
        loss = log_sum - xp.sum(target * z, axis=1, keepdims=True)
        return LossAt(xp.sum(loss, dtype=xp.float64) / n, (p - target) / n, hessian_product)

    def predict(self, z: Array, y: Array) -> Array:
        """Return the most likely class of each row, shape (N,), as integers."""
        return namespace_of(z).argmax(z, axis=1)


#: The losses by name.
LOSSES: dict[str, Loss] = {
    "squared": Squared(),
    "logistic": Logistic(),
    "softmax": SoftmaxCrossEntropy(),
}


def _array_like(y: ArrayLike, like: Array) -> Array:
    """Return `y` as an array of the library and device of `like` (lists are converted)."""
    if not is_array(y):
        return from_host(np.asarray(y), like)
    if library_of(y) != library_of(like) or device_of(y) != device_of(like):
        raise TypeError(
            f"'y' is a {library_of(y)} array on {device_of(y)} but 'X' is a {library_of(like)} "
            f"array on {device_of(like)}; put both in one place."
        )
    return y


def _labels(y: ArrayLike, like: Array) -> FloatArray:
    """Return one label per sample on the host: read once, when the objective is made."""
    labels = to_host(_array_like(y, like))
    if labels.shape == (like.shape[0], 1):
        labels = labels[:, 0]
    if labels.shape != (like.shape[0],):
        raise ValueError(
            f"'y' has shape {labels.shape}; expected one label for each of the "
            f"{like.shape[0]} rows of 'X'."
        )
    return labels


def _few(y: FloatArray) -> str:
    """Return the first distinct labels as text."""
    values = np.unique(y)
    return ", ".join(f"{v:g}" for v in values[:6]) + (", ..." if values.size > 6 else "")
