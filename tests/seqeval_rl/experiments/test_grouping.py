"""Which runs train together in one run group."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, strategies as st

from seqeval_rl.experiments import grouping
from seqeval_rl.experiments.grouping import GroupCandidate, divide, room_for_groups
from seqeval_rl.interface.config import common_settings, grouped_config


@dataclass(frozen=True)
class Config:
    rate: float = 0.5
    scale: float | None = None
    width: int = 8


def test_float_settings_become_tensors_and_others_must_agree():
    config = grouped_config([Config(rate=0.1), Config(rate=0.2), Config(rate=0.1)])
    assert torch.equal(config.rate, torch.tensor([0.1, 0.2, 0.1], dtype=torch.float64))
    assert config.width == 8
    assert grouped_config([Config(), Config()]) == Config()
    for other in (Config(width=9), Config(scale=1.0)):
        assert common_settings(other) != common_settings(Config())
        with pytest.raises(ValueError, match="differ in floats only"):
            grouped_config([Config(), other])


@given(
    runs=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(1, 50)), max_size=30),
    room=st.integers(0, 300),
)
def test_every_run_is_in_one_group_of_its_key_that_fits(runs, room):
    candidates = [GroupCandidate(i, key, dataset, 100, size) for i, (key, dataset, size) in enumerate(runs)]
    groups = divide(candidates, room)
    assert sorted(candidate.run for group in groups for candidate in group) == list(range(len(runs)))
    for group in groups:
        assert len({candidate.key for candidate in group}) == 1
        taken = 100 * len({candidate.dataset for candidate in group}) + sum(candidate.run_bytes for candidate in group)
        assert taken <= room or len(group) == 1


def test_without_room_every_run_is_alone_and_with_room_none_is_split():
    candidates = [GroupCandidate(i, "key", "dataset", 10, 0) for i in range(5)]
    assert [len(group) for group in divide(candidates, 0)] == [1] * 5
    assert [len(group) for group in divide(candidates, 1e9)] == [5]


def test_groups_are_halved_until_every_device_has_one():
    candidates = [GroupCandidate(i, "a", "x", 100, 10) for i in range(5)]
    assert [len(group) for group in divide(candidates, 1e9, workers=2)] == [3, 2]
    assert sorted(len(group) for group in divide(candidates, 1e9, workers=4)) == [1, 1, 1, 2]
    assert [len(group) for group in divide(candidates, 1e9, workers=9)] == [1] * 5
    assert divide([], 1e9, workers=2) == []


def test_the_room_is_that_of_the_fullest_device_unless_others_have_twice_as_much(monkeypatch):
    devices = [torch.device("cuda", index) for index in range(3)]
    free = dict(zip(devices, (80e9, 60e9, 10e9), strict=True))
    monkeypatch.setattr(grouping, "free_memory", free.__getitem__)
    assert room_for_groups(*devices) == grouping.MEMORY_SHARE * 60e9
    assert room_for_groups(torch.device("cpu")) == 0
