"""The space of the second-order check in compiled code."""

from __future__ import annotations

import numpy as np

from negopt._array import Array
from negopt._space import Space
from negopt.kernels.space import place, ritz

__all__ = ["CompiledSpace"]


class CompiledSpace(Space):
    """`negopt._space.Space` on float64 NumPy vectors: two kernels a direction."""

    def __init__(self, like: Array, room: int) -> None:
        super().__init__(like, room)
        self._values, self._vectors = np.zeros(room), np.zeros((room, room))
        self._scratch = np.zeros((room + 2, room + 2))
        self._residual = np.empty(int(like.shape[0]))

    def _place(self, v: Array, least: float) -> bool:
        return bool(place(self.basis, self.k, v, least))

    def absorb(self, image: Array) -> None:
        """Take the image of the direction that was opened; find the Ritz pairs."""
        self.images[self.k] = image
        found = ritz(
            self.basis,
            self.images,
            self.k,
            self.matrix,
            self._values,
            self._vectors,
            self._scratch,
            self._residual,
        )
        if not found:  # LAPACK may do better
            super().absorb(image)
            self._residual = super().residual()
            return
        self.k += 1
        self.values = self._values[: self.k].copy()
        self.weights = self._vectors[0, : self.k].copy()

    def residual(self) -> Array:
        """Return ``H z - theta z`` of the lowest Ritz pair."""
        return self._residual
