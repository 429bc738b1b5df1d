"""Opens Gymnasium environments, and reads their spaces."""

from __future__ import annotations

import contextlib
import copy
import difflib
import functools
import importlib
import logging
import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from seqeval_rl.environments.patience import within_limits
from seqeval_rl.environments.recording import registered_without_window, without_recording
from seqeval_rl.environments.tasks import EnvironmentSource
from seqeval_rl.environments.wrappers import BoundedActions, ConcatenatedKeys
from seqeval_rl.errors import DataError, EnvironmentMissingError
from seqeval_rl.utils.text import one_line

_log = logging.getLogger("seqeval_rl")
TIME_LIMIT = 1000  # environment steps of an episode, where an environment has no time limit of its own
GIVE_BOUNDS = "Name the right task, or give action_low and action_high (of a stream, command or load_dataset)."


def gymnasium_shapes(env_id: str | EnvironmentSource, max_episode_steps: int | None = None) -> tuple[Any, Shapes]:
    """Gymnasium's `EnvSpec` of an environment with its time limit, and its shapes; opens it once.

    The time limit is `max_episode_steps`; none: the environment's own, and `TIME_LIMIT` where it has none. Raises as
    `make_vector_env` does.
    """
    with opened(env_id) as env:
        spec = copy.copy(env.spec)
        spec.max_episode_steps = limit = max_episode_steps or spec.max_episode_steps or TIME_LIMIT
        return spec, shapes_of_spaces(env_id, env.observation_space, env.action_space, limit)


def check_time_limit(env_id: str | EnvironmentSource, max_episode_steps: int | None = None) -> None:
    """Warn of an environment without a time limit of its own, where none is set. Raises as `environment_spaces` does."""
    if max_episode_steps is None and not _has_time_limit(env_id):
        _log.warning(
            "environment %r: has no time limit; its episodes are cut after %d environment steps. Set "
            "protocol.max_episode_steps to choose another.", env_id, TIME_LIMIT,
        )  # fmt: skip


@functools.lru_cache(maxsize=16)
def _has_time_limit(env_id: str | EnvironmentSource) -> bool:
    with opened(env_id) as env:
        return env.spec.max_episode_steps is not None


# How to install modules that environments need.
_INSTALL = {
    "dm_control": "pip install 'seqeval-rl[vision]'",
    "gymnasium_robotics": "pip install 'seqeval-rl[robotics]'",
    "ogbench": "pip install ogbench",
    "Box2D": "pip install 'seqeval-rl[box2d]'",
    "pygame": "pip install 'seqeval-rl[video]'",
}


def what_is_missing(error: BaseException) -> str | None:
    """Which module an environment needed in vain, and how to install it; None where its exception is not gymnasium's for that."""
    name = getattr(error.__cause__, "name", None)
    if not isinstance(error, gymnasium.error.DependencyNotInstalled) or name not in _INSTALL:
        return None
    return f"needs {name}, which is not installed. {_INSTALL[name]}."


@functools.lru_cache(maxsize=16)
def environment_spaces(env_id: str | EnvironmentSource) -> tuple[Any, Any]:
    """Observation and action space of an environment, of any kind.

    Args:
        env_id: as `Task.environment` returns it.

    Raises:
        EnvironmentMissingError: it is not registered, or does not start.
    """
    with opened(env_id) as env:
        return env.observation_space, env.action_space


@contextlib.contextmanager
def opened(env_id: str | EnvironmentSource) -> Iterator[Any]:
    """`open_environment` and `close_environment`; errors say what is missing."""
    try:
        with within_limits():
            env = open_environment(env_id)
    except (gymnasium.error.UnregisteredEnv, ModuleNotFoundError) as error:
        missing = (getattr(error, "name", None) or "").partition(".")[0]
        near = nearest_ids(str(env_id), gymnasium.registry) or " Install the package that registers it."
        hint = f" {_INSTALL[missing]}." if missing in _INSTALL else near
        raise EnvironmentMissingError(
            f"environment {env_id!r}: unknown to gymnasium ({one_line(error)}).{hint}"
        ) from error
    except (DataError, EnvironmentMissingError):  # of the wrappers, and of what cannot be rendered
        raise
    except (Exception, SystemExit) as error:  # the environment's own code may raise anything
        if (missing := what_is_missing(error)) is not None:
            raise EnvironmentMissingError(f"environment {env_id!r}: {missing}") from error
        renderer = os.environ.get("MUJOCO_GL")  # MuJoCo loads it when it is imported
        chosen = f" MUJOCO_GL is {renderer}: is that installed?" if renderer else ""
        raise EnvironmentMissingError(
            f"environment {env_id!r}: does not start ({one_line(error)}).{chosen} Install what it needs, or name another one."
        ) from error
    try:
        yield env
    finally:
        close_environment(env)


def close_environment(env: Any) -> None:
    """Close it; where it raises, that is logged as a warning, since its results are there."""
    try:
        with within_limits():
            env.close()
    except (Exception, SystemExit) as error:
        _log.warning("environment %r: does not close (%s)", getattr(env.spec, "id", env), one_line(error))


def shapes_of_spaces(env_id: str | EnvironmentSource, observations: Any, actions: Any, limit: int) -> Shapes:
    """Shapes and bounds of two spaces; raises `DataError` for anything but a box of observations, and actions that are discrete
    or a box with finite bounds."""
    if not isinstance(observations, Box):
        raise DataError(
            f"environment {env_id!r}: expected a box of observations, found {observations}. Discrete and composite observations "
            "are not supported: use a wrapper, or another environment."
        )
    if isinstance(actions, Discrete):
        first = np.array([actions.start], np.float64)
        last, classes = first + float(actions.n) - 1, int(actions.n)
        return Shapes(observations.shape, np.dtype(observations.dtype), first, last, limit, np.dtype(np.int64), classes)
    if not isinstance(actions, Box) or len(actions.shape) != 1:
        raise DataError(f"environment {env_id!r}: {unsupported_actions(actions)}")
    low, high = actions.low.astype(np.float64), actions.high.astype(np.float64)
    if not (np.isfinite(low) & np.isfinite(high) & (low < high)).all():
        raise DataError(f"environment {env_id!r}: expected finite action bounds, found {low} to {high}. {GIVE_BOUNDS}")
    return Shapes(observations.shape, np.dtype(observations.dtype), low, high, limit, np.dtype(actions.dtype))


def unsupported_actions(space: Any) -> str:
    """What to say of an action space that no algorithm can be given."""
    several = "expected discrete actions, or vectors in a box with finite bounds, found"
    return f"{several} {space}. Multi-binary, multi-discrete and composite actions are not supported: use another one."


def described_actions(act_dim: int, classes: int | None) -> str:
    """Actions in words."""
    return f"{act_dim} actions" if classes is None else f"{classes} discrete actions"


def discrete_actions(space: Any) -> tuple[int, int] | None:
    """The first discrete action of a space and how many there are; None where its actions are not discrete."""
    return (int(space.start), int(space.n)) if isinstance(space, Discrete) else None


def nearest_ids(name: str, known: Iterable[str]) -> str:
    """A sentence that names the known ids closest to `name`; empty where none is close."""
    near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(near)}?" if near else ""


@dataclass(frozen=True)
class Shapes:
    """Shapes and bounds of an environment, and its time limit."""

    obs_shape: tuple[int, ...]
    obs_dtype: np.dtype[Any]
    action_low: NDArray[np.float64]  # [act_dim]; [1] of discrete actions, the first one
    action_high: NDArray[np.float64]  # [act_dim]; [1] of discrete actions, the last one
    max_episode_length: int  # environment steps
    action_dtype: np.dtype[Any]
    action_classes: int | None = None  # how many discrete actions there are; None: actions are continuous

    @property
    def act_dim(self) -> int:
        """Numbers that an action has in a packed row: its dimensions, 1 for a discrete one."""
        return len(self.action_low)

    @property
    def images(self) -> bool:
        """Whether observations are images: bytes with two axes or more."""
        return self.obs_dtype == np.uint8 and len(self.obs_shape) > 1

    @property
    def action_range(self) -> tuple[float, float]:
        """Between which an algorithm's actions are: -1 and 1, or 0 and the number of discrete actions - 1."""
        return (-1.0, 1.0) if self.action_classes is None else (0.0, self.action_classes - 1.0)

    def in_units(self, actions: NDArray[Any]) -> NDArray[np.float64]:
        """Actions in the environment's units, for those of an algorithm [..., act_dim], which are clipped to their range."""
        chosen = actions.astype(np.float64).clip(*self.action_range)
        if self.action_classes is not None:
            return self.action_low + chosen
        return self.action_low + (chosen + 1.0) / 2.0 * (self.action_high - self.action_low)

    def in_space(self, actions: NDArray[np.floating]) -> NDArray[Any]:
        """Actions [..., act_dim] in the dtype of the action space, and within its bounds; for integers the nearest ones.
        Discrete actions [..., 1] become [...]."""
        taken = np.rint(actions) if self.action_dtype.kind in "iu" else actions
        # The dtype first: rounding to it may leave the bounds.
        found = taken.astype(self.action_dtype).clip(*self._bounds)
        return found if self.action_classes is None else found.squeeze(-1)

    @functools.cached_property
    def _bounds(self) -> tuple[NDArray[Any], NDArray[Any]]:
        return self.action_low.astype(self.action_dtype), self.action_high.astype(self.action_dtype)

    def fits(self, other: Shapes) -> bool:
        """True if the two could be the same environment."""
        mine, others = (self.action_low, self.action_high), (other.action_low, other.action_high)
        same_bounds = all(a.shape == b.shape and np.allclose(a, b) for a, b in zip(mine, others, strict=True))
        same_kind = self.action_classes == other.action_classes
        same_shape = (self.obs_shape, self.max_episode_length) == (other.obs_shape, other.max_episode_length)
        return same_bounds and same_kind and same_shape


def open_environment(env: Any, render_mode: str | None = None) -> Any:
    """`gymnasium.make` of an id, an `EnvSpec` or an `EnvironmentSource`: without a window, MuJoCo's warnings in the log.

    `render_mode`: in place of the registered one.
    """
    import_triton_first()
    mujoco_warnings_logged()
    spec: Any = env
    source = env if isinstance(env, EnvironmentSource) else EnvironmentSource("")
    if source is env:
        spec = without_recording(EnvSpec.from_json(source.spec)) if source.spec else source.env_id
    if isinstance(spec, str):
        spec = registered_without_window(spec)
    with warnings.catch_warnings():
        # An older version of an environment is chosen on purpose: datasets belong to one version.
        warnings.filterwarnings("ignore", ".*out of date")
        mode: dict[str, Any] = {} if render_mode is None else {"render_mode": render_mode}
        opened = gymnasium.make(spec, disable_env_checker=True, **mode)
    _delete_model_file(opened)
    if source.obs_keys:
        opened = ConcatenatedKeys(opened, source.obs_keys)
    if source.action_low is not None or source.action_high is not None:
        opened = BoundedActions(opened, source.action_low, source.action_high)
    return opened


def _delete_model_file(env: Any) -> None:
    """Delete the file from which MuJoCo read a maze: gymnasium-robotics leaves it in the system's temporary directory."""
    file = getattr(env.unwrapped, "tmp_xml_file_path", None)
    # Not `ant_maze.xml`: mazes of version 3 share it, and another process may be about to read it.
    if isinstance(file, str) and fnmatch(file, "*/ant_maze?*.xml"):
        with contextlib.suppress(OSError):
            os.unlink(file)


@functools.cache
def import_triton_first() -> None:
    """Imports Triton, where it is installed, before Mesa is loaded, which renders on a CPU.

    Triton and Mesa's drivers each contain an LLVM, and the symbols of Mesa's are global. Torch imports Triton where it counts
    FLOP or compiles; after Mesa, that import ends the process with a segmentation fault.
    """
    with contextlib.suppress(ImportError):
        importlib.import_module("triton")


@functools.cache
def mujoco_warnings_logged() -> None:
    """Sends MuJoCo's warnings to the log; by default it prints them and writes MUJOCO_LOG.TXT."""
    try:
        mujoco: Any = importlib.import_module("mujoco")
    except ImportError:
        return  # an environment that needs it says so itself

    def log_warning(message: str) -> None:
        # The model files that come with gymnasium use an attribute that MuJoCo 4 deprecates, once per environment.
        level = logging.DEBUG if "deprecated" in message else logging.WARNING
        _log.log(level, "MuJoCo: %s", message)

    mujoco.set_mju_user_warning(log_warning)
