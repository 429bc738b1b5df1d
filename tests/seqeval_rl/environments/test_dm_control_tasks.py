"""V-D4RL's tasks in dm_control: what dm_control itself says and paints, and what is said where it or a renderer is missing."""

from __future__ import annotations

import ctypes.util
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from itertools import product
from typing import Any

import numpy as np
import pytest
from needs_vision import HAS_DM_CONTROL, needs_dm_control, renders
from numpy.testing import assert_array_equal

from seqeval_rl.environments import dm_control_tasks, rendering
from seqeval_rl.environments.make import make_vector_env
from seqeval_rl.environments.spaces import gymnasium_shapes, open_environment
from seqeval_rl.environments.tasks import TASKS
from seqeval_rl.errors import EnvironmentMissingError

PREFIX = "seqeval_rl.environments.dm_control_tasks:dm_control/"
LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}
PAINT = f"""
from seqeval_rl.environments.spaces import open_environment
print(int(open_environment("{PREFIX}walker_walk-v0").reset(seed=3)[0].sum()))
"""

PICTURES_OF_GYMNASIUM = """
import gymnasium
from gymnasium.wrappers import AddRenderObservation
from seqeval_rl.environments.spaces import open_environment
gymnasium.register(
    "Seen-v0", lambda: AddRenderObservation(gymnasium.make("InvertedPendulum-v5", render_mode="rgb_array"))
)
assert open_environment("Seen-v0").reset()[0].shape == (480, 480, 3)
"""
CHOOSE = """
import os
os.environ.pop("MUJOCO_GL")
from seqeval_rl.environments.rendering import choose_offscreen
choose_offscreen()
"""
FLOP_COUNTER = """
import torch.utils.flop_counter
"""


@renders
@pytest.mark.parametrize(
    ("name", "state", "actions"), [("walker_walk", 24, 6), ("cheetah_run", 17, 6), ("humanoid_walk", 67, 21)]
)
def test_shapes_and_horizon_are_v_d4rls(name: str, state: int, actions: int) -> None:
    for variant, shape in (("", (9, 84, 84)), ("-64px", (9, 64, 64)), ("-state", (state,))):
        task = TASKS[f"{name}{variant}"]
        shapes = gymnasium_shapes(task.environment)[1]
        assert (shapes.obs_shape, shapes.act_dim, shapes.max_episode_length) == (shape, actions, 500)
        assert shapes.obs_dtype == (np.float64 if variant == "-state" else np.uint8)
        assert_array_equal([shapes.action_low, shapes.action_high], [[-1] * actions, [1] * actions])
        assert task.score(500.0) == 50


def dm_controls_own(name: str, actions: Any) -> list[Any]:
    """Observation, reward and state after the start and each action, painted by dm_control."""
    env: Any = dm_control_tasks.dm_control_suite(name).load(*name.split("_"), task_kwargs={"random": 5})
    step, found, newest = env.reset(), list[Any](), list[Any]()
    for action in [None, *actions]:
        steps = [step] if action is None else [env.step(action) for _ in range(2)]
        image = env.physics.render(84, 84, camera_id=0).transpose(2, 0, 1)
        newest = [*(newest or [image] * 3)[1:], image]
        state = np.concatenate([np.ravel(part) for part in steps[-1].observation.values()])
        found.append((np.concatenate(newest), sum(each.reward or 0.0 for each in steps), state))
    env.physics.free()
    return found


@renders
@pytest.mark.parametrize("name", ["walker_walk", "cheetah_run"])
def test_images_and_rewards_are_dm_controls_own(name: str) -> None:
    actions = np.random.default_rng(0).uniform(-1, 1, (4, 6)).astype(np.float32)
    # In a thread of its own: dm_control takes its OpenGL context for the current one until it makes another one current.
    with ThreadPoolExecutor(1) as thread:
        expected = thread.submit(dm_controls_own, name, actions).result()
    with open_environment(f"{PREFIX}{name}-v0") as env:
        assert_array_equal(env.reset(seed=5)[0], expected[0][0])
        for action, (observation, reward, state) in zip(actions, expected[1:], strict=True):
            seen, *others, _ = env.step(action)
            assert_array_equal(seen, observation)
            assert others == [reward, False, False]
            assert_array_equal(env.unwrapped.state, state)


@needs_dm_control
def test_an_episode_ends_at_its_time_limit_alone() -> None:
    with open_environment(f"{PREFIX}walker_walk-state-v0") as env:
        first, _ = env.reset(seed=1)
        ends = [env.step(np.zeros(6, np.float32))[2:4] for _ in range(500)]
        assert ends == [(False, False)] * 499 + [(False, True)]
        assert not np.array_equal(env.reset(seed=2)[0], first)
        assert_array_equal(env.reset(seed=1)[0], first)


@renders
def test_there_are_pictures_for_a_video() -> None:
    with rendering.opened_with_pictures(TASKS["walker_walk"].environment) as env:
        env.reset(seed=0)
        assert rendering.picture(env).shape == (480, 480, 3)
        assert env.metadata["render_fps"] == 20


@renders
def test_copies_see_the_same_in_threads_and_in_processes() -> None:
    actions = np.random.default_rng(0).uniform(-1, 1, (2, 2, 6))

    def play(workers: int) -> list[Any]:
        with make_vector_env(f"{PREFIX}walker_walk-v0", 2, "gymnasium", workers) as envs:
            return [envs.reset([3, 4]), *(envs.step(action, np.arange(2))[0] for action in actions)]

    here = play(1)
    found: list[Any] = [play(2)]
    thread = threading.Thread(target=lambda: found.append(play(1)))
    thread.start()
    thread.join()
    for one in found:
        assert_array_equal(one, here)


@pytest.mark.parametrize("renderer", LIBRARIES)
def test_it_is_painted_without_a_display(renderer: str) -> None:
    if not HAS_DM_CONTROL or ctypes.util.find_library(LIBRARIES[renderer]) is None:
        pytest.skip(f"needs dm_control (extra `vision`), and {LIBRARIES[renderer]}")
    hidden = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "PYOPENGL_PLATFORM")}
    painted = subprocess.run(
        [sys.executable, "-c", PAINT], env={**hidden, "MUJOCO_GL": renderer}, capture_output=True, text=True, check=True
    )
    # Renderers differ in some colors by a little.
    assert 4.2e6 < int(painted.stdout) < 4.5e6


@renders
@pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton")
@pytest.mark.parametrize(("paint", "renderer"), [*product((PAINT, PICTURES_OF_GYMNASIUM), LIBRARIES), (CHOOSE, "egl")])
def test_triton_is_imported_before_mesa(paint: str, renderer: str) -> None:
    """Torch imports it where it counts FLOP; after Mesa, whose LLVM is another, the process ended with a segmentation fault."""
    if ctypes.util.find_library(LIBRARIES[renderer]) is None:
        pytest.skip(f"needs {LIBRARIES[renderer]}")
    chosen = {**os.environ, "MUJOCO_GL": renderer}
    chosen.pop("PYOPENGL_PLATFORM", None)
    subprocess.run([sys.executable, "-c", paint + FLOP_COUNTER], env=chosen, check=True)


@pytest.mark.parametrize(
    ("display", "egl", "osmesa", "chosen"),
    [("", True, True, "egl"), ("", False, True, "osmesa"), ("", False, False, None), (":0", True, True, None)],
)
def test_a_renderer_is_chosen_that_works(
    monkeypatch: pytest.MonkeyPatch, display: str, egl: bool, osmesa: bool, chosen: str | None
) -> None:
    for name, value in (("MUJOCO_GL", "x"), ("WAYLAND_DISPLAY", ""), ("DISPLAY", display)):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rendering, "_egl_works", lambda: egl)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: "there" if osmesa and name == "OSMesa" else None)
    monkeypatch.setattr(sys, "platform", "linux")
    rendering.choose_offscreen()
    assert os.environ["MUJOCO_GL"] == "x"  # what is set is kept
    monkeypatch.delenv("MUJOCO_GL")
    rendering.choose_offscreen()
    assert os.environ.get("MUJOCO_GL") == chosen


@renders
def test_what_nothing_renders_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dm_control_tasks, "_Painter", lambda *_: 1 / 0)
    monkeypatch.setattr(dm_control_tasks, "_painters", threading.local())
    with pytest.raises(
        EnvironmentMissingError, match=r"cannot be rendered \(.*\)\. Install EGL or OSMesa \(Debian: lib"
    ):
        gymnasium_shapes(TASKS["walker_walk"].environment)
    gymnasium_shapes(TASKS["walker_walk-state"].environment)  # needs none


def test_without_the_extra_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "dm_control.suite", raising=False)
    monkeypatch.setitem(sys.modules, "dm_control", None)
    with pytest.raises(EnvironmentMissingError) as raised:
        gymnasium_shapes(TASKS["walker_walk"].environment)
    assert str(raised.value).endswith("pip install 'seqeval-rl[vision]'.")
    assert "\n" not in str(raised.value)
