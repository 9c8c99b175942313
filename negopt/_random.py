"""The random numbers of a run: a seed of the user's, or his own generator."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

__all__ = ["first_state", "generator"]


def generator(seed: Any) -> np.random.Generator:
    """Return the generator of a run: the user's own, or a fresh one for his seed."""
    try:
        rng = np.random.default_rng(seed)
        # N.B. the plain stream of a seed is what the user draws his start or data from.
        return rng if isinstance(seed, np.random.Generator) else rng.spawn(1)[0]
    except (TypeError, ValueError) as error:
        raise ValueError(f"rng={seed!r}: pass a seed or a numpy Generator.") from error


@functools.lru_cache(maxsize=16)
def _drawn_from_nothing(seed: int) -> dict[str, Any]:
    return dict(generator(seed).bit_generator.state)


def first_state(seed: int) -> dict[str, Any]:
    """Return the state of `generator` before anything was drawn."""
    state = _drawn_from_nothing(seed)
    return {k: dict(part) if isinstance(part, dict) else part for k, part in state.items()}
