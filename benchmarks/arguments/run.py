"""The arguments of the commands that run or measure: run, algorithms, check, bench."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg


@dataclass(frozen=True)
class Run:
    """Run a suite: train and evaluate on growing slices of datasets, draw the curves. The same command resumes."""

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
            help="sources separated by commas; several joined by + are concatenated; default the suite's",
            metavar="A,B",
        ),
    ] = None
    seeds: Annotated[str | None, arg(help="seeds separated by commas; default the suite's", metavar="0,1,2")] = None
    device: Annotated[Literal["auto", "cpu", "cuda"], arg(help="where to train; auto: CUDA where available")] = "auto"
    set: Annotated[
        UseAppendAction[tuple[str, ...]],
        arg(
            help="a setting, for example td3_bc.alpha=1.0 or protocol.increment=10; may be given again. "
            "Several values are a sweep: td3_bc.alpha=1,2.5,4",
            metavar="SECTION.SETTING=VALUE",
        ),
    ] = ()
    environments: Annotated[
        Literal["auto", "envpool", "gymnasium"],
        arg(help="what steps the environments; auto: envpool where it is installed and has them"),
    ] = "auto"
    precision: Annotated[
        Literal["float32", "tf32", "bfloat16"],
        arg(help="of matrix products; tf32 is faster on CUDA, bfloat16 on CPUs that have it, both round more"),
    ] = "float32"
    logger: Annotated[
        str | None,
        arg(
            help="more loggers than metrics.jsonl: registered names, module:Class or file.py:Class, separated by commas; "
            "default the suite's",
            metavar="A,B",
        ),
    ] = None
    mini: Annotated[bool, arg(help="the suite's miniature: the same code path in well under a minute")] = False
    paper: Annotated[
        bool,
        arg(
            help="as the published runs: D4RL's reading, statistics of the full dataset, decay over its length; uses future data"
        ),
    ] = False
    overwrite: Annotated[bool, arg(help="delete existing results of these runs and start again")] = False
    list: Annotated[bool, arg(help="list the suites and exit")] = False


@dataclass(frozen=True)
class Algorithms:
    """List the registered algorithms with their settings."""


@dataclass(frozen=True)
class Check:
    """Run the contract checks on an algorithm: shapes, resuming, independence of runs, learning."""

    algorithm: Annotated[
        Positional[str], arg(help="a registered name, module:Class or file.py:Class", metavar="MODULE:CLASS")
    ]


@dataclass(frozen=True)
class Bench:
    """Measure updates per second, compared with a plain loop and the machine's limit; or environment steps per second, compared
    with a plain Gymnasium loop; or estimate how long a suite will take."""

    algorithms: Annotated[
        str | None, arg(help="names separated by commas; default all registered, or the suite's", metavar="A,B")
    ] = None
    runs: Annotated[
        str | None, arg(help="numbers of runs trained together; default 1,5,20,40 on CUDA, else 1,2,4", metavar="1,2,4")
    ] = None
    device: Annotated[Literal["auto", "cpu", "cuda"], arg(help="where to train; auto: CUDA where available")] = "auto"
    threads: Annotated[int, arg(help="of torch, or with --evaluation processes; 0 = all cores")] = 0
    repeats: Annotated[int, arg(help="measurements of each contender, interleaved; medians are reported")] = 5
    precision: Annotated[Literal["float32", "tf32", "bfloat16"], arg(help="of matrix products")] = "float32"
    json: Annotated[Path | None, arg(help="also save every measurement", metavar="FILE")] = None
    estimate: Annotated[
        str | None, arg(help="instead estimate how long this suite (a name or a .toml file) will take", metavar="SUITE")
    ] = None
    evaluation: Annotated[
        str | None, arg(help="instead measure the evaluation of these tasks, separated by commas", metavar="TASK,TASK")
    ] = None
    backend: Annotated[
        Literal["auto", "envpool", "gymnasium"], arg(help="with --evaluation: what steps the environments")
    ] = "auto"
    mini: Annotated[bool, arg(help="with --estimate: the suite's miniature")] = False
