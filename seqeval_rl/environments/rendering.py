"""Pictures of an environment, for videos: gymnasium's `rgb_array` rendering, on machines without a display, too."""

from __future__ import annotations

import ctypes.util
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.environments.spaces import close_environment, gymnasium_shapes, open_environment, opened
from seqeval_rl.environments.tasks import EnvironmentSource
from seqeval_rl.errors import EnvironmentMissingError
from seqeval_rl.utils.text import one_line

_MODE = "rgb_array"
# MuJoCo's names of what renders without a display, with the library that each needs.
_OFFSCREEN = {"egl": "EGL", "osmesa": "OSMesa"}


@contextmanager
def opened_with_pictures(env_id: str | EnvironmentSource, max_episode_steps: int | None = None) -> Iterator[Any]:
    """The environment, opened so that `picture` works, and closed at the end; for the time limit see `gymnasium_shapes`.

    Where there is no display and `MUJOCO_GL` is not set, it is set to what is installed: EGL (a GPU, or Mesa on the CPU), else
    OSMesa. Raises `EnvironmentMissingError`.
    """
    _choose_offscreen()
    spec = gymnasium_shapes(env_id, max_episode_steps)[0]
    with opened(env_id) as plain:  # without pictures first: what is missing is then not the renderer
        modes = plain.metadata.get("render_modes") or ()
    if _MODE not in modes:
        raise EnvironmentMissingError(
            f"environment {env_id!r}: expected {_MODE} among its render modes, found {', '.join(modes) or 'none'}. There is no "
            "video of it."
        )
    try:
        env = open_environment(spec, _MODE)
    except Exception as error:  # the environment's own code may raise anything
        raise _cannot_render(spec.id, error) from error
    try:
        yield env
    finally:
        close_environment(env)


def _choose_offscreen() -> None:
    """Set `MUJOCO_GL`, which MuJoCo reads when it renders first; by default it wants a display."""
    display = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if sys.platform == "linux" and not display and "MUJOCO_GL" not in os.environ:
        found = next((name for name, library in _OFFSCREEN.items() if ctypes.util.find_library(library)), None)
        if found is not None:
            os.environ["MUJOCO_GL"] = found


def _cannot_render(env_id: str, error: Exception) -> EnvironmentMissingError:
    return EnvironmentMissingError(
        f"environment {env_id!r}: cannot be rendered ({one_line(error)}; MUJOCO_GL is "
        f"{os.environ.get('MUJOCO_GL') or 'not set'}). Install EGL or OSMesa (Debian: libegl1 or libosmesa6) and set "
        "MUJOCO_GL=egl or MUJOCO_GL=osmesa."
    )


def picture(env: Any) -> NDArray[np.uint8]:
    """What the environment looks like now, [height, width, 3]. Raises `EnvironmentMissingError` where nothing renders it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of GLFW, before it raises
            drawn = np.asarray(env.render())
    except Exception as error:  # OpenGL's libraries raise anything
        raise _cannot_render(env.spec.id, error) from error
    if drawn.ndim != 3 or drawn.shape[2] != 3:
        raise EnvironmentMissingError(
            f"environment {env.spec.id!r}: expected a picture [height, width, 3] from render, found shape {drawn.shape}. "
            "There is no video of it."
        )
    return drawn.astype(np.uint8, copy=False)
