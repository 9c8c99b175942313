"""The trainable parameters of a network as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch

from negopt.core.arrays import Array


class Parameters:
    """The named tensors with ``requires_grad``, each once, as pieces of one flat vector."""

    def __init__(self, named: Iterable[tuple[str, torch.Tensor]]) -> None:
        trained = [(name, p) for name, p in named if p.requires_grad]
        if not trained:
            raise ValueError("there is no parameter with requires_grad=True: nothing to train.")
        for name, p in trained:
            if torch.nn.parameter.is_lazy(p):
                raise ValueError(
                    f"the parameter {name!r} has no shape yet (a lazy module): call the module "
                    "once on an input before."
                )
        self.names = [name for name, _ in trained]
        self.tensors: list[torch.Tensor] = [p for _, p in trained]
        self.sizes: list[int] = [p.numel() for p in self.tensors]
        self.size = sum(self.sizes)
        first = self.tensors[0]
        self.dtype, self.device = first.dtype, first.device
        if self.device.type == "mps":
            raise ValueError(
                "the module is on an MPS device, which has no float64 for the sums that decide; "
                "move it to the CPU, module.cpu()."
            )
        for name, p in trained:
            if p.dtype not in (torch.float32, torch.float64):
                raise ValueError(
                    f"the parameter {name!r} has type {p.dtype}; convert the module to float32 "
                    "or float64, module.float()."
                )
            if p.dtype != self.dtype or p.device != self.device:
                raise ValueError(
                    f"the parameter {name!r} is {p.dtype} on {p.device} but {self.names[0]!r} is "
                    f"{self.dtype} on {self.device}; one vector has one type and one device: "
                    "convert or move the module, module.to(...), or freeze some of its "
                    "parameters, requires_grad_(False)."
                )

    def gather(self) -> torch.Tensor:
        """Return the parameters as a new vector, shape (n,)."""
        return torch.cat([p.detach().reshape(-1) for p in self.tensors])

    def views(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the pieces of `x`, shape (n,), in the shapes of the parameters."""
        pieces = x.split(self.sizes)
        return [piece.view(p.shape) for piece, p in zip(pieces, self.tensors, strict=True)]

    def own(self, x: Array, name: str) -> torch.Tensor:
        """Return a copy of the vector `x`, a tensor or NumPy's; `name` is for messages."""
        if isinstance(x, np.ndarray) and self.device.type == "cpu":
            x = torch.tensor(x)
        if not isinstance(x, torch.Tensor):
            raise TypeError(
                f"{name!r} is a {type(x).__module__}.{type(x).__name__}; it must be a tensor on "
                f"{self.device}, such as x0 of this objective."
            )
        if x.shape != (self.size,):
            raise ValueError(
                f"{name!r} has shape {tuple(x.shape)}; the module has {self.size} parameters to "
                f"train, so it must be ({self.size},)."
            )
        if x.dtype != self.dtype or x.device != self.device:
            raise ValueError(
                f"{name!r} is {x.dtype} on {x.device} but the module is {self.dtype} on "
                f"{self.device}; start from x0 of this objective, or convert the module."
            )
        return x.detach().clone()

    def write(self, x: torch.Tensor) -> None:
        """Copy the vector `x`, shape (n,), into the parameters."""
        with torch.no_grad():
            for p, piece in zip(self.tensors, self.views(x), strict=True):
                p.copy_(piece)

    def gradients(self) -> torch.Tensor:
        """Return the ``grad`` of all parameters as a new vector; zero where there is none."""
        if all(p.grad is None for p in self.tensors):
            raise ValueError(
                "the closure has left no gradient in any parameter: it must call loss.backward(), "
                "on a loss that depends on the parameters of this optimizer."
            )
        return torch.cat([_dense(p).reshape(-1) for p in self.tensors])

    def write_gradients(self, g: torch.Tensor) -> None:
        """Copy the vector `g`, shape (n,), into each ``grad`` that there is."""
        for p, piece in zip(self.tensors, self.views(g), strict=True):
            if p.grad is not None and not p.grad.is_sparse:
                p.grad.detach().copy_(piece)  # in place: it may be a view of a larger buffer


def _dense(p: torch.Tensor) -> torch.Tensor:
    if p.grad is None:  # the loss does not depend on it
        return torch.zeros_like(p)
    return p.grad.to_dense() if p.grad.is_sparse else p.grad.detach()


def vector_like(result: torch.Tensor, x: Array) -> Array:
    """Return `result` in the library of `x`: a tensor, or NumPy's view of it."""
    return result.detach().numpy() if isinstance(x, np.ndarray) else result.detach()


def number_like(result: torch.Tensor, x: Array) -> float | torch.Tensor:
    """Return a scalar: a tensor that has not been read, or a float where `x` is NumPy's."""
    return result.item() if isinstance(x, np.ndarray) else result.detach()


def tensors_in(data: object) -> Iterator[torch.Tensor]:
    """Yield the tensors in tuples, lists and dicts."""
    if isinstance(data, torch.Tensor):
        yield data
    elif isinstance(data, Mapping):
        for value in data.values():
            yield from tensors_in(value)
    elif isinstance(data, (tuple, list)):
        for value in data:
            yield from tensors_in(value)
