from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from seqeval_rl.errors import UsageError
from seqeval_rl.plots import area_under_curve, interquartile_mean, score_table

if TYPE_CHECKING:
    from tests.plots.conftest import Results

PLACES = [1_000, 7_000, 15_000, 23_000, 30_000]


def straight(results: Results, algorithm: str, ends: list[float], **settings: object) -> None:
    """One run per end, whose score rises from 0 to there over five evaluations."""
    for seed, end in enumerate(ends):
        scores = [end * share for share in (0, 0.25, 0.5, 0.75, 1)]
        results.add(algorithm, seed, transitions=PLACES, scores=scores, **settings)  # type: ignore[arg-type]


def test_numbers_are_the_statistics_of_what_was_measured(results: Results) -> None:
    ends = [40.0, 80.0, 60.0, 90.0, 20.0]
    straight(results, "iql", ends)
    table = score_table(results.read())
    assert table.quantities == ("25 %", "50 %", "75 %", "100 %", "best", "area")
    (row,) = table.rows
    expected = interquartile_mean(np.array(ends)[:, None, None])[0]
    # 25 % of 30 000 is 7 500: the evaluation at 7 000; 75 % is 22 500: the one at 15 000.
    assert [cell.value for cell in row.cells[:4]] == pytest.approx([expected * s for s in (0.25, 0.5, 0.5, 1)])
    assert row.cells[4].value == pytest.approx(expected)
    area = area_under_curve(PLACES, [0, 0.25, 0.5, 0.75, 1])
    assert row.cells[5].value == pytest.approx(expected * area)
    assert all(cell.runs == 5 and cell.low < cell.value < cell.high for cell in row.cells)
    assert (row.dataset, row.algorithm, row.runs, row.finished) == ("hopper random, medium, expert", "IQL", 5, 5)
    assert row.log_mean == pytest.approx(np.mean([1.2, 44.3, 108.2]))
    assert "interquartile mean" in table.caption
    mean = score_table(results.read(), statistic="mean", shares=[1.0])
    assert mean.quantities == ("100 %", "best", "area")
    assert mean.rows[0].cells[0].value == pytest.approx(np.mean(ends))
    assert "mean over seeds" in mean.caption
    assert "interquartile" not in mean.caption


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


def test_failed_and_unfinished_runs_are_counted_where_they_are_missing(results: Results) -> None:
    for seed, upto in enumerate((None, 3, 2)):
        results.add("iql", seed, transitions=PLACES, scores=[0.0, 10.0, 20.0, 30.0, 40.0], upto=upto, failed=seed == 1)
    table = score_table(results.read())
    (row,) = table.rows
    assert (row.finished, row.failed, row.unfinished, row.runs) == (1, 1, 1, 3)
    # The run that stands at 7 000 has not got to 7 500, that at 15 000 has got to 50 %.
    assert [cell.runs for cell in row.cells] == [2, 2, 1, 1, 1, 1]
    assert "3 (1 failed, 1 unfinished)" in table.text()
    assert "10.0 [10.0, 10.0] (2 of 3)" in table.markdown()
    assert "40.0 (1 of 3)" in table.markdown()


def test_what_nobody_has_reached_is_a_dash(results: Results) -> None:
    results.add("iql", 0, transitions=PLACES, scores=[-0.01, 1.0, 2.0, 3.0, 4.0], upto=1)
    table = score_table(results.read())
    assert table.text().splitlines()[-1].split()[-6:] == ["–"] * 6
    assert np.isnan(table.rows[0].cells[0].value)


def test_bold_are_the_best_and_those_within_its_interval(results: Results) -> None:
    straight(results, "td3_bc", [70.0, 80.0, 90.0])
    straight(results, "iql", [74.0, 75.0, 76.0])
    straight(results, "bc", [40.0, 50.0, 60.0])
    # One that looks best because its other run failed is not put first.
    results.add("cql", 0, transitions=PLACES, scores=[0.0, 99.0, 99.0, 99.0, 99.0])
    results.add("cql", 1, transitions=PLACES, scores=[0.0, 0.0, 0.0, 0.0, 0.0], upto=1, failed=True)
    finals = [line.split(" | ")[7] for line in score_table(results.read()).markdown().splitlines()[2:6]]
    assert finals == ["**80.0 [70.0, 90.0]**", "**75.0 [74.0, 76.0]**", "99.0 (1 of 2)", "50.0 [40.0, 60.0]"]


def test_an_algorithm_alone_is_not_put_in_bold(results: Results) -> None:
    straight(results, "iql", [1.0, 2.0])
    assert "**" not in score_table(results.read()).markdown()


def test_csv_holds_every_number_in_full(quickstart: Results) -> None:
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
        assert (row["runs"], row["finished"], float(row["log_mean"])) == ("3", "3", owner.log_mean)


def test_csv_leaves_absent_numbers_empty(results: Results) -> None:
    results.add("iql", 0, upto=1, blocks=(("medium", 0, 30_000, None),))
    row = next(csv.DictReader(io.StringIO(score_table(results.read()).csv())))
    assert (row["value"], row["low"], row["runs"], row["log_mean"]) == ("", "", "0", "")


HOSTILE = r"a_b $x$ 100% & {c} #1 ~^ \input{x} | <b> *bold*"


def test_latex_is_whole_and_names_are_escaped(results: Results) -> None:
    straight(results, HOSTILE, [-5.0, -6.0], dataset="bundled/walker2d/medium-replay-2")
    straight(results, "iql", [50.0, 60.0], dataset="bundled/walker2d/medium-replay-2")
    latex = score_table(results.read()).latex()
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\begin{table}", r"\end{table}", r"\caption{"):
        assert latex.count(rule) == 1
    assert r"\textbf{55.0 [50.0, 60.0]}" in latex
    assert r"$-$5.5 [$-$6.0, $-$5.0]" in latex
    assert "medium-replay-2" in latex
    assert (
        r"a\_b \$x\$ 100\% \& \{c\} \#1 \textasciitilde{}\textasciicircum{} \textbackslash{}input\{x\} "
        r"\textbar{} \textless{}b\textgreater{} *bold*"
    ) in latex
    body = latex[latex.index(r"\toprule") : latex.index(r"\bottomrule")]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {9}
    # A dataset is named once.
    assert latex.count("walker2d") == 1


def test_markdown_has_as_many_cells_in_each_row_whatever_the_names(results: Results) -> None:
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


def test_what_makes_no_table_is_refused(results: Results) -> None:
    with pytest.raises(UsageError, match="at least one run"):
        score_table([])
    straight(results, "iql", [1.0])
    with pytest.raises(UsageError, match=r"above 0 and at most 1, found 25"):
        score_table(results.read(), shares=[25])
    with pytest.raises(UsageError, match="unknown statistic 'median'"):
        score_table(results.read(), statistic="median")  # type: ignore[arg-type]
