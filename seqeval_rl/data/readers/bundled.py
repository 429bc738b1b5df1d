"""Bundled datasets: seeded roll-outs of the behavior policies that ship with the package, built on first use.

No network is needed. A dataset is stored twice: in the cache, and as an ordinary Minari dataset,
`seqeval/<task>/<level>-<transitions>-v<version>`. One of images is in the cache alone, which keeps every image once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from importlib import resources
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.data import cache
from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.episodes import Episode, columns_of, cut_to
from seqeval_rl.data.images import of_trails
from seqeval_rl.data.minari_writer import NewDataset, writer
from seqeval_rl.data.readers.base import FetchOptions, Listing, Reader, ReadOptions
from seqeval_rl.data.rollouts import EPISODES_PER_CHUNK, Chunk, WorkerPool, episodes, time_limit
from seqeval_rl.data.validation import RawTransitions
from seqeval_rl.data.verification import Check
from seqeval_rl.environments.spaces import discrete_actions, environment_spaces
from seqeval_rl.environments.tasks import DISCRETE_TASKS, VISION_REPEAT, VISION_STACK, VISION_TASKS, Task, task_named
from seqeval_rl.errors import FileError, UsageError, unknown
from seqeval_rl.utils.console import progress_bar
from seqeval_rl.utils.processes import available_cores

FULL = 1_000_000  # transitions in the largest and default dataset, unless `levels.json` says another number
LEVELS = ("random", "medium", "expert", "replay")
# A worker costs a second to start, and with a renderer some more; it is worth it from about this many transitions on.
_PER_WORKER, _IMAGES_PER_WORKER = 5_000, 500


class BundledReader(Reader):
    """Datasets that are rolled out from the bundled behavior policies."""

    usage = ("bundled/<task>/<level>",)
    single_file = False
    builds_to_size = True

    def matches(self, source: str) -> bool:
        """See `Reader`."""
        return source in names()

    def read(self, source: str, options: ReadOptions) -> Dataset:
        """See `Reader`."""
        _, task_name, level = source.split("/")
        size = full_size(task_name) if options.transitions is None else options.transitions
        dataset = build(task_name, level, size, progress=options.progress)
        return dataset if options.task is None else replace(dataset, task=options.task)

    def fetch(self, source: str, options: FetchOptions) -> Path:
        """See `Reader`."""
        dataset = self.read(source, ReadOptions(progress=options.progress, transitions=options.transitions))
        assert isinstance(dataset.rows, np.memmap)  # it is read from the cache
        return Path(str(dataset.rows.filename)).parent

    def list_datasets(self) -> list[Listing]:
        """See `Reader`."""
        return [Listing("bundled, rolled out on first use", names())]

    def verify(self, source: str, transitions: int | None, options: ReadOptions | None = None) -> Iterator[Check]:
        """See `Reader`. One that is on this machine is in the cache, whose entries are verified without a reader."""
        raise FileError(
            f"{source}: not on this machine, so there is nothing to verify. `seqeval datasets fetch {source}`."
        )


@lru_cache(maxsize=1)
def behaviors() -> dict[str, Any]:
    """`bundled_policies/levels.json`: per task the environment, each level's checkpoints, and measured returns."""
    text = (resources.files("seqeval_rl.data") / "bundled_policies" / "levels.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def names() -> list[str]:
    """Every bundled dataset, `bundled/<task>/<level>`."""
    return [f"bundled/{task}/{level}" for task in sorted(behaviors()) for level in LEVELS if level in behaviors()[task]]


def full_size(task_name: str) -> int:
    """Transitions in the largest and default dataset of a task."""
    return int(behaviors().get(task_name, {}).get("transitions", FULL))


def version(task_name: str) -> int:
    """Of the contents of a task's datasets; raised with any change of them."""
    return int(behaviors()[task_name].get("version", 0))


def check(task_name: str, level: str, transitions: int) -> None:
    """Raise `UsageError` unless there is such a dataset of such a size; builds nothing."""
    name = f"bundled/{task_name}/{level}"
    if name not in names():
        raise unknown("bundled dataset", name, names())
    most = full_size(task_name)
    if not 1 <= transitions <= most:
        raise UsageError(
            f"{name}:{transitions}: expected 1 to {most} transitions, found {transitions}. Change the size."
        )


def build(
    task_name: str, level: str, transitions: int | None = None, workers: int | None = None, progress: bool = True
) -> Dataset:
    """A bundled dataset, from the cache where it or a larger one is there, else rolled out.

    `random` takes uniform actions; `medium` and `expert` sample one policy; `replay` goes through a training run's
    checkpoints, each filling an equal share of 1 000 000 transitions with whole episodes, in the order in which they
    were trained. A smaller dataset is a prefix of the larger, so a small replay dataset holds early checkpoints only.
    Where the dataset ends inside an episode, its last transition is marked truncated.

    Args:
        task_name: "hopper", "halfcheetah", "walker2d", "cartpole" or "walker_walk".
        level: "random", "medium", "expert" or "replay".
        transitions: size of the dataset, at most and by default 1 000 000, of images 100 000.
        workers: processes to roll out with; default one per core. The dataset does not depend on it.
        progress: show a bar.

    Raises:
        UsageError: unknown task or level, size out of range.
        FileError: the cache or Minari's directory cannot be written.
        EnvironmentMissingError: the task's environment is not installed.
    """
    name, full = f"bundled/{task_name}/{level}", full_size(task_name)
    transitions = full if transitions is None else transitions
    check(task_name, level, transitions)
    if transitions != full:
        name = f"{name}:{transitions}"
    stem = f"bundled-{task_name}-{level}-v{version(task_name)}-"
    return cache.obtain(
        f"{stem}{transitions}",
        lambda: _build(name, task_named(task_name), level, transitions, workers, progress),
        lambda: _cached(stem, transitions),
    )


def _cached(stem: str, transitions: int) -> Dataset | None:
    """The smallest cached dataset that is large enough, cut to size."""
    sizes = (key.removeprefix(stem) for key in cache.entries() if key.startswith(stem))
    for size in sorted(int(size) for size in sizes if size.isdigit()):
        if size >= transitions and (found := cache.open(f"{stem}{size}")) is not None:
            return found if size == transitions else found.prefix(transitions)
    return None


def _build(name: str, task: Task, level: str, transitions: int, workers: int | None, progress: bool) -> Dataset:
    _, action_space = environment_spaces(task.environment)
    behavior = behaviors()[task.name]
    if workers is None:
        each = _IMAGES_PER_WORKER if task.name in VISION_TASKS else _PER_WORKER
        workers = max(1, min(available_cores(), transitions // each))
    if task.name in VISION_TASKS:
        return _build_images(name, task, level, transitions, workers, progress)
    lengths = [behavior["returns"][checkpoint][2] for checkpoint in behavior[level] or ["random"]]
    new = NewDataset(
        f"seqeval/{task.name}/{level}-{transitions}-v{version(task.name)}",
        task,
        transitions,
        policy_name(task.name, level),
        f"{name} of seqeval-rl: seeded roll-outs in {task.env_id}. The end of the dataset truncates the last episode.",
        1.0 / float(np.mean(1.0 / np.array(lengths))),
    )
    trail: list[Episode] = []

    def collected() -> Iterator[Episode]:
        """Episodes as they come, kept for the cache while Minari writes them."""
        for episode in dataset_of(task, level, transitions, pool):
            trail.append(episode)
            yield episode

    with writer(new, False, progress) as write, WorkerPool(workers) as pool:
        write(collected())
    columns = columns_of(trail, time_limit(str(task.environment)))
    discrete = discrete_actions(action_space)
    if discrete is None:
        raw = RawTransitions(**columns, action_low=action_space.low, action_high=action_space.high)
    else:
        columns["actions"] = columns["actions"] - np.float32(discrete[0])
        raw = RawTransitions(**columns, action_classes=discrete[1])
    return Dataset.from_arrays(name, task, raw)


def _build_images(name: str, task: Task, level: str, transitions: int, workers: int, progress: bool) -> Dataset:
    """A dataset of images, whose episodes all end at the time limit."""
    limit = time_limit(behaviors()[task.name]["env_id"])
    frames: NDArray[np.uint8] | None = None
    seen, trail = 0, list[Episode]()  # the latter without its images
    with progress_bar(name, transitions, progress) as bar, WorkerPool(workers) as pool:
        for episode in dataset_of(task, level, transitions, pool):
            images = episode.observations
            if frames is None:
                frames = np.empty((transitions + -(-transitions // limit), *images.shape[1:]), np.uint8)
            frames[seen : seen + len(images)] = images
            seen += len(images)
            trail.append(episode._replace(observations=images[:, :0]))
            bar.update(len(episode.rewards))
    assert frames is not None
    columns = columns_of(trail, limit)
    del columns["next_observations"]
    lengths = np.array([len(episode.rewards) + 1 for episode in trail])
    raw = RawTransitions(**columns | {"observations": of_trails(frames, lengths, VISION_STACK)})
    return Dataset.from_arrays(name, task, raw, VISION_REPEAT)


def policy_name(task_name: str, level: str) -> str:
    """What chose the actions of a bundled dataset, for metadata."""
    checkpoints = ", ".join(behaviors()[task_name][level])
    trained = "DQN" if task_name in DISCRETE_TASKS else "SAC"
    return f"{trained}, checkpoints {checkpoints}" if checkpoints else "uniform random actions"


def dataset_of(
    task: Task, level: str, transitions: int, pool: WorkerPool, full: int | None = None, seed: int = 0
) -> Iterator[Episode]:
    """A dataset's episodes; the last one is cut to fit.

    Args:
        task: of the bundled policies.
        level: one of `LEVELS`.
        transitions: size of the dataset.
        pool: the workers.
        full: size of the dataset whose equal shares the checkpoints of `replay` fill; None: that of the bundled one.
        seed: of starts and actions; 0 gives the bundled dataset.
    """
    behavior = behaviors()[task.name]
    checkpoints: list[str | None] = list(behavior[level]) or [None]
    # Images take most of the time: of these no more than is needed is rolled out, one episode after the other.
    images = task.name in VISION_TASKS
    size = 1 if images else EPISODES_PER_CHUNK

    def chunks(checkpoint: str | None, left: int, length: int) -> Iterator[Chunk]:
        for index in count():
            needed = max(1, min(length, left - index * length)) if images else None
            yield Chunk(task.name, behavior["env_id"], level, checkpoint, index, seed, size, needed)

    def whole() -> Iterator[Episode]:
        have = 0
        for number, checkpoint in enumerate(checkpoints, 1):
            # Shares are those of the full dataset, whatever the size, so that a smaller one is a prefix.
            share = round((full or full_size(task.name)) * number / len(checkpoints))
            length = behavior["returns"][checkpoint or "random"][2]
            some = chunks(checkpoint, transitions - have, length)
            for episode in episodes(some, pool, min(share, transitions) - have, size * length):
                have += len(episode.rewards)
                yield episode

    return cut_to(whole(), transitions)
