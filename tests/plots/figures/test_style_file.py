"""A user's own looks."""

from __future__ import annotations

from colorsys import rgb_to_hsv
from typing import TYPE_CHECKING

import pytest
from matplotlib.colors import to_rgb

from seqeval_rl.benchmarks.cli import main
from seqeval_rl.errors import FileError, UsageError
from seqeval_rl.plots import curves, profile, score_table, styled
from seqeval_rl.plots.analysis.naming import display_name, legend_order
from seqeval_rl.plots.figures.style import line_styles

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plots.conftest import Results


def hue(colour: str) -> float:
    return rgb_to_hsv(*to_rgb(colour))[0]


MINE = """
[td3_bc]
name = "Ours <$_%>"
colour = "navy"
line = "dotted"
marker = "*"

[mine]
hollow = true
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "mine.toml").write_text(MINE)
    return tmp_path / "mine.toml"


def test_a_style_file_holds_inside_and_nowhere_else(mine: Path) -> None:
    names = ["td3_bc", "iql", "mine"]
    before = line_styles(names)
    with styled(mine):
        inside = line_styles(names)
        assert display_name("td3_bc") == "Ours <$_%>"
        assert legend_order(["bc", "td3_bc (alpha=1)", "iql"]) == ["td3_bc (alpha=1)", "iql", "bc"]
    assert (inside["td3_bc"].colour, inside["td3_bc"].marker) == ("#000080", "*")
    assert inside["td3_bc"].line != before["td3_bc"].line
    assert inside["iql"] == before["iql"]
    assert inside["mine"].hollow
    assert inside["mine"].colour == before["mine"].colour
    assert line_styles(names) == before
    assert display_name("td3_bc") == "TD3+BC"


def test_every_figure_and_table_has_the_name(quickstart: Results, mine: Path) -> None:
    with styled(mine):
        for figure in (curves(quickstart.read()), profile(quickstart.read())):
            assert figure.legends[0].get_texts()[0].get_text() == "Ours <$_%>"
            assert figure.legends[0].get_lines()[0].get_color() == "#000080"
        assert r"Ours \textless{}\$\_\%\textgreater{}" in score_table(quickstart.read()).latex()


def test_an_algorithms_colour_is_that_of_its_variants_and_a_variant_has_its_own_table(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text(
        "[td3_bc]\nname = 'Ours'\ncolour = '#AA3377'\n['Ours (alpha=2)']\nmarker = '*'\n[iql]\nline = 'dotted'"
    )
    names = ["td3_bc (alpha=1)", "td3_bc (alpha=2)", "td3_bc (alpha=4)", "iql"]
    with styled(file):
        looks = line_styles(names)
    first, second, third, _ = looks.values()
    assert first.colour == "#aa3377"
    assert second.marker == "*"
    assert [hue(look.colour) for look in (second, third)] == pytest.approx([hue("#aa3377")] * 2, abs=0.01)


def test_a_static_control_follows_its_own(results: Results, mine: Path) -> None:
    with styled(mine):
        looks = line_styles(["td3_bc", "td3_bc (static control)"])
    assert {look.colour for look in looks.values()} == {"#000080"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a]\ncolor = 'red'", r"entry 'color'.*line 2.*did you mean colour"),
        ("[a]\ncolour = 'reddish'", r"colour in \[a\].*line 2: expected a colour, found 'reddish'"),
        ("[a]\nline = 'dashed'", r"line 'dashed'"),
        ("[a]\nmarker = 'circle'", r"marker 'circle'"),
        ("[a]\nhollow = 1", r"hollow in \[a\].*line 2: expected bool, found 1"),
        ("[a]\nname = ' '", r"name in \[a\].*expected text"),
        ("a = 1", r"\[a\] of style file.*line 1: expected a table"),
        ("\n[a", r"line 2.*expected TOML.*found '\[a'"),
    ],
)
def test_a_bad_style_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(UsageError, match=said), styled(tmp_path / "s.toml"):
        pass
    with pytest.raises(FileError, match="cannot be read"), styled(tmp_path / "none.toml"):
        pass


def test_the_commands_take_it(quickstart: Results, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(quickstart.root)
    assert main(["table", root, "--style", str(mine), "--format", "text"]) == 0
    assert "Ours <$_%>" in capsys.readouterr().out
    plot = ["plot", root, "--style", str(mine), "--format", "svg", "--x", "share", "--metric", "return"]
    assert main([*plot, "--width", "3.25", "--no-caption"]) == 0
    (path,) = capsys.readouterr().out.split()
    assert path.endswith("curves-return-share.svg")
    assert "#000080" in (quickstart.root / "curves-return-share.svg").read_text()
    assert main(["plot", root, "--width", "wide"]) == 2
    assert "figure width" in capsys.readouterr().err
    for option in (["--x", "share"], ["--metric", "return"], ["--seeds-shown"]):
        assert main(["plot", root, "--kind", "profile", *option]) == 2
        name = option[0].removeprefix("--").replace("-", "_")
        assert f"found {name} (an option of curves)" in capsys.readouterr().err
        assert main(["plot", "--paper-figure", "offline", *option]) == 2
        assert (
            f"--paper-figure offline: expected options among width, caption, seed, found {name}"
            in capsys.readouterr().err
        )
