"""A logged dataset in memory: row-packed transitions, episode bounds and the task they belong to."""

from __future__ import annotations

import hashlib
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seqeval_rl.columns import column, first_rows, flags, scale_actions
from seqeval_rl.errors import DataError, EnvironmentMissingError
from seqeval_rl.tasks import TASKS, Task

_HASH_BLOCK = 8 << 20  # bytes hashed at once by one thread


@dataclass(frozen=True, eq=False)
class Dataset:
    """N transitions in the order in which they were logged; nothing in it can be changed."""

    name: str  # as in the source it was loaded from, for example "bundled/hopper/medium:10000"
    task: Task
    rows: NDArray[np.float32]  # [N, obs|act|reward|mask|next_obs], mask = 1 - terminated; may be a memory map
    obs_shape: tuple[int, ...]
    act_dim: int
    truncations: NDArray[np.bool_]  # [N]; True where an episode ends without a terminal state
    episode_starts: NDArray[np.int64]  # [episodes + 1]; first row of each episode, and N at the end
    clipped_actions: int = 0  # actions that were clipped to their bounds
    cut: bool = False  # the last episode was still running when the log ended
    digest: str = field(default="", repr=False)  # `sha256` where it is known already

    @classmethod
    def from_arrays(
        cls,
        name: str,
        task: Task,
        observations: ArrayLike,
        actions: ArrayLike,
        rewards: ArrayLike,
        next_observations: ArrayLike | None,
        terminations: ArrayLike,
        truncations: ArrayLike,
        episode_starts: ArrayLike | None = None,
        action_low: ArrayLike | None = None,
        action_high: ArrayLike | None = None,
    ) -> Dataset:
        """Check columns and pack them.

        Where the log has no next observations, they are the observations of the row that follows in the same episode;
        a row that ends an episode then keeps its place only if it terminated, since its bootstrap is masked, and is
        dropped at a time limit and at the end of the log. Its reward is dropped with it.

        Args:
            name: what the dataset is called.
            task: the environment and its reference returns.
            observations: [N, *obs_shape].
            actions: [N, act_dim] in the environment's own units.
            rewards: [N].
            next_observations: [N, *obs_shape], true ones also where an episode was truncated; None if the log has none.
            terminations: [N], true where a terminal state was reached.
            truncations: [N], true where an episode ended for another reason, such as a time limit.
            episode_starts: first row of each episode; by default one starts after each termination or truncation.
            action_low: the environment's lower bound of actions, a number or [act_dim]; default -1.
            action_high: the upper bound; default 1.

        Raises:
            DataError: empty, NaN or infinite values, unequal lengths, actions outside the bounds, bounds that are no
                bounds, flags inside an episode.
        """
        obs = column(name, "observations", observations, (2, 9))
        length = len(obs)
        act = column(name, "actions", actions, (2, 2), length)
        reward = column(name, "rewards", rewards, (1, 1), length)
        terminated = flags(name, "terminations", terminations, length)
        truncated = flags(name, "truncations", truncations, length)
        following = None
        if next_observations is not None:
            following = column(name, "next_observations", next_observations, (2, 9), length)
            if following.shape != obs.shape:
                raise DataError(
                    f"{name}: next_observations have shape {following.shape[1:]}, expected that of observations, "
                    f"{obs.shape[1:]}. Check how the log was written."
                )
        scaled, clipped = scale_actions(name, act, action_low, action_high)
        starts = first_rows(name, terminated | truncated, episode_starts)
        last = starts[1:] - 1
        cut = not (terminated[-1] or truncated[-1])
        truncated[last] |= ~terminated[last]
        if following is None:
            following = np.concatenate([obs[1:], obs[-1:]])
            following[last] = obs[last]  # never matters: those that stay are terminal and masked
            keep = np.ones(length, bool)
            keep[last] = terminated[last]
            # The row before a dropped one is the last of its episode that has a true next observation.
            dropped, first = last[~terminated[last]], starts[:-1][~terminated[last]]
            truncated[dropped[dropped > first] - 1] = True
            cut = cut and bool(dropped[-1] > first[-1])
            obs, scaled, reward, following = obs[keep], scaled[keep], reward[keep], following[keep]
            terminated, truncated, clipped = terminated[keep], truncated[keep], clipped[keep]
            starts = np.unique(np.concatenate(([0], np.cumsum(keep)))[starts])
            if len(obs) == 0:
                raise DataError(
                    f"{name}: expected transitions with a next observation, found {length} that each end an episode "
                    "without a terminal state. Log next_observations, or longer episodes."
                )
        count = len(obs)
        rows = np.concatenate(
            [
                obs.reshape(count, -1),
                scaled,
                reward[:, None],
                1.0 - terminated[:, None].astype(np.float32),
                following.reshape(count, -1),
            ],
            axis=1,
        )
        for array in (rows, truncated, starts):
            array.flags.writeable = False
        return cls(
            name, task, rows, obs.shape[1:], scaled.shape[1], truncated, starts, int(np.count_nonzero(clipped)), cut
        )

    def __len__(self) -> int:
        """N, the number of transitions."""
        return len(self.rows)

    @property
    def _obs_dim(self) -> int:
        return int(np.prod(self.obs_shape))

    @property
    def observations(self) -> NDArray[np.float32]:
        """[N, *obs_shape], a view."""
        return self.rows[:, : self._obs_dim].reshape(-1, *self.obs_shape)

    @property
    def actions(self) -> NDArray[np.float32]:
        """[N, act_dim] in [-1, 1], a view."""
        return self.rows[:, self._obs_dim : self._obs_dim + self.act_dim]

    @property
    def rewards(self) -> NDArray[np.float32]:
        """[N], a view."""
        return self.rows[:, self._obs_dim + self.act_dim]

    @property
    def next_observations(self) -> NDArray[np.float32]:
        """[N, *obs_shape], a view."""
        return self.rows[:, -self._obs_dim :].reshape(-1, *self.obs_shape)

    @property
    def terminations(self) -> NDArray[np.bool_]:
        """[N], True where a terminal state was reached."""
        masks = self.rows[:, self._obs_dim + self.act_dim + 1]
        return np.equal(masks, 0)

    def episode_returns(self) -> NDArray[np.float64]:
        """Returns of the whole episodes; one that the log's end cut short counts only where there is no other.

        They are sums of the rewards that are in the dataset (see `from_arrays` for rows that are dropped).
        """
        returns = np.add.reduceat(self.rewards, self.episode_starts[:-1], dtype=np.float64)
        return returns[:-1] if self.cut and len(returns) > 1 else returns

    def mean_score(self) -> float:
        """Mean normalised score of the log's whole episodes, the level that its behaviour had."""
        return float(self.task.score(self.episode_returns()).mean())

    def prefix(self, n: int) -> Dataset:
        """The first `n` transitions, sharing memory; called "ID:n". An episode that is cut ends with a truncation.

        Raises:
            DataError: the log is shorter than `n`, or `n` < 1.
        """
        base = self.name.rpartition(":")[0] if self.name.rpartition(":")[2].isdigit() else self.name
        name = f"{base}:{n}"
        if not 1 <= n <= len(self):
            raise DataError(f"{name}: expected between 1 and {len(self)} transitions, found {n}. Ask for fewer.")
        if n == len(self):
            return replace(self, name=name)
        truncations = self.truncations[:n].copy()
        starts = np.append(self.episode_starts[self.episode_starts < n], n)
        cut = not (truncations[-1] or self.terminations[n - 1])
        truncations[-1] |= cut
        for array in (truncations, starts):
            array.flags.writeable = False
        # Where clipping happened is not kept, so the count stays that of the whole log.
        return Dataset(
            name, self.task, self.rows[:n], self.obs_shape, self.act_dim, truncations, starts, self.clipped_actions, cut
        )

    @cached_property
    def sha256(self) -> str:
        """Hash of the contents: rows, truncations, episode bounds and shapes, but neither name nor task."""
        return self.digest or content_hash(self)


def content_hash(dataset: Dataset) -> str:
    """SHA-256 over shapes and the SHA-256 of each block of the arrays, which threads can compute side by side."""
    blocks: list[memoryview] = []
    for array in (dataset.rows, dataset.truncations, dataset.episode_starts):
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        blocks += [data[start : start + _HASH_BLOCK] for start in range(0, len(data), _HASH_BLOCK)]
    header = (
        f"{dataset.rows.shape} {tuple(dataset.obs_shape)} {dataset.act_dim} {len(dataset.episode_starts)} {dataset.cut}"
    )
    total = hashlib.sha256(header.encode())
    with ThreadPoolExecutor(4) as pool:
        for digest in pool.map(lambda block: hashlib.sha256(block).digest(), blocks):
            total.update(digest)
    return total.hexdigest()


@lru_cache(maxsize=16)
def environment_spaces(env_id: str) -> tuple[Any, Any]:
    """Observation and action space of an environment.

    Raises:
        EnvironmentMissingError: it is not registered, or does not start.
    """
    import difflib

    import gymnasium

    from seqeval_rl.lanes import open_environment

    try:
        with warnings.catch_warnings():
            # An older version of an environment is chosen on purpose: logs match one version.
            warnings.simplefilter("ignore")
            environment = open_environment(env_id)
    except (gymnasium.error.Error, ImportError) as error:
        near = difflib.get_close_matches(env_id, list(gymnasium.registry), n=3, cutoff=0.6)
        hint = f"Did you mean {' or '.join(near)}?" if near else "Install the package that has it and import it."
        first_line = (str(error).splitlines() or [""])[0]
        raise EnvironmentMissingError(
            f"environment {env_id!r}: expected an installed gymnasium environment, found {type(error).__name__}: "
            f"{first_line} {hint}"
        ) from error
    spaces = environment.observation_space, environment.action_space
    environment.close()
    return spaces


def check_environment(dataset: Dataset) -> None:
    """Check that the log's shapes are those of its task's environment.

    Raises:
        DataError: shapes differ, or the environment's actions are not a bounded box.
        EnvironmentMissingError: the environment is not installed.
    """
    from gymnasium.spaces import Box

    env_id = dataset.task.env_id
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
                "Check that the task names the environment of the log."
            )
    if not (np.isfinite(actions.low).all() and np.isfinite(actions.high).all()):
        raise DataError(f"{dataset.name}: actions of {env_id} have no bounds, expected finite ones to scale by.")


def task_of_log(
    name: str, env_id: str | None, reference_min: float | None, reference_max: float | None, how: str
) -> Task:
    """The task that a log belongs to, from what it says of itself.

    Args:
        name: of the dataset.
        env_id: the environment that it was logged in, if it says so.
        reference_min: its reference return of a random policy, if it has one.
        reference_max: that of an expert.
        how: what to do where something is missing.

    Raises:
        DataError: no environment, or no reference returns and no known task with that environment.
    """
    if env_id is None:
        raise DataError(f"{name}: expected to be told its environment, found nothing. {how}")
    known = next((task for task in TASKS.values() if task.env_id == env_id), None)
    if reference_min is None and reference_max is None and known is not None:
        return known
    if reference_min is None or reference_max is None:
        found = f"{reference_min} and {reference_max}"
        raise DataError(f"{name}: expected both reference returns for {env_id}, found {found}. {how}")
    if known is not None and (known.reference_min, known.reference_max) == (reference_min, reference_max):
        return known
    return Task(env_id, env_id, float(reference_min), float(reference_max))
