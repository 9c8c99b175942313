"""What the fields of a state may hold: a small vocabulary, and the check of a whole tree.

A state comes from a user or a file, so it is input.  Each class of a state says beside its fields,
by metadata ``"check"``, what their defaults do not say already; what concerns several fields at
once stands in its method ``check(n, name)``.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import sys
from dataclasses import dataclass
from typing import NoReturn, Protocol, TypeGuard, cast

import numpy as np

from negopt.core.arrays import (
    Array,
    FloatArray,
    float64_rows_dot,
    is_array,
    namespace_of,
    scalars,
)

BoolArray = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

#: A count beyond this is none: floats would no longer tell it from the next one.
MOST = 2**53
#: Largest number there is.
FLOATS = sys.float_info.max
#: What a state holds is squared and multiplied: beyond this no run of use has brought it.
LARGEST = 1e300


class Check(Protocol):
    """What a field may hold."""

    def __call__(self, value: object, n: int, name: str) -> None:
        """Raise ValueError unless `value`, called `name`, may belong to n variables."""


def refuse(name: str, value: object, wanted: str) -> NoReturn:
    """Raise ValueError: `value` is not what is wanted."""
    if is_array(value) and not isinstance(value, np.generic):
        array = cast("Array", value)
        shown = f"an array of shape {tuple(array.shape)} and type {array.dtype}"
    else:
        shown = repr(value)
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    raise ValueError(f"{name} = {shown}: must be {wanted}.")


def is_real(value: object) -> TypeGuard[float]:
    """Tell whether `value` is a real number, and no truth value: what is a float, or as good."""
    if isinstance(value, int) and abs(value) > MOST:
        return False
    return isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))


# --- the vocabulary -----------------------------------------------------------------------


@dataclass(frozen=True)
class Real:
    """A number; finite, unless said otherwise."""

    low: float = -math.inf
    open_low: bool = False  #: `low` itself is none
    inf: bool = False
    nan: bool = False
    most: float = LARGEST  #: of finite ones
    least: float = 0.0  #: of those that are not 0, in size

    def __call__(self, value: object, n: int, name: str) -> None:
        """Check one number."""
        good = is_real(value)
        if good and math.isnan(float(cast("float", value))):
            good = self.nan
        elif good:
            number = float(cast("float", value))
            good = number > self.low if self.open_low else number >= self.low
            size = abs(number)
            good = good and (self.inf if math.isinf(size) else size <= self.most)
            good = good and (size >= self.least or size == 0.0)
        if not good:
            sign = "a positive" if self.open_low else "a nonnegative" if self.low == 0.0 else "a"
            end = "" if self.inf else f", at most {min(self.most, FLOATS):g} in size"
            zero = f", 0 or at least {self.least:g}" if self.least else ""
            refuse(name, value, f"{sign} number{' or nan' if self.nan else ''}{end}{zero}")


@dataclass(frozen=True)
class Count:
    """An integer from 0 to `most`."""

    most: int = MOST

    def __call__(self, value: object, n: int, name: str) -> None:
        """Check one integer."""
        good = isinstance(value, numbers.Integral) and not isinstance(value, (bool, np.bool_))
        if not good or not 0 <= cast("int", value) <= self.most:
            refuse(name, value, f"an integer from 0 to {self.most}")


@dataclass(frozen=True)
class OneOf:
    """One of a few values, of just their types."""

    values: tuple[object, ...]

    def __call__(self, value: object, n: int, name: str) -> None:
        """Check membership."""
        if not any(type(value) is type(one) and value == one for one in self.values):
            refuse(name, value, f"one of {', '.join(map(repr, self.values))}")


@dataclass(frozen=True)
class Instance:
    """None, or an instance of a class (of any dataclass), checked by what that says itself."""

    kind: type | None = None

    def __call__(self, value: object, n: int, name: str) -> None:
        """Check the type, and the fields."""
        if value is None:
            return
        if self.kind is None:
            if not dataclasses.is_dataclass(value) or isinstance(value, type):
                refuse(name, value, "a part of a state, or None")
        elif type(value) is not self.kind:
            refuse(name, value, f"a {self.kind.__name__}, or None")
        check_tree(value, MISSING, n, name)


@dataclass(frozen=True)
class Reals:
    """A list of numbers, all of one kind."""

    each: Real = Real()

    def __call__(self, value: object, n: int, name: str) -> None:
        """Check every number."""
        if type(value) is not list:
            refuse(name, value, "a list of numbers")
        for i, one in enumerate(cast("list[object]", value)):
            self.each(one, n, f"{name}[{i}]")


class Columns:
    """A table, name -> list (or vector) of numbers, all of the same length; or None."""

    def __call__(self, value: object, n: int, name: str) -> None:
        """Check names and columns."""
        if value is None:
            return
        if type(value) is not dict or not all(isinstance(key, str) for key in value):
            refuse(name, value, "a dict of columns by name, or None")
        lengths = set()
        for key, column in value.items():
            vector = isinstance(column, np.ndarray) and column.ndim == 1 and column.dtype == float
            if not (vector or (type(column) is list and all(map(is_real, column)))):
                refuse(f"{name}[{key!r}]", column, "a list of numbers")
            lengths.add(len(column))
        if len(lengths) > 1:
            refuse(name, sorted(lengths), "columns of one length (these are their lengths)")


@dataclass(frozen=True)
class Entries:
    """An array of floats, or None where that is the default of the field.

    Axes are ``"n"``, the number of variables, or None for one of any length.
    """

    shape: tuple[str | None, ...]
    low: float = -math.inf
    open_low: bool = False
    finite: bool = True
    most: float = LARGEST  #: of the absolute entries
    optional: bool = True
    dtype: str | None = None  #: of NumPy; None takes any type of floats, of any library

    def __call__(self, value: object, n: int, name: str) -> None:
        """Check type, shape and entries."""
        if value is None and self.optional:
            return
        shape = ", ".join("..." if axis is None else f"n = {n}" for axis in self.shape)
        wanted = f"an array of {self.dtype or 'floats'}, shape ({shape})"
        if not is_array(value) or isinstance(value, np.generic):
            refuse(name, value, wanted + (", or None" if self.optional else ""))
        array = cast("Array", value)
        there = tuple(array.shape)
        fits = len(there) == len(self.shape) and all(
            axis is None or length == n for axis, length in zip(self.shape, there, strict=True)
        )
        if not fits or not _of_type(array, self.dtype):
            refuse(name, value, wanted)
        if isinstance(array, np.ndarray) and array.dtype.kind == "i":
            return  # what the integers mean is for the class to say
        if self.finite and 0 not in there:
            check_finite(array, name, self.most)
            if self.low > -math.inf:
                lowest = scalars(namespace_of(array).min(array))[0]
                if not (lowest > self.low if self.open_low else lowest >= self.low):
                    refuse(f"min({name})", lowest, f"{'>' if self.open_low else '>='} {self.low:g}")


def _of_type(array: Array, dtype: str | None) -> bool:
    if dtype is not None:
        return isinstance(array, np.ndarray) and array.dtype == dtype
    xp = namespace_of(array)
    return bool(xp.isdtype(array.dtype, "real floating")) and xp.finfo(array.dtype).bits <= 64


def check_finite(array: Array, name: str, most: float = LARGEST) -> None:
    """Raise ValueError where an entry is not finite, or larger than `most`."""
    xp = namespace_of(array)
    low, high = scalars(xp.min(array), xp.max(array))  # no copy is made
    if not (-most <= low and high <= most):
        refuse(f"max|{name}|", max(-low, high, key=_size), f"at most {most:g}")


def _size(value: float) -> float:
    return math.inf if math.isnan(value) else abs(value)


#: Most that kept inner products may differ from those of the rows, beside the lengths of both.
#: They are updated, so that their rounding, and in float32 that of the rows, adds up.
SAME_GRAM = 1e-3


def check_gram(gram: FloatArray, rows: Array, name: str, empty: BoolArray | None = None) -> None:
    """Raise ValueError unless `gram` holds the inner products of `rows`, but for `empty` ones."""
    with np.errstate(over="ignore", invalid="ignore"):
        made = float64_rows_dot(rows, namespace_of(rows).matrix_transpose(rows))
        size = np.sqrt(made.diagonal())
        off = ~(np.abs(gram - made) <= SAME_GRAM * size[:, None] * size)
    if empty is not None:
        off[empty] = off[:, empty] = False
        off[empty, empty] = size[empty] > 0.0
    if off.any():
        refuse(name, gram, "the inner products of the rows, which are 0 in empty slots")


#: A figure that decides nothing where it is not finite.
FIGURE = Real(inf=True, nan=True, most=math.inf)
POSITIVE = Real(0.0, open_low=True)
NONNEGATIVE = Real(0.0)
#: 0, not known yet, or what is divided by.
SCALE = Real(0.0, least=1.0 / LARGEST)
#: A size that was not measured, or has overflowed.
SIZE = Real(0.0, inf=True, nan=True, most=math.inf)
VECTOR = Entries(("n",))
MATRIX = Entries(("n", "n"))
#: Scales of the variables.
UNITS = Entries(("n",), low=0.0, open_low=True)
#: Squares, or absolute values.
SQUARES = Entries(("n",), low=0.0)


# --- the check of a tree ------------------------------------------------------------------

#: Stands for a value of which nothing is known.
MISSING: object = dataclasses.MISSING


def check_tree(value: object, made: object, n: int, name: str) -> None:
    """Raise ValueError unless `value` may stand where a run begins with `made`.

    Parameters
    ----------
    value : object
    made : object
        What the same rule makes for the same x; `MISSING` where that is not known.
    n : int
        Number of variables.
    name : str
        Of `value`, for the message.

    Notes
    -----
    1. A dataclass is of the same class, and each of its fields passes the check it declares.
    2. Everything else is like `made` (like the default of the field): of its type, of its shape,
       finite unless it is not itself; an integer is a count, and what may become an array later,
       None at first, is plain data.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if made is not MISSING and type(value) is not type(made):
            refuse(name, value, f"a {type(made).__name__}")
        for f in dataclasses.fields(value):
            part, label = getattr(value, f.name, MISSING), f"{name}.{f.name}"
            if part is MISSING:
                raise ValueError(f"{label} is missing.")
            check: Check | None = f.metadata.get("check")
            if check is not None:
                check(part, n, label)
                continue
            default = f.default
            if default is MISSING and f.default_factory is not dataclasses.MISSING:
                default = f.default_factory()
            check_tree(part, getattr(made, f.name, default), n, label)
        together = getattr(value, "check", None)
        if together is not None:
            together(n, name)
    elif made is MISSING or made is None:
        _check_plain(value, name)
    else:
        _check_like(value, made, n, name)


def _check_like(value: object, made: object, n: int, name: str) -> None:
    """Check what is no dataclass against what it was at the start."""
    if isinstance(made, (bool, np.bool_)):
        if not isinstance(value, (bool, np.bool_)):
            refuse(name, value, "True or False")
    elif isinstance(made, numbers.Integral):
        Count()(value, n, name)
    elif is_real(made):
        unset = is_real(value) and (value == made or (value != value and made != made))
        if not unset:
            Real(most=math.inf)(value, n, name)
    elif is_array(made):
        there = cast("Array", made)
        shape = tuple(there.shape)
        if not is_array(value) or tuple(cast("Array", value).shape) != shape:
            refuse(name, value, f"an array of shape {shape}")
        _check_plain(value, name)
    elif type(value) is not type(made):
        refuse(name, value, f"a {type(made).__name__}")
    elif isinstance(made, dict) and made:
        if not isinstance(value, dict) or value.keys() != made.keys():
            refuse(name, value, f"a dict of {', '.join(map(repr, made))}")
        for key, part in value.items():
            check_tree(part, made[key], n, f"{name}[{key!r}]")
    elif isinstance(value, (dict, list, tuple)):
        _check_plain(value, name)


def _check_plain(value: object, name: str) -> None:
    """Check that a value is data: finite arrays of numbers, numbers, strings, and their trees."""
    if isinstance(value, dict):
        for key, part in value.items():
            _check_plain(part, f"{name}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for i, part in enumerate(value):
            _check_plain(part, f"{name}[{i}]")
    elif is_array(value) and not isinstance(value, np.generic):
        xp = namespace_of(value)
        array = cast("Array", value)
        if not xp.isdtype(array.dtype, ("bool", "integral", "real floating")):
            refuse(name, value, "an array of real numbers")
        if xp.isdtype(array.dtype, "real floating") and 0 not in tuple(array.shape):
            check_finite(array, name, FLOATS)
    elif dataclasses.is_dataclass(value):
        check_tree(value, MISSING, 0, name)
    elif not (value is None or isinstance(value, (bool, np.bool_, str)) or is_real(value)):
        refuse(name, value, "an array, a number or a string")
