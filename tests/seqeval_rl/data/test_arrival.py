"""Orders of arrival that need no array."""

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.stats import chisquare
from synthetic import noise_dataset

from seqeval_rl.data import arrival
from seqeval_rl.data.arrival import ArrivalOrder, Concatenated, Interleaved, Logged, arrange
from seqeval_rl.data.stream import Stream

lengths = st.lists(st.integers(1, 30), min_size=1, max_size=12)


def starts(lengths):
    return np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)


@given(st.integers(1, 3000), st.integers(0, 1000), st.integers(0, 3))
def test_a_shuffled_order_without_an_array_is_a_permutation(length, seed, block):
    order = arrange(length, np.array([0, length]), "shuffled", seed, block, large=True)
    assert isinstance(order, ArrivalOrder)
    assert sorted(order.array().tolist()) == list(range(length))
    positions = np.random.default_rng(seed).integers(0, length, (3, 4))
    np.testing.assert_array_equal(order[positions], order.array()[positions])
    assert order[length - 1] == order.array()[-1]
    np.testing.assert_array_equal(order[1:5], order.array()[1:5])


def test_it_looks_random_for_every_seed_and_length():
    """Places are uniform, pairs of neighbors, too, and orders of two seeds have as many fixed points as chance has."""
    length, cells = 40_000, 16
    orders = [arrange(length, np.array([0, length]), "shuffled", seed, large=True).array() for seed in range(8)]
    for order in orders:
        halves = order * cells // length
        assert chisquare(np.bincount(halves[: length // 2], minlength=cells)).pvalue > 1e-4
        pairs = halves[:-1] * cells + halves[1:]
        assert chisquare(np.bincount(pairs, minlength=cells**2)).pvalue > 1e-4
        assert abs(np.corrcoef(np.arange(length), order)[0, 1]) < 5 / np.sqrt(length)
        assert chisquare(np.bincount(order[:4096] % 64, minlength=64)).pvalue > 1e-4
    equal = sum((one == other).sum() for i, one in enumerate(orders) for other in orders[:i])
    assert abs(equal - 28) < 5 * np.sqrt(28)


@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_permutations_of_few_rows_are_about_equally_frequent(length):
    found = [
        tuple(arrange(length, np.array([0, length]), "shuffled", seed, large=True).array()) for seed in range(1200)
    ]
    counts = np.unique(found, axis=0, return_counts=True)[1]
    assert len(counts) == math.factorial(length)
    assert length == 1 or chisquare(counts).pvalue > 1e-4


@given(lengths, st.sampled_from(["episodes", "logged"]), st.integers(0, 1000))
def test_the_other_orders_are_the_same_without_an_array(episode_lengths, order, seed):
    bounds = starts(episode_lengths)
    expected = arrange(bounds[-1], bounds, order, seed)
    found = arrange(bounds[-1], bounds, order, seed, large=True)
    np.testing.assert_array_equal(found.array(), expected)
    np.testing.assert_array_equal(found[np.arange(len(found))[::-1]], expected[::-1])


@given(st.lists(st.integers(1, 400), min_size=1, max_size=4), st.integers(0, 1000), st.sampled_from([7, 128]))
def test_an_interleaved_order_mixes_parts_and_keeps_the_order_within_each(sizes, seed, segment):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrival, "_SEGMENT", segment)
        patch.setattr(arrival, "_PIECE", 50)
        patch.setattr(arrival, "LARGEST_ARRAY", 100)
        first = np.cumsum([0, *sizes])
        parts = [(Logged(size), start) for size, start in zip(sizes, first.tolist(), strict=False)]
        order = Interleaved(parts, np.random.default_rng(seed))
        found = order.array()
        assert sorted(found.tolist()) == list(range(sum(sizes)))
        for size, start in zip(sizes, first.tolist(), strict=False):
            assert found[(found >= start) & (found < start + size)].tolist() == list(range(start, start + size))
        positions = np.random.default_rng(seed).integers(0, len(order), 20)
        np.testing.assert_array_equal(order[positions], found[positions])


def test_long_interleaved_orders_mix_uniformly(monkeypatch):
    """A long one is mixed piece by piece: the pieces' counts of a part vary as in a permutation of the whole."""
    monkeypatch.setattr(arrival, "LARGEST_ARRAY", 100)
    monkeypatch.setattr(arrival, "_PIECE", 50)
    orders = [Interleaved([(Logged(300), 0), (Logged(100), 300)], np.random.default_rng(seed)) for seed in range(400)]
    firsts = np.array([(order[:100] >= 300).sum() for order in orders])
    variance = 100 * 0.25 * 0.75 * 300 / 399
    assert abs(firsts.mean() - 25) < 5 * np.sqrt(variance / 400)
    assert 0.75 < firsts.var() / variance < 1.3


@pytest.mark.parametrize("interleave", [False, True])
@pytest.mark.parametrize("order", ["shuffled", "episodes", "logged"])
def test_a_stream_has_an_array_up_to_a_length(order, interleave, monkeypatch):
    parts = [noise_dataset([40, 60], seed=1, name="x/a"), noise_dataset([70], seed=2, name="x/b")]
    stream = Stream("mixed", parts, interleave=interleave)
    expected = stream.arrival(order, 3)
    assert isinstance(expected, np.ndarray)
    monkeypatch.setattr("seqeval_rl.data.stream.LARGEST_ARRAY", 169)
    found = stream.arrival(order, 3)
    assert isinstance(found, ArrivalOrder)
    assert len(found) == 170
    if order == "shuffled":
        assert sorted(found.array()) == list(range(170))
        assert interleave or sorted(found[:100]) == list(range(100))
        assert found.array().tolist() != expected.tolist()
    else:
        assert found.array().tolist() == expected.tolist()


def test_orders_that_do_not_need_an_array_take_no_memory_for_it():
    order = arrange(10**11, np.array([0, 10**11]), "shuffled", 0, large=True)
    whole = Concatenated([(order, 0), (Logged(50), 10**11)])
    rows = whole[np.array([0, 1, 2, 10**11 - 1, 10**11 + 7])]
    assert rows[-1] == 10**11 + 7
    assert len(set(rows.tolist())) == 5
    assert (rows[:-1] < 10**11).all()


def test_the_permutation_of_a_seed_never_changes():
    """Results of long streams depend on it."""
    order = arrange(100_000_000, np.array([0, 100_000_000]), "shuffled", 0, large=True)
    assert order[np.arange(4)].tolist() == [56838460, 86010156, 16608245, 13945709]
