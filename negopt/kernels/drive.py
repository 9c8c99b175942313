"""The compiled loop: a jitted objective and the engine, without Python in between.

The objective comes as the address of a C function (`negopt.kernels.objective`), so that
this loop is compiled once for all objectives.  Without Numba the address is a Python
function ``(x, g, head) -> f``, and everything here is plain Python.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from negopt.kernels import work as w
from negopt.kernels._jit import jit_disabled, jit_inline, jit_lean
from negopt.kernels.fused import (
    advance_bfgs_search,
    advance_dense,
    advance_hybrid_region,
    advance_sr1_region,
    advance_sr1_search,
)
from negopt.kernels.objective import HALT, OK, STATUS, VALUES

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]

#: The evaluations that were asked for are made; the trial point waits for its values.
SPENT = 7


def _call(address: Any, x: FloatArray, g: FloatArray, head: IntArray) -> float:
    return address(x, g, head)  # type: ignore[no-any-return]


def _compiled_call() -> Any:
    """Return `_call` for the address of a C function."""
    if jit_disabled():
        return _call
    try:
        from llvmlite import ir
        from numba import types
        from numba.extending import intrinsic
    except ImportError:
        return _call

    @intrinsic  # type: ignore[untyped-decorator]
    def call(_: Any, address: Any, x: Any, g: Any, head: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            data = [
                context.make_array(ty)(context, builder, value=value).data
                for ty, value in zip(signature.args[1:], values[1:], strict=True)
            ]
            kind = ir.FunctionType(ir.DoubleType(), [d.type for d in data])
            return builder.call(builder.inttoptr(values[0], kind.as_pointer()), data)

        return types.float64(types.intp, x, g, head), code

    return call


call = _compiled_call()


@jit_inline
def loop(
    advance: Any,
    address: int,
    head: IntArray,
    buffer: FloatArray,
    rows: FloatArray,
    gram: FloatArray,
    ints: IntArray,
    limit: int,
) -> int:
    """Evaluate and advance until the engine hands back.

    Parameters
    ----------
    advance : function
        The kernel of the method.
    address : int
        Of the objective.
    head : array of int64
        Its data; ``head[VALUES]`` counts calls of fun.
    buffer, rows, gram, ints : array
        Of the engine, at its beginning or with a trial point that waits for its values.
    limit : int
        No evaluation is begun when ``head[VALUES]`` has come to it.

    Returns
    -------
    int
        What `advance` said; ``SPENT``; or ``RAISED`` when the objective raised or gave a
        gradient of the wrong length at the trial point: call it there from Python.
    """
    n = ints[w.N]
    while head[VALUES] < limit and head[HALT] == 0:
        place = 2 * n * ints[w.TRIAL]
        x, g = buffer[place : place + n], buffer[place + n : place + 2 * n]
        f = 0.0
        if ints[w.PHASE] == 1:
            f = call(address, x, g, head)
            if head[STATUS] != OK:
                return w.RAISED
        task = advance(f, g, buffer, rows, gram, ints)
        if task != w.EVALUATE:
            return task  # type: ignore[no-any-return]
    return SPENT


@jit_lean
def drive_dense(
    address: int,
    head: IntArray,
    buffer: FloatArray,
    rows: FloatArray,
    gram: FloatArray,
    ints: IntArray,
    limit: int,
) -> int:
    """Run `loop` with `advance_dense`."""
    return loop(advance_dense, address, head, buffer, rows, gram, ints, limit)


@jit_lean
def drive_bfgs_search(
    address: int,
    head: IntArray,
    buffer: FloatArray,
    rows: FloatArray,
    gram: FloatArray,
    ints: IntArray,
    limit: int,
) -> int:
    """Run `loop` with `advance_bfgs_search`."""
    return loop(advance_bfgs_search, address, head, buffer, rows, gram, ints, limit)


@jit_lean
def drive_sr1_search(
    address: int,
    head: IntArray,
    buffer: FloatArray,
    rows: FloatArray,
    gram: FloatArray,
    ints: IntArray,
    limit: int,
) -> int:
    """Run `loop` with `advance_sr1_search`."""
    return loop(advance_sr1_search, address, head, buffer, rows, gram, ints, limit)


@jit_lean
def drive_sr1_region(
    address: int,
    head: IntArray,
    buffer: FloatArray,
    rows: FloatArray,
    gram: FloatArray,
    ints: IntArray,
    limit: int,
) -> int:
    """Run `loop` with `advance_sr1_region`."""
    return loop(advance_sr1_region, address, head, buffer, rows, gram, ints, limit)


@jit_lean
def drive_hybrid_region(
    address: int,
    head: IntArray,
    buffer: FloatArray,
    rows: FloatArray,
    gram: FloatArray,
    ints: IntArray,
    limit: int,
) -> int:
    """Run `loop` with `advance_hybrid_region`."""
    return loop(advance_hybrid_region, address, head, buffer, rows, gram, ints, limit)


#: The loop around each kernel of `negopt.kernels.fused`.
DRIVES = {
    advance_dense: drive_dense,
    advance_bfgs_search: drive_bfgs_search,
    advance_sr1_search: drive_sr1_search,
    advance_sr1_region: drive_sr1_region,
    advance_hybrid_region: drive_hybrid_region,
}
