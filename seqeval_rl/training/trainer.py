"""Trains a group of runs of one algorithm together: takes gradient steps, saves and loads states."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqeval_rl.data.stream import Stream
from seqeval_rl.environments.patience import UPDATE, within_limits
from seqeval_rl.interface.algorithm import Algorithm, Spec
from seqeval_rl.interface.config import grouped_config
from seqeval_rl.interface.registry import AlgorithmEntry
from seqeval_rl.interface.state import join_states, split_state
from seqeval_rl.protocol import EvaluationPoint, Protocol, Schedule
from seqeval_rl.training.build import build_learner, build_transitions, by_run, check_images, reward_scale
from seqeval_rl.training.cuda_graphs import Capture
from seqeval_rl.training.evaluation import Act
from seqeval_rl.training.history import Remembering
from seqeval_rl.training.learner import act
from seqeval_rl.training.n_step import NStepTransitions, build_sequences
from seqeval_rl.training.online import Interaction
from seqeval_rl.training.prequential import Prequential
from seqeval_rl.training.replay_buffer import ReplayBuffer, build_replay_buffer
from seqeval_rl.training.sequences import Sequences, check_complete, check_sequences
from seqeval_rl.training.visible_columns import VisibleColumns, check_columns

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Run:
    """One run of a group."""

    stream: Stream
    config: Any  # the algorithm's settings
    seed: int


class Trainer:
    """R runs of one algorithm and one task, trained together; a context manager, or to be closed."""

    def __init__(
        self,
        runs: Sequence[Run],
        entry: AlgorithmEntry,
        protocol: Protocol,
        device: torch.device,
        capture: Capture | None = None,
    ):
        """Nothing is trained yet. The runs differ in seed, in the values of float settings, or in stream; `capture` as in
        `build_learner`.

        Raises:
            DataError: a stream is too short for the protocol, or the task of an online phase has no environment.
            UsageError: settings that do not suit images.
            ValueError: settings differ in something other than floats, or streams in length before an online phase.
        """
        self.runs, self.device, self._protocol, self._entry = tuple(runs), device, protocol, entry
        self.schedules = [Schedule(protocol, len(run.stream), f"stream {run.stream.name!r}") for run in runs]
        self._points = [schedule.points() for schedule in self.schedules]
        self._config = grouped_config([run.config for run in runs])
        streams, seeds = [run.stream for run in runs], tuple(run.seed for run in runs)
        stream = streams[0]
        self._spec = Spec(stream.obs_shape, stream.act_dim, seeds, device, stream.action_classes)
        entry.check_spaces(self._spec, f"stream {stream.name!r}")
        names = entry.columns(self._config)
        check_columns(entry.name, names, protocol, f"stream {stream.name!r}")
        transitions = build_transitions(streams, seeds, protocol)
        if transitions.pixels is not None:
            check_images(entry.name, stream.name, self._config)
        replay = build_replay_buffer(transitions, self._spec, together=capture is not None)
        sequences = self._sequences(replay)
        self.interaction = self._open_environments(replay) if protocol.online else None
        scales = np.array([reward_scale(run.stream, run.config, protocol) for run in runs])
        # As published: statistics of the full dataset from the start, never refreshed.
        self._fixed_statistics = protocol.uses_future_data and len(stream) > 0
        visible = len(stream) if self._fixed_statistics else self.points()[0].transitions
        self.learner = build_learner(
            entry, self._config, self._spec, replay, self.schedules, visible, scales, capture, sequences
        )
        self.algorithm, self.preprocessing = self.learner.algorithm, self.learner.preprocessing
        self.columns: VisibleColumns | None = None
        if names:
            discounts = by_run(getattr(self._config, "discount", 1.0), len(runs))
            self.columns = VisibleColumns(names, streams, replay, discounts, scales, self.interaction)
            self.columns.refresh(visible)
            replay.columns = self.columns
        self.prequential = Prequential(streams, self.learner, self._config, scales)
        self._copies: dict[int, Algorithm] = {}  # see `copy_policy`

    def _sequences(self, replay: ReplayBuffer) -> Sequences | NStepTransitions | None:
        """What makes sequences or n-step transitions of those that are drawn, for an algorithm that asks for them."""
        streams = [run.stream for run in self.runs]
        where = [f"stream {stream.name!r}" for stream in streams]
        for stream, name in zip(streams, where, strict=True):
            check_sequences(self._entry, self._config, self._protocol, stream, name)
        sequences = build_sequences(self._entry, self._config, replay, streams)
        if sequences is None:
            return None
        for complete, schedule, name in zip(sequences.complete, self.schedules, where, strict=True):
            if complete is not None:
                check_complete(complete, schedule, f"{self._entry.name} in {name}")
        return sequences

    def _open_environments(self, replay: ReplayBuffer) -> Interaction:
        """The environments of the online phase. Without a dataset, the first transitions are gathered here, because statistics
        and the first gradient step need them."""
        stream = self.runs[0].stream
        random = 0 if len(stream) else self.schedules[0].initial
        length = self._entry.history_length(self._config)

        def explore(*seen: Any) -> NDArray[np.float32]:
            return self.learner.act(*seen)  # which is not there yet

        if length is not None:
            explore = Remembering(explore, length, len(self.runs), replay.obs_shape, replay.act_dim)  # type: ignore[assignment]
        interaction = Interaction(
            stream.task, self._spec.seeds, replay, len(stream), random, explore,
            self._protocol.max_episode_steps,
        )  # fmt: skip
        interaction.gather(len(stream) + random)
        return interaction

    def close(self) -> None:
        """Close the environments of the online phase, and stop gathering rows."""
        self.learner.batches.close()
        if self.interaction is not None:
            self.interaction.close()

    def __enter__(self) -> Trainer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def points(self) -> list[EvaluationPoint]:
        """The evaluation points that all runs share: all of them where streams are equally long, else those before the first
        stream ends."""
        shared = takewhile(lambda points: len(set(points)) == 1, zip(*self._points, strict=False))
        return [points[0] for points in shared]

    def increments_until(self, point: EvaluationPoint) -> Iterator[range]:
        """Numbers (from 1) of the increments from the previous evaluation point to this one, in ranges to be revealed at once.

        Offline that is all of them: which transitions a gradient step may sample from follows from its number alone (see
        `Schedule.window`), so revealing them one at a time would change nothing. Online each increment needs the policy.
        """
        per_increment = self._protocol.updates_per_increment
        done = self._points[0][point.index - 1].gradient_steps // per_increment if point.index else 0
        increments = range(done + 1, point.gradient_steps // per_increment + 1)
        step = 1 if point.env_steps else max(len(increments), 1)
        for first in increments[::step]:
            yield range(first, min(first + step, increments.stop))

    def reveal(self, increments: range) -> None:
        """Make the transitions of these increments visible: online by environment steps of the policy."""
        if self.interaction is not None:
            self.interaction.gather(int(self.schedules[0].seen(np.array(increments[-1]))))

    def update(self, increments: range, progress: Callable[[int], None]) -> None:
        """Take the K gradient steps of each of these increments; `progress` takes the number of gradient steps so far."""
        per_increment = self._protocol.updates_per_increment
        self.learner.train((increments.start - 1) * per_increment, (increments.stop - 1) * per_increment, progress)

    def metrics(self) -> dict[str, NDArray[np.float64]]:
        """Means over the gradient steps, exploration episodes and scored transitions since last asked, each [R]."""
        episodes = self.interaction.metrics() if self.interaction is not None and self.interaction.gathered else {}
        return {**self.learner.metrics(), **episodes, **self.prequential.scores()}

    def environment_failures(self) -> tuple[dict[int, str], dict[int, str]]:
        """By run, why its environment of the online phase cannot be used, and the traceback where it raised."""
        online = self.interaction
        return ({}, {}) if online is None else (dict(online.failures), dict(online.tracebacks))

    def score_upcoming(self, point: EvaluationPoint) -> None:
        """Score the policy on the transitions of the dataset that become visible before the next evaluation point."""
        stops = [
            min(points[min(point.index + 1, len(points) - 1)].transitions, schedule.dataset_length)
            for points, schedule in zip(self._points, self.schedules, strict=True)
        ]
        self.prequential.score(point.transitions, stops)

    def refresh_statistics(self, point: EvaluationPoint) -> None:
        """Normalize by statistics of what is visible at this evaluation point from now on; the same for columns of batches."""
        if not self._fixed_statistics:
            self.preprocessing.refresh(point.transitions)
            if self.columns is not None:
                self.columns.refresh(point.transitions)

    def labels(self, point: EvaluationPoint) -> tuple[str, ...]:
        """[R], label of the block that the newest visible transition belongs to."""
        return tuple(run.stream.label_at(point.transitions) for run in self.runs)

    def copy_policy(self, place: int = 0) -> Act:
        """The policy as it is now, on the CPU. The next call for the same `place` overwrites the copy."""
        first = place not in self._copies
        if first:
            self._copies[place] = self._entry.build(self._config, replace(self._spec, device=CPU))
        copy = self._copies[place]
        copy.load_state_dict(join_states([self.algorithm.state_dict()]))
        preprocess, scale = self.preprocessing.now(CPU), self.preprocessing.reward_scale
        copied = partial(act, copy, preprocess, CPU, self._spec, first, reward_scale=scale)
        length = getattr(copy, "history_length", None)
        if length is None:
            return copied
        return Remembering(copied, length, self._spec.runs, self._spec.obs_shape, self._spec.act_dim)

    def states(self) -> list[dict[str, Any]]:
        """One state per run: networks, optimizers, statistics, gathered transitions. Batches need none (see `BatchSampler`)."""
        with within_limits(UPDATE):
            parts = {name: split_state(part.state_dict(), len(self.runs)) for name, part in self._parts().items()}
        return [{name: states[r] for name, states in parts.items()} for r in range(len(self.runs))]

    def load_states(self, states: list[dict[str, Any]]) -> None:
        """The inverse of `states`."""
        for name, part in self._parts().items():
            if name in states[0]:  # a checkpoint of an older version has no prequential scores
                part.load_state_dict(join_states([state[name] for state in states]))

    def _parts(self) -> dict[str, Any]:
        """What has a state, by its name in checkpoints."""
        parts = {"algorithm": self.algorithm, "preprocessing": self.preprocessing, "prequential": self.prequential}
        images = None if self.interaction is None else self.interaction.images
        more = {"images": images, "online": self.interaction, "columns": self.columns}  # loaded in this order
        return {**parts, **{name: part for name, part in more.items() if part is not None}}
