import pytest
from synthetic import npz


@pytest.fixture
def suite(tmp_path):
    """A suite of one's own on a log of one's own."""
    npz(tmp_path / "log.npz")
    path = tmp_path / "mine.toml"
    path.write_text(f"""
description = "made"
algorithms = ["bc", "td3_bc"]
seeds = [0, 1]
streams = [{{ name = "noise", blocks = ["{tmp_path}/log.npz"] }}]
protocol = {{ initial = 100, batch_size = 16, evaluate_every = 50, episodes = 1 }}
mini = {{ seeds = [0] }}
""")
    return path
