"""Loops over vectors and matrices: what BLAS and LAPACK do for the array code.

A loop that sums does not write: the compiler takes a loop that does both in another order where
two of its vectors lie close.  Of m stored pairs, s is in rows 0 to m - 1, y in the m behind them.
"""

from __future__ import annotations

import math

import numpy as np

from negopt.compiled._build import plain, reduction

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

EPS = 2.220446049250313e-16

#: Entries of a block, of which three fit into the nearest cache.
BLOCK = 1024


@reduction
def dot(a: Floats, b: Floats) -> float:
    """Return ``a'b``."""
    total = 0.0
    for i in range(a.shape[0]):
        total += a[i] * b[i]
    return total


@reduction
def sums(x: Floats, g: Floats, d: Floats) -> tuple[float, float, float]:
    """Return ``g'g``, ``g'd`` and ``x'x``."""
    gg = gd = xx = 0.0
    for i in range(x.shape[0]):
        gg += g[i] * g[i]
        gd += g[i] * d[i]
        xx += x[i] * x[i]
    return gg, gd, xx


@plain
def largest(g: Floats) -> float:
    """Return ``max |g|``; of nan it may see nothing."""
    a = b = c = d = 0.0
    n = g.shape[0]
    for i in range(0, n - 3, 4):  # four at a time: one maximum waits for the one before it
        a = max(a, abs(g[i]))
        b = max(b, abs(g[i + 1]))
        c = max(c, abs(g[i + 2]))
        d = max(d, abs(g[i + 3]))
    for i in range(n - n % 4, n):
        a = max(a, abs(g[i]))
    return max(a, b, c, d)


@reduction
def scaled_norm(g: Floats, size: float) -> float:
    """Return the length of g, whose largest entry is `size`, where squares leave the range."""
    total = 0.0
    for i in range(g.shape[0]):
        total += (g[i] / size) * (g[i] / size)
    return size * math.sqrt(total)


@reduction
def square_in(v: Floats, units: Floats) -> float:
    """Return the square of the length of ``v * units``."""
    total = 0.0
    for i in range(v.shape[0]):
        total += (v[i] * units[i]) * (v[i] * units[i])
    return total


@reduction
def log_variances(x: Floats, g: Floats) -> tuple[float, float, float]:
    """Return the variances of ``log |x_i|``, ``log |g_i|`` and their sum; nan with a zero."""
    n = x.shape[0]
    mean_x = mean_g = 0.0
    for i in range(n):
        if x[i] == 0.0 or g[i] == 0.0:
            return math.nan, math.nan, math.nan
        mean_x += math.log(abs(x[i])) / n
        mean_g += math.log(abs(g[i])) / n
    of_x = of_g = of_both = 0.0
    for i in range(n):
        a = math.log(abs(x[i])) - mean_x
        b = math.log(abs(g[i])) - mean_g
        of_x += a * a / n
        of_g += b * b / n
        of_both += (a + b) * (a + b) / n
    return of_x, of_g, of_both


@reduction
def direction_sums(
    g: Floats, d: Floats, units: Floats, in_units: bool
) -> tuple[float, float, float]:
    """Return ``g'd``, ``d'd``, and the latter of ``d / units``."""
    gd = dd = inside = 0.0
    for i in range(g.shape[0]):
        gd += g[i] * d[i]
        dd += d[i] * d[i]
    if not in_units:
        return gd, dd, dd
    for i in range(g.shape[0]):
        inside += (d[i] / units[i]) * (d[i] / units[i])
    return gd, dd, inside


@plain
def scale_to(a: float, x: Floats, out: Floats) -> None:
    """Write ``a x`` to `out`."""
    for i in range(x.shape[0]):
        out[i] = a * x[i]


@plain
def add_to(x: Floats, a: float, d: Floats, out: Floats) -> None:
    """Write ``x + a d`` to `out`."""
    for i in range(x.shape[0]):
        out[i] = x[i] + a * d[i]


@plain
def subtract(a: Floats, b: Floats, factor: float, out: Floats) -> None:
    """Write ``factor (a - b)`` to `out`."""
    for i in range(a.shape[0]):
        out[i] = factor * (a[i] - b[i])


@plain
def is_at(x: Floats, a: float, d: Floats, other: Floats) -> bool:
    """Tell whether ``x + a d`` is `other` in every entry."""
    for i in range(x.shape[0]):  # noqa: SIM110 - a loop, not a generator
        if x[i] + a * d[i] != other[i]:
            return False
    return True


@reduction
def pair_sums(x_new: Floats, x: Floats, g_new: Floats, g: Floats) -> tuple[float, float, float]:
    """Return ``s's``, ``y'y`` and ``s'y`` of ``s = x_new - x``, ``y = g_new - g``."""
    ss = yy = sy = 0.0
    for i in range(x.shape[0]):
        s = x_new[i] - x[i]
        y = g_new[i] - g[i]
        ss += s * s
        yy += y * y
        sy += s * y
    return ss, yy, sy


@reduction
def six_sums(
    s: Floats, y: Floats, a: Floats, b: Floats, c: Floats, begin: int, end: int
) -> tuple[float, float, float, float, float, float]:
    """Return the products of two rows with three vectors, over a block of entries."""
    sa = sb = sc = ya = yb = yc = 0.0
    for i in range(np.uint64(begin), np.uint64(end)):  # N.B. a sign would have to be looked at
        sa += s[i] * a[i]
        sb += s[i] * b[i]
        sc += s[i] * c[i]
        ya += y[i] * a[i]
        yb += y[i] * b[i]
        yc += y[i] * c[i]
    return sa, sb, sc, ya, yb, yc


@plain
def multiply_rows(rows: Floats, count: int, slot: int, g: Floats, gram: Floats) -> None:
    """Write the products of the rows of `count` slots with s and y of one, and with g.

    They go behind the products among the rows.
    """
    m = rows.shape[0] // 2
    last = 2 * m
    for r in range(last):
        for i in range(3):
            gram[last + i, r] = 0.0
    a, b = rows[slot], rows[m + slot]
    for begin in range(0, g.shape[0], BLOCK):
        end = min(begin + BLOCK, g.shape[0])
        for i in range(count):
            sa, sb, sc, ya, yb, yc = six_sums(rows[i], rows[m + i], a, b, g, begin, end)
            gram[last, i] += sa
            gram[last + 1, i] += sb
            gram[last + 2, i] += sc
            gram[last, m + i] += ya
            gram[last + 1, m + i] += yb
            gram[last + 2, m + i] += yc


@plain
def combine_rows(
    rows: Floats, count: int, weights: Floats, a: float, v: Floats, out: Floats
) -> None:
    """Write ``a v + rows' weights``, of `count` slots, to `out`."""
    m = rows.shape[0] // 2
    for begin in range(0, v.shape[0], BLOCK):
        end = min(begin + BLOCK, v.shape[0])
        for i in range(np.uint64(begin), np.uint64(end)):
            out[i] = a * v[i]
        for slot in range(count):
            s, y = rows[slot], rows[m + slot]
            by_s, by_y = weights[slot], weights[m + slot]
            for i in range(np.uint64(begin), np.uint64(end)):
                out[i] += by_s * s[i] + by_y * y[i]


@plain
def two_loops(
    gram: Floats, newest: int, count: int, scale: float, products: Floats, weights: Floats
) -> None:
    """Write ``H v`` of L-BFGS, less ``scale v``, as weights of the rows.

    `products` of the rows with v are overwritten.  The slots are a ring that ends at the newest.
    """
    m = gram.shape[1] // 2
    for r in range(2 * m):
        weights[r] = 0.0
    for j in range(count):
        s = (newest - j) % m
        a = products[s] / gram[s, m + s]
        for slot in range(count):
            products[slot] -= a * gram[m + s, slot]
            products[m + slot] -= a * gram[m + s, m + slot]
        weights[s] = a
        weights[m + s] = -scale * a
    for r in range(2 * m):
        products[r] *= scale
    for j in range(count):
        s = (newest - count + 1 + j) % m
        change = weights[s] - products[m + s] / gram[s, m + s]
        for slot in range(count):
            products[slot] += change * gram[s, slot]
            products[m + slot] += change * gram[s, m + slot]
        weights[s] = change


@plain
def set_diagonal(store: Floats, first: int, scale: float, units: Floats, in_units: bool) -> None:
    """Write ``scale diag(units**2)``, or that multiple of the identity, from row `first` on."""
    n = store.shape[1]
    for i in range(n):
        for j in range(n):
            store[first + i, j] = 0.0
        store[first + i, i] = scale * (units[i] * units[i]) if in_units else scale


@plain
def image(store: Floats, first: int, v: Floats, out: Floats) -> None:
    """Write the product of a matrix, from row `first` on, with v to `out`."""
    for i in range(v.shape[0]):
        out[i] = dot(store[first + i], v)


@plain
def add_square(store: Floats, first: int, v: Floats, sign: float) -> None:
    """Add ``sign v v'``."""
    n = v.shape[0]
    for i in range(n):
        a = sign * v[i]
        row = store[first + i]
        for j in range(n):
            row[j] += a * v[j]


@plain
def bfgs_update(
    store: Floats, first: int, s: Floats, y: Floats, sy: float, added: float, w: Floats
) -> None:
    """Apply ``V'HV + added s s'/s'y`` with ``V = I - y s'/s'y``; w is scratch."""
    n = s.shape[0]
    image(store, first, y, w)
    along = 0.5 * (added + dot(y, w) / sy) / sy
    for i in range(n):
        w[i] = along * s[i] - w[i] / sy
    for i in range(n):  # the same two products at (i, j) and (j, i) keep it symmetric
        a = w[i]
        b = s[i]
        row = store[first + i]
        for j in range(n):
            row[j] += a * s[j] + b * w[j]


@plain
def exceeds(v: Floats, first: int, n: int, least: float) -> bool:
    """Tell whether all eigenvalues of the matrix in rows `first` to ``first + n`` exceed `least`.

    Cholesky's factorisation of its symmetric part, less that multiple of the identity, which
    overwrites its lower triangle.
    """
    for i in range(n):
        for j in range(i + 1):
            total = 0.5 * (v[first + i, j] + v[first + j, i]) - (least if i == j else 0.0)
            for k in range(j):
                total -= v[first + i, k] * v[first + j, k]
            if i > j:
                v[first + i, j] = total / v[first + j, j]
            elif not 0.0 < total < math.inf:
                return False
            else:
                v[first + i, i] = math.sqrt(total)
    return True


@plain
def solve(v: Floats, first: int, n: int, z: Floats) -> None:
    """Overwrite z with the solution for the matrix that `exceeds` has factored."""
    for i in range(n):
        for j in range(i):
            z[i] -= v[first + i, j] * z[j]
        z[i] /= v[first + i, i]
    for i in range(n - 1, -1, -1):
        for j in range(i + 1, n):
            z[i] -= v[first + j, i] * z[j]
        z[i] /= v[first + i, i]
