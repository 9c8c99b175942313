"""Compile with Numba when it is there and wanted; otherwise leave the function alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def jit_disabled() -> bool:
    """Tell whether ``NEGOPT_DISABLE_JIT`` asks for plain Python."""
    return os.environ.get("NEGOPT_DISABLE_JIT", "0").lower() not in ("", "0", "false")


def jit_or(plain: F) -> Callable[[F], F]:
    """Compile a helper written as loops; without Numba take `plain`, the same in NumPy.

    Loops compile several times faster than array expressions, which pull in code for
    broadcasting and its errors; as plain Python they would be far too slow.
    """

    def decorate(function: F) -> F:
        compiled = jit(function)
        return plain if compiled is function else compiled

    return decorate


def jit(function: F) -> F:
    """Return `function` compiled in nopython mode, or unchanged without Numba.

    No ``fastmath``: it would break the tests for NaN.  The compiled code is cached
    on disk; N.B. Numba raises ``RuntimeError`` here when neither the package's
    folder nor a home folder can be written, and then compiles for this process only.
    """
    return _compiled(function, False)


def jit_sums(function: F) -> F:
    """Compile a pass over long vectors: the terms of a sum may be added in any order.

    Only so can they be added several at once.  NaN and infinity keep their meaning.
    """
    return _compiled(function, {"reassoc", "contract", "nsz", "arcp"})


def jit_or_sums(plain: F) -> Callable[[F], F]:
    """`jit_or` for `jit_sums`."""

    def decorate(function: F) -> F:
        compiled = jit_sums(function)
        return plain if compiled is function else compiled

    return decorate


def _compiled(function: F, fastmath: bool | set[str]) -> F:
    if jit_disabled():
        return function
    try:
        import numba
    except ImportError:
        return function
    options = {"nogil": True, "error_model": "numpy", "fastmath": fastmath}
    try:
        return numba.njit(cache=True, **options)(function)  # type: ignore[no-any-return]
    except RuntimeError:
        return numba.njit(**options)(function)  # type: ignore[no-any-return]
