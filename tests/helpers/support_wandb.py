"""Reading back what W&B writes offline: a LevelDB log of protocol buffers."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HEADER, BLOCK = 7, 32768  # bytes: of the file, and of a record within a block; blocks count from 0
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def read_log_records(content: bytes) -> Iterator[bytes]:
    """The records of a log, put together from their pieces."""
    at, whole = HEADER, b""
    while at + HEADER <= len(content):
        left = BLOCK - at % BLOCK
        if left < HEADER:  # the rest of a block is filled up
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + HEADER])
        whole += content[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (FULL, LAST):
            yield whole
            whole = b""


def read_offline_run(folder: Path) -> tuple[str, dict[str, Any], list[dict[str, Any]]]:
    """(the run's id, its config, its rows) from the one .wandb file in a folder such as offline-run-…"""
    from wandb.proto import wandb_internal_pb2

    (file,) = folder.glob("*.wandb")
    run_id, config, rows = "", dict[str, Any](), list[dict[str, Any]]()
    for content in read_log_records(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(content)
        if record.WhichOneof("record_type") == "run":
            run_id = record.run.run_id
            config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif record.WhichOneof("record_type") == "history":
            items = record.history.item
            rows.append(
                {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
            )
    return run_id, config, rows
