"""Use operations that can be differentiated twice, where the usual ones cannot."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from torch.autograd import forward_ad
from torch.nn import functional
from torch.overrides import TorchFunctionMode


@contextmanager
def differentiable_kernels(*, recurrent: bool) -> Iterator[None]:
    """Run the body with gradients, and with kernels that have second derivatives.

    Those of cuDNN for recurrent layers have none.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.enable_grad())
        if recurrent:
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        if hasattr(torch.nn, "attention") and hasattr(torch.nn.attention, "sdpa_kernel"):
            math = torch.nn.attention.SDPBackend.MATH
            stack.enter_context(torch.nn.attention.sdpa_kernel(math))
        elif torch.cuda.is_available():  # torch 2.2
            stack.enter_context(
                torch.backends.cuda.sdp_kernel(enable_flash=False, enable_mem_efficient=False)
            )
        # Compiled code has only first derivatives.  Where torch's compiler, whose import takes
        # seconds, is not loaded, nothing has been compiled.
        if "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance"):  # torch 2.6
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


class DifferentiableFunctions(TorchFunctionMode):  # type: ignore[misc]
    """Run a forward pass with other formulas for what torch's kernels differentiate wrongly.

    Calls from Python are replaced, those of scripted or traced code are not.  Fewer kernels have
    a second derivative that is a forward one.
    """

    def __init__(self, *, forward: bool = False) -> None:
        super().__init__()
        self.formulas = FORWARD if forward else TWICE

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Iterable[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        return self.formulas.get(func, func)(*args, **(kwargs or {}))


def _weight_norm(v: torch.Tensor, g: torch.Tensor, dim: int = 0) -> torch.Tensor:
    """Return ``g v / ||v||``.

    N.B. the gradient of torch's fused kernel treats ``||v||`` as a constant when it is
    differentiated: its Hessian products are silently wrong, by some ten per cent.
    """
    # N.B. -1 is the norm of all of v; torch.norm_except_dim has no forward derivative there.
    norm = torch.linalg.vector_norm(v) if dim == -1 else torch.norm_except_dim(v, 2, dim)
    return v * (g / norm)


def _mse_loss(outputs: torch.Tensor, targets: torch.Tensor, **how: object) -> torch.Tensor:
    """Return the mean square, of tensors that both have a tangent.

    N.B. where one of them has none the derivative of torch's kernel writes into a constant.
    """
    return functional.mse_loss(_with_tangent(outputs), _with_tangent(targets), **how)


def _huber_loss(
    outputs: torch.Tensor, targets: torch.Tensor, *, delta: float = 1.0, **how: object
) -> torch.Tensor:
    """Return Huber's loss by the smooth L1 loss, whose gradient has a forward derivative."""
    if how.pop("weight", None) is not None:
        raise NotImplementedError("huber_loss with weights has no forward derivative")
    return delta * functional.smooth_l1_loss(outputs, targets, beta=delta, **how)


def _with_tangent(z: torch.Tensor) -> torch.Tensor:
    if forward_ad.unpack_dual(z).tangent is not None:
        return z
    dual: torch.Tensor = forward_ad.make_dual(z, torch.zeros_like(z))
    return dual


TWICE: dict[Callable[..., object], Callable[..., object]] = {torch._weight_norm: _weight_norm}
FORWARD = TWICE | {functional.mse_loss: _mse_loss, functional.huber_loss: _huber_loss}
