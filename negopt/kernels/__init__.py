"""Compiled kernels on scalars and small host vectors.

`search` holds the Wolfe search, `pairs` what folds pairs into a model, `model` the
_FILES = (
    *("search", "model", "pairs", "hybrid", "shifted", "general", "ball"),
    *("eigen", "generators", "compact", "passes"),
)
not see that a callee in another file was edited, so a kernel and all that it calls
stand in one file.  The files, and with them Numba, are imported when a kernel is
first used, never by ``import negopt``.
"""

from __future__ import annotations

import importlib
from typing import Any

_FILES = (
    *("search", "model", "pairs", "hybrid", "shifted", "general", "ball"),
    *("eigen", "generators", "compact", "passes"),
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
