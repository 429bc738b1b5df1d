"""Images: frames kept once and as bytes, observations that read like arrays, and what is refused."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.testing import assert_array_equal

from seqeval_rl.data import cache
from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.images import Pixels, join, of_trails, paired
from seqeval_rl.data.load import load_dataset
from seqeval_rl.data.stream import Stream
from seqeval_rl.data.task_matching import check_environment
from seqeval_rl.data.validation import RawTransitions
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import DataError

TASK = Task("toy", "Toy-v0", 0.0, 10.0)
LENGTHS = st.lists(st.integers(1, 6), min_size=1, max_size=6)  # frames of each episode


def pictures(count: int, shape: tuple[int, ...] = (2, 3, 3), seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def log(lengths: list[int], stack: int = 2, name: str = "toy") -> Dataset:
    """A dataset of episodes of so many frames, each ended by a time limit."""
    pixels = of_trails(pictures(sum(lengths)), np.array(lengths), stack)
    length = len(pixels)
    ends = np.cumsum(np.array(lengths) - 1)
    truncations = np.zeros(length, bool)
    truncations[ends - 1] = True
    actions = np.linspace(-1, 1, length)[:, None]
    raw = RawTransitions(pixels, actions, np.arange(length), np.zeros(length), truncations)
    return Dataset.from_arrays(name, TASK, raw)


def stacks(frames: Any, lengths: list[int], stack: int) -> tuple[Any, Any]:
    """Observations and next observations, one after the other as an agent in the environment would have them."""
    seen, following = [], []
    for start, length in zip(np.cumsum([0, *lengths]), lengths, strict=False):
        trail = list(frames[start : start + length])
        padded = [trail[0]] * (stack - 1) + trail
        every = [np.concatenate(padded[i : i + stack]) for i in range(length)]
        seen += every[:-1]
        following += every[1:]
    return np.array(seen), np.array(following)


@given(LENGTHS, st.integers(1, 4))
def test_a_stack_is_the_newest_frames_and_repeats_the_first_of_its_episode(lengths: list[int], stack: int) -> None:
    lengths = [*lengths, 2]
    frames = pictures(sum(lengths))
    pixels = of_trails(frames, np.array(lengths), stack)
    seen, following = stacks(frames, lengths, stack)
    rows = np.arange(len(pixels))
    assert pixels.obs_shape == seen.shape[1:]
    assert_array_equal(pixels.gather(rows, next_observations=False), seen)
    assert_array_equal(pixels.gather(rows, next_observations=True), following)


@given(LENGTHS, st.data())
def test_observations_read_like_an_array(lengths: list[int], data: st.DataObject) -> None:
    lengths = [*lengths, 3]
    dataset = log(lengths)
    assert dataset.pixels is not None
    n = len(dataset)
    for view, array in zip(
        (dataset.observations, dataset.next_observations), stacks(dataset.pixels.frames, lengths, 2), strict=True
    ):
        assert (len(view), view.shape, view.dtype, view.ndim, view.size) == (
            *(n, array.shape, array.dtype, array.ndim, array.size),
        )
        assert_array_equal(view, array)
        chosen = data.draw(st.lists(st.integers(-n, n - 1), max_size=5))
        row, first, last = (data.draw(st.integers(-n, n - 1)) for _ in range(3))
        mask = np.arange(n) % 2 == 0
        keys = (
            chosen or slice(0),
            np.array(chosen, int),
            row,
            np.int64(row),
            slice(first, last),
            mask,
            ...,
            slice(None, None, -2),
        )
        for key in (*keys, (row, 1), (slice(first, last), slice(1, 3), 0), (np.array(chosen, int), 2), (..., 0)):
            found = view[key]
            assert found.dtype == np.uint8
            assert_array_equal(found, array[key])
        assert_array_equal(np.asarray(view, np.float32), array.astype(np.float32))
        assert_array_equal(list(view), array)
    with pytest.raises(IndexError):
        dataset.observations[n]
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(dataset.observations, copy=False)


def test_frames_are_kept_once_and_rows_hold_no_images() -> None:
    dataset = log([5, 4])
    assert dataset.rows.shape == (7, 1 + 2)
    assert dataset.pixels is not None
    assert dataset.pixels.frames.shape == (9, 2, 3, 3)
    assert_array_equal(dataset.rewards, np.arange(7))
    assert_array_equal(dataset.terminations, np.zeros(7))
    assert dataset.actions.shape == (7, 1)
    for array in (dataset.pixels.frames, dataset.pixels.index):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@given(LENGTHS, st.booleans(), st.data())
def test_own_images_come_back_whatever_their_next_observations(
    lengths: list[int], terminal: bool, data: st.DataObject
) -> None:
    length = sum(lengths)
    seen = pictures(length)
    following = np.concatenate([seen[1:], pictures(1, seed=1)])
    changed = data.draw(st.lists(st.integers(0, length - 1), max_size=4))
    following[changed] = pictures(len(changed), seed=2)
    pixels = paired(seen, following)
    rows = np.arange(length)
    assert_array_equal(pixels.gather(rows, next_observations=False), seen)
    assert_array_equal(pixels.gather(rows, next_observations=True), following)
    assert len(pixels.frames) <= length + 1 + len(changed)
    ends = np.zeros(length, bool)
    ends[np.cumsum(lengths) - 1] = True
    columns = {"actions": np.zeros((length, 1)), "rewards": rows, "truncations": ends & (not terminal)}
    columns["terminations"] = ends & terminal
    plain = {"observations": seen.astype(np.float32), **columns}
    for logged in (following, None):
        if logged is None and not terminal and max(lengths) == 1:
            continue  # no transition is left
        images = Dataset.from_arrays("toy", TASK, RawTransitions(seen, next_observations=logged, **columns))
        floats = None if logged is None else logged.astype(np.float32)
        vectors = Dataset.from_arrays("toy", TASK, RawTransitions(next_observations=floats, **plain))
        # As images of floats: the same transitions.
        for column in ("observations", "next_observations", "rewards", "terminations", "truncations", "episode_starts"):
            assert_array_equal(getattr(images, column), getattr(vectors, column))
        assert images.cut == vectors.cut


@given(LENGTHS, st.integers(1, 3), st.data())
def test_a_prefix_is_the_beginning_and_hashes_like_a_dataset_that_ends_there(
    lengths: list[int], stack: int, data: st.DataObject
) -> None:
    dataset = log([*lengths, 3], stack)
    n = data.draw(st.integers(1, len(dataset)))
    prefix = dataset.prefix(n)
    assert (len(prefix), prefix.observations.shape[0], prefix.action_repeat) == (n, n, 1)
    assert_array_equal(prefix.observations, dataset.observations[:n])
    assert_array_equal(prefix.next_observations, dataset.next_observations[:n])
    assert prefix.pixels is not None
    again = replace(prefix, digest="", pixels=Pixels(prefix.pixels.frames.copy(), prefix.pixels.index.copy(), stack))
    assert again.sha256 == prefix.sha256
    assert prefix.prefix(1).sha256 == dataset.prefix(1).sha256


def test_the_hash_is_of_frames_and_stack_too() -> None:
    dataset = log([4, 4])
    assert dataset.pixels is not None
    frames = dataset.pixels.frames.copy()
    frames[3, 0, 0, 0] ^= 1
    index = dataset.pixels.index
    others = [
        Pixels(frames, index, 2),
        Pixels(dataset.pixels.frames, index, 1),
        Pixels(dataset.pixels.frames, index[::-1], 2),
    ]
    hashes = {replace(dataset, pixels=pixels).sha256 for pixels in others}
    assert len(hashes | {dataset.sha256}) == 4


def test_streams_join_images_and_refuse_a_mixture() -> None:
    one, other = log([4, 3], name="one"), log([5], name="other")
    pixels = Stream("two", [one, other]).pixels()
    assert pixels is not None
    for following, column in ((False, "observations"), (True, "next_observations")):
        expected = np.concatenate([getattr(one, column)[:], getattr(other, column)[:]])
        assert_array_equal(pixels.gather(np.arange(9), following), expected)
    assert Stream("one", [one]).pixels() is one.pixels
    assert join([one.pixels]) is one.pixels  # type: ignore[list-item]
    wide = log([4], stack=1)
    assert wide.pixels is not None
    doubled = replace(wide, pixels=Pixels(pictures(4, (4, 3, 3)), wide.pixels.index), obs_shape=(4, 3, 3))
    with pytest.raises(DataError, match=r"toy has images in stacks of 1, expected images in stacks of 2 as in one"):
        Stream("mixed", [one, doubled])


class TestInTheCache:
    @pytest.fixture(autouse=True)
    def root(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "cache"))
        return tmp_path / "cache"

    def test_images_come_back_memory_mapped(self) -> None:
        dataset = replace(log([5, 4]), action_repeat=2)
        for back in (cache.store("toy", dataset), cache.open("toy")):
            assert back is not None
            assert back.pixels is not None
            assert isinstance(back.pixels.frames, np.memmap)
            assert (back.sha256, back.action_repeat, back.obs_shape) == (dataset.sha256, 2, (4, 3, 3))
            assert_array_equal(back.observations, dataset.observations)
            assert_array_equal(back.next_observations, dataset.next_observations)

    @pytest.mark.parametrize("name", ["frames.npy", "frame_index.npy"])
    @pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "removed"])
    def test_a_damaged_entry_is_built_again(
        self, root: Path, caplog: pytest.LogCaptureFixture, name: str, damage: str
    ) -> None:
        built = []

        def build() -> Dataset:
            built.append(1)
            return log([5, 4])

        cache.obtain("toy", build)
        path = root / "toy" / name
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        if damage == "removed":
            path.unlink()
        else:
            path.write_bytes({"cut": content[: len(content) // 2], "flipped": content, "emptied": b""}[damage])
        with caplog.at_level(logging.WARNING, "seqeval_rl"):
            found = cache.obtain("toy", build)
        assert str(root / "toy") in caplog.text
        assert (len(built), found.sha256) == (2, log([5, 4]).sha256)
        assert len(cache.entries()) == 1

    def test_meta_that_does_not_fit_is_not_used(self, root: Path) -> None:
        cache.store("toy", log([5, 4]))
        meta = root / "toy" / "meta.json"
        meta.write_text(json.dumps({**json.loads(meta.read_text()), "frame_stack": 4}))
        assert cache.open("toy") is None


def test_an_npz_of_own_images(tmp_path: Path) -> None:
    arrays = {
        "observations": pictures(6, (5, 5)),
        "actions": np.zeros((6, 2)),
        "rewards": np.ones(6),
        "terminations": np.arange(6) == 5,
        "truncations": np.zeros(6, bool),
    }
    np.savez(tmp_path / "mine.npz", **arrays, action_low=-1.0, action_high=1.0)
    dataset = load_dataset(tmp_path / "mine.npz", TASK)
    assert (dataset.obs_shape, len(dataset)) == ((5, 5), 6)
    assert dataset.pixels is not None
    assert_array_equal(dataset.observations, arrays["observations"])
    mine = {**arrays, "action_low": -1.0, "action_high": 1.0}
    in_memory = load_dataset(mine, TASK)
    arrays["observations"][:] = 0
    assert in_memory.sha256 == dataset.sha256


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"next_observations": np.zeros((6, 2, 3, 3))},
            r"next_observations are float64 of shape \(6, 2, 3, 3\), expected images",
        ),
        ({"next_observations": pictures(5)}, "next_observations have length 5, expected that of observations, 6"),
        ({"next_observations": pictures(6, (2, 3, 4))}, r"next_observations have shape \(2, 3, 4\), expected that of"),
        ({"rewards": np.ones(5)}, "rewards have length 5"),
        ({"rewards": np.full(6, np.nan)}, r"rewards\[0\] is nan"),
        ({"observations": pictures(0)}, "expected at least one transition"),
    ],
)
def test_unusable_images_are_refused(change: dict[str, Any], message: str) -> None:
    arrays = {
        "observations": pictures(6),
        "next_observations": pictures(6, seed=1),
        "actions": np.zeros((6, 1)),
        "rewards": np.ones(6),
        "terminations": np.zeros(6),
        "truncations": np.zeros(6),
    }
    with pytest.raises(DataError, match=message):
        Dataset.from_arrays("toy", TASK, RawTransitions(**{**arrays, **change}))


def test_an_environment_must_have_images_too() -> None:
    gymnasium.register("test/Picture-v0", "reach:Picture", max_episode_steps=5)
    try:
        task = Task("picture", "test/Picture-v0", 0, 1)
        pixels = of_trails(pictures(3, (3, 6, 6)), np.array([3]), 3)
        columns = {"actions": np.zeros((2, 1)), "rewards": np.ones(2), "terminations": [0, 0], "truncations": [0, 1]}
        check_environment(Dataset.from_arrays("toy", task, RawTransitions(pixels, **columns)))
        floats = np.zeros((2, 9, 6, 6))
        dataset = Dataset.from_arrays("toy", task, RawTransitions(floats, next_observations=floats, **columns))
        with pytest.raises(DataError, match="observations are float32, expected uint8 as in test/Picture-v0"):
            check_environment(dataset)
    finally:
        del gymnasium.registry["test/Picture-v0"]
    with pytest.raises(DataError, match="expected an environment, found a dataset without one"):
        check_environment(replace(dataset, task=Task("none", None, 0, 1)))
