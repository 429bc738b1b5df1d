"""The `seqeval` command. Arguments are declared in `arguments`, actions in `commands`; heavy imports happen on use."""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any, Union

import tyro
from tyro.conf import subcommand

from seqeval_rl.benchmarks.arguments.datasets import Datasets
from seqeval_rl.benchmarks.arguments.new import New
from seqeval_rl.benchmarks.arguments.policy import Evaluate, PolicyOf
from seqeval_rl.benchmarks.arguments.results import Cite, Export, Paper, Plot, Report, Select, Status, Table
from seqeval_rl.benchmarks.arguments.run import Algorithms, Bench, Check, Run, Settings
from seqeval_rl.errors import FileError, Interrupted, SeqevalError
from seqeval_rl.utils.console import finish_streams, log_to_stderr, prepare_streams
from seqeval_rl.utils.interruption import signals_interrupt
from seqeval_rl.utils.text import clean

# By name: the type of the command's arguments, and the function that takes them, in `commands`.
_COMMANDS: dict[str, tuple[type, str]] = {
    "run": (Run, "run.perform"),
    "status": (Status, "status.status"),
    "plot": (Plot, "results.perform"),
    "table": (Table, "results.perform"),
    "report": (Report, "results.perform"),
    "select": (Select, "results.perform"),
    "export": (Export, "results.perform"),
    "paper": (Paper, "results.perform"),
    "cite": (Cite, "results.perform"),
    "policy": (PolicyOf, "policy.policy"),
    "evaluate": (Evaluate, "policy.evaluate"),
    "datasets": (Datasets, "datasets.perform"),
    "algorithms": (Algorithms, "algorithms.algorithms"),
    "settings": (Settings, "settings.settings"),
    "check": (Check, "algorithms.check"),
    "new": (New, "new.new"),
    "bench": (Bench, "bench.bench"),
}


def _parse(arguments: list[str]) -> Any:
    """The typed command; figures and tables are looked up only for the commands that offer them."""
    commands = {name: arguments_type for name, (arguments_type, _) in _COMMANDS.items()}
    if arguments[:1] in (["plot"], ["table"]):
        from seqeval_rl.benchmarks.arguments.options import with_options
        from seqeval_rl.plots.registry import FIGURES, TABLES

        commands["plot"] = with_options(Plot, "kind", FIGURES) if arguments[0] == "plot" else Plot
        commands["table"] = with_options(Table, "measures", TABLES) if arguments[0] == "table" else Table
    # As values: the types are made at run time, which type checkers cannot follow.
    annotated: Any = Annotated
    union: Any = Union
    return tyro.cli(
        union[tuple(annotated[command, subcommand(name)] for name, command in commands.items())],
        prog="seqeval",
        description="Sequential evaluation of offline reinforcement learning. --version prints the version.",
        args=arguments,
    )


def _perform(arguments: list[str]) -> None:
    if arguments == ["--version"]:
        print(f"seqeval-rl {version('seqeval-rl')}")
        return
    try:
        command = _parse(arguments)
    except SystemExit:  # after the help, or a usage error
        finish_streams()
        raise
    module, _, function = next(place for kind, place in _COMMANDS.values() if isinstance(command, kind)).partition(".")
    # The heavy imports come only now, where they can be interrupted.
    perform = getattr(import_module(f"seqeval_rl.benchmarks.commands.{module}"), function)
    perform(command)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code. Expected errors are one line on standard error, bugs a traceback."""
    prepare_streams()
    log_to_stderr()
    try:
        with signals_interrupt(Interrupted.exit_code):
            _perform(sys.argv[1:] if arguments is None else arguments)
        finish_streams()
    except SeqevalError as error:
        print(f"seqeval: {clean(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("seqeval: interrupted; completed work is kept, the same command resumes.", file=sys.stderr)
        return Interrupted.exit_code
    except BrokenPipeError:
        with suppress(OSError):  # the program that reads the output (head, less) has ended
            finish_streams()
    except OSError as error:
        with suppress(OSError):
            finish_streams()
        print(
            f"seqeval: {clean(str(error.filename or 'input/output'))}: {clean(str(error.strerror or error))}.",
            file=sys.stderr,
        )
        return FileError.exit_code
    return 0
