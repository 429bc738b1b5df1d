"""One owner of a run's directory: dead ones are replaced, living ones are named, and one that was replaced writes nothing."""

import errno
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from seqeval_rl.errors import BusyError
from seqeval_rl.results import ownership
from seqeval_rl.results.ownership import OWNER, Ownership, is_owned
from seqeval_rl.results.write import RunRecorder
from seqeval_rl.utils import files

HERE = f"process {os.getpid()} on {socket.gethostname()}"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    for name, seconds in (("SILENCE", 1.0), ("_HEARTBEAT", 0.2), ("_PATIENCE", 0.1), ("_LOOK", 0.1)):
        monkeypatch.setattr(ownership, name, seconds)
    monkeypatch.setattr(ownership, "_silent", set())


@pytest.fixture(params=["locks", "no locks"])
def locks(request, monkeypatch):
    """With and without a file system that has locks."""

    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    if request.param == "no locks":
        for module in (ownership, files):
            monkeypatch.setattr(module, "try_lock", none)


def taken(directory):
    directory.mkdir(exist_ok=True)
    owner = Ownership(directory)
    owner.take()
    return owner


def elsewhere(directory, process=77):
    """Leave what a process on another machine leaves that is killed."""
    taken(directory).give_up()
    owner = taken(directory)
    text = (directory / OWNER).read_text()
    owner.give_up()
    text = text.replace(f"host={socket.gethostname()}", "host=elsewhere").replace(
        f"pid={os.getpid()}", f"pid={process}"
    )
    (directory / OWNER).write_text(text)


@pytest.mark.usefixtures("locks")
def test_a_second_owner_is_refused_and_named(tmp_path):
    first = taken(tmp_path)
    with pytest.raises(BusyError, match=f"{re.escape(HERE)} is writing to it, so that {re.escape(HERE)} cannot"):
        taken(tmp_path)
    assert is_owned(tmp_path)
    first.check()
    first.give_up()
    assert not is_owned(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= {".lock"}
    taken(tmp_path).give_up()


@pytest.mark.usefixtures("locks")
def test_an_owner_that_died_on_this_machine_is_replaced_at_once(tmp_path):
    code = f"""
import os, signal
from pathlib import Path
from seqeval_rl.results.ownership import Ownership
owner = Ownership(Path({str(tmp_path)!r}))
owner.take()
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert (tmp_path / OWNER).exists()
    assert not is_owned(tmp_path)
    taken(tmp_path).give_up()
    assert not (tmp_path / OWNER).exists()


@pytest.mark.parametrize("clock", [-86400, 0, 86400])
@pytest.mark.usefixtures("locks")
def test_an_owner_elsewhere_is_replaced_when_its_heartbeat_has_stopped_whatever_the_clocks_say(tmp_path, clock):
    for name in "ab":
        elsewhere(tmp_path / name, 1000 + clock % 997)
        os.utime(tmp_path / name / OWNER, (time.time() + clock,) * 2)
    started = time.monotonic()
    first = taken(tmp_path / "a")
    waited = time.monotonic() - started
    assert waited >= 1.0
    second = taken(tmp_path / "b")  # of the same process, which is known by now to be silent
    assert time.monotonic() - started - waited < 0.5
    for owner in (first, second):
        owner.check()
        owner.give_up()


@pytest.mark.parametrize("clock", [-86400, 0, 86400])
def test_an_owner_elsewhere_with_a_heartbeat_is_not_replaced(tmp_path, clock):
    elsewhere(tmp_path)
    over = threading.Event()

    def beat():
        count = 0
        while not over.wait(0.2):
            count += 1
            os.utime(tmp_path / OWNER, (time.time() + clock + count,) * 2)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(
            BusyError, match=f"process 77 on elsewhere is writing to it, so that {re.escape(HERE)} cannot"
        ):
            taken(tmp_path)
    finally:
        over.set()
        thread.join()


def test_a_suspended_owner_that_was_replaced_notices_and_writes_nothing(tmp_path):
    recorder = RunRecorder(tmp_path, {"algorithm": {}})
    owner = taken(tmp_path)
    recorder._ownership = owner
    recorder.event("attempt")
    before = (tmp_path / "events.jsonl").read_bytes()
    # As another machine leaves it, which replaces the file.
    text = (tmp_path / OWNER).read_text()
    (tmp_path / OWNER).unlink()
    theirs = re.sub("token=.*", "token=" + "0" * 32, text.replace(f"host={socket.gethostname()}", "host=elsewhere"))
    (tmp_path / OWNER).write_text(theirs)
    with pytest.raises(BusyError, match=rf"on elsewhere has taken it over from {re.escape(HERE)}"):
        recorder.event("finished")
    recorder.close()
    assert (tmp_path / "events.jsonl").read_bytes() == before
    assert (tmp_path / OWNER).read_text() == theirs


def test_races_have_one_winner(tmp_path):
    won = []

    def start():
        with suppress(BusyError):
            won.append(taken(tmp_path))

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    won[0].check()
    won[0].give_up()
