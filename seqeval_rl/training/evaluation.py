"""Evaluation: E full episodes of each of R runs, all stepped together, with the deterministic action."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.environments.make import make_vector_env
from seqeval_rl.environments.returned import EnvironmentFailure, attempt
from seqeval_rl.environments.tasks import Task
from seqeval_rl.environments.vector_env import Transition, VectorEnv
from seqeval_rl.interface.returns import ROUNDING
from seqeval_rl.training.history import Remembering

Act = Callable[[NDArray[np.float32]], NDArray[np.floating]]
TRAINING = "evaluation episode"  # the purpose of the evaluations while a run trains


@dataclass(frozen=True)
class Evaluation:
    """The result of one evaluation; R runs, E episodes. A failed run's returns and scores are NaN."""

    returns: NDArray[np.float64]  # [R, E], undiscounted
    lengths: NDArray[np.int64]  # [R, E], environment steps; of a failed run until it failed
    scores: NDArray[np.float64]  # [R, E], normalized (see `Task.score`); NaN where the task has no reference returns
    failures: dict[int, str] = field(default_factory=dict)  # run -> why, in one line
    # run -> traceback, of the failures above that are the environment's own
    tracebacks: dict[int, str] = field(default_factory=dict)
    env_steps: int = 0  # of this evaluation, all runs together
    seconds: float = 0.0


def episode_seed(seed: int, evaluation: int, episode: int, purpose: str = TRAINING) -> int:
    """The environment's seed (0 ≤ · < 2**31) of one evaluation episode; it does not depend on the algorithm."""
    words = np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), evaluation, episode]).generate_state(1)
    return int(words[0] >> 1)


class _Episodes:
    """The running episodes of one evaluation, flat over runs and episodes: R·E environments."""

    def __init__(self, runs: int, episodes: int, seeds: Sequence[int], action_range: tuple[float, float]):
        """`seeds` [R·E] are those of the environments; `action_range` as in `Shapes`."""
        self._seeds, self._range = seeds, action_range
        self.returns, self.lengths = np.zeros(runs * episodes), np.zeros(runs * episodes, np.int64)
        self.terminated = np.zeros(runs * episodes, np.bool_)
        self.live = np.arange(runs * episodes)  # indices of the environments that are still stepped
        self.failures: dict[int, str] = {}
        self.tracebacks: dict[int, str] = {}
        self._episodes, self._active = episodes, np.ones(runs * episodes, np.bool_)

    def check_actions(self, actions: NDArray[np.floating]) -> None:
        """Stop the runs with a live environment whose action [R·E, act_dim] is not finite or outside its range."""
        self._fail(self._active & ~np.isfinite(actions).all(-1), "non-finite action")
        low, high = self._range
        inside = (low - ROUNDING <= actions) & (actions <= high + ROUNDING)
        self._fail(self._active & ~inside.all(-1), f"action outside [{low:g}, {high:g}]")
        self.live = np.flatnonzero(self._active)

    def add(self, step: Transition) -> None:
        """Add what the live environments returned, each with a leading axis over these."""
        live, (observations, rewards, terminated, truncated) = self.live, step
        self.returns[live] += rewards
        self.lengths[live] += 1
        ended = terminated | truncated
        finite = np.isfinite(observations).all() and np.isfinite(rewards).all()
        if finite and not ended.any():
            return
        self._active[live] = ~ended
        self.terminated[live] = terminated
        if not finite:
            bad = np.zeros_like(self._active)
            bad[live] = ~(np.isfinite(rewards) & np.isfinite(observations.reshape(len(live), -1)).all(-1))
            self._fail(bad, "non-finite reward or observation from the environment")
        self.live = np.flatnonzero(self._active)

    def add_failures(self, failures: Mapping[int, EnvironmentFailure]) -> None:
        """Stop the runs that own these environments."""
        for index, failure in failures.items():
            if self._stop(index, failure.message):
                self.tracebacks[index // self._episodes] = failure.traceback
        self.live = np.flatnonzero(self._active)

    def _fail(self, bad: NDArray[np.bool_], what: str) -> None:
        """Stop the runs that own the environments `bad` [R·E]."""
        for index in np.flatnonzero(bad).tolist():
            self._stop(index, what)

    def _stop(self, index: int, what: str) -> bool:
        """Stop the run that owns an environment; False where it has failed before."""
        run, episode = divmod(index, self._episodes)
        if run in self.failures:
            return False
        where = f"in evaluation episode {episode} at time index {self.lengths[index]}"
        self.failures[run] = f"{what} {where} (environment seed {self._seeds[index]})"
        self._active[run * self._episodes : (run + 1) * self._episodes] = False
        return True


class Evaluator:
    """R·E environments that score the deterministic policies of R runs; a context manager, or to be closed."""

    def __init__(
        self,
        task: Task,
        seeds: Sequence[int],
        episodes: int,
        backend: str = "auto",
        workers: int | None = None,
        max_episode_steps: int | None = None,
        purpose: str = TRAINING,
    ):
        """Open the task's environment for E = `episodes` ≥ 1 episodes of each of R runs, given by their seeds. Evaluations of
        another `purpose` have other episodes. Other arguments and errors as in `environments.make_vector_env`."""
        self.task, self.seeds, self.episodes, self._purpose = task, tuple(seeds), episodes, purpose
        self._open = partial(
            make_vector_env, task.environment, len(self.seeds) * episodes, backend, workers, max_episode_steps
        )
        self._opened = [self._open()]  # R·E environments for each of the evaluations that have run at the same time
        self._free = list(self._opened)  # those of them that no evaluation uses
        self.backend = self._opened[0].backend
        self._closed = False
        self._threads = ThreadPoolExecutor(thread_name_prefix="evaluation")  # start with the first `begin`

    def begin(self, act: Act, evaluation: int) -> Future[Evaluation]:
        """Start `evaluate` in a thread of its own, which `close` stops. Where others are running, it opens more environments."""
        return self._threads.submit(self._evaluate, self._take(), act, evaluation)

    def _take(self) -> VectorEnv:
        """Environments that no other evaluation uses."""
        if self._free:
            return self._free.pop()
        self._opened.append(self._open())
        return self._opened[-1]

    def evaluate(self, act: Act, evaluation: int) -> Evaluation:
        """Run every episode to its end.

        A run whose action is not finite or not in [-1, 1], or whose environment raises or returns something that is not
        finite, has failed: it is stepped no further, and the other runs continue.

        Args:
            act: raw observations, float32 [R, E, *obs], to actions [R, E, act_dim] in [-1, 1]; of discrete actions the
                numbers [R, E, 1]. The array of observations is reused, and
                the rows of episodes that have ended keep their last observation.
            evaluation: index of the evaluation in the run; with the run's seed and the episode it gives the environment's seed.

        Raises:
            ValueError: `act` returns another shape.
        """
        return self._evaluate(self._take(), act, evaluation)

    def _evaluate(self, envs: VectorEnv, act: Act, evaluation: int) -> Evaluation:
        """`evaluate` in these environments, which are free afterwards."""
        try:
            return self._play(envs, act, evaluation)
        finally:
            self._free.append(envs)

    def _play(self, envs: VectorEnv, act: Act, evaluation: int) -> Evaluation:
        started = time.perf_counter()
        runs, episodes = len(self.seeds), self.episodes
        low, high = action_range = envs.shapes.action_range
        starts = [episode_seed(seed, evaluation, e, self._purpose) for seed in self.seeds for e in range(episodes)]
        first, failed = attempt(lambda: envs.reset(starts))
        observations = np.ascontiguousarray(first, np.float32)  # [R·E, *obs]
        by_run = observations.reshape(runs, episodes, *envs.obs_shape)  # the same memory
        record = _Episodes(runs, episodes, starts, action_range)
        record.add_failures(failed)
        remembering = act if isinstance(act, Remembering) else None
        if remembering is not None:
            remembering.begin(episodes)
        for _ in range(envs.max_episode_length):
            if not len(record.live):
                break
            if self._closed:
                raise CancelledError("the environments of this evaluation are closed")
            actions = np.asarray(act(by_run))
            if actions.shape != (expected := (runs, episodes, envs.act_dim)):
                raise ValueError(f"act: expected actions of shape {expected}, found {actions.shape}")
            actions = actions.reshape(runs * episodes, envs.act_dim).astype(np.float64)
            # Checks look at all numbers at once; only where something is wrong do they look for what it is.
            if not ((low - ROUNDING <= actions) & (actions <= high + ROUNDING)).all():
                record.check_actions(actions)
                if not len(record.live):
                    break
            live = record.live
            step, failed = attempt(partial(envs.step, envs.shapes.in_units(actions[live]), live))
            observations[live] = step[0]
            if remembering is not None:
                rewards = np.zeros(runs * episodes)
                rewards[live] = np.nan_to_num(step[1])
                taken = np.nan_to_num(actions).clip(-1.0, 1.0).reshape(expected)
                remembering.add(taken, rewards.reshape(runs, episodes))
            record.add(step)
            if failed:
                record.add_failures(failed)
        returns = record.returns.reshape(runs, episodes)
        returns[list(record.failures)] = np.nan
        lengths, terminated = record.lengths.reshape(runs, episodes), record.terminated.reshape(runs, episodes)
        scores = self.task.score(returns, terminated)
        seconds = time.perf_counter() - started
        return Evaluation(returns, lengths, scores, record.failures, record.tracebacks, int(lengths.sum()), seconds)

    def close(self) -> None:
        """Close environments and worker processes, after the environment step that an evaluation in a thread is at."""
        self._closed = True
        self._threads.shutdown(wait=True, cancel_futures=True)
        for envs in self._opened:
            envs.close()

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
