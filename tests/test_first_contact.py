"""What a newcomer meets: a first solve that waits for nothing, and the same bits every time.

What is compiled and imported is counted, in processes of their own with an empty cache; no clock is
read.  Jitted objectives are in ``test_compiled.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
#: Never imported by a solve with a Python objective on NumPy arrays.
HEAVY = ("cupy", "jax", "matplotlib", "numba", "pandas", "rich", "torch")
#: Method -> variables, and what is given beside value and gradient: every default, and the
#: methods that once had compiled code of their own.
CASES = {
    "dqn-wolfe-pm": (5, ""),
    "lqn-tr": (400, ""),
    "newton-krylov": (100, "hessp=hessp, "),
    "lbfgs-wolfe": (300, ""),
    "lsr1-tr": (60, ""),
    "lsr1-wolfe-pm": (60, ""),
}
DEFAULTS = ("dqn-wolfe-pm", "lqn-tr", "newton-krylov")
SOLVE = """
import json, logging, sys
import numpy as np
import negopt

n = {n}
x0 = np.where(np.arange(n) % 2 == 0, -1.2, 1.0)
def fun(x):
    a, b, g = x[1:] - x[:-1] ** 2, 1.0 - x[:-1], np.zeros(n)
    g[1:] = 200.0 * a
    g[:-1] -= 400.0 * a * x[:-1] + 2.0 * b
    return float(100.0 * (a @ a) + b @ b), g
def hessp(x, p):
    out = np.zeros(n)
    out[1:] = 200.0 * p[1:] - 400.0 * x[:-1] * p[:-1]
    out[:-1] += (1200.0 * x[:-1] ** 2 - 400.0 * x[1:] + 2.0) * p[:-1] - 400.0 * x[:-1] * p[1:]
    return out
def solve():
    res = negopt.minimize(fun, x0, jac=True, {given}method={method!r}, options={{"gtol": 1e-8}})
    assert res.success, res.message
    bits = res.x.tobytes() + res.jac.tobytes() + np.float64(res.fun).tobytes()
    return [res.nfev, res.nhev, res.nit, res.method, bits.hex()]
"""
#: Ends in what is printed: the bits, whether all calls have those of the first, what was imported.
TELL = """
first = solve()
same = all(solve() == first for _ in range(1, {calls}))
imported = sorted(set({heavy}) & set(sys.modules))
sys.__stdout__.write(json.dumps([first, same, imported]))
"""


def started(method: str, cache: Path, calls: int = 1, **environ: str) -> subprocess.Popen[str]:
    """Start some solves in a process of their own, in which a warning is an error."""
    n, given = CASES[method]
    name = None if method in DEFAULTS else method
    code = SOLVE.format(n=n, given=given, method=name) + TELL.format(heavy=HEAVY, calls=calls)
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths, "NUMBA_CACHE_DIR": str(cache), **environ},
    )


def told(process: subprocess.Popen[str]) -> tuple[list[object], bool, list[str]]:
    """Return what `started` tells; nothing else was printed, neither result nor warning."""
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert errors == ""
    first, same, imported = json.loads(out)
    return first, same, imported


@pytest.mark.parametrize("method", CASES)
def test_a_python_objective_waits_for_nothing(method, tmp_path) -> None:
    first, same, imported = told(started(method, tmp_path, calls=10))
    assert first[3] == method
    assert imported == []
    assert not list(tmp_path.rglob("*")), "something was compiled"
    assert same, "the tenth call differs from the first"
    if method in DEFAULTS:
        together = [started(method, tmp_path) for _ in range(4)]
        assert [told(process) for process in together] == [(first, same, imported)] * 4
        assert not list(tmp_path.rglob("*"))


def test_bits_do_not_depend_on_numba(tmp_path) -> None:
    """Without it, and with it in the process already, jitted or not."""
    code = SOLVE.format(n=5, given="", method=None)
    alone = told(started("dqn-wolfe-pm", tmp_path))[0]
    missing = "import sys; sys.modules['numba'] = None\n"
    variants = [missing]
    if subprocess.run([sys.executable, "-c", "import numba"], capture_output=True).returncode == 0:
        variants.append("import numba\nnumba.njit(lambda x: x)(1.0)\n")
    for before in variants:
        done = subprocess.run(
            [sys.executable, "-c", before + code + "print(json.dumps(solve()))"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(tmp_path)},
        )
        assert json.loads(done.stdout) == alone


def test_the_switch_of_the_compiled_loop_does_not_touch_python_objectives(tmp_path) -> None:
    alone = told(started("dqn-wolfe-pm", tmp_path))
    assert told(started("dqn-wolfe-pm", tmp_path, NEGOPT_DISABLE_JIT="1")) == alone


def test_a_batch_and_diagnostics_import_nothing_heavy() -> None:
    code = f"""
import sys
import numpy as np, negopt
def fun(x, a):
    return float((x - a) @ (x - a)), 2.0 * (x - a)
res = negopt.minimize_batch(fun, np.zeros((3, 2)), (np.ones((3, 2)),), jac=True)
assert res.success.all()
negopt.spectrum(lambda x, p: 2.0 * p, np.ones(4))
negopt.problems.get("wood"), negopt.show_options
heavy = set({HEAVY}) & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=ROOT)
