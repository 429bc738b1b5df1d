"""The online phase: each run's policy acts in an environment of its own, and its transitions are added to the replay buffer.

Run r's transitions are written to rows of its own, after those of the dataset. Its exploration noise depends on (seed, purpose,
environment step) alone, and the state of its environment follows from the actions of the running episode: so a run resumes
from its transitions, without the state of a generator or a simulator.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqeval_rl.environments.mujoco_vector_env import open_here
from seqeval_rl.environments.returned import EnvironmentFailure, attempt
from seqeval_rl.environments.spaces import gymnasium_shapes
from seqeval_rl.environments.tasks import Task
from seqeval_rl.environments.vector_env import Transition
from seqeval_rl.errors import DataError
from seqeval_rl.seeding import numpy_generator
from seqeval_rl.training.history import Remembering
from seqeval_rl.training.replay_buffer import ReplayBuffer

Explore = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]
CHUNK = 1024  # environment steps whose noise is drawn at once
RUNNING, TERMINATED, TRUNCATED = 0, 1, 2  # state of an episode after a transition


def episode_seed(seed: int, episode: int) -> int:
    """The environment's seed (0 ≤ · < 2**31) of an exploration episode; it does not depend on the algorithm."""
    return int(numpy_generator(seed, "exploration episode", episode).integers(2**31))


def _placed(part: NDArray[Any], places: NDArray[np.int64], length: int) -> NDArray[Any]:
    """`part` at its places of an array of that length, zeros elsewhere."""
    if len(places) == length:
        return part
    whole = np.zeros((length, *part.shape[1:]), part.dtype)
    whole[places] = part
    return whole


def _discrete(classes: int | None) -> str:
    return "" if classes is None else f" ({classes} discrete actions)"


def _closed(observations: NDArray[np.float32], noise: NDArray[np.float32]) -> NDArray[np.float32]:
    raise RuntimeError("the environments of this online phase are closed")


class Interaction:
    """R environments, one per run, and the transitions that the runs' policies gather in them; must be closed.

    Axes: R runs, M transitions of the phase, n of them gathered so far, D numbers in a packed row.
    """

    def __init__(
        self,
        task: Task,
        seeds: Sequence[int],
        replay: ReplayBuffer,
        dataset_length: int,
        random: int,
        explore: Explore,
        max_episode_steps: int | None = None,
    ):
        """Open the environments and begin an episode in each. Gymnasium steps them: no run may depend on an extra.

        A run whose environment raises, or returns something that is not finite, gathers zeros from then on; see `failures`.

        Args:
            task: names the environment.
            seeds: of the runs.
            replay: with room for each run's M transitions at the arrival positions from `dataset_length` on.
            dataset_length: N, transitions of the dataset.
            random: number of first actions that are uniform, for runs without a dataset.
            explore: raw observations float32 [R, 1, *obs] and standard normals [R, 1, n], n = `Spec.act_noise_dim`, to actions
                [R, 1, act_dim], of discrete actions their numbers.
            max_episode_steps: time limit, see `environments.make_vector_env`.

        Raises:
            DataError: the environment's shapes are not those of the dataset, or the task has no environment.
            EnvironmentMissingError: see `spaces.gymnasium_shapes`.
        """
        self._seeds, self._replay, self._dataset_length = tuple(seeds), replay, dataset_length
        self._random, self._explore, self._env_id = random, explore, task.env_id
        self._envs = open_here(*gymnasium_shapes(task.environment, max_episode_steps), len(self._seeds))
        self.failures: dict[int, str] = {}  # run -> why its environment cannot be used, in one line
        self.tracebacks: dict[int, str] = {}  # run -> traceback, of the failures that the environment raised
        self.images = replay.online  # None: observations are vectors, which are in the rows
        found = self._envs.obs_shape, self._envs.act_dim, self._envs.action_classes
        expected = replay.obs_shape, replay.act_dim, replay.spec.action_classes
        if found != expected:
            self._envs.close()
            raise DataError(
                f"environment {task.env_id!r}: observations and actions have shapes {found[:2]}{_discrete(found[2])}, expected "
                f"{expected[:2]}{_discrete(expected[2])} as in the dataset. Check that the task names the environment of the "
                "dataset."
            )
        if self._envs.images != (self.images is not None):
            self._envs.close()
            raise DataError(
                f"environment {task.env_id!r}: expected images of bytes from it and in the dataset, or from neither. Check that "
                "the task names the environment of the dataset."
            )
        room = len(replay.arrivals[0]) - dataset_length
        self.gathered = 0  # n
        self._ends = np.zeros((len(self._seeds), room), np.uint8)  # [R, M]
        self._episodes = np.zeros(len(self._seeds), np.int64)  # episodes before the running one, [R]
        self._first = np.zeros(len(self._seeds), np.int64)  # first transition of the running episode, [R]
        # (return, length) of episodes that ended since last asked
        self._finished: list[list[tuple[float, int]]] = [[] for _ in self._seeds]
        self._seconds = 0.0  # of wall time, since last asked
        self._drawn: tuple[int, NDArray[np.float32]] | None = None
        kind = np.float32 if self.images is None else np.uint8
        self._observations = np.empty((len(self._seeds), *replay.obs_shape), kind)
        for r in range(len(self._seeds)):
            self._begin(r)
            self._keep(r, self._observations[r], begins=True)

    def gather(self, transitions: int) -> None:
        """Act until there are that many transitions, those of the dataset included."""
        if self._replay.device.type == "cuda":
            torch.cuda.synchronize(self._replay.device)  # the first action would wait for the gradient steps before it
        started = time.perf_counter()
        while self._dataset_length + self.gathered < transitions:
            noise = self._noise(self.gathered)
            if self.gathered < self._random:
                if isinstance(self._explore, Remembering):
                    self._explore.see(self._observations[:, None])
                actions = self._uniform_actions(noise)
            else:
                seen = self._observations[:, None].astype(np.float32, copy=False)
                actions = self._explore(seen, noise[:, None])[:, 0]
                # A diverged policy is detected by its evaluation; until then the other runs continue.
                actions = np.clip(np.nan_to_num(actions, posinf=0.0, neginf=0.0), *self._envs.shapes.action_range)
            self._advance(actions.astype(np.float32))
        self._seconds += time.perf_counter() - started

    @property
    def ends(self) -> NDArray[np.uint8]:
        """[R, n], the state of the episode after each transition that has been gathered: running, terminated or truncated."""
        return self._ends[:, : self.gathered]

    def metrics(self) -> dict[str, NDArray[np.float64]]:
        """Since last asked, each [R]: mean return and length of the exploration episodes that ended, NaN where a run had none;
        wall seconds of the interaction, which all runs share."""
        seconds, self._seconds = self._seconds, 0.0
        finished, self._finished = self._finished, [[] for _ in self._seeds]
        means = np.array([np.mean(episodes, axis=0) if episodes else (np.nan, np.nan) for episodes in finished])
        times = np.full(len(self._seeds), seconds)
        return {"online/return": means[:, 0], "online/length": means[:, 1], "online/seconds": times}

    def state_dict(self) -> dict[str, Any]:
        """The gathered transitions, run axis first: rows [R, n, D], and the episode's state after each, uint8 [R, n]."""
        n = self.gathered
        rows = np.stack([self._replay.host[self._place(r, 0, n)] for r in range(len(self._seeds))])
        return {"rows": torch.from_numpy(rows), "ends": torch.from_numpy(self._ends[:, :n].copy())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`: the running episodes are replayed with the actions that were taken.

        Where the environment does not return the observations that it returned before, the run has failed.
        """
        rows, ends = state["rows"].numpy(), state["ends"].numpy()
        self.gathered = n = rows.shape[1]
        self._ends[:, :n] = ends
        self._finished = [[] for _ in self._seeds]
        for r in range(len(self._seeds)):
            ended = np.flatnonzero(ends[r])
            before = np.append(0, ended + 1)[np.searchsorted(ended, np.arange(n))]  # first of each one's episode
            self._replay.write(self._place(r, 0, n), rows[r], np.arange(n) - before)
            self._episodes[r], self._first[r] = len(ended), ended[-1] + 1 if len(ended) else 0
            self._begin(r)
            width, act_dim = self._replay.obs_columns, self._replay.act_dim
            for row in rows[r, self._first[r] :]:
                if isinstance(self._explore, Remembering):
                    own, place = slice(r, r + 1), width + act_dim
                    self._explore.see(row[:width].reshape(1, 1, *self._replay.obs_shape), own)
                    self._explore.add(row[width:place].reshape(1, 1, -1), row[place].reshape(1, 1), own)
                actions = self._in_units(row[None, width : width + act_dim])
                self._observations[r] = self._step(actions, np.array([r]))[0][0]
            if self.images is not None:
                replayed, cause = np.array_equal(self._observations[r], self.images.newest(r)), ", or another renderer"
            else:
                last = rows[r, -1:, -width:].ravel()
                replayed, cause = n == self._first[r] or np.array_equal(self._observations[r].ravel(), last), ""
            if not replayed and r not in self.failures:
                self.failures[r] = (
                    f"environment {self._env_id!r}: replaying the running episode gives observations other than before. It is "
                    f"another version{cause}, or draws at random without its seed: begin again with --overwrite"
                )
                self.tracebacks[r] = ""

    def close(self) -> None:
        """Close the environments, and drop the reference to the policy."""
        self._envs.close()
        # The trainer and this object refer to each other: without this, only the garbage collector would free device memory.
        self._explore = _closed

    def _place(self, r: int, start: int, stop: int) -> NDArray[np.int64]:
        """Row indices of run r's transitions `start` to `stop` (exclusive)."""
        return self._replay.arrivals[r][self._dataset_length + start : self._dataset_length + stop]

    def _in_units(self, actions: NDArray[np.float32]) -> NDArray[np.float64]:
        """Actions in the environment's own units."""
        return self._envs.shapes.in_units(actions)

    def _begin(self, r: int) -> None:
        """Begin run r's next episode."""
        seed = episode_seed(self._seeds[r], int(self._episodes[r]))
        if isinstance(self._explore, Remembering):
            self._explore.begin_run(r)
        if r not in self.failures:
            self._observations[r], failed = attempt(lambda: self._envs.restart(r, seed))
            self._add_failures(failed)

    def _keep(self, r: int, observation: NDArray[Any], begins: bool = False) -> None:
        """Keep the image that run r's next transition leads to, or that its episode begins with.

        A run has failed where an observation is no stack as the dataset's are, which cannot be kept.
        """
        if self.images is not None and not self.images.add(r, observation, begins) and r not in self.failures:
            self.failures[r] = (
                f"environment {self._env_id!r}: expected observations that are stacks as the dataset's, of the newest "
                f"{self.images.stack} images, oldest first, and of one image at an episode's start, found another one "
                f"{self._where(r)}"
            )
            self.tracebacks[r] = ""

    def _step(self, actions: NDArray[np.float64], runs: NDArray[np.int64]) -> Transition:
        """One environment step of these runs, with their actions in the environment's units; zeros for those that fail."""
        found, failed = attempt(lambda: self._envs.step(actions, runs))
        self._add_failures(failed)
        if not all(np.isfinite(part).all() for part in found[:2]):
            for place, r in enumerate(runs.tolist()):
                if not all(np.isfinite(part[place]).all() for part in found[:2]):
                    self.failures.setdefault(
                        r, f"non-finite reward or observation from the environment {self._where(r)}"
                    )
                    for part in found:
                        part[place] = 0
        return found

    def _add_failures(self, failures: Mapping[int, EnvironmentFailure]) -> None:
        for r, failure in failures.items():
            self.failures[r], self.tracebacks[r] = f"{failure.message} {self._where(r)}", failure.traceback

    def _where(self, r: int) -> str:
        """At which environment step run r is."""
        episode = int(self._episodes[r])
        return (
            f"in the online phase, episode {episode} at time index {self.gathered - int(self._first[r])} (environment seed "
            f"{episode_seed(self._seeds[r], episode)})"
        )

    def _noise(self, env_step: int) -> NDArray[np.float32]:
        """Noise of an environment step, [R, n]: at first uniform on [-1, 1], then standard normals."""
        chunk, place = divmod(env_step, CHUNK)
        if self._drawn is None or self._drawn[0] != chunk:
            shape, first = (CHUNK, self._replay.spec.act_noise_dim), chunk * CHUNK
            generators = [numpy_generator(seed, "exploration", chunk) for seed in self._seeds]
            drawn = np.stack([generator.standard_normal(shape, dtype=np.float32) for generator in generators])
            uniform = max(0, min(self._random - first, CHUNK))
            for r, seed in enumerate(self._seeds):
                drawn[r, :uniform] = numpy_generator(seed, "first actions", chunk).uniform(-1, 1, shape)[:uniform]
            self._drawn = (chunk, drawn)
        return self._drawn[1][:, place]

    def _uniform_actions(self, noise: NDArray[np.float32]) -> NDArray[np.float32]:
        """Actions [R, act_dim] uniform on their range, from numbers uniform on [-1, 1], [R, n]."""
        classes = self._replay.spec.action_classes
        if classes is None:
            return noise
        return np.minimum(np.floor((noise[:, :1] + 1) / 2 * classes), classes - 1)

    def _advance(self, actions: NDArray[np.float32]) -> None:
        """One environment step of every run with an algorithm's actions [R, act_dim]."""
        runs, n = len(self._seeds), self.gathered
        live = np.array([r for r in range(runs) if r not in self.failures], np.int64)
        found = self._step(self._in_units(actions[live]), live)
        next_observations, rewards, terminated, truncated = (_placed(part, live, runs) for part in found)
        width = self._replay.obs_columns  # 0 for images, which are not in the rows
        before, after = (each.reshape(runs, -1)[:, :width] for each in (self._observations, next_observations))
        for r in range(runs):
            self._keep(r, next_observations[r])
        columns: list[NDArray[Any]] = [before, actions, rewards[:, None], 1.0 - terminated[:, None], after]
        rows = np.concatenate(columns, axis=1, dtype=np.float32, casting="same_kind")
        self._replay.write(np.array([self._place(r, n, n + 1)[0] for r in range(runs)]), rows, n - self._first)
        if isinstance(self._explore, Remembering):
            self._explore.add(actions[:, None], rows[:, width + self._replay.act_dim, None])
        self._observations[:] = next_observations
        self._ends[:, n] = np.where(terminated, TERMINATED, np.where(truncated, TRUNCATED, RUNNING))
        self.gathered += 1
        for r in np.flatnonzero(self._ends[:, n]).tolist():
            episode = self._replay.host[self._place(r, int(self._first[r]), n + 1)][:, width + self._replay.act_dim]
            self._finished[r].append((float(episode.sum(dtype=np.float64)), len(episode)))
            self._episodes[r] += 1
            self._first[r] = n + 1
            self._begin(r)
            self._keep(r, self._observations[r], begins=True)
