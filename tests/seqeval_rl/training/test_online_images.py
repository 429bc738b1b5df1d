"""The online phase on images: every image is kept once, batches have the stacks that were seen, and a run resumes exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from numpy.testing import assert_array_equal
from vd4rl_files import episodes, write_shard

from seqeval_rl.collection.policy import Policy
from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.images import of_trails
from seqeval_rl.data.load import load_dataset
from seqeval_rl.data.stream import Stream
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import DataError
from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.protocol import Protocol
from seqeval_rl.training.evaluation import Evaluator
from seqeval_rl.training.loop import sequential_evaluation
from seqeval_rl.training.replay_buffer import ImageReplayBuffer, Transitions
from seqeval_rl.training.trainer import Run, Trainer

CPU = torch.device("cpu")
SIDE = 6
PLUG_IN = str(Path(__file__).parents[2] / "support" / "pixel_bc.py") + ":PixelBC"
TASK = Task("film", "test/Film-v0", 0.0, 5.0)
PROTOCOL = Protocol(initial=20, increment=5, batch_size=8, evaluate_every=20, episodes=1, online=40)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "cache"))
    gymnasium.register("test/Film-v0", "reach:Film", max_episode_steps=7)
    gymnasium.register("test/NoFilm-v0", "reach:Picture", max_episode_steps=7)
    yield
    del gymnasium.registry["test/Film-v0"], gymnasium.registry["test/NoFilm-v0"]


def film_dataset(directory: Path, seed: int = 0, task: Task = TASK) -> Dataset:
    """40 transitions of random grey images, written and read."""
    made = episodes([11] * 4, side=SIDE, act_dim=1, seed=seed)
    for episode in made:
        episode["observation"][:] = episode["observation"][:, :1, :1, :1]
    write_shard(directory / "0.hdf5", made)
    return load_dataset(f"vd4rl:{directory}", task, progress=False)


def make_trainer(streams: list[Stream], seeds: list[int], protocol: Protocol = PROTOCOL, **more: Any) -> Trainer:
    entry = find_algorithm(PLUG_IN)
    config = entry.configure({}, "test")
    return Trainer(
        [Run(stream, config, seed) for stream, seed in zip(streams, seeds, strict=True)], entry, protocol, CPU, **more
    )


def carry(trainer: Trainer, resume_from: int = 0) -> list[Any]:
    """(point, metrics, states) at each point."""
    found: list[Any] = []

    def report(outcome: Any) -> bool:
        found.append((outcome.point, outcome.metrics, outcome.states))
        return True

    sequential_evaluation(trainer, None, report, lambda _: None, resume_from)
    return found


def flat(value: Any) -> Any:
    """A state or metrics with tensors as lists, so that equality means equal to the last bit."""
    if isinstance(value, dict):
        return {key: flat(item) for key, item in value.items() if key != "online/seconds"}
    if isinstance(value, list | tuple):
        return [flat(item) for item in value]
    return np.asarray(value).tolist() if isinstance(value, torch.Tensor | np.ndarray) else value


@given(st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=4), min_size=1, max_size=3), st.integers(1, 3))
def test_batches_have_what_the_environments_returned(lengths: list[list[int]], stack: int) -> None:
    """`lengths`: of the online episodes of each run."""
    rng = np.random.default_rng(0)
    pixels = of_trails(rng.integers(0, 256, (6, 2, 3, 3), np.uint8), np.array([3, 3]), stack)
    most, runs = max(map(sum, lengths)), len(lengths)
    rows = np.zeros((len(pixels) + runs * most, 1 + 2), np.float32)
    arrivals = [np.append(np.arange(4), 4 + r * most + np.arange(most)) for r in range(runs)]
    spec = Spec(pixels.obs_shape, 1, tuple(range(runs)), CPU)
    replay = ImageReplayBuffer(Transitions(rows, pixels, arrivals, runs * most), spec)
    assert replay.online is not None
    expected: dict[int, Any] = {
        row: [pixels.gather(np.array(row), after) for after in (False, True)] for row in range(4)
    }
    for r, counts in enumerate(lengths):
        row = 4 + r * most
        for count in counts:
            images = [rng.integers(0, 256, (2, 3, 3), np.uint8)] * stack
            assert replay.online.add(r, np.concatenate(images), begins=True)
            for _ in range(count):
                following = [*images[1:], rng.integers(0, 256, (2, 3, 3), np.uint8)]
                assert replay.online.add(r, np.concatenate(following))
                expected[row] = [np.concatenate(images), np.concatenate(following)]
                images, row = following, row + 1
                assert_array_equal(replay.online.newest(r), np.concatenate(images))
    order = np.array(list(expected))
    batch = replay.batch_of(order[None], torch.empty(1, len(order), 0), None, None)
    assert_array_equal(batch.observations[0], np.stack([before for before, _ in expected.values()]))
    assert_array_equal(batch.next_observations[0], np.stack([after for _, after in expected.values()]))
    assert replay.frames.dtype == torch.uint8
    # A resumed buffer is the same.
    again = ImageReplayBuffer(Transitions(rows, pixels, arrivals, runs * most), spec)
    assert again.online is not None
    again.online.load_state_dict(replay.online.state_dict())
    same = again.batch_of(order[None], torch.empty(1, len(order), 0), None, None)
    assert_array_equal(same.next_observations, batch.next_observations)
    assert_array_equal(same.observations, batch.observations)
    stored = [state["frames"] for state in again.online.state_dict()["__runs__"]]
    assert [len(frames) for frames in stored] == [sum(counts) + len(counts) for counts in lengths]
    assert [frames.untyped_storage().nbytes() for frames in stored] == [frames.nbytes for frames in stored]


def test_a_run_from_dataset_to_online_phase_resumes_to_the_last_bit(tmp_path: Path) -> None:
    streams = [Stream(name, [film_dataset(tmp_path / name, seed)]) for seed, name in enumerate("ab")]
    with make_trainer(streams, [3, 4]) as trainer:
        whole = carry(trainer)
        online = trainer.interaction
        assert online is not None
        assert online.gathered == 40
        assert not online.failures
    assert [point.env_steps for point, *_ in whole] == [0, 0, 20, 40]
    for done in (2, 3):  # before the online phase, and in the middle of it
        with make_trainer(streams, [3, 4]) as trainer:
            trainer.load_states(whole[done - 1][2])
            assert flat(carry(trainer, done)) == flat(whole[done:])
    for r, seed in enumerate((3, 4)):  # and is the same alone
        with make_trainer([streams[r]], [seed]) as trainer:
            assert flat(carry(trainer)[-1][2][0]) == flat(whole[-1][2][r])


def test_the_policy_of_a_run_acts_on_images_as_it_was_evaluated(tmp_path: Path) -> None:
    with make_trainer([Stream("a", [film_dataset(tmp_path / "a")])], [3]) as trainer:
        states = carry(trainer)[-1][2]
        act = trainer.copy_policy()
    entry = find_algorithm(PLUG_IN)
    policy = Policy(entry, entry.configure({}, "test"), TASK, states[0], 3)
    seen = np.random.default_rng(0).integers(0, 256, (4, 9, SIDE, SIDE), np.uint8)
    expected = act(seen[None].astype(np.float32))[0]
    assert_array_equal(policy(seen), expected)
    assert_array_equal(policy.act(seen.astype(np.float32)), expected)


def test_other_images_than_before_end_a_resumed_run(tmp_path: Path) -> None:
    stream = Stream("a", [film_dataset(tmp_path / "a")])
    with make_trainer([stream], [3]) as trainer:
        states = carry(trainer)[-2][2]
    states[0]["images"]["__runs__"][0]["frames"][-1] += 1
    with make_trainer([stream], [3]) as trainer:
        trainer.load_states(states)
        assert "another version, or another renderer" in trainer.environment_failures()[0][0]


def test_observations_that_are_no_stacks_end_a_run(tmp_path: Path) -> None:
    task = replace(TASK, env_id="test/NoFilm-v0")
    with make_trainer([Stream("a", [film_dataset(tmp_path / "a", task=task)])], [3]) as trainer:
        carry(trainer)
        message = trainer.environment_failures()[0][0]
    assert "expected observations that are stacks as the dataset's, of the newest 3 images, oldest first" in message
    assert "in the online phase, episode 0 at time index 0" in message


def test_images_of_another_shape_are_refused(tmp_path: Path) -> None:
    gymnasium.register("test/Large-v0", "reach:Film", max_episode_steps=7, kwargs={"side": 8})
    with pytest.raises(DataError, match=r"shapes \(\(9, 8, 8\), 1\), expected \(\(9, 6, 6\), 1\) as in the dataset"):
        make_trainer([Stream("a", [film_dataset(tmp_path / "a", task=replace(TASK, env_id="test/Large-v0"))])], [3])
    del gymnasium.registry["test/Large-v0"]


def test_images_are_learned_online_alone() -> None:
    with make_trainer([Stream("online", [], TASK)], [3]) as trainer:
        found = carry(trainer)
        assert found[-1][0].transitions == 40
        batch = trainer.learner.batches.replay.batch_of(np.arange(4)[None], torch.empty(1, 4, 0), None, None)
    assert_array_equal(batch.next_observations[0, 0, :6], batch.observations[0, 0, 3:])


def test_the_score_curve_continues(tmp_path: Path) -> None:
    scores: list[Any] = []

    def report(outcome: Any) -> bool:
        scores.append((outcome.point.transitions, outcome.point.env_steps, outcome.evaluation.scores.item()))
        return True

    stream = Stream("a", [film_dataset(tmp_path / "a")])
    with make_trainer([stream], [3]) as trainer, Evaluator(TASK, [3], 1, "gymnasium", 1) as evaluator:
        sequential_evaluation(trainer, evaluator, report, lambda _: None)
    assert [score[:2] for score in scores] == [(20, 0), (40, 0), (60, 20), (80, 40)]
    assert np.isfinite(scores).all()
