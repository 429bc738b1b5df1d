"""What a graph of an algorithm's updates does not repeat: state in Python, and which tensors the algorithm has.

A graph repeats operations on the tensors that there were. A counter would stand still; an attribute that is given another
tensor in each update would be read where it was once.
"""

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
    tensors: dict[str, Tensor]  # that are attributes of the algorithm itself: the very ones


class Watch:
    """Looks at one algorithm before and after its Python has run."""

    def __init__(self, algorithm: Algorithm, runs: int):
        """For a stack of `runs` runs. What `algorithm.counters` names (see `state.Stateful`) can be moved on by hand."""
        self._algorithm, self._runs = algorithm, runs
        self.names: tuple[str, ...] = tuple(getattr(algorithm, "counters", ()))

    @property
    def counters(self) -> tuple[Any, ...]:
        """Their values now, which can be set."""
        return tuple(getattr(self._algorithm, name) for name in self.names)

    @counters.setter
    def counters(self, values: Sequence[Any]) -> None:
        for name, value in zip(self.names, values, strict=True):
            setattr(self._algorithm, name, value)

    def snapshot(self) -> Snapshot:
        """The algorithm now."""
        tensors = {name: value for name, value in vars(self._algorithm).items() if isinstance(value, Tensor)}
        return Snapshot(split_state(self._algorithm.state_dict(), self._runs), self.counters, tensors)

    def changed(self, before: Snapshot, counters: bool) -> str:
        """In words, what is different in Python since then; with `counters` these too. Empty where nothing is."""
        now = self.snapshot()
        moved = [name for name in _moved(before.states[0], now.states[0]) if counters or name not in self.names]
        replaced = [name for name, tensor in now.tensors.items() if tensor is not before.tensors.get(name)]
        if moved:
            return f"its state in Python changes: {', '.join(moved)}"
        return f"its tensors are replaced by others: {', '.join(replaced)}" if replaced else ""

    def restore(self, before: Snapshot) -> None:
        """Make the algorithm again what it was."""
        for name, tensor in before.tensors.items():
            setattr(self._algorithm, name, tensor)
        self._algorithm.load_state_dict(join_states(before.states))


def _moved(before: Any, after: Any, path: str = "") -> list[str]:
    """Where two states of one form differ in something that the device does not change: also tensors on the CPU, which
    operations change at once, captured or not."""
    if isinstance(before, Tensor):
        same = before.device.type != "cpu" or torch.allclose(before, after, rtol=0, atol=0, equal_nan=True)
        return [] if same else [path]
    if isinstance(before, dict):
        return [place for key in before for place in _moved(before[key], after[key], f"{path}/{key}".strip("/"))]
    if isinstance(before, list | tuple):
        pairs = enumerate(zip(before, after, strict=True))
        return [place for i, (one, other) in pairs for place in _moved(one, other, f"{path}/{i}".strip("/"))]
    return [] if before == after else [path]
