"""Variants of an algorithm: how their values are written, checked and named."""

import json
import re
from dataclasses import dataclass

import pytest
from hypothesis import given, strategies as st

from seqeval_rl.benchmarks.arguments.parsing import Several, parse_setting
from seqeval_rl.data.stream import StreamSpec
from seqeval_rl.errors import UsageError
from seqeval_rl.experiments.sweep import Shard, Sweep, protocols, variants
from seqeval_rl.interface.config import Layers, Positive
from seqeval_rl.interface.registry import AlgorithmEntry
from seqeval_rl.protocol import Protocol
from seqeval_rl.results.write import identity, recorded_runs
from seqeval_rl.utils.text import show


class Made:
    """An algorithm with a setting of every kind."""

    @dataclass(frozen=True)
    class Config:
        rate: Positive = 0.5
        shift: float = 0
        layers: Layers = (8, 8)
        flag: bool = True
        kind: str = "plain"
        limit: Positive | None = None


ALONE = protocols(Protocol(), {}, "here")
ENTRY = AlgorithmEntry("made", "made", Made)

words = st.from_regex(r"[a-z][a-z_/ -]{0,8}[a-z]", fullmatch=True).filter(
    lambda w: w not in ("true", "none", "nan", "inf")
)
lists = st.recursive(st.integers(), lambda inner: st.lists(inner, max_size=3), max_leaves=6)
values = st.one_of(
    st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none(), words,
    st.lists(lists, max_size=3), st.text("abc,[]{}'= #", max_size=6).map(lambda text: Quoted(text)),
)  # fmt: skip


class Quoted(str):
    """Text that the user put in quotation marks."""


def written(value):
    """A value as a user writes it."""
    return json.dumps(value) if isinstance(value, Quoted) else show(value)


@given(st.lists(values, min_size=1, max_size=5), st.sampled_from([",", ", ", " , "]))
def test_what_is_written_is_what_is_read(several, comma):
    section, setting, read = parse_setting("made.kind=" + comma.join(map(written, several)))
    assert (section, setting) == ("made", "kind")
    assert (list(read.values) if len(several) > 1 else [read]) == several
    for value, back in zip(several, read.values if len(several) > 1 else [read], strict=True):
        # 2.0 may come back as 2; what is a flag, a number or a word stays one.
        assert [isinstance(back, kind) for kind in (bool, str)] == [isinstance(value, kind) for kind in (bool, str)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,2.5,4", Several((1, 2.5, 4))),
        ("[256,256]", [256, 256]),
        ("[256,256],[512,512]", Several(([256, 256], [512, 512]))),
        ("none,1", Several((None, 1))),
        ("true,false", Several((True, False))),
        ("shuffled,logged", Several(("shuffled", "logged"))),
        ("'a,b'", "a,b"),
        ("1", 1),
    ],
)
def test_several_values_are_told_from_one(text, expected):
    assert parse_setting(f"made.kind={text}")[2] == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,,2", ["'made.rate=1,,2'", "nothing before or after a comma"]),
        ("1,2,", ["nothing before or after a comma"]),
        ("[1,2],[3", ["'[3'", "not closed", "[64,64],[256,256]"]),
    ],
)
def test_values_that_cannot_be_read_are_named(text, words):
    with pytest.raises(UsageError) as error:
        parse_setting(f"made.rate={text}")
    for word in words:
        assert word in str(error.value)


def directories(settings=None, **swept):
    return [variant.directory for variant in variants(ENTRY, settings or {}, swept, "here", ALONE)]


def test_without_a_sweep_there_is_one_variant_in_the_algorithms_own_directory():
    assert directories({"rate": 2}) == ["made"]
    assert directories(rate=(2,)) == ["made"]
    (variant,) = variants(ENTRY, {"flag": False}, {"rate": (2,)}, "here", ALONE)
    assert (variant.config.rate, variant.config.flag) == (2.0, False)


def test_variants_are_the_cross_product_in_the_order_of_the_declaration():
    found = variants(ENTRY, {"shift": 3}, {"flag": (True, False), "rate": (1, 2.5), "kind": ("own",)}, "here", ALONE)
    assert [variant.directory for variant in found] == [
        "made,rate=1,flag=true", "made,rate=1,flag=false", "made,rate=2.5,flag=true", "made,rate=2.5,flag=false",
    ]  # fmt: skip
    assert [(v.config.rate, v.config.flag) for v in found] == [(1, True), (1, False), (2.5, True), (2.5, False)]
    assert {(v.config.shift, v.config.kind) for v in found} == {(3, "own")}


def test_every_kind_of_value_has_a_name_of_its_own():
    assert directories(shift=(-1, 1, 1e-5, 0.1 + 0.2, 0.3)) == [
        f"made,shift={text}" for text in ("-1", "1", "1e-05", "0.30000000000000004", "0.3")
    ]
    assert directories(layers=([256, 256], [512])) == ["made,layers=256x256", "made,layers=512"]
    assert directories(limit=(None, 3)) == ["made,limit=none", "made,limit=3"]
    assert directories(kind=("up", "down.1")) == ["made,kind=up", "made,kind=down.1"]
    for name, start in zip(directories(kind=("../up", "two words")), ("..-up", "two-words"), strict=True):
        assert re.fullmatch(rf"made,kind={start}-[0-9a-f]{{8}}", name)
    # What could be several things is told apart.
    several = directories(kind=("a b", "a-b", "none", "2", "2x3", "true"))
    assert len({name.casefold() for name in several}) == 6
    assert several[1] == "made,kind=a-b"
    long, longer = directories(kind=("x" * 400, "x" * 401))
    assert long != longer
    assert len(long) == len(longer) == 150


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False).map(lambda x: x + 0.0), min_size=2, unique=True))
def test_different_numbers_have_different_directories(numbers):
    assert len(set(directories(shift=tuple(numbers)))) == len(numbers)


@pytest.mark.parametrize(
    ("swept", "words"),
    [
        ({"rat": (1, 2)}, ["unknown setting of made 'rat' in here", "did you mean rate"]),
        ({"rate": (1, -2)}, ["made.rate in here", "greater than 0", "-2"]),
        ({"rate": (1, "fast")}, ["made.rate in here", "valid number", "'fast'"]),
        ({"rate": (1, 2, 1.0)}, ["sweep of made.rate in here", "found 1 twice"]),
        ({"rate": (1, 2), "flag": (True, True)}, ["sweep of made.flag", "found true twice"]),
        ({"layers": ([8], (8,))}, ["sweep of made.layers", "twice"]),
        ({"layers": (256, 128)}, ["made.layers", "256", "are a sweep", "a list is written layers=[8, 8]"]),
        ({"rate": ()}, ["sweep of made.rate", "found none"]),
    ],
)
def test_what_is_wrong_with_a_sweep_is_said_in_one_line(swept, words):
    with pytest.raises(UsageError) as error:
        variants(ENTRY, {}, swept, "here", ALONE)
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_recorded_runs_are_found_by_what_they_are(tmp_path):
    # A default that nobody checked may be the integer 0, and the same setting swept the float 0.0.
    about = {"dataset": {"name": "x", "transitions": 9}, "evaluations_expected": 3, "seed": 1}
    manifest = about | {"algorithm": {"name": "made", "config": {"shift": 0, "layers": (8, 8)}}, "device": "cpu"}
    same = about | {"algorithm": {"config": {"layers": [8, 8], "shift": 0.0}, "name": "made"}, "device": "cuda"}
    assert identity(manifest) == identity(same) != identity({**manifest, "seed": 2})
    for name, text in (("made", json.dumps(manifest)), ("made,shift=0", "torn"), ("made,shift=1", "[]")):
        directory = tmp_path / "stream" / name / "seed-1"
        directory.mkdir(parents=True)
        (directory / "manifest.json").write_text(text)
    assert recorded_runs(tmp_path) == {identity(same): tmp_path / "stream" / "made" / "seed-1"}
    assert recorded_runs(tmp_path / "nowhere") == {}


@given(st.lists(st.text("ab -/2x.é", min_size=1, max_size=6), min_size=2, max_size=5, unique=True))
def test_different_words_have_different_directories(words):
    found = directories(kind=tuple(words))
    assert len({*found}) == len(words)
    assert all(len(name.encode()) <= 150 and re.fullmatch(r"[A-Za-z0-9.,=+_-]+", name) for name in found)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seeds": (0, 2**63)}, ["in a test", "2**63", str(2**63)]),
        ({"seeds": (-1,)}, ["seeds from 0", "found -1"]),
        ({"seeds": (0, 1, 1)}, ["different seeds", "found 1 twice"]),
        ({"seeds": ()}, ["at least one"]),
        ({"streams": (StreamSpec("caf\udce9", ("a.npz",)),)}, ["UTF-8", r"'caf\udce9'"]),
        ({"streams": (StreamSpec("a", ("caf\udce9.npz",)),)}, ["UTF-8", "caf"]),
    ],
)
def test_a_sweep_is_checked_before_its_data_are_read(changes, words):
    fields = {"name": "s", "streams": (StreamSpec("a", ("a.npz",)),), "algorithms": (ENTRY,), "seeds": (0,)}
    Sweep(protocol=Protocol(), where="in a test", **fields)
    with pytest.raises(UsageError) as error:
        Sweep(protocol=Protocol(), where="in a test", **fields | changes)
    for word in words:
        assert word in str(error.value)
    assert len(str(error.value)) < 200


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.integers(1, 40))
def test_shards_take_every_run_once(streams, variant_count, seeds, count):
    specs = tuple(StreamSpec(f"s{number}", ("x",)) for number in range(streams))
    taken = {
        index: [
            (stream, variant, seed)
            for stream in range(streams)
            for variant in range(variant_count)
            for seed in Sweep(
                "x", specs, (ENTRY,), Protocol(), tuple(range(seeds)), shard=Shard(index, count)
            ).seeds_in_shard(stream, variant, variant_count)
        ]
        for index in range(1, count + 1)
    }
    runs = [run for part in taken.values() for run in part]
    assert len(runs) == len(set(runs)) == streams * variant_count * seeds
    units = streams * variant_count if streams * variant_count >= count else len(runs)
    assert sum(bool(part) for part in taken.values()) == min(count, units)


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "-1/4", "1/0", "a/b", "1/4/2", "1.0/2"])
def test_a_shard_that_does_not_exist_is_refused(text):
    with pytest.raises(UsageError, match="expected K/N with 1 <= K <= N"):
        Shard.parse(text)
