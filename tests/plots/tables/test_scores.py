from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, strategies as st

from seqeval_rl.errors import UsageError
from seqeval_rl.plots import (
    EXPERIMENTS,
    Cell,
    Row,
    Table,
    area_under_curve,
    block_table,
    interquartile_mean,
    published_results,
    reach_table,
    score_table,
)

if TYPE_CHECKING:
    from tests.plots.conftest import Results


PLACES = [1_000, 7_000, 15_000, 23_000, 30_000]


def straight(results: Results, algorithm: str, ends: list[float], **settings: object) -> None:
    """One run per end, whose score rises linearly from 0 to that value over five evaluations."""
    for seed, end in enumerate(ends):
        scores = [end * share for share in (0, 0.25, 0.5, 0.75, 1)]
        results.add(algorithm, seed, transitions=PLACES, scores=scores, **settings)  # type: ignore[arg-type]


def test_numbers_are_the_statistics_of_the_runs(results: Results) -> None:
    ends = [40.0, 80.0, 60.0, 90.0, 20.0]
    straight(results, "iql", ends)
    table = score_table(results.read())
    assert table.quantities == ("25 %", "50 %", "75 %", "100 %", "best", "area")
    (row,) = table.rows
    expected = interquartile_mean(np.array(ends)[:, None, None])[0]
    # 25 % of 30 000 is 7 500: the evaluation at 7 000; 75 % is 22 500: the one at 23 000.
    assert [cell.value for cell in row.cells[:4]] == pytest.approx([expected * s for s in (0.25, 0.5, 0.75, 1)])
    assert row.cells[4].value == pytest.approx(expected)
    area = area_under_curve(PLACES, [0, 0.25, 0.5, 0.75, 1])
    assert row.cells[5].value == pytest.approx(expected * area)
    assert all(cell.runs == 5 and cell.low < cell.value < cell.high for cell in row.cells)
    assert (row.dataset, row.algorithm, row.runs, row.finished) == ("hopper random, medium, expert", "IQL", 5, 5)
    assert row.dataset_mean == pytest.approx(np.mean([1.2, 44.3, 108.2]))
    assert "interquartile mean" in table.caption
    mean = score_table(results.read(), statistic="mean", shares=[1.0])
    assert mean.quantities == ("100 %", "best", "area")
    assert mean.rows[0].cells[0].value == pytest.approx(np.mean(ends))
    assert "mean over seeds" in mean.caption
    assert "interquartile" not in mean.caption


def test_a_share_is_the_evaluation_made_for_it_whatever_the_increment(results: Results) -> None:
    # The quickstart's stream with increments of 6, as in results of earlier versions: 30 000 transitions, every 2 500.
    places = [1_000, 2_500, 5_002, 7_504, 10_000, 12_502, 15_004, 17_500, 20_002, 22_504, 25_000, 27_502, 30_000]
    settings = {"increment": 6, "evaluate_every": 2_500}
    results.add("bc", 0, transitions=places, scores=[float(place) for place in places], protocol=settings)
    (row,) = score_table(results.read(), shares=[0.25, 0.5, 0.75, 0.01, 0.1, 1.0]).rows
    # 1 % is 300 transitions: the evaluation at 1 000 is the nearest, and within 1 256.
    assert [cell.value for cell in row.cells[:6]] == [7_504, 15_004, 22_504, 1_000, 2_500, 30_000]
    results.add("iql", 0, transitions=places[2:], scores=[0.0] * 11, protocol=settings)
    iql = score_table(results.read(), shares=[0.1, 0.15]).rows[0]
    assert [cell.runs for cell in iql.cells[:2]] == [0, 1]


def test_a_dataset_that_ends_between_two_published_bins_has_all_its_numbers() -> None:
    for experiment in EXPERIMENTS:
        rows = score_table(published_results(experiment)).rows
        short = {(row.dataset, row.algorithm.partition(" ")[0]) for row in rows if not row.cells[3].runs}
        assert all(np.isfinite(cell.value) for row in rows if row.cells[3].runs for cell in row.cells)
        # Runs of these end before their dataset does, see `plots/paper/README.md`.
        assert all(algorithm in ("CQL", "TD3+BC") and "medium-" in dataset for dataset, algorithm in short), short


def test_best_is_each_runs_highest_evaluation(results: Results) -> None:
    results.add("iql", 0, transitions=PLACES, scores=[0.0, 50.0, 10.0, 10.0, 20.0])
    results.add("iql", 1, transitions=PLACES, scores=[0.0, 10.0, 30.0, 10.0, 20.0])
    (row,) = score_table(results.read()).rows
    assert row.cells[4].value == 40
    assert (row.cells[4].low, row.cells[4].high) == (30, 50)


def test_one_seed_has_no_interval(results: Results) -> None:
    straight(results, "iql", [50.0])
    table = score_table(results.read())
    assert all(np.isnan((cell.low, cell.high)).all() for cell in table.rows[0].cells)
    assert "| 50.0 |" in table.markdown().replace("**", "")


def test_cells_count_the_runs_that_have_a_number(results: Results) -> None:
    for seed, upto in enumerate((None, 3, 2)):
        results.add("iql", seed, transitions=PLACES, scores=[0.0, 10.0, 20.0, 30.0, 40.0], upto=upto, failed=seed == 1)
    table = score_table(results.read())
    (row,) = table.rows
    assert (row.finished, row.failed, row.unfinished, row.runs) == (1, 1, 1, 3)
    # The run at 7 000 has not reached 7 500; the run at 15 000 has reached 50 %.
    assert [cell.runs for cell in row.cells] == [2, 2, 1, 1, 1, 1]
    assert "3 (1 failed, 1 unfinished)" in table.text()
    assert "10.0 [10.0, 10.0] (2 of 3)" in table.markdown()
    assert "40.0 (1 of 3)" in table.markdown()


def test_a_share_that_no_run_has_reached_is_a_dash(results: Results) -> None:
    results.add("iql", 0, transitions=PLACES, scores=[-0.01, 1.0, 2.0, 3.0, 4.0], upto=1)
    table = score_table(results.read())
    assert table.text().splitlines()[-3].split()[-6:] == ["–"] * 6
    assert np.isnan(table.rows[0].cells[0].value)


def test_the_best_and_values_within_its_interval_are_bold(results: Results) -> None:
    straight(results, "td3_bc", [70.0, 80.0, 90.0])
    straight(results, "iql", [74.0, 75.0, 76.0])
    straight(results, "bc", [40.0, 50.0, 60.0])
    # An algorithm that looks best because its other run failed is not bold.
    results.add("cql", 0, transitions=PLACES, scores=[0.0, 99.0, 99.0, 99.0, 99.0])
    results.add("cql", 1, transitions=PLACES, scores=[0.0, 0.0, 0.0, 0.0, 0.0], upto=1, failed=True)
    finals = [line.split(" | ")[7] for line in score_table(results.read()).markdown().splitlines()[2:6]]
    assert finals == ["**80.0 [70.0, 90.0]**", "**75.0 [74.0, 76.0]**", "99.0 (1 of 2)", "50.0 [40.0, 60.0]"]


def test_a_table_says_which_statistic_it_shows(results: Results) -> None:
    straight(results, "iql", [1.0, 2.0, 3.0, 9.0])
    straight(results, "bc", [1.0, 2.0, 3.0])
    table = score_table(results.read())
    assert table.text().endswith("\n\nNumbers: interquartile mean over seeds (mean below 4).\n")
    rows = list(csv.DictReader(io.StringIO(table.csv())))
    assert {(row["algorithm"], row["statistic"]) for row in rows} == {("IQL", "iqm"), ("BC", "mean")}
    for table in (score_table(results.read(), statistic="mean"), block_table(results.read())):
        assert table.text().endswith("\n\nNumbers: mean over seeds.\n")
        assert {row["statistic"] for row in csv.DictReader(io.StringIO(table.csv()))} == {"mean"}
        assert "mean over seeds" in table.caption


def test_a_single_algorithm_is_not_bold(results: Results) -> None:
    straight(results, "iql", [1.0, 2.0])
    assert "**" not in score_table(results.read()).markdown()


def test_csv_has_every_number_at_full_precision(quickstart: Results) -> None:
    table = score_table(quickstart.read())
    rows = list(csv.DictReader(io.StringIO(table.csv())))
    assert len(rows) == 4 * 6
    for row, (owner, name, cell) in zip(
        rows,
        [(r, q, c) for r in table.rows for q, c in zip(table.quantities, r.cells, strict=True)],
        strict=True,
    ):
        assert (row["dataset"], row["algorithm"], row["quantity"]) == (owner.dataset, owner.algorithm, name)
        assert [float(row[key]) for key in ("value", "low", "high")] == [cell.value, cell.low, cell.high]
        assert (row["runs"], row["finished"], float(row["dataset_mean"])) == ("3", "3", owner.dataset_mean)


def test_missing_numbers_are_empty_in_csv(results: Results) -> None:
    results.add("iql", 0, upto=1, blocks=(("medium", 0, 30_000, None),))
    row = next(csv.DictReader(io.StringIO(score_table(results.read()).csv())))
    assert (row["value"], row["low"], row["runs"], row["dataset_mean"]) == ("", "", "0", "")


def sound(latex: str) -> None:
    """Braces balance, environments nest, and each line of a tabular has all columns or is a dataset's name."""
    bare = re.sub(r"\\[\\{}$&%#_]", " ", latex.replace(r"\\", "  "))
    depth = 0
    for letter in bare:
        depth += (letter == "{") - (letter == "}")
        assert depth >= 0
    assert depth == 0
    assert not re.search(r"[%#~^]", bare.replace(r"Table~\ref", ""))
    assert bare.count("$") % 2 == 0
    open_ones = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", latex):
        if kind == "begin":
            open_ones.append(name)
        else:
            assert open_ones.pop() == name
    assert not open_ones
    for body in re.findall(r"\\begin\{tabular\}\{(lr+)\}\n\\toprule\n(.*?)\\bottomrule", latex, re.DOTALL):
        for line in body[1].splitlines():
            if line != r"\midrule" and not line.startswith(r"\rlap"):
                assert line.endswith(r"\\")
                assert len(re.findall(r"(?<!\\)&", line)) == len(body[0]) - 1
                assert not line.startswith(("[", "*"))


HOSTILE = r"a_b $x$ 100% & {c} #1 ~^ \input{x} | <b> *bold*"


def test_latex_is_complete_and_names_are_escaped(results: Results) -> None:
    straight(results, HOSTILE, [-5.0, -6.0], dataset="bundled/walker2d/medium-replay-2")
    straight(results, "iql", [50.0, 60.0], dataset="bundled/walker2d/medium-replay-2")
    latex = score_table(results.read()).latex()
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\begin{table}", r"\end{table}", r"\caption{"):
        assert latex.count(rule) == 1
    assert r"\textbf{55.0}" in latex
    assert r"\scriptsize {}[50.0, 60.0]" in latex
    assert r"$-$5.5" in latex
    assert r"\scriptsize {}[$-$6.0, $-$5.0]" in latex
    assert "medium-replay-2" in latex
    # A long name is broken into lines.
    for piece in (
        r"a\_b \$x\$ 100\% \& \{c\}",
        r"\#1 \textasciitilde{}\textasciicircum{} \textbackslash{}input\{x\}",
        r"\textless{}b\textgreater{} *bold*",
    ):
        assert piece in latex
    sound(latex)
    # A dataset is named once.
    assert latex.count("walker2d") == 1


@given(
    names=st.lists(st.text(min_size=1, max_size=80), min_size=2, max_size=4, unique=True), dataset=st.text(max_size=80)
)
def test_latex_is_sound_for_any_names(names: list[str], dataset: str) -> None:
    cells = (Cell(-1.0, -2.0, 3.0, 2), Cell(np.nan, np.nan, np.nan, 0), Cell(5.0, np.nan, np.nan, 1))
    rows = tuple(Row(dataset, name, 1.5, cells, 1, 1, 0) for name in names)
    for intervals in (True, False):
        table = Table((names[0], "b", names[1]), rows, f"On {dataset}: {names}.")
        sound(table.latex(intervals))
        assert table.markdown(intervals).count("\n") == 2 + len(rows) + 2


def test_a_wide_and_long_table_is_split_without_loss() -> None:
    rows = tuple(
        Row(
            "one" if place < 25 else "two",
            f"algorithm {place}",
            None,
            (Cell(100.0 + place, 0.0, 999.0, 3),) * 12,
            3,
            0,
            0,
        )
        for place in range(40)
    )
    table = Table(tuple(f"at {place}" for place in range(12)), rows, "Much.", name="much")
    latex = table.latex()
    sound(latex)
    parts = latex.split("\n\n")
    assert len(parts) == latex.count(r"\begin{table}") == 6
    assert [len(part.splitlines()) <= 2 * 38 + 20 for part in parts] == [True] * 6
    assert all(
        latex.count(rf"\textbf{{{100 + place}.0}}") + latex.count(rf" {100 + place}.0 ") >= 12 for place in range(40)
    )
    for place in range(12):
        assert latex.count(f"at {place} ") == 3
    assert r"\label{tab:seqeval-much}" in parts[0]
    assert r"\caption{Much. Part 1 of 6.}" in parts[0]
    assert r"\caption{Part 6 of 6 of Table~\ref{tab:seqeval-much}.}" in parts[5]
    assert r"\emph{two}" in parts[5]


def test_bold_does_not_depend_on_shown_intervals(results: Results) -> None:
    straight(results, "td3_bc", [70.0, 80.0, 90.0])
    straight(results, "iql", [74.0, 75.0, 76.0])
    table = score_table(results.read())
    assert "| **80.0** |" in table.markdown(intervals=False)
    assert "| **75.0** |" in table.markdown(intervals=False)
    assert table.markdown(intervals=False).endswith("Intervals are not shown.\n")
    assert r"\textbf{75.0}" in table.latex(intervals=False)
    assert "scriptsize" not in table.latex(intervals=False)
    assert "not shown" not in table.markdown()


def test_the_caption_counts_seeds_and_what_is_left_out(results: Results) -> None:
    straight(results, "iql", [1.0])
    assert score_table(results.read()).caption.endswith("One seed per algorithm and dataset, so no interval.")
    straight(results, "td3_bc", [1.0, 2.0, 3.0])
    assert (
        "Seeds per algorithm and dataset: 1 to 3; fewer than 3: IQL on hopper random, medium, expert (1). No inter"
        in (score_table(results.read()).caption)
    )
    straight(results, "iql", [1.0], dataset="other")
    for place in range(6):
        straight(results, f"other_{place}", [1.0], dataset="other")
    assert ", and 2 others. No interval where there is one seed." in score_table(results.read()).caption
    results.add("bc", 0, transitions=PLACES, scores=[0.0, float("nan"), float("nan"), 1.0, 2.0])
    broken = results.add("bc", 1, transitions=PLACES, scores=[0.0, 1.0, 1.0, 1.0, 2.0]) / "metrics.jsonl"
    broken.write_text("{\n" + broken.read_text())
    (results.add("bc", 2) / "manifest.json").write_text("{")
    read = results.read()
    for make in (score_table, reach_table, block_table):
        assert make(read).caption.endswith(
            " Left out: 2 evaluations whose score is not a finite number. Left out: 1 damaged run and 1 damaged line."
        )
    bc = next(row for row in score_table(read).rows if row.algorithm == "BC")
    assert [cell.runs for cell in bc.cells[:4]] == [1, 1, 2, 2]
    assert np.isfinite(bc.cells[4].value)


def test_markdown_rows_have_equal_numbers_of_cells_for_any_names(results: Results) -> None:
    straight(results, HOSTILE + "\nnew line", [1.0])
    lines = score_table(results.read()).markdown().splitlines()
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines[:3]} == {11}
    assert r"a\_b \$x\$" in lines[2]
    assert r"\<b\> \*bold\*" in lines[2]


def test_text_is_aligned_and_names_each_dataset_once(results: Results) -> None:
    for dataset in ("one", "two"):
        for algorithm in ("iql", "a_longer_name"):
            straight(results, algorithm, [10.0, 20.0], dataset=dataset)
    lines = score_table(results.read()).text().splitlines()
    assert [line for line in lines if line in ("one", "two")] == ["one", "two"]
    ends = {line.rindex("15.0") for line in lines if "15.0" in line}
    assert len(ends) == 1
    assert lines[0].startswith("algorithm ")
    assert lines[0].endswith("100 %  best  area")
    assert max(map(len, lines)) <= 80


def test_wrong_arguments_are_refused(results: Results) -> None:
    with pytest.raises(UsageError, match="at least one run"):
        score_table([])
    straight(results, "iql", [1.0])
    with pytest.raises(UsageError, match=r"above 0 and at most 1, found 25"):
        score_table(results.read(), shares=[25])
    with pytest.raises(UsageError, match="unknown statistic 'median'"):
        score_table(results.read(), statistic="median")  # type: ignore[arg-type]


def test_print_and_notebooks_show_the_table(results: Results) -> None:
    straight(results, HOSTILE, [70.0, 80.0])
    straight(results, "iql", [60.0, 61.0])
    table = score_table(results.read())
    assert str(table) == table.text()
    html = table._repr_html_()
    assert "<b> *bold*" not in html
    assert "&lt;b&gt; *bold*" in html
    assert "<b>75.0 [70.0, 80.0]</b>" in html
    assert html.count("<tr>") == 3
