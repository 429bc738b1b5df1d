"""The `seqeval` command: what it takes, in types; what it does lies in `commands`. Heavy imports wait until they are needed."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import OmitSubcommandPrefixes, Positional, UseAppendAction, arg, subcommand

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
    paper: Annotated[
        bool,
        arg(help="as the published runs: D4RL's reading, statistics of the whole log, decay over its length; it peeks"),
    ] = False
    overwrite: Annotated[bool, arg(help="delete the named runs' results that are there and begin again")] = False
    list: Annotated[bool, arg(help="list the suites and end")] = False


@dataclass(frozen=True)
class Plot:
    """Draw the data-efficiency curves of a results directory, or its algorithms over all datasets."""

    results: Annotated[Positional[Path | None], arg(help="omit with --paper-figure", metavar="RESULTS")] = None
    kind: Annotated[
        Literal["curves", "profile", "aggregates", "improvement", "prequential"],
        arg(
            help="curves: score over transitions; over all datasets, at the end of the log: profile, the share of runs "
            "above each score; aggregates, means and medians with intervals; improvement, how probably one beats another; "
            "prequential: scores without an environment over transitions, see --score"
        ),
    ] = "curves"
    score: Annotated[
        Literal["action_error", "nll", "td_error", "value_error", "value_gap"],
        arg(help="with --kind prequential: which"),
    ] = "action_error"
    paper_curves: Annotated[
        bool, arg(help="draw the published curves of the same datasets behind ours (with --kind curves)")
    ] = False
    paper_figure: Annotated[
        Literal["offline", "finetune", "mixed"] | None,
        arg(help="instead draw this figure of the paper from its published data alone"),
    ] = None
    out: Annotated[
        Path | None, arg(help="where to write; default RESULTS, of --paper-figure results/paper", metavar="DIR")
    ] = None
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
    ranking: Annotated[
        bool, arg(help="instead how well each prequential score ranks algorithms and settings against true scores")
    ] = False
    paper_curves: Annotated[bool, arg(help="instead the differences to the published scores of the same datasets")] = (
        False
    )
    format: Literal["md", "latex", "csv", "text"] = "md"


@dataclass(frozen=True)
class Select:
    """Pick an algorithm and its settings for each dataset from prequential scores alone, and say what a wrong pick would cost."""

    results: Annotated[Positional[Path], arg(metavar="RESULTS")]
    score: Annotated[
        Literal["action_error", "nll", "td_error", "value_error", "value_gap"],
        arg(help="prequential score to pick by: the lowest, of value_gap the nearest to 0"),
    ] = "action_error"
    share: Annotated[float, arg(help="of the data over which it is summed, above 0 and at most 1")] = 1.0
    algorithm: Annotated[
        str | None, arg(help="pick among the settings of this one; default among all algorithms", metavar="NAME")
    ] = None


@dataclass(frozen=True)
class Export:
    """Write all evaluations in long format."""

    results: Annotated[Positional[Path], arg(metavar="RESULTS")]
    file: Annotated[Positional[Path], arg(help="ends in .csv or .parquet", metavar="FILE")]


@dataclass(frozen=True)
class DatasetsList:
    """List the datasets that are on this machine, and those that can be had."""


@dataclass(frozen=True)
class DatasetsShow:
    """Print a dataset's numbers and draw it: returns and scores over time, episode lengths, actions."""

    id: Annotated[
        Positional[str],
        arg(
            help="a source, for example bundled/hopper/medium:10000; several joined by + are laid end to end",
            metavar="ID",
        ),
    ] = ""
    mode: Annotated[
        Literal["native", "d4rl"],
        arg(help="how D4RL's files are read: all that has a next observation, or as d4rl does"),
    ] = "native"
    out: Annotated[Path, arg(help="where to write the figure", metavar="DIR")] = Path("results/datasets")


@dataclass(frozen=True)
class DatasetsFetch:
    """Get a dataset now, so that a later run needs no network: download it, or build a bundled log."""

    id: Annotated[Positional[str], arg(help="a source, for example d4rl:hopper-medium-v2", metavar="ID")] = ""
    sha256: Annotated[str | None, arg(help="what its file must hash to", metavar="HEX")] = None
    offline: Annotated[bool, arg(help="only say whether it is here: no network")] = False


@dataclass(frozen=True)
class DatasetsCollect:
    """Make a new log and write it as a Minari dataset: from the bundled policies, from a run's checkpoint, or by training."""

    source: Annotated[
        Positional[str],
        arg(help="bundled/TASK/LEVEL, or a run's directory, for example results/x/sac/seed-0", metavar="SOURCE"),
    ] = ""
    id: Annotated[
        str,
        arg(
            help="Minari id of the new dataset, for example mine/hopper/medium-v0; {level} in it when training",
            metavar="ID",
        ),
    ] = ""
    transitions: Annotated[int, arg(help="size of the log, of each level when training")] = 100_000
    seed: Annotated[int, arg(help="of episodes and exploration; of the run when training")] = 0
    greedy: Annotated[bool, arg(help="from a checkpoint: the deterministic action, without exploration")] = False
    algorithm: Annotated[
        str | None, arg(help="from a checkpoint: where its algorithm is, if not registered", metavar="MODULE:CLASS")
    ] = None
    train: Annotated[
        str | None,
        arg(
            help="train this algorithm from nothing in --task and write levels random, medium, medium-replay, expert and "
            "medium-expert",
            metavar="ALGORITHM",
        ),
    ] = None
    task: Annotated[str, arg(help="with --train: a task's name or an environment id", metavar="TASK")] = ""
    reference: Annotated[
        str | None, arg(help="with --train: returns of score 0 and 100 where the task has none", metavar="MIN,MAX")
    ] = None
    online: Annotated[int, arg(help="with --train: transitions to train for")] = 300_000
    set: Annotated[
        UseAppendAction[tuple[str, ...]],
        arg(
            help="with --train: a setting, for example sac.learning_rate=1e-3 or protocol.evaluate_every=10000",
            metavar="SECTION.SETTING=VALUE",
        ),
    ] = ()
    out: Annotated[
        Path, arg(help="with --train: results directory of the run, which goes on when interrupted", metavar="DIR")
    ] = Path("results/collect")
    policies: Annotated[
        Path | None,
        arg(help="with --train: also save the policies there, in the format of the bundled ones", metavar="DIR"),
    ] = None
    overwrite: Annotated[bool, arg(help="replace datasets of that id that are there")] = False


@dataclass(frozen=True)
class DatasetsVerify:
    """Check a dataset that is on this machine, or all in the cache: hashes, episode bounds, values."""

    id: Annotated[
        Positional[str], arg(help="a source, or a key of the cache; omit for the whole cache", metavar="ID")
    ] = ""


@dataclass(frozen=True)
class Datasets:
    """List, show, fetch, make or verify datasets."""

    action: OmitSubcommandPrefixes[
        Annotated[DatasetsList, subcommand("list")]
        | Annotated[DatasetsShow, subcommand("show")]
        | Annotated[DatasetsFetch, subcommand("fetch")]
        | Annotated[DatasetsCollect, subcommand("collect")]
        | Annotated[DatasetsVerify, subcommand("verify")]
    ] = field(default_factory=DatasetsList)


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
    | Annotated[Select, subcommand("select")]
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
