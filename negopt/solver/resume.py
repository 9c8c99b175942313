"""Resume from the state of an earlier run, in the library of a new starting point."""

from __future__ import annotations

import copy
import dataclasses
from typing import TypeVar, cast

import numpy as np

from negopt.core.arrays import (
    Array,
    from_host,
    is_array,
    is_plain,
    library_of,
    namespace_of,
    to_host,
)
from negopt.core.protocols import AnyCurvature, AnyGlobalization
from negopt.core.types import State

T = TypeVar("T")


def adopt(
    state: object,
    method: str,
    start: Array,
    rules: tuple[AnyCurvature, AnyGlobalization] | None = None,
) -> State:
    """Return a copy of `state` in the library, device and type of x0.

    With `rules`, what the state keeps for the two has to be of the kind that they make.
    """
    if not isinstance(state, State):
        # As every bad value of an option.
        raise ValueError(
            f"options['state'] is a {type(state).__name__}; pass res.state of an earlier run or "
            "negopt.checkpoint.load(path)."
        )
    if state.method != method:
        raise ValueError(
            f"options['state'] is from method {state.method!r}; resume with that method, not "
            f"{method!r}."
        )
    if state.iterate.x.shape != start.shape:
        raise ValueError(
            f"options['state'] has {state.iterate.x.shape[0]} variables but x0 has "
            f"{start.shape[0]}."
        )
    moved = _like(state, start)
    if rules is not None:
        curvature, globalize = rules
        _same_kind("memory", method, moved.memory, curvature.init(moved.iterate.x))
        _same_kind("globalize", method, moved.globalize, globalize.init(moved.iterate))
    return moved


def _same_kind(name: str, method: str, kept: object, made: object) -> None:
    """Refuse what another version, or another method of the same name, has kept."""
    if type(kept) is not type(made):
        raise ValueError(
            f"options['state'].{name} is a {type(kept).__name__}, but {method!r} keeps a "
            f"{type(made).__name__}: the state is of another version of the method; begin "
            "anew from its point, x0 = state.iterate.x."
        )


def _like(value: T, start: Array) -> T:
    """Copy a tree of state, its device arrays moved to the library of `start`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        moved = {}
        for f in dataclasses.fields(value):
            part = getattr(value, f.name)
            # Small float64 arrays of the host stay there, whatever x0 is.
            stays = f.metadata.get("host") and part is not None
            moved[f.name] = np.array(part) if stays else _like(part, start)
            plain = is_plain(part) and is_plain(start)
            if f.metadata.get("symmetric") and part is not None and not plain:
                xp = namespace_of(start)  # only in float64 NumPy is a triangle enough
                upper = xp.triu(moved[f.name])
                moved[f.name] = upper + xp.matrix_transpose(xp.triu(upper, k=1))
        return dataclasses.replace(value, **moved)
    if not is_array(value):
        return copy.deepcopy(value)
    array: Array = value
    if library_of(array) == library_of(start):
        xp = namespace_of(start)
        array = xp.astype(xp.asarray(array, copy=True), start.dtype)
    else:
        array = from_host(to_host(array), start)
    return cast("T", array)
