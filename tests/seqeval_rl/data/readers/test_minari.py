"""Minari datasets of every shape: Dict observations, images, both storages, the environment they are to be evaluated in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import minari
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box
from gymnasium.wrappers import RecordEpisodeStatistics, RescaleAction
from minari.data_collector import EpisodeBuffer
from numpy.testing import assert_array_equal

from seqeval_rl.data import cache
from seqeval_rl.data.load import load_dataset
from seqeval_rl.data.task_matching import check_environment
from seqeval_rl.environments.make import make_vector_env
from seqeval_rl.environments.tasks import TASKS, Task
from seqeval_rl.errors import DataError, EnvironmentMissingError, UsageError
from seqeval_rl.training.evaluation import Evaluator

# Minari's advice to authors.
pytestmark = pytest.mark.filterwarnings("ignore:.*(is set to None|env_spec is None|is not installed).*:UserWarning")
FORMATS = pytest.mark.parametrize("storage", ["hdf5", "arrow"])


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    gymnasium.register("test/Reach-v0", "reach:Reach", max_episode_steps=20)
    gymnasium.register("test/Picture-v0", "reach:Picture", max_episode_steps=5)
    yield
    for name in ("test/Reach-v0", "test/Picture-v0"):
        del gymnasium.registry[name]


def walk(env: Any, episodes: int = 3) -> list[EpisodeBuffer]:
    """Random episodes in an environment."""
    env.action_space.seed(0)
    buffers = []
    for number in range(episodes):
        trail: list[Any] = [env.reset(seed=number)[0]]
        rows: list[Any] = []
        while not rows or not any(rows[-1][2:]):
            action = env.action_space.sample()
            observation, *result = env.step(action)
            trail.append(observation)
            rows.append((action, *result[:3]))
        actions, rewards, terminations, truncations = (list(column) for column in zip(*rows, strict=True))
        observations: Any = np.array(trail)
        if isinstance(trail[0], dict):
            observations = {key: np.array([entry[key] for entry in trail]) for key in trail[0]}
        buffers.append(
            EpisodeBuffer(
                id=number,
                observations=observations,
                actions=np.array(actions),
                rewards=rewards,
                terminations=terminations,
                truncations=truncations,
            )
        )
    return buffers


def write(identity: str, env: Any, storage: str = "hdf5", **more: Any) -> list[EpisodeBuffer]:
    buffers = walk(env)
    settings = {"env": env, "ref_min_score": -10.0, "ref_max_score": 0.0, "data_format": storage, **more}
    minari.create_dataset_from_buffers(identity, buffers, **settings)
    return buffers


def entries(buffers: list[EpisodeBuffer], key: str, part: slice) -> Any:
    return np.concatenate([np.asarray(buffer.observations[key])[part] for buffer in buffers])


@FORMATS
def test_named_entries_of_a_dict_lie_end_to_end_in_the_order_named(storage: str) -> None:
    buffers = write("toy/reach-v0", gymnasium.make("test/Reach-v0"), storage)
    for keys in (("observation", "desired_goal"), ("desired_goal", "observation"), ("achieved_goal",)):
        source = "@".join(("minari:toy/reach-v0", *keys))
        dataset = load_dataset(source, progress=False)
        for column, part in (("observations", slice(-1)), ("next_observations", slice(1, None))):
            expected = np.concatenate([entries(buffers, key, part) for key in keys], axis=1)
            assert_array_equal(getattr(dataset, column), np.float32(expected))
        assert (dataset.name, dataset.task.obs_keys) == (source, keys)
        assert_array_equal(dataset.actions, np.concatenate([buffer.actions for buffer in buffers]))
        check_environment(dataset)
        assert len(load_dataset(f"{source}:7", progress=False)) == 7
    assert len(cache.entries()) == 3


@FORMATS
def test_a_terminal_state_inside_an_episode_masks_and_ends_nothing(storage: str) -> None:
    """As in Minari's mazes and kitchens, where an episode may continue at the goal."""
    space = {"observation_space": Box(-9, 9, (2,)), "action_space": Box(-1, 1, (1,))}
    at_goal = np.arange(10) >= 5
    buffers = [
        EpisodeBuffer(
            id=number,
            observations=np.full((11, 2), number, np.float32),
            actions=np.zeros((10, 1), np.float32),
            rewards=list((at_goal & (number == 1)).astype(float)),
            terminations=list(at_goal & (number == 1)),
            truncations=list(np.arange(10) == 9),
        )
        for number in range(2)
    ]
    minari.create_dataset_from_buffers("toy/goal-v0", buffers, data_format=storage, **space)
    dataset = load_dataset("minari:toy/goal-v0", Task("goal", None, 0, 1), progress=False)
    assert_array_equal(dataset.episode_starts, [0, 10, 20])
    assert_array_equal(np.flatnonzero(dataset.terminations), np.arange(15, 20))
    assert_array_equal(dataset.episode_returns(), [0, 1])
    assert dataset.mean_score() == 50.0


def test_a_dict_without_names_is_refused_with_the_names_and_how_to_give_them() -> None:
    write("toy/reach-v0", gymnasium.make("test/Reach-v0"))
    with pytest.raises(
        DataError, match=r"Dict with achieved_goal, desired_goal, observation.*minari:toy/reach-v0@achieved"
    ):
        load_dataset("minari:toy/reach-v0", progress=False)
    with pytest.raises(UsageError, match="did you mean desired_goal"):
        load_dataset("minari:toy/reach-v0@observation@goal", progress=False)
    with pytest.raises(UsageError, match="expected each entry once"):
        load_dataset("minari:toy/reach-v0@observation@observation", progress=False)
    write("toy/flat-v0", gymnasium.make("Pendulum-v1", max_episode_steps=5))
    with pytest.raises(UsageError, match="expected no '@'"):
        load_dataset("minari:toy/flat-v0@observation", progress=False)
    assert cache.entries() == []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_dict_environment_is_evaluated_with_the_same_entries(workers: int) -> None:
    write("toy/reach-v0", gymnasium.make("test/Reach-v0"))
    task = load_dataset("minari:toy/reach-v0@desired_goal@observation", progress=False).task
    assert Task(**task.as_dict()) == task
    seen: list[Any] = []

    def towards_the_goal(observations: Any) -> Any:
        seen.append(observations.copy())
        return np.clip(10.0 * (observations[..., :1] - observations[..., 1:2]), -1, 1)

    with Evaluator(task, [0, 1], 2, "auto", workers) as evaluator:
        found = evaluator.evaluate(towards_the_goal, 0)
    assert seen[0].shape == (2, 2, 3)
    assert (found.lengths < 12).all()  # all reach it; an idle policy takes 20
    assert_array_equal(seen[0][..., 1:], 0)


@FORMATS
def test_the_environment_is_that_of_eval_env_with_its_settings(storage: str) -> None:
    env = gymnasium.make("test/Reach-v0", max_episode_steps=9)
    other = gymnasium.make("test/Reach-v0", speed=0.3, max_episode_steps=12)
    write("toy/other-v0", env, storage, eval_env=other)
    task = load_dataset("minari:toy/other-v0@observation", progress=False).task
    recovered = minari.load_dataset("toy/other-v0").recover_environment(eval_env=True)
    with make_vector_env(task.environment, 2, workers=1) as envs:
        assert envs.max_episode_length == recovered.spec.max_episode_steps == 12
        envs.reset([0, 1])
        observations, *_ = envs.step(np.ones((1, 1)), np.array([1]))
        np.testing.assert_allclose(observations, [[0.3, 1.0]])
    # Who gives reference returns alone does not lose the settings.
    given = Task("mine", "test/Reach-v0", -1.0, 0.0)
    mine = load_dataset("minari:toy/other-v0@observation", given, progress=False).task
    assert (mine.reference_min, mine.environment) == (-1.0, task.environment)
    elsewhere = Task("mine", "test/Elsewhere-v0", -1.0, 0.0)
    assert load_dataset("minari:toy/other-v0@observation", elsewhere, progress=False).task.env_spec == ""
    with pytest.raises(EnvironmentMissingError, match="Use backend gymnasium"):
        make_vector_env(task.environment, 1, "envpool")


def test_a_dataset_without_reference_returns() -> None:
    write("toy/noscore-v0", gymnasium.make("test/Reach-v0"), ref_min_score=None, ref_max_score=None)
    source = "minari:toy/noscore-v0@observation"
    found = load_dataset(source, progress=False)
    assert (found.task.env_id, found.task.references, found.task.obs_keys) == ("test/Reach-v0", None, ("observation",))
    assert np.isnan(found.mean_score())
    given = load_dataset(source, progress=False, reference_returns=(-5, 0)).task
    assert (given.name, given.references, given.obs_keys) == ("test/Reach-v0", (-5.0, 0.0), ("observation",))
    task = load_dataset(source, Task("reach", "test/Reach-v0", -5.0, 0.0), progress=False).task
    assert (task.name, task.obs_keys) == ("reach", ("observation",))


def test_minari_mujoco_data_are_not_taken_for_d4rl() -> None:
    env = gymnasium.make("Hopper-v5", max_episode_steps=5)
    write("mujoco/hopper/toy-v0", env, ref_min_score=None, ref_max_score=None)
    other = load_dataset("minari:mujoco/hopper/toy-v0", progress=False).task  # other settings: no known task
    assert (other.env_id, other.references) == ("Hopper-v5", None)
    write("mujoco/hopper/plain-v0", gymnasium.make("Hopper-v5"), ref_min_score=None, ref_max_score=None)
    assert load_dataset("minari:mujoco/hopper/plain-v0", progress=False).task.env_id == "Hopper-v5"


RECORDED = {
    "rgb": lambda: gymnasium.make("Hopper-v5", render_mode="rgb_array"),
    "no mode": lambda: gymnasium.make("Hopper-v5", render_mode=None),
    "picture": lambda: gymnasium.make("Hopper-v5", render_mode="rgb_array", width=320, height=240, camera_name="track"),
    "statistics": lambda: RecordEpisodeStatistics(gymnasium.make("Hopper-v5")),
}


@pytest.mark.parametrize("how", RECORDED)
def test_rendering_and_recording_do_not_belong_to_the_task(how: str) -> None:
    write("toy/recorded-v0", RECORDED[how](), ref_min_score=None, ref_max_score=None)
    task = load_dataset("minari:toy/recorded-v0", progress=False).task
    assert task is TASKS["hopper"]


def test_other_settings_are_kept_without_those_of_rendering() -> None:
    env = RescaleAction(
        RecordEpisodeStatistics(gymnasium.make("Hopper-v5", render_mode="rgb_array", healthy_reward=2.0)), -2, 2
    )
    write("toy/rescaled-v0", env)
    task = load_dataset("minari:toy/rescaled-v0", progress=False).task
    spec = EnvSpec.from_json(task.env_spec)
    assert spec.kwargs == {"healthy_reward": 2.0}
    assert [wrapper.name for wrapper in spec.additional_wrappers] == ["RescaleAction"]
    with make_vector_env(task.environment, 1) as envs:
        assert envs.action_high.tolist() == [2.0] * 3


@FORMATS
def test_images_stay_bytes(storage: str) -> None:
    space = {"observation_space": Box(0, 255, (8, 8, 3), np.uint8), "action_space": Box(-1, 1, (1,))}
    rng = np.random.default_rng(0)
    buffers = [
        EpisodeBuffer(
            id=number,
            observations=rng.integers(0, 256, (length + 1, 8, 8, 3), np.uint8),
            actions=rng.uniform(-1, 1, (length, 1)).astype(np.float32),
            rewards=[0.0] * length,
            terminations=[False] * (length - 1) + [True],
            truncations=[False] * length,
        )
        for number, length in enumerate((4, 3))
    ]
    minari.create_dataset_from_buffers("toy/pictures-v0", buffers, data_format=storage, **space)
    dataset = load_dataset("minari:toy/pictures-v0", Task("pictures", None, 0, 1), progress=False)
    assert dataset.pixels is not None
    assert dataset.pixels.frames.shape == (9, 8, 8, 3)
    assert_array_equal(dataset.observations, np.concatenate([buffer.observations[:-1] for buffer in buffers]))
    assert_array_equal(dataset.next_observations, np.concatenate([buffer.observations[1:] for buffer in buffers]))


@FORMATS
@pytest.mark.parametrize("damage", ["cut", "emptied", "flipped", "removed"])
def test_a_damaged_dataset_is_named(tmp_path: Path, storage: str, damage: str) -> None:
    write("toy/torn-v0", gymnasium.make("test/Reach-v0"), storage)
    data = tmp_path / "minari" / "toy" / "torn-v0" / "data"
    file = data / "main_data.hdf5" if storage == "hdf5" else next((data / "1").glob("*.arrow"))
    content = bytearray(file.read_bytes())
    if damage == "removed":
        file.unlink()
    else:
        for byte in (3, -3):  # of the signatures at the beginning and the end
            content[byte] ^= 255
        file.write_bytes({"cut": content[: len(content) // 3], "emptied": b"", "flipped": content}[damage])
    with pytest.raises(DataError, match=r"minari:toy/torn-v0@observation.*Delete it and get it again"):
        load_dataset("minari:toy/torn-v0@observation", progress=False)
    assert cache.entries() == []


def test_a_dataset_without_episodes_is_refused() -> None:
    space = {"observation_space": Box(-1, 1, (2,)), "action_space": Box(-1, 1, (1,))}
    minari.create_dataset_from_buffers("toy/none-v0", [], **space)
    with pytest.raises(DataError, match="expected at least one transition, found none"):
        load_dataset("minari:toy/none-v0", Task("none", None, 0, 1), progress=False)
