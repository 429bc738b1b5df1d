"""Seeded roll-outs of the behavior policies with plain gymnasium, in worker processes.

An episode depends on (seed, task, level, checkpoint, its number) alone. Episodes are rolled out in chunks of one size for all
chunks of a task, always with a batch of as many observations, so that neither the number of workers nor the length of the
dataset changes an episode.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.data.episodes import Episode, play_episodes
from seqeval_rl.environments.spaces import gymnasium_shapes
from seqeval_rl.environments.vector_env import SyncVectorEnv
from seqeval_rl.errors import SeqevalError
from seqeval_rl.seeding import numpy_generator
from seqeval_rl.utils.processes import WorkerEndedError, WorkerProcess

EPISODES_PER_CHUNK = 8  # episodes in a chunk
# Actions are rounded to this grid. The policy is computed in float64, whose differences between processors are some
# 1e-15, so that a rounded action is the same everywhere; the dynamics would blow any difference up.
ACTION_GRID = 2.0**-16
_COLUMNS = 64  # of the second layer in one product
_alone = threading.Lock()  # a process has one set of environments


@dataclass(frozen=True)
class Chunk:
    """Episodes `index * episodes` and the next ones of a policy."""

    task: str
    env_id: str
    level: str
    checkpoint: str | None  # None: uniform random actions
    index: int
    seed: int = 0  # 0 for the bundled datasets
    episodes: int = EPISODES_PER_CHUNK
    transitions: int | None = None  # of an episode, after which it is not played on; None: all


class BehaviorPolicy:
    """A tanh-Gaussian behavior policy, or of discrete actions an epsilon-greedy one; format in `bundled_policies/README.md`."""

    def __init__(self, task: str, checkpoint: str, folder: Traversable | None = None):
        """One of the bundled policies, or of those in a folder with the same layout."""
        path = (folder or resources.files("seqeval_rl.data") / "bundled_policies") / task / f"{checkpoint}.npz"
        with path.open("rb") as file, np.load(file) as arrays:
            self._weights = [arrays[key].astype(np.float64) for key in ("w0", "b0", "w2", "b2")]
            w1, b1 = (arrays[key].astype(np.float64) for key in ("w1", "b1"))
            self.epsilon = float(arrays["epsilon"]) if "epsilon" in arrays else None  # of discrete actions
        # Products of this size stay on one thread of the linear algebra library, whose threads would otherwise wait for
        # one another at every one of a million small products as soon as another process needs a core.
        parts = -(-w1.shape[1] // _COLUMNS)
        self._hidden = list(zip(np.array_split(w1, parts, axis=1), np.array_split(b1, parts, axis=1), strict=True))

    def outputs(self, observations: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of the network, [B, outputs], for observations [B, obs]."""
        w0, b0, w2, b2 = self._weights
        hidden = np.maximum(observations @ w0 + b0, 0.0)
        hidden = np.concatenate([np.maximum(hidden @ w1 + b1, 0.0) for w1, b1 in self._hidden], axis=1)
        found: NDArray[np.float64] = hidden @ w2 + b2
        return found

    def mean_and_log_std(self, observations: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of the Gaussian before tanh, each [B, act], for observations [B, obs]."""
        mean, log_std = np.split(self.outputs(observations), 2, axis=1)
        return mean, np.clip(log_std, -5.0, 2.0)

    def classes(self, observations: NDArray[np.float64], numbers: NDArray[np.float64]) -> NDArray[np.int64]:
        """Discrete actions [B] for numbers uniform on [0, 1), [B, 2]."""
        values = self.outputs(observations)
        explores = numbers[:, 0] < (self.epsilon or 0.0)
        return np.where(explores, uniform_classes(numbers, values.shape[1]), values.argmax(1))

    def act(self, observations: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sampled actions [B, act] in [-1, 1] for standard normal `noise` [B, act]."""
        mean, log_std = self.mean_and_log_std(observations)
        actions: NDArray[np.float64] = np.tanh(mean + np.exp(log_std) * noise)
        return actions


def uniform_classes(numbers: NDArray[np.float64], classes: int) -> NDArray[np.int64]:
    """Discrete actions [B], each as likely, from the second of the numbers uniform on [0, 1), [B, 2]."""
    return (numbers[:, 1] * classes).astype(np.int64)


@lru_cache(maxsize=8)
def _policy(task: str, checkpoint: str) -> BehaviorPolicy:
    return BehaviorPolicy(task, checkpoint)


@lru_cache(maxsize=1)
def _environments(env_id: str, episodes: int) -> SyncVectorEnv:
    return SyncVectorEnv(*gymnasium_shapes(env_id), episodes)


def time_limit(env_id: str) -> int:
    """Transitions after which the environment truncates an episode."""
    return gymnasium_shapes(env_id)[1].max_episode_length


def roll_out(chunk: Chunk) -> list[Episode]:
    """The chunk's episodes in order. Where an environment has images, the policy sees its `state`."""
    envs = _environments(chunk.env_id, chunk.episodes)
    policy = None if chunk.checkpoint is None else _policy(chunk.task, chunk.checkpoint)
    classes = envs.action_classes
    width = envs.act_dim if classes is None else 2
    seeds, draws = [], np.empty((chunk.episodes, envs.max_episode_length, width))
    for i in range(chunk.episodes):
        purpose = f"bundled/{chunk.task}/{chunk.level}/{chunk.checkpoint}"
        rng = numpy_generator(chunk.seed, purpose, chunk.index * chunk.episodes + i)
        seeds.append(int(rng.integers(2**31)))
        # All of an episode's draws at once, so that those of one episode do not depend on the length of another.
        if classes is not None:
            draws[i] = rng.random(draws.shape[1:])
        else:
            draws[i] = (
                rng.uniform(-1.0, 1.0, draws.shape[1:]) if policy is None else rng.standard_normal(draws.shape[1:])
            )

    def choose(observations: NDArray[Any], time: int, live: NDArray[np.int64]) -> NDArray[np.float32]:
        seen = np.stack(envs.attributes("state")) if envs.images else observations
        if classes is not None:
            numbers = draws[:, time]
            chosen = uniform_classes(numbers, classes) if policy is None else policy.classes(seen, numbers)
            return envs.shapes.in_units(chosen[:, None]).astype(np.float32)
        actions = draws[:, time] if policy is None else policy.act(seen, draws[:, time])
        rounded: NDArray[np.float64] = np.round(actions / ACTION_GRID) * ACTION_GRID * envs.action_high
        return rounded.astype(np.float32)

    return play_episodes(envs, seeds, choose, chunk.transitions)


class WorkerPool:
    """Worker processes for roll-outs; with one worker, chunks are rolled out in this process."""

    def __init__(self, workers: int):
        """Start `workers` processes as they are needed."""
        self.workers = workers
        self._local = threading.local()
        self._processes: list[WorkerProcess] = []
        self._pool = ThreadPoolExecutor(workers) if workers > 1 else None

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *exception: object) -> None:
        for process in self._processes:
            process.kill()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        for process in self._processes:
            process.stop()

    def submit(self, chunk: Chunk) -> Future[list[Episode]]:
        """Roll out a chunk as soon as a worker is free."""
        if self._pool is not None:
            return self._pool.submit(self._ask, chunk)
        done: Future[list[Episode]] = Future()
        with _alone:
            done.set_result(roll_out(chunk))
        return done

    def _ask(self, chunk: Chunk) -> list[Episode]:
        """Have this thread's process roll out a chunk."""
        process: WorkerProcess | None = getattr(self._local, "process", None)
        if process is None:
            try:
                process = self._local.process = WorkerProcess(f"{__name__}:roll_out")
            except OSError as error:
                raise SeqevalError(f"rolling out: a worker does not start ({error}). Use fewer workers.") from error
            self._processes.append(process)
        try:
            process.send(chunk)
            episodes: list[Episode] = process.receive()
        except WorkerEndedError as error:
            raise SeqevalError(
                f"rolling out {chunk}: a worker process ended with status {error.status}. If memory is short, use fewer workers."
            ) from error
        return episodes


def episodes(chunks: Iterator[Chunk], pool: WorkerPool, needed: int, expected: float) -> Iterator[Episode]:
    """Episodes in order until they have at least `needed` transitions together.

    Args:
        chunks: what to roll out, in order, without end.
        pool: the workers.
        needed: transitions.
        expected: transitions of a chunk; chunks are submitted early only while they are expected to be needed.
    """
    pending: deque[Future[list[Episode]]] = deque()
    have = 0
    while have < needed:
        while len(pending) < 2 * pool.workers:
            if pending and have + len(pending) * expected >= needed:
                break
            pending.append(pool.submit(next(chunks)))
            if pool.workers == 1:
                break
        for episode in pending.popleft().result():
            yield episode
            have += len(episode.rewards)
            if have >= needed:
                break
    for future in pending:
        future.cancel()
