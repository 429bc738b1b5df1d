"""Which arrays a file has in each of the formats that are one file, and which of these formats a file fits."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from seqeval_rl.errors import DataError

ARRAYS = "arrays"  # name of a dataset whose arrays are in memory
SCALARS = ("env_id", "reference_min", "reference_max")
BOUNDS = ("action_low", "action_high")
CLASSES = "action_classes"  # how many discrete actions there are
_log = logging.getLogger("seqeval_rl")


@dataclass(frozen=True)
class Layout:
    """The arrays of a format. A file fits if it has all that are required, and none that only other formats have."""

    prefix: str  # of sources, which chooses the format whatever else is in the file
    required: tuple[str, ...]
    optional: tuple[str, ...]
    foreign: tuple[str, ...]  # with one of these the same file means something else
    scalars: tuple[str, ...] = ()  # optional, and not [N, ...]
    unread: tuple[str, ...] = ()  # belong to the format and are not needed

    @property
    def columns(self) -> tuple[str, ...]:
        """The arrays [N, ...] that a reader uses."""
        return (*self.required, *self.optional)

    @property
    def read(self) -> tuple[str, ...]:
        """All that a reader uses."""
        return (*self.columns, *self.scalars)

    def misfits(self, keys: Iterable[str]) -> int:
        """How many arrays a file with these lacks, or has from other formats; 0: it is in this format."""
        keys = _groups(keys)
        return len(set(self.required) - keys) + len(set(self.foreign) & keys)

    def check(self, source: str, keys: Iterable[str]) -> None:
        """Check the arrays of a source, and name in a warning those that are not used.

        Raises:
            DataError: some are missing; or, where the source does not choose the format, some belong to another one.
        """
        keys = sorted(_groups(keys))
        missing = [key for key in self.required if key not in keys]
        if missing:
            raise DataError(
                f"{source}: expected arrays {', '.join(self.required)} and perhaps {', '.join((*self.optional, *self.scalars))}, "
                f"found no {', '.join(missing)} among {', '.join(keys) or 'nothing'}. Rename them."
            )
        foreign = [key for key in keys if key in self.foreign]
        if foreign and not source.startswith(self.prefix):
            found = f"{', '.join(foreign)} next to {', '.join(key for key in self.columns if key in keys)}"
            hint = f", or write {self.prefix}{source}, which ignores {', '.join(foreign)}" if source != ARRAYS else ""
            raise DataError(
                f"{source}: expected arrays of one format, found {found}. Leave out what does not belong to it{hint}."
            )
        self.name_unused(source, keys)

    def name_unused(self, source: str, keys: Iterable[str]) -> None:
        """Name in a warning the arrays of a source that are not used."""
        unused = [key for key in keys if key not in (*self.read, *self.unread)]
        if unused:
            _warn_unused(source, ", ".join(unused), ", ".join(self.read))


def _groups(keys: Iterable[str]) -> set[str]:
    """Arrays by their names, and those in a group, `infos/qpos`, by its name."""
    return {key.partition("/")[0] for key in keys}


@functools.cache
def _warn_unused(source: str, unused: str, used: str) -> None:
    """Once per source and process."""
    _log.warning("%s: not used: %s; used are %s", source, unused, used)


OWN = Layout(
    prefix="npz:",
    required=("observations", "actions", "rewards", "terminations", "truncations"),
    optional=("next_observations", "episode_starts"),
    foreign=("terminals", "timeouts", "dones", "masks", "valids"),
    scalars=(*SCALARS, *BOUNDS, CLASSES),
)
# Of files and of groups, `infos` and `metadata`, in HDF5.
D4RL = Layout(
    prefix="d4rl:",
    required=("observations", "actions", "rewards", "terminals"),
    optional=("timeouts", "next_observations"),
    foreign=("terminations", "truncations", "masks", "valids", "qpos", "qvel", "button_states"),
    unread=("infos", "metadata"),
)
OGBENCH = Layout(
    prefix="ogbench:",
    required=("observations", "actions", "terminals"),
    optional=("next_observations", "valids", "masks", "rewards"),
    foreign=("terminations", "truncations", "timeouts", "dones", "infos"),
    scalars=SCALARS,
    unread=("qpos", "qvel", "button_states"),
)


def fitting(keys: Iterable[str]) -> list[Layout]:
    """The formats of a file with these arrays; if it fits none, the one with the fewest misfits, whose reader names them."""
    keys = list(keys)
    misfits = {layout.prefix: layout.misfits(keys) for layout in (OWN, D4RL, OGBENCH)}
    fewest = min(misfits.values())
    found = [layout for layout in (OWN, D4RL, OGBENCH) if misfits[layout.prefix] == fewest]
    return found if fewest == 0 else found[:1]
