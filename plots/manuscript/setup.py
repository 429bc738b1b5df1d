"""The paragraph of a paper that states protocol, seeds, statistics, hardware and versions in words, as LaTeX."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from seqeval_rl.plots.analysis.captions import damage_sentence
from seqeval_rl.plots.analysis.compute import hardware
from seqeval_rl.plots.analysis.grouping import Group, collect
from seqeval_rl.plots.analysis.naming import display_name, legend_order
from seqeval_rl.plots.analysis.statistics import SAMPLES
from seqeval_rl.plots.citations import PAPER, SOFTWARE, entries
from seqeval_rl.plots.tables.latex import latex_text
from seqeval_rl.results.read import RunResult
from seqeval_rl.utils.text import show

_ORDERS = {
    "shuffled": "in shuffled order",
    "episodes": "in whole episodes, which are shuffled",
    "logged": "in the order of the dataset",
}
_NAMES = {
    "python": "Python",
    "torch": "PyTorch",
    "numpy": "NumPy",
    "gymnasium": "Gymnasium",
    "mujoco": "MuJoCo",
    "minari": "Minari",
}
_VERSIONS = ("python", "torch", "numpy", "gymnasium", "mujoco", "envpool", "minari")  # in manifests


def setup_paragraph(results: Sequence[RunResult], keys: Collection[str], registered: Mapping[str, str]) -> str:
    r"""A `\paragraph` with what manifests record; a setting in which runs differ has all of its values.

    Args:
        results: from `seqeval_rl.read_results`.
        keys: of the bibliography, see `citations.bibliography`; nothing else is cited.
        registered: BibTeX by algorithm, for runs whose manifest was written before manifests recorded it.
    """
    groups = [group for panel in collect(results) for group in panel.groups]
    texts = [
        _what(results, keys, registered), _protocol(results), _variants(results), _seeds(results, groups),
        latex_text(damage_sentence(results)), _statistics(keys, groups), _machines(results),
    ]  # fmt: skip
    return "\n".join([r"\paragraph{Experimental setup.}", *(text for text in texts if text)]) + "\n"


def _what(results: Sequence[RunResult], keys: Collection[str], registered: Mapping[str, str]) -> str:
    bibtex = {run.algorithm: run.manifest.get("citation") or registered.get(run.algorithm, "") for run in results}
    algorithms = [
        latex_text(display_name(name)) + _cite(keys, *_keys(bibtex[name]))
        for name in legend_order({run.algorithm for run in results})
    ]
    datasets = [latex_text(name) for name in dict.fromkeys(run.dataset for run in results)]
    environments = _values(run.manifest.get("task", {}).get("env_id") for run in results)
    where = f" (environment{'s' if len(environments) > 1 else ''} {_and(environments)})" if environments else ""
    count = f"{len(datasets)} datasets" if len(datasets) > 1 else "the dataset"
    return (
        f"We evaluate {_and(algorithms)} on {count} {_and(datasets)}{where} by sequential evaluation{_cite(keys, PAPER)}, "
        f"with the software seqeval-rl{_cite(keys, SOFTWARE)}."
    )


def _protocol(results: Sequence[RunResult]) -> str:
    of = {name: _settings(results, name) for name in {name for run in results for name in run.protocol}}

    def text(name: str, unit: str = "transition") -> str:
        values = of.get(name) or ["an unrecorded number of"]
        return f"{_or(values)} {unit}{'' if values == ['1'] else 's'}"

    visible = "all visible transitions"
    if (windows := of.get("window")) and windows != ["none"]:
        newest = [each for each in windows if each != "none"]
        visible = f"the newest {_or(newest)} visible transitions" + (" (in some runs all)" if "none" in windows else "")
    orders = [_ORDERS.get(each, each) for each in of.get("order", [])]
    sentences = [
        f"At the beginning of a run {text('initial')} of its dataset are visible. The rest is revealed in increments of "
        f"{text('increment')}{f', {_or(orders)}' if orders else ''}, each followed by "
        f"{text('updates_per_increment', 'gradient step')} on batches of {text('batch_size')}, drawn uniformly with "
        f"replacement from {visible}.",
    ]
    if of.get("episodes") == ["0"]:
        sentences.append(f"Every {text('evaluate_every')} the policy is scored without an environment.")
    else:
        episodes = text("episodes", "episode")
        sentences.append(f"Every {text('evaluate_every')} the policy is evaluated without exploration over {episodes}.")
    if any(run.main_metric == "score" for run in results):
        sentences.append("Scores are returns scaled by the reference returns of each task: 0 is random, 100 an expert.")
    return " ".join(sentences)


def _variants(results: Sequence[RunResult]) -> str:
    """Sentences on an online phase, controls, and the use of future data."""
    online = _or([_number(each) for each in sorted({run.online for run in results if run.online})])
    sentences = {
        f"After the dataset the policy gathers {online} transitions in the environment, each followed by gradient "
        "steps at the same ratio.": any(run.online for run in results),
        "The static control sees the full dataset from the start, for as many gradient steps.": any(
            run.static for run in results
        ),
        "In the interleaved control the transitions of all blocks arrive mixed.": any(
            run.interleaved for run in results
        ),
        "Runs that are marked so use statistics of the full dataset, which includes data that are not visible yet.": any(
            run.manifest.get("uses_future_data") for run in results
        ),
    }
    return " ".join(sentence for sentence, holds in sentences.items() if holds)


def _seeds(results: Sequence[RunResult], groups: Sequence[Group]) -> str:
    counts = sorted({len(group.runs) for group in groups})
    number = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
    seeds = sorted({run.seed for run in results})
    contiguous = len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1))
    named = f"{seeds[0]} to {seeds[-1]}" if contiguous else _and([str(seed) for seed in seeds])
    ends = [(status, sum(run.status == status for run in results)) for status in ("failed", "unfinished")]
    ended = _and([f"{count} {status}" for status, count in ends if count])
    return (
        f"Each algorithm has {number} run{'' if counts == [1] else 's'} on each dataset, with the seed"
        f"{'' if len(seeds) == 1 else 's'} {named}; the seed determines the order of arrival, initial weights, batches and "
        f"episodes of evaluation." + (f" Of {len(results)} runs, {ended}." if ended else "")
    )


def _statistics(keys: Collection[str], groups: Sequence[Group]) -> str:
    most = max(len(group.runs) for group in groups)
    if most == 1:
        return "Numbers and curves are of single runs, so they have no intervals."
    name = "interquartile means over seeds (below four seeds the mean)" if most >= 4 else "means over seeds"
    return (
        f"Where they do not say otherwise, numbers and curves are {name} with 95\\,\\% bootstrap intervals over seeds "
        f"({_number(SAMPLES)} resamples); over several datasets, intervals are stratified by dataset"
        f"{_cite(keys, 'agarwal2021precipice')}."
    )


def _machines(results: Sequence[RunResult]) -> str:
    """Hardware, versions and precision."""
    machines = _values(hardware(run) for run in results)
    versions = []
    for name in ("seqeval-rl", *_VERSIONS):
        found = _values(run.manifest.get("versions", {}).get(name) for run in results)
        if kept := [each for each in found if each != "not installed"]:
            versions.append(f"{_NAMES.get(name, name)} {_or(kept)}")
    revisions = _values(run.manifest.get("git_revision") for run in results)
    precisions = _values(run.manifest.get("precision") for run in results)
    sentences = [f"Hardware: {'; '.join(machines)}.", f"Versions: {', '.join(versions) or 'not recorded'}."]
    sentences += [f"Source revision: {_or(revisions)}."] * bool(revisions)
    sentences += [f"Precision of matrix products: {_or(precisions)}."] * bool(precisions)
    return " ".join(sentences)


def _settings(results: Sequence[RunResult], name: str) -> list[str]:
    """The values of a setting of the protocol, in LaTeX; a share of the dataset in per cent."""
    values = {run.protocol[name] for run in results if name in run.protocol}
    numbers = sorted(value for value in values if isinstance(value, int | float))
    texts = [rf"{100 * value:g}\,\% of the" if 0 < value < 1 else _number(value) for value in numbers]
    return texts + sorted(latex_text(show(value)) for value in values if not isinstance(value, int | float))


def _number(value: float) -> str:
    """With thin spaces between thousands."""
    return f"{value:,}".replace(",", r"\,")


def _values(values: Iterable[Any]) -> list[str]:
    """Each once, in LaTeX, without those that are missing."""
    return [latex_text(str(value)) for value in dict.fromkeys(values) if value]


def _keys(bibtex: Any) -> list[str]:
    try:
        return list(entries(bibtex)) if isinstance(bibtex, str) else []
    except ValueError:  # the bibliography has a note on it
        return []


def _cite(known: Collection[str], *keys: str) -> str:
    cited = [key for key in keys if key in known]
    return rf"~\cite{{{','.join(cited)}}}" if cited else ""


def _and(texts: Sequence[str]) -> str:
    return _joined(texts, "and")


def _or(texts: Sequence[str]) -> str:
    return _joined(texts, "or")


def _joined(texts: Sequence[str], word: str) -> str:
    return f"{', '.join(texts[:-1])} {word} {texts[-1]}" if len(texts) > 1 else "".join(texts)
