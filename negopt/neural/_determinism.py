"""Test before a run whether an objective is deterministic."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from negopt.core.arrays import (
    Array,
    as_vector,
    convert_like,
    copy_of,
    eps_of,
    from_host,
    namespace_of,
    norm,
)
from negopt.diagnostics.derivatives import ObjectiveLike
from negopt.neural._batches import value_and_gradient

T = TypeVar("T")

#: Rounding errors by which sums in another order may differ.
ROUNDINGS = 100.0
#: Above this many the order of sums does not explain a difference.
REORDERED = 1e5
#: Above this relative difference it is not the only explanation, however coarse the type.
CHANGED = 1e-4


def check_deterministic(
    objective: ObjectiveLike, x: Array, *, rtol: float | None = None, products: bool = True
) -> None:
    """Evaluate f, g and one Hessian product twice at a point; raise when they differ.

    A search compares values at different points: with an objective that is not deterministic
    every comparison is meaningless, and the run ends without a visible reason.

    Parameters
    ----------
    objective : object
        With ``fun_and_grad(x) -> (f, g)`` (or ``fun`` and ``grad``) and optionally
        ``hessp(x) -> (p -> H p)``.
    x : array, shape (n,)
        The point, usually the start; not changed.
    rtol : float, optional
        Largest relative difference that is accepted, of norms for g and for the product.
        By default 100 rounding errors of the type of `x` (2e-14 for float64, 1e-5 for
        float32), which sums in varying order stay below; 0 requires equality bit for bit.
    products : bool, default True
        False leaves the Hessian product out, for a method that takes none.

    Raises
    ------
    ValueError
        When one of the three differs: which, by how much, the likely cause and the fix.

    Notes
    -----
    Between the two evaluations there is one at another point close by, so that neither a
    cache nor a state that moves with every evaluation (running statistics) hides anything:
    f and g are evaluated three times, and three products are formed.  Values that are not
    finite both times count as equal: a run reports them.

    **Guarantee** (``tests/neural/test_determinism.py``): noise in any one of the three is
    found and named, in objectives that cache too, and a pure objective passes.

    Examples
    --------
    >>> import numpy as np
    >>> from negopt.neural import MLP, MLPObjective, check_deterministic
    >>> objective = MLPObjective(MLP([2, 3, 1]), np.eye(2), [0.0, 1.0])
    >>> check_deterministic(objective, objective.x0(rng=0))
    """
    x = as_vector(x)
    eps = eps_of(x)
    allowed = ROUNDINGS * eps if rtol is None else float(rtol)
    if not allowed >= 0.0:
        raise ValueError(f"rtol={rtol!r}: must be a number of at least 0, or None.")
    xp = namespace_of(x)
    elsewhere = x + 1e-3 * (1.0 + xp.abs(x))  # another point to a cache, yet close by

    (f, g), (f2, g2) = _twice(lambda at: value_and_gradient(objective, at), x, elsewhere)
    _compare("the value f", np.array([f]), np.array([f2]), allowed, eps)
    _compare("the gradient g", g, g2, allowed, eps)
    if products and hasattr(objective, "hessp"):
        v = from_host(np.random.default_rng(0).standard_normal(int(x.shape[0])), x)

        def product(at: Array) -> Array:
            return convert_like(objective.hessp(at)(xp.asarray(v, copy=True)), x, "hessp")

        _compare("the Hessian product H v", *_twice(product, x, elsewhere), allowed, eps)


def _twice(evaluate: Callable[[Array], T], x: Array, elsewhere: Array) -> tuple[T, T]:
    first = evaluate(copy_of(x))
    evaluate(copy_of(elsewhere))
    return first, evaluate(copy_of(x))


def _compare(what: str, first: Array, second: Array, allowed: float, eps: float) -> None:
    """Raise when two vectors differ by more than `allowed`, relative to the longer one."""
    xp = namespace_of(first, second)
    if bool(xp.all((first == second) | (xp.isnan(first) & xp.isnan(second)))):
        return
    sizes = norm(first), norm(second)
    finite = all(map(math.isfinite, sizes))
    difference = norm(first - second) / max(sizes) if finite else math.inf
    if difference <= allowed:
        return
    causes = []
    if difference <= REORDERED * eps:
        causes.append(
            "kernels that sum in varying order: ask for deterministic ones "
            "(torch.use_deterministic_algorithms(True); XLA's flag "
            "--xla_gpu_deterministic_ops=true), use float64, or pass a larger rtol if the run may "
            "live with it."
        )
    if difference > min(REORDERED * eps, CHANGED):
        causes.append(
            "dropout without a fixed mask (negopt.neural.torch keeps one; elsewhere switch to "
            "evaluation mode or fix the key), batch norm or other running statistics that advance "
            "with every evaluation (evaluation mode, or an objective that freezes them), or data "
            "drawn or augmented anew each time (draw the batch once and pass it with "
            "on(inputs, targets))."
        )
    raise ValueError(
        f"{what} differs between two evaluations at the same point, by {difference:.2g} relative "
        f"(allowed {allowed:.2g}): the objective is not deterministic. Likely causes: "
        f"{' Or '.join(causes)}"
    )
