"""Trees of arrays and flat vectors."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from negopt.core.arrays import to_host
from negopt.neural import FlatObjective, flatten


class Pair(NamedTuple):
    left: Any
    right: Any


LEAVES = hnp.arrays(
    st.sampled_from([np.float64]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
    elements=st.floats(-1e3, 1e3),
)
KEYS = st.text("abcxyz_0", min_size=1, max_size=3)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.lists(inner, min_size=1, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, min_size=1, max_size=3)
        | st.tuples(inner, inner).map(lambda t: Pair(*t))
    ),
    max_leaves=8,
)


def leaves_of(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        return [leaf for child in tree.values() for leaf in leaves_of(child)]
    if isinstance(tree, (list, tuple)):
        return [leaf for child in tree for leaf in leaves_of(child)]
    return [tree]


def same(a: Any, b: Any) -> bool:
    if type(a) is not type(b) and not (isinstance(a, np.generic) or isinstance(b, np.generic)):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a.shape == b.shape and bool(np.all(a == b))


@given(TREES)
def test_round_trip_is_exact_and_gives_views(tree):
    vector, layout = flatten(tree)
    assert vector.shape == (layout.size,)
    assert layout.size == sum(leaf.size for leaf in leaves_of(tree))
    back = layout.unflatten(vector)
    assert same(tree, back)
    assert np.array_equal(layout.flatten(back), vector)
    for leaf in leaves_of(back):
        assert leaf.size == 0 or np.shares_memory(leaf, vector)
    for leaf in leaves_of(tree):
        assert not np.shares_memory(leaf, vector)
    for name, shape, leaf in zip(layout.names, layout.shapes, leaves_of(tree), strict=True):
        part = layout.slice(name)
        assert part.stop - part.start == math.prod(shape)
        assert np.array_equal(vector[part], leaf.reshape(-1))


def example(case, dtype="float64"):
    return {
        "layers": [
            {
                "weight": case.asarray([[1, 2, 3], [4, 5, 6]], dtype),
                "bias": case.asarray([7, 8], dtype),
            }
        ],
        "scale": case.asarray(9, dtype),
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_library(xp_case, dtype):
    tree = example(xp_case, dtype)
    vector, layout = flatten(tree)
    assert xp_case.owns(vector)
    assert vector.dtype == getattr(xp_case.xp, dtype)
    assert layout.names == ("layers.0.weight", "layers.0.bias", "scale")
    assert layout.shapes == ((2, 3), (2,), ())
    assert layout.offsets == (0, 6, 8)
    assert to_host(vector).tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    back = layout.unflatten(vector)
    back["layers"][0]["weight"][1, 0] = -1.0  # views: the vector sees it, the tree does not
    back["scale"][...] = -2.0
    assert to_host(vector).tolist() == [1, 2, 3, -1, 5, 6, 7, 8, -2]
    assert to_host(tree["scale"]).tolist() == 9
    vector[7] = 0.5
    assert float(back["layers"][0]["bias"][1]) == 0.5


def test_vectors_of_another_type_or_stride_are_views_too():
    vector, layout = flatten({"a": np.zeros((2, 2)), "b": np.zeros(3)})
    for other in (np.arange(7, dtype=np.float32), np.arange(14.0)[::2], np.arange(7.0)[::-1]):
        back = layout.unflatten(other)
        assert np.shares_memory(back["a"], other)
        assert back["a"].dtype == other.dtype
        assert np.array_equal(back["b"], other[4:])
    with pytest.raises(ValueError, match=r"\(6,\).*\(7,\)"):
        layout.unflatten(vector[:6])
    with pytest.raises(ValueError, match=r"\(1, 7\)"):
        layout.unflatten(vector[None, :])


def test_a_single_array_is_a_tree_and_is_copied():
    a = np.arange(6.0).reshape(2, 3)
    vector, layout = flatten(a)
    assert not np.shares_memory(a, vector)
    assert layout.unflatten(vector).shape == (2, 3)
    assert layout.names == ("",)


def test_order_of_dicts():
    vector, layout = flatten(OrderedDict(b=np.ones(1), a=np.zeros(2)))
    assert layout.names == ("b", "a")
    assert np.array_equal(layout.flatten({"a": np.zeros(2), "b": np.ones(1)}), vector)
    assert layout == flatten({"b": np.ones(1), "a": np.zeros(2)})[1]
    assert layout != flatten({"a": np.zeros(2), "b": np.ones(1)})[1]


def test_errors_of_flatten_name_the_leaf():
    w = np.ones(2)
    with pytest.raises(TypeError, match=r"'net\.1' is of type float"):
        flatten({"net": [w, 3.0]})
    with pytest.raises(TypeError, match="'b' is of type NoneType"):
        flatten({"a": w, "b": None})
    with pytest.raises(ValueError, match=r"'b' has type float32; expected float64"):
        flatten({"a": w, "b": w.astype(np.float32)})
    with pytest.raises(ValueError, match="'a' has type int64"):
        flatten({"a": np.arange(3)})
    with pytest.raises(ValueError, match="no leaves"):
        flatten({"a": []})
    with pytest.raises(ValueError, match=r"both called 'a\.b'"):
        flatten({"a": {"b": w}, "a.b": w})


def test_mixed_libraries_and_devices():
    strict = pytest.importorskip("array_api_strict")
    one = strict.Device("device1")
    with pytest.raises(TypeError, match="'b' is a array_api_strict array; expected numpy"):
        flatten({"a": np.ones(2), "b": strict.ones(2)})
    with pytest.raises(ValueError, match="'b' is on device"):
        flatten({"a": strict.ones(2), "b": strict.ones(2, device=one)})
    _, layout = flatten({"a": strict.ones(2)})
    with pytest.raises(ValueError, match="tree: leaf 'a' is on device"):
        layout.flatten({"a": strict.ones(2, device=one)})


def test_errors_of_layout_flatten_name_the_leaf():
    w = np.ones(2)
    _, layout = flatten({"net": [w, w], "b": w})
    with pytest.raises(ValueError, match=r"gradient: leaf 'net\.1' has shape \(3,\)"):
        layout.flatten({"net": [w, np.ones(3)], "b": w}, what="gradient")
    with pytest.raises(ValueError, match=r"missing \['b'\], not known \['c'\]"):
        layout.flatten({"net": [w, w], "c": w})
    with pytest.raises(ValueError, match=r"tree at 'net' is a dict; expected a list"):
        layout.flatten({"net": {0: w, 1: w}, "b": w})
    with pytest.raises(ValueError, match=r"tree at 'net' has other keys.*missing \[1\]"):
        layout.flatten({"net": [w], "b": w})
    with pytest.raises(ValueError, match="'b' has type float32"):
        layout.flatten({"net": [w, w], "b": w.astype(np.float32)})
    with pytest.raises(TypeError, match="'b' is of type float"):
        layout.flatten({"net": [w, w], "b": 1.0})
    with pytest.raises(KeyError, match=r"no leaf 'c'.*net\.0"):
        layout.slice("c")


class Quadratic:
    """Loss of a tree: sum of a_i ||leaf_i||^2 / 2, with a count of calls."""

    def __init__(self, xp):
        self.calls, self.products, self.xp = 0, 0, xp

    def fun_and_grad(self, params):
        self.calls += 1
        w, b = params["w"], params["b"][0]
        return 0.5 * self.xp.sum(w * w) + self.xp.sum(b * b), {"b": [2 * b], "w": w}

    def hessp(self, params, direction):
        self.products += 1
        return {"w": direction["w"], "b": [2 * direction["b"][0]]}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_flat_objective(xp_case, dtype):
    loss = Quadratic(xp_case.xp)
    params = {"w": xp_case.asarray([[3.0, 4.0]], dtype), "b": [xp_case.asarray([1.0], dtype)]}
    objective = FlatObjective(params, loss.fun_and_grad, loss.hessp)
    x = objective.x0
    assert xp_case.owns(x)
    assert objective.layout.names == ("w", "b.0")
    f, g = objective.fun_and_grad(x)
    assert float(f) == 13.5
    assert xp_case.owns(g)
    assert g.dtype == getattr(xp_case.xp, dtype)
    assert to_host(g).tolist() == [3, 4, 2]
    assert float(objective.fun(x)) == 13.5
    g[0] = 99.0  # the caller's copy
    assert to_host(objective.grad(x)).tolist() == [3, 4, 2]
    assert loss.calls == 1
    product = objective.hessp(x)
    p = xp_case.asarray([1.0, 0.0, 1.0], dtype)
    assert to_host(product(p)).tolist() == [1, 0, 2]
    assert loss.calls == 1
    x[0] = 0.0  # the same array with other content is another point
    assert float(objective.fun(x)) == 9.0
    assert loss.calls == 2
    assert to_host(objective.unflatten(x)["w"]).tolist() == [[0, 4]]


def test_flat_objective_has_hessp_only_when_given():
    loss = Quadratic(np)
    params = {"w": np.ones((1, 2)), "b": [np.ones(1)]}
    assert not hasattr(FlatObjective(params, loss.fun_and_grad), "hessp")
    assert hasattr(FlatObjective(params, loss.fun_and_grad, loss.hessp), "hessp")


def test_flat_objective_blames_the_gradient_and_the_product():
    params = {"w": np.ones(2)}
    bad = FlatObjective(params, lambda p: (0.0, {"w": np.ones(3)}), lambda p, d: {"v": d["w"]})
    with pytest.raises(ValueError, match="gradient: leaf 'w'"):
        bad.fun(bad.x0)
    with pytest.raises(ValueError, match="Hessian product has other keys"):
        bad.hessp(bad.x0)(bad.x0)


def test_hessp_keeps_its_point():
    seen = []
    objective = FlatObjective(
        {"w": np.ones(2)}, lambda p: (0.0, p), lambda p, d: seen.append(p["w"].copy()) or d
    )
    x = objective.x0
    product = objective.hessp(x)
    x[...] = 5.0
    product(np.ones(2))
    assert np.array_equal(seen[0], [1.0, 1.0])


def test_torch_parameters_that_record_gradients():
    torch = pytest.importorskip("torch")
    w = torch.ones(3, requires_grad=True)
    vector, _ = flatten([w])
    vector.sum().backward()  # flatten itself can be differentiated
    assert w.grad.tolist() == [1, 1, 1]
    objective = FlatObjective([w], lambda p: (p[0].sum(), [torch.ones(3)]))
    assert not objective.x0.requires_grad
