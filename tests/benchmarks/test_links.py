"""Links in a results directory: runs behind them are found, and nothing outside is written or deleted."""

import shutil

import pytest

from seqeval_rl.benchmarks.cli import main
from seqeval_rl.results.read import read_results


@pytest.fixture
def command(suite, tmp_path):
    return ["run", str(suite), "--algorithms", "bc", "--seeds", "0", "--out", str(tmp_path / "out")]


def contents(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file() and path.name[0] != "."}


@pytest.mark.parametrize("place", ["noise", "noise/bc", "noise/bc/seed-0"])
def test_a_run_behind_a_link_is_found_and_overwrite_does_not_reach_it(place, command, tmp_path, capsys):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "out" / place
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert main(command) == 0
    (result,) = read_results(tmp_path / "out")
    assert (result.run, result.status) == ("noise/bc/seed-0", "finished")
    before = contents(tmp_path / "elsewhere")
    assert main(command) == 0
    capsys.readouterr()
    assert main([*command, "--overwrite"]) == 78
    assert (
        f"{link}: expected a directory of this run, found a link to {tmp_path / 'elsewhere'}" in capsys.readouterr().err
    )
    assert contents(tmp_path / "elsewhere") == before


def test_links_in_a_circle_end_and_a_run_counts_once(command, tmp_path):
    assert main(command) == 0
    (tmp_path / "out" / "noise" / "circle").symlink_to(tmp_path / "out", target_is_directory=True)
    (tmp_path / "out" / "again").symlink_to(tmp_path / "out" / "noise", target_is_directory=True)
    assert [result.run for result in read_results(tmp_path / "out")] == ["noise/bc/seed-0"]


@pytest.mark.parametrize("name", ["metrics.jsonl", "checkpoint"])
def test_a_run_whose_file_is_a_link_is_not_resumed(name, command, tmp_path, capsys):
    assert main(command) == 0
    run = tmp_path / "out" / "noise" / "bc" / "seed-0"
    shutil.move(run / name, tmp_path / name)
    (run / name).symlink_to(tmp_path / name)
    lines = (tmp_path / "metrics.jsonl" if name == "metrics.jsonl" else run / "metrics.jsonl").resolve()
    lines.write_bytes(b"".join(lines.read_bytes().splitlines(keepends=True)[:-1]))
    before = contents(tmp_path)
    capsys.readouterr()
    for more in ([], ["--overwrite"]):
        assert main([*command, *more]) == 78
        assert f"{run / name}: expected a" in capsys.readouterr().err
    assert contents(tmp_path) == before
