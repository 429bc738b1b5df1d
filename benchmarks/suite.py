"""Suites: TOML files that say what to run. A user copies one, edits it and runs it by its path."""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from seqeval_rl.benchmarks.arguments.parsing import Several
from seqeval_rl.data.load import supports_mode
from seqeval_rl.data.readers.base import Mode
from seqeval_rl.data.stream import StreamSpec
from seqeval_rl.environments.tasks import Task, task_named
from seqeval_rl.errors import UsageError, invalid, unknown
from seqeval_rl.experiments.sweep import Sweep
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.protocol import Protocol
from seqeval_rl.results.legacy import RENAMED, rename_fields

_log = logging.getLogger("seqeval_rl")
# Evaluation episodes of the published runs where they are not the protocol's ten (Sujit et al. 2023, its run settings).
PUBLISHED_EPISODES = {"td3_bc": 5, "cql": 5}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CustomTask(_Strict):
    """A task that is not among the known ones."""

    name: str
    env_id: str | None = None  # none: no environment, prequential scores alone
    reference_min: float
    reference_max: float


class StreamEntry(_Strict):
    """One stream of a suite: blocks end to end, or none: plain online learning of a task."""

    name: str | None = None  # default: the blocks' sources
    blocks: tuple[str, ...]
    task: str | CustomTask | None = None  # where the data do not say
    mode: Mode = "native"  # of reading: `d4rl` is exactly what D4RL's own function gives

    def spec(self, where: str) -> StreamSpec:
        """As the sweep takes it."""
        match self.task:
            case None:
                task = None
            case str():
                task = task_named(self.task, where)
            case CustomTask():
                task = Task(**self.task.model_dump())
        if not self.blocks and task is None:
            raise UsageError(
                f"stream {self.name or 'without a name'!r} in {where}: expected blocks, or a task to learn online, found neither."
            )
        name = self.name or "+".join(self.blocks) or f"{task.name if task else ''} online"
        return StreamSpec(name, self.blocks, task, self.mode)


class Overrides(_Strict):
    """What the miniature replaces: settings one by one (a value may replace a sweep), the rest whole."""

    algorithms: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    streams: tuple[StreamEntry, ...] | None = None
    protocol: dict[str, Any] = {}
    settings: dict[str, dict[str, Any]] = {}
    sweep: dict[str, dict[str, tuple[Any, ...]]] = {}


class SuiteFile(_Strict):
    """A suite as it stands in its file."""

    description: str
    algorithms: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(min_length=1)
    streams: tuple[StreamEntry, ...] = Field(min_length=1)
    protocol: dict[str, Any] = {}
    settings: dict[str, dict[str, Any]] = {}  # by algorithm
    sweep: dict[str, dict[str, tuple[Any, ...]]] = {}  # by algorithm, or protocol: several values for a setting
    mini: Overrides


def suite_names() -> list[str]:
    """The suites that come with the package."""
    folder = files("seqeval_rl.benchmarks.suites")
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def read_suite(reference: str) -> tuple[str, SuiteFile]:
    """A suite by name, or by path where it ends in `.toml`: (name, contents). Raises `UsageError` in one line."""
    if reference.endswith(".toml"):
        path = Path(reference)
        if not path.is_file():
            raise UsageError(
                f"suite {reference}: no such file. Check the path, or name one of: {', '.join(suite_names())}."
            )
        text, name = path.read_text(), path.stem
    elif reference in suite_names():
        text, name = (files("seqeval_rl.benchmarks.suites") / f"{reference}.toml").read_text(), reference
    else:
        raise unknown("suite", reference, suite_names())
    try:
        return name, SuiteFile(**tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"suite {reference}: not TOML: {error}. Correct the file.") from None
    except ValidationError as error:
        raise invalid(error, "suite", reference) from None


def build_sweep(
    reference: str,
    mini: bool = False,
    algorithms: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    settings: Iterable[tuple[str, str, Any]] = (),
    paper: bool = False,
) -> Sweep:
    """A suite with the command line's changes, names and settings checked.

    Args:
        reference: name or path of the suite.
        mini: take its miniature.
        algorithms, datasets, seeds: replace the suite's; a dataset may be several sources joined by `+`, laid end to end.
        settings: (section, setting, value); section is `protocol` or an algorithm of the sweep, and a value may be `Several`.
        paper: as the published runs: D4RL's files read as its own function does, `Protocol.uses_future_data`, and each
            algorithm's evaluation episodes, where `protocol.episodes` is not given.
    """
    name, suite = read_suite(reference)
    small = suite.mini if mini else Overrides()
    if seeds is None:
        seeds = small.seeds or suite.seeds
    _check_seeds(seeds, reference)
    entries = _unique([find_algorithm(item) for item in algorithms or small.algorithms or suite.algorithms])
    streams = [entry.spec(reference) for entry in small.streams or suite.streams]
    if datasets is not None:
        streams = [StreamSpec(item, tuple(item.split("+"))) for item in datasets]
    doubled = [stream.name for i, stream in enumerate(streams) if stream.name in [s.name for s in streams[:i]]]
    if doubled:
        raise UsageError(f"suite {reference}: two streams are called {doubled[0]!r}. Give each a name of its own.")
    chosen: dict[str, dict[str, Any]] = {"protocol": {}, **{entry.name: {} for entry in entries}}
    for source, place in ((suite, reference), (small, f"[mini] of {reference}")):
        chosen["protocol"].update(source.protocol)
        for table, section, values in _tables(source, place):
            # A suite may hold settings of algorithms that --algorithms left out.
            if section in chosen:
                chosen[section].update(values)
            else:
                find_algorithm(section, f"[{table}.{section}] of {place}")
    for section, setting, value in settings:
        if section not in chosen:
            raise unknown("section", section, chosen, "--set")
        chosen[section][setting] = value
    chosen["protocol"] = _present_names(chosen["protocol"], reference)
    own_protocol: dict[str, dict[str, Any]] = {}
    if paper:
        chosen["protocol"]["uses_future_data"] = True
        if "episodes" not in chosen["protocol"]:
            own_protocol = {name: {"episodes": number} for name, number in PUBLISHED_EPISODES.items()}
        streams = [
            replace(stream, mode="d4rl") if all(supports_mode(source, "d4rl") for source in stream.sources) else stream
            for stream in streams
        ]
    where = f"suite {reference}" if not settings else f"suite {reference} with --set"
    label = f"{name} (mini)" if mini else name
    single = {
        section: {name: value for name, value in values.items() if not isinstance(value, Several)}
        for section, values in chosen.items()
    }
    swept = {
        section: {name: value.values for name, value in values.items() if isinstance(value, Several)}
        for section, values in chosen.items()
    }
    base, swept_protocol = single.pop("protocol"), swept.pop("protocol")
    firsts = {setting: values[0] for setting, values in swept_protocol.items() if values}
    return Sweep(
        label, tuple(streams), tuple(entries), Protocol.parse({**base, **firsts}, where), tuple(seeds), single, swept, where,
        swept_protocol=swept_protocol, own_protocol=own_protocol,
    )  # fmt: skip


def _tables(source: SuiteFile | Overrides, place: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The tables of algorithms' settings as (kind, algorithm, values), those of `sweep` as `Several`."""
    for section, values in source.settings.items():
        yield "settings", section, values
    for section, swept in source.sweep.items():
        for setting in swept:
            single = source.protocol if section == "protocol" else source.settings.get(section, {})
            if setting in single:
                table = "protocol" if section == "protocol" else f"settings.{section}"
                raise UsageError(
                    f"suite {place}: expected {section}.{setting} once, found it in [{table}] and in "
                    f"[sweep.{section}]. Delete one."
                )
        yield "sweep", section, {setting: Several(several) for setting, several in swept.items()}


def _present_names(settings: Mapping[str, Any], reference: str) -> dict[str, Any]:
    """The protocol's settings under their present names, with a note for each old one."""
    for old in RENAMED.keys() & settings.keys():
        _log.warning(
            "suite %s: protocol.%s is now called protocol.%s; the old name is still read", reference, old, RENAMED[old]
        )
    return rename_fields(settings)


def _check_seeds(seeds: Sequence[int], reference: str) -> None:
    if len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise UsageError(
            f"seeds of {reference}: expected different whole numbers from 0, found {', '.join(map(str, seeds))}."
        )


def _unique(entries: Sequence[Any]) -> Sequence[Any]:
    names: Mapping[str, Any] = {entry.name: entry for entry in entries}
    if len(names) != len(entries):
        raise UsageError("--algorithms: two algorithms have the same name. Name each once, or rename a class.")
    return entries
