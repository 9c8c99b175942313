"""Mini-batches: which samples they hold, and the objective over them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from negopt.core.arrays import Array, convert_like, scalars
from negopt.diagnostics.derivatives import ObjectiveLike
from negopt.neural._cache import Indices
from negopt.neural._trees import rows_of


@dataclass(frozen=True)
class Plan:
    """Which samples are in which batch: a function of the seed alone, not of earlier batches."""

    samples: int
    size: int  #: of a batch; the last one of an epoch may have fewer samples, or one more
    shared: int = 0  #: samples that a batch has in common with the next one of its epoch
    hessian: int | None = None  #: samples of a batch for Hessian products; None takes all
    seed: int = 0

    @property
    def description(self) -> str:
        """All but the seed, in words."""
        text = f"{self.size} of {self.samples} samples"
        if self.shared:
            text += f", {self.shared} shared"
        return text if self.hessian is None else f"{text}, products on {self.hessian}"

    @property
    def count(self) -> int:
        """Batches of an epoch; each has more samples than it shares."""
        stride = self.size - self.shared
        count = max(1, math.ceil((self.samples - self.shared) / stride))
        left = self.samples - stride * (count - 1)
        # N.B. batch norm in training mode cannot take one sample alone.
        return count - 1 if left == 1 and self.size > 1 else count

    def batch(self, epoch: int, index: int) -> Indices:
        """Return the samples of a batch, in random order."""
        return _order(self.seed, epoch, self.samples)[self.part(index)]

    def part(self, index: int) -> slice:
        """Return the positions of a batch in an order of all samples."""
        start = index * (self.size - self.shared)
        return slice(start, None if index + 1 >= self.count else start + self.size)

    def overlap(self, epoch: int, index: int) -> Indices | None:
        """Return what a batch shares with the next one; None for the last of an epoch."""
        if self.shared == 0 or index + 1 >= self.count:
            return None
        start = index * (self.size - self.shared)
        order = _order(self.seed, epoch, self.samples)
        return order[start + self.size - self.shared : start + self.size]


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, samples: int) -> Indices:
    """Return the order of an epoch, from a random stream of its own."""
    return np.random.default_rng([seed, epoch]).permutation(samples)


def value_and_gradient(objective: ObjectiveLike, x: Array) -> tuple[float, Array]:
    """Return f and g; g is a copy, in case the objective reuses one buffer."""
    if hasattr(objective, "fun_and_grad"):
        f, g = objective.fun_and_grad(x)
    else:
        f, g = objective.fun(x), objective.grad(x)
    return scalars(f)[0], convert_like(g, x, "grad")


class Sampled:
    """The objective of one batch: values on all its samples, products on some of them.

    It has ``hessp`` and ``fun_and_grad`` where the network's objective has them.
    """

    def __init__(
        self, values: ObjectiveLike, products: ObjectiveLike, size: int, products_size: int
    ) -> None:
        self.values, self.size, self.products_size = values, size, products_size
        self.fun, self.grad = values.fun, values.grad
        if hasattr(values, "fun_and_grad"):
            self.fun_and_grad = values.fun_and_grad
        if hasattr(products, "hessp"):
            self.hessp = products.hessp

    def commit(self, x: Array) -> None:
        """Let buffers of the network advance, where it has any."""
        if hasattr(self.values, "commit"):
            self.values.commit(x)


class Feed:
    """Objectives over the batches of a plan.

    They are made by the objective's ``take(indices)``, or by its ``on(inputs, targets)`` from
    the data.
    """

    def __init__(self, objective: ObjectiveLike, data: Sequence[object] | None, plan: Plan) -> None:
        self.data, self.plan = data, plan
        self._take: Callable[[Indices], ObjectiveLike] | None = None
        if hasattr(objective, "take"):
            self._take = objective.take
        else:
            self._on = on_of(objective, "batch_size")

    def batch(self, epoch: int, index: int) -> Sampled:
        """Return the objective of a batch."""
        rows = self.plan.batch(epoch, index)
        values = products = self._over(rows, epoch, index)
        some = rows.size
        if self.plan.hessian is not None and self.plan.hessian < some:
            some = self.plan.hessian
            products = self._over(rows[:some], epoch, index)
        return Sampled(values, products, int(rows.size), int(some))

    def overlap(self, epoch: int, index: int) -> Sampled | None:
        """Return the objective of what a batch shares with the next one."""
        rows = self.plan.overlap(epoch, index)
        if rows is None:
            return None
        values = self._over(rows, epoch, index)
        return Sampled(values, values, int(rows.size), int(rows.size))

    def whole(self, x: Array) -> tuple[float, Array]:
        """Return the value and the gradient over all data, formed a batch at a time."""
        n = self.plan.samples
        value, gradient = 0.0, None
        plan = replace(self.plan, shared=0)
        for index in range(plan.count):
            rows = np.arange(n)[plan.part(index)]
            f, g = value_and_gradient(self._over(rows, 0, int(rows[0])), x)
            share = rows.size / n
            value += share * f
            gradient = share * g if gradient is None else gradient + share * g
        return value, gradient

    def _over(self, rows: Indices, *place: int) -> ObjectiveLike:
        if self._take is not None:
            return self._take(rows)
        # Of dropout: a mask belongs to a batch, also when the run is resumed.
        seed = int(np.random.default_rng([self.plan.seed, *place]).integers(2**62))
        return on(self._on, [rows_of(part, rows) for part in self.data or ()], seed=seed)


def on_of(objective: ObjectiveLike, name: str) -> Callable[..., ObjectiveLike]:
    """Return the method ``on`` of an objective, which the argument `name` requires."""
    if hasattr(objective, "on"):
        method: Callable[..., ObjectiveLike] = objective.on
        return method
    raise TypeError(
        f"{name}= needs an objective with on(inputs, targets); a {type(objective).__name__} "
        "has none."
    )


def on(
    method: Callable[..., ObjectiveLike], data: Sequence[object], **extra: object
) -> ObjectiveLike:
    """Return the objective over other data, passed those of `extra` that its method takes."""
    known = inspect.signature(method)
    try:
        known.bind(*data)
    except TypeError:
        raise TypeError(
            f"the data have {len(data)} parts, but this objective takes them as "
            f"on({', '.join(known.parameters)}): pass a tuple of as many."
        ) from None
    return method(*data, **{k: v for k, v in extra.items() if k in known.parameters})
