"""A jitted objective as one guarded C function, ``double fg(double* x, double* g, int64* head)``.

The functions here are built around a user's dispatchers, so Numba compiles them anew for
each objective (`build`, never cached on disk: what receives dispatchers cannot be).  What
does not depend on the objective (`call`, `bind`) is compiled once.

Data travel by address.  `head` is an array of int64: the names below, then 2n words of scratch,
the first n of them for the copy of x that the user's function gets.  The arguments lie at
``head[ARGS]`` as Numba lays out a tuple, their arrays by address: values may change without
a new compilation.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from negopt.kernels._jit import jit_disabled

__all__ = [
    "ARGS",
    "GRADIENTS",
    "HALT",
    "HEAD",
    "OK",
    "ROW",
    "STATUS",
    "VALUES",
    "N",
    "bind",
    "build",
    "is_dispatcher",
    "is_parallel",
    "layout",
]

# Names in `head`; x for the user's function is behind them.
N, STATUS, ROW, ARGS, VALUES, GRADIENTS, HALT = range(7)
HEAD = 8

# Values of ``head[STATUS]``: all is well; the user's function raised; its gradient has the
# wrong length.  The last two are looked at again, and said, in Python.
OK, RAISED, SHAPE = 0, 1, 2

#: How many times f is evaluated per variable, and the power of eps in the step.
_DIFFERENCES = {"2-point": (1, 1.0 / 2.0), "3-point": (2, 1.0 / 3.0)}


def is_dispatcher(function: Any) -> bool:
    """Tell whether `function` was decorated with ``numba.njit`` or ``numba.jit``.

    Numba is not imported for this: where it is not there yet, nothing was decorated.
    """
    import sys

    if jit_disabled() or "numba.core.dispatcher" not in sys.modules:
        return False
    from numba.core.dispatcher import Dispatcher

    return isinstance(function, Dispatcher)


def is_parallel(function: Any) -> bool:
    """Tell whether a dispatcher runs threads of its own, which must not meet others."""
    return bool(getattr(function, "targetoptions", {}).get("parallel"))


def layout(args: tuple[Any, ...]) -> Any:
    """Return the Numba type of `args`; None when one of them cannot be passed by address."""
    import numba

    if args == ((), ()):  # the usual case, and looking at types is slow
        return _no_arguments()
    try:
        ty = numba.typeof(args)
    except (TypeError, ValueError, NotImplementedError):
        return None
    return ty if _plain(ty) else None


@functools.cache
def _no_arguments() -> Any:
    import numba

    return numba.typeof(((), ()))


def _plain(ty: Any) -> bool:
    """Tell whether a value of type `ty` needs no reference of its own while it is in use."""
    from numba import types

    if isinstance(ty, types.BaseTuple):
        return all(_plain(t) for t in ty)
    if isinstance(ty, types.Array):
        return isinstance(ty.dtype, (types.Number, types.Boolean, types.Record))
    simple = (types.Number, types.Boolean, types.NoneType, types.Dispatcher)
    return isinstance(ty, simple)


def bind(args: tuple[Any, ...], ty: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Lay `args`, of type `ty`, out in memory; keep both alive while they are in use."""
    size, store = _store(ty)
    place = np.zeros(size // 8 + 1, dtype=np.int64)
    if args != ((), ()):
        store(args, place.ctypes.data)
    return place


@functools.lru_cache(maxsize=64)
def _store(ty: Any) -> tuple[int, Any]:
    """Return the size of a tuple of type `ty` in bytes, and what writes one to an address."""
    import numba
    from numba.core.registry import cpu_target

    context = cpu_target.target_context
    size = context.get_abi_sizeof(context.get_data_type(ty))
    write = _intrinsics().write

    @numba.njit(numba.void(ty, numba.intp))  # type: ignore[untyped-decorator]
    def store(args: Any, address: int) -> None:
        write(args, address)

    return size, store


class _Intrinsics:
    """What Numba's language lacks: reading and writing a tuple at an address, and so on."""

    def __init__(self) -> None:
        from llvmlite import ir
        from numba import types
        from numba.core import cgutils
        from numba.extending import intrinsic

        def without_owner(context: Any, builder: Any, ty: Any, value: Any) -> Any:
            """Return `value` as what it is a view of: Python keeps the arrays alive."""
            if isinstance(ty, types.BaseTuple):
                for i, t in enumerate(ty):
                    inner = without_owner(context, builder, t, builder.extract_value(value, i))
                    value = builder.insert_value(value, inner, i)
            elif isinstance(ty, types.Array):
                array = context.make_array(ty)(context, builder, value=value)
                array.meminfo = cgutils.get_null_value(array.meminfo.type)
                array.parent = cgutils.get_null_value(array.parent.type)
                value = array._getvalue()
            return value

        def place_of(context: Any, builder: Any, ty: Any, address: Any) -> Any:
            return builder.inttoptr(address, context.get_data_type(ty).as_pointer())

        @intrinsic  # type: ignore[untyped-decorator]
        def write(_: Any, args: Any, address: Any) -> Any:
            def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
                ty = signature.args[0]
                value = without_owner(context, builder, ty, values[0])
                where = place_of(context, builder, ty, values[1])
                context.pack_value(builder, ty, value, where)
                return context.get_dummy_value()

            return types.void(args, types.intp), code

        @intrinsic  # type: ignore[untyped-decorator]
        def doubles(_: Any, address: Any) -> Any:
            def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
                return builder.inttoptr(values[0], ir.DoubleType().as_pointer())

            return types.CPointer(types.float64)(types.intp), code

        self.write, self.doubles, self._place_of = write, doubles, place_of

    def reader(self, ty: Any) -> Any:
        """Return ``read(address) -> tuple of type ty``."""
        from numba import types
        from numba.extending import intrinsic

        place_of = self._place_of

        @intrinsic  # type: ignore[untyped-decorator]
        def read(_: Any, address: Any) -> Any:
            def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
                where = place_of(context, builder, ty, values[0])
                return context.unpack_value(builder, ty, where)

            return ty(types.intp), code

        return read


@functools.cache
def _intrinsics() -> _Intrinsics:
    return _Intrinsics()


@functools.cache
def _tools() -> tuple[Any, Any]:
    """Return ``rows(arrays, i)``, the i-th entry of each, and ``spread``, g to its place."""
    import numba
    from numba.extending import overload

    def rows(arrays: Any, i: int) -> Any:
        raise NotImplementedError

    @overload(rows, strict=False)  # type: ignore[untyped-decorator]
    def _rows(arrays: Any, i: Any) -> Any:
        if len(arrays) == 0:
            return lambda arrays, i: ()
        if len(arrays) == 1:
            return lambda arrays, i: (arrays[0][i],)
        return lambda arrays, i: (arrays[0][i], *rows(arrays[1:], i))

    @numba.njit  # type: ignore[untyped-decorator]
    def spread(g: Any, out: Any, head: Any) -> bool:
        if len(g) != out.shape[0]:
            head[STATUS] = SHAPE
            return False
        for i in range(out.shape[0]):
            out[i] = g[i]
        return True

    return rows, spread


@functools.lru_cache(maxsize=64)
def build(fun: Any, jac: Any, scheme: str, ty: Any) -> Any:
    """Compile an objective to a C function; None when Numba cannot.

    Parameters
    ----------
    fun, jac : dispatcher
        ``fun(x, *args)``; `jac` is None when `fun` returns the pair ``(f, g)``, or has
        its gradient from differences.
    scheme : {"", "2-point", "3-point"}
        Differences, if any.
    ty : Numba type
        Of the pair (arrays whose ``head[ROW]``-th entries are the first arguments, tuple of
        the other arguments), as `layout` gives it.

    Returns
    -------
    numba.core.ccallback.CFunc or None
        Its ``address`` is what the compiled loops call.
    """
    import numba

    value = numba.float64
    pointer = numba.types.CPointer(value)
    signature = value(pointer, pointer, numba.types.CPointer(numba.int64))
    caller = _caller(ty)
    inner = _with_differences(fun, scheme, caller) if scheme else _with_gradient(fun, jac, caller)

    def guarded(x_address: Any, g_address: Any, head_address: Any) -> Any:
        n = head_address[N]
        head = numba.carray(head_address, (HEAD,))
        x = numba.carray(x_address, (n,))
        g = numba.carray(g_address, (n,))
        # N.B. nothing may leave a C function but a number: what was raised would be printed
        # and forgotten.
        try:
            f = inner(x, g, head)
        except Exception:  # noqa: BLE001
            head[STATUS] = RAISED
            f = math.nan
        return f

    try:
        return numba.cfunc(signature)(guarded)
    except Exception:  # noqa: BLE001 - of whatever kind
        return None  # called from Python it works, or says itself what is wrong


def _caller(ty: Any) -> Any:
    """Return ``call(function, x, head)``: `function` at a copy of x, with its arguments."""
    import numba

    tools = _intrinsics()
    doubles = tools.doubles
    read = tools.reader(ty)
    rows, _ = _tools()

    @numba.njit  # type: ignore[untyped-decorator]
    def call(function: Any, x: Any, head: Any) -> Any:
        own = numba.carray(doubles(head.ctypes.data + 8 * HEAD), x.shape)
        for i in range(x.shape[0]):
            own[i] = x[i]
        arrays, others = read(head[ARGS])
        return function(own, *(rows(arrays, head[ROW]) + others))

    return call


def _with_gradient(fun: Any, jac: Any, call: Any) -> Any:
    import numba

    _, spread = _tools()
    if jac is None:

        @numba.njit  # type: ignore[untyped-decorator]
        def both(x: Any, g: Any, head: Any) -> float:
            head[VALUES] += 1
            head[GRADIENTS] += 1
            f, given = call(fun, x, head)
            return float(f) if spread(given, g, head) else math.nan

        return both

    @numba.njit  # type: ignore[untyped-decorator]
    def one_by_one(x: Any, g: Any, head: Any) -> float:
        head[VALUES] += 1
        f = float(call(fun, x, head))
        if not math.isfinite(f):
            g[:] = math.nan
            return f
        head[GRADIENTS] += 1
        return f if spread(call(jac, x, head), g, head) else math.nan

    return one_by_one


def _with_differences(fun: Any, scheme: str, call: Any) -> Any:
    """Return what `negopt._differences.difference_gradient` does with its default steps."""
    import numba

    doubles = _intrinsics().doubles
    points, power = _DIFFERENCES[scheme]
    relative = 2.220446049250313e-16**power

    @numba.njit  # type: ignore[untyped-decorator]
    def differences(x: Any, g: Any, head: Any) -> float:
        head[VALUES] += 1
        f = float(call(fun, x, head))
        if not math.isfinite(f):
            g[:] = math.nan
            return f
        head[GRADIENTS] += 1
        head[VALUES] += points * x.shape[0]
        z = numba.carray(doubles(head.ctypes.data + 8 * (HEAD + x.shape[0])), x.shape)
        for i in range(x.shape[0]):
            z[i] = x[i]
        for i in range(x.shape[0]):
            step = relative * max(1.0, abs(x[i]))
            z[i] = x[i] + step if x[i] >= 0.0 else x[i] - step
            h = z[i] - x[i]  # the step that x can represent
            ahead = float(call(fun, z, head))
            if points == 1:
                g[i] = (ahead - f) / h
            else:
                z[i] = x[i] - h
                g[i] = (ahead - float(call(fun, z, head))) / (2.0 * h)
            z[i] = x[i]
        return f

    return differences
