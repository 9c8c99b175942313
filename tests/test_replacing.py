"""A file is replaced whole or not at all, with the mode it had, by one writer at a time."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from negopt.core.files import replacing

posix = pytest.mark.skipif(os.name != "posix", reason="modes, links and limits are POSIX's")


def write(path, data=b"new") -> None:
    with replacing(path) as file:
        file.write(data)


def test_whole_or_not_at_all(tmp_path) -> None:
    path = tmp_path / "file"
    write(path, b"old")

    def interrupted() -> None:
        with replacing(path) as file:
            file.write(b"ha")
            assert path.read_bytes() == b"old"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    write(path)
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@posix
@pytest.mark.parametrize("mode", [0o640, 0o600, 0o644, 0o664, 0o606])
def test_the_mode_of_an_older_file_is_kept(mode, tmp_path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(mode)
    before = os.umask(0o022)
    try:
        with replacing(path) as file:  # nobody else may read what he could not before
            assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == mode
            file.write(b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_bytes() == b"new"


@posix
def test_a_link_is_followed(tmp_path) -> None:
    real, link = tmp_path / "there" / "real", tmp_path / "link"
    real.parent.mkdir()
    link.symlink_to(real)
    for data in (b"first", b"second"):  # the first time it points to nothing
        write(link, data)
        assert link.is_symlink()
        assert real.read_bytes() == data
        assert list(real.parent.iterdir()) == [real]


@posix
def test_what_stands_in_the_place_of_the_draft_is_not_written_through(tmp_path) -> None:
    path, other = tmp_path / "file", tmp_path / "other"
    other.write_bytes(b"precious")
    draft = tmp_path / ".file.tmp"
    for plant in (draft.symlink_to, draft.hardlink_to):
        plant(other)
        write(path)
        assert other.read_bytes() == b"precious"
        assert sorted(tmp_path.iterdir()) == [path, other]


@posix
def test_what_is_no_file_is_refused(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path(os.devnull)):
        before = set(tmp_path.iterdir())
        with pytest.raises(OSError, match=r"is no regular file: give another name"):
            write(path)
        assert set(tmp_path.iterdir()) == before
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "nowhere" / "file")


@posix
@pytest.mark.parametrize("limit", [1000, 5000, 9000])
def test_a_limit_on_the_size_of_files_leaves_no_draft(limit, tmp_path) -> None:
    """Buffered bytes that cannot be written when the file is closed are no second error."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    code = (
        "import resource, signal, sys\n"
        "from negopt.core.files import replacing\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "try:\n"
        "    with replacing(sys.argv[1]) as file:\n"
        "        for _ in range(20):\n"
        "            file.write(bytes(500))\n"
        "except OSError as error:\n"
        "    print('refused', error.errno)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
        # Whoever measures coverage writes files too, which the limit is not for.
        env={name: value for name, value in os.environ.items() if not name.startswith("COV")},
    )
    assert done.stdout.startswith("refused")
    assert done.stderr == ""
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@posix
def test_the_file_is_on_disk_before_its_name_and_the_name_before_the_end(
    tmp_path, monkeypatch
) -> None:
    path, calls = tmp_path / "file", []
    fsync, rename = os.fsync, Path.replace

    def synced(descriptor):
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        assert os.fstat(descriptor).st_size > 0  # nothing is left in a buffer
        fsync(descriptor)

    def renamed(self, target):
        calls.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    write(path)
    assert calls == ["file", "rename", "folder"]


def test_a_failed_rename_leaves_no_draft(tmp_path, monkeypatch) -> None:
    def refused(self, target):
        raise PermissionError("no")

    monkeypatch.setattr(Path, "replace", refused)
    if os.name != "posix":
        pytest.skip("there it is the last thing done")
    with pytest.raises(PermissionError):
        write(tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_one_writer_at_a_time(tmp_path) -> None:
    path = tmp_path / "file"
    with replacing(path) as file:
        file.write(b"first")
        with pytest.raises(OSError, match=r"another process or thread too: give each run a file"):
            write(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_many_writers_leave_one_of_their_files_whole(tmp_path) -> None:
    """Every read finds a whole file; who was not refused has written his."""
    path, barrier, written = tmp_path / "file", threading.Barrier(6), []
    wholes = [bytes([65 + i]) * 200_000 for i in range(6)]
    write(path, wholes[0])

    def run(i) -> None:
        barrier.wait()
        for _ in range(20):
            try:
                write(path, wholes[i])
            except OSError as error:
                assert "another process or thread" in str(error)  # noqa: PT017
            else:
                written.append(i)
            if path.read_bytes() not in wholes:
                written.append(-1)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(written) > 0
    assert -1 not in written
    assert path.read_bytes() in wholes
    assert list(tmp_path.iterdir()) == [path]
