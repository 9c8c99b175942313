"""Compiled kernels on scalars and small host vectors.

The kernels are one compilation unit, `negopt.kernels.unit`: Numba does not see
that a callee in another file was edited, so a kernel and all that it calls stand
together.  The unit, and with it Numba, is imported when a kernel is first used,
never by ``import negopt``.
"""

from __future__ import annotations

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    unit = importlib.import_module("negopt.kernels.unit")
    value = getattr(unit, name)
    globals()[name] = value  # the next look-up is a plain one
    return value
