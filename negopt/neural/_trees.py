"""Trees of data (tuples, lists, mappings of arrays): samples, rows, libraries, a fingerprint."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping

import numpy as np

from negopt.core.arrays import Array, adopt, device_of, is_array, library_of, namespace_of, to_host
from negopt.neural._cache import Indices, take_rows

#: Entries of which a weighted copy is held at a time.
BLOCK = 2**20
#: Integers as wide as the entries of an array: what its bits are read as.
WORDS = {1: "uint8", 2: "int16", 4: "int32", 8: "int64"}


def _leaves(tree: object) -> Iterator[Array]:
    if isinstance(tree, Mapping):
        tree = list(tree.values())
    if isinstance(tree, (list, tuple)):
        for value in tree:
            yield from _leaves(value)
    elif tree is not None:
        yield tree


def _belongs_to_all(leaf: Array) -> bool:
    """Tell whether a leaf is the same for all samples: a number, or a random key of JAX."""
    return isinstance(leaf, (bool, int, float)) or (is_array(leaf) and leaf.ndim == 0)


def rows_of(tree: object, rows: Indices) -> object:
    """Return the rows of every array; a mapping becomes a dict, and what has no rows stays."""
    if isinstance(tree, Mapping):
        return {key: rows_of(value, rows) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        values: list[Array] = [rows_of(value, rows) for value in tree]
        return type(tree)(*values) if hasattr(tree, "_fields") else type(tree)(values)
    return tree if tree is None or _belongs_to_all(tree) else take_rows(tree, rows)


def type_of(x: Array) -> str:
    """Return the name of the type of the entries, without that of the library."""
    return str(x.dtype).rpartition(".")[2]


def libraries_in(tree: object) -> set[str]:
    """Return the names of the array libraries of all arrays."""
    return {library_of(leaf) for leaf in _leaves(tree) if is_array(leaf)}


def number_of_samples(data: object, name: str) -> int:
    """Check data and return the number of samples.

    Inputs must not be nan; infinite ones mask attention, and of targets the loss decides.
    """
    if not isinstance(data, (tuple, list)) or not data:
        raise TypeError(f"{name} is a {type(data).__name__}; pass the pair (inputs, targets).")
    sizes: set[int] = set()
    for part in data:
        leaves = list(_leaves(part))
        counted = [leaf for leaf in leaves if not _belongs_to_all(leaf)]
        odd = [leaf for leaf in counted if not is_array(leaf)]
        if isinstance(part, (tuple, list)) and not counted:
            odd = leaves  # a list of numbers is targets that are not yet an array
        if odd:
            raise TypeError(
                f"{name} holds a {type(odd[0]).__name__}; inputs and targets are arrays (or "
                "tuples, lists or dicts of arrays) whose first axis counts the samples."
            )
        sizes |= {int(leaf.shape[0]) for leaf in counted}
    if len(sizes) != 1 or sizes == {0}:
        raise ValueError(
            f"{name} has arrays of {sorted(sizes)} samples; inputs and targets must have the same "
            "number of samples, at least one. Close over an array that belongs to all of them."
        )
    for leaf in _leaves(data[0]):
        if is_array(leaf) and "float" in str(leaf.dtype):
            xp = namespace_of(leaf)
            if bool(xp.any(xp.isnan(leaf))):
                raise ValueError(
                    f"{name} has inputs that are not finite numbers (nan); fill or drop those "
                    "samples."
                )
    return sizes.pop()


# --- the same data as before? ----------------------------------------------------------------


def fingerprint(tree: Array) -> str:
    """Return shapes, types and checksums of all arrays in words, the same in every library."""
    if isinstance(tree, Mapping):
        return f"{{{', '.join(f'{k}: {fingerprint(tree[k])}' for k in sorted(tree, key=str))}}}"
    if isinstance(tree, (list, tuple)):
        return f"({', '.join(map(fingerprint, tree))})"
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return str(tree)
    dense = _dense_parts(tree)
    if dense is not None:
        return f"sparse {' x '.join(map(str, tree.shape))} {fingerprint(dense)}"
    tree = np.asarray(tree) if isinstance(tree, np.generic) else tree
    if not is_array(tree):
        return type(tree).__name__
    shape = " x ".join(map(str, tree.shape)) or "one"
    kind = type_of(tree)
    if kind.startswith("key<"):  # JAX prints its random keys but does not give their bits
        return f"{shape} {kind} {zlib.crc32(repr(tree).encode()):08x}"
    if namespace_of(tree).isdtype(tree.dtype, ("bool", "numeric")):
        return f"{shape} {kind} {_checksum(tree):08x}"
    return f"{shape} {kind}"


def _dense_parts(x: Array) -> tuple[Array, ...] | None:
    """Return the arrays that a sparse one of SciPy or torch consists of, None for all others."""
    layout = str(getattr(x, "layout", ""))
    if layout == "torch.sparse_coo":
        return x._indices(), x._values()
    if layout == "torch.sparse_csr":
        return x.crow_indices(), x.col_indices(), x.values()
    if not layout and hasattr(x, "tocoo"):
        triples = x.tocoo()
        return triples.row, triples.col, triples.data
    return None


def _checksum(x: Array) -> int:
    """Return a number that changes with any entry, and where entries change places.

    The entries are laid out in a square; its row sums and weighted column sums alone leave the
    device.  Bits are summed, as integers: the order of the sums does not matter.
    """
    if library_of(x) == "jax.numpy":  # without 64 bits it cannot sum
        x = adopt(x)
    xp = namespace_of(x)
    if getattr(x.dtype, "itemsize", 0) == 16 and xp.isdtype(x.dtype, "complex floating"):
        x = xp.stack([xp.real(x), xp.imag(x)])
    width = getattr(x.dtype, "itemsize", 0)
    if hasattr(x, "view") and width in WORDS:
        if library_of(x) == "torch":
            x = x.detach().resolve_conj().resolve_neg()
        x = x.view(getattr(xp, WORDS[width]))
        if int(x.__dlpack_device__()[0]) == 1:  # the host: NumPy is the fastest, on shared memory
            x = np.asarray(x)
    else:  # the array API standard has no views of bits
        x = to_host(x).view(np.int64)
    xp = namespace_of(x)
    flat = xp.reshape(x, (-1,))
    side = max(1, math.isqrt(flat.shape[0]))
    even = flat.shape[0] // side * side
    square = xp.reshape(flat[:even], (-1, side))
    sums = [xp.sum(square, axis=1, dtype=xp.int64), xp.astype(flat[even:], xp.int64)]
    weights = xp.asarray(_weights(square.shape[0]), device=device_of(x))
    step = max(1, BLOCK // side)
    for start in range(0, square.shape[0], step):
        some = slice(start, start + step)
        sums.append(xp.sum(square[some, :] * weights[some, None], axis=0, dtype=xp.int64))
    both = xp.concat(sums)
    # In two halves: numbers come to the host as float64, which holds integers up to 2^53.
    halves = xp.stack([both // 2**32, both % 2**32])
    return zlib.crc32(to_host(halves).tobytes())


def _weights(count: int) -> Indices:
    """Return odd integers without a pattern, the same everywhere (the mixer of SplitMix64)."""
    z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    return (z ^ (z >> np.uint64(31)) | np.uint64(1)).view(np.int64)
