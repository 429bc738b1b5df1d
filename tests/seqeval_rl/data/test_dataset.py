"""Columns in, packed transitions out: terminals and time limits, bounds, scores, prefixes, and what is refused."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.task_matching import check_environment
from seqeval_rl.data.validation import RawTransitions, task_of_dataset
from seqeval_rl.environments.spaces import environment_spaces
from seqeval_rl.environments.tasks import TASKS, Task
from seqeval_rl.errors import DataError, EnvironmentMissingError

TASK = Task("toy", "Toy-v0", 0.0, 10.0)
# An episode as (transitions, how it ends); only the last one of a dataset may just stop. Terminal rows in a row would belong to
# one episode (see test_trajectories.py).
EPISODE = st.one_of(st.tuples(st.integers(2, 5), st.just("terminal")), st.tuples(st.integers(1, 5), st.just("limit")))
EPISODES = st.lists(EPISODE, min_size=1, max_size=6)


def columns(episodes: list[tuple[int, str]], obs_dim: int = 2, act_dim: int = 1) -> dict[str, Any]:
    """Made-up arrays whose every observation differs, with the true next observation of each row."""
    length = sum(count for count, _ in episodes)
    observations, following, terminations, truncations = [], [], [], []
    for episode, (count, end) in enumerate(episodes):
        trail = 100.0 * episode + np.arange(count + 1)
        observations.append(trail[:-1])
        following.append(trail[1:])
        terminations += [False] * (count - 1) + [end == "terminal"]
        truncations += [False] * (count - 1) + [end == "limit"]
    spread = 1000.0 * np.arange(obs_dim)
    return {
        "observations": np.concatenate(observations)[:, None] + spread,
        "actions": np.linspace(-1.0, 1.0, length * act_dim).reshape(length, act_dim),
        "rewards": 1.0 + np.arange(length),
        "next_observations": np.concatenate(following)[:, None] + spread,
        "terminations": np.array(terminations),
        "truncations": np.array(truncations),
    }


def make(arrays: dict[str, Any], **more: Any) -> Dataset:
    return Dataset.from_arrays("toy", TASK, RawTransitions(**{**arrays, **more}))


def test_columns_come_back_as_they_were() -> None:
    arrays = columns([(3, "terminal"), (2, "limit")])
    dataset = make(arrays)
    assert (len(dataset), dataset.obs_shape, dataset.act_dim) == (5, (2,), 1)
    assert dataset.rows.dtype == np.float32
    assert dataset.rows.shape == (5, 2 + 1 + 1 + 1 + 2)
    for name in ("observations", "actions", "rewards", "next_observations", "terminations", "truncations"):
        assert_array_equal(getattr(dataset, name), np.float32(arrays[name]))
    assert_array_equal(dataset.rows[:, 4], [1, 1, 0, 1, 1])  # a time limit keeps its mask
    assert_array_equal(dataset.episode_starts, [0, 3, 5])


def test_nothing_in_a_dataset_can_be_changed() -> None:
    dataset = make(columns([(3, "limit")]))
    for array in (dataset.rows, dataset.truncations, dataset.episode_starts, dataset.observations):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_image_observations_keep_their_shape() -> None:
    arrays = columns([(4, "limit")])
    pictures = np.arange(4 * 2 * 3).reshape(4, 2, 3).astype(np.uint8)
    dataset = make(arrays, observations=pictures, next_observations=pictures + 1)
    assert dataset.obs_shape == (2, 3)
    assert_array_equal(dataset.observations, pictures)
    assert_array_equal(dataset.next_observations, pictures + 1)


@given(EPISODES, st.booleans())
def test_without_next_observations_every_bootstrap_is_a_true_one(episodes: list[tuple[int, str]], stops: bool) -> None:
    if stops:
        episodes = [*episodes[:-1], (episodes[-1][0], "stop")]
    arrays = columns(episodes)
    ended = [end == "terminal" for _, end in episodes]
    kept = sum(count - (not terminal) for (count, _), terminal in zip(episodes, ended, strict=True))
    if kept == 0:
        with pytest.raises(DataError, match="without a terminal state"):
            make(arrays, next_observations=None)
        return
    dataset = make(arrays, next_observations=None)
    assert len(dataset) == kept
    # Wherever the bootstrap is not masked, the next observation is that of the environment.
    alive = ~dataset.terminations
    assert_array_equal(dataset.next_observations[alive], dataset.observations[alive] + 1)
    # Terminal rows all stay, and each episode that still has rows ends in exactly one way.
    assert dataset.terminations.sum() == sum(ended)
    last = dataset.episode_starts[1:] - 1
    assert_array_equal(np.flatnonzero(dataset.terminations | dataset.truncations), last)
    assert not (dataset.terminations & dataset.truncations).any()
    survivors = [
        count - (not terminal) for (count, _), terminal in zip(episodes, ended, strict=True) if count > 1 or terminal
    ]
    assert_array_equal(np.diff(dataset.episode_starts), survivors)
    assert dataset.cut == (stops and episodes[-1][0] > 1)


@given(EPISODES, st.data())
def test_a_prefix_is_the_beginning_and_prefixes_nest(episodes: list[tuple[int, str]], data: st.DataObject) -> None:
    dataset = make(columns(episodes))
    n = data.draw(st.integers(1, len(dataset)))
    shorter = data.draw(st.integers(1, n))
    prefix = dataset.prefix(n)
    assert (len(prefix), prefix.name) == (n, f"toy:{n}")
    assert_array_equal(prefix.rows, dataset.rows[:n])
    assert_array_equal(prefix.truncations[:-1], dataset.truncations[: n - 1])
    assert bool(prefix.truncations[-1]) != bool(prefix.terminations[-1])
    whole = {int(start) for start in dataset.episode_starts}
    assert prefix.cut == (n not in whole)
    assert_array_equal(prefix.episode_starts, sorted({start for start in whole if start < n} | {n}))
    twice = prefix.prefix(shorter)
    once = dataset.prefix(shorter)
    assert (twice.name, twice.sha256, twice.cut) == (once.name, once.sha256, once.cut)


@given(
    low=st.floats(-50, 50),
    width=st.floats(0.01, 100),
    share=st.lists(st.floats(0, 1), min_size=1, max_size=20),
)
def test_actions_are_scaled_to_the_unit_range(low: float, width: float, share: list[float]) -> None:
    arrays = columns([(len(share), "limit")])
    dataset = make(arrays, actions=low + width * np.array(share)[:, None], action_low=[low], action_high=[low + width])
    # Datasets are float32, so nearness is relative to the size of the bounds.
    tolerance = 1e-6 + 4 * np.finfo(np.float32).eps * (abs(low) + width) / width
    assert_allclose(dataset.actions[:, 0], 2 * np.array(share) - 1, atol=tolerance)
    assert np.abs(dataset.actions).max() <= 1


def test_actions_just_outside_are_clipped_and_counted() -> None:
    arrays = columns([(4, "limit")], act_dim=2)
    actions = np.array([[2.003, 0.0], [2.0, -2.0], [-2.003, 2.001], [1.0, 0.0]])
    dataset = make(arrays, actions=actions, action_low=-2.0, action_high=2.0)
    assert dataset.clipped_actions == 2
    assert_allclose(dataset.actions, [[1, 0], [1, -1], [-1, 1], [0.5, 0]])


def test_bounds_that_were_rounded_to_float32_are_no_excess() -> None:
    arrays = columns([(2, "limit")])
    dataset = make(arrays, actions=np.float32([[0.4], [-0.4]]), action_low=-0.4, action_high=0.4)
    assert dataset.clipped_actions == 0
    assert_array_equal(dataset.actions, [[1], [-1]])


def test_returns_leave_out_an_episode_that_the_dataset_cut_short() -> None:
    arrays = columns([(2, "terminal"), (3, "limit"), (2, "stop")])
    dataset = make(arrays)
    assert dataset.cut
    assert dataset.truncations[-1]
    assert_array_equal(dataset.episode_returns(), [1 + 2, 3 + 4 + 5])
    assert dataset.mean_score() == pytest.approx(100 * (3 + 12) / 2 / 10)
    # The only episode there is counts even if it was cut.
    assert_array_equal(dataset.prefix(1).episode_returns(), [1])


def test_given_episode_starts_split_where_no_flag_does() -> None:
    arrays = columns([(5, "terminal")])
    dataset = make(arrays, episode_starts=[0, 2])
    assert_array_equal(dataset.episode_starts, [0, 2, 5])
    assert_array_equal(dataset.truncations, [0, 1, 0, 0, 0])
    assert len(make(arrays, episode_starts=[0, 2, 5], next_observations=None)) == 4


def test_the_hash_tells_contents_apart() -> None:
    arrays = columns([(3, "terminal"), (2, "limit")])
    reference = make(arrays).sha256
    assert make(arrays).sha256 == reference
    assert Dataset.from_arrays("other", TASKS["hopper"], RawTransitions(**arrays)).sha256 == reference
    rewards = arrays["rewards"].copy()
    rewards[3] += 1e-6 * rewards[3]
    for change in (
        {"rewards": rewards},
        {"truncations": [False] * 5},
        {"episode_starts": [0, 1, 3, 5]},
        {"terminations": [False] * 5, "truncations": [False, False, True, False, True]},
    ):
        assert make(arrays, **change).sha256 != reference, change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"observations": np.empty((0, 2))}, "at least one transition, found none"),
        ({"observations": []}, "at least one transition, found none"),
        ({"rewards": [1, 2, np.nan, 4, 5]}, r"rewards\[2\] is nan"),
        ({"next_observations": np.full((5, 2), np.inf)}, r"next_observations\[0, 0\] is inf"),
        ({"rewards": [1, 2, 3, 4, 1e39]}, r"rewards\[4\] is 1e\+39, expected a finite float32"),
        ({"rewards": [1, 2, 3, 4]}, "rewards have length 4, expected that of observations, 5"),
        ({"rewards": 1.0}, "rewards have shape"),
        ({"terminations": True}, "terminations have length a single number"),
        ({"truncations": [0, 0, 0, 0, 2]}, "truncations expected to be .* true and false"),
        ({"actions": np.zeros(5)}, r"actions have shape \(5,\), expected \[N, act_dim\]"),
        ({"actions": [["a"]] * 5}, "actions have type <U1, expected numbers"),
        ({"actions": [[1.0], [1.0, 2.0], [1.0], [1.0], [1.0]]}, "rows of unequal shapes"),
        ({"actions": [[0.0], [0.0], [1.003], [0.0], [0.0]]}, r"actions\[2, 0\] is 1.003, expected within \[-1, 1\]"),
        ({"next_observations": np.zeros((5, 3))}, r"next_observations have shape \(3,\)"),
        ({"action_low": [-1, -1]}, "action bounds have shapes"),
        ({"action_low": 1.0}, "expected finite ones with low < high"),
        ({"action_high": np.inf}, "expected finite ones with low < high"),
        ({"episode_starts": [1, 3]}, "episode_starts expected"),
        ({"episode_starts": [0, 3, 3]}, "episode_starts expected"),
        (
            {"episode_starts": [0, 4], "truncations": [0, 0, 1, 0, 1]},
            "row 2 truncates, but episode_starts has it inside",
        ),
    ],
)
def test_unusable_columns_are_refused_in_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        make(columns([(3, "terminal"), (2, "limit")]), **change)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("toy: ")


@pytest.mark.parametrize("n", [0, 6, -1])
def test_a_prefix_longer_than_the_dataset_is_refused(n: int) -> None:
    with pytest.raises(DataError, match=f"between 1 and 5 transitions, found {n}"):
        make(columns([(5, "limit")])).prefix(n)


def test_an_environment_that_fits_is_accepted_and_others_are_not() -> None:
    arrays = columns([(3, "limit")], obs_dim=11, act_dim=3)
    check_environment(Dataset.from_arrays("toy", TASKS["hopper"], RawTransitions(**arrays)))
    with pytest.raises(DataError, match=r"observations have shape \(11,\), expected \(17,\) as in Walker2d-v5"):
        check_environment(Dataset.from_arrays("toy", TASKS["walker2d"], RawTransitions(**arrays)))
    arrays = columns([(3, "limit")], obs_dim=11, act_dim=2)
    with pytest.raises(DataError, match=r"actions have shape \(2,\), expected \(3,\)"):
        check_environment(Dataset.from_arrays("toy", TASKS["hopper"], RawTransitions(**arrays)))
    discrete = Task("cart", "CartPole-v1", 0, 500)
    with pytest.raises(DataError, match=r"toy: has \d actions, expected Discrete\(2\) as in CartPole-v1"):
        check_environment(Dataset.from_arrays("toy", discrete, RawTransitions(**columns([(3, "limit")], obs_dim=4))))


def test_a_missing_environment_is_named_with_its_neighbours() -> None:
    with pytest.raises(EnvironmentMissingError, match=r"'Hoper-v5'.*Did you mean Hopper-v5"):
        environment_spaces("Hoper-v5")
    with pytest.raises(EnvironmentMissingError, match="Install the package"):
        environment_spaces("some_package/Xyzzy-v0")


def test_the_task_of_a_dataset() -> None:
    hopper = TASKS["hopper"]
    assert task_of_dataset("log", "Hopper-v5", None, None, "") is hopper
    assert task_of_dataset("log", "Hopper-v5", hopper.reference_min, hopper.reference_max, "") is hopper
    assert task_of_dataset("log", "Hopper-v5", 0, 1, "") == Task("Hopper-v5", "Hopper-v5", 0.0, 1.0)
    assert task_of_dataset("log", None, 0, 1, "") == Task("unknown", None, 0.0, 1.0)
    assert task_of_dataset("log", "Other-v0", None, None, "") == Task("Other-v0", "Other-v0")
    spec = gymnasium.spec("Hopper-v5").to_json()
    assert task_of_dataset("log", "Hopper-v5", None, None, "", spec) == Task("Hopper-v5", "Hopper-v5", env_spec=spec)
    with pytest.raises(DataError, match=r"both reference returns for Hopper-v5, found 1 and None.*Do this"):
        task_of_dataset("log", "Hopper-v5", 1, None, "Do this.")
