"""`.npz` files of plain arrays, read whole or in part, with errors for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.errors import DataError, FileError


def names(path: str | Path) -> list[str]:
    """What the arrays of a file are called; raises as `load` does."""
    return list(_open(path, lambda file: file.files))


def load(path: str | Path, wanted: Iterable[str] | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of a file, or those that are wanted as far as it has them.

    Raises:
        FileError: no such file, or it may not be read.
        DataError: it is damaged, or holds something else than plain arrays.
    """
    chosen = None if wanted is None else set(wanted)

    def read(file: Any) -> dict[str, NDArray[Any]]:
        return {key: file[key] for key in file.files if chosen is None or key in chosen}

    found: dict[str, NDArray[Any]] = _open(path, read)
    return found


def scalar(name: str, key: str, columns: Mapping[str, Any]) -> Any:
    """The name (`env_id`) or number that stands among the arrays of the dataset `name`; None if it does not.

    Raises:
        DataError: it is something else.
    """
    if columns.get(key) is None:
        return None
    value = np.asarray(columns[key])
    if value.size != 1 or value.dtype.kind not in ("U" if key == "env_id" else "fiu"):
        expected = "one name" if key == "env_id" else "one number"
        raise DataError(
            f"{name}: expected {key} to be {expected}, found {value.dtype} of shape {value.shape}. Correct it."
        )
    return value.item()


def _open(path: str | Path, use: Any) -> Any:
    try:
        # numpy leaves a file that it opened itself open when it is damaged.
        with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return use(file)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        place = Path(path).absolute()
        raise FileError(f"{place}: expected an .npz file, found: {error.strerror}. Check the path.") from error
    except Exception as error:  # numpy, zipfile and zlib each have errors of their own for a damaged file
        first_line = (str(error).splitlines() or [""])[0]
        raise DataError(
            f"{path}: expected an .npz file of plain arrays, found {type(error).__name__}: {first_line}. Write it again."
        ) from error
