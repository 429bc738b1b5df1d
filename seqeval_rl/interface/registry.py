"""Finds algorithms by name, module, file or class, and checks their settings. Ours are entry points like anybody's."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from seqeval_rl.errors import UsageError, at, invalid, unknown
from seqeval_rl.interface import per_seed
from seqeval_rl.interface.algorithm import Algorithm, Spec
from seqeval_rl.interface.loading import FILE_MODULE, load_class
from seqeval_rl.interface.sequences import history_length, sequence_length
from seqeval_rl.utils.text import one_line
from seqeval_rl.utils.tracebacks import placed


@dataclass(frozen=True)
class AlgorithmEntry:
    """An algorithm: its name in results, the reference that finds it again, and its class."""

    name: str
    reference: str  # a registered name, `module:Class` or `file.py:Class`
    algorithm: Any  # the class

    @property
    def importable(self) -> bool:
        """Whether a new process finds the same class by `reference`; False for one defined in a notebook or a function."""
        if self.reference not in _given:
            return True
        module = sys.modules.get(self.algorithm.__module__)
        at_top_level = getattr(module, self.algorithm.__qualname__, None) is self.algorithm
        # A module that is loaded here may be one that no path leads to.
        package = self.algorithm.__module__.partition(".")[0]
        finders = (finder for finder in sys.meta_path if hasattr(finder, "find_spec"))
        found = package == "__main__" or any(finder.find_spec(package, None) for finder in finders)
        return at_top_level and getattr(module, "__file__", None) is not None and found

    @property
    def is_ours(self) -> bool:
        """Whether it is one of this project's."""
        return f"{self.algorithm.__module__}.".startswith("seqeval_rl.")

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

    @property
    def source_sha256(self) -> str | None:
        """SHA-256 of the file that defines its class; None for a class that is in no file, as in a notebook."""
        path = getattr(sys.modules.get(self.algorithm.__module__), "__file__", None)
        return None if path is None else hashlib.sha256(Path(path).read_bytes()).hexdigest()

    @property
    def published(self) -> Mapping[str, Any]:
        """The settings of the published runs that its class brings as `published`; empty where it brings none."""
        settings: Mapping[str, Any] = getattr(self.algorithm, "published", {})
        return settings

    def configure(self, settings: Mapping[str, Any], where: str) -> Any:
        """Its frozen `Config` with some fields given, checked by name, type and range. This is the one place that checks them.

        Messages say `where` the settings were found.

        Raises:
            UsageError: an unknown name, a wrong type or a value out of range, in one line.
        """
        config_class = self.algorithm.Config
        names = [field.name for field in dataclasses.fields(config_class)]
        for name in settings:
            if name not in names:
                raise unknown(f"setting of {self.name}", name, names, at(where, f"{self.name}.{name}"))
        try:
            return TypeAdapter(config_class).validate_python(dict(settings))
        except ValidationError as error:
            raise invalid(error, self.name, where) from None
        except Exception as error:  # of its own code
            stops = placed(error, self.algorithm.__module__)
            raise UsageError(f"{self.name}.Config, settings in {where}: {stops}. Correct it.") from error

    def noise_dim(self, config: Any, spec: Spec) -> int:
        """Standard normals per transition that `update` takes; 0 where the algorithm does not say."""
        return per_seed.noise_dim(self.algorithm, config, spec)

    def columns(self, config: Any) -> tuple[str, ...]:
        """The optional fields of `Batch` that `update` takes; none where the algorithm does not say."""
        return per_seed.columns(self.algorithm, config)

    @property
    def action_space(self) -> str:
        """The kind of actions that its class is for, see `Spec.action_space`."""
        return str(getattr(self.algorithm, "action_space", "continuous"))

    def check_spaces(self, spec: Spec, where: str = "") -> None:
        """Raise `UsageError` unless it is for observations and actions as `spec` has them, which were found `where`."""
        if self.observation_space == "images" and len(spec.obs_shape) != 3:
            raise UsageError(
                f"{where and f'{where}: '}{self.name} is for images, found observations of shape {spec.obs_shape}. Choose an "
                "algorithm for these, or a dataset of images."
            )
        if self.action_space == spec.action_space:
            return
        found = (
            f"{spec.act_dim} continuous dimensions"
            if spec.action_classes is None
            else f"{spec.action_classes} discrete ones"
        )
        others = [entry.name for entry in find_registered()[0] if entry.action_space == spec.action_space]
        raise UsageError(
            f"{where and f'{where}: '}{self.name} is for {self.action_space} actions, found {found}. Choose an algorithm for "
            f"{spec.action_space} actions: {', '.join(others) or 'none is installed'}."
        )

    def sequence_length(self, config: Any) -> int | None:
        """H, where its batches are of sequences; None: of single transitions. Raises `UsageError`, see `sequences`."""
        return sequence_length(self.algorithm, config)

    def history_length(self, config: Any) -> int | None:
        """H of the histories that `act` gets; None: observations alone."""
        return history_length(self.algorithm, config)

    def n_step(self, config: Any) -> int:
        """How many rewards those of its batches are added up from; 1 where the algorithm does not say.

        Raises:
            UsageError: it is no whole number from 1, or there are more with `columns` or a `sequence_length`.
        """
        n = getattr(config, "n_step", 1)
        if not isinstance(n, int) or isinstance(n, bool) or n < 1:
            raise UsageError(f"{self.name}.n_step: expected a whole number from 1, found {n!r}. Correct it.")
        if n > 1 and (self.columns(config) or self.sequence_length(config) is not None):
            raise UsageError(
                f"{self.name}.n_step: expected 1 with `columns` or `sequence_length`, which are of single transitions, found "
                f"{n}. Set it to 1."
            )
        return n

    @property
    def observation_space(self) -> str:
        """The observations that its class says it is for, "images" or "vectors"."""
        return str(getattr(self.algorithm, "observation_space", "vectors"))

    @property
    def returns_to_go(self) -> bool:
        """Whether its batches of sequences have returns to go."""
        return bool(getattr(self.algorithm, "returns_to_go", False))

    def build(self, config: Any, spec: Spec) -> Algorithm:
        """The algorithm for a run group; a single-run algorithm is wrapped so that it sees one run at a time.

        Raises:
            UsageError: it is for others, see `check_spaces` and `n_step`, or acts on a history of discrete ones; or its batches
                are of sequences and it asks for `columns`; or its constructor raises one, to which its name is added.
        """
        self.check_spaces(spec)
        self.n_step(config)
        if self.sequence_length(config) is not None and (names := self.columns(config)):
            raise UsageError(
                f"{self.name}: expected no columns with batches of sequences, which do not have any, found {', '.join(names)}. "
                "Leave out `columns` or `sequence_length`."
            )
        if spec.action_classes is not None and self.history_length(config) is not None:
            raise UsageError(
                f"{self.name}: expected an algorithm that acts on single observations, since histories of discrete actions are "
                "not supported, found one that acts on a history. Use another one."
            )
        try:
            return per_seed.build(self.algorithm, config, spec)
        except UsageError as error:
            raise UsageError(f"{self.name}: {error}") from error


GROUP = "seqeval_rl.algorithms"  # of entry points
_given: dict[str, AlgorithmEntry] = {}  # by reference: classes given as objects, which only this process may know


def registered() -> dict[str, str]:
    """The registered names, each with its `module:Class`."""
    return {entry.name: entry.value for entry in entry_points(group=GROUP)}


def find_registered() -> tuple[list[AlgorithmEntry], dict[str, str]]:
    """The registered algorithms that can be used, by name, and why the others cannot: one broken package stops no other."""
    found: list[AlgorithmEntry] = []
    broken: dict[str, str] = {}
    for name in sorted(registered()):
        try:
            found.append(find_algorithm(name))
        except Exception as error:  # whatever the code of a third party raises
            broken[name] = str(error) if isinstance(error, UsageError) else one_line(error)
    return found, broken


def find_algorithm(reference: str | type, where: str = "--algorithms") -> AlgorithmEntry:
    """Finds an algorithm.

    Args:
        reference: a registered name, `module:Class`, `path/to/file.py:Class`, `path/to/file.py` where that defines one algorithm,
            or the class itself, which may be defined in a notebook, a script or a function.
        where: where the reference was found, for messages.

    Raises:
        UsageError: there is no such algorithm, or it lacks a part of `seqeval_rl.Algorithm`.
    """
    names = registered()
    if isinstance(reference, type):
        return _of_class(reference, names)
    if reference in _given:
        return _given[reference]
    if ":" not in reference and not reference.endswith(".py"):
        if reference not in names:
            raise unknown("algorithm", reference, names, where)
        values = {entry.value for entry in entry_points(group=GROUP, name=reference)}
        if len(values) > 1:
            raise UsageError(
                f"{reference}: expected one algorithm of that name, found {' and '.join(sorted(values))}. Name one of these "
                "instead, or uninstall the other's package."
            )
        return _checked(reference, reference, load_class(names[reference], reference))
    source, _, class_name = (reference, "", "") if reference.endswith(".py") else reference.rpartition(":")
    if source.endswith(".py"):
        # Absolute, so that a process with another working directory finds the file too.
        source = str(Path(source).expanduser().resolve())
    algorithm = load_class(f"{source}:{class_name}" if class_name else source, reference, ("Config", "update", "act"))
    return _checked(_snake(algorithm.__name__), f"{source}:{algorithm.__name__}", algorithm)


def _of_class(algorithm: type, names: Mapping[str, str]) -> AlgorithmEntry:
    """The entry of a class object, by its registered name where it has one."""
    reference = f"{algorithm.__module__}:{algorithm.__qualname__}"
    registered_as = [name for name, target in names.items() if target == reference]
    if registered_as:
        return _checked(registered_as[0], registered_as[0], algorithm)
    name, module = _snake(algorithm.__name__), sys.modules.get(algorithm.__module__)
    if algorithm.__module__.startswith(FILE_MODULE) and getattr(module, algorithm.__qualname__, None) is algorithm:
        return _checked(name, f"{getattr(module, '__file__', '')}:{algorithm.__name__}", algorithm)
    _given[reference] = _checked(name, reference, algorithm)
    return _given[reference]


def _snake(name: str) -> str:
    """`MyAlgo` becomes `my_algo`: what a plug-in is called in results."""
    return re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _checked(name: str, reference: str, algorithm: Any) -> AlgorithmEntry:
    """The entry of a class that has what `seqeval_rl.Algorithm` asks for."""
    class_name = algorithm.__name__
    for attribute in ("Config", "update", "act", "state_dict", "load_state_dict"):
        if not hasattr(algorithm, attribute):
            meaning = "a frozen dataclass of settings" if attribute == "Config" else "a method"
            raise UsageError(
                f"{reference}: expected {class_name}.{attribute} ({meaning}), found none. "
                f"Add it (see seqeval_rl.Algorithm), then try `seqeval check {reference}`."
            )
    if hasattr(algorithm, "stacked") and not hasattr(algorithm, "vectorized"):
        raise UsageError(f"{reference}: expected {class_name}.vectorized, found its earlier name, stacked. Rename it.")
    if not getattr(getattr(algorithm.Config, "__dataclass_params__", None), "frozen", False):
        raise UsageError(
            f"{reference}: expected {class_name}.Config to be a frozen dataclass, found {algorithm.Config!r}. "
            "Decorate it with @dataclass(frozen=True)."
        )
    return AlgorithmEntry(name, reference, algorithm)
