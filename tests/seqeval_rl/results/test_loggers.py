"""Loggers of third parties: given evaluations as they are made, and unable to stop a run."""

import csv
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from synthetic import assert_one_line, npz

from seqeval_rl.benchmarks.cli import main
from seqeval_rl.errors import UsageError
from seqeval_rl.results.loggers import logger
from seqeval_rl.results.loggers.logger import OptionalLoggers, find_logger
from seqeval_rl.results.read import read_results

EXAMPLE = f"{Path(__file__).parents[3] / 'examples' / 'csv_logger.py'}:CsvLogger"
FAILING = """
class Failing:
    def __init__(self):
        self.calls = 0

    def log(self, run, point, metrics):
        self.calls += 1
        assert self.calls == 1, "called again"
        raise OSError("disk is full\\nsecond line")

    def close(self):
        raise AssertionError("closed")


class Incomplete:
    def log(self, run, point, metrics):
        pass
"""


@pytest.fixture
def suite(tmp_path):
    npz(tmp_path / "log.npz")
    path = tmp_path / "mine.toml"
    path.write_text(f"""
description = "one run"
algorithms = ["bc"]
seeds = [0]
loggers = ["{EXAMPLE}"]
streams = [{{ name = "noise", blocks = ["{tmp_path}/log.npz"] }}]
protocol = {{ initial = 100, increment = 10, batch_size = 16, evaluate_every = 100, episodes = 1 }}
settings = {{ bc = {{ hidden = [8, 8] }} }}
mini = {{}}
""")
    return path


def test_the_example_writes_every_metric_of_every_evaluation(suite, tmp_path):
    assert main(["run", str(suite), "--out", str(tmp_path / "out")]) == 0
    (run,) = read_results(tmp_path / "out")
    rows = list(csv.DictReader((run.path / "metrics.csv").read_text().splitlines()))
    assert [(int(row["transitions"]), row["metric"], float(row["value"])) for row in rows] == [
        (entry["transitions"], name, value) for entry in run.evaluations for name, value in entry["metrics"].items()
    ]
    assert {row["phase"] for row in rows} == {"offline"}


def test_a_logger_that_fails_is_named_once_and_stops_nothing(suite, tmp_path, capsys):
    (tmp_path / "failing.py").write_text(FAILING)
    reference = f"{tmp_path / 'failing.py'}:Failing"
    assert main(["run", str(suite), "--out", str(tmp_path / "out"), "--logger", f"{EXAMPLE},{reference}"]) == 0
    (run,) = read_results(tmp_path / "out")
    assert (run.status, len(run.evaluations)) == ("finished", 3)
    assert (run.path / "metrics.csv").exists()
    for shown in (capsys.readouterr().err, (tmp_path / "out" / "run.log").read_text()):
        line = 1 + FAILING.splitlines().index(next(text for text in FAILING.splitlines() if "raise OSError" in text))
        place = f"({tmp_path / 'failing.py'}, line {line})"
        assert shown.count(f"OSError: disk is full {place}. It is not called again; metrics.jsonl is complete.") == 1
        assert "second line" not in shown


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("tensorbored", ["unknown logger 'tensorbored' in suite", "jsonl"]),
        ("failing.py:Incomplete", ["expected a method Incomplete.close, found none"]),
        ("failing.py:Other", ["unknown class 'Other'", "Failing"]),
    ],
)
def test_a_logger_that_cannot_be_found_is_an_error_before_any_training(
    suite, tmp_path, reference, words, capsys, monkeypatch
):
    monkeypatch.setattr(logger, "entry_points", lambda group: [EntryPoint("jsonl", "x:Y", group)])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "failing.py").write_text(FAILING)
    assert main(["run", str(suite), "--out", str(tmp_path / "out"), "--logger", reference]) == UsageError.exit_code
    assert_one_line(capsys, words, tmp_path / "out")


def test_entry_points_are_found_by_name(monkeypatch):
    monkeypatch.setattr(logger, "entry_points", lambda group: [EntryPoint("csv", EXAMPLE, group)])
    assert find_logger("csv").__name__ == "CsvLogger"


def test_a_file_with_one_logger_needs_no_class():
    assert find_logger(EXAMPLE.rpartition(":")[0]).__name__ == "CsvLogger"


def test_a_logger_that_cannot_be_built_is_left_out(tmp_path):
    (tmp_path / "broken.py").write_text(
        "class Broken:\n    def __init__(self):\n        raise KeyError('x')\n    log = close = print\n"
    )
    warnings = []
    loggers = OptionalLoggers([f"{tmp_path / 'broken.py'}:Broken"], warnings.append)
    loggers.log(None, None, {})
    loggers.close()
    (text,) = warnings
    assert "broken.py:Broken: KeyError: 'x'" in text
