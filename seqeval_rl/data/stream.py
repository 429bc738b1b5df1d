"""The stream: the datasets of a run, concatenated, in the order in which their transitions become visible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.data.arrival import LARGEST_ARRAY, Arrival, Concatenated, Interleaved, arrange
from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.images import Pixels, join
from seqeval_rl.data.load import label, load_dataset
from seqeval_rl.data.readers.base import Mode
from seqeval_rl.environments.spaces import described_actions, discrete_actions, environment_spaces
from seqeval_rl.environments.tasks import Bound, Task, as_bound, task_named
from seqeval_rl.errors import DataError, UsageError
from seqeval_rl.protocol import Order
from seqeval_rl.seeding import numpy_generator

ONLINE = "online"  # label of the transitions after those of the datasets
INTERLEAVED = "interleaved"  # label of all transitions of an interleaved stream


@dataclass(frozen=True)
class StreamSpec:
    """A stream to load; picklable."""

    name: str
    sources: tuple[str, ...]  # of its blocks, see `load.load_dataset`; none: `task` is learned online only
    task: Task | None = None  # of sources that do not name one
    mode: Mode = "native"  # how D4RL's files are read
    interleave: bool = False  # the control of a stream of several blocks, see `Stream`
    # In place of those of the task or the data, see `load_dataset`.
    reference_returns: tuple[float, float] | None = None
    action_low: Bound = None
    action_high: Bound = None
    clip_actions: bool = False
    trust_environments: tuple[str, ...] = ()  # see `load_dataset`

    def __post_init__(self) -> None:
        """Raise `UsageError` where there is nothing to interleave."""
        if self.interleave and len(self.sources) < 2:
            raise UsageError(
                f"stream {self.name!r}: expected two blocks or more with interleave = true, found {len(self.sources)}. "
                "Leave interleave out."
            )

    def read(self, source: str, progress: bool = False) -> Dataset:
        """Read, build or download one of the blocks. Raises what `load_dataset` raises."""
        return load_dataset(
            source, self.task, self.mode, progress, **self._given,
            clip_actions=self.clip_actions, trust_environments=self.trust_environments,
        )  # fmt: skip

    def load(self, progress: bool = False) -> Stream:
        """Read, build or download the blocks. Raises what `load_dataset` and `Stream` raise."""
        task = None if self.task is None else self.task.override(**self._given)
        return Stream(self.name, [self.read(source, progress) for source in self.sources], task, self.interleave)

    @property
    def _given(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("reference_returns", "action_low", "action_high")}


def given_reading(
    task: Task | str | None,
    reference_returns: tuple[float, float] | None,
    action_low: Bound,
    action_high: Bound,
    clip_actions: bool,
    where: str,
    trust_environments: Sequence[str] = (),
) -> dict[str, Any]:
    """The fields of a `StreamSpec` that were given, by name. Raises `UsageError` for a task that is not known."""
    given = {
        "task": task_named(task, where) if isinstance(task, str) else task,
        "reference_returns": None if reference_returns is None else tuple(reference_returns),
        "action_low": as_bound(action_low),
        "action_high": as_bound(action_high),
        "clip_actions": clip_actions or None,
        "trust_environments": tuple(trust_environments) or None,
    }
    return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Block:
    """A dataset's rows in the stream, `start` to `stop` (exclusive); unless it is interleaved, also its arrival positions."""

    dataset: Dataset
    start: int
    stop: int

    @property
    def label(self) -> str:
        """Its short name among datasets of the task, see `load.label`."""
        return label(self.dataset.name)


class Stream:
    """Concatenated datasets. Blocks arrive one after the other; the order within a block depends on the seed.

    An interleaved stream is the control of the same stream without: each block's transitions arrive in the same order, but those
    of all blocks are mixed uniformly, so that the data do not change from block to block.
    """

    def __init__(self, name: str, datasets: Sequence[Dataset], task: Task | None = None, interleave: bool = False):
        """A stream called `name`.

        Args:
            name: of the stream.
            datasets: its blocks; none to learn online only.
            task: of a stream without blocks, whose shapes are those of the task's environment.
            interleave: mix the transitions of all blocks.

        Raises:
            DataError: blocks that are not of one task and shape, or an environment without a box of observations.
            UsageError: neither a dataset nor a task.
            EnvironmentMissingError: a stream without blocks, whose environment is not installed.
        """
        self.name, self.interleave = name, interleave
        self.blocks: list[Block] = []
        if datasets:
            first = datasets[0]
            self.task, self.obs_shape, self.act_dim = first.task, first.obs_shape, first.act_dim
            self.action_classes, images = first.action_classes, first.pixels is not None
        elif task is None:
            raise UsageError(f"stream {name!r}: expected at least one dataset, or a task to learn online, found none.")
        else:
            observations, actions = environment_spaces(task.environment)
            discrete = discrete_actions(actions)
            vector = hasattr(actions, "low") and len(actions.shape or ()) == 1
            if not observations.shape or not (discrete or vector):
                raise DataError(
                    f"stream {name!r}: expected a box of observations, and discrete actions or a box of action vectors, in "
                    f"{task.env_id}, found {observations} and {actions}. Use another task."
                )
            self.task, self.obs_shape = task, observations.shape
            images = observations.dtype == np.uint8 and len(self.obs_shape) > 1
            self.act_dim, self.action_classes = (1, discrete[1]) if discrete else (actions.shape[0], None)
        self.images = images
        start = 0
        for dataset in datasets:
            self._check_same_task(dataset, datasets[0])
            self.blocks.append(Block(dataset, start, start + len(dataset)))
            start += len(dataset)

    def _check_same_task(self, dataset: Dataset, first: Dataset) -> None:
        mine = (self.task, self.obs_shape, self.act_dim, self.action_classes)
        found = (dataset.task, dataset.obs_shape, dataset.act_dim, dataset.action_classes)
        if mine != found:
            raise DataError(
                f"stream {self.name!r}: {dataset.name} has task {found[0].name}, observations {found[1]}, "
                f"{described_actions(*found[2:])}; expected those of {first.name}: {mine[0].name}, {mine[1]}, "
                f"{described_actions(*mine[2:])}. Blocks must share one task."
            )
        stacks = [None if one.pixels is None else one.pixels.stack for one in (first, dataset)]
        if stacks[0] != stacks[1]:
            kinds = ["no images of bytes" if stack is None else f"images in stacks of {stack}" for stack in stacks]
            raise DataError(
                f"stream {self.name!r}: {dataset.name} has {kinds[1]}, expected {kinds[0]} as in {first.name}. Blocks "
                "must be of one kind."
            )

    def __len__(self) -> int:
        """N, transitions in the whole stream."""
        return self.blocks[-1].stop if self.blocks else 0

    @property
    def width(self) -> int:
        """Numbers in a packed row, see `Dataset.rows`."""
        return (0 if self.images else 2 * int(np.prod(self.obs_shape))) + self.act_dim + 2

    @property
    def online_bytes(self) -> int:
        """What a transition of an online phase takes on a device: its row, and where observations are images, room for two of
        them, and their places."""
        if not self.images:
            return 4 * self.width
        stored = self.blocks[0].dataset.pixels if self.blocks else None
        return 4 * self.width + 2 * int(np.prod(self.obs_shape)) // (1 if stored is None else stored.stack) + 24

    def rows(self) -> list[NDArray[np.float32]]:
        """Packed rows (see `Dataset.rows`) of each block; not copied."""
        return [block.dataset.rows for block in self.blocks]

    def returns(self) -> NDArray[np.float64]:
        """Returns of the datasets' complete episodes."""
        return np.concatenate([np.empty(0), *(block.dataset.episode_returns() for block in self.blocks)])

    def pixels(self) -> Pixels | None:
        """The images of the transitions, in the order of `rows`; None where observations are vectors.

        Without a dataset an observation is one image, since it is not known how an environment stacks them.
        """
        if self.images and not self.blocks:
            return Pixels(np.empty((0, *self.obs_shape), np.uint8), np.empty((0, 3), np.int64))
        parts = [block.dataset.pixels for block in self.blocks if block.dataset.pixels is not None]
        return join(parts) if parts else None

    def arrival(self, order: Order, seed: int) -> Arrival:
        """Row indices [N] in order of arrival. Depends on the blocks' lengths (and episodes), order and seed alone.

        Up to `LARGEST_ARRAY` transitions it is an array; beyond that rows are computed where they are asked for, and `shuffled`
        is a permutation of another kind, see `arrival.Shuffled`.
        """
        large = len(self) > LARGEST_ARRAY
        parts = [
            (arrange(len(block.dataset), block.dataset.episode_starts, order, seed, index, large), block.start)
            for index, block in enumerate(self.blocks)
        ]
        # Which block each transition comes from is a uniform permutation; with shuffled blocks so is the whole.
        mixed = Interleaved(parts, numpy_generator(seed, "interleave")) if self.interleave else Concatenated(parts)
        return mixed if large else mixed.array()

    def label_at(self, transitions: int) -> str:
        """Label of the block of the newest of `transitions` visible ones, or `interleaved`; `online` after the last block."""
        if self.interleave and transitions <= len(self):
            return INTERLEAVED
        return next((block.label for block in self.blocks if transitions <= block.stop), ONLINE)


def first_rows(streams: Sequence[Stream]) -> list[int]:
    """The first row of each of these streams where they are concatenated, the same one once."""
    different = {id(stream): stream for stream in streams}
    starts = dict(zip(different, accumulate(map(len, different.values()), initial=0), strict=False))
    return [starts[id(stream)] for stream in streams]
