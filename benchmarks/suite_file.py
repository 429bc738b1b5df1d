"""What a suite's TOML file may hold: its keys, those of a stream, and those of a task."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from seqeval_rl.data.readers.base import Mode
from seqeval_rl.data.stream import StreamSpec
from seqeval_rl.environments.tasks import Task, task_named
from seqeval_rl.errors import UsageError


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CustomTask(_Strict):
    """A task that is not among the known ones."""

    name: str = Field(description="of the task, for figures and tables")
    env_id: str | None = Field(
        default=None, description="gymnasium's id; none: no environment, prequential scores alone"
    )
    reference_min: float | None = Field(default=None, description="return of score 0; none: raw returns, no scores")
    reference_max: float | None = Field(default=None, description="return of score 100")


class StreamEntry(_Strict):
    """One stream of a suite: datasets that are concatenated, or none: online learning of a task without a dataset."""

    name: str | None = Field(
        default=None, description="of the stream, for figures and tables; none: its blocks' sources"
    )
    blocks: tuple[str, ...] = Field(
        description="sources of the datasets, concatenated in this order; []: the task is learned online only"
    )
    task: str | CustomTask | None = Field(
        default=None,
        description="a known task, an environment's id, or a table with name, env_id, reference_min and reference_max; "
        "none: as the data say",
    )
    reference_returns: tuple[float, float] | None = Field(
        default=None, description="returns of score 0 and 100, in place of the task's"
    )
    mode: Mode = Field(
        default="native", description="how files in D4RL's format are read; d4rl: exactly as qlearning_dataset does"
    )
    action_low: float | tuple[float, ...] | None = Field(
        default=None,
        description="lower bound of actions, a number or one for each dimension; none: that of the data or the environment",
    )
    action_high: float | tuple[float, ...] | None = Field(default=None, description="upper bound of actions")
    clip_actions: bool = Field(
        default=False, description="clip actions outside the bounds, and count them; false: they are refused"
    )
    interleave: bool = Field(
        default=False, description="the control of a stream of several blocks: their transitions are mixed uniformly"
    )

    def spec(self, where: str) -> StreamSpec:
        """The stream as a `Sweep` takes it."""
        match self.task:
            case None:
                task = None
            case str():
                task = task_named(self.task, where)
            case CustomTask():
                task = Task(**self.task.model_dump())
        if not self.blocks and task is None:
            raise UsageError(
                f"stream {self.name or 'without a name'!r} in {where}: expected blocks, or a task to learn online, found neither."
            )
        joined = "+".join(self.blocks) + (" interleaved" if self.interleave else "")
        name = self.name or joined or f"{task.name if task else ''} online"
        given = {key: getattr(self, key) for key in ("reference_returns", "action_low", "action_high", "clip_actions")}
        return StreamSpec(name, self.blocks, task, self.mode, self.interleave, **given)


class Overrides(_Strict):
    """What the miniature replaces: single settings (a value may replace a sweep), and whole lists of the rest."""

    algorithms: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    streams: tuple[StreamEntry, ...] | None = None
    protocol: dict[str, Any] = {}
    settings: dict[str, dict[str, Any]] = {}
    sweep: dict[str, dict[str, tuple[Any, ...]]] = {}


class SuiteFile(_Strict):
    """The contents of a suite's file."""

    description: str = Field(default="", description="one line for `seqeval run --list`")
    algorithms: tuple[str, ...] = Field(min_length=1, description="registered names, module:Class or file.py:Class")
    seeds: tuple[int, ...] = Field(min_length=1, description="of the runs, one of each for every seed")
    streams: tuple[StreamEntry, ...] = Field(min_length=1, description="tables with the keys of a stream")
    protocol: dict[str, Any] = Field(default={}, description="settings of the protocol")
    settings: dict[str, dict[str, Any]] = Field(default={}, description="by algorithm, its settings: [settings.td3_bc]")
    sweep: dict[str, dict[str, tuple[Any, ...]]] = Field(
        default={}, description="by algorithm, or protocol, several values for a setting: [sweep.td3_bc]"
    )
    loggers: tuple[str, ...] = Field(
        default=(), description="more than metrics.jsonl: registered names, module:Class or file.py:Class"
    )
    mini: Overrides | None = Field(
        default=None, description="what --mini replaces: algorithms, seeds, streams, protocol, settings and sweep"
    )
