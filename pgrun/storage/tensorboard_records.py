"""Records of an event file, and those that the tab HPARAMS reads.

TensorBoard's own functions for them import a layer of file systems, flags and a stand-in for TensorFlow: more
than a tenth of a second of every run. What they write is this, byte for byte.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping
from typing import BinaryIO

from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_FLOAT
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

HPARAMS = "hparams"  # the tab's name in a record
EXPERIMENT, SESSION_START, SESSION_END = (
    f"_hparams_/{part}" for part in ("experiment", "session_start_info", "session_end_info")
)
NOTHING = TensorProto(dtype=DT_FLOAT, tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=0)]))
POLYNOMIAL = 0x82F63B78  # Castagnoli's, its bits in reverse order


def make_crc_table() -> list[int]:
    """What the checksum becomes by each byte."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (POLYNOMIAL * (value & 1))
        table.append(value)
    return table


CRC_TABLE = make_crc_table()


def masked_crc(data: bytes) -> int:
    """CRC-32C, rotated and shifted, as TensorFlow's record format has it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def write_event_record(file: BinaryIO, data: bytes) -> None:
    """Length, its checksum, data, their checksum."""
    length = struct.pack("<Q", len(data))
    ends = (struct.pack("<I", masked_crc(part)) for part in (length, data))
    file.write(length + next(ends) + data + next(ends))


def summarise_hparams(tag: str, content: HParamsPluginData) -> Summary:
    """A record for the tab HPARAMS; a mapping in it is written in one order, which protobuf leaves open."""
    written = content.SerializeToString(deterministic=True)
    data = SummaryMetadata.PluginData(plugin_name=HPARAMS, content=written)
    value = Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=data), tensor=NOTHING)
    return Summary(value=[value])


def summarise_settings(settings: Mapping[str, bool | int | float | str], group: str) -> Summary:
    """A run's settings as they are when it begins; runs of one ``group`` share a row."""
    info = SessionStartInfo(group_name=group, start_time_secs=time.time())
    for name, value in sorted(settings.items()):
        kind = "bool" if isinstance(value, bool) else "string" if isinstance(value, str) else "number"
        setattr(info.hparams[name], f"{kind}_value", value)
    return summarise_hparams(SESSION_START, HParamsPluginData(session_start_info=info))
