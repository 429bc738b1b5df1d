"""The terminal: progress bars, output in any encoding, and standard streams that are closed."""

from __future__ import annotations

import codecs
import logging
import os
import sys
from functools import cache
from typing import IO, Any

from tqdm import tqdm

from seqeval_rl.utils.text import printable

# What an encoding lacks is written so; of anything else the code is shown, so that different names stay different.
_REPLACEMENTS = {
    "–": "-", "—": "-", "−": "-", "…": "~", "·": "*", "•": "*", "×": "x", "±": "+-", "²": "^2", "≥": ">=", "≤": "<=",
    "→": "->", "←": "<-", "\N{NO-BREAK SPACE}": " ", "é": "e",
    "α": "alpha", "β": "beta", "γ": "gamma", "λ": "lambda", "ρ": "rho", "σ": "sigma", "τ": "tau",
    "─": "-", "━": "-", "│": "|", **dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼", "+"),
}  # fmt: skip
_HANDLER = "seqeval.replace"


def _replace(error: UnicodeError) -> tuple[str, int]:
    """An error handler of codecs."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    shown = (_REPLACEMENTS.get(letter, letter) for letter in letters)
    return "".join(text.encode("ascii", "backslashreplace").decode("ascii") for text in shown), error.end


codecs.register_error(_HANDLER, _replace)


def prepare_streams() -> None:
    """Make standard output and error of this process usable, whatever they are: closed, or in any encoding."""
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if not _is_open(stream):
            # It takes the place of the closed descriptor: otherwise a file would, and get what libraries print.
            nowhere = open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8")  # noqa: SIM115
            os.set_inheritable(nowhere.fileno(), True)
            setattr(sys, name, nowhere)
        elif name != "stdin":
            getattr(stream, "reconfigure", lambda **_: None)(errors=_HANDLER)


def say(*parts: object, end: str = "\n", flush: bool = False) -> None:
    """`print` of text that may hold anything: names and messages from files, of which nothing controls the terminal."""
    print(printable(" ".join(map(str, parts))), end=end, flush=flush)


class _Printable(logging.Formatter):
    """Messages for the log on standard error."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def log_to_stderr() -> None:
    """Show warnings on standard error, one line each."""
    logging.basicConfig(level=logging.WARNING)
    for handler in logging.getLogger().handlers:
        if type(handler) is logging.StreamHandler:  # not those of a test or of a program that uses this one
            handler.setFormatter(_Printable("%(message)s"))


def finish_streams() -> None:
    """Write what is buffered. Raises `OSError` where standard output cannot be written; from then on it is written to nowhere."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def error_stream() -> IO[str]:
    """Standard error, or a stream to nowhere where it is closed."""
    return sys.stderr if _is_open(sys.stderr) else _nowhere()


def is_terminal(stream: Any) -> bool:
    """Whether a stream is open and a terminal."""
    return _is_open(stream) and bool(stream.isatty())


def can_show(text: str, stream: Any) -> bool:
    """Whether the stream's encoding has these letters."""
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def progress_bar(description: str, total: int | None, shown: bool, unit: str = " transitions", **options: Any) -> Any:
    """A bar of tqdm on standard error; where that is no terminal, a line every ten seconds at most."""
    stream = error_stream()
    return tqdm(
        desc=description, total=total, unit=unit, unit_scale=True, disable=not shown, file=stream,
        mininterval=0.2 if is_terminal(stream) else 10.0, **options,
    )  # fmt: skip


def _is_open(stream: Any) -> bool:
    return stream is not None and not getattr(stream, "closed", False)


@cache
def _nowhere() -> IO[str]:
    return open(os.devnull, "w", encoding="utf-8")
