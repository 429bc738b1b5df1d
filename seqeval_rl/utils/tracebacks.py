"""Where in the code of a user an exception was raised: an algorithm, an environment, a logger."""

from __future__ import annotations

import sysconfig
import traceback

from seqeval_rl.utils.text import one_line

_INSTALLED = "site-packages", "dist-packages"
_STDLIB = sysconfig.get_path("stdlib"), "<"  # the latter: code without a file


def raised_at(error: BaseException, module: str = "") -> str:
    """File and line of a user at which `error` was raised, as `my_file.py, line 12`; empty where its traceback has none.

    This is the innermost line of `module`'s package, if there is one; else the innermost line outside of installed packages. So
    an error inside of torch is placed where the user's code calls torch, and a file that Python cannot parse where it is wrong.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    frames = list(traceback.walk_tb(error.__traceback__))
    names = [str(frame.f_globals.get("__name__", "")) for frame, _ in frames]
    package = module if _is_ours(module) else module.partition(".")[0]
    own = [package != "" and f"{name}.".startswith(f"{package}.") for name in names]
    if not any(own):
        own = [
            not _is_ours(name) and not file.startswith(_STDLIB) and not any(part in file for part in _INSTALLED)
            for name, file in zip(names, (frame.f_code.co_filename for frame, _ in frames), strict=True)
        ]
    places = [
        f"{frame.f_code.co_filename}, line {line}" for (frame, line), mine in zip(frames, own, strict=True) if mine
    ]
    return places[-1] if places else ""


def placed(error: BaseException, module: str = "", text: str | None = None) -> str:
    """An exception (or a `text` about it) in one line, with where it was raised in brackets; see `raised_at`."""
    text, place = one_line(error) if text is None else text, raised_at(error, module)
    return f"{text} ({place})" if place else text


def _is_ours(module: str) -> bool:
    return f"{module}.".startswith("seqeval_rl.")
