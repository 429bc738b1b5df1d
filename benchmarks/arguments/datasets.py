"""The arguments of `seqeval datasets`; the comment of a field is its help text."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitSubcommandPrefixes, Positional, UseAppendAction, arg, subcommand

from seqeval_rl.benchmarks.arguments.reading import Reading


@dataclass(frozen=True)
class DatasetsList:
    """List the datasets on this machine and those that can be fetched."""


@dataclass(frozen=True)
class DatasetsShow(Reading):
    """Print a dataset's numbers and draw it: returns and scores over time, episode lengths, actions."""

    # a source, for example bundled/hopper/medium:10000; several joined by + are concatenated
    id: Annotated[Positional[str], arg(metavar="ID")] = ""
    # how D4RL's files are read: all that has a next observation, or as d4rl does
    mode: Literal["native", "d4rl"] = "native"
    out: Annotated[Path, arg(metavar="DIR")] = Path("results/datasets")  # where to write the figure


@dataclass(frozen=True)
class DatasetsFetch(Reading):
    """Get a dataset now, so that a later run needs no network: download it, or build a bundled one. With an option of how to read
    it, read it too, so that what is wrong is said now."""

    id: Annotated[Positional[str], arg(metavar="ID")] = ""  # a source, for example d4rl:hopper-medium-v2
    sha256: Annotated[str | None, arg(metavar="HEX")] = None  # the SHA-256 that its file must have
    offline: bool = False  # only say whether it is on this machine; no network


@dataclass(frozen=True)
class DatasetsCollect:
    """Collect a new dataset and write it in Minari format: with a bundled policy, with a run's checkpoint, or by training."""

    # bundled/TASK/LEVEL, or a run's directory, for example results/x/sac/seed-0
    source: Annotated[Positional[str], arg(metavar="SOURCE")] = ""
    # Minari id of the new dataset, for example mine/hopper/medium-v0; with --train it contains {level}
    id: Annotated[str, arg(metavar="ID")] = ""
    transitions: int = 100_000  # size of the dataset, with --train of each level
    seed: int = 0  # of episodes and exploration; with --train of the run
    greedy: bool = False  # with a checkpoint: deterministic actions, no exploration
    # with a checkpoint: its algorithm, if it is not registered
    algorithm: Annotated[str | None, arg(metavar="MODULE:CLASS")] = None
    # with a checkpoint: code that its run may name to open its environment, a module, module:Id or module:Class; may be given
    # again
    trust_environment: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME")] = ()
    # train this algorithm online in --task and write the levels random, medium, medium-replay, expert and
    # medium-expert
    train: Annotated[str | None, arg(metavar="ALGORITHM")] = None
    task: Annotated[str, arg(metavar="TASK")] = ""  # with --train: a task's name or an environment id
    # with --train: returns of score 0 and 100 where the task has none
    reference_returns: Annotated[str | None, arg(metavar="MIN,MAX", aliases=["--reference"])] = None
    online: int = 300_000  # with --train: transitions to train for
    # with --train: a setting, for example dqn.learning_rate=1e-3 or protocol.evaluate_every=10000
    set: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="SECTION.SETTING=VALUE")] = ()
    # with --train: results directory of the run; an interrupted run is resumed
    out: Annotated[Path, arg(metavar="DIR")] = Path("results/collect")
    # with --train: also save the policies here, in the format of the bundled ones
    policies: Annotated[Path | None, arg(metavar="DIR")] = None
    overwrite: bool = False  # replace existing datasets of that id


@dataclass(frozen=True)
class DatasetsPush(Reading):
    """Put a dataset on the Hugging Face Hub, in Minari's format. What is not a Minari dataset yet is first written as one."""

    # what is uploaded, for example minari:mine/hopper/medium-v0 or data.npz
    source: Annotated[Positional[str], arg(metavar="SOURCE")] = ""
    # user or organization on the Hub; by default who is logged in
    to: Annotated[str | None, arg(metavar="USER")] = None
    # Minari id of the dataset, for a source that is not a Minari dataset
    id: Annotated[str | None, arg(metavar="ID")] = None
    private: bool = False  # a repository that is created is visible to its owners alone
    overwrite: bool = False  # replace a dataset of that id
    dry_run: bool = False  # only say what would be uploaded; no network, no login


@dataclass(frozen=True)
class DatasetsVerify(Reading):
    """Check a dataset on this machine, or all in the cache: hashes, episode boundaries, values."""

    id: Annotated[Positional[str], arg(metavar="ID")] = ""  # a source, or a key of the cache; omit for the whole cache


@dataclass(frozen=True)
class Datasets:
    """List, show, fetch, collect, push or verify datasets."""

    action: OmitSubcommandPrefixes[
        Annotated[DatasetsList, subcommand("list")]
        | Annotated[DatasetsShow, subcommand("show")]
        | Annotated[DatasetsFetch, subcommand("fetch")]
        | Annotated[DatasetsCollect, subcommand("collect")]
        | Annotated[DatasetsPush, subcommand("push")]
        | Annotated[DatasetsVerify, subcommand("verify")]
    ] = field(default_factory=DatasetsList)
