"""What to cite for results: the paper, this software, and their algorithms, datasets and environments, as BibTeX.

Entries come from `references.bib` next to this file, from the algorithms' classes and from manifests. Whatever has no entry
is named in a comment, so that nothing is omitted silently.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from seqeval_rl.results.read import RunResult

PAPER, SOFTWARE = "sujit2023bridging", "seqeval_rl"
# By the beginning of a dataset's name: what to cite, and a description. The first match counts.
_SOURCES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("d4rl:", ("fu2020d4rl",), "dataset"),
    ("minari:D4RL/", ("younis2024minari", "fu2020d4rl"), "dataset, collected anew after D4RL"),
    ("minari:", ("younis2024minari",), "dataset"),
    ("ogbench:", ("park2025ogbench",), "dataset"),
    ("vd4rl:", ("lu2023challenges", "tunyasuvunakool2020dmcontrol"), "dataset with tasks of dm_control"),
    *(
        (f"bundled/{task}/", (SOFTWARE, "fu2020d4rl"), "dataset bundled with seqeval-rl; reference returns of D4RL")
        for task in ("hopper", "halfcheetah", "walker2d")
    ),
    ("bundled/", (SOFTWARE,), "dataset bundled with seqeval-rl"),
)
_MUJOCO = re.compile(
    r"(Ant|HalfCheetah|Hopper|Humanoid|HumanoidStandup|InvertedDoublePendulum|InvertedPendulum|Pusher|Reacher|Swimmer"
    r"|Walker2d)-v\d+"
)


def bibliography(results: Sequence[RunResult] = (), registered: Mapping[str, str] | None = None) -> str:
    """BibTeX entries, each under a comment with the reason why it is cited.

    Args:
        results: from `seqeval_rl.read_results`; without any: the paper and this software.
        registered: BibTeX by algorithm, for runs whose manifest was written before manifests recorded it.
    """
    cited = _Bibliography()
    cited.cite("the protocol: sequential evaluation", PAPER)
    cited.cite("this software", SOFTWARE)
    if results:
        _cite_methods(cited, results)
        _cite_datasets(cited, results)
        _cite_environments(cited, results)
        _cite_algorithms(cited, results, registered or {})
    return cited.text()


class _Bibliography:
    """Collects entries with the reasons to cite them, and notes on what has no entry."""

    def __init__(self) -> None:
        text = (files("seqeval_rl.plots") / "references.bib").read_text(encoding="utf-8")
        self.known = entries(text.replace("VERSION", version("seqeval-rl")))  # by key
        self.reasons: dict[str, list[str]] = {}  # by key, in the order of the text
        self.notes: list[str] = []

    def cite(self, reason: str, *keys: str) -> None:
        for key in keys:
            self.reasons.setdefault(key, []).append(reason)

    def cite_bibtex(self, reason: str, owner: str, text: str, hint: str) -> None:
        """Cite all entries of a BibTeX text; a note with `hint` if there is none, or if one cannot be used."""
        try:
            own = entries(text)
        except ValueError as error:
            self.notes.append(f"{owner}: its `citation` is not sound BibTeX ({error}). Cite it by hand.")
            return
        if not own:
            self.notes.append(f"{owner}: {hint}")
        for key, entry in own.items():
            if any(other.lower() == key.lower() and self.known[other] != entry for other in self.known):
                self.notes.append(f"{owner}: its key {key} is taken by another entry. Cite it by hand.")
            else:
                self.known[key] = entry
                self.cite(reason, key)

    def text(self) -> str:
        blocks = [_comments(reasons) + self.known[key] for key, reasons in self.reasons.items()]
        blocks += [_comments(self.notes)] if self.notes else []
        return "\n\n".join(block.rstrip("\n") for block in blocks) + "\n"


def _cite_methods(cited: _Bibliography, results: Sequence[RunResult]) -> None:
    """Statistics and prequential scores; notes other versions of this software."""
    cited.cite("statistics: interquartile means, stratified bootstrap intervals, profiles", "agarwal2021precipice")
    if any(run.prequential_scores() for run in results):
        cited.cite("prequential scores", "bornschein2023sequential")
    versions = _sorted(run.manifest.get("versions", {}).get("seqeval-rl") for run in results)
    others = [each for each in versions if each not in ("not installed", version("seqeval-rl"))]
    if others:
        cited.notes.append(f"Some or all of these results were made by seqeval-rl {', '.join(others)}.")


def _cite_datasets(cited: _Bibliography, results: Sequence[RunResult]) -> None:
    """The citation that a manifest records for a dataset, else that of its source."""
    recorded: dict[str, Any] = {}
    for block in [block for run in results for block in run.manifest["dataset"].get("blocks", ())]:
        if name := str(block.get("name") or ""):
            recorded[name] = block.get("citation") or recorded.get(name)
    for name, citation in sorted(recorded.items()):
        if isinstance(citation, str):
            cited.cite_bibtex(f"dataset: {name}", f"Dataset {name}", citation, "its `citation` has no entry.")
            continue
        for beginning, keys, description in _SOURCES:
            if name.startswith(beginning):
                cited.cite(f"{description}: {name}", *keys)
                break
        else:
            origin = "synthetic, for tests" if name.startswith("synthetic:") else "your own data"
            cited.notes.append(f"Dataset {name}: {origin}. No entry is known: cite its source.")


def _cite_environments(cited: _Bibliography, results: Sequence[RunResult]) -> None:
    environments = _sorted(run.manifest.get("task", {}).get("env_id") for run in results if len(run.curve()[0]))
    for environment in environments:
        reason = f"environment {environment}"
        cited.cite(reason, "towers2024gymnasium")
        if _MUJOCO.fullmatch(environment):
            cited.cite(reason, "todorov2012mujoco")
        elif environment.startswith(("gymnasium_robotics:", "seqeval_rl.environments.d4rl_tasks:")):
            cited.cite(reason, "gymnasium_robotics", "todorov2012mujoco")
        else:
            cited.notes.append(f"Environment {environment}: opened by Gymnasium. No entry is known: cite its source.")
    installed = {run.manifest.get("versions", {}).get("envpool", "not installed") for run in results}
    if environments and installed - {"not installed"}:
        cited.cite("installed; it ran the environments that it supports (not recorded which)", "weng2022envpool")


def _cite_algorithms(cited: _Bibliography, results: Sequence[RunResult], registered: Mapping[str, str]) -> None:
    """Each algorithm's BibTeX from the manifests, else what is registered under its name."""
    citations: dict[str, str] = {}
    for run in results:
        text = run.manifest.get("citation")
        citations[run.algorithm] = citations.get(run.algorithm) or (text if isinstance(text, str) else "")
    for name, text in sorted(citations.items()):
        hint = "it has no BibTeX. Give its class an attribute `citation`, or cite it by hand."
        cited.cite_bibtex(f"algorithm {name}", f"Algorithm {name}", text or registered.get(name, ""), hint)


def _sorted(names: Iterable[object]) -> list[str]:
    return sorted({str(name) for name in names if name})


def _comments(texts: Iterable[str]) -> str:
    # To BibTeX everything between entries is a comment, and an @ anywhere in it begins an entry.
    return "".join(f"% {' '.join(text.replace('@', ' at ').split())}\n" for text in dict.fromkeys(texts))


_OPENING = re.compile(r"@(\w+)\s*\{\s*([^\s,{}\"#%'()=\\~@]+)\s*,")
_FIELD = re.compile(r"\s*([A-Za-z][\w-]*)\s*=\s*")
_WORD = re.compile(r"[A-Za-z0-9][\w-]*")
_AFTER_VALUE, _CLOSING = re.compile(r"\s*(,|(?=\}))"), re.compile(r"\s*\}")


def entries(text: str) -> dict[str, str]:
    """The entries of a BibTeX text by key, in their order and as they are written; text between them is ignored.

    Values may be in braces or quotation marks, a number or one word; joining them by `#` is not supported.

    Raises:
        ValueError: an incomplete entry, unbalanced braces, or a key that occurs twice; the message says where.
    """
    by_key: dict[str, str] = {}
    start = text.find("@")
    while start >= 0:
        opening = _OPENING.match(text, start)
        if opening is None:
            raise ValueError(f"expected @type{{key, found {text[start : start + 20]!r}")
        key = opening[2]
        if key.lower() in map(str.lower, by_key):
            raise ValueError(f"expected each key once, found {key} twice")
        end = _end_of_entry(text, opening.end(), key)
        by_key[key] = text[start:end]
        start = text.find("@", end)
    return by_key


def _end_of_entry(text: str, place: int, key: str) -> int:
    """Index after the entry whose fields begin at `place`."""
    while not (closing := _CLOSING.match(text, place)):
        field = _FIELD.match(text, place)
        if field is None:
            found = text[place : place + 20].strip()
            raise ValueError(f"{key}: expected a field or the closing brace, found {found!r}")
        place = _end_of_value(text, field.end(), f"{key}, {field[1]}")
        after = _AFTER_VALUE.match(text, place)
        if after is None:
            raise ValueError(f"{key}, {field[1]}: expected a comma or the closing brace after the value")
        place = after.end()
    return closing.end()


def _end_of_value(text: str, place: int, where: str) -> int:
    """Index after the value that begins at `place`."""
    quoted = text[place : place + 1] == '"'
    if not quoted and text[place : place + 1] != "{":
        word = _WORD.match(text, place)
        if word is None:
            raise ValueError(f"{where}: expected a value in braces or quotation marks")
        return word.end()
    depth = 0
    for end in range(place + quoted, len(text)):
        letter = text[end]
        depth += (letter == "{") - (letter == "}")
        if depth < 0:
            break
        if depth == 0 and letter == ('"' if quoted else "}"):
            return end + 1
    raise ValueError(f"{where}: expected braces that balance and a closed value")
