"""Pictures of an environment, on machines without a display, too: what renders them, and gymnasium's `rgb_array` for videos."""

from __future__ import annotations

import ctypes.util
import functools
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.environments.spaces import (
    close_environment,
    gymnasium_shapes,
    import_triton_first,
    open_environment,
    opened,
    what_is_missing,
)
from seqeval_rl.environments.tasks import EnvironmentSource
from seqeval_rl.errors import EnvironmentMissingError
from seqeval_rl.utils.text import one_line

_MODE = "rgb_array"
_EGL_DEVICE = 0x313F  # EGL_PLATFORM_DEVICE_EXT: a display of a device, without a window
_EGL_DEVICES = 16  # that are tried


@contextmanager
def opened_with_pictures(env_id: str | EnvironmentSource, max_episode_steps: int | None = None) -> Iterator[Any]:
    """The environment, opened so that `picture` works, and closed at the end; for the time limit see `gymnasium_shapes`.

    Raises `EnvironmentMissingError`. See `choose_offscreen`.
    """
    choose_offscreen()
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
        raise cannot_render(spec.id, error) from error
    try:
        yield env
    finally:
        close_environment(env)


def choose_offscreen() -> None:
    """Set `MUJOCO_GL`, which MuJoCo reads when it renders first; by default it wants a display. See `import_triton_first`.

    Where there is no display and it is not set, it becomes what works: EGL (a GPU, or Mesa on the CPU), else OSMesa. Where
    neither does, it stays unset, and `cannot_render` says what to install.
    """
    import_triton_first()
    display = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if sys.platform != "linux" or display or "MUJOCO_GL" in os.environ:
        return
    if _egl_works():
        os.environ["MUJOCO_GL"] = "egl"
    elif ctypes.util.find_library("OSMesa"):
        os.environ["MUJOCO_GL"] = "osmesa"


@functools.cache
def _egl_works() -> bool:
    """Whether EGL opens a device. Its library may be there without a driver, which MuJoCo notices too late to choose another."""
    name = ctypes.util.find_library("EGL")
    if name is None:
        return False
    try:
        find: Any = ctypes.CDLL(name).eglGetProcAddress
        find.restype, find.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
        place, number = ctypes.c_void_p, ctypes.c_int
        kinds = {
            b"eglQueryDevicesEXT": (number, number, place, place),
            b"eglGetPlatformDisplayEXT": (place, number, place, place),
            b"eglInitialize": (number, place, place, place),
        }
        addresses = {function: find(function) for function in kinds}
    except (OSError, AttributeError):  # another library of that name
        return False
    if not all(addresses.values()):
        return False
    query, display_of, initialize = (ctypes.CFUNCTYPE(*kinds[each])(addresses[each]) for each in kinds)
    devices, count = (place * _EGL_DEVICES)(), number(0)
    if not query(_EGL_DEVICES, devices, ctypes.byref(count)):
        return False
    displays = (display_of(_EGL_DEVICE, device, None) for device in devices[: count.value])
    # It stays initialized: closing it would close it for whoever uses the same device in this process.
    return any(display and initialize(display, None, None) for display in displays)


def cannot_render(env_id: str, error: Exception) -> EnvironmentMissingError:
    """The error for an environment of which nothing renders a picture, in words: what to install."""
    if (missing := what_is_missing(error)) is not None:
        return EnvironmentMissingError(f"environment {env_id!r}: cannot be rendered: it {missing}")
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
        raise cannot_render(env.spec.id, error) from error
    if drawn.ndim != 3 or drawn.shape[2] != 3:
        raise EnvironmentMissingError(
            f"environment {env.spec.id!r}: expected a picture [height, width, 3] from render, found shape {drawn.shape}. "
            "There is no video of it."
        )
    return drawn.astype(np.uint8, copy=False)
