"""The arguments of `seqeval new`; the comment of a field is its help text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg


@dataclass(frozen=True)
class New:
    """Begin a plug-in: write a package with an algorithm that works, its registration and its tests."""

    kind: Annotated[Positional[Literal["algorithm"]], arg(metavar="algorithm")]  # what to begin
    name: Annotated[Positional[str], arg(metavar="NAME")]  # of the package, for example my_method
    out: Annotated[Path | None, arg(metavar="DIR")] = None  # its directory, a new one; default NAME
