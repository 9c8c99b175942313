"""Saddle-free Newton steps ``-(|H| + lambda I)^-1 g`` from Hessian products."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from negopt.algebra.eigen import singular_values, symmetric_eigen
from negopt.algebra.krylov import LanczosBasis
from negopt.core.arrays import Array, FloatArray, dot, eps_of, norm, scalars
from negopt.core.bounds import Bound, damping_in
from negopt.core.options import check_choice, check_integer, check_number, option
from negopt.core.protocols import KrylovModel
from negopt.core.types import Iterate, Step
from negopt.steps.acceleration import ACCELERATORS, accelerate, sums_needed

#: Products of the estimate of the largest |eigenvalue|, and what its square is multiplied by.
LANCZOS_PRODUCTS, POWER_PRODUCTS, MARGIN = 5, 10, 1.1

#: V of the source document before its first step.
SOURCE_SCALE = 100.0


def series_coefficients(count: int, d: float) -> FloatArray:
    """Return c_0 ... c_{count-1} of ``1 / (d + sqrt(1 - z)) = sum c_k z^k``.

    d is the relative damping, ``d >= 0``.

    ``(1 - d^2) c_k = c_{k-1} + b_k`` with b_k the coefficients of ``sqrt(1 - z)``.
    Run forwards, an error grows as ``|1 - d^2|^-k`` (in single precision c_9 has no digit
    left at d = 0.9, and d = 1 divides by zero); where that would cost more than two digits
    the recurrence runs backwards from a start that is forgotten.  All c_k are positive, the
    function being one of Stieltjes, and the series converges for ``|z| < 1`` whatever d is.
    """
    if not 0.0 <= d < math.inf:
        raise ValueError(f"d={d!r}: the relative damping of the series must be finite and >= 0.")
    shrink = 1.0 - d * d
    backward = abs(shrink) < 1.0 and abs(shrink) ** count < 1e-2
    total = count
    if backward:
        total += math.ceil(math.log(1e-18) / math.log(max(abs(shrink), 1e-18)))
    b = [1.0]
    for k in range(1, total + 1):
        b.append(b[-1] * (k - 1.5) / k)
    c = [0.0] * (total + 1)
    if backward:
        for k in range(total, 0, -1):
            c[k - 1] = shrink * c[k] - b[k]
    else:
        c[0] = 1.0 / (1.0 + d)
        for k in range(1, total + 1):
            c[k] = (c[k - 1] + b[k]) / shrink
    return np.asarray(c[:count])


@dataclass(frozen=True)
class SaddleFreeSeries:
    """The saddle-free Newton step by a Krylov space or by the binomial series.

    Parameters
    ----------
    engine : {"krylov", "binomial"}, default "krylov"
        ``"krylov"`` needs one to two orders fewer products for the same accuracy;
        ``"binomial"`` is the series of Oldewage, Clarke and Hernández-Lobato.
    terms : int, default 20
        Products of the Krylov engine; terms K of the series.
    change : float, default 0.05
        The Krylov engine stops early when the step changed less than this over its
        last two products.
    accelerator : {"sablonniere", "wynn", "shanks", "levin-t", "pade", None}
        Transformation of the series' partial sums (`negopt.steps.acceleration`), by default
        ``"sablonniere"``: what the paper prints, and with a V that is a bound the best of
        the five.  With another V it may ascend; ``"wynn"``, which the published code ran,
        rarely does.
    order : int or None, default None
        Acceleration order N; uses the last ``2 N + 1`` partial sums (``N + 2`` for
        ``"levin-t"``).  None takes 4, or what `terms` allows; 0 is no acceleration.
    scaling : {"lanczos", "power", "source"}, default "lanczos"
        V of the series.  ``"lanczos"``: 1.1 times the square of a Lanczos bound on the
        largest |eigenvalue|, five products, of which the series re-uses four.
        ``"power"``: 1.1 times that of ten power iterations from g, ten products; an
        estimate from below.  Both let go of an old, larger V by a half a step.
        ``"source"``: the running maximum of ``||H^2 g|| / ||g||`` from 100, which never
        decreases, takes no product of its own, and may lie below what convergence needs.
    series : {"damped", "shifted"}, default "damped"
        ``"damped"`` is the series of ``(|H| + lambda I)^-1``, as the published code ran it;
        ``"shifted"`` that of ``|H + lambda I|^-1``, as the paper's text says.

    Notes
    -----
    Krylov engine: with ``H Q_k = Q_{k+1} T`` (T tall, k + 1 by k) and ``T = U S W'``
    the step is ``-||g|| Q_k W (S + lambda)^-1 W' e_1``.  Since ``T'T`` is the projection
    of ``H^2``, the projected |H| is positive definite: the step always descends.

    Binomial engine, ``2 (K - 1)`` products and one for the quadratic model:

    1. ``v_0 = g``, ``v_k = v_{k-1} - H (H v_{k-1}) / V``;
    2. ``d = lambda / sqrt(V)`` and c_k of `series_coefficients`;
    3. ``s = -V^{-1/2} sum c_k v_k``, accelerated.

    The series converges for ``V > lambda_max(H^2) / 2``; above ``lambda_max(H^2)`` every
    partial sum descends.  A step that does not is replaced by ``-g / (sqrt(V) + lambda)``.
    A rejected step with another damping takes no new product, except for
    ``series="shifted"``.

    **Guarantee**: at k = n the step equals that of an eigendecomposition, and the series is
    within its remainder (``tests/guarantees/test_absolute_hessian.py``).

    References
    ----------
    Oldewage, Clarke and Hernández-Lobato (2024), Series of Hessian-vector products for
    tractable saddle-free Newton optimisation of neural networks, TMLR 02/2024,
    openreview.net/forum?id=qBZeQBEDIW.
    Dauphin et al. (2014), arXiv:1406.2572.  Amsel et al. (2023), arXiv:2303.03358.
    """

    engine: str = option("krylov", "'krylov' or 'binomial'")
    terms: int = option(20, "Krylov products, or series terms K")
    change: float = option(0.05, "early stop of the Krylov engine")
    accelerator: str | None = option(
        "sablonniere", "series: 'sablonniere', 'wynn', 'shanks', 'levin-t', 'pade' or None"
    )
    order: int | None = option(None, "acceleration order N of the series; None takes 4 or less")
    scaling: str = option("lanczos", "series V: 'lanczos', 'power' or 'source'")
    series: str = option("damped", "'damped' |H| + lambda, or 'shifted' |H + lambda|")

    def __post_init__(self) -> None:
        check_choice("engine", self.engine, ("krylov", "binomial"))
        check_integer("terms", self.terms)
        check_number("change", self.change)
        check_choice("accelerator", self.accelerator, (*ACCELERATORS, None))
        if self.order is not None:
            check_integer("order", self.order, 0)
        check_choice("scaling", self.scaling, ("lanczos", "power", "source"))
        check_choice("series", self.series, ("damped", "shifted"))
        if self.engine == "binomial" and self._window > self.terms:
            raise ValueError(
                f"order={self.order!r}: {self.accelerator!r} of this order uses the last "
                f"{self._window} of terms={self.terms} partial sums; lower order or raise terms."
            )

    @property
    def _window(self) -> int:
        """How many of the last partial sums are used."""
        if self.accelerator is None:
            return 1
        if self.order is not None:
            return sums_needed(self.accelerator, self.order)
        windows = (sums_needed(self.accelerator, n) for n in range(5))
        return max(w for w in windows if w <= self.terms)

    def propose(self, iterate: Iterate, operator: KrylovModel, bound: Bound) -> Step:
        """Return the step; `bound` is the damping, a share of the largest |eigenvalue|."""
        if self.engine == "krylov":
            return self._krylov(iterate, operator, bound)
        return self._binomial(iterate, operator, bound)

    # --- Krylov space -------------------------------------------------------------------

    def _krylov(self, iterate: Iterate, operator: KrylovModel, bound: Bound) -> Step:
        basis = operator.basis
        fresh = not isinstance(basis, LanczosBasis)
        if not isinstance(basis, LanczosBasis):
            basis = operator.basis = LanczosBasis(operator.product, iterate.g, self.terms)
            basis.grow()
        if basis.k == 0:
            return _steepest(iterate, 0.0, bound)
        weights = _absolute_solve(basis, iterate.gnorm, bound)
        while fresh:  # a re-solve with another damping takes no new product
            grown = basis.grow() and (basis.k % 2 == 1 or basis.grow() or True)
            if not grown:
                break
            before, weights = weights, _absolute_solve(basis, iterate.gnorm, bound)
            moved = weights.copy()
            moved[: before.shape[0]] -= before
            if np.linalg.norm(moved) <= self.change * np.linalg.norm(weights):
                break
        s = basis.combine(weights)
        slope = scalars(dot(iterate.g, s))[0]
        return Step(s, slope, float(weights @ basis.matrix() @ weights), norm(s))

    # --- binomial series ----------------------------------------------------------------

    def _binomial(self, iterate: Iterate, operator: KrylovModel, bound: Bound) -> Step:
        before, shifted = operator.basis, self.series == "shifted"
        found = before if isinstance(before, _Terms) else None
        if found is None or (shifted and damping_in(bound, found.size) != found.shift):
            found = operator.basis = self._terms(iterate, operator, bound, found)
        if not found.vectors:
            return replace(_steepest(iterate, 0.0, bound), learnt=operator.scale)
        d = 0.0 if self.series == "shifted" else damping_in(bound, found.root) / found.root
        window = self._window
        sums: list[Array] = []
        for c, v in zip(series_coefficients(len(found.vectors), d), found.vectors, strict=True):
            sums.append(sums[-1] + float(c) * v if sums else float(c) * v)
            del sums[:-window]
        total = sums[-1]
        if self.accelerator is not None and 1 < window <= len(sums):
            total = accelerate(sums, self.accelerator, first=len(found.vectors) - window)
        s = (-iterate.gnorm / found.root) * total
        slope, square = scalars(dot(iterate.g, s), dot(s, s))
        if not (math.isfinite(square) and slope < -1e-8 * iterate.gnorm * math.sqrt(square)):
            return replace(_steepest(iterate, found.root, bound), learnt=operator.scale)
        quadratic = scalars(dot(s, operator.matvec(s)))[0]
        if not math.isfinite(quadratic):
            quadratic = found.root * square  # a product that failed: what H is at most
        return Step(s, slope, quadratic, math.sqrt(square), learnt=operator.scale)

    def _terms(
        self, iterate: Iterate, operator: KrylovModel, bound: Bound, before: _Terms | None = None
    ) -> _Terms:
        """Return ``v_k = (I - A^2/V)^k v_0`` with A = H, or H + lambda I for the shifted series.

        Here ``v_0 = g / ||g||``: no intermediate result is larger than A.  The series ends
        before a product that is not finite.  `before` is that with another shift: the size
        of H is known then.
        """
        g = iterate.g
        basis: LanczosBasis | None = None
        if self.scaling == "source":
            operator.scale = max(operator.scale, SOURCE_SCALE)
        elif before is None:
            if self.scaling == "lanczos":
                basis = LanczosBasis(operator.product, g, LANCZOS_PRODUCTS)
                largest = _lanczos_bound(basis)
            else:
                largest = _power_estimate(operator, g)
            if not largest * largest < math.inf:
                return _Terms([], 0.0, 0.0, 0.0)
            # An old, larger V is let go slowly: H changes along the way.
            operator.scale = max(MARGIN * largest * largest, 0.5 * operator.scale)
        size = math.sqrt(operator.scale)
        shift = damping_in(bound, size) if self.series == "shifted" else 0.0
        if size + shift == 0.0:  # no curvature along g: a gradient step is all there is
            return _Terms([], 0.0, 0.0, 0.0)
        root = size if self.scaling == "source" else size + shift
        vectors = [g / iterate.gnorm]
        if basis is not None:
            vectors += _known_terms(basis, root, shift, self.terms - 1)
        for k in range(len(vectors), self.terms):
            product = _shifted(operator, vectors[-1], shift)
            length = norm(product)
            if not math.isfinite(length):
                break
            if length > 0.0:  # normalised: H H v may leave the range of the type
                product = _shifted(operator, product / length, shift)
            if self.scaling == "source" and k == 1:
                largest = length * norm(product)
                if not math.isfinite(largest):
                    break
                operator.scale = max(operator.scale, largest)
                root = math.sqrt(operator.scale)
            term = vectors[-1] - (length / root / root) * product
            if not math.isfinite(norm(term)):
                break
            vectors.append(term)
        return _Terms(vectors, root, size, shift)


@dataclass(slots=True)
class _Terms:
    """The vectors of the series, the root of V, the size of H and the shift they belong to."""

    vectors: list[Array]
    root: float
    size: float
    shift: float


def _shifted(operator: KrylovModel, v: Array, shift: float) -> Array:
    product = operator.matvec(v)
    return product + shift * v if shift else product


def _lanczos_bound(basis: LanczosBasis) -> float:
    """Return the largest |Ritz value| plus its residual, nan without a finite product.

    Each interval of that radius about a Ritz value holds an eigenvalue.  That is no bound on
    all of them, but nearly always one: docs/saddle-free-series.md counts.
    """
    while basis.grow():
        pass
    if basis.k == 0:
        return math.nan
    values, vectors = symmetric_eigen(basis.matrix())
    return float(np.max(np.abs(values) + basis.beta[-1] * np.abs(vectors[-1])))


def _known_terms(basis: LanczosBasis, root: float, shift: float, count: int) -> list[Array]:
    """Return v_1, v_2 ... as far as the basis of the bound knows them without a product."""
    reach = count if basis.broke_down else min(count, (basis.k - 1) // 2)
    matrix = (basis.matrix() + shift * np.eye(basis.k)) / root
    weights = np.eye(basis.k)[0]
    known = []
    for _ in range(reach):
        weights = weights - matrix @ (matrix @ weights)
        known.append(basis.combine(weights))
    return known


def _power_estimate(operator: KrylovModel, g: Array) -> float:
    """Return an estimate, from below, of the largest |eigenvalue| that g has a part of."""
    v, largest = g / norm(g), math.nan
    for _ in range(POWER_PRODUCTS):
        v = operator.matvec(v)
        length = norm(v)
        if not math.isfinite(length):
            break
        largest = length
        if length == 0.0:
            break
        v = v / length
    return largest


def _absolute_solve(basis: LanczosBasis, gnorm: float, bound: Bound) -> FloatArray:
    """Return the weights of ``-(|H| + lambda)^-1 g`` in the basis."""
    sizes, right = singular_values(basis.tall_matrix())
    largest = float(sizes[0])
    if largest == 0.0:  # no curvature at all inside the space: a unit gradient step
        return np.asarray(-gnorm / (gnorm + damping_in(bound, gnorm)) * np.eye(basis.k)[0])
    floor = max(damping_in(bound, largest), eps_of(basis.rows) * largest)
    weights: FloatArray = -gnorm * (right.T @ (right[:, 0] / (sizes + floor)))
    return weights


def _steepest(iterate: Iterate, curvature: float, bound: Bound) -> Step:
    """Return a damped gradient step; its length is 1 where no curvature is known."""
    known = math.isfinite(curvature) and curvature > 0.0
    unit = curvature if known else iterate.gnorm
    scale = 1.0 / (unit + damping_in(bound, unit))
    s = -scale * iterate.g
    size = scale * iterate.gnorm
    return Step(s, -size * iterate.gnorm, 0.0, size)
