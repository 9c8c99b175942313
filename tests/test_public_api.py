"""What a user can import, how light the import is, and that the documents' examples run."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import importlib.metadata
import importlib.util
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import scipy.optimize

import negopt

ROOT = Path(__file__).resolve().parents[1]
PUBLIC = {
    "METHODS",
    "Method",
    "OptimizeResult",
    "Status",
    "check_derivatives",
    "checkpoint",
    "diagnostics",
    "diagonal_mass",
    "leftmost_eigenpairs",
    "line_search_wolfe_pm",
    "methods",
    "minimize",
    "minimize_batch",
    "neural",
    "plot",
    "precompile",
    "problems",
    "show_options",
    "spectrum",
    *(name.replace("-", "_") for name in negopt.METHODS),
}
# Libraries that are imported when they are needed, never by `import negopt`.
HEAVY = (
    "array_api_compat",
    "cupy",
    "jax",
    "matplotlib",
    "numba",
    "numpy",
    "rich",
    "scipy",
    "torch",
)
DOCUMENTS = [
    path
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
    if "_build" not in path.parts and ">>>" in path.read_text()
]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# The modules whose docstrings show examples.
PATHS = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "negopt").rglob("*.py"))
}
MODULES = [name for name, path in PATHS.items() if ">>> " in path.read_text()]


def need_libraries(source: str) -> None:
    """Skip a test of examples that import an optional library which is not there."""
    for library in ("torch", "jax"):
        if re.search(rf"^(\s*>>> )?(import|from) {library}\b", source, re.MULTILINE):
            pytest.importorskip(library)


def python(code: str, **environ: str) -> str:
    """Return what a fresh Python prints for `code`."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environ},
    )
    return done.stdout


def test_public_names() -> None:
    assert set(negopt.__all__) == PUBLIC
    assert set(dir(negopt)) >= PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_resolves_and_is_documented(name: str) -> None:
    value = getattr(negopt, name)
    if callable(value) or inspect.ismodule(value):
        assert inspect.getdoc(value)


def test_every_public_name_resolves_eagerly() -> None:
    # EAGER_IMPORT is lazy_loader's switch: a name that is wrong in the stub fails at once.
    assert python("import negopt; print('ok')", EAGER_IMPORT="1").strip() == "ok"


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="minimise"):
        _ = negopt.minimise


def test_import_is_light() -> None:
    code = f"import json, sys, negopt; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    assert json.loads(python(code)) == []


def test_minimize_is_imported_without_the_optional_libraries() -> None:
    code = (
        "import sys, negopt; negopt.minimize; "
        "print([m for m in ('cupy', 'jax', 'matplotlib', 'torch') if m in sys.modules])"
    )
    assert python(code).strip() == "[]"


def test_minimize_has_scipys_signature() -> None:
    ours = inspect.signature(negopt.minimize).parameters
    theirs = inspect.signature(scipy.optimize.minimize).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    for name, parameter in theirs.items():
        assert ours[name].default == parameter.default, name
        assert ours[name].kind == parameter.kind, name


def test_result_is_scipys() -> None:
    assert issubclass(negopt.OptimizeResult, scipy.optimize.OptimizeResult)


def test_version_is_the_same_everywhere() -> None:
    # Run from the source tree without an installation, there is nothing to compare.
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        assert importlib.metadata.version("negopt") == negopt.__version__
    assert f"version: {negopt.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_types_and_data_ship() -> None:
    package = Path(negopt.__file__).parent
    assert (package / "py.typed").is_file()
    assert (package / "__init__.pyi").is_file()
    assert [p.name for p in (package / "neural" / "data_files").iterdir()]


def test_what_follows_from_the_table_of_methods_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("from_table", ROOT / "docs" / "from_table.py")
    from_table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(from_table)
    for path, written in from_table.FILES.items():
        text = path.read_text()
        assert written(text) == text, f"{path.name}: run `make table`"
    table = re.findall(r"^\| `([a-z0-9-]+)` ", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert sorted(table) == sorted(negopt.METHODS)  # it has been looked at


def test_modules_are_reachable_after_the_import() -> None:
    code = "import negopt; print(negopt.methods.METHODS['lqn-tr'].name, negopt.plot.__name__)"
    assert python(code).split() == ["lqn-tr", "negopt.plot"]


def test_the_default_is_what_the_documents_say() -> None:
    from negopt.methods import choose

    assert choose(10, has_products=True) == "newton-krylov"
    assert choose(300, has_products=False) == "dqn-wolfe-pm"
    assert choose(301, has_products=False) == "lqn-tr"
    readme = re.sub(r"\s+", " ", (ROOT / "README.md").read_text())
    assert "`dqn-wolfe-pm` up to 300 variables" in readme


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    need_libraries(PATHS[name].read_text())
    failures: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for test in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name)):
        runner.run(test, out=failures.append)
    assert not failures, "".join(failures)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_in_documents_run(path: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)  # examples may write files
    need_libraries(path.read_text())
    blocks = re.findall(r"^```python\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)
    source = "\n".join(block for block in blocks if ">>>" in block)
    for library in re.findall(r"^>>> import (jax|torch)$", source, re.MULTILINE):
        pytest.importorskip(library)
    if "import plot" in source:
        pytest.importorskip("matplotlib")
    test = doctest.DocTestParser().get_doctest(source, {}, path.name, str(path), 0)
    failures: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    runner.run(test, out=failures.append)
    assert not failures, "".join(failures)
    assert runner.tries == len(test.examples) > 0


COMMANDS = sorted(
    {
        line.split("negopt ", 1)[1].strip()
        for path in [ROOT / "README.md", ROOT / "Makefile", *sorted((ROOT / "docs").glob("*.md"))]
        for line in path.read_text().splitlines()
        if re.match(r"(\t.*-m )?negopt (check|compare|train|resume|methods)\b", line)
    }
)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_in_documents_are_understood(command: str) -> None:
    from negopt.cli._parser import build_parser

    arguments = build_parser().parse_args(shlex.split(command))
    for name in getattr(arguments, "problem", None) or []:
        assert name in negopt.problems.names()
