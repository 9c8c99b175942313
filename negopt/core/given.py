"""What a caller gave that is no array: as numbers of NumPy, or an error that says what it is."""

from __future__ import annotations

from typing import Any

import numpy as np

Numbers = np.ndarray[tuple[int, ...], np.dtype[Any]]


def host_numbers(value: object, said: str) -> Numbers:
    """Return numbers that are no device's (a list, a table, a matrix) as a NumPy array of them.

    Anything that NumPy makes an array of is taken, so that tables need not be imported.  `said`
    begins the message of the error: "jac returned", "'x0' is".  It is a TypeError when `value`
    holds anything but numbers, a ValueError when it is ragged or has masked entries.
    """
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(
            f"{said} an array with masked entries; give each a value, such as filled(0.0)."
        )
    try:
        given: Any = value
        out = np.asarray(given.detach() if hasattr(given, "detach") else given)
    except ValueError as error:
        raise ValueError(f"{said} {in_short(value)}, which is ragged: {error}.") from error
    except (TypeError, RuntimeError) as error:
        raise TypeError(f"{said} {in_short(value)}, not real numbers: {error}.") from error
    if out.dtype.kind == "O":
        try:
            entries = [_number(entry) for entry in out.ravel()]
        except (TypeError, ValueError, OverflowError):
            raise TypeError(f"{said} {in_short(value)}; real numbers are needed.") from None
        out = np.asarray(entries, dtype=None if entries else np.float64).reshape(out.shape)
    elif out.dtype.kind not in "biufc":
        raise TypeError(f"{said} {in_short(value)}; real numbers are needed.")
    return out


def _number(entry: object) -> float | complex:
    """Return one entry of an array of objects as a number."""
    if isinstance(entry, (str, bytes)):
        raise TypeError("text")
    if isinstance(entry, (complex, np.complexfloating)):
        return complex(entry)
    return float(entry)  # type: ignore[arg-type] # a TypeError is what is asked for


def in_short(value: object) -> str:
    """Return kind and value, for the message of an error: no array is printed whole."""
    if value is None:
        return "None"
    kind, shape = type(value).__name__, getattr(value, "shape", ())
    if shape:
        article = "an array" if isinstance(value, np.ndarray) else f"a {kind}"
        return f"{article} of shape {tuple(shape)} and type {getattr(value, 'dtype', '?')}"
    text = repr(value)
    text = text if len(text) <= 60 else text[:57] + "..."
    plain = isinstance(value, (str, bytes, bool, int, float, complex))
    return text if plain else f"{text} ({kind})"


def dense(value: object) -> Numbers:
    """Return a matrix, or a linear operator that can be written out, as an array of floats."""
    for name in ("toarray", "todense"):
        if hasattr(value, name):
            value = getattr(value, name)()
            break
    out = host_numbers(value, "it is")
    if out.dtype.kind == "c":
        raise TypeError("complex")
    return out.astype(np.float64)


def is_positive_definite(matrix: Numbers) -> bool:
    """Tell whether a symmetric matrix has a Cholesky factor."""
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return False
    return True
