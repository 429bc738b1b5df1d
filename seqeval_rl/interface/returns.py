"""What an algorithm's methods must return: one validation for `seqeval check` and for the first calls of a run."""

from __future__ import annotations

import inspect
import numbers
import re
from collections.abc import Set
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqeval_rl.errors import RunError

ROUNDING = 1e-4  # how far beyond [-1, 1] an action may be; the harness clips it
RESERVED = ("prequential/", "online/")  # begin the names of the harness's own metrics


class WrongReturn(RunError):
    """A method returns something other than the contract says."""

    def __init__(self, algorithm: Any, method: str, expected: str, found: str, remedy: str):
        self.fault = type(algorithm).__qualname__, method, re.sub("[0-9]+", "", expected)
        """What is wrong, without numbers: equal for two errors about one fault."""
        place = _place(algorithm, method)
        super().__init__(f"{type(algorithm).__name__}.{method}{place}: expected {expected}, found {found}. {remedy}.")


def check_metrics(algorithm: Any, metrics: Any, shape: tuple[int, ...], names: Set[str] | None = None) -> None:
    """Check what `update` returns: at the first call all of it, later, given the `names` of the first, that these are the same.

    Args:
        algorithm: a vectorized algorithm, or an instance of a single-run one.
        metrics: what its `update` returned.
        shape: (R,) of a vectorized algorithm, whose metrics are detached tensors; () of a single-run one, whose metrics may be
            numbers too, and have a gradient.
        names: of the metrics of its first update; None: this is the first.

    Raises:
        WrongReturn: it is not a dictionary of such metrics.
    """
    if names is not None and isinstance(metrics, dict) and metrics.keys() == names:
        return
    like = "Return a dictionary such as {'critic/loss': loss.detach()}"
    if not isinstance(metrics, dict):
        raise WrongReturn(algorithm, "update", "a dictionary of metrics", describe(metrics), like)
    if names is not None:
        other = ", ".join(sorted(map(str, metrics.keys() ^ names)))
        remedy = "Keep the last value of a metric that is not computed at every update, and return it"
        raise WrongReturn(algorithm, "update", "the same metrics at every update", f"{other} in some only", remedy)
    if not metrics:
        raise WrongReturn(algorithm, "update", "at least one metric, such as actor/loss", "none", like)
    for name, value in metrics.items():
        if not isinstance(name, str) or "/" not in name or name.startswith(RESERVED):
            expected = f"names like critic/loss, with a slash, that do not begin with {' or '.join(RESERVED)}"
            raise WrongReturn(algorithm, "update", expected, repr(name), "Rename the metric")
        _check_metric(algorithm, name, value, shape)


def _check_metric(algorithm: Any, name: str, value: Any, shape: tuple[int, ...]) -> None:
    if not shape:
        if not (
            isinstance(value, (numbers.Number, np.ndarray, np.generic, Tensor)) and torch.as_tensor(value).numel() == 1
        ):
            expected = f"one number as the metric {name} (this is a single-run algorithm, vectorized = False)"
            raise WrongReturn(algorithm, "update", expected, describe(value), "Return its mean over the batch")
        return
    expected = f"the metric {name} to be a tensor of shape {shape}, one number per run"
    if not isinstance(value, Tensor) or value.shape != shape:
        remedy = "Average over the other axes, or, if update sees one run alone, set vectorized = False"
        raise WrongReturn(algorithm, "update", expected, describe(value), remedy)
    if value.requires_grad:
        expected = f"the metric {name} to be a detached tensor"
        raise WrongReturn(algorithm, "update", expected, "one with a gradient", "Return it with .detach()")


def check_actions(
    algorithm: Any, actions: Any, shape: tuple[int, ...], bounded: bool, action_classes: int | None = None
) -> None:
    """Check what `act` returns: a tensor of this shape, and, if it is to be `bounded`, in [-1, 1]; NaN is left to the evaluation.
    Of discrete actions, of which there are `action_classes`: int64 of that shape without its last axis, from 0 on.

    Raises:
        WrongReturn: it is not.
    """
    if action_classes is not None:
        _check_classes(algorithm, actions, shape[:-1], bounded, action_classes)
        return
    if not isinstance(actions, Tensor) or actions.shape != shape:
        axes = (
            "[R, E, act_dim]"
            if len(shape) == 3
            else "[E, act_dim] (this is a single-run algorithm, vectorized = False)"
        )
        expected = f"a tensor of shape {shape}, {axes}"
        remedy = "Return one action for each observation" if isinstance(actions, Tensor) else "Return a torch tensor"
        raise WrongReturn(algorithm, "act", expected, describe(actions), remedy)
    if bounded:
        finite = actions.detach()[actions.isfinite()]
        largest = float(finite.abs().max()) if len(finite) else 0.0
        if largest > 1 + ROUNDING:
            remedy = "End the policy in tanh, or clamp what it returns"
            raise WrongReturn(algorithm, "act", "actions in [-1, 1]", f"{largest:.4g}", remedy)


def _check_classes(algorithm: Any, actions: Any, shape: tuple[int, ...], bounded: bool, classes: int) -> None:
    if not isinstance(actions, Tensor) or actions.shape != shape or actions.dtype != torch.int64:
        axes = "[R, E]" if len(shape) == 2 else "[E] (this is a single-run algorithm, vectorized = False)"
        found = f"{actions.dtype} of shape {tuple(actions.shape)}" if isinstance(actions, Tensor) else describe(actions)
        remedy = "Return the number of one action for each observation, such as q.argmax(-1)"
        raise WrongReturn(algorithm, "act", f"an int64 tensor of shape {shape}, {axes}", found, remedy)
    if bounded and actions.numel():
        low, high = int(actions.min()), int(actions.max())
        if low < 0 or high >= classes:
            expected = f"discrete actions from 0 to {classes - 1}"
            raise WrongReturn(algorithm, "act", expected, str(low if low < 0 else high), "Clamp what it returns")


def check_numbers(algorithm: Any, hook: str, found: Any, shape: tuple[int, ...]) -> None:
    """Check what `values` or `log_prob` returns: a detached tensor of this shape. Raises `WrongReturn`."""
    if not isinstance(found, Tensor) or found.shape != shape:
        expected = f"a tensor of shape {shape}, one number per transition"
        raise WrongReturn(
            algorithm, hook, expected, describe(found), "Squeeze its last axis, or sum over the action's dimensions"
        )
    if found.requires_grad:
        raise WrongReturn(
            algorithm, hook, "a detached tensor", "one with a gradient", "Decorate it with @torch.no_grad()"
        )


def describe(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, Tensor):
        return f"tensor of shape {tuple(value.shape)}"
    if isinstance(value, np.ndarray):
        return f"numpy array of shape {value.shape}"
    if isinstance(value, dict):
        return f"keys {sorted(map(str, value))}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _place(algorithm: Any, method: str) -> str:
    """File and line of the method's definition, in brackets; empty where it has none."""
    code = getattr(inspect.unwrap(getattr(type(algorithm), method, None) or len), "__code__", None)
    return "" if code is None else f" ({code.co_filename}, line {code.co_firstlineno})"
