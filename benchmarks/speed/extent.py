"""Size, task and shapes of a stream, without building it: what an estimate needs to know of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from seqeval_rl.data.load import load_dataset
from seqeval_rl.data.readers import bundled
from seqeval_rl.data.readers.base import parse_source
from seqeval_rl.data.stream import StreamSpec
from seqeval_rl.data.task_matching import check_environment
from seqeval_rl.environments.spaces import gymnasium_shapes
from seqeval_rl.environments.tasks import Task, task_named
from seqeval_rl.errors import DataError


@dataclass(frozen=True)
class Extent:
    """What a stream's sources and its environment say about it."""

    transitions: int
    task: Task
    obs_shape: tuple[int, ...]
    act_dim: int
    time_limit: int | None  # of an episode, in environment steps; None: the environment has none

    @property
    def width(self) -> int:
        """Numbers of a packed row. Images are counted as numbers, and once for each transition, which is an upper bound."""
        return 2 * math.prod(self.obs_shape) + self.act_dim + 2


def extent(spec: StreamSpec) -> Extent:
    """Size, task and shapes of a stream. Bundled datasets are not built; others are loaded.

    Raises:
        SeqevalError: a source is unknown, cannot be read or is not of the environment; blocks of different tasks.
    """
    if not spec.sources:
        stream = spec.load()
        limit = gymnasium_shapes(stream.task.environment)[1].max_episode_length
        return Extent(0, stream.task, stream.obs_shape, stream.act_dim, limit)
    blocks = [_block(source, spec) for source in spec.sources]
    first = blocks[0]
    for source, block in zip(spec.sources, blocks, strict=True):
        if (block.task, block.obs_shape, block.act_dim) != (first.task, first.obs_shape, first.act_dim):
            raise DataError(
                f"stream {spec.name!r}: expected blocks of one task, found {first.task.name} in {spec.sources[0]} and "
                f"{block.task.name} in {source}. Make two streams of them."
            )
    total = sum(block.transitions for block in blocks)
    return Extent(total, first.task, first.obs_shape, first.act_dim, first.time_limit)


def _block(source: str, spec: StreamSpec) -> Extent:
    base, size = parse_source(source)
    task = spec.task
    if base in bundled.names():
        _, task_name, level = base.split("/")
        transitions = bundled.FULL if size is None else size
        bundled.check(task_name, level, transitions)
        task = task or task_named(task_name)
        shapes = gymnasium_shapes(task.environment)[1]
        return Extent(transitions, task, shapes.obs_shape, len(shapes.action_low), shapes.max_episode_length)
    dataset = load_dataset(source, task, spec.mode, progress=False)
    limit = None
    if dataset.task.env_id is not None:
        check_environment(dataset)
        limit = gymnasium_shapes(dataset.task.environment)[1].max_episode_length
    return Extent(len(dataset), dataset.task, dataset.obs_shape, dataset.act_dim, limit)
