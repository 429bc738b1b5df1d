"""Marks of tests that need dm_control, or images of it. With SEQEVAL_NEEDS_VISION=1, as in CI, they are not skipped."""

import importlib.util
import os

import pytest

from seqeval_rl.environments.rendering import choose_offscreen

HAS_DM_CONTROL = importlib.util.find_spec("dm_control") is not None or "SEQEVAL_NEEDS_VISION" in os.environ


def _renders():
    choose_offscreen()
    return HAS_DM_CONTROL and ("MUJOCO_GL" in os.environ or "SEQEVAL_NEEDS_VISION" in os.environ)


needs_dm_control = pytest.mark.skipif(not HAS_DM_CONTROL, reason="dm_control is not installed (extra `vision`)")
renders = pytest.mark.skipif(not _renders(), reason="needs dm_control (extra `vision`), and EGL or OSMesa")
