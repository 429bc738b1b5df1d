"""Lazy exports: a package's public names, each imported from its module at first use, so that `import` stays cheap."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy_exports(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """The `__getattr__`, `__dir__` and `__all__` of a package.

    In the package's `__init__.py`, with the same imports under `if TYPE_CHECKING:` for type checkers:

        __getattr__, __dir__, __all__ = lazy_exports(__name__, {"Dataset": "dataset", "load_dataset": "load"})

    Args:
        package: name of the package.
        modules: by public name, the module in the package that defines it (`"dataset"`, `"readers.d4rl"`).
    """

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{modules[name]}"), name)

    names = sorted(modules)
    return get, lambda: names, names
