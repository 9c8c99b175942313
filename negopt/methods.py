"""The table of methods: curvature + step + globalisation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypedDict, TypeVar, Unpack

from negopt.core.method import Method, Tier
from negopt.core.protocols import Curvature, Globalization, Model, StepRule
from negopt.core.variants import OLDEWAGE_EXACT, OLDEWAGE_SERIES
from negopt.curvature.bfgs import BFGS
from negopt.curvature.dense import DenseHessian
from negopt.curvature.dqn import HybridInverse
from negopt.curvature.ellipsoid import EllipsoidProducts
from negopt.curvature.exact_products import HessianProducts
from negopt.curvature.gradient_moments import GradientMoments
from negopt.curvature.identity import NoCurvature, ScaledIdentity
from negopt.curvature.lbfgs import LBFGS
from negopt.curvature.lqn import HybridPairs
from negopt.curvature.lsr1 import LSR1
from negopt.curvature.newton import ModelledProducts
from negopt.curvature.regression import GradientRegression
from negopt.curvature.sr1 import SR1
from negopt.curvature.sr1_matrix import SR1Matrix
from negopt.globalize.armijo import ArmijoSearch
from negopt.globalize.cubic import CubicRegularization
from negopt.globalize.damping import AdaptiveDamping
from negopt.globalize.fixed import FixedRate, HeavyBall
from negopt.globalize.trust_region import TrustRegion
from negopt.globalize.wolfe import WolfeSearch
from negopt.steps.damped import Damped
from negopt.steps.krylov_tr import KrylovTrustRegion
from negopt.steps.moments import AdamStep
from negopt.steps.sfn_exact import NewQNewton, SaddleFreeExact
from negopt.steps.sfn_lanczos import SaddleFreeLanczos
from negopt.steps.sfn_series import SaddleFreeSeries
from negopt.steps.signed import Signed
from negopt.steps.spectral_tr import SpectralTrustRegion
from negopt.steps.steepest import SteepestDescent
from negopt.steps.steihaug import SteihaugToint

__all__ = ["METHODS", "Method", "choose", "register"]

M = TypeVar("M", bound=Model)
Memory = TypeVar("Memory")
Globalized = TypeVar("Globalized")


class Said(TypedDict, total=False):
    """What a row says of its method, besides the three parts: see `Method`."""

    needs: Literal["jac", "hessp"]
    summary: str
    guarantee: str
    reference: str
    variants: Mapping[str, Mapping[str, object]]
    keeps: Literal["B", "H"] | None
    secant: bool
    positive: bool
    tier: Tier


def _row(
    name: str,
    curvature: Curvature[Memory, M],
    step: StepRule[M],
    globalize: Globalization[Globalized, M],
    **said: Unpack[Said],
) -> Method:
    """Return a method whose parts fit: a type checker refuses a step that asks for more."""
    return Method(name, curvature, step, globalize, **said)


_ROWS = (
    _row(
        "lqn-tr",
        HybridPairs(),
        SpectralTrustRegion(),
        TrustRegion(first_grow=10.0, interpolate=True),
        summary="limited-memory BFGS/SR1 pairs in an exact trust region (default, gradients)",
        guarantee="global convergence to stationary points; steps of negative model curvature",
        reference="Brust, Erway and Marcia (2017), doi:10.1007/s10589-016-9868-3",
        keeps="B",
        secant=True,
        tier="recommended",
    ),
    _row(
        "newton-krylov",
        ModelledProducts(),
        KrylovTrustRegion(),
        TrustRegion(shrink=0.25),
        needs="hessp",
        summary="Krylov trust region, products saved by a model from pairs (default, products)",
        guarantee="global convergence to stationary points; a share of the Cauchy decrease",
        reference="Gould, Lucidi, Roma and Toint (1999), doi:10.1137/S1052623497322735; Morales "
        "and Nocedal (2000), doi:10.1137/S1052623497327854",
        variants={"lanczos": {"maxcor": 0, "metric": "sphere"}},
        tier="recommended",
    ),
    _row(
        "newton-cubic",
        ModelledProducts(),
        KrylovTrustRegion(),
        CubicRegularization(),
        needs="hessp",
        summary="Krylov step with adaptive cubic regularisation, products saved by a model",
        guarantee="monotone decrease; the regularised model minimised in its space",
        reference="Cartis, Gould and Toint (2011), doi:10.1007/s10107-009-0286-5",
        variants={"lanczos": {"maxcor": 0, "metric": "sphere"}},
    ),
    _row(
        "lsr1-tr",
        LSR1(),
        SpectralTrustRegion(),
        # A model that is so often wrong is better off with a radius that grows slowly.
        TrustRegion(first_grow=2.0),
        summary="limited-memory SR1, indefinite, in an exact trust region",
        guarantee="global convergence to stationary points; exact subproblem, hard case included",
        reference="Ramamurthy and Duffy (2016), L-SR1; Brust, Erway and Marcia (2017), "
        "doi:10.1007/s10589-016-9868-3",
        keeps="B",
        secant=True,
    ),
    _row(
        "lsr1-wolfe-pm",
        LSR1(),
        Signed(flip="eigen"),
        WolfeSearch(),
        summary="limited-memory SR1 with a Wolfe search; flip='direction' for steps of both signs",
        guarantee="Wolfe conditions of the signed step; bounded Zoutendijk sum",
        reference="Shea and Schmidt (2024), Don't Be So Positive",
        keeps="B",
        secant=True,
    ),
    _row(
        "lsr1-damped",
        LSR1(),
        Damped(),
        WolfeSearch(),
        summary="limited-memory SR1 shifted, flipped or clipped to positive definite, Wolfe search",
        guarantee="descent directions with an angle bound from the condition number",
        reference="Shea and Schmidt (2024), Don't Be So Positive (the damped method of Table 1)",
        keeps="B",
        secant=True,
        tier="study",
    ),
    _row(
        "sr1-wolfe-pm",
        SR1(),
        Signed(),
        WolfeSearch(),
        summary="dense SR1 with a Wolfe search of positive and negative steps",
        guarantee="Wolfe conditions of the signed step; bounded Zoutendijk sum",
        reference="Shea and Schmidt (2024), Don't Be So Positive",
        variants={
            "shea-schmidt": {"h0": "identity", "units": "same", "skip": 1e-8, "wolfe": "strong"}
        },
        keeps="H",
        secant=True,
    ),
    _row(
        "dqn-wolfe-pm",
        HybridInverse(),
        Signed(),
        WolfeSearch(),
        summary="dense SR1 and BFGS, of their directions the one closer to the gradient "
        "(default, small n)",
        guarantee="Wolfe conditions of the signed step; an angle no worse than that of BFGS",
        reference="Conn, Gould and Toint (1991), doi:10.1007/BF01594934; Liu and Nocedal (1989), "
        "doi:10.1007/BF01589116",
        keeps="H",
        secant=True,
        tier="recommended",
    ),
    _row(
        "sr1-tr",
        SR1Matrix(),
        SpectralTrustRegion(),
        TrustRegion(first_grow=2.0),
        summary="dense SR1 in an exact trust region, for up to some 300 variables",
        guarantee="the dense SR1 matrix of all pairs; exact subproblem, hard case included",
        reference="Conn, Gould and Toint (1991), doi:10.1007/BF01594934; More and Sorensen "
        "(1983), doi:10.1137/0904038",
        keeps="B",
        secant=True,
    ),
    _row(
        "bfgs-wolfe",
        BFGS(),
        Signed(),
        WolfeSearch(),
        summary="dense BFGS, its initial matrix rescaled at every step, with a Wolfe search",
        guarantee="positive definite, secant equation of the newest pair; Wolfe conditions",
        reference="Nocedal and Wright (2006), doi:10.1007/978-0-387-40065-5",
        variants={
            "shea-schmidt": {"h0": "identity", "units": "same", "wolfe": "strong"},
            "scaled-once": {"h0": "scaled", "units": "same"},
        },
        keeps="H",
        secant=True,
        positive=True,
    ),
    _row(
        "lbfgs-wolfe",
        LBFGS(),
        Signed(),
        WolfeSearch(),
        summary="limited-memory BFGS, negative curvature discarded, with a Wolfe search",
        guarantee="the direction of the dense BFGS recursion; Wolfe conditions",
        reference="Liu and Nocedal (1989), doi:10.1007/BF01589116; Chen, Wang and Zhou (2014), "
        "NIPS 27",
        keeps="H",
        secant=True,
        positive=True,
        tier="recommended",
    ),
    _row(
        "sfn-series",
        HessianProducts(),
        SaddleFreeSeries(),
        AdaptiveDamping(),
        needs="hessp",
        summary="saddle-free Newton from Hessian products: Krylov space or binomial series",
        guarantee="monotone decrease; the step is that of |H| when the space is complete",
        reference="Oldewage, Clarke and Hernandez-Lobato, Series of Hessian-Vector Products; "
        "Dauphin et al. (2014), arXiv:1406.2572",
        variants=OLDEWAGE_SERIES,
        tier="study",
    ),
    _row(
        "tr-ellipsoid",
        EllipsoidProducts(),
        SteihaugToint(),
        TrustRegion(shrink=0.25),
        needs="hessp",
        summary="truncated Newton-CG in an ellipsoid shaped by past gradients",
        guarantee="Cauchy decrease in a norm equivalent to the Euclidean one",
        reference="Adolphs, Kohler and Lucchi (2019), arXiv:1905.09201; Steihaug (1983), "
        "doi:10.1137/0720042",
        variants={
            # Their code for fully connected networks, as far as one batch goes.
            "adolphs": {
                "initial_trust_radius": 1e-4,
                "max_trust_radius": 10.0,
                "eta": 0.01,
                "shrink": 0.8,
                "grow": 1.1,
                "first_grow": 1.1,
                "ridge": 1e-8,
            }
        },
        tier="study",
    ),
    _row(
        "sfn-lanczos",
        HessianProducts(),
        SaddleFreeLanczos(),
        TrustRegion(),
        needs="hessp",
        summary="saddle-free Newton: a Krylov space, and a trust region in the norm of abs(H)",
        guarantee="monotone decrease; the subproblem solved exactly in the space",
        reference="Dauphin et al. (2014), arXiv:1406.2572",
    ),
    _row(
        "sfn-exact",
        DenseHessian(),
        SaddleFreeExact(),
        # All eigenvalues are known here: less damping than a part of them bears.
        AdaptiveDamping(damping=1e-4, min_damping=1e-12),
        needs="hessp",
        summary="saddle-free Newton by an eigendecomposition of the Hessian (small n)",
        guarantee="monotone decrease; the step is that of |H|",
        reference="Oldewage, Clarke and Hernandez-Lobato, Series of Hessian-Vector Products; "
        "Dauphin et al. (2014), arXiv:1406.2572",
        variants=OLDEWAGE_EXACT,
    ),
    _row(
        "new-q-newton",
        DenseHessian(),
        NewQNewton(),
        ArmijoSearch(c1=1 / 3, interpolate=False, two_way=False, first_step=1.0),
        needs="hessp",
        summary="Newton with negative eigenvalues flipped, regularised by shifts (small n)",
        guarantee="Armijo's condition in each step; saddles are avoided from almost every start",
        reference="Truong (2021), New Q-Newton's method meets Backtracking line search, "
        "arXiv:2108.10249",
        variants={
            "as printed": {"units": "absolute", "spacing": 1.0},
            "no backtracking": {"units": "absolute", "spacing": 1.0, "line_search": False},
        },
        tier="study",
    ),
    _row(
        "ogr",
        GradientRegression(),
        Signed(flip="eigen", floor=1e-8),
        ArmijoSearch(first_step=1.0, two_way=False),
        summary="online regression of gradients: signed curvature of a few directions",
        guarantee="descent directions of |B| with Armijo's rule; gradients tend to zero",
        reference="Duda (2019), arXiv:1901.11457 and arXiv:1907.07063",
        variants={"moving-average": {"centre": "mean", "decay": 0.5}},
        keeps="B",
        tier="study",
    ),
    _row(
        "gd-armijo",
        ScaledIdentity(),
        SteepestDescent(),
        ArmijoSearch(first_step=1.0, two_way=False),
        summary="gradient descent with Armijo's rule; variant='two-way' for its own step lengths",
        guarantee="Armijo's condition in each step; gradients tend to zero",
        reference="Truong and Nguyen (2021), doi:10.1007/s00245-020-09718-8; "
        "Frassoldati, Zanni and Zanghirati (2008), doi:10.3934/jimo.2008.4.299",
        variants={
            "two-way": {
                "scaling": "none",
                "first_step": None,
                "two_way": True,
                "forward": True,
                "interpolate": False,
                "c1": 0.5,
            }
        },
    ),
    _row(
        "gd",
        NoCurvature(),
        SteepestDescent(),
        HeavyBall(),
        summary="gradient descent at a fixed rate, with momentum if wanted (a baseline)",
        guarantee="none: f may rise; the iterates are those of the recursion",
        reference="Polyak (1964), doi:10.1016/0041-5553(64)90137-5",
        tier="baseline",
    ),
    _row(
        "adam",
        GradientMoments(),
        AdamStep(),
        FixedRate(),
        summary="Adam at a fixed rate (a baseline)",
        guarantee="none: f may rise; the iterates are those of the recursion",
        reference="Kingma and Ba (2015), arXiv:1412.6980",
        tier="baseline",
    ),
)

_TABLE: dict[str, Method] = {row.name: row for row in _ROWS}
#: All methods, by name.  Tests, docs, the command line and benchmarks iterate over it.
METHODS: Mapping[str, Method] = MappingProxyType(_TABLE)


def register(row: Method) -> Method:
    """Add a method to ``negopt.METHODS``, for this process.

    Its name then serves wherever those of the table do: ``method=name``, the callable
    ``negopt.name``, `negopt.show_options`, and the command line when that is called from Python.

    Parameters
    ----------
    row : Method
        Its name is of lower-case letters and digits, in words joined by hyphens.

    Returns
    -------
    Method
        The same.

    Raises
    ------
    ValueError
        When the name is taken, or is not such a name.
    """
    if not re.fullmatch("[a-z][a-z0-9]*(-[a-z0-9]+)*", row.name):
        raise ValueError(f"name={row.name!r}: use lower-case words joined by hyphens.")
    if row.name in _TABLE:
        raise ValueError(f"name={row.name!r} is taken; choose another name.")
    _TABLE[row.name] = row
    return row


#: Up to this n dense models are kept by default: their updates are cheap there, and
#: they use every pair where a limited memory has to forget some (docs/defaults.md).
DENSE_LIMIT = 300


def choose(n: int, *, has_products: bool, dense: bool = False) -> str:
    """Return the method that ``method=None`` takes for n variables, given products or not.

    With `dense` it is one that keeps a dense inverse Hessian.
    """
    if dense:
        return "dqn-wolfe-pm"
    if has_products:
        return "newton-krylov"
    return "dqn-wolfe-pm" if n <= DENSE_LIMIT else "lqn-tr"
