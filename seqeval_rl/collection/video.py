"""Videos of a policy: whole episodes, one after the other, as MP4 or GIF."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.collection.evaluate import PURPOSE
from seqeval_rl.collection.policy import Policy
from seqeval_rl.environments.rendering import opened_with_pictures, picture
from seqeval_rl.errors import RunError, SeqevalError, UsageError, writing
from seqeval_rl.training.evaluation import episode_seed
from seqeval_rl.utils.files import atomic_path
from seqeval_rl.utils.text import one_line

_FASTEST = 50.0  # pictures per second; environments with more are shown with every second, third, … picture
_USUAL = 30.0  # of environments that do not say theirs
ENDINGS = (".mp4", ".gif")
Frames = Iterator[NDArray[np.uint8]]


class Shown(NamedTuple):
    """An episode of a video."""

    seed: int  # that the environment was reset with
    value: float  # its return
    score: float  # NaN where the task has no reference returns
    length: int  # environment steps


def record_video(policy: Policy, path: Path, episodes: int = 3) -> list[Shown]:
    """Write a video of a policy's first episodes, in real time; they are also the first of `evaluate_run`.

    Args:
        policy: acts greedily.
        path: ends in `.mp4` (needs the extra `video`) or `.gif`.
        episodes: at least 1.

    Returns:
        The episodes that it shows.

    Raises:
        UsageError: another ending, `episodes` below 1, or the extra is not installed.
        EnvironmentMissingError: the environment is not installed, or nothing renders it.
        RunError: the environment failed in an episode.
        FileError: the file cannot be written.
    """
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise UsageError(f"--video {path}: expected a file that ends in {' or '.join(ENDINGS)}. Rename it.")
    if episodes < 1:
        raise UsageError(f"policy --episodes {episodes}: expected at least 1. Correct it.")
    ffmpeg = _ffmpeg(path) if ending == ".mp4" else None
    shown: list[Shown] = []
    with opened_with_pictures(policy.task.environment, policy.max_episode_steps) as env:
        fps = float(env.metadata.get("render_fps") or _USUAL)
        stride = math.ceil(fps / _FASTEST)

        def frames() -> Frames:
            for episode in range(episodes):
                seed = episode_seed(policy.seed, 0, episode, PURPOSE)
                shown.append((yield from _episode(policy, env, seed, stride)))

        made = frames()
        first = next(made)  # before a file is begun: what cannot be rendered is said here
        with writing(path, "Choose another file."), atomic_path(path) as temporary:
            if ffmpeg is not None:
                _write_mp4(ffmpeg, temporary, first, made, fps / stride)
            else:
                _write_gif(temporary, first, made, fps / stride)
    return shown


def _episode(policy: Policy, env: Any, seed: int, stride: int) -> Any:
    """Every `stride`-th picture of an episode and its last; returns what it was."""
    total, length, over = 0.0, 0, False
    with _named(env):
        observation, _ = env.reset(seed=seed)
        policy.reset()
    yield picture(env)
    while not over:
        with _named(env):
            observation, reward, terminated, truncated, _ = env.step(policy(observation))
            policy.receive(reward)
        total, length, over = total + float(reward), length + 1, bool(terminated or truncated)
        if over or length % stride == 0:
            yield picture(env)
    return Shown(seed, total, float(policy.task.score(total, terminated)), length)


@contextmanager
def _named(env: Any) -> Iterator[None]:
    """What the environment raises becomes a `RunError`."""
    try:
        yield
    except SeqevalError:
        raise
    except Exception as error:  # the environment's own code may raise anything
        raise RunError(f"environment {env.spec.id!r}: {one_line(error)}. No video was written.") from error


def _ffmpeg(path: Path) -> Any:
    try:
        import imageio_ffmpeg
    except ImportError:
        raise UsageError(
            f"--video {path}: expected the package imageio-ffmpeg for MP4, which is not installed. "
            "pip install 'seqeval-rl[video]', or name a .gif file."
        ) from None
    return imageio_ffmpeg


def _write_mp4(ffmpeg: Any, path: Path, first: NDArray[np.uint8], rest: Frames, fps: float) -> None:
    height, width = first.shape[:2]
    # Sides must be even for players that expect yuv420p.
    video = ffmpeg.write_frames(str(path), (width, height), fps=fps, macro_block_size=2, ffmpeg_log_level="error")
    video.send(None)
    try:
        for frame in itertools.chain((first,), rest):
            video.send(np.ascontiguousarray(frame))
    finally:
        video.close()


def _write_gif(path: Path, first: NDArray[np.uint8], rest: Frames, fps: float) -> None:
    from PIL import Image

    def images() -> Iterator[Any]:
        for number, frame in enumerate(itertools.chain((first,), rest)):
            # At once, since all of them are kept until the file is written: a byte for each pixel.
            image = Image.fromarray(frame).quantize(dither=Image.Dither.NONE)
            # A picture lasts whole hundredths of a second: rounded so that the whole is in real time.
            image.info["duration"] = 10 * (round(100 * (number + 1) / fps) - round(100 * number / fps))
            yield image

    made = images()
    next(made).save(path, save_all=True, append_images=made, loop=0)
