"""A file that is replaced whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

if sys.platform != "win32":  # there an open file cannot be removed, which serves as well
    import fcntl

POSIX = os.name == "posix"

#: A draft that vanishes more often than this while it is opened is not to be had.
TRIES = 100


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when it is complete, or not at all.

    Parameters
    ----------
    path : str or path-like
        A link is followed: what it points to is replaced.

    Yields
    ------
    file
        Open for reading and writing, empty.

    Raises
    ------
    OSError
        When the file cannot be written, `path` is no regular file, or another process or thread is
        writing it.  The file that was there before is then untouched, and no draft is left.

    Notes
    -----
    1. The draft lies beside the file, as ``.<name>.tmp``, and is locked while it is written.  What
       a killed process has left is not locked, and is removed.
    2. Mode and, where that is allowed, group of an older file are kept; before the first byte is
       written.  A new file follows the umask.
    3. The draft is flushed to disk before it is renamed, and the folder after it.

    **Guarantee**: ``tests/test_replacing.py``.
    """
    target = Path(os.path.realpath(path))
    try:
        old: os.stat_result | None = target.stat()
    except FileNotFoundError:
        old = None
    if old is not None and not stat.S_ISREG(old.st_mode):
        raise OSError(f"{os.fspath(path)!r} is no regular file: give another name.")
    draft = target.with_name(f".{target.name}.tmp")
    descriptor = _open(draft, os.fspath(path), 0o666 if old is None else 0o600)
    file, complete = os.fdopen(descriptor, "w+b"), False
    try:
        if old is not None:
            _keep_mode(descriptor, old)
        yield file
        file.flush()
        os.fsync(descriptor)
        if POSIX:  # as long as it is locked
            draft.replace(target)
        complete = True
    finally:
        if POSIX and not complete:
            with contextlib.suppress(OSError):
                draft.unlink()
        with contextlib.suppress(OSError):  # what could not be written cannot be now
            file.close()
        if not POSIX and not complete:  # where an open file can be neither removed nor renamed
            draft.unlink(missing_ok=True)
    if POSIX:
        _sync_folder(target.parent)
    else:
        draft.replace(target)


def _open(draft: Path, name: str, mode: int) -> int:
    """Create the draft, and lock it; remove one that nobody is writing."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
    for extra in ("O_CLOEXEC", "O_BINARY", "O_NOFOLLOW"):
        flags |= getattr(os, extra, 0)
    for _ in range(TRIES):
        try:
            descriptor = os.open(draft, flags, mode)
        except FileExistsError:
            _remove(draft, name)
            continue
        if _lock(descriptor) and _is_at(descriptor, draft):
            return descriptor
        os.close(descriptor)  # somebody took it for one that was left
    raise _busy(name)


def _remove(draft: Path, name: str) -> None:
    """Remove a draft that a killed process has left; raise where it is being written."""
    if sys.platform == "win32" or draft.is_symlink():
        try:
            draft.unlink(missing_ok=True)
        except PermissionError:
            raise _busy(name) from None
        return
    try:
        descriptor = os.open(draft, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not _lock(descriptor):
            raise _busy(name)
        if _is_at(descriptor, draft):
            draft.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Lock an open file; False where another one has done so.  No locks there: it goes without."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _is_at(descriptor: int, draft: Path) -> bool:
    """Tell whether an open file is still the one of that name."""
    if sys.platform == "win32":
        return True
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(draft))
    except FileNotFoundError:
        return False


def _busy(name: str) -> OSError:
    return OSError(
        f"{name!r} is being written by another process or thread too: give each run a file of its "
        "own."
    )


def _keep_mode(descriptor: int, old: os.stat_result) -> None:
    """Give a new file the mode of the old one, and its group; no more than that to another one."""
    if sys.platform == "win32":
        return
    mode = stat.S_IMODE(old.st_mode) & 0o777
    mine = os.fstat(descriptor)
    if (mine.st_uid, mine.st_gid) != (old.st_uid, old.st_gid):
        with contextlib.suppress(OSError):  # the owner only root may give away
            os.fchown(descriptor, old.st_uid, -1)
        try:
            os.fchown(descriptor, -1, old.st_gid)
        except OSError:
            mode &= 0o707
    os.fchmod(descriptor, mode)


def _sync_folder(folder: Path) -> None:
    """Have a renamed file found under its name after a crash, where the file system does that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
