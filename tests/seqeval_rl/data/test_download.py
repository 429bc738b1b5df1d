"""Downloads are atomic, resume where they stopped, and never mix two versions of a file; with a local server."""

from __future__ import annotations

import hashlib
import logging
import re
import socket
import subprocess
import sys
import urllib.request
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from web_server import Site, serving

from seqeval_rl.data import transfer
from seqeval_rl.data.download import download, sources
from seqeval_rl.data.hashes import recorded_sha256
from seqeval_rl.data.load import fetch
from seqeval_rl.errors import DataError, FileError, UsageError

CONTENT = b"\x89HDF\r\n\x1a\n" + np.random.default_rng(0).bytes(100_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "FIRST_PAUSE", 0.001)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(CONTENT) as running:
        yield running


def leftovers(folder: Path) -> list[str]:
    """What lies in a folder besides the file, its hash and the lock."""
    return sorted(path.name for path in folder.iterdir() if "partial" in path.name)


def test_a_file_comes_with_its_hash_written_down(tmp_path: Path, site: Site) -> None:
    target = tmp_path / "deep" / "log.hdf5"
    assert download(f"{site.url}/log.hdf5", target, progress=False) == target
    assert target.read_bytes() == CONTENT
    assert recorded_sha256(target) == SHA256
    assert (target.parent / "log.hdf5.sha256").read_text() == f"{SHA256}  log.hdf5\n"
    assert leftovers(target.parent) == []
    download(f"{site.url}/log.hdf5", target, SHA256, progress=False)
    assert len(site.requests) == 1  # it is there


@pytest.mark.parametrize("etag", [True, False])
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(breaks=st.lists(st.integers(0, 60_000), max_size=3))
def test_a_connection_that_breaks_is_gone_on_with(
    tmp_path_factory: pytest.TempPathFactory, etag: bool, breaks: list[int]
) -> None:
    target = tmp_path_factory.mktemp("broken") / "log"
    with serving(CONTENT) as site:
        site.break_after, site.etag = list(breaks), etag
        download(f"{site.url}/log", target, progress=False)
        assert target.read_bytes() == CONTENT
        # Without a validator a part cannot be trusted, and everything is asked for again.
        assert any("Range" in headers for headers in site.requests) == (
            etag and sum(breaks) > 0 and len(site.requests) > 1
        )


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(tmp_path: Path, site: Site) -> None:
    site.break_after = [40_000, 0, 0, 0]
    with pytest.raises(FileError, match=r"failed 4 times .*40000 bytes are kept, the same command resumes") as caught:
        download(f"{site.url}/log", tmp_path / "log", progress=False)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "log").exists()
    site.requests.clear()
    download(f"{site.url}/log", tmp_path / "log", SHA256, progress=False)
    assert [headers.get("Range") for headers in site.requests] == ["bytes=40000-"]
    assert (tmp_path / "log").read_bytes() == CONTENT


def interrupted(tmp_path: Path, site: Site, after: int = 40_000) -> None:
    """Leave a part of the file behind."""
    site.break_after = [after, 0, 0, 0]
    with pytest.raises(FileError, match="failed 4 times"):
        download(f"{site.url}/log", tmp_path / "log", progress=False)
    site.requests.clear()


@pytest.mark.parametrize("checks", [True, False])
def test_a_file_that_changed_meanwhile_is_not_spliced(tmp_path: Path, site: Site, checks: bool) -> None:
    interrupted(tmp_path, site)
    site.content, site.checks_if_range = CONTENT[::-1], checks
    download(f"{site.url}/log", tmp_path / "log", progress=False)
    assert (tmp_path / "log").read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("fault", ["no ranges", "wrong range", "other address", "facts lost", "facts torn", "too long"])
def test_a_part_that_cannot_be_trusted_is_begun_anew(tmp_path: Path, site: Site, fault: str) -> None:
    interrupted(tmp_path, site)
    facts, url = tmp_path / ".log.partial.json", f"{site.url}/log"
    match fault:
        case "no ranges":
            site.ranges = False
        case "wrong range":
            site.shift = 5
        case "other address":
            url, site.content = f"{site.url}/other", CONTENT[::-1]
        case "facts lost":
            facts.unlink()
        case "facts torn":
            facts.write_text(facts.read_text()[:20])
        case "too long":
            (tmp_path / ".log.partial").write_bytes(bytes(200_000))
    download(url, tmp_path / "log", progress=False)
    assert (tmp_path / "log").read_bytes() == site.content


def test_a_part_that_is_all_of_it_is_taken(tmp_path: Path, site: Site) -> None:
    interrupted(tmp_path, site)
    (tmp_path / ".log.partial").write_bytes(CONTENT)  # killed before it was put in its place
    download(f"{site.url}/log", tmp_path / "log", progress=False)
    assert (tmp_path / "log").read_bytes() == CONTENT
    assert len(site.requests) == 1


def test_a_server_in_trouble_is_asked_again(tmp_path: Path, site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.statuses = [503, 429, 500]
    with caplog.at_level(logging.WARNING, "seqeval_rl"):
        download(f"{site.url}/log", tmp_path / "log", progress=False)
    assert caplog.text.count("trying again in") == 3
    site.statuses = [503] * 4
    with pytest.raises(FileError, match=r"failed 4 times \(HTTPError: .*503"):
        download(f"{site.url}/other", tmp_path / "other", progress=False)


def test_what_the_server_does_not_have_is_an_error_at_once(tmp_path: Path, site: Site) -> None:
    site.statuses = [404]
    with pytest.raises(FileError, match="the server answers 404"):
        download(f"{site.url}/log", tmp_path / "log", progress=False)
    assert len(site.requests) == 1
    assert leftovers(tmp_path) == []


def test_no_network(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(FileError, match=r"failed 4 times .*refused.*Check the network"):
        download(f"http://127.0.0.1:{port}/log", tmp_path / "log", progress=False)
    assert leftovers(tmp_path) == []


def test_offline_nothing_is_asked_for(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileError, match=r"the network is not to be used .*Unset SEQEVAL_OFFLINE"):
        download(f"{site.url}/log", tmp_path / "log", offline=True)
    monkeypatch.setenv("SEQEVAL_OFFLINE", "1")
    with pytest.raises(FileError, match="not to be used"):
        download(f"{site.url}/log", tmp_path / "log")
    assert site.requests == []
    download(f"{site.url}/log", tmp_path / "log", offline=False, progress=False)
    download(f"{site.url}/log", tmp_path / "log")  # it is there


def test_a_hash_that_does_not_match_keeps_nothing(tmp_path: Path, site: Site) -> None:
    with pytest.raises(DataError, match=rf"SHA-256 is {SHA256}, expected {'0' * 64}"):
        download(f"{site.url}/log", tmp_path / "log", "0" * 64, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == [".log.lock"]
    download(f"{site.url}/log", tmp_path / "log", SHA256.upper(), progress=False)
    with pytest.raises(DataError, match="expected 1111"):
        download(f"{site.url}/log", tmp_path / "log", "1" * 64)
    assert (tmp_path / "log").read_bytes() == CONTENT  # it was there before


def test_no_room_is_seen_before_it_runs_out(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(1, 1, 1000))
    with pytest.raises(FileError, match=r"100,008 bytes are needed, 1,000 bytes are free\)\. Make room there\."):
        download(f"{site.url}/log", tmp_path / "log", progress=False)
    assert leftovers(tmp_path) == []
    assert len(site.requests) == 1
    # Where its size is known nothing is asked for.
    with pytest.raises(FileError, match=r"100,508 bytes are needed, 1,000 bytes are free"):
        download([f"{site.url}/log", site.url], tmp_path / "log", progress=False, size=len(CONTENT), afterwards=500)
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path))
    with pytest.raises(FileError, match="Make room, or set SEQEVAL_CACHE to a directory with room"):
        download(f"{site.url}/log", tmp_path / "log", progress=False, size=len(CONTENT))
    assert len(site.requests) == 1


def test_an_unwritable_place_is_named(tmp_path: Path, site: Site) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot be written"):
        download(f"{site.url}/log", tmp_path / "file" / "log", progress=False)


def test_two_processes_get_a_file_once(tmp_path: Path, site: Site) -> None:
    code = (
        "import sys; from pathlib import Path; from seqeval_rl.data.download import download; "
        "download(sys.argv[1], Path(sys.argv[2]), progress=False)"
    )
    arguments = [sys.executable, "-c", code, f"{site.url}/log", str(tmp_path / "log")]
    processes = [subprocess.Popen(arguments) for _ in range(3)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    assert (tmp_path / "log").read_bytes() == CONTENT
    assert len(site.requests) == 1
    assert leftovers(tmp_path) == []


def test_progress_is_shown_with_the_time_left(tmp_path: Path, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    download(f"{site.url}/log", tmp_path / "log")
    shown = capsys.readouterr().err
    assert "log:" in shown
    assert "97.7k/97.7k" in shown
    facts = tmp_path / "log.sha256"
    facts.write_bytes(b"\xff\xfe")
    with pytest.raises(FileError, match="expected a SHA-256"):
        recorded_sha256(tmp_path / "log")


PAGE = b"<!DOCTYPE html><html>No such file, but status 200</html>"


@pytest.mark.parametrize("content", [b"", PAGE, b"\x89HD", b"PK\x03\x04 an archive"])
@pytest.mark.parametrize("length", [True, False])
def test_what_is_no_file_of_that_format_is_not_kept(content: bytes, length: bool, tmp_path: Path, site: Site) -> None:
    site.content, site.length = content, length
    with pytest.raises(DataError, match=r"log\.hdf5: expected an HDF5 file, the server sends .*Nothing is kept"):
        download(f"{site.url}/log.hdf5", tmp_path / "log.hdf5", progress=False)
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []
    assert len(site.requests) == 1
    site.content = CONTENT
    assert download(f"{site.url}/log.hdf5", tmp_path / "log.hdf5", progress=False).read_bytes() == CONTENT


def test_an_empty_file_is_refused_whatever_its_name(tmp_path: Path, site: Site) -> None:
    site.content = b""
    with pytest.raises(DataError, match="expected a file, the server sends an empty one"):
        download(f"{site.url}/log", tmp_path / "log", progress=False)
    site.content = PAGE
    with pytest.raises(DataError, match=r"expected an \.npz file.*DOCTYPE"):
        download(f"{site.url}/log.npz", tmp_path / "log.npz", progress=False)


def test_a_body_without_end_and_a_slow_one_are_ended(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.length = False
    monkeypatch.setattr(transfer, "_LARGEST", 50_000)
    with pytest.raises(FileError, match="expected a dataset of at most 0 GB, the server sends more"):
        download(f"{site.url}/log.hdf5", tmp_path / "log.hdf5", progress=False)
    assert leftovers(tmp_path) == []
    monkeypatch.undo()
    monkeypatch.setattr(transfer, "_GRACE", 0.0)
    monkeypatch.setattr(transfer, "_SLOWEST", 1e15)
    site.length = True
    with pytest.raises(FileError, match=r"bytes per second, expected at least .* the same command resumes"):
        download(f"{site.url}/log.hdf5", tmp_path / "log.hdf5", progress=False)


@pytest.mark.parametrize("text", ["", "abc", "0" * 63, "0" * 65, "g" * 64, f"{SHA256} ", "0x" + "0" * 62])
def test_a_hash_that_is_none_is_refused_before_anything_is_asked_for(text: str, tmp_path: Path, site: Site) -> None:
    with pytest.raises(UsageError, match="expected 64 hexadecimal digits"):
        download(f"{site.url}/log", tmp_path / "log", text, progress=False)
    with pytest.raises(UsageError, match="expected 64 hexadecimal digits"):
        fetch("d4rl:hopper-medium-v2", text)
    assert (site.requests, list(tmp_path.iterdir())) == ([], [])


def test_https_is_not_given_up() -> None:
    request = urllib.request.Request("https://example.org/log.hdf5")
    with pytest.raises(Exception, match=r"expected an address with https, the server names 'http://other/log'"):
        transfer._OnlyToHttps().redirect_request(request, None, 302, "", {}, "http://other/log")


def refused(fault: str, site: Site, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a server give something else than the file; returns what is said of it."""
    match fault:
        case "page":
            site.content = PAGE
            return "expected an HDF5 file, the server sends one that begins with b'<!DOCTYPE"
        case "gone":
            site.statuses = [404]
            return "the server answers 404"
        case "down":
            site.statuses = [503] * 9
            return r"download failed 2 times \(HTTPError: HTTP Error 503"
        case "size":
            site.content = CONTENT + b"more"
            return "expected 100,008 bytes, the server has 100,012"
        case "hash":
            site.content = CONTENT[:-1] + b"?"
            return f"SHA-256 is [0-9a-f]{{64}}, expected {SHA256}"
        case "endless":
            site.content, site.length = CONTENT + b"more", False
            return "expected 100008 bytes, found 100012"
    raise ValueError(fault)


@pytest.mark.parametrize("fault", ["page", "gone", "down", "size", "hash", "endless"])
def test_the_next_source_is_tried_where_one_has_another_file(
    fault: str, tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    target = tmp_path / "log.hdf5"
    with serving(CONTENT) as second:
        said = refused(fault, site, monkeypatch)
        addresses = [f"{site.url}/log.hdf5", f"{second.url}/copy"]
        with caplog.at_level(logging.WARNING, "seqeval_rl"):
            assert download(addresses, target, SHA256, progress=False, size=len(CONTENT)) == target
        assert target.read_bytes() == CONTENT
        assert second.paths == ["/copy"]
    lines = [record.getMessage() for record in caplog.records if "trying http" in record.getMessage()]
    assert len(lines) == 1
    assert re.search(rf"^{site.url}/log\.hdf5: {said}.*; trying {second.url}/copy$", lines[0])
    assert leftovers(tmp_path) == []


def test_where_no_source_has_it_each_is_named_with_its_reason(tmp_path: Path, site: Site) -> None:
    site.content = PAGE
    target = tmp_path / "log.hdf5"
    with serving(CONTENT[:-1] + b"?") as second, serving() as third:
        third.statuses = [404]
        addresses = [f"{one.url}/log.hdf5" for one in (site, second, third)]
        with pytest.raises(FileError, match=r"log\.hdf5: none of its 3 sources has the file") as caught:
            download(addresses, target, SHA256, progress=False, size=len(CONTENT))
        said = str(caught.value)
        places = [said.index(f"{address}: ") for address in addresses]
        assert places == sorted(places)
        for reason in ("DOCTYPE", f"expected {SHA256}", "404", f"put the file at {target}"):
            assert reason in said
        assert "\n" not in said
        with pytest.raises(DataError, match="none of its 2 sources"):  # both have a file, and another one
            download(addresses[:2], target, SHA256, progress=False)
    assert not target.exists()
    assert leftovers(tmp_path) == []


def test_a_page_costs_no_part_that_another_source_sent(tmp_path: Path, site: Site) -> None:
    interrupted(tmp_path, site)
    (tmp_path / ".log.partial").rename(tmp_path / ".log.hdf5.partial")
    (tmp_path / ".log.partial.json").rename(tmp_path / ".log.hdf5.partial.json")
    with serving(PAGE) as second, pytest.raises(DataError, match="expected an HDF5 file"):
        download(f"{second.url}/log", tmp_path / "log.hdf5", progress=False)
    download(f"{site.url}/log", tmp_path / "log.hdf5", SHA256, progress=False)
    assert [headers.get("Range") for headers in site.requests] == ["bytes=40000-"]


def test_a_file_without_a_known_hash_is_checked_by_its_reader(tmp_path: Path, site: Site) -> None:
    def check(path: Path) -> None:
        if path.read_bytes() != CONTENT:
            raise DataError("expected the file, found another")

    with serving(CONTENT[:-1] + b"?") as first:
        download([f"{first.url}/log", f"{site.url}/log"], tmp_path / "log", progress=False, check=check)
    assert (tmp_path / "log").read_bytes() == CONTENT


def test_mirrors_of_the_user_are_the_only_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    public = ["https://authors.org/data/log.hdf5", "https://copies.org/log.hdf5"]
    monkeypatch.delenv("MIRROR", raising=False)
    assert sources("MIRROR", "a/log.hdf5", public) == public
    monkeypatch.setenv("MIRROR", "https://mine.org/d4rl/  http://other.org")
    assert sources("MIRROR", "a/log.hdf5", public) == [
        "https://mine.org/d4rl/a/log.hdf5",
        "http://other.org/a/log.hdf5",
    ]
    monkeypatch.setenv("MIRROR", "https://mine.org ftp://other.org")
    with pytest.raises(UsageError, match=r"MIRROR: expected an address such as .*found 'ftp://other\.org'"):
        sources("MIRROR", "a/log.hdf5", public)
