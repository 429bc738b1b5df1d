"""The training state of a run group, which splits into one checkpoint per run and joins again.

In the state of a vectorized algorithm every tensor with at least one axis has the run axis first; tensors without axes and
Python scalars are shared by all runs. A state with the key `RUNS` holds one independent state per run instead, of any form:
that of single-run algorithms (`PerSeed`).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

RUNS = "__runs__"
_SCALARS = (bool, int, float, str, type(None))


class Stateful:
    """A base class for vectorized algorithms with `state_dict` and `load_state_dict`.

    The state has every attribute that is a parameter or has a `state_dict` (networks, optimizers), and those named in
    `counters`, so no network or optimizer can be forgotten. As in torch, `state_dict` refers to the live tensors, and
    `load_state_dict` copies.
    """

    counters: ClassVar[tuple[str, ...]] = ()

    def state_dict(self) -> dict[str, Any]:
        """Everything that training needs to resume, by attribute name."""
        state: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, nn.Parameter):
                state[name] = value.detach()
            elif hasattr(value, "state_dict"):
                state[name] = value.state_dict()
            elif name in self.counters:
                state[name] = value
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`. Raises ValueError where names or shapes differ."""
        expected = self.state_dict()
        if expected.keys() != state.keys():
            raise ValueError(f"state of {type(self).__name__}: expected {sorted(expected)}, found {sorted(state)}")
        for name, value in state.items():
            own = getattr(self, name)
            if isinstance(own, nn.Parameter):
                if own.shape != value.shape:
                    raise ValueError(f"state at {name}: expected shape {tuple(own.shape)}, found {tuple(value.shape)}")
                with torch.no_grad():
                    own.copy_(value)
            elif hasattr(own, "load_state_dict"):
                own.load_state_dict(copy.deepcopy(value))  # torch's optimizers keep references to the state they load
            else:
                setattr(self, name, value)


def split_state(state: dict[str, Any], runs: int) -> list[dict[str, Any]]:
    """The state of a group of `runs` runs as one state per run, each of which loads into a group of one. Tensors are copies.

    Raises:
        ValueError: a tensor's first axis is not the run axis.
        TypeError: a leaf is neither a tensor nor a Python scalar.
    """
    if RUNS in state:
        if len(state[RUNS]) != runs:
            raise ValueError(f"state at {RUNS}: expected {runs} runs, found {len(state[RUNS])}")
        return [{RUNS: [copy.deepcopy(one)]} for one in state[RUNS]]
    return [_take(state, r, runs, "") for r in range(runs)]


def join_states(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The state of a run group from the states of its runs (or of smaller groups), in their order. Tensors are copies.

    Raises:
        ValueError: the states differ in form, or in what all runs of a group share.
        TypeError: a leaf is neither a tensor nor a Python scalar.
    """
    if not states:
        raise ValueError("no states to join: expected at least one")
    if any(RUNS in state for state in states):
        if not all(RUNS in state for state in states):
            raise ValueError("cannot join states of single-run and of vectorized algorithms")
        return {RUNS: [copy.deepcopy(one) for state in states for one in state[RUNS]]}
    return _join(list(states), "")


def _take(value: Any, r: int, runs: int, path: str) -> Any:
    if isinstance(value, Tensor):
        if value.ndim and value.shape[0] != runs:
            raise ValueError(f"state at {path}: expected {runs} runs on the first axis, found {tuple(value.shape)}")
        return (value[r : r + 1] if value.ndim else value).detach().clone()
    if isinstance(value, dict):
        return {key: _take(item, r, runs, f"{path}/{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_take(item, r, runs, f"{path}/{i}") for i, item in enumerate(value))
    if isinstance(value, _SCALARS):
        return value
    raise TypeError(f"state at {path}: expected a tensor or a Python scalar, found {type(value).__name__}")


def _join(values: list[Any], path: str) -> Any:
    """Joins the values of several states at one `path`."""
    first = values[0]
    # Subclasses of tensors and of dictionaries count as one type.
    types = {Tensor if isinstance(v, Tensor) else dict if isinstance(v, dict) else type(v) for v in values}
    if len(types) > 1:
        found = sorted(one.__name__ for one in types)
        raise ValueError(f"states at {path}: expected one type, found {', '.join(found)}")
    if isinstance(first, Tensor):
        if any(value.shape[1:] != first.shape[1:] or value.ndim != first.ndim for value in values):
            raise ValueError(f"states at {path}: shapes differ, found {[tuple(value.shape) for value in values]}")
        if first.ndim:
            return torch.cat([value.detach() for value in values])
        if any(not torch.allclose(value, first, rtol=0, atol=0, equal_nan=True) for value in values):
            raise ValueError(f"states at {path}: runs disagree about a shared value, found {values}")
        return first.detach().clone()
    if isinstance(first, dict):
        if any(value.keys() != first.keys() for value in values):
            raise ValueError(f"states at {path}: expected the same keys, found {[sorted(map(str, v)) for v in values]}")
        return {key: _join([value[key] for value in values], f"{path}/{key}") for key in first}
    if isinstance(first, list | tuple):
        if any(len(value) != len(first) for value in values):
            raise ValueError(f"states at {path}: expected equal lengths, found {[len(value) for value in values]}")
        return type(first)(_join([value[i] for value in values], f"{path}/{i}") for i in range(len(first)))
    if not isinstance(first, _SCALARS):
        raise TypeError(f"states at {path}: expected tensors or Python scalars, found {type(first).__name__}")
    if any(value != first and (value == value or first == first) for value in values):  # only NaN differs from itself
        raise ValueError(f"states at {path}: runs disagree about a shared value, found {values}")
    return first
