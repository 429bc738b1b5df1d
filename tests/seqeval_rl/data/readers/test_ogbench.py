"""OGBench's files: the transitions of each layout, masks that end nothing, the environment that a name tells, what is refused."""

from __future__ import annotations

import functools
import importlib.util
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from numpy.testing import assert_array_equal

from seqeval_rl.data import cache
from seqeval_rl.data.load import load_dataset, parse_source
from seqeval_rl.data.readers import ogbench
from seqeval_rl.data.task_matching import check_environment
from seqeval_rl.environments.spaces import environment_spaces
from seqeval_rl.environments.tasks import Task, task_named
from seqeval_rl.errors import DataError, EnvironmentMissingError, FileError, SeqevalError, UsageError

INSTALLED = importlib.util.find_spec("ogbench") is not None
ENVIRONMENT = "pointmaze-medium-singletask-task2-v0"
TASK = Task("toy", None, -100.0, 0.0)
TRAJECTORIES = st.lists(st.integers(0, 5), min_size=1, max_size=5)  # transitions of each


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))


def downloaded(lengths: list[int], images: bool = False, seed: int = 0) -> dict[str, Any]:
    """A file as OGBench offers it, T + 1 rows for T transitions, and single-task rewards beside it."""
    rng = np.random.default_rng(seed)
    total = sum(lengths) + len(lengths)
    terminals = np.zeros(total, bool)
    terminals[np.cumsum(np.array(lengths) + 1) - 1] = True
    shape = (total, 4, 4, 3) if images else (total, 3)
    seen = rng.integers(0, 256, shape, np.uint8) if images else rng.normal(size=shape).astype(np.float32)
    masks = (rng.random(total) > 0.3).astype(np.float32)
    return {
        "observations": seen,
        "actions": rng.uniform(-1, 1, (total, 2)).astype(np.float32),
        "terminals": terminals,
        "qpos": rng.normal(size=(total, 5)),
        "rewards": masks - 2.0,
        "masks": masks,
    }


def returned(columns: dict[str, Any], layout: str) -> dict[str, Any]:
    """What OGBench's `load_dataset` makes of a file: a "regular" or a "compact" dataset."""
    over = columns["terminals"].astype(np.float32)
    shifted = np.minimum(over + np.append(over[1:], 1.0), 1.0)
    if layout == "compact":
        return {**columns, "valids": 1.0 - over, "terminals": shifted}
    rows = np.flatnonzero(over == 0)
    regular = {key: values[rows] for key, values in columns.items()}
    return {**regular, "next_observations": columns["observations"][rows + 1], "terminals": shifted[rows]}


def load(path: Path, columns: dict[str, Any], task: Task | None = TASK) -> Any:
    np.savez(path, **columns)
    return load_dataset(path, task)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(TRAJECTORIES, st.booleans())
def test_all_layouts_hold_the_same_transitions(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], images: bool
) -> None:
    lengths = [*lengths, 2]
    file = downloaded(lengths, images)
    rows = np.flatnonzero(~file["terminals"])
    place = tmp_path_factory.mktemp("logs") / "log.npz"
    hashes = set()
    for layout in ("downloaded", "compact", "regular"):
        dataset = load(place, file if layout == "downloaded" else returned(file, layout))
        assert_array_equal(dataset.observations, file["observations"][rows])
        assert_array_equal(dataset.next_observations, file["observations"][rows + 1])
        assert_array_equal(dataset.actions, file["actions"][rows])
        assert_array_equal(dataset.rewards, file["rewards"][rows])
        assert_array_equal(dataset.terminations, file["masks"][rows] == 0)
        # A terminal state inside a trajectory ends nothing.
        assert_array_equal(np.diff(dataset.episode_starts), [length for length in lengths if length])
        ends = dataset.episode_starts[1:] - 1
        assert_array_equal(np.flatnonzero(dataset.truncations), [end for end in ends if not dataset.terminations[end]])
        assert (dataset.pixels is not None) == images
        assert not dataset.cut
        hashes.add((dataset.sha256, images and layout == "regular"))
    assert len(hashes) <= 2


def test_without_masks_nothing_terminates(tmp_path: Path) -> None:
    file = downloaded([4, 3])
    del file["masks"]
    dataset = load(tmp_path / "log.npz", file)
    assert not dataset.terminations.any()
    assert_array_equal(np.flatnonzero(dataset.truncations), [3, 6])
    prefix = dataset.prefix(5)
    assert (prefix.cut, len(prefix)) == (True, 5)


def test_a_dataset_that_stops_inside_a_trajectory_is_cut(tmp_path: Path) -> None:
    file = {key: values[:-1] for key, values in downloaded([4, 4]).items()}
    file["masks"][:] = 1
    dataset = load(tmp_path / "log.npz", file)
    assert_array_equal(np.diff(dataset.episode_starts), [4, 3])
    assert dataset.truncations[-1]


@pytest.mark.parametrize(
    ("name", "environment"),
    [
        ("antmaze-large-navigate-v0", "ogbench:antmaze-large-v0"),
        ("antmaze-large-navigate-v0-val", "ogbench:antmaze-large-v0"),
        ("antmaze-large-navigate-singletask-v0", "ogbench:antmaze-large-singletask-v0"),
        ("visual-cube-single-play-singletask-task2-v0", "ogbench:visual-cube-single-singletask-task2-v0"),
        ("puzzle-3x3-play-v0", "ogbench:puzzle-3x3-v0"),
        ("mine", None),
        ("my-log", None),
        ("log-v0", None),
    ],
)
def test_a_name_tells_the_environment(name: str, environment: str | None) -> None:
    assert ogbench.environment_of(name) == environment


def test_a_dataset_by_its_name(tmp_path: Path) -> None:
    name = "antmaze-large-navigate-singletask-v0"
    assert parse_source(f"ogbench:{name}:5") == (f"ogbench:{name}", 5)
    with pytest.raises(
        DataError, match=rf"expected rewards.*found a name without a task.*Name a task, such as ogbench:{name}"
    ):
        load_dataset("ogbench:antmaze-large-navigate-v0")
    with pytest.raises(DataError, match=f"such as ogbench:{name}"):
        load_dataset("ogbench:nonsense")
    with pytest.raises(UsageError, match="expected a name such as"):
        load_dataset("ogbench:../other", TASK)
    place = tmp_path / ".ogbench" / "data"
    place.mkdir(parents=True)
    file = downloaded([4, 3])
    np.savez(place / f"{name}.npz", **file)
    with pytest.raises(DataError, match=f"Did you mean {name}"):
        load_dataset("ogbench:antmaze-large-navigat-singletsk-v0")
    environment = "ogbench:antmaze-large-singletask-v0"
    single = load_dataset(f"ogbench:{name}")
    assert single.task == Task(environment, environment, 0.0, 1.0, success=True) == task_named(environment)
    # Its score is the success rate in percent: 100 for a trajectory with a state at the goal, whatever its return.
    reached = [bool((file["masks"][rows] == 0).any()) for rows in (slice(0, 4), slice(5, 8))]
    assert_array_equal(single.episode_scores(), 100.0 * np.array(reached))
    assert single.mean_score() == 100 * np.mean(reached)
    returns = load_dataset(f"ogbench:{name}", reference_returns=(-4.0, 0.0))
    assert_array_equal(returns.episode_scores(), 100 * (returns.episode_returns() + 4) / 4)
    np.savez(place / f"{name}.npz", **file, reference_min=-1000.0, reference_max=0.0)
    dataset = load_dataset(f"ogbench:{name}:5")
    assert dataset.task == Task(environment, environment, -1000.0, 0.0)
    assert (len(dataset), dataset.name) == (5, f"ogbench:{name}:5")
    if not INSTALLED:
        with pytest.raises(EnvironmentMissingError, match="ogbench"):
            check_environment(dataset)
    np.savez(place / f"{name}.npz", **file, reference_min=-9.0, reference_max=0.0, env_id="Mine-v0")
    assert load_dataset(f"ogbench:{name}").task == Task("Mine-v0", "Mine-v0", -9.0, 0.0)
    with pytest.raises(UsageError, match="ogbench:<name>"):
        load_dataset("ogbenchantmaze")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory that is served as OGBench's mirror."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("SEQEVAL_OGBENCH_MIRROR", f"http://127.0.0.1:{found.server_port}/")
        yield folder
        found.shutdown()
        thread.join()


NAME = "pointmaze-medium-navigate-singletask-task2-v0"
STAND_IN = """
import gymnasium

class Maze(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-9, 9, (3,))
    action_space = gymnasium.spaces.Box(-1, 1, (2,))

gymnasium.register("pointmaze-medium-singletask-task2-v0", "ogbench:Maze")
"""
RELABEL = """
def relabel_dataset(env_name, env, dataset):
    assert env_name == env.spec.id
    success = dataset["qpos"][:, 0] > 0.5
    dataset["rewards"], dataset["masks"] = success - 1.0, 1.0 - success
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What of OGBench's package is used, for where that is not installed."""
    (tmp_path / "site" / "ogbench").mkdir(parents=True)
    (tmp_path / "site" / "ogbench" / "__init__.py").write_text(STAND_IN)
    (tmp_path / "site" / "ogbench" / "relabel_utils.py").write_text(RELABEL)
    monkeypatch.syspath_prepend(tmp_path / "site")
    kept = {key: sys.modules.pop(key) for key in list(sys.modules) if key.partition(".")[0] == "ogbench"}
    yield
    for key in [key for key in sys.modules if key.partition(".")[0] == "ogbench"]:
        del sys.modules[key]
    sys.modules.update(kept)
    gymnasium.registry.pop(ENVIRONMENT, None)
    environment_spaces.cache_clear()


def published() -> dict[str, Any]:
    file = downloaded([4, 3])
    del file["rewards"], file["masks"]
    return file


def test_a_single_task_is_made_of_what_is_published(
    package: None, server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, source = published(), f"ogbench:{NAME}"
    np.savez(server / "pointmaze-medium-navigate-v0.npz", **file)
    monkeypatch.setenv("SEQEVAL_OFFLINE", "1")
    with pytest.raises(FileError, match="SEQEVAL_OFFLINE"):
        load_dataset(source, TASK, progress=False)
    monkeypatch.delenv("SEQEVAL_OFFLINE")
    dataset = load_dataset(source, Task("maze", f"ogbench:{ENVIRONMENT}", -10, 0), progress=False)
    rows = np.flatnonzero(~file["terminals"])
    assert_array_equal(dataset.rewards, (file["qpos"][rows, 0] > 0.5) - 1.0)
    assert_array_equal(dataset.terminations, file["qpos"][rows, 0] > 0.5)
    check_environment(dataset)
    place = tmp_path / ".ogbench" / "data"
    assert {path.name for path in place.glob("[!.]*.npz")} == {"pointmaze-medium-navigate-v0.npz", f"{NAME}.npz"}
    assert not list(place.glob(".*partial*"))
    for path in (server / "pointmaze-medium-navigate-v0.npz", place / "pointmaze-medium-navigate-v0.npz"):
        path.unlink()
    assert len(load_dataset(source, TASK, progress=False)) == 7  # from here
    with pytest.raises(FileError, match=r"pointmaze-gone-navigate-v0\.npz"):
        load_dataset("ogbench:pointmaze-gone-navigate-singletask-v0", TASK, progress=False)
    monkeypatch.setenv("SEQEVAL_OGBENCH_MIRROR", "example.org")
    with pytest.raises(UsageError, match="SEQEVAL_OGBENCH_MIRROR: expected an address"):
        load_dataset("ogbench:pointmaze-gone-navigate-singletask-v0", TASK)


def test_what_cannot_be_given_rewards_is_refused(package: None, server: Path, tmp_path: Path) -> None:
    file = published()
    del file["qpos"]
    np.savez(server / "pointmaze-medium-navigate-v0.npz", **file)
    with pytest.raises(
        DataError, match=r"pointmaze-medium-navigate-v0\.npz: expected a dataset whose rewards OGBench's package can"
    ):
        load_dataset(f"ogbench:{NAME}", TASK, progress=False)
    assert not (tmp_path / ".ogbench" / "data" / f"{NAME}.npz").exists()


@pytest.mark.skipif(INSTALLED, reason="OGBench's package is installed")
def test_without_the_package_a_single_task_cannot_be_made() -> None:
    with pytest.raises(EnvironmentMissingError, match="pip install ogbench"):
        load_dataset(f"ogbench:{NAME}", TASK)


@pytest.mark.skipif(not INSTALLED, reason="OGBench's package is not installed")
@pytest.mark.filterwarnings("ignore")
def test_a_single_task_is_that_of_the_package(server: Path, tmp_path: Path) -> None:
    import ogbench as package

    rng = np.random.default_rng(0)
    file = downloaded([60, 60])
    file["observations"] = rng.uniform(-5, 25, (122, 2)).astype(np.float32)
    file["qpos"] = file["observations"].astype(np.float64)
    columns = {key: file[key] for key in ("observations", "actions", "terminals", "qpos")}
    for kind in ("", "-val"):
        np.savez(server / f"pointmaze-medium-navigate-v0{kind}.npz", **columns)
    _, theirs, _ = package.make_env_and_datasets(NAME, dataset_path=str(server / "pointmaze-medium-navigate-v0.npz"))
    dataset = load_dataset(f"ogbench:{NAME}", Task("maze", ogbench.environment_of(NAME), -10, 0), progress=False)
    for column in ("observations", "next_observations", "actions", "rewards"):
        assert_array_equal(getattr(dataset, column), theirs[column])
    assert_array_equal(dataset.terminations, theirs["masks"] == 0)
    assert 0 < dataset.terminations.sum() < 120
    check_environment(dataset)


def test_a_file_without_rewards_says_how_to_get_them(tmp_path: Path) -> None:
    single = "antmaze-large-navigate-singletask-v0"
    with pytest.raises(
        DataError, match=rf"expected rewards.*found a file without\. Name a task, such as ogbench:{single}"
    ):
        load(tmp_path / "antmaze-large-navigate-v0.npz", published())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": None}, "expected arrays observations, actions, terminals and perhaps .*, found no actions"),
        ({"actions": np.zeros((8, 2))}, "actions have length 8, expected that of observations, 9"),
        ({"actions": np.zeros(9)}, r"actions have shape \(7,\), expected \[N, act_dim\]"),
        ({"actions": np.full((9, 2), 2.0)}, r"actions\[0, 0\] is 2, expected within"),
        ({"observations": np.full((9, 3), np.nan)}, r"observations\[0, 0\] is nan"),
        ({"observations": np.zeros((9, 4, 4, 3))}, "observations are float64 images, expected uint8"),
        ({"observations": np.zeros((0, 3))}, r"expected observations \[N, \*obs_shape\] of at least one row"),
        ({"rewards": np.full(9, np.nan)}, r"rewards\[0\] is nan"),
        ({"rewards": np.zeros(7)}, "rewards have length 7"),
        ({"terminals": np.full(9, 0.5)}, "terminals expected to be .* of true and false"),
        ({"terminals": np.ones(9)}, "expected at least one transition, found none"),
        ({"masks": np.full(9, 0.5)}, "masks expected to be .* of true and false"),
        ({"valids": np.full(9, 2)}, "valids expected to be .* of true and false"),
        ({"next_observations": np.zeros((9, 2))}, r"next_observations have shape \(2,\)"),
        ({"reference_min": np.zeros(2)}, "expected reference_min to be one number"),
    ],
)  # fmt: skip
def test_unusable_files_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    columns = {**downloaded([4, 3]), **change}
    task = None if "reference_min" in change else TASK
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path / "log.npz", {key: values for key, values in columns.items() if values is not None}, task)
    assert "\n" not in str(caught.value)
    assert cache.entries() == []


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.npz"
    load(path, downloaded([4, 3]))
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"", content[1:]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"log\.npz: expected an \.npz file of plain arrays"):
            load_dataset(path, TASK)
    rng = np.random.default_rng(0)
    refused: list[str] = []
    for place in rng.integers(0, len(content), 60):
        flipped = bytearray(content)
        flipped[place] ^= 1 << rng.integers(8)
        path.write_bytes(flipped)
        try:
            load_dataset(path, TASK)
        except SeqevalError as error:
            refused.append(str(error))
    assert len(refused) > 15
    assert not any("\n" in message for message in refused)
