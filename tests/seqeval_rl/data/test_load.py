"""Sources become datasets: arrays, .npz files, Minari datasets, bundled datasets; unknown and unusable ones are refused."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import gymnasium
import minari
import numpy as np
import pytest
from gymnasium.spaces import Box, MultiDiscrete
from minari.data_collector import EpisodeBuffer
from numpy.testing import assert_array_equal

from seqeval_rl.data import cache
from seqeval_rl.data.load import known_datasets, load_dataset, parse_source
from seqeval_rl.data.readers import bundled
from seqeval_rl.environments.spaces import environment_spaces
from seqeval_rl.environments.tasks import TASKS, Task
from seqeval_rl.errors import DataError, EnvironmentMissingError, FileError, UsageError

# Minari's advice to authors.
pytestmark = [
    pytest.mark.usefixtures("empty_caches"),
    pytest.mark.filterwarnings("ignore:.*(is set to None|env_spec is None):UserWarning"),
]


def hopper_arrays(length: int = 20) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "observations": rng.normal(size=(length, 11)),
        "actions": rng.uniform(-1, 1, (length, 3)),
        "rewards": rng.normal(size=length),
        "next_observations": rng.normal(size=(length, 11)),
        "terminations": np.arange(length) % 10 == 9,
        "truncations": np.zeros(length, bool),
    }


@pytest.mark.parametrize(
    ("source", "parsed"),
    [
        ("bundled/hopper/medium", ("bundled/hopper/medium", None)),
        ("bundled/hopper/medium:10000", ("bundled/hopper/medium", 10_000)),
        ("bundled/hopper/medium:10_000", ("bundled/hopper/medium", 10_000)),
        ("minari:mujoco/hopper/medium-v0", ("minari:mujoco/hopper/medium-v0", None)),
        ("minari:mujoco/hopper/medium-v0:5", ("minari:mujoco/hopper/medium-v0", 5)),
        ("minari:flat-v0", ("minari:flat-v0", None)),
        ("logs/mine.npz", ("logs/mine.npz", None)),
        ("logs/mine.npz:7", ("logs/mine.npz", 7)),
        ("a:b/mine.npz", ("a:b/mine.npz", None)),
    ],
)
def test_sources_are_parsed(source: str, parsed: tuple[str, int | None]) -> None:
    assert parse_source(source) == parsed


@pytest.mark.parametrize("size", ["0", "-5", "", "all", "1e5", "1__0"])
def test_a_size_that_is_none_is_refused(size: str) -> None:
    with pytest.raises(UsageError, match=r"expected a number of transitions, 1 or more, after ':'"):
        parse_source(f"bundled/hopper/medium:{size}")


def test_unknown_names_come_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean bundled/hopper/medium"):
        load_dataset("bundled/hoper/medium:100")
    with pytest.raises(UsageError, match="minari:<id>"):
        load_dataset("d4rl-hopper")


def test_arrays_in_memory() -> None:
    arrays = hopper_arrays()
    dataset = load_dataset({**arrays, "env_id": "Hopper-v5"})
    assert (dataset.name, dataset.task) == ("arrays", TASKS["hopper"])
    assert_array_equal(dataset.observations, np.float32(arrays["observations"]))
    task = Task("mine", "Hopper-v5", 0, 1)
    assert load_dataset(arrays, task).task == task


def test_an_npz_file(tmp_path: Path) -> None:
    path = tmp_path / "log.npz"
    arrays = hopper_arrays()
    np.savez(path, **arrays, env_id="Hopper-v5", reference_min=-1.0, reference_max=2)
    dataset = load_dataset(path)
    assert dataset.name == str(path)
    assert dataset.task == Task("Hopper-v5", "Hopper-v5", -1.0, 2.0)
    assert_array_equal(dataset.next_observations, np.float32(arrays["next_observations"]))
    prefix = load_dataset(f"{path}:7")
    assert (prefix.name, len(prefix)) == (f"{path}:7", 7)


def bounds_of(task: Task) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Bounds of actions of the task's environment."""
    space: Any = environment_spaces(task.environment)[1]
    return space.low, space.high


def test_action_bounds_come_from_the_data_or_the_environment() -> None:
    gymnasium.register("test/Pendulum-v0", "gymnasium.envs.classic_control:PendulumEnv")  # actions within ±2
    try:
        arrays = {key: value[:5] for key, value in hopper_arrays().items()}
        arrays.update(observations=np.zeros((5, 3)), next_observations=np.zeros((5, 3)), actions=np.ones((5, 1)))
        task = Task("pendulum", "test/Pendulum-v0", -1000, 0)
        assert_array_equal(load_dataset(arrays, task).actions, np.full((5, 1), 0.5))
        higher = load_dataset({**arrays, "action_high": 4.0}, task)
        assert_array_equal(higher.actions, np.zeros((5, 1)))
        # The environment gets actions on the same scale.
        assert [bound.item() for bound in bounds_of(higher.task)] == [-2.0, 4.0]
        low, high = bounds_of(load_dataset({**arrays, "action_low": -2.0, "action_high": 2.0}, task).task)
        assert (low, high) == (-2.0, 2.0)
    finally:
        del gymnasium.registry["test/Pendulum-v0"]
    bounds = {"action_low": -1.0, "action_high": [1.0]}
    missing = Task("gone", "test/Gone-v0", 0, 1)
    assert_array_equal(load_dataset({**arrays, **bounds}, missing).actions, np.ones((5, 1)))
    with pytest.raises(EnvironmentMissingError, match="test/Gone-v0"):
        load_dataset(arrays, missing)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewards": None}, "found no rewards"),
        (
            {"timeouts": np.zeros(20)},
            r"arrays of one format, found timeouts next to .*Leave out what does not belong to it\.",
        ),
        ({"env_id": 3}, "expected env_id to be one name, found int64"),
        ({"reference_min": np.zeros(2)}, r"expected reference_min to be one number, found float64 of shape \(2,\)"),
        ({"reference_min": 1.0}, "expected both reference returns for Hopper-v5"),
        ({"actions": np.full((20, 3), 1.1)}, r"actions\[0, 0\] is 1.1, expected within \[-1, 1\]"),
    ],
)
def test_unusable_arrays_are_refused(change: dict[str, Any], message: str) -> None:
    arrays = {**hopper_arrays(), "env_id": "Hopper-v5", **change}
    with pytest.raises(DataError, match=message):
        load_dataset({key: value for key, value in arrays.items() if value is not None})


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"gone\.npz: expected an \.npz file of plain arrays, found: No such file"):
        load_dataset(tmp_path / "gone.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(FileError, match="directory"):
        load_dataset(tmp_path / "folder.npz")
    damaged = tmp_path / "damaged.npz"
    np.savez(damaged, **hopper_arrays())
    damaged.write_bytes(damaged.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"expected an \.npz file of plain arrays"):
        load_dataset(damaged)
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, **{**hopper_arrays(), "observations": np.array([{}], object)}, env_id="Hopper-v5")
    with pytest.raises(DataError, match="plain arrays"):
        load_dataset(pickled)


def write_minari(identity: str = "toy/mine-v0", lengths: tuple[int, ...] = (6, 4), **more: Any) -> list[EpisodeBuffer]:
    """An ordinary Minari dataset on Pendulum, first episode truncated, the others terminal."""
    rng = np.random.default_rng(1)
    buffers = [
        EpisodeBuffer(
            id=i,
            observations=rng.normal(size=(n + 1, 3)).astype(np.float32),
            actions=rng.uniform(-2, 2, (n, 1)).astype(np.float32),
            rewards=rng.normal(size=n),
            terminations=[False] * (n - 1) + [i > 0],
            truncations=[False] * (n - 1) + [i == 0],
        )
        for i, n in enumerate(lengths)
    ]
    settings = {"env": "Pendulum-v1", "ref_min_score": -1500.0, "ref_max_score": -100.0, **more}
    minari.create_dataset_from_buffers(identity, buffers, **settings)
    return buffers


def test_a_minari_dataset_has_true_next_observations_and_scaled_actions() -> None:
    buffers = write_minari()
    assert "minari:toy/mine-v0" in known_datasets()
    dataset = load_dataset("minari:toy/mine-v0", progress=False)
    assert dataset.name == "minari:toy/mine-v0"
    assert dataset.task == Task("Pendulum-v1", "Pendulum-v1", -1500.0, -100.0)
    assert_array_equal(dataset.episode_starts, [0, 6, 10])
    for i, buffer in enumerate(buffers):
        rows = slice(*dataset.episode_starts[i : i + 2])
        assert_array_equal(dataset.observations[rows], buffer.observations[:-1])
        assert_array_equal(dataset.next_observations[rows], buffer.observations[1:])
        assert_array_equal(dataset.actions[rows], buffer.actions / 2)
        assert_array_equal(dataset.rewards[rows], np.float32(buffer.rewards))
        assert_array_equal(dataset.terminations[rows], buffer.terminations)
        assert_array_equal(dataset.truncations[rows], buffer.truncations)
    assert len(load_dataset("minari:toy/mine-v0:8", progress=False)) == 8


def test_a_minari_dataset_is_read_once_and_again_when_it_changes() -> None:
    write_minari()
    first = load_dataset("minari:toy/mine-v0", progress=False)
    assert isinstance(first.rows, np.memmap)
    assert len(cache.entries()) == 1
    other = Task("other", "Pendulum-v1", 0, 1)
    again = load_dataset("minari:toy/mine-v0", other, progress=False)
    assert (again.task, again.sha256, len(cache.entries())) == (other, first.sha256, 1)
    minari.delete_dataset("toy/mine-v0")
    write_minari(lengths=(5, 4, 3))
    assert len(load_dataset("minari:toy/mine-v0", progress=False)) == 12


def test_recording_that_just_stopped_is_an_episode_cut_short() -> None:
    write_minari(lengths=(7,))  # truncated after 7 of Pendulum's 200
    assert load_dataset("minari:toy/mine-v0", progress=False).cut
    write_minari("toy/whole-v0", lengths=(200,))
    assert not load_dataset("minari:toy/whole-v0", progress=False).cut


def test_a_minari_dataset_that_does_not_tell_its_task() -> None:
    write_minari("toy/noscore-v0", ref_min_score=None, ref_max_score=None)
    assert load_dataset("minari:toy/noscore-v0", progress=False).task == Task("Pendulum-v1", "Pendulum-v1")
    spaces = {"observation_space": Box(-9, 9, (3,)), "action_space": Box(-2, 2, (1,))}
    write_minari("toy/noenv-v0", env=None, **spaces)
    unknown = load_dataset("minari:toy/noenv-v0", progress=False)
    assert unknown.task == Task("unknown", None)
    with pytest.raises(DataError, match=r"expected an environment, found a dataset without one.*--task"):
        _ = unknown.task.environment


def test_unusable_minari_datasets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected an id such as mujoco/hopper/medium-v0, with its version"):
        load_dataset("minari:toy/mine")
    buffer = EpisodeBuffer(
        id=0, observations=np.zeros((4, 3)), actions=np.array([[0, 1]] * 3), rewards=[0.0] * 3,
        terminations=[False] * 3, truncations=[False, False, True],
    )  # fmt: skip
    spaces = {"observation_space": Box(-9, 9, (3,), np.float64), "action_space": MultiDiscrete([2, 2])}
    minari.create_dataset_from_buffers("toy/several-v0", [buffer], **spaces)
    with pytest.raises(DataError, match=r"expected discrete actions, or .* found MultiDiscrete"):
        load_dataset("minari:toy/several-v0", Task("toy", "Toy-v0", 0, 1))
    write_minari("toy/torn-v0")
    data = tmp_path / "minari" / "toy" / "torn-v0" / "data"
    metadata = json.loads((data / "metadata.json").read_text())
    (data / "metadata.json").write_text(json.dumps({**metadata, "total_steps": 11}))
    with pytest.raises(DataError, match=r"10 of 11 transitions\. Delete it and get it again"):
        load_dataset("minari:toy/torn-v0", progress=False)
    file = data / "main_data.hdf5"
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(DataError, match=r"expected a Minari dataset in .*torn-v0"):
        load_dataset("minari:toy/torn-v0", progress=False)
    (data / "metadata.json").write_text("{")
    with pytest.raises(DataError, match="JSONDecodeError"):
        load_dataset("minari:toy/torn-v0")
    assert cache.entries() == []


def test_what_is_not_here_is_downloaded_or_the_failure_named(monkeypatch: pytest.MonkeyPatch) -> None:
    write_minari("toy/near-v0")

    def fail(identity: str) -> None:
        raise ConnectionError("no route to the server\nand more")

    monkeypatch.setattr(minari, "download_dataset", fail)
    with pytest.raises(FileError) as caught:
        load_dataset("minari:toy/far-v0")
    for part in ("minari:toy/far-v0", "there: toy/near-v0", "ConnectionError: no route to the server)", "network"):
        assert part in str(caught.value)
    monkeypatch.setattr(minari, "download_dataset", write_minari)
    assert len(load_dataset("minari:toy/far-v0", progress=False)) == 10


def test_an_unusable_minari_root_is_a_file_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "file" / "minari"))
    with pytest.raises(FileError, match="Set MINARI_DATASETS_PATH"):
        known_datasets()
    with pytest.raises(FileError, match="Set MINARI_DATASETS_PATH"):
        bundled.build("hopper", "random", 10, workers=1, progress=False)


def test_a_dataset_that_minari_cannot_read_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "minari" / "toy" / "odd-v0" / "data").mkdir(parents=True)
    with caplog.at_level(logging.WARNING, "seqeval_rl"):
        assert known_datasets() == bundled.names()
    assert "odd-v0" in caplog.text


def test_a_bundled_dataset_and_its_minari_form_are_the_same() -> None:
    log = load_dataset("bundled/hopper/random:150", progress=False)
    assert (log.name, len(log), log.task) == ("bundled/hopper/random:150", 150, TASKS["hopper"])
    back = load_dataset("minari:seqeval/hopper/random-150-v0", progress=False)
    assert (back.sha256, back.task) == (log.sha256, log.task)
    assert back.mean_score() == log.mean_score()
    other = Task("other", "Hopper-v5", 0, 1)
    assert load_dataset("bundled/hopper/random:150", other, progress=False).task == other
