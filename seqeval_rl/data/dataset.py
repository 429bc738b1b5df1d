"""A dataset: row-packed transitions, episode boundaries and the task they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seqeval_rl.data.hashes import content_hash
from seqeval_rl.data.images import Pixels, PixelView, are_images, paired
from seqeval_rl.data.packed_rows import release
from seqeval_rl.data.trajectories import trajectory_returns
from seqeval_rl.data.validation import Columns, RawTransitions, column, image_column
from seqeval_rl.environments.spaces import described_actions
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import DataError

PIECE = 1 << 20  # rows of whole episodes that are looked at together


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """N transitions in the order in which they were logged; read-only.

    Images (uint8, two axes or more) are stored as bytes: `pixels` has their frames, and `observations` and `next_observations`
    are gathered from these when they are indexed. In batches and from environments an algorithm gets them as float32 with values
    from 0 to 255, and scales them itself.
    """

    name: str  # as in the source it was loaded from, for example "bundled/hopper/medium:10000"
    task: Task
    # [N, obs|act|reward|mask|next_obs], of images [N, act|reward|mask]; mask = 1 - terminated; may be a memory map
    rows: NDArray[np.float32]
    obs_shape: tuple[int, ...]
    act_dim: int
    truncations: NDArray[np.bool_]  # [N]; True where an episode ends without a terminal state
    episode_starts: NDArray[np.int64]  # [episodes + 1]; first row of each episode, and N at the end
    clipped_actions: int = 0  # actions that were clipped to their bounds
    cut: bool = False  # the dataset ends inside its last episode
    digest: str = ""  # `sha256`, if already computed
    pixels: Pixels | None = None  # of observations that are images
    # [E, 2]: for each complete episode the number of rows up to its end, and its return; None: sums of the rows' rewards
    dataset_returns: NDArray[np.float64] | None = None
    action_repeat: int = 1  # the environment's own time steps in a transition
    action_classes: int | None = None  # how many discrete actions there are; None: actions are continuous

    @classmethod
    def from_arrays(cls, name: str, task: Task, raw: RawTransitions, action_repeat: int = 1) -> Dataset:
        """Check arrays as they were read, and pack them.

        Where there are no next observations, they are the observations of the next row in the same episode. A row that ends an
        episode is then kept only if it terminated, since its bootstrap is masked; at a time limit and at the end of the dataset
        it is dropped, with its reward.

        Args:
            name: of the dataset.
            task: the environment and its reference returns.
            raw: the arrays.
            action_repeat: the environment's own time steps in a transition.

        Raises:
            DataError: empty, NaN or infinite values, unequal lengths, actions outside the bounds, invalid bounds, flags inside
                an episode.
        """
        table, seen = _checked(name, raw)
        count, pixels = len(table.rewards), seen if isinstance(seen, Pixels) else None
        ends = [] if isinstance(seen, Pixels) else [observations.reshape(count, -1) for observations in seen]
        middle = [table.actions, table.rewards[:, None], 1.0 - table.terminated[:, None].astype(np.float32)]
        rows = np.concatenate([*ends[:1], *middle, *ends[1:]], axis=1)
        for array in (rows, table.truncated, table.starts):
            array.flags.writeable = False
        return cls(
            name,
            task,
            rows,
            seen.obs_shape if isinstance(seen, Pixels) else seen[0].shape[1:],
            table.actions.shape[1],
            table.truncated,
            table.starts,
            int(np.count_nonzero(table.clipped)),
            table.cut,
            pixels=pixels,
            action_repeat=action_repeat,
            action_classes=raw.action_classes,
        )

    def __repr__(self) -> str:
        shapes = f"observations {self.obs_shape}, {described_actions(self.act_dim, self.action_classes)}"
        return f"<Dataset {self.name}: {len(self):,} transitions of {self.task.name}, {shapes}>"

    def __len__(self) -> int:
        """N, the number of transitions."""
        return len(self.rows)

    @property
    def _obs_dim(self) -> int:
        """Columns of an observation in `rows`."""
        return int(np.prod(self.obs_shape)) if self.pixels is None else 0

    @property
    def observations(self) -> NDArray[np.float32] | PixelView:
        """[N, *obs_shape], a view."""
        if self.pixels is not None:
            return PixelView(self.pixels, next_observations=False)
        return self.rows[:, : self._obs_dim].reshape(-1, *self.obs_shape)

    @property
    def actions(self) -> NDArray[Any]:
        """[N, act_dim] in [-1, 1], a view; discrete ones [N], int64 from 0 to `action_classes` - 1."""
        if self.action_classes is not None:
            return self.rows[:, self._obs_dim].astype(np.int64)
        return self.rows[:, self._obs_dim : self._obs_dim + self.act_dim]

    @property
    def rewards(self) -> NDArray[np.float32]:
        """[N], a view."""
        return self.rows[:, self._obs_dim + self.act_dim]

    @property
    def next_observations(self) -> NDArray[np.float32] | PixelView:
        """[N, *obs_shape], a view."""
        if self.pixels is not None:
            return PixelView(self.pixels, next_observations=True)
        return self.rows[:, -self._obs_dim :].reshape(-1, *self.obs_shape)

    @property
    def terminations(self) -> NDArray[np.bool_]:
        """[N], True where a terminal state was reached."""
        return self.outcomes(0, len(self))[1]

    def outcomes(self, start: int, stop: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Rewards, a view, and terminations of the rows `start` to `stop` (exclusive)."""
        rewards, masks = self.rows[start:stop, self._obs_dim + self.act_dim :].T[:2]
        return rewards, np.equal(masks, 0)

    def pieces(self) -> Iterator[tuple[int, int]]:
        """The first episode, and that after the last one, of pieces of whole episodes, which together are the dataset.

        A piece has `PIECE` rows or fewer, unless its only episode is longer. Rows that were read meanwhile are given back, see
        `packed_rows`.
        """
        starts, episode = self.episode_starts, 0
        while episode < len(starts) - 1:
            stop = max(int(np.searchsorted(starts, starts[episode] + PIECE, side="right")) - 1, episode + 1)
            yield episode, stop
            release(self.rows, int(starts[episode]), int(starts[stop]))
            episode = stop

    def episode_returns(self) -> NDArray[np.float64]:
        """Returns of the complete episodes; an episode cut by the dataset's end counts only if it is the only one.

        They are the recorded returns where the reader kept them, else sums of the rewards in the dataset (see `from_arrays` for
        rows that are dropped), up to an episode's first terminal state.
        """
        if self.dataset_returns is not None:
            return self.dataset_returns[:, 1]
        returns = np.concatenate(
            [
                trajectory_returns(*self.outcomes(int(starts[0]), int(starts[-1])), starts - starts[0])
                for starts in (self.episode_starts[first : last + 1] for first, last in self.pieces())
            ]
        )
        return returns[: len(self._complete_ends())]

    def _complete_ends(self) -> NDArray[np.int64]:
        """The row after the last one of each complete episode."""
        if self.dataset_returns is not None:
            return self.dataset_returns[:, 0].astype(np.int64)
        ends = self.episode_starts[1:]
        return ends[:-1] if self.cut and len(ends) > 1 else ends

    def episode_scores(self) -> NDArray[np.float64]:
        """Normalized scores of the complete episodes, see `Task.score`; one succeeds if it reaches a terminal state."""
        if not self.task.success:
            return self.task.score(self.episode_returns())
        stops = np.append(0, self._complete_ends())
        before = np.zeros(len(stops), np.int64)  # terminal rows before each of them
        for first, last in self.pieces():
            start, stop = (int(self.episode_starts[episode]) for episode in (first, last))
            terminal = start + np.flatnonzero(self.outcomes(start, stop)[1])
            before += np.searchsorted(terminal, stops)
        return self.task.score(self.episode_returns(), np.diff(before) > 0)

    def mean_score(self) -> float:
        """Mean normalized score of the complete episodes: the level of the behavior policy. NaN without reference returns."""
        return float(self.episode_scores().mean())

    def mean_return(self) -> float:
        """Mean return of the complete episodes."""
        return float(self.episode_returns().mean())

    def prefix(self, n: int) -> Dataset:
        """The first `n` transitions, sharing memory; called "ID:n". An episode that is cut ends with a truncation.

        Raises:
            DataError: the dataset is shorter than `n`, or `n` < 1.
        """
        base = self.name.rpartition(":")[0] if self.name.rpartition(":")[2].isdigit() else self.name
        name = f"{base}:{n}"
        if not 1 <= n <= len(self):
            raise DataError(f"{name}: expected between 1 and {len(self)} transitions, found {n}. Ask for fewer.")
        if n == len(self):
            return replace(self, name=name)
        truncations = self.truncations[:n]
        starts = np.append(self.episode_starts[self.episode_starts < n], n)
        cut = n not in self.episode_starts  # a terminal state may be inside an episode
        if cut and not self.outcomes(n - 1, n)[1].item() and not truncations[-1]:
            truncations = truncations.copy()
            truncations[-1] = True
            truncations.flags.writeable = False
        starts.flags.writeable = False
        returns = self.dataset_returns
        if returns is not None:  # of the episodes that are over by then
            returns = returns[over] if (over := returns[:, 0] <= n).any() else None
        # It is not stored which rows were clipped, so the count stays that of the full dataset.
        return replace(
            self,
            name=name,
            rows=self.rows[:n],
            truncations=truncations,
            episode_starts=starts,
            cut=cut,
            digest="",
            pixels=None if self.pixels is None else self.pixels.prefix(n),
            dataset_returns=returns,
        )

    @property
    def nbytes(self) -> int:
        """Bytes of its rows and frames on a device."""
        images = 0 if self.pixels is None else self.pixels.frames.nbytes + self.pixels.index.nbytes
        return self.rows.nbytes + images

    @cached_property
    def sha256(self) -> str:
        """Hash of the contents: rows, images, truncations, episode bounds, kept returns and shapes, but neither name nor task."""
        return self.digest or content_hash(self)


def _checked(name: str, raw: RawTransitions) -> tuple[Columns, Pixels | tuple[NDArray[Any], NDArray[Any]]]:
    """Checked columns with their images, or with observations and next observations [N, *obs_shape]."""
    if isinstance(raw.observations, Pixels):
        return Columns.check(name, raw, raw.observations), raw.observations
    images = are_images(raw.observations)
    observations = _observations(name, "observations", raw.observations, images)
    next_observations = None
    if raw.next_observations is not None:
        length = len(observations)
        next_observations = _observations(name, "next_observations", raw.next_observations, images, length)
        if next_observations.shape != observations.shape:
            raise DataError(
                f"{name}: next_observations have shape {next_observations.shape[1:]}, expected that of observations, "
                f"{observations.shape[1:]}. Check how the dataset was written."
            )
    columns = Columns.check(name, raw, observations, next_observations)
    if next_observations is not None:
        pair = (observations, next_observations)
        return columns, paired(*pair) if images else pair
    # The next row of the same episode; at the end of an episode, where rows are terminal and masked, any row will do.
    current = np.arange(len(observations))
    upcoming = current + 1
    upcoming[columns.starts[1:] - 1] -= 1
    columns, keep = columns.without_open_ends(name)
    current, upcoming = current[keep], upcoming[keep]
    if images:
        # A copy, since the caller may change the array later.
        return columns, Pixels(observations.copy(), np.stack([current, current, upcoming], 1))
    return columns, (observations[current], observations[upcoming])


def _observations(name: str, key: str, values: ArrayLike, images: bool, length: int | None = None) -> NDArray[Any]:
    """A checked column of observations or next observations."""
    return image_column(name, key, values, length) if images else column(name, key, values, (2, 9), length)
