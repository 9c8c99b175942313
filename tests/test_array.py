"""The one file that knows array libraries."""

from __future__ import annotations

import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from negopt.core.arrays import (
    adopt,
    all_finite,
    as_vector,
    convert_like,
    dot,
    eps_of,
    float64_rows_dot,
    from_host,
    is_array,
    library_of,
    namespace_of,
    norm,
    scalars,
    to_host,
)


def test_what_is_an_array(xp_case) -> None:
    assert is_array(xp_case.asarray([1.0]))
    for other in (1.0, [1.0], (1.0,), "x", None):
        assert not is_array(other)


def test_names_of_libraries(xp_case) -> None:
    name = library_of(xp_case.asarray([1.0]))
    assert name == xp_case.name.removesuffix("-readonly")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_as_vector_is_a_fresh_copy_of_the_same_kind(xp_case, dtype) -> None:
    x = xp_case.asarray([1.0, 2.0], dtype=dtype)
    v = as_vector(x)
    assert xp_case.owns(v)
    assert v.dtype == x.dtype
    v[0] = 5.0
    assert xp_case.to_numpy(x)[0] == 1.0


@pytest.mark.parametrize("dtype", ["int64", "int32", "bool"])
def test_integers_become_float64(xp_case, dtype) -> None:
    x = xp_case.asarray([1, 0], dtype=dtype)
    v = as_vector(x)
    assert xp_case.owns(v)
    assert v.dtype == xp_case.xp.float64
    assert list(xp_case.to_numpy(v)) == [1.0, 0.0]


def test_zero_dimensions_become_one(xp_case) -> None:
    assert as_vector(xp_case.asarray(3.0)).shape == (1,)


@pytest.mark.parametrize(
    ("x0", "words"),
    [
        (np.ones((2, 2)), r"one dimension; got shape \(2, 2\)"),
        (np.ones((1, 1)), "one dimension"),
        ([[1.0], [2.0]], "one dimension"),
        (np.ones(0), "empty"),
        ([], "empty"),
        (np.ones(2) * 1j, "complex"),
        (np.ma.array([1.0, 2.0], mask=[0, 1]), "masked entries"),
    ],
    ids=["matrix", "1 x 1", "nested", "no entry", "empty list", "complex", "masked"],
)
def test_what_is_no_vector(x0, words) -> None:
    with pytest.raises(ValueError, match=words):
        as_vector(x0)


def test_bytes_in_the_other_order_become_the_machines() -> None:
    assert as_vector(np.array([1.5, 2.0], dtype=">f8")).dtype.isnative


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_convert_like_copies_into_the_type(xp_case, dtype) -> None:
    like = xp_case.asarray([0.0, 0.0], dtype=dtype)
    for value in ([1.5, 2.5], (1.5, 2.5), xp_case.asarray([1.5, 2.5], dtype="float64")):
        out = convert_like(value, like, "jac")
        assert xp_case.owns(out)
        assert out.dtype == like.dtype
        assert list(xp_case.to_numpy(out)) == [1.5, 2.5]
    same = xp_case.asarray([1.5, 2.5], dtype=dtype)
    copy = convert_like(same, like, "jac")
    copy[0] = 9.0
    assert xp_case.to_numpy(same)[0] == 1.5


def test_convert_like_blames_the_argument() -> None:
    with pytest.raises(TypeError, match="jac returned complex"):
        convert_like(np.ones(2) * 1j, np.ones(2), "jac")
    strict = pytest.importorskip("array_api_strict")
    with pytest.raises(TypeError, match="hessp returned a numpy array but x0 is a"):
        convert_like(np.ones(2), strict.ones(2), "hessp")


def test_two_libraries_have_no_namespace() -> None:
    strict = pytest.importorskip("array_api_strict")
    with pytest.raises(TypeError):
        namespace_of(np.ones(2), strict.ones(2))


def test_scalars_are_float64_in_one_read(xp_case) -> None:
    x = xp_case.asarray([1.0, 2.0, 3.0], dtype="float32")
    xp = xp_case.xp
    values = scalars(xp.sum(x), xp.max(x), 0.1, 3)
    assert values == (6.0, 3.0, 0.1, 3.0)
    assert all(type(v) is float for v in values)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_round_trip_to_the_host(xp_case, dtype) -> None:
    x = xp_case.asarray([1.25, -2.5, 1e-30], dtype=dtype)
    host = to_host(x)
    assert type(host) is np.ndarray
    assert host.dtype == np.float64
    back = from_host(host, x)
    assert xp_case.owns(back)
    assert back.dtype == x.dtype
    assert np.array_equal(xp_case.to_numpy(back), xp_case.to_numpy(x))


def test_dot_of_float32_is_accumulated_in_float64(xp_case) -> None:
    # 2^24 ones and more cannot be counted in float32
    x = xp_case.asarray(np.full(1 << 12, 64.0), dtype="float32")
    tiny = xp_case.asarray([4096.0, 0.25], dtype="float32")
    assert scalars(dot(x, x)) == (float((1 << 12) * 4096),)
    assert scalars(dot(tiny, tiny)) == (4096.0**2 + 0.0625,)


@pytest.mark.parametrize(
    ("values", "size"),
    [
        ([3.0, 4.0], 5.0),
        ([3e200, 4e200], 5e200),
        ([3e-200, 4e-200], 5e-200),
        ([0.0, 0.0], 0.0),
        ([math.inf, 1.0], math.inf),
    ],
)
def test_norm_over_the_whole_range(xp_case, values, size) -> None:
    with np.errstate(over="ignore"):
        assert norm(xp_case.asarray(values)) == pytest.approx(size)


def test_norm_and_finiteness_of_nan(xp_case) -> None:
    assert math.isnan(norm(xp_case.asarray([math.nan, 1.0])))
    assert not all_finite(xp_case.asarray([1.0, math.nan]))
    assert not all_finite(xp_case.asarray([1.0, -math.inf]))
    assert all_finite(xp_case.asarray([1.0, 1e308]))


def test_eps_is_that_of_the_type(xp_case) -> None:
    assert eps_of(xp_case.asarray([1.0])) == 2.0**-52
    assert eps_of(xp_case.asarray([1.0], dtype="float32")) == 2.0**-23


@pytest.mark.parametrize("n", [1, 3, 16384, 16385, 40000])
def test_rows_dot_in_float64_across_blocks(xp_case, n) -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((3, n)).astype(np.float32)
    v = rng.standard_normal((n, 2)).astype(np.float32)
    exact = rows.astype(np.float64) @ v.astype(np.float64)
    for dtype in ("float32", "float64"):
        got = float64_rows_dot(xp_case.asarray(rows, dtype=dtype), xp_case.asarray(v, dtype=dtype))
        assert got == pytest.approx(exact, rel=1e-10, abs=1e-10)
    one = float64_rows_dot(xp_case.asarray(rows, "float32"), xp_case.asarray(v[:, 0], "float32"))
    assert one == pytest.approx(exact[:, 0], rel=1e-10, abs=1e-10)


class OnGPU:
    """Says that it lies on a CUDA device."""

    device = "cuda:0"

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)


def test_buffers_of_other_libraries_are_shared(monkeypatch) -> None:
    value = np.arange(3.0)
    assert np.shares_memory(adopt(value), value)
    there = OnGPU()
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(from_dlpack=lambda x: [x]))
    assert adopt(there) == [there]
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ImportError, match=r"cuda:0.*CuPy.*device_put"):
        adopt(there)
