"""What every test shares: no test reads or writes the user's caches, and workers do not fight over cores."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch reads it when it is imported

import pytest
import torch
from hypothesis import settings

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # kernels run in Triton's interpreter, which it decides where it is imported
# No test may depend on how busy the machine is.
settings.register_profile("seqeval", deadline=None)
settings.load_profile("seqeval")


@pytest.fixture(scope="session")
def logs(tmp_path_factory):
    """One cache of bundled logs for a test process."""
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(autouse=True)
def private_caches(monkeypatch, logs):
    monkeypatch.setenv("SEQEVAL_CACHE", str(logs / "cache"))
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(logs / "minari"))


@pytest.fixture
def empty_caches(monkeypatch, tmp_path):
    """A test's own caches, in its `tmp_path`."""
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path / "d4rl"))


@pytest.fixture
def registry():
    """Environments may be registered; afterwards they are gone."""
    import gymnasium

    before = dict(gymnasium.registry)
    yield gymnasium.registry
    gymnasium.registry.clear()
    gymnasium.registry.update(before)


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")
