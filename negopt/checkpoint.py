"""Keep a run on disk: `State` <-> one versioned ``.npz`` file, without pickle."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import math
import os
import zipfile
from pathlib import Path
from typing import IO, BinaryIO, TypeVar

import numpy as np
from numpy.lib import format as npy

import negopt.methods  # noqa: F401  - every part registers what its state is made of
from negopt.core.arrays import Array, is_array, to_host
from negopt.core.checks import MISSING, check_tree
from negopt.core.files import replacing
from negopt.core.types import SAVED, Certificate, State, Status
from negopt.solver.resume import check_state

__all__ = ["load", "save"]

T = TypeVar("T")
Json = dict[str, "Json"] | list["Json"] | str | float | None
Arrays = dict[str, Array]

#: Raised whenever a file written before could no longer be read as it was meant, or has to be
#: told apart.  2: the memories of dense models, ``newton-krylov`` and ``tr-ellipsoid``.
#: 4: a checksum.
FORMAT = 4
#: Oldest format that is read.
OLDEST = 3
#: What stands before the checksum at the end of a file.
SEAL = b"negopt checkpoint, sha256 "
#: Kinds of NumPy's types that arrays may have.
NUMBERS = "biufc"
#: NumPy's readers of an array's type and shape.
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
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
    The file is written as `negopt.core.files.replacing` does: a link is followed, mode and group
    of an older file are kept, a crash leaves one of the two whole.  Arrays are stored on the host
    in their own type; the structure is JSON; the SHA-256 of all that is its end.

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
        _seal(file)


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
        When the file is not a checkpoint of negopt, is damaged, or of another format, or holds
        what no run has left.

    Notes
    -----
    **Guarantee**: no file, whatever it holds, has code run or names looked up that it chooses, nor
    more memory taken than in proportion to its size (``tests/test_hostile_states.py``).
    """
    return read(path, State, "a state")


def read(path: str | os.PathLike[str], wanted: type[T], name: str) -> T:
    """Read what `write` has written of the class `wanted`, in messages called `name`.

    Nothing is believed: the checksum is compared first, sizes are bounded by that of the file
    before anything is read, and every field is checked (`negopt.core.checks`).
    """
    where = repr(os.fspath(path))
    with Path(path).open("rb") as file:
        sealed = _check_seal(file, where)
        try:
            arrays = _members(file)
            header = json.loads(arrays.pop("__header__").tobytes().decode())
            version, tree = header["format"], header["tree"]
            if type(version) is not int:
                raise TypeError("the format is no integer")
        except Exception as error:
            # Of a damaged file a part may seem to lie before the beginning: that is EINVAL.
            if isinstance(error, OSError) and error.errno != errno.EINVAL:
                raise
            raise ValueError(f"{where} is not a negopt checkpoint ({error}).") from error
    if version > FORMAT:
        raise ValueError(
            f"{where} has checkpoint format {version}, of a later negopt; this one reads formats "
            f"{OLDEST} to {FORMAT}: update negopt."
        )
    if version < OLDEST:
        raise ValueError(
            f"{where} has checkpoint format {version}, of an older negopt; this one reads formats "
            f"{OLDEST} to {FORMAT}: resume it with the negopt that wrote it, or begin anew from "
            f"its point, x0 = numpy.load({where})['state.iterate.x']."
        )
    if version >= 4 and not sealed:
        raise ValueError(f"{where} is a damaged checkpoint: it has no checksum.")
    found = tree.get("type") if isinstance(tree, dict) else None
    if isinstance(found, str) and found != wanted.__name__ and (found in SAVED or found in HINTS):
        hint = HINTS.get(found, "")
        raise ValueError(f"{where} holds a {found}, not {name}{hint}.")
    try:
        value = decode(tree, arrays, wanted, version)
        check_saved(value)
    except ValueError as error:
        raise ValueError(f"{where} is a damaged checkpoint: {error}") from error
    return value


def check_saved(value: object) -> None:
    """Raise ValueError unless every field of a state, or of a training run, may be one."""
    state = value if isinstance(value, State) else getattr(value, "solver", None)
    if not isinstance(state, State):
        raise ValueError("it holds no State.")
    n = check_state(state, "state")
    if value is not state:
        check_tree(value, MISSING, n, "run")


# --- the file -------------------------------------------------------------------------------


def _seal(file: BinaryIO) -> None:
    """Add the checksum of everything before it, as the comment that ends a zip file."""
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = SEAL + b"0" * 64
    file.seek(-64, os.SEEK_END)
    end = file.tell()
    file.write(_digest(file, end))


def _digest(file: BinaryIO, end: int) -> bytes:
    """Return the SHA-256 of the first `end` bytes, in digits; the file is left at `end`."""
    file.seek(0)
    digest, left = hashlib.sha256(), end
    while left > 0:
        block = file.read(min(left, 1 << 20))
        if not block:
            break
        digest.update(block)
        left -= len(block)
    return digest.hexdigest().encode()


def _check_seal(file: BinaryIO, where: str) -> bool:
    """Return whether the file has a checksum; raise where it is another one."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - len(SEAL) - 64, 0))
    found = file.read()
    sealed = found.startswith(SEAL)
    if sealed and _digest(file, size - 64) != found[len(SEAL) :]:
        raise ValueError(
            f"{where} is a damaged checkpoint: its checksum is not that of its contents. Take an "
            "older copy, or begin anew."
        )
    file.seek(0)
    return sealed


def _members(file: BinaryIO) -> Arrays:
    """Return the arrays of an ``.npz``; their sizes are looked at before anything is read."""
    size = file.seek(0, os.SEEK_END)
    arrays: Arrays = {}
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if any(one.compress_type != zipfile.ZIP_STORED for one in members):
            raise ValueError("a part of it is compressed, which negopt's never are")
        if sum(one.file_size for one in members) > size:
            raise ValueError("its parts are larger than itself")
        for one in members:
            name = one.filename.removesuffix(".npy")
            if name in arrays:
                raise ValueError(f"it holds {name} twice")
            with archive.open(one) as member:
                arrays[name] = _array(member, one.file_size)
    return arrays


def _array(member: IO[bytes], size: int) -> Array:
    """Return the array of an ``.npy`` of `size` bytes."""
    version = npy.read_magic(member)
    if version not in HEADERS:
        raise ValueError(f"its arrays have format {version}")
    shape, in_columns, dtype = HEADERS[version](member)
    if dtype.kind not in NUMBERS or dtype.itemsize > (16 if dtype.kind == "c" else 8):
        raise ValueError(f"it holds an array of type {dtype}")
    if math.prod(shape) * dtype.itemsize != size - member.tell():
        raise ValueError(f"an array of shape {shape} is cut, or longer than it says")
    flat = np.frombuffer(bytearray(member.read()), dtype)
    return flat.astype(dtype.newbyteorder("="), copy=False).reshape(
        shape, order="F" if in_columns else "C"
    )


# --- the tree -------------------------------------------------------------------------------


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
        array = value if isinstance(value, np.ndarray) else _host_in_type(value)
        if array.dtype.kind not in NUMBERS:
            raise TypeError(f"{name} is an array of {array.dtype}; a state holds numbers only.")
        arrays[name] = array
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


def decode(tree: object, arrays: Arrays, wanted: type[T], version: int = FORMAT) -> T:
    """Return what `encode` was given, of the class `wanted`; ValueError where it was not that."""
    try:
        value = _decode(tree, arrays, version)
    except RecursionError:
        raise ValueError("its parts are nested too deeply.") from None
    except KeyError as missing:
        raise ValueError(f"it lacks {missing}.") from None
    except (TypeError, ValueError) as error:
        raise ValueError(f"a part of it is of another version ({error}).") from error
    if not isinstance(value, wanted):
        raise ValueError(f"it holds no {wanted.__name__}.")
    return value


def _decode(tree: object, arrays: Arrays, version: int) -> object:
    match tree:
        case {"type": "Certificate", "fields": dict()} if version == 3:
            return Certificate()  # the verdict of another check: it is made anew
        case {"type": str(kind), "fields": dict(fields)}:
            return SAVED[kind](**{k: _decode(v, arrays, version) for k, v in fields.items()})
        case {"array": str(name)}:
            return arrays[name]
        case {"status": int(number)}:
            return Status(number)
        case {"dict": dict(entries)}:
            return {k: _decode(v, arrays, version) for k, v in entries.items()}
        case {"list": list(items)}:
            return [_decode(v, arrays, version) for v in items]
        case dict() | list():
            raise KeyError(str(tree)[:40])
    return tree
