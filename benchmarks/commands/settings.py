"""`seqeval settings`: the settings of the protocol, the keys of suites and streams, and the attributes of algorithms."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from pydantic import BaseModel

from seqeval_rl.benchmarks.arguments.run import Settings
from seqeval_rl.benchmarks.suite_file import CustomTask, StreamEntry, SuiteFile
from seqeval_rl.interface.algorithm import Algorithm
from seqeval_rl.protocol import Protocol
from seqeval_rl.utils.text import show

_KEYS: tuple[tuple[str, str, type[BaseModel]], ...] = (
    ("the protocol: --set protocol.NAME=VALUE, or [protocol] in a suite", "protocol.", Protocol),
    ("keys of a suite's file", "", SuiteFile),
    (
        'keys of a stream: streams = [{ name = "hopper", blocks = ["bundled/hopper/medium"] }]; pure online learning: '
        'blocks = [], task = "hopper", and protocol.online',
        "",
        StreamEntry,
    ),
    ('keys of a task that is a table: task = { name = "mine", env_id = "Mine-v0" }', "", CustomTask),
)


def settings(_: Settings) -> None:
    """Print them, each with its default and its meaning."""
    for heading, prefix, model in _KEYS:
        print(f"# {heading}")
        for name, field in model.model_fields.items():
            value = "(required)" if field.is_required() else f"= {show(field.default) or repr('')}"
            print(f"{prefix}{name} {value}  # {field.description}")
        print()
    for section in ("Class attributes", "Fields of `Config` with a meaning for the harness"):
        print(f"# an algorithm: {section[0].lower()}{section[1:].replace('`', '')}")
        for name, meaning in described(Algorithm, section):
            print(f"{name}  # {meaning}")
        print()
    print("`seqeval algorithms` prints every algorithm's settings, which --set ALGORITHM.NAME=VALUE takes.")


def described(documented: type, section: str) -> Iterator[tuple[str, str]]:
    """The entries `name: meaning` of a section of a class's docstring."""
    text = inspect.getdoc(documented) or ""
    (_, body) = text.split(f"{section}:\n", 1)
    body = re.split(r"\n\n|\n(?=\S)", body, maxsplit=1)[0]
    for entry in re.split(r"\n(?=    \S)", body):
        name, _, meaning = " ".join(entry.split()).partition(": ")
        yield name, meaning.rstrip(".")
