"""The benchmark of large datasets: a row for each order, every measurement kept, nothing left. No time is asserted."""

import json
from pathlib import Path

import pytest
import torch

from seqeval_rl.benchmarks.cli import main
from seqeval_rl.benchmarks.speed import large
from seqeval_rl.interface.registry import find_algorithm


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(large.time, "sleep", lambda _: None)
    return tmp_path / "cache"


def test_there_is_a_row_for_each_order_and_the_dataset_is_deleted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "SMALL", 3_000)
    report = large.bench_large(find_algorithm("bc"), 6_000, torch.device("cpu"), 1, 2, ("interleaved",), updates=4)
    (row,) = json.loads(json.dumps(report))["rows"]
    assert row["order"] == "interleaved"
    assert (row["updates_per_turn"], len(row["updates_per_second"]["large"])) == (4, 2)
    assert len(row["seconds"]) == len(row["memory"]) == 2
    assert (report["transitions"], report["small"], report["bytes"]) == (6_000, 3_000, 6_000 * 4 * 42)
    header = next(line for line in large.as_table(report).splitlines() if line.startswith("order"))
    assert "peak memory" in header
    assert [path.name for path in root.iterdir() if not path.name.startswith(".")] == []


def test_the_dataset_is_what_it_is_said_to_be(root: Path) -> None:
    dataset = large.dataset_of(2_500)
    assert (len(dataset), dataset.obs_shape, dataset.act_dim) == (2_500, (17,), 6)
    assert dataset.episode_starts.tolist() == [0, 1_000, 2_000, 2_500]
    halves = large._halves(dataset)
    assert [len(half) for half in halves] == [2_000, 500]
    assert halves[1].episode_starts.tolist() == [0, 500]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--transitions", "1999"], "expected whole numbers from 2000, found 1999"),
        (["--transitions", "3000", "--runs", "2"], "bench --runs: expected no such option with --transitions"),
        (["--transitions", "3000", "--mini"], "bench --mini: expected no such option with --transitions"),
        (["--transitions", "3000", "--algorithms", "bc,iql"], "expected one name with --transitions"),
        (["--transitions", "3000", "--repeats", "0"], "bench --repeats: expected whole numbers from 1, found 0"),
        (["--transitions", str(10**16)], "bytes are needed"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large, "SMALL", 2_000)
    assert main(["bench", *options]) in (2, 74)
    message = capsys.readouterr().err.strip()
    assert words in message
    assert "\n" not in message
