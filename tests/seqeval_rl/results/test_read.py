"""What results are called, and the long format."""

import json
import math
from dataclasses import replace

import pytest

from seqeval_rl.results.evaluations import Evaluations
from seqeval_rl.results.export import LONG_COLUMNS, algorithm_names, long_rows
from seqeval_rl.results.read import RunResult, damage, differences, evaluation_share, hashable, read_results
from seqeval_rl.utils.text import show


def result(algorithm="td3_bc", dataset="noise", seed=0, metrics=(), **config):
    manifest = {"dataset": {"name": dataset}, "algorithm": {"name": algorithm, "config": config}, "seed": seed}
    entry = {"phase": "offline", "block": "", "transitions": 1, "gradient_steps": 0, "env_steps": 0}
    return RunResult(
        "run", None, manifest, "finished", None, Evaluations([{**entry, "metrics": {"score": 1.0} | dict(metrics)}])
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.5, "2.5"),
        (1.0, "1"),
        (3e-4, "0.0003"),
        (0.1 + 0.2, "0.30000000000000004"),
        (7, "7"),
        (True, "true"),
        (None, "none"),
        ("word", "word"),
        ([256, 256.0], "[256, 256]"),
    ],
)
def test_values_are_shown_as_they_are_given(value, text):
    assert show(value) == text


def test_equal_values_have_equal_keys():
    assert hashable({"a": [1, {"b": 2.0}], "c": float("nan")}) == hashable({"c": float("nan"), "a": (1.0, {"b": 2})})
    assert hashable({"a": [1, 2]}) != hashable({"a": [2, 1]})
    assert differences([{"a": 1, "b": 2}, {"a": 1.0, "b": 3}, {"a": 1, "c": None}]) == ["b"]


def test_variants_have_names_of_their_own_and_nothing_else_changes_its_name():
    runs = [result(alpha=2.5, rate=1), result(seed=1, alpha=2.5, rate=1), result("bc", rate=2)]
    assert algorithm_names(runs) == ["td3_bc", "td3_bc", "bc"]
    # Settings that differ between datasets only need no telling apart.
    assert algorithm_names([*runs, result(dataset="other", alpha=9, rate=1)]) == ["td3_bc", "td3_bc", "bc", "td3_bc"]
    several = [*runs, result(alpha=1.0, rate=1)]
    assert algorithm_names(several) == ["td3_bc (alpha=2.5)", "td3_bc (alpha=2.5)", "bc", "td3_bc (alpha=1)"]
    assert [row[2] for row in long_rows(iter(several))] == algorithm_names(several)
    rows = [dict(zip(LONG_COLUMNS, row, strict=True)) for row in long_rows(several)]
    assert [row["settings"] for row in rows] == ['{"alpha": 2.5}', '{"alpha": 2.5}', "{}", '{"alpha": 1.0}']
    assert [(row["static"], row["uses_future_data"]) for row in rows] == [(False, False)] * 4


def test_the_share_of_evaluation_is_that_of_all_timed_evaluations():
    untimed = result()
    assert evaluation_share([untimed]) is None
    one = result(metrics={"seconds": 8.0, "evaluation_seconds": 1.0})
    assert evaluation_share([one, untimed]) == pytest.approx(1 / 8)
    other = result(metrics={"seconds": 2.0, "evaluation_seconds": 1.5})
    assert evaluation_share([one, other]) == pytest.approx(2.5 / 10)


def evaluation(transitions, score):
    """A line of `metrics.jsonl`."""
    counters = {"transitions": transitions, "gradient_steps": 0, "env_steps": 0}
    return {"phase": "offline", "block": "noise", **counters, "metrics": {"score": score}}


def written(directory, seed=0, scores=(1.0, 2.0, 3.0)):
    """A run's files as a recorder leaves them."""
    directory.mkdir(parents=True)
    names = {"dataset": {"name": "noise", "transitions": 300}, "algorithm": {"name": "bc", "config": {}}}
    manifest = {**names, "seed": seed, "evaluations_expected": 3}
    (directory / "manifest.json").write_text(json.dumps(manifest))
    lines = [json.dumps(evaluation(100 * i, s)) + "\n" for i, s in enumerate(scores)]
    (directory / "metrics.jsonl").write_text("".join(lines))
    (directory / "events.jsonl").write_text('{"event": "attempt"}\n')


@pytest.mark.parametrize(
    "line", ["{half a li", "[]", "7", '{"transitions": 100}', '{"transitions": "x", "metrics": {}}', "\xff"]
)
def test_a_damaged_line_is_named_and_costs_its_run_that_line_alone(tmp_path, caplog, line):
    written(tmp_path / "a")
    path = tmp_path / "a" / "metrics.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], line, lines[2]]) + "\n", encoding="latin-1")
    results = read_results(tmp_path)
    assert results[0].status == "finished"
    assert results[0].curve()[0].tolist() == [0, 200]
    whole, parts = damage(results)
    assert (whole, len(parts)) == ([], 1)
    assert f"{path}, line 2: damaged" in parts[0]
    assert parts[0] in caplog.text


def test_a_damaged_run_is_named_and_costs_no_other(tmp_path, caplog):
    for name in ("a", "b"):
        written(tmp_path / name, seed=ord(name))
    (tmp_path / "a" / "manifest.json").write_text("{")
    results = read_results(tmp_path)
    assert [run.run for run in results] == ["b"]
    whole, parts = damage(results)
    assert (len(whole), parts) == (1, [])
    assert f"{tmp_path / 'a'}: not a readable run (manifest.json is damaged: not JSON" in caplog.text


def test_a_damaged_event_hides_no_failure(tmp_path):
    written(tmp_path / "a", scores=[1.0])
    with (tmp_path / "a" / "events.jsonl").open("a") as file:
        file.write('nonsense\n{"event": "failed", "message": "exploded"}\n{"event": "en')
    (run,) = read_results(tmp_path)
    assert (run.status, run.failure, len(run.damaged)) == ("failed", "exploded", 1)


def test_a_number_that_is_not_finite_was_recorded_and_a_missing_one_was_not():
    run = result()
    lines = [dict(entry) for entry in run.evaluations] * 3
    lines = [
        line | {"metrics": metrics}
        for line, metrics in zip(lines, [{"score": math.nan}, {"score": 2.0}, {}], strict=True)
    ]
    run = replace(run, evaluations=Evaluations(lines))
    transitions, values = run.curve("score")
    assert len(transitions) == 2
    assert math.isnan(values[0])
    assert math.isnan(run.evaluations[0]["metrics"]["score"])
    assert run.evaluations[2]["metrics"] == {}
    assert [row[9] for row in long_rows([run])] == ["score", "score"]
