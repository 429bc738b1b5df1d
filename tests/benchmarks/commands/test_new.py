"""`seqeval new algorithm`: the package that it writes passes its own tests and `seqeval check` as it is."""

import subprocess
import sys
import tomllib

import pytest

from seqeval_rl.benchmarks.cli import main


def test_the_package_passes_its_own_test_and_the_check(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new", "algorithm", "my-method"]) == 0
    root = tmp_path / "my-method"
    written = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    files = {"my_method/__init__.py", "my_method/algorithm.py", "tests/test_my_method.py"}
    assert written == {"pyproject.toml", "README.md"} | files
    assert len(capsys.readouterr().out.split()) == len(written)
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["entry-points"]["seqeval_rl.algorithms"] == {"my_method": "my_method:MyMethod"}
    assert not any("@NAME@" in (root / name).read_text(encoding="utf-8") for name in written)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    # `python -m` puts the working directory on the path, as an installation would.
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert main(["check", f"{root}/my_method/algorithm.py"]) == 0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("td3_bc", "expected a new name, found one that is taken"),
        ("json", "expected a new name, found one that is taken"),
        ("class", "expected a name for a Python package"),
        ("../up", "expected a name for a Python package"),
        ("Mine", "expected a name for a Python package"),
        ("there", "expected a directory that is not there yet"),
    ],
)
def test_a_name_that_cannot_be_is_one_line(name, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    assert main(["new", "algorithm", name]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
