"""The `seqeval` command: what it takes, in types; what it does lies in `commands`. Heavy imports wait until they are needed."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional, UseAppendAction, arg, subcommand

from seqeval_rl.errors import FileError, Interrupted, SeqevalError


@dataclass(frozen=True)
class Run:
    """Run a suite: reveal logs in growing slices, evaluate as the data grow, draw the curve. Given again, it goes on."""

    suite: Annotated[
        Positional[str], arg(help="name of a suite, or a .toml file; omit with --list", metavar="SUITE")
    ] = ""
    out: Annotated[Path | None, arg(help="results directory; default results/SUITE", metavar="DIR")] = None
    algorithms: Annotated[
        str | None,
        arg(help="names, module:Class or file.py:Class, separated by commas; default the suite's", metavar="A,B"),
    ] = None
    datasets: Annotated[
        str | None,
        arg(
            help="sources separated by commas; several joined by + are laid end to end; default the suite's",
            metavar="A,B",
        ),
    ] = None
    seeds: Annotated[str | None, arg(help="seeds separated by commas; default the suite's", metavar="0,1,2")] = None
    device: Annotated[Literal["auto", "cpu", "cuda"], arg(help="where to train; auto takes CUDA where it is")] = "auto"
    set: Annotated[
        UseAppendAction[tuple[str, ...]],
        arg(
            help="a setting, for example td3_bc.alpha=1.0 or protocol.increment=10; may be given again. "
            "Several values of an algorithm's setting are a sweep: td3_bc.alpha=1,2.5,4",
            metavar="SECTION.SETTING=VALUE",
        ),
    ] = ()
    environments: Annotated[
        Literal["auto", "envpool", "gymnasium"],
        arg(help="what steps the environments; auto takes envpool where it is installed and knows them"),
    ] = "auto"
    precision: Annotated[
        Literal["float32", "tf32", "bfloat16"],
        arg(help="of matrix products; tf32 is faster on CUDA, bfloat16 on CPUs that have it, both round more"),
    ] = "float32"
    mini: Annotated[bool, arg(help="the suite's miniature: the same code path in well under a minute")] = False
    overwrite: Annotated[bool, arg(help="delete the named runs' results that are there and begin again")] = False
    list: Annotated[bool, arg(help="list the suites and end")] = False


@dataclass(frozen=True)
class Plot:
    """Draw the data-efficiency curves of a results directory, or its algorithms over all datasets."""

    results: Annotated[Positional[Path], arg(metavar="RESULTS")]
    kind: Annotated[
        Literal["curves", "profile", "aggregates", "improvement"],
        arg(
            help="curves: score over transitions; over all datasets, at the end of the log: profile, the share of runs "
            "above each score; aggregates, means and medians with intervals; improvement, how probably one beats another"
        ),
    ] = "curves"
    out: Annotated[Path | None, arg(help="where to write; default RESULTS", metavar="DIR")] = None
    format: Annotated[str, arg(help="png, pdf or svg, separated by commas", metavar="PNG,PDF,SVG")] = "png"


@dataclass(frozen=True)
class Table:
    """Print scores at 25, 50, 75 and 100 % of the data, or other measures."""

    results: Annotated[Positional[Path], arg(metavar="RESULTS")]
    measures: Annotated[
        Literal["data", "reach", "blocks", "online", "across"],
        arg(
            help="data: scores at shares of the data, best, area; reach: transitions to the log's mean and to 90 % of the "
            "final score; blocks: recovery and loss after block changes; online: before, after, dip, regret; "
            "across: over all datasets"
        ),
    ] = "data"
    format: Literal["md", "latex", "csv", "text"] = "md"


@dataclass(frozen=True)
class Export:
    """Write all evaluations in long format."""

    results: Annotated[Positional[Path], arg(metavar="RESULTS")]
    file: Annotated[Positional[Path], arg(help="ends in .csv or .parquet", metavar="FILE")]


@dataclass(frozen=True)
class Datasets:
    """List the datasets that are at hand, or show one (building it if it is a bundled log that is not there yet)."""

    action: Annotated[Positional[Literal["list", "show"]], arg(help="what to do")] = "list"
    id: Annotated[
        Positional[str], arg(help="for show: a source, for example bundled/hopper/medium:10000", metavar="ID")
    ] = ""


@dataclass(frozen=True)
class Algorithms:
    """List the registered algorithms with their settings."""


@dataclass(frozen=True)
class Check:
    """Run the contract tests on an algorithm: shapes, resuming, independence of runs, learning."""

    algorithm: Annotated[
        Positional[str], arg(help="a registered name, module:Class or file.py:Class", metavar="MODULE:CLASS")
    ]


@dataclass(frozen=True)
class Bench:
    """Measure updates per second beside a plain loop and the machine's ceiling, or estimate how long a suite will take."""

    algorithms: Annotated[
        str | None, arg(help="names separated by commas; default all registered, or the suite's", metavar="A,B")
    ] = None
    runs: Annotated[
        str | None, arg(help="stack sizes separated by commas; default 1,5,20,40 on CUDA, else 1,2,4", metavar="1,2,4")
    ] = None
    device: Annotated[Literal["auto", "cpu", "cuda"], arg(help="where to update; auto takes CUDA where it is")] = "auto"
    threads: Annotated[int, arg(help="threads of torch; 0 = all cores")] = 0
    repeats: Annotated[int, arg(help="measurements of each, interleaved; medians are reported")] = 5
    precision: Annotated[Literal["float32", "tf32", "bfloat16"], arg(help="of matrix products")] = "float32"
    json: Annotated[Path | None, arg(help="also save every figure", metavar="FILE")] = None
    estimate: Annotated[
        str | None, arg(help="instead say how long this suite (a name or a .toml file) will take here", metavar="SUITE")
    ] = None
    mini: Annotated[bool, arg(help="with --estimate: the suite's miniature")] = False


Command = (
    Annotated[Run, subcommand("run")]
    | Annotated[Plot, subcommand("plot")]
    | Annotated[Table, subcommand("table")]
    | Annotated[Export, subcommand("export")]
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
    from seqeval_rl.benchmarks import commands

    try:
        commands.perform(command)
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
