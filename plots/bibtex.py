"""The entries of a BibTeX text, checked to be sound."""

from __future__ import annotations

import re

_OPENING = re.compile(r"@(\w+)\s*\{\s*([^\s,{}\"#%'()=\\~@]+)\s*,")
_FIELD = re.compile(r"\s*([A-Za-z][\w-]*)\s*=\s*")
_WORD = re.compile(r"[A-Za-z0-9][\w-]*")


def entries(text: str) -> dict[str, str]:
    """The entries of a BibTeX text by key, in their order and as they are written; text between them is ignored.

    Values may be in braces or quotation marks, a number or one word; joining them by `#` is not supported.

    Raises:
        ValueError: an incomplete entry, unbalanced braces, or a key that occurs twice; the message says where.
    """
    by_key: dict[str, str] = {}
    start = text.find("@")
    while start >= 0:
        opening = _OPENING.match(text, start)
        if opening is None:
            raise ValueError(f"expected @type{{key, found {text[start : start + 20]!r}")
        key = opening[2]
        if key.lower() in map(str.lower, by_key):
            raise ValueError(f"expected each key once, found {key} twice")
        end = _end_of_entry(text, opening.end(), key)
        by_key[key] = text[start:end]
        start = text.find("@", end)
    return by_key


def _end_of_entry(text: str, place: int, key: str) -> int:
    """Index after the entry whose fields begin at `place`."""
    while True:
        closing = re.compile(r"\s*\}").match(text, place)
        if closing:
            return closing.end()
        field = _FIELD.match(text, place)
        if field is None:
            raise ValueError(
                f"{key}: expected a field or the closing brace, found {text[place : place + 20].strip()!r}"
            )
        place = _end_of_value(text, field.end(), f"{key}, {field[1]}")
        after = re.compile(r"\s*(,|(?=\}))").match(text, place)
        if after is None:
            raise ValueError(f"{key}, {field[1]}: expected a comma or the closing brace after the value")
        place = after.end()


def _end_of_value(text: str, place: int, where: str) -> int:
    """Index after the value that begins at `place`."""
    quoted = text[place : place + 1] == '"'
    if not quoted and text[place : place + 1] != "{":
        word = _WORD.match(text, place)
        if word is None:
            raise ValueError(f"{where}: expected a value in braces or quotation marks")
        return word.end()
    depth = 0
    for end in range(place + quoted, len(text)):
        letter = text[end]
        depth += (letter == "{") - (letter == "}")
        if depth < 0:
            break
        if depth == 0 and letter == ('"' if quoted else "}"):
            return end + 1
    raise ValueError(f"{where}: expected braces that balance and a closed value")
