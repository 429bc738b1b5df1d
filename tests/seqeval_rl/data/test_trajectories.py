"""Trajectories with terminal rows inside: they set the mask, and returns, episodes and the mean score go by trajectories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.testing import assert_array_equal

from seqeval_rl import load_dataset
from seqeval_rl.data.arrival import arrange
from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.readers.d4rl_index import ENTRIES
from seqeval_rl.data.trajectories import trajectory_ends, trajectory_returns
from seqeval_rl.data.validation import RawTransitions
from seqeval_rl.environments.tasks import Task

TASK = Task("goal", None, 0.0, 1.0)
ROWS = np.arange(20)
AT_GOAL, LIMITS = ROWS >= 15, ROWS % 10 == 9

pytestmark = pytest.mark.usefixtures("empty_caches")


def columns(
    at_goal: Any = AT_GOAL, obs_dim: int = 3, act_dim: int = 2, flags: str = "terminals timeouts"
) -> dict[str, Any]:
    """Two trajectories of ten rows; the second reaches the goal, where every row is terminal."""
    rng = np.random.default_rng(0)
    first, second = flags.split()
    return {
        "observations": rng.normal(size=(20, obs_dim)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (20, act_dim)).astype(np.float32),
        "rewards": np.float32(at_goal),
        first: np.array(at_goal),
        second: LIMITS.copy(),
    }


def true_next(observations: np.ndarray) -> np.ndarray:
    """Next observations: those of the next row, but over a time limit another one."""
    return np.where(LIMITS[:, None], -observations, np.roll(observations, -1, 0))


def write(path: Path, arrays: dict[str, Any]) -> Path:
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        for key, values in arrays.items():
            file[key] = values
    return path


def check_two(dataset: Dataset, rows: int = 20) -> None:
    """Two trajectories, one of which succeeds; every terminal row keeps its mask."""
    assert len(dataset.episode_starts) - 1 == 2
    assert_array_equal(dataset.episode_returns(), [0, 1])
    assert dataset.mean_score() == 50.0
    assert dataset.terminations.sum() == AT_GOAL.sum() - (20 - rows) // 2
    assert not dataset.truncations[:-1][dataset.terminations[:-1]].any()
    order = arrange(len(dataset), dataset.episode_starts, "episodes", 0)
    assert np.count_nonzero(np.diff(order) != 1) <= 1  # each trajectory arrives whole


@pytest.mark.parametrize("touches", [[], [12]])
@pytest.mark.parametrize("mode", ["native", "d4rl"])
def test_antmaze_goes_by_time_limits_alone(tmp_path: Path, mode: Any, touches: list[int]) -> None:
    """The input of the issue; and one that passes the goal before it stays there."""
    at_goal = AT_GOAL.copy()
    at_goal[touches] = True
    arrays = columns(at_goal, 29, 8)
    write(tmp_path / "d4rl" / ENTRIES["antmaze-large-diverse-v2"].file_name, arrays)
    dataset = load_dataset("d4rl:antmaze-large-diverse-v2", mode=mode, progress=False)
    assert_array_equal(dataset.episode_returns(), [0, 1])
    assert dataset.mean_score() == 50.0
    assert_array_equal(dataset.episode_starts, [0, 9, 18 if mode == "d4rl" else 19])
    kept = np.flatnonzero(~LIMITS | (AT_GOAL & (mode == "native")))
    assert_array_equal(dataset.terminations, at_goal[kept])
    # The same file under another name, with the task given.
    path = write(tmp_path / "mine.hdf5", arrays)
    again = load_dataset(path, dataset.task, mode=mode, progress=False)
    assert again.sha256 == dataset.sha256


@pytest.mark.parametrize("mode", ["native", "d4rl"])
@pytest.mark.parametrize("following", [False, True])
def test_a_file_of_ones_own_with_rows_at_a_goal(tmp_path: Path, mode: Any, following: bool) -> None:
    arrays = columns()
    if following:
        arrays["next_observations"] = true_next(arrays["observations"])
    dataset = load_dataset(write(tmp_path / "mine.hdf5", arrays), TASK, mode=mode, progress=False)
    check_two(dataset, 18 if mode == "d4rl" else 20)


@pytest.mark.parametrize("given", ["next_observations", "episode_starts", "neither"])
@pytest.mark.parametrize("in_file", [False, True])
def test_arrays_with_rows_at_a_goal(tmp_path: Path, given: str, in_file: bool) -> None:
    arrays = columns(flags="terminations truncations")
    if given == "next_observations":
        arrays["next_observations"] = true_next(arrays["observations"])
    elif given == "episode_starts":
        arrays["episode_starts"] = [0, 10]
    if in_file:
        np.savez(tmp_path / "mine.npz", **arrays)
    check_two(load_dataset(tmp_path / "mine.npz" if in_file else arrays, TASK))


@pytest.mark.parametrize("obs_shape", [(3,), (4, 4, 3)])
def test_ogbench_with_rows_at_a_goal(tmp_path: Path, obs_shape: tuple[int, ...]) -> None:
    """Its `terminals` are ends of trajectories, its terminal states are where `masks` are 0."""
    seen = np.random.default_rng(0).integers(0, 256, (20, *obs_shape), np.uint8)
    arrays = columns()
    arrays |= {"observations": seen if len(obs_shape) > 1 else seen.astype(np.float32), "masks": 1.0 - AT_GOAL}
    arrays["terminals"] = arrays.pop("timeouts")
    np.savez(tmp_path / "mine.npz", **arrays)
    dataset = load_dataset(tmp_path / "mine.npz", TASK)
    assert_array_equal(dataset.episode_starts, [0, 9, 18])
    assert (dataset.terminations.sum(), dataset.mean_score()) == (4, 50.0)


def test_a_prefix_that_ends_at_a_terminal_row_inside_a_trajectory_is_cut() -> None:
    arrays = columns(flags="terminations truncations")
    dataset = Dataset.from_arrays("toy", TASK, RawTransitions(**arrays, episode_starts=[0, 10]))
    prefix = dataset.prefix(17)
    assert prefix.cut
    assert_array_equal(prefix.episode_returns(), [0])
    assert not (prefix.terminations & prefix.truncations).any()


LENGTHS = st.lists(st.integers(2, 6), min_size=2, max_size=6)


@given(LENGTHS, st.data())
def test_true_next_observations_tell_ends_from_terminal_rows_inside(lengths: list[int], data: st.DataObject) -> None:
    last = np.cumsum(lengths) - 1
    total = int(last[-1]) + 1
    observations = np.arange(total, dtype=np.float32)[:, None]
    following = observations + 1
    following[last] += 0.5
    # The first trajectory ends at a time limit, so that there is one; any row may be terminal.
    terminated = np.array(data.draw(st.lists(st.booleans(), min_size=total, max_size=total)))
    terminated[last[0]] = False
    limits = np.zeros(total, bool)
    limits[last] = ~terminated[last]
    assert_array_equal(np.flatnonzero(trajectory_ends(terminated, limits, observations, following)), last)
    starts = np.append(0, last + 1)
    rewards = np.arange(1, total + 1, dtype=np.float32)
    expected = []
    for begin, end in zip(starts[:-1], starts[1:], strict=True):
        first = next((row for row in range(begin, end) if terminated[row]), end - 1)
        expected.append(rewards[begin : first + 1].sum())
    assert_array_equal(trajectory_returns(rewards, terminated, starts), expected)


def test_rows_that_cannot_show_it_end_at_every_terminal_state() -> None:
    """Without time limits (bandits, data without them); and where next observations are only shifted."""
    observations = np.arange(20.0)[:, None]
    shifted = np.roll(observations, -1, 0)
    none = np.zeros(20, bool)
    for terminated in (AT_GOAL, ~none, ROWS % 4 == 3):
        for following in (None, shifted, observations + 0.5):
            assert_array_equal(trajectory_ends(terminated, none, observations, following), terminated)
    seldom = ROWS % 4 == 2
    assert_array_equal(trajectory_ends(seldom, LIMITS, observations, shifted), seldom | LIMITS)
    assert_array_equal(trajectory_ends(AT_GOAL, LIMITS, observations, shifted), LIMITS)
