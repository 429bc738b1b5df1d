"""Normalisation over the visible window, and nothing but the visible window."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from synthetic import packed_rows

from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.training.normalization import EPSILON, Preprocessing, VisibleMoments

CPU = torch.device("cpu")
SPEC = Spec((3,), 2, (0,), CPU)


@given(
    points=st.lists(st.integers(1, 200), min_size=1, max_size=6, unique=True).map(sorted),
    window=st.none() | st.integers(1, 200),
    offset=st.floats(-1e4, 1e4),
)
def test_moments_are_those_of_the_visible_window(points, window, offset):
    rows = packed_rows(200, obs_dim=3, act_dim=1)
    rows[:, :3] += np.float32(offset)
    arrivals = [np.random.default_rng(seed).permutation(200) for seed in (0, 1)]
    moments = VisibleMoments(rows, arrivals, 3, window)
    for t in points:
        moments.advance(t)
        mean, std = moments.mean_and_std()
        for r, arrival in enumerate(arrivals):
            seen = rows[arrival[0 if window is None else max(0, t - window) : t], :3].astype(np.float64)
            np.testing.assert_allclose(mean[r], seen.mean(0), rtol=1e-9, atol=1e-7)
            np.testing.assert_allclose(std[r], seen.std(0), rtol=1e-5, atol=1e-5)


def test_moments_go_on_from_a_saved_state():
    rows = packed_rows(300, obs_dim=3, act_dim=1)
    arrivals = [np.arange(300)]
    whole, first, second = (VisibleMoments(rows, arrivals, 3, 50) for _ in range(3))
    for t in (20, 120, 290):
        whole.advance(t)
    first.advance(20)
    first.advance(120)
    second.load_state_dict(first.state_dict())
    second.advance(290)
    for one, other in zip(whole.mean_and_std(), second.mean_and_std(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_statistics_do_not_change_with_what_is_not_visible():
    rows = packed_rows(100, obs_dim=3, act_dim=1)
    other = rows.copy()
    other[60:] = 1e6
    found = []
    for data in (rows, other):
        preprocessing = Preprocessing(VisibleMoments(data, [np.arange(100)], 3, None), 3, Spec((3,), 1, (0,), CPU), 1.0)
        preprocessing.refresh(60)
        found.append(preprocessing)
    assert torch.equal(found[0].shift, found[1].shift)
    assert torch.equal(found[0].scale, found[1].scale)


def test_packed_rows_are_normalised_rewards_scaled_and_the_rest_left_alone():
    rows = packed_rows(100, obs_dim=3, act_dim=2)
    preprocessing = Preprocessing(VisibleMoments(rows, [np.arange(100)], 3, None), 3, SPEC, 0.5)
    preprocessing.refresh(80)
    mapped = (torch.from_numpy(rows)[None] * preprocessing.scale + preprocessing.shift)[0].numpy()
    mean, std = rows[:80, :3].astype(np.float64).mean(0), rows[:80, :3].astype(np.float64).std(0)
    np.testing.assert_allclose(mapped[:, :3], (rows[:, :3] - mean) / (std + EPSILON), atol=1e-5)
    np.testing.assert_allclose(mapped[:, -3:], (rows[:, -3:] - mean) / (std + EPSILON), atol=1e-5)
    np.testing.assert_array_equal(mapped[:, 3:5], rows[:, 3:5])
    np.testing.assert_allclose(mapped[:, 5], rows[:, 5] * 0.5)
    np.testing.assert_array_equal(mapped[:, 6], rows[:, 6])
    seen = preprocessing.now(CPU)(torch.from_numpy(rows[None, :7, :3]))
    np.testing.assert_allclose(seen[0], mapped[:7, :3], atol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_without_normalisation_observations_stay_as_they_are(scale):
    preprocessing = Preprocessing(None, 3, SPEC, scale)
    preprocessing.refresh(10)
    observations = torch.randn(1, 5, 3)
    assert preprocessing.now(CPU)(observations) is observations
    assert (preprocessing.scale is None) == (scale == 1.0)
