"""A network, a loss and data as an objective of the flat parameter vector."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from negopt.core.arrays import (
    Array,
    all_finite,
    copy_of,
    device_of,
    dot,
    is_array,
    library_of,
    namespace_of,
    to_host,
)
from negopt.core.randomness import Seed
from negopt.neural._cache import Indices, LastPoint, take_rows
from negopt.neural.losses import LOSSES, Loss, LossAt
from negopt.neural.mlp import MLP, Adjoint, Trace

__all__ = ["MLPObjective"]


class _Passes:
    """The passes over the data at one point, each done when first asked for."""

    def __init__(self, objective: MLPObjective, x: Array) -> None:
        self._objective = objective
        self.x = x

    @cached_property
    def trace(self) -> Trace:
        return self._objective.network.trace(self.x, self._objective.X)

    @cached_property
    def loss(self) -> LossAt:
        return self._objective.loss.at(self.trace.outputs, self._objective.target)

    @cached_property
    def adjoint(self) -> Adjoint:
        return self._objective.network.backward(self.trace, self.loss.gradient)


class MLPObjective:
    """Mean loss of a network over data, as a function of its parameters.

    ``f(x) = mean loss of network(x, X) against y + l2/2 ||x||^2``, with gradient and
    exact Hessian products.  The *variables* are the flat parameter vector `x`; the
    *data* are `X` and `y`.

    Parameters
    ----------
    network : MLP
        The network.
    X : array, shape (N, n_inputs)
        Data, float32 or float64, in the library, type and device of `x`.  A list becomes
        NumPy float64.
    y : array or list, shape (N,) or (N, K)
        Values (``"squared"``), labels -1/+1 or 0/1 (``"logistic"``), or classes
        0 .. K-1 (``"softmax"``), for K outputs.
    loss : {"squared", "logistic", "softmax"} or Loss, default "squared"
        ``"squared"`` is *half* the mean over samples of the squared error; see
        :mod:`negopt.neural.losses`.
    l2 : float, default 0.0
        Weight of the penalty ``l2/2 ||x||^2`` over all parameters, biases included.
        No penalty by default.

    Attributes
    ----------
    network, X, loss, l2
        As given.
    target : array, shape (N, K)
        `y` in the form that the loss takes.

    Raises
    ------
    ValueError
        When shapes, types or labels do not fit, or the data are not finite.
    TypeError
        When arrays belong to different libraries or devices.

    Notes
    -----
    At one point there is one forward and one backward pass, which `fun`, `grad` and all
    Hessian products share.  The last point is recognised by content, not by identity.  A
    callable from ``hessp(x)`` keeps its own copy of `x`.

    Memory: the inputs, slopes and backward arrays of every layer, about four times
    N times the number of hidden units, while the last point is kept.

    The loss is summed in float64; float32 data keep float32 arrays otherwise.

    **Guarantee** (``tests/neural/test_objective.py``): derivatives agree with
    differences, and the passes are counted.

    Examples
    --------
    >>> import numpy as np
    >>> from negopt.neural import MLP, MLPObjective
    >>> X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> objective = MLPObjective(MLP([2, 4, 1]), X, [0, 1, 1, 0], loss="logistic")
    >>> x = objective.x0(rng=0)
    >>> f, g = objective.fun_and_grad(x)
    >>> g.shape
    (17,)
    >>> product = objective.hessp(x)
    >>> product(g).shape
    (17,)
    """

    def __init__(
        self,
        network: MLP,
        X: ArrayLike,
        y: ArrayLike,
        *,
        loss: str | Loss = "squared",
        l2: float = 0.0,
    ) -> None:
        if isinstance(loss, str) and loss not in LOSSES:
            raise ValueError(f"'loss' is {loss!r}; choose from {sorted(LOSSES)}.")
        if not (math.isfinite(l2) and l2 >= 0):
            raise ValueError(f"'l2' is {l2!r}; it must be a finite number, 0 or more.")
        self.network = network
        self.loss: Loss = LOSSES[loss] if isinstance(loss, str) else loss
        self.l2 = float(l2)
        self._set_data(X, y)

    def _set_data(self, X: ArrayLike, y: ArrayLike) -> None:
        self.X = self._data(X)
        self.target = self.loss.target(y, self.X, self.network.sizes[-1])
        self._y: Array = y if is_array(y) else np.asarray(y)
        self._last: LastPoint[_Passes] = LastPoint()

    def x0(self, *, rng: Seed = None) -> Array:
        """Return random parameters, shape (n,), in the data's library, type and device.

        `rng` (None, int or Generator) is that of :meth:`negopt.neural.MLP.init`.
        """
        return self.network.init(
            rng=rng, dtype=self.X.dtype, xp=namespace_of(self.X), device=device_of(self.X)
        )

    @property
    def data(self) -> tuple[Array, Array]:
        """The data, X of shape (N, n_inputs) and y as it was given."""
        return self.X, self._y

    def on(self, X: ArrayLike, y: ArrayLike) -> MLPObjective:
        """Return the objective of the same network, loss and penalty over other data.

        `X`, shape (N, n_inputs), and `y` are checked as those of a new objective.
        """
        other = copy.copy(self)
        other._set_data(X, y)
        return other

    def take(self, indices: Indices) -> MLPObjective:
        """Return the objective over some of its own rows, which are not checked again.

        `indices`, shape (k,), are whole numbers on the host, such as those of a mini-batch.
        """
        other = copy.copy(self)
        other.X, other.target, other._y = (
            take_rows(a, indices) for a in (self.X, self.target, self._y)
        )
        other._last = LastPoint()
        return other

    def fun(self, x: Array) -> Array:
        """Return the objective at `x`, shape (n,), as a float64 scalar on the device."""
        return self._value(self._at(x))

    def grad(self, x: Array) -> Array:
        """Return the gradient at `x`, shape (n,), as a new vector."""
        return self._gradient(self._at(x))

    def fun_and_grad(self, x: Array) -> tuple[Array, Array]:
        """Return the objective and the gradient at `x`, shape (n,)."""
        passes = self._at(x)
        return self._value(passes), self._gradient(passes)

    def hessp(self, x: Array) -> Callable[[Array], Array]:
        """Return the callable ``p -> H(x) p``, both of shape (n,)."""
        passes = self._at(x)

        def product(p: Array) -> Array:
            """Return the Hessian times `p`, shape (n,)."""
            self._check(p, "p")
            result = self.network.hessian_product(
                passes.trace, passes.adjoint, passes.loss.hessian_product, p
            )
            return result + self.l2 * p if self.l2 else result

        return product

    def outputs(self, x: Array, X: ArrayLike | None = None) -> Array:
        """Return the network's outputs, shape (N, K), for `X` (the own data by default)."""
        self._check(x, "x")
        if X is None:
            return copy_of(self._at(x).trace.outputs)
        return self.network.forward(x, self._data(X))

    def predict(self, x: Array, X: ArrayLike | None = None) -> Array:
        """Return predictions for `X`, shape (N, n_inputs) (the own data by default).

        Values, shape (N,) or (N, K), for the squared loss; labels in the coding of `y` for the
        logistic loss; classes 0 .. K-1 (integers) for softmax.
        """
        return self.loss.predict(self.outputs(x, X), self._y)

    def accuracy(self, x: Array, X: ArrayLike | None = None, y: ArrayLike | None = None) -> float:
        """Return the share of samples whose label is predicted, between 0 and 1.

        `X`, shape (N, n_inputs), and the labels `y`, shape (N,), in the coding of the training
        labels, are the own data by default; give both or neither.  Raises a ValueError for the
        squared loss, or when their lengths differ.
        """
        if self.loss.name == "squared":
            raise ValueError("accuracy needs labels; the squared loss fits values. Use fun(x).")
        if (X is None) != (y is None):
            raise ValueError("give both 'X' and 'y', or neither.")
        predicted = to_host(self.predict(x, X)).reshape(-1)
        given = self._y if y is None else y
        labels = to_host(given if is_array(given) else np.asarray(given)).reshape(-1)
        if labels.shape != predicted.shape:
            raise ValueError(f"'y' has {labels.size} labels for {predicted.size} rows of 'X'.")
        return float(np.mean(predicted == labels))

    def _value(self, passes: _Passes) -> Array:
        value = passes.loss.value
        return value + 0.5 * self.l2 * dot(passes.x, passes.x) if self.l2 else value

    def _gradient(self, passes: _Passes) -> Array:
        gradient = passes.adjoint.gradient
        # A copy of the cached gradient: the caller may write into it.
        return gradient + self.l2 * passes.x if self.l2 else copy_of(gradient)

    def _at(self, x: Array) -> _Passes:
        self._check(x, "x")
        found = self._last.find(x)
        if found is None:
            own = copy_of(x)
            found = self._last.store(own, _Passes(self, own))
        return found

    def _check(self, x: Array, name: str) -> None:
        """Raise when the vector `x` does not fit the network or the data."""
        kind = library_of(x) if is_array(x) else type(x).__name__
        if kind != library_of(self.X):
            raise TypeError(f"{name!r} is a {kind} but the data are {library_of(self.X)} arrays.")
        if tuple(x.shape) != (self.network.size,):
            raise ValueError(
                f"{name!r} has shape {tuple(x.shape)}; the network has {self.network.size} "
                f"parameters, so it must be ({self.network.size},)."
            )
        if x.dtype != self.X.dtype:
            raise ValueError(
                f"{name!r} has type {x.dtype} but the data have {self.X.dtype}; start from "
                "x0() of this objective, or convert the data."
            )
        if device_of(x) != device_of(self.X):
            raise TypeError(
                f"{name!r} is on device {device_of(x)} but the data are on {device_of(self.X)}."
            )

    def _data(self, given: ArrayLike) -> Array:
        """Check data and return it as an array, shape (N, n_inputs)."""
        X: Array = given if is_array(given) else np.asarray(given, dtype=np.float64)
        n_inputs = self.network.sizes[0]
        if X.ndim != 2 or X.shape[1] != n_inputs or X.shape[0] == 0:
            raise ValueError(
                f"'X' has shape {tuple(X.shape)}; the network has {n_inputs} inputs, so it must "
                f"be (N, {n_inputs}) with at least one row."
            )
        xp = namespace_of(X)
        if X.dtype not in (xp.float32, xp.float64):
            raise ValueError(f"'X' has type {X.dtype}; convert it to float32 or float64.")
        if not all_finite(X):
            raise ValueError("'X' has entries that are not finite; fill or drop them.")
        return X
