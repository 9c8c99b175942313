"""Each decision is tested as plain Python and as the compiled loop has it."""

from __future__ import annotations

import functools
import types

import pytest


@functools.cache
def compiled(module):
    """Return the module's functions compiled from their source."""
    numba = pytest.importorskip("numba")
    functions = {k: v for k, v in vars(module).items() if isinstance(v, types.FunctionType)}
    for function in functions.values():
        numba.extending.register_jitable(function)
    return types.SimpleNamespace(**{k: numba.njit(v) for k, v in functions.items()})


@pytest.fixture(params=["plain", "compiled"])
def both(request):
    """Return what gives a module's functions, as they are or compiled."""
    return (lambda module: module) if request.param == "plain" else compiled
