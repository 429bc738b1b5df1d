"""Errors for users: each says what and where, what was expected and found, and what to do, and has the command's exit code."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

_LISTED = 24  # valid names that a message lists
_SHOWN = 80  # characters of a wrong value that a message shows


class SeqevalError(Exception):
    """Base of every error that is the user's or the machine's rather than a bug; `exit_code` is the command's."""

    exit_code = 1


class UsageError(SeqevalError):
    """An unknown name, or a setting of the wrong type or out of range."""

    exit_code = 2


class DivergedError(SeqevalError):
    """Runs of a sweep diverged; all others are finished."""

    exit_code = 3


class RunError(SeqevalError):
    """What a run was given does not work: an algorithm or an environment that raises, or that returns something wrong.

    It ends the runs that train together there, and the others of the sweep continue.
    """


class DataError(SeqevalError):
    """A dataset that cannot be used: empty, NaN, wrong shapes, actions outside the bounds, a damaged file."""

    exit_code = 65


class EnvironmentMissingError(RunError):
    """The environment of a task is not installed or does not start."""

    exit_code = 69


class FileError(SeqevalError):
    """Reading or writing failed: unwritable directory, disk full."""

    exit_code = 74


class Interrupted(SeqevalError):
    """Stopped by the user or the system after saving; the same command resumes."""

    exit_code = 75


class BusyError(SeqevalError):
    """Another process owns the output directory."""

    exit_code = 76


class MismatchError(SeqevalError):
    """The results in the directory were produced with other settings."""

    exit_code = 78


@contextmanager
def writing(what: object, remedy: str) -> Iterator[None]:
    """Inside of this context an `OSError` is raised as a `FileError`: `what` cannot be written, why, and `remedy`."""
    try:
        yield
    except OSError as error:
        raise FileError(f"{what}: cannot be written ({error.strerror or error}). {remedy}") from error


class Place(str):
    """Where settings were found, for messages; knows more exactly where one of them is."""

    exactly: Callable[[str], str | None]

    def __new__(cls, text: str, exactly: Callable[[str], str | None]) -> Place:
        """`exactly` takes a setting, for example `td3_bc.alpha`, and says on which line of which file it is, if it knows."""
        place = super().__new__(cls, text)
        place.exactly = exactly
        return place


def at(where: str, setting: str) -> str:
    """Where a setting was found, as exactly as is known."""
    return (where.exactly(setting) if isinstance(where, Place) else None) or where


def unknown(kind: str, name: str, valid: Iterable[str], where: str = "") -> UsageError:
    """A `UsageError` for a name that is not known, with the nearest valid names.

    Args:
        kind: what the name should be, for example "algorithm".
        name: what was found.
        valid: every valid name, and forms of names such as "minari:<id>", which are shown first.
        where: where it was found, for example "--algorithms".
    """
    names = sorted(valid, key=lambda each: ("<" not in each, each))
    near = _nearest(name, names)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    place = f" in {where}" if where else ""
    shown, more = ", ".join(names[:_LISTED]) or "none", len(names) - _LISTED
    valid_names = f"{shown} and {more} more" if more > 0 else shown
    return UsageError(f"unknown {kind} {name!r}{place}: {hint}Valid: {valid_names}.")


def _nearest(name: str, names: list[str]) -> list[str]:
    """At most three names: those that are this one with something in front, else those that are written like it."""
    wanted = name.casefold()
    longer = [each for each in names if each.casefold().endswith((f":{wanted}", f"/{wanted}"))]
    folded = {each.casefold(): each for each in reversed(names)}
    return longer[:3] or [folded[each] for each in difflib.get_close_matches(wanted, folded, n=3, cutoff=0.4)]


def invalid(error: ValidationError, section: str, where: str) -> UsageError:
    """pydantic's first error as one line."""
    first = error.errors(include_url=False)[0]
    # pydantic adds the type to the path where a setting may have one of several.
    path = ".".join(str(part) for part in (section, *first["loc"]) if part not in ("int", "float"))
    return UsageError(f"setting {path} in {at(where, path)}: {problem(first)}. Change it and run again.")


def problem(error: Mapping[str, Any]) -> str:
    """What an error of pydantic's list expected, and what it found, without the contents of large values."""
    if error["type"] == "missing":
        return "expected a value, found none"
    expected, found = error["msg"].removeprefix("Value error, "), error["input"]  # the prefix of validators' errors
    shown = f"a table of {len(found)} entries" if isinstance(found, dict) else repr(found)
    if len(shown) > _SHOWN:
        shown = f"a list of {len(found)} values" if isinstance(found, (list, tuple)) else f"{shown[:_SHOWN]}…"
    return f"{expected.replace('Input should be', 'expected', 1)}, found {shown}"
