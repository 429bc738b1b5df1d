"""What data may say of an environment: an id and values of its arguments. What names code comes from elsewhere.

A dataset, and the manifest of a run, may be anybody's. The code that opens an environment is therefore what gymnasium has
registered under the id, or what the user has trusted by its name (`--trust-environment`).
"""

from __future__ import annotations

import copy
import importlib
import inspect
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator

from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import DataError, UsageError
from seqeval_rl.utils.text import one_line

# Packages that tasks of this package name, and that register their environments when they are imported.
_KNOWN = (
    "gymnasium_robotics",
    "ogbench",
    "seqeval_rl.environments.d4rl_tasks",
    "seqeval_rl.environments.dm_control_tasks",
)
_WRAPPERS = "gymnasium.wrappers"  # a package, whose wrappers data may name
# A path that leaves the working directory, or a name with a module or a scheme before it.
_PLACE = re.compile(r"^[/~\\]|(^|[/\\])\.\.([/\\]|$)|:")
_DOUBT = "It would run code that the data choose."


def task_of_data(where: str, fields: Mapping[str, Any], trusted: Collection[str] = ()) -> Task:
    """A task from the fields of one, as a manifest has them; raises as `checked_task` does, and `DataError` for other fields."""
    try:
        task = Task(**fields)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: expected the fields of a task, found {one_line(error)}. Check the file.") from error
    return checked_task(where, task, trusted)


def checked_task(where: str, task: Task, trusted: Collection[str] = ()) -> Task:
    """A task of which data gave the environment, with code from gymnasium's registry alone, or code that is trusted.

    Args:
        where: the data, for messages.
        task: its `env_id` and `env_spec` are checked.
        trusted: names of code: a module, which is imported so that it registers its environments; `module:Id`, the id of an
            environment after its module; `module:Class`, an entry point.

    Raises:
        DataError: the data name other code, arguments that the environment does not have, or a path elsewhere.
        UsageError: a trusted module cannot be imported.
    """
    for name in trusted:
        if ":" not in name:
            _import(name)
    if task.env_id is not None:
        _check_id(where, task.env_id, trusted)
    return replace(task, env_spec=_checked_spec(where, task.env_spec, trusted)) if task.env_spec else task


def _import(module: str) -> None:
    try:
        importlib.import_module(module)
    except Exception as error:  # the module's own code may raise anything
        raise UsageError(
            f"--trust-environment {module}: expected a module that can be imported, or module:Name, found {one_line(error)}. "
            "Correct it."
        ) from error


def _check_id(where: str, env_id: str, trusted: Collection[str]) -> None:
    module, colon, _ = env_id.partition(":")
    if colon and module not in _KNOWN and not {env_id, module} & {*trusted}:
        raise DataError(
            f"{where}: expected an environment that gymnasium has registered, found {env_id!r}, for which the module {module!r} "
            f"would be imported. {_DOUBT} If you trust it, add --trust-environment {env_id}; or name another one with --task."
        )


def _checked_spec(where: str, text: str, trusted: Collection[str]) -> str:
    try:
        spec = EnvSpec.from_json(text)
    except Exception as error:  # raised by text that is not such JSON
        raise DataError(
            f"{where}: expected gymnasium's EnvSpec as JSON, found {type(error).__name__}. Get the data again."
        ) from error
    registered = _registered(spec)
    entry = str(spec.entry_point)
    spec = copy.copy(spec)
    if entry not in trusted:
        if registered is None:
            raise DataError(
                f"{where}: expected an environment that gymnasium has registered, found {spec.id!r} with the entry point "
                f"{entry!r}. {_DOUBT} Import the package that registers it (--trust-environment PACKAGE); or, if you trust the "
                f"entry point itself, add --trust-environment {entry}; or name another environment with --task."
            )
        spec.entry_point = _named(registered.entry_point)
        spec.vector_entry_point = _named(registered.vector_entry_point)
        _check_arguments(where, spec, registered)
    for wrapper in spec.additional_wrappers:
        _check_wrapper(where, wrapper, registered, trusted)
    return spec.to_json()


def _registered(spec: EnvSpec) -> EnvSpec | None:
    """What gymnasium has under the spec's id, after the known package that registers it was imported."""
    package = str(spec.entry_point).partition(".")[0]
    if spec.id not in gymnasium.registry and package in _KNOWN:
        try:
            importlib.import_module(package)
        except ImportError:
            return None
    return gymnasium.registry.get(spec.id)


def _named(entry_point: Any) -> Any:
    """An entry point as text, or None."""
    return f"{entry_point.__module__}:{entry_point.__qualname__}" if callable(entry_point) else entry_point


def _check_arguments(where: str, spec: EnvSpec, registered: EnvSpec) -> None:
    """Raise `DataError` for arguments that the registered environment does not have, and for values that are places."""
    changed = {name: value for name, value in spec.kwargs.items() if value != registered.kwargs.get(name)}
    if not changed:
        return
    for name, value in changed.items():
        _check_value(f"{where}: environment {spec.id!r}, argument {name!r}", value)
    try:
        creator: Any = registered.entry_point
        creator = creator if callable(creator) else load_env_creator(creator)
    except Exception:  # it does not start either, which is said where it is opened
        return
    known = {*registered.kwargs, *_parameters(creator)}
    unknown = sorted(changed.keys() - known)
    if unknown:
        raise DataError(
            f"{where}: expected arguments of the environment {spec.id!r} ({', '.join(sorted(known))}), found {unknown[0]!r}. "
            "Install the version that the data were made with, or name another environment with --task."
        )


def _parameters(creator: Any) -> Iterator[str]:
    """The names of what an environment's class, or a function that makes one, takes; also of the classes that it is based on."""
    if not inspect.isclass(creator):
        yield from inspect.signature(creator).parameters
        return
    for base in creator.__mro__:
        if "__init__" in vars(base) and base is not object:
            yield from list(inspect.signature(vars(base)["__init__"]).parameters)[1:]


def _check_value(what: str, value: Any) -> None:
    """Raise `DataError` where an argument names a place or code."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for _, part in parts:
        _check_value(what, part)
    if isinstance(value, str) and _PLACE.search(value):
        raise DataError(
            f"{what}: expected a number, a word or a path below the working directory, found {value[:80]!r}. {_DOUBT} Register "
            "an environment with that argument yourself, and name it with --task."
        )


def _check_wrapper(where: str, wrapper: Any, registered: EnvSpec | None, trusted: Collection[str]) -> None:
    """Raise `DataError` for a wrapper that is neither gymnasium's own nor registered with the environment nor trusted."""
    entry = str(wrapper.entry_point)
    own = () if registered is None else [each.entry_point for each in registered.additional_wrappers]
    if entry in own or entry in trusted:
        return
    module, _, name = entry.partition(":")
    found: Any = None
    # By its module it is code that is imported anyway; it may name only what that defines, under its own name.
    if module == _WRAPPERS or module.startswith(f"{_WRAPPERS}."):
        try:
            found = load_env_creator(entry)
        except Exception:  # no such module or wrapper in this version
            found = None
    if not (inspect.isclass(found) and issubclass(found, gymnasium.Wrapper) and wrapper.name == name):
        raise DataError(
            f"{where}: expected wrappers of gymnasium around the environment, found {entry!r}. {_DOUBT} If you trust it, add "
            f"--trust-environment {entry}; or name another environment with --task."
        )
    _check_value(f"{where}: wrapper {entry!r}", dict(wrapper.kwargs or {}))
