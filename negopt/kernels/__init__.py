"""Compiled kernels: small algebra for every array library.

They see scalars and small host arrays: `search` the Wolfe search; `model`,
`pairs`, `hybrid`, `shifted`, `general` and `ball` limited memories and their trust-region
steps; `generators`, `compact` and `eigen` those of SR1.
An edit in any of the files makes all be compiled anew (`_jit`).  The files, and with them
Numba, are imported when a kernel is first used, never by ``import negopt``.
"""

from __future__ import annotations

import importlib
from typing import Any

_FILES = (
    *("search", "model", "pairs", "hybrid", "shifted", "general", "ball"),
    *("eigen", "generators", "compact"),
)


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    for file in _FILES:
        module = importlib.import_module(f"negopt.kernels.{file}")
        if name in vars(module):
            value = vars(module)[name]
            globals()[name] = value  # the next look-up is a plain one
            return value
    raise AttributeError(f"no kernel {name!r} in {', '.join(_FILES)}")
