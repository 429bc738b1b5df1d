"""A file is in the format whose arrays it has; unused arrays are named; ambiguity is refused with how to choose."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from d4rl_files import TASK, columns, write
from numpy.testing import assert_array_equal
from vd4rl_files import episodes, write_shard

from seqeval_rl import load_dataset
from seqeval_rl.data.load import fetch, label, supports_mode, verify
from seqeval_rl.data.readers.base import parse_source
from seqeval_rl.data.readers.layouts import D4RL, OGBENCH, OWN, fitting
from seqeval_rl.errors import DataError, UsageError

pytestmark = pytest.mark.usefixtures("empty_caches")


def save(path: Path, **changes: Any) -> Path:
    """The input of the issue: D4RL's arrays in an `.npz` file, a terminal row at 3 and a time limit at 7."""
    arrays = columns("...T...L..") | changes
    np.savez(path, **{key: values for key, values in arrays.items() if values is not None})
    return path


def test_timeouts_make_it_d4rls_format(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = save(tmp_path / "x.npz")
    for source in (str(path), f"d4rl:{path}"):
        dataset = load_dataset(source, TASK, progress=False)
        assert_array_equal(np.flatnonzero(dataset.terminations), [3])
        assert_array_equal(np.flatnonzero(dataset.truncations), [7, 9])
        assert_array_equal(dataset.episode_starts, [0, 4, 8, 10])
        assert dataset.name == source
        assert supports_mode(source, "d4rl")
        assert label(f"{source}:5") == "x"
        assert fetch(source) == path
        assert [name for name, _ in verify(source)] == [source]
    in_hdf5 = load_dataset(write(tmp_path / "x.hdf5", columns("...T...L..")), TASK, progress=False)
    assert dataset.sha256 == in_hdf5.sha256
    assert "not used" not in caplog.text
    # Chosen by its prefix: OGBench's `terminals` end trajectories, and `timeouts` are not used.
    other = load_dataset(f"ogbench:{path}", TASK, progress=False)
    assert_array_equal(other.episode_starts, [0, 4, 10])
    assert f"ogbench:{path}: not used: timeouts;" in caplog.text
    with pytest.raises(DataError, match="found no terminations, truncations among"):
        load_dataset(f"npz:{path}", TASK)


@pytest.mark.parametrize("following", [True, False])
def test_what_two_formats_have_is_refused_with_how_to_choose(tmp_path: Path, following: bool) -> None:
    more = {} if following else {"next_observations": None}
    path = save(tmp_path / "x.npz", timeouts=None, **more)
    with pytest.raises(UsageError, match=f"Write d4rl:{path} or ogbench:{path}"):
        load_dataset(path, TASK)
    d4rl, ogbench = (load_dataset(f"{prefix}:{path}", TASK, progress=False) for prefix in ("d4rl", "ogbench"))
    assert d4rl.terminations.sum() == 1
    assert ogbench.terminations.sum() == 0
    assert len(load_dataset(f"d4rl:{path}:5", TASK, progress=False)) == 5


@pytest.mark.parametrize(
    ("keys", "prefixes"),
    [
        ("observations actions rewards terminations truncations", ["npz:"]),
        ("observations actions rewards terminations truncations next_observations goals", ["npz:"]),
        ("observations actions rewards terminals timeouts", ["d4rl:"]),
        ("observations actions rewards terminals infos/qpos metadata", ["d4rl:"]),
        ("observations actions terminals", ["ogbench:"]),
        ("observations actions terminals qpos qvel", ["ogbench:"]),
        ("observations actions terminals rewards masks", ["ogbench:"]),
        ("observations actions terminals rewards next_observations masks valids", ["ogbench:"]),
        ("observations actions rewards terminals", ["d4rl:", "ogbench:"]),
        # In no format: the nearest one says what is wrong.
        ("observations actions rewards terminations truncations timeouts", ["npz:"]),
        ("observations rewards terminals timeouts", ["d4rl:"]),
        ("observations terminals masks", ["ogbench:"]),
    ],
)
def test_what_a_format_must_have_and_must_not_have(keys: str, prefixes: list[str]) -> None:
    assert [layout.prefix for layout in fitting(keys.split())] == prefixes
    assert [layout.prefix for layout in (OWN, D4RL, OGBENCH) if not layout.misfits(keys.split())] in ([], prefixes)


def test_arrays_of_another_format_change_nothing_silently(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    flags = {"terminations": np.zeros(10, bool), "truncations": np.arange(10) == 9}
    own = save(tmp_path / "own.npz", terminals=None, **flags)
    with pytest.raises(DataError, match=rf"found timeouts next to .*or write npz:{own}, which ignores timeouts\."):
        load_dataset(own, TASK)
    assert len(load_dataset(f"npz:{own}", TASK)) == 10
    assert "not used: timeouts" in caplog.text
    # Gymnasium's name for time limits in a file of D4RL's format: it would have none.
    hdf5 = write(tmp_path / "mine.hdf5", columns("...T...L..", timeouts=False) | {"truncations": np.arange(10) == 7})
    with pytest.raises(DataError, match=f"found truncations next to .*or write d4rl:{hdf5}"):
        load_dataset(hdf5, TASK, progress=False)
    assert len(load_dataset(f"d4rl:{hdf5}", TASK, progress=False)) == 10


def test_arrays_that_are_not_used_are_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = save(tmp_path / "x.npz", next_observation=np.zeros((10, 3)), goals=np.zeros(10))
    more = {"infos/goal": np.zeros((10, 2)), "metadata/algorithm": "SAC", "skills": np.zeros(10)}
    hdf5 = write(tmp_path / "x.hdf5", columns("...T...L..") | more)
    with caplog.at_level(logging.WARNING, "seqeval_rl"):
        for source in (path, path, hdf5, hdf5):  # from the file and from the cache
            load_dataset(source, TASK, progress=False)
        write_shard(tmp_path / "walker_walk" / "0.hdf5", episodes([4, 3], side=4), skills=np.zeros(7))
        load_dataset(f"vd4rl:{tmp_path / 'walker_walk'}", progress=False)
    assert [record.message.partition(";")[0] for record in caplog.records] == [
        f"{path}: not used: goals, next_observation",
        f"{hdf5}: not used: skills",
        f"vd4rl:{tmp_path / 'walker_walk'}: not used: skills",
    ]


@pytest.mark.parametrize("ending", [".h5", ".hdf5", ".HDF5", ".H5"])
def test_hdf5_has_several_endings(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"mine{ending}", columns("...T...L.."))
    for source in (str(path), f"d4rl:{path}"):
        assert len(load_dataset(f"{source}:7", TASK, progress=False)) == 7
        assert label(source) == label(f"{source}:7") == "mine"
        assert load_dataset(source, TASK, mode="d4rl", progress=False).sha256
    assert label(f"logs/hopper_medium-v2{ending}") == "medium"
    write_shard(tmp_path / "walker_walk" / "0.hdf5", episodes([4, 3], side=4))
    (tmp_path / "walker_walk" / "0.hdf5").rename(tmp_path / "walker_walk" / f"0{ending}")
    assert len(load_dataset(f"vd4rl:{tmp_path / 'walker_walk'}", progress=False)) == 5
    path.unlink()
    with pytest.raises(DataError, match="in walker_walk: name one of these"):
        load_dataset(f"vd4rl:{tmp_path}", progress=False)


def test_npz_in_capital_letters(tmp_path: Path) -> None:
    path = save(tmp_path / "x.npz")
    shutil.copy(path, tmp_path / "X.NPZ")
    assert load_dataset(tmp_path / "X.NPZ", TASK, progress=False).terminations.sum() == 1


def test_an_existing_path_wins_over_a_size(tmp_path: Path) -> None:
    write_shard(tmp_path / "walker_walk:7" / "0.hdf5", episodes([4, 3], side=4))
    source = f"vd4rl:{tmp_path / 'walker_walk:7'}"
    assert parse_source(source) == (source, None)
    assert parse_source(f"{source}:3") == (source, 3)
