"""Objectives written with ``numba.njit``: found out, compiled to one function, kept ready."""

from __future__ import annotations

import copy
import sys
from typing import Any

import numpy as np

__all__ = ["Compiled", "compiled"]


class Compiled:
    """A jitted objective with its arguments, as the compiled loops call it.

    Attributes
    ----------
    address : int
        Of the C function ``double fg(double* x, double* g, int64* head)``.
    parallel : bool
        Whether it runs threads of its own: then call it from one thread at a time.
    head : array of int64
        What the function reads and counts, named in `negopt.kernels.objective`.
    scheme : str
        Of its differences; "" with a gradient.
    """

    def __init__(
        self, function: Any, owners: Any, place: Any, n: int, scheme: str, parallel: bool
    ) -> None:
        from negopt.kernels import objective as o

        self._alive = function, owners, place  # what the addresses point to
        self.address = int(function.address)
        self.parallel = parallel
        self.scheme = scheme
        self.head = np.zeros(o.HEAD + 2 * n, dtype=np.int64)
        self.head[o.N] = n
        self.head[o.ARGS] = place.ctypes.data

    def copy(self) -> Compiled:
        """Return another with a head of its own, for another thread."""
        other = copy.copy(self)
        other.head = self.head.copy()
        return other


def compiled(
    parts: tuple[Any, Any, str], args: tuple[Any, ...], n: int, each: tuple[Any, ...] = ()
) -> Compiled | None:
    """Return the objective for the compiled loops, or None when it has to be called from Python.

    Parameters
    ----------
    parts : tuple
        What gives f, or the pair (f, g); what gives g, or None; the scheme of differences, or "".
    args : tuple
        Numbers, NumPy arrays, jitted functions, and tuples of these.
    n : int
    each : tuple of arrays
        In front of `args` goes the ``head[ROW]``-th entry of each.

    Notes
    -----
    The compilation takes some tenths of a second for each objective and each set of
    *types* of arguments; their values may change.  It is kept as long as the process lives
    (the latest 64), not on disk: Numba does not cache what is called with a function.
    """
    value, gradient, scheme = parts
    if "numba" not in sys.modules or scheme == "cs":
        return None  # without Numba nothing was decorated by it
    from negopt.kernels import objective as o

    if not o.is_dispatcher(value) or not (gradient is None or o.is_dispatcher(gradient)):
        return None
    given = (each, args)
    ty = o.layout(given)
    if ty is None:
        return None
    function = o.build(value, gradient, scheme, ty)
    if function is None:
        return None
    parallel = o.is_parallel(value) or o.is_parallel(gradient)
    return Compiled(function, given, o.bind(given, ty), n, scheme, parallel)
