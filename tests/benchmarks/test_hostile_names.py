"""Names and messages from files, whatever they hold: nothing controls the terminal or a spreadsheet, and no command hangs."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from seqeval_rl.benchmarks.cli import main
from seqeval_rl.results.manifest import manifest_text

ESCAPE, FORMULA = "\x1b]0;owned\x07\x9b2J\u202e", '=HYPERLINK("http://example.org";"click")'
COMMANDS = (
    ["status", "--all"], *(["table", "--format", kind] for kind in ("text", "csv", "md", "latex")), ["select"], ["cite"],
    ["table", "--measures", "ranking"],
)  # fmt: skip


def result(directory: Path, seed: int, message: str | None = None, **names: str) -> None:
    """A run with any names, which finished, or failed with a message."""
    dataset, algorithm, metric = (names.get(key, key) for key in ("dataset", "algorithm", "metric"))
    blocks = [{"label": dataset, "name": dataset, "start": 0, "stop": 20, "mean_score": 5.0}]
    protocol = {
        "updates_per_increment": 1,
        "initial": 10,
        "increment": 1,
        "evaluate_every": 10,
        "static": False,
        "online": 0,
    }
    manifest = {
        "suite": names.get("suite", "x"), "seed": seed, "evaluations_expected": 2, "protocol": protocol,
        "dataset": {"name": dataset, "transitions": 20, "sha256": "0" * 64, "mean_score": 5.0, "blocks": blocks},
        "task": {"name": "hopper", "env_id": "Hopper-v5", "reference_min": 0.0, "reference_max": 100.0},
        "algorithm": {"name": algorithm, "config": {"x": seed % 2}}, "uses_future_data": False, "precision": "float32",
    }  # fmt: skip
    lines: list[dict[str, Any]] = [
        {
            "evaluation": place, "transitions": 10 * (place + 1), "gradient_steps": place, "env_steps": 0, "phase": "offline",
            "block": dataset, "metrics": {"score": 10.0 * place + seed, "return": 1.0, metric: 0.5},
        }
        for place in range(2)
    ]  # fmt: skip
    directory.mkdir(parents=True)
    (directory / "manifest.json").write_text(manifest_text(manifest), encoding="utf-8")
    (directory / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    if message is not None:
        event = {"event": "failed", "message": message}
        (directory / "events.jsonl").write_text(json.dumps(event) + "\n", encoding="utf-8")


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    for seed in range(4):
        result(
            tmp_path / "out" / f"{seed}", seed, dataset=f"{FORMULA}{ESCAPE}", algorithm=f"{ESCAPE}name", metric=FORMULA
        )
    result(tmp_path / "out" / "failed", 5, f"it raised {ESCAPE}\nRuntimeError", dataset="other", algorithm="bc")
    (tmp_path / "out" / "damaged").mkdir()
    (tmp_path / "out" / "damaged" / "manifest.json").write_text(
        '{"suite": "' + ESCAPE.replace("\x07", "") + '"', encoding="utf-8"
    )
    return tmp_path / "out"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_control_reaches_the_terminal(command: list[str], hostile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command[:1], str(hostile), *command[1:]]) in (0, 2)
    shown = capsys.readouterr()
    for text in (shown.out, shown.err):
        assert not {"\x1b", "\x07", "\x9b", "\u202e", "\b"} & {*text}


def test_an_error_is_one_line_of_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(tmp_path / f"no{ESCAPE}\nsuch")]) != 0
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert len(err.splitlines()) == 1


def test_no_formula_reaches_a_spreadsheet(hostile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", str(hostile), "--format", "csv"]) == 0
    assert main(["export", str(hostile), str(tmp_path / "all.csv")]) == 0
    printed = capsys.readouterr().out.rpartition(f"{tmp_path}")[0]
    for text in (printed, (tmp_path / "all.csv").read_text(encoding="utf-8")):
        cells = [cell for row in csv.reader(text.splitlines()) for cell in row]
        assert any(cell.startswith("'=HYPERLINK") for cell in cells)
        assert not any(cell[:1] in ("=", "+", "@") for cell in cells)


@pytest.mark.parametrize("command", [*COMMANDS, ["report"], ["plot"]], ids=" ".join)
def test_a_name_of_5000_letters_does_not_hang_a_command(command: list[str], tmp_path: Path) -> None:
    for seed in range(2):
        long = {key: f"{key} " + "ab-c" * 1250 for key in ("dataset", "algorithm", "suite")}
        result(tmp_path / "out" / f"{seed}", seed, "failed " + "x" * 5000 if seed else None, **long)
    assert main([*command[:1], str(tmp_path / "out"), *command[1:]]) in (0, 2)


def write_suite(path: Path, **changes: str) -> str:
    lines = {
        "algorithms": '["bc"]', "seeds": "[0]", "streams": '[{ blocks = ["x.npz"] }]',
        "protocol": "{ initial = 100, evaluate_every = 100, batch_size = 16, episodes = 0 }", **changes,
    }  # fmt: skip
    path.write_text("\n".join(f"{key} = {value}" for key, value in lines.items()), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"x": "[" * 3000 + "]" * 3000},
        {"algorithms": '["b\\u0000c.py:X"]'},
        {"streams": '[{ blocks = ["vd4rl:a\\u0000/b"] }]'},
        {"streams": '[{ name = "a\\u0000b", blocks = ["x.npz"] }]'},
        {"algorithms": '[":X"]'},
        *({"protocol": f"{{ {name} = {value} }}"} for name in ("initial", "increment", "evaluate_every", "updates_per_increment",
          "batch_size", "window", "episodes", "online", "max_episode_steps") for value in ("1e30", "1" + "0" * 30)),
        {"protocol": "{ online = 1000000000000 }", "streams": '[{ blocks = [], task = "Pendulum-v1" }]'},
    ],
)  # fmt: skip
def test_a_suite_beyond_all_bounds_is_a_usage_error(
    changes: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = write_suite(tmp_path / "mine.toml", **changes)
    assert main(["run", suite, "--out", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert len(err) < 1000


def test_lists_of_thousands_are_read_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = write_suite(tmp_path / "mine.toml")
    for option in (
        ["--datasets", "a+" * 2500 + "a"],
        ["--algorithms", "a," * 2500 + "a"],
        ["--set", "bc.x=[" + "a," * 2500],
    ):
        assert main(["run", suite, *option, "--out", str(tmp_path / "out")]) != 0
    capsys.readouterr()
