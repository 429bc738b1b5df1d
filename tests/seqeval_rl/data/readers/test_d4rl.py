"""D4RL's files: every transition, or exactly those of `qlearning_dataset`; the dataset's returns either way; what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import gymnasium
import h5py
import numpy as np
import pytest
from d4rl_files import LIMIT, TASK, columns, qlearning_loop, returned, trajectories, write
from hypothesis import HealthCheck, given, settings, strategies as st
from numpy.testing import assert_array_equal

from seqeval_rl import load_dataset
from seqeval_rl.data import cache
from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.load import known_datasets, label
from seqeval_rl.data.readers import d4rl, d4rl_file
from seqeval_rl.data.readers.d4rl_index import ENTRIES, identities
from seqeval_rl.data.task_matching import check_environment
from seqeval_rl.environments.tasks import TASKS, Task
from seqeval_rl.errors import DataError, FileError, SeqevalError, UsageError

ENDS = st.text(".....TLB", min_size=2, max_size=40)
SLOW = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])

pytestmark = pytest.mark.usefixtures("empty_caches")


@pytest.fixture
def limited() -> Iterator[Task]:
    """A task whose environment has a time limit of `LIMIT`."""
    gymnasium.register("test/Short-v0", "gymnasium.envs.classic_control:PendulumEnv", max_episode_steps=LIMIT)
    yield Task("short", "test/Short-v0", 0.0, 10.0)
    del gymnasium.registry["test/Short-v0"]


def read(path: Path, task: Task = TASK, **more: Any) -> Dataset:
    return load_dataset(path, task, progress=False, **more)


def check_sound(dataset: Dataset) -> None:
    """Each episode ends, in one way, at its last row; only terminal states may be elsewhere."""
    last = dataset.episode_starts[1:] - 1
    assert (np.diff(dataset.episode_starts) > 0).all()
    assert (dataset.terminations | dataset.truncations)[last].all()
    assert np.isin(np.flatnonzero(dataset.truncations), last).all()
    assert not (dataset.terminations & dataset.truncations).any()


def check_returns(dataset: Dataset, arrays: dict[str, Any], limit: int) -> None:
    """The dataset's returns are those of the file's whole trajectories, rows that were dropped included."""
    found = trajectories(arrays, limit)
    whole = [rows for rows, is_whole in found if is_whole] or [rows for rows, _ in found]
    assert_array_equal(dataset.episode_returns(), [returned(arrays, rows) for rows in whole])


@SLOW
@given(ends=ENDS, timeouts=st.booleans(), following=st.booleans(), terminate=st.booleans())
def test_mode_d4rl_is_qlearning_dataset(
    tmp_path: Path, limited: Task, ends: str, timeouts: bool, following: bool, terminate: bool
) -> None:
    arrays = columns(ends, following, timeouts, act_dim=1)
    arrays["actions"] *= 2  # Pendulum's bounds
    path = write(tmp_path / "log.hdf5", arrays)
    expected = qlearning_loop(arrays, LIMIT, terminate)
    if not len(expected["rewards"]):
        with pytest.raises(DataError, match="that qlearning_dataset keeps, found none"):
            read(path, limited, mode="d4rl", terminate_on_end=terminate)
        return
    dataset = read(path, limited, mode="d4rl", terminate_on_end=terminate)
    for key in ("observations", "rewards", "next_observations"):
        assert_array_equal(getattr(dataset, key), expected[key])
    assert_array_equal(dataset.actions, expected["actions"] / 2)
    assert_array_equal(dataset.terminations, expected["terminals"])
    check_sound(dataset)
    check_returns(dataset, arrays, LIMIT)


@SLOW
@given(ends=ENDS, timeouts=st.booleans(), following=st.booleans())
def test_mode_native_loses_only_rows_without_a_next_observation(
    tmp_path: Path, limited: Task, ends: str, timeouts: bool, following: bool
) -> None:
    arrays = columns(ends, following, timeouts, act_dim=1)
    path = write(tmp_path / "log.hdf5", arrays)
    found = trajectories(arrays, LIMIT)
    last = [rows[-1] for rows, _ in found]
    open_ends = set() if following else {row for row in last if not arrays["terminals"][row]}
    kept = [row for row in range(len(ends)) if row not in open_ends]
    if not kept:
        with pytest.raises(DataError, match="expected transitions with a next observation"):
            read(path, limited)
        return
    dataset = read(path, limited)
    assert_array_equal(dataset.observations, arrays["observations"][kept])
    assert_array_equal(dataset.rewards, arrays["rewards"][kept])
    assert_array_equal(dataset.terminations, arrays["terminals"][kept])
    alive = ~dataset.terminations
    true = arrays["next_observations"][kept] if following else np.roll(arrays["observations"], -1, 0)[kept]
    assert_array_equal(dataset.next_observations[alive], true[alive])
    check_sound(dataset)
    check_returns(dataset, arrays, LIMIT)
    lengths = [len(set(rows) - open_ends) for rows, _ in found]
    assert_array_equal(np.diff(dataset.episode_starts), [length for length in lengths if length])
    # An episode that the end of the file cut short is one, if it has any rows left.
    assert dataset.cut == (not found[-1][1] and lengths[-1] > 0)


@SLOW
@given(ends=ENDS, data=st.data(), mode=st.sampled_from(["native", "d4rl"]))
def test_a_prefix_has_the_returns_of_the_trajectories_that_are_over(
    tmp_path: Path, ends: str, data: st.DataObject, mode: d4rl.Mode
) -> None:
    ends = f"..{ends}"
    arrays = columns(ends)
    dataset = read(write(tmp_path / "log.hdf5", arrays), mode=mode)
    n = data.draw(st.integers(1, len(dataset)))
    prefix = dataset.prefix(n)
    check_sound(prefix)
    # Rows by their first observation, which differs from every other's.
    rows = (prefix.observations[:, 0] / 3).astype(int)
    following = int(dataset.observations[n, 0] / 3) if n < len(dataset) else len(ends)
    over = [
        returned(arrays, span)
        for span, whole in trajectories(arrays, LIMIT)
        if whole and span[-1] < following and (span[-1] in rows or mode == "d4rl")
    ]
    if over and n < len(dataset):
        assert_array_equal(prefix.episode_returns(), over)
    if not over:
        assert len(prefix.episode_returns()) == 1


def test_the_sizes_of_d4rl(tmp_path: Path) -> None:
    """halfcheetah-medium has 1000 trajectories of 1000, hopper-medium one time limit before its end."""
    cheetah = columns("".join(["." * 9 + "L"] * 10))
    assert len(read(write(tmp_path / "cheetah.hdf5", cheetah), mode="d4rl")) == 10 * 9
    hopper = columns("...T..L..T....")
    dataset = read(write(tmp_path / "hopper.hdf5", hopper), mode="d4rl")
    assert len(dataset) == 14 - 2
    assert dataset.cut
    assert_array_equal(dataset.episode_returns(), [1 + 2 + 3 + 4, 5 + 6 + 7, 8 + 9 + 10])
    assert_array_equal(dataset.episode_starts, [0, 4, 6, 9, 12])
    assert_array_equal(np.flatnonzero(dataset.truncations), [5, 11])
    assert dataset.mean_score() == read(tmp_path / "hopper.hdf5").mean_score() == pytest.approx(100 * 55 / 3 / 10)


def test_metadata_and_infos_are_left_alone(tmp_path: Path) -> None:
    arrays = columns("...T....L.")
    more = {
        "infos/qpos": np.full((10, 6), np.nan),
        "infos/action_log_probs": np.zeros(10),
        "metadata/algorithm": "SAC",
        "metadata/iteration": 7,
        "metadata/policy/fc0/weight": np.zeros((4, 4)),
    }
    plain = read(write(tmp_path / "plain.hdf5", arrays))
    assert read(write(tmp_path / "replay.hdf5", arrays | more)).sha256 == plain.sha256


def test_types_and_axes_of_old_files(tmp_path: Path) -> None:
    arrays = columns("...T....L.")
    plain = read(write(tmp_path / "plain.hdf5", arrays))
    for number, change in enumerate(
        (
            {"terminals": arrays["terminals"].astype(np.float32), "timeouts": arrays["timeouts"].astype(np.uint8)},
            {key: arrays[key][:, None] for key in ("rewards", "terminals", "timeouts")},
            {key: arrays[key].astype(np.float64) for key in ("observations", "rewards", "actions")},
        )
    ):
        for settings_ in ({}, {"compression": "gzip"}, {"chunks": True}):
            path = write(tmp_path / f"{number}{len(settings_)}.hdf5", arrays | change, **settings_)
            assert read(path).sha256 == plain.sha256


@pytest.mark.parametrize("piece", [1, 3, 10, 100])
def test_a_file_read_in_pieces_is_the_same(tmp_path: Path, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = columns("...T....L.")
    whole = read(write(tmp_path / "log.hdf5", arrays))
    monkeypatch.setattr(d4rl_file, "_PIECE", piece)
    for path in (tmp_path / "cache").iterdir():
        path.rename(tmp_path / f"old-{path.name}")
    assert read(tmp_path / "log.hdf5").sha256 == whole.sha256


def test_the_cache_keeps_readings_apart_and_knows_a_file_by_its_content(tmp_path: Path) -> None:
    path = write(tmp_path / "log.hdf5", columns("...T....L."))
    first = read(path)
    assert isinstance(first.rows, np.memmap)
    with mock.patch.object(d4rl, "convert", side_effect=AssertionError("read again")):
        again = read(path, replace(TASK, name="other"))
        (tmp_path / "copy").mkdir()
        copy = tmp_path / "copy" / "log.hdf5"
        copy.write_bytes(path.read_bytes())
        assert read(copy).sha256 == first.sha256 == again.sha256
    assert (again.task.name, again.name) == ("other", str(path))
    assert_array_equal(again.episode_returns(), first.episode_returns())
    sizes = [
        len(dataset)
        for dataset in (read(path, mode="d4rl"), read(path, mode="d4rl", terminate_on_end=True), read(path))
    ]
    assert sizes == [8, 9, 10]
    assert len(cache.entries()) == 3
    write(path, columns("...T......"))
    assert read(path).sha256 != first.sha256


def test_d4rl_ids_have_their_tasks(tmp_path: Path) -> None:
    arrays = columns("...T....L.", obs_dim=11, act_dim=3)
    (tmp_path / "d4rl").mkdir()
    write(tmp_path / "d4rl" / "hopper_medium-v2.hdf5", arrays)
    assert "d4rl:hopper-medium-v2" in known_datasets()
    dataset = load_dataset("d4rl:hopper-medium-v2:6", mode="d4rl", progress=False)
    assert (dataset.name, len(dataset)) == ("d4rl:hopper-medium-v2:6", 6)
    assert dataset.task == TASKS["d4rl/hopper"]
    assert dataset.task.env_id == "Hopper-v4"
    check_environment(dataset)
    by_path = load_dataset(tmp_path / "d4rl" / "hopper_medium-v2.hdf5", progress=False)
    assert by_path.task == dataset.task
    assert (len(load_dataset(f"{tmp_path}/d4rl/hopper_medium-v2.hdf5:3", progress=False))) == 3


def test_without_timeouts_the_time_limit_of_d4rl_counts(tmp_path: Path) -> None:
    (tmp_path / "d4rl").mkdir()
    arrays = columns("." * 250, next_observations=False, timeouts=False, obs_dim=45, act_dim=24)
    write(tmp_path / "d4rl" / "pen-human-v1.hdf5", arrays)
    assert ENTRIES["pen-human-v1"].time_limit == 100
    expected = qlearning_loop(arrays, 100, terminate_on_end=False)
    dataset = load_dataset("d4rl:pen-human-v1", mode="d4rl", progress=False)
    assert_array_equal(dataset.rewards, expected["rewards"])
    assert_array_equal(dataset.episode_starts, [0, 99, 198, 247])
    assert_array_equal(load_dataset("d4rl:pen-human-v1", progress=False).episode_starts, [0, 99, 198, 247])


def test_a_dataset_without_an_environment_is_read_and_says_so_where_one_is_needed(tmp_path: Path) -> None:
    (tmp_path / "d4rl").mkdir()
    arrays = columns("...T....L.", obs_dim=29, act_dim=8)
    write(tmp_path / "d4rl" / ENTRIES["antmaze-umaze-v2"].file_name, arrays)
    dataset = load_dataset("d4rl:antmaze-umaze-v2", progress=False)
    assert (dataset.task.name, dataset.task.env_id) == ("d4rl/antmaze-umaze", None)
    with pytest.raises(DataError, match="expected an environment, found a dataset without one"):
        check_environment(dataset)


def test_unknown_ids_come_with_the_nearest() -> None:
    assert "d4rl:kitchen-mixed-v0" in identities()
    with pytest.raises(UsageError, match="did you mean d4rl:hopper-medium-v2") as caught:
        load_dataset("d4rl:hoper-medium-v2")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("bundled/hopper/medium:100", "medium"),
        ("d4rl:hopper-medium-replay-v2", "medium-replay"),
        ("d4rl:antmaze-umaze-v2:10", "antmaze-umaze-v2"),
        ("d4rl:antmaze-umaze-diverse-v2", "diverse"),
        ("synthetic:d4rl/walker2d-expert-v2:600", "expert"),
        ("data/hopper_medium_expert-v2.hdf5", "medium-expert"),
        ("data/mine.hdf5:500", "mine"),
        ("data/mine.npz", "mine"),
        ("minari:mujoco/hopper/medium-v0", "medium-v0"),
    ],
)
def test_what_sources_are_called_beside_others(source: str, name: str) -> None:
    assert label(source) == name


def test_what_is_published_is_of_known_datasets_with_their_scores() -> None:
    published = [entry for entry in ENTRIES.values() if entry.published is not None]
    assert len(published) == 15
    scores = {entry.identity: float(entry.task.score(entry.published.mean_return)) for entry in published}
    assert scores["halfcheetah-medium-v2"] == pytest.approx(40.60, abs=0.005)
    assert scores["hopper-expert-v2"] == pytest.approx(108.24, abs=0.005)
    assert scores["walker2d-random-v2"] == pytest.approx(0.01, abs=0.005)


def test_d4rls_tasks_and_those_of_this_package_do_not_mix() -> None:
    assert len({(task.name, task.env_id) for task in TASKS.values()}) == len(TASKS)
    for name in ("hopper", "halfcheetah", "walker2d", "ant"):
        ours, theirs = TASKS[name], TASKS[f"d4rl/{name}"]
        assert (ours.reference_min, ours.reference_max) == (theirs.reference_min, theirs.reference_max)
        assert ours.env_id != theirs.env_id
    assert {entry.task.name for entry in ENTRIES.values()} == {name for name in TASKS if name.startswith("d4rl/")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewards": None}, r"found no rewards among actions, next_observations"),
        ({"terminals": None, "actions": None}, "found no actions, terminals among"),
        ({"rewards": np.zeros(9)}, "rewards have length 9, expected that of observations, 10"),
        ({"timeouts": np.zeros(11, bool)}, "timeouts have length 11"),
        (
            {"next_observations": np.zeros((10, 4))},
            r"next_observations have shape \(4,\), expected that of observations",
        ),
        ({"observations": np.zeros((0, 3))}, r"observations have shape \(0, 3\), expected \[N, obs_dim\]"),
        ({"observations": np.zeros((10, 3, 3))}, r"observations have shape \(10, 3, 3\)"),
        ({"observations": np.float32(1)}, r"observations have shape \(\)"),
        ({"rewards": np.float32(1)}, "rewards have length a single number"),
        ({"rewards": np.zeros((10, 2))}, r"rewards have shape \(10, 2\), expected \[N\]"),
        ({"actions": np.zeros(10)}, r"actions have shape \(10,\)"),
        ({"actions": [b"left"] * 10}, "actions have type"),
        ({"actions/x": np.zeros((10, 2)), "actions": None}, "actions have type a group, expected numbers"),
        ({"terminals": np.arange(10)}, "terminals expected to be .* true and false"),
        ({"timeouts": np.full(10, 0.5)}, "timeouts expected to be .* true and false"),
        ({"rewards": [1, 2, np.nan, 4, 5, 6, 7, 8, 9, 10]}, r"rewards\[2\] is nan"),
        ({"observations": np.full((10, 3), np.inf)}, r"observations\[0, 0\] is inf"),
        ({"next_observations": np.full((10, 3), np.nan)}, r"next_observations\[0, 0\] is nan"),
        ({"actions": np.full((10, 2), 1.1)}, r"actions\[0, 0\] is 1.1, expected within \[-1, 1\]"),
    ],
)
def test_unusable_columns_are_refused_in_one_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    arrays = {key: value for key, value in (columns("...T....L.") | change).items() if value is not None}
    with pytest.raises(DataError, match=message) as caught:
        read(write(tmp_path / "log.hdf5", arrays))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'log.hdf5'}: ")
    assert cache.entries() == []


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"gone\.hdf5: expected an HDF5 file, found: No such file"):
        load_dataset(tmp_path / "gone.hdf5")
    (tmp_path / "folder.hdf5").mkdir()
    with pytest.raises(FileError, match="directory"):
        read(tmp_path / "folder.hdf5")
    path = write(tmp_path / "log.hdf5", columns("...T....L." * 100), compression="gzip")
    content = path.read_bytes()
    for damaged in (b"", content[:100], content[: len(content) // 2], content[:-1], b"not HDF5 at all"):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"expected an HDF5 file, found .*Delete it and get it again") as caught:
            read(path)
        assert "\n" not in str(caught.value)
    assert cache.entries() == []


def flipped(path: Path, place: int, bit: int) -> Dataset | str:
    """What is read of a file with one bit changed: a dataset, or the message of an error for people."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)
    try:
        return read(path)
    except SeqevalError as error:
        return str(error)


@SLOW
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_no_crash(tmp_path: Path, share: float, bit: int) -> None:
    path = write(tmp_path / "log.hdf5", columns("...T....L." * 20), compression="gzip")
    found = flipped(path, int(share * path.stat().st_size), bit)
    if isinstance(found, str):
        assert "\n" not in found
    else:
        assert np.isfinite(found.rows).all()


@SLOW
@given(key=st.sampled_from(["observations", "rewards", "terminals"]), share=st.floats(0, 1), bit=st.integers(0, 7))
def test_a_flipped_bit_in_compressed_data_is_found_or_does_no_harm(
    tmp_path: Path, key: str, share: float, bit: int
) -> None:
    arrays = columns("...T....L." * 20)
    path = write(tmp_path / "log.hdf5", arrays, compression="gzip")
    with h5py.File(path) as file:
        chunk = file[key].id.get_chunk_info(0)
    found = flipped(path, chunk.byte_offset + int(share * (chunk.size - 1)), bit)
    if isinstance(found, str):
        assert "expected an HDF5 file, found" in found
    else:
        assert_array_equal(found.observations, arrays["observations"])
        assert_array_equal(found.rewards, arrays["rewards"])
        assert_array_equal(found.terminations, arrays["terminals"])


@pytest.mark.parametrize("chunks", [None, (4, 3)])
def test_data_that_were_never_written_are_not_read_as_zeros(tmp_path: Path, chunks: tuple[int, int] | None) -> None:
    path = write(tmp_path / "log.hdf5", columns("...T....L."))
    with h5py.File(path, "a") as file:
        del file["observations"]
        made = file.create_dataset("observations", (10, 3), np.float32, chunks=chunks)
        if chunks:
            made[:4] = 1.0
    with pytest.raises(DataError, match="parts of observations are missing in the file"):
        read(path)


def test_modes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "log.hdf5", columns("...T....L.", timeouts=False))
    with pytest.raises(DataError, match="expected timeouts, or a task with a time limit"):
        read(path, mode="d4rl")
    with pytest.raises(UsageError, match="expected native or d4rl, found 'dt'"):
        read(path, mode="dt")
    with pytest.raises(UsageError, match="terminate_on_end: expected mode d4rl"):
        read(path, terminate_on_end=True)
    for source in ("bundled/hopper/medium:100", "minari:toy/mine-v0", "logs/mine.npz", {}):
        with pytest.raises(UsageError, match="mode d4rl reads files in D4RL's format"):
            load_dataset(source, mode="d4rl")
