"""What to cite: the paper, this software, and every algorithm, dataset and environment that results were made with.

The entries are data: `references.bib` beside this file for what the harness knows, and each algorithm's own, which its
manifest has. What has none is named in a comment, so that nothing is left out in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seqeval_rl.results.read import RunResult


PAPER, SOFTWARE = "sujit2023bridging", "seqeval_rl"
# By the beginning of a log's name: what to cite, and in which words. The first that fits counts.
_SOURCES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("d4rl:", ("fu2020d4rl",), "dataset"),
    ("minari:D4RL/", ("younis2024minari", "fu2020d4rl"), "dataset, made anew after D4RL's"),
    ("minari:", ("younis2024minari",), "dataset"),
    ("ogbench:", ("park2025ogbench",), "dataset"),
    ("vd4rl:", ("lu2023challenges", "tunyasuvunakool2020dmcontrol"), "dataset, of dm_control's tasks"),
    ("bundled/", (SOFTWARE, "fu2020d4rl"), "log that comes with seqeval-rl; its score's reference returns are D4RL's"),
)
_MUJOCO = re.compile(
    r"(Ant|HalfCheetah|Hopper|Humanoid|HumanoidStandup|InvertedDoublePendulum|InvertedPendulum|Pusher|Reacher|Swimmer"
    r"|Walker2d)-v\d+"
)


def references() -> dict[str, str]:
    """The entries of `references.bib` by key, this software's at the version that is installed."""
    text = (files("seqeval_rl.plots") / "references.bib").read_text(encoding="utf-8")
    return entries(text.replace("VERSION", version("seqeval-rl")))


def bibliography(results: Sequence[RunResult] = (), registered: Mapping[str, str] | None = None) -> str:
    """BibTeX, each entry under a comment that says what it is there for.

    Args:
        results: of `seqeval_rl.read_results`; without any: the paper and this software.
        registered: algorithms' own BibTeX by name, for runs whose manifest was written before manifests had it.
    """
    known = references()
    reasons: dict[str, list[str]] = {PAPER: ["the protocol: sequential evaluation"], SOFTWARE: ["this software"]}
    notes: list[str] = []
    for keys, reason in _used(results):
        if not keys:
            notes.append(f"{reason} No entry is known here: cite where it comes from.")
        for key in keys:
            reasons.setdefault(key, []).append(reason)
    own = _versions(results) - {version("seqeval-rl")}
    if own:
        notes.append(f"These results, or some of them, were made by seqeval-rl {', '.join(sorted(own))}.")
    for name, text in sorted(_algorithms(results, registered or {}).items()):
        try:
            theirs = entries(text or "")
        except ValueError as error:
            notes.append(f"Algorithm {name}: its `citation` is not sound BibTeX ({error}). Cite it by hand.")
            continue
        if not theirs:
            notes.append(
                f"Algorithm {name}: it brings no BibTeX. Give its class an attribute `citation`, or cite it by hand."
            )
        for key, entry in theirs.items():
            taken = next((other for other in known if other.lower() == key.lower() and known[other] != entry), None)
            if taken:
                notes.append(f"Algorithm {name}: its key {key} is taken by another entry. Cite it by hand.")
            else:
                known[key] = entry
                reasons.setdefault(key, []).append(f"algorithm {name}")
    blocks = ["".join(_comment(reason) for reason in dict.fromkeys(why)) + known[key] for key, why in reasons.items()]
    blocks += ["".join(_comment(note) for note in dict.fromkeys(notes))] if notes else []
    return "\n\n".join(block.rstrip("\n") for block in blocks) + "\n"


def _used(results: Sequence[RunResult]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Keys and what they are for; no key where none is known."""
    if not results:
        return
    yield ("agarwal2021precipice",), "statistics: interquartile means, stratified bootstrap intervals, profiles"
    if any(run.prequential_scores() for run in results):
        yield ("bornschein2023sequential",), "prequential scores"
    for log in _sorted(block.get("name") for run in results for block in run.manifest["dataset"].get("blocks", ())):
        yield _source(log)
    environments = _sorted(run.manifest.get("task", {}).get("env_id") for run in results if len(run.curve()[0]))
    for environment in environments:
        yield ("towers2024gymnasium",), f"environment {environment}"
        if _MUJOCO.fullmatch(environment):
            yield ("todorov2012mujoco",), f"environment {environment}"
        elif environment.startswith("gymnasium_robotics:"):
            yield ("gymnasium_robotics", "todorov2012mujoco"), f"environment {environment}"
        else:
            yield (), f"Environment {environment}: opened by Gymnasium."
    installed = {run.manifest.get("versions", {}).get("envpool", "not installed") for run in results}
    if environments and installed - {"not installed"}:
        yield ("weng2022envpool",), "was installed, and ran the environments that it has; manifests do not say which"


def _source(log: str) -> tuple[tuple[str, ...], str]:
    for beginning, keys, what in _SOURCES:
        if log.startswith(beginning):
            return keys, f"{what}: {log}"
    if log.startswith("made:"):
        return (), f"Log {log}: made up, for tests."
    return (), f"Log {log}: data of your own."


def _algorithms(results: Sequence[RunResult], registered: Mapping[str, str]) -> dict[str, str | None]:
    """Each algorithm's BibTeX, of the run that has it, else what is registered under its name."""
    found: dict[str, str | None] = {}
    for run in results:
        text = run.manifest.get("citation")
        found[run.algorithm] = found.get(run.algorithm) or (text if isinstance(text, str) else None)
    return {name: text or registered.get(name) for name, text in found.items()}


def _versions(results: Sequence[RunResult]) -> set[str]:
    found = {run.manifest.get("versions", {}).get("seqeval-rl") for run in results}
    return {str(each) for each in found if each and each != "not installed"}


def _sorted(names: Iterable[object]) -> list[str]:
    return sorted({str(name) for name in names if name})


def _comment(text: str) -> str:
    # To BibTeX a comment is whatever lies between entries, and an @ begins one, wherever it stands.
    return f"% {' '.join(text.replace('@', ' at ').split())}\n"


_OPENING = re.compile(r"@(\w+)\s*\{\s*([^\s,{}\"#%'()=\\~@]+)\s*,")
_FIELD = re.compile(r"\s*([A-Za-z][\w-]*)\s*=\s*")
_WORD = re.compile(r"[A-Za-z0-9][\w-]*")


def entries(text: str) -> dict[str, str]:
    """The entries of `text`, each as it is written there, by key and in their order; what lies between them is dropped.

    Values are in braces or quotation marks, or a number or one word; they are not joined by `#`, and braces balance.

    Raises:
        ValueError: an entry that is not whole, or a key twice; says which and what is wrong.
    """
    found: dict[str, str] = {}
    place = text.find("@")
    while place >= 0:
        opening = _OPENING.match(text, place)
        if opening is None:
            raise ValueError(f"expected @type{{key, found {text[place : place + 20]!r}")
        key = opening[2]
        if key.lower() in map(str.lower, found):
            raise ValueError(f"expected each key once, found {key} twice")
        end = _fields(text, opening.end(), key)
        found[key] = text[place:end]
        place = text.find("@", end)
    return found


def _fields(text: str, place: int, key: str) -> int:
    """Where the entry ends whose fields begin at `place`."""
    while True:
        closing = re.compile(r"\s*\}").match(text, place)
        if closing:
            return closing.end()
        field = _FIELD.match(text, place)
        if field is None:
            raise ValueError(
                f"{key}: expected a field or the closing brace, found {text[place : place + 20].strip()!r}"
            )
        place = _value(text, field.end(), f"{key}, {field[1]}")
        after = re.compile(r"\s*(,|(?=\}))").match(text, place)
        if after is None:
            raise ValueError(f"{key}, {field[1]}: expected a comma or the closing brace behind the value")
        place = after.end()


def _value(text: str, place: int, where: str) -> int:
    """Where the value ends that begins at `place`."""
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
