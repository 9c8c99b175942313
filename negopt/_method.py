"""What a method is: three parts, and what is said of them."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from negopt._options import check_choice, collect
from negopt._types import Curvature, Globalization, StepRule

__all__ = ["Method"]


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

    def with_options(self, options: Mapping[str, Any]) -> Method:
        """Return the method with each named option handed to the rule that owns it."""
        if self.variants and options.get("variant") is not None:
            check_choice("variant", options["variant"], tuple(self.variants))
            options = {**self.variants[options["variant"]], **options}
        changed = []
        for part in self.parts:
            given = collect(type(part), options)
            changed.append(dataclasses.replace(part, **given) if given else part)
        if all(new is old for new, old in zip(changed, self.parts, strict=True)):
            return self
        return dataclasses.replace(
            self, curvature=changed[0], step=changed[1], globalize=changed[2]
        )


def _in_words(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return repr(value)
    number = float(value)  # NumPy's numbers too
    return repr(int(number)) if number.is_integer() else repr(number)
