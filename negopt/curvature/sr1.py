"""Dense SR1 on the inverse Hessian, kept indefinite where it was measured so."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from negopt._array import Array, device_of, dot, namespace_of, scalars
from negopt._options import check_choice, check_number
from negopt._types import Iterate, saved

__all__ = ["SR1", "DenseInverse", "InverseMemory"]


@saved
@dataclass(slots=True)
class InverseMemory:
    """The inverse model H, shape (n, n), or None before the first pair."""

    matrix: Array | None = None


class DenseInverse:
    """An operator known through its inverse H."""

    learns = True

    def __init__(self, memory: InverseMemory, first: float) -> None:
        self.matrix = memory.matrix
        self._eigen: Any = None
        self.first = first  #: H is this multiple of the identity before the first pair

    def solve(self, v: Array, *, absolute: bool, floor: float = 1e-15) -> Array:
        """Return ``H v``, or ``|H| v`` by an eigendecomposition, made once."""
        if self.matrix is None:
            return self.first * v
        if not absolute:
            return self.matrix @ v
        xp = namespace_of(v)
        if self._eigen is None:
            self._eigen = xp.linalg.eigh(self.matrix)
        values, vectors = self._eigen
        size = xp.abs(values)
        least = floor * scalars(xp.max(size))[0]
        size = xp.where(size > least, size, xp.full_like(size, least))
        return vectors @ (size * (xp.matrix_transpose(vectors) @ v))


@dataclass(frozen=True)
class SR1:
    """Symmetric rank-one updates of the dense inverse Hessian.

    Parameters
    ----------
    h0 : {"scaled", "identity"}, default "scaled"
        After the first step H is set to ``0.9 s'y/y'y`` times the identity
        (``||s||/||y||`` when ``s'y <= 0``).  N.B. exactly ``s'y/y'y`` would make the
        first denominator zero.  ``"identity"`` is the setting of Shea and Schmidt.
    skip : float, default 1e-12
        Skip when ``|v'y| < skip ||v|| ||y||`` with ``v = s - Hy``.  The customary 1e-8
        skips for ever on badly scaled problems (Powell's).

    References
    ----------
    Conn, Gould and Toint (1991), Mathematical Programming 50, 177-195,
    doi:10.1007/BF01594934.
    """

    h0: str = field(default="scaled", metadata={"doc": "'scaled' or 'identity'"})
    skip: float = field(default=1e-12, metadata={"doc": "relative threshold that skips an update"})

    def __post_init__(self) -> None:
        check_choice("h0", self.h0, ("scaled", "identity"))
        check_number("skip", self.skip, 0.0, 1.0, open_high=True)

    def init(self, x0: Array) -> InverseMemory:
        """Return an empty memory."""
        return InverseMemory()

    def operator(self, memory: InverseMemory, objective: Any, iterate: Iterate) -> DenseInverse:
        """Return the operator of the current inverse."""
        # Without a pair, a step of length 1 whatever the scale of f.
        unit = self.h0 == "scaled" and iterate.gnorm > 0.0
        return DenseInverse(memory, 1.0 / iterate.gnorm if unit else 1.0)

    def update(self, memory: InverseMemory, s: Array, y: Array) -> bool:
        """Apply the update ``H + v v' / v'y``; return False when it was skipped."""
        xp = namespace_of(s)
        ss, yy, sy = scalars(dot(s, s), dot(y, y), dot(s, y))
        if not (0.0 < ss < math.inf and 0.0 < yy < math.inf and math.isfinite(sy)):
            return False
        if memory.matrix is None:
            scale = 1.0
            if self.h0 == "scaled":
                scale = 0.9 * sy / yy if sy > 1e-12 * math.sqrt(ss * yy) else math.sqrt(ss / yy)
            eye = xp.eye(s.shape[0], dtype=s.dtype, device=device_of(s))
            memory.matrix = scale * eye
        v = s - memory.matrix @ y
        vv, vy = scalars(dot(v, v), dot(v, y))
        if abs(vy) < self.skip * math.sqrt(vv * yy) or vy == 0.0:
            return False
        if math.sqrt(vv) <= 1e-12 * math.sqrt(ss) or not math.isfinite(vv / vy):
            return False
        u = v / math.sqrt(abs(vy))  # N.B. v v'/vy in one piece would lose exact symmetry
        update = u[:, None] * u[None, :]
        memory.matrix = memory.matrix + update if vy > 0.0 else memory.matrix - update
        return True

    def reset(self, memory: InverseMemory) -> bool:
        """Forget the matrix."""
        had = memory.matrix is not None
        memory.matrix = None
        return had
