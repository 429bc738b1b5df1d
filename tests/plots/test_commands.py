"""`seqeval plot`, `table` and `select` on synthetic results: what they print and write, and with which exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_type_hints

import pytest

from seqeval_rl.benchmarks.arguments.results import Plot, Select
from seqeval_rl.benchmarks.cli import main
from seqeval_rl.plots import DEFAULT_SCORE, EXPERIMENTS, FIGURES, SCORES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plots.conftest import Results


@pytest.fixture
def judged(results: Results) -> Results:
    for algorithm, error in (("td3_bc", 0.1), ("iql", 0.2)):
        for seed in range(2):
            results.add(algorithm, seed, prequential={"action_error": error, "td_error": 10 * error})
    return results


def test_options_offer_what_there_is() -> None:
    assert set(get_type_hints(Select)["score"].__args__) == set(SCORES)
    assert get_type_hints(Plot)["paper_figure"].__args__[0].__args__ == EXPERIMENTS
    assert Select.score == FIGURES["prequential"].options["score"].default == DEFAULT_SCORE


def test_the_prequential_figure_the_ranking_and_the_choice(judged: Results, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(judged.root)
    assert main(["plot", root, "--kind", "prequential", "--score", "action_error", "--format", "png,svg"]) == 0
    for path in capsys.readouterr().out.split():
        assert path.startswith(f"{root}/prequential.")
    assert (judged.root / "prequential.png").stat().st_size > 1_000
    for kind, expected in (
        ("md", "| td\\_error | 2 |"),
        ("text", "picked at random"),
        ("latex", "tabular"),
        ("csv", "ρ 25 %"),
    ):
        assert main(["table", root, "--ranking", "--format", kind]) == 0
        assert expected in capsys.readouterr().out
    assert main(["table", root, "--no-intervals"]) == 0
    assert "Intervals are not shown." in capsys.readouterr().out
    assert main(["table", root, "--no-intervals", "--format", "csv"]) == 2
    assert "--no-intervals: expected --format md, latex or text, found csv" in capsys.readouterr().err
    assert main(["select", root]) == 0
    assert "picked: TD3+BC, by action_error at 100 % of the data, out of 2" in capsys.readouterr().out
    assert main(["select", root, "--algorithm", "iql", "--score", "td_error", "--share", "0.5"]) == 0
    assert "picked: IQL, by td_error at 50 % of the data, out of 1" in capsys.readouterr().out
    assert main(["select", root, "--score", "nll"]) == 2
    shown = capsys.readouterr()
    assert "nothing picked" in shown.out
    assert "expected a setting with nll at 100 % of the data in all of its runs" in shown.err


def test_seeds_and_the_statistic_are_asked_for_on_the_command_line(results: Results) -> None:
    for seed in range(4):
        results.add("iql", seed)
    root = str(results.root)
    assert main(["plot", root, "--seeds-shown", "--statistic", "mean", "--format", "svg"]) == 0
    text = (results.root / "curves.svg").read_text()
    assert "Mean over 4 seeds" in text
    assert "Hairlines" in text


def test_published_curves_and_figures(results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "d4rl:hopper-medium-v2"
    results.add("iql", 0, dataset=name, task="d4rl/hopper", blocks=(("medium", 0, 999_998, 44.3, name),), points=12)
    root = str(results.root)
    assert main(["plot", root, "--paper-curves", "--format", "svg"]) == 0
    assert "IQL, published" in (results.root / "curves.svg").read_text()
    capsys.readouterr()
    assert main(["table", root, "--paper-curves"]) == 0
    assert "Ours minus published" in capsys.readouterr().out
    assert main(["plot", "--paper-figure", "mixed", "--out", str(tmp_path / "paper")]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "paper" / "paper-mixed.png")]
    assert main(["table", "--paper-figure", "mixed", "--measures", "adaptation", "--format", "text"]) == 0
    assert "hopper-mixed-v2: random → medium" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["plot"], "expected a results directory, found none"),
        (
            ["plot", "{root}", "--kind", "profile", "--paper-curves"],
            "figure profile: expected options among share, phase, width",
        ),
        (["plot", "{root}", "--kind", "profile", "--seeds-shown"], "found seeds_shown (an option of curves)"),
        (
            ["plot", "{root}", "--kind", "profile", "--statistic", "mean"],
            "found statistic (an option of curves",
        ),
        (["plot", "{root}", "--kind", "prequential", "--score", "nll"], "expected runs with the prequential score nll"),
        (["table", "{root}", "--paper-curves"], "that the published curves can be compared with"),
        (["table"], "expected a results directory or --paper-figure, found none"),
        (
            ["table", "{root}", "--paper-figure", "mixed"],
            "expected a results directory or --paper-figure, found {root}",
        ),
        (["table", "{root}", "--ranking", "--measures", "reach"], "found --ranking and --measures"),
        (["select", "{root}", "--share", "0"], "expected above 0 and at most 1, found 0"),
    ],
)
def test_what_does_not_go_together_is_one_clear_line(
    judged: Results, capsys: pytest.CaptureFixture[str], command: list[str], words: str
) -> None:
    assert main([part.format(root=judged.root) for part in command]) == 2
    error = capsys.readouterr().err
    assert words.format(root=judged.root) in error
    assert error.count("\n") == 1


def test_runs_without_scores_are_plotted_by_what_there_is(results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    results.add("iql", 0, evaluated=False, prequential={"td_error": 1.0})
    assert main(["plot", str(results.root)]) == 0
    said, path = capsys.readouterr().out.splitlines()
    assert "no scores, since no episode was played" in said
    assert path == str(results.root / "prequential.png")
    assert main(["table", str(results.root), "--format", "text"]) == 0
    assert "IQL" in capsys.readouterr().out


def test_runs_with_neither_scores_nor_prequential_scores_say_so(
    results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    results.add("iql", 0, evaluated=False, protocol={"static": True})
    assert main(["plot", str(results.root)]) == 0
    assert "prequential scores (none; `--kind prequential`) and the metrics critic/loss." in capsys.readouterr().out


def test_a_score_is_refused_where_it_says_nothing(judged: Results, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(judged.root)
    assert main(["plot", root, "--kind", "correlation", "--score", "td_error"]) == 0
    assert capsys.readouterr().out.strip() == f"{root}/correlation.png"
    assert main(["plot", root, "--score", "td_error"]) == 2
    assert "figure curves: expected options among" in (error := capsys.readouterr().err)
    assert "found score (an option of correlation, prequential). Leave it out." in error


def test_old_names_are_taken_with_a_note(
    judged: Results, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    root = str(judged.root)
    assert main(["plot", root, "--kind", "foretold"]) == 0
    assert capsys.readouterr().out.strip() == f"{root}/correlation.png"
    assert main(["table", root, "--ranking"]) == 0
    assert caplog.messages == [
        "seqeval: --kind foretold is now --kind correlation; the next release takes the new name only.",
        "seqeval: --ranking is now --measures ranking; the next release takes the new name only.",
    ]
