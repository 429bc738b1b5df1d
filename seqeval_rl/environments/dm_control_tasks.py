"""The tasks of DeepMind Control that V-D4RL has, as images or as states (extra `vision`); registered when it is imported.

Everything is as V-D4RL records and evaluates (Lu et al., 2022, arXiv 2206.04779, `drqbc/dmc.py`): an action is taken twice and
the two rewards are summed; an image is what camera 0 sees; an observation is the newest three images, oldest first, where the
first of an episode stands for those before it. After 1000 steps of the simulation, 500 actions, a time limit ends the episode,
and nothing else does.
"""

from __future__ import annotations

import atexit
import importlib
import os
import threading
from collections import deque
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from seqeval_rl.environments.rendering import cannot_render, choose_offscreen
from seqeval_rl.environments.spaces import mujoco_warnings_logged
from seqeval_rl.environments.tasks import VISION_REPEAT, VISION_STACK, VISION_TASKS

EPISODE = 500  # actions
_CAMERA = 0
_VIDEO = 480  # pixels of a side of a video
_Step = tuple[NDArray[Any], float, bool, bool, dict[str, Any]]
_painters = threading.local()  # an OpenGL context belongs to one thread


class DmControl(gymnasium.Env[NDArray[Any], NDArray[np.floating]]):
    """One of the tasks. Observations are uint8 [stack * 3, size, size], or without a size its state, float64 [n]."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 (as gymnasium declares it)

    def __init__(self, task: str, size: int | None = 84, stack: int = VISION_STACK, render_mode: str | None = None):
        """Raises `ModuleNotFoundError` where dm_control is not installed, `EnvironmentMissingError` where nothing renders."""
        domain, _, name = task.partition("_")
        self._name, self._size, self.render_mode = task, size, render_mode
        self._task: Any = dm_control_suite(task).load(domain, name, task_kwargs={"random": 0})
        bounds = self._task.action_spec()
        low, high = (np.broadcast_to(bound, bounds.shape) for bound in (bounds.minimum, bounds.maximum))
        self.action_space = Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)
        self.metadata = {**self.metadata, "render_fps": round(1 / (VISION_REPEAT * self._task.control_timestep()))}
        self._frames: deque[NDArray[np.uint8]] = deque(maxlen=stack)
        if size is None:
            shape = self._vector(self._task.reset()).shape
            self.observation_space = Box(-np.inf, np.inf, shape, np.float64)
        else:
            self.observation_space = Box(0, 255, (3 * stack, size, size), np.uint8)
            self._paint(size)  # what nothing renders is said here

    @property
    def state(self) -> NDArray[np.float64]:
        """The task's own observation, its entries concatenated, [n]."""
        return self._state

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """See gymnasium's `Env`."""
        super().reset(seed=seed)
        if seed is not None:
            self._task.task.random.seed(seed)
        self._state = self._vector(self._task.reset())
        self._frames.clear()
        return self._observation(), {}

    def step(self, action: NDArray[np.floating]) -> _Step:
        """See gymnasium's `Env`."""
        reward = 0.0
        for _ in range(VISION_REPEAT):
            found = self._task.step(action)
            reward += float(found.reward or 0.0)
            if found.last():
                break
        self._state = self._vector(found)
        terminated = bool(found.last() and found.discount == 0)
        return self._observation(), reward, terminated, bool(found.last()) and not terminated, {}

    def render(self) -> Any:
        """See gymnasium's `Env`; [480, 480, 3]."""
        return self._paint(_VIDEO)

    def close(self) -> None:
        """See gymnasium's `Env`."""
        self._task.close()

    @staticmethod
    def _vector(found: Any) -> NDArray[np.float64]:
        return np.concatenate([np.ravel(part) for part in found.observation.values()]).astype(np.float64)

    def _observation(self) -> NDArray[Any]:
        if self._size is None:
            return self._state
        self._frames.append(self._paint(self._size).transpose(2, 0, 1))
        while len(self._frames) < (self._frames.maxlen or 1):
            self._frames.append(self._frames[-1])
        return np.concatenate(self._frames)

    def _paint(self, size: int) -> NDArray[np.uint8]:
        """What camera 0 sees, [size, size, 3]."""
        physics = self._task.physics
        known: dict[tuple[str, int], _Painter] = _painters.__dict__.setdefault("known", {})
        if (self._name, size) not in known:
            try:
                known[self._name, size] = _Painter(physics.model.ptr, size)
            except Exception as error:  # OpenGL's libraries raise anything
                raise cannot_render(self._name, error) from error
        return known[self._name, size](physics)


def dm_control_suite(task: str) -> Any:
    """dm_control's suite, with a renderer chosen before it is imported. Raises `EnvironmentMissingError` for that task."""
    choose_offscreen()
    try:
        suite = importlib.import_module("dm_control.suite")
    except ModuleNotFoundError:
        raise
    except (ImportError, RuntimeError) as error:  # it opens the renderer of MUJOCO_GL when it is imported
        raise cannot_render(task, error) from error
    mujoco: Any = importlib.import_module("mujoco")
    sizes = importlib.import_module("dm_control.mujoco.wrapper.mjbindings").sizes.array_sizes
    for name, struct in (("mjmodel", mujoco.MjModel), ("mjdata", mujoco.MjData)):
        # dm_control 1.0.50 asks for arrays of flexible bodies that MuJoCo 4 no longer has; these tasks have no such bodies.
        for gone in [field for field in sizes[name] if not hasattr(struct, field)]:
            del sizes[name][gone]
    mujoco_warnings_logged.__wrapped__()  # again: dm_control sends them elsewhere when it is imported
    return suite


class _Painter:
    """Paints the state of any simulation with a model, in one thread.

    It paints exactly what dm_control's own `physics.render` does, but all copies of an environment share an OpenGL context.
    dm_control has one for each, which only the thread that used it first can use again.
    """

    def __init__(self, model: Any, size: int):
        """Pictures of `size` x `size` pixels. Raises whatever OpenGL's libraries raise."""
        self._mujoco = mujoco = importlib.import_module("mujoco")
        # Not `mujoco.Renderer`, whose choice of a library was made when MuJoCo was imported, maybe without MUJOCO_GL.
        chosen = os.environ.get("MUJOCO_GL", "").lower()
        library: Any = importlib.import_module(f"mujoco.{chosen}") if chosen in ("egl", "osmesa") else mujoco
        self._window = library.GLContext(size, size)
        self._window.make_current()
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._camera, self._option, self._scene = mujoco.MjvCamera(), mujoco.MjvOption(), mujoco.MjvScene(model, 1000)
        self._camera.type, self._camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, _CAMERA
        self._size, self._place = size, mujoco.MjrRect(0, 0, size, size)
        if threading.current_thread() is threading.main_thread():
            atexit.register(self.close)  # while the libraries are still there

    def __call__(self, physics: Any) -> NDArray[np.uint8]:
        """What camera 0 sees, [size, size, 3]."""
        self._window.make_current()
        mujoco, image = self._mujoco, np.empty((self._size, self._size, 3), np.uint8)
        mujoco.mjv_updateScene(
            physics.model.ptr, physics.data.ptr, self._option, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL.value,
            self._scene,
        )  # fmt: skip
        mujoco.mjr_render(self._place, self._scene, self._context)
        mujoco.mjr_readPixels(image, None, self._place, self._context)
        return np.flipud(image)

    def close(self) -> None:
        """Free what it has on the device."""
        self._window.make_current()
        self._context.free()
        self._window.free()


_VARIANTS: dict[str, dict[str, Any]] = {"": {}, "-64px": {"size": 64}, "-frame": {"stack": 1}, "-state": {"size": None}}
for _name in VISION_TASKS:
    for _suffix, _kwargs in _VARIANTS.items():
        gymnasium.register(
            f"dm_control/{_name}{_suffix}-v0", f"{__name__}:DmControl", max_episode_steps=EPISODE,
            kwargs={"task": _name, **_kwargs},
        )  # fmt: skip
