"""What ends a command early, and how it is told in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class UsageError(Exception):
    """A mistake of the caller's: one line on stderr, exit code 2."""


class Interrupted(Exception):
    """Ctrl-C, with what was saved: one line on stderr, exit code 130."""


def interrupted(path: str | None, at: str | None, kept: str | None) -> Interrupted:
    """Return the end of a run that was to be saved in `path`.

    `at` is where it ended, None where that is not known; `kept` says which checkpoint there is,
    None where there is none.
    """
    where = "interrupted" if at is None else f"interrupted after {at}"
    if path is None:
        return Interrupted(f"{where}; nothing was saved (--checkpoint F keeps a run)")
    if kept is None:
        return Interrupted(f"{where}; nothing was saved yet")
    return Interrupted(
        f"{where}; the last checkpoint is {path}{kept}: resume it with `negopt resume {path}`"
    )


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Tell in one line why the checkpoint `path` cannot be read."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot read the checkpoint {path}: {reason(error)}") from error
    except ValueError as error:
        raise UsageError(reason(error)) from error


def one_line(text: object) -> str:
    """Return `text` on a single line."""
    return " ".join(str(text).split())


def reason(error: BaseException) -> str:
    """Return what `error` says on one line, with its type where that helps."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower() if error.strerror.isascii() else error.strerror
    text = one_line(error)
    if isinstance(error, (ValueError, TypeError)) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def nearest(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean ...?" for an unknown `name`, or nothing."""
    by_case = {item.lower(): item for item in known}
    near = difflib.get_close_matches(name.lower(), by_case, n=3, cutoff=0.5)
    return f" Did you mean {', '.join(by_case[item] for item in near)}?" if near else ""
