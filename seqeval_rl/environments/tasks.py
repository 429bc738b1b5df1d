"""Tasks: an environment and the reference returns that turn its returns into scores.

A task names its environment id and its reference returns, so that results of different versions are never mixed silently.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from seqeval_rl.errors import DataError, unknown

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Bound = float | tuple[float, ...] | None
"""A bound of actions: one number for all dimensions, one for each, or None: that of the environment."""

UNKNOWN = "unknown"  # name of the task of data that do not say theirs


@dataclass(frozen=True)
class EnvironmentSource:
    """An environment that its id alone does not determine; functions that open environments accept it in place of an id."""

    env_id: str
    spec: str = ""  # gymnasium's `EnvSpec` as JSON; empty: the registered one
    obs_keys: tuple[str, ...] = ()  # entries of its Dict observations, concatenated in this order
    action_low: Bound = None  # in place of its own bounds of actions
    action_high: Bound = None

    def __str__(self) -> str:
        return self.env_id

    def __repr__(self) -> str:
        return repr(self.env_id)


@dataclass(frozen=True)
class Task:
    """An environment and its reference returns: `score = 100 (return - reference_min) / (reference_max - reference_min)`.

    A task without reference returns has no scores: its runs are compared by their returns.
    """

    name: str  # for example "hopper"
    env_id: str | None  # gymnasium's id, for example "Hopper-v5"; None for a dataset without an environment
    reference_min: float | None = None  # return of a random policy
    reference_max: float | None = None  # return of an expert
    env_spec: str = ""  # gymnasium's `EnvSpec` as JSON, for settings that differ from the registered ones
    obs_keys: tuple[str, ...] = ()  # for Dict observations: the entries, concatenated in this order
    # Bounds of actions in place of the environment's. Actions are scaled by them; the environment gets those outside its own
    # bounds clipped to these.
    action_low: Bound = None
    action_high: Bound = None
    # An episode succeeds if it ends in a terminal state: the reference returns are those of the success, 0 or 1, not of returns.
    success: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "obs_keys", tuple(self.obs_keys))  # a list when read from JSON
        for key in ("reference_min", "reference_max", "action_low", "action_high"):
            object.__setattr__(self, key, as_bound(getattr(self, key)))
        low, high = self.reference_min, self.reference_max
        if (low, high) != (None, None) and (low is None or high is None or not -np.inf < low < high < np.inf):
            raise DataError(
                f"task {self.name!r}: expected finite reference returns with reference_min < reference_max, found "
                f"{low} and {high}. Give the returns of a random and of an expert policy, or neither."
            )

    @property
    def references(self) -> tuple[float, float] | None:
        """Returns of score 0 and 100; None where the task has none."""
        if self.reference_min is None or self.reference_max is None:
            return None
        return self.reference_min, self.reference_max

    @property
    def return_references(self) -> tuple[float, float] | None:
        """`references` where these are returns."""
        return None if self.success else self.references

    def score(self, returns: ArrayLike, terminated: ArrayLike = np.nan) -> NDArray[np.float64]:
        """Normalized scores of episodes, any shape; 0 is the reference minimum, 100 the maximum. NaN without references.

        Args:
            returns: of the episodes; NaN of those that failed to run.
            terminated: whether they ended in a terminal state, which decides the score of a task with `success`.
        """
        values = np.asarray(returns, np.float64)
        if self.success:
            values = np.where(np.isnan(values), np.nan, terminated)
        low, high = self.references or (np.nan, np.nan)
        return 100.0 * (values - low) / (high - low)

    @property
    def environment(self) -> str | EnvironmentSource:
        """What opens its environment: its id, or an `EnvironmentSource` where that is not enough.

        Raises:
            DataError: the task has no environment.
        """
        if self.env_id is None:
            reason = next((f" ({why})" for name, why in _NOT_D4RLS.items() if self.name.startswith(name)), "")
            raise DataError(
                f"task {self.name!r}: expected an environment, found a dataset without one{reason}. Name it: --task NAME or "
                "ENV_ID, `task` of a stream or of load_dataset. Without one there are prequential scores only: "
                "protocol.episodes=0."
            )
        if self.env_spec or self.obs_keys or self.action_low is not None or self.action_high is not None:
            return EnvironmentSource(self.env_id, self.env_spec, self.obs_keys, self.action_low, self.action_high)
        return self.env_id

    def override(
        self,
        reference_returns: tuple[float, float] | None = None,
        action_low: Bound = None,
        action_high: Bound = None,
    ) -> Task:
        """The task with other reference returns or bounds of actions; None keeps its own. Raises `DataError` as `Task` does."""
        low, high = reference_returns or (self.reference_min, self.reference_max)
        return replace(
            self,
            reference_min=low,
            reference_max=high,
            success=self.success and reference_returns is None,
            action_low=self.action_low if action_low is None else action_low,
            action_high=self.action_high if action_high is None else action_high,
        )

    def as_dict(self) -> dict[str, Any]:
        """The fields, for manifests; those after the reference returns only where they are set."""
        always = ("name", "env_id", "reference_min", "reference_max")
        # A bound of 0 is set, and equals False.
        set_fields = {
            key: value
            for key, value in asdict(self).items()
            if not (value is None or value is False or value in ("", ()))
        }
        return {key: getattr(self, key) for key in always} | set_fields


def as_bound(value: Any) -> Bound:
    """Numbers as JSON, numpy or a user give them, as floats that can be compared and hashed."""
    if value is None:
        return None
    values = np.asarray(value, np.float64)
    return tuple(values.tolist()) if values.ndim else float(values)


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
# The environments that D4RL's data can be evaluated in: MuJoCo's v4 are those of its locomotion data, and those of Adroit and
# Maze2D are made from gymnasium-robotics.
_D4RL_ENVIRONMENTS = {
    **{name: f"{_ENV_NAMES[name]}-v4" for name in ("hopper", "halfcheetah", "walker2d")},
    **{
        name: f"seqeval_rl.environments.d4rl_tasks:d4rl/{name}-v1"
        for name in ("door", "hammer", "pen", "relocate", "maze2d-umaze", "maze2d-medium", "maze2d-large")
    },
}

# With discrete actions. Reference returns: the mean return of 1000 (Acrobot 60, LunarLander 300) episodes of uniform actions,
# and the largest return of CartPole, for the others gymnasium's reward threshold.
DISCRETE_TASKS = {
    "cartpole": ("CartPole-v1", 22.2, 500.0),
    "acrobot": ("Acrobot-v1", -495.1, -100.0),
    "lunarlander": ("LunarLander-v3", -181.3, 200.0),
}

# V-D4RL's tasks in dm_control: images of 84 pixels, as its 84px directories, of 64, and states. A return is at most 1000 rewards
# from 0 to 1; V-D4RL's scores are returns / 10.
VISION_TASKS = ("walker_walk", "cheetah_run", "humanoid_walk")
VISION_RETURNS = (0.0, 1000.0)
VISION_STACK = 3  # images in an observation
VISION_REPEAT = 2  # steps of dm_control that an action is taken for
_VISION_VARIANTS = ("", "-64px", "-state")

# Why the others have none, by the beginning of the task's name. D4RL's: `locomotion/ant.py`, `kitchen/kitchen_envs.py`.
_NOT_D4RLS = {
    "d4rl/antmaze": "gymnasium-robotics' AntMaze has another ant than D4RL's, other observations and a smaller goal; "
    "minari:D4RL/antmaze/... are data of that one",
    "d4rl/kitchen": "gymnasium-robotics' FrankaKitchen has 59 observations without the goal and a tenth of the noise, D4RL's has "
    "60 with it; minari:D4RL/kitchen/... are data of that one",
    "d4rl/ant": "D4RL's data have 111 observations with contact forces, Ant-v4 has 27",
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
        *(Task(name, *facts) for name, facts in DISCRETE_TASKS.items()),
        *(
            Task(name, f"seqeval_rl.environments.dm_control_tasks:dm_control/{name}-v0", *VISION_RETURNS)
            for name in (f"{domain}{variant}" for domain in VISION_TASKS for variant in _VISION_VARIANTS)
        ),
    )
}


# OGBench's single-task environments end an episode at the goal, and their measure is the success rate (Park et al., 2025,
# arXiv 2410.20092). With the module that registers them.
_SINGLE_TASK = re.compile(r"ogbench:[a-z0-9-]+-singletask(-task\d+)?-v\d+")


def task_named(name: str, where: str = "") -> Task:
    """A known task by its name, or the task of an environment by its id, without reference returns where no known task has it.

    Args:
        name: `hopper`, `d4rl/hopper`, or gymnasium's id: `Pendulum-v1`, `my_package:MyEnv-v0`.
        where: it was found, for the message.

    Raises:
        UsageError: neither, with the nearest names. An id with a version that is not registered is refused when it is opened.
    """
    if name in TASKS:
        return TASKS[name]
    import gymnasium

    if name in gymnasium.registry or ":" in name or re.search(r"-v\d+$", name):
        return task_of_environment(name)
    near = difflib.get_close_matches(name, gymnasium.registry, n=3, cutoff=0.6)
    raise unknown("task", name, [*TASKS, *near], where)


def task_of_environment(env_id: str) -> Task:
    """The known task with that environment; else one that is called as its environment, without reference returns unless it is
    one of OGBench's, whose score is its success rate in percent."""
    known = next((task for task in TASKS.values() if task.env_id == env_id), None)
    if known is None and _SINGLE_TASK.fullmatch(env_id):
        known = Task(env_id, env_id, 0.0, 1.0, success=True)
    return known or Task(env_id, env_id)
