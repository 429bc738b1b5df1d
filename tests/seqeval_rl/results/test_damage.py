"""Damaged files of runs are noticed: flipped bits, files that were cut, parts of a run, fields of another form."""

import json
import random
import shutil

import pytest
import torch

from seqeval_rl.errors import MismatchError, RunError
from seqeval_rl.results import checkpoint
from seqeval_rl.results.lines import append_line, drop_damaged_end, read_lines
from seqeval_rl.results.manifest import manifest_text, read_manifest
from seqeval_rl.results.read import check_evaluation, read_results, scan_results
from seqeval_rl.results.write import RunRecorder

MANIFEST = {
    "suite": "x",
    "dataset": {"name": "noise", "transitions": 300, "blocks": [{"name": "noise", "sha256": "0" * 64}]},
    "task": {"name": "hopper", "env_id": "Hopper-v5", "reference_min": -20.272305, "reference_max": 3234.3},
    "algorithm": {"name": "bc", "config": {"learning_rate": 1e-3}},
    "protocol": {"initial": 100, "online": 0},
    "seed": 0,
    "evaluations_expected": 3,
    "device": "cpu",
}


def evaluation(index):
    counters = {"transitions": 100 * (index + 1), "gradient_steps": 100 * index, "env_steps": 0}
    return {"evaluation": index, "phase": "offline", "block": "noise", **counters, "metrics": {"score": 0.1 + index}}


def state(index):
    return {"algorithm": {"weights": torch.full((4, 5), float(index)), "count": index}}


def record(directory, evaluations=3, end=True):
    """A run's files, by the functions that write them."""
    recorder = RunRecorder(directory, MANIFEST)
    recorder.open()
    for index in range(evaluations):
        append_line(directory / "metrics.jsonl", evaluation(index))
        checkpoint.save(recorder.checkpoints, index, state(index))
    if end:
        recorder.event("finished")
    recorder.close()
    return recorder


def flipped(data, bit):
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("name", ["metrics.jsonl", "events.jsonl"])
def test_every_flipped_bit_of_a_line_is_noticed(name, tmp_path):
    record(tmp_path)
    path = tmp_path / name
    data, before = path.read_bytes(), read_lines(path)
    assert not before.damaged
    for bit in range(8 * len(data)):
        path.write_bytes(flipped(data, bit))
        after = read_lines(path)
        assert all(entry in before.entries for entry in after.sound())
        assert len(after.sound()) < len(before.entries)


def test_every_flipped_bit_of_a_manifest_is_noticed(tmp_path):
    path = tmp_path / "manifest.json"
    data = manifest_text(MANIFEST).encode()
    for bit in range(8 * len(data)):
        path.write_bytes(flipped(data, bit))
        with pytest.raises(ValueError, match=r"manifest.json is damaged: "):
            read_manifest(path)


def test_flipped_bits_and_cuts_of_a_checkpoint_are_noticed(tmp_path):
    checkpoint.save(tmp_path, 3, state(3))
    path = tmp_path / "evaluation-000003.pt"
    data, rng = path.read_bytes(), random.Random(0)
    assert torch.load(path, weights_only=True)["algorithm"]["count"] == 3  # torch reads it without our code
    for bit in rng.sample(range(8 * len(data)), 300):
        path.write_bytes(flipped(data, bit))
        assert checkpoint.load(tmp_path, 3) is None
    for size in rng.sample(range(len(data)), 100):
        path.write_bytes(data[:size])
        assert (
            checkpoint.load(tmp_path, 3) is None or size == len(data) - 49
        )  # without the checksum: as earlier versions


def test_a_damaged_last_line_is_computed_again_and_an_earlier_one_is_left_out(tmp_path):
    recorder = record(tmp_path)
    path = tmp_path / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(flipped(b"".join(lines), 8 * (len(lines[0]) + 40)))
    (run,) = read_results(tmp_path)
    assert (run.status, len(run.evaluations), len(run.damaged)) == ("finished", 2, 1)
    path.write_bytes(flipped(b"".join(lines), 8 * (len(lines[0]) + len(lines[1]) + 40)))
    assert read_results(tmp_path)[0].status == "unfinished"
    recorder.open()
    assert recorder.resume()[0] == 2
    recorder.close()
    assert path.read_bytes() == b"".join(lines[:2])
    assert "were damaged and are dropped" in (tmp_path / "events.jsonl").read_text()


def test_a_line_of_another_form_at_the_end_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    append_line(path, evaluation(0))
    append_line(path, {"evaluation": 1})
    assert drop_damaged_end(path, check_evaluation) > 0
    assert len(read_lines(path).entries) == 1


def test_a_run_is_finished_when_its_last_checkpoint_is_there(tmp_path):
    recorder = record(tmp_path, end=False)
    assert read_results(tmp_path)[0].status == "finished"
    (tmp_path / "checkpoint" / "evaluation-000002.pt").unlink()
    assert read_results(tmp_path)[0].status == "unfinished"
    recorder.open()
    done, resumed = recorder.resume()
    recorder.close()
    assert (done, resumed["algorithm"]["count"]) == (2, 1)
    shutil.rmtree(tmp_path / "checkpoint")  # kept or published without checkpoints
    (tmp_path / "metrics.jsonl").unlink()
    for index in range(3):
        append_line(tmp_path / "metrics.jsonl", evaluation(index))
    assert read_results(tmp_path)[0].status == "finished"


def test_checkpoints_of_evaluations_that_were_never_recorded_are_not_used(tmp_path):
    recorder = record(tmp_path, evaluations=2, end=False)
    checkpoint.save(recorder.checkpoints, 7, state(7))
    recorder.open()
    assert recorder.resume()[1]["algorithm"]["count"] == 1
    recorder.close()
    assert checkpoint.available(recorder.checkpoints) == [1]


@pytest.mark.parametrize("left", ["metrics.jsonl", "checkpoint"])
def test_a_folder_without_its_manifest_is_refused(left, tmp_path):
    recorder = record(tmp_path)
    (tmp_path / "manifest.json").unlink()
    for name in ("metrics.jsonl", "checkpoint"):
        if name != left:
            shutil.rmtree(tmp_path / name) if name == "checkpoint" else (tmp_path / name).unlink()
    with pytest.raises(MismatchError, match=rf"holds {left} without manifest.json"):
        recorder.check()
    recorder.open(overwrite=True)
    recorder.close()
    assert recorder.check()
    assert recorder.resumable() == []


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": None}, {"dataset": {}}, {"dataset": {"name": "x", "transitions": "300"}}, {"protocol": None},
        {"dataset": {"name": "x", "transitions": 1 << 80}}, {"algorithm": []}, {"seed": "0"}, {"evaluations_expected": 2.5},
        {"dataset": {"name": "x", "transitions": 3, "blocks": [7]}}, {"protocol": {"online": "many"}}, {"task": "hopper"},
    ],
)  # fmt: skip
def test_a_manifest_of_another_form_costs_no_other_run(change, tmp_path):
    record(tmp_path / "a")
    record(tmp_path / "b")
    (tmp_path / "a" / "manifest.json").write_text(json.dumps(MANIFEST | change))
    results = scan_results(tmp_path)
    assert [run.run for run in results] == ["b"]
    assert len(results.damaged) == 1
    assert "manifest.json is damaged: expected" in results.damaged[0]


@pytest.mark.parametrize(
    "change",
    [
        {"transitions": "1"},
        {"metrics": {"score": "high"}},
        {"metrics": None},
        {"gradient_steps": 1 << 70},
        {"phase": 3},
    ],
)
def test_a_line_of_another_form_costs_its_run_that_line(change, tmp_path):
    record(tmp_path)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    lines[1] = json.dumps(evaluation(1) | change)
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    (run,) = read_results(tmp_path)
    assert len(run.evaluations) == 2
    assert "line 2: damaged, expected" in run.damaged[0]


class Unknown:
    """What torch.load refuses to read with weights_only=True."""


def test_a_state_that_could_not_be_loaded_is_refused_when_it_is_saved(tmp_path):
    with pytest.raises(RunError, match=r"state at algorithm/extra\[1\]: expected tensors"):
        checkpoint.save(tmp_path, 0, {"algorithm": {"extra": [1, Unknown()]}})
    assert checkpoint.available(tmp_path) == []
