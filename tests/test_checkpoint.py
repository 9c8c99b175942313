"""States on disk: whole or not at all, without pickle, in versions."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der

import negopt
from negopt import checkpoint
from negopt.solver.resume import adopt


def run(method="lsr1-tr", **options):
    return negopt.minimize(
        rosen, np.tile([-1.2, 1.0], 3), jac=rosen_der, method=method, options=options
    )


def leaves(value, name="state"):
    """Yield every leaf of a tree of dataclasses."""
    if dataclasses.is_dataclass(value):
        for f in dataclasses.fields(value):
            yield from leaves(getattr(value, f.name), f"{name}.{f.name}")
    elif isinstance(value, dict):
        for key, v in value.items():
            yield from leaves(v, f"{name}.{key}")
    else:
        yield name, value


@pytest.mark.parametrize("method", list(negopt.METHODS))
@pytest.mark.parametrize("maxiter", [0, 7])
def test_what_is_written_comes_back_bit_for_bit(method, maxiter, tmp_path) -> None:
    state = run(method, maxiter=maxiter, record=True).state
    path = tmp_path / "run.npz"
    checkpoint.save(path, state)
    for (name, one), (other_name, other) in zip(
        leaves(state), leaves(checkpoint.load(path)), strict=True
    ):
        assert name == other_name
        assert type(one) is type(other), name
        if isinstance(one, list):
            assert np.array_equal(np.array(one), np.array(other), equal_nan=True), name
        elif isinstance(one, np.ndarray):
            assert one.dtype == other.dtype, name
            assert np.array_equal(one, other, equal_nan=True), name
        else:
            assert one == other or one != one, name


def test_a_result_may_be_saved_and_paths_are_text_or_paths(tmp_path) -> None:
    res = run(maxiter=3)
    checkpoint.save(str(tmp_path / "a"), res)
    checkpoint.save(tmp_path / "b.npz", res.state)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b.npz"]
    assert checkpoint.load(str(tmp_path / "a")).k == 3


def test_a_path_without_a_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint.save("here.npz", run(maxiter=1))
    assert checkpoint.load("here.npz").k == 1


def test_a_file_without_pickle(tmp_path) -> None:
    checkpoint.save(tmp_path / "a", run(maxiter=3))
    with np.load(tmp_path / "a", allow_pickle=False) as file:
        header = json.loads(file["__header__"].tobytes())
        assert all(file[name].dtype.kind in "fiu" for name in file.files)
    assert header["format"] == checkpoint.FORMAT


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch) -> None:
    path = tmp_path / "run.npz"
    checkpoint.save(path, run(maxiter=3))
    old = path.read_bytes()

    def broken(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", broken)
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(path, run(maxiter=5))
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]  # no half-written file either


def test_what_a_killed_process_left_is_taken_by_the_next_write(tmp_path) -> None:
    path = tmp_path / "run.npz"
    code = (
        "import os, sys, numpy, negopt\n"
        "from negopt import checkpoint\n"
        "state = negopt.minimize(lambda x: x @ x, [1.0], options={'maxiter': 1}).state\n"
        "numpy.savez = lambda file, **_: (file.write(b'half'), file.flush(), os._exit(9))\n"
        "checkpoint.save(sys.argv[1], state)\n"
    )
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
        assert done.returncode == 9
        assert [p.name for p in tmp_path.iterdir()] == [".run.npz.tmp"]
    checkpoint.save(path, run(maxiter=3))
    assert list(tmp_path.iterdir()) == [path]


def test_two_that_write_one_file_at_a_time(tmp_path, monkeypatch) -> None:
    """The second is told so, and the first goes on."""
    path, savez, first = tmp_path / "run.npz", np.savez, run(maxiter=1)

    def interrupted(file, **arrays):
        savez(file, **arrays)
        with pytest.raises(OSError, match=r"another process or thread too: give each run a file"):
            checkpoint.save(path, run(maxiter=2))

    monkeypatch.setattr(np, "savez", interrupted)
    checkpoint.save(path, first)
    assert checkpoint.load(path).k == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_the_mode_follows_the_umask(mask, tmp_path) -> None:
    before = os.umask(mask)
    try:
        checkpoint.save(tmp_path / "run.npz", run(maxiter=1))
    finally:
        os.umask(before)
    assert (tmp_path / "run.npz").stat().st_mode & 0o777 == 0o666 & ~mask


@pytest.mark.parametrize("what", [3, "text", None, {}])
def test_what_is_no_state(what, tmp_path) -> None:
    with pytest.raises(TypeError, match=r"pass res\.state"):
        checkpoint.save(tmp_path / "a", what)
    assert not list(tmp_path.iterdir())


def test_what_checkpoints_do_not_know(tmp_path) -> None:
    state = run(maxiter=1).state
    state.memory = object()
    with pytest.raises(TypeError, match=r"state\.memory is a object"):
        checkpoint.save(tmp_path / "a", state)

    @dataclasses.dataclass
    class Mine:
        x: int = 0

    state.memory = Mine()
    with pytest.raises(TypeError, match=r"state\.memory is a Mine, which checkpoints do not know"):
        checkpoint.save(tmp_path / "a", state)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 broken"])
def test_files_that_are_no_checkpoint(content, tmp_path) -> None:
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.npz.*is not a negopt checkpoint"):
        checkpoint.load(path)


def test_an_npz_of_somebody_else(tmp_path) -> None:
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    with pytest.raises(ValueError, match="is not a negopt checkpoint"):
        checkpoint.load(tmp_path / "other.npz")


def test_a_missing_file_is_an_os_error(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        checkpoint.load(tmp_path / "none.npz")


def test_later_formats_and_damage(tmp_path, rewrite) -> None:
    path = tmp_path / "run.npz"

    def fresh():
        checkpoint.save(path, run(maxiter=2))

    fresh()
    rewrite(path, lambda h, a: h.update(format=checkpoint.FORMAT + 1))
    with pytest.raises(ValueError, match=r"a later negopt.*update negopt"):
        checkpoint.load(path)
    fresh()
    rewrite(path, lambda h, a: a.pop("state.iterate.x"))
    with pytest.raises(ValueError, match="damaged"):
        checkpoint.load(path)
    fresh()
    rewrite(path, lambda h, a: h["tree"]["fields"].pop("memory"))
    with pytest.raises(ValueError, match="damaged"):
        checkpoint.load(path)
    fresh()
    rewrite(path, lambda h, a: h["tree"].update(type="Mystery"))
    with pytest.raises(ValueError, match="damaged"):
        checkpoint.load(path)
    fresh()
    rewrite(path, lambda h, a: h.update(tree=h["tree"]["fields"]["counters"]))
    with pytest.raises(ValueError, match="holds a Counters, not a state"):
        checkpoint.load(path)


def test_an_older_format_says_how_to_go_on(tmp_path, rewrite) -> None:
    path = tmp_path / "run.npz"
    res = run(maxiter=2)
    checkpoint.save(path, res)
    rewrite(path, lambda h, a: h.update(format=1))
    with pytest.raises(ValueError, match=r"format 1, of an older negopt.*begin anew.*numpy\.load"):
        checkpoint.load(path)
    assert np.array_equal(np.load(path)["state.iterate.x"], res.x)  # as the message has it


def test_format_3_which_had_no_checksum_is_read(tmp_path) -> None:
    path = tmp_path / "run.npz"
    checkpoint.save(path, run(maxiter=2))
    with np.load(path) as file:
        arrays = dict(file)
    header = json.loads(arrays.pop("__header__").tobytes())
    header["tree"]["fields"]["certificate"]["fields"] = {"status": "flat", "settled": True}
    for version in (3, 4):
        header["format"] = version
        text = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
        with path.open("wb") as file:
            np.savez(file, __header__=text, **arrays)
        if version == 3:
            assert checkpoint.load(path).k == 2
            assert checkpoint.load(path).certificate.status == "not checked"
        else:
            with pytest.raises(ValueError, match=r"is a damaged checkpoint: it has no checksum"):
                checkpoint.load(path)


@pytest.mark.parametrize("method", list(negopt.METHODS))
def test_a_state_of_another_kind_is_refused(method) -> None:
    """Every method takes up what it kept itself, and nothing of another kind."""
    row = negopt.METHODS[method]
    rules = row.curvature, row.globalize
    state = run(method, maxiter=3).state
    assert adopt(state, method, state.iterate.x, rules).k == state.k
    for name in ("memory", "globalize"):
        other = dataclasses.replace(state, **{name: Strange()})
        with pytest.raises(ValueError, match=rf"state'\]\.{name} is a Strange.*begin anew"):
            adopt(other, method, state.iterate.x, rules)


@dataclasses.dataclass
class Strange:
    """No part of any method."""

    x: int = 0


def test_a_state_saved_in_one_library_goes_on_in_another(xp_case, tmp_path) -> None:
    path = tmp_path / "run.npz"
    host = run(maxiter=5)
    checkpoint.save(path, host)
    x0 = xp_case.asarray(np.tile([-1.2, 1.0], 3))

    def fun(x):
        return rosen(xp_case.to_numpy(x))

    def jac(x):
        return xp_case.asarray(rosen_der(xp_case.to_numpy(x)))

    res = negopt.minimize(
        fun,
        x0,
        jac=jac,
        method="lsr1-tr",
        options={"state": checkpoint.load(path), "maxiter": 5},
    )
    assert xp_case.owns(res.x)
    whole = run(maxiter=10)
    assert res.nit == 10
    assert xp_case.to_numpy(res.x) == pytest.approx(whole.x, rel=1e-6)
