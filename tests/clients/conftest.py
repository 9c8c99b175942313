"""What ``docs/experiments`` holds can be imported; tests wait for the packages that they need."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs" / "experiments"))

CLIENTS = ("sklearn", "statsmodels", "lmfit", "lifelines", "ase")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked ``clients`` where a package is missing; their warnings are their own."""
    missing = [name for name in CLIENTS if importlib.util.find_spec(name) is None]
    for item in items:
        if item.get_closest_marker("clients"):
            item.add_marker(pytest.mark.filterwarnings("default"))
            if missing:
                item.add_marker(
                    pytest.mark.skip(reason=f"needs {', '.join(missing)}: make clients")
                )
