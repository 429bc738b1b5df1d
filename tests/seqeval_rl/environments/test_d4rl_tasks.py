"""D4RL's Adroit and Maze2D tasks as D4RL's source defines them, and evaluations in all environments of gymnasium-robotics."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import gymnasium
import minari
import mujoco
import numpy as np
import pytest
from d4rl_files import columns, write
from minari.data_collector import EpisodeBuffer
from numpy.testing import assert_allclose

from seqeval_rl import Task, evaluate, load_dataset
from seqeval_rl.data.readers.d4rl_index import ENTRIES, Entry
from seqeval_rl.data.task_matching import check_environment
from seqeval_rl.environments.d4rl_tasks import _MAZES
from seqeval_rl.environments.spaces import gymnasium_shapes, open_environment
from seqeval_rl.environments.tasks import TASKS
from seqeval_rl.errors import DataError
from seqeval_rl.training.evaluation import Evaluator

robotics = pytest.importorskip("gymnasium_robotics", reason="gymnasium-robotics is not installed (extra `robotics`)")
TASKS_OF = {  # one dataset of each
    entry.task.name.removeprefix("d4rl/"): entry for entry in ENTRIES.values() if "d4rl_tasks" in str(entry.task.env_id)
}
# Of the distance with which Adroit's rewards begin, in the observation: D4RL has -0.1 of it, gymnasium-robotics 1.4.2 has 0.1.
DISTANCES = {
    "door": lambda seen: seen[35:38],
    "hammer": lambda seen: seen[33:36] - seen[36:39],
    "relocate": lambda seen: seen[30:33],
}
PROTOCOL = {"initial": 40, "increment": 20, "batch_size": 8, "episodes": 1, "evaluate_every": 20}

pytestmark = pytest.mark.usefixtures("empty_caches")


@pytest.mark.parametrize("name", TASKS_OF)
def test_dimensions_and_horizon_are_those_of_the_data(name: str) -> None:
    entry = TASKS_OF[name]
    shapes = gymnasium_shapes(entry.task.environment)[1]
    found = (shapes.obs_shape, shapes.action_low.shape, shapes.max_episode_length)
    assert found == ((entry.observations,), (entry.actions,), entry.time_limit)
    assert_allclose(shapes.action_low, -1)
    assert_allclose(shapes.action_high, 1)


def test_the_other_tasks_say_why_they_have_no_environment() -> None:
    assert sorted(TASKS_OF) == ["door", "hammer", "maze2d-large", "maze2d-medium", "maze2d-umaze", "pen", "relocate"]
    for name, reason in (
        ("antmaze-large", "another ant"),
        ("kitchen-mixed", "59 observations"),
        ("ant", "111 observations"),
    ):
        with pytest.raises(DataError, match=reason):
            _ = TASKS[f"d4rl/{name}"].environment


@pytest.mark.parametrize("name", ["door", "hammer", "pen", "relocate"])
def test_rewards_of_adroit_are_d4rls(name: str) -> None:
    rng = np.random.default_rng(0)
    ours = open_environment(TASKS[f"d4rl/{name}"].environment)
    theirs = gymnasium.make(f"gymnasium_robotics:AdroitHand{name.title()}-v1", disable_env_checker=True)
    with ours, theirs:
        for seed in range(2):
            assert_allclose(ours.reset(seed=seed)[0], theirs.reset(seed=seed)[0])
            for _ in range(60):
                action = np.clip(0.5 * rng.standard_normal(ours.action_space.shape), -1, 1)
                seen, reward, terminated, truncated, _ = ours.step(action)
                others, other = theirs.step(action)[:2]
                assert_allclose(seen, others)
                if name == "pen":
                    assert reward == pytest.approx(other, abs=1e-9)
                    assert terminated == (seen[26] < 0.075)
                    if terminated:
                        break
                else:
                    distance = np.linalg.norm(DISTANCES[name](seen))
                    assert min(abs(reward - other), abs(reward + 0.2 * distance - other)) < 1e-9
                    assert not terminated
                assert not truncated


def test_a_pen_that_is_dropped_ends_the_episode_and_a_held_one_ends_at_100() -> None:
    with open_environment(TASKS["d4rl/pen"].environment) as env:
        lengths = []
        for seed in range(6):
            env.reset(seed=seed)
            for step in range(1, 101):
                _, reward, terminated, truncated, _ = env.step(np.full(24, (-1.0) ** step * (seed % 2)))
                if terminated or truncated:
                    break
            lengths.append(step)
            assert (terminated, truncated) == (step < 100 or terminated, step == 100)
            assert reward < 0 or not terminated
        assert min(lengths) < 100


def d4rls_maze(rows: list[str]) -> Any:
    """The model that D4RL's `point_maze` writes, and the walls at its places."""
    walls = "".join(
        f'<geom conaffinity="1" type="box" pos="{i + 1.0} {j + 1.0} 0" size="0.5 0.5 0.2"/>'
        for i, row in enumerate(rows)
        for j, cell in enumerate(row)
        if cell == "#"
    )
    return mujoco.MjModel.from_xml_string(f"""
<mujoco>
  <compiler inertiafromgeom="true" angle="radian"/>
  <option timestep="0.01" gravity="0 0 0" iterations="20" integrator="Euler"/>
  <default>
    <joint damping="1" limited="false"/>
    <geom friction=".5 .1 .1" density="1000" margin="0.002" condim="1" contype="2" conaffinity="1"/>
  </default>
  <worldbody>
    <geom size="40 40 0.25" pos="0 0 -0.1" type="plane" contype="1" conaffinity="0"/>
    <body pos="1.2 1.2 0">
      <geom type="sphere" size="0.1" contype="1"/>
      <joint name="x" type="slide" axis="1 0 0"/>
      <joint name="y" type="slide" axis="0 1 0"/>
    </body>
    {walls}
  </worldbody>
  <actuator>
    <motor joint="x" ctrlrange="-1 1" ctrllimited="true" gear="100"/>
    <motor joint="y" ctrlrange="-1 1" ctrllimited="true" gear="100"/>
  </actuator>
</mujoco>""")


@pytest.mark.parametrize("name", ["umaze", "medium", "large"])
def test_a_maze_moves_the_ball_as_d4rls_model_does(name: str) -> None:
    rows = _MAZES[name].split()
    model = d4rls_maze(rows)
    data = mujoco.MjData(model)
    goal = next(np.array([i, row.index("G")]) for i, row in enumerate(rows) if "G" in row)
    rng = np.random.default_rng(0)
    with open_environment(TASKS[f"d4rl/maze2d-{name}"].environment) as env:
        rewards, bumps = [], 0
        for seed in range(4):
            seen, _ = env.reset(seed=seed)
            cell = np.round(seen[:2]).astype(int)
            assert rows[cell[0]][cell[1]] in "OG"
            assert np.abs(seen[:2] - cell).max() <= 0.1
            mujoco.mj_resetData(model, data)
            data.qpos[:], data.qvel[:] = seen[:2], seen[2:]
            for step in range(200):
                if step % 20 == 0:
                    action = rng.uniform(-1, 1, 2)
                seen, reward, terminated, _, _ = env.step(action)
                # D4RL's step: velocities are clipped, then the state is set.
                data.qvel[:] = np.clip(data.qvel, -5, 5)
                mujoco.mj_forward(model, data)
                data.ctrl[:] = action
                mujoco.mj_step(model, data)
                bumps += bool(np.any(data.qfrc_constraint))
                assert_allclose(seen, [*data.qpos, *data.qvel], atol=1e-6)
                assert reward == float(np.linalg.norm(data.qpos - goal) <= 0.5)
                rewards.append(reward)
                assert not terminated
        assert bumps > 10
        env.unwrapped._maze.point_env.set_state(env.unwrapped._origin + np.array([goal[1], -goal[0]]), np.zeros(2))
        assert env.step(np.zeros(2))[1] == 1.0


def d4rl_log(entry: Entry, folder: Path) -> str:
    folder.mkdir()
    write(folder / entry.file_name, columns("..T....L." * 9, obs_dim=entry.observations, act_dim=entry.actions))
    return f"d4rl:{entry.identity}"


def returns(task: Task, episodes: int = 2) -> Any:
    """Of a policy that does nothing."""
    zeros = np.zeros(gymnasium_shapes(task.environment)[1].action_low.shape, np.float32)
    with Evaluator(task, [0], episodes, "auto", 1, max_episode_steps=25) as evaluator:
        return evaluator.evaluate(lambda seen: np.broadcast_to(zeros, (*seen.shape[:2], *zeros.shape)), 0).returns


@pytest.mark.parametrize("name", TASKS_OF)
def test_d4rls_data_are_evaluated(name: str, tmp_path: Path) -> None:
    entry = TASKS_OF[name]
    dataset = load_dataset(d4rl_log(entry, tmp_path / "d4rl"), progress=False)
    check_environment(dataset)
    assert np.isfinite(returns(dataset.task)).all()


def test_a_run_on_d4rls_pen(tmp_path: Path) -> None:
    (run,) = evaluate("bc", d4rl_log(TASKS_OF["pen"], tmp_path / "d4rl"), protocol=PROTOCOL, device="cpu")
    assert run.status == "finished"
    assert run.manifest["task"]["env_id"] == TASKS["d4rl/pen"].env_id
    assert np.isfinite(run.curve("score")[1]).all()


def joined(trail: list[Any]) -> Any:
    """Observations of an episode as Minari has them: of each entry an array."""
    first = trail[0]
    return {key: joined([one[key] for one in trail]) for key in first} if isinstance(first, dict) else np.array(trail)


@pytest.mark.filterwarnings("ignore:.*(is set to None|env_spec is None|is not installed).*:UserWarning")
@pytest.mark.parametrize(
    ("env_id", "keys", "dims"),
    [
        ("AdroitHandPen-v1", "", 45),
        ("AntMaze_UMaze-v5", "@observation@desired_goal", 107),
        ("FrankaKitchen-v1", "@observation", 59),
        ("PointMaze_UMaze-v3", "@observation@desired_goal", 6),
    ],
)
def test_minaris_data_of_these_environments_are_evaluated(env_id: str, keys: str, dims: int) -> None:
    gymnasium.register_envs(robotics)
    if env_id.startswith("FrankaKitchen") and mujoco.__version__ >= "4":
        pytest.skip("gymnasium-robotics 1.4.2 does not start FrankaKitchen with MuJoCo 4")
    with gymnasium.make(env_id, max_episode_steps=30, disable_env_checker=True) as env:
        env.action_space.seed(0)
        buffers = []
        for number in range(3):
            trail, actions, rewards = [env.reset(seed=number)[0]], [], []
            for _ in range(30):
                actions.append(env.action_space.sample())
                seen, reward = env.step(actions[-1])[:2]
                trail.append(copy.deepcopy(seen))  # the kitchen's goals are one object
                rewards.append(float(reward))
            ends = np.arange(30) == 29
            buffers.append(
                EpisodeBuffer(
                    id=number,
                    observations=joined(trail),
                    actions=np.array(actions),
                    rewards=rewards,
                    terminations=(~ends & ends).tolist(),
                    truncations=ends.tolist(),
                )
            )
        minari.create_dataset_from_buffers("toy/robot-v0", buffers, env=env)
    source = f"minari:toy/robot-v0{keys}"
    dataset = load_dataset(source, progress=False)
    assert (len(dataset), dataset.obs_shape) == (90, (dims,))
    check_environment(dataset)
    assert dataset.task.env_id == env_id
    assert np.isfinite(returns(dataset.task)).all()


@pytest.mark.parametrize("env_id", ["AntMaze_UMaze-v5", "PointMaze_UMaze-v3", "d4rl/maze2d-umaze-v1"])
def test_an_open_maze_has_left_no_file_behind(env_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gymnasium.register_envs(robotics)
    with open_environment(env_id) as env:
        assert not list(tmp_path.iterdir())
        env.reset(seed=0)
        env.step(env.action_space.sample())
