"""Orders and blocks: what arrives when."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from synthetic import noise_dataset

from seqeval_rl.data.arrival import arrange
from seqeval_rl.data.stream import Stream, StreamSpec
from seqeval_rl.environments.tasks import TASKS
from seqeval_rl.errors import DataError, UsageError

ORDERS = ("shuffled", "episodes", "logged")
lengths = st.lists(st.integers(1, 30), min_size=1, max_size=12)


def starts(lengths):
    return np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)


@given(lengths, st.sampled_from(ORDERS), st.integers(0, 1000))
def test_every_order_brings_the_whole_dataset_once(episode_lengths, order, seed):
    total = sum(episode_lengths)
    arrival = arrange(total, starts(episode_lengths), order, seed)
    assert sorted(arrival.tolist()) == list(range(total))


@given(lengths, st.integers(0, 1000))
def test_episodes_stay_whole(episode_lengths, seed):
    bounds = starts(episode_lengths)
    arrival = arrange(bounds[-1], bounds, "episodes", seed)
    episode = np.searchsorted(bounds, arrival, side="right")
    # Each episode is one unbroken rise of rows.
    changes = np.flatnonzero(np.diff(episode)) + 1
    for part in np.split(arrival, changes):
        assert part.tolist() == list(range(part[0], part[0] + len(part)))
    assert len(changes) + 1 == len(episode_lengths)


@given(lengths, st.sampled_from(ORDERS), st.integers(0, 1000))
def test_the_order_depends_on_lengths_seed_and_settings_alone(episode_lengths, order, seed):
    total, bounds = sum(episode_lengths), starts(episode_lengths)
    np.random.seed(seed)  # noqa: NPY002 - shows that the global generator has no say
    first = arrange(total, bounds, order, seed)
    np.random.seed(seed + 1)  # noqa: NPY002
    assert arrange(total, bounds, order, seed).tolist() == first.tolist()


def test_seeds_and_blocks_are_shuffled_apart_and_logged_is_not():
    bounds = starts([500])
    assert arrange(500, bounds, "shuffled", 0).tolist() != arrange(500, bounds, "shuffled", 1).tolist()
    assert arrange(500, bounds, "shuffled", 0, block=1).tolist() != arrange(500, bounds, "shuffled", 0).tolist()
    assert arrange(500, bounds, "logged", 7).tolist() == list(range(500))


def test_positions_of_a_shuffled_dataset_are_uniform():
    where = np.array([np.flatnonzero(arrange(50, starts([50]), "shuffled", seed) == 0)[0] for seed in range(2000)])
    counts = np.bincount(where // 10, minlength=5)
    assert (abs(counts - 400) < 5 * np.sqrt(400)).all()


@pytest.mark.parametrize("order", ORDERS)
def test_blocks_arrive_one_after_the_other_and_are_recorded(order):
    parts = [noise_dataset([40, 60], seed=1, name="x/a:100"), noise_dataset([70], seed=2, name="x/b")]
    stream = Stream("mixed", parts)
    assert len(stream) == 170
    assert [(block.label, block.start, block.stop) for block in stream.blocks] == [("a", 0, 100), ("b", 100, 170)]
    arrival = stream.arrival(order, seed=0)
    assert sorted(arrival[:100]) == list(range(100))
    assert sorted(arrival[100:]) == list(range(100, 170))
    assert all(np.shares_memory(rows, part.rows) for rows, part in zip(stream.rows(), parts, strict=True))
    assert [stream.label_at(t) for t in (1, 100, 101, 170, 171)] == ["a", "a", "b", "b", "online"]


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("bundled/hopper/medium:10", "medium"),
        ("logs/mine.npz", "mine"),
        ("minari:D4RL/antmaze/umaze-v1@observation@desired_goal", "umaze-v1"),
        ("ogbench:cube-single-play-singletask-v0:10", "cube-single-play-singletask-v0"),
        ("vd4rl:main/walker_walk/random/84px:10", "random"),
        ("vd4rl:random", "random"),
    ],
)
def test_a_block_is_labelled_by_what_tells_its_data_from_others(name, label):
    assert Stream("one", [noise_dataset([30], name=name)]).blocks[0].label == label


def test_blocks_of_different_shapes_or_tasks_are_refused():
    with pytest.raises(DataError, match=r"observations \(5,\).*share one task"):
        Stream("mixed", [noise_dataset([30]), noise_dataset([30], obs_dim=5)])
    with pytest.raises(DataError, match="task walker2d"):
        Stream("mixed", [noise_dataset([30]), noise_dataset([30], task=TASKS["walker2d"])])
    with pytest.raises(UsageError, match="at least one dataset"):
        Stream("none", [])


@given(st.lists(st.integers(1, 40), min_size=2, max_size=4), st.sampled_from(ORDERS), st.integers(0, 1000))
def test_an_interleaved_stream_mixes_blocks_and_keeps_the_order_within_each(sizes, order, seed):
    parts = [noise_dataset([size], name=f"hopper/{place}") for place, size in enumerate(sizes)]
    plain, mixed = Stream("one", parts), Stream("one", parts, interleave=True)
    arrival = mixed.arrival(order, seed)
    assert arrival.tolist() == mixed.arrival(order, seed).tolist()
    assert sorted(arrival) == list(range(sum(sizes)))
    for block in plain.blocks:
        inside = (arrival >= block.start) & (arrival < block.stop)
        assert arrival[inside].tolist() == plain.arrival(order, seed)[block.start : block.stop].tolist()
    assert {mixed.label_at(t) for t in (1, len(mixed))} == {"interleaved"}
    assert mixed.label_at(len(mixed) + 1) == "online"


def test_every_part_of_an_interleaved_stream_has_its_share_of_each_block():
    stream = Stream("one", [noise_dataset([300], name="a"), noise_dataset([100], name="b")], interleave=True)
    firsts = np.array([(stream.arrival("logged", seed)[:100] >= 300).sum() for seed in range(400)])
    # Hypergeometric: 100 of 400, of which a quarter are of the second block.
    assert abs(firsts.mean() - 25) < 5 * np.sqrt(25 * 0.75 * 300 / 399 / 400)
    assert len({tuple(stream.arrival("logged", seed)) for seed in range(20)}) == 20


def test_a_single_block_cannot_be_interleaved():
    with pytest.raises(UsageError, match="two blocks or more"):
        StreamSpec("one", ("bundled/hopper/medium:400",), interleave=True)
