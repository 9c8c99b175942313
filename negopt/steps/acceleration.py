"""Acceleration of vector sequences: Wynn's epsilon algorithm, plain and Sablonnière's."""

from __future__ import annotations

from collections.abc import Sequence

from negopt._array import Array, dot, eps_of, scalars

__all__ = ["wynn_epsilon"]


def wynn_epsilon(partial_sums: Sequence[Array], *, sablonniere: bool = False) -> Array:
    """Return the vector epsilon-algorithm's estimate of the limit.

    Parameters
    ----------
    partial_sums : sequence of 2N + 1 arrays, shape (n,)
        The last partial sums, oldest first.
    sablonniere : bool, default False
        Multiply column c by ``floor(c/2) + 1`` (meant for logarithmic convergence).

    Returns
    -------
    array, shape (n,)
        The entry of column 2N.

    Notes
    -----
    ``eps_m^(c) = eps_{m+1}^(c-2) + f D / ||D||^2`` with ``D = eps_{m+1}^(c-1) -
    eps_m^(c-1)`` and the Samelson inverse of vectors.  N.B. a sequence that has
    converged makes D zero: such an entry repeats its predecessor instead of
    dividing.  Exact at N = 1 for a geometric sequence
    (``tests/steps/test_acceleration.py``).

    References
    ----------
    Wynn (1962), Mathematics of Computation 16, 301-322,
    doi:10.1090/S0025-5718-1962-0145647-X.
    """
    if len(partial_sums) % 2 == 0:
        raise ValueError(
            f"wynn_epsilon needs an odd number of partial sums; got {len(partial_sums)}."
        )
    current = list(partial_sums)
    previous = [0.0 * s for s in partial_sums] + [0.0 * partial_sums[0]]
    eps = eps_of(partial_sums[0])
    for column in range(1, len(partial_sums)):
        factor = float(column // 2 + 1) if sablonniere else 1.0
        following = []
        for m in range(len(current) - 1):
            difference = current[m + 1] - current[m]
            square, size = scalars(dot(difference, difference), dot(current[m], current[m]))
            if square <= eps * eps * size or square == 0.0:
                # Even columns estimate the limit: keep the estimate that has converged.
                if column % 2 == 1:
                    return current[-1]
                following.append(previous[m + 1])
                continue
            following.append(previous[m + 1] + (factor / square) * difference)
        previous, current = current, following
    return current[-1]
