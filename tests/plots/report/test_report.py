"""`seqeval report`: the file it writes, without a browser; `test_page` opens it in one."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from colorsys import rgb_to_hsv
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from matplotlib.colors import to_rgb

from seqeval_rl.benchmarks.cli import main
from seqeval_rl.plots import adaptation_tables, score_table, write_report
from seqeval_rl.plots.analysis.curves import segments
from seqeval_rl.plots.analysis.grouping import collect
from seqeval_rl.plots.report import build

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plots.conftest import Results


def data_of(path: Path) -> dict[str, Any]:
    """The data that is embedded in the page."""
    found = re.search(r'id="data">([^<]*)</script>', path.read_text())
    assert found
    data: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(found[1])))
    return data


def test_the_copy_of_uplot_is_the_published_one() -> None:
    pinned = {
        "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
        "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    }
    assert {name: hashlib.sha256((build.ASSETS / name).read_bytes()).hexdigest() for name in pinned} == pinned


def test_curves_and_leaderboard_are_those_of_figures_and_tables(quickstart: Results, tmp_path: Path) -> None:
    results = quickstart.read()
    data = data_of(write_report(results, tmp_path / "deep" / "r.html"))
    (panel,) = collect(results)
    for group, drawn in zip(panel.groups, data["panels"][0]["groups"], strict=True):
        assert drawn["label"] == group.label
        for part, curve in zip(segments(group), drawn["curves"]["score"], strict=True):
            assert curve["t"] == part.transitions.tolist()
            np.testing.assert_allclose(curve["c"], part.centre, rtol=1e-6)
            assert part.interval is not None
            np.testing.assert_allclose([curve["l"], curve["h"]], part.interval, rtol=1e-6)
    names = [board["name"] for board in data["leaderboards"]]
    assert names == ["per dataset", "adaptation speed", "compute per transition"]
    speed = adaptation_tables(results)[0]
    assert [row["cells"][2]["text"] for row in data["leaderboards"][1]["rows"]] == [
        row.cells[2].text for row in speed.formatted()
    ]
    rows = data["leaderboards"][0]["rows"]
    for row, shown in zip(score_table(results).rows, rows, strict=True):
        assert [cell["value"] for cell in shown["cells"]] == [cell.value for cell in row.cells]
    assert (
        write_report(results, tmp_path / "again.html", "deep").read_bytes()
        == (tmp_path / "deep" / "r.html").read_bytes()
    )


def test_long_runs_are_thinned_to_what_a_screen_shows(results: Results, tmp_path: Path) -> None:
    """Of 2 001 evaluations the page has 500, the first and the last among them; its tables and facts are of all."""
    places = list(range(1_000, 2_002_000, 1_000))
    scores = np.linspace(0.0, 50.0, len(places)).tolist()
    results.add("bc", 0, blocks=(("medium", 0, places[-1], 40.0),), transitions=places, scores=scores)
    data = data_of(write_report(results.read(), tmp_path / "r.html"))
    (run,) = data["runs"]
    assert (len(run["t"]), run["t"][0], run["t"][-1], run["evaluations"]) == (500, 1_000, 2_001_000, 2_001)
    assert run["metrics"]["score"][-1] == 50.0
    assert "all but 500 of each run's evaluations, evenly spaced" in data["leftOut"]
    shown = data["leaderboards"][0]["rows"][0]["cells"]
    assert [cell["value"] for cell in shown] == [cell.value for cell in score_table(results.read()).rows[0].cells]


def test_the_command_on_results_in_progress(results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(results.root)]) == 65
    assert "expected results of `seqeval run`" in capsys.readouterr().err
    results.add("iql", 0)
    for seed in range(1, 10):
        results.add("iql", seed, upto=seed - 1)
    results.add("cql", 0, failed=True, upto=5)
    assert main(["report", str(results.root)]) == 0
    path = results.root / "report.html"
    assert capsys.readouterr().out.split() == [str(path)]
    data = data_of(path)
    assert [run["status"] for run in data["runs"]] == ["finished", *["unfinished"] * 9, "failed"]
    assert data["runs"][-1]["failure"] == "exploding Q value"
    assert [part["n"] for part in data["panels"][0]["groups"][0]["curves"]["score"]] == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    before = path.read_bytes()
    (results.root / "0000" / "manifest.json").write_text("{")
    assert main(["report", str(results.root), "--out", str(results.root / "r.pdf")]) == 2
    assert main(["report", str(results.root), "--out", str(results.root / "0001" / "metrics.jsonl" / "r.html")]) == 74
    assert path.read_bytes() == before
    assert main(["report", str(results.root)]) == 0
    (damaged,) = data_of(path)["damagedRuns"]
    assert "0000: not a readable run" in damaged


def test_runs_with_an_online_phase_have_a_leaderboard_at_each_end_and_variants_one_hue(
    results: Results, tmp_path: Path
) -> None:
    for dataset in ("hopper medium", "hopper expert"):
        for alpha in (1.0, 2.5):
            blocks = ((dataset, 0, 20_000, 44.3),)
            results.add(dataset=dataset, blocks=blocks, config={"alpha": alpha}, protocol={"online": 10_000})
        results.add("iql", dataset=dataset, blocks=blocks, protocol={"online": 10_000})
    data = data_of(write_report(results.read(), tmp_path / "r.html"))
    assert [board["name"] for board in data["leaderboards"]][1:3] == [
        "all datasets together, at the end of the offline part",
        "all datasets together, at the end of the online phase",
    ]
    colors = [look["light"] for look in data["styles"].values()]
    hues = [round(rgb_to_hsv(*to_rgb(color))[0], 2) for color in colors]
    assert hues[0] == hues[1] != hues[2]
    assert len(set(colors)) == 3
    assert data["longColumns"][-3:] == ["settings", "static", "uses_future_data"]
    assert {run["settings"] for run in data["runs"]} == {'{"alpha": 1.0}', '{"alpha": 2.5}', "{}"}


def test_suites_and_task_versions_are_separate_as_in_figures(results: Results, tmp_path: Path) -> None:
    results.add("iql", 0, suite="first")
    results.add("iql", 0, suite="second")
    results.add("iql", 0, env_id="Hopper-v4", suite="first")
    data = data_of(write_report(results.read(), tmp_path / "r.html"))
    assert [panel["title"].partition("(")[2] for panel in data["panels"]] == ["env_id=Hopper-v4)", "env_id=Hopper-v5)"]
    labels = {group["label"] for panel in data["panels"] for group in panel["groups"]}
    assert labels == {"IQL (suite=first)", "IQL (suite=second)"}
    assert "suite=second" in data["runs"][1]["differs"]


def test_missing_and_not_finite_numbers(results: Results, tmp_path: Path) -> None:
    scores = [1.0, float("nan"), float("nan"), *[2.0] * 28]
    path = results.add("iql", 0, scores=scores)
    results.add("bc", 0, evaluated=False, prequential={"action_error": 0.25})
    results.add("cql", 0, upto=0)
    data = data_of(write_report(results.read(), tmp_path / "r.html"))
    assert data["runs"][0]["run"] == path.name
    assert data["runs"][0]["metrics"]["score"][:4] == [1.0, None, None, 2.0]
    assert data["runs"][1]["metrics"]["prequential_mean/action_error"][-1] == 0.25
    assert data["runs"][2]["metrics"] == {}


def test_metrics_that_do_not_fit_are_named(results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results.add("iql", 0)
    monkeypatch.setattr(build, "BUDGET", 200)
    data = data_of(write_report(results.read(), tmp_path / "r.html"))
    assert [metric["name"] for metric in data["metrics"]] == ["score", "return"]
    assert data["leftOut"] == ["critic/loss"]


@given(st.integers(0, 0xFFFFFF))
def test_every_color_can_be_seen_on_the_dark_page(number: int) -> None:
    colour = build.on_dark(f"#{number:06x}")
    page = build.luminance(build.DARK_PAGE)
    shown = build.luminance([int(colour[place : place + 2], 16) for place in (1, 3, 5)])
    assert (shown + 0.05) / (page + 0.05) >= 4.5
    css = (build.ASSETS / "page.css").read_text()
    assert "--paper: #" + "".join(f"{part:02x}" for part in build.DARK_PAGE) in css
