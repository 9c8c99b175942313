"""What a method is: three parts, and what is said of them."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar, cast, get_args

from negopt.core.options import Rule, check_choice, collect
from negopt.core.protocols import AnyCurvature, AnyGlobalization, AnyStepRule

T = TypeVar("T")
Tier = Literal["recommended", "specialised", "study", "baseline"]

#: In the order in which methods are shown.
TIERS: tuple[Tier, ...] = get_args(Tier)


@dataclass(frozen=True)
class Method:
    """A method is three parts.

    Parameters
    ----------
    name : str
    curvature : Curvature
        The model of the Hessian.
    step : StepRule
        From the model to a step.
    globalize : Globalization
        How far the step goes, and whether it is accepted.
    needs : {"jac", "hessp"}
        Derivatives that the method requires.  What is missing is taken by differences.
    summary, guarantee, reference : str
        One line each, for the docs and the command line.
    variants : mapping, optional
        Named settings, such as those of a source document: name -> options.  Asked for by
        ``options={"variant": name}``; options given beside it come first.
    keeps : {"B", "H"}, optional
        What the pairs of a run make a model of: the Hessian B, whose operator has ``matvec``
        and ``solve``; or its inverse H alone, whose operator has ``solve``, and ``matrix``
        where H is dense.  None: no model that could be handed out.
    secant : bool, default False
        Whether the model satisfies the secant equation of the newest pair kept.
    positive : bool, default False
        Whether the model is positive definite, so that a pair without positive curvature is
        skipped.
    tier : {"recommended", "specialised", "study", "baseline"}, default "specialised"
        For whom it is: everyone; some problems; the comparison with a publication; or to
        be compared with, and then it need not converge with its default options.
    """

    name: str
    curvature: AnyCurvature
    step: AnyStepRule
    globalize: AnyGlobalization
    needs: Literal["jac", "hessp"] = "jac"
    summary: str = ""
    guarantee: str = ""
    reference: str = field(default="", repr=False)
    variants: Mapping[str, Mapping[str, object]] = field(
        default_factory=dict, repr=False, hash=False
    )
    keeps: Literal["B", "H"] | None = None
    secant: bool = False
    positive: bool = False
    tier: Tier = "specialised"

    @property
    def baseline(self) -> bool:
        """Whether it is here to be compared with only."""
        return self.tier == "baseline"

    @property
    def parts(self) -> tuple[Rule, Rule, Rule]:
        """The three rules."""
        return cast("tuple[Rule, Rule, Rule]", (self.curvature, self.step, self.globalize))

    def described(self) -> dict[str, str]:
        """Return the value of every option in words; numbers that are equal read the same."""
        own = {
            f.name: getattr(part, f.name) for part in self.parts for f in dataclasses.fields(part)
        }
        return {name: _in_words(value) for name, value in own.items()}

    def option_names(self) -> set[str]:
        """Return the names of all options that the three rules own."""
        names = {f.name for part in self.parts for f in dataclasses.fields(part)}
        return names | ({"variant"} if self.variants else set())

    def variant_table(self) -> list[tuple[str, str]]:
        """Return rows (name, settings) of the variants."""
        return [
            (name, ", ".join(f"{key}={value!r}" for key, value in settings.items()))
            for name, settings in self.variants.items()
        ]

    def with_options(self, options: Mapping[str, object]) -> Method:
        """Return the method with each named option handed to the rule that owns it."""
        variant = options.get("variant")
        if self.variants and variant is not None:
            check_choice("variant", variant, tuple(self.variants))
            options = {**self.variants[str(variant)], **options}
        curvature, step = _changed(self.curvature, options), _changed(self.step, options)
        globalize = _changed(self.globalize, options)
        if curvature is self.curvature and step is self.step and globalize is self.globalize:
            return self
        return dataclasses.replace(self, curvature=curvature, step=step, globalize=globalize)


def _changed(part: T, options: Mapping[str, object]) -> T:
    """Return the rule with the options that it owns."""
    given = collect(type(part), options)
    return dataclasses.replace(part, **given) if given else part  # type: ignore[type-var]


def _in_words(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return repr(value)
    number = float(value)  # NumPy's numbers too
    return repr(int(number)) if number.is_integer() else repr(number)
