"""D4RL's Adroit and Maze2D tasks, in the models of gymnasium-robotics (extra `robotics`); registered when it is imported.

gymnasium-robotics has D4RL's models, and other tasks in them. In its AdroitHand environments the first term of the reward of
door, hammer and relocate has the other sign (release 1.4.2), and a pen that is dropped ends nothing; its PointMaze has other
starts, goals, units and a smaller goal. Here rewards, ends of episodes, starts and observations are those of D4RL's source (Fu et
al., 2020, arXiv 2004.07219: `hand_manipulation_suite/*_v0.py` and `pointmaze/maze_model.py`). MuJoCo is today's, not 2.0.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.linalg import norm
from numpy.typing import NDArray

_Step = tuple[NDArray[np.float64], float, bool, bool, dict[str, Any]]

# By rows, which are D4RL's first coordinate: # is a wall, G the goal.
_MAZES = {
    "umaze": "##### #GOO# ###O# #OOO# #####",
    "medium": "######## #OO##OO# #OO#OOO# ##OOO### #OO#OOO# #O#OO#O# #OOO#OG# ########",
    "large": "############ #OOOO#OOOOO# #O##O#O#O#O# #OOOOOO#OOO# #O####O###O# #OO#O#OOOOO# ##O#O#O#O### #OO#OOO#OGO# "
    "############",
}


def _robotics(module: str) -> Any:
    """A module of gymnasium-robotics, without its notice about rewards, which are not used here."""
    with contextlib.redirect_stderr(io.StringIO()):
        importlib.import_module("gymnasium_robotics")
    return importlib.import_module(f"gymnasium_robotics.envs.{module}")


def _door(data: Any) -> tuple[float, bool]:
    """Reward, and whether the episode ends: a door with a latch is opened. `data`: MuJoCo's, after a step, as below."""
    angle = float(data.joint("door_hinge").qpos[0])
    reward = -0.1 * norm(data.site("S_grasp").xpos - data.site("S_handle").xpos)
    reward += -0.1 * (angle - 1.57) ** 2 - 1e-5 * np.sum(data.qvel**2)
    return float(reward + 2.0 * (angle > 0.2) + 8.0 * (angle > 1.0) + 10.0 * (angle > 1.35)), False


def _hammer(data: Any) -> tuple[float, bool]:
    """A nail is driven into a board."""
    hammer, tool, nail = data.body("Object").xpos, data.site("tool").xpos, data.site("S_target").xpos
    left = norm(nail - data.site("nail_goal").xpos)
    reward = -0.1 * norm(data.site("S_grasp").xpos - hammer) - norm(tool - nail) - 10.0 * left
    reward += -1e-2 * norm(data.qvel) + 2.0 * (hammer[2] > 0.04 and tool[2] > 0.04)
    return float(reward + 25.0 * (left < 0.02) + 75.0 * (left < 0.01)), False


def _pen(data: Any) -> tuple[float, bool]:
    """A pen is turned to a direction; the episode ends where it is dropped."""
    pen = data.body("Object").xpos
    away = norm(pen - data.site("eps_ball").xpos)
    along = [data.site(f"{name}_top").xpos - data.site(f"{name}_bottom").xpos for name in ("object", "target")]
    alike = float(np.dot(*along) / norm(along[0]) / norm(along[1]))
    reward = alike - away + 10.0 * (away < 0.075 and alike > 0.9) + 50.0 * (away < 0.075 and alike > 0.95)
    dropped = bool(pen[2] < 0.075)
    return float(reward - 5.0 * dropped), dropped


def _relocate(data: Any) -> tuple[float, bool]:
    """A ball is carried to a place."""
    ball, palm, target = data.body("Object").xpos, data.site("S_grasp").xpos, data.site("target").xpos
    away = norm(ball - target)
    reward = -0.1 * norm(palm - ball) + 10.0 * (away < 0.1) + 20.0 * (away < 0.05)
    if ball[2] > 0.04:
        reward += 1.0 - 0.5 * norm(palm - target) - 0.5 * away
    return float(reward), False


_OUTCOMES: dict[str, Callable[[Any], tuple[float, bool]]] = {
    "door": _door,
    "hammer": _hammer,
    "pen": _pen,
    "relocate": _relocate,
}


class Adroit(gymnasium.Env[NDArray[np.float64], NDArray[np.floating]]):
    """D4RL's door-v1, hammer-v1, pen-v1 or relocate-v1, with a hand of 24 joints."""

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array", "depth_array"], "render_fps": 100}  # noqa: RUF012 (as gymnasium declares it)

    def __init__(self, task: str, render_mode: str | None = None):
        """Raises `ImportError` where gymnasium-robotics is not installed."""
        creator = getattr(_robotics(f"adroit_hand.adroit_{task}"), f"AdroitHand{task.title()}Env")
        self._hand: Any = creator(render_mode=render_mode)
        self._outcome = _OUTCOMES[task]
        self.render_mode = render_mode
        self.action_space, self.observation_space = self._hand.action_space, self._hand.observation_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """See gymnasium's `Env`."""
        super().reset(seed=seed)
        found: tuple[NDArray[np.float64], dict[str, Any]] = self._hand.reset(seed=seed, options=options)
        return found

    def step(self, action: NDArray[np.floating]) -> _Step:
        """See gymnasium's `Env`."""
        observation, _, _, _, info = self._hand.step(action)
        reward, terminated = self._outcome(self._hand.data)
        return observation, reward, terminated, False, info

    def render(self) -> Any:
        """See gymnasium's `Env`."""
        return self._hand.render()

    def close(self) -> None:
        """See gymnasium's `Env`."""
        self._hand.close()


class Maze2d(gymnasium.Env[NDArray[np.float64], NDArray[np.floating]]):
    """D4RL's maze2d-*-v1: push a ball to a fixed goal; the reward is 1 within 0.5 of it, and nothing ends before the time limit.

    Observations are D4RL's: position (along rows, along columns) and velocity [4]. As there, the middle of the cell in row i and
    column j is (i - 0.2, j - 0.2), while starts and the goal are at (i, j).
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array", "depth_array"], "render_fps": 50}  # noqa: RUF012 (as gymnasium declares it)

    def __init__(self, maze: str, render_mode: str | None = None):
        """Raises `ImportError` where gymnasium-robotics is not installed."""
        rows = _MAZES[maze].split()
        cells = [[int(cell == "#") for cell in row] for row in rows]
        self._maze: Any = _robotics("maze.point_maze").PointMazeEnv(cells, render_mode=render_mode)
        with contextlib.suppress(OSError):  # which gymnasium-robotics leaves behind
            Path(self._maze.tmp_xml_file_path).unlink()
        self._goal = next((i, row.index("G")) for i, row in enumerate(rows) if "G" in row)
        free = [(i, j) for i, row in enumerate(rows) for j, cell in enumerate(row) if cell == "O"]
        self._starts = np.array([*free, self._goal], np.float64)
        # Of the position (0, 0) in the coordinates of gymnasium-robotics: x along columns, y against rows, from the middle.
        self._origin = np.array([0.7 - len(rows[0]) / 2, len(rows) / 2 - 0.7])
        self.render_mode = render_mode
        self.action_space = self._maze.action_space
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float64)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """See gymnasium's `Env`."""
        super().reset(seed=seed)
        self._maze.reset(seed=seed)
        start = self._starts[self.np_random.integers(len(self._starts))]
        position = start + self.np_random.uniform(-0.1, 0.1, 2)
        velocity = 0.1 * self.np_random.standard_normal(2)
        self._maze.point_env.set_state(self._origin + _turned(position), _turned(velocity))
        return self._observation(), {}

    def step(self, action: NDArray[np.floating]) -> _Step:
        """See gymnasium's `Env`."""
        self._maze.point_env.step(_turned(np.asarray(action)))
        observation = self._observation()
        reached = bool(norm(observation[:2] - self._goal) <= 0.5)
        return observation, float(reached), False, False, {"success": reached}

    def _observation(self) -> NDArray[np.float64]:
        data = self._maze.point_env.data
        return np.concatenate([-_turned(data.qpos - self._origin), -_turned(data.qvel)])

    def render(self) -> Any:
        """See gymnasium's `Env`."""
        return self._maze.render()

    def close(self) -> None:
        """See gymnasium's `Env`."""
        self._maze.close()


def _turned(vector: NDArray[Any]) -> NDArray[Any]:
    """(along rows, along columns) as (x, y) of gymnasium-robotics, [2]; twice is the opposite."""
    return np.array([vector[1], -vector[0]])


for _name, _limit in (("door", 200), ("hammer", 200), ("pen", 100), ("relocate", 200)):
    gymnasium.register(f"d4rl/{_name}-v1", f"{__name__}:Adroit", max_episode_steps=_limit, kwargs={"task": _name})
for _name, _limit in (("umaze", 300), ("medium", 600), ("large", 800)):
    gymnasium.register(
        f"d4rl/maze2d-{_name}-v1", f"{__name__}:Maze2d", max_episode_steps=_limit, kwargs={"maze": _name}
    )
