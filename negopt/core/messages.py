"""What the messages of a run call its options, and how they say that it can go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Words:
    """The words of one caller of the solver; by default those of `minimize`."""

    #: option of `minimize` -> what the caller has in its place; all others keep their name
    names: Mapping[str, str] = field(default_factory=dict)
    #: how a run that was cut goes on; it follows "raise maxiter"
    go_on: str = ", or go on from here with options={'state': res.state}"

    def __getitem__(self, option: str) -> str:
        """Return the caller's name of an option."""
        return self.names.get(option, option)

    def used_up(self, option: str, facts: str) -> str:
        """Return the message that a budget is used up, and what to do."""
        return f"{self[option]}={facts}; raise {self[option]}{self.go_on}"


MINIMIZE = Words()
