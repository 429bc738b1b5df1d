"""Made data in D4RL's format: small files like D4RL's, read by what reads D4RL's, on the environments of D4RL's data."""

from __future__ import annotations

import warnings
from pathlib import Path

import gymnasium
import h5py
import numpy as np
import pytest
from d4rl_files import qlearning_loop
from numpy.testing import assert_allclose, assert_array_equal

from seqeval_rl import load_dataset
from seqeval_rl.data import cache
from seqeval_rl.data.readers import synthetic_d4rl
from seqeval_rl.data.stream import Stream
from seqeval_rl.data.task_matching import check_environment
from seqeval_rl.environments.tasks import TASKS
from seqeval_rl.errors import DataError, FileError, UsageError


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def columns(name: str, rows: int) -> dict[str, np.ndarray]:
    path, _ = synthetic_d4rl.build(name, rows, progress=False)
    with h5py.File(path) as file:
        return {key: file[key][:] for key in file}


def test_the_file_has_the_keys_and_types_of_d4rls() -> None:
    arrays = columns("synthetic:d4rl/hopper-random-v2", 200)
    assert {key: (values.dtype.str[1:], values.shape) for key, values in arrays.items()} == {
        "observations": ("f4", (200, 11)),
        "next_observations": ("f4", (200, 11)),
        "actions": ("f4", (200, 3)),
        "rewards": ("f4", (200,)),
        "terminals": ("b1", (200,)),
        "timeouts": ("b1", (200,)),
    }
    assert arrays["terminals"].sum() > 3
    inside = ~(arrays["terminals"] | arrays["timeouts"])[:-1]
    assert_array_equal(arrays["next_observations"][:-1][inside], arrays["observations"][1:][inside])


def test_the_data_are_those_of_the_v4_environment() -> None:
    """Hopper-v5 withholds the healthy reward where the hopper falls; v4, of D4RL's data, pays it."""
    arrays = columns("synthetic:d4rl/hopper-random-v2", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        environment = gymnasium.make("Hopper-v4").unwrapped
    environment.reset(seed=0)
    last = int(np.flatnonzero(arrays["terminals"])[0])
    # The state but for the first coordinate, which moves forward by 1 and does not matter here.
    qpos, qvel = np.split(np.float64(arrays["observations"][last]), [5])
    environment.set_state(np.concatenate(([0.0], qpos)), qvel)
    _, reward, terminated, _, _ = environment.step(arrays["actions"][last])
    environment.close()
    assert terminated
    assert_allclose(reward, arrays["rewards"][last], atol=1e-3)


@pytest.mark.parametrize("mode", ["native", "d4rl"])
def test_the_reader_of_d4rls_files_reads_it(mode: str) -> None:
    name = "synthetic:d4rl/walker2d-medium-replay-v2:300"
    dataset = load_dataset(name, mode=mode, progress=False)  # type: ignore[arg-type]
    assert (dataset.name, dataset.task) == (name, TASKS["d4rl/walker2d"])
    check_environment(dataset)
    arrays = columns("synthetic:d4rl/walker2d-medium-replay-v2", 300)
    expected = arrays if mode == "native" else qlearning_loop(arrays, 1000, terminate_on_end=False)
    for key in ("observations", "actions", "rewards", "next_observations"):
        assert_array_equal(getattr(dataset, key), expected[key])
    assert len(cache.entries()) == 1


def test_levels_are_in_their_order() -> None:
    scores = {
        level: load_dataset(f"synthetic:d4rl/hopper-{level}-v2:1500", progress=False).mean_score()
        for level in ("random", "medium-replay", "medium", "expert")
    }
    assert sorted(scores, key=scores.__getitem__) == list(scores)
    assert scores["expert"] > 90
    medium, expert, both = (
        columns(f"synthetic:d4rl/hopper-{level}-v2", 200) for level in ("medium", "expert", "medium-expert")
    )
    assert_array_equal(both["observations"][:100], medium["observations"][:100])
    assert_array_equal(both["observations"][100:], expert["observations"][:100])
    assert both["timeouts"][99]  # the policies' trajectories are not run together


def test_it_is_the_same_each_time(root: Path) -> None:
    first, _ = synthetic_d4rl.build("synthetic:d4rl/halfcheetah-random-v2", 50, progress=False)
    content = first.read_bytes()
    first.unlink()
    again, _ = synthetic_d4rl.build("synthetic:d4rl/halfcheetah-random-v2", 50, progress=False)
    assert again.read_bytes() == content
    assert sorted(path.name for path in (root / "made").iterdir()) == ["halfcheetah-random-v2-50-0.hdf5"]


def test_what_there_is_not_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="did you mean synthetic:d4rl/hopper-medium-v2"):
        load_dataset("synthetic:d4rl/hoper-medium-v2:600")
    with pytest.raises(UsageError, match="unknown synthetic dataset 'synthetic:d4rl/antmaze-umaze-v2'"):
        load_dataset("synthetic:d4rl/antmaze-umaze-v2:600")
    for size in ("", ":1", ":1000000"):
        with pytest.raises(UsageError, match=r"expected 2 to 100000 rows behind ':', found"):
            load_dataset(f"synthetic:d4rl/hopper-medium-v2{size}")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "file"))
    with pytest.raises(FileError, match="SEQEVAL_CACHE"):
        load_dataset("synthetic:d4rl/hopper-random-v2:50", progress=False)


def test_it_is_not_mixed_with_datasets_of_other_environments() -> None:
    made = load_dataset("synthetic:d4rl/hopper-random-v2:50", progress=False)
    bundled = load_dataset("bundled/hopper/random:50", progress=False)
    with pytest.raises(
        DataError, match=r"has task hopper, .*expected those of synthetic:.*d4rl/hopper.*must share one task"
    ):
        Stream("both", [made, bundled])
