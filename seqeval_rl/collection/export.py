"""Exports a policy for use without this package: as TorchScript or ONNX, with its normalization and the units of actions."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seqeval_rl.collection.collect import play, policy_behavior
from seqeval_rl.collection.policy import Policy
from seqeval_rl.errors import DataError, UsageError, unknown, writing
from seqeval_rl.utils.files import atomic_path
from seqeval_rl.utils.text import one_line

FORMATS = {"torchscript": ".pt", "onnx": ".onnx"}  # with the endings of their files
TOLERANCE = 1e-5  # of actions on the scale of [-1, 1]
_OBSERVATIONS = 1000  # that the file is checked on, at most
Act = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class ExportedPolicy(nn.Module):
    """What is exported: raw observations float32 [B, *obs_shape] to actions float32 [B, act_dim] in the environment's units, of
    discrete actions int64 [B]."""

    low: Tensor
    high: Tensor

    def __init__(self, policy: Policy):
        super().__init__()
        self._policy = policy
        self._whole = policy.shapes.action_dtype.kind in "iu"
        self._discrete = policy.shapes.action_classes is not None
        low, high = policy.shapes.action_low, policy.shapes.action_high
        self.register_buffer("low", torch.from_numpy(low).float())
        self.register_buffer("high", torch.from_numpy(high).float())

    def forward(self, observations: Tensor) -> Tensor:
        """See the class."""
        if self._discrete:
            return (self._policy.scaled_actions(observations) + self.low).round().long().squeeze(-1)
        scaled = self._policy.scaled_actions(observations).clamp(-1.0, 1.0)
        actions = self.low + (scaled + 1.0) / 2.0 * (self.high - self.low)
        return torch.minimum(torch.maximum(actions.round() if self._whole else actions, self.low), self.high)


def export_policy(policy: Policy, path: Path, format: str) -> float:
    """Write the policy to a file, and check it against the policy on observations of episodes that this plays.

    Args:
        policy: acts greedily.
        path: where to.
        format: `torchscript`, or `onnx`, which needs the extra `onnx`.

    Returns:
        The largest difference of the file's actions and the policy's, on the scale of [-1, 1].

    Raises:
        UsageError: another format, or the extra is not installed.
        DataError: the file's actions differ by more than `TOLERANCE`, or the policy cannot be exported; nothing is written.
        FileError: the file cannot be written.
        EnvironmentFailedError: the environment failed.
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS, "--export")
    runtime = _onnxruntime() if format == "onnx" else None
    behavior = policy_behavior(policy, policy.description, "export", explore=False)
    episode = next(play(behavior, policy.seed, 1, policy.max_episode_steps, together=1))
    observations = episode.observations[:_OBSERVATIONS].astype(np.float32)
    with writing(path, "Choose another --out."), atomic_path(path) as temporary:
        try:
            _write(policy, temporary, format, torch.from_numpy(observations))
            act = _torchscript(temporary) if runtime is None else _onnx(runtime, temporary)
            # One at a time too: what was recorded may hold for one number of observations only.
            found = np.concatenate([act(observations), act(observations[:1])])
        except (OSError, MemoryError):
            raise
        except Exception as error:  # torch and onnxruntime raise anything
            raise DataError(
                f"{policy.description}: cannot be exported as {format} ({one_line(error)}). Its `act` must consist of torch's "
                "operations."
            ) from error
        expected = np.concatenate([policy(observations), policy(observations[:1])])
        half = (policy.shapes.action_high - policy.shapes.action_low) / 2
        same_shape = found.shape == expected.shape  # a trace may have kept a number of observations
        difference = float(np.max(np.abs(found - expected) / half)) if same_shape else np.inf
        if not difference <= TOLERANCE:
            raise DataError(
                f"{path}: expected the policy's actions to within {TOLERANCE:g}, found a difference of {difference:.2g}; nothing "
                "is written. An `act` that draws random numbers, or branches on values, cannot be exported."
            )
    return difference


def _write(policy: Policy, path: Path, format: str, observations: Tensor) -> None:
    # torch refuses constants with a gradient; a policy that acts needs none.
    for tensor in _tensors(policy.__dict__, set()):
        tensor.requires_grad_(False)
    with warnings.catch_warnings():
        # Both writers are deprecated in favor of torch.export, whose ONNX writer is ten times slower and needs more packages.
        # What a trace does not record is found by the check.
        warnings.simplefilter("ignore")
        module = ExportedPolicy(policy).eval()
        if format == "torchscript":
            torch.jit.trace(module, (observations,), check_trace=False).save(str(path))
            return
        axes = {name: {0: "batch"} for name in ("observations", "actions")}
        torch.onnx.export(
            module, (observations,), str(path), dynamo=False, dynamic_axes=axes,
            input_names=["observations"], output_names=["actions"],
        )  # fmt: skip


def _tensors(value: Any, seen: set[int]) -> list[Tensor]:
    """Every leaf tensor in an object, its attributes and its containers."""
    if id(value) in seen or isinstance(value, type):
        return []
    seen.add(id(value))
    if isinstance(value, Tensor):
        return [value] if value.is_leaf and value.requires_grad else []
    parts = list(value.values()) if isinstance(value, dict) else list(value) if isinstance(value, (list, tuple)) else []
    return [tensor for part in [*parts, *getattr(value, "__dict__", {}).values()] for tensor in _tensors(part, seen)]


def _torchscript(path: Path) -> Act:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.load(str(path))

    def act(observations: NDArray[np.float32]) -> NDArray[np.float32]:
        actions: NDArray[np.float32] = module(torch.from_numpy(observations)).detach().numpy()
        return actions

    return act


def _onnxruntime() -> Any:
    try:
        import onnx  # noqa: F401, which torch's writer needs
        import onnxruntime
    except ImportError:
        raise UsageError(
            "--export onnx: expected the packages onnx and onnxruntime, which write and check the file, found only one or none. "
            "pip install 'seqeval-rl[onnx]', or export torchscript."
        ) from None
    return onnxruntime


def _onnx(runtime: Any, path: Path) -> Act:
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def act(observations: NDArray[np.float32]) -> NDArray[np.float32]:
        actions: NDArray[np.float32] = session.run(None, {"observations": observations})[0]
        return actions

    return act
