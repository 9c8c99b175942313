"""The arguments of every subcommand."""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Callable
from typing import NoReturn, TypeVar

from negopt import __version__
from negopt.cli._errors import UsageError

N = TypeVar("N", int, float)

_EXAMPLES = """\
examples:
  negopt compare --problem rosenbrock,wood --methods lqn-tr,newton-krylov,L-BFGS-B
  negopt compare --problem strict_saddle --plot curves.png
  negopt compare --problem mymodule:objective --x0 1,2,3
  negopt compare --data ionosphere --hidden 8,4 --l2 1e-4
  negopt train --data ionosphere --hidden 32,16 --checkpoint run.npz
  negopt resume run.npz --iterations 100
  negopt check mymodule:objective
  negopt methods lqn-tr

`negopt COMMAND --help` has the options of a command."""

_COMPARE = """\
examples:
  negopt compare --problem rosenbrock,beale
  negopt compare --problem chained_rosenbrock --n 1000 --methods lqn-tr,L-BFGS-B,trust-krylov
  negopt compare --problem mymodule:objective        an object with fun, grad and x0
  negopt compare --problem mymodule:f --x0=-1.2,1    a function; gradients by differences
  negopt compare --data ionosphere --hidden 8 --plot curves.png
  negopt compare --list-problems

A method is shown as solved when max|g| <= gtol at the point it returned and the
second-order check found no negative curvature there. The check is the same for all."""

_TRAIN = """\
examples:
  negopt train --data ionosphere --hidden 32,16 --checkpoint run.npz
  negopt train --data wine.csv --target quality --loss squared --hidden 16
  negopt train --data a9a.xz --hidden 10 --method lsr1-wolfe-pm --option maxcor=20
  negopt train --data a9a.xz --hidden 10 --method lsr1-tr --batch-size 500 --epochs 5
  negopt train --resume-from run.npz --iterations 100

A checkpoint is two files: F, the solver's state, and F.json, which says how to
rebuild the problem. Ctrl-C finishes the iteration, saves, and exits with 130."""

_RESUME = """\
examples:
  negopt resume run.npz
  negopt resume run.npz --iterations 500
  negopt resume run.npz --data moved/a9a.xz"""

_CHECK = """\
examples:
  negopt check rosenbrock
  negopt check mymodule:objective          an object with fun, grad, maybe hessp, and x0
  negopt check mymodule:objective --x0=0.3,-1.2

Take a generic point: at zero, or at a minimum, many a mistake cannot be seen.
The exit code is 1 when a derivative is wrong."""


class _Parser(argparse.ArgumentParser):
    """argparse, with one line for a mistake in the place of usage and message."""

    def error(self, message: str) -> NoReturn:
        prog = self.prog.removeprefix("negopt").strip()
        raise UsageError(f"{prog + ': ' if prog else ''}{message} (see {self.prog} --help)")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of ``negopt``."""
    parser = _Parser(
        prog="negopt",
        description="Smooth non-convex minimisation that uses negative curvature.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"negopt {__version__}")
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", parser_class=_Parser, title="commands"
    )

    def command(name: str, summary: str, epilog: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    _compare(command("compare", "run methods, SciPy's among them, beside each other", _COMPARE))
    _train(command("train", "train a network on a data file, with checkpoints", _TRAIN))
    _resume(command("resume", "resume from a checkpoint of `negopt train`", _RESUME))
    _check(command("check", "compare derivatives with differences, and name what is wrong", _CHECK))
    methods = command("methods", "list the methods, or the options of one", "")
    methods.add_argument("name", nargs="?", metavar="NAME", help="show the options of this one")
    ahead = command("precompile", "compile negopt's own kernels ahead, for jitted objectives", "")
    ahead.add_argument("--quiet", action="store_true", help="say nothing")
    return parser


def _compare(parser: argparse.ArgumentParser) -> None:
    what = "what to minimise (one of --problem and --data)"
    add = parser.add_argument_group(what).add_argument
    add(
        "--problem",
        type=_names,
        metavar="NAME[,NAME...]",
        help="built-in problems, or module:object of your own",
    )
    add("--n", type=_positive, metavar="N", help="number of variables")
    add("--x0", type=_vector, metavar="X,X,...", help="starting point (for module:object)")
    add("--list-problems", action="store_true", help="list the built-in problems and stop")
    _network(parser)
    add = parser.add_argument_group("how").add_argument
    add(
        "--methods",
        type=_names,
        metavar="A,B,...",
        help="negopt's and SciPy's names, in any case (default: a mix that suits n)",
    )
    add("--gtol", type=_tolerance, default=1e-5, help="bound on max|g| (default: %(default)s)")
    add("--maxiter", type=_positive, default=1000, help="iterations (default: %(default)s)")
    add("--maxfun", type=_positive, help="evaluations of f (default: no limit)")
    add("--seed", type=_count, default=0, help="of all random choices (default: %(default)s)")
    add("--plot", metavar="FILE", help="write convergence curves, such as curves.png")


def _network(parser: argparse.ArgumentParser) -> None:
    """Add what describes a network on a data file; None means "not given"."""
    add = parser.add_argument_group("a network on data").add_argument
    add("--data", metavar="FILE", help="LIBSVM text or csv, also .xz, .gz, .bz2; or ionosphere")
    add("--target", metavar="COLUMN", help="column of a csv to predict (default: the last)")
    add(
        "--hidden",
        type=_hidden,
        metavar="N,N,...",
        help="units of the hidden layers, or none (default: 8)",
    )
    add("--activation", metavar="NAME", help="tanh, sigmoid, softplus or relu (default: tanh)")
    add("--loss", metavar="NAME", help="logistic, softmax or squared (default: by the labels)")
    add("--l2", type=_tolerance, help="weight of the penalty l2/2 |x|^2 (default: 1e-4)")
    add(
        "--no-standardize",
        dest="standardize",
        action="store_false",
        default=None,
        help="leave the features as they are (default: mean 0, standard deviation 1)",
    )


def _train(parser: argparse.ArgumentParser) -> None:
    _network(parser)
    add = parser.add_argument
    add("--test-fraction", type=_fraction, help="share of samples kept apart (default: 0.2)")
    add("--method", metavar="NAME", help="one of negopt's (see negopt methods)")
    add("--iterations", type=_positive, help="iterations (default: 200)")
    add("--gtol", type=_tolerance, help="stop at max|g| <= GTOL (default: 1e-5)")
    add = parser.add_argument_group("on mini-batches (see negopt.neural.fit)").add_argument
    add("--batch-size", type=_positive, metavar="B", help="samples of a batch")
    add("--epochs", type=_positive, metavar="N", help="epochs (default: 10)")
    add("--hessian-batch-size", type=_positive, metavar="B", help="of which for Hessian products")
    add("--overlap", type=_fraction, metavar="SHARE", help="of a batch, common with the next one")
    add = parser.add_argument
    add(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the method; may be repeated",
    )
    add("--seed", type=_count, help="of start, split and probes (default: 0)")
    add("--dtype", metavar="NAME", help="float64 or float32 (default: float64)")
    add("--checkpoint", metavar="F", help="save the run in F and F.json")
    add(
        "--checkpoint-every",
        type=_positive,
        metavar="K",
        help="iterations (default: 20, on batches those of an epoch)",
    )
    add("--overwrite", action="store_true", help="replace the checkpoint F if there is one")
    add("--resume-from", metavar="F", help="resume from checkpoint F; it knows data and network")


def _resume(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("checkpoint", metavar="F", help="checkpoint of negopt train")
    add(
        "--iterations",
        type=_positive,
        metavar="N",
        help="further iterations or, on batches, epochs (default: the rest of the plan, or as "
        "many again)",
    )
    add("--data", metavar="FILE", help="where the data file lies now, if it moved")


def _check(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("objective", metavar="OBJECTIVE", help="module:object of your own, or a built-in problem")
    add("--n", type=_positive, metavar="N", help="variables of a built-in problem")
    add("--x0", type=_vector, metavar="X,X,...", help="where to check")
    add("--seed", type=_count, default=0, help="of the random directions (default: %(default)s)")


def glue_negative_values(arguments: list[str]) -> list[str]:
    """Join ``--x0 -1.2,1`` to ``--x0=-1.2,1``: argparse takes the value for an option."""
    glued: list[str] = []
    for item in arguments:
        if glued and glued[-1] == "--x0" and item[:1] == "-" and item[1:2] in set("0123456789."):
            glued[-1] = f"--x0={item}"
        else:
            glued.append(item)
    return glued


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} has an empty name between its commas")
    return names


def _vector(text: str) -> list[float]:
    try:
        values = [float(item) for item in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not numbers between commas") from None
    if not all(map(math.isfinite, values)):
        raise argparse.ArgumentTypeError(f"{text!r} has an entry that is not finite")
    return values


def _hidden(text: str) -> tuple[int, ...]:
    if text.lower() in ("none", "0", ""):
        return ()
    try:
        sizes = tuple(int(item) for item in text.split(","))
    except ValueError:
        sizes = (0,)
    if min(sizes) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of layer sizes such as 32,16 (or none)"
        )
    return sizes


def _number(kind: Callable[[str], N], valid: Callable[[N], bool], rule: str) -> Callable[[str], N]:
    """Return what reads a number that follows a rule."""

    def read(text: str) -> N:
        with contextlib.suppress(ValueError):
            value = kind(text)
            if valid(value):
                return value
        raise argparse.ArgumentTypeError(f"{text!r} is not {rule}")

    return read


_positive = _number(int, lambda v: v >= 1, "a whole number, 1 or more")
_count = _number(int, lambda v: v >= 0, "a whole number, 0 or more")
_tolerance = _number(float, lambda v: 0.0 <= v < math.inf, "a finite number, 0 or more")
_fraction = _number(float, lambda v: 0.0 <= v < 1.0, "a number from 0 up to below 1")
