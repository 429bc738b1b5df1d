"""Runs a single-run algorithm as a run group: one independent instance per run.

A single-run algorithm sees batches without the run axis and one seed. It may draw from torch's global generator: each run has
its own generator state, which replaces the global one during construction, `update`, `act` and hooks, and is saved with the
run. Other sources of randomness (numpy, `random`) are not covered.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, KeysView
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from seqeval_rl.interface.algorithm import Algorithm, Batch, Spec
from seqeval_rl.interface.config import differing
from seqeval_rl.interface.returns import check_actions, check_metrics, check_numbers
from seqeval_rl.interface.sequences import History, SequenceBatch, history_length
from seqeval_rl.interface.state import RUNS
from seqeval_rl.seeding import torch_generator


def noise_dim(algorithm: type, config: Any, spec: Spec) -> int:
    """How many standard normals per transition an algorithm's `update` needs; 0 if it does not define `noise_dim`."""
    declared = getattr(algorithm, "noise_dim", None)
    return 0 if declared is None else int(declared(config, spec))


def columns(algorithm: type, config: Any) -> tuple[str, ...]:
    """The optional fields of `Batch` that an algorithm's `update` needs; none if it does not define `columns`."""
    declared = getattr(algorithm, "columns", None)
    return () if declared is None else tuple(declared(config))


def random_columns(names: tuple[str, ...], normal: Callable[..., Tensor], act_dim: int) -> dict[str, Tensor]:
    """Values of such fields for batches of random numbers, a quarter of them missing; `normal` draws [R, B, *its arguments]."""
    missing = {"next_actions": torch.nan, "returns": -torch.inf, "ranks": torch.nan}
    made = {}
    for name in names:
        values = normal(act_dim).tanh() if name == "next_actions" else normal()
        values = torch.special.ndtr(values) if name == "ranks" else values
        absent = normal(1) < -0.67
        made[name] = values.masked_fill(absent if name == "next_actions" else absent.squeeze(-1), missing[name])
    return made


def build(algorithm: type, config: Any, spec: Spec) -> Algorithm:
    """A run group of any algorithm: the algorithm itself if it is vectorized, else one instance per run."""
    group: Any = (
        algorithm(config, spec) if getattr(algorithm, "vectorized", False) else PerSeed(algorithm, config, spec)
    )
    length = history_length(algorithm, config)
    if length is not None:
        group.history_length = length
    return group


class PerSeed:
    """R instances of a single-run algorithm behind the interface of a vectorized one."""

    Config: type
    vectorized = True
    capturable = False  # single-run algorithms may draw, branch and count freely

    def __init__(self, algorithm: type, config: Any, spec: Spec) -> None:
        """Builds one instance of a single-run algorithm per seed; a tensor [R] in `config` has one value per run."""
        self.Config = algorithm.Config  # type: ignore[attr-defined]
        self.name: str = getattr(algorithm, "name", algorithm.__name__)
        self.device = spec.device
        generators = [torch_generator(seed, "plain") for seed in spec.seeds]
        self.rng: list[Tensor] = [g.get_state() for g in generators]
        self.cuda_rng: list[Tensor | None] = [None] * spec.runs
        if spec.device.type == "cuda":
            self.cuda_rng = [torch.Generator(spec.device).manual_seed(g.initial_seed()).get_state() for g in generators]
        self.runs: list[Any] = []
        swept = differing(config)
        for r, seed in enumerate(spec.seeds):
            own = dataclasses.replace(config, **{name: getattr(config, name)[r].item() for name in swept})
            with self._random(r):
                self.runs.append(algorithm(own, dataclasses.replace(spec, seeds=(seed,))))
        self.period: int = getattr(self.runs[0], "period", 1)
        self._act_dim, self._action_classes = spec.act_dim, spec.action_classes
        self._names: KeysView[str] | None = None  # of metrics, in order; None before the first update
        self._acted: set[bool] = set()  # whether it has acted greedily (True) and exploring (False)

    def update(self, batch: Batch | SequenceBatch) -> dict[str, Tensor]:
        """One gradient step of every run. Raises WrongReturn where a run does not return metrics, or others than before."""
        metrics = self._each(lambda run, r: run.update(batch.run(r)))
        for run, each in zip(self.runs, metrics, strict=True):
            check_metrics(run, each, (), self._names)
            self._names = self._names or dict.fromkeys(each).keys()
        return {
            key: torch.stack([torch.as_tensor(each[key], device=self.device).detach().reshape(()) for each in metrics])
            for key in self._names or ()
        }

    def act(self, observations: Tensor | History, noise: Tensor | None) -> Tensor:
        """[R, E, *obs_shape] or a history, and [R, E, act_dim] or None -> [R, E, act_dim], of discrete actions see
        `Algorithm.act`. Raises WrongReturn where a run returns no such actions."""
        noises = [None] * len(self.runs) if noise is None else noise
        seen = [
            observations.each(lambda column, r=r: column[r]) if isinstance(observations, History) else observations[r]  # type: ignore[misc]
            for r in range(len(self.runs))
        ]
        actions = self._each(lambda run, r: run.act(seen[r], noises[r]))
        envs = observations.rewards.shape[1] if isinstance(observations, History) else observations.shape[1]
        for run, each in zip(self.runs, actions, strict=True):
            bounded = (noise is None) not in self._acted
            check_actions(run, each, (envs, self._act_dim), bounded, self._action_classes)
        self._acted.add(noise is None)
        return torch.stack(actions)

    def __getattr__(self, name: str) -> Any:
        """The hooks `values` and `log_prob`, if the algorithm has them: [R, B, *obs_shape], [R, B, act_dim] -> [R, B]."""
        if name not in ("values", "log_prob") or not hasattr(self.runs[0], name):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return partial(self._score, name)

    def _score(self, name: str, observations: Tensor, actions: Tensor) -> Tensor:
        numbers = self._each(lambda run, r: getattr(run, name)(observations[r], actions[r]))
        for run, each in zip(self.runs, numbers, strict=True):
            check_numbers(run, name, each, (observations.shape[1],))
        return torch.stack(numbers)

    def state_dict(self) -> dict[str, Any]:
        """One independent state per run, under the key by which `split_state` and `join_states` recognize it."""
        return {
            RUNS: [
                {"algorithm": run.state_dict(), "rng": rng, "cuda_rng": cuda_rng}
                for run, rng, cuda_rng in zip(self.runs, self.rng, self.cuda_rng, strict=True)
            ]
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`. Raises ValueError where the number of runs differs."""
        states = state.get(RUNS, [])
        if len(states) != len(self.runs):
            raise ValueError(f"state of {self.name}: expected {len(self.runs)} runs, found {len(states)}")
        for r, saved in enumerate(states):
            self.runs[r].load_state_dict(saved["algorithm"])
            self.rng[r] = saved["rng"].cpu()  # torch takes generator states on the CPU only
            self.cuda_rng[r] = None if saved["cuda_rng"] is None else saved["cuda_rng"].cpu()

    def _each(self, call: Callable[[Any, int], Any]) -> list[Any]:
        results = []
        for r, run in enumerate(self.runs):
            with self._random(r):
                results.append(call(run, r))
        return results

    @contextmanager
    def _random(self, r: int) -> Iterator[None]:
        """Uses run `r`'s generator state as torch's global one, which is restored afterwards."""
        cuda = self.device.type == "cuda"
        own = self.cuda_rng[r]
        with torch.random.fork_rng([self.device] if cuda else []):
            torch.set_rng_state(self.rng[r])
            if cuda and own is not None:  # None: the state was saved on a machine without CUDA
                torch.cuda.set_rng_state(own, self.device)
            try:
                yield
            finally:
                self.rng[r] = torch.get_rng_state()
                if cuda:
                    self.cuda_rng[r] = torch.cuda.get_rng_state(self.device)
