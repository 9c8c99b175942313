"""The state of an optimizer as tensors, numbers and strings, and back."""

from __future__ import annotations

from dataclasses import replace
from typing import TypedDict

import torch

from negopt.checkpoint import FORMAT, OLDEST, Json, decode, encode
from negopt.core.arrays import Array
from negopt.core.types import Iterate, State
from negopt.methods import Method
from negopt.neural.torch._arguments import RENAMED
from negopt.solver.resume import adopt


class Saved(TypedDict, total=False):
    """A saved state; it has neither tree nor arrays before the first step."""

    format: int
    n: int
    options: dict[str, str]
    tree: Json
    arrays: dict[str, torch.Tensor]


def packed(state: State | None, method: Method, n: int) -> Saved:
    """Return the state of a run over n parameters, None before its first step, to be saved."""
    saved: Saved = {"format": FORMAT, "n": n, "options": _settings(method)}
    if state is not None:
        arrays: dict[str, Array] = {}
        here = state.iterate
        # Each step evaluates again: of the point only the values that tell whether the function
        # is the same are kept.
        point = Iterate(here.x[:0], here.f, here.g[:0], here.gnorm, here.gmax)
        saved["tree"] = encode(replace(state, iterate=point, best=point), "state", arrays)
        saved["arrays"] = {name: torch.tensor(value) for name, value in arrays.items()}
    return saved


def restored(saved: Saved, method: Method, x: torch.Tensor) -> State | None:
    """Return what was packed, at the parameters `x`, shape (n,); raise where it does not fit."""
    if type(saved) is not dict or "format" not in saved:
        raise ValueError("the state is of another optimizer.")
    version, size = saved["format"], saved.get("n")
    if type(version) is not int or not OLDEST <= version <= FORMAT:
        raise ValueError(
            f"the state has format {version!r}; this negopt reads formats {OLDEST} to {FORMAT}."
        )
    if type(size) is not int or size != len(x):
        raise ValueError(
            f"the state is of {size} parameters but the optimizer has {len(x)} to train: "
            "load it beside the module that it was saved with, with the same ones frozen."
        )
    if "tree" not in saved:  # before the first step
        return None
    tensors, options = saved.get("arrays"), saved.get("options")
    if not isinstance(tensors, dict) or not isinstance(options, dict):
        raise ValueError("the state is damaged: it has no arrays, or no options.")
    for name, value in tensors.items():
        if not isinstance(value, torch.Tensor):
            raise ValueError(f"the state is damaged: {name} is a {type(value).__name__}.")
    arrays = {name: value.cpu().numpy() for name, value in tensors.items()}
    try:
        state = decode(saved["tree"], arrays, State, version)
    except ValueError as error:
        raise ValueError(f"the state is damaged: {error}") from None
    if type(state.iterate) is not Iterate:
        raise ValueError("the state is damaged: it has no point.")
    if state.method != method.name:
        raise ValueError(
            f"the state is from method {state.method!r}, not {method.name!r}: make the optimizer "
            "with the method that it was saved with."
        )
    point = replace(state.iterate, x=x, g=x)
    state = replace(state, iterate=point, best=point)
    state = adopt(state, method.name, x, (method.curvature, method.globalize))
    for name, now in _settings(method).items():
        if options.get(name) != now:
            raise ValueError(
                f"the state is of {RENAMED.get(name, name)}={options.get(name)}, not "
                f"{now}: make the optimizer with the arguments that it was saved with."
            )
    return state


def _settings(method: Method) -> dict[str, str]:
    """Return the options of a method, without the rate, which is the group's."""
    return {name: text for name, text in method.described().items() if name != "learning_rate"}
