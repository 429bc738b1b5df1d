"""What the sources that the pages name need to import is installed with the package, and what is not says what to install."""

import importlib
import re
from importlib.metadata import distribution
from pathlib import Path

import pytest

from seqeval_rl.data.load import find_reader
from seqeval_rl.data.readers.base import parse_source, readers

ROOT = Path(__file__).parents[3]
# Modules that reading, downloading or collecting such a source imports late, so that no other test needs them.
NEEDED = {
    "bundled/": ["minari", "mujoco"],
    "d4rl:": ["h5py"],
    "synthetic:": ["h5py", "mujoco"],
    # The download: Minari's remote is on Hugging Face.
    "minari:": ["minari", "h5py", "pyarrow", "huggingface_hub", "minari.storage.remotes.huggingface"],
    "ogbench:": ["numpy"],  # by its name also OGBench's package, which an error says
    "vd4rl:": ["h5py"],
    "npz:": ["numpy"],
}


def named_sources() -> list[str]:
    """Sources in the README and on the page of datasets."""
    text = "".join((ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "docs/datasets.md"))
    return sorted(set(re.findall(r"(?:bundled/|d4rl:|synthetic:|minari:|ogbench:|vd4rl:|npz:)[A-Za-z0-9_./-]*", text)))


@pytest.mark.parametrize("source", named_sources())
def test_what_a_named_source_needs_is_installed(source: str) -> None:
    for module in next(modules for start, modules in NEEDED.items() if source.startswith(start)):
        importlib.import_module(module)


def test_every_format_that_is_shipped_is_among_them() -> None:
    known = {start.rstrip(":/") for start in NEEDED}
    assert known >= {(one.prefix or name).rstrip(":") for name, one in readers().items()}
    assert find_reader(parse_source("minari:mujoco/hopper/medium-v0")[0]) is readers()["minari"]


def test_minari_is_required_with_its_download() -> None:
    required = [text for text in distribution("seqeval-rl").requires or [] if text.startswith("minari")]
    assert any("hdf5" in text and "hf" in text for text in required)
