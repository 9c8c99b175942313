"""The shape of the house: who may import whom (the contracts are in pyproject.toml)."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINT = [
    sys.executable,
    "-c",
    "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()",
    "--no-cache",
]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the package inside `folder`."""
    return subprocess.run(LINT, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def copy_of_house(tmp_path: Path) -> Path:
    """Return a folder with a copy of the package and of the contracts, free to break."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(
        ROOT / "negopt", tmp_path / "negopt", ignore=shutil.ignore_patterns("__pycache__")
    )
    return tmp_path


def test_imports_go_down_only() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("core/arrays.py", "import negopt.functions", "Imports go down only"),
        ("steps/__init__.py", "import negopt.curvature", "Imports go down only"),
        ("newcomer.py", "", "Imports go down only"),  # no place in the layers yet
        ("solver/stopping.py", "import array_api_compat", "Only core.arrays knows array libraries"),
        ("_minimize.py", "import numba", "Only the compiled loop knows Numba"),
        ("solver/report.py", "import matplotlib.pyplot", "Only plot knows matplotlib"),
    ],
)
def test_the_contracts_can_fail(copy_of_house: Path, module: str, line: str, contract: str) -> None:
    with (copy_of_house / "negopt" / module).open("a") as file:
        file.write(f"\n{line}\n")
    done = lint_imports(copy_of_house)
    assert done.returncode != 0
    assert any(contract in row and "BROKEN" in row for row in done.stdout.splitlines()), done.stdout


def test_no_module_imports_a_lazy_name() -> None:
    # `from negopt import minimize` inside the package would hide an import from the layers;
    # `from negopt import kernels` names a module and hides nothing.
    modules = {path.stem for path in (ROOT / "negopt").iterdir()}
    hidden = [
        f"{path.relative_to(ROOT)}: from negopt import {alias.name}"
        for path in sorted((ROOT / "negopt").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "negopt"
        for alias in node.names
        if alias.name not in modules | {"__version__"}
    ]
    assert hidden == []


def test_files_are_short() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in (ROOT / "negopt").rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 400
    }
    assert long == {}
