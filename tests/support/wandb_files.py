"""Reads W&B's offline files: records of its protobuf messages, framed as in LevelDB's log format."""

import json
import struct

_BLOCK, _FILE_HEADER = 32768, 7
_RECORD = struct.Struct("<IHB")  # checksum, length, type: 1 full, 2 first, 3 middle, 4 last


def records(path):
    """The messages of a `.wandb` file."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, whole = path.read_bytes(), _FILE_HEADER, b""
    while at < len(data):
        left = _BLOCK - at % _BLOCK
        if left < _RECORD.size:  # the rest of a block is zeros
            at += left
            continue
        _, length, kind = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        whole += data[at : at + length]
        at += length
        if kind in (1, 4):
            yield Record.FromString(whole)
            whole = b""


def read(path):
    """A run's record, its config, and what it logged, one dictionary for each step."""
    run, config, history = None, {}, []
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            config = {item.key: json.loads(item.value_json) for item in run.config.update}
        elif kind == "history":
            items = record.history.item
            history.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
    return run, config, history
