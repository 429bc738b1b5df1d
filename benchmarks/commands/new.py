"""`seqeval new`: a package to begin with, from `templates`."""

from __future__ import annotations

import keyword
import sys
from importlib.resources import files
from pathlib import Path

from seqeval_rl.benchmarks.arguments.new import New
from seqeval_rl.errors import UsageError, writing
from seqeval_rl.interface.registry import registered

# By file of the template: where it goes.
_ALGORITHM = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md": "README.md",
    "package.py.txt": "@NAME@/__init__.py",
    "algorithm.py.txt": "@NAME@/algorithm.py",
    "test.py.txt": "tests/test_@NAME@.py",
}


def new(command: New) -> None:
    """Write the package and print its files."""
    for path in new_algorithm(command.name, command.out):
        print(path)


def new_algorithm(name: str, out: Path | None = None) -> list[Path]:
    """A plug-in package with one algorithm, its registration and its test, which passes `seqeval check` as it is.

    Args:
        name: of the package and of the algorithm in results, for example `my_method`; hyphens become underscores.
        out: its directory, which must not be there yet; None: one of that name.

    Returns:
        The files.

    Raises:
        UsageError: a name that cannot be that of a package or is taken, or a directory that is there already.
        FileError: the directory cannot be written.
    """
    package = name.replace("-", "_")
    sound = package.isascii() and package.isidentifier() and package == package.lower() and package.strip("_")
    if not sound or keyword.iskeyword(package):
        raise UsageError(
            f"new algorithm {name!r}: expected a name for a Python package, small letters, digits and underscores, found "
            f"{name!r}. Choose a name such as my_method."
        )
    if package in registered() or package in sys.stdlib_module_names or package == "seqeval_rl":
        raise UsageError(f"new algorithm {name!r}: expected a new name, found one that is taken. Choose another name.")
    folder = Path(name) if out is None else out
    if folder.exists() or folder.is_symlink():
        raise UsageError(f"{folder}: expected a directory that is not there yet, found one. Choose another --out.")
    title = "".join(part[:1].upper() + part[1:] for part in package.split("_"))
    template = files("seqeval_rl.benchmarks.templates") / "algorithm"
    written = []
    with writing(folder, "Choose another --out."):
        for source, target in _ALGORITHM.items():
            text, place = (template / source).read_text(encoding="utf-8"), target.replace("@NAME@", package)
            path = folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("@NAME@", package).replace("@CLASS@", title), encoding="utf-8")
            written.append(path)
    return written
