"""Losses and networks written in JAX, as objectives of one flat vector.

Needs JAX (``pip install 'negopt[jax]'``); nothing else in negopt imports it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from itertools import accumulate
from typing import Generic, Self, TypeVar

import numpy as np

from negopt.core.arrays import Array, adopt, copy_of, is_array, library_of
from negopt.core.types import NoSecondDerivatives
from negopt.neural._cache import LastPoint

try:
    import jax
except ModuleNotFoundError as error:
    if error.name != "jax":
        raise
    raise ModuleNotFoundError(
        "negopt.neural.jax needs JAX: pip install 'negopt[jax]'.", name="jax"
    ) from None

__all__ = ["JaxModelObjective", "JaxObjective"]

T = TypeVar("T")  # the user's tree of parameters


class _Layout(Generic[T]):
    """Where the leaves of a parameter tree lie in the vector, and what they must be."""

    def __init__(self, params: T) -> None:
        pairs, self.treedef = jax.tree_util.tree_flatten_with_path(params)
        if not pairs:
            raise ValueError("'params' has no leaves; pass at least one array.")
        self.names = [jax.tree_util.keystr(path) for path, _ in pairs]
        leaves = [leaf for _, leaf in pairs]
        for name, leaf in zip(self.names, leaves, strict=True):
            if not hasattr(leaf, "dtype") or not hasattr(leaf, "shape"):
                raise TypeError(
                    f"params{name} is of type {type(leaf).__name__}; every leaf must be an array. "
                    "Pass what is not trained as data, or close over it."
                )
            if str(leaf.dtype) not in ("float32", "float64"):
                raise ValueError(
                    f"params{name} has type {leaf.dtype}; parameters are float32 or float64. "
                    "Convert it, or, if it is not trained, pass it as data."
                )
            if leaf.dtype != leaves[0].dtype:
                raise ValueError(
                    f"params{name} has type {leaf.dtype}, params{self.names[0]} has "
                    f"{leaves[0].dtype}. One vector has one type: convert the leaf."
                )
        self.dtype = np.dtype(str(leaves[0].dtype))
        self.check_precision()
        placed = [leaf for leaf in leaves if isinstance(leaf, jax.Array)]
        homes = set().union(*(leaf.devices() for leaf in placed)) if placed else set()
        if len(homes) > 1:
            raise ValueError(
                f"the leaves of 'params' are on several devices ({sorted(map(str, homes))}); put "
                "them on one: jax.device_put(params, device)."
            )
        self.device = next(iter(homes)) if homes else jax.numpy.zeros(()).devices().pop()
        self.shapes = [tuple(leaf.shape) for leaf in leaves]
        self.offsets = [0, *accumulate(math.prod(shape) for shape in self.shapes)]
        self.size = self.offsets[-1]
        if self.size == 0:
            raise ValueError("'params' has no entries: all its leaves are empty.")

    def check_precision(self) -> None:
        """Raise where JAX would silently convert float64 to float32."""
        if self.dtype == np.float64 and not jax.config.jax_enable_x64:
            raise ValueError(
                "the parameters are float64 but JAX computes in 32 bits: call "
                "jax.config.update('jax_enable_x64', True) before anything else, or pass float32 "
                "parameters."
            )

    def ravel(self, tree: T) -> Array:
        """Return the leaves of `tree` as one JAX vector."""
        leaves, treedef = jax.tree_util.tree_flatten(tree)
        if treedef != self.treedef:
            raise ValueError(
                f"'params' has the structure {treedef}; the parameters have {self.treedef}."
            )
        for name, shape, leaf in zip(self.names, self.shapes, leaves, strict=True):
            if np.shape(leaf) != shape:
                raise ValueError(f"params{name} has shape {np.shape(leaf)}; expected {shape}.")
        flat = [jax.numpy.ravel(jax.device_put(leaf, self.device)) for leaf in leaves]
        return jax.numpy.concatenate(flat).astype(self.dtype)

    def unravel(self, x: Array) -> T:
        """Return the tree of the JAX vector `x`."""
        bounds = zip(self.offsets[:-1], self.offsets[1:], self.shapes, strict=True)
        leaves = [x[start:end].reshape(shape) for start, end, shape in bounds]
        tree: T = jax.tree_util.tree_unflatten(self.treedef, leaves)
        return tree

    def place(self, data: tuple[object, ...]) -> tuple[object, ...]:
        """Return `data` on the device of the parameters: host arrays are put there, once."""

        def put(leaf: object) -> object:
            if isinstance(leaf, jax.Array):
                if leaf.devices() != {self.device}:
                    raise ValueError(
                        f"'data' is on {sorted(map(str, leaf.devices()))} but the parameters are "
                        f"on {self.device}; put both in one place with jax.device_put."
                    )
                return leaf
            if isinstance(leaf, (bool, int, float)):
                return leaf  # it takes the type of what it meets
            return jax.device_put(np.asarray(leaf), self.device)

        return tuple(jax.tree_util.tree_map(put, part) for part in data)


class JaxObjective(Generic[T]):
    """A JAX function of a parameter tree as an objective of one flat vector.

    Parameters
    ----------
    loss : callable ``(params, *data) -> scalar``
        Pure, traceable by JAX, twice differentiable where Hessian products are wanted.
    params : tree of arrays
        The starting point: any tree JAX knows (dicts, lists, named tuples, registered
        classes such as those of Flax and Equinox) with leaves of one type, float32 or
        float64, on one device.
    data : tuple, default ()
        Further arguments of `loss`: trees of arrays; a tree that is not a tuple is the only
        argument.  Host arrays are put on the device of the parameters, once, and must not be
        changed afterwards.

    Attributes
    ----------
    x0 : array, shape (n,)
        `params` as one vector, leaf after leaf in JAX's order (dicts by sorted keys), row
        by row.
    data : tuple
        As JAX arrays on the device of the parameters.

    Raises
    ------
    ValueError
        For leaves and data that are not as above, for float64 leaves while JAX computes in 32
        bits, and when `loss` does not return one real number.
    ImportError
        For parameters on a GPU without CuPy.

    Notes
    -----
    JAX's arrays cannot be written to, but the solver updates its memories in place.  Its
    vectors are therefore NumPy's on the host and CuPy's on a GPU, which share their buffers
    with JAX and never leave their device.  What `grad` and `hessp` return is read-only.

    Each function is compiled once for each shape of the data, and shared by the objectives
    that :meth:`on` makes: mini-batches of one size cost one compilation.  `fun`, `grad` and
    `fun_and_grad` at the same point evaluate once; the point is recognised by content.
    Hessian products are forward over reverse; no matrix is formed.

    **Guarantee** (``tests/neural/test_jax_objective.py``): value, gradient and products
    agree with those of `negopt.neural.MLPObjective` to rounding and with differences;
    float32 stays float32.

    References
    ----------
    Pearlmutter (1994), Neural Computation 6, 147-160, doi:10.1162/neco.1994.6.1.147.
    """

    def __init__(self, loss: Callable[..., Array], params: T, *, data: object = ()) -> None:
        if not callable(loss):
            raise TypeError(f"'loss' is {loss!r}; pass a function (params, *data) -> scalar.")
        self._layout = layout = _Layout(params)
        self.data = layout.place(data if isinstance(data, tuple) else (data,))

        def flat_loss(x: Array, *data: object) -> Array:
            return loss(layout.unravel(x), *data)

        def product(x: Array, p: Array, *data: object) -> Array:
            return jax.jvp(lambda at: jax.grad(flat_loss)(at, *data), (x,), (p,))[1]

        start = layout.ravel(params)
        self.x0: Array = copy_of(adopt(start))
        _check_scalar(jax.eval_shape(flat_loss, start, *self.data))
        self._both = jax.jit(jax.value_and_grad(flat_loss))
        self._product = jax.jit(product)
        self._last: LastPoint[tuple[float, Array]] = LastPoint()

    @staticmethod
    def from_model(
        apply: Callable[[T, Array], Array],
        loss: Callable[[Array, Array], Array],
        params: T,
        inputs: object,
        targets: object,
    ) -> JaxModelObjective[T]:
        """Return the `JaxModelObjective` of a network and a loss that are given separately."""
        return JaxModelObjective(apply, loss, params, inputs, targets)

    def on(self, *data: object) -> Self:
        """Return the same loss, with the same compiled functions, over other `data`."""
        if len(data) != len(self.data):
            raise ValueError(
                f"on() got {len(data)} arguments; this loss takes {len(self.data)} besides the "
                "parameters."
            )
        other = copy.copy(self)
        other.data = self._layout.place(data)
        other._last = LastPoint()
        return other

    def unflatten(self, x: Array) -> T:
        """Return the parameters of the vector `x`, shape (n,), as a tree of JAX arrays."""
        return self._layout.unravel(self._as_jax(copy_of(self._own(x, "x"))))

    def flatten(self, params: T) -> Array:
        """Return a tree of parameters as a vector, shape (n,), of the kind of `x0`."""
        return copy_of(adopt(self._layout.ravel(params)))

    def fun(self, x: Array) -> float:
        """Return the loss at `x`, shape (n,), as a number."""
        return self._at(x)[0]

    def grad(self, x: Array) -> Array:
        """Return the gradient at `x`, shape (n,), read-only."""
        return self._at(x)[1]

    def fun_and_grad(self, x: Array) -> tuple[float, Array]:
        """Return the loss and the gradient, shape (n,), at `x`, shape (n,)."""
        return self._at(x)

    def hessp(self, x: Array) -> Callable[[Array], Array]:
        """Return the callable ``p -> H(x) p``, both of shape (n,)."""
        return self._linear(self._product, x)

    def _linear(self, function: Callable[..., Array], x: Array) -> Callable[[Array], Array]:
        """Return ``p -> function(x, p)``; later changes of `x` do not matter."""
        at = self._as_jax(copy_of(self._own(x, "x")))

        def product(p: Array) -> Array:
            """Return the matrix times `p`, shape (n,)."""
            # N.B. a copy: where the matrix is the identity JAX returns its argument.
            own = self._as_jax(copy_of(self._own(p, "p")))
            try:
                return adopt(function(at, own, *self.data))
            except (TypeError, ValueError, NotImplementedError) as error:
                raise NoSecondDerivatives(
                    f"the loss has no second derivatives ({error}); take a method that needs "
                    "gradients alone, or give the operation that is named a derivative."
                ) from error

        return product

    def _at(self, x: Array) -> tuple[float, Array]:
        x = self._own(x, "x")
        found = self._last.find(x)
        if found is None:
            own = copy_of(x)
            f, g = self._both(self._as_jax(own), *self.data)
            found = self._last.store(own, (adopt(f)[()], adopt(g)))
        return found

    def _as_jax(self, own: Array) -> Array:
        """Return a vector as JAX's, which may share its memory: it must not be changed."""
        self._layout.check_precision()
        if isinstance(own, np.ndarray):
            return jax.device_put(own, self._layout.device)
        return jax.dlpack.from_dlpack(own)

    def _own(self, x: Array, name: str) -> Array:
        """Check a vector; one of JAX's becomes one of the solver's kind."""
        if isinstance(x, jax.Array):
            x = adopt(x)
        layout = self._layout
        kind = library_of(x) if is_array(x) else type(x).__name__
        if kind != library_of(self.x0):
            raise TypeError(f"{name!r} is a {kind}; expected a {library_of(self.x0)} array.")
        if tuple(x.shape) != (layout.size,):
            raise ValueError(
                f"{name!r} has shape {tuple(x.shape)}; there are {layout.size} parameters, so it "
                f"must be ({layout.size},)."
            )
        if x.dtype != layout.dtype:
            raise ValueError(
                f"{name!r} has type {x.dtype} but the parameters are {layout.dtype}; start from "
                "x0 of this objective, or convert the parameters."
            )
        return x


class JaxModelObjective(JaxObjective[T]):
    """A JAX network, a loss and data as an objective of one flat vector.

    Made by :meth:`JaxObjective.from_model`; it has Gauss-Newton products and outputs too.

    Parameters
    ----------
    apply : callable ``(params, inputs) -> outputs``
        The network, such as ``model.apply`` of Flax.
    loss : callable ``(outputs, targets) -> scalar``
    params, inputs, targets : trees of arrays

    Notes
    -----
    The generalised Gauss-Newton matrix is ``J' L J`` with J the derivative of the outputs
    and L the Hessian of the loss in the outputs; it is positive semidefinite when the loss
    is convex in the outputs.

    References
    ----------
    Schraudolph (2002), Neural Computation 14, 1723-1738, doi:10.1162/08997660260028683.
    """

    def __init__(
        self,
        apply: Callable[[T, Array], Array],
        loss: Callable[[Array, Array], Array],
        params: T,
        inputs: object,
        targets: object,
    ) -> None:
        super().__init__(
            lambda params, inputs, targets: loss(apply(params, inputs), targets),
            params,
            data=(inputs, targets),
        )
        layout = self._layout

        def gauss_newton(x: Array, p: Array, inputs: Array, targets: Array) -> Array:
            def network(at: Array) -> Array:
                return apply(layout.unravel(at), inputs)

            outputs, back = jax.vjp(network, x)
            along = jax.jvp(network, (x,), (p,))[1]
            slope = jax.grad(lambda z: loss(z, targets))
            return back(jax.jvp(slope, (outputs,), (along,))[1])[0]

        self._gauss_newton = jax.jit(gauss_newton)
        self._apply = jax.jit(lambda x, inputs: apply(layout.unravel(x), inputs))

    def gnp(self, x: Array) -> Callable[[Array], Array]:
        """Return the callable ``p -> G(x) p`` of generalised Gauss-Newton products."""
        return self._linear(self._gauss_newton, x)

    def outputs(self, x: Array, inputs: object = None) -> Array:
        """Return the network's outputs for `inputs` (the own ones by default), JAX arrays."""
        given = self.data[0] if inputs is None else self._layout.place((inputs,))[0]
        return self._apply(self._as_jax(copy_of(self._own(x, "x"))), given)


def _check_scalar(value: Array) -> None:
    """Raise when a loss does not return one real number."""
    shape = getattr(value, "shape", None)
    if shape != ():
        kind = type(value).__name__ if shape is None else f"an array of shape {shape}"
        raise ValueError(f"'loss' returned {kind}; it must return a scalar (take the mean or sum).")
    if not jax.numpy.issubdtype(value.dtype, jax.numpy.floating):
        raise ValueError(f"'loss' returned {value.dtype}; it must return a real number.")
