"""No curvature, or one number of it: what gradient descent believes about the Hessian."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from negopt.core.arrays import Array, dot, scalars
from negopt.core.checks import POSITIVE, SCALE, Reals
from negopt.core.options import check_choice, option
from negopt.core.types import Iterate, Outcome, saved


@dataclass(frozen=True, slots=True)
class IdentityOperator:
    """``B = scale I``."""

    scale: float = 1.0
    learns: bool = field(default=True, init=False)

    def matvec(self, v: Array) -> Array:
        """Return ``B v``."""
        return self.scale * v

    def solve(self, v: Array, *, absolute: bool = False, floor: float = 1e-15) -> Array:
        """Return ``B^-1 v``."""
        return v / self.scale


@saved
@dataclass(slots=True)
class NoMemory:
    """Nothing is kept."""


@dataclass(frozen=True)
class NoCurvature:
    """``B = I``: the step is the negative gradient, whatever f does."""

    #: Whether the change of g along a step is learnt from.
    secant: ClassVar[bool] = False

    def init(self, x0: Array) -> NoMemory:
        """Return an empty memory."""
        return NoMemory()

    def model(self, memory: NoMemory, objective: object, iterate: Iterate) -> IdentityOperator:
        """Return the identity."""
        return IdentityOperator()

    def update(self, memory: NoMemory, s: Array, y: Array, outcome: Outcome | None = None) -> bool:
        """Nothing to learn; return whether the pair is one at all."""
        return _products(s, y) is not None

    def reset(self, memory: NoMemory) -> bool:
        """Nothing to forget."""
        return False


#: Steps whose curvatures compete for the largest, and the cosine squared of s and y
#: below which it is taken (the authors of the rule have 5 and 0.8; 0.5 cost a tenth less).
RECENT = 5
ALIGNED = 0.5


@saved
@dataclass(slots=True)
class ScaleMemory:
    """The curvature to step with (0 before the first step), those of recent steps."""

    scale: float = field(default=0.0, metadata={"check": SCALE})
    recent: list[float] = field(default_factory=list, metadata={"check": Reals(POSITIVE)})


@dataclass(frozen=True)
class ScaledIdentity:
    """``B = gamma I`` with a curvature measured along recent steps.

    Parameters
    ----------
    scaling : {"spectral", "none"}, default "spectral"
        ``"spectral"``: an adaptive Barzilai-Borwein rule; ``"none"``: ``gamma = 1``.

    Notes
    -----
    The spectral rule, with the last step s and the gradient's change y:

    1. ``gamma = s'y / s's`` when ``(s'y)^2 > s's y'y / 2``: s is close to an
       eigenvector, and the gradient along it goes in one long step;
    2. else the largest ``y'y / s'y`` of the last five steps with ``s'y > 0``: short steps
       take out the directions of large curvature first;
    3. ``||y|| / ||s||`` where ``s'y <= 0``; before the first step ``||g||``, so that it has
       length 1.

    On a quadratic with eigenvalues in [a, b], a > 0, gamma lies in [a, b]
    (``tests/curvature/test_identity.py``).

    References
    ----------
    Barzilai and Borwein (1988), IMA Journal of Numerical Analysis 8, 141-148,
    doi:10.1093/imanum/8.1.141.
    Frassoldati, Zanni and Zanghirati (2008), New adaptive stepsize selections in gradient
    methods, Journal of Industrial and Management Optimization 4, 299-312,
    doi:10.3934/jimo.2008.4.299.
    """

    scaling: str = option("spectral", "'spectral' or 'none'")

    def __post_init__(self) -> None:
        check_choice("scaling", self.scaling, ("spectral", "none"))

    def init(self, x0: Array) -> ScaleMemory:
        """Return an empty memory."""
        return ScaleMemory()

    def model(self, memory: ScaleMemory, objective: object, iterate: Iterate) -> IdentityOperator:
        """Return the multiple of the identity."""
        if self.scaling == "none":
            return IdentityOperator()
        scale = memory.scale or iterate.gnorm
        return IdentityOperator(scale if 0.0 < scale < math.inf else 1.0)

    def update(
        self, memory: ScaleMemory, s: Array, y: Array, outcome: Outcome | None = None
    ) -> bool:
        """Measure the curvature along `s`."""
        products = _products(s, y)
        if products is None:
            return False
        if self.scaling == "none":
            return True
        ss, yy, sy = products
        if yy == 0.0:  # f is linear there: look further
            if outcome is not None and outcome.start is not None:
                memory.scale = 0.1 * outcome.start.gnorm / math.sqrt(ss)
            return True
        cosine = sy / (math.sqrt(ss) * math.sqrt(yy))
        if not cosine > 1e-12:
            memory.scale = math.sqrt(yy / ss)
            return True
        memory.recent = [*memory.recent, yy / sy][-RECENT:]
        memory.scale = sy / ss if cosine * cosine > ALIGNED else max(memory.recent)
        return True

    def reset(self, memory: ScaleMemory) -> bool:
        """Forget the curvature."""
        had = memory.scale != 0.0
        memory.scale, memory.recent = 0.0, []
        return had


def _products(s: Array, y: Array) -> tuple[float, float, float] | None:
    """Return ``s's, y'y, s'y``, or None for a pair that says nothing."""
    ss, yy, sy = scalars(dot(s, s), dot(y, y), dot(s, y))
    good = 0.0 < ss < math.inf and yy < math.inf and math.isfinite(sy)
    return (ss, yy, sy) if good else None
