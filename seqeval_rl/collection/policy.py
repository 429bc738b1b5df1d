"""`Policy`: the trained policy of a run, for use outside seqeval-rl and for collecting datasets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from seqeval_rl.environments.spaces import Shapes, gymnasium_shapes
from seqeval_rl.environments.tasks import Task
from seqeval_rl.environments.trust import task_of_data
from seqeval_rl.errors import DataError, UsageError
from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.interface.registry import AlgorithmEntry, find_algorithm, registered
from seqeval_rl.results import checkpoint
from seqeval_rl.results.read import MANIFEST, RunResult, read_results
from seqeval_rl.training.history import Memory, Remembering

_CPU = torch.device("cpu")


class Policy:
    """A trained policy: `policy(observation)` is the greedy action in the environment's units.

        policy = Policy.load("results/mine/hopper/td3_bc/seed-0")
        observation, _ = env.reset()
        env.step(policy(observation))

    A policy that acts on a history is told when an episode begins, `policy.reset()`, and the reward of each of its actions,
    `policy.receive(reward)`; other policies ignore both.

    Observations are normalized with the statistics in the checkpoint, those that the run continues with: its last evaluation used
    the statistics of one evaluation before. It computes on the CPU.
    """

    task: Task  # the run's environment and reference returns
    shapes: Shapes  # of the environment's observations and actions, with the bounds of actions
    seed: int  # of the run
    description: str = ""  # which run it comes from, and after how much training
    evaluation: int = -1  # of the run, the last before its checkpoint; -1: it is of no run
    max_episode_steps: int | None = None  # the run's time limit of episodes; None: the environment's own

    def __init__(self, entry: AlgorithmEntry, config: Any, task: Task, state: dict[str, Any], seed: int):
        """From a run's state, see `Trainer.states`; `load` does this for a run's directory.

        Args:
            entry: the algorithm.
            config: its settings.
            task: gives the shapes and the bounds of actions.
            state: of one run.
            seed: of that run.

        Raises:
            DataError: the state is not one of this algorithm with these settings.
            EnvironmentMissingError: the task's environment is not installed.
        """
        shapes = gymnasium_shapes(task.environment)[1]
        self.task, self.shapes, self.seed = task, shapes, seed
        self._algorithm = entry.build(
            config, Spec(shapes.obs_shape, shapes.act_dim, (seed,), _CPU, shapes.action_classes)
        )
        try:
            self._algorithm.load_state_dict(state["algorithm"])
            obs_dim = 0 if shapes.images else int(np.prod(shapes.obs_shape))  # images are not normalized
            self._scale, self._shift = observation_map(state, obs_dim)
            scales = state["preprocessing"]["scale"].double().reshape(-1).numpy()
        except (KeyError, ValueError, RuntimeError, AttributeError) as error:
            raise DataError(
                f"checkpoint of {entry.name}: expected its state for {task.env_id}, found {type(error).__name__}: "
                f"{(str(error).splitlines() or [''])[0]} Use the settings and the version of the algorithm that it was "
                "trained with."
            ) from error

        self.remembering: Remembering | None = None  # of a policy that acts on a history; to evaluate it
        self._waits: bool | None = None  # whether an action has no reward yet; None: `reset` was not called
        self._length = entry.history_length(config)
        if self._length is not None:
            self._reward_scale = scales[-obs_dim - 2 : -obs_dim - 1]
            self.remembering = Remembering(self._act_on, self._length, 1, shapes.obs_shape, len(shapes.action_low))

    @torch.no_grad()
    def _act_on(self, memory: Memory, noise: None = None) -> NDArray[np.float32]:
        """Greedy actions [1, E, act_dim] for histories."""
        history = memory.history(self._seen, self._reward_scale, _CPU)
        actions: NDArray[np.float32] = self._algorithm.act(history, None).numpy()  # type: ignore[arg-type]
        return actions

    def _seen(self, observations: torch.Tensor) -> torch.Tensor:
        """Observations [1, B, *obs] as the algorithm sees them."""
        # As `Preprocessing.now` computes it, so that actions are equal to the last bit.
        if not len(self._scale):
            return observations
        return torch.addcmul(self._shift, observations.flatten(2), self._scale).view(observations.shape)

    def reset(self) -> None:
        """Episodes begin, in as many environments as the next call has observations."""
        self._waits = None

    def receive(self, rewards: ArrayLike) -> None:
        """The rewards of the latest actions, one number or [B]."""
        if self.remembering is not None and self._waits:
            self.remembering.add(self._taken, np.asarray(rewards, np.float64).reshape(1, -1))
            self._waits = False

    def _remember(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Greedy actions [B, act_dim] in [-1, 1] of a policy that acts on a history. Raises `UsageError`."""
        assert self.remembering is not None
        if self._waits:
            raise UsageError(
                f"policy of {self.task.env_id}: expected receive(reward) after each action, since it acts on a history, found "
                "another call. Give it the reward, or reset() at the start of an episode."
            )
        if self._waits is None:
            self.remembering.begin(len(observations))
        actions = self.remembering(observations[None])
        self._taken, self._waits = np.clip(actions, -1.0, 1.0), True
        return actions[0]

    @classmethod
    def load(
        cls,
        run_directory: str | os.PathLike[str],
        algorithm: str | None = None,
        trust_environments: Sequence[str] = (),
    ) -> Policy:
        """The policy of a run's newest checkpoint.

        Args:
            run_directory: of one run, with its `manifest.json`, for example `results/mine/hopper/td3_bc/seed-0`.
            algorithm: where the run's algorithm is (`module:Class` or `file.py:Class`), if it is not registered under its name.
            trust_environments: code that the run's manifest may name to open its environment, see `load_dataset`.

        Raises:
            DataError: no such run, no checkpoint that can be read, one of other settings, or an environment that is not to be
                trusted.
            UsageError: several runs, the algorithm is not registered, or the run's task has no environment.
            EnvironmentMissingError: the task's environment is not installed.
        """
        directory = Path(run_directory)
        run = one_run(directory)
        task = task_of_data(f"{run.path}/{MANIFEST}", run.manifest["task"], trust_environments)
        if task.env_id is None:
            raise UsageError(f"{directory}: expected a run whose task has an environment, found none. Use another run.")
        entry = _algorithm(run, algorithm)
        evaluation, state = checkpoint.newest(directory / "checkpoint")
        if not state:
            raise DataError(
                f"{directory}/checkpoint: expected a checkpoint, found none that can be read. Name a run that has one."
            )
        policy = cls(entry, entry.configure(run.config, f"{directory}/manifest.json"), task, state, run.seed)
        done = run.evaluations[evaluation]["transitions"] if evaluation < len(run.evaluations) else "unrecorded"
        policy.evaluation, policy.max_episode_steps = evaluation, run.protocol.get("max_episode_steps")
        policy.description = f"{run.algorithm}, seed {run.seed}, after {done} transitions of {run.dataset}"
        return policy

    def __call__(self, observation: ArrayLike) -> NDArray[Any]:
        """The greedy action [act_dim] for an observation [*obs_shape], or actions [B, act_dim] for [B, *obs_shape]; a discrete
        action is one number.

        Observations are raw, actions in the environment's units and in the dtype of its action space. Raises `DataError` for
        another shape, and `UsageError` where a policy that acts on a history has not been given a reward.
        """
        observations, shape = np.asarray(observation, np.float32), self.shapes.obs_shape
        single = observations.shape == shape
        if not single and observations.shape[1:] != shape:
            raise DataError(
                f"policy of {self.task.env_id}: expected an observation of shape {shape} or a batch of them, found shape "
                f"{observations.shape}."
            )
        batch = observations[None] if single else observations
        remembers = self.remembering is not None
        chosen = self._remember(batch) if remembers else self.scaled_actions(torch.from_numpy(batch)).numpy()
        actions = self.shapes.in_space(self.shapes.in_units(chosen))
        return actions[0] if single else actions

    @torch.no_grad()
    def scaled_actions(self, observations: torch.Tensor) -> torch.Tensor:
        """Greedy actions [B, act_dim] in [-1, 1] for raw observations [B, *obs_shape], both float32; of discrete actions their
        numbers from 0 on, [B, 1]."""
        actions: torch.Tensor = self._algorithm.act(self._seen(observations[None]), None)[0]
        return actions if self.shapes.action_classes is None else actions.unsqueeze(-1).float()

    def act(self, observations: NDArray[np.float32], noise: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Actions as of `scaled_actions` for raw observations [B, *obs_shape]; exploring with standard normals [B, n], where n is
        `Spec.act_noise_dim`, greedy without."""
        # Not `addcmul`, which rounds once: collected datasets must stay the same.
        seen = torch.from_numpy(observations)
        if len(self._scale):
            seen = (seen.flatten(1) * self._scale + self._shift).view(observations.shape)
        normals = None if noise is None else torch.from_numpy(noise)[None]
        with torch.no_grad():
            actions: NDArray[Any] = self._algorithm.act(seen[None], normals)[0].numpy()
        return actions if self.shapes.action_classes is None else actions[:, None].astype(np.float32)


def one_run(directory: Path) -> RunResult:
    """The run of a directory. Raises `DataError` where there is none, and `UsageError` where there are several."""
    runs = read_results(directory)
    if len(runs) != 1:
        raise UsageError(
            f"{directory}: expected the directory of one run, found {len(runs)} runs. Name one, for example "
            f"{runs[0].path}."
        )
    return runs[0]


def observation_map(state: dict[str, Any], obs_dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What a run's normalization multiplies observations by and then adds, float32 [obs_dim] each; 1 and 0: nothing."""
    scale, shift = (state["preprocessing"][name].float().reshape(-1)[:obs_dim] for name in ("scale", "shift"))
    return scale, shift


def _algorithm(run: RunResult, reference: str | None) -> AlgorithmEntry:
    if reference is None and run.algorithm not in registered():
        raise UsageError(
            f"{run.path}: made by {run.algorithm}, which is not registered here. Say where it is: --algorithm "
            "file.py:Class or module:Class."
        )
    return find_algorithm(reference or run.algorithm, "--algorithm")
