"""The arguments of every subcommand."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any, NoReturn

from negopt import __version__
from negopt.cli._errors import UsageError

__all__ = ["build_parser", "glue_negative_values"]

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
    _resume(command("resume", "go on from a checkpoint of `negopt train`", _RESUME))
    _check(command("check", "compare derivatives with differences, and name what is wrong", _CHECK))
    methods = command("methods", "list the methods, or the options of one", "")
    methods.add_argument("name", nargs="?", metavar="NAME", help="show the options of this one")
    ahead = command("precompile", "compile negopt's own kernels ahead, for jitted objectives", "")
    ahead.add_argument("--quiet", action="store_true", help="say nothing")
    return parser


def _compare(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("what to minimise (one of --problem and --data)")
    what.add_argument(
        "--problem",
        type=_names,
        metavar="NAME[,NAME...]",
        help="built-in problems, or module:object of your own",
    )
    what.add_argument("--n", type=_positive, metavar="N", help="number of variables")
    what.add_argument(
        "--x0", type=_vector, metavar="X,X,...", help="starting point (for module:object)"
    )
    what.add_argument(
        "--list-problems", action="store_true", help="list the built-in problems and stop"
    )
    _network(parser)
    how = parser.add_argument_group("how")
    how.add_argument(
        "--methods",
        type=_names,
        metavar="A,B,...",
        help="negopt's and SciPy's names, in any case (default: a mix that suits n)",
    )
    how.add_argument(
        "--gtol", type=_tolerance, default=1e-5, help="bound on max|g| (default: %(default)s)"
    )
    how.add_argument(
        "--maxiter", type=_positive, default=1000, help="iterations (default: %(default)s)"
    )
    how.add_argument("--maxfun", type=_positive, help="evaluations of f (default: no limit)")
    how.add_argument(
        "--seed", type=_count, default=0, help="of all random choices (default: %(default)s)"
    )
    how.add_argument("--plot", metavar="FILE", help="write convergence curves, such as curves.png")


def _network(parser: argparse.ArgumentParser) -> None:
    """Add what describes a network on a data file; None means "not given"."""
    group = parser.add_argument_group("a network on data")
    group.add_argument(
        "--data", metavar="FILE", help="LIBSVM text or csv, also .xz, .gz, .bz2; or ionosphere"
    )
    group.add_argument(
        "--target", metavar="COLUMN", help="column of a csv to predict (default: the last)"
    )
    group.add_argument(
        "--hidden",
        type=_hidden,
        metavar="N,N,...",
        help="units of the hidden layers, or none (default: 8)",
    )
    group.add_argument(
        "--activation", metavar="NAME", help="tanh, sigmoid, softplus or relu (default: tanh)"
    )
    group.add_argument(
        "--loss", metavar="NAME", help="logistic, softmax or squared (default: by the labels)"
    )
    group.add_argument(
        "--l2", type=_tolerance, help="weight of the penalty l2/2 |x|^2 (default: 1e-4)"
    )
    group.add_argument(
        "--no-standardize",
        dest="standardize",
        action="store_false",
        default=None,
        help="leave the features as they are (default: mean 0, standard deviation 1)",
    )


def _train(parser: argparse.ArgumentParser) -> None:
    _network(parser)
    parser.add_argument(
        "--test-fraction", type=_fraction, help="share of samples kept apart (default: 0.2)"
    )
    parser.add_argument("--method", metavar="NAME", help="one of negopt's (see negopt methods)")
    parser.add_argument("--iterations", type=_positive, help="iterations (default: 200)")
    parser.add_argument("--gtol", type=_tolerance, help="stop at max|g| <= GTOL (default: 1e-5)")
    group = parser.add_argument_group("on mini-batches (see negopt.neural.fit)")
    group.add_argument("--batch-size", type=_positive, metavar="B", help="samples of a batch")
    group.add_argument("--epochs", type=_positive, metavar="N", help="epochs (default: 10)")
    group.add_argument(
        "--hessian-batch-size", type=_positive, metavar="B", help="of which for Hessian products"
    )
    group.add_argument(
        "--overlap", type=_fraction, metavar="SHARE", help="of a batch, common with the next one"
    )
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the method; may be repeated",
    )
    parser.add_argument("--seed", type=_count, help="of start, split and probes (default: 0)")
    parser.add_argument("--dtype", metavar="NAME", help="float64 or float32 (default: float64)")
    parser.add_argument("--checkpoint", metavar="F", help="save the run in F and F.json")
    parser.add_argument(
        "--checkpoint-every",
        type=_positive,
        metavar="K",
        help="iterations (default: 20, on batches those of an epoch)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the checkpoint F if there is one"
    )
    parser.add_argument(
        "--resume-from", metavar="F", help="go on from checkpoint F; it knows data and network"
    )


def _resume(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", metavar="F", help="checkpoint of negopt train")
    parser.add_argument(
        "--iterations",
        type=_positive,
        metavar="N",
        help="further iterations or, on batches, epochs (default: the rest of the plan, or as "
        "many again)",
    )
    parser.add_argument("--data", metavar="FILE", help="where the data file lies now, if it moved")


def _check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "objective", metavar="OBJECTIVE", help="module:object of your own, or a built-in problem"
    )
    parser.add_argument("--n", type=_positive, metavar="N", help="variables of a built-in problem")
    parser.add_argument("--x0", type=_vector, metavar="X,X,...", help="where to check")
    parser.add_argument(
        "--seed", type=_count, default=0, help="of the random directions (default: %(default)s)"
    )


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


def _number(text: str, kind: Callable[[str], Any], valid: Callable[[Any], bool], rule: str) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not valid(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not {rule}")
    return value


def _positive(text: str) -> int:
    return int(_number(text, int, lambda v: v >= 1, "a whole number, 1 or more"))


def _count(text: str) -> int:
    return int(_number(text, int, lambda v: v >= 0, "a whole number, 0 or more"))


def _tolerance(text: str) -> float:
    return float(_number(text, float, lambda v: 0.0 <= v < math.inf, "a finite number, 0 or more"))


def _fraction(text: str) -> float:
    return float(_number(text, float, lambda v: 0.0 <= v < 1.0, "a number from 0 up to below 1"))
