"""Puts a dataset on the Hugging Face Hub in Minari's format, where others get it by its id.

The layout is that of Minari's own remote `hf://USER`: the first part of the id is a dataset repository, the rest a directory of
it, and `namespace_metadata.json` lists what the repository has. Everything is one commit, so that nobody sees a part of it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.collection.collect import check_new, write_dataset
from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.episodes import Episode, episodes_of
from seqeval_rl.data.load import fetch, load_dataset
from seqeval_rl.data.minari_writer import NewDataset
from seqeval_rl.errors import DataError, FileError, MismatchError, SeqevalError, UsageError
from seqeval_rl.utils.text import one_line

_NAMESPACE = "namespace_metadata.json"
_CARD = """---
task_categories: [reinforcement-learning]
tags: [minari, offline-reinforcement-learning]
---
# {repository}

[Minari](https://minari.farama.org) datasets. To download one: `MINARI_REMOTE=hf://{user} minari download {identity}`.
"""


@dataclass(frozen=True)
class Upload:
    """What is, or would be, on the Hub."""

    identity: str  # of the Minari dataset
    user: str  # who has it: a user or an organization
    repository: str  # on the Hub, for example "me/mine"
    files: dict[str, int]  # bytes of each, by its path in the repository
    url: str | None = None  # of the commit; None: nothing was uploaded


def push_dataset(
    source: str,
    to: str | None = None,
    *,
    identity: str | None = None,
    private: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    **reading: Any,
) -> Upload:
    """Upload a dataset; what is not a Minari dataset yet is first written as one on this machine.

    Args:
        source: as for `load_dataset`.
        to: user or organization on the Hub; None: whoever is logged in.
        identity: Minari id of the dataset, for example `mine/hopper/medium-v0`; one of Minari has its own.
        private: a repository that is created is visible to its owners alone.
        overwrite: replace a dataset of that id, on the Hub and where it is written on this machine.
        dry_run: say what would be uploaded; writes nothing, and needs no network.
        reading: as `load_dataset` takes it, for a source that is not a Minari dataset.

    Raises:
        UsageError: no id, no login, or names that the Hub does not allow.
        DataError: it cannot be read, or not be written as episodes.
        MismatchError: there is one of that id, and it is not to be overwritten.
        FileError: the Hub or Minari's directory cannot be read or written.
    """
    if source.startswith("minari:"):
        own = source.removeprefix("minari:").partition("@")[0]
        if identity not in (None, own) or reading:
            raise UsageError(
                f"dataset {source}: is a Minari dataset already and is uploaded as it is, expected no other id and no option of "
                "how to read it. Leave them out."
            )
        identity = own
    elif not identity:
        raise UsageError(
            f"dataset {source}: expected an id for the Minari dataset, such as mine/hopper/medium-v0. Add --id."
        )
    user = (to or "USER") if dry_run else _user(to)
    name, _, path = identity.partition("/")
    place = (identity, user, f"{user}/{name}")
    if source.startswith("minari:"):
        directory = fetch(source, offline=dry_run or None).parent
    else:
        check_new(identity, overwrite)
        new, episodes = _as_episodes(load_dataset(source, **reading), identity)
        if dry_run:
            return Upload(*place, {f"{path}/data".lstrip("/"): round(new.bytes)})
        write_dataset(new, episodes, overwrite)
        directory = fetch(f"minari:{identity}", offline=True).parent
    found = sorted(file for file in directory.rglob("*") if file.is_file())
    files = {f"{path}/{file.relative_to(directory).as_posix()}".lstrip("/"): file for file in found}
    upload = Upload(*place, {name: file.stat().st_size for name, file in files.items()})
    return upload if dry_run else _commit(upload, files, private, overwrite)


def _user(to: str | None) -> str:
    """The named user or organization, else who is logged in; raises `UsageError` where nobody is."""
    from huggingface_hub import HfApi, get_token

    if get_token() is None:
        raise UsageError(
            "datasets push: expected a login to the Hugging Face Hub, found none. `hf auth login`, or set HF_TOKEN to a token "
            "that may write."
        )
    if to is not None:
        return to
    with _hub("the name of who is logged in"):
        return str(HfApi().whoami()["name"])


def _as_episodes(dataset: Dataset, identity: str) -> tuple[NewDataset, Iterator[Episode]]:
    """What is written as a Minari dataset; raises `DataError` where the episodes of a dataset cannot be."""
    ends = np.zeros(len(dataset), bool)
    ends[dataset.episode_starts[1:] - 1] = True
    inner, problem = np.flatnonzero(~ends), None  # rows that another one of the same episode follows
    if dataset.pixels is not None:
        problem = "images"
    elif len(terminal := inner[dataset.terminations[inner]]):
        problem = f"a terminal state inside an episode, in row {terminal[0]}"
    elif len(
        jumps := inner[
            (dataset.next_observations[inner] != dataset.observations[inner + 1]).reshape(len(inner), -1).any(1)
        ]
    ):
        problem = f"another next observation than the observation of the next row, in row {jumps[0]}"
    if problem is not None:
        raise DataError(
            f"dataset {dataset.name}: expected episodes of vectors, one row after the other up to a terminal state, found "
            f"{problem}. Upload its own files instead."
        )
    text = f"{dataset.name}, SHA-256 of its transitions {dataset.sha256}, written by seqeval-rl with float32 values"
    new = NewDataset(identity, dataset.task, len(dataset), "not recorded", text, len(dataset) / ends.sum())
    return new, episodes_of(dataset.rows, ends, dataset.terminations, dataset.task, itertools.repeat(None))


def _differ(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether observations [n, *obs] differ, [n]."""
    return np.asarray((first != second).reshape(len(first), -1).any(axis=1))


def _commit(upload: Upload, files: dict[str, Path], private: bool, overwrite: bool) -> Upload:
    from huggingface_hub import CommitOperationAdd, HfApi

    api, repository = HfApi(), upload.repository
    hub: dict[str, Any] = {"repo_id": repository, "repo_type": "dataset"}
    data = next((name for name in files if name.endswith("data/metadata.json")), min(files))
    with _hub(f"https://huggingface.co/datasets/{repository}"):
        if not overwrite and api.file_exists(filename=data, **hub):
            raise MismatchError(
                f"{repository} on the Hub: has {data} already. Give the dataset another version, or --overwrite that one."
            )
        api.create_repo(repository, repo_type="dataset", private=private or None, exist_ok=True)
        operations = [CommitOperationAdd(name, file) for name, file in files.items()]
        for name, text in _namespaces(api, upload).items():
            operations.append(CommitOperationAdd(name, text.encode()))
        done = api.create_commit(operations=operations, commit_message=f"Minari dataset {upload.identity}", **hub)
    return Upload(upload.identity, upload.user, repository, upload.files, str(done.commit_url))


def _namespaces(api: Any, upload: Upload) -> dict[str, str]:
    """The files, by their paths, with which Minari lists the repository's datasets; the card of a new repository with them."""
    name, *parts = upload.identity.split("/")
    hub: dict[str, Any] = {"repo_id": upload.repository, "repo_type": "dataset"}
    card = _CARD.format(repository=upload.repository, user=upload.user, identity=upload.identity)
    texts = {} if api.file_exists(filename="README.md", **hub) else {"README.md": card}
    if not parts:  # an id without a namespace: the repository is the dataset
        return texts
    listed: dict[str, Any] = {}
    if api.file_exists(filename=_NAMESPACE, **hub):
        listed = json.loads(
            Path(api.hf_hub_download(filename=_NAMESPACE, force_download=True, **hub)).read_text(encoding="utf-8")
        )
    below = ["/".join(parts[:count]) for count in range(1, len(parts))]
    listed["datasets"] = sorted({*listed.get("datasets", ()), upload.identity})
    listed["namespaces"] = sorted({*listed.get("namespaces", ()), *(f"{name}/{part}" for part in below)})
    texts[_NAMESPACE] = json.dumps(listed)
    for part in below:
        if not api.file_exists(filename=f"{part}/{_NAMESPACE}", **hub):
            texts[f"{part}/{_NAMESPACE}"] = "{}"
    return texts


@contextlib.contextmanager
def _hub(what: str) -> Iterator[None]:
    """Errors of the Hub's client inside of this context become a `FileError` about `what`, or a `UsageError` for a name."""
    from huggingface_hub.errors import HFValidationError

    try:
        yield
    except SeqevalError:
        raise
    except HFValidationError as error:
        raise UsageError(
            f"{what}: expected names that the Hub allows, found others ({one_line(error)}). Rename it."
        ) from error
    except Exception as error:  # the client's own, those of its versions' HTTP libraries, and of the system
        status = getattr(getattr(error, "response", None), "status_code", 0)
        remedy = {401: "`hf auth login`.", 403: "Use a token that may write there (`hf auth login`), or another --to."}
        raise FileError(
            f"{what}: the Hugging Face Hub did not answer as expected ({one_line(error)}). "
            f"{remedy.get(status, 'Check the network, and try again.')}"
        ) from error
