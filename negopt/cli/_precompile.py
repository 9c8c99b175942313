"""``negopt precompile``: compile negopt's own kernels ahead."""

from __future__ import annotations

import argparse

from negopt.cli._errors import UsageError
from negopt.compiled.precompile import precompile as compile_all

__all__ = ["precompile"]


def precompile(options: argparse.Namespace) -> int:
    """Compile what is not on disk yet; say what, with a bar in a terminal."""
    try:
        made = compile_all(progress=not options.quiet)
    except ImportError as error:
        raise UsageError(f"precompile: {error}; install Numba") from None
    if not options.quiet:
        print(f"compiled {len(made)}" if made else "nothing to compile")
    return 0
