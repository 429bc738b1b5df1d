"""The profile: every kernel counted per update, and what lies between them. No time is asserted."""

import json

import pytest
import torch
from hypothesis import given, strategies as st

from seqeval_rl.benchmarks.cli import main
from seqeval_rl.benchmarks.speed import profiling
from seqeval_rl.benchmarks.speed.contenders import Problem
from seqeval_rl.benchmarks.speed.profiling import covered, profile, short
from seqeval_rl.interface.registry import find_algorithm

SMALL = Problem(obs_shape=(5,), act_dim=2, batch_size=4, transitions=100)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10))))
def test_overlaps_are_counted_once(starts_and_lengths):
    spans = [(start, start + length) for start, length in starts_and_lengths]
    assert covered(spans) == len({at for start, end in spans for at in range(start, end)})


def test_operations_of_an_update_are_listed_and_saved(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(profiling, "SECONDS", 0.01)
    target = tmp_path / "profile.json"
    command = ["bench", "--profile", "--device", "cpu", "--threads", "1", "--runs", "1,2", "--algorithms", "bc"]
    assert main([*command, "--json", str(target)]) == 0
    shown, report = capsys.readouterr().out, json.loads(target.read_text())
    assert profiling.as_table(report) in shown
    assert [(row["algorithm"], row["runs"]) for row in report["rows"]] == [("bc", 1), ("bc", 2)]
    for row in report["rows"]:
        counts = {each["name"]: each["count"] for each in row["by_kernel"]}
        # Three layers forward; backward each weight's gradient and each input's but the first; on a CPU run by run.
        products = counts["aten::baddbmm"], counts["aten::bmm"]
        assert products == (3 * row["runs"], 5 * row["runs"])
        assert counts["aten::_fused_adam_"] == 1
        assert sum(counts.values()) == pytest.approx(row["kernels"])
        assert 0 < row["busy"] <= row["span"]
        assert row["gaps"] == pytest.approx(row["span"] - row["busy"])
        shares = [each["share"] for each in row["by_kernel"]]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(row["busy"] / row["span"])  # one thread: nothing overlaps
    assert "aten::baddbmm" in shown
    assert "gaps" in shown
    assert "others" in shown


def test_a_rhythm_is_averaged_over_whole_periods(monkeypatch):
    monkeypatch.setattr(profiling, "SECONDS", 0.0)
    row = profile([find_algorithm("td3_bc")], [1], torch.device("cpu"), 1, SMALL)["rows"][0]
    counts = {each["name"]: each["count"] for each in row["by_kernel"]}
    assert row["updates"] == 2
    assert counts["aten::_fused_adam_"] == 1.5  # the critics' in every update, the actor's in every second


@pytest.mark.parametrize(
    ("name", "shorter"),
    [
        ("aten::bmm", "aten::bmm"),
        ("triton_poi_fused_relu_0", "triton_poi_fused_relu_0"),
        (
            "void at::native::vectorized_elementwise_kernel<4, at::native::(anonymous namespace)::launch_clamp_scalar("
            "at::TensorIteratorBase&, c10::Scalar, c10::Scalar)>",
            "vectorized_elementwise_kernel launch_clamp_scalar",
        ),
        (
            "void cutlass::Kernel2<cutlass_80_simt_sgemm_64x64>(cutlass_80_simt_sgemm_64x64::Params)",
            "cutlass::Kernel2 cutlass_80_simt_sgemm_64x64",
        ),
    ],
)
def test_a_kernels_name_is_short_in_the_table(name, shorter):
    assert short(name) == shorter


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda_the_kernels_of_replayed_graphs_are_seen(monkeypatch):
    monkeypatch.setattr(profiling, "SECONDS", 0.0)
    report = profile([find_algorithm("td3_bc")], [2], torch.device("cuda"), 1, SMALL)
    [row] = report["rows"]
    assert row["kernels"] > 20
    assert 0 < row["busy"] <= row["span"]
    assert report["gpu"] in profiling.as_table(report)
