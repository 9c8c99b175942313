"""The only file that knows array libraries.

Everything else is written on the array API standard: a function
takes arrays and begins with ``xp = namespace_of(x)``.  The three things that the
standard leaves open live here: how a caller's starting point is read, how
several device scalars become Python floats in one transfer, and how small
arrays travel between the device and the host.
"""

from __future__ import annotations

import importlib
import math
import sys
from types import ModuleType
from typing import Any

import numpy as np
from array_api_compat import (
    array_namespace,
    device,
    is_array_api_obj,
    is_cupy_array,
    is_jax_array,
    is_numpy_array,
    is_torch_array,
    to_device,
)
from scipy.linalg.blas import ddot

from negopt.core.given import host_numbers

numpy_namespace: ModuleType = np
if not hasattr(np, "astype"):
    # Since 2.1 NumPy follows the standard by itself.  N.B. the compatibility layer asks for all
    # of NumPy's names, f2py's and the test tools' too: 50 ms of every first solve.
    numpy_namespace = importlib.import_module("array_api_compat.numpy")

#: Machine epsilon of float64.
EPS = 2.0**-52

#: An array of any supported library (NumPy, CuPy, torch, array-api-strict), or, where a function
#: says so, what becomes one.  The libraries have no type in common.
Array = Any

#: A small array on the host.
FloatArray = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

_FLOAT64 = np.dtype(np.float64)

# Columns per block when float32 rows are multiplied in float64: large enough to
# keep BLAS busy, small enough that the float64 copies stay in cache.
_BLOCK = 16384


def namespace_of(*arrays: Array) -> ModuleType:
    """Return the array-API namespace that all of `arrays` belong to.

    Raises ``TypeError`` for arrays of two libraries: data is never moved from one
    library to another behind the caller's back.
    """
    for x in arrays:
        if type(x) is not np.ndarray:
            found: ModuleType = array_namespace(*arrays)
            return found
    return numpy_namespace  # the common case, thirty times faster than asking


def is_array(value: object) -> bool:
    """Tell whether `value` is an array of a supported library (a list is not)."""
    return bool(is_array_api_obj(value))


def device_of(x: Array) -> object:
    """Return the device of `x`."""
    return device(x)


def library_of(x: Array) -> str:
    """Return the name of the array library of `x`, for messages and results."""
    name = str(getattr(namespace_of(x), "__name__", "array"))
    return name.removeprefix("array_api_compat.")


def eps_of(x: Array) -> float:
    """Return the machine epsilon of the floating-point type of `x`."""
    if is_plain(x):
        return EPS
    return float(namespace_of(x).finfo(x.dtype).eps)


def most_of(x: Array) -> float:
    """Return the largest number of the floating-point type of `x`."""
    if is_plain(x):
        return sys.float_info.max
    return float(namespace_of(x).finfo(x.dtype).max)


def as_vector(x0: Array) -> Array:
    """Return a fresh one-dimensional floating-point copy of `x0`.

    Lists, tuples and Python numbers become NumPy arrays (here, once); arrays of
    any library keep library, device and floating-point type; integers and
    booleans become the library's float64.

    It is a ValueError when `x0` is empty, complex, has masked entries or more than one dimension,
    a TypeError when it is one of JAX's arrays, or holds anything but numbers.
    """
    if is_plain(x0) and x0.ndim == 1 and x0.size:
        return x0.copy()
    if not is_array(x0) or is_numpy_array(x0):
        x0 = host_numbers(x0, "'x0' is")
    if is_jax_array(x0):  # the memories of a run are written row by row
        raise TypeError(
            "'x0' is a JAX array, which cannot be written to. Train a JAX function with "
            "objective = negopt.neural.jax.JaxObjective(fun, x0) and minimize(objective, "
            "objective.x0), or pass numpy.asarray(x0)."
        )
    if is_torch_array(x0):
        x0 = x0.detach()  # the solver's own arithmetic must not be recorded
    xp = namespace_of(x0)
    if is_numpy_array(x0) and not x0.dtype.isnative:  # a file's byte order, not the processor's
        x0 = x0.astype(x0.dtype.newbyteorder("="))
    if x0.ndim > 1:
        raise ValueError(
            f"'x0' must only have one dimension; got shape {tuple(x0.shape)}. "
            "Flatten it with reshape(-1), or see negopt.neural.flatten for trees."
        )
    x0 = xp.reshape(x0, (-1,)) if x0.ndim == 0 else x0
    if x0.shape[0] == 0:
        raise ValueError("'x0' is empty; pass a vector with at least one entry.")
    if xp.isdtype(x0.dtype, "complex floating"):
        raise ValueError(
            f"'x0' has the complex type {x0.dtype}; negopt minimises over real vectors: "
            "stack real and imaginary parts."
        )
    if not xp.isdtype(x0.dtype, "real floating") or xp.finfo(x0.dtype).bits < 32:
        x0 = xp.astype(x0, xp.float64)
    elif xp.finfo(x0.dtype).bits > 64:  # NumPy's long double has no compiled kernels
        x0 = xp.astype(x0, xp.float64)
    return xp.asarray(x0, copy=True)


def adopt(value: Array) -> Array:
    """Return an array that cannot be written to (JAX's) as one that the solver computes with.

    Nothing is copied and nothing leaves its device: the buffer is shared, as a read-only
    NumPy array on the host, as a CuPy array on a GPU (an ImportError where CuPy is missing).
    """
    kind = int(value.__dlpack_device__()[0])
    if kind == 1:  # DLPack's number of the host
        return np.asarray(value)  # N.B. waits for the computation; DLPack itself need not
    try:
        cupy = importlib.import_module("cupy")
    except ImportError:
        raise ImportError(
            f"the array is on {value.device}, where the solver's vectors are CuPy arrays, and "
            "CuPy is not installed: pip install 'negopt[gpu]', or put the parameters on the host, "
            "jax.device_put(params, jax.devices('cpu')[0])."
        ) from None
    return cupy.from_dlpack(value)


def convert_like(value: Array, like: Array, name: str) -> Array:
    """Return `value`, which the caller's function produced, as an array like `like`.

    That gives library, device and floating-point type; `name` is the argument to blame in
    messages.  The result is always a copy: callers may hand out one buffer again and again.
    """
    if is_plain(like) and is_plain(value):
        return value.copy()
    xp = namespace_of(like)
    if is_numpy_array(like):
        if is_cupy_array(value):
            raise TypeError(_foreign(name, value, like))
        out = host_numbers(value, f"{name} returned")
        if out.dtype.kind == "c":
            raise TypeError(_complex(name))
        with np.errstate(over="ignore"):  # what a narrower type cannot hold is inf
            return np.array(out, dtype=like.dtype)
    if not is_array(value):
        try:  # a list may hold scalars of the device
            return xp.asarray(value, dtype=like.dtype, device=device_of(like))
        except (TypeError, ValueError, RuntimeError):
            value = host_numbers(value, f"{name} returned")
            if value.dtype.kind == "c":
                raise TypeError(_complex(name)) from None
            return from_host(value, like)
    try:
        namespace_of(like, value)
    except TypeError:
        raise TypeError(_foreign(name, value, like)) from None
    if is_torch_array(value):
        value = value.detach()
    if xp.isdtype(value.dtype, "complex floating"):
        raise TypeError(_complex(name))
    return xp.asarray(xp.astype(value, like.dtype), copy=True)


def _complex(name: str) -> str:
    return f"{name} returned complex values; it must return real numbers."


def _foreign(name: str, value: Array, like: Array) -> str:
    return (
        f"{name} returned a {library_of(value)} array but x0 is a {library_of(like)} array; "
        f"return {library_of(like)} arrays (negopt never moves data between libraries)."
    )


#: Types of the scalars of NumPy vectors in float64, the common case.
_NUMBERS = frozenset((float, np.float64))


def scalars(*values: Array) -> tuple[float, ...]:
    """Turn zero-dimensional arrays into Python floats with one device read.

    On NumPy this is a plain conversion; elsewhere the values are stacked on the
    device, in float64, and fetched together.
    """
    if _NUMBERS.issuperset(map(type, values)):
        return tuple(map(float, values))
    if all(isinstance(v, (float, int, np.generic)) or is_numpy_array(v) for v in values):
        return tuple(float(v) for v in values)
    first = next(v for v in values if is_array(v) and not is_numpy_array(v))
    xp, where = namespace_of(first), device_of(first)
    stacked = xp.stack(
        [
            xp.astype(xp.reshape(v, ()), xp.float64)
            if is_array(v)
            else xp.asarray(float(v), dtype=xp.float64, device=where)
            for v in values
        ]
    )
    return tuple(to_host(stacked).tolist())


def to_host(x: Array) -> FloatArray:
    """Copy a small array to the host as float64 NumPy (explicit, never implied)."""
    if type(x) is np.ndarray or is_numpy_array(x):
        return np.asarray(x, dtype=np.float64)
    if is_cupy_array(x):
        return np.asarray(x.get(), dtype=np.float64)
    if is_torch_array(x):
        return np.asarray(x.detach().cpu().numpy(), dtype=np.float64)
    xp = namespace_of(x)
    cpu = xp.__array_namespace_info__().default_device()
    return np.asarray(to_device(x, cpu), dtype=np.float64)


def is_plain(x: object) -> bool:
    """Tell whether `x` is what compiled code takes as it is: a float64 NumPy array."""
    return type(x) is np.ndarray and x.dtype == _FLOAT64


def to_host_value(step: object) -> FloatArray:
    """Return a user's numbers, a scalar or an array of any library, as NumPy."""
    return np.asarray(to_host(step) if hasattr(step, "shape") else step, dtype=np.float64)


def from_host(values: Array, like: Array) -> Array:
    """Copy small host values to the library, device and type of `like`."""
    if is_plain(like):
        return np.asarray(values, dtype=like.dtype)
    if is_numpy_array(like):
        with np.errstate(over="ignore"):  # beyond the range of the type is infinite
            return np.asarray(values, dtype=like.dtype)
    xp = namespace_of(like)
    values = np.asarray(values, dtype=np.float64)
    return xp.astype(xp.asarray(values, device=device_of(like)), like.dtype)


def copy_of(x: Array) -> Array:
    """Return a copy of `x` (same library, device and type)."""
    return x.copy() if type(x) is np.ndarray else namespace_of(x).asarray(x, copy=True)


def largest(x: Array) -> Array:
    """Return ``max|x|`` as a zero-dimensional array; nan where x holds one."""
    if type(x) is np.ndarray:
        return np.abs(x).max()
    xp = namespace_of(x)
    return xp.max(xp.abs(x))


def dot(x: Array, y: Array) -> Array:
    """Return ``x'y`` as a zero-dimensional array, accumulated in float64.

    Scalars that decide (slopes, curvatures, reductions) are float64 whatever the
    type of the vectors.
    """
    if is_plain(x) and is_plain(y):
        return ddot(x, y)  # BLAS itself: an overflow warns nobody
    xp = namespace_of(x, y)
    if x.dtype == xp.float64:
        return x @ y
    if isinstance(x, np.ndarray):  # in float64 from the start, a buffer at a time: no overflow
        return np.einsum("i,i->", x, y, dtype=np.float64)
    return xp.sum(x * y, dtype=xp.float64)


def inner(x: Array, y: Array) -> float:
    """Return ``x'y`` as a float."""
    return ddot(x, y) if is_plain(x) else scalars(dot(x, y))[0]


def inners(left: tuple[Array, ...], right: tuple[Array, ...]) -> tuple[float, ...]:
    """Return ``x'y`` of each x in `left` and its partner in `right`, with one device read."""
    if is_plain(left[0]):
        return tuple(map(ddot, left, right))
    return scalars(*map(dot, left, right))


def norm(x: Array) -> float:
    """Return the Euclidean norm of `x`, safe against overflow and underflow."""
    if is_plain(x):
        square = ddot(x, x)
        if 1e-280 < square < math.inf:
            return math.sqrt(square)
    xp = namespace_of(x)
    square, largest = scalars(dot(x, x), xp.max(xp.abs(x)))
    if 1e-280 < square < math.inf:
        return math.sqrt(square)
    if not math.isfinite(largest) or largest == 0.0:
        return largest
    scaled = x / largest
    return largest * math.sqrt(scalars(dot(scaled, scaled))[0])


def all_finite(x: Array) -> bool:
    """Tell whether every entry of `x` is finite (one device read)."""
    if is_plain(x):
        return bool(np.isfinite(x).all())
    xp = namespace_of(x)
    return math.isfinite(scalars(xp.max(xp.abs(x)))[0])


def float64_rows_dot(rows: Array, vectors: Array, more: Array | None = None) -> FloatArray:
    """Return ``rows @ vectors``, shape (k,) or (k, p), on the host, formed in float64.

    The products of `more`, further rows, come below the others, in the same device read.

    N.B. float32 Gram entries are not accurate enough for a Cholesky factor (its
    orthogonality is lost at a column separation of 1e-3), so float32 rows are
    widened block by block: no float64 copy of the whole memory is ever held.
    """
    if more is None and is_plain(rows) and is_plain(vectors):
        return np.asarray(np.matmul(rows, vectors))
    xp = namespace_of(rows, vectors)
    parts = [rows] if more is None else [rows, more]
    products = [_wide_product(xp, part, vectors) for part in parts]
    return to_host(products[0] if more is None else xp.concat(products, axis=0))


def _wide_product(xp: ModuleType, rows: Array, vectors: Array) -> Array:
    """Return ``rows @ vectors`` in float64 on the device."""
    if rows.dtype == xp.float64:
        return xp.matmul(rows, vectors)
    n = rows.shape[1]
    total = None
    for start in range(0, n, _BLOCK):
        end = min(start + _BLOCK, n)
        left = xp.astype(rows[:, start:end], xp.float64)
        right = xp.astype(vectors[start:end, ...], xp.float64)
        part = xp.matmul(left, right)
        total = part if total is None else total + part
    return total
