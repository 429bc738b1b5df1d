"""Takes out of an `EnvSpec` what only shows or records episodes: an environment with a window, or a video, is the same task."""

from __future__ import annotations

import contextlib
import copy
import importlib
from typing import Any

import gymnasium

# Wrappers of gymnasium, Minari and Stable-Baselines3, by the names of their classes, that change neither observations, actions,
# rewards nor the ends of episodes.
_RECORDING = frozenset(
    (
        "RecordVideo", "RecordEpisodeStatistics", "HumanRendering", "RenderCollection", "AddWhiteNoise", "ObstructView",
        "Monitor", "DataCollector", "DataCollectorV0", "PassiveEnvChecker", "OrderEnforcing", "Autoreset", "AutoResetWrapper",
    )
)  # fmt: skip
# Wrappers whose observations are rendered.
_OBSERVED = frozenset(("AddRenderObservation", "PixelObservationWrapper"))
_MODE = "render_mode"
# Settings of the picture, in MuJoCo's environments; elsewhere such a name may mean anything.
_PICTURE = frozenset(
    ("width", "height", "camera_id", "camera_name", "default_camera_config", "max_geom", "visual_options")
)
_MUJOCO = ("gymnasium.envs.mujoco.", "gymnasium_robotics.")


def without_recording(spec: Any) -> Any:
    """A gymnasium `EnvSpec` with the registered settings of rendering, which never open a window, and without such wrappers.

    Where observations are rendered, the settings stay as they are.
    """
    wrappers = tuple(wrapper for wrapper in spec.additional_wrappers if wrapper.name not in _RECORDING)
    observed = any(wrapper.name in _OBSERVED for wrapper in wrappers)
    names = {_MODE, *(_PICTURE if str(spec.entry_point).startswith(_MUJOCO) else ())}
    registered = gymnasium.registry.get(spec.id)
    source = spec.kwargs if observed else {} if registered is None else registered.kwargs
    kwargs = {name: value for name, value in spec.kwargs.items() if name not in names}
    kwargs |= {name: value for name, value in source.items() if name in names}
    if kwargs.get(_MODE) == "human":
        del kwargs[_MODE]
        kwargs |= {_MODE: "rgb_array"} if observed else {}
    if (kwargs, wrappers) == (spec.kwargs, spec.additional_wrappers):
        return spec
    cleaned = copy.copy(spec)
    cleaned.kwargs, cleaned.additional_wrappers = kwargs, wrappers
    return cleaned


def registered_without_window(env_id: str) -> Any:
    """The id itself, or the `EnvSpec` that is registered under it without what would open a window."""
    module, _, name = env_id.rpartition(":")
    with contextlib.suppress(Exception):  # which `gymnasium.make` raises again
        if module:
            importlib.import_module(module)
        spec = gymnasium.registry[name]
        cleaned = without_recording(spec)
        return env_id if cleaned is spec else cleaned
    return env_id
