"""Objectives written with ``numba.njit``: found out, compiled to one function, kept ready."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["Compiled", "compiled"]


class Compiled:
    """A jitted objective with its arguments, as the compiled loops call it.

    Attributes
    ----------
    address : int
        Of the C function ``double fg(double* x, double* g, int64* head)``.
    head : array of int64
        What the function reads and counts, named in `negopt.kernels.objective`.
    cost : int
        Calls of fun that one value with its gradient takes.
    """

    def __init__(self, function: Any, owners: Any, place: Any, n: int, cost: int) -> None:
        from negopt.kernels import objective as o

        self._alive = function, owners, place  # what the addresses point to
        self.address = int(function.address)
        self.cost = cost
        self.head = np.zeros(o.HEAD + 2 * n, dtype=np.int64)
        self.head[o.N] = n
        self.head[o.ARGS] = place.ctypes.data

    def copy(self) -> Compiled:
        """Return another with a head of its own, for another thread."""
        other = object.__new__(Compiled)
        other._alive, other.address, other.cost = self._alive, self.address, self.cost
        other.head = self.head.copy()
        return other


def compiled(
    fun: Any, jac: Any, args: tuple[Any, ...], n: int, each: tuple[Any, ...] = ()
) -> Compiled | None:
    """Return the objective for the compiled loops, or None when it has to be called from Python.

    Parameters
    ----------
    fun, jac : object
        As `negopt.minimize` takes them.
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
    value, gradient, scheme = _parts(fun, jac)
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
    cost = 1 + (n * (2 if scheme == "3-point" else 1) if scheme else 0)
    return Compiled(function, given, o.bind(given, ty), n, cost)


def _parts(fun: Any, jac: Any) -> tuple[Any, Any, str]:
    """Return what gives f (or the pair), what gives g alone, and the scheme of differences."""
    if hasattr(fun, "fun") and hasattr(fun, "grad") and jac is None:
        both = getattr(fun, "fun_and_grad", None)
        return (fun.fun, fun.grad, "") if both is None else (both, None, "")
    if jac is True:
        return fun, None, ""
    if callable(jac):
        return fun, jac, ""
    if jac is None or jac is False:
        return fun, None, "2-point"
    return (fun, None, jac) if jac in ("2-point", "3-point") else (None, None, "")
