"""Files of earlier versions: old names of fields and datasets, and the names that replaced them, applied where files are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Fields of `manifest.json` and settings of the protocol, in it and in suite files.
RENAMED = {"peeks": "uses_future_data"}
# How names of datasets begin.
RENAMED_SOURCES = {"made:": "synthetic:"}
# Fields that came later, with the value that their absence means.
_ADDED: dict[str, dict[str, Any]] = {
    "": {"precision": "float32"},
    "protocol": {"online": 0, "static": False, "uses_future_data": False, "max_episode_steps": None},
    "task": {"env_spec": "", "obs_keys": []},
}
# The same for settings of algorithms; AWAC is not among them, since its earlier runs had another weight decay.
_ADDED_SETTINGS: dict[str, dict[str, Any]] = {
    "bc": {"initialization": "torch", "dropout": None, "decay_steps": None, "best": None},
    "cql": {"initialization": "torch", "action_limit": None},
    "iql": {"initialization": "torch"},
    "td3_bc": {"initialization": "torch"},
}


def rename_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields under their present names; a present name wins over the old one."""
    return {RENAMED.get(name, name): value for name, value in fields.items() if RENAMED.get(name) not in fields}


def rename_source(name: str) -> str:
    """A dataset's name, or names joined by `+`, as it is written today."""
    for old, new in RENAMED_SOURCES.items():
        name = "+".join(new + part.removeprefix(old) if part.startswith(old) else part for part in name.split("+"))
    return name


def modern_manifest(manifest: Any) -> dict[str, Any]:
    """A manifest of any version as the present version would have written it. Raises `TypeError` for anything but an object."""
    if not isinstance(manifest, dict):
        raise TypeError(f"expected an object of fields, found {type(manifest).__name__}")
    modern: dict[str, Any] = manifest
    for section, added in _ADDED.items():
        fields = modern.get(section) if section else modern
        if isinstance(fields, dict):
            fields = rename_fields(fields)
            fields |= {name: value for name, value in added.items() if name not in fields}
            modern = modern | {section: fields} if section else fields
    algorithm = modern.get("algorithm")
    if isinstance(algorithm, dict) and isinstance(algorithm.get("config"), dict):
        settings = _ADDED_SETTINGS.get(algorithm.get("name", ""), {}) | algorithm["config"]
        modern = modern | {"algorithm": algorithm | {"config": settings}}
    if isinstance(modern.get("dataset"), dict):
        modern["dataset"] = dataset = _rename_name(modern["dataset"])
        if isinstance(dataset.get("blocks"), list):
            dataset["blocks"] = [_rename_name(block) for block in dataset["blocks"]]
    return modern


def _rename_name(fields: Any) -> Any:
    """A dataset's entry with its name as it is written today."""
    named = isinstance(fields, dict) and isinstance(fields.get("name"), str)
    return fields | {"name": rename_source(fields["name"])} if named else fields
