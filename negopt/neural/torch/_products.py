"""Products with the Hessian and the Gauss-Newton matrix of a network's loss."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

import torch
from torch.autograd import forward_ad, grad
from torch.autograd.graph import Node

from negopt.core.options import check_choice
from negopt.core.types import NoSecondDerivatives
from negopt.neural.torch._kernels import DifferentiableFunctions, differentiable_kernels

logger = logging.getLogger("negopt")

T = TypeVar("T")
Product = Callable[[torch.Tensor], torch.Tensor]

AUTO, TWICE, FORWARD = "auto", "double backward", "forward-over-reverse"
#: The values of `products`.
RULES = (AUTO, TWICE, FORWARD)

#: Operations, by the beginnings of their names in a graph, that have no second derivative.  The
#: first is a node that fails when it is reached; but it does not depend on the parameters, so it
#: is not reached, and products would silently lack its part.
MISSING = {
    "torch::autograd::Error": "an operation of the network is once_differentiable",
    "CompiledFunction": "compiled code has no second derivative, and only torch 2.6 and later can "
    "set torch.compile aside: pass the module and the loss as they were before",
}
#: Those whose second derivative is wrong.
WRONG = {
    "WeightNormInterface": "torch's kernel of weight normalisation has a wrong second derivative, "
    "and scripted or traced code cannot be kept from it"
}


class Network(Protocol):
    """A network, a loss and data, to be differentiated at any parameters."""

    #: Whether there are recurrent layers, whose kernels on a GPU have no second derivative.
    recurrent: bool

    def outputs(self) -> Any:
        """Return the outputs, inside of `within`."""

    def loss_of(self, outputs: object) -> torch.Tensor:
        """Return the loss of `outputs`, a scalar."""

    def within(self, x: torch.Tensor, body: Callable[[], T]) -> T:
        """Return ``body()``, run while the parameters are the pieces of `x`.

        N.B. backward passes too run inside: activation checkpointing repeats the forward pass.
        """


class ProductRule:
    """How the Hessian products of a network are formed, one of `RULES`; "auto" chooses once."""

    def __init__(self, wanted: str) -> None:
        check_choice("products", wanted, RULES)
        self.wanted = wanted
        self.chosen = FORWARD if wanted == FORWARD else None  #: None until the first product

    def at(self, network: Network, x: torch.Tensor) -> Product:
        """Return ``p -> H(x) p``."""
        if self.chosen == FORWARD:
            return _forward_over_reverse(network, x)
        made = [_double_backward(network, x, check=self.chosen is None)]

        def product(p: torch.Tensor) -> torch.Tensor:
            if self.chosen is None:
                return self._choose(network, x, p, made)
            return made[0](p)

        return product

    def _choose(
        self, network: Network, x: torch.Tensor, p: torch.Tensor, made: list[Product]
    ) -> torch.Tensor:
        """Form the first product; where an operation has no second derivative, the other way."""
        try:
            product = made[0](p)
            self.chosen = TWICE
        except RuntimeError as error:
            if self.wanted == TWICE:
                raise
            made[0] = _forward_over_reverse(network, x)
            try:
                product = made[0](p)
            except RuntimeError as second:
                raise NoSecondDerivatives(
                    f"the network has no second derivatives, neither by {TWICE} ({error}) nor by "
                    f"{FORWARD} ({second}); take a method that needs gradients alone, or replace "
                    "the operation that is named."
                ) from error
            self.chosen = FORWARD
        logger.info("Hessian products by %s", self.chosen)
        return product


def _double_backward(network: Network, x: torch.Tensor, *, check: bool) -> Product:
    """Return products by differentiating the gradient's graph, which is kept."""
    leaf = x.detach().requires_grad_()

    def gradient() -> tuple[torch.Tensor | None, Exception | None]:
        with DifferentiableFunctions():
            value = network.loss_of(network.outputs())
        if not value.requires_grad:
            return None, None
        try:
            g = _gradient_with_graph(value, leaf)
        except RuntimeError as error:  # some operations fail here, and others in a product
            return None, _fault(MISSING, value) or error
        return g, _fault(MISSING | WRONG, value, g) if check else None

    with differentiable_kernels(recurrent=network.recurrent):
        g, fault = network.within(leaf, gradient)

    def product(p: torch.Tensor) -> torch.Tensor:
        if fault is not None:
            raise fault
        if g is None:
            return torch.zeros_like(p)
        with differentiable_kernels(recurrent=network.recurrent):
            return _vjp(network, leaf, g, leaf, p)

    return product


def _gradient_with_graph(value: torch.Tensor, leaf: torch.Tensor) -> torch.Tensor:
    """Return a gradient that may be differentiated.

    N.B. the weight of `value` requires a gradient: only by it does `_fault` find operations
    whose backward pass has no derivative.
    """
    one = torch.ones_like(value, requires_grad=True)
    g: torch.Tensor = grad(value, leaf, one, create_graph=True, materialize_grads=True)[0]
    return g


def _fault(faults: dict[str, str], *results: torch.Tensor) -> Exception | None:
    """Return an error where one of `faults` is in the graph of `results`."""
    for node in _graph(*results):
        for beginning, fault in faults.items():
            if node.name().startswith(beginning):
                return NotImplementedError(fault)
    return None


def _graph(*results: torch.Tensor) -> Iterator[Node]:
    """Yield what the `results` were computed by, each operation once."""
    seen, ahead = set(), [result.grad_fn for result in results]
    while ahead:
        node = ahead.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            ahead += [before for before, _ in node.next_functions]


def _vjp(
    network: Network, leaf: torch.Tensor, of: torch.Tensor, by: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Return the derivative of ``weights'of`` in `by`; the graph is kept."""
    return network.within(
        leaf, lambda: grad(of, by, weights, retain_graph=True, materialize_grads=True)[0]
    )


def _forward_over_reverse(network: Network, x: torch.Tensor) -> Product:
    """Return products by the derivative of the gradient along p, each with its own passes."""

    def product(p: torch.Tensor) -> torch.Tensor:
        with differentiable_kernels(recurrent=network.recurrent), forward_ad.dual_level():
            dual = forward_ad.make_dual(x.detach().requires_grad_(), p)

            def along() -> torch.Tensor | None:
                with DifferentiableFunctions(forward=True):
                    value = network.loss_of(network.outputs())
                if not value.requires_grad:
                    return None
                if any("DifferentiableGraph" in node.name() for node in _graph(value)):
                    raise NotImplementedError(
                        "scripted code has no forward derivatives; leave torch.jit.script away, "
                        f"or take products={TWICE!r}"
                    )
                # N.B. the graph is asked for because some backward kernels have a derivative
                # in their differentiable form alone.
                (g,) = grad(value, dual, create_graph=True, materialize_grads=True)
                tangent: torch.Tensor | None = forward_ad.unpack_dual(g).tangent
                return tangent

            tangent = network.within(dual, along)
            return torch.zeros_like(p) if tangent is None else tangent.detach().clone()

    return product


def gauss_newton(network: Network, x: torch.Tensor) -> Product:
    """Return ``p -> J' H J p``: J of the outputs at `x`, H the Hessian of the loss there.

    J p is the derivative of ``J'u`` in u, which is linear: two backward passes and no
    forward-mode derivative, so that every network with second derivatives will do.
    """
    leaf = x.detach().requires_grad_()

    def linearise() -> tuple[torch.Tensor, ...] | None:
        z = network.outputs()
        if not isinstance(z, torch.Tensor):
            raise TypeError(
                f"gnp needs a network with one tensor of outputs; it returned "
                f"{type(z).__name__}. Wrap the module, or use hessp."
            )
        own = z.detach().requires_grad_()
        value = network.loss_of(own)
        if not (z.requires_grad and value.requires_grad):
            return None
        slope = _gradient_with_graph(value, own)
        u = torch.zeros_like(z, requires_grad=True)
        (back,) = grad(z, leaf, u, create_graph=True, materialize_grads=True)
        fault = _fault(MISSING, slope, back)
        if fault is not None:
            raise fault
        return z, own, slope, u, back

    with differentiable_kernels(recurrent=network.recurrent):
        made = network.within(leaf, linearise)

    def product(p: torch.Tensor) -> torch.Tensor:
        if made is None:
            return torch.zeros_like(p)
        z, own, slope, u, back = made
        with differentiable_kernels(recurrent=network.recurrent):
            jp = _vjp(network, leaf, back, u, p)
            hjp = _vjp(network, leaf, slope, own, jp)
            return _vjp(network, leaf, z, leaf, hjp)

    return product
