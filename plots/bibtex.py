"""Reading BibTeX just far enough to hand it on: entries by key, and a refusal of what would break somebody's bibliography."""

from __future__ import annotations

import re

_OPENING = re.compile(r"@(\w+)\s*\{\s*([^\s,{}\"#%'()=\\~@]+)\s*,")
_FIELD = re.compile(r"\s*([A-Za-z][\w-]*)\s*=\s*")
_WORD = re.compile(r"[A-Za-z0-9][\w-]*")


def entries(text: str) -> dict[str, str]:
    """The entries of `text`, each as it is written there, by key and in their order; what lies between them is dropped.

    Values are in braces or quotation marks, or a number or one word; they are not joined by `#`, and braces balance.

    Raises:
        ValueError: an entry that is not whole, or a key twice; says which and what is wrong.
    """
    found: dict[str, str] = {}
    place = text.find("@")
    while place >= 0:
        opening = _OPENING.match(text, place)
        if opening is None:
            raise ValueError(f"expected @type{{key, found {text[place : place + 20]!r}")
        key = opening[2]
        if key.lower() in map(str.lower, found):
            raise ValueError(f"expected each key once, found {key} twice")
        end = _fields(text, opening.end(), key)
        found[key] = text[place:end]
        place = text.find("@", end)
    return found


def _fields(text: str, place: int, key: str) -> int:
    """Where the entry ends whose fields begin at `place`."""
    while True:
        closing = re.compile(r"\s*\}").match(text, place)
        if closing:
            return closing.end()
        field = _FIELD.match(text, place)
        if field is None:
            raise ValueError(
                f"{key}: expected a field or the closing brace, found {text[place : place + 20].strip()!r}"
            )
        place = _value(text, field.end(), f"{key}, {field[1]}")
        after = re.compile(r"\s*(,|(?=\}))").match(text, place)
        if after is None:
            raise ValueError(f"{key}, {field[1]}: expected a comma or the closing brace behind the value")
        place = after.end()


def _value(text: str, place: int, where: str) -> int:
    """Where the value ends that begins at `place`."""
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
