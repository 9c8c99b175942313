"""Running moments of the gradient: the diagonal scaling of Adam."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from negopt.core.arrays import Array, dot, namespace_of, scalars
from negopt.core.checks import SQUARES, VECTOR
from negopt.core.options import check_choice, check_number, option
from negopt.core.types import Iterate, Outcome, saved


@saved
@dataclass(slots=True)
class MomentMemory:
    """Moments of the gradients at the points left behind."""

    #: shape (n,): running means of g and of its entries' squares; None before the first step
    first: Array | None = field(default=None, metadata={"check": VECTOR})
    second: Array | None = field(default=None, metadata={"check": SQUARES})
    #: shape (n,): largest second moment so far (AMSGrad)
    largest: Array | None = field(default=None, metadata={"check": SQUARES})
    count: int = 0  #: gradients in the means


@dataclass(frozen=True, slots=True)
class MomentOperator:
    """``B = diag(sqrt(v) + epsilon)`` with the mean gradient `mean`, both unbiased."""

    mean: Array
    diagonal: Array
    learns: bool = field(default=True, init=False)

    def matvec(self, v: Array) -> Array:
        """Return ``B v``."""
        return self.diagonal * v


@dataclass(frozen=True)
class GradientMoments:
    """First and second moment of the gradient, unbiased.

    Parameters
    ----------
    beta1, beta2 : float, default 0.9, 0.999
        Decay of the means of g and of its squares, the defaults of Kingma and Ba.
    epsilon : float, default 1e-8
        Added to the root of the second moment, theirs too.
    amsgrad : bool, default False
        Divide by the largest second moment so far (Reddi, Kale and Kumar).

    Notes
    -----
    At the t-th point

    1. ``m <- beta1 m + (1 - beta1) g``, ``v <- beta2 v + (1 - beta2) g * g``;
    2. ``B = diag(sqrt(v / (1 - beta2^t)) + epsilon)``, the mean ``m / (1 - beta1^t)``.

    **Guarantee**: the recursion is that of ``torch.optim.Adam``, to rounding
    (``tests/guarantees/test_baselines.py``).

    References
    ----------
    Kingma and Ba (2015), Adam: a method for stochastic optimization, arXiv:1412.6980.
    Reddi, Kale and Kumar (2018), On the convergence of Adam and beyond, arXiv:1904.09237.
    """

    #: Whether the change of g along a step is learnt from.
    secant: ClassVar[bool] = False

    beta1: float = option(0.9, "decay of the mean gradient")
    beta2: float = option(0.999, "decay of the mean squares")
    epsilon: float = option(1e-8, "added to the root mean square")
    amsgrad: bool = option(False, "divide by the largest mean square")

    def __post_init__(self) -> None:
        check_number("beta1", self.beta1, 0.0, 1.0, open_high=True)
        check_number("beta2", self.beta2, 0.0, 1.0, open_high=True)
        check_number("epsilon", self.epsilon, open_low=True, open_high=True)
        check_choice("amsgrad", self.amsgrad, (True, False))

    def init(self, x0: Array) -> MomentMemory:
        """Return an empty memory."""
        return MomentMemory()

    def model(self, memory: MomentMemory, objective: object, iterate: Iterate) -> MomentOperator:
        """Return the moments with the gradient at `iterate` among them."""
        first, second, largest = self._moments(memory, iterate.g)
        count = memory.count + 1
        root = namespace_of(second).sqrt(second if largest is None else largest)
        spread = root / math.sqrt(1.0 - self.beta2**count)
        return MomentOperator(first / (1.0 - self.beta1**count), spread + self.epsilon)

    def _moments(self, memory: MomentMemory, g: Array) -> tuple[Array, Array, Array | None]:
        """Return the moments, and the largest second one where it is kept, with g among them."""
        with np.errstate(over="ignore", under="ignore"):
            first, second = (1.0 - self.beta1) * g, (1.0 - self.beta2) * (g * g)
        if memory.first is not None and memory.second is not None:
            first = self.beta1 * memory.first + first
            second = self.beta2 * memory.second + second
        if not self.amsgrad:
            return first, second, None
        old = memory.largest
        return first, second, second if old is None else namespace_of(g).maximum(second, old)

    def update(
        self, memory: MomentMemory, s: Array, y: Array, outcome: Outcome | None = None
    ) -> bool:
        """Count the gradient at the point that was left."""
        ss, yy = scalars(dot(s, s), dot(y, y))
        if not (0.0 < ss < math.inf and math.isfinite(yy)):
            return False
        if outcome is not None and outcome.start is not None:
            moments = self._moments(memory, outcome.start.g)
            memory.first, memory.second, memory.largest = moments
            memory.count += 1
        return True

    def reset(self, memory: MomentMemory) -> bool:
        """Forget the moments; a run at a fixed rate that has failed is not begun again."""
        memory.first = memory.second = memory.largest = None
        memory.count = 0
        return False
