"""The tables `adaptation`: what they hold, their marks, and what is left out."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import numpy as np
import pytest

from seqeval_rl.errors import UsageError
from seqeval_rl.plots import adaptation_tables, change, published_results
from seqeval_rl.plots.tables.table import Table

if TYPE_CHECKING:
    from tests.plots.conftest import Results

TIMES = [0, 5_000, 10_000, 12_500, 15_000, 17_500, 20_000, 25_000, 30_000]
SLOW = [0.0, 5.0, 5.0, 5.0, 5.0, 25.0, 45.0, 45.0, 45.0]
FAST = [0.0, 5.0, 5.0, 45.0, 45.0, 45.0, 45.0, 20.0, 20.0]


def column(table: Table, name: str) -> list[float]:
    return [row.cells[table.quantities.index(name)].value for row in table.rows]


@pytest.fixture
def mixed(results: Results) -> Results:
    """Two algorithms on a stream of three blocks, the faster one with its control."""
    for seed in range(3):
        times = {"transitions": TIMES, "seconds": 4.0, "change_size": 2.0, "device": "cpu"}
        results.add("bc", seed, scores=[score + seed / 10 for score in SLOW], **times)  # type: ignore[arg-type]
        results.add("iql", seed, scores=[score + seed / 10 for score in FAST], **times)  # type: ignore[arg-type]
        results.add("iql", seed, scores=[30.0] * 9, interleave=True, **times)  # type: ignore[arg-type]
    return results


def test_there_are_three_tables_and_the_faster_algorithm_has_the_smaller_lag(mixed: Results) -> None:
    speed, drift, compute = adaptation_tables(mixed.read())
    assert [row.dataset.partition(": ")[2] for row in speed.rows[::2]] == [
        "random → medium, D = 2.00",
        "medium → expert, D = 2.00",
    ]
    assert [row.algorithm for row in speed.rows] == ["IQL", "BC"] * 2
    assert column(speed, "lag")[:2] == pytest.approx([1_250, 20_000 / 3])
    assert column(speed, "to block mean")[:2] == [2_500, 10_000]
    # IQL falls by 25 after the second boundary.
    assert column(speed, "dip / D")[2] == pytest.approx(25 / 2)
    assert column(speed, "forgotten / D")[2] == pytest.approx(25 / 2)
    assert [(row.algorithm, row.runs) for row in drift.rows] == [("IQL", 3)]
    ours, theirs, sensitivity = (cell.value for cell in drift.rows[0].cells)
    assert theirs == pytest.approx(30)
    assert sensitivity == pytest.approx(theirs - ours)
    assert compute.quantities == ("gradient steps", "training ms", "evaluation ms", "training FLOP", "evaluation FLOP")
    assert [row.algorithm for row in compute.rows] == ["IQL", "IQL (interleaved)", "BC"]


def test_the_speed_is_that_of_the_mean_curve_as_in_the_table_of_blocks(mixed: Results) -> None:
    speed = adaptation_tables(mixed.read())[0]
    found = change(TIMES, np.array(FAST) + 0.1, 10_000, 20_000)
    assert column(speed, "before")[0] == pytest.approx(float(found.before))
    assert column(speed, "level")[0] == pytest.approx(float(found.level))


def test_declines_and_limits_are_marked_in_every_format_and_never_best(mixed: Results) -> None:
    speed = adaptation_tables(mixed.read())[0]
    text = speed.markdown()
    assert "> 10k" in text.replace("\\", "")
    assert "↓ " in text
    assert "**> " not in text.replace("\\", "")
    assert "**↓" not in text
    assert r"$\downarrow$" in speed.latex()
    marks = {line["mark"] for line in csv.DictReader(io.StringIO(speed.csv()))}
    assert marks == {"", "↓", "> 10000"}
    # Alone in reaching the block's mean score.
    row = next(line for line in text.splitlines() if "random → medium" in line and " IQL " in line)
    assert "**2.5k" in row


def test_a_curve_that_overshoots_is_not_the_fastest(results: Results) -> None:
    for seed in range(3):
        results.add("bc", seed, transitions=TIMES, scores=SLOW)
        results.add("iql", seed, transitions=TIMES, scores=FAST)
        results.add("cql", seed, transitions=TIMES, scores=[0.0, 5.0, 5.0, 90.0, 90.0, 15.0, 15.0, 0.0, 0.0])
    speed = adaptation_tables(results.read())[0]
    assert [row.algorithm for row in speed.rows[:3]] == ["IQL", "CQL", "BC"]
    assert column(speed, "lag")[1] < 0
    assert [2 in row.bold for row in speed.formatted()[:3]] == [True, False, False]


def test_only_equal_hardware_is_compared(results: Results) -> None:
    for seed, processor in enumerate(("2 x A", "2 x A", "8 x B")):
        results.add("iql", seed, seconds=1.0 + seed, processor=processor, device="cpu")
        results.add("bc", seed, seconds=10.0, processor=processor, device="cpu")
    compute = adaptation_tables(results.read())[-1]
    assert [(row.dataset.partition(" on ")[2], row.algorithm, row.runs) for row in compute.rows] == [
        ("cpu with 2 x A", "IQL", 2), ("cpu with 2 x A", "BC", 2), ("cpu with 8 x B", "IQL", 1), ("cpu with 8 x B", "BC", 1),
    ]  # fmt: skip


def test_the_published_curves_have_no_size_no_control_and_no_compute() -> None:
    (speed,) = adaptation_tables(published_results("mixed"))
    assert speed.quantities == ("before", "level", "lag", "to block mean")
    assert len(speed.rows) == 3 * 2 * 5


def test_a_control_alone_has_its_compute(results: Results) -> None:
    results.add("iql", interleave=True, seconds=1.0)
    (compute,) = adaptation_tables(results.read())
    assert compute.name == "compute"


def test_results_without_any_of_it_are_refused(results: Results) -> None:
    results.add("iql", blocks=(("medium", 0, 20_000, 45.0),), transitions=[1_000], scores=[1.0])
    with pytest.raises(UsageError, match="block boundaries"):
        adaptation_tables(results.read())
    with pytest.raises(UsageError, match="at least one run"):
        adaptation_tables([])


def test_an_unknown_statistic_is_refused(mixed: Results) -> None:
    with pytest.raises(UsageError, match="unknown statistic 'median'"):
        adaptation_tables(mixed.read(), statistic="median")  # type: ignore[arg-type]
