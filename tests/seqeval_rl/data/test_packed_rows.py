"""Packed rows of several arrays: read like one array, and memory that does not grow with it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from seqeval_rl.data import packed_rows
from seqeval_rl.data.packed_rows import PackedRows, release


@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(0, 1000), st.booleans(), st.integers(1, 200))
def test_rows_are_those_of_the_concatenated_arrays(lengths, seed, large, slice_bytes):
    rng = np.random.default_rng(seed)
    parts = [rng.standard_normal((length, 3)).astype(np.float32) for length in lengths]
    whole, rows = np.concatenate(parts), PackedRows(parts)
    assert (len(rows), rows.shape, rows.nbytes) == (len(whole), whole.shape, whole.nbytes)
    indices = rng.integers(0, len(whole), (2, 7))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed_rows, "_SLICE", slice_bytes)
        patch.setattr(packed_rows, "LARGE", 0 if large else 1 << 30)
        np.testing.assert_array_equal(rows[indices], whole[indices])
        np.testing.assert_array_equal(rows[int(indices[0, 0])], whole[indices[0, 0]])
        assert rows[np.empty((0,), np.int64)].shape == (0, 3)
        out = np.empty((14, 3), np.float32)
        with ThreadPoolExecutor(3) as threads:
            rows.copy_sorted(np.sort(indices, axis=None), out, threads.map)
        np.testing.assert_array_equal(out, whole[np.sort(indices, axis=None)])
    chosen = np.unique(indices)
    rows[chosen] = np.full((len(chosen), 3), 7.0)
    assert (rows[chosen] == 7.0).all()
    assert sum((part == 7.0).all(1).sum() for part in parts) == len(chosen)


def resident() -> int:
    """Bytes of files that count as memory of this process."""
    status = Path("/proc/self/status").read_text().splitlines()
    return sum(1024 * int(line.split()[1]) for line in status if line.startswith("RssFile"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of resident memory")
@pytest.mark.parametrize("offset", [0, 128, 4160])
def test_what_was_read_of_a_large_memory_map_is_given_back(offset, tmp_path, monkeypatch):
    path, length = tmp_path / "rows", 200_000
    path.write_bytes(bytes(offset))
    with path.open("r+b") as file:
        file.truncate(offset + 4 * 128 * length)  # 100 MB of zeros
    rows = np.memmap(path, np.float32, "r", offset, (length, 128))
    for part in (rows, rows[100:]):
        before = resident()
        PackedRows([part])[np.arange(0, len(part), 7)]
        assert resident() - before > 60 << 20
        monkeypatch.setattr(packed_rows, "LARGE", 1 << 20)
        monkeypatch.setattr(packed_rows, "_SLICE", 8 << 20)
        release(part, 0, len(part))
        assert resident() - before < 10 << 20
        PackedRows([part])[np.arange(0, len(part), 7)]
        assert resident() - before < 10 << 20
        monkeypatch.undo()
