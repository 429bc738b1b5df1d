"""Finding algorithms by name, module or file, and checking their settings. Our own have no privilege: entry points for all."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from seqeval_rl.errors import UsageError, invalid, unknown
from seqeval_rl.interface import per_seed
from seqeval_rl.interface.algorithm import Algorithm, Spec

GROUP = "seqeval_rl.algorithms"


@dataclass(frozen=True)
class AlgorithmEntry:
    """An algorithm that was found: what it is called in results, how it was asked for, and its class."""

    name: str
    reference: str  # a registered name, `module:Class` or `file.py:Class`; finds it again in another process
    algorithm: Any  # the class

    @property
    def summary(self) -> str:
        """First line of the docstring of its class, or of its module."""
        text = self.algorithm.__doc__ or sys.modules[self.algorithm.__module__].__doc__ or ""
        return text.strip().partition("\n")[0]

    @property
    def citation(self) -> str | None:
        """The BibTeX that its class brings as `citation`; None where it brings none."""
        text = getattr(self.algorithm, "citation", None)
        return inspect.cleandoc(text) if isinstance(text, str) else None

    def configure(self, settings: Mapping[str, Any], where: str) -> Any:
        """Its frozen `Config` from settings, checked by name, type and range; raises `UsageError` in one line."""
        config_class = self.algorithm.Config
        names = [field.name for field in dataclasses.fields(config_class)]
        for name in settings:
            if name not in names:
                raise unknown(f"setting of {self.name}", name, names, where)
        try:
            return TypeAdapter(config_class).validate_python(dict(settings))
        except ValidationError as error:
            raise invalid(error, self.name, where) from None

    def noise_dim(self, config: Any, spec: Spec) -> int:
        """Standard normals per transition that `update` takes; 0 where the algorithm does not say."""
        return per_seed.noise_dim(self.algorithm, config, spec)

    def build(self, config: Any, spec: Spec) -> Algorithm:
        """The algorithm for a stack; a plain one is wrapped so that it sees one run at a time."""
        return per_seed.build(self.algorithm, config, spec)


def registered() -> dict[str, str]:
    """Registered names and where each leads, `module:Class`."""
    return {entry.name: entry.value for entry in entry_points(group=GROUP)}


def find_algorithm(reference: str, where: str = "--algorithms") -> AlgorithmEntry:
    """The algorithm of a registered name, `module:Class` or `path/to/file.py:Class`; else `UsageError` says what is missing."""
    names = registered()
    if ":" not in reference:
        if reference not in names:
            raise unknown("algorithm", reference, names, where)
        return _checked(reference, reference, *_split(names[reference]))
    source, class_name = _split(reference)
    if source.endswith(".py"):
        # The path is made whole, so that a process with another working directory finds the file too.
        source = str(Path(source).expanduser().resolve())
    return _checked(_snake(class_name), f"{source}:{class_name}", source, class_name)


def _split(reference: str) -> tuple[str, str]:
    source, _, class_name = reference.rpartition(":")
    return source, class_name


def _snake(name: str) -> str:
    """`MyAlgo` becomes `my_algo`: what a plug-in is called in results."""
    out = ""
    for before, char in zip(" " + name, name, strict=False):
        out += f"_{char.lower()}" if char.isupper() and (before.islower() or before.isdigit()) else char.lower()
    return out


def _checked(name: str, reference: str, source: str, class_name: str) -> AlgorithmEntry:
    module = _module(source, reference)
    found: Any = getattr(module, class_name, None)
    if not isinstance(found, type):
        classes = [
            key
            for key, value in vars(module).items()
            if isinstance(value, type) and value.__module__ == module.__name__
        ]
        raise unknown("class", class_name, classes, source)
    for attribute, meaning in (
        ("Config", "a frozen dataclass of settings"),
        ("stacked", "True if it has a run axis, else False"),
        ("update", "a method"),
        ("act", "a method"),
        ("state_dict", "a method"),
        ("load_state_dict", "a method"),
    ):
        if not hasattr(found, attribute):
            raise UsageError(
                f"{reference}: expected {class_name}.{attribute} ({meaning}), found none. "
                f"Add it (see seqeval_rl.Algorithm), then try `seqeval check {reference}`."
            )
    algorithm: Any = found
    config: Any = algorithm.Config
    frozen = getattr(getattr(config, "__dataclass_params__", None), "frozen", False)
    if not frozen:
        raise UsageError(
            f"{reference}: expected {class_name}.Config to be a frozen dataclass, found {config!r}. "
            "Decorate it with @dataclass(frozen=True)."
        )
    return AlgorithmEntry(name, reference, found)


def _module(source: str, reference: str) -> Any:
    if not source.endswith(".py"):
        try:
            return importlib.import_module(source)
        except ModuleNotFoundError as error:
            raise UsageError(
                f"{reference}: module {error.name!r} is not installed. Install it, or name a file: path/to/file.py:Class."
            ) from error
    path = Path(source)
    if not path.is_file():
        raise UsageError(f"{reference}: no file {path}. Check the path.")
    name = f"seqeval_plugin_{path.stem}"
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(path):
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{reference}: {path} cannot be loaded as a Python module. Check the file.")
    module = importlib.util.module_from_spec(spec)
    # Registered before it runs: dataclasses and pydantic look their module up by name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise UsageError(
            f"{reference}: {path} stops with {type(error).__name__}: {error}. Run it with python to see where."
        ) from error
    return module
