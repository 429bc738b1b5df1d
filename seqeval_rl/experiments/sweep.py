"""Sweeps: which algorithms, settings, streams and seeds to run, and the variants of an algorithm that this makes.

There is one variant for each combination of swept values. Its runs are in a directory named after the algorithm and these
values, `td3_bc,alpha=2.5`; without a sweep there is one variant, in `td3_bc`.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from seqeval_rl.data.stream import StreamSpec
from seqeval_rl.environments.patience import DEFAULT, Patience
from seqeval_rl.errors import UsageError, unknown
from seqeval_rl.interface.config import OFFLINE_STEPS
from seqeval_rl.interface.registry import AlgorithmEntry
from seqeval_rl.protocol import Protocol, Schedule
from seqeval_rl.training.device import Precision
from seqeval_rl.utils.text import bounded_name, file_name, fitting, hashed_name, show, some


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of a sweep, numbered from 1. Parts of one sweep do not overlap, whatever machine runs them."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Of `3/16`. Raises `UsageError`."""
        index, slash, count = text.partition("/")
        if not (slash and index.strip().isdecimal() and count.strip().isdecimal() and 1 <= int(index) <= int(count)):
            raise UsageError(
                f"--shard {text}: expected K/N with 1 <= K <= N, for example 3/16 for the third of 16 parts. Correct it."
            )
        return cls(int(index), int(count))

    def takes(self, number: int) -> bool:
        """Whether this part takes the run group (or run) of that number, from 0."""
        return number % self.count == self.index - 1


@dataclass(frozen=True)
class Sweep:
    """What to run: the cross product of streams, algorithms with their variants, protocols and seeds."""

    name: str
    streams: tuple[StreamSpec, ...]
    algorithms: tuple[AlgorithmEntry, ...]
    protocol: Protocol
    seeds: tuple[int, ...]
    # By algorithm: one value for each setting; and several values, by algorithm or `protocol`.
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    swept: Mapping[str, Mapping[str, Sequence[Any]]] = field(default_factory=dict)
    where: str = "the suite"  # for messages
    precision: Precision = "float32"  # of matrix products
    # By algorithm, in place of `protocol`'s.
    own_protocol: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    loggers: tuple[str, ...] = ()  # more than `metrics.jsonl`, see `find_logger`
    published: bool = False  # take each algorithm's `published` settings where `settings` and `swept` name none
    shard: Shard = Shard(1, 1)  # the part of it that is run
    patience: Patience = DEFAULT  # with environments
    retry_failed: bool = False  # try runs again that have diverged

    def __post_init__(self) -> None:
        """Raise `UsageError` for no algorithm, stream or seed, one twice, a negative seed, or settings of other algorithms."""
        names, where = [entry.name for entry in self.algorithms], self.where
        labels = [stream.name for stream in self.streams]
        parts: dict[str, Sequence[Any]] = {"algorithms": names, "datasets": labels, "seeds": list(self.seeds)}
        for kind, part in parts.items():
            if not part:
                raise UsageError(f"{where}: expected {kind}, at least one, found none. Name one.")
            twice = [name for name, count in Counter(part).items() if count > 1]
            if twice:
                raise UsageError(f"{where}: expected different {kind}, found {some(twice)} twice. Name each once.")
        check_seeds(self.seeds, where)
        for text in (*labels, *(source for stream in self.streams for source in stream.sources)):
            if any(unicodedata.category(letter) == "Cs" for letter in text):  # bytes of a path that are not UTF-8
                raise UsageError(f"{where}: expected names and paths in UTF-8, found {text!r}. Rename the file.")
        for section in (*self.settings, *(self.swept.keys() - {"protocol"})):
            if section not in names:
                raise unknown("algorithm", section, names, f"the settings of {where}")

    @classmethod
    def build(cls, protocol: Mapping[str, Any], where: str, swept: Mapping[str, Any], **fields: Any) -> Sweep:
        """A sweep whose protocol is given by settings, see `Protocol.parse`; `fields` are the other fields."""
        firsts = {setting: values[0] for setting, values in swept.get("protocol", {}).items() if values}
        return cls(protocol=Protocol.parse({**protocol, **firsts}, where), where=where, swept=swept, **fields)

    def seeds_in_shard(self, stream: int, variant: int, variants: int) -> tuple[int, ...]:
        """The seeds of a stream and a variant, by number, that belong to the shard.

        A shard takes every `count`-th pair of variant and stream with all its seeds, so that they can train as one group; where
        there are fewer pairs than shards, every `count`-th run. The variant varies slowest.
        """
        pair = variant * len(self.streams) + stream
        if variants * len(self.streams) >= self.shard.count:
            return self.seeds if self.shard.takes(pair) else ()
        first = pair * len(self.seeds)
        return tuple(seed for number, seed in enumerate(self.seeds, first) if self.shard.takes(number))

    def has_runs(self) -> bool:
        """Whether there is a run for the shard; there is none for some where they are more than runs."""
        variants = len(self.variants())
        pairs = itertools.product(range(len(self.streams)), range(variants))
        return any(self.seeds_in_shard(stream, variant, variants) for stream, variant in pairs)

    def variants(self) -> list[Variant]:
        """Every algorithm with its settings, once for each combination of swept values. Raises `UsageError`."""
        found = []
        for entry in self.algorithms:
            name, where = entry.name, self.where
            base = Protocol.parse({**self.protocol.model_dump(), **self.own_protocol.get(name, {})}, where)
            under = protocols(base, self.swept.get("protocol", {}), where)
            given, swept = self.settings.get(name, {}), self.swept.get(name, {})
            published = entry.published if self.published else {}
            steps = {setting for setting, value in published.items() if value == OFFLINE_STEPS}
            constants = {setting: value for setting, value in published.items() if setting not in steps}
            of_algorithm = variants(entry, {**constants, **given}, swept, where, under)
            found += [replace(variant, offline_steps=frozenset(steps - {*given, *swept})) for variant in of_algorithm]
        return found


_NO_WORD = re.compile(
    r"none|true|false|nan|inf|[-+.\d].*|", re.IGNORECASE
)  # what flags, numbers and lists are written as
SEEDS = 2**63  # seeds are below: they are 64-bit integers in exported tables
DECAY = "decay_steps"  # an algorithm's setting: gradient steps over which its rate decays; as published, the whole run


@dataclass(frozen=True)
class Variant:
    """An algorithm with all its settings, and those of the protocol."""

    entry: AlgorithmEntry
    config: Any
    protocol: Protocol
    directory: str  # name of the directory of its runs
    offline_steps: frozenset[str] = frozenset()  # settings whose value is `OFFLINE_STEPS`

    def settings(self, schedule: Schedule) -> dict[str, Any]:
        """The algorithm's settings as a run with that schedule has them."""
        config = dataclasses.asdict(self.config)
        decays = DECAY in config and DECAY not in self.entry.published
        if decays and self.protocol.uses_future_data and not self.protocol.online:
            # As published: the rate's decay knows where the run will end.
            config[DECAY] = schedule.gradient_steps
        return config | dict.fromkeys(self.offline_steps, schedule.offline_gradient_steps)


def check_seeds(seeds: Iterable[int], where: str) -> None:
    """Raise `UsageError` for a seed below 0, or from 2**63."""
    for seed in seeds:
        if not 0 <= seed < SEEDS:
            raise UsageError(f"{where}: expected seeds from 0 to 2**63 - 1, found {seed}. Correct it.")


def protocols(base: Protocol, swept: Mapping[str, Sequence[Any]], where: str) -> list[tuple[dict[str, Any], Protocol]]:
    """Every combination of the swept settings of a protocol, the last one varying fastest: (swept values, protocol).

    Raises `UsageError` as `Protocol.parse` does, and where a setting has no value or one value twice.
    """
    return _combinations("protocol", swept, lambda own: Protocol.parse({**base.model_dump(), **own}, where), where)


def variants(
    entry: AlgorithmEntry,
    settings: Mapping[str, Any],
    swept: Mapping[str, Sequence[Any]],
    where: str,
    under: Sequence[tuple[dict[str, Any], Protocol]],
) -> list[Variant]:
    """The variants of an algorithm: the cross product of the swept settings, the last one varying fastest, and of `protocols`.

    A setting that is swept over a single value is not part of the directory's name.

    Raises:
        UsageError: an unknown setting, a value of the wrong type or out of range, no value, or one value twice.
    """
    # In the order of their declaration, so that the directory's name does not depend on the order on the command line.
    names = [field.name for field in dataclasses.fields(entry.algorithm.Config)]
    ordered = dict(sorted(swept.items(), key=lambda item: names.index(item[0]) if item[0] in names else -1))
    found: dict[str, Variant] = {}
    for own, config in _combinations(entry.name, ordered, lambda own: _configure(entry, settings, own, where), where):
        for swept_there, protocol in under:
            directory = _directory(entry.name, {**own, **swept_there})
            if directory in found:
                raise UsageError(
                    f"sweep of {entry.name} in {where}: expected values whose names differ, found two for {directory!r}. "
                    "Run one of them with an --out of its own."
                )
            found[directory] = Variant(entry, config, protocol, directory)
    return list(found.values())


def _combinations(
    section: str, swept: Mapping[str, Sequence[Any]], build: Callable[[dict[str, Any]], Any], where: str
) -> list[tuple[dict[str, Any], Any]]:
    """What `build` makes of every combination, with its values of the settings that have several. Values are compared as
    `build` converts them, so that 1 and 1.0 are equal."""
    for name, values in swept.items():
        if not values:
            raise UsageError(f"sweep of {section}.{name} in {where}: expected values, found none. Name one or more.")
    built = [build(dict(zip(swept, values, strict=True))) for values in itertools.product(*swept.values())]
    stride = len(built)
    for name, values in swept.items():
        stride //= len(values)  # between neighbouring values of this setting, the others at their first values
        converted = [getattr(one, name) for one in built[::stride][: len(values)]]
        for place, value in enumerate(converted):
            if value in converted[:place]:
                raise UsageError(
                    f"sweep of {section}.{name} in {where}: expected different values, found {show(value)} twice. "
                    "Name each value once."
                )
    several = [name for name, values in swept.items() if len(values) > 1]
    return [({name: getattr(one, name) for name in several}, one) for one in built]


def _configure(entry: AlgorithmEntry, settings: Mapping[str, Any], swept: Mapping[str, Any], where: str) -> Any:
    """The algorithm's `Config`; an error about a swept list says how a list is written."""
    try:
        return entry.configure({**settings, **swept}, where)
    except UsageError as error:
        defaults: dict[str, Any] = {item.name: item.default for item in dataclasses.fields(entry.algorithm.Config)}
        for name, value in swept.items():
            if isinstance(defaults.get(name), tuple) and not isinstance(value, (tuple, list)):
                raise UsageError(
                    f"{error} Values separated by commas are a sweep; a list is written {name}={list(defaults[name])}."
                ) from None
        raise


def _directory(algorithm: str, swept: Mapping[str, Any]) -> str:
    """For example `td3_bc,alpha=2.5,hidden=256x256`; a name that other values could have too ends in a hash of the values."""
    parts = {setting: _part(value) for setting, value in swept.items()}
    name = ",".join([file_name(algorithm), *(f"{setting}={text}" for setting, (text, _) in parts.items())])
    exact = all(exact for _, exact in parts.values())
    return bounded_name(name) if exact else hashed_name(name, repr((algorithm, dict(swept))))


def _part(value: Any) -> tuple[str, bool]:
    """A value in a directory's name, and whether no other value is written so. A leading minus stays: it is a sign."""
    if isinstance(value, (tuple, list)):
        flat = not any(isinstance(item, (str, tuple, list)) for item in value)
        return "x".join(_part(item)[0] for item in value), flat and len(value) > 0
    shown = show(value)
    # A word may look like another kind of value.
    exact = fitting(shown) == shown and not (isinstance(value, str) and _NO_WORD.fullmatch(value))
    return fitting(shown), exact
