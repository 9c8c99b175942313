"""Lines of text files, compressed or not, with errors that name file and line."""

from __future__ import annotations

import contextlib
import importlib
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NoReturn, TypeAlias

PathLike: TypeAlias = "str | os.PathLike[str]"


def bad_line(path: PathLike, line: int, problem: str) -> NoReturn:
    """Raise the ``ValueError`` of a bad line."""
    raise ValueError(f"{Path(path).name}, line {line}: {problem}")


def _open(path: PathLike) -> IO[str]:
    """Open a text file, unpacking .xz, .gz and .bz2 by their first bytes."""
    with Path(path).open("rb") as file:
        head = file.read(6)
    opener: Callable[..., IO[str]] = open
    if head == b"\xfd7zXZ\x00":
        opener = importlib.import_module("lzma").open
    elif head[:2] == b"\x1f\x8b":
        opener = importlib.import_module("gzip").open
    elif head[:3] == b"BZh":
        opener = importlib.import_module("bz2").open
    # Bytes that are not UTF-8 become a replacement sign, which is reported with its line.
    return opener(path, "rt", encoding="utf-8-sig", errors="replace")


def content_lines(path: PathLike) -> Iterator[tuple[int, str]]:
    """Yield ``(line number from 1, text)`` without comments after ``#`` and blank lines."""
    import lzma
    import zlib

    number = 0
    with contextlib.closing(_open(path)) as file:
        try:
            for number, line in enumerate(file, start=1):
                text = line.partition("#")[0].strip()
                if text:
                    yield number, text
        except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
            bad_line(path, number + 1, f"the compressed file is damaged ({error}).")


def finite_number(text: str) -> float | None:
    """Return the finite number that `text` spells, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    # Python's float() also takes "1_000"; a data file that holds this is damaged.
    return value if math.isfinite(value) and "_" not in text else None
