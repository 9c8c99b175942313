"""The models of the two methods, stored pairs and dense matrices, and the directions they give."""

from __future__ import annotations

import math

from negopt.compiled import layout as k
from negopt.compiled import linear
from negopt.compiled._build import plain
from negopt.decisions import endings as e
from negopt.decisions import pairs as p


@plain
def learn_rows(w: k.Work, here: int, new: int) -> bool:
    """Store the pair of two points in place of the oldest; tell whether it was usable."""
    ints, v = w.ints, w.vectors
    x_new, x, g_new, g = v[2 * new], v[2 * here], v[2 * new + 1], v[2 * here + 1]
    ss, yy, sy = linear.pair_sums(x_new, x, g_new, g)
    if not (p.is_storable(ss, yy, sy) and p.is_positive(ss, yy, sy, w.reals[k.SKIP])):
        return False
    m = ints[k.PAIRS]
    slot = ints[k.STORED] % m
    factor = p.balance(sy, ss)
    linear.subtract(x_new, x, factor, w.store[slot])
    linear.subtract(g_new, g, factor, w.store[m + slot])
    ints[k.STORED] += 1
    ints[k.NEWEST] = slot
    return True


@plain
def multiply(w: k.Work) -> None:
    """Form the products of the stored rows with the newest pair and the gradient at the iterate."""
    ints, gram = w.ints, w.gram
    m, slot = ints[k.PAIRS], ints[k.NEWEST]
    last, at = 2 * m, max(slot, 0)
    g = w.vectors[2 * ints[k.ITERATE] + 1]
    linear.multiply_rows(w.store, min(ints[k.STORED], m), at, g, gram)
    if slot >= 0:
        for r in range(last):
            gram[r, slot] = gram[slot, r] = gram[last + k.WITH_S, r]
            gram[r, m + slot] = gram[m + slot, r] = gram[last + k.WITH_Y, r]
    ints[k.NEWEST] = -1


@plain
def aim_rows(w: k.Work) -> None:
    """Write the direction of L-BFGS."""
    ints, m, here = w.ints, w.ints[k.PAIRS], w.ints[k.ITERATE]
    g, d = w.vectors[2 * here + 1], w.vectors[k.D]
    count = min(ints[k.STORED], m)
    if count == 0:
        linear.scale_to(-p.unit_scale(w.figures[here, k.GNORM]), g, d)
        return
    gram, newest = w.gram, (ints[k.STORED] - 1) % m
    scale = p.bfgs_scale(gram[m + newest, m + newest], gram[newest, m + newest])
    products, weights = gram[2 * m + k.WITH_G], gram[2 * m + k.WEIGHTS]
    for r in range(2 * m):
        products[r] = -products[r]
    linear.two_loops(gram, newest, count, scale, products, weights)
    linear.combine_rows(w.store, count, weights, -scale, g, d)


@plain
def learn_dense(w: k.Work, here: int, new: int) -> bool:
    """Update both models by the pair of two points; tell whether one changed."""
    ints, reals, v = w.ints, w.reals, w.vectors
    n, step, y, r, units = v.shape[1], v[k.S], v[k.Y], v[k.A], v[k.U]
    linear.subtract(v[2 * new], v[2 * here], 1.0, step)
    linear.subtract(v[2 * new + 1], v[2 * here + 1], 1.0, y)
    in_units = ints[k.UNITS] == 1
    sy, ss, inside_ss = linear.direction_sums(y, step, units, in_units)
    yy = linear.dot(y, y)
    inside_yy = linear.square_in(y, units) if in_units else yy
    if not (p.is_usable(ss, yy, sy) and p.is_usable(inside_ss, inside_yy, sy)):
        return False
    kept = False
    if p.is_positive(ss, yy, sy, reals[k.SKIP_BFGS]):
        for i in range(2):
            if ints[k.HAS_BFGS] == 0:
                linear.set_diagonal(w.store, i * n, float(i), units, in_units)
            linear.bfgs_update(w.store, i * n, step, y, sy, 1.0 - i, r)
        ints[k.HAS_BFGS] = 1
        reals[k.GAMMA] = p.bfgs_scale(inside_yy, sy)
        kept = True
    if ints[k.HAS_SR1] == 0:
        scale = p.sr1_scale(inside_ss, inside_yy, sy)
        linear.set_diagonal(w.store, k.SR1 * n, scale, units, in_units)
        ints[k.HAS_SR1] = 1
    linear.image(w.store, k.SR1 * n, y, r)
    linear.subtract(step, r, 1.0, r)
    rr, ry = linear.dot(r, r), linear.dot(r, y)
    if not p.takes_sr1(rr, ry, yy, reals[k.SKIP], p.RESIDUAL * math.sqrt(ss)):
        return kept
    # One factor first: r r' / r'y would not be symmetric to the last bit.
    linear.scale_to(1.0 / math.sqrt(abs(ry)), r, r)
    linear.add_square(w.store, k.SR1 * n, r, 1.0 if ry > 0.0 else -1.0)
    return True


@plain
def aim_dense(w: k.Work) -> None:
    """Write the direction of the model that suits the gradient at the iterate."""
    ints, reals, v = w.ints, w.reals, w.vectors
    here, n, units = ints[k.ITERATE], v.shape[1], v[k.U]
    x, g, d = v[2 * here], v[2 * here + 1], v[k.D]
    if ints[k.HAS_SR1] == 0:
        in_units = False
        if ints[k.AUTO_UNITS] == 1:
            of_x, of_g, of_both = linear.log_variances(x, g)
            in_units = e.units_differ(of_x, of_g, of_both)
        ints[k.UNITS] = 1 if in_units else 0
        if in_units:
            for i in range(n):
                units[i] = abs(x[i])
            first = p.unit_scale(math.sqrt(linear.square_in(g, units)))
            for i in range(n):
                d[i] = -first * ((units[i] * units[i]) * g[i])
        else:
            linear.scale_to(-p.unit_scale(w.figures[here, k.GNORM]), g, d)
        return
    free = v[k.A]
    linear.image(w.store, k.SR1 * n, g, free)
    if ints[k.HAS_BFGS] == 1:
        positive = v[k.B]
        linear.image(w.store, k.BFGS * n, g, positive)
        linear.image(w.store, k.REST * n, g, d)
        linear.add_to(positive, reals[k.GAMMA], d, positive)
        in_units = ints[k.UNITS] == 1
        ge, _, ee = linear.direction_sums(g, free, units, in_units)
        gd, _, dd = linear.direction_sums(g, positive, units, in_units)
        if not p.takes_free(ge, ee, gd, dd, ints[k.DESCENT] == 1):
            linear.scale_to(-1.0, positive, d)
            return
    linear.scale_to(-1.0, free, d)
