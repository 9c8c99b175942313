"""Activation functions with their first and second derivatives, and stable basics.

The derivatives are written in terms of the activation's own value ``a``, so a
network keeps one array per layer and not two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from negopt.core.arrays import Array, namespace_of

__all__ = ["ACTIVATIONS", "Activation", "log_sum_exp", "sigmoid", "softplus"]


def sigmoid(z: Array) -> Array:
    """Return ``1 / (1 + exp(-z))`` entry by entry, with no overflow for any finite `z`.

    Only ``exp(-|z|)``, which is at most 1, is ever formed; small values keep their
    relative accuracy.
    """
    xp = namespace_of(z)
    e = xp.exp(-xp.abs(z))
    return xp.where(z >= 0, 1 / (1 + e), e / (1 + e))


def softplus(z: Array) -> Array:
    """Return ``log(1 + exp(z))`` entry by entry, as ``max(z, 0) + log1p(exp(-|z|))``."""
    xp = namespace_of(z)
    return xp.where(z > 0, z, xp.zeros_like(z)) + xp.log1p(xp.exp(-xp.abs(z)))


def log_sum_exp(z: Array) -> tuple[Array, Array]:
    """Return ``log(sum(exp(z)))``, shape (N, 1), and ``softmax(z)`` along the rows of `z`.

    The largest entry of each row is subtracted first, so that no exponential overflows.

    References
    ----------
    Blanchard, Higham and Higham (2021), Accurately computing the log-sum-exp and softmax
    functions, IMA J. Numer. Anal. 41, 2311-2330, doi:10.1093/imanum/draa038.
    """
    xp = namespace_of(z)
    largest = xp.max(z, axis=1, keepdims=True)
    e = xp.exp(z - largest)
    total = xp.sum(e, axis=1, keepdims=True)
    return largest + xp.log(total), e / total


@dataclass(frozen=True)
class Activation:
    """An activation ``a = phi(z)`` with ``phi'`` and ``phi''`` as functions of ``a``."""

    value: Callable[[Array], Array]  #: ``z -> a``
    slope: Callable[[Array], Array]  #: ``a -> phi'(z)``
    #: ``(a, slope) -> phi''(z)``; None where it is zero.
    second: Callable[[Array, Array], Array] | None


def _tanh(z: Array) -> Array:
    return namespace_of(z).tanh(z)


def _relu(z: Array) -> Array:
    xp = namespace_of(z)
    return xp.where(z < 0, xp.zeros_like(z), z)  # keeps NaN as NaN


def _step(a: Array) -> Array:
    return namespace_of(a).astype(a > 0, a.dtype)


def _softplus_slope(a: Array) -> Array:
    # sigmoid(z) = 1 - exp(-softplus(z)), and expm1 keeps it accurate for small a.
    return -namespace_of(a).expm1(-a)


#: The activations by name.
ACTIVATIONS: dict[str, Activation] = {
    "tanh": Activation(_tanh, lambda a: 1 - a * a, lambda a, slope: -2 * a * slope),
    "sigmoid": Activation(sigmoid, lambda a: a * (1 - a), lambda a, slope: slope * (1 - 2 * a)),
    "softplus": Activation(softplus, _softplus_slope, lambda _, slope: slope * (1 - slope)),
    "relu": Activation(_relu, _step, None),
}
