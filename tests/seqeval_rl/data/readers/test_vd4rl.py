"""V-D4RL's directories: which transitions they hold, in either format, and what is refused."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from numpy.testing import assert_array_equal
from vd4rl_files import episodes, write_episode, write_shard

from seqeval_rl.data import cache
from seqeval_rl.data.load import load_dataset, parse_source
from seqeval_rl.data.task_matching import check_environment
from seqeval_rl.environments.tasks import TASKS, Task
from seqeval_rl.errors import DataError, FileError, SeqevalError, UsageError

pytestmark = pytest.mark.usefixtures("empty_caches")


def load(directory: Path, **more: Any) -> Any:
    return load_dataset(f"vd4rl:{directory}", progress=False, **more)


def step_by_step(made: list[Any]) -> list[Any]:
    """Transitions as an agent would have gathered them: (stack, action, reward, next stack, terminated, last)."""
    found = []
    for episode in made:
        stack = deque([episode["observation"][0]] * 3, maxlen=3)
        for row in range(1, len(episode["reward"])):
            before = np.concatenate(stack)
            stack.append(episode["observation"][row])
            last = episode["step_type"][row] == 2
            values = episode["action"][row], episode["reward"][row]
            found.append((before, *values, np.concatenate(stack), episode["discount"][row] == 0, last))
    return found


def assert_holds(dataset: Any, made: list[Any]) -> None:
    expected = step_by_step(made)
    seen, actions, rewards, following, terminated, last = (np.array(column) for column in zip(*expected, strict=True))
    assert_array_equal(dataset.observations, seen)
    assert_array_equal(dataset.next_observations, following)
    assert_array_equal(dataset.actions, actions)
    assert_array_equal(dataset.rewards, rewards)
    assert_array_equal(dataset.terminations, terminated)
    assert_array_equal(dataset.truncations, last & ~terminated)
    assert_array_equal(np.diff(dataset.episode_starts), [len(e["reward"]) - 1 for e in made if len(e["reward"]) > 1])


def test_shards_of_84_pixels(tmp_path: Path) -> None:
    made = episodes([5, 4, 6], terminal={1})
    directory = tmp_path / "main" / "walker_walk" / "medium_replay" / "84px"
    write_shard(directory / "2.hdf5", made[:2])
    write_shard(directory / "10.hdf5", made[2:])  # behind 2
    dataset = load(directory)
    assert_holds(dataset, made)
    assert (dataset.obs_shape, dataset.action_repeat, dataset.cut) == ((9, 84, 84), 2, False)
    assert dataset.task == TASKS["walker_walk"]
    assert dataset.pixels is not None
    assert isinstance(dataset.pixels.frames, np.memmap)
    assert dataset.pixels.frames.shape == (15, 3, 84, 84)
    prefix = load_dataset(f"vd4rl:{directory}:6", progress=False)
    assert (len(prefix), prefix.name) == (6, f"vd4rl:{directory}:6")
    assert load(directory, task=Task("mine", "Mine-v0", 0, 1)).task.name == "mine"
    assert len(cache.entries()) == 1
    write_shard(directory / "11.hdf5", episodes([3], seed=5))
    assert len(load(directory)) == 14


def test_episodes_of_64_pixels(tmp_path: Path) -> None:
    made = episodes([5, 4], side=64, terminal={0})
    directory = tmp_path / "cheetah_run" / "random" / "64px"
    write_episode(directory / "20220101T000000-ab-5.npz", made[0])
    write_episode(directory / "20220101T000001-aa-4.npz", made[1], is_first=None, is_last=None, is_terminal=None)
    dataset = load(directory)
    assert_holds(dataset, made)
    assert (dataset.obs_shape, dataset.task) == ((9, 64, 64), TASKS["cheetah_run-64px"])
    (directory / "20220101T000001-aa-4.npz").unlink()
    write_episode(directory / "20220101T000000-ab-5.npz", made[0], discount=None)  # is_terminal tells it too
    assert_holds(load(directory), made[:1])


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=5),
    cuts=st.lists(st.integers(0, 25), max_size=3),
    terminal=st.sets(st.integers(0, 4)),
)
def test_it_does_not_matter_how_a_dataset_is_cut_into_shards(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], cuts: list[int], terminal: set[int]
) -> None:
    made = episodes([*lengths, 2], side=4, terminal=terminal)
    for episode in made:
        if len(episode["reward"]) == 1:  # begun and nothing more
            episode["step_type"][:], episode["discount"][:] = 0, 1
    columns = {key: np.concatenate([episode[key] for episode in made]) for key in made[0]}
    total = len(columns["reward"])
    bounds = sorted({0, total, *(cut for cut in cuts if cut < total)})
    directory = tmp_path_factory.mktemp("walker_walk")
    for number, (start, stop) in enumerate(zip(bounds, bounds[1:], strict=False)):
        write_shard(directory / f"{number}.hdf5", [{key: values[start:stop] for key, values in columns.items()}])
    assert_holds(load(directory, task=Task("walker_walk", None, 0, 1000)), made)


def test_an_episode_that_recording_left_is_cut(tmp_path: Path) -> None:
    made = episodes([4, 5], side=4)
    for episode in made:
        episode["step_type"][-1] = 1
    write_shard(tmp_path / "walker_walk" / "0.hdf5", made)
    dataset = load(tmp_path / "walker_walk")
    assert dataset.cut
    assert_array_equal(np.flatnonzero(dataset.truncations), [2, 6])


def test_a_terminal_state_inside_an_episode_masks_and_ends_nothing(tmp_path: Path) -> None:
    made = episodes([4, 3], side=4)
    write_shard(tmp_path / "walker_walk" / "0.hdf5", made, discount=np.array([1, 1, 0, 1, 1, 1, 1]))
    dataset = load(tmp_path / "walker_walk")
    assert_array_equal(dataset.episode_starts, [0, 3, 5])
    assert_array_equal(np.flatnonzero(dataset.terminations), [1])
    assert_array_equal(np.flatnonzero(dataset.truncations), [2, 4])


def test_sources_are_parsed() -> None:
    assert parse_source("vd4rl:logs/84px:100") == ("vd4rl:logs/84px", 100)
    assert parse_source("vd4rl:logs") == ("vd4rl:logs", None)
    with pytest.raises(UsageError, match="expected a number of transitions"):
        parse_source("vd4rl:logs:all")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reward": None}, r"0\.hdf5: expected arrays as V-D4RL has them, found one missing: .*reward"),
        ({"step_type": None}, "found one missing: .*step_type"),
        ({"observation": np.zeros((7, 3, 4, 4), np.float32)}, r"images are float32 of shape \(7, 3, 4, 4\), expected images"),
        ({"observation": np.zeros((7, 48), np.uint8)}, r"images are uint8 of shape \(7, 48\), expected images"),
        ({"observation": np.zeros((6, 3, 4, 4), np.uint8)}, "action have length 7, expected that of images, 6"),
        ({"action": np.zeros((6, 2))}, "action have length 6, expected that of images, 7"),
        ({"action": np.full((7, 2), np.nan)}, r"actions\[0, 0\] is nan"),
        ({"action": np.full((7, 2), 3.0)}, r"actions\[0, 0\] is 3, expected within \[-1, 1\]"),
        ({"reward": np.full(7, np.inf)}, r"rewards\[0\] is inf"),
        ({"discount": np.full(7, np.nan)}, r"discount\[0\] is nan"),
        ({"step_type": np.array([1, 1, 1, 2, 0, 1, 2])}, "row 0 continues an episode without a first row"),
        ({"step_type": np.array([0, 1, 1, 2, 1, 1, 2])}, "row 4 continues an episode without a first row"),
        ({"step_type": np.array([0, 1, 1, 3, 0, 1, 2])}, "expected step_type to be 0, 1 or 2"),
        ({"step_type": np.zeros(7)}, "expected at least one transition, found none"),
    ],
)  # fmt: skip
def test_unusable_shards_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write_shard(tmp_path / "walker_walk" / "0.hdf5", episodes([4, 3], side=4), **changes)
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path / "walker_walk")
    assert "\n" not in str(caught.value)
    assert cache.entries() == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": None}, "found one missing: 'image'"),
        ({"image": np.zeros((4, 4, 4, 3))}, "images are float64"),
        ({"reward": np.zeros(3)}, "have length|have shape"),
        ({"is_first": np.ones(4, bool)}, "expected one episode with is_first in its first row alone"),
        ({"is_last": np.arange(4) == 2}, "row 3 continues an episode without a first row"),
        ({"action": np.array([{}] * 4, object)}, "expected an .npz file of plain arrays"),
    ],
)
def test_unusable_episodes_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write_episode(tmp_path / "walker_walk" / "a.npz", episodes([4], side=4)[0], **changes)
    with pytest.raises(DataError, match=message):
        load(tmp_path / "walker_walk")
    assert cache.entries() == []


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    directory = tmp_path / "walker_walk"
    write_shard(directory / "0.hdf5", episodes([3], side=4))
    write_shard(directory / "1.hdf5", episodes([3], side=5))
    with pytest.raises(
        DataError, match=r"1\.hdf5: images have shape \(3, 3, 5, 5\), expected \(3, 3, 4, 4\) as in 0\.hdf5"
    ):
        load(directory)
    write_shard(directory / "1.hdf5", episodes([3], side=4, act_dim=3))
    with pytest.raises(DataError, match="expected actions of one shape in all files"):
        load(directory)
    write_episode(directory / "a.npz", episodes([3], side=4)[0])
    with pytest.raises(DataError, match=r"expected either \*\.hdf5 or \*\.npz, found both"):
        load(directory)


def test_paths_without_a_dataset_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"vd4rl:.*gone: expected a directory.*No such file"):
        load(tmp_path / "gone")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="Not a directory"):
        load(tmp_path / "file")
    write_shard(tmp_path / "walker_walk" / "84px" / "0.hdf5", episodes([3], side=4))
    with pytest.raises(DataError, match="found none; in 84px: name one of these"):
        load(tmp_path / "walker_walk")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="found none; check the path"):
        load(tmp_path / "empty")
    write_shard(tmp_path / "unknown" / "0.hdf5", episodes([3], side=4))
    assert load(tmp_path / "unknown").task == Task("unknown", None)


@pytest.mark.parametrize("kind", ["distracting", "multitask"])
def test_data_of_changed_environments_have_none(tmp_path: Path, kind: str) -> None:
    directory = tmp_path / kind / "walker_walk" / "random"
    write_shard(directory / "0.hdf5", episodes([3], side=4))
    assert load(directory).task == Task("walker_walk", None, 0.0, 1000.0)


def test_images_of_another_size_than_the_environments_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("dm_control", reason="dm_control is not installed (extra `vision`)")
    write_shard(tmp_path / "walker_walk" / "0.hdf5", episodes([3], side=4, act_dim=6))
    with pytest.raises(
        DataError, match=r"observations have shape \(9, 4, 4\), expected \(9, 84, 84\) as in .*walker_walk"
    ):
        check_environment(load(tmp_path / "walker_walk"))


@pytest.mark.parametrize("kind", ["hdf5", "npz"])
@pytest.mark.parametrize("damage", ["cut", "emptied", "signature", "unreadable"])
def test_damaged_files_are_named(tmp_path: Path, kind: str, damage: str) -> None:
    path = tmp_path / "walker_walk" / f"0.{kind}"
    made = episodes([4], side=16)
    if kind == "hdf5":
        write_shard(path, made)
    else:
        write_episode(path, made[0])
    content = bytearray(path.read_bytes())
    if damage == "unreadable":
        if os.geteuid() == 0:
            pytest.skip("root reads everything")
        path.chmod(0)
    else:
        changed = bytearray(content)
        changed[1] ^= 255
        changed[-20] ^= 255  # of an archive's directory
        path.write_bytes({"cut": content[: len(content) // 2], "emptied": b"", "signature": changed}[damage])
    with pytest.raises(FileError if damage == "unreadable" else DataError, match=rf"0\.{kind}") as caught:
        load(tmp_path / "walker_walk")
    assert "\n" not in str(caught.value)
    assert cache.entries() == []


@pytest.mark.parametrize("kind", ["hdf5", "npz"])
def test_one_flipped_byte_never_crashes(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "walker_walk" / f"0.{kind}"
    made = episodes([4], side=32)
    write_shard(path, made) if kind == "hdf5" else write_episode(path, made[0])
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    refused: list[str] = []
    for place in rng.integers(0, len(content), 60):
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            assert len(load(tmp_path / "walker_walk")) <= 3
        except SeqevalError as error:
            refused.append(str(error))
    assert len(refused) > 15  # checksums of the compressed parts
    assert not any("\n" in message for message in refused)
