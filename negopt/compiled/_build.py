"""How the loop is compiled: once on this machine, from the sources that the array code runs."""

from __future__ import annotations

import functools
import hashlib
import logging
import pathlib
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba.extending import register_jitable

from negopt.decisions import curvature, endings, noise, pairs, search

logger = logging.getLogger("negopt")

F = TypeVar("F", bound=Callable[..., object])

#: No counts of references to arrays: these atomic operations would cost more than short vectors.
#: Nothing is called from Python but the kernel.
SETTINGS: dict[str, object] = {
    "_nrt": False,
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}
#: What a reduction may do; nan and infinities keep their meaning.
SUMS = {"reassoc", "contract", "nsz", "arcp"}


def plain(function: F) -> F:
    """Compile a function for the kernel, in IEEE arithmetic as it is written."""
    return numba.njit(**SETTINGS)(function)  # type: ignore[no-any-return]


def reduction(function: F) -> F:
    """Compile a sum over vectors, taken in the order that suits their registers."""
    return numba.njit(fastmath=SUMS, **SETTINGS)(function)  # type: ignore[no-any-return]


def part(function: F) -> F:
    """Make a function part of the kernel that calls it; compiled by itself it would cost twice."""
    return numba.njit(inline="always", **SETTINGS)(function)  # type: ignore[no-any-return]


for module in (curvature, endings, noise, pairs, search):  # they are, and stay, plain Python
    for value in vars(module).values():
        if getattr(value, "__module__", None) == module.__name__:
            register_jitable(**SETTINGS)(value)


class Kernel:
    """A function that is compiled for one signature, when it is first wanted, and kept on disk.

    The signature is that of the arguments `example`; the log names it by `title`.
    """

    def __init__(self, function: Callable[..., object], title: str, *example: object) -> None:
        self.function, self.title, self._example = function, title, example
        self._done = False

    @functools.cached_property
    def _dispatcher(self) -> Any:
        settings = {"_nrt": False, "error_model": "numpy", "nogil": True}
        try:
            found = numba.njit(cache=True, **settings)(self.function)
        except RuntimeError:  # neither the package's folder nor one of the user's can be written
            return numba.njit(**settings)(self.function)
        # Numba looks at the file of the kernel alone: an edit elsewhere has to void the cache too.
        file = found._cache._cache_file
        file._source_stamp = (file._source_stamp, _sources())
        return found

    @property
    def is_ready(self) -> bool:
        """Whether nothing has to be compiled: it is in this process, or on disk."""
        if self._done:
            return True
        file = getattr(getattr(self._dispatcher, "_cache", None), "_cache_file", None)
        return file is not None and bool(file._load_index())

    def compile(self) -> Callable[..., int]:
        """Return the compiled function; say so in the log where it has to be compiled first."""
        if not self._done:
            if not self.is_ready:
                logger.info("compiling %s: some seconds, once on this machine", self.title)
            self._dispatcher.compile(tuple(map(numba.typeof, self._example)))
            self._dispatcher.disable_compile()
            self._done = True
        return cast(Callable[..., int], self._dispatcher)


@functools.cache
def _sources() -> str:
    here = pathlib.Path(__file__).parent
    files = [*sorted(here.glob("*.py")), *sorted((here.parent / "decisions").glob("*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
