"""Finite differences: gradients from values, Hessian products from gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
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
#: Values at any number of points, in their order: the one place where evaluations are independent
#: of each other.
Values = Callable[[Iterable[Array]], Iterable[complex]]
T = TypeVar("T")

#: Evaluations per variable of each scheme, and the exponent of eps in its step.
SCHEMES: dict[str, tuple[int, float]] = {
    "2-point": (1, 1.0 / 2.0),
    "3-point": (2, 1.0 / 3.0),
    "cs": (1, 1.0 / 2.0),
}


def checked_steps(relative: T, absolute: T, n: int) -> tuple[T, T]:
    """Return the user's steps, or raise where they are neither one nor n."""
    for name, step in (("finite_diff_rel_step", relative), ("eps", absolute)):
        size = 1 if step is None else to_host_value(step).size
        if size not in (1, n):
            raise ValueError(f"{name} has {size} entries; x0 has {n}.")
    return relative, absolute


def usual_steps(
    x: Array,
    scheme: str,
    relative_step: npt.ArrayLike | None = None,
    absolute_step: npt.ArrayLike | None = None,
) -> Vector:
    """Return the steps that `scipy.optimize.approx_derivative` takes at `x`, with their signs.

    `relative_step` is a share of ``|x|``; the default is ``eps^(1/2)`` of the type of `x`
    (``eps^(1/3)`` for ``"3-point"``) times ``max(1, |x|)``, away from zero.  `absolute_step` is
    the step itself, and wins.  A step that `x` cannot resolve is replaced by the default.
    """
    host = to_host(x)
    sign = np.where(host >= 0.0, 1.0, -1.0)
    default = eps_of(x) ** SCHEMES[scheme][1] * sign * np.maximum(1.0, np.abs(host))
    if absolute_step is not None:
        step = np.broadcast_to(to_host_value(absolute_step), host.shape)
    elif relative_step is not None:
        step = np.broadcast_to(to_host_value(relative_step), host.shape) * sign * np.abs(host)
    else:
        return np.asarray(default)
    return np.asarray(np.where(_reached(x, host + step) == host, default, step))


def _reached(x: Array, target: Vector) -> Vector:
    """Return `target` as the type of `x` can represent it."""
    return target if eps_of(x) < 1e-10 else to_host(from_host(target, x))


def points(x: Array, reached: Iterable[tuple[int, float]]) -> Iterator[Array]:
    """Yield `x` with one entry changed, for each index and new entry."""
    xp = namespace_of(x)
    for i, entry in reached:
        point = xp.asarray(x, copy=True)
        point[i] = float(entry)
        yield point


def one_sided(
    values: Values, x: Array, f: float, step: Vector, which: npt.NDArray[np.intp]
) -> tuple[Vector, Vector]:
    """Return ``f(x + h e_i) - f`` and h, as `x` represents it, for the variables `which`."""
    host = to_host(x)
    ahead = _reached(x, host + step)
    entries = ((int(i), ahead[i]) for i in which)
    change = np.asarray([value - f for value in values(points(x, entries))], dtype=np.float64)
    return change, (ahead - host)[which]


def two_sided(
    values: Values, x: Array, step: Vector, which: npt.NDArray[np.intp]
) -> tuple[Vector, Vector, Vector]:
    """Return ``f(x + h e_i)``, ``f(x - h e_i)`` and h for the variables `which`.

    Where x resolves only one of ``x + h`` and ``x - h``, h is half their distance.
    """
    host, length = to_host(x), np.abs(step)
    ahead, behind = _reached(x, host + length), _reached(x, host - length)
    entries = ((int(i), side[i]) for i in which for side in (ahead, behind))
    found = np.asarray(list(values(points(x, entries))), dtype=np.float64).reshape(-1, 2)
    return found[:, 0], found[:, 1], 0.5 * (ahead - behind)[which]


def resolved(x: Array, step: Vector) -> Vector:
    """Return steps that `x` represents, to both sides as a rule."""
    host = to_host(x)
    return np.asarray(_reached(x, host + step) - host)


def complex_step(values: Values, x: Array, step: Vector) -> Vector:
    """Return the gradient from the imaginary parts at ``x + i h e_i``."""
    xp = namespace_of(x)
    host = to_host(x)

    def ahead() -> Iterator[Array]:
        for i in range(host.shape[0]):
            point = xp.astype(x, xp.complex128)
            point[i] = complex(float(host[i]), float(step[i]))
            yield point

    found = np.asarray([complex(value).imag for value in values(ahead())], dtype=np.float64)
    return found / step


def difference_gradient(
    value: Callable[[Array], complex],
    x: Array,
    f: float,
    scheme: str,
    relative_step: npt.ArrayLike | None = None,
    absolute_step: npt.ArrayLike | None = None,
) -> Array:
    """Return the gradient of `value` at `x`, where it is `f`, by differences.

    The `scheme` is ``"2-point"``, ``"3-point"`` or ``"cs"``, for which `value` returns a complex
    number; the steps are those of `usual_steps`.
    """
    step = usual_steps(x, scheme, relative_step, absolute_step)
    return from_host(scheme_gradient(lambda at: map(value, at), x, f, scheme, step), x)


def scheme_gradient(values: Values, x: Array, f: float, scheme: str, step: Vector) -> Vector:
    """Return the gradient by a scheme with these steps, on the host."""
    which = np.arange(step.shape[0])
    if scheme == "cs":
        return complex_step(values, x, step)
    if scheme == "3-point":
        ahead, behind, h = two_sided(values, x, step, which)
        return (ahead - behind) / (2.0 * h)
    change, h = one_sided(values, x, f, step, which)
    return change / h


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
