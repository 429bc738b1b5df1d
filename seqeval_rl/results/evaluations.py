"""A run's evaluations as columns of numbers: a tenth of the memory of the lines of `metrics.jsonl` as dictionaries."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

_COUNTERS = ("evaluation", "transitions", "gradient_steps", "env_steps")
_LABELS = ("phase", "block")
_EPISODES = ("returns", "lengths")


class Evaluations(Sequence[dict[str, Any]]):
    """The evaluations of a run, in order; each item is a new dictionary of the form of a line of `metrics.jsonl`.

    Fields that not every evaluation has are left out, metrics excepted.
    """

    def __init__(self, entries: Iterable[Mapping[str, Any]] = ()):
        """From entries of the form of a line, P of them."""
        lines = list(entries)
        self._length = len(lines)

        def everywhere(names: Iterable[str]) -> list[str]:
            return [name for name in names if lines and all(name in line for line in lines)]

        self._counters = {name: np.array([line[name] for line in lines], np.int64) for name in everywhere(_COUNTERS)}
        self._labels: dict[str, tuple[list[str], NDArray[np.intp]]] = {}
        for name in everywhere(_LABELS):
            codes = {label: code for code, label in enumerate(dict.fromkeys(line[name] for line in lines))}
            self._labels[name] = list(codes), np.array([codes[line[name]] for line in lines], np.intp)
        self._episodes: dict[str, tuple[NDArray[Any], NDArray[np.intp]]] = {}
        for name in everywhere(_EPISODES):
            ends = np.cumsum([len(line[name]) for line in lines], dtype=np.intp)
            self._episodes[name] = np.array([value for line in lines for value in line[name]]), ends
        patterns: dict[tuple[str, ...], list[int]] = {}  # which evaluations have these metrics, in this order
        for place, line in enumerate(lines):
            patterns.setdefault(tuple(line["metrics"]), []).append(place)
        names = dict.fromkeys(name for pattern in patterns for name in pattern)
        self._metrics = {name: np.full(self._length, np.nan) for name in names}
        self._recorded = {name: np.zeros(self._length, np.bool_) for name in names}  # a recorded number may be NaN
        for pattern, places in patterns.items():
            values = np.array([tuple(lines[place]["metrics"].values()) for place in places], np.float64)
            for name, column in zip(pattern, values.T, strict=True):
                self._metrics[name][places] = column
                self._recorded[name][places] = True

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics that any evaluation has."""
        return list(self._metrics)

    def metric(self, name: str) -> NDArray[np.float64]:
        """The metric [P], NaN at evaluations that do not have it."""
        found = self._metrics.get(name)
        return np.full(self._length, np.nan) if found is None else found.copy()

    def recorded(self, name: str) -> NDArray[np.bool_]:
        """Which evaluations have the metric [P], be it a finite number or not."""
        found = self._recorded.get(name)
        return np.zeros(self._length, np.bool_) if found is None else found.copy()

    def counter(self, name: str) -> NDArray[np.int64]:
        """`transitions`, `gradient_steps`, `env_steps` or `evaluation` [P]. Raises `KeyError` where they were not recorded."""
        return self._counters[name].copy()

    def labels(self, name: str) -> list[str]:
        """`phase` or `block` of each evaluation. Raises `KeyError` where they were not recorded."""
        names, codes = self._labels[name]
        return [names[code] for code in codes]

    def with_metrics(self, metrics: Mapping[str, NDArray[np.float64]]) -> Evaluations:
        """The same evaluations with more metrics, each [P] with NaN where an evaluation does not have it."""
        more = copy.copy(self)
        more._metrics = self._metrics | dict(metrics)
        more._recorded = self._recorded | {name: ~np.isnan(values) for name, values in metrics.items()}
        return more

    def take(self, places: NDArray[np.intp]) -> Evaluations:
        """Some of the evaluations, by their places, without the returns and lengths of their episodes."""
        part = copy.copy(self)
        part._length, part._episodes = len(places), {}
        part._counters = {name: column[places] for name, column in self._counters.items()}
        part._labels = {name: (names, codes[places]) for name, (names, codes) in self._labels.items()}
        part._metrics = {name: column[places] for name, column in self._metrics.items()}
        part._recorded = {name: mask[places] for name, mask in self._recorded.items()}
        return part

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, place: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, place: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        places = range(self._length)[place]
        return [self._entry(each) for each in places] if isinstance(places, range) else self._entry(places)

    def __eq__(self, other: object) -> bool:
        """Whether `other` is a sequence of equal entries."""
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{self._length} evaluations of {len(self._metrics)} metrics>"

    def _entry(self, place: int) -> dict[str, Any]:
        entry: dict[str, Any] = {name: int(column[place]) for name, column in self._counters.items()}
        entry |= {name: names[codes[place]] for name, (names, codes) in self._labels.items()}
        recorded = (name for name, mask in self._recorded.items() if mask[place])
        entry["metrics"] = {name: float(self._metrics[name][place]) for name in recorded}
        for name, (flat, ends) in self._episodes.items():
            entry[name] = flat[(ends[place - 1] if place else 0) : ends[place]].tolist()
        return entry
