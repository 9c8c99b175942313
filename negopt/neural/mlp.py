"""A fully connected network: forward, backward and exact Hessian product."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from types import ModuleType
from typing import NotRequired, TypedDict

import numpy as np

from negopt.core.arrays import Array, device_of, namespace_of
from negopt.core.randomness import Seed
from negopt.neural.activations import ACTIVATIONS
from negopt.neural.flat import Layout, layout_of_shapes

__all__ = ["MLP", "Adjoint", "Layer", "Parameters", "Trace"]


class Layer(TypedDict):
    """Parameters of one layer."""

    weight: Array
    bias: NotRequired[Array]


class Parameters(TypedDict):
    """Parameters of a network."""

    layers: list[Layer]


@dataclass(frozen=True, eq=False)
class Trace:
    """One forward pass, kept for the passes that follow it."""

    weights: list[Array]  #: (n_out, n_in), views into the parameter vector of the pass
    inputs: list[Array]  #: (N, n_in), the inputs of each layer; the first are the data
    outputs: Array  #: (N, K), of the last layer
    slopes: list[Array]  #: (N, n_in), ``phi'`` of the activation that gave ``inputs[1:]``


@dataclass(frozen=True, eq=False)
class Adjoint:
    """One backward pass, kept for Hessian products."""

    gradient: Array
    deltas: list[Array]  #: (N, n_out), derivatives of the loss in each layer's sums
    #: (N, n_in), ``phi''`` times the derivative of the loss in ``inputs[1:]``
    seconds: list[Array | None]


@dataclass(frozen=True)
class MLP:
    """A fully connected network, ``a_l = phi(W_l a_{l-1} + b_l)``, the last layer linear.

    It works on the arrays of every supported library and holds no parameters: they
    are one vector `x`, shape ``(size,)``, that is passed to each call.

    Parameters
    ----------
    sizes : sequence of int
        Number of inputs, of units in each hidden layer, and of outputs.  Two
        entries give a linear model.
    activation : {"tanh", "sigmoid", "softplus", "relu"}, default "tanh"
        Of the hidden layers.  tanh is the default because negopt is for smooth
        functions.
    bias : bool, default True
        Whether layers have biases.

    Raises
    ------
    ValueError
        For fewer than two sizes, a size below 1, or an unknown activation.

    Notes
    -----
    The vector holds, layer after layer, the weight (n_out, n_in) row by row and then
    the bias (n_out,): the order of ``torch.nn.Linear`` layers in a
    ``torch.nn.Sequential``.  Its names are ``"layers.0.weight"``,
    ``"layers.0.bias"``, and so on; see :attr:`layout`.

    The Hessian product is exact, by the R-operator [1]_: the derivative of the
    forward and of the backward pass along a direction.  It costs about two gradients
    and forms no matrix.  N.B. relu has no second derivative at 0: its product is
    that of the linear pieces.

    **Guarantee** (``tests/neural/test_mlp.py``): gradient and Hessian product agree
    with central differences and with torch's automatic differentiation.

    References
    ----------
    .. [1] Pearlmutter (1994), Fast exact multiplication by the Hessian, Neural
       Computation 6, 147-160, doi:10.1162/neco.1994.6.1.147.

    Examples
    --------
    >>> import numpy as np
    >>> from negopt.neural import MLP
    >>> network = MLP([2, 5, 1])
    >>> x = network.init(rng=0)
    >>> network.size, x.shape
    (21, (21,))
    >>> network.forward(x, np.zeros((3, 2))).shape
    (3, 1)
    """

    sizes: tuple[int, ...]
    activation: str = "tanh"
    bias: bool = True

    def __post_init__(self) -> None:
        sizes = tuple(int(s) for s in self.sizes)
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(
                f"'sizes' is {self.sizes!r}; give at least the numbers of inputs and outputs, "
                "each 1 or more."
            )
        object.__setattr__(self, "sizes", sizes)
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"'activation' is {self.activation!r}; choose from {sorted(ACTIVATIONS)}."
            )

    @cached_property
    def layout(self) -> Layout[Parameters]:
        """Names, shapes and offsets of the parameters in the vector."""
        layers: list[Layer] = []
        for n_in, n_out in pairwise(self.sizes):
            # Stride-zero placeholders: only their shapes are read.
            layer: Layer = {"weight": np.broadcast_to(np.float64(0), (n_out, n_in))}
            if self.bias:
                layer["bias"] = np.broadcast_to(np.float64(0), (n_out,))
            layers.append(layer)
        return layout_of_shapes(Parameters(layers=layers))

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.layout.size

    def init(
        self,
        *,
        rng: Seed = None,
        dtype: object = "float64",
        xp: ModuleType | None = None,
        device: object = None,
    ) -> Array:
        """Return random starting parameters, shape ``(size,)``.

        Parameters
        ----------
        rng : None, int or numpy.random.Generator, default None
            Passed to ``numpy.random.default_rng``.
        dtype : str or type, default "float64"
            ``"float32"``, ``"float64"``, or a type of the library `xp`.
        xp : module, optional
            Array library, such as ``torch`` or ``cupy``; NumPy by default.
        device : optional
            Device of that library; its own default when None.

        Returns
        -------
        array, shape (size,)
            The numbers are drawn on the host in float64: one seed gives the same
            start in every library, up to rounding to `dtype`.

        Notes
        -----
        Weights are uniform on ``(-r, r)``, biases zero.  Layers in front of a relu
        have ``r = sqrt(6/n_in)`` [2]_, all others ``r = sqrt(6/(n_in + n_out))`` [1]_.

        References
        ----------
        .. [1] Glorot and Bengio (2010), Understanding the difficulty of training deep
           feedforward neural networks, AISTATS, PMLR 9, 249-256, equation 16.
        .. [2] He, Zhang, Ren and Sun (2015), Delving deep into rectifiers, ICCV,
           1026-1034, doi:10.1109/ICCV.2015.123.
        """
        generator = np.random.default_rng(rng)
        values = np.zeros(self.size)
        layers = self.layout.unflatten(values)["layers"]
        for index, layer in enumerate(layers):
            n_out, n_in = layer["weight"].shape
            rectified = self.activation == "relu" and index < len(layers) - 1
            radius = math.sqrt(6 / n_in if rectified else 6 / (n_in + n_out))
            layer["weight"][...] = generator.uniform(-radius, radius, (n_out, n_in))
        xp = namespace_of(values) if xp is None else namespace_of(xp.zeros(1))
        dtype = getattr(xp, dtype) if isinstance(dtype, str) else dtype
        return xp.asarray(values, dtype=dtype, device=device)

    def unflatten(self, x: Array) -> Parameters:
        """Return ``{"layers": [{"weight": ..., "bias": ...}, ...]}``: views into `x`."""
        return self.layout.unflatten(x)

    def forward(self, x: Array, X: Array) -> Array:
        """Return the outputs, shape (N, K), at the parameters `x` for the data `X`.

        `X`, shape (N, n_inputs), has the library, device and type of `x`, shape (size,).
        """
        phi, a = ACTIVATIONS[self.activation].value, X
        layers = self.unflatten(x)["layers"]
        for index, layer in enumerate(layers):
            a = _sums(a, layer)
            a = phi(a) if index < len(layers) - 1 else a
        return a

    def trace(self, x: Array, X: Array) -> Trace:
        """Do the forward pass and keep what the backward pass and products need.

        `x` must not change while the trace is used.
        """
        phi = ACTIVATIONS[self.activation]
        layers = self.unflatten(x)["layers"]
        inputs = [X]
        for layer in layers[:-1]:
            inputs.append(phi.value(_sums(inputs[-1], layer)))
        outputs = _sums(inputs[-1], layers[-1])
        slopes = [phi.slope(a) for a in inputs[1:]]
        return Trace([layer["weight"] for layer in layers], inputs, outputs, slopes)

    def backward(self, trace: Trace, dz: Array) -> Adjoint:
        """Do the backward pass; `dz`, shape (N, K), is the loss's derivative in the outputs."""
        second = ACTIVATIONS[self.activation].second
        gradient, layers = self._new_vector(trace)
        deltas = [dz]
        seconds: list[Array | None] = []
        for index in range(len(layers) - 1, -1, -1):
            delta, a = deltas[-1], trace.inputs[index]
            self._add_layer(layers[index], delta.T @ a, delta)
            if index > 0:
                slope = trace.slopes[index - 1]
                back = delta @ trace.weights[index]
                deltas.append(slope * back)
                seconds.append(None if second is None else second(a, slope) * back)
        return Adjoint(gradient, deltas[::-1], seconds[::-1])

    def hessian_product(
        self, trace: Trace, adjoint: Adjoint, loss_product: Callable[[Array], Array], p: Array
    ) -> Array:
        """Return the Hessian of the loss times `p`, shape ``(size,)``.

        Parameters
        ----------
        trace, adjoint : Trace, Adjoint
            The passes at the point.
        loss_product : callable ``(Rz) -> array``, shapes (N, K)
            Product of the loss's second derivative in the outputs.
        p : array, shape (size,)

        Notes
        -----
        With ``R`` the derivative along `p`, ``V, c`` the weights and biases in `p`,
        ``z`` a layer's sums, ``a`` its inputs and ``d`` the derivative of the loss
        with respect to ``z`` (Pearlmutter 1994, see the class):

        1. forward, ``Rz = W Ra + V a + c`` and ``Ra <- phi'(z) Rz``, from ``Ra = 0``;
        2. at the outputs, ``Rd`` is the loss's own second-order product of ``Rz``;
        3. backward, the result's weights are ``Rd a' + d Ra'``, its biases ``Rd``,
           and ``Rd <- phi'(z) (W' Rd + V' d) + phi''(z) Rz (W' d)``.
        """
        directions = self.unflatten(p)["layers"]
        r_sums: list[Array] = []
        r_inputs: list[Array | None] = [None]  # the data do not depend on x
        for index, direction in enumerate(directions):
            r_z = _sums(trace.inputs[index], direction)
            r_a = r_inputs[index]
            if r_a is not None:
                r_z = r_z + r_a @ trace.weights[index].T
            r_sums.append(r_z)
            if index < len(directions) - 1:
                r_inputs.append(trace.slopes[index] * r_z)

        product, layers = self._new_vector(trace)
        r_delta = loss_product(r_sums[-1])
        for index in range(len(layers) - 1, -1, -1):
            delta, r_a = adjoint.deltas[index], r_inputs[index]
            weight = r_delta.T @ trace.inputs[index]
            if r_a is not None:
                weight = weight + delta.T @ r_a
            self._add_layer(layers[index], weight, r_delta)
            if index > 0:
                back = r_delta @ trace.weights[index] + delta @ directions[index]["weight"]
                r_delta = trace.slopes[index - 1] * back
                second = adjoint.seconds[index - 1]
                if second is not None:
                    r_delta = r_delta + second * r_sums[index - 1]
        return product

    def _new_vector(self, trace: Trace) -> tuple[Array, list[Layer]]:
        """Return a vector to fill and its layers, views into it."""
        like = trace.outputs
        xp = namespace_of(like)
        vector = xp.empty((self.size,), dtype=like.dtype, device=device_of(like))
        return vector, self.unflatten(vector)["layers"]

    def _add_layer(self, layer: Layer, weight: Array, delta: Array) -> None:
        layer["weight"][...] = weight
        if self.bias:
            layer["bias"][...] = namespace_of(delta).sum(delta, axis=0)


def _sums(a: Array, layer: Layer) -> Array:
    """Return ``a W' + b``, shape (N, n_out)."""
    z = a @ layer["weight"].T
    return z + layer["bias"] if "bias" in layer else z
