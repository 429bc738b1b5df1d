"""The `seqeval` command: what it takes lies in the `*_arguments`, what it does in `commands`; heavy imports wait."""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated

import tyro
from tyro.conf import subcommand

from seqeval_rl.benchmarks.arguments.datasets import Datasets
from seqeval_rl.benchmarks.arguments.results import Cite, Export, Plot, Report, Select, Status, Table
from seqeval_rl.benchmarks.arguments.run import Algorithms, Bench, Check, Run
from seqeval_rl.errors import FileError, Interrupted, SeqevalError

Command = (
    Annotated[Run, subcommand("run")]
    | Annotated[Status, subcommand("status")]
    | Annotated[Plot, subcommand("plot")]
    | Annotated[Table, subcommand("table")]
    | Annotated[Report, subcommand("report")]
    | Annotated[Select, subcommand("select")]
    | Annotated[Export, subcommand("export")]
    | Annotated[Cite, subcommand("cite")]
    | Annotated[Datasets, subcommand("datasets")]
    | Annotated[Algorithms, subcommand("algorithms")]
    | Annotated[Check, subcommand("check")]
    | Annotated[Bench, subcommand("bench")]
)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code. Expected errors are one line on standard error, bugs a traceback."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    command = tyro.cli(
        Command, prog="seqeval", description="Sequential evaluation of offline reinforcement learning.", args=arguments
    )
    from seqeval_rl.benchmarks.commands import run

    try:
        run.perform(command)
    except SeqevalError as error:
        print(f"seqeval: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("seqeval: interrupted; what was whole is kept, the same command goes on.", file=sys.stderr)
        return Interrupted.exit_code
    except BrokenPipeError:
        # The reader of our output (head, less) has gone: nothing to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        print(f"seqeval: {error.filename or 'input/output'}: {error.strerror or error}.", file=sys.stderr)
        return FileError.exit_code
    return 0
