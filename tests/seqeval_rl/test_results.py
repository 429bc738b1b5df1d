"""What results are called, and the long format."""

import pytest

from seqeval_rl.results import RunResult, algorithm_names, differences, evaluation_share, hashable, long_rows, show


def result(algorithm="td3_bc", dataset="noise", seed=0, **config):
    manifest = {"dataset": {"name": dataset}, "algorithm": {"name": algorithm, "config": config}, "seed": seed}
    entry = {"phase": "offline", "block": "", "transitions": 1, "gradient_steps": 0, "env_steps": 0}
    return RunResult("run", None, manifest, "finished", None, [{**entry, "metrics": {"score": 1.0}}])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.5, "2.5"),
        (1.0, "1"),
        (3e-4, "0.0003"),
        (0.1 + 0.2, "0.30000000000000004"),
        (7, "7"),
        (True, "true"),
        (None, "none"),
        ("word", "word"),
        ([256, 256.0], "[256, 256]"),
    ],
)
def test_values_are_shown_as_they_are_given(value, text):
    assert show(value) == text


def test_equal_values_have_equal_keys():
    assert hashable({"a": [1, {"b": 2.0}], "c": float("nan")}) == hashable({"c": float("nan"), "a": (1.0, {"b": 2})})
    assert hashable({"a": [1, 2]}) != hashable({"a": [2, 1]})
    assert differences([{"a": 1, "b": 2}, {"a": 1.0, "b": 3}, {"a": 1, "c": None}]) == ["b"]


def test_variants_have_names_of_their_own_and_nothing_else_changes_its_name():
    runs = [result(alpha=2.5, rate=1), result(seed=1, alpha=2.5, rate=1), result("bc", rate=2)]
    assert algorithm_names(runs) == ["td3_bc", "td3_bc", "bc"]
    # Settings that differ between datasets only need no telling apart.
    assert algorithm_names([*runs, result(dataset="other", alpha=9, rate=1)]) == ["td3_bc", "td3_bc", "bc", "td3_bc"]
    several = [*runs, result(alpha=1.0, rate=1)]
    assert algorithm_names(several) == ["td3_bc (alpha=2.5)", "td3_bc (alpha=2.5)", "bc", "td3_bc (alpha=1)"]
    assert [row[2] for row in long_rows(iter(several))] == algorithm_names(several)


def test_the_share_of_evaluation_is_that_of_all_timed_evaluations():
    one, other = result(), result(seed=1)
    assert evaluation_share([one, other]) is None
    one.evaluations[0]["metrics"] |= {"seconds": 8.0, "evaluation_seconds": 1.0}
    assert evaluation_share([one, other]) == pytest.approx(1 / 8)
    other.evaluations[0]["metrics"] |= {"seconds": 2.0, "evaluation_seconds": 1.5}
    assert evaluation_share([one, other]) == pytest.approx(2.5 / 10)
