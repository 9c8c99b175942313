"""Nested parameters (dicts, lists, tuples of arrays) <-> one flat vector."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Generic, TypeVar, cast

from negopt.core.arrays import Array, device_of, is_array, library_of, namespace_of

__all__ = ["Layout", "flatten", "layout_of_shapes"]

#: A tree: nested dicts, lists, tuples and named tuples with arrays as leaves.
T = TypeVar("T")


@dataclass(frozen=True)
class _Node:
    """One container of a tree: its type, its keys, its children (None is a leaf)."""

    kind: type
    keys: tuple[object, ...]
    children: tuple[_Node | None, ...]


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _called(path: str) -> str:
    return f"leaf {path!r}" if path else "the tree"


def _items(tree: object) -> dict[object, object] | None:
    """Return the children of a container by their keys, or None for a leaf."""
    if isinstance(tree, Mapping):
        return dict(tree)
    if isinstance(tree, (list, tuple)):
        return dict(zip(getattr(tree, "_fields", range(len(tree))), tree, strict=True))
    return None


def _structure(tree: object, path: str, leaves: dict[str, Array]) -> _Node | None:
    """Add the leaves of `tree` to `leaves` and return its structure."""
    items = _items(tree)
    if items is None:
        if not is_array(tree):
            raise TypeError(
                f"{_called(path)} is of type {type(tree).__name__}; every leaf must be an array "
                "(for a number, pass a zero-dimensional array)."
            )
        if path in leaves:
            raise ValueError(f"two leaves are both called {path!r}; rename one of the keys.")
        leaves[path] = tree
        return None
    kind = dict if isinstance(tree, Mapping) else type(tree)
    children = tuple(_structure(c, _join(path, k), leaves) for k, c in items.items())
    return _Node(kind, tuple(items), children)


def _matching_leaves(node: _Node | None, tree: object, path: str, what: str) -> Iterator[Array]:
    """Yield the leaves of `tree` in the order of the structure `node`."""
    if node is None:
        yield tree
        return
    items = _items(tree)
    where = f"{what} at {path!r}" if path else what
    if items is None or issubclass(node.kind, dict) != isinstance(tree, Mapping):
        raise ValueError(f"{where} is a {type(tree).__name__}; expected a {node.kind.__name__}.")
    if items.keys() != set(node.keys):
        missing = [k for k in node.keys if k not in items]
        extra = [k for k in items if k not in node.keys]
        raise ValueError(
            f"{where} has other keys than the layout: missing {missing}, not known {extra}."
        )
    for key, child in zip(node.keys, node.children, strict=True):
        yield from _matching_leaves(child, items[key], _join(path, key), what)


def _build(node: _Node | None, leaves: Iterator[Array]) -> object:
    if node is None:
        return next(leaves)
    values = [_build(child, leaves) for child in node.children]
    if node.kind is dict:
        return dict(zip(node.keys, values, strict=True))
    return node.kind(*values) if hasattr(node.kind, "_fields") else node.kind(values)


@dataclass(frozen=True)
class Layout(Generic[T]):
    """Where every leaf of a tree of arrays lies in one flat vector.

    Made by :func:`flatten`; the attributes are read-only.

    Attributes
    ----------
    names : tuple of str
        One name per leaf, in the order of the vector: the keys and positions from
        the root, joined by dots, as in ``"layers.0.weight"``.  Dicts keep their
        own order.
    shapes : tuple of tuple of int
        Shapes of the leaves, in the same order.
    offsets : tuple of int
        Where each leaf begins; leaf ``i`` takes ``offsets[i]`` up to
        ``offsets[i] + prod(shapes[i])``, row by row (C order).
    treedef : object
        The nesting, without the arrays.
    library, dtype, device
        What every leaf must be; None where the layout was made without arrays
        (as by :attr:`negopt.neural.MLP.layout`) and the leaves need only agree.

    Notes
    -----
    **Guarantee** (``tests/neural/test_flat.py``): ``flatten`` and ``unflatten`` are
    exact inverses, and ``unflatten`` shares memory with the vector.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    offsets: tuple[int, ...]
    treedef: _Node | None = field(repr=False)
    library: str | None = None
    dtype: object = None
    device: object = None

    @property
    def size(self) -> int:
        """Number of entries of the flat vector."""
        return self.offsets[-1] + math.prod(self.shapes[-1])

    @cached_property
    def _slices(self) -> dict[str, slice]:
        return {
            name: slice(start, start + math.prod(shape))
            for name, shape, start in zip(self.names, self.shapes, self.offsets, strict=True)
        }

    def slice(self, name: str) -> slice:
        """Return the slice of the flat vector that holds the leaf `name`."""
        try:
            return self._slices[name]
        except KeyError:
            raise KeyError(f"no leaf {name!r}; the leaves are {list(self.names)}") from None

    def unflatten(self, vector: Array) -> T:
        """Return the tree whose leaves are views into `vector`: nothing is copied.

        Parameters
        ----------
        vector : array, shape (size,)
            Of any supported library and floating-point type, those of the leaves.
        """
        xp = namespace_of(vector)
        if tuple(vector.shape) != (self.size,):
            raise ValueError(
                f"'vector' has shape {tuple(vector.shape)}; this layout needs ({self.size},)."
            )
        leaves = (
            xp.reshape(vector[part], shape)
            for part, shape in zip(self._slices.values(), self.shapes, strict=True)
        )
        return cast("T", _build(self.treedef, leaves))

    def flatten(self, tree: T, *, what: str = "tree") -> Array:
        """Return the leaves of `tree` as one new vector, in the order of this layout.

        Parameters
        ----------
        tree : tree of arrays
            Must have the structure and the shapes of this layout (dicts in any
            order) and its library, type and device.
        what : str, default "tree"
            The name of the argument in messages.

        Returns
        -------
        array, shape (size,)
            Always a copy.  Of torch tensors that record gradients, the vector
            records them too.
        """
        leaves = list(_matching_leaves(self.treedef, tree, "", what))
        library, dtype, device = self.library, self.dtype, self.device
        for name, shape, leaf in zip(self.names, self.shapes, leaves, strict=True):
            called = f"{what}: {_called(name)}"
            if not is_array(leaf):
                raise TypeError(f"{called} is of type {type(leaf).__name__}; it must be an array.")
            if tuple(leaf.shape) != shape:
                raise ValueError(f"{called} has shape {tuple(leaf.shape)}; expected {shape}.")
            if library is None:
                library, dtype, device = library_of(leaf), leaf.dtype, device_of(leaf)
            _check_kind(called, leaf, library, dtype, device)
        return _concat(leaves)


def _check_kind(
    called: str, leaf: Array, library: str | None, dtype: object, device: object
) -> None:
    """Raise when `leaf` differs from the other leaves in library, type or device."""
    if library_of(leaf) != library:
        raise TypeError(
            f"{called} is a {library_of(leaf)} array; expected {library} "
            "(arrays are never moved from one library to another)."
        )
    if leaf.dtype != dtype:
        raise ValueError(
            f"{called} has type {leaf.dtype}; expected {dtype}. One vector has one type: "
            "convert the leaf."
        )
    if device_of(leaf) != device:
        raise ValueError(
            f"{called} is on device {device_of(leaf)}; expected {device}. Move the leaf first."
        )


def _concat(leaves: list[Array]) -> Array:
    xp = namespace_of(*leaves)
    return xp.concat([xp.reshape(leaf, (-1,)) for leaf in leaves])


def _layout_of(tree: T) -> tuple[dict[str, Array], Layout[T]]:
    """Return the leaves of `tree` and a layout without library, type and device."""
    leaves: dict[str, Array] = {}
    treedef = _structure(tree, "", leaves)
    if not leaves:
        raise ValueError("the tree has no leaves; pass at least one array.")
    shapes = tuple(tuple(int(d) for d in leaf.shape) for leaf in leaves.values())
    offsets, start = [], 0
    for shape in shapes:
        offsets.append(start)
        start += math.prod(shape)
    return leaves, Layout(tuple(leaves), shapes, tuple(offsets), treedef)


def layout_of_shapes(tree: T) -> Layout[T]:
    """Return the layout of a tree of placeholder arrays, for any library and type."""
    return _layout_of(tree)[1]


def flatten(tree: T) -> tuple[Array, Layout[T]]:
    """Copy a tree of arrays into one vector and say where everything lies.

    Parameters
    ----------
    tree : nested dict, list, tuple or named tuple of arrays
        Leaves of any shape, all of one library, one real floating-point type and
        one device.  A single array is a tree too.

    Returns
    -------
    vector : array, shape (n,)
        A new vector of the leaves' library, type and device.
    layout : Layout
        Turns vectors back into trees (of views) and trees into vectors.

    Raises
    ------
    TypeError
        When a leaf is not an array, or the leaves belong to two libraries.
    ValueError
        When the leaves differ in type or device, are not real floating point, or
        there are none.  Messages name the leaf.

    Examples
    --------
    >>> import numpy as np
    >>> from negopt.neural import flatten
    >>> vector, layout = flatten({"weight": np.ones((2, 3)), "bias": np.zeros(2)})
    >>> vector.shape, layout.names
    ((8,), ('weight', 'bias'))
    >>> layout.unflatten(vector)["weight"].shape
    (2, 3)
    """
    leaves, layout = _layout_of(tree)
    first = next(iter(leaves.values()))
    library, dtype, device = library_of(first), first.dtype, device_of(first)
    if not namespace_of(first).isdtype(dtype, "real floating"):
        raise ValueError(
            f"{_called(layout.names[0])} has type {dtype}; parameters must be real "
            "floating point (float32 or float64)."
        )
    for name, leaf in leaves.items():
        _check_kind(_called(name), leaf, library, dtype, device)
    vector = _concat(list(leaves.values()))
    return vector, replace(layout, library=library, dtype=dtype, device=device)
