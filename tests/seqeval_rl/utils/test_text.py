"""Names of files and directories that are made of any text."""

import re
import unicodedata

import pytest
from hypothesis import given, strategies as st

from seqeval_rl.utils.text import csv_text, file_name, printable, some

texts = st.one_of(st.text(max_size=300), st.text("aA.-+_/ :é跳", max_size=12), st.from_regex(r"\A[\w.+-]{1,200}\Z"))
WINDOWS = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


@given(texts, texts)
def test_different_texts_have_different_names_on_every_file_system(one, other):
    for text in (one, other):
        name = file_name(text)
        assert re.fullmatch(r"[A-Za-z0-9_+][A-Za-z0-9.+_-]{0,149}", name)
        assert name[-1] not in ".-"
        assert not WINDOWS.fullmatch(name)
    same = unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
    assert (file_name(one) == file_name(other)) == same


@given(
    st.from_regex(r"\A[A-Za-z0-9_+]([A-Za-z0-9.+_-]{0,140}[A-Za-z0-9_+])?\Z").filter(lambda t: not WINDOWS.fullmatch(t))
)
def test_a_name_that_is_safe_stays(text):
    assert file_name(text) == text


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hopper-medium-v2", "hopper-medium-v2"),
        ("跳跃", "stream-"),
        ("hopper random, medium", "hopper-random-medium-"),
        ("../../etc", "etc-"),
        ("", "stream-"),
        ("..", "stream-"),
        ("con", "con-"),
        ("NUL.txt", "NUL.txt-"),
        ("caf\udce9", "caf-"),
    ],
)
def test_what_does_not_fit_is_replaced_by_a_hash(text, name):
    found = file_name(text)
    assert found == name if name == text else re.fullmatch(re.escape(name) + "[0-9a-f]{8}", found)


def test_composed_and_decomposed_letters_are_one_name():
    assert file_name("caf\u00e9") == file_name("cafe\u0301") != file_name("cafe")


def test_a_long_list_is_cut_to_three_and_a_count():
    assert some([]) == "none"
    assert some(["a", "b", "c"]) == "a, b, c"
    assert some(range(10)) == "0, 1, 2 and 7 more"


ANYTHING = st.text(st.characters(), max_size=30)


@given(ANYTHING)
def test_nothing_that_is_shown_controls_a_terminal(text):
    shown = printable(text)
    assert len(shown) == len(text)
    assert not any(unicodedata.category(letter) in ("Cc", "Cf") for letter in shown if letter not in "\n\t")
    assert printable("red \x1b[31m, back \b, C1 \x9b2J, right to left \u202e") == (
        "red  [31m, back  , C1  2J, right to left  "
    )


@given(ANYTHING)
def test_no_cell_of_a_csv_file_is_a_formula(text):
    cell = csv_text(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r")) or re.fullmatch(r"[+-][\d.]+(e[+-]?\d+)?", cell, re.I)
    assert cell.isprintable()


@pytest.mark.parametrize("text", ["-1.5", "+3", "-1e-05", "hopper", "> 0.5", "a=b", "", "↓"])
def test_numbers_and_other_texts_stay_as_they_are_in_csv(text):
    assert csv_text(text) == text


def test_a_formula_is_text_in_csv():
    assert csv_text('=HYPERLINK("http://example.org")') == '\'=HYPERLINK("http://example.org")'
    assert csv_text("-1+cmd|' /C calc'!A0") == "'-1+cmd|' /C calc'!A0"
