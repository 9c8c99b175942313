"""Is a stationary point a minimum?  The second-order check, and the way out of a saddle."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from negopt.algebra.roots import DiagonalRoot
from negopt.core.arrays import (
    Array,
    FloatArray,
    all_finite,
    dot,
    eps_of,
    from_host,
    most_of,
    namespace_of,
    norm,
    scalars,
)
from negopt.core.protocols import Root
from negopt.core.randomness import Draws
from negopt.core.types import VERDICTS, Certificate, Iterate
from negopt.decisions import curvature as decide
from negopt.globalize.ratio import rounding_of
from negopt.solver.ritz import Space

#: Entries of the space that may be kept whatever n is: 20 vectors of 15,000.
ROOM = 300_000
#: Vectors of the space that a restart keeps and begins with, and one new one.
LEAST = 3
#: Products that show whether the gradients are noisier than they should be.
FIRST = 2
#: Gradients that confirm a negative curvature, where products are differences.
AGAIN = 2
#: No curvature is divided by less.
TINY = 1e-300


class CheckedObjective(Protocol):
    """What the check needs of the objective."""

    @property
    def exact_products(self) -> bool:
        """Whether products come from the user."""

    @property
    def product_noise(self) -> float:
        """Relative error of a product."""

    def at(self, x: Array, *, bar: float = math.inf) -> Iterate:
        """Evaluate f and g."""

    def gradient_error(self, iterate: Iterate) -> FloatArray | None:
        """Return the error of each component of g, on the host; None where it is rounding."""

    def measured_products(self, iterate: Iterate) -> Callable[[Array, float], Array]:
        """Return ``v, h -> H v``, from the user or by a difference over ``h v``."""


class View:
    """The objective about a point, in variables q in which its model is the identity.

    Parameters
    ----------
    objective : Objective
    iterate : Iterate
        The stationary point.
    root : Root, optional
        Of the run's model; without one every variable is measured in ``max(1, |x_i|)``.
    f0 : float
        Value at the start of the run.

    Attributes
    ----------
    gnorm : float
        Norm of the gradient with respect to q.
    h : float
        Length of a difference along a unit vector.
    """

    def __init__(
        self, objective: CheckedObjective, iterate: Iterate, root: Root | None, f0: float
    ) -> None:
        xp, x = namespace_of(iterate.x), iterate.x
        self._iterate, self._f0 = iterate, f0
        self._product = objective.measured_products(iterate)
        self.error = objective.product_noise
        self.modelled = False
        if root is not None:
            slope = root.slope(iterate.g)
            self.gnorm = norm(slope)
            # N.B. a model that has left the range of the type says nothing.
            self.modelled = math.isfinite(self.gnorm) and all_finite(root.step(slope))
        if root is None or not self.modelled:
            size = xp.abs(x)
            root = DiagonalRoot(xp.where(size > 1.0, size, xp.ones_like(x)))
            self.gnorm = norm(root.slope(iterate.g))
        self.root = root
        self.reach = norm(x / root.scale)
        if self.modelled:
            known = decide.energy(iterate.f, f0, self.reach, eps_of(x))
            noise = objective.gradient_error(iterate)
            of_g = 0.0 if noise is None else norm(from_host(noise, x) * root.scale)
            self.h = decide.length_of_difference(self.error, known, eps_of(x), self.reach, of_g)
            self.error = max(self.error, of_g / self.h)
        else:
            self.h = decide.length_without_model(self.error, self.reach)

    def product(self, q: Array) -> Array:
        """Return ``L'HL q`` of a unit vector q."""
        return self.root.slope(self._product(self.root.step(q), self.h))

    def energy(self, unit: float) -> float:
        """Return the scale of the values of f, `unit` being the usual curvature."""
        here = self._iterate
        known = decide.energy(here.f, self._f0, self.reach * math.sqrt(unit), eps_of(here.x))
        return known if self.modelled else max(known, unit)

    def first_length(self, lowest: float, largest: float) -> float:
        """Return the length that an escape tries first: a two-hundredth of the scale of f.

        Of the values that f has taken, the least that stand clear of its noise.
        """
        f = self._iterate.f
        least = 1e4 * rounding_of(self._iterate)
        sizes = [v for v in (abs(f), self._f0 - f) if v > least]
        curvature = max(abs(lowest), 1e-2 * largest)
        if curvature == 0.0:
            return 1e-2 * max(1.0, self.reach)
        if not self.modelled or not (sizes or least > 0.0):
            return max(1e-2 * max(1.0, self.reach), 0.1 * math.sqrt(least / curvature))
        return 0.1 * math.sqrt(min(sizes, default=least) / max(curvature, TINY))

    def tolerance(self, space: Space, largest: float) -> float:
        """Return the curvature along the lowest Ritz vector that is zero within what is known."""
        # In the variables of a good model curvatures are about one; a larger one says that the
        # model is not good there, and nothing of the others.
        unit = min(largest, 1.0) if self.modelled else largest
        eps, energy = eps_of(self._iterate.x), self.energy(unit)
        known = decide.tolerance_of_curvature(
            self.error, largest, unit, energy, self.gnorm, space.asymmetry
        )
        if not self.modelled:
            return decide.along_direction(known, eps, 1.0, largest)
        # |Eigenvalues| of the model are kept above sqrt(eps), so that more than this is not lost.
        if abs(float(space.values[0])) > max(known, decide.ROUNDINGS * math.sqrt(eps)):
            return known
        z = self.root.step(space.lowest()) / self.root.scale
        return decide.along_direction(known, eps, norm(z), 1.0)

    def lengthen(self, space: Space) -> bool:
        """Take longer differences where the products contradict each other; tell whether."""
        energy = self.energy(1.0)
        h = decide.length_against_noise(self.h, space.asymmetry, space.largest, energy)
        if not self.modelled or h <= 2.0 * self.h:
            return False
        self.error = max(self.error, space.asymmetry * self.h / h)
        self.h = h
        return True

    def again(self, step: Array) -> float:
        """Return the curvature along a step by central differences over an eighth of the length."""
        sides = (self._product(step, h) for h in (0.125 * self.h, -0.125 * self.h))
        return 0.5 * sum(scalars(dot(step, image))[0] for image in sides)


@dataclass(slots=True)
class Finding:
    """What a check leaves for the run."""

    certificate: Certificate
    #: step of length 1 in the variables of the check along the lowest curvature
    step: Array | None = None
    length: float = 0.0  #: how much of it an escape tries first
    remainder: float = 0.0  #: twice what a Newton step would still gain, at most


def certify(
    objective: CheckedObjective,
    iterate: Iterate,
    rng: Draws,
    limit: int,
    root: Root | None = None,
    f0: float = -math.inf,
) -> Finding:
    """Look for negative curvature in a space grown from a random probe.

    Parameters
    ----------
    objective : Objective
    iterate : Iterate
        The stationary point.
    rng : Draws
        Source of the probes.  N.B. a fixed probe would be blind to whatever is orthogonal to it,
        and a space built from g cannot see curvature that g lacks.
    limit : int
        Most Hessian products, those that confirm a negative curvature among them.
    root : Root, optional
        L with ``L L' = |B|^-1`` of the run's model B.
    f0 : float, optional
        Value at the start of the run, where there was one: it shows the scale of f.

    Returns
    -------
    Finding
        Its certificate says ``"positive"``, ``"negative"``, ``"flat"`` or ``"unsettled"``
        (`negopt.core.types.Certificate`), or ``"unknown"`` where the products are not finite.

    Notes
    -----
    1. By Sylvester's law the eigenvalues of ``L'HL`` have the signs of those of H.  Where the model
       is good they are close to 1, so that a few products show them all; and it does not matter
       what units the variables are in.
    2. The space grows by the residual of the lowest Ritz pair (Lanczos's method, orthogonalised in
       full), and by another random vector when the residual has nothing new.
    3. A positive Ritz value is believed when the probability that a negative eigenvalue is still
       hidden is below a hundredth (`negopt.decisions.curvature.is_beyond_doubt`), or the space
       is complete; a negative one when its residual is below a tenth of it and, where products
       are differences of gradients, central differences along it over an eighth of the length
       give the same within a factor of two.
    4. Flat is what cannot be told from zero: below ten times the error of the products, or what
       these contradict each other by, or the curvature that a valley floor may have as far from it
       as the gradient tells.
    5. Above 15,000 variables the space is restarted when it holds ``max(3, 300000 / n)``
       vectors, from its Ritz vector and what that has moved by since the last restart (the
       locally optimal subspace of conjugate gradients).

    **Guarantee**: with a dense model B, the check at Dx with ``D^-1 B D^-1`` gives the verdict,
    direction and number of products of that at x, for every positive diagonal D
    (``tests/guarantees/test_check_invariance.py``); a convex function is never called negative
    (``tests/guarantees/test_check_convex.py``).  When the products reach n and are exact, the
    verdict is that of the eigenvalues, but for what rounding in the model's units hides
    (``tests/guarantees/test_saddle_escape.py``).

    References
    ----------
    Kuczynski and Wozniakowski (1992), SIAM J. Matrix Anal. Appl. 13, 1094-1122,
    doi:10.1137/0613066.
    Royer, O'Neill and Wright (2020), Mathematical Programming 180, 451-488,
    doi:10.1007/s10107-019-01362-7.
    """
    n, view = int(iterate.x.shape[0]), View(objective, iterate, root, f0)
    exact, limit = objective.exact_products, max(limit, 1)
    allowed = limit if exact else max(limit - AGAIN, 1)
    most = min(n, allowed)
    room = n if most == n else min(most, max(LEAST, ROOM // n))
    grown = Space(iterate.x, room)
    found = Certificate()
    following, left = None, math.inf
    kind, tolerance, steps, whole = decide.UNSETTLED, 0.0, 0, True
    while kind == decide.UNSETTLED and found.products < most:
        if grown.k == grown.room:
            grown.restart()
            whole = False
        direction = grown.open(following, rng)
        following = None  # N.B. where n is large every vector that is held counts
        image = view.product(direction)
        found.products += 1
        if not all_finite(image):
            found.status = "unknown"
            found.reason = "products not finite"
            return Finding(found)
        grown.absorb(image)
        del image
        if found.products == FIRST and not exact and view.lengthen(grown):
            grown, most = Space(iterate.x, room), min(n + FIRST, allowed)
            continue
        following = grown.residual()
        left = norm(following)
        tolerance = view.tolerance(grown, grown.largest)
        steps = grown.k if whole else 0  # a restart has lost what a bound needs
        kind = decide.verdict(float(grown.values[0]), grown.largest, left, tolerance, steps, n)
    lowest, step = float(grown.values[0]), view.root.step(grown.lowest())
    if lowest < -tolerance:
        kind = decide.NEGATIVE if exact else decide.UNSETTLED
        if not exact and found.products + AGAIN <= limit:
            kind = decide.NEGATIVE
            found.products += AGAIN
            if not decide.confirms(view.again(step), lowest, tolerance):
                kind = decide.verdict(0.0, grown.largest, left, -lowest, steps, n)
    found.status = VERDICTS[kind]
    found.relative_curvature = lowest / max(grown.largest, TINY)
    found.min_curvature = lowest / scalars(dot(step, step))[0]
    length = view.first_length(lowest, grown.largest)
    return Finding(found, step, length, view.gnorm * view.gnorm / max(grown.largest, TINY))


def finding(certificate: Certificate) -> str:
    """Return what the check has found, to be added to a message."""
    if certificate.status == "unknown":
        return f"; the curvature is unknown ({certificate.reason})."
    told = f"; lowest curvature found {certificate.min_curvature:.3g} ({certificate.status}"
    if certificate.status == "unsettled":
        return f"{told}: more could hide below it, after {certificate.products} products)."
    if certificate.status == "flat":
        return f"{told}: zero within the accuracy of the products)."
    return f"{told})."


def no_way_down(certificate: Certificate, escapes: int, most: int) -> str:
    """Return the message of a run that ends at a saddle."""
    return (
        f"Stationary point with negative curvature {certificate.min_curvature:.3g} "
        f"({certificate.relative_curvature:.3g} of the largest, in the units of the model): it is "
        f"a saddle or a maximum, and no lower point was found along it after {escapes} escapes "
        f"(max_escapes = {most}). Start elsewhere, or raise max_escapes."
    )


def escape(objective: CheckedObjective, iterate: Iterate, found: Finding) -> Iterate | None:
    """Step off the stationary point along plus or minus the direction found.

    Returns
    -------
    Iterate or None
        A point that is lower by more than rounding; None when there is none.

    Notes
    -----
    A length that lowers f grows threefold as long as f keeps falling; else it shrinks fivefold.
    Both signs are tried, the slope's own first.  Along a flat direction one length is tried, and a
    point counts only below the tangent plane, and by more than a Newton step would still gain: a
    convex function has none, and along a valley floor there is none.
    """
    step, flat = found.step, found.certificate.status == "flat"
    if step is None:
        return None
    slope = scalars(dot(iterate.g, step))[0]
    sign = 1.0 if slope <= 0.0 else -1.0
    room = _room(iterate) / max(norm(step), TINY)
    size, bar = min(found.length, room), iterate.f - rounding_of(iterate)
    if flat:
        bar -= 10.0 * found.remainder + size * abs(slope)
    for _ in range(1 if flat else 10):
        tries = [objective.at(iterate.x + (s * size) * step) for s in (sign, -sign)]
        lower = [t for t in tries if t.finite and t.f < bar]
        if lower:
            return _go_on(objective, iterate, min(lower, key=lambda t: t.f))
        size *= 0.2
    return None


def _room(iterate: Iterate) -> float:
    """Return how far from a point numbers go, with a thousandth of their range to spare."""
    return 1e-3 * most_of(iterate.x)


def _go_on(objective: CheckedObjective, iterate: Iterate, best: Iterate) -> Iterate:
    """Extend a successful escape while f falls."""
    step = best.x - iterate.x
    length, room = norm(step), _room(iterate)
    for _ in range(20):
        length *= 3.0
        if not length < room:
            break
        further = objective.at(iterate.x + 3.0 * step)
        if not (further.finite and further.f < best.f):
            break
        best, step = further, 3.0 * step
    return best
