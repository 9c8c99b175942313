"""Linear maps from the variables to the inputs of an element function.

Every map offers ``apply(x)``, shape (n,) -> (m,), and ``add_adjoint(u, out)``, which
adds A'u to `out` and returns it.  All cost O(n) except `Dense`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from negopt.core.arrays import Array, device_of, from_host, namespace_of


class Map(Protocol):
    """What an element function needs of a linear map."""

    def apply(self, x: Array) -> Array:
        """Return A x."""

    def add_adjoint(self, u: Array, out: Array) -> Array:
        """Return out + A'u; `out` may be overwritten."""


class Constant:
    """Host data, read-only in float64, that is copied to each library, device and type once."""

    __slots__ = ("_copies", "values")

    def __init__(self, values: npt.ArrayLike) -> None:
        self.values = np.array(values, dtype=np.float64)
        self.values.flags.writeable = False
        self._copies: dict[tuple[object, object, str], Array] = {}

    def like(self, x: Array) -> Array:
        """Return the data in the library, device and type of `x`."""
        key = (type(x), x.dtype, str(device_of(x)))
        found = self._copies.get(key)
        if found is None:
            host = self.values.copy()  # some libraries refuse read-only memory
            found = self._copies[key] = from_host(host, x)
        return found


@dataclass(frozen=True)
class Slice:
    """The variables ``x[start:stop:step]``."""

    start: int | None = None
    stop: int | None = None
    step: int | None = None

    def apply(self, x: Array) -> Array:
        """Return the chosen variables."""
        return x[self.start : self.stop : self.step]

    def add_adjoint(self, u: Array, out: Array) -> Array:
        """Add `u` at the chosen positions."""
        key = slice(self.start, self.stop, self.step)
        out[key] = out[key] + u
        return out


def every(k: int) -> tuple[Slice, ...]:
    """Return the k maps to the members of groups of k variables."""
    return tuple(Slice(j, None, k) for j in range(k))


ALL, FIRST, LAST = Slice(), Slice(0, 1), Slice(-1, None)
#: Neighbours: two, three, and groups of four that share two with the next group.
PAIR = (Slice(None, -1), Slice(1, None))
TRIPLE = (Slice(None, -2), Slice(1, -1), Slice(2, None))
FOURS = (Slice(0, -3, 2), Slice(1, -2, 2), Slice(2, -1, 2), Slice(3, None, 2))


@dataclass(frozen=True)
class Shift:
    """The vector x moved by `offset`: y_i = x_{i+offset}, zero outside."""

    offset: int

    def apply(self, x: Array) -> Array:
        """Return the moved vector."""
        xp, k = namespace_of(x), abs(self.offset)
        if k == 0:
            return x
        if k >= x.shape[0]:
            return xp.zeros_like(x)
        zeros = xp.zeros((k,), dtype=x.dtype, device=device_of(x))
        return xp.concat([x[k:], zeros] if self.offset > 0 else [zeros, x[:-k]])

    def add_adjoint(self, u: Array, out: Array) -> Array:
        """Add `u` moved back."""
        return out + Shift(-self.offset).apply(u)


class Functional:
    """A single input, the weighted sum w'x."""

    def __init__(self, weights: npt.ArrayLike) -> None:
        self.weights = Constant(weights)

    def apply(self, x: Array) -> Array:
        """Return w'x, shape (1,)."""
        return namespace_of(x).reshape(self.weights.like(x) @ x, (1,))

    def add_adjoint(self, u: Array, out: Array) -> Array:
        """Add u w."""
        return out + u * self.weights.like(out)


class Dense:
    """Multiplication by a given matrix, shape (m, n)."""

    def __init__(self, matrix: npt.ArrayLike) -> None:
        self.matrix = Constant(matrix)

    def apply(self, x: Array) -> Array:
        """Return A x."""
        return self.matrix.like(x) @ x

    def add_adjoint(self, u: Array, out: Array) -> Array:
        """Add A'u."""
        return out + u @ self.matrix.like(out)


@dataclass(frozen=True)
class Window:
    """Sums over a band: y_i is the sum of x_j over ``-below <= j - i <= above``."""

    below: int
    above: int

    def apply(self, x: Array) -> Array:
        """Return the band sums."""
        xp = namespace_of(x)
        out = xp.zeros_like(x)
        for offset in range(-self.below, self.above + 1):
            out = out + Shift(offset).apply(x)
        return out

    def add_adjoint(self, u: Array, out: Array) -> Array:
        """Add the band sums of the transposed band."""
        return out + Window(self.above, self.below).apply(u)
