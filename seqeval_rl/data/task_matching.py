"""Matches a dataset with an environment: finds its task, and checks that their shapes agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from seqeval_rl.environments.spaces import environment_spaces
from seqeval_rl.environments.tasks import TASKS, Task
from seqeval_rl.errors import DataError

if TYPE_CHECKING:
    from seqeval_rl.data.dataset import Dataset


def check_environment(dataset: Dataset) -> None:
    """Check that a dataset has the shapes of its task's environment, and that both or neither have images.

    Raises:
        DataError: shapes differ, the environment's actions are not a bounded box, or the task has no environment.
        EnvironmentMissingError: the environment is not installed.
    """
    from gymnasium.spaces import Box

    env_id = dataset.task.environment
    observations, actions = environment_spaces(env_id)
    for what, space, found in (
        ("observations", observations, dataset.obs_shape),
        ("actions", actions, (dataset.act_dim,)),
    ):
        if not isinstance(space, Box):
            raise DataError(f"{dataset.name}: {what} of {env_id} are {space}, expected a Box. Use another environment.")
        if space.shape != found:
            raise DataError(
                f"{dataset.name}: {what} have shape {found}, expected {space.shape} as in {env_id}. "
                "Check that the task names the environment of the dataset."
            )
    if (dataset.pixels is not None) != (observations.dtype == np.uint8 and len(observations.shape) > 1):
        kind = "float32" if dataset.pixels is None else "uint8"
        raise DataError(
            f"{dataset.name}: observations are {kind}, expected {observations.dtype} as in {env_id}. Dataset and environment "
            "must both have images from 0 to 255, or neither."
        )
    if not (np.isfinite(actions.low).all() and np.isfinite(actions.high).all()):
        raise DataError(f"{dataset.name}: actions of {env_id} have no bounds, expected finite ones to scale by.")


def task_of_dataset(
    name: str,
    env_id: str | None,
    reference_min: float | None,
    reference_max: float | None,
    how: str,
    env_spec: str = "",
    obs_keys: tuple[str, ...] = (),
) -> Task:
    """The task of a dataset, from what the data say.

    Args:
        name: of the dataset.
        env_id: the environment that it was logged in, if it says so.
        reference_min: its reference return of a random policy, if it has one.
        reference_max: that of an expert.
        how: what to do where something is missing.
        env_spec: see `Task`; no task is known for settings of their own.
        obs_keys: see `Task`.

    Raises:
        DataError: no environment, or no reference returns and no known task with that environment.
    """
    if env_id is None:
        raise DataError(f"{name}: expected an environment, found none. {how}")
    special = bool(env_spec or obs_keys)
    known = None if special else next((task for task in TASKS.values() if task.env_id == env_id), None)
    if reference_min is None and reference_max is None and known is not None:
        return known
    if reference_min is None or reference_max is None:
        found = f"{reference_min} and {reference_max}"
        raise DataError(f"{name}: expected both reference returns for {env_id}, found {found}. {how}")
    if known is not None and (known.reference_min, known.reference_max) == (reference_min, reference_max):
        return known
    return Task(env_id, env_id, float(reference_min), float(reference_max), env_spec, obs_keys)
