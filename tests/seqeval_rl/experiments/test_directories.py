"""The directories of runs: every run has its own, whatever streams and algorithms are called."""

import pytest
from synthetic import npz

import seqeval_rl
from seqeval_rl.errors import MismatchError, SeqevalError, UsageError

SMALL = {"initial": 100, "batch_size": 16, "evaluate_every": 100, "episodes": 0}


@pytest.fixture
def run(tmp_path):
    """Runs behavior cloning on streams of these names, all of one dataset."""
    source = str(npz(tmp_path / "log.npz"))

    def evaluate(*names, out="out", **options):
        return seqeval_rl.evaluate("bc", dict.fromkeys(names, source), protocol=SMALL, out=tmp_path / out, **options)

    return evaluate


def metrics(out):
    return {path.parent: path.read_bytes() for path in sorted(out.rglob("metrics.jsonl"))}


def test_names_of_which_nothing_fits_a_file_name_have_directories_of_their_own(run, tmp_path):
    assert sorted(each.dataset for each in run("跳跃", "行走")) == ["行走", "跳跃"]
    assert sorted(each.dataset for each in run("跳跃", overwrite=True)) == ["行走", "跳跃"]
    assert len(metrics(tmp_path / "out")) == 2


def test_results_in_a_directory_that_was_named_otherwise_are_found(run, tmp_path):
    run("two words")
    (tmp_path / "out" / next(p.name for p in (tmp_path / "out").glob("two-words-*"))).rename(
        tmp_path / "out" / "two-words"
    )
    before = metrics(tmp_path / "out")
    (result,) = run("two words")
    assert (result.run, result.status) == ("two-words/bc/seed-0", "finished")
    assert metrics(tmp_path / "out") == before


@pytest.mark.parametrize(
    "names", [("Noise", "noise"), ("caf\u00e9", "cafe\u0301")], ids=["letter case", "composed letters"]
)
def test_two_runs_in_one_directory_are_refused_before_training(names, run, tmp_path):
    with pytest.raises(UsageError, match="expected a directory for each run") as error:
        run(*names)
    assert all(repr(f"{name}, bc") in str(error.value) for name in names)
    assert not metrics(tmp_path / "out")


def test_overwriting_deletes_results_of_the_same_run_only(run, tmp_path):
    run("two words")
    # As an earlier version named it, and as the other stream's directory is named.
    next((tmp_path / "out").glob("two-words-*")).rename(tmp_path / "out" / "two-words")
    before = metrics(tmp_path / "out")
    for overwrite in (False, True):
        with pytest.raises(MismatchError, match="'two words', asked for 'two-words'"):
            run("two-words", overwrite=overwrite)
    assert metrics(tmp_path / "out") == before
    run("two words", overwrite=True)
    assert metrics(tmp_path / "out").keys() == before.keys()


def test_a_refused_stream_leaves_no_directory_and_no_result_changed(run, tmp_path):
    def refused(out):
        with pytest.raises(SeqevalError, match="unknown dataset 'nosuch'"):
            seqeval_rl.evaluate("bc", "nosuch", protocol=SMALL, out=tmp_path / out)

    refused("a/b")
    assert not (tmp_path / "a").exists()
    (tmp_path / "there").mkdir()
    refused("there/c")
    assert list((tmp_path / "there").iterdir()) == []
    run("one", out="there")
    before = metrics(tmp_path / "there")
    refused("there")
    assert metrics(tmp_path / "there") == before
    assert before
