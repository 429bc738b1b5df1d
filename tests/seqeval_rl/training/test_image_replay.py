"""Batches of images, from frames to float32, and a run on a V-D4RL dataset from its files to its scores."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from numpy.testing import assert_array_equal
from vd4rl_files import episodes, write_shard

from seqeval_rl.benchmarks.cli import main
from seqeval_rl.benchmarks.speed.contenders import LearnerLoop, Problem
from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.images import of_trails
from seqeval_rl.data.load import load_dataset
from seqeval_rl.data.stream import Stream
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import UsageError
from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.protocol import Protocol, Schedule
from seqeval_rl.training.batch_sampler import BatchSampler, draw_positions
from seqeval_rl.training.evaluation import Evaluator
from seqeval_rl.training.loop import sequential_evaluation
from seqeval_rl.training.replay_buffer import ImageReplayBuffer, Transitions
from seqeval_rl.training.trainer import Run, Trainer

CPU = torch.device("cpu")
SIDE = 6
PLUG_IN = str(Path(__file__).parents[2] / "support" / "pixel_bc.py") + ":PixelBC"
TASK = Task("picture", "test/Picture-v0", 0.0, 5.0)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "cache"))
    gymnasium.register("test/Picture-v0", "reach:Picture", max_episode_steps=5)
    yield
    del gymnasium.registry["test/Picture-v0"]


def bright_dataset(directory: Path, seed: int, count: int = 12) -> Dataset:
    """A V-D4RL dataset of grey images, in which an action is the brightness of the image before it, written and read."""
    made = episodes([25] * count, side=SIDE, act_dim=1, seed=seed)
    rng = np.random.default_rng(seed)
    for episode in made:
        levels = rng.integers(0, 256, len(episode["reward"]))
        episode["observation"][:] = levels[:, None, None, None]
        episode["action"][1:, 0] = levels[:-1] / 127.5 - 1.0
    write_shard(directory / "0.hdf5", made)
    return load_dataset(f"vd4rl:{directory}", TASK, progress=False)


def make_trainer(streams: list[Stream], seeds: list[int], protocol: Any = None, **more: Any) -> Trainer:
    entry = find_algorithm(PLUG_IN)
    config = entry.configure(more.pop("settings", {}), "test")
    chosen = Protocol(**{"initial": 150, "batch_size": 32, "evaluate_every": 300, "episodes": 2, **(protocol or {})})
    runs = [Run(stream, config, seed) for stream, seed in zip(streams, seeds, strict=True)]
    return Trainer(runs, entry, chosen, CPU, **more)


class Fixed:
    """Scores the greedy action on fixed images."""

    def __init__(self, runs: int):
        shape = (1, 4, 9, SIDE, SIDE)
        self.seen = np.repeat(np.random.default_rng(0).integers(0, 256, shape).astype(np.float32), runs, axis=0)

    def evaluate(self, act: Any, evaluation: int) -> Any:
        return act(self.seen)


def carry(trainer: Trainer, evaluator: Any = None) -> list[Any]:
    """(point, evaluation, metrics, states) at each point."""
    found: list[Any] = []

    def report(outcome: Any) -> bool:
        found.append((outcome.point, outcome.evaluation, outcome.metrics, trainer.states()))
        return True

    sequential_evaluation(trainer, evaluator or Fixed(len(trainer.runs)), report, lambda _: None)
    return found


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.integers(1, 3), st.integers(0, 3))
def test_a_batch_holds_the_stacks_of_the_drawn_transitions_as_float32(
    lengths: list[int], stack: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    lengths = [*lengths, 4]
    pixels = of_trails(rng.integers(0, 256, (sum(lengths), 2, 3, 4), np.uint8), np.array(lengths), stack)
    total = len(pixels)
    rows = rng.standard_normal((total, 2 + 2)).astype(np.float32)
    arrivals = [rng.permutation(total) for _ in range(2)]
    replay = ImageReplayBuffer(Transitions(rows, pixels, arrivals), Spec(pixels.obs_shape, 2, (0, 1), CPU))
    schedule = Schedule(Protocol(initial=1, batch_size=3), total)
    batches = BatchSampler(replay, [schedule] * 2, (0, 1), 2)
    shift, scale = torch.zeros(2, 1, 4), torch.ones(2, 1, 4)
    scale[1, 0, 2] = 0.5  # the second run's reward
    drawn = [draw_positions(schedule, run, 0) for run in (0, 1)]
    for g, batch in enumerate(chain.from_iterable(batches.between(0, min(schedule.gradient_steps, 4), shift, scale))):
        assert batch.observations.dtype == batch.next_observations.dtype == torch.float32
        assert batch.observations.is_contiguous()
        for r in (0, 1):
            chosen = arrivals[r][drawn[r][g]]
            assert_array_equal(batch.observations[r], pixels.gather(chosen, next_observations=False))
            assert_array_equal(batch.next_observations[r], pixels.gather(chosen, next_observations=True))
            assert_array_equal(batch.actions[r], rows[chosen, :2])
            assert_array_equal(batch.rewards[r], rows[chosen, 2] * np.float32(1.0 - 0.5 * r))
            assert_array_equal(batch.masks[r], rows[chosen, 3])
        assert batch.noise.shape == (2, 3, 2)


def test_a_plug_in_learns_from_a_vd4rl_dataset_and_is_evaluated_on_images(tmp_path: Path) -> None:
    log = bright_dataset(tmp_path / "walker_walk", 0)
    assert log.pixels is not None
    assert isinstance(log.pixels.frames, np.memmap)
    protocol = {"evaluate_every": 100, "updates_per_increment": 3}
    with Evaluator(TASK, [0, 1], 4, "gymnasium", 1) as evaluator:
        found = carry(make_trainer([Stream("bright", [log])] * 2, [0, 1], protocol), evaluator)
    losses = [metrics["actor/loss"] for _, _, metrics, _ in found[1:]]
    assert (losses[-1] < 0.2 * losses[0]).all()
    first, last = (evaluation.scores.mean(1) for _, evaluation, _, _ in (found[0], found[-1]))
    assert (last > first + 20).all()


def test_a_captured_period_computes_what_the_learner_computes(tmp_path: Path) -> None:
    stream = Stream("bright", [bright_dataset(tmp_path / "walker_walk", 0)])
    plain = carry(make_trainer([stream] * 2, [0, 1]))
    captured = carry(make_trainer([stream] * 2, [0, 1], capture=lambda work: work))
    for one, other in zip(plain, captured, strict=True):
        assert one[0] == other[0]
        assert_array_equal(one[1], other[1])
        assert {name: values.tolist() for name, values in one[2].items()} == {
            name: values.tolist() for name, values in other[2].items()
        }


def test_runs_on_several_datasets_in_one_group_are_the_runs_alone(tmp_path: Path) -> None:
    logs = [bright_dataset(tmp_path / name / "walker_walk", seed) for seed, name in enumerate("abc")]
    streams = [Stream("two", logs[:2]), Stream("other", [logs[2], logs[0]])]
    together = carry(make_trainer(streams, [3, 4]))
    for r, (stream, seed) in enumerate(zip(streams, (3, 4), strict=True)):
        for one, many in zip(carry(make_trainer([stream], [seed])), together, strict=True):
            assert_array_equal(one[1][0], many[1][r])
            assert {name: values[0] for name, values in one[2].items()} == {
                name: values[r] for name, values in many[2].items()
            }


def test_transitions_that_are_not_visible_have_no_influence(tmp_path: Path) -> None:
    log = bright_dataset(tmp_path / "walker_walk", 0)
    other = bright_dataset(tmp_path / "b" / "walker_walk", 1)
    another = bright_dataset(tmp_path / "c" / "walker_walk", 2)
    every = {"evaluate_every": 60}
    long, short = (carry(make_trainer([Stream("one", [log, end])], [0], protocol=every)) for end in (other, another))
    seen = [i for i, (point, *_) in enumerate(long) if point.transitions <= len(log)]
    assert len(seen) > 1
    for i in seen:
        assert_array_equal(long[i][1], short[i][1])
    assert not np.array_equal(long[-1][1], short[-1][1])


def test_observations_that_are_images_are_not_normalised(tmp_path: Path) -> None:
    stream = Stream("bright", [bright_dataset(tmp_path / "walker_walk", 0)])
    with pytest.raises(
        UsageError, match=r"pixel_bc\.normalise_observations: expected false for images, found true on bright"
    ):
        make_trainer([stream], [0], settings={"normalise_observations": True})


def test_an_algorithm_for_vectors_is_refused(tmp_path: Path) -> None:
    stream = Stream("bright", [bright_dataset(tmp_path / "walker_walk", 0)])
    entry = find_algorithm("bc")
    runs = [Run(stream, entry.configure({"normalise_observations": False}, "test"), 0)]
    with pytest.raises(UsageError, match=r"expected observations that are vectors, found shape \(9, 6, 6\)"):
        Trainer(runs, entry, Protocol(initial=100, batch_size=16), CPU)


@pytest.mark.parametrize(
    ("algorithms", "setting", "message"),
    [
        (
            f"{PLUG_IN},td3_bc",
            "td3_bc.alpha=1",
            "td3_bc: expected observations that are vectors, found shape (9, 6, 6). Choose",
        ),
        (
            PLUG_IN,
            "pixel_bc.normalise_observations=true",
            "pixel_bc.normalise_observations: expected false for images, found",
        ),
        (
            "drq_bc",
            "drq_bc.n_step=3",
            "drq_bc: expected images of at least 15 x 15 pixels, found 6 x 6. Choose larger ones.",
        ),
    ],
)
def test_what_does_not_suit_images_is_refused_before_any_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], algorithms: str, setting: str, message: str
) -> None:
    bright_dataset(tmp_path / "walker_walk", 0)
    suite, out = tmp_path / "images.toml", tmp_path / "out"
    suite.write_text(
        f"""
        seeds = [0]
        algorithms = ["bc"]
        streams = [{{ name = "bright", blocks = ["vd4rl:{tmp_path / "walker_walk"}"] }}]
        protocol = {{ initial = 150, batch_size = 32, evaluate_every = 300, episodes = 0 }}
        """
    )
    command = ["run", str(suite), "--algorithms", algorithms, "--set", setting, "--out", str(out)]
    assert main(command) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("seqeval: "))
    assert message in line
    assert "stream 'bright' in " in line
    assert not out.exists()


def test_the_speed_of_a_plug_in_for_images_is_measured_on_images() -> None:
    entry = find_algorithm(PLUG_IN)
    problem = Problem((9, SIDE, SIDE), 1, 16, 500)
    assert problem.rows.shape == (500, 3)
    loop = LearnerLoop(entry, entry.configure({}, "test"), Spec((9, SIDE, SIDE), 1, (0,), CPU), problem)
    loop.train(3)
    assert np.isfinite(loop.metrics["actor/loss"]).all()
