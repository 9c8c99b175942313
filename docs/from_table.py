"""Write what follows from ``negopt.METHODS``: names in the stub, the README's table.

``make table`` after a row has been added; ``tests/test_public_api.py`` fails until then.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from negopt.core.method import TIERS
from negopt.entry.callables import callables
from negopt.methods import METHODS

ROOT = Path(__file__).resolve().parents[1]
IMPORTED = re.compile(r"(?<=from \._callables import \(\n)(.*?)(?=\))", re.DOTALL)
TABLE = re.compile(r"^\| method .*?\n(?=\n)", re.MULTILINE | re.DOTALL)


def stub(text: str) -> str:
    """Return ``negopt/__init__.pyi`` with every method's callable."""
    names = sorted({*callables(), "show_options"})
    return IMPORTED.sub("".join(f"    {name} as {name},\n" for name in names), text)


def readme(text: str) -> str:
    """Return ``README.md`` with its table of methods, those for everyone first."""
    requires = {"jac": "gradients", "hessp": "Hessian products"}
    rows = [
        ("method", "in words", "requires"),
        ("---",) * 3,
        *(
            (f"`{row.name}`", row.summary, requires[row.needs])
            for row in sorted(METHODS.values(), key=lambda row: TIERS.index(row.tier))
        ),
    ]
    return TABLE.sub("".join(f"| {' | '.join(cells)} |\n" for cells in rows), text)


FILES: dict[Path, Callable[[str], str]] = {
    ROOT / "negopt" / "__init__.pyi": stub,
    ROOT / "README.md": readme,
}

if __name__ == "__main__":
    for path, written in FILES.items():
        path.write_text(written(path.read_text()))
