"""Finite differences: gradients from values, Hessian products from gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from negopt.core.arrays import (
    Array,
    eps_of,
    from_host,
    is_plain,
    namespace_of,
    norm,
    to_host,
    to_host_value,
)

Vector = npt.NDArray[np.float64]
T = TypeVar("T")

#: Evaluations per variable of each scheme, and the exponent of eps in its step.
SCHEMES: dict[str, tuple[int, float]] = {
    "2-point": (1, 1.0 / 2.0),
    "3-point": (2, 1.0 / 3.0),
    "cs": (1, 1.0 / 2.0),
}


def difference_cost(scheme: str, n: int) -> int:
    """Return how many evaluations of f one gradient takes."""
    return SCHEMES[scheme][0] * n


def checked_steps(relative: T, absolute: T, n: int) -> tuple[T, T]:
    """Return the user's steps, or raise where they are neither one nor n."""
    for name, step in (("finite_diff_rel_step", relative), ("eps", absolute)):
        size = 1 if step is None else to_host_value(step).size
        if size not in (1, n):
            raise ValueError(f"{name} has {size} entries; x0 has {n}.")
    return relative, absolute


def difference_gradient(
    value: Callable[[Array], Array],
    x: Array,
    f: float,
    scheme: str,
    relative_step: npt.ArrayLike | None = None,
    absolute_step: npt.ArrayLike | None = None,
) -> Array:
    """Return the gradient of `value` at `x`, where it is `f`, by differences.

    The `scheme` is ``"2-point"``, ``"3-point"`` or ``"cs"``, for which `value` returns a complex
    number.  `relative_step` is a share of ``|x|``; the default is ``eps^(1/2)`` of the type of `x`
    (``eps^(1/3)`` for ``"3-point"``) times ``max(1, |x|)``, as in SciPy.  `absolute_step` is the
    step itself, and wins.
    """
    host = to_host(x)
    n = host.shape[0]
    sign = np.where(host >= 0.0, 1.0, -1.0)
    default = eps_of(x) ** SCHEMES[scheme][1] * np.maximum(1.0, np.abs(host))
    if absolute_step is not None:
        step = np.broadcast_to(np.abs(to_host_value(absolute_step)), (n,))
    elif relative_step is not None:
        step = np.abs(np.broadcast_to(to_host_value(relative_step), (n,)) * host)
        step = np.where(step > 0.0, step, default)
    else:
        step = default
    out = np.empty(n)
    if scheme == "cs":
        return from_host(_complex_step(value, x, step, out), x)
    xp = namespace_of(x)
    for i in range(n):
        ahead = xp.asarray(x, copy=True)
        ahead[i] = float(host[i] + sign[i] * step[i])
        h = float(to_host(ahead[i : i + 1])[0]) - host[i]  # the step that x can represent
        if scheme == "2-point":
            out[i] = (value(ahead) - f) / h
        else:
            behind = xp.asarray(x, copy=True)
            behind[i] = float(host[i] - h)
            out[i] = (value(ahead) - value(behind)) / (2.0 * h)
    return from_host(out, x)


def _complex_step(value: Callable[[Array], Array], x: Array, step: Vector, out: Vector) -> Vector:
    xp = namespace_of(x)
    for i in range(out.shape[0]):
        point = xp.astype(x, xp.complex128)
        point[i] = complex(float(to_host(x[i : i + 1])[0]), float(step[i]))
        out[i] = complex(value(point)).imag / float(step[i])
    return out


def product_error(eps: float, scheme: str) -> float:
    """Return the relative error, and step, of a product by differences of the gradient.

    `scheme` says where the gradient comes from, "" for the user's own.
    """
    return float(eps ** {"2-point": 1 / 4, "3-point": 1 / 3}.get(scheme, 1 / 2))


def difference_product(
    gradient: Callable[[Array], Array], x: Array, g: Array, v: Array, step: float
) -> Array:
    """Return ``H(x) v`` from one more gradient, at ``x + step v / ||v||``.

    Falls back to the other side when the gradient there is not finite.
    """
    length = norm(v)
    if length == 0.0 or not math.isfinite(length):
        return 0.0 * v
    for h in (step, -step):
        # The point gets no name: where n is large every vector held counts.
        product = gradient(_ahead(x, v, h / length))
        with _unless_plain(x):
            product = product - g
            product *= length / h
        if math.isfinite(norm(product)):
            return product
    return product


def _ahead(x: Array, v: Array, h: float) -> Array:
    """Return ``x + h v``."""
    with _unless_plain(x):
        point = h * v
        point += x
    return point


def _unless_plain(x: Array) -> AbstractContextManager[object]:
    """Return a context without warnings for float32, where differences soon overflow."""
    return nullcontext() if is_plain(x) else np.errstate(over="ignore", invalid="ignore")
