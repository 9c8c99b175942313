"""What the caller's functions gave: checked, and as arrays like the caller's own."""

from __future__ import annotations

import math

from scipy.linalg.blas import dgemv

from negopt.core.arrays import (
    Array,
    convert_like,
    is_array,
    is_plain,
    library_of,
    namespace_of,
)


def vector_like(value: object, like: Array, n: int, name: str) -> Array:
    """Return what the caller's function gave as a vector of n entries; else as `convert_like`."""
    if value is None:
        raise ValueError(f"{name} returned None; it must return the {n} entries of a vector.")
    g = convert_like(value, like, name)
    if g.shape == (n,):
        return g
    if math.prod(g.shape) != n:
        raise ValueError(
            f"{name} returned shape {tuple(g.shape)}; it must return {n} entries, "
            f"the shape of x0 ({n},)."
        )
    return namespace_of(g).reshape(g, (n,))


def matrix_like(value: object, like: Array, n: int, name: str) -> Array:
    """Return the caller's n x n matrix: an array like `like`, or sparse or an operator as it is."""
    h: Array = value if hasattr(value, "shape") else convert_like(value, like, name)
    if tuple(h.shape) != (n, n):
        raise ValueError(f"{name} returned shape {tuple(h.shape)}; it must be ({n}, {n}).")
    if is_array(h) and library_of(h) != library_of(like):
        h = convert_like(h, like, name)
    return h


def matrix_times(h: Array, v: Array) -> Array:
    """Return ``h v`` of what `matrix_like` has returned; an overflow warns nobody."""
    if is_plain(h) and is_plain(v):
        return dgemv(1.0, h, v) if h.flags.f_contiguous else dgemv(1.0, h.T, v, trans=1)
    return h @ v


def checked_pair(pair: tuple[Array, Array]) -> tuple[Array, Array]:
    """Return value and gradient of what a function with jac=True has returned."""
    try:
        value, gradient = pair
    except (TypeError, ValueError):
        raise ValueError(
            "with jac=True fun must return the pair (value, gradient); "
            f"it returned {type(pair).__name__}."
        ) from None
    return value, gradient


def checked_value(value: Array) -> Array:
    """Return the user's value as a Python float, or as a device scalar not yet read."""
    if isinstance(value, float):  # NumPy's float64 too, what most functions in NumPy return
        return float(value)
    if is_array(value):
        if value.shape not in ((), (1,)) and math.prod(value.shape) != 1:
            raise ValueError(
                "The user-provided objective function must return a scalar value; "
                f"fun returned an array of shape {tuple(value.shape)}."
            )
        if namespace_of(value).isdtype(value.dtype, "complex floating"):
            raise TypeError("fun returned a complex value; it must return a real number.")
        return namespace_of(value).reshape(value, ())
    try:
        return float(value)
    except (TypeError, ValueError):
        size = getattr(value, "__len__", None)
        if size is not None and not isinstance(value, str) and len(value) == 1:
            first: float = float(value[0])
            return first
        raise ValueError(
            "The user-provided objective function must return a scalar value; "
            f"fun returned {type(value).__name__}."
        ) from None
