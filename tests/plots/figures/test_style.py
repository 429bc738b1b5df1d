from __future__ import annotations

import itertools
import os
import re
from colorsys import rgb_to_hsv
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread

from seqeval_rl.errors import FileError, UsageError
from seqeval_rl.plots.figures import style
from seqeval_rl.plots.figures.layout import format_count, shorten, text_width, wrap

KNOWN = ["td3_bc", "iql", "cql", "awac", "bc"]


def test_every_style_differs_from_every_other_even_without_colour() -> None:
    styles = style.line_styles([*KNOWN, "a", "b", "c"])
    assert len({(str(look.line), look.marker) for look in styles.values()}) == len(styles)
    assert len({look.colour for look in styles.values()}) == len(styles)


def test_forty_algorithms_have_forty_styles() -> None:
    styles = style.line_styles(f"algorithm {i}" for i in range(40))
    assert len(set(styles.values())) == 40
    assert len(style.line_styles(f"algorithm {i}" for i in range(80))) == 80
    ours = style.line_styles([*KNOWN, "cal_ql", "edac", "fql", "rebrac", "sac_n"]).values()
    assert len({(look.colour, str(look.line)) for look in ours}) == len(ours)  # told apart without their markers


def test_known_algorithms_always_look_the_same() -> None:
    assert style.line_styles(["bc"])["bc"] == style.line_styles([*KNOWN, "mine"])["bc"]


def test_an_unknown_algorithm_keeps_its_style_among_known_ones_and_in_any_order() -> None:
    alone = style.line_styles(["mine"])["mine"]
    assert alone == style.line_styles([*KNOWN, "mine"])["mine"]
    for order in itertools.permutations(["mine", "yours", "iql"]):
        assert style.line_styles(order) == style.line_styles(["mine", "yours", "iql"])
    # Pinned: a figure drawn last year and one drawn today show the same algorithm in the same way.
    assert (alone.colour, alone.marker) == ("#E69F00", "P")


def swept(algorithm: str, number: int) -> list[str]:
    return [f"{algorithm} (alpha={place})" for place in range(number)]


def hue(colour: str) -> float:
    return rgb_to_hsv(*to_rgb(colour))[0]


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from([*KNOWN, "sac", "mine", "yours"]), st.integers(1, 12), min_size=1), st.booleans()
)
def test_hue_belongs_to_the_algorithm_and_line_and_marker_to_the_variant(numbers: dict[str, int], alone: bool) -> None:
    names = [name for algorithm, number in numbers.items() for name in swept(algorithm, number)]
    names += list(numbers) if alone else []
    looks = style.line_styles(reversed(names))
    own = style.line_styles(numbers)
    for name, look in looks.items():
        algorithm = name.partition(" (")[0]
        base = own[algorithm].colour
        # Black has no hue: its shades are greys.
        assert hue(look.colour) == pytest.approx(hue(base), abs=0.01) if base != "#000000" else hue(look.colour) == 0
        assert look.colour == base or name != algorithm
    for algorithm, number in numbers.items():
        first = style.legend_order(name for name in names if name.partition(" (")[0] == algorithm)[0]
        assert looks[first] == own[algorithm]
        of_one = [looks[name] for name in swept(algorithm, number)]
        assert len({(str(look.line), look.marker) for look in of_one}) == number
        assert len({look.colour for look in of_one}) == number
        # A figure of markers alone can be read too, as long as there are enough of them.
        assert len({look.marker for look in of_one}) == number or len(looks) > 30
    # Line and marker together tell everything apart in grey.
    assert len({(str(look.line), look.marker) for look in looks.values()}) == len(looks) or len(looks) > 70


def test_a_sweep_of_two_algorithms_gives_neither_the_others_colour() -> None:
    names = ["td3_bc (alpha=1)", "td3_bc (alpha=2.5)", "iql (expectile=0.7)", "iql (expectile=0.9)"]
    blue, other_blue, red, other_red = style.line_styles(names).values()
    assert (blue.colour, red.colour) == ("#0072B2", "#D55E00")
    assert abs(hue(other_blue.colour) - hue(blue.colour)) < 0.01 < abs(hue(other_blue.colour) - hue(red.colour))
    assert abs(hue(other_red.colour) - hue(red.colour)) < 0.01


def test_colours_stand_out_from_white() -> None:
    for look in style.line_styles([*KNOWN, "a", "b", "c", "sac", *(n for a in KNOWN for n in swept(a, 3))]).values():
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(look.colour)]
        luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        assert 1.05 / (luminance + 0.05) > 2.2, look


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (500, "500"), (1_000, "1k"), (2_500, "2.5k"), (250_000, "250k"), (1e6, "1M"), (1_250_000, "1.25M")],
)
def test_transitions_are_written_short(number: float, text: str) -> None:
    assert format_count(number) == text


def test_wrapped_and_shortened_text_fits() -> None:
    name = "someone/a-rather_long dataset-name, that goes on" + "x" * 60
    for width in (0.8, 1.5, 3.0):
        for lines in (None, 2):
            rows = wrap(name, width, lines).split("\n")
            assert all(text_width(row) <= width for row in rows)
            assert lines is None or len(rows) <= lines
    assert wrap("short", 3.0) == "short"
    assert shorten("abcdefghijklmnopqrstuvwxyz", 0.6).startswith("a")
    assert shorten("abcdefghijklmnopqrstuvwxyz", 0.6).endswith("z")


def figure(width: float = 2.0) -> Figure:
    made = Figure(figsize=(width, 1.5))
    made.subplots().set_title("Text of $8 pt$")
    return made


def test_save_writes_each_format_and_nothing_else(tmp_path: Path) -> None:
    paths = style.save(figure(), tmp_path / "a" / "b", "curves", ("png", "pdf", "svg"))
    assert paths == [tmp_path / "a" / "b" / f"curves.{ending}" for ending in ("png", "pdf", "svg")]
    assert sorted(os.listdir(tmp_path / "a" / "b")) == ["curves.pdf", "curves.png", "curves.svg"]
    assert imread(paths[0]).shape[:2] == (450, 600)  # 300 dpi
    pdf = paths[1].read_bytes()
    assert b"/Type3" not in pdf
    assert re.search(rb"/Subtype\s*/CIDFontType2|/Subtype\s*/TrueType|/Subtype\s*/Type0", pdf)
    assert imread(style.save(figure(), tmp_path, "small", ["png"], dpi=50)[0]).shape[:2] == (75, 100)


def test_the_same_figure_gives_the_same_bytes(tmp_path: Path) -> None:
    first = style.save(figure(), tmp_path / "1", "f", style.FORMATS)
    second = style.save(figure(), tmp_path / "2", "f", style.FORMATS)
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_a_figure_that_cannot_be_drawn_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = style.save(figure(), tmp_path, "f", ["png"])
    old = path.read_bytes()

    def full(self: Figure, file, **_: object) -> None:
        file.write_bytes(b"half a picture")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(FileError, match=r"figure 'f' in .*No space left on device"):
        style.save(figure(), tmp_path, "f", ["png"])
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["f.png"]


def test_save_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"figure format 'pgn'.*did you mean png"):
        style.save(figure(), tmp_path, "f", ["pgn"])
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="choose another directory"):
        style.save(figure(), tmp_path / "file" / "sub", "f", ["png"])
