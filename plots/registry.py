"""Figures and tables by name: what `seqeval plot --kind` and `seqeval table --measures` offer, and how to add one.

A figure or a table is a decorated function, whose first argument is what `read_results` returns:

    from seqeval_rl.plots import figure

    @figure("final_scores", help="the last score of every run")
    def final_scores(results, *, width: float = 3.25):
        '''...

        Args:
            width: of the figure in inches.
        '''

The other arguments are its options: their types, their defaults and their texts under `Args:` are those of the command.
The project's own are the modules of `plots.figures` and `plots.tables`; others are found by the entry points
`seqeval_rl.figures` and `seqeval_rl.tables`, or in Python as soon as the decorator has run.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import entry_points
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

import docstring_parser

from seqeval_rl.errors import UsageError, unknown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from seqeval_rl.plots.tables.table import Table
    from seqeval_rl.results.read import RunResult

Function = TypeVar("Function", bound=Callable[..., Any])
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Option:
    """An argument that a figure or a table takes besides the results."""

    name: str
    type: Any  # its annotation; the type of its default where it has none
    default: Any
    help: str  # from the docstring's `Args:`; empty where it is not there


@dataclass(frozen=True)
class Registration:
    """One figure or table: its name, what it shows in a few words, and the function that makes it."""

    sort: str  # "figure" or "table"
    name: str
    help: str
    function: Callable[..., Any]

    @cached_property
    def options(self) -> dict[str, Option]:
        """By name, in the order of the signature."""
        arguments = docstring_parser.parse(self.function.__doc__ or "", docstring_parser.DocstringStyle.GOOGLE).params
        texts = {each.arg_name: " ".join((each.description or "").split()) for each in arguments}
        return {
            each.name: Option(each.name, _type(each, self.function), each.default, texts.get(each.name, ""))
            for each in list(inspect.signature(self.function).parameters.values())[1:]
        }

    def __call__(self, results: Any, **options: Any) -> Any:
        """What the function makes of the results.

        Raises:
            UsageError: an option that it does not take, a negative seed, or what the function refuses.
        """
        self.check(options)
        if isinstance(seed := options.get("seed"), int) and seed < 0:
            raise UsageError(
                f"{self.sort} {self.name}: expected a seed of the bootstrap from 0, found {seed}. Correct it."
            )
        return self.function(results, **options)

    def check(self, options: Iterable[str]) -> None:
        """Raise `UsageError` for an option that the function does not take, with those that take it."""
        for name in options:
            if name not in self.options:
                registry = FIGURES if self.sort == "figure" else TABLES
                takers = ", ".join(sorted(other.name for other in registry.values() if name in other.options))
                raise UsageError(
                    f"{self.sort} {self.name}: expected options among {', '.join(self.options) or 'none'}, found {name}"
                    f"{f' (an option of {takers})' if takers else ''}. Leave it out."
                )


@dataclass
class Registry(Mapping[str, Registration]):
    """All figures or all tables by name; the modules that register them are imported at the first look-up."""

    sort: str
    _registered: dict[str, Registration] = field(default_factory=dict)
    _complete: bool = False

    def register(self, name: str, help: str) -> Callable[[Function], Function]:
        """The decorator, see `figure` and `table`."""

        def decorate(function: Function) -> Function:
            known = self._registered.get(name)
            place = f"{function.__module__}.{function.__qualname__}"
            # A module that is reloaded, or a notebook's cell that is run again, replaces its own.
            if known is not None and f"{known.function.__module__}.{known.function.__qualname__}" != place:
                raise UsageError(
                    f"{self.sort} {name!r}: expected a name of its own for {place}, found that of "
                    f"{known.function.__module__}.{known.function.__qualname__}. Choose another name."
                )
            self._registered[name] = Registration(self.sort, name, help, function)
            return function

        return decorate

    def __getitem__(self, name: str) -> Registration:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def find(self, name: str) -> Registration:
        """The figure or table of that name; raises `UsageError` with the nearest names."""
        if name not in self:
            raise unknown(self.sort, name, self)
        return self[name]

    def _all(self) -> dict[str, Registration]:
        if not self._complete:
            self._complete = True
            package = importlib.import_module(f"seqeval_rl.plots.{self.sort}s")
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{package.__name__}.{module.name}")
            for entry in entry_points(group=f"seqeval_rl.{self.sort}s"):
                try:
                    entry.load()
                except (Exception, SystemExit) as error:  # somebody else's module: the others are of use without it
                    _log.warning(
                        "%s %r of the entry point %s: cannot be loaded (%s: %s). Correct or uninstall its package.",
                        self.sort, entry.name, entry.value, type(error).__name__, error,
                    )  # fmt: skip
        return self._registered


FIGURES, TABLES = Registry("figure"), Registry("table")


def figure(name: str, *, help: str) -> Callable[[Function], Function]:
    """Register the decorated function as a figure: `function(results, **options) -> matplotlib.figure.Figure`.

    Args:
        name: of `seqeval plot --kind` and of the file that is written.
        help: what the figure shows, in a few words.

    Raises:
        UsageError: another function is registered by that name.
    """
    return FIGURES.register(name, help)


def table(name: str, *, help: str) -> Callable[[Function], Function]:
    """Register the decorated function as a table: `function(results, **options) -> Table`, or a sequence of tables.

    Args:
        name: of `seqeval table --measures`.
        help: what the table holds, in a few words.

    Raises:
        UsageError: another function is registered by that name.
    """
    return TABLES.register(name, help)


def draw(results: Sequence[RunResult], kind: str = "curves", **options: Any) -> Figure:
    """The figure of that kind, as `seqeval plot --kind` draws it.

    Args:
        results: of `seqeval_rl.read_results`.
        kind: one of `FIGURES`.
        options: of that kind, see `FIGURES[kind].options`.

    Raises:
        UsageError: an unknown kind or option, or results that do not hold what the figure shows.
    """
    return FIGURES.find(kind)(results, **options)


def tabulate(results: Sequence[RunResult], measures: str = "data", **options: Any) -> list[Table]:
    """The tables of these measures, as `seqeval table --measures` prints them one after the other.

    Args:
        results: of `seqeval_rl.read_results`.
        measures: one of `TABLES`.
        options: of these measures, see `TABLES[measures].options`.

    Raises:
        UsageError: unknown measures or an unknown option, or results that do not hold what the table shows.
    """
    made = TABLES.find(measures)(results, **options)
    return list(made) if isinstance(made, Sequence) else [made]


def _type(parameter: inspect.Parameter, function: Callable[..., Any]) -> Any:
    annotation = parameter.annotation
    if isinstance(annotation, str):  # of a module with `from __future__ import annotations`
        try:
            alone = SimpleNamespace(__annotations__={"type": annotation})
            annotation = get_type_hints(alone, getattr(function, "__globals__", {}))["type"]
        except NameError:  # imported for type checkers alone
            annotation = parameter.empty
    return type(parameter.default) if annotation is parameter.empty else annotation
