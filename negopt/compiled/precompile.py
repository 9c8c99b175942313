"""Compile the loop ahead, for images of machines and for clusters."""

from __future__ import annotations

import sys
import time


def precompile(progress: bool = True) -> list[str]:
    """Compile the loop for jitted objectives, unless it is on disk.

    Only objectives written with ``numba.njit`` ask for it; each process compiles these themselves.

    Parameters
    ----------
    progress : bool, default True
        Write a line to stderr.

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
    from negopt.compiled.kernel import KERNEL

    begun, known = time.perf_counter(), KERNEL.is_ready
    KERNEL.compile()
    if progress:
        took = "on disk already" if known else f"{time.perf_counter() - begun:.1f} s"
        sys.stderr.write(f"{KERNEL.title}: {took}\n")
    return [] if known else [KERNEL.title]
