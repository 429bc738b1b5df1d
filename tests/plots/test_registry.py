"""Figures and tables of others: a decorator and an entry point, and the command and Python find them."""

from __future__ import annotations

import inspect
import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from layouts import assert_nothing_overlaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from seqeval_rl.benchmarks.cli import main
from seqeval_rl.errors import UsageError
from seqeval_rl.plots import FIGURES, TABLES, draw, figure, score_table, table, tabulate

if TYPE_CHECKING:
    from seqeval_rl.plots import Table
    from seqeval_rl.results.read import RunResult
    from tests.plots.conftest import Results

EXAMPLE = Path(__file__).parents[2] / "examples" / "final_scores_figure.py"


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is forgotten after it, and entry points are looked up anew."""
    for registry in (FIGURES, TABLES):
        list(registry)
        monkeypatch.setattr(registry, "_registered", dict(registry._registered))
        monkeypatch.setattr(registry, "_complete", False)
    yield
    sys.modules.pop("final_scores_figure", None)


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, entry_points: str) -> None:
    """What `pip install` of a package with these entry points leaves on the path."""
    info = folder / "lab-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    monkeypatch.syspath_prepend(folder)


def test_the_example_is_drawn_by_the_command_and_in_python(
    quickstart: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = tmp_path / "site"
    install(site, monkeypatch, "[seqeval_rl.figures]\nfinal_scores = final_scores_figure\n")
    shutil.copy(EXAMPLE, site)
    root = str(quickstart.root)
    assert main(["plot", root, "--kind", "final_scores", "--sort", "--width", "4", "--format", "svg"]) == 0
    assert capsys.readouterr().out.strip() == f"{root}/final_scores.svg"
    assert "The last score of every run." in (quickstart.root / "final_scores.svg").read_text()
    with pytest.raises(SystemExit):
        main(["plot", "--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "final_scores: the last score of every run" in shown
    assert "highest mean score first (with --kind final_scores; default False)" in shown
    drawn = draw(quickstart.read(), "final_scores", width=4.0)
    FigureCanvasAgg(drawn).draw()
    assert_nothing_overlaps(drawn)
    assert [tick.get_text() for tick in drawn.axes[0].get_yticklabels()] == ["TD3+BC", "IQL", "CQL", "BC"]
    assert main(["plot", root, "--sort"]) == 2
    assert "found sort (an option of final_scores). Leave it out." in capsys.readouterr().err


def test_a_broken_entry_point_does_not_stop_the_others(
    quickstart: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site = tmp_path / "site"
    install(
        site,
        monkeypatch,
        "[seqeval_rl.figures]\nbroken = broken_figure\nfinal_scores = final_scores_figure\n"
        "[seqeval_rl.tables]\nabsent = no_such_module\n",
    )
    shutil.copy(EXAMPLE, site)
    (site / "broken_figure.py").write_text("1 / 0\n")
    with caplog.at_level(logging.WARNING):
        assert main(["plot", str(quickstart.root), "--kind", "final_scores"]) == 0
        assert main(["table", str(quickstart.root)]) == 0
    assert caplog.messages == [
        "figure 'broken' of the entry point broken_figure: cannot be loaded (ZeroDivisionError: division by zero). "
        "Correct or uninstall its package.",
        "table 'absent' of the entry point no_such_module: cannot be loaded (ModuleNotFoundError: No module named "
        "'no_such_module'). Correct or uninstall its package.",
    ]


def test_a_table_of_ones_own(quickstart: Results, capsys: pytest.CaptureFixture[str]) -> None:
    @table("ends", help="the score at the end")
    def ends(results: Sequence[RunResult], *, share: float = 1.0) -> Table:
        return score_table(results, shares=(share,))

    (made,) = tabulate(quickstart.read(), "ends", share=0.5)
    assert made.quantities[0] == "50 %"
    assert main(["table", str(quickstart.root), "--measures", "ends", "--share", "0.5", "--format", "csv"]) == 0
    assert "50 %" in capsys.readouterr().out
    with pytest.raises(UsageError, match="table ends: expected options among share, found statistic"):
        tabulate(quickstart.read(), "ends", statistic="mean")


def test_the_table_of_the_documentation(quickstart: Results) -> None:
    text = (EXAMPLE.parents[1] / "docs" / "your-own-figure.md").read_text(encoding="utf-8")
    (code,) = [block for block in text.split("```") if block.startswith("python") and "@table" in block]
    exec(code.removeprefix("python"), {"__name__": "documentation"})
    (made,) = tabulate(quickstart.read(), "last")
    assert [row.algorithm for row in made.rows] == ["TD3+BC", "IQL", "CQL", "BC"]
    assert "| TD3+BC | 3 |" in made.markdown()


def test_names_are_unique_and_a_cell_that_is_run_again_replaces_its_own(quickstart: Results) -> None:
    def mine(results: Sequence[RunResult]) -> Figure:
        return Figure()

    for _ in range(2):
        figure("mine", help="")(mine)
    assert isinstance(draw(quickstart.read(), "mine"), Figure)
    with pytest.raises(UsageError, match=r"figure 'curves': expected a name of its own .*learning_curves.curves"):
        figure("curves", help="")(mine)
    with pytest.raises(UsageError, match=r"figure 'mime'.*mine"):
        draw(quickstart.read(), "mime")


def test_every_option_has_a_text_and_every_default_fits_its_type() -> None:
    for registry in (FIGURES, TABLES):
        for registration in registry.values():
            assert registration.help
            for option in registration.options.values():
                assert option.default is not inspect.Parameter.empty
                assert option.help, f"{registration.sort} {registration.name}: {option.name}"


def test_an_option_that_the_command_cannot_parse_is_of_python_alone(
    quickstart: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    @figure("called", help="")
    def called(results: Sequence[RunResult], key: Any = None, out: str = "", levels: Sequence[int] = (1,)) -> Figure:
        assert tuple(levels) == (2, 3)
        return Figure()

    assert main(["plot", str(quickstart.root), "--kind", "called", "--levels", "2", "3"]) == 0
    assert isinstance(draw(quickstart.read(), "called", key=len, levels=(2, 3)), Figure)


def test_listing_imports_no_matplotlib() -> None:
    code = (
        "import sys\nfrom seqeval_rl.plots import FIGURES, TABLES\n"
        "assert all(each.options for each in (*FIGURES.values(), *TABLES.values()))\n"
        "sys.exit(', '.join({'torch', 'matplotlib'} & set(sys.modules)) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("registration", [FIGURES.find("curves"), TABLES.find("data")], ids=["figure", "table"])
def test_a_negative_seed_is_refused(registration, quickstart):
    with pytest.raises(UsageError, match="seed of the bootstrap from 0, found -1"):
        registration(quickstart.read(), seed=-1)
