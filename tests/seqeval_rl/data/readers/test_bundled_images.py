"""Bundled datasets of images: what the environment paints along the episodes of policies that see its states."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from needs_vision import needs_dm_control, renders
from numpy.testing import assert_array_equal

from seqeval_rl.benchmarks.cli import main
from seqeval_rl.data import cache
from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.load import load_dataset, verify
from seqeval_rl.data.readers import bundled
from seqeval_rl.data.rollouts import Chunk, roll_out
from seqeval_rl.data.task_matching import check_environment
from seqeval_rl.environments import dm_control_tasks
from seqeval_rl.environments.spaces import open_environment
from seqeval_rl.environments.tasks import TASKS
from seqeval_rl.results.read import read_results

TASK = TASKS["walker_walk"]

pytestmark = pytest.mark.usefixtures("empty_caches")


@pytest.fixture
def sketched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images follow from the state, without a renderer."""

    def paint(env: Any, size: int) -> Any:
        values = np.resize(env._task.physics.data.qpos * 100, (size, size, 3))
        return values.astype(np.int64).astype(np.uint8)

    monkeypatch.setattr(dm_control_tasks.DmControl, "_paint", paint)


def build(level: str, transitions: int, workers: int = 1) -> Dataset:
    return bundled.build("walker_walk", level, transitions, workers, progress=False)


@renders
def test_images_actions_and_rewards_are_what_the_environment_gives() -> None:
    dataset = load_dataset("bundled/walker_walk/medium:20", progress=False)
    assert (dataset.task, dataset.obs_shape, dataset.action_repeat, dataset.cut) == (TASK, (9, 84, 84), 2, True)
    check_environment(dataset)
    assert dataset.pixels is not None
    assert dataset.pixels.frames.shape == (21, 3, 84, 84)
    (episode,) = roll_out(
        Chunk(
            "walker_walk",
            bundled.behaviors()["walker_walk"]["env_id"],
            "medium",
            bundled.behaviors()["walker_walk"]["medium"][0],
            0,
            0,
            1,
            1,
        )
    )
    with open_environment(TASK.environment) as env:
        observation, _ = env.reset(seed=episode.seed)
        for row in range(20):
            assert_array_equal(dataset.observations[row], observation)
            observation, reward, *ends, _ = env.step(dataset.actions[row])
            assert_array_equal(dataset.next_observations[row], observation)
            assert dataset.rewards[row] == np.float32(reward)
            assert not any(ends)
    assert not (tmp := Path(cache.root()).parent / "minari").exists() or not any(tmp.iterdir())


@renders
def test_drq_bc_runs_on_them_from_the_command_to_the_results(tmp_path: Path) -> None:
    """In a new process: planning, training and evaluation render, count FLOP, and may import Triton, in the order of a user's."""
    suite = tmp_path / "images.toml"
    suite.write_text(
        """
        seeds = [0, 1]
        algorithms = ["drq_bc"]
        streams = [{ name = "walker walk", blocks = ["bundled/walker_walk/medium:40"] }]
        protocol = { order = "episodes", initial = 20, batch_size = 4, evaluate_every = 20, episodes = 1, max_episode_steps = 5 }
        settings = { drq_bc = { features = 4, hidden = [8, 8], n_step = 1 } }
        """
    )
    out = tmp_path / "out"
    command = [sys.executable, "-m", "seqeval_rl.benchmarks", "run", str(suite), "--out", str(out)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    runs = read_results(out)
    assert [run.status for run in runs] == ["finished"] * 2
    for run in runs:
        assert len(run.curve()[1]) == 2, run
        assert np.isfinite(run.curve()[1]).all()


@needs_dm_control
@pytest.mark.parametrize("level", ["random", "replay"])
def test_a_smaller_dataset_is_the_prefix_of_a_larger_whatever_the_workers(
    level: str, sketched: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundled, "full_size", lambda _: 3000)
    small = [build(level, size) for size in (1, 700)]
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "second"))
    large = build(level, 1400)
    assert_array_equal(large.episode_starts, [0, 500, 1000, 1400])
    assert_array_equal(np.flatnonzero(large.truncations), [499, 999, 1399])
    assert not large.terminations.any()
    for one in small:
        assert_array_equal(one.rows, large.rows[: len(one)])
        assert_array_equal(one.observations, large.observations[: len(one)])
        assert_array_equal(one.next_observations, large.next_observations[: len(one)])
        assert one.sha256 == large.prefix(len(one)).sha256


@needs_dm_control
def test_returns_are_those_that_were_measured(sketched: None) -> None:
    behavior = bundled.behaviors()["walker_walk"]
    for level in ("medium", "expert"):
        mean, deviation, length = behavior["returns"][behavior[level][0]]
        found = build(level, 3 * length).episode_returns()
        assert abs(found.mean() - mean) < 3 * deviation / np.sqrt(3)
        assert TASK.score(mean) == pytest.approx(mean / 10)


@needs_dm_control
def test_it_is_cached_and_verified(sketched: None) -> None:
    dataset = build("random", 30)
    assert [key for key, _ in verify("bundled/walker_walk/random")] == cache.entries()
    assert build("random", 30).sha256 == dataset.sha256


@needs_dm_control
def test_no_minari_dataset_of_images_is_written(sketched: None, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["bundled/walker_walk/medium", "--id", "mine/walker/medium-v0"],
        ["--train", "sac", "--task", "walker_walk", "--id", "mine/walker/{level}-v0"],
    ):
        assert main(["datasets", "collect", *arguments]) == 2
        error = capsys.readouterr().err
        assert "expected a task whose observations are vectors, found images in" in error
        assert error.count("\n") == 1
