"""Evaluation: E whole episodes of each of R runs, all together, with the deterministic action."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.environments.make import make_vector_env
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import SeqevalError

Act = Callable[[NDArray[np.float32]], NDArray[np.floating]]
_PURPOSE = zlib.crc32(b"evaluation episode")
_ROUNDING = 1e-4  # how far beyond [-1, 1] an action may be; it is clipped
LONGEST_EPISODE = 1_000_000  # environment steps, where the environment has no time limit of its own


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found; R runs, E episodes. A failed run's returns and scores are NaN."""

    returns: NDArray[np.float64]  # [R, E], undiscounted
    lengths: NDArray[np.int64]  # [R, E]; of a failed run as far as it came
    scores: NDArray[np.float64]  # [R, E], normalised (see Task)
    failures: dict[int, str] = field(default_factory=dict)  # run -> why, in one line
    env_steps: int = 0  # environment steps of this evaluation, all runs together
    seconds: float = 0.0


def nothing_evaluated(runs: int) -> Evaluation:
    """Of R runs without evaluation episodes: no returns, no failures."""
    return Evaluation(np.empty((runs, 0)), np.empty((runs, 0), np.int64), np.empty((runs, 0)))


def episode_seed(seed: int, evaluation: int, episode: int) -> int:
    """The environment's seed (0 ≤ · < 2**31) of one evaluation episode; the algorithm has no say in it."""
    words = np.random.SeedSequence([seed, _PURPOSE, evaluation, episode]).generate_state(1)
    return int(words[0] >> 1)


class Evaluator:
    """Holds the R·E environments of a stack and scores its deterministic policy; a context manager, or to be closed."""

    def __init__(
        self, task: Task, seeds: Sequence[int], episodes: int, backend: str = "auto", workers: int | None = None
    ):
        """Open the environments.

        Args:
            task: names the environment and the reference returns.
            seeds: of the runs, R of them.
            episodes: E ≥ 1.
            backend: see `environments.make_vector_env`, whose errors this raises.
            workers: likewise.
        """
        self.task, self.seeds, self.episodes = task, tuple(seeds), episodes
        self._envs = make_vector_env(task.environment, len(self.seeds) * episodes, backend, workers)
        self.backend = self._envs.backend
        self._thread: ThreadPoolExecutor | None = None

    def begin(self, act: Act, evaluation: int) -> Future[Evaluation]:
        """`evaluate` in a thread of its own; one at a time. `close` waits for it."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "evaluation")
        return self._thread.submit(self.evaluate, act, evaluation)

    def evaluate(self, act: Act, evaluation: int) -> Evaluation:
        """Run every episode to its end.

        Args:
            act: raw observations, float32 [R, E, *obs], to actions [R, E, act_dim] in [-1, 1]. The array is reused, and
                the rows of episodes that have ended keep their last observation.
            evaluation: index of the evaluation in the run; with the run's seed and the episode it gives the start.

        A run whose action is not finite or not in [-1, 1], or whose environment returns something that is not finite,
        has failed: it is stepped no further, and the others go on.

        Raises:
            ValueError: `act` returns another shape.
            SeqevalError: an episode does not end.
        """
        started = time.perf_counter()
        envs, runs, episodes = self._envs, len(self.seeds), self.episodes
        low, span = envs.action_low, envs.action_high - envs.action_low
        first = envs.reset([episode_seed(seed, evaluation, e) for seed in self.seeds for e in range(episodes)])
        observations = np.ascontiguousarray(first, np.float32)  # [R·E, *obs]
        stacked = observations.reshape(runs, episodes, *envs.obs_shape)
        returns, lengths = np.zeros(runs * episodes), np.zeros(runs * episodes, np.int64)
        active = np.ones(runs * episodes, np.bool_)
        failures: dict[int, str] = {}

        def fail(bad: NDArray[np.bool_], what: str) -> None:
            """Take the runs of the environments `bad` [R·E] out."""
            for index in np.flatnonzero(bad):
                run, episode = divmod(int(index), episodes)
                if run not in failures:
                    failures[run] = f"{what} in evaluation episode {episode} at time index {lengths[index]}"
                    active[run * episodes : (run + 1) * episodes] = False

        limit = envs.max_episode_length or LONGEST_EPISODE
        live = np.arange(runs * episodes)
        # Checks look at everything at once, and only where something is wrong for what it is.
        for _ in range(limit):
            actions = np.asarray(act(stacked))
            if actions.shape != (runs, episodes, envs.act_dim):
                raise ValueError(
                    f"act: expected actions of shape {(runs, episodes, envs.act_dim)}, found {actions.shape}"
                )
            actions = actions.reshape(runs * episodes, envs.act_dim).astype(np.float64)
            if not (np.abs(actions) <= 1.0 + _ROUNDING).all():
                fail(active & ~np.isfinite(actions).all(-1), "non-finite action")
                fail(active & (np.abs(actions) > 1.0 + _ROUNDING).any(-1), "action outside [-1, 1]")
                live = np.flatnonzero(active)
                if not len(live):
                    break
            chosen = low + (actions[live].clip(-1.0, 1.0) + 1.0) / 2.0 * span
            found, rewards, terminated, truncated = envs.step(chosen, live)
            observations[live] = found
            returns[live] += rewards
            lengths[live] += 1
            ended = terminated | truncated
            sound = np.isfinite(found).all() and np.isfinite(rewards).all()
            if sound and not ended.any():
                continue
            active[live] = ~ended
            if not sound:
                broken = np.zeros_like(active)
                broken[live] = ~(np.isfinite(rewards) & np.isfinite(found.reshape(len(live), -1)).all(-1))
                fail(broken, "non-finite reward or observation from the environment")
            live = np.flatnonzero(active)
            if not len(live):
                break
        if len(live):
            raise SeqevalError(
                f"environment {self.task.env_id!r}: expected an episode to end within {limit} environment steps, "
                "found one that goes on. Register it with max_episode_steps."
            )
        by_run = returns.reshape(runs, episodes)
        by_run[list(failures)] = np.nan
        scores = self.task.score(by_run)
        seconds = time.perf_counter() - started
        return Evaluation(by_run, lengths.reshape(runs, episodes), scores, failures, int(lengths.sum()), seconds)

    def close(self) -> None:
        """Release environments and worker processes, when an evaluation that was begun has ended."""
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)
        self._envs.close()

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
