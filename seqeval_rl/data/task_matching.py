"""Whether a dataset has the shapes of its task's environment."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Box

from seqeval_rl.data.dataset import Dataset
from seqeval_rl.environments.spaces import (
    GIVE_BOUNDS,
    described_actions,
    discrete_actions,
    environment_spaces,
    unsupported_actions,
)
from seqeval_rl.errors import DataError


def check_environment(dataset: Dataset) -> None:
    """Check that a dataset has the shapes of its task's environment, and that both or neither have images.

    Raises:
        DataError: shapes or kinds of actions differ, the environment's actions are neither discrete nor a bounded box, or the
            task has no environment.
        EnvironmentMissingError: the environment is not installed.
    """
    env_id = dataset.task.environment
    observations, actions = environment_spaces(env_id)
    discrete = discrete_actions(actions)
    if discrete is None and not isinstance(actions, Box):
        raise DataError(f"{dataset.name}: actions of {env_id}: {unsupported_actions(actions)}")
    if dataset.action_classes != (None if discrete is None else discrete[1]):
        raise DataError(
            f"{dataset.name}: has {described_actions(dataset.act_dim, dataset.action_classes)}, expected {actions} as in "
            f"{env_id}. Check that the task names the environment of the dataset."
        )
    compared = [("observations", observations, dataset.obs_shape), ("actions", actions, (dataset.act_dim,))]
    for what, space, found in compared if discrete is None else compared[:1]:
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
    if discrete is None and not (np.isfinite(actions.low).all() and np.isfinite(actions.high).all()):
        raise DataError(f"{dataset.name}: actions of {env_id} have no bounds, expected finite ones. {GIVE_BOUNDS}")
