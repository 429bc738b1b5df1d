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
    """An environment that its id alone does not determine; functions that open environments accept it in place of an id."""

    env_id: str
    spec: str = ""  # gymnasium's `EnvSpec` as JSON; empty: the registered one
    obs_keys: tuple[str, ...] = ()  # entries of its Dict observations, concatenated in this order

    def __str__(self) -> str:
        return self.env_id

    def __repr__(self) -> str:
        return repr(self.env_id)


@dataclass(frozen=True)
class Task:
    """An environment and its reference returns: `score = 100 (return - reference_min) / (reference_max - reference_min)`."""

    name: str  # for example "hopper"
    env_id: str | None  # gymnasium's id, for example "Hopper-v5"; None for a dataset without an environment
    reference_min: float  # return of a random policy
    reference_max: float  # return of an expert
    env_spec: str = ""  # gymnasium's `EnvSpec` as JSON, for settings that differ from the registered ones
    obs_keys: tuple[str, ...] = ()  # for Dict observations: the entries, concatenated in this order

    def __post_init__(self) -> None:
        object.__setattr__(self, "obs_keys", tuple(self.obs_keys))  # a list when read from JSON
        if not (
            np.isfinite([self.reference_min, self.reference_max]).all() and self.reference_max > self.reference_min
        ):
            raise DataError(
                f"task {self.name!r}: expected finite reference returns with reference_min < reference_max, found "
                f"{self.reference_min} and {self.reference_max}. Give the returns of a random and of an expert policy."
            )

    def score(self, returns: ArrayLike) -> NDArray[np.float64]:
        """Normalized scores of `returns`, any shape; 0 is the reference minimum, 100 the maximum."""
        span = self.reference_max - self.reference_min
        return 100.0 * (np.asarray(returns, np.float64) - self.reference_min) / span

    @property
    def environment(self) -> str | EnvironmentSource:
        """What opens its environment: its id, or an `EnvironmentSource` where that is not enough.

        Raises:
            DataError: the task has no environment.
        """
        if self.env_id is None:
            raise DataError(
                f"task {self.name!r}: expected an environment, found a dataset without one. Give a task with an env_id."
            )
        if self.env_spec or self.obs_keys:
            return EnvironmentSource(self.env_id, self.env_spec, self.obs_keys)
        return self.env_id

    def as_dict(self) -> dict[str, Any]:
        """The fields, for manifests; `env_spec` and `obs_keys` only where they are set."""
        fields = asdict(self)
        return {key: value for key, value in fields.items() if value or key not in ("env_spec", "obs_keys")}


# Reference returns of D4RL (Fu et al., 2020, arXiv 2004.07219) for a random and an expert policy.
_LOCOMOTION = {
    "hopper": (-20.272305, 3234.3),
    "halfcheetah": (-280.178953, 12135.0),
    "walker2d": (1.629008, 4592.3),
    "ant": (-325.6, 3879.7),
}
_OTHERS = {
    **dict.fromkeys(("antmaze-umaze", "antmaze-medium", "antmaze-large"), (0.0, 1.0)),
    "maze2d-umaze": (23.85, 161.86),
    "maze2d-medium": (13.13, 277.39),
    "maze2d-large": (6.7, 273.99),
    "pen": (96.262799, 3076.8331017826877),
    "door": (-56.512833, 2880.5693087298737),
    "hammer": (-274.856578, 12794.134825156867),
    "relocate": (-6.425911, 4233.877797728884),
    **dict.fromkeys(("kitchen-complete", "kitchen-partial", "kitchen-mixed"), (0.0, 4.0)),
}
_ENV_NAMES = {"hopper": "Hopper", "halfcheetah": "HalfCheetah", "walker2d": "Walker2d", "ant": "Ant"}
# The environments that D4RL's data can be evaluated in. MuJoCo's v4 are those of its locomotion data. Its others were moved to
# gymnasium-robotics, two of them as they were. Not the same there: pen (does not end when the pen is dropped, other time
# limit), door (the distance to the handle is rewarded, not punished), the mazes and the kitchen (Dict observations, other
# starts and goals). Ant's data have 111 observations with contact forces, Ant-v4 has 27 without.
_D4RL_ENVIRONMENTS = {
    **{name: f"{_ENV_NAMES[name]}-v4" for name in ("hopper", "halfcheetah", "walker2d")},
    "hammer": "gymnasium_robotics:AdroitHandHammer-v1",
    "relocate": "gymnasium_robotics:AdroitHandRelocate-v1",
}

# By name. "hopper" is gymnasium's current environment with D4RL's reference returns, since it has none of its own; "d4rl/hopper"
# is the environment of D4RL's data. Different names and environments keep them apart.
TASKS = {
    task.name: task
    for task in (
        *(Task(name, f"{_ENV_NAMES[name]}-v5", *references) for name, references in _LOCOMOTION.items()),
        *(
            Task(f"d4rl/{name}", _D4RL_ENVIRONMENTS.get(name), *references)
            for name, references in (_LOCOMOTION | _OTHERS).items()
        ),
    )
}


def task_named(name: str, where: str = "") -> Task:
    """The task of that name; raises `UsageError` with the nearest names."""
    if name not in TASKS:
        raise unknown("task", name, TASKS, where)
    return TASKS[name]
