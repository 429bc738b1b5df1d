"""The arguments of `seqeval datasets`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitSubcommandPrefixes, Positional, UseAppendAction, arg, subcommand


@dataclass(frozen=True)
class DatasetsList:
    """List the datasets on this machine and those that can be fetched."""


@dataclass(frozen=True)
class DatasetsShow:
    """Print a dataset's numbers and draw it: returns and scores over time, episode lengths, actions."""

    id: Annotated[
        Positional[str],
        arg(
            help="a source, for example bundled/hopper/medium:10000; several joined by + are concatenated",
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
    """Get a dataset now, so that a later run needs no network: download it, or build a bundled one."""

    id: Annotated[Positional[str], arg(help="a source, for example d4rl:hopper-medium-v2", metavar="ID")] = ""
    sha256: Annotated[str | None, arg(help="the SHA-256 that its file must have", metavar="HEX")] = None
    offline: Annotated[bool, arg(help="only say whether it is on this machine; no network")] = False


@dataclass(frozen=True)
class DatasetsCollect:
    """Collect a new dataset and write it in Minari format: with a bundled policy, with a run's checkpoint, or by training."""

    source: Annotated[
        Positional[str],
        arg(help="bundled/TASK/LEVEL, or a run's directory, for example results/x/sac/seed-0", metavar="SOURCE"),
    ] = ""
    id: Annotated[
        str,
        arg(
            help="Minari id of the new dataset, for example mine/hopper/medium-v0; with --train it contains {level}",
            metavar="ID",
        ),
    ] = ""
    transitions: Annotated[int, arg(help="size of the dataset, with --train of each level")] = 100_000
    seed: Annotated[int, arg(help="of episodes and exploration; with --train of the run")] = 0
    greedy: Annotated[bool, arg(help="with a checkpoint: deterministic actions, no exploration")] = False
    algorithm: Annotated[
        str | None, arg(help="with a checkpoint: its algorithm, if it is not registered", metavar="MODULE:CLASS")
    ] = None
    train: Annotated[
        str | None,
        arg(
            help="train this algorithm online in --task and write the levels random, medium, medium-replay, expert and "
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
        Path, arg(help="with --train: results directory of the run; an interrupted run is resumed", metavar="DIR")
    ] = Path("results/collect")
    policies: Annotated[
        Path | None,
        arg(help="with --train: also save the policies here, in the format of the bundled ones", metavar="DIR"),
    ] = None
    overwrite: Annotated[bool, arg(help="replace existing datasets of that id")] = False


@dataclass(frozen=True)
class DatasetsVerify:
    """Check a dataset on this machine, or all in the cache: hashes, episode boundaries, values."""

    id: Annotated[
        Positional[str], arg(help="a source, or a key of the cache; omit for the whole cache", metavar="ID")
    ] = ""


@dataclass(frozen=True)
class Datasets:
    """List, show, fetch, collect or verify datasets."""

    action: OmitSubcommandPrefixes[
        Annotated[DatasetsList, subcommand("list")]
        | Annotated[DatasetsShow, subcommand("show")]
        | Annotated[DatasetsFetch, subcommand("fetch")]
        | Annotated[DatasetsCollect, subcommand("collect")]
        | Annotated[DatasetsVerify, subcommand("verify")]
    ] = field(default_factory=DatasetsList)
