"""From measurements to messages: which claim is wrong, where, and by what."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt

from negopt.core.arrays import Array, dot, from_host, namespace_of, norm, scalars, to_host
from negopt.diagnostics.derivatives import random_direction, unit
from negopt.diagnostics.examine import Examination, Line
from negopt.diagnostics.taylor import Verdict, size_of, step_range
from negopt.diagnostics.words import common_factor, relation, rounded, times


def examine(e: Examination) -> None:
    """Measure everything that is claimed, and put what is wrong into ``e.problems``."""
    e.start()
    for line in e.lines:
        e.follow(line)
    if e.noisy:
        size = f"{e.noise:.2g}" + (f", {e.noise / abs(e.f0):.1g} of its value" if e.f0 else "")
        e.notes.append(f"fun is noisy: within rounding distance of x0 it varies by {size}")
    if e.g is not None:
        _judge_gradient(e)
    if e.given.product is not None:
        _judge_products(e)
        _judge_hessian(e)


# --- the gradient ---------------------------------------------------------------------


def _judge_gradient(e: Examination) -> None:
    found = [(line, line.values.verdict(0.0)) for line in e.lines]
    known = [(line, verdict) for line, verdict in found if verdict is not None]
    if not known:
        e.problems.append(
            "jac cannot be checked: fun is not finite in the neighbourhood of x0; choose another x0"
        )
        return
    sizes = [_slope_size(e, line, v) for line, v in known]
    errors = [v.uncertainty for _, v in known]
    shares = [v.closest / size for (_, v), size in zip(known, sizes, strict=True) if size > 0.0]
    e.gradient_error = max(shares, default=0.0)
    if all(error > 0.1 * size > 0.0 for error, size in zip(errors, sizes, strict=True)):
        text = f"differences of fun are off by {min(errors):.2g}, where slopes are {max(sizes):.2g}"
        if e.noisy:
            e.problems.append(f"jac cannot be checked, fun is too noisy: {text}")
            return
        e.notes.append(f"the gradient at x0 is too small to be checked well: {text}")
    judged = [_judged(e, line, size) for (line, _), size in zip(known, sizes, strict=True)]
    wrong = any(verdict.wrong for verdict in judged)
    claimed = [line.slope for line, _ in known]
    off = [float(v.mismatch) for _, v in known]
    factor = common_factor(claimed, off, sizes) if wrong else None
    if factor is not None:
        error = max(v / size for v, size in zip(errors, sizes, strict=True) if size > 0.0)
        e.problems.append(f"jac is {times(factor, error)} what differences of fun say")
        return
    entries = _scan(e, wrong)
    if entries:
        e.problems.append(_entries(e, entries))
    elif wrong:
        line, verdict = max(known, key=lambda pair: pair[1].error)
        e.problems.append(
            f"jac is wrong: its slope along a random direction is {line.slope:.6g} where "
            f"differences of fun say {line.slope + verdict.mismatch:.6g}"
        )
    else:
        _doubts(e, "jac", judged)
        _look_at_orders(e)


def _doubts(e: Examination, name: str, verdicts: list[Verdict]) -> None:
    """Note along how many directions the differences were inconclusive."""
    count = sum(v.suspect for v in verdicts)
    if count:
        e.notes.append(
            f"along {count} of {len(verdicts)} directions differences could not settle whether "
            f"{name} is right: fun changes too fast, or too little, for steps that x can take"
        )


def _look_at_orders(e: Examination) -> None:
    """Note where remainders fall as they do at a kink, though the differences agree."""
    orders = [order for order in e.gradient_orders if not math.isnan(order)]
    if orders and float(np.median(orders)) < 1.5:
        e.notes.append(
            f"the Taylor remainder of jac falls with order {float(np.median(orders)):.1f}, not 2: "
            "fun may have a kink at x0, or be noisy there"
        )


def _slope_size(e: Examination, line: Line, verdict: Verdict) -> float:
    """Return the size of the slope along this line without cancellation."""
    assert e.g is not None
    return max(norm(e.g * line.d), abs(line.slope + float(verdict.mismatch)))


def _judged(e: Examination, line: Line, size: float) -> Verdict:
    """Return the verdict on a slope; the rounding error of the claim is allowed for."""
    own = 0.0 if e.gradient_noise is None else norm(e.gradient_noise * line.d)
    verdict = line.values.verdict(e.rtol * size + 10.0 * own)
    assert verdict is not None
    return verdict


def _scan(e: Examination, wrong: bool) -> dict[int, tuple[float, float]]:
    """Check entries of the gradient; return claimed and measured values of the wrong ones."""
    every = e.n <= e.components
    chosen = np.arange(e.n) if every else np.sort(e.rng.choice(e.n, e.components, replace=False))
    entries = {i: pair for i in chosen.tolist() if (pair := _entry(e, i)) is not None}
    if wrong and not every and not entries:
        i = _halve(e)
        pair = _entry(e, i)
        if pair is not None:
            entries[i] = pair
    return entries


def _entry(e: Examination, i: int) -> tuple[float, float] | None:
    """Return the claimed and the measured value of ``g[i]`` when they disagree."""
    assert e.g is not None
    x_i, g_i = scalars(e.x[i], e.g[i])
    steps = step_range(e.eps, abs(x_i))
    middle = sum(h > e.eps ** (1.0 / 3.0) * (1.0 + abs(x_i)) for h in steps)
    near = steps[max(0, middle - 3) : middle + 3]
    # A few steps first; only what seems wrong there is worth all of them.
    for some in (near, steps):
        line = Line(unit(e.x, i), slope=g_i)
        e.follow(line, some)
        first = line.values.verdict(0.0)
        if first is None:
            return None
        found = _judged(e, line, _slope_size(e, line, first))
        if not found.wrong:
            return None
    return g_i, rounded(g_i + float(found.mismatch), found)


def _halve(e: Examination) -> int:
    """Return an entry of the gradient that is wrong, by halving the set of suspects."""
    weights = e.rng.standard_normal(e.n)
    suspects = e.rng.permutation(e.n)
    whole = _mismatch(e, weights, suspects)
    while suspects.size > 1:
        half = suspects[: suspects.size // 2]
        part = _mismatch(e, weights, half)
        if abs(part) >= abs(whole - part):
            suspects, whole = half, part
        else:
            suspects, whole = suspects[half.size :], whole - part
    return int(suspects[0])


def _mismatch(
    e: Examination, weights: npt.NDArray[np.float64], chosen: npt.NDArray[np.int64]
) -> float:
    """Return measured minus claimed slope along the chosen entries of `weights`."""
    d = np.zeros(e.n)
    d[chosen] = weights[chosen]
    length = float(np.linalg.norm(d))
    line = Line(from_host(d / length, e.x))
    e.follow(line, step_range(e.eps, norm(e.x)))
    verdict = line.values.verdict(0.0)
    return 0.0 if verdict is None else length * float(verdict.mismatch)


def _entries(e: Examination, entries: dict[int, tuple[float, float]]) -> str:
    """Describe the wrong entries of the gradient: the worst, and how many."""
    if len(entries) == 2:
        (i, (a, b)), (j, (c, d)) = entries.items()
        near = 1e-3 * max(abs(a), abs(c))
        if abs(a - d) <= near and abs(c - b) <= near:
            return (
                f"jac[{i}] and jac[{j}] are interchanged: they are {a:.6g} and {c:.6g} where "
                f"differences of fun say {b:.6g} and {d:.6g}"
            )
    worst = max(entries, key=lambda i: abs(entries[i][0] - entries[i][1]))
    claimed, measured = entries[worst]
    text = f"jac[{worst}] is {claimed:.6g} where differences of fun say {measured:.6g}"
    text += relation(claimed, measured)
    if len(entries) > 1:
        text += f"; {len(entries)} of {min(e.n, e.components)} entries checked are wrong"
    return text


# --- the products ---------------------------------------------------------------------


def _judge_products(e: Examination) -> None:
    """Judge what products must be whatever the function: linear and symmetric."""
    product, name = e.given.product, e.given.product_name
    assert product is not None
    lines = e.lines
    if len(lines) < 2:
        d = random_direction(e.x, e.rng)
        lines = [*lines, Line(d, product=product(d))]
    apart, size, longest = 0.0, 0.0, 0.0
    worst = (0.0, 0.0)
    for p, q in itertools.pairwise(lines):
        a, b = scalars(dot(_product(p), q.d), dot(_product(q), p.d))
        size = max(size, abs(a), abs(b))
        longest = max(longest, norm(_product(p)), norm(_product(q)))
        if abs(a - b) > apart:
            apart, worst = abs(a - b), (b, a)
    e.asymmetry = apart / size if size > 0.0 else 0.0
    tiny = float(namespace_of(e.x).finfo(e.x.dtype).smallest_normal) / e.eps
    if apart > e.rtol * size + 30.0 * e.eps * longest + tiny:
        e.problems.append(
            f"{name} is not symmetric: p'Hq is {worst[0]:.6g} but q'Hp is {worst[1]:.6g}"
        )
    p, q = lines[:2]
    a, b = 1.7, -0.6
    parts = a * _product(p) + b * _product(q)
    length = abs(a) * norm(_product(p)) + abs(b) * norm(_product(q))
    change = norm(product(a * p.d + b * q.d) - parts)
    e.nonlinearity = change / length if length > 0.0 else float(change > 0.0)
    if e.nonlinearity > e.rtol + 30.0 * e.eps and change > tiny:
        e.problems.append(
            f"{name} is not linear in p: H(a p + b q) differs from a Hp + b Hq by "
            f"{e.nonlinearity:.2g} of their size"
        )
    matrix = e.given.matrix_product
    if matrix is not None and name != "hess":
        change = max(norm(matrix(line.d) - _product(line)) for line in e.lines)
        most = max(norm(_product(line)) for line in e.lines)
        if change > (e.rtol + 30.0 * e.eps) * most:
            e.problems.append(
                f"hess and hessp disagree: their products with one vector are {change:.3g} apart, "
                f"where products are {most:.3g} long"
            )


def _product(line: Line) -> Array:
    assert line.product is not None
    return line.product


def _judge_hessian(e: Examination) -> None:
    """Judge whether the products are those of the function's Hessian."""
    name = e.given.product_name
    source = "second differences of fun" if e.g is None else "differences of jac"
    found = [(line, line.products.verdict(0.0)) for line in e.lines]
    known = [(line, verdict) for line, verdict in found if verdict is not None]
    if not known:
        e.problems.append(
            f"{name} cannot be checked: {source} are not finite in the neighbourhood of x0; "
            "choose another x0"
        )
        return
    claims = [line.curvature if e.g is None else _product(line) for line, _ in known]
    measured = [claim + v.mismatch for claim, (_, v) in zip(claims, known, strict=True)]
    sizes = [max(size_of(a), size_of(b)) for a, b in zip(claims, measured, strict=True)]
    shares = [v.closest / size for (_, v), size in zip(known, sizes, strict=True) if size > 0.0]
    e.hessian_error = max(shares, default=0.0)
    judged = [
        (line, verdict)
        for (line, _), size in zip(known, sizes, strict=True)
        if (verdict := line.products.verdict(e.rtol * size)) is not None
    ]
    wrong = [(line, verdict) for line, verdict in judged if verdict.wrong]
    if not wrong:
        _doubts(e, name, [v for _, v in judged])
        return
    if any(p.startswith("jac") for p in e.problems):
        e.notes.append(f"{name} does not fit jac, which is wrong itself: check again without")
        return
    off = [v.mismatch for _, v in known]
    factor = common_factor(claims, off, sizes)
    if factor is not None:
        e.problems.append(f"{name} is {times(factor)} what {source} say")
        return
    line, verdict = max(wrong, key=lambda pair: pair[1].error)
    if e.g is None:
        e.problems.append(
            f"{name} is wrong: d'Hd along a random direction is {line.curvature:.6g} where "
            f"{source} say {line.curvature + verdict.mismatch:.6g}"
        )
        return
    text = _matrix_entry(e) if e.n <= e.components else None
    if text is None:
        gaps = to_host(verdict.mismatch)
        i = int(np.argmax(np.abs(gaps)))
        (entry,), gap = scalars(_product(line)[i]), float(gaps[i])
        text = (
            f"{name} is wrong: entry {i} of its product with a random vector is {entry:.6g} "
            f"where {source} say {entry + gap:.6g}"
        )
    e.problems.append(text)


def _matrix_entry(e: Examination) -> str | None:
    """Find the entry of a small Hessian that is farthest off."""
    product, name = e.given.product, e.given.product_name
    assert product is not None
    worst: tuple[float, int, int, float, float] | None = None
    count = 0
    for j in range(e.n):
        d = unit(e.x, j)
        line = Line(d, product=product(d))
        e.follow(line)
        del e.gradient_orders[-1], e.hessian_orders[-1]
        first = line.products.verdict(0.0)
        if first is None:
            continue
        size = max(norm(_product(line)), norm(_product(line) + first.mismatch))
        verdict = line.products.verdict(e.rtol * size)
        if verdict is None or not verdict.wrong:
            continue
        claimed, off = to_host(_product(line)), to_host(verdict.mismatch)
        clear = np.abs(off) > 10.0 * verdict.uncertainty + e.rtol * size
        count += int(np.sum(clear))
        i = int(np.argmax(np.abs(off)))
        if worst is None or abs(off[i]) > worst[0]:
            measured = rounded(float(claimed[i] + off[i]), verdict)
            worst = float(abs(off[i])), i, j, float(claimed[i]), measured
    if worst is None:
        return None
    _, i, j, given, measured = worst
    text = (
        f"{name} is wrong: entry ({i}, {j}) of its Hessian is {given:.6g} where differences of "
        f"jac say {measured:.6g}{relation(given, measured)}"
    )
    return text + (f"; {count} of {e.n * e.n} entries are wrong" if count > 1 else "")
