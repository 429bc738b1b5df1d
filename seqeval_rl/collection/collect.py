"""Collecting a dataset: episodes that a policy plays, written as a Minari dataset atomically.

Episode i of a policy depends on (seed, what the policy is, i) alone. Episodes are played `EPISODES_PER_CHUNK` at a time, always
with a batch of as many observations, so that neither the length of the dataset nor the number of processes changes one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqeval_rl.collection.policy import Policy
from seqeval_rl.data.episodes import Episode, play_episodes
from seqeval_rl.data.minari_writer import NewDataset, writer
from seqeval_rl.data.readers import bundled
from seqeval_rl.data.rollouts import EPISODES_PER_CHUNK, WorkerPool
from seqeval_rl.environments.make import make_vector_env
from seqeval_rl.environments.spaces import check_time_limit, discrete_actions, environment_spaces
from seqeval_rl.environments.tasks import Task
from seqeval_rl.environments.vector_env import VectorEnv
from seqeval_rl.errors import DataError, MismatchError, UsageError
from seqeval_rl.networks.distributions import uniform, uniform_class
from seqeval_rl.seeding import numpy_generator
from seqeval_rl.utils.processes import available_cores

# Raw observations float32 [B, *obs] and standard normals float32 [B, n] to actions [B, act_dim] in [-1, 1], or the numbers of
# discrete ones, [B, 1]; n = `Spec.act_noise_dim`.
Act = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]
_NOISE = 1024  # draws of an episode at once
_WORTH_WORKERS = 20_000  # transitions from which on processes for the environments pay


@dataclass(frozen=True)
class Behavior:
    """What chooses the actions of a dataset, and where."""

    task: Task
    act: Act
    algorithm: str  # what it is, for a dataset's metadata
    purpose: str  # names its episodes and noise


def uniform_behavior(task: Task) -> Behavior:
    """Actions uniform on the whole action space."""
    discrete = discrete_actions(environment_spaces(task.environment)[1])

    def act(_: NDArray[np.float32], noise: NDArray[np.float32]) -> NDArray[np.float32]:
        numbers = uniform(torch.from_numpy(noise))
        if discrete is None:
            return numbers.numpy()
        return uniform_class(numbers[:, 1:], discrete[1]).float().numpy()

    return Behavior(task, act, "uniform random actions", "random")


def policy_behavior(policy: Policy, algorithm: str, purpose: str, explore: bool = True) -> Behavior:
    """A trained policy, with its exploration or greedy; `algorithm` and `purpose` as in `Behavior`.

    Raises:
        UsageError: it acts on a history.
    """
    if policy.remembering is not None:
        raise UsageError(
            f"{algorithm}: expected a policy that acts on observations, found one that acts on a history, which can be neither "
            "collected with nor exported. Use another."
        )
    return Behavior(policy.task, policy.act if explore else lambda seen, _: policy.act(seen), algorithm, purpose)


def run_behavior(
    directory: Path, explore: bool, algorithm: str | None = None, trust_environments: Sequence[str] = ()
) -> Behavior:
    """The policy of a run's newest checkpoint; arguments and errors as for `Policy.load`."""
    policy = Policy.load(directory, algorithm, trust_environments)
    how = "exploring" if explore else "greedy"
    return policy_behavior(policy, f"{policy.description}, {how}", "run", explore)


def check_new(identity: str, overwrite: bool) -> None:
    """Raise unless a dataset may be written under that id.

    Raises:
        UsageError: not an id of Minari's form.
        MismatchError: there is one already, and it is not to be overwritten.
    """
    from minari.dataset.minari_dataset import parse_dataset_id
    from minari.storage import get_dataset_path

    try:
        parse_dataset_id(identity)
    except (ValueError, TypeError):
        raise UsageError(
            f"--id {identity!r}: expected an id such as mine/hopper/medium-v0, with its version. Correct it."
        ) from None
    place = get_dataset_path(identity)
    if not overwrite and place.exists():
        raise MismatchError(f"minari:{identity}: is there already, in {place}. Choose another --id, or --overwrite it.")


def play(
    behavior: Behavior,
    seed: int,
    transitions: int,
    max_episode_steps: int | None = None,
    together: int = EPISODES_PER_CHUNK,
) -> Generator[Episode, None, None]:
    """Whole episodes in order, until they have at least `transitions`; for the time limit see `make_vector_env`.

    `together`: how many are played at once.

    Raises:
        DataError: the policy's actions are not finite.
        EnvironmentFailedError: an environment raised, or returned what cannot be used.
        EnvironmentMissingError: see `environments.make_vector_env`.
    """
    workers = min(available_cores(), together) if transitions >= _WORTH_WORKERS else 1
    have, environment = 0, behavior.task.environment
    check_time_limit(environment, max_episode_steps)
    with make_vector_env(environment, together, "gymnasium", workers, max_episode_steps) as envs:
        for first in count(0, together):
            for episode in _play_chunk(behavior, envs, seed, range(first, first + together)):
                yield episode
                have += len(episode.rewards)
                if have >= transitions:
                    return


def _play_chunk(behavior: Behavior, envs: VectorEnv, seed: int, numbers: range) -> list[Episode]:
    """The episodes of these numbers, together."""
    purpose = f"collect/{behavior.purpose}"
    middle, half = (envs.action_high + envs.action_low) / 2, (envs.action_high - envs.action_low) / 2
    low, high = envs.action_low.astype(np.float32), envs.action_high.astype(np.float32)
    normals = envs.act_dim if envs.action_classes is None else 2
    noise = np.empty((len(numbers), _NOISE, normals), np.float32)

    def choose(observations: NDArray[Any], time: int, live: NDArray[np.int64]) -> NDArray[np.float32]:
        if time % _NOISE == 0:
            for index, number in enumerate(numbers):
                draws = numpy_generator(seed, f"{purpose}/noise", number, time // _NOISE)
                noise[index] = draws.standard_normal(noise.shape[1:], dtype=np.float32)
        actions = np.asarray(behavior.act(np.asarray(observations, np.float32), noise[:, time % _NOISE]))
        if not np.isfinite(actions[live]).all():
            raise DataError(
                f"{behavior.algorithm}: expected finite actions, found others in an episode at time index {time}. "
                "The policy has diverged: use an earlier one."
            )
        if envs.action_classes is not None:
            return envs.shapes.in_units(actions).astype(np.float32)
        return np.clip((middle + np.clip(actions, -1, 1) * half).astype(np.float32), low, high)

    seeds = [int(numpy_generator(seed, f"{purpose}/start", number).integers(2**31)) for number in numbers]
    return play_episodes(envs, seeds, choose)


def play_bundled(task: Task, level: str, seed: int, transitions: int) -> Iterator[Episode]:
    """Episodes of the bundled policies, `transitions` in all; seed 0 gives those of the bundled dataset.

    The checkpoints of `replay` fill equal shares of these transitions.
    """
    workers = max(1, min(available_cores(), transitions // _WORTH_WORKERS))
    with WorkerPool(workers) as pool:
        yield from bundled.dataset_of(task, level, transitions, pool, full=transitions, seed=seed)


def write_dataset(new: NewDataset, episodes: Iterable[Episode], overwrite: bool = False, progress: bool = True) -> None:
    """Write the first `new.transitions` of the episodes as a Minari dataset; raises as `check_new` and `writer` do."""
    check_new(new.identity, overwrite)
    with writer(new, overwrite, progress) as write:
        write(episodes)
