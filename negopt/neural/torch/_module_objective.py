"""A torch module, a loss and data as an objective of the flat parameter vector."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch

from negopt.core.arrays import Array
from negopt.neural._cache import LastPoint
from negopt.neural.torch._frozen import Buffers, RandomNumbers, mode_of
from negopt.neural.torch._products import Product, ProductRule, gauss_newton
from negopt.neural.torch._vector import Parameters, number_like, tensors_in, vector_like

T = TypeVar("T")


class _Point:
    """What has been computed at one point."""

    def __init__(self, x: torch.Tensor) -> None:
        self.leaf = x.detach().requires_grad_()
        self.value: torch.Tensor | None = None
        self.gradient: torch.Tensor | None = None
        self.buffers: list[torch.Tensor] = []


class _Whole(torch.nn.Module):  # type: ignore[misc]
    """The module with a forward pass that calls any function."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, body: Callable[[], T]) -> T:
        return body()


def _is_parallel(module: torch.nn.Module) -> bool:
    """Tell whether `module` runs on several devices."""
    if isinstance(module, torch.nn.parallel.DistributedDataParallel):
        return True
    return isinstance(module, torch.nn.DataParallel) and len(module.device_ids) > 1


class TorchObjective:
    """Loss of a ``torch.nn.Module`` over data, as a function of one flat vector.

    The variables are the module's parameters with ``requires_grad``, in the order of
    ``named_parameters()``; a parameter that is shared appears once.  Gradient, exact Hessian
    products and Gauss-Newton products are torch's, on the module's device and in its type;
    the module itself changes only by `load` and `commit`.

    Parameters
    ----------
    module : torch.nn.Module
        With parameters of one type, float32 or float64, on one device.
    loss : callable ``(outputs, targets) -> scalar tensor``, or None
        Such as ``torch.nn.functional.cross_entropy``, a mean over the batch.  None when
        ``module(inputs)`` is the loss itself.
    inputs : tensor, tuple or dict
        What the module is called with: ``module(inputs)``, ``module(*inputs)`` or
        ``module(**inputs)``.
    targets : tensor or any object, optional
        Second argument of `loss`; without it `loss` is called with the outputs alone.
    products : {"auto", "double backward", "forward-over-reverse"}, default "auto"
        How Hessian products are formed.  "auto" takes double backward, and the other where
        an operation has no second derivative; see Notes.
    training : bool, optional
        Evaluate in training (True) or evaluation mode (False).  By default in the mode that
        the module is in.
    seed : int, optional
        Seed of the random numbers of all evaluations (dropout).  By default drawn from
        torch's global generator, once, so that ``torch.manual_seed`` governs it.

    Attributes
    ----------
    module, loss, inputs, targets, training
        As given.
    recurrent : bool
        Whether the module has recurrent layers: products then do not use cuDNN.

    Raises
    ------
    TypeError
        When `module` is not a module, or runs on several devices (pass the one inside), or
        `loss` is not callable.
    ValueError
        When no parameter is to be trained, parameters or data are not as above, or the loss is
        not a scalar.

    Notes
    -----
    - *Buffers* (running statistics of batch norm) are those of the module at each
      evaluation, and are left as they are; ``commit(x)`` advances them by the pass at x.
    - *Random numbers* of the passes are the same in all evaluations of one objective, so a
      dropout mask belongs to the batch; ``on(...)`` draws a new one.  The global generators
      are left as they are.
    - Double backward keeps the graph of one gradient at x and then costs about two gradients
      a product; forward-over-reverse keeps nothing and costs four to six (measured on a
      CPU, on a network with full layers, one with convolutions and a transformer).  Both use
      kernels with right second derivatives, where f and g may use fused or compiled ones.
    - The module holds the trial's parameters while it is evaluated: one thread at a time.
    - Points are recognised by content.  `x` may be a NumPy vector when the module is on the
      CPU: what comes back is NumPy's, and shares memory where it can.

    **Guarantee** (``tests/neural/test_torch_objective.py``): gradient and products agree
    with differences in double precision and with torch's own, and evaluations leave the
    module as it was, bit for bit.

    References
    ----------
    Pearlmutter (1994), Neural Computation 6, 147-160, doi:10.1162/neco.1994.6.1.147.
    Schraudolph (2002), Neural Computation 14, 1723-1738, doi:10.1162/08997660260028683.

    Examples
    --------
    >>> import torch, negopt
    >>> from negopt.neural.torch import TorchObjective
    >>> _ = torch.manual_seed(0)
    >>> X = torch.randn(40, 3, dtype=torch.float64)
    >>> y = torch.sin(X.sum(dim=1, keepdim=True))
    >>> net = torch.nn.Sequential(
    ...     torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1)).double()
    >>> objective = TorchObjective(net, torch.nn.functional.mse_loss, X, y)
    >>> res = negopt.minimize(objective, objective.x0, options={"maxiter": 200})
    >>> objective.load(res.x)  # into the module
    >>> torch.nn.functional.mse_loss(net(X), y).item() < 0.05
    True
    """

    def __init__(
        self,
        module: torch.nn.Module,
        loss: Callable[..., torch.Tensor] | None,
        inputs: object,
        targets: object = None,
        *,
        products: str = "auto",
        training: bool | None = None,
        seed: int | None = None,
    ) -> None:
        if not isinstance(module, torch.nn.Module):
            raise TypeError(
                f"module is a {type(module).__name__}; pass the torch.nn.Module that is trained."
            )
        if _is_parallel(module):
            raise TypeError(
                f"module is a {type(module).__name__}, whose passes run on several devices; pass "
                "the module inside it, module.module."
            )
        if loss is not None and not callable(loss):
            raise TypeError(
                f"loss={loss!r}: pass a function (outputs, targets) -> scalar tensor, or None "
                "where module(inputs) is the loss."
            )
        self.module = module
        self.loss = loss
        self._parameters = Parameters(module.named_parameters())
        self.recurrent = any(isinstance(part, torch.nn.RNNBase) for part in module.modules())
        self._whole = _Whole(module)
        self._buffers = Buffers(module)
        self._random = RandomNumbers(self._parameters.device)
        self._rule = ProductRule(products)
        self.training = training
        self._set_data(inputs, targets, seed)

    def _set_data(self, inputs: object, targets: object, seed: int | None) -> None:
        for name, data in (("inputs", inputs), ("targets", targets)):
            for tensor in tensors_in(data):
                if tensor.device != self._parameters.device:
                    raise ValueError(
                        f"{name!r} is on {tensor.device} but the module is on "
                        f"{self._parameters.device}; move one of them, {name}.to(...)."
                    )
        self.inputs, self.targets = inputs, targets
        if seed is None:
            seed = int(torch.randint(2**62, ()).item())
        self._states = self._random.seeded(seed)
        self._last: LastPoint[_Point] = LastPoint()

    # --- what a solver asks for ------------------------------------------------------

    @property
    def x0(self) -> torch.Tensor:
        """The module's parameters as they are now, a new vector of shape (n,)."""
        return self._parameters.gather()

    @property
    def size(self) -> int:
        """Number of variables."""
        return self._parameters.size

    @property
    def names(self) -> list[str]:
        """Names of the parameters, in the order of the vector."""
        return list(self._parameters.names)

    @property
    def product_rule(self) -> str | None:
        """How Hessian products are formed; None before the first."""
        return self._rule.chosen

    def fun(self, x: Array) -> float | torch.Tensor:
        """Return the loss at `x`, shape (n,), as a scalar tensor (a float for NumPy's x)."""
        return number_like(self._value(self._at(x)), x)

    def grad(self, x: Array) -> Array:
        """Return the gradient at `x`, shape (n,), as a new vector."""
        return vector_like(self._gradient(self._at(x)).clone(), x)

    def fun_and_grad(self, x: Array) -> tuple[float | torch.Tensor, Array]:
        """Return the loss and the gradient at `x`, shape (n,)."""
        point = self._at(x)
        gradient = self._gradient(point).clone()
        return number_like(self._value(point), x), vector_like(gradient, x)

    def hessp(self, x: Array) -> Callable[[Array], Array]:
        """Return the callable ``p -> H(x) p``, both of shape (n,).

        The passes that all products share are made once, here.
        """
        return self._products(self._rule.at(self, self._parameters.own(x, "x")), x)

    def gnp(self, x: Array) -> Callable[[Array], Array]:
        """Return the callable ``p -> J'H J p``, both of shape (n,): Gauss-Newton products.

        J is the Jacobian of the module's outputs (one tensor) at `x`, H the Hessian of the loss
        in the outputs: for a loss that is convex in them the matrix is positive semidefinite.
        """
        if self.loss is None:
            raise ValueError(
                "gnp needs the loss apart from the network; pass 'loss', and a module that "
                "returns its outputs."
            )
        return self._products(gauss_newton(self, self._parameters.own(x, "x")), x)

    # --- the network ---------------------------------------------------------------------

    def on(
        self,
        inputs: object,
        targets: object = None,
        *,
        training: bool | None = None,
        seed: int | None = None,
    ) -> TorchObjective:
        """Return the objective of the same module and loss over other data.

        Parameters are those of the class; `training` is by default this objective's (False
        for validation), and `seed` is drawn anew: another batch, another mask.
        """
        other = copy.copy(self)
        other.training = self.training if training is None else training
        other._set_data(inputs, targets, seed)
        return other

    def load(self, x: Array) -> None:
        """Write the vector `x`, shape (n,), into the module's parameters."""
        self._parameters.write(self._parameters.own(x, "x"))

    def commit(self, x: Array) -> None:
        """Advance the module's buffers by the forward pass at `x`, shape (n,).

        Call it once for each accepted step, such as from a callback of `negopt.minimize`.
        """
        point = self._at(x)
        self._value(point)
        self._buffers.commit(point.buffers)

    def buffers(self) -> dict[str, Array]:
        """Return host copies of the module's buffers by name, for a checkpoint."""
        return self._buffers.save()

    def load_buffers(self, saved: Mapping[str, Array]) -> None:
        """Copy what `buffers` returned into the module; the names must be the same."""
        self._buffers.load(saved)

    def predict(self, x: Array, inputs: object = None) -> Any:
        """Return the module's outputs at `x` in evaluation mode, on the own data by default."""
        other = copy.copy(self)
        other.inputs = self.inputs if inputs is None else inputs
        other.training = False
        with torch.no_grad():
            return other.within(self._parameters.own(x, "x"), other.outputs)

    def outputs(self) -> Any:
        """Return the module's outputs for the data, at the parameters that it has now."""
        if isinstance(self.inputs, Mapping):
            return self.module(**self.inputs)
        if isinstance(self.inputs, tuple):
            return self.module(*self.inputs)
        return self.module(self.inputs)

    def loss_of(self, outputs: object) -> torch.Tensor:
        """Return the loss of `outputs` against the targets, a scalar tensor."""
        if self.loss is None:
            value = outputs
        else:
            value = self.loss(outputs) if self.targets is None else self.loss(outputs, self.targets)
        if not isinstance(value, torch.Tensor) or value.numel() != 1:
            shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            raise ValueError(
                f"the loss returned {shape}; it must return a scalar tensor, such as the mean "
                "over the batch."
            )
        return value.reshape(())

    def within(self, x: torch.Tensor, body: Callable[[], T]) -> T:
        """Return ``body()``, run while the module's parameters are the pieces of `x`."""
        return self._within(x, body)[0]

    def _within(self, x: torch.Tensor, body: Callable[[], T]) -> tuple[T, list[torch.Tensor]]:
        """Return ``body()`` and the buffers after it; the module's own stay as they are."""
        names = (f"module.{name}" for name in self._parameters.names)
        pieces = dict(zip(names, self._parameters.views(x), strict=True))
        with (
            mode_of(self.module, self.training),
            self._random.fixed(self._states),
            self._buffers.trial() as after,
        ):
            result = torch.func.functional_call(self._whole, pieces, (body,))
        return result, after

    def _value(self, point: _Point) -> torch.Tensor:
        if point.value is None:
            with torch.enable_grad():  # a kernel without a gradient may round differently
                point.value, point.buffers = self._within(
                    point.leaf, lambda: self.loss_of(self.outputs())
                )
        return point.value

    def _gradient(self, point: _Point) -> torch.Tensor:
        if point.gradient is None:

            def slope(value: torch.Tensor) -> torch.Tensor:
                if not value.requires_grad:
                    return torch.zeros_like(point.leaf)
                (g,) = torch.autograd.grad(value, point.leaf, materialize_grads=True)
                return g

            def both() -> tuple[torch.Tensor, torch.Tensor]:
                value = self.loss_of(self.outputs())
                return value.detach(), slope(value)

            value = point.value
            with torch.enable_grad():
                if value is None:
                    (point.value, point.gradient), point.buffers = self._within(point.leaf, both)
                else:  # only backwards, which frees the graph
                    point.gradient = self.within(point.leaf, lambda: slope(value))
                    point.value = value.detach()
        return point.gradient

    def _at(self, x: Array) -> _Point:
        own = self._parameters.own(x, "x")
        found = self._last.find(own)
        return self._last.store(own, _Point(own)) if found is None else found

    def _products(self, product: Product, x: Array) -> Callable[[Array], Array]:
        return lambda p: vector_like(product(self._parameters.own(p, "p")), x)
