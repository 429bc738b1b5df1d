"""The table of statuses: one line per run group, for any names, scores and width."""

import math
import re

import pytest
from hypothesis import given, strategies as st
from rich.cells import cell_len

from seqeval_rl.results.status_table import BLOCKS, GroupStatus, middle, ranges, short_count, sparkline, table
from seqeval_rl.utils.text import duration

numbers = st.floats() | st.none()
standings = st.builds(
    GroupStatus,
    dataset=st.text(max_size=80),
    algorithm=st.text(max_size=80),
    seeds=st.lists(st.integers(0, 99), min_size=1, max_size=10).map(tuple),
    transitions=st.none() | st.integers(0, 10**9),
    total=st.integers(1, 10**9),
    scores=st.lists(st.floats(-200, 200) | st.just(math.nan), max_size=40).map(tuple),
    latest=st.none() | st.floats(-200, 200) | st.just(math.nan),
    rate=st.none() | st.floats(0, 1e6),
    left=numbers,
    state=st.sampled_from(["", "running", "2 running, 1 finished"]),
)


@given(st.lists(standings, min_size=1, max_size=6), st.integers(40, 200))
def test_no_line_is_wider_than_asked_or_holds_control_characters(rows, width):
    lines = table(rows, width)
    assert len(lines) == len(rows) + 1
    for line in lines:
        assert cell_len(line) <= width
        assert all(letter.isprintable() for letter in line)
    assert all(letter.isprintable() for row in rows for letter in row.plain())


def test_a_narrow_table_loses_its_sparkline_first_and_then_the_middle_of_names():
    row = GroupStatus(
        "a dataset whose name is eighty characters long, most of which say nothing at all",
        "td3_bc,alpha=2.5", (0, 1, 2), 45_000, 100_000, (1.0, 30.0, 60.0), 61.25, 2130.0, 192.0, "2 running, 1 finished", 12.0,
    )  # fmt: skip
    wide, middling, narrow = ("\n".join(table([row], width)) for width in (200, 100, 60))
    assert row.dataset in wide
    for shown in ("▁▄█", "45,000/100,000", "61.2", "2,130", "3:12", "0:12", "0-2", "2 running, 1 finished"):
        assert shown in wide
    assert "█" not in middling
    assert re.search(r"^a dataset .*….*at all ", middling, re.MULTILINE)
    for shown in ("45k/100k", "61.2", "3:12", "2 run 1 fin", "…", "a d"):
        assert shown in narrow
    assert "2,130" not in narrow


@given(st.lists(st.floats(), max_size=60), st.integers(0, 30))
def test_a_sparkline_rises_and_falls_with_the_scores(scores, width):
    shown = sparkline(scores, width)
    assert len(shown) <= width
    assert set(shown) <= {*BLOCKS, " "}
    if len(scores) <= width:
        finite = {place: score for place, score in enumerate(scores) if math.isfinite(score)}
        for a, low in finite.items():
            for b, high in finite.items():
                assert low > high or BLOCKS.index(shown[a]) <= BLOCKS.index(shown[b])


def test_a_sparkline_averages_neighbours_and_leaves_a_gap_for_nan():
    assert sparkline([0, 0, 10, 30, 40, 40], 3) == "▁▅█"
    assert sparkline([1, math.nan, 3], 8) == "▁ █"
    assert sparkline([5, 5], 8) in ("▄▄", "▅▅")
    assert sparkline([math.nan], 8) == ""


@given(st.text(max_size=100), st.integers(3, 60))
def test_a_shortened_name_keeps_its_ends(name, width):
    shown = middle(name, width)
    assert cell_len(shown) <= width
    if shown != name:
        head, tail = shown.split("…", 1) if "…" not in name else ("", "")
        assert name.endswith(tail)
        assert name.startswith(head.rstrip())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0:00"), (42, "0:42"), (307, "5:07"), (3907, "1:05:07"), (183_600, "2d 03h"), (math.inf, "?")],
)
def test_durations_are_as_people_write_them(seconds, text):
    assert duration(seconds) == text


def test_counts_and_seeds_are_short():
    assert [short_count(n) for n in (950, 4_500, 45_000, 999_999, 1_000_000, 1_250_000)] == [
        "950", "4.5k", "45k", "999k", "1M", "1.25M",
    ]  # fmt: skip
    assert ranges([4, 0, 1, 2, 7, 1]) == "0-2,4,7"
