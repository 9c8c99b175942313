"""Acceleration of vector sequences: epsilon algorithms, Shanks, Levin's t, Padé."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np

from negopt.core.arrays import (
    Array,
    FloatArray,
    dot,
    eps_of,
    float64_rows_dot,
    namespace_of,
    scalars,
)
from negopt.core.options import check_choice

#: Names that `accelerate` takes.
ACCELERATORS = ("wynn", "sablonniere", "shanks", "levin-t", "pade")


def _scale_free(transform: Callable[..., Array]) -> Callable[..., Array]:
    """Hand over sums of size 1: inverses and squares of small ones leave the type's range.

    The scale is a power of two, so a sum that is handed back is the same to the last bit.
    """

    @functools.wraps(transform)
    def scaled(sums: Sequence[Array], **options: bool | int) -> Array:
        xp = namespace_of(*sums)
        size = max(scalars(*(xp.max(xp.abs(s)) for s in sums)), key=lambda v: (v != v, v))
        if not (math.isfinite(size) and size > 0.0):
            return sums[-1]
        scale = 2.0 ** math.frexp(size)[1]
        return scale * transform([s / scale for s in sums], **options)

    return scaled


def sums_needed(accelerator: str, order: int) -> int:
    """Return how many of the last partial sums an acceleration of `order` uses."""
    if order == 0:
        return 1
    return order + 2 if accelerator == "levin-t" else 2 * order + 1


def accelerate(sums: Sequence[Array], accelerator: str, *, first: int = 0) -> Array:
    """Return the limit of `sums` as one of the accelerators estimates it.

    These are the last partial sums, oldest first, whose number gives the order (`sums_needed`).
    The transformations are `wynn_epsilon` with or without Sablonnière's factor,
    `topological_shanks`, `hybrid_pade`, and `levin_t`, for which `first` is the index of the
    oldest sum in its series.

    **Guarantee** (``tests/steps/test_acceleration.py``): ``"wynn"``, ``"shanks"`` and
    ``"pade"`` are exact for ``s_k = S + sum_{i <= N} a_i r_i^k``, ``"levin-t"`` at N = 1,
    ``"sablonniere"`` at N = 1 for ``S + a / (k + b)``.  All commute with shifts, scalings
    and rotations, and give the last sum where a sequence has converged.
    """
    check_choice("accelerator", accelerator, ACCELERATORS)
    if accelerator in ("wynn", "sablonniere"):
        return wynn_epsilon(sums, sablonniere=accelerator == "sablonniere")
    if accelerator == "shanks":
        return topological_shanks(sums)
    return hybrid_pade(sums) if accelerator == "pade" else levin_t(sums, first=first)


@_scale_free
def wynn_epsilon(sums: Sequence[Array], *, sablonniere: bool = False) -> Array:
    """Return the vector epsilon-algorithm's estimate of the limit, from 2N + 1 sums.

    `sablonniere` multiplies column c by ``floor(c/2) + 1``, which is meant for logarithmic
    convergence: at N = 1 it is exact for ``S + a / (k + b)``, where the plain algorithm halves the
    error.  A geometric sequence it overshoots by as much as the middle sum falls short.

    Notes
    -----
    ``eps_m^(c) = eps_{m+1}^(c-2) + f D / ||D||^2`` with ``D = eps_{m+1}^(c-1) -
    eps_m^(c-1)`` and the Samelson inverse of vectors.  N.B. a sequence that has
    converged makes D zero: such an entry repeats its predecessor instead of
    dividing.

    References
    ----------
    Wynn (1962), Mathematics of Computation 16, 301-322,
    doi:10.1090/S0025-5718-1962-0145647-X.
    Sablonnière (1991), Comparison of four algorithms accelerating the convergence of a
    subset of logarithmic fixed point sequences, Numerical Algorithms 1, 177-197.
    """
    _order(sums)
    current = list(sums)
    previous = [0.0 * s for s in sums] + [0.0 * sums[0]]
    eps = eps_of(sums[0])
    for column in range(1, len(sums)):
        factor = float(column // 2 + 1) if sablonniere else 1.0
        differences = _differences(current)
        sizes = scalars(*(dot(d, d) for d in differences), *(dot(c, c) for c in current))
        following = []
        for m, difference in enumerate(differences):
            square = sizes[m]
            if not square > eps * eps * sizes[len(differences) + m]:
                # Even columns estimate the limit: keep the estimate that has converged.
                if column % 2 == 1:
                    return current[-1]
                following.append(previous[m + 1])
                continue
            following.append(previous[m + 1] + (factor / square) * difference)
        previous, current = current, following
    return current[-1]


@_scale_free
def topological_shanks(sums: Sequence[Array]) -> Array:
    """Return Brezinski's topological Shanks transformation, ``sum q_j s_{N+j} / sum q_j``.

    Notes
    -----
    With ``D_i = s_{i+1} - s_i`` and the moments ``mu_i = D_0'D_i`` the weights solve the
    Hankel system ``sum_j q_j mu_{i+j} = 0`` for i = 0 ... N - 1.  For n = 1 it is the
    scalar Shanks transformation ``e_N``.

    For the series of ``sfn_series`` with a scaling ``V >= lambda_max(H^2)`` the moments
    are those of a positive measure, hence every Hankel determinant is positive and the
    transformation exists.  N.B. where the name Shanks stands for what Wynn's algorithm
    computes, that is ``"wynn"`` here.

    References
    ----------
    Brezinski and Redivo-Zaglia (2014), The simplified topological epsilon-algorithms,
    SIAM Journal on Scientific Computing 36, A2227-A2247, doi:10.1137/140957044.
    """

    def weigh(differences: Sequence[Array], order: int) -> FloatArray:
        moments = np.asarray(scalars(*(dot(differences[0], d) for d in differences)))
        hankel = np.array([moments[i : i + order + 1] for i in range(order)])
        older = _solve(hankel[:, :order], -hankel[:, order], eps_of(sums[0]))
        return np.append(older, 1.0)

    return _weighted(sums, weigh)


@_scale_free
def hybrid_pade(sums: Sequence[Array]) -> Array:
    """Return a hybrid vector Padé approximant of the series at 1, ``sum q_j s_{N+j} / sum q_j``.

    Notes
    -----
    ``f(z) = s_0 + sum D_k z^{k+1}`` is replaced by P(z) / Q(z) with a vector P and a scalar
    Q of degree N, the same for all entries.  The coefficients of ``Q f`` that should
    vanish are the residuals ``r_i = sum_j q_j D_{i+j}``; with ``q_0 = 1`` the others minimise
    ``sum_i ||r_i||^2``.  At N = 1 this is ``s_1 - D_1 (D_0'D_1) / (D_1'(D_1 - D_0))``.

    References
    ----------
    Graves-Morris (1994), A review of Padé methods for the acceleration of convergence of
    a sequence of vectors, Applied Numerical Mathematics 15, 153-174.
    """

    def weigh(differences: Sequence[Array], order: int) -> FloatArray:
        xp = namespace_of(sums[0])
        rows = xp.stack(list(differences))
        gram = float64_rows_dot(rows, xp.matrix_transpose(rows))
        normal = sum(gram[i : i + order + 1, i : i + order + 1] for i in range(order))
        assert isinstance(normal, np.ndarray)
        newer = _solve(normal[1:, 1:], -normal[1:, 0], eps_of(sums[0]))
        return np.append(1.0, newer)

    return _weighted(sums, weigh)


@_scale_free
def levin_t(sums: Sequence[Array], *, first: int = 0) -> Array:
    """Return Levin's t-transformation of order N.

    Notes
    -----
    It is the sum of ``(-1)^j binom(N, j) (k_j + 1)^(N-1) s_j / omega_j`` over the same sum without
    ``s_j``, of N + 2 partial sums, the oldest of which has the index `first`.

    The estimate omega_j of the remainder is the last term added, measured along the newest
    one: ``D_{j-1}'D_N``.  It keeps its sign, as Levin's scalar one does, and does not jump
    from one entry to another.  Exact for ``s_j = S + omega_j (a_0 + a_1 / (k_j + 1) + ...)``
    with N terms in the brackets.

    References
    ----------
    Levin (1973), International Journal of Computer Mathematics 3, 371-388,
    doi:10.1080/00207167308803075.
    """
    order = len(sums) - 2
    if order < 1 or first < 0:
        if len(sums) == 1:
            return sums[0]
        raise ValueError(
            f"levin_t needs three or more partial sums and first >= 0; got {len(sums)} sums "
            f"and first={first!r}."
        )
    differences = _differences(sums)
    if _converged(sums, differences):
        return sums[-1]
    omega = np.asarray(scalars(*(dot(d, differences[-1]) for d in differences)))
    if np.any(omega == 0.0):
        return sums[-1]
    index = first + 2.0 + np.arange(order + 1)
    binomial = np.array([(-1.0) ** j * math.comb(order, j) for j in range(order + 1)])
    weights = binomial * (index / index[-1]) ** (order - 1) * (omega[-1] / omega)
    return _extrapolate(sums[1:], weights)


def _order(sums: Sequence[Array]) -> int:
    if len(sums) % 2 == 0:
        raise ValueError(f"this acceleration needs an odd number of partial sums; got {len(sums)}.")
    return len(sums) // 2


def _differences(sums: Sequence[Array]) -> list[Array]:
    return [sums[k + 1] - sums[k] for k in range(len(sums) - 1)]


def _converged(sums: Sequence[Array], differences: Sequence[Array]) -> bool:
    """Tell whether the last sum differs from the one before by rounding only, or is not finite."""
    square, size = scalars(dot(differences[-1], differences[-1]), dot(sums[-1], sums[-1]))
    return not square > eps_of(sums[0]) ** 2 * size


def _weighted(sums: Sequence[Array], weigh: Callable[[Sequence[Array], int], FloatArray]) -> Array:
    """Return the mean of the newer sums with the weights that `weigh` makes of the differences."""
    order = _order(sums)
    differences = _differences(sums)
    if order == 0 or _converged(sums, differences):
        return sums[-1]
    return _extrapolate(sums[order:], weigh(differences, order))


def _solve(matrix: FloatArray, right: FloatArray, eps: float) -> FloatArray:
    """Return the shortest least-squares solution: fewer ratios than asked for are no error."""
    size = float(np.max(np.abs(matrix)))
    if not (math.isfinite(size) and size > 0.0 and np.all(np.isfinite(right))):
        return np.zeros(len(right))
    cut = max(eps, len(right) * 2.3e-16)
    solution = np.linalg.lstsq(matrix / size, right / size, rcond=cut)[0]
    return np.asarray(solution, dtype=np.float64)


def _extrapolate(sums: Sequence[Array], weights: FloatArray) -> Array:
    """Return ``sum w_j s_j / sum w_j``, or the last sum where that says nothing.

    Written as the last sum less multiples of the differences, which are small where the
    weights are large and of both signs.
    """
    total = float(np.sum(weights))
    if not abs(total) > 1e-14 * float(np.max(np.abs(weights))):  # nan too
        return sums[-1]
    shares = np.cumsum(weights / total)[:-1]
    if not np.all(np.isfinite(shares)):
        return sums[-1]
    limit = sums[-1]
    for share, difference in zip(shares, _differences(sums), strict=True):
        limit = limit - float(share) * difference
    return limit
