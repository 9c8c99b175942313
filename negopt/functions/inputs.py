"""What the caller's functions gave: checked, and as arrays like the caller's own."""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg.blas import dgemv

from negopt.core.arrays import (
    Array,
    all_finite,
    convert_like,
    device_of,
    is_array,
    is_plain,
    library_of,
    namespace_of,
    to_host,
)
from negopt.core.given import host_numbers, in_short
from negopt.core.types import Given


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


def complex_value(value: object) -> complex:
    """Return the user's value for a complex x, or raise where it is of a real type."""
    if isinstance(value, complex):  # NumPy's complex128 too
        return complex(value)
    if not isinstance(value, (int, float)):
        found: Array = value
        if not is_array(value) or isinstance(value, (np.ndarray, np.generic)):
            found = host_numbers(value, "fun returned")
        if math.prod(found.shape) != 1:
            raise ValueError(f"{_NO_SCALAR} fun returned {in_short(value)}.")
        if namespace_of(found).isdtype(found.dtype, "complex floating"):
            return complex(namespace_of(found).reshape(found, ()))
    raise ValueError(
        f"jac='cs': fun returned {in_short(value)} for a complex x, a real number, and so the "
        "gradient would be zero. Keep the imaginary part in fun (no float(), abs() or .real), or "
        "use jac='3-point'."
    )


def matrix_like(value: object, like: Array, n: int, name: str) -> Array:
    """Return the caller's n x n matrix: an array like `like`, or sparse or an operator as it is."""
    if value is None:
        raise ValueError(f"{name} returned None; it must return the Hessian, ({n}, {n}).")
    h: Array = value
    table = hasattr(value, "__array__") and not is_array(value)
    if not hasattr(value, "shape") or table or _is_rewrapped(value):
        h = convert_like(value, like, name)
    elif getattr(getattr(h, "dtype", None), "kind", "") == "c":
        raise TypeError(f"{name} returned complex values; it must return real numbers.")
    if n == 1 and is_array(h) and math.prod(h.shape) == 1:
        h = namespace_of(h).reshape(h, (1, 1))
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


def is_proven(value: Array, name: str) -> bool:
    """Tell whether a first second derivative is finite; False for an operator, which is not known.

    It is a ValueError when it is not finite.
    """
    entries = value if is_array(value) else getattr(value, "data", None)  # those of a sparse one
    if not is_array(entries):
        return False
    if not all_finite(namespace_of(entries).reshape(entries, (-1,))):
        raise ValueError(
            f"{name} is not finite at the start; correct {name}, choose another starting point, "
            f"or leave {name} out: products are then taken by differences of the gradient."
        )
    return True


def _is_rewrapped(value: object) -> bool:
    """Tell whether it is an array of NumPy with rules of its own, or of anything but floats."""
    return isinstance(value, (np.ndarray, np.generic)) and (
        type(value) is not np.ndarray or value.dtype.kind != "f"
    )


def checked_pair(pair: Given) -> tuple[Array, Array]:
    """Return value and gradient of what a function with jac=True has returned.

    As in SciPy more may follow these two.
    """
    try:
        value, gradient, *_ = pair
    except (TypeError, ValueError):
        raise ValueError(
            "with jac=True fun must return the pair (value, gradient); "
            f"it returned {in_short(pair)}."
        ) from None
    return value, gradient


def checked_value(value: object, like: Array) -> Array:
    """Return the user's value as a Python float, or as a scalar of the device not yet read."""
    if isinstance(value, float):  # NumPy's float64 too, what most functions in NumPy return
        return float(value)
    scalar: Array = value
    if not is_array(value) or isinstance(value, (np.ndarray, np.generic)):
        try:
            scalar = host_numbers(value, "fun returned")
        except (TypeError, ValueError) as error:
            raise ValueError(f"{_NO_SCALAR} {error}") from error
    if math.prod(scalar.shape) != 1:
        pair = isinstance(value, tuple) and len(value) == 2
        hint = " Pass jac=True where fun returns (value, gradient)." if pair else ""
        raise ValueError(f"{_NO_SCALAR} fun returned {in_short(value)}.{hint}")
    xp = namespace_of(scalar)
    if xp.isdtype(scalar.dtype, "complex floating"):
        raise TypeError("fun returned a complex value; it must return a real number.")
    scalar = xp.reshape(scalar, ())
    if isinstance(scalar, (np.ndarray, np.generic)):
        return float(scalar)
    beside = library_of(scalar) == library_of(like) and device_of(scalar) == device_of(like)
    return scalar if beside else float(to_host(scalar))  # one number, read on its own


_NO_SCALAR = "The user-provided objective function must return a scalar value;"
