"""TOML files: what is wrong in them is named with its line."""

import tomllib

import pytest
from hypothesis import given, strategies as st

from seqeval_rl.utils.toml import line_of, lines, parse

TEXT = """
# a comment

seeds = [0, 1]
streams = [
    { name = "a" },
]

[settings.bc]
hidden = [
    64,
]
text = '''
[no.table]
'''
[[more]]
name = "b"
"""


def test_a_key_is_found_on_its_line():
    for path, line in {
        "seeds": 4, "seeds.1": 4, "streams.0.name": 5, "settings": 9, "settings.bc": 9, "settings.bc.hidden": 10,
        "settings.bc.text": 13, "more.0.name": 17, "more.0.missing": 16, "settings.bc.hidden.7.x": 10,
    }.items():  # fmt: skip
        assert line_of(TEXT, path) == line, path
    assert line_of(TEXT, "missing.key") is None


@given(st.lists(st.tuples(st.booleans(), st.integers()), max_size=20))
def test_lines_count_what_lies_between(rows):
    text = "".join(f"# {number}\n" * blank + f"key{i} = {number}\n" for i, (blank, number) in enumerate(rows))
    found = lines(text)
    for path, line in found.items():
        assert text.split("\n")[line - 1].startswith(f"{path} =")
    assert len(found) == len(rows)


def test_byte_order_mark_and_line_ends_of_windows_are_read():
    assert parse(b"\xef\xbb\xbfa = 1\r\nb = 2\r\n")[0] == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (b"a = 1\nname = hopper\n", ["line 2, column 8", "quotation marks", "'name = hopper'"]),
        (b"a = [1,\n\n", ["line 1, the end", "'a = [1,'"]),
        ('a = 1\nb = "跳跃"\n'.encode("gbk"), ["line 2", "UTF-8", "0xcc"]),
        ("a = 1\n".encode("utf-16"), ["line 1", "UTF-8", "0xff"]),
        (b"a = 1\na = 2\n", ["line 2", "Cannot overwrite a value"]),
    ],
)
def test_what_is_wrong_is_named_with_its_line(contents, words):
    with pytest.raises(ValueError, match="line") as error:
        parse(contents)
    assert not isinstance(error.value, (tomllib.TOMLDecodeError, UnicodeDecodeError))
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


@given(st.one_of(st.binary(max_size=40), st.text(max_size=40).map(str.encode)))
def test_any_contents_are_read_or_refused_in_one_line(contents):
    refused = ""
    try:
        tables, text = parse(contents)
    except ValueError as error:
        refused = str(error)
    else:
        assert tables == tomllib.loads(text)
    assert not refused or (refused.startswith("line ") and "\n" not in refused)
