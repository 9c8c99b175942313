"""A jitted objective as one guarded C function, ``double fg(double* x, double* g, int64* head)``.

The functions here are built around a user's dispatchers, so Numba compiles them for each
objective and process; what receives dispatchers cannot be kept on disk.  The kernel, which gets
an address, is compiled once for all.

Data travel by address.  `head` is an array of int64: the names below, then n words for the copy
of x that the user's function gets.  The arguments lie at ``head[ARGS]`` as Numba lays out a
tuple, their arrays by address: values may change without a new compilation.
"""

from __future__ import annotations

import copy
import functools
import logging
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic, overload

from negopt.core.arrays import Array, FloatArray
from negopt.core.types import UserFunction

if TYPE_CHECKING:
    from llvmlite.ir import IRBuilder as Builder
    from llvmlite.ir import Value
    from numba.core.base import BaseContext as Context
    from numba.core.typing.templates import Signature

    Head = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
    Address = Sequence[int]
    Values = list[Value]
    #: Of an intrinsic: its signature, and what writes its code.
    Code = tuple[Signature, Callable[[Context, Builder, Signature, Values], Value]]

logger = logging.getLogger("negopt")

# Names in `head`.
N, STATUS, ROW, ARGS, VALUES, GRADIENTS, HALT, GRADIENT_ONLY = range(8)
HEAD = 8

# Values of ``head[STATUS]``: all is well; the user's function raised; its gradient has the
# wrong length.  The last two are looked at again, and said, in Python.
OK, RAISED, SHAPE = 0, 1, 2

#: The type of no arguments at all.
NO_ARGUMENTS = numba.typeof(((), ()))


class Target:
    """A jitted objective with its arguments, as the kernel calls it.

    One that is `parallel` runs threads of its own: call it from one thread at a time.
    """

    def __init__(
        self, function: tuple[int, object], args: tuple[object, ...], ty: types.Type, n: int
    ) -> None:
        place = np.zeros(1, dtype=np.int64)
        if ty is not NO_ARGUMENTS:
            size, store = _store(ty)
            place = np.zeros(size // 8 + 1, dtype=np.int64)
            store(args, place.ctypes.data)
        self._alive = function, args, place  # what the addresses point to
        self.address = function[0]
        self.parallel = False
        self.head = np.zeros(HEAD + n, dtype=np.int64)
        self.head[N] = n
        self.head[ARGS] = place.ctypes.data

    def copy(self) -> Target:
        """Return another with a head of its own, for another thread."""
        other = copy.copy(self)
        other.head = self.head.copy()
        return other


def target(
    value: UserFunction,
    gradient: UserFunction | None,
    args: tuple[object, ...],
    n: int,
    each: tuple[object, ...] = (),
) -> Target | None:
    """Return an objective for the kernel, or None where it has to be called from Python.

    `value` and `gradient` are those of `negopt.functions.objective.Objective.functions`; of each
    array in `each` the ``head[ROW]``-th entry goes in front of `args`.
    """
    given, ty = (tuple(each), tuple(args)), NO_ARGUMENTS
    if given != ((), ()):  # looking at types is slow, and this is the usual case
        try:
            ty = numba.typeof(given)
        except (TypeError, ValueError, NotImplementedError):
            return None
        if not _is_plain(ty):
            return None
    built = _build(value, gradient, None if ty is NO_ARGUMENTS else ty)
    if built is None:
        return None
    made = Target(built, given, ty, n)
    for function in (value, gradient):
        made.parallel |= bool(getattr(function, "targetoptions", {}).get("parallel"))
    return made


def _is_plain(ty: types.Type) -> bool:
    """Tell whether a value of type `ty` needs no reference of its own while it is in use."""
    if isinstance(ty, types.BaseTuple):
        return all(_is_plain(t) for t in ty)
    if isinstance(ty, types.Array):
        return isinstance(ty.dtype, (types.Number, types.Boolean, types.Record))
    return isinstance(ty, (types.Number, types.Boolean, types.NoneType, types.Dispatcher))


_jit: Callable[..., Callable[..., Array]] = numba.njit
_intrinsic: Callable[..., Callable[..., Array]] = intrinsic


def _without_owner(context: Context, builder: Builder, ty: types.Type, value: Value) -> Value:
    """Return `value` as what it is a view of: Python keeps the arrays alive."""
    if isinstance(ty, types.BaseTuple):
        for i, t in enumerate(ty):
            inner = _without_owner(context, builder, t, builder.extract_value(value, i))
            value = builder.insert_value(value, inner, i)
    elif isinstance(ty, types.Array):
        array = context.make_array(ty)(context, builder, value=value)
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        array.parent = cgutils.get_null_value(array.parent.type)
        value = array._getvalue()
    return value


@_intrinsic
def _write(_: object, args: types.Type, address: types.Type) -> Code:
    """Write a tuple to an address."""

    def code(context: Context, builder: Builder, signature: Signature, values: Values) -> Value:
        ty = signature.args[0]
        value = _without_owner(context, builder, ty, values[0])
        place = builder.inttoptr(values[1], context.get_data_type(ty).as_pointer())
        context.pack_value(builder, ty, value, place)
        return context.get_dummy_value()

    return types.void(args, types.intp), code


def _reader(ty: types.Type) -> Callable[..., Array]:
    """Return ``read(address) -> tuple of type ty``."""

    @_intrinsic
    def read(_: object, address: types.Type) -> Code:
        def code(context: Context, builder: Builder, signature: Signature, values: Values) -> Value:
            place = builder.inttoptr(values[0], context.get_data_type(ty).as_pointer())
            return context.unpack_value(builder, ty, place)

        return ty(types.intp), code

    return read


@_intrinsic
def _doubles(_: object, address: types.Type) -> Code:
    """Read an address as that of floats."""

    def code(context: Context, builder: Builder, signature: Signature, values: Values) -> Value:
        return builder.inttoptr(values[0], ir.DoubleType().as_pointer())

    return types.CPointer(types.float64)(types.intp), code


@_intrinsic
def call(_: object, address: types.Type, x: types.Type, g: types.Type, head: types.Type) -> Code:
    """Call the C function of an objective: ``call(address, x, g, head) -> f``."""

    def code(context: Context, builder: Builder, signature: Signature, values: Values) -> Value:
        data = [
            context.make_array(ty)(context, builder, value=value).data
            for ty, value in zip(signature.args[1:], values[1:], strict=True)
        ]
        kind = ir.FunctionType(ir.DoubleType(), [d.type for d in data])
        return builder.call(builder.inttoptr(values[0], kind.as_pointer()), data)

    return types.float64(types.intp, x, g, head), code


@functools.lru_cache(maxsize=64)
def _store(ty: types.Type) -> tuple[int, Callable[..., None]]:
    """Return the size of a tuple of type `ty` in bytes, and what writes one to an address."""
    context = cpu_target.target_context
    size = context.get_abi_sizeof(context.get_data_type(ty))

    @numba.njit(numba.void(ty, numba.intp))  # type: ignore[untyped-decorator]
    def store(args: tuple[object, ...], address: int) -> None:
        _write(args, address)

    return size, store


def _entries(arrays: tuple[Array, ...], i: int) -> tuple[Array, ...]:
    raise NotImplementedError


@overload(_entries, strict=False)  # type: ignore[untyped-decorator]
def _entries_of(arrays: types.BaseTuple, i: types.Type) -> Callable[..., tuple[Array, ...]]:
    """Return the i-th entry of each."""
    if len(arrays) == 0:
        return lambda arrays, i: ()
    if len(arrays) == 1:
        return lambda arrays, i: (arrays[0][i],)
    return lambda arrays, i: (arrays[0][i], *_entries(arrays[1:], i))


@functools.lru_cache(maxsize=64)
def _build(
    fun: UserFunction, jac: UserFunction | None, ty: types.Type | None
) -> tuple[int, object] | None:
    """Return an objective as a C function, its address first; None when Numba cannot.

    `ty` is the type of the arguments as `target` stores them, None where there are none.
    """
    ty = NO_ARGUMENTS if ty is None else ty
    logger.info("compiling %r for negopt's loop: once in this process", fun.__name__)
    pointer = types.CPointer(types.float64)
    signature = types.float64(pointer, pointer, types.CPointer(types.int64))
    inner = _fg(fun, jac, ty)

    def guarded(x_address: Address, g_address: Address, head_address: Address) -> float:
        n = head_address[N]
        head = numba.carray(head_address, (HEAD,))
        x = numba.carray(x_address, (n,))
        g = numba.carray(g_address, (n,))
        try:  # N.B. what leaves a C function is printed and forgotten
            f: float = inner(x, g, head)
        except Exception:  # noqa: BLE001
            head[STATUS] = RAISED
            f = math.nan
        return f

    try:
        made = numba.cfunc(signature)(guarded)
    except Exception:  # noqa: BLE001 - of whatever kind
        return None  # called from Python it works, or says itself what is wrong
    return int(made.address or 0), made  # the address is that of what has to be kept alive


@_jit
def _spread(g: Array, out: FloatArray, head: Head) -> bool:
    """Copy a gradient to its place; False for one of a wrong length."""
    if len(g) != out.shape[0]:
        head[STATUS] = SHAPE
        return False
    for i in range(out.shape[0]):
        out[i] = g[i]
    return True


def _fg(fun: UserFunction, jac: UserFunction | None, ty: types.Type) -> Callable[..., Array]:
    """Return ``fg(x, g, head) -> f``, which writes g."""
    read = _reader(ty)

    @_jit
    def call_at(function: UserFunction, x: FloatArray, head: Head) -> object:
        own = numba.carray(_doubles(head.ctypes.data + 8 * HEAD), x.shape)
        for i in range(x.shape[0]):
            own[i] = x[i]
        arrays, others = read(head[ARGS])
        return function(own, *(_entries(arrays, head[ROW]) + others))

    @_jit
    def both(x: FloatArray, g: FloatArray, head: Head) -> float:
        head[VALUES] += 1
        head[GRADIENTS] += 1
        f, given = call_at(fun, x, head)
        return float(f) if _spread(given, g, head) else math.nan

    @_jit
    def one_by_one(x: FloatArray, g: FloatArray, head: Head) -> float:
        f = 0.0
        if head[GRADIENT_ONLY] == 0:
            head[VALUES] += 1
            f = float(call_at(fun, x, head))
            if not math.isfinite(f):
                g[:] = math.nan
                return f
        head[GRADIENTS] += 1
        return f if _spread(call_at(jac, x, head), g, head) else math.nan

    return both if jac is None else one_by_one
