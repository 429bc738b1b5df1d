"""The options of `seqeval plot` and `seqeval table`: those of every registered figure or table become options of the command."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from tyro.conf import arg

from seqeval_rl.plots.registry import Option, Registration

# As values: these types are made at run time, which type checkers cannot follow.
_ANNOTATED: Any = Annotated
_TUPLE: Any = tuple
_UNION: Any = Union


def with_options(command: type, choice: str, registry: Mapping[str, Registration]) -> type:
    """The command with a field for each option that a registered figure or table takes.

    An option whose type the command cannot parse, or whose name is a field of the command, is one of the Python API alone.

    Args:
        command: `Plot` or `Table`.
        choice: its field that names the figure or table.
        registry: `seqeval_rl.plots.FIGURES` or `TABLES`.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(command)}
    registered = dict(sorted(registry.items(), key=lambda item: (item[0] != defaults[choice], item[0])))
    names = "; ".join(f"{name}: {registration.help}" for name, registration in registered.items())
    fields: list[tuple[str, Any, Any]] = [
        (choice, Annotated[str, arg(help=names, metavar=choice.upper())], defaults[choice])
    ]
    takers: dict[str, dict[str, Option]] = {}
    for name, registration in registered.items():
        for option in registration.options.values():
            takers.setdefault(option.name, {})[name] = option
    for name, options in takers.items():
        types = list(dict.fromkeys(each for option in options.values() for each in _parsed(option.type)))
        if types and name not in defaults:
            only = "" if len(options) == len(registry) else f"with --{choice} {', '.join(options)}"
            fields.append(_field(name, options, types, only))
    return dataclasses.make_dataclass(
        command.__name__, fields, bases=(command,), namespace={"__doc__": command.__doc__}, frozen=True
    )


def given_options(command: Any, base: type) -> dict[str, Any]:
    """The options that `with_options` added to `base` and that the user gave a value other than the default."""
    own = {field.name for field in dataclasses.fields(base)}
    options = [field for field in dataclasses.fields(command) if field.name not in own]
    return {field.name: value for field in options if (value := getattr(command, field.name)) != field.default}


def _parsed(annotation: Any) -> list[Any]:
    """The types that the command can parse, without None, a string last since any text is one; empty for all others."""
    if annotation in (bool, int, float, str, Path) or get_origin(annotation) is Literal:
        return [annotation]
    if get_origin(annotation) in (Union, UnionType):
        parts = [_parsed(part) for part in get_args(annotation) if part is not NoneType]
        return sorted((each for part in parts for each in part), key=lambda each: each is str) if all(parts) else []
    if get_origin(annotation) is Sequence and len(parts := _parsed(get_args(annotation)[0])) == 1:
        return [_TUPLE[parts[0], ...]]
    return []


def _field(name: str, options: Mapping[str, Option], types: list[Any], only: str) -> tuple[str, Any, Any]:
    """Name, type and default of the command's field: None for an option that is not given, but for flags."""
    kinds: dict[str, list[str]] = {}  # by default
    for kind, option in options.items():
        kinds.setdefault(_shown(option.default), []).append(kind)
    *others, usual = sorted(kinds, key=lambda default: len(kinds[default]))
    default = "; ".join([*(f"{each} with {', '.join(kinds[each])}" for each in others), usual])
    hint = "; ".join(part for part in (only, f"default {default}" if default else "") if part)
    text = next((option.help for option in options.values() if option.help), "").rstrip(".")
    flag = types == [bool] and len(kinds) == 1
    metavar = None if flag else "|".join(dict.fromkeys(map(_metavar, types)))
    annotation = _ANNOTATED[
        bool if flag else _UNION[(*types, None)],
        arg(help=text, help_behavior_hint=f"({hint})" if hint else "", metavar=metavar),
    ]
    return name, annotation, next(iter(options.values())).default if flag else None


def _metavar(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"{{{','.join(map(str, get_args(kind)))}}}"
    if get_origin(kind) is tuple:
        return f"{_metavar(get_args(kind)[0])} ..."
    return {bool: "{True,False}", str: "NAME", Path: "FILE"}.get(kind, "NUMBER")


def _shown(default: Any) -> str:
    """A default in the help; empty for None."""
    if isinstance(default, tuple):
        return " ".join(map(_shown, default))
    return "" if default is None else str(default)
