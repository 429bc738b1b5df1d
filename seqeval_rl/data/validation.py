"""Validates what a reader found: types, lengths, finite values, action bounds, episode boundaries, and the task."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seqeval_rl.data.images import Pixels, are_images
from seqeval_rl.data.trajectories import trajectory_ends
from seqeval_rl.environments.spaces import GIVE_BOUNDS
from seqeval_rl.environments.tasks import UNKNOWN, Task, task_of_environment
from seqeval_rl.environments.trust import checked_task
from seqeval_rl.errors import DataError

# Actions this far outside their bounds, as a share of the bounds' range, are clipped; farther ones are refused.
CLIP_TOLERANCE = 1e-3
MAX_CLASSES = 2**24  # whole numbers up to here are exact in float32


def column(
    name: str, column: str, values: ArrayLike, axes: tuple[int, int], length: int | None = None
) -> NDArray[np.float32]:
    """Values as float32, checked for axes, length and finiteness.

    Args:
        name: of the dataset, for messages.
        column: of the column, for messages.
        values: numbers, transitions first.
        axes: fewest and most axes allowed.
        length: expected number of transitions.
    """
    found = _array(name, column, values)
    if found.shape[:1] == (0,) and length is None:
        raise no_transitions(name)
    if found.dtype.kind not in "fiub":
        raise DataError(f"{name}: {column} have type {found.dtype}, expected numbers. Convert them.")
    if not axes[0] <= found.ndim <= axes[1]:
        layout = {(1, 1): "[N]", (2, 2): "[N, act_dim]"}.get(axes, "[N, *obs_shape]")
        numbers = (
            " Discrete actions need action_classes, or a task with discrete actions." if column == "actions" else ""
        )
        raise DataError(f"{name}: {column} have shape {found.shape}, expected {layout}. Reshape them.{numbers}")
    check_length(name, column, found, length)
    with np.errstate(over="ignore"):  # values too large for float32 become infinite and are refused below
        result = found.astype(np.float32)
    finite = np.isfinite(result)
    if not finite.all():
        index = tuple(int(i) for i in np.argwhere(~finite)[0])
        place = f"{column}[{', '.join(map(str, index))}]"
        raise DataError(f"{name}: {place} is {found[index]}, expected a finite float32. Repair or drop that episode.")
    return result


def image_column(name: str, column: str, values: ArrayLike, length: int | None = None) -> NDArray[np.uint8]:
    """Images [N, *frame] of bytes, checked; arguments as for `column`. Raises `DataError`."""
    found = np.asarray(values)
    if not are_images(found):
        raise DataError(
            f"{name}: {column} are {found.dtype} of shape {found.shape}, expected images, uint8 [N, *frame] with values from "
            "0 to 255. Convert them."
        )
    if not found.size:
        raise no_transitions(name)
    check_length(name, column, found, length)
    return found


def no_transitions(name: str) -> DataError:
    """The error for an empty dataset."""
    return DataError(f"{name}: expected at least one transition, found none. Check how the dataset was written.")


def flags(name: str, column: str, values: ArrayLike, length: int) -> NDArray[np.bool_]:
    """Values [N] of true and false, or 0 and 1."""
    found = _array(name, column, values)
    check_length(name, column, found, length)
    if found.ndim != 1 or found.dtype.kind not in "fiub" or not np.isin(found, (0, 1)).all():
        what = f"{found.dtype} of shape {found.shape}"
        raise DataError(f"{name}: {column} expected to be [N] of true and false, found {what}. Check them.")
    return found.astype(bool)


def _array(name: str, column: str, values: ArrayLike) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError as error:  # a ragged list
        raise DataError(
            f"{name}: {column} expected to be one array, found rows of unequal shapes. Check them."
        ) from error


def check_length(name: str, column: str, values: NDArray[Any], length: int | None, other: str = "observations") -> None:
    """Check that there are `length` values, as many as of the `other` column; None: any number is valid."""
    if length is not None and (values.ndim == 0 or len(values) != length):
        found = "a single number" if values.ndim == 0 else len(values)
        raise DataError(f"{name}: {column} have length {found}, expected that of {other}, {length}. Make them equal.")


def scale_actions(
    name: str, actions: NDArray[np.float32], low: ArrayLike | None, high: ArrayLike | None, clip: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Actions scaled from their bounds to [-1, 1], and which rows were clipped; with `clip` however far outside they are."""
    shape = actions.shape[1:]
    try:
        lower = np.broadcast_to(np.asarray(-1.0 if low is None else low, np.float64), shape)
        upper = np.broadcast_to(np.asarray(1.0 if high is None else high, np.float64), shape)
    except ValueError:
        shapes = " and ".join(str(np.asarray(bound).shape) for bound in (low, high))
        raise DataError(f"{name}: action bounds have shapes {shapes}, expected a number or {shape}.") from None
    if not (np.isfinite(lower).all() and np.isfinite(upper).all() and (lower < upper).all()):
        raise DataError(
            f"{name}: action bounds are {lower.tolist()} to {upper.tolist()}, expected finite ones with low < high. The actions "
            f"are from {actions.min(0).tolist()} to {actions.max(0).tolist()}. {GIVE_BOUNDS}"
        )
    # Cast before comparing, so that an action at a bound rounded to float32 is not outside.
    scaled = ((actions - (lower + upper) / 2.0) / ((upper - lower) / 2.0)).astype(np.float32)
    far = np.abs(scaled) > 1.0 + 2.0 * CLIP_TOLERANCE
    if far.any() and not clip:
        row, dimension = (int(i) for i in np.argwhere(far)[0])
        raise DataError(
            f"{name}: actions[{row}, {dimension}] is {actions[row, dimension]:.6g}, expected within "
            f"[{lower[dimension]:.6g}, {upper[dimension]:.6g}] (0.1 % of slack), and so in {int(far.any(1).sum()):,} of "
            f"{len(actions):,} rows. {GIVE_BOUNDS} Or clip them: clip_actions."
        )
    clipped: NDArray[np.bool_] = np.any(np.abs(scaled) > 1.0, axis=1)
    return np.clip(scaled, -1.0, 1.0), clipped


def numbered(name: str, actions: ArrayLike, first: int) -> NDArray[np.float32]:
    """Discrete actions of an environment, whose first one is `first`, numbered from 0."""
    return column(name, "actions", actions, (1, 2)) - np.float32(first)


def checked_classes(name: str, actions: NDArray[np.float32], raw: RawTransitions) -> NDArray[np.float32]:
    """Discrete actions [N] or [N, 1] as a column [N, 1]: whole numbers from 0 to `action_classes` - 1, which float32 holds."""
    classes = raw.action_classes
    if raw.action_low is not None or raw.action_high is not None or raw.clip_actions:
        raise DataError(
            f"{name}: expected neither bounds nor clipping of {classes} discrete actions, found some. Leave out action_low, "
            "action_high and clip_actions."
        )
    if not isinstance(classes, int) or not 2 <= classes <= MAX_CLASSES:
        raise DataError(
            f"{name}: expected 2 to {MAX_CLASSES:,} discrete actions, found {classes}. Correct action_classes."
        )
    if actions.ndim == 2 and actions.shape[1] != 1:
        raise DataError(
            f"{name}: actions have shape {actions.shape}, expected [N] of the numbers of {classes} discrete actions. One-hot, "
            "multi-binary and multi-discrete actions are not supported: number the combinations."
        )
    flat = actions.reshape(-1)
    wrong = np.flatnonzero((flat != np.floor(flat)) | (flat < 0) | (flat >= classes))
    if len(wrong):
        raise DataError(
            f"{name}: actions[{wrong[0]}] is {flat[wrong[0]]:.6g}, expected a whole number from 0 to {classes - 1}, and so in "
            f"{len(wrong):,} of {len(flat):,} rows. Check that the task names the environment of the dataset."
        )
    return flat[:, None]


def starts_of(ends: NDArray[np.bool_]) -> NDArray[np.int64]:
    """First row of each episode and N at the end, from the rows [N] that end one."""
    return np.unique(np.concatenate(([0], np.flatnonzero(ends) + 1, [len(ends)]))).astype(np.int64)


def given_starts(name: str, truncated: NDArray[np.bool_], given: ArrayLike) -> NDArray[np.int64]:
    """Given first rows of episodes with N at the end, checked against the flags. Terminal states may be inside an episode."""
    length = len(truncated)
    starts = np.asarray(given)
    rising = starts.ndim == 1 and starts.dtype.kind in "iu" and starts.size > 0
    if rising and starts[-1] != length:
        starts = np.append(starts, length)
    if not rising or starts.size < 2 or starts[0] != 0 or (np.diff(starts) < 1).any():
        raise DataError(
            f"{name}: episode_starts expected to be row numbers that begin with 0 and grow up to {length}. Check them."
        )
    starts = starts.astype(np.int64)
    inside = np.setdiff1d(np.flatnonzero(truncated), starts[1:] - 1)
    if inside.size:
        raise DataError(
            f"{name}: row {inside[0]} truncates, but episode_starts has it inside an episode. "
            "Leave episode_starts out, or correct it."
        )
    return starts


@dataclass(frozen=True, eq=False)
class RawTransitions:
    """The arrays of N transitions as a reader returns them, in logged order, for `Dataset.from_arrays`."""

    observations: ArrayLike | Pixels  # [N, *obs_shape]; uint8 with two axes or more are images; `Pixels` are not copied
    actions: (
        ArrayLike  # [N, act_dim] in the environment's units; discrete ones are whole numbers from 0 on, [N] or [N, 1]
    )
    rewards: ArrayLike  # [N]
    terminations: ArrayLike  # [N], true where a terminal state was reached
    truncations: ArrayLike  # [N], true where an episode ended for another reason, such as a time limit
    # [N, *obs_shape], also correct where an episode was truncated; None: the observations of the next rows
    next_observations: ArrayLike | None = None
    # First row of each episode, which may continue after a terminal state; None: as `trajectory_ends` finds them.
    episode_starts: ArrayLike | None = None
    action_low: ArrayLike | None = None  # the environment's lower bound of actions, a number or [act_dim]; None: -1
    action_high: ArrayLike | None = None  # its upper bound; None: 1
    clip_actions: bool = False  # clip actions however far outside; otherwise those beyond the 0.1 % are refused
    action_classes: int | None = (
        None  # how many discrete actions there are, numbered from 0; None: actions are continuous
    )


@dataclass(frozen=True)
class Columns:
    """The columns of N transitions without their observations, checked and scaled."""

    actions: NDArray[np.float32]  # [N, act_dim] in [-1, 1]; of discrete ones the numbers, [N, 1]
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    starts: NDArray[np.int64]
    clipped: NDArray[np.bool_]  # rows of which an action was clipped
    cut: bool

    @classmethod
    def check(
        cls, name: str, raw: RawTransitions, observations: Any, next_observations: NDArray[Any] | None = None
    ) -> Columns:
        """The checked columns of a dataset with these checked observations; raises as `Dataset.from_arrays` does."""
        length = len(observations)
        discrete = raw.action_classes is not None
        act = column(name, "actions", raw.actions, (1, 2) if discrete else (2, 2), length)
        reward = column(name, "rewards", raw.rewards, (1, 1), length)
        terminated = flags(name, "terminations", raw.terminations, length)
        truncated = flags(name, "truncations", raw.truncations, length)
        if raw.action_classes is not None:
            scaled, clipped = checked_classes(name, act, raw), np.zeros(length, np.bool_)
        else:
            scaled, clipped = scale_actions(name, act, raw.action_low, raw.action_high, raw.clip_actions)
        if raw.episode_starts is None:
            starts = starts_of(trajectory_ends(terminated, truncated, observations, next_observations))
        else:
            starts = given_starts(name, truncated, raw.episode_starts)
        cut = not (terminated[-1] or truncated[-1])
        last = starts[1:] - 1
        truncated[last] |= ~terminated[last]
        return cls(scaled, reward, terminated, truncated, starts, clipped, cut)

    def without_open_ends(self, name: str) -> tuple[Columns, NDArray[np.bool_]]:
        """Drops the rows that end an episode without a terminal state; returns the rest and which rows were kept, [N]."""
        length, last = len(self.rewards), self.starts[1:] - 1
        keep = np.ones(length, bool)
        keep[last] = self.terminated[last]
        # The row before a dropped one is the last of its episode that has a true next observation.
        open_end = ~self.terminated[last]
        dropped, first = last[open_end], self.starts[:-1][open_end]
        truncated = self.truncated.copy()
        previous = dropped[dropped > first] - 1
        truncated[previous] = ~self.terminated[previous]
        if not keep.any():
            raise DataError(
                f"{name}: expected transitions with a next observation, found {length} that each end an episode "
                "without a terminal state. Log next_observations, or longer episodes."
            )
        starts = np.unique(np.concatenate(([0], np.cumsum(keep)))[self.starts])
        cut = self.cut and bool(dropped[-1] > first[-1])
        kept = {key: getattr(self, key)[keep] for key in ("actions", "rewards", "terminated", "clipped")}
        return replace(self, **kept, truncated=truncated[keep], starts=starts, cut=cut), keep


def task_of_dataset(
    name: str,
    env_id: str | None,
    reference_min: float | None,
    reference_max: float | None,
    how: str,
    env_spec: str = "",
    obs_keys: tuple[str, ...] = (),
    trusted: Collection[str] = (),
) -> Task:
    """The task of a dataset, from what the data say; without reference returns where none are known.

    Args:
        name: of the dataset.
        env_id: the environment that it was logged in, if it says so; None: a task without an environment.
        reference_min: its reference return of a random policy, if it has one.
        reference_max: that of an expert.
        how: what to do where one of the two is missing.
        env_spec: see `Task`; no task is known for settings of their own.
        obs_keys: see `Task`.
        trusted: see `checked_task`.

    Raises:
        DataError: one reference return without the other, or an environment that is not to be trusted.
    """
    if (reference_min is None) != (reference_max is None):
        found = f"{reference_min} and {reference_max}"
        raise DataError(f"{name}: expected both reference returns for {env_id}, found {found}. {how}")
    if env_id is None:
        return Task(UNKNOWN, None, reference_min, reference_max)
    env_spec = checked_task(name, Task(env_id, env_id, env_spec=env_spec), trusted).env_spec
    known = task_of_environment(env_id)
    given = (reference_min, reference_max)
    if not (env_spec or obs_keys) and given in ((None, None), known.return_references):
        return known
    return Task(env_id, env_id, *given, env_spec, obs_keys)
