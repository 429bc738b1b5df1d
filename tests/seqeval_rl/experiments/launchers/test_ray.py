"""A sweep on a Ray cluster of several nodes on this machine, one of which is killed."""

import importlib.util
import threading
import time

import pytest
from sweeps import left, same, sweep_of

from seqeval_rl.errors import UsageError
from seqeval_rl.experiments.launchers import LaunchOptions
from seqeval_rl.experiments.launchers.ray import RayLauncher, gpu_share
from seqeval_rl.experiments.scheduler import run_sweep

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed (extra ray)")


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    """A head without cores, and two nodes with one each."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made.killable = [made.add_node(num_cpus=1) for _ in range(2)]
    yield made
    made.shutdown()


@needs_ray
@pytest.mark.filterwarnings("ignore")
def test_24_runs_are_done_though_a_node_is_killed(cluster, tmp_path, capsys):
    sweep = sweep_of(tmp_path, seeds=6)
    run_sweep(sweep, tmp_path / "whole", "cpu", "gymnasium", progress=False)
    out = tmp_path / "out"

    def kill():
        until = time.monotonic() + 120
        while len(list(out.glob("*/*/*/metrics.jsonl"))) < 4 and time.monotonic() < until:
            time.sleep(0.05)
        cluster.remove_node(cluster.killable[0], allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    options = LaunchOptions(address=cluster.address)
    ends = run_sweep(sweep, out, "cpu", "gymnasium", launcher="ray", options=options)
    killer.join()
    assert [end.status for end in ends] == ["finished"] * 24
    assert same(tmp_path / "whole", out)
    shown = capsys.readouterr().err
    assert "its worker or node was lost" in shown
    assert "resumed on another, attempt 2" in shown
    assert not list(out.glob(".*.shared"))
    assert left(sweep, out) == 0
    assert run_sweep(sweep, out, "cpu", "gymnasium", progress=False, launcher="ray", options=options) == []


@needs_ray
@pytest.mark.filterwarnings("ignore")
def test_no_cluster_at_that_address_is_said_in_one_line(tmp_path):
    options = LaunchOptions(address="127.0.0.1:1")
    with pytest.raises(
        UsageError, match=r"--address 127.0.0.1:1: no Ray cluster answers there \([^\n]*ray start --head"
    ):
        run_sweep(sweep_of(tmp_path, seeds=1), tmp_path / "out", "cpu", launcher="ray", options=options)


def test_ray_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr("seqeval_rl.experiments.launchers.launcher.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"Ray is not installed. Install it: pip install 'seqeval-rl\[ray\]'"):
        RayLauncher(LaunchOptions())
    with pytest.raises(UsageError, match=r"--time 1: expected none with --launcher ray"):
        RayLauncher(LaunchOptions(time="1"))


@needs_ray
def test_ray_chooses_the_devices(tmp_path):
    with pytest.raises(UsageError, match=r"--device cuda:1: expected auto, cpu or cuda with --launcher ray"):
        run_sweep(sweep_of(tmp_path, seeds=1), tmp_path / "out", "cuda:1", launcher="ray")


@pytest.mark.parametrize(
    ("size", "share"), [(0, 0.1), (5, 0.1), (20, 0.2), (33.3, 0.34), (50, 0.5), (51, 1.0), (300, 1.0)]
)
def test_a_group_reserves_the_part_of_a_gpu_that_it_needs(size, share):
    assert gpu_share(size, 100.0) == pytest.approx(share)
    assert gpu_share(size, 0.0) == 0.0
