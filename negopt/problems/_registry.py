"""The list of problems: how one is declared, found and built."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy.typing as npt

from negopt.problems._models import Model
from negopt.problems._problem import Problem, frozen


@dataclass(frozen=True, eq=False)
class Setup:
    """What the builder of a problem returns; the fields are those of `Problem`."""

    model: Model
    x0: npt.ArrayLike
    minimum: float | None = None
    minimizer: npt.ArrayLike | None = None
    local_minima: tuple[float, ...] = ()
    saddles: tuple[npt.ArrayLike, ...] = ()
    starts: tuple[npt.ArrayLike, ...] = ()


Builder = Callable[..., Setup]


@dataclass(frozen=True)
class _Entry:
    name: str
    build: Builder
    n: int
    fixed: bool
    least: int
    most: int | None
    multiple: int
    tags: frozenset[str]
    reference: str

    def nearest(self, n: int) -> int:
        """Return the admissible dimension nearest to `n` from below, or the least."""
        if self.fixed:
            return self.n
        n = n if self.most is None else min(n, self.most)
        return max(self.least, n - n % self.multiple)

    def check(self, n: int | None) -> int:
        """Return the dimension to build, or raise what is wrong with `n`."""
        if n is None:
            return self.n
        if isinstance(n, bool) or not hasattr(n, "__index__"):
            raise ValueError(f"'n' must be a positive integer; got {n!r}. Pass for example 10.")
        n = n.__index__()
        if self.fixed and n != self.n:
            raise ValueError(
                f"'n' must be {self.n} for problem '{self.name}', whose dimension is fixed; "
                f"got {n}. Leave 'n' out."
            )
        if n != self.nearest(n):
            rule = f"at least {self.least}"
            if self.most is not None:
                rule += f" and at most {self.most}"
            if self.multiple > 1:
                rule += f" and a multiple of {self.multiple}"
            raise ValueError(
                f"'n' must be {rule} for problem '{self.name}'; got {n}. "
                f"Use for example {self.nearest(n)}."
            )
        return n


_ENTRIES: dict[str, _Entry] = {}


def problem(
    name: str,
    n: int,
    *,
    tags: str,
    reference: str,
    fixed: bool = False,
    least: int = 1,
    most: int | None = None,
    multiple: int = 1,
) -> Callable[[Builder], Builder]:
    """Declare a problem; decorates its builder ``(n, **params) -> Setup``.

    `n` is the default dimension, or with `fixed` the only one; `least`, `most` and `multiple` say
    which others there are.  `tags` are families, separated by blanks, to which ``"fixed"`` or
    ``"variable"`` is added; `reference` is the source with DOI.
    """
    families = frozenset([*tags.split(), "fixed" if fixed else "variable"])

    def declare(build: Builder) -> Builder:
        if name in _ENTRIES:
            raise ValueError(f"'name' {name!r} is taken; choose another name.")
        _ENTRIES[name] = _Entry(name, build, n, fixed, least, most, multiple, families, reference)
        return build

    return declare


def get(name: str, n: int | None = None, **params: object) -> Problem:
    """Build a test problem.

    Parameters
    ----------
    name : str
        One of `names`.
    n : int, default None
        Number of variables; None is the problem's default dimension.
    **params
        Parameters of the family, for example ``m`` (number of residuals) or ``seed``.

    Returns
    -------
    Problem
        The objective object.

    Raises
    ------
    ValueError
        For an unknown name (the message gives the nearest ones) or an `n` that the
        problem does not admit.
    TypeError
        For a parameter that the problem does not have.

    Examples
    --------
    >>> from negopt import problems
    >>> p = problems.get("rosenbrock")
    >>> float(p.fun(p.x0))
    24.199999999999996
    """
    entry = _ENTRIES.get(name)
    if entry is None:
        near = difflib.get_close_matches(str(name), _ENTRIES, n=3, cutoff=0.5)
        hint = f"Did you mean {', '.join(map(repr, near))}?" if near else "See problems.names()."
        raise ValueError(f"'name' {name!r} is not a known problem. {hint}")
    known = list(inspect.signature(entry.build).parameters)[1:]
    unknown = sorted(set(params) - set(known))
    if unknown:
        has = f"its parameters are {known}" if known else "it has no parameters"
        raise TypeError(f"Problem '{name}' has no parameter '{unknown[0]}'; {has} besides 'n'.")
    size = entry.check(n)
    setup = entry.build(size, **params)
    return Problem(
        name=name,
        n=size,
        x0=frozen(setup.x0),
        model=setup.model,
        minimum=setup.minimum,
        local_minima=setup.local_minima,
        minimizer=None if setup.minimizer is None else frozen(setup.minimizer),
        saddles=tuple(frozen(s) for s in setup.saddles),
        starts=tuple(frozen(s) for s in setup.starts),
        reference=entry.reference,
        tags=entry.tags,
        formula=inspect.cleandoc(entry.build.__doc__ or ""),
    )


def names(tag: str | None = None) -> list[str]:
    """Return the names of all problems, or of those with a tag.

    Parameters
    ----------
    tag : str, default None
        A family such as ``"mgh"``, ``"chain"``, ``"nist"``, ``"saddle"``,
        ``"least-squares"``, ``"fixed"`` or ``"variable"``; None is all.

    Returns
    -------
    list of str
        In the order of declaration.

    Raises
    ------
    ValueError
        When no problem has the tag.
    """
    if tag is None:
        return list(_ENTRIES)
    found = [e.name for e in _ENTRIES.values() if tag in e.tags]
    if not found:
        tags = sorted(frozenset().union(*(e.tags for e in _ENTRIES.values())))
        raise ValueError(f"'tag' {tag!r} is not a known tag. Use one of {', '.join(tags)}.")
    return found


def collection(tag: str | None = None, n: int | None = None) -> Iterator[Problem]:
    """Build all problems, or those with a tag, one after the other.

    Parameters
    ----------
    tag : str, default None
        A family as in `names`; None is all.
    n : int, default None
        Dimension of the problems of variable dimension, lowered to the nearest
        admissible one; problems of fixed dimension keep theirs.  None is each
        problem's default.

    Returns
    -------
    iterator of Problem
        Problems are built when they are asked for.

    Raises
    ------
    ValueError
        When no problem has the tag, or `n` is not a positive integer.
    """
    if n is not None and n < 1:
        raise ValueError(f"'n' must be a positive integer; got {n!r}. Pass for example 100.")
    chosen = names(tag)
    return (get(name, None if n is None else _ENTRIES[name].nearest(n)) for name in chosen)
