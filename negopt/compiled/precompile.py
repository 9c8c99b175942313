"""Compile all of negopt's own kernels ahead, for images of machines and for clusters."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Iterable

#: Every kernel that negopt may compile: module and name.
KERNELS = (("negopt.compiled.kernel", "KERNEL"),)


def precompile(progress: bool = True) -> list[str]:
    """Compile the kernels of negopt that are not on disk yet.

    Only objectives written with ``numba.njit`` ask for them; these are themselves compiled in each
    process in any case.

    Parameters
    ----------
    progress : bool, default True
        Write a line for each kernel to stderr, with a bar where rich is installed and stderr is a
        terminal.

    Returns
    -------
    list of str
        What was compiled.

    Raises
    ------
    ImportError
        Without Numba.

    Notes
    -----
    Compiled code goes to ``NUMBA_CACHE_DIR``, the folder of the package or one of the user's. It is
    valid for this kind of processor and these versions of negopt and Numba.
    """
    made: list[str] = []
    kernels = _with_bar(KERNELS) if progress and sys.stderr.isatty() else KERNELS
    for module, name in kernels:
        kernel = getattr(importlib.import_module(module), name)
        begun, known = time.perf_counter(), kernel.is_ready
        kernel.compile()
        if not known:
            made.append(kernel.title)
        if progress:
            took = "on disk already" if known else f"{time.perf_counter() - begun:.1f} s"
            sys.stderr.write(f"{kernel.title}: {took}\n")
    return made


def _with_bar(kernels: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    try:
        from rich.console import Console
        from rich.progress import track
    except ImportError:
        return kernels
    return track(kernels, "compiling", console=Console(stderr=True), transient=True)
