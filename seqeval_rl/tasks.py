"""Tasks: an environment and the reference returns that turn its returns into scores.

A task names its environment id and its reference returns, so that results of different versions are never mixed silently.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from seqeval_rl.errors import DataError, unknown

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class EnvironmentSource:
    """An environment that an id alone does not tell; whatever opens environments takes one in place of an id."""

    env_id: str
    spec: str = ""  # gymnasium's `EnvSpec` as JSON; empty: the one that is registered
    obs_keys: tuple[str, ...] = ()  # entries of its Dict observations that are seen, end to end in this order

    def __str__(self) -> str:
        return self.env_id

    def __repr__(self) -> str:
        return repr(self.env_id)


@dataclass(frozen=True)
class Task:
    """What a log is about: `score = 100 (return - reference_min) / (reference_max - reference_min)`."""

    name: str  # for example "hopper"
    env_id: str | None  # gymnasium's id, for example "Hopper-v5"; None for a log without an environment
    reference_min: float  # return of a random policy
    reference_max: float  # return of an expert
    env_spec: str = ""  # gymnasium's `EnvSpec` as JSON, for an environment with other settings than that id's
    obs_keys: tuple[str, ...] = ()  # for Dict observations: the entries that are seen, end to end in this order

    def __post_init__(self) -> None:
        object.__setattr__(self, "obs_keys", tuple(self.obs_keys))  # from JSON it comes as a list
        if not (
            np.isfinite([self.reference_min, self.reference_max]).all() and self.reference_max > self.reference_min
        ):
            raise DataError(
                f"task {self.name!r}: expected finite reference returns with reference_min < reference_max, found "
                f"{self.reference_min} and {self.reference_max}. Give the returns of a random and of an expert policy."
            )

    def score(self, returns: ArrayLike) -> NDArray[np.float64]:
        """Normalised scores of `returns`, any shape; 0 is the reference minimum, 100 the maximum."""
        span = self.reference_max - self.reference_min
        return 100.0 * (np.asarray(returns, np.float64) - self.reference_min) / span

    @property
    def environment(self) -> str | EnvironmentSource:
        """What opens its environment: the id where that tells everything.

        Raises:
            DataError: it has none.
        """
        if self.env_id is None:
            raise DataError(
                f"task {self.name!r}: expected an environment, found a log without one. Give a task with an env_id."
            )
        if self.env_spec or self.obs_keys:
            return EnvironmentSource(self.env_id, self.env_spec, self.obs_keys)
        return self.env_id

    def as_dict(self) -> dict[str, Any]:
        """The fields, for manifests; those that few tasks have only where they are set."""
        fields = asdict(self)
        return {key: value for key, value in fields.items() if value or key not in ("env_spec", "obs_keys")}


# Reference returns of D4RL's locomotion tasks (Fu et al., 2020), used on the v5 environments for want of others.
TASKS = {
    task.name: task
    for task in (
        Task("hopper", "Hopper-v5", -20.272305, 3234.3),
        Task("halfcheetah", "HalfCheetah-v5", -280.178953, 12135.0),
        Task("walker2d", "Walker2d-v5", 1.629008, 4592.3),
        Task("ant", "Ant-v5", -325.6, 3879.7),
    )
}


def task_named(name: str, where: str = "") -> Task:
    """The task of that name; raises `UsageError` with the nearest names."""
    if name not in TASKS:
        raise unknown("task", name, TASKS, where)
    return TASKS[name]
