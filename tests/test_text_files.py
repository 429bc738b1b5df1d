"""Every text file is read and written as UTF-8, whatever the locale."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [
    path
    for folder in ("seqeval_rl", "algorithms", "benchmarks", "plots", "examples", "docs")
    for path in (ROOT / folder).rglob("*.py")
]
TEXT_MODE = re.compile(r"[rwaxt+]+")


def without_encoding(call: ast.Call) -> bool:
    """Whether a call opens a text file in the encoding of the locale."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if any(keyword.arg == "encoding" for keyword in call.keywords):
        return False
    if name in ("read_text", "write_text"):
        return True
    modes = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    return name == "open" and (not call.args or any(TEXT_MODE.fullmatch(mode) for mode in modes))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_encoding_is_named(path):
    calls = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
    assert [f"{path}:{call.lineno}" for call in calls if without_encoding(call)] == []
