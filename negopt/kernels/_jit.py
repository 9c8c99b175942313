"""Compile with Numba when it is there and wanted; otherwise leave the function alone."""

from __future__ import annotations

import functools
import hashlib
import os
import pathlib
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

    No ``fastmath``: it would break the tests for NaN.  The compiled code is cached on disk.
    """
    return _compile(function)


def jit_lean(function: F) -> F:
    """Compile a kernel that allocates nothing, without counts of references to its arrays.

    N.B. these atomic counts cost more than all else where vectors are short: 5.7 us an
    evaluation instead of 1.0 us at n = 10.
    """
    return _compile(function, _nrt=False)


def jit_inline(function: F) -> F:
    """Make a function part of each kernel that calls it, instead of a kernel of its own.

    N.B. a kernel in a kernel in a kernel is optimised again at every level: the engine
    took 50 s to compile before its parts became one.
    """
    return _compile(function, _nrt=False, inline="always")


def jit_pass(function: F) -> F:
    """Compile a pass over vectors: sums may be taken in any order, in vector registers.

    N.B. NaN and infinities keep their meaning: what is allowed is re-association only.
    """
    return _compile(function, _nrt=False, fastmath={"reassoc", "contract", "nsz", "arcp"})


def jit_or_pass(plain: F) -> Callable[[F], F]:
    """`jit_or` for `jit_pass`."""

    def decorate(function: F) -> F:
        compiled = jit_pass(function)
        return plain if compiled is function else compiled

    return decorate


def _compile(function: F, **settings: Any) -> F:
    if jit_disabled():
        return function
    try:
        import numba
    except ImportError:
        return function
    # N.B. what is not said here a kernel would inherit from whoever calls it first.
    settings = {"_nrt": True, "fastmath": False, "nogil": True, "error_model": "numpy"} | settings
    try:
        compiled = numba.njit(cache=True, **settings)(function)
    except RuntimeError:  # neither the package's folder nor a home folder can be written
        return numba.njit(**settings)(function)  # type: ignore[no-any-return]
    _stamp(compiled)
    return compiled  # type: ignore[no-any-return]


def is_compiled(kernel: Any) -> bool:
    """Tell whether a kernel can be called without compiling it: in this process, or on disk."""
    if not hasattr(kernel, "signatures"):
        return False  # plain Python
    if kernel.signatures:
        return True
    file = getattr(getattr(kernel, "_cache", None), "_cache_file", None)
    return file is not None and bool(file._load_index())


def _stamp(compiled: Any) -> None:
    """Make the cache of a kernel void when any file of kernels is edited.

    Numba looks at the file of the kernel itself only: with a callee in another file, the
    old one would go on being run.
    """
    file = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    if file is not None:
        file._source_stamp = (file._source_stamp, _all_sources())


@functools.cache
def _all_sources() -> str:
    folder = pathlib.Path(__file__).parent
    sources = b"".join(p.read_bytes() for p in sorted(folder.glob("*.py")))
    return hashlib.sha256(sources).hexdigest()
