"""The kernels give the same numbers without Numba."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from negopt.kernels import _jit

SCRIPT = """
import json
import numpy as np
from negopt import kernels

rng = np.random.default_rng(0)
out = []
for k in range(1, 8):
    for radius in (1e-3, 1.0, 1e3):
        values, parts, step = rng.standard_normal(k), rng.standard_normal(k), np.empty(k)
        result = kernels.trust_region_step(values, parts, radius, step)
        out += [*map(float, result), *step.tolist()]
    Z = rng.standard_normal((2 * k, 9))
    gram = Z @ Z.T
    core, used = np.empty_like(gram), np.zeros(k, dtype=np.int64)
    for rule in (0, 1, 2):
        kernels.pair_model(gram, 1.0, rule, 1e-8, core, used)
        out += [*core.ravel().tolist(), *used.tolist()]
    factor, kept = np.empty_like(gram), np.zeros(2 * k, dtype=np.int64)
    count, worst = kernels.basis_factor(gram, 1e-11, factor, kept)
    out += [int(count), float(worst), *factor[:count].ravel().tolist()]
    w = rng.standard_normal(count)
    out += kernels.solve_kept(factor, kept, count, w, True).tolist()
    out += kernels.solve_kept(factor, kept, count, w, False).tolist()
    solution = np.zeros(2 * k)
    out += [bool(kernels.solve_definite(gram + np.eye(2 * k), Z[:, 0].copy(), solution))]
    out += solution.tolist()
for power in (2, 4):
    for first in (1e-3, 1.0, 50.0):
        w = np.zeros(kernels.SEARCH_WORK)
        kernels.search_start(w, 1.0, -power, first, 1e-4, 0.1, True, 0.0, 40, 1e20)
        task = kernels.EVALUATE
        while task == kernels.EVALUATE:
            a = float(w[kernels.ALPHA])
            task = kernels.search_step(w, (1 - a) ** power, -power * (1 - a) ** (power - 1))
        out += [float(task), *[v if np.isfinite(v) else -1.0 for v in w.tolist()]]
print(json.dumps([type(kernels.search_step).__name__, out]))
"""


def run(disabled):
    env = dict(os.environ, NEGOPT_DISABLE_JIT=disabled)
    root = str(Path(_jit.__file__).resolve().parents[2])
    env["PYTHONPATH"] = os.pathsep.join([root, env.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_same_results_without_numba():
    plain_kind, plain = run("1")
    assert plain_kind == "function"
    kind, compiled = run("0")
    if kind == "function":
        pytest.skip("Numba is not installed")
    # Compiled code may fuse a product and a sum: the last bits differ.
    np.testing.assert_allclose(compiled, plain, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("value", "disabled"),
    [("1", True), ("true", True), ("0", False), ("", False), ("False", False)],
)
def test_switch(monkeypatch, value, disabled):
    monkeypatch.setenv("NEGOPT_DISABLE_JIT", value)
    assert _jit.jit_disabled() is disabled
    if disabled:
        assert _jit.jit(run) is run
