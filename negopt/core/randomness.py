"""The random numbers of a run: from the user's seed or generator."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.random import BitGenerator, Generator, SeedSequence

from negopt.core.arrays import FloatArray

#: What NumPy makes a generator of (SPEC 7).
Seed = int | Sequence[int] | SeedSequence | BitGenerator | Generator | None


class Draws:
    """The random numbers of a run; a generator is made when something is drawn."""

    def __init__(self, seed: Seed) -> None:
        self._seed = seed
        self._made: Generator | None = None
        if not (type(seed) is int and seed >= 0):  # of any other kind it is made, or refused
            self._made = generator(seed)

    @property
    def generator(self) -> Generator:
        """The generator itself."""
        if self._made is None:
            self._made = generator(self._seed)
        return self._made

    def standard_normal(self, size: int) -> FloatArray:
        """Draw a vector of normal numbers."""
        return self.generator.standard_normal(size)

    @property
    def state(self) -> dict[str, object]:
        """State of the generator, of plain numbers."""
        if self._made is None:
            assert isinstance(self._seed, int)
            return first_state(self._seed)
        return dict(self._made.bit_generator.state)

    def go_back(self, state: dict[str, object]) -> None:
        """Draw again from `state` on, with a generator of its own: the user's stays as it is."""
        bits = getattr(np.random, str(state["bit_generator"]))()
        bits.state = state
        self._made = Generator(bits)


def generator(seed: Seed) -> Generator:
    """Return the generator of a run: the user's own, or a fresh one for a seed."""
    try:
        rng = np.random.default_rng(seed)
        # N.B. the plain stream of a seed is what the user draws a start or data from.
        return rng if isinstance(seed, Generator) else rng.spawn(1)[0]
    except (TypeError, ValueError) as error:
        raise ValueError(f"rng={seed!r}: pass a seed or a numpy Generator.") from error


@functools.lru_cache(maxsize=16)
def _drawn_from_nothing(seed: int) -> dict[str, object]:
    return dict(generator(seed).bit_generator.state)


def first_state(seed: int) -> dict[str, object]:
    """Return the state of `generator` before anything was drawn."""
    state = _drawn_from_nothing(seed)
    return {k: dict(part) if isinstance(part, dict) else part for k, part in state.items()}
