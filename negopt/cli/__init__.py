"""The command line: ``negopt compare | train | resume | check | methods | precompile``.

Each subcommand lives in a module of its own and is imported when it is called, so
``negopt --help`` is quick and `import negopt` stays light.
"""

from __future__ import annotations

import importlib
import sys
from argparse import Namespace
from collections.abc import Sequence

from negopt.cli._errors import Interrupted, UsageError, one_line
from negopt.cli._parser import build_parser, glue_negative_values

__all__ = ["main"]

#: Each subcommand, a function of that name, and the module that it is in.
COMMANDS = {
    "compare": "_compare",
    "train": "_train",
    "resume": "_train",
    "check": "_check",
    "methods": "_methods",
    "precompile": "_precompile",
}
#: Exit codes: a mistake of the caller's, and the shell's code for Ctrl-C.
USAGE, INTERRUPTED = 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; None takes those of the process.

    Returns
    -------
    int
        0 when the command did its work; 1 when ``check`` found a wrong derivative; 2 for a
        mistake in the arguments or files, told in one line on stderr; 130 after Ctrl-C.
    """
    arguments = glue_negative_values(list(sys.argv[1:] if argv is None else argv))
    try:
        options = build_parser().parse_args(arguments)
        return _dispatch(options)
    except UsageError as error:
        return _complain(f"error: {error}", USAGE)
    except Interrupted as error:
        return _complain(str(error), INTERRUPTED)
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    except SystemExit as stop:  # --help, --version, and rich on a closed pipe
        return stop.code if isinstance(stop.code, int) else 0


def _dispatch(options: Namespace) -> int:
    if options.command is None:
        raise UsageError(f"which command? {', '.join(COMMANDS)}; see negopt --help")
    module = importlib.import_module(f"negopt.cli.{COMMANDS[options.command]}")
    code: int = getattr(module, options.command)(options)
    return code


def _complain(message: str, code: int) -> int:
    """Write one line on stderr, not through rich, which would wrap it."""
    sys.stdout.flush()
    sys.stderr.write(f"negopt: {one_line(message)}\n")
    return code
