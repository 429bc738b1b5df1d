"""Bounds of actions: given for every format, refused with the way out, clipped and counted, part of what a cached dataset is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import minari
import numpy as np
import pytest
import unbounded
import vd4rl_files
from gymnasium.spaces import Box
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays
from minari.data_collector import EpisodeBuffer
from numpy.testing import assert_allclose, assert_array_equal

from seqeval_rl.data import cache
from seqeval_rl.data.load import load_dataset, verify
from seqeval_rl.data.stream import StreamSpec
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import DataError, UsageError

pytestmark = [
    pytest.mark.usefixtures("empty_caches"),
    pytest.mark.filterwarnings("ignore:.*(is set to None|env_spec is None|is not installed).*:UserWarning"),
]
TASK = Task("free", unbounded.FREE)
ACTIONS = np.linspace(-4, 4, 16).reshape(8, 2).astype(np.float32)  # the first and the last two rows are outside ±2


def npz_file(folder: Path) -> str:
    np.savez(folder / "log.npz", **unbounded.columns(ACTIONS))
    return str(folder / "log.npz")


def hdf5_file(folder: Path) -> str:
    columns = unbounded.columns(ACTIONS)
    names = {"terminations": "terminals", "truncations": "timeouts"}
    with h5py.File(folder / "log.hdf5", "w") as file:
        for key, values in columns.items():
            file[names.get(key, key)] = values
    return str(folder / "log.hdf5")


def minari_dataset(folder: Path) -> str:
    columns = unbounded.columns(ACTIONS)
    buffers = [
        EpisodeBuffer(
            id=number,
            observations=np.zeros((5, 3)),
            actions=ACTIONS[rows],
            rewards=[1.0] * 4,
            terminations=columns["terminations"][rows].tolist(),
            truncations=columns["truncations"][rows].tolist(),
        )
        for number, rows in enumerate((slice(4), slice(4, 8)))
    ]
    spaces = {"observation_space": Box(-9, 9, (3,)), "action_space": Box(-np.inf, np.inf, (2,))}
    minari.create_dataset_from_buffers("toy/free-v0", buffers, **spaces)
    return "minari:toy/free-v0"


def ogbench_file(folder: Path) -> str:
    columns = unbounded.columns(ACTIONS)
    masks = np.ones(8)
    more = {"terminals": columns["truncations"], "masks": masks}
    kept = {key: columns[key] for key in ("observations", "actions", "rewards", "next_observations")}
    np.savez(folder / "og.npz", **kept, **more)
    return f"ogbench:{folder / 'og.npz'}"


def vd4rl_directory(folder: Path) -> str:
    (episode,) = vd4rl_files.episodes([9], side=4)
    episode["action"] = np.concatenate([np.zeros((1, 2), np.float32), ACTIONS])
    vd4rl_files.write_shard(folder / "walker_walk" / "0.hdf5", [episode])
    return f"vd4rl:{folder / 'walker_walk'}"


FORMATS = pytest.mark.parametrize("write", [npz_file, hdf5_file, minari_dataset, ogbench_file, vd4rl_directory])


@FORMATS
def test_bounds_are_given_for_every_format(write: Callable[[Path], str], tmp_path: Path) -> None:
    source = write(tmp_path)
    with pytest.raises(DataError, match=r"action_low and action_high"):
        load_dataset(source, progress=False)
    with pytest.raises(DataError, match=r"actions\[.* is .*in 4 of 8 rows.*Or clip them: clip_actions"):
        load_dataset(source, progress=False, action_low=-2, action_high=2)
    dataset = load_dataset(source, progress=False, action_low=-4, action_high=(4, 8))
    assert_allclose(dataset.actions, np.stack([ACTIONS[:, 0] / 4, (ACTIONS[:, 1] - 2) / 6], 1), atol=1e-6)
    assert (dataset.task.action_low, dataset.task.action_high) == (-4.0, (4.0, 8.0))
    assert dataset.clipped_actions == 0
    clipped = load_dataset(source, progress=False, action_low=-2, action_high=2, clip_actions=True)
    assert_allclose(clipped.actions, ACTIONS.clip(-2, 2) / 2, atol=1e-6)
    assert clipped.clipped_actions == 4
    # Other bounds are another dataset, here and in the cache; the same bounds the same.
    assert clipped.sha256 != dataset.sha256
    assert len(cache.entries()) == 2
    again = load_dataset(source, dataset.task, progress=False)
    assert (again.sha256, again.task, len(cache.entries())) == (dataset.sha256, dataset.task, 2)


@FORMATS
def test_verify_reads_by_the_bounds_that_are_given(write: Callable[[Path], str], tmp_path: Path) -> None:
    source = write(tmp_path)
    with pytest.raises(DataError, match="action_low"):
        list(verify(source))
    found = dict(verify(source, action_low=-4, action_high=4))
    assert all(check.passed for checks in found.values() for check in checks)


@given(arrays(np.float32, (6, 2), elements=st.floats(-100, 100, width=32)), st.floats(0.5, 50))
def test_what_is_clipped_is_counted_and_at_the_bound(actions: Any, bound: float) -> None:
    columns = unbounded.columns(actions, env_id=unbounded.FREE)
    bounds = {"action_low": -bound, "action_high": bound, "clip_actions": True}
    dataset = load_dataset(columns, **bounds, trust_environments=[unbounded.FREE])
    assert_allclose(dataset.actions, np.clip(actions / bound, -1, 1), atol=1e-5)
    outside = (np.abs(np.float64(actions) / bound).astype(np.float32) > 1).any(1)
    assert dataset.clipped_actions == int(outside.sum())


def test_arrays_take_a_task_by_name_and_references() -> None:
    columns = unbounded.columns(np.zeros((8, 2)))
    dataset = load_dataset(columns, unbounded.PLAIN, reference_returns=(0, 8))
    assert dataset.task == Task(unbounded.PLAIN, unbounded.PLAIN, 0.0, 8.0)
    assert (dataset.mean_score(), dataset.mean_return()) == (50.0, 4.0)
    with pytest.raises(UsageError, match="unknown task 'plain'"):
        load_dataset(columns, "plain")


def test_datasets_with_bounds_of_their_own_take_no_others() -> None:
    with pytest.raises(UsageError, match=r"bundled/hopper/medium.*expected no action_low"):
        load_dataset("bundled/hopper/medium:10", action_low=-1)


def test_a_stream_gives_them_to_its_blocks(tmp_path: Path) -> None:
    source = npz_file(tmp_path)
    spec = StreamSpec("two", (source, source), TASK, action_low=-4.0, action_high=4.0, reference_returns=(0.0, 4.0))
    stream = spec.load()
    assert stream.task == TASK.override((0.0, 4.0), -4.0, 4.0)
    assert_array_equal(stream.blocks[1].dataset.actions, ACTIONS / 4)
    online = StreamSpec("online", (), TASK, action_low=-4.0, action_high=4.0).load()
    assert (online.task.action_low, online.act_dim) == (-4.0, 2)
