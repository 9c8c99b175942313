"""The table of methods: curvature + step + globalisation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from negopt._options import check_choice, collect
from negopt._types import Curvature, Globalization, StepRule
from negopt.curvature.lqn import HybridPairs
from negopt.curvature.lsr1 import LSR1
from negopt.curvature.products import HessianProducts
from negopt.curvature.sr1 import SR1
from negopt.globalize.damping import AdaptiveDamping
from negopt.globalize.trust_region import TrustRegion
from negopt.globalize.wolfe import WolfeSearch
from negopt.steps.krylov_tr import KrylovTrustRegion
from negopt.steps.sfn_series import SaddleFreeSeries
from negopt.steps.signed import Signed
from negopt.steps.spectral_tr import SpectralTrustRegion

__all__ = ["METHODS", "Method", "choose"]


@dataclass(frozen=True)
class Method:
    """A method is three parts.

    Parameters
    ----------
    name : str
    curvature : Curvature
        What is believed about the Hessian.
    step : StepRule
        From that to a step.
    globalize : Globalization
        How far, and is it accepted.
    needs : {"jac", "hessp"}
        Derivatives that the method lives on.  What is missing is taken by differences.
    summary, guarantee, reference : str
        One line each, for the docs and the command line.
    variants : mapping, optional
        Named settings, such as those of a source document: name -> options.  Asked for by
        ``options={"variant": name}``; options given beside it come first.
    baseline : bool, default False
        Here to be compared with: with its default options it need not converge.
    """

    name: str
    curvature: Curvature
    step: StepRule
    globalize: Globalization
    needs: str = "jac"
    summary: str = ""
    guarantee: str = ""
    reference: str = field(default="", repr=False)
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False, hash=False)
    baseline: bool = False

    @property
    def parts(self) -> tuple[Any, Any, Any]:
        """The three rules."""
        return (self.curvature, self.step, self.globalize)

    def option_names(self) -> set[str]:
        """Return the names of all options that the three rules own."""
        names = {f.name for part in self.parts for f in dataclasses.fields(part)}
        return names | ({"variant"} if self.variants else set())

    def with_options(self, options: Mapping[str, Any]) -> Method:
        """Return the method with each named option handed to the rule that owns it."""
        if self.variants and options.get("variant") is not None:
            check_choice("variant", options["variant"], tuple(self.variants))
            options = {**self.variants[options["variant"]], **options}
        changed = [dataclasses.replace(part, **collect(type(part), options)) for part in self.parts]
        return dataclasses.replace(
            self, curvature=changed[0], step=changed[1], globalize=changed[2]
        )


_ROWS = (
    Method(
        "lqn-tr",
        HybridPairs(),
        SpectralTrustRegion(),
        TrustRegion(),
        needs="jac",
        summary="limited-memory BFGS/SR1 pairs in an exact trust region (default, gradients)",
        guarantee="global convergence to stationary points; steps of negative model curvature",
        reference="Brust, Erway and Marcia (2017), doi:10.1007/s10589-016-9868-3",
    ),
    Method(
        "newton-krylov",
        HessianProducts(),
        KrylovTrustRegion(),
        TrustRegion(shrink=0.25),
        needs="hessp",
        summary="Lanczos trust region with the basis re-used (default, Hessian products)",
        guarantee="global convergence to stationary points",
        reference="Gould, Lucidi, Roma and Toint (1999), doi:10.1137/S1052623497322735",
    ),
    Method(
        "lsr1-tr",
        LSR1(),
        SpectralTrustRegion(),
        # A model that is so often wrong is better off with a radius that grows slowly.
        TrustRegion(first_grow=2.0),
        needs="jac",
        summary="limited-memory SR1, indefinite, in an exact trust region",
        guarantee="global convergence to stationary points; exact subproblem, hard case included",
        reference="Ramamurthy and Duffy (2016), L-SR1; Brust, Erway and Marcia (2017), "
        "doi:10.1007/s10589-016-9868-3",
    ),
    Method(
        "lsr1-wolfe-pm",
        LSR1(),
        Signed(flip="eigen"),
        WolfeSearch(),
        needs="jac",
        summary="limited-memory SR1 with a Wolfe search; flip='direction' for steps of both signs",
        guarantee="Wolfe conditions of the signed step; bounded Zoutendijk sum",
        reference="Shea and Schmidt (2024), Don't Be So Positive",
    ),
    Method(
        "sr1-wolfe-pm",
        SR1(),
        Signed(),
        WolfeSearch(),
        needs="jac",
        summary="dense SR1 with a Wolfe search of positive and negative steps (default, small n)",
        guarantee="Wolfe conditions of the signed step; bounded Zoutendijk sum",
        reference="Shea and Schmidt (2024), Don't Be So Positive",
    ),
    Method(
        "sfn-series",
        HessianProducts(),
        SaddleFreeSeries(),
        AdaptiveDamping(),
        needs="hessp",
        summary="saddle-free Newton from Hessian products: Krylov space or binomial series",
        guarantee="monotone decrease; the step is that of |H| when the space is complete",
        reference="Oldewage, Clarke and Hernandez-Lobato, Series of Hessian-Vector Products; "
        "Dauphin et al. (2014), arXiv:1406.2572",
    ),
)

#: All methods, by name.  Tests, docs, the command line and benchmarks iterate over it.
METHODS: Mapping[str, Method] = MappingProxyType({row.name: row for row in _ROWS})

#: Up to this n the dense model is kept by default: its updates are cheap there, and it
#: reaches a tight tolerance where a limited memory gives up.
DENSE_LIMIT = 20


def choose(n: int, *, has_products: bool) -> str:
    """Return the method that ``method=None`` takes.

    Parameters
    ----------
    n : int
        Number of variables.
    has_products : bool
        Whether the caller gave second derivatives.
    """
    if has_products:
        return "newton-krylov"
    return "sr1-wolfe-pm" if n <= DENSE_LIMIT else "lqn-tr"
