"""Rendering and recording do not belong to an environment, and no window is ever opened."""

import gymnasium
import numpy as np
import pytest
import trouble
from gymnasium.envs.registration import EnvSpec, WrapperSpec

from seqeval_rl.environments.make import make_vector_env
from seqeval_rl.environments.recording import without_recording
from seqeval_rl.environments.spaces import open_environment
from seqeval_rl.environments.tasks import EnvironmentSource


class Window(trouble.Trouble):
    """Counts how often it was opened with a window."""

    metadata = {"render_modes": ["human", "rgb_array"], "render_fps": 10}  # noqa: RUF012
    windows = 0

    def __init__(self, render_mode=None, **settings):
        super().__init__(**settings)
        self.render_mode = render_mode
        Window.windows += render_mode == "human"

    def render(self):
        return np.zeros((4, 4, 3), np.uint8)


@pytest.fixture(autouse=True)
def no_window_yet(registry, monkeypatch):
    monkeypatch.setattr(Window, "windows", 0)


def wrapper(name, module="gymnasium.wrappers.rendering", **kwargs):
    return WrapperSpec(name, f"{module}:{name}", kwargs or None)


@pytest.mark.parametrize("registered", [{}, {"render_mode": "human"}, {"render_mode": "rgb_array"}])
@pytest.mark.parametrize("recorded", [None, {"render_mode": "human"}, {"render_mode": "rgb_array"}])
def test_no_window_is_opened(registered, recorded):
    gymnasium.register("test/Window-v0", Window, max_episode_steps=20, kwargs=registered)
    env_id = "test/Window-v0"
    if recorded is not None:
        spec = EnvSpec("test/Window-v0", f"{__name__}:Window", max_episode_steps=20, kwargs=recorded)
        env_id = EnvironmentSource("test/Window-v0", spec.to_json())
    with make_vector_env(env_id, 2, workers=1) as envs:
        envs.reset([1, 2])
    assert Window.windows == 0


def test_the_registered_settings_of_rendering_are_the_environments_own():
    gymnasium.register("test/Window-v0", Window, kwargs={"render_mode": "rgb_array"})
    assert without_recording(gymnasium.spec("test/Window-v0")) is gymnasium.spec("test/Window-v0")
    with open_environment("test/Window-v0") as env:
        assert env.unwrapped.render_mode == "rgb_array"


def test_rendered_observations_keep_their_settings():
    observed = WrapperSpec("AddRenderObservation", "gymnasium.wrappers:AddRenderObservation", {"render_only": True})
    for mode, expected in (("rgb_array", "rgb_array"), ("human", "rgb_array")):
        spec = EnvSpec("test/Window-v0", f"{__name__}:Window", kwargs={"render_mode": mode, "width": 4})
        spec.additional_wrappers = (observed, wrapper("RecordVideo", video_folder="here"))
        found = without_recording(spec)
        assert found.kwargs == {"render_mode": expected, "width": 4}
        assert [each.name for each in found.additional_wrappers] == ["AddRenderObservation"]
        assert spec.kwargs["render_mode"] == mode  # as it was


def test_a_name_means_a_picture_in_mujoco_alone():
    for entry, expected in (("gymnasium.envs.mujoco.ant_v5:AntEnv", {}), ("mine:Maze", {"width": 8})):
        spec = EnvSpec("test/Maze-v0", entry, kwargs={"width": 8, "render_mode": None})
        assert without_recording(spec).kwargs == expected


def test_wrappers_that_only_record_are_left_out_and_others_stay():
    names = [
        "Monitor",
        "TimeAwareObservation",
        "RecordEpisodeStatistics",
        "DataCollector",
        "ClipAction",
        "HumanRendering",
    ]
    spec = EnvSpec("test/Maze-v0", "mine:Maze")
    spec.additional_wrappers = tuple(wrapper(name, "somewhere") for name in names)
    left = [each.name for each in without_recording(spec).additional_wrappers]
    assert left == ["TimeAwareObservation", "ClipAction"]
