"""The random numbers of a run: from the user's seed or generator."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.random import (
    MT19937,
    PCG64,
    PCG64DXSM,
    SFC64,
    BitGenerator,
    Generator,
    Philox,
    SeedSequence,
)

from negopt.core.arrays import FloatArray
from negopt.core.checks import refuse

#: What NumPy makes a generator of (SPEC 7).
Seed = int | Sequence[int] | SeedSequence | BitGenerator | Generator | None

#: The generators that a state may name: nothing else of what a file says is looked up or called.
KNOWN: dict[str, type[BitGenerator]] = {
    kind.__name__: kind for kind in (PCG64, PCG64DXSM, MT19937, Philox, SFC64)
}
#: Most that a position in a generator's buffer may be; NumPy does not check it.
POSITIONS = {("state", "pos"): 624, ("buffer_pos",): 4}


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
        self._made = Generator(bits_of(state, self._own))

    @property
    def _own(self) -> dict[str, type[BitGenerator]]:
        """The class of the user's own generator, by name."""
        own = None if self._made is None else type(self._made.bit_generator)
        return {} if own is None else {own.__name__: own}


def bits_of(
    state: dict[str, object], more: Mapping[str, type[BitGenerator]] = MappingProxyType({})
) -> BitGenerator:
    """Return the bit generator in the state `state`, one of the table or of `more`.

    It is a ValueError when there is none of that name, or the state is none of it.
    """
    kind = state.get("bit_generator")
    known = {**more, **KNOWN}
    if not isinstance(kind, str) or kind not in known:
        refuse("bit_generator", kind, f"one of {', '.join(known)}")
    for path, most in POSITIONS.items():
        at: object = state
        for key in path:
            at = at.get(key, 0) if isinstance(at, dict) else 0
        if not isinstance(at, (int, np.integer)) or not 0 <= at <= most:
            refuse(".".join(path), at, f"an integer from 0 to {most}")
    bits = known[kind]()
    try:
        bits.state = state
    except (TypeError, ValueError, LookupError, OverflowError, AttributeError) as error:
        raise ValueError(f"it is no state of {kind} ({error}).") from None
    return bits


class RandomState:
    """What may be kept of a generator: nothing, or a state of one of the table."""

    def __call__(self, value: object, n: int, name: str) -> None:
        """Check by setting a generator to it."""
        if type(value) is not dict:
            refuse(name, value, "a dict, the state of a NumPy bit generator")
        if value:
            try:
                bits_of(value)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None


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
