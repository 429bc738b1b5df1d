"""A third-party table: defined in a notebook, or in an installed package with an entry point."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from seqeval_rl.benchmarks.cli import main
from seqeval_rl.errors import UsageError
from seqeval_rl.plots import TABLES, Row, Table, table, tabulate
from seqeval_rl.plots.analysis.grouping import collect
from seqeval_rl.plots.tables.rows import make_row
from seqeval_rl.results.read import RunResult

if TYPE_CHECKING:
    from tests.plots.conftest import Results


MODULE = '''
from seqeval_rl.plots import Cell, Row, Table, table


@table("counts", help="number of evaluations of each run")
def count_table(results, *, factor: int = 1):
    """Evaluations of each run.

    Args:
        factor: that the numbers are multiplied by.
    """
    nan = float("nan")
    rows = tuple(
        Row(run.dataset, run.algorithm, None, (Cell(factor * len(run.evaluations), nan, nan, 1),), 1, 0, 0) for run in results
    )
    return Table(("evaluations",), rows, "Evaluations.", name="counts")
'''


@pytest.fixture(autouse=True)
def unchanged_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TABLES, "_registered", dict(TABLES.items()))


def test_a_table_defined_in_a_session_is_found_by_name(results: Results) -> None:
    @table("last", help="last score of each algorithm")
    def last_table(results: Sequence[RunResult], *, digits: int = 1) -> Table:
        rows: list[Row] = []
        for panel in collect(results):
            for group in panel.groups:
                scores = [[round(float(run.curve()[1][-1]), digits)] for run in group.runs]
                rows.append(make_row(panel.title, panel.mean_score, group, scores))
        return Table(("last",), tuple(rows), "Last scores.", name="last")

    for seed in range(2):
        results.add("iql", seed, scores=[20.0, 30.0 + seed], transitions=[0, 30_000])
    (made,) = tabulate(results.read(), "last")
    assert made.rows[0].cells[0].value == 30.5
    assert "| 30.5 [30.0, 31.0] |" in made.markdown()
    with pytest.raises(UsageError, match="found digit"):
        tabulate(results.read(), "last", digit=2)


def test_a_table_of_an_installed_package_is_an_option_of_the_command(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "site"
    (package / "lab_tables-1.dist-info").mkdir(parents=True)
    (package / "lab_tables.py").write_text(MODULE)
    (package / "lab_tables-1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: lab-tables\nVersion: 1\n"
    )
    (package / "lab_tables-1.dist-info" / "entry_points.txt").write_text("[seqeval_rl.tables]\ncounts = lab_tables\n")
    monkeypatch.syspath_prepend(package)
    monkeypatch.setattr(TABLES, "_complete", False)
    results.add("iql", 0, points=3)
    number = len(results.read()[0].evaluations)
    assert main(["table", str(results.root), "--measures", "counts", "--factor", "2", "--format", "csv"]) == 0
    assert f",evaluations,{2 * number}," in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["table", "--help"])
    assert "counts: number of evaluations of each run" in " ".join(capsys.readouterr().out.replace("│", " ").split())
