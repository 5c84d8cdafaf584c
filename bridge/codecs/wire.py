"""Protobuf's wire format, as far as planes need it: where fields lie in a buffer, and what stands in front of one.

Laws: nothing is copied and nothing is allocated for a length that a buffer claims; a field that does not end inside its
buffer is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

from ..errors import ProtocolError

__all__ = ["LENGTH_DELIMITED", "WireField", "fields_of", "prefix"]

LENGTH_DELIMITED: Final = 2
_VARINT: Final = 0
_FIXED_BYTES: Final = {1: 8, 5: 4}
_MAX_VARINT_BITS: Final = 64


WireField: TypeAlias = tuple[int, int, int, int, int]
"""Where a field lies: its number, its wire type, where its tag and its value begin, and where both end."""


def fields_of(data: bytes | memoryview, start: int, end: int, where: str) -> Iterator[WireField]:
    """Yield the fields of the message that lies at `data[start:end]`.

    Raises:
        ProtocolError: it is no protobuf message; `where` names it.
    """
    at = start
    while at < end:
        tag = data[at]
        value = at + 1
        if tag >= 0x80:
            tag, value = _varint(data, at, end, where)
        number, kind = tag >> 3, tag & 7
        if kind == LENGTH_DELIMITED:
            length, value = _varint(data, value, end, where)
            after = value + length
        elif kind == _VARINT:
            _, after = _varint(data, value, end, where)
        elif kind in _FIXED_BYTES:
            after = value + _FIXED_BYTES[kind]
        else:
            raise _malformed(where, f"wire type {kind}")
        if after > end or number == 0:
            raise _malformed(where, f"field {number} of {after - value} bytes, {end - value} are left")
        yield number, kind, at, value, after
        at = after


def prefix(number: int, length: int) -> bytes:
    """Return what stands in front of a length-delimited field: its tag and its length."""
    return _encode_varint(number << 3 | LENGTH_DELIMITED) + _encode_varint(length)


def _varint(data: bytes | memoryview, at: int, end: int, where: str) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < _MAX_VARINT_BITS:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise _malformed(where, "a number without an end")


def _encode_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _malformed(where: str, value: str) -> ProtocolError:
    return ProtocolError(
        "is no protobuf message", field=where, value=value, remedy="Send what protos/longvie/bridge/v1 describes."
    )
