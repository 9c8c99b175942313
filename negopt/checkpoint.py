"""Keep a run on disk: `State` <-> one versioned ``.npz`` file, without pickle."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np

import negopt.methods  # noqa: F401  - every part registers what its state is made of
from negopt.core.arrays import Array, is_array, to_host
from negopt.core.types import SAVED, State, Status

__all__ = ["load", "save"]

T = TypeVar("T")
Json = dict[str, "Json"] | list["Json"] | str | float | None
Arrays = dict[str, Array]

#: Raised whenever a file written before could no longer be read as it was meant: no other
#: format is read.  2: the memories of dense models, ``newton-krylov`` and ``tr-ellipsoid``.
FORMAT = 3
#: What to do with the file of another kind of run.
HINTS = {
    "FitState": ": it is of a training run; resume it with negopt.neural.fit(..., resume=path)",
    "State": ": it is of minimize; resume it with negopt.checkpoint.load, options={'state': ...}",
}


def save(path: str | os.PathLike[str], state: State) -> None:
    """Write `state` to `path`, whole or not at all.

    Parameters
    ----------
    path : str or path-like
        The name is used as it is; ``.npz`` is customary.
    state : State
        ``res.state`` of a run (or the result itself).

    Raises
    ------
    TypeError
        When `state` is not a state, or holds something that is not data (the state of
        a user's own method with unknown classes).
    OSError
        When the file cannot be written, or another process is writing it; an older file at
        `path` is then untouched.

    Notes
    -----
    The file is written as `replacing` does.  Arrays are stored on the host in their own type;
    the structure is JSON.

    **Guarantee**: ``load(path)`` continues bit for bit as `state` would
    (``tests/test_checkpoint.py``), and a run cut between two iterations (by `maxiter` or
    a callback) as if it had not been cut (``tests/guarantees/test_resume.py``).  A run
    cut by `maxfun` or `maxtime` in the middle of an iteration begins that one again.
    """
    state = getattr(state, "state", state)
    if not isinstance(state, State):
        raise TypeError(f"state is a {type(state).__name__}; pass res.state.")
    write(path, state)


def write(path: str | os.PathLike[str], value: object) -> None:
    """Write any tree of dataclasses registered by `negopt.core.types.saved`, as `save` does."""
    arrays: Arrays = {}
    tree = encode(value, "state", arrays)
    header = json.dumps({"format": FORMAT, "tree": tree})
    with replacing(path) as file:
        np.savez(file, __header__=np.frombuffer(header.encode(), dtype=np.uint8), **arrays)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when it is complete, or not at all.

    It is written beside it, as ``.<name>.tmp``, flushed to disk, and renamed over it.
    """
    target = Path(path)
    draft = target.with_name(f".{target.name}.tmp")
    draft.unlink(missing_ok=True)  # a process that was killed in the middle of a write left it
    with draft.open("xb") as file:
        mine = os.fstat(file.fileno())
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            file.close()
            draft.unlink(missing_ok=True)
            raise
    if not (draft.exists() and os.path.samestat(draft.stat(), mine)):
        raise OSError(
            f"{os.fspath(path)!r} is being written by another process or thread too: give each "
            "run a file of its own."
        )
    draft.replace(target)


def load(path: str | os.PathLike[str]) -> State:
    """Read a state back; its arrays are NumPy's until a run moves them to x0's library.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    State
        For ``minimize(..., options={"state": state})``.

    Raises
    ------
    ValueError
        When the file is not a checkpoint of negopt, is damaged, or of another format.
    """
    return read(path, State, "a state")


def read(path: str | os.PathLike[str], wanted: type[T], name: str) -> T:
    """Read what `write` has written of the class `wanted`, in messages called `name`."""
    try:
        # Given a path, NumPy would leave a damaged file open.
        with Path(path).open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("__header__").tobytes().decode())
        version = int(header["format"])
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"{os.fspath(path)!r} is not a negopt checkpoint.") from error
    if version > FORMAT:
        raise ValueError(
            f"{os.fspath(path)!r} has checkpoint format {version}, of a later negopt; this one "
            f"reads format {FORMAT}: update negopt."
        )
    if version < FORMAT:
        raise ValueError(
            f"{os.fspath(path)!r} has checkpoint format {version}, of an older negopt; this one "
            f"reads format {FORMAT}: resume it with the negopt that wrote it, or begin anew from "
            f"its point, x0 = numpy.load({os.fspath(path)!r})['state.iterate.x']."
        )
    tree = header["tree"]
    found = tree.get("type") if isinstance(tree, dict) else None
    if found != wanted.__name__ and (found in SAVED or found in HINTS):
        hint = HINTS.get(found, "")
        raise ValueError(f"{os.fspath(path)!r} holds a {found}, not {name}{hint}.")
    try:
        return decode(tree, arrays, wanted)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{os.fspath(path)!r} is a damaged checkpoint ({error!r}).") from error


def encode(value: object, name: str, arrays: Arrays) -> Json:
    """Return the structure of a tree, its arrays put into `arrays` under names from `name`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = type(value).__name__
        if SAVED.get(kind) is not type(value):
            raise TypeError(f"{name} is a {kind}, which checkpoints do not know.")
        fields = dataclasses.fields(value)
        return {
            "type": kind,
            "fields": {
                f.name: encode(getattr(value, f.name), f"{name}.{f.name}", arrays) for f in fields
            },
        }
    if isinstance(value, Status):
        return {"status": int(value)}
    if is_array(value) and not isinstance(value, np.generic):
        arrays[name] = value if isinstance(value, np.ndarray) else _host_in_type(value)
        return {"array": name}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, dict):
        return {"dict": {k: encode(v, f"{name}.{k}", arrays) for k, v in value.items()}}
    if isinstance(value, (list, tuple)):
        return {"list": [encode(v, f"{name}.{i}", arrays) for i, v in enumerate(value)]}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{name} is a {type(value).__name__}; a state holds arrays and numbers only.")


def _host_in_type(value: Array) -> Array:
    """Copy a device array to the host in its own precision (float64 holds float32 exactly)."""
    narrow = "float32" in str(value.dtype)
    return to_host(value).astype(np.float32 if narrow else np.float64)


def decode(tree: object, arrays: Arrays, wanted: type[T]) -> T:
    """Return what `encode` was given, which has to be of the class `wanted`."""
    value = _decode(tree, arrays)
    if not isinstance(value, wanted):
        raise TypeError(f"it holds no {wanted.__name__}")
    return value


def _decode(tree: object, arrays: Arrays) -> object:
    match tree:
        case {"type": str(kind), "fields": dict(fields)}:
            return SAVED[kind](**{k: _decode(v, arrays) for k, v in fields.items()})
        case {"array": str(name)}:
            return arrays[name]
        case {"status": int(number)}:
            return Status(number)
        case {"dict": dict(entries)}:
            return {k: _decode(v, arrays) for k, v in entries.items()}
        case {"list": list(items)}:
            return [_decode(v, arrays) for v in items]
        case dict():
            raise KeyError(*tree)
    return tree
