"""``negopt precompile``: compile negopt's own kernels ahead."""

from __future__ import annotations

import argparse
import sys

from negopt.cli._errors import UsageError
from negopt.compiled.precompile import precompile as compile_all


def precompile(options: argparse.Namespace) -> int:
    """Compile what is not on disk yet; say what, with a bar in a terminal."""
    try:
        made = compile_all(progress=not options.quiet)
    except ImportError as error:
        raise UsageError(f"precompile: {error}; install Numba") from None
    if not options.quiet:
        sys.stdout.write(f"compiled: {', '.join(made)}\n" if made else "nothing to compile\n")
    return 0
