"""Suites: TOML files that say which algorithms, streams, seeds and settings `seqeval run` takes."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from seqeval_rl.benchmarks.arguments.parsing import Several
from seqeval_rl.benchmarks.suite_file import CustomTask, Overrides, StreamEntry, SuiteFile
from seqeval_rl.data.load import supports_mode
from seqeval_rl.data.stream import StreamSpec
from seqeval_rl.errors import Place, UsageError, problem, unknown
from seqeval_rl.experiments.sweep import Sweep
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.results.legacy import RENAMED, rename_fields
from seqeval_rl.training.device import Precision
from seqeval_rl.utils import toml
from seqeval_rl.utils.files import split_at

_log = logging.getLogger("seqeval_rl")
# Evaluation episodes of the published runs where they are not the protocol's ten (Sujit et al. 2023, its run settings).
PUBLISHED_EPISODES = {"td3_bc": 5, "cql": 5, "awac": 5, "bc": 5}


def suite_names() -> list[str]:
    """Names of the suites that come with the package."""
    folder = files("seqeval_rl.benchmarks.suites")
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def read_suite(reference: str) -> tuple[str, SuiteFile]:
    """A suite by name, or by path where it ends in `.toml`: (name, contents). Raises `UsageError` in one line."""
    return _read(reference)[:2]


def _read(reference: str) -> tuple[str, SuiteFile, str]:
    """As `read_suite`, with the text of the file."""
    if reference.endswith(".toml"):
        path = Path(reference)
        if not path.is_file():
            raise UsageError(
                f"suite {reference}: no such file. Check the path, or name one of: {', '.join(suite_names())}."
            )
        contents, name = path.read_bytes(), path.stem
    elif reference in suite_names():
        contents, name = (files("seqeval_rl.benchmarks.suites") / f"{reference}.toml").read_bytes(), reference
    else:
        raise unknown("suite", reference, suite_names())
    try:
        tables, text = toml.parse(contents)
    except ValueError as error:
        raise UsageError(f"suite {reference}, {error}") from None
    try:
        return name, SuiteFile(**tables), text
    except ValidationError as error:
        raise _wrong(error, text, reference) from None


_MODELS: dict[str, type[BaseModel]] = {"streams": StreamEntry, "mini": Overrides, "CustomTask": CustomTask}


def _wrong(error: ValidationError, text: str, reference: str) -> UsageError:
    """The first key that is wrong, with its line."""
    # A misspelled key comes before the one that is missing for it. Where a key may have one of several types, pydantic lists what
    # each of them expected, and names it in the path.
    first = min(
        error.errors(include_url=False),
        key=lambda one: (
            one["type"] != "extra_forbidden",
            one["type"] == "string_type" and isinstance(one["input"], dict),
        ),
    )
    parts = [part for part in first["loc"] if part not in ("str", "CustomTask")]
    path = ".".join(map(str, parts))
    line = toml.line_of(text, path)
    where = f"suite {reference}" + (f", line {line}" if line else "")
    if first["type"] == "extra_forbidden":
        inside = [_MODELS[name] for name in first["loc"][:-1] if name in _MODELS]
        place = f"{where}, in {'.'.join(map(str, parts[:-1]))}" if parts[:-1] else where
        return unknown("key", str(parts[-1]), (inside[-1] if inside else SuiteFile).model_fields, place)
    return UsageError(f"{where}: {path}: {problem(first)}. Correct the file.")


def _places(reference: str, text: str, mini: bool, given: Collection[str]) -> Place:
    """The suite, for messages about its settings; `given` are those of the command line."""

    def exactly(setting: str) -> str | None:
        if any(setting == one or setting.startswith(f"{one}.") for one in given):
            return "--set"
        own = ".".join(setting.split(".")[:2])
        tables = own if own.startswith("protocol.") else f"settings.{own}", f"sweep.{own}"
        paths, lines = (*(f"mini.{table}" for table in tables if mini), *tables), toml.lines(text)
        return next((f"suite {reference}, line {lines[path]}" for path in paths if path in lines), None)

    return Place(f"suite {reference} with --set" if given else f"suite {reference}", exactly)


def build_sweep(
    reference: str,
    mini: bool = False,
    algorithms: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    settings: Iterable[tuple[str, str, Any]] = (),
    paper: bool = False,
    precision: Precision = "float32",
    loggers: Sequence[str] | None = None,
    reading: Mapping[str, Any] | None = None,
) -> Sweep:
    """A suite with the command line's changes, names and settings checked.

    Args:
        reference: name or path of the suite.
        mini: take its miniature.
        algorithms: in place of the suite's.
        datasets: in place of the suite's; each may be several sources joined by `+`, which are concatenated.
        seeds: in place of the suite's.
        loggers: in place of the suite's.
        settings: (section, setting, value); section is `protocol` or an algorithm of the sweep, and a value may be `Several`.
        paper: as the published runs: D4RL's files read as its own function does, `Protocol.uses_future_data`, each algorithm's
            `published` settings where they are not given, and its evaluation episodes where `protocol.episodes` is not.
        precision: of matrix products.
        reading: fields of `StreamSpec` in place of the streams' own: `task`, `reference_returns`, `action_low`, `action_high`,
            `clip_actions`.

    Raises:
        UsageError: an unknown name or setting, or a value out of range; in one line that says what to change.
    """
    name, suite, text = _read(reference)
    if mini and suite.mini is None:
        raise UsageError(
            f"suite {reference}: expected a table [mini] with --mini, found none. Leave --mini out, or add the table."
        )
    small = suite.mini if mini and suite.mini is not None else Overrides()
    seeds = small.seeds or suite.seeds if seeds is None else seeds
    entries = [find_algorithm(item) for item in algorithms or small.algorithms or suite.algorithms]
    if datasets is None:
        streams = [entry.spec(reference) for entry in small.streams or suite.streams]
    else:
        streams = [StreamSpec(item, tuple(split_at(item, "+"))) for item in datasets]
    streams = [replace(stream, **reading or {}) for stream in streams]
    settings = list(settings)
    chosen = _chosen_settings(suite, small, [entry.name for entry in entries], reference, settings)
    where = _places(reference, text, mini, {f"{section}.{setting}" for section, setting, _ in settings})
    own_protocol: dict[str, dict[str, Any]] = {}
    if paper:
        streams, own_protocol = _as_published(streams, chosen["protocol"])
    single, swept = _single_and_swept(chosen)
    return Sweep.build(
        single.pop("protocol"), where, swept,
        name=f"{name} (mini)" if mini else name, streams=tuple(streams), algorithms=tuple(entries), seeds=tuple(seeds),
        settings=single, precision=precision, own_protocol=own_protocol, published=paper,
        loggers=tuple(suite.loggers if loggers is None else loggers),
    )  # fmt: skip


def _as_published(
    streams: Iterable[StreamSpec], protocol: dict[str, Any]
) -> tuple[list[StreamSpec], dict[str, dict[str, Any]]]:
    """Streams read as by D4RL where they can be, and settings of the protocol by algorithm; changes `protocol`."""
    protocol["uses_future_data"] = True
    own = {} if "episodes" in protocol else {name: {"episodes": number} for name, number in PUBLISHED_EPISODES.items()}
    return [
        replace(stream, mode="d4rl") if all(supports_mode(source, "d4rl") for source in stream.sources) else stream
        for stream in streams
    ], own


def _chosen_settings(
    suite: SuiteFile,
    small: Overrides,
    algorithms: Sequence[str],
    reference: str,
    given: Iterable[tuple[str, str, Any]],
) -> dict[str, dict[str, Any]]:
    """The suite's settings, or those of its miniature, or those `given` by the command line, by section: `protocol` and each
    algorithm of the sweep."""
    chosen: dict[str, dict[str, Any]] = {section: {} for section in ("protocol", *algorithms)}
    for source, place in ((suite, reference), (small, f"[mini] of {reference}")):
        chosen["protocol"].update(source.protocol)
        for table, section, values in _tables(source, place):
            # A suite may hold settings of algorithms that --algorithms left out.
            if section in chosen:
                chosen[section].update(values)
            else:
                find_algorithm(section, f"[{table}.{section}] of {place}")
    for section, setting, value in given:
        if section not in chosen:
            raise unknown("section", section, chosen, "--set")
        chosen[section][setting] = value
    for old in RENAMED.keys() & chosen["protocol"].keys():
        new = RENAMED[old]
        _log.warning("suite %s: protocol.%s is now called protocol.%s; the old name is still read", reference, old, new)
    chosen["protocol"] = rename_fields(chosen["protocol"])
    return chosen


def _single_and_swept(
    chosen: Mapping[str, Mapping[str, Any]],
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Settings by section: those with one value, and the values of those with several."""
    single: dict[str, dict[str, Any]] = {section: {} for section in chosen}
    swept: dict[str, dict[str, Any]] = {section: {} for section in chosen}
    for section, table in chosen.items():
        for setting, value in table.items():
            if isinstance(value, Several):
                swept[section][setting] = value.values
            else:
                single[section][setting] = value
    return single, swept


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
        # TOML has no word for none; as on the command line, "none" is it.
        values = {
            setting: tuple(None if each == "none" else each for each in several) for setting, several in swept.items()
        }
        yield "sweep", section, {setting: Several(several) for setting, several in values.items()}
