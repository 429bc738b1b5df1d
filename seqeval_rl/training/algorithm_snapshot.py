"""Copies of an algorithm's state, and what a gradient step changes in it: whether a CUDA graph can repeat that step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqeval_rl.interface.algorithm import Algorithm
from seqeval_rl.interface.state import join_states, split_state


class Snapshot(NamedTuple):
    """An algorithm at one time."""

    states: list[dict[str, Any]]  # by run, copied
    counters: tuple[Any, ...]
    tensors: dict[str, Tensor]  # attributes of the algorithm itself: the same objects, not copies


class AlgorithmSnapshots:
    """Copies, compares and restores the state of one algorithm.

    A CUDA graph repeats the operations on tensors but no Python: numbers that `update` changes in Python keep their value, and
    a tensor that replaces another as an attribute is never written again. `algorithm.counters` (see `state.Stateful`) names the
    numbers that the caller can set by hand.
    """

    def __init__(self, algorithm: Algorithm, runs: int):
        """For an algorithm of `runs` runs."""
        self._algorithm, self._runs = algorithm, runs
        self.names: tuple[str, ...] = tuple(getattr(algorithm, "counters", ()))

    @property
    def counters(self) -> tuple[Any, ...]:
        """The counters' values now; can be set."""
        return tuple(getattr(self._algorithm, name) for name in self.names)

    @counters.setter
    def counters(self, values: Sequence[Any]) -> None:
        for name, value in zip(self.names, values, strict=True):
            setattr(self._algorithm, name, value)

    def take(self) -> Snapshot:
        """The algorithm now."""
        tensors = {name: value for name, value in vars(self._algorithm).items() if isinstance(value, Tensor)}
        return Snapshot(split_state(self._algorithm.state_dict(), self._runs), self.counters, tensors)

    def restore(self, before: Snapshot) -> None:
        """Give the algorithm that state again."""
        for name, tensor in before.tensors.items():
            setattr(self._algorithm, name, tensor)
        self._algorithm.load_state_dict(join_states(before.states))

    def python_changes(self, before: Snapshot, counters: bool) -> str:
        """In words, what has changed in Python since then, with `counters` including these; empty where nothing has."""
        now = self.take()
        changed = [name for name in _differing(before.states[0], now.states[0]) if counters or name not in self.names]
        replaced = [name for name, tensor in now.tensors.items() if tensor is not before.tensors.get(name)]
        if changed:
            return f"its state in Python changes: {', '.join(changed)}"
        return f"its tensors are replaced by others: {', '.join(replaced)}" if replaced else ""


def _differing(before: Any, after: Any, path: str = "") -> list[str]:
    """Paths at which two states of one form differ in something that the device does not change: also tensors on the CPU, which
    operations change at once, captured or not."""
    if isinstance(before, Tensor):
        same = before.device.type != "cpu" or torch.allclose(before, after, rtol=0, atol=0, equal_nan=True)
        return [] if same else [path]
    if isinstance(before, dict):
        return [leaf for key in before for leaf in _differing(before[key], after[key], f"{path}/{key}".strip("/"))]
    if isinstance(before, list | tuple):
        pairs = enumerate(zip(before, after, strict=True))
        return [leaf for i, (one, other) in pairs for leaf in _differing(one, other, f"{path}/{i}".strip("/"))]
    return [] if before == after else [path]
