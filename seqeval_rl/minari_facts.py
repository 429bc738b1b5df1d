"""What a Minari dataset says of itself: its spaces, the environment to evaluate in, its task."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import DataError, UsageError, unknown
from seqeval_rl.log_environment import task_of_log


def check_spaces(name: str, source: Any, keys: Sequence[str]) -> None:
    """Check that observations are a Box, or a Dict with Boxes under `keys`, and actions a Box.

    Raises:
        UsageError: keys that are not there, or that are not needed.
        DataError: other spaces, or a Dict and no keys.
    """
    from gymnasium.spaces import Box, Dict

    observations, actions = source.observation_space, source.action_space
    if not isinstance(actions, Box):
        raise DataError(f"{name}: expected actions in a Box, found {actions}. Such datasets are not supported.")
    if isinstance(observations, Box):
        if keys:
            raise UsageError(f"dataset {name}: expected no '@', found one: observations are one Box. Leave it out.")
        return
    if not isinstance(observations, Dict):
        raise DataError(
            f"{name}: expected observations in a Box, found {observations}. Such datasets are not supported."
        )
    boxes = [key for key, space in observations.items() if isinstance(space, Box)]
    if not keys:
        raise DataError(
            f"{name}: expected observations in a Box, found a Dict with {', '.join(observations)}. Name the entries that are "
            f"to be seen, end to end in that order, for example {'@'.join([name, *boxes[:2]])}."
        )
    for key in keys:
        if key not in boxes:
            raise unknown("observation", key, boxes, f"dataset {name}")
    if len(set(keys)) < len(keys):
        raise UsageError(f"dataset {name}: expected each entry once, found {', '.join(keys)}. Leave the second out.")


def _evaluation_spec(name: str, source: Any) -> Any:
    """Gymnasium's `EnvSpec` of the environment to evaluate in, as `recover_environment(eval_env=True)` has it, or None."""
    from gymnasium.envs.registration import EnvSpec

    text = source.storage.metadata.get("eval_env_spec")
    if text is None:
        return source.env_spec
    try:
        fields = json.loads(text)
        known = {field.name for field in dataclasses.fields(EnvSpec)}
        # Older versions of gymnasium had fields that newer ones refuse.
        return EnvSpec.from_json(json.dumps({key: value for key, value in fields.items() if key in known}))
    except Exception as error:  # whatever text that is no such JSON leads to
        raise DataError(
            f"{name}: expected eval_env_spec in its metadata to be an EnvSpec, found {type(error).__name__}. Get it again."
        ) from error


def task_of(name: str, source: Any, keys: tuple[str, ...], task: Task | None) -> Task:
    """The given task, or the one that the metadata tell, with the environment as the dataset has it.

    Raises:
        DataError: nothing tells the environment or the reference returns.
    """
    import gymnasium

    how = "Give a task: env_id, reference_min and reference_max."
    spec, metadata = _evaluation_spec(name, source), source.storage.metadata
    env_spec = ""
    if spec is not None:
        registered = gymnasium.registry.get(spec.id)
        same = registered is not None and _settings(registered) == _settings(spec)
        env_spec = "" if same else spec.to_json()
    if task is None:
        env_id = None if spec is None else spec.id
        low, high = metadata.get("ref_min_score"), metadata.get("ref_max_score")
        return task_of_log(name, env_id, low, high, how, env_spec, keys)
    if task.env_id is not None and keys:
        task = replace(task, obs_keys=task.obs_keys or keys)
    if spec is not None and task.env_id == spec.id:
        task = replace(task, env_spec=task.env_spec or env_spec)
    return task


def _settings(spec: Any) -> tuple[str, int | None, str]:
    return json.dumps(spec.kwargs, default=str, sort_keys=True), spec.max_episode_steps, str(spec.additional_wrappers)
