"""Landscapes with known saddles: strict and degenerate ones, wells, clusters, matrices.

The values a method should not stop at are in ``Problem.saddles``.
"""

from __future__ import annotations

import math

import numpy as np

from negopt.core.arrays import Array
from negopt.problems._coupled import Factorisation, Product
from negopt.problems._jet import Value, exp
from negopt.problems._maps import ALL, PAIR, Dense, Slice
from negopt.problems._models import Elements, Model, Nested, Sum, squares
from negopt.problems._problem import steps
from negopt.problems._registry import Setup, problem

_PLANE = (Slice(0, 1), Slice(1, 2))
_ORIGIN = [0.0, 0.0]

_LEE = (
    "J. D. Lee, M. Simchowitz, M. I. Jordan and B. Recht, Gradient descent only converges to "
    "minimizers, COLT 2016, PMLR 49:1246-1257, arXiv:1602.04915"
)
_ANANDKUMAR = (
    "A. Anandkumar and R. Ge, Efficient approaches for escaping higher order saddle points in "
    "non-convex optimization, COLT 2016, PMLR 49:81-102, arXiv:1602.05908"
)
_SZEGO = (
    "L. C. W. Dixon and G. P. Szegö, Towards Global Optimisation 2, North-Holland, 1978, pp. 1-15"
)
_HIMMELBLAU = "D. M. Himmelblau, Applied Nonlinear Programming, McGraw-Hill, 1972"
_MUELLER = (
    "K. Müller and L. D. Brown, Location of saddle points and minimum energy paths by a "
    "constrained simplex optimization procedure, Theor. Chim. Acta 53 (1979) 75-93, "
    "doi:10.1007/BF00547608"
)
_STYBLINSKI = (
    "M. A. Styblinski and T.-S. Tang, Experiments in nonconvex optimization, "
    "Neural Netw. 3 (1990) 467-483, doi:10.1016/0893-6080(90)90029-K"
)
_BERGLUND = (
    "N. Berglund, B. Fernandez and B. Gentz, Metastability in interacting nonlinear "
    "stochastic differential equations: I, Nonlinearity 20 (2007) 2551-2581, "
    "doi:10.1088/0951-7715/20/11/006"
)
_SAXE = (
    "A. M. Saxe, J. L. McClelland and S. Ganguli, Exact solutions to the nonlinear "
    "dynamics of learning in deep linear neural networks, ICLR 2014, arXiv:1312.6120"
)
_GE = (
    "R. Ge, C. Jin and Y. Zheng, No spurious local minima in nonconvex low rank "
    "problems: a unified geometric analysis, ICML 2017, PMLR 70:1233-1242, arXiv:1704.00708"
)
_SUN = (
    "J. Sun, Q. Qu and J. Wright, A geometric analysis of phase retrieval, "
    "Found. Comput. Math. 18 (2018) 1131-1198, doi:10.1007/s10208-017-9365-9"
)
_WALES = (
    "D. J. Wales and J. P. K. Doye, Global optimization by basin-hopping and the lowest "
    "energy structures of Lennard-Jones clusters containing up to 110 atoms, "
    "J. Phys. Chem. A 101 (1997) 5111-5116, doi:10.1021/jp970984n"
)


@problem("strict_saddle", 2, fixed=True, tags="saddle", reference=_LEE)
def _strict_saddle(_: int) -> Setup:
    """x^4 / 4 - x^2 / 2 + y^2 / 2; from (0, 1) every gradient step stays on the line x = 0."""
    model = Elements(lambda a, b: 0.25 * (a**2) ** 2 - 0.5 * a**2 + 0.5 * b**2, _PLANE)
    starts = (_ORIGIN, [1e-8, 1.0])
    return Setup(model, [0.0, 1.0], -0.25, [1.0, 0.0], saddles=(_ORIGIN,), starts=starts)


@problem("degenerate_saddle", 2, fixed=True, tags="saddle degenerate", reference=_ANANDKUMAR)
def _degenerate_saddle(_: int) -> Setup:
    """y^2 - x^4 + x^6; the Hessian at the saddle is only positive semidefinite."""
    model = Elements(lambda a, b: b**2 - (a**2) ** 2 + (a**2) ** 3, _PLANE)
    best, starts = [math.sqrt(2.0 / 3.0), 0.0], (_ORIGIN, [0.0, 1.0])
    return Setup(model, [0.1, 1.0], -4.0 / 27.0, best, saddles=(_ORIGIN,), starts=starts)


@problem("monkey_saddle", 2, fixed=True, tags="saddle degenerate", reference=_ANANDKUMAR)
def _monkey_saddle(_: int) -> Setup:
    """x^3 - 3 x y^2 + (x^2 + y^2)^2; the Hessian at the saddle is zero."""
    model = Elements(lambda a, b: a * (a**2 - 3.0 * b**2) + (a**2 + b**2) ** 2, _PLANE)
    best, starts = [-0.75, 0.0], (_ORIGIN, [0.5, 0.0])
    return Setup(model, [0.1, 0.05], -27.0 / 256.0, best, saddles=(_ORIGIN,), starts=starts)


@problem("himmelblau", 2, fixed=True, tags="saddle least-squares", reference=_HIMMELBLAU)
def _himmelblau(_: int) -> Setup:
    """(x^2 + y - 11)^2 + (x + y^2 - 7)^2; four minimisers, four saddles, one maximiser."""
    model = squares(lambda a, b: (a**2 + b - 11.0, a + b**2 - 7.0), _PLANE)
    saddles = (
        [0.08667750455539636, 2.884254701174776],
        [3.385154183607021, 0.0738518798377493],
        [-3.0730257507643897, -0.08135304428796752],
        [-0.12796134673068005, -1.9537149802445766],
        [-0.2708445906673476, -0.9230385564799815],
    )
    return Setup(model, _ORIGIN, 0.0, [3.0, 2.0], saddles=saddles)


@problem("three_hump_camel", 2, fixed=True, tags="saddle", reference=_SZEGO)
def _three_hump_camel(_: int) -> Setup:
    """2 x^2 - 1.05 x^4 + x^6 / 6 + x y + y^2."""
    # With y = -x / 2: x^4 - 4.2 x^2 + 3.5 = 0, whose roots in x^2 are 2.1 -+ sqrt(0.91).
    near, far = (math.sqrt(2.1 + s * math.sqrt(0.91)) for s in (-1.0, 1.0))
    model = Elements(
        lambda a, b: 2.0 * a**2 - 1.05 * (a**2) ** 2 + (a**2) ** 3 / 6.0 + a * b + b**2, _PLANE
    )
    local = (1.75 * far**2 - 1.05 * far**4 + far**6 / 6.0,)
    saddles = ([near, -0.5 * near], [-near, 0.5 * near])
    return Setup(model, [2.0, 1.0], 0.0, _ORIGIN, local_minima=local, saddles=saddles)


@problem("six_hump_camel", 2, fixed=True, tags="saddle", reference=_SZEGO)
def _six_hump_camel(_: int) -> Setup:
    """(4 - 2.1 x^2 + x^4 / 3) x^2 + x y + (4 y^2 - 4) y^2; six minimisers, six saddles."""

    def phi(a: Value, b: Value) -> Value:
        u, v = a**2, b**2
        return (4.0 - 2.1 * u + u**2 / 3.0) * u + a * b + 4.0 * (v - 1.0) * v

    model = Elements(phi, _PLANE)
    low, best = -1.0316284534898774, [0.08984201310031806, -0.7126564030207396]
    local, saddles = (
        (-0.2154638243837174, 2.1042503109),
        ([1.1092053368047865, -0.7682680925095399],),
    )
    return Setup(model, [0.5, 0.1], low, best, local_minima=local, saddles=(_ORIGIN, *saddles))


@problem("mueller_brown", 2, fixed=True, tags="saddle", reference=_MUELLER)
def _mueller_brown(_: int) -> Setup:
    """Four Gaussian wells and hills; three minimisers, two saddles."""
    heights = [-200.0, -100.0, -170.0, 15.0]
    shapes = [[-1.0, -1.0, -6.5, 0.7], [0.0, 0.0, 11.0, 0.6], [-10.0, -10.0, -6.5, 0.7]]
    centres = [[1.0, 0.0, -0.5, -1.0], [0.0, 0.5, 1.5, 1.0]]

    def phi(
        a: Value, b: Value, h: Value, xx: Value, xy: Value, yy: Value, x: Value, y: Value
    ) -> Value:
        u, v = a - x, b - y
        return h * exp(xx * u**2 + xy * u * v + yy * v**2)

    model = Elements(phi, _PLANE, [heights, *shapes, *centres])
    low, best = -146.69951720995402, [-0.5582236346330243, 1.4417258418046686]
    local = (-108.16672411685236, -80.76781812965892)
    saddles = ([-0.8220015587327322, 0.6243128028148713], [0.21248658200066198, 0.2929883251073678])
    return Setup(model, [-0.75, 0.55], low, best, local_minima=local, saddles=saddles)


@problem("styblinski_tang", 10, tags="saddle separable", reference=_STYBLINSKI)
def _styblinski_tang(n: int) -> Setup:
    """sum_i (x_i^4 - 16 x_i^2 + 5 x_i) / 2; 2^n minimisers, one of them global."""

    def phi(a: Array) -> Array:
        return 0.5 * a * (a * (a**2 - 16.0) + 5.0)

    # The slope 2 x^3 - 16 x + 5/2 has roots at the global, the saddle and the local point.
    low, top, _ = sorted(float(r) for r in np.roots([2.0, 0.0, -16.0, 2.5]).real)
    best, saddle = np.full(n, low), np.full(n, low)
    saddle[0] = top
    saddles = (saddle, np.full(n, top))
    return Setup(Elements(phi, [ALL]), np.zeros(n), n * phi(low), best, saddles=saddles)


@problem("coupled_double_wells", 20, least=2, tags="saddle chain", reference=_BERGLUND)
def _coupled_double_wells(n: int, coupling: float = 0.1) -> Setup:
    """sum_i (x_i^2 - 1)^2 / 4 + coupling / 2 sum_i (x_{i+1} - x_i)^2; a saddle at 0."""
    model = Sum(
        Elements(lambda a: 0.25 * (a**2 - 1.0) ** 2, [ALL]),
        Elements(lambda a, b: (0.5 * coupling) * (b - a) ** 2, PAIR),
    )
    start = 1e-3 * np.sin(steps(n))
    return Setup(model, start, 0.0, np.ones(n), saddles=(np.zeros(n),), starts=(np.zeros(n),))


@problem("deep_linear_chain", 5, least=3, tags="saddle degenerate", reference=_SAXE)
def _deep_linear_chain(n: int) -> Setup:
    """(x_1 x_2 ... x_n - 1)^2 / 2; the Hessian at the saddle 0 is zero."""
    model = Nested(Elements(lambda s: 0.5 * (s - 1.0) ** 2, [Slice(n, n + 1)]), Product())
    zero = (np.zeros(n),)
    return Setup(model, np.full(n, 0.3), 0.0, np.ones(n), saddles=zero, starts=zero)


@problem("matrix_factorisation", 40, least=4, multiple=4, tags="saddle", reference=_GE)
def _matrix_factorisation(n: int, seed: int = 0) -> Setup:
    """|U V' - M|^2 / 2, U and V of n / 4 rows and 2 columns, M of rank 2; a saddle at 0."""
    rng = np.random.default_rng(seed)
    best = rng.standard_normal((n // 2, 2))
    target = best[: n // 4] @ best[n // 4 :].T
    model, start, zero = Factorisation(target, 2), 1e-3 * rng.standard_normal(n), (np.zeros(n),)
    return Setup(model, start, 0.0, best.reshape(-1), saddles=zero, starts=zero)


@problem("phase_retrieval", 20, tags="saddle", reference=_SUN)
def _phase_retrieval(n: int, ratio: int = 6, seed: int = 0) -> Setup:
    """Mean over ratio n Gaussian vectors a of ((a'x)^2 - (a'z)^2)^2 / 4; a maximiser at 0."""
    rng = np.random.default_rng(seed)
    rows, best = rng.standard_normal((ratio * n, n)), rng.standard_normal(n)
    best /= np.linalg.norm(best)
    root = 0.5 / math.sqrt(ratio * n)
    model = squares(lambda u, y: root * (u**2 - y), [Dense(rows)], [(rows @ best) ** 2])
    start = 1e-2 * rng.standard_normal(n)
    return Setup(model, start, 0.0, best, saddles=(np.zeros(n),), starts=(np.zeros(n),))


def _lennard_jones_energy(atoms: int) -> Model:
    first, second = np.triu_indices(atoms, 1)
    maps = []
    for axis in range(3):
        difference = np.zeros((first.size, 3 * atoms))
        difference[np.arange(first.size), 3 * first + axis] = 1.0
        difference[np.arange(first.size), 3 * second + axis] = -1.0
        maps.append(Dense(difference))

    def phi(a: Value, b: Value, c: Value) -> Value:
        s = (1.0 / (a**2 + b**2 + c**2)) ** 3
        return 4.0 * (s**2 - s)

    return Elements(phi, maps)


@problem("lennard_jones_7", 21, fixed=True, tags="saddle cluster", reference=_WALES)
def _lennard_jones_7(_: int) -> Setup:
    """Sum over pairs of 4 (r^-12 - r^-6), 7 atoms; six free motions make the Hessian singular."""
    # The global minimiser is a pentagonal bipyramid: ring radius and half height.
    radius, height = 0.9562063096026524, 0.5738701692194005
    angle = 2.0 * math.pi * np.arange(5.0) / 5.0
    ring = np.stack([radius * np.cos(angle), radius * np.sin(angle), 0.0 * angle], axis=1)
    best = np.concatenate([ring, [[0.0, 0.0, height], [0.0, 0.0, -height]]])
    corners = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(7)], dtype=np.float64)
    start = 1.2 * corners.reshape(-1) + 0.05 * np.sin(steps(21))
    model, local = _lennard_jones_energy(7), (-15.935043, -15.593211, -15.533060)
    return Setup(model, start, -16.505384168012217, best.reshape(-1), local_minima=local)
