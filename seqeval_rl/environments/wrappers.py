"""Wrappers of Gymnasium environments: entries of Dict observations as one vector, and other bounds of actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from seqeval_rl.environments.tasks import Bound
from seqeval_rl.errors import DataError


def concatenate(observations: Mapping[str, Any], keys: Sequence[str], axes: int) -> NDArray[Any]:
    """The named entries, each [*axes, *entry], as one array [*axes, width], in the order of `keys`."""
    entries = [np.asarray(observations[key]) for key in keys]
    return np.concatenate([entry.reshape(*entry.shape[:axes], -1) for entry in entries], axis=-1)


class ConcatenatedKeys(gymnasium.ObservationWrapper[Any, Any, Any], RecordConstructorArgs):
    """An environment whose observation is the named entries of its Dict observation.

    Its `spec` includes this wrapper, so that `gymnasium.make(spec)` opens the same environment, in another process too.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], keys: Sequence[str]):
        """Raises `DataError` where the observations are not a Dict with Boxes under these names."""
        RecordConstructorArgs.__init__(self, keys=tuple(keys))
        super().__init__(env)
        name, space = getattr(env.spec, "id", type(env).__name__), cast(Any, env.observation_space)
        boxes = [key for key, entry in space.items() if isinstance(entry, Box)] if isinstance(space, Dict) else []
        missing = [key for key in keys if key not in boxes]
        if missing:
            raise DataError(
                f"environment {name!r}: expected observations with a Box named {missing[0]!r}, found "
                f"{', '.join(boxes) or space}. Check that the task names the environment of the dataset."
            )
        self._keys = tuple(keys)
        low, high = (concatenate({key: getattr(space[key], side) for key in keys}, keys, 0) for side in ("low", "high"))
        self.observation_space = Box(low, high, dtype=low.dtype)

    def observation(self, observation: Any) -> NDArray[Any]:
        """See gymnasium's `ObservationWrapper`."""
        return concatenate(observation, self._keys, 0).astype(self.observation_space.dtype, copy=False)


class BoundedActions(gymnasium.ActionWrapper[Any, Any, Any], RecordConstructorArgs):
    """An environment with these bounds of actions in place of its own, to which it clips what it is given.

    As with `ConcatenatedKeys`, its `spec` includes this wrapper.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], low: Bound, high: Bound):
        """None: its own bound. Raises `DataError` where the actions are not a Box with as many dimensions."""
        RecordConstructorArgs.__init__(self, low=low, high=high)
        super().__init__(env)
        name, space = getattr(env.spec, "id", type(env).__name__), cast(Any, env.action_space)
        if not isinstance(space, Box):
            raise DataError(f"environment {name!r}: expected a Box of actions to give bounds to, found {space}.")
        given = [space.low if low is None else low, space.high if high is None else high]
        try:
            lower, upper = (np.broadcast_to(np.asarray(bound, space.dtype), space.shape) for bound in given)
        except ValueError:
            raise DataError(
                f"environment {name!r}: expected one number or {space.shape} of them as a bound of actions, found {low} and "
                f"{high}. Correct action_low and action_high."
            ) from None
        self._own: Any = space
        self.action_space = Box(cast(Any, lower), cast(Any, upper), dtype=cast(Any, space.dtype))

    def action(self, action: Any) -> NDArray[Any]:
        """See gymnasium's `ActionWrapper`."""
        return np.clip(action, self._own.low, self._own.high).astype(self._own.dtype, copy=False)
