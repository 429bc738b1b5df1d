from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, strategies as st

from seqeval_rl.errors import UsageError
from seqeval_rl.plots import TABLES, block_table, online_table, reach_table, score_table, tabulate
from seqeval_rl.plots.tables.reach import median_cell
from seqeval_rl.plots.tables.rows import number_text
from seqeval_rl.plots.tables.table import markdown_text

if TYPE_CHECKING:
    from tests.plots.conftest import Results


MEASURES = sorted(set(TABLES) - {"ranking", "published"})
LOG = (("medium", 0, 20_000, 45.0),)
PLACES = [1_000, 5_000, 10_000, 15_000, 20_000]
ONLINE = [*PLACES, 25_000, 30_000]


def numbers(table, row: int = 0) -> list[float]:
    return [cell.value for cell in table.rows[row].cells]


def test_reach_is_the_median_in_which_a_run_that_never_gets_there_counts(results: Results) -> None:
    results.add("iql", 0, blocks=LOG, transitions=PLACES, scores=[0.0, 50.0, 40.0, 60.0, 60.0])
    results.add("iql", 1, blocks=LOG, transitions=PLACES, scores=[0.0, 20.0, 50.0, 70.0, 60.0])
    results.add("iql", 2, blocks=LOG, transitions=PLACES, scores=[0.0, 10.0, 20.0, 30.0, 40.0])
    results.add("iql", 3, blocks=LOG, transitions=PLACES, scores=[0.0, 50.0, 60.0, 70.0, 60.0], upto=2)
    table = reach_table(results.read(), statistic="mean")
    assert table.quantities == ("to dataset mean", "kept", "to 90 % of final", "90 % of final kept", "fall from best")
    (row,) = table.rows
    # Runs 0, 1 and 3 reach 45 at 5 000, 10 000 and 5 000, run 2 never; 0 and 1 keep it from 15 000 and 10 000 on, and whether 3
    # does is not known. 90 % of the final score: 54, 54, 36.
    assert [cell.runs for cell in row.cells] == [4, 3, 3, 3, 3]
    assert numbers(table) == pytest.approx([7_500, 15_000, 15_000, 15_000, 10 / 3])
    assert "| 7.5k [5k, > 20k] | 15k [10k, > 20k] (3 of 4) |" in table.markdown().replace("\\", "")
    assert "median over seeds" in table.caption
    results.add("iql", 4, blocks=LOG, transitions=PLACES, scores=[0.0] * 5)
    results.add("iql", 5, blocks=LOG, transitions=PLACES, scores=[0.0] * 5)
    text = reach_table(results.read()).text()
    assert "> 20k" in text
    assert text.endswith(
        "Transitions: median over seeds; fall from best: interquartile mean over seeds (mean below 4).\n"
    )
    late = type(results)(results.root / "late")
    late.add("iql", 0, blocks=LOG, transitions=PLACES, scores=[0.0, 0.0, 0.0, 0.0, 45.0])
    assert "20k" in reach_table(late.read()).text().replace("> 20k", "")  # at the last evaluation is not after it


@given(st.lists(st.sampled_from([1.0, 5.0, 9.0, np.inf, np.nan]), min_size=1, max_size=9))
def test_the_median_cell_is_numpys_median_with_its_interval_around(values: list[float]) -> None:
    cell = median_cell(np.array(values), 9)
    known = [value for value in values if not np.isnan(value)]
    assert cell.runs == len(known)
    if known:
        with np.errstate(invalid="ignore"):
            assert cell.value == np.median(known)
    if len(known) > 1:
        assert min(known) <= cell.low <= cell.value <= cell.high <= max(known)


def test_a_score_below_0_at_the_end_has_no_90_per_cent(results: Results) -> None:
    results.add("iql", 0, blocks=LOG, transitions=PLACES, scores=[-3.0, -1.0, -1.0, -1.0, -1.0])
    np.testing.assert_equal(numbers(reach_table(results.read()))[:4], [np.inf, np.inf, np.nan, np.nan])


def test_fewest_transitions_are_best(results: Results) -> None:
    for algorithm, at in (("iql", 1), ("bc", 3)):
        for seed in range(3):
            scores = [50.0 if place >= at else 0.0 for place in range(5)]
            results.add(algorithm, seed, blocks=LOG, transitions=PLACES, scores=scores)
    lines = reach_table(results.read()).markdown().splitlines()
    assert "| **5k [5k, 5k]** | **5k [5k, 5k]** | 5k [5k, 5k] |" in lines[2]
    assert "| 15k [15k, 15k] | 15k [15k, 15k] | 15k [15k, 15k] |" in lines[3]


def test_blocks_have_a_row_at_each_boundary(results: Results) -> None:
    places = [0, 5_000, 10_000, 15_000, 20_000, 25_000, 30_000]
    for algorithm in ("iql", "bc"):
        results.add(algorithm, 0, transitions=places, scores=[0.0, 30.0, 20.0, 10.0, 40.0, 50.0, 60.0])
    table = block_table(results.read())
    assert [(row.dataset.partition(": ")[2], row.algorithm, row.dataset_mean) for row in table.rows] == [
        ("random → medium", "IQL", 44.3),
        ("random → medium", "BC", 44.3),
        ("medium → expert", "IQL", 108.2),
        ("medium → expert", "BC", 108.2),
    ]
    assert (table.leading[3], *table.quantities) == ("block mean", "before", "after", "level", "dip", "forgotten")
    assert numbers(table) == pytest.approx([20, 40, 25, 10, 0])
    assert numbers(table, 2) == pytest.approx([40, 60, 55, 0, 0])
    results.add("iql", 0, dataset="one log", blocks=LOG, transitions=PLACES, scores=[1.0] * 5)
    # A static control sees all blocks from the start.
    results.add("cql", 0, transitions=[30_000] * 7, gradient_steps=places, scores=[1.0] * 7, protocol={"static": True})
    assert len(block_table(results.read()).rows) == 4


def online(results: Results, algorithm: str, seed: int, scores: list[float], **settings: object) -> None:
    results.add(algorithm, seed, blocks=LOG, transitions=ONLINE, scores=scores, protocol={"online": 10_000}, **settings)  # type: ignore[arg-type]


def test_the_online_phase_has_before_after_dip_and_regret(results: Results) -> None:
    online(results, "iql", 0, [0.0, 10.0, 20.0, 30.0, 40.0, 20.0, 60.0])
    online(results, "iql", 1, [0.0, 10.0, 20.0, 30.0, 50.0, 55.0, 60.0], upto=6)
    results.add("bc", 0, blocks=LOG, transitions=PLACES, scores=[1.0] * 5)
    table = online_table(results.read())
    assert table.quantities == ("before", "after", "gain", "dip", "regret")
    (row,) = table.rows  # BC has no online phase
    # Seed 1 has not got to its end: one curve is over the same runs all along.
    assert [cell.runs for cell in row.cells] == [1] * 5
    assert numbers(table) == pytest.approx([40, 60, 20, 20, 100 - (30 + 40) / 2])
    # The table of scores is over the dataset alone.
    scores = score_table(results.read())
    iql = next(row for row in scores.rows if row.algorithm == "IQL")
    assert [cell.value for cell in iql.cells][:5] == pytest.approx([10, 20, 30, 45, 45])
    assert iql.cells[4].runs == 2
    assert "without the online phase" in scores.caption


def test_online_learning_without_a_dataset_has_no_score_before(results: Results) -> None:
    results.add(
        "sac", 0, blocks=(), transitions=[1_000, 5_000, 10_000], scores=[0.0, 40.0, 80.0], protocol={"online": 10_000}
    )
    assert numbers(online_table(results.read())) == pytest.approx(
        [np.nan, 80, np.nan, np.nan, 100 - (4 * 20 + 5 * 60) / 9], nan_ok=True
    )
    assert numbers(score_table(results.read()))[:4] == pytest.approx([0, 40, 40, 80])
    assert "without the online phase" not in score_table(results.read()).caption


def test_a_static_control_is_read_at_equal_gradient_steps(results: Results) -> None:
    for static in (False, True):
        results.add(
            "iql", 0, blocks=LOG, transitions=[20_000] * 5 if static else PLACES,
            gradient_steps=[place - 1_000 for place in PLACES], scores=[0.0, 10.0, 20.0, 30.0, 40.0],
            protocol={"static": static},
        )  # fmt: skip
    table = score_table(results.read())
    assert [row.algorithm for row in table.rows] == ["IQL", "IQL (static)"]
    assert numbers(table, 0) == numbers(table, 1)


@pytest.fixture
def everything(results: Results) -> Results:
    """A mixed stream with an online phase, two algorithms, three seeds, one of which has failed."""
    places = list(range(0, 40_001, 2_500))
    for algorithm in ("iql", r"a_b {x} 50%|$"):
        for seed in range(3):
            scores = np.random.default_rng([seed, len(algorithm)]).normal(50, 20, len(places)).tolist()
            failed = algorithm == "iql" and seed == 1
            results.add(
                algorithm, seed, transitions=places, scores=scores, protocol={"online": 10_000},
                upto=14 if failed else None, failed=failed,
            )  # fmt: skip
    return results


@pytest.mark.parametrize("measures", MEASURES)
def test_every_table_can_be_written_in_every_format(everything: Results, measures: str) -> None:
    for table in tabulate(everything.read(), measures):
        columns = 4 + len(table.quantities)
        assert len(table.kinds) in (0, len(table.quantities))
        lines = table.markdown().splitlines()
        rows = lines[: 2 + len(table.rows)]
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in rows} == {columns + 1}
        assert lines[-1] == markdown_text(table.caption)
        latex = table.latex()
        for body in latex.split(r"\toprule")[1:]:
            found = [line for line in body.partition(r"\bottomrule")[0].splitlines() if r"\rlap" not in line]
            # Without the dataset and its mean score, which have a line of their own.
            counts = {len(re.findall(r"(?<!\\)&", line)) for line in found if line.endswith(r"\\")}
            assert counts == {columns - 3} or (len(counts) == 1 and "Part 1 of" in latex)
        assert latex.count(r"\label{tab:seqeval-" + table.name + "}") == 1
        assert not re.search(r"[→–↓]", latex)
        text = table.text().splitlines()
        assert text[0].startswith("algorithm")
        assert sum(line.startswith("IQL ") for line in text) == sum(row.algorithm == "IQL" for row in table.rows)
        written = list(csv.DictReader(io.StringIO(table.csv())))
        cells = [
            (row, name, cell) for row in table.rows for name, cell in zip(table.quantities, row.cells, strict=True)
        ]
        assert len(written) == len(cells)
        for line, (row, name, cell) in zip(written, cells, strict=True):
            assert (line["dataset"], line["algorithm"], line["quantity"]) == (row.dataset, row.algorithm, name)
            assert line["value"] == (str(cell.value) if cell.value < cell.limit else "")
            assert line["mark"] == ("↓" if cell.falls else f"> {cell.limit:g}" if cell.value >= cell.limit else "")
    assert len({table.name for measures in MEASURES for table in tabulate(everything.read(), measures)}) == 10


@given(st.floats(0, 1e9), st.sampled_from(["transitions", "score", "probability"]))
def test_numbers_are_rounded_correctly(value: float, unit: str) -> None:
    text = number_text(value, unit)
    suffixes = {"k": 1e3, "M": 1e6}
    read = float(text.rstrip("kM")) * suffixes.get(text[-1], 1)
    least = {"transitions": 5e-3 * value, "score": 0.05, "probability": 0.005}[unit]
    assert abs(read - value) <= least * 1.001 + 1e-9 * value
    if unit == "transitions" and 1 <= value < 9.99e8:
        assert len(text) <= 5
    assert number_text(-0.001, "score") == "0.0"


def test_results_without_the_quantities_are_refused(results: Results) -> None:
    results.add("iql", 0, blocks=LOG, transitions=PLACES, scores=[1.0] * 5)
    with pytest.raises(UsageError, match=r"mixed stream .* found none"):
        block_table(results.read())
    with pytest.raises(UsageError, match=r"online phase .* found none"):
        online_table(results.read())
    for make in (reach_table, block_table, online_table):
        with pytest.raises(UsageError, match="at least one run"):
            make([])


def test_an_unknown_statistic_is_refused(everything: Results) -> None:
    for make in (reach_table, block_table, online_table):
        with pytest.raises(UsageError, match="unknown statistic 'median'"):
            make(everything.read(), statistic="median")  # type: ignore[arg-type]
