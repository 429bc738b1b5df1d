"""The size of a change between two datasets."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st
from synthetic import noise_dataset

from seqeval_rl.data.change import change_sizes
from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.validation import RawTransitions
from seqeval_rl.environments.tasks import TASKS


def with_columns(dataset, change):
    """The dataset with changed observations and actions: a function of [N, obs|act]."""
    rows = np.array(dataset.rows)
    width = dataset.obs_shape[0] + dataset.act_dim
    rows[:, :width] = change(rows[:, :width])
    return replace(dataset, rows=rows, digest="")


@given(st.floats(-3, 3), st.floats(0.1, 10), st.floats(-100, 100), st.integers(0, 100))
def test_it_is_the_root_mean_square_of_cohens_d_whatever_the_units(shift, scale, origin, seed):
    first, second = noise_dataset([200], seed=seed), noise_dataset([150], seed=seed + 1)
    second = with_columns(second, lambda columns: columns + np.float32(shift))
    columns = [np.asarray(each.rows, np.float64)[:, :14] for each in (first, second)]
    pooled = (columns[0].var(0) + columns[1].var(0)) / 2
    expected = np.sqrt((np.square(columns[1].mean(0) - columns[0].mean(0)) / pooled).mean())
    assert change_sizes([first, second]) == [pytest.approx(expected, rel=1e-6, abs=1e-9)]
    units = [with_columns(each, lambda columns: scale * columns + origin) for each in (first, second)]
    assert change_sizes(units) == [pytest.approx(expected, rel=2e-2, abs=2e-3)]


def test_equal_data_have_not_changed_and_constants_do_not_count():
    first = noise_dataset([50])
    assert change_sizes([first, first, first]) == [0.0, 0.0]
    assert change_sizes([first]) == change_sizes([]) == []
    second = with_columns(noise_dataset([50], seed=1), lambda columns: columns + 1)
    (size,) = change_sizes([first, second])

    def constant(value):
        return lambda columns: np.where(np.arange(14) < 7, np.float32(value), columns)

    (half,) = change_sizes([with_columns(first, constant(0.1)), with_columns(second, constant(0.7))])
    assert half == pytest.approx(size, rel=0.5)
    (none,) = change_sizes(
        [with_columns(first, lambda columns: 0 * columns), with_columns(second, lambda columns: 0 * columns + 1)]
    )
    assert none is None


def test_of_images_the_actions_alone_count():
    def made(mean):
        rng = np.random.default_rng(0)
        raw = RawTransitions(
            observations=rng.integers(0, 255, (60, 3, 8, 8), dtype=np.uint8), rewards=np.zeros(60),
            actions=np.clip(mean + 0.1 * rng.standard_normal((60, 2)), -1, 1), terminations=np.zeros(60, bool),
            truncations=np.arange(60) % 20 == 19, next_observations=rng.integers(0, 255, (60, 3, 8, 8), dtype=np.uint8),
        )  # fmt: skip
        return Dataset.from_arrays("images", TASKS["hopper"], raw)

    (size,) = change_sizes([made(0.0), made(0.5)])
    actions = [np.asarray(made(mean).actions, np.float64) for mean in (0.0, 0.5)]
    pooled = (actions[0].var(0) + actions[1].var(0)) / 2
    assert size == pytest.approx(
        np.sqrt((np.square(actions[1].mean(0) - actions[0].mean(0)) / pooled).mean()), rel=1e-5
    )
