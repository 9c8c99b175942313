"""A plugin of pytest: during a client's own tests its minimisations run by negopt, and are counted.

``NEGOPT_STAND_IN`` names the solver, "negopt" or "SciPy", and ``NEGOPT_STAND_IN_OUT`` the file that
receives what came of it: the tests that failed, how many passed, and how often each method ran.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
from pathlib import Path

from _stand_in import StandIn

_stack = contextlib.ExitStack()
_stand = StandIn(os.environ["NEGOPT_STAND_IN"])
_ran: collections.Counter[str] = collections.Counter()
_passed: set[str] = set()
_failed: set[str] = set()


def pytest_configure() -> None:
    """Stand in for SciPy before the client is imported."""
    _stack.enter_context(_stand.installed())


def pytest_runtest_logreport(report) -> None:
    """Keep a test's outcome, errors of its fixtures included, and what ran in it."""
    name = report.nodeid.partition("::")[2]
    if report.failed:
        _failed.add(name)
    elif report.when == "call" and report.passed:
        _passed.add(name)
    _ran.update(
        call.result.get("method", "SciPy's") for call in _stand.calls if call.result is not None
    )
    _stand.calls.clear()


def pytest_unconfigure() -> None:
    """Write what came of it."""
    _stack.close()
    found = {"failed": sorted(_failed), "passed": len(_passed - _failed), "ran": _ran}
    Path(os.environ["NEGOPT_STAND_IN_OUT"]).write_text(json.dumps(found), encoding="utf-8")
