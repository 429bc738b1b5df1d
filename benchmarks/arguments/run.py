"""The arguments of the commands that run or measure, and of those that list settings; the comment of a field is its help text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from seqeval_rl.benchmarks.arguments.reading import Reading


@dataclass(frozen=True)
class Run(Reading):
    """Run a suite: train and evaluate on growing slices of datasets, draw the curves. The same command resumes."""

    suite: Annotated[Positional[str], arg(metavar="SUITE")] = ""  # name of a suite, or a .toml file; omit with --list
    out: Annotated[Path | None, arg(metavar="DIR")] = None  # results directory; default results/SUITE
    # names, module:Class, file.py:Class or file.py, separated by commas; default the suite's
    algorithms: Annotated[str | None, arg(metavar="A,B")] = None
    # sources separated by commas; several joined by + are concatenated; default the suite's
    datasets: Annotated[str | None, arg(metavar="A,B")] = None
    seeds: Annotated[str | None, arg(metavar="0,1,2")] = None  # seeds separated by commas; default the suite's
    # what to train on: auto (CUDA where available), cpu, cuda (every visible device), or devices: cuda:1, cuda:0,2
    device: str = "auto"
    # where to train: local (this machine), ray, slurm, or module:Class, file.py:Class
    launcher: Annotated[str, arg(metavar="NAME")] = "local"
    # with --launcher ray: of the cluster, HOST:PORT or ray://HOST:PORT; default the one that is found
    address: Annotated[str, arg(metavar="HOST:PORT")] = ""
    partition: str = ""  # with --launcher slurm: of the cluster; default its own
    time: Annotated[str, arg(metavar="[D-]HH:MM:SS")] = ""  # with --launcher slurm: limit of each job; default 1 day
    # a setting, for example td3_bc.alpha=1.0 or protocol.increment=10; may be given again. Several values
    # are a sweep: td3_bc.alpha=1,2.5,4
    set: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="SECTION.SETTING=VALUE")] = ()
    # what steps the environments; auto: envpool where it is installed and has them, unless gymnasium is faster
    environments: Literal["auto", "envpool", "gymnasium"] = "auto"
    # of matrix products; tf32 is faster on CUDA, bfloat16 on CPUs that have it, both round more
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    # more loggers than metrics.jsonl: tensorboard, wandb, trackio, other registered names, module:Class, file.py:Class or
    # file.py, separated by commas; default the suite's
    logger: Annotated[str | None, arg(metavar="A,B", aliases=["--track"])] = None
    # only the K-th of N parts of the runs, for one process of several that share the work; parts do not overlap
    shard: Annotated[str, arg(metavar="K/N")] = "1/1"
    mini: bool = False  # the suite's miniature: the same code path in well under a minute
    # as the published runs: D4RL's reading, statistics of the full dataset, each algorithm's published settings; uses
    # future data
    paper: bool = False
    # resume runs whose algorithm's file has changed since they began; recorded in their events.jsonl
    allow_changed_code: bool = False
    # where settings, data or the algorithm's file have changed since a run's checkpoint: start a new run from it, in a
    # directory of its own
    fork: bool = False
    retry_failed: bool = False  # also try runs again that have diverged, from their newest checkpoint
    # seconds for an environment step, a reset, or to open an environment; one that takes longer fails
    step_timeout: Annotated[float, arg(metavar="SECONDS")] = 300.0
    # seconds for all environment steps of an episode together; an environment that takes longer fails
    episode_timeout: Annotated[float, arg(metavar="SECONDS")] = 3600.0
    # seconds for a gradient step of runs that train together; an algorithm that takes longer fails
    update_timeout: Annotated[float, arg(metavar="SECONDS")] = 3600.0
    overwrite: bool = False  # delete existing results of these runs and start again
    list: bool = False  # list the suites and exit


@dataclass(frozen=True)
class Algorithms:
    """List the registered algorithms with their settings."""


@dataclass(frozen=True)
class Settings:
    """Print every setting of the protocol, key of a suite and of a stream, and attribute of an algorithm, with default and
    meaning."""


@dataclass(frozen=True)
class Check:
    """Run the contract checks on an algorithm: shapes, resuming, independence of runs, learning."""

    # a registered name, module:Class, file.py:Class, or file.py where that defines one algorithm
    algorithm: Annotated[Positional[str], arg(metavar="MODULE:CLASS")]


@dataclass(frozen=True)
class Bench:
    """Measure updates per second, compared with a plain loop and the machine's limit; or environment steps per second, compared
    with a plain Gymnasium loop; or training on a large dataset; or show what an update's time is spent on; or estimate how
    long a suite will take, here or on an H100."""

    # names separated by commas; default all registered, or the suite's
    algorithms: Annotated[str | None, arg(metavar="A,B")] = None
    # numbers of runs trained together; default 1,5,20,40 on CUDA, else 1,2,4
    runs: Annotated[str | None, arg(metavar="1,2,4")] = None
    device: Literal["auto", "cpu", "cuda"] = "auto"  # where to train; auto: CUDA where available
    threads: int = 0  # of torch, with --evaluation processes, with --budget cores; 0 = all cores, of the H100's host 16
    repeats: int = 5  # measurements of each contender, interleaved; medians are reported
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"  # of matrix products
    # a setting of an algorithm that is measured, for example bc.best=0.1; may be given again
    set: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="ALGORITHM.SETTING=VALUE")] = ()
    json: Annotated[Path | None, arg(metavar="FILE")] = None  # also save every measurement
    # instead estimate how long this suite (a name or a .toml file) will take
    estimate: Annotated[str | None, arg(metavar="SUITE")] = None
    # instead measure the evaluation of these tasks, separated by commas
    evaluation: Annotated[str | None, arg(metavar="TASK,TASK")] = None
    backend: Literal["auto", "envpool", "gymnasium"] = "auto"  # with --evaluation: what steps the environments
    # instead measure training on a dataset of so many transitions, which is written to the cache and deleted afterwards
    transitions: Annotated[int | None, arg(metavar="N")] = None
    # instead show the largest kernels of an update, on a CPU its operations, and the gaps between them
    profile: bool = False
    # instead count the kernels that an update launches on an H100, by name, for 1,20 runs by default; no GPU is needed
    launches: bool = False
    # instead compute what this suite should cost on an H100 and what bounds it; nothing is measured, no GPU is needed
    budget: Annotated[str | None, arg(metavar="SUITE")] = None
    mini: bool = False  # with --estimate or --budget: the suite's miniature
