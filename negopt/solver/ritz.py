"""The space that the second-order check grows: directions, their images, the lowest Ritz pair."""

from __future__ import annotations

import math

import numpy as np

from negopt.algebra.eigen import symmetric_eigen
from negopt.core.arrays import (
    Array,
    FloatArray,
    device_of,
    float64_rows_dot,
    from_host,
    namespace_of,
    norm,
)
from negopt.core.randomness import Draws

#: Columns that a restart combines at a time.
BLOCK = 16384


class Space:
    """An orthonormal basis, grown by a direction at a time, and H restricted to it.

    Parameters
    ----------
    like : array, shape (n,)
        Gives library, device and type.
    room : int
        Most directions that are held.

    Attributes
    ----------
    k : int
        Directions whose images are known.
    values : array, shape (k,)
        Ritz values, ascending.
    largest : float
        Largest absolute one met, or length of an image: no more than the norm of H.
    asymmetry : float
        Largest difference of two products in the basis that symmetry makes equal: their error.
    weights : array, shape (k,)
        The Ritz vector of the lowest in the basis, its largest entry positive.
    """

    def __init__(self, like: Array, room: int) -> None:
        xp, n = namespace_of(like), int(like.shape[0])
        self.room = room
        self.basis = xp.zeros((room, n), dtype=like.dtype, device=device_of(like))
        self.images = xp.zeros((room, n), dtype=like.dtype, device=device_of(like))
        self.matrix = np.zeros((room, room))
        self.k = 0
        self.largest = self.asymmetry = 0.0
        self.values: FloatArray = np.zeros(0)
        self.weights: FloatArray = self.values

    def open(self, wanted: Array | None, rng: Draws) -> Array:
        """Return the next direction: `wanted`, made orthonormal, or a random one."""
        if wanted is None or not self._place(wanted, 1e-6):
            n = int(self.basis.shape[1])
            while not self._place(from_host(rng.standard_normal(n), self.basis), 0.0):
                pass
        return self.basis[self.k, :]

    def _place(self, v: Array, least: float) -> bool:
        """Write `v` orthonormal to the basis; False when no more than `least` of it is left.

        Its room is used up.
        """
        length = norm(v)
        if not 0.0 < length < math.inf:
            return False
        v /= length
        for _ in range(2):
            v -= self._inside(v)
        length = norm(v)
        if not length > least:
            return False
        v /= length
        # Once more: what was left may have been mostly rounding.
        v -= self._inside(v)
        v /= norm(v)
        self.basis[self.k, :] = v
        return True

    def _inside(self, v: Array) -> Array:
        """Return the part of `v` that lies in the space."""
        known = self.basis[: self.k, :]
        return namespace_of(v).matmul(from_host(float64_rows_dot(known, v), v), known)

    def absorb(self, image: Array) -> None:
        """Take the image of the direction that was opened; find the Ritz pairs."""
        k = self.k
        self.images[k, :] = image
        # Formed both ways, differences of gradients being symmetric only to their noise.
        across = float64_rows_dot(self.basis[: k + 1, :], self.images[k, :])
        along = float64_rows_dot(self.images[: k + 1, :], self.basis[k, :])
        self.matrix[: k + 1, k] = self.matrix[k, : k + 1] = 0.5 * (across + along)
        self.asymmetry = max(self.asymmetry, float(np.max(np.abs(across - along))))
        self.k = k + 1
        self.values, vectors = symmetric_eigen(self.matrix[: k + 1, : k + 1])
        self.largest = max(self.largest, float(np.max(np.abs(self.values))), norm(image))
        weights = vectors[:, 0]
        # N.B. the sign is anyone's, and the run after an escape depends on it.
        self.weights = weights if weights[np.argmax(np.abs(weights))] > 0.0 else -weights

    def residual(self) -> Array:
        """Return ``H z - theta z`` of the lowest Ritz pair."""
        xp, known = namespace_of(self.basis), self.weights.shape[0]
        lowest = from_host(self.weights, self.basis)
        residual = xp.matmul(lowest, self.images[:known, :])
        residual -= float(self.values[0]) * xp.matmul(lowest, self.basis[:known, :])
        return residual

    def lowest(self) -> Array:
        """Return the lowest Ritz vector, of length 1."""
        known = self.weights.shape[0]
        weights = from_host(self.weights, self.basis)
        direction = namespace_of(self.basis).matmul(weights, self.basis[:known, :])
        direction /= norm(direction)
        return direction

    def restart(self) -> None:
        """Keep of a full space its Ritz vector and what that has moved by since the last time.

        The first row is the Ritz vector of then, so the move is what the others give.
        """
        xp, weights, room = namespace_of(self.basis), self.weights, self.room
        move = weights.copy()
        move[0] = 0.0
        move -= (move @ weights) * weights
        length = float(np.linalg.norm(move))
        kept = weights[None, :] if length < 1e-8 else np.stack([weights, move / length])
        k = int(kept.shape[0])
        self.matrix[:k, :k] = kept @ self.matrix[:room, :room] @ kept.T
        rows = from_host(kept, self.basis)
        for start in range(0, int(self.basis.shape[1]), BLOCK):  # in place, for the sake of memory
            part = slice(start, start + BLOCK)
            self.basis[:k, part] = xp.matmul(rows, self.basis[:, part])
            self.images[:k, part] = xp.matmul(rows, self.images[:, part])
        self.k, self.weights = k, np.eye(k)[0]
