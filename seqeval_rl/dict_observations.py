"""Environments with Dict observations, as algorithms see them: named entries laid end to end in one vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from seqeval_rl.errors import DataError


def concatenate(observations: Mapping[str, Any], keys: Sequence[str], axes: int) -> NDArray[Any]:
    """The named entries, each [*axes, *entry], as one array [*axes, width], in the order of `keys`."""
    entries = [np.asarray(observations[key]) for key in keys]
    return np.concatenate([entry.reshape(*entry.shape[:axes], -1) for entry in entries], axis=-1)


class ConcatenatedKeys(gymnasium.ObservationWrapper[Any, Any, Any], RecordConstructorArgs):
    """An environment whose observation is the named entries of its Dict observation.

    Its `spec` names this wrapper, so that `gymnasium.make` of that makes the same again, in another process too.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], keys: Sequence[str]):
        """Raises `DataError` where the observations are no Dict with Boxes under these names."""
        RecordConstructorArgs.__init__(self, keys=tuple(keys))
        super().__init__(env)
        name, space = getattr(env.spec, "id", type(env).__name__), cast(Any, env.observation_space)
        boxes = [key for key, entry in space.items() if isinstance(entry, Box)] if isinstance(space, Dict) else []
        missing = [key for key in keys if key not in boxes]
        if missing:
            raise DataError(
                f"environment {name!r}: expected observations with a Box named {missing[0]!r}, found "
                f"{', '.join(boxes) or space}. Check that the task names the environment of the log."
            )
        self._keys = tuple(keys)
        low, high = (concatenate({key: getattr(space[key], side) for key in keys}, keys, 0) for side in ("low", "high"))
        self.observation_space = Box(low, high, dtype=low.dtype)

    def observation(self, observation: Any) -> NDArray[Any]:
        """See gymnasium's `ObservationWrapper`."""
        return concatenate(observation, self._keys, 0).astype(self.observation_space.dtype, copy=False)
