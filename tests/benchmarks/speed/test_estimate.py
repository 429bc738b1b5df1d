"""Estimates: counts are the schedule's, sizes are the datasets', and no dataset is built. No time is asserted."""

import pytest
import torch

from seqeval_rl.benchmarks.speed.estimate import Seconds, estimate, makespan, seconds_of
from seqeval_rl.benchmarks.speed.group_cost import Extent, GroupCost, extent
from seqeval_rl.data.load import load_dataset
from seqeval_rl.data.stream import StreamSpec
from seqeval_rl.environments.tasks import TASKS
from seqeval_rl.errors import DataError, UsageError
from seqeval_rl.experiments.grouping import UpdateCost
from seqeval_rl.experiments.planner import plan
from seqeval_rl.experiments.sweep import Sweep
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.protocol import Protocol, Schedule
from seqeval_rl.utils.processes import available_cores

CPU = torch.device("cpu")


def streams(**sources):
    return tuple(StreamSpec(name, tuple(source.split("+"))) for name, source in sources.items())


def test_counts_are_those_of_the_schedule_and_no_dataset_is_built(tmp_path, monkeypatch):
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "cache"))
    protocol = Protocol(initial=100, increment=7, updates_per_increment=3, batch_size=8, evaluate_every=250, episodes=2)
    sweep = Sweep(
        "made",
        streams(one="bundled/hopper/medium:1000", two="bundled/walker2d/random:1200+bundled/walker2d/expert:1300"),
        (find_algorithm("bc"), find_algorithm("td3_bc")),
        protocol,
        (0, 1, 2),
        {"bc": {"hidden": (8,)}, "td3_bc": {"hidden": (8,)}},
    )
    monkeypatch.setattr("seqeval_rl.benchmarks.speed.group_cost.SECONDS", 0.01)
    found = estimate(sweep, CPU)
    assert [(f.stream, f.algorithm) for f in found.forecasts] == [
        ("one", "bc"),
        ("one", "td3_bc"),
        ("two", "bc"),
        ("two", "td3_bc"),
    ]
    for forecast in found.forecasts:
        total = {"one": 1000, "two": 2500}[forecast.stream]
        schedule = Schedule(protocol, total)
        assert forecast.updates == schedule.gradient_steps == -(-(total - 100) // 7) * 3
        assert forecast.evaluations == len(schedule.points())
        # Untrained, at each multiple of 250 (the first of them at the increment that crosses it), and at the end.
        assert forecast.evaluations == {"one": 1 + 4, "two": 1 + 10}[forecast.stream]
        assert (forecast.runs, forecast.runs_per_job) == (3, 1)
        assert (forecast.episodes, forecast.time_limit) == (2, 1000)
        assert min(forecast.cost.seconds_per_update, forecast.cost.seconds_per_index) > 0
    assert found.seconds > 0
    assert found.groups == (1,) * 12
    assert 1 <= found.workers <= available_cores()
    # The same algorithm on the same shapes is measured once, and another environment by itself.
    assert len({id(f.cost) for f in found.forecasts}) == 4
    assert not (tmp_path / "cache").exists()


def test_a_bundled_dataset_has_the_size_of_its_name_and_the_shapes_of_the_dataset_itself():
    source = "bundled/hopper/random:300"
    found = extent(StreamSpec("x", (source,)))
    dataset = load_dataset(source, progress=False)
    assert found == Extent(len(dataset), dataset.task, dataset.obs_shape, dataset.act_dim, 1000)
    assert extent(StreamSpec("x", ("bundled/hopper/medium",))).transitions == 1_000_000


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ("bundled/hopper/medum", UsageError, ["medum", "bundled/hopper/medium"]),
        ("bundled/hopper/medium:1000001", UsageError, ["1000001", "1000000"]),
        ("bundled/hopper/medium:100+bundled/walker2d/medium:100", DataError, ["'x'", "hopper", "walker2d"]),
    ],
)
def test_wrong_sources_are_named(source, error, words):
    with pytest.raises(error) as caught:
        extent(StreamSpec("x", tuple(source.split("+"))))
    for word in words:
        assert word in str(caught.value)


def test_a_stream_too_short_for_the_protocol_is_refused_before_anything_is_measured(monkeypatch):
    monkeypatch.setattr("seqeval_rl.benchmarks.speed.estimate.measure", lambda *_: pytest.fail("measured"))
    sweep = Sweep("made", streams(a="bundled/hopper/medium:100"), (find_algorithm("bc"),), Protocol(), (0,))
    with pytest.raises(DataError, match="initial = 5000"):
        estimate(sweep, CPU)


def test_seconds_add_up_and_jobs_go_to_whichever_worker_is_free(monkeypatch):
    costs = {"bc": GroupCost(0.001, 0.5, 0.01), "td3_bc": GroupCost(0.01, 0.5, 0.02)}
    monkeypatch.setattr("seqeval_rl.benchmarks.speed.estimate.measure", lambda entry, *_: costs[entry.name])
    monkeypatch.setattr("seqeval_rl.benchmarks.speed.estimate.available_cores", lambda: 2)
    protocol = Protocol(initial=1000, evaluate_every=1000)
    algorithms = (find_algorithm("bc"), find_algorithm("td3_bc"))
    sweep = Sweep("made", streams(a="bundled/hopper/medium:11_000"), algorithms, protocol, (0, 1, 2))
    found = estimate(sweep, CPU)
    bc = found.forecasts[0]
    assert (bc.updates, bc.evaluations) == (10_000, 11)
    assert bc.seconds.training == pytest.approx(3 * 10)
    assert bc.seconds.evaluation == pytest.approx(3 * 11 * (0.5 + 1000 * 0.01))
    assert bc.hours == pytest.approx(3 * (10 + 115.5) / 3600)
    assert bc.env_steps_per_second == pytest.approx(10 / 0.01)
    one, other = 10 + 115.5, 100 + 11 * 20.5
    # Three long jobs, then three short ones, on two cores: long, long, and the third long one next to the short ones.
    assert found.seconds == pytest.approx(max(2 * other, other + 3 * one))
    assert (found.workers, found.threads) == (2, 1)
    monkeypatch.setattr("seqeval_rl.experiments.grouping.cost_of_update", lambda *_: UpdateCost(0.001, 1000))
    cuda = estimate(sweep, torch.device("cuda"), room=1e9)
    assert cuda.groups == (3, 3)
    assert (cuda.workers, cuda.threads) == (1, 2)
    assert cuda.seconds == pytest.approx(11 * 10.5 + 11 * 20.5)  # during the training, which is shorter
    # Room for one dataset and one run.
    assert estimate(sweep, torch.device("cuda"), room=11_000 * 27 * 4 + 1000).groups == (1,) * 6


def test_groups_are_those_of_the_planner_and_measured_at_their_sizes(tmp_path, monkeypatch):
    """Sweeps of floats share a group, and so do streams of one task, of which the longer one continues alone."""
    measured = []

    def measure(entry, config, extent, protocol, runs, *_):
        measured.append((config, runs))
        return GroupCost(0.001 * (1 + runs), 0.5, 0.01)

    monkeypatch.setattr("seqeval_rl.benchmarks.speed.estimate.measure", measure)
    protocol = Protocol(initial=100, evaluate_every=100, episodes=1, batch_size=8)
    sweep = Sweep(
        "made", streams(a="bundled/hopper/random:600", b="bundled/hopper/random:300"), (find_algorithm("td3_bc"),), protocol,
        (0, 1), {"td3_bc": {"hidden": (8,)}}, {"td3_bc": {"alpha": (1.0, 2.5), "policy_delay": (1, 2)}},
    )  # fmt: skip
    planned = plan(sweep, tmp_path / "out", CPU, "gymnasium", progress=False, room=1e12)
    found = estimate(sweep, CPU, room=1e12)
    assert found.groups == tuple(len(job.runs) for job in planned.jobs) == (8, 8)
    assert [runs for _, runs in measured] == [8, 4, 8, 4]
    for config, runs in measured:
        assert config.alpha.tolist() == [1.0, 1.0, 2.5, 2.5] * (runs // 4)
    longer, shorter = ([f for f in found.forecasts if f.stream == name] for name in "ab")
    assert {f.runs_per_job for f in found.forecasts} == {8}
    # Two of the eight runs, for 200 gradient steps; then two of the four that are left, for 300.
    assert [f.seconds.training for f in shorter] == pytest.approx([200 * 0.009 / 4] * 4)
    assert [f.seconds.training for f in longer] == pytest.approx([200 * 0.009 / 4 + 300 * 0.005 / 2] * 4)
    assert [f.seconds.evaluation for f in shorter] == pytest.approx([3 * 10.5 / 4] * 4)
    assert [f.seconds.evaluation for f in longer] == pytest.approx([3 * 10.5 / 4 + 3 * 10.5 / 2] * 4)


def test_runs_with_an_online_phase_share_a_group_only_where_their_datasets_are_equally_long(monkeypatch):
    monkeypatch.setattr("seqeval_rl.benchmarks.speed.estimate.measure", lambda *_: GroupCost(1, 1, 1))
    sources = streams(a="bundled/hopper/random:600", b="bundled/hopper/medium:600", c="bundled/hopper/random:300")
    protocol = Protocol(initial=100, evaluate_every=100, online=50)
    sweep = Sweep("made", sources, (find_algorithm("bc"),), protocol, (0, 1))
    assert estimate(sweep, CPU, room=1e12).groups == (4, 2)


def test_every_variant_of_a_sweep_is_counted(monkeypatch):
    measured = []
    monkeypatch.setattr(
        "seqeval_rl.benchmarks.speed.estimate.measure",
        lambda entry, config, *_: measured.append(config) or GroupCost(1, 1, 1),
    )
    sweep = Sweep(
        "made", streams(a="bundled/hopper/medium:11_000"), (find_algorithm("td3_bc"),), Protocol(), (0,), {},
        {"td3_bc": {"alpha": (1.0, 2.5), "policy_delay": (1, 2)}},
    )  # fmt: skip
    found = estimate(sweep, CPU)
    assert [f.algorithm for f in found.forecasts] == [
        f"td3_bc,alpha={alpha},policy_delay={delay}" for alpha in (1, 2.5) for delay in (1, 2)
    ]
    assert [config.policy_delay for config in measured] == [1, 2]  # alpha does not make updates dearer


def test_without_a_time_limit_evaluations_are_left_out():
    assert seconds_of(GroupCost(0.1, 1.0, 1.0), 100, 5, 10, 0, None) == Seconds(pytest.approx(10), 0)


@pytest.mark.parametrize(
    ("jobs", "workers", "seconds"), [([], 2, 0), ([5, 3, 3], 2, 6), ([5, 3, 3], 1, 11), ([1, 2], 9, 2)]
)
def test_makespan(jobs, workers, seconds):
    assert makespan(jobs, workers) == seconds


def test_the_task_of_a_bundled_dataset_may_be_replaced():
    assert extent(StreamSpec("x", ("bundled/hopper/medium:50",), TASKS["walker2d"])).task == TASKS["walker2d"]
