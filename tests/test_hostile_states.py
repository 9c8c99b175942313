"""States and files are input: changed in one place they are refused, or run with true results.

Guarantee.  Let one part of a state be replaced by anything, or one part of a file, with or without
a checksum that fits.  Then `minimize` and `load` raise ValueError, which names the part, or the
result is consistent: ``res.fun == fun(res.x)``, ``res.jac == jac(res.x)``, success only where the
gradient is small.  Nothing that a file names is looked up or called, and memory is taken in
proportion to its size alone.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import tracemalloc
import zipfile

import numpy as np
import pytest

import negopt
from negopt import METHODS, checkpoint

X0 = np.linspace(-1.3, 1.1, 7)
#: Mutations of the states, and of the files, of each method; 2,000 were tried.
STATES, FILES = 80, 25


def fun(x):
    with np.errstate(all="ignore"):
        return float(np.sum(x**4) / 4 - x[0] ** 2 / 2 + np.sum((x[1:] - x[:-1]) ** 2))


def jac(x):
    with np.errstate(all="ignore"):
        g = x**3
        g[0] -= x[0]
        change = 2.0 * (x[1:] - x[:-1])
        g[1:] += change
        g[:-1] -= change
    return g


#: Options with which the memories of a method hold all that they may.
FULL = {
    "gd": {"learning_rate": 0.05, "momentum": 0.9},
    "adam": {"learning_rate": 0.05, "amsgrad": True},
    "sfn-exact": {"average": 0.5, "momentum": 0.3},
    "tr-ellipsoid": {"diagonal": False},
    "newton-krylov": {"metric": "rmsprop"},
    "ogr": {"centre": "mean"},
}


def solve(method, **options):
    return negopt.minimize(fun, X0, jac=jac, method=method, options=options)


def states(method):
    """Return states of early, late and ended runs, with the options to go on with."""
    for own in {str(o): o for o in ({}, FULL.get(method, {}))}.values():
        for k, more in ((0, {}), (3, {"record": True}), (8, {}), (25, {}), (400, {})):
            yield own, solve(method, maxiter=k, **own, **more).state
        rng = np.random.Generator(np.random.MT19937(3))
        yield own, solve(method, maxiter=6, rng=rng, **own).state


# --- mutations ------------------------------------------------------------------------------


def places(value, path=()):
    """Yield the path of every part of a tree."""
    if path:
        yield path
    if dataclasses.is_dataclass(value):
        for f in dataclasses.fields(value):
            yield from places(getattr(value, f.name), (*path, f.name))
    elif isinstance(value, (dict, list)) and value:
        for key in value if isinstance(value, dict) else {0, len(value) - 1}:
            yield from places(value[key], (*path, key))


def at(tree, path):
    for key in path:
        tree = tree[key] if isinstance(tree, (dict, list)) else getattr(tree, key)
    return tree


def put(tree, path, value):
    holder = at(tree, path[:-1])
    if isinstance(holder, (dict, list)):
        holder[path[-1]] = value
    else:
        setattr(holder, path[-1], value)


ANYTHING = [
    *(None, math.nan, math.inf, -math.inf, -1, 0, 10**6, 2**70, -1.5, 1e300, "x", "", [], {}, ()),
    *(True, 1 + 2j, np.zeros(3), np.zeros((2, 2)), np.array(["a"]), np.array([None]), object()),
    *(np.float32(3), b"x", [1.0, "x"], {"a": 1}),
]
FLOATS = (math.nan, math.inf, -math.inf, 1e300, -1e300, 1e-300, 1e20, 0.0, -1.0, 77.0)


def other(value, rng):
    """Return something in place of `value`."""
    if rng.integers(3) == 0:
        return ANYTHING[rng.integers(len(ANYTHING))]
    if isinstance(value, np.ndarray) and value.size:
        return other_array(value, rng)
    if isinstance(value, (bool, np.bool_)):
        return not value
    if isinstance(value, int):
        changed = (value + 1, value - 1, -value, 2 * value, value + 10**6, 2**62, 2**80, -(2**63))
        return [*changed, float(value), str(value), value ^ 1][rng.integers(11)]
    if isinstance(value, float):
        if rng.integers(2):  # one bit
            bits = np.array([value]).view(np.int64) ^ (np.int64(1) << np.int64(rng.integers(63)))
            return float(bits.view(np.float64)[0])
        changed = (-value, 10.0 * value, 1.0001 * value, value + 1.0, 1e-320, str(value))
        return [*changed, *FLOATS][rng.integers(16)]
    if isinstance(value, str):
        names = ("", value + "x", "default_rng", "positive", "negative", "PCG64", "MT19937")
        return [*names, "x" * 10000, 3][rng.integers(9)]
    if isinstance(value, dict):
        out = dict(value)
        if out and rng.integers(2):
            del out[list(out)[rng.integers(len(out))]]
        else:
            out[["more", 3, "nit"][rng.integers(3)]] = [1.0]
        return out
    if isinstance(value, list):
        return [*value, (1.0, math.nan, "x", -1.0)[rng.integers(4)]] if rng.integers(2) else []
    return ANYTHING[rng.integers(len(ANYTHING))]


def other_array(value, rng):
    how = rng.integers(12)
    if how == 0:
        return value[..., :-1]
    if how == 1:
        return np.concatenate([value, value[:1]])
    if how == 2:
        return value.astype(np.float32 if value.dtype.kind == "f" else np.float64)
    if how == 3:
        return np.asfortranarray(value) if value.ndim == 2 else value[::-1]
    if how == 4:
        return value.astype([object, "U5", complex][rng.integers(3)])
    if how == 5 and value.dtype.kind == "f":
        return value * (0.0, -1.0, 1e10, 1e-10, 1e160)[rng.integers(5)]
    out = value.copy()
    place = tuple(rng.integers(length) for length in value.shape)
    if value.dtype.kind == "f":
        old = float(out[place])
        changed = (-old, 10.0 * old, old + 1.0, old * (1.0 + 1e-9), *FLOATS)
        out[place] = changed[rng.integers(len(changed))]
    else:
        out[place] = (0, 1, 2, 3, 99, 10**6)[rng.integers(6)]
    return out


def mutated(state, rng):
    """Return a copy of `state` with one part replaced, and which."""
    state = copy.deepcopy(state)
    found = list(places(state))
    path = found[rng.integers(len(found))]
    with np.errstate(all="ignore"):
        put(state, path, other(at(state, path), rng))
    return state, path


def check_run(method, options, state, path):
    """Assert that a run from `state` is refused by name, or consistent."""
    try:
        res = solve(method, state=state, maxiter=40, **options)
    except ValueError as error:
        assert "options['state']" in str(error), path  # noqa: PT017
        return "refused"
    assert res.fun == fun(res.x), path
    assert np.array_equal(res.jac, jac(res.x)), path
    assert np.all(np.isfinite(res.x)), path
    assert not res.success or np.max(np.abs(res.jac)) <= 1.5e-5, path
    assert res.success == (res.status == 0), path
    return "ran"


@pytest.mark.parametrize("method", list(METHODS))
def test_one_part_of_a_state_is_changed(method) -> None:
    rng = np.random.default_rng(sum(map(ord, method)))
    known, ends = list(states(method)), set()
    for _ in range(STATES):
        options, state = known[rng.integers(len(known))]
        ends.add(check_run(method, options, *mutated(state, rng)))
    assert ends == {"refused", "ran"}  # else the test tells nothing


# --- what each kind of mistake is told -------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "value", "words"),
    [
        (
            "lqn-tr",
            ("memory", "kinds"),
            np.full(20, 7),
            r"memory.kinds = \[7, 7.*: must be .* 1 or 2",
        ),
        ("lqn-tr", ("memory", "count"), 10**6, r"memory.kinds = .*count = 1000000"),
        ("lqn-tr", ("memory", "count"), -1, r"memory.count = -1: must be an integer from 0"),
        ("lqn-tr", ("memory", "concave"), 3, r"memory.concave = 3: must be 0"),
        ("lqn-tr", ("memory", "block"), 19, r"memory.block = 19: must be a number of newest"),
        ("lqn-tr", ("memory", "gram"), np.eye(40), r"memory.gram = an array of shape \(40, 40\)"),
        ("lqn-tr", ("globalize", "radius"), -1.0, r"radius = -1.0: must be a positive number"),
        ("lqn-tr", ("globalize", "radius"), None, r"radius = None: must be a positive number"),
        ("lqn-tr", ("globalize", "free"), 1, r"globalize.free = 1: must be True or False"),
        (
            "lqn-tr",
            ("certificate", "status"),
            "sure",
            r"status = 'sure': must be one of 'not check",
        ),
        ("lqn-tr", ("rng_state", "bit_generator"), "seed", r"rng_state: bit_generator = 'seed'"),
        ("lqn-tr", ("counters", "nfev"), 1.5, r"counters.nfev = 1.5: must be an integer"),
        ("lqn-tr", ("history", "nit"), [1.0], r"history = \[.*: must be columns of one length"),
        ("lqn-tr", ("iterate", "x"), np.zeros((7, 1)), r"iterate.x = an array of shape \(7, 1\)"),
        ("lqn-tr", ("iterate", "x"), np.full(7, math.nan), r"max\|.*iterate.x\| = nan: must be at"),
        ("lqn-tr", ("iterate", "g"), np.zeros(6), r"iterate.g = an array of shape \(6,\)"),
        ("lqn-tr", ("status",), 0, r"status = 0: must be a Status, or None"),
        ("dqn-wolfe-pm", ("memory", "free"), None, r"memory.free = None: must be a matrix"),
        ("dqn-wolfe-pm", ("memory", "rest"), None, r"memory.rest = None: must be None where"),
        ("dqn-wolfe-pm", ("memory", "units"), -np.ones(7), r"min\(.*units\) = -1.0: must be > 0"),
        ("bfgs-wolfe", ("memory", "matrix"), np.eye(6), r"matrix = .*shape \(6, 6\).*n = 7, n = 7"),
        ("adam", ("memory", "second"), -np.ones(7), r"min\(.*second\) = -1.0: must be >= 0"),
        ("gd-armijo", ("memory", "recent"), [1.0, -1.0], r"recent\[1\] = -1.0: must be a positive"),
        ("newton-krylov", ("memory", "failures"), 64, r"failures = 64: .* from 0 to 6"),
    ],
)
def test_the_part_the_value_and_the_fix_are_named(method, path, value, words) -> None:
    state = solve(method, maxiter=6, record=True).state
    put(state, path, value)
    with pytest.raises(ValueError, match=words) as caught:
        solve(method, state=state)
    assert "options['state']." in str(caught.value)
    assert "begin anew from its point, x0 = state.iterate.x" in str(caught.value)


def test_a_verdict_that_contradicts_itself() -> None:
    state = solve("lqn-tr").state
    assert state.certificate.status == "positive"
    state.certificate.min_curvature = -1.0
    with pytest.raises(ValueError, match=r"min_curvature = -1.0: must be of the sign that status"):
        solve("lqn-tr", state=state)
    state.certificate.status = "negative"
    with pytest.raises(ValueError, match=r"status = 'CONVERGED': .* the curvature is negative"):
        solve("lqn-tr", state=state)


def test_a_position_beyond_the_buffer_of_a_generator() -> None:
    """NumPy believes it, and would read what is not its own."""
    rng = np.random.Generator(np.random.MT19937(3))
    state = solve("lqn-tr", maxiter=2, rng=rng).state
    state.rng_state["state"]["pos"] = 10**6
    with pytest.raises(ValueError, match=r"rng_state: state.pos = 1000000: must be .* 0 to 624"):
        solve("lqn-tr", state=state)
    rng = np.random.Generator(np.random.Philox(3))
    state = solve("lqn-tr", maxiter=2, rng=rng).state
    state.rng_state["buffer_pos"] = -5
    with pytest.raises(ValueError, match=r"rng_state: buffer_pos = -5: must be"):
        solve("lqn-tr", state=state)


@pytest.mark.parametrize("name", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_every_generator_of_numpy_goes_on(name, tmp_path) -> None:
    rng = np.random.Generator(getattr(np.random, name)(5))
    state = solve("lqn-tr", maxiter=2, rng=rng).state
    checkpoint.save(tmp_path / "a", state)
    loaded = checkpoint.load(tmp_path / "a")
    assert loaded.rng_state["bit_generator"] == name
    one, two = (solve("lqn-tr", state=s) for s in (state, loaded))
    assert np.array_equal(one.x, two.x)


def test_nothing_that_a_file_names_is_called(tmp_path, rewrite, monkeypatch) -> None:
    calls = []
    monkeypatch.setattr(np.random, "seed", lambda *args: calls.append(args))
    path = tmp_path / "a"
    checkpoint.save(path, solve("lqn-tr", maxiter=2))

    def change(header, arrays):
        header["tree"]["fields"]["rng_state"]["dict"]["bit_generator"] = "seed"

    rewrite(path, change)
    with pytest.raises(ValueError, match=r"rng_state: bit_generator = 'seed': must be one of PCG"):
        checkpoint.load(path)
    assert calls == []


# --- files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", list(METHODS))
def test_one_part_of_a_file_is_changed(method, tmp_path) -> None:
    """With its checksum: what `save` takes, `load` or the run refuses, or it is harmless."""
    rng = np.random.default_rng(7 + sum(map(ord, method)))
    known, path = list(states(method)), tmp_path / "run.npz"
    for _ in range(FILES):
        options, state = known[rng.integers(len(known))]
        changed, place = mutated(state, rng)
        try:
            checkpoint.save(path, changed)
        except TypeError:
            continue
        try:
            loaded = checkpoint.load(path)
        except ValueError as error:
            assert "run.npz' is a damaged checkpoint: " in str(error)  # noqa: PT017
            continue
        check_run(method, options, loaded, place)


def test_every_byte_of_a_file_counts(tmp_path) -> None:
    path, rng = tmp_path / "run.npz", np.random.default_rng(3)
    checkpoint.save(path, solve("lqn-tr", maxiter=3))
    good = path.read_bytes()
    assert checkpoint.load(path).k == 3
    for _ in range(300):
        where = int(rng.integers(len(good)))
        how, junk = rng.integers(4), rng.bytes(int(rng.integers(1, 9)))
        bad = bytearray(good)
        if how == 0:
            bad[where] ^= 1 << int(rng.integers(8))
        elif how == 1:
            del bad[where:]
        elif how == 2:
            bad[where:where] = junk
        else:
            bad[where : where + len(junk)] = junk
        if bytes(bad) == good:
            continue
        path.write_bytes(bad)
        with pytest.raises(ValueError, match=r"run.npz' is (not a negopt|a damaged) checkpoint"):
            checkpoint.load(path)


def test_a_directory_of_parts_that_lies_before_the_beginning(tmp_path) -> None:
    """Without a checksum: the system's error for it is none of reading."""
    path = tmp_path / "run.npz"
    checkpoint.save(path, solve("lqn-tr", maxiter=1))
    good = bytearray(path.read_bytes())
    end = good.rindex(b"PK\x05\x06")
    good[end + 16 : end + 20] = b"\xff\xff\xff\x7f"  # where the directory begins
    path.write_bytes(good[: len(good) - 1])
    with pytest.raises(ValueError, match=r"run.npz' is (not a negopt|a damaged) checkpoint"):
        checkpoint.load(path)


def nested(depth):
    return b'{"format": 4, "tree": ' + b'{"list": [' * depth + b"]}" * depth + b"}"


@pytest.mark.parametrize(
    "header",
    [
        *(
            b"",
            b"\xff",
            b"null",
            b"[]",
            b"3",
            b"{}",
            b'{"format": 4}',
            b'{"format": "4", "tree": {}}',
        ),
        b'{"format": [], "tree": {}}',
        b'{"format": true, "tree": {}}',
        b'{"format": 4, "tree": null}',
        b'{"format": 4, "tree": []}',
        b'{"format": 4, "tree": {"type": {}}}',
        b'{"format": 4, "tree": {"type": "State", "fields": []}}',
        b'{"format": 4, "tree": {"type": "State", "fields": {}}}',
        b'{"format": 4, "tree": {"type": "State", "fields": {"eval": 1}}}',
        b'{"format": 4, "tree": {"type": [], "fields": {}}}',
        b'{"format": 4, "tree": {"array": "nowhere"}}',
        b'{"format": 4, "tree": {"array": {}}}',
        b'{"format": 4, "tree": {"status": 12345}}',
        b'{"format": 4, "tree": {"type": "Status", "fields": {"value": 1}}}',
        nested(10),
        nested(5000),
        b"[" * 100_000,
    ],
)
def test_headers_that_are_none(header, tmp_path, write_sealed) -> None:
    path = tmp_path / "run.npz"
    write_sealed(path, header, {})
    with pytest.raises(ValueError, match=r"run.npz' is (not a negopt|a damaged) checkpoint"):
        checkpoint.load(path)


@pytest.mark.parametrize("part", ["memory", "globalize", "counters", "iterate", "rng_state"])
def test_trees_in_places_that_are_not_theirs(part, tmp_path, rewrite) -> None:
    path = tmp_path / "run.npz"
    for junk in ({"type": {}}, {"type": "State", "fields": []}, {"list": [1]}, [], {}, "x", None):
        checkpoint.save(path, solve("lqn-tr", maxiter=2))
        rewrite(path, lambda h, a, junk=junk: h["tree"]["fields"].update({part: junk}))
        with pytest.raises(ValueError, match=r"."):  # by the file or by the run
            solve("lqn-tr", state=checkpoint.load(path))


def test_a_file_that_unpacks_to_more_than_itself(tmp_path, write_sealed) -> None:
    path, header = tmp_path / "run.npz", {"format": 4, "tree": {}}
    write_sealed(path, header, {"a": np.zeros(40_000_000)}, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 500_000
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="a part of it is compressed, which negopt's never"):
            checkpoint.load(path)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shape", [(10**12,), (2**62, 2**62), (3,), (5,)])
def test_an_array_whose_shape_is_not_that_of_its_bytes(shape, tmp_path) -> None:
    path = tmp_path / "run.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("__header__", "a"):
            with archive.open(f"{name}.npy", "w") as member:
                described = {"descr": "<f8", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(member, described)
                member.write(bytes(32))
    with pytest.raises(ValueError, match=r"not a negopt checkpoint \(an array of shape .* is cut"):
        checkpoint.load(path)


def test_arrays_of_objects_and_text_are_not_read(tmp_path, write_sealed) -> None:
    path = tmp_path / "run.npz"
    for array in (np.array(["text"]), np.zeros(2, "M8[s]"), np.zeros(2, [("a", float)])):
        write_sealed(path, {"format": 4, "tree": {}}, {"a": array})
        with pytest.raises(ValueError, match=r"not a negopt checkpoint \(it holds an array of"):
            checkpoint.load(path)
    with path.open("wb") as file:
        np.savez(file, __header__=np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(
        ValueError, match=r"not a negopt checkpoint \(it holds an array of type obj"
    ):
        checkpoint.load(path)


def test_another_byte_order_is_read(tmp_path, rewrite) -> None:
    path = tmp_path / "run.npz"
    state = solve("lqn-tr", maxiter=3).state
    checkpoint.save(path, state)
    rewrite(
        path, lambda h, a: a.update({k: v.astype(v.dtype.newbyteorder()) for k, v in a.items()})
    )
    loaded = checkpoint.load(path)
    assert loaded.iterate.x.dtype.isnative
    assert np.array_equal(loaded.iterate.x, state.iterate.x)


def test_the_header_is_json_and_the_checksum_can_be_looked_at(tmp_path) -> None:
    path = tmp_path / "run.npz"
    checkpoint.save(path, solve("lqn-tr", maxiter=1))
    with zipfile.ZipFile(path) as archive:
        assert archive.comment.startswith(b"negopt checkpoint, sha256 ")
        assert archive.testzip() is None
    with np.load(path, allow_pickle=False) as file:
        assert json.loads(file["__header__"].tobytes())["format"] == checkpoint.FORMAT == 4


# --- a user's own method --------------------------------------------------------------------


@dataclasses.dataclass
class Kept:
    """What a rule of a user keeps; it says nothing of what is allowed."""

    d: np.ndarray
    scale: float = 1.0
    count: int = 0
    known: bool = False


@dataclasses.dataclass(frozen=True)
class Diagonal:
    """A rule of a user: gradient descent in a diagonal metric."""

    def init(self, x0):
        return Kept(np.ones_like(x0))

    def model(self, memory, objective, iterate):
        from negopt.curvature.identity import IdentityOperator

        return IdentityOperator(memory.scale)

    def update(self, memory, s, y, outcome=None):
        memory.count += 1
        return True

    def reset(self, memory):
        return False


@pytest.mark.parametrize(
    ("name", "value", "good"),
    [
        ("d", np.ones(7) * 3, True),
        ("d", np.ones(6), False),
        ("d", np.full(7, math.nan), False),
        ("d", "x", False),
        ("d", None, False),
        ("scale", 3, True),
        ("scale", math.inf, False),
        ("scale", "1.0", False),
        ("count", 10**6, True),
        ("count", -1, False),
        ("count", 0.5, False),
        ("known", True, True),
        ("known", 1, False),
    ],
)
def test_the_state_of_a_users_own_method_is_like_its_first(name, value, good) -> None:
    row = dataclasses.replace(METHODS["gd"], name="mine", curvature=Diagonal())
    options = {"learning_rate": 0.01, "maxiter": 3}
    state = negopt.minimize(fun, X0, jac=jac, method=row, options=options).state
    setattr(state.memory, name, value)
    options["state"] = state
    if good:
        assert negopt.minimize(fun, X0, jac=jac, method=row, options=options).nit == 6
    else:
        with pytest.raises(ValueError, match=rf"options\['state'\].memory.{name}"):
            negopt.minimize(fun, X0, jac=jac, method=row, options=options)
