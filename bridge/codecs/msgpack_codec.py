"""The ZeroMQ form of a message: a msgpack header, then one part per plane.

In: a message, or the parts of a multipart message. Out: the other one. The header is a map with the proto's field names
and `type`; a plane in it is a map of `dtype`, `shape`, `compression`, `scale` and `part`, the number of the part that
holds its bytes (the header is part 0). A field at its default is left out.

Laws: plane bytes are never copied; nothing is allocated before its length is checked; unknown fields are ignored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import msgpack

from ..errors import BridgeError, LimitExceeded, ProtocolError
from ..messages import CLIENT_MESSAGES, SERVER_MESSAGES, ClientMessage, Limits, Message, Plane, ServerMessage
from .fields import FieldSpec, field_specs

__all__ = ["MAX_HEADER_BYTES", "Part", "decode", "decode_client_message", "decode_server_message", "encode"]

MAX_HEADER_BYTES: Final = 2**20
"""A header is text and numbers; what is larger belongs into a plane."""
MAX_PARTS: Final = 16

Part: TypeAlias = "bytes | memoryview"

_M = TypeVar("_M")
_TYPE_NAMES: Final = {cls: name for table in (CLIENT_MESSAGES, SERVER_MESSAGES) for name, cls in table.items()}
_SCALARS: Final = {"int": int, "float": float, "str": str, "bool": bool}


def encode(message: Message) -> list[Part]:
    """Return the parts of a message: the header, then the planes' bytes."""
    parts: list[Part] = [b""]
    header = _to_map(message, parts)
    header["type"] = _TYPE_NAMES[type(message)]
    parts[0] = msgpack.packb(header, use_bin_type=True)
    return parts


def decode_client_message(parts: Sequence[Part], limits: Limits) -> ClientMessage:
    """Return the message that a client sent. Raises as `decode`."""
    return decode(parts, CLIENT_MESSAGES, limits)


def decode_server_message(parts: Sequence[Part], limits: Limits) -> ServerMessage:
    """Return the message that a server sent. Raises as `decode`."""
    return decode(parts, SERVER_MESSAGES, limits)


def decode(parts: Sequence[Part], known: Mapping[str, type[_M]], limits: Limits) -> _M:
    """Return the message that these parts are.

    Raises:
        ProtocolError: the header cannot be read, the message or a field is unknown, missing or of another type.
        LimitExceeded: there are too many parts, or too many bytes.
    """
    _check_lengths(parts, limits)
    try:
        header = msgpack.unpackb(parts[0], raw=False, strict_map_key=True, max_ext_len=0)
    except (ValueError, TypeError, msgpack.exceptions.UnpackException, RecursionError) as error:
        raise ProtocolError(
            "is no msgpack map", field="header", value=error, remedy="Send a msgpack header first, then the planes."
        ) from error
    if not isinstance(header, dict):
        raise ProtocolError("is no map", field="header", value=type(header).__name__, remedy="Send a msgpack map.")
    name = header.get("type")
    if not isinstance(name, str) or name not in known:
        raise ProtocolError(
            "unknown message",
            field="type",
            value=repr(name)[:60],
            remedy=f"Send one of {', '.join(known)}; a newer message needs a newer peer.",
        )
    return _from_map(known[name], header, parts, name)


def _check_lengths(parts: Sequence[Part], limits: Limits) -> None:
    if not 1 <= len(parts) <= MAX_PARTS:
        raise LimitExceeded(
            f"a message has 1 to {MAX_PARTS} parts", field="parts", value=len(parts), remedy="Send a header and planes."
        )
    if len(parts[0]) > MAX_HEADER_BYTES:
        raise LimitExceeded(
            f"is over {MAX_HEADER_BYTES} bytes", field="header", value=len(parts[0]), remedy="Send planes as parts."
        )
    total = sum(len(part) for part in parts)
    if total > limits.max_message_bytes:
        raise LimitExceeded(
            f"is over the limit of {limits.max_message_bytes} bytes",
            field="message",
            value=f"{total} bytes",
            remedy="Send smaller planes: the model's own size is enough.",
        )


def _to_map(message: Any, parts: list[Part]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for spec in field_specs(type(message)):
        value = getattr(message, spec.name)
        if value is None or (not spec.required and value == spec.default):
            continue
        if spec.kind == "plane":
            out[spec.name] = _plane_to_map(value, parts)
        elif spec.kind == "message":
            out[spec.name] = _to_map(value, parts)
        elif spec.kind == "list" and spec.item not in _SCALARS.values():
            out[spec.name] = [_to_map(item, parts) for item in value]
        else:
            out[spec.name] = value
    return out


def _plane_to_map(plane: Plane, parts: list[Part]) -> dict[str, Any]:
    out: dict[str, Any] = {"dtype": plane.dtype, "shape": plane.shape, "part": len(parts)}
    if plane.compression:
        out["compression"] = plane.compression
    if plane.scale:
        out["scale"] = plane.scale
    parts.append(plane.data)
    return out


def _from_map(cls: type[_M], header: Mapping[str, Any], parts: Sequence[Part], where: str) -> _M:
    values: dict[str, Any] = {}
    for spec in field_specs(cls):
        value = header.get(spec.name)
        if value is not None:
            values[spec.name] = _field(spec, value, parts, f"{where}.{spec.name}")
        elif spec.required:
            raise ProtocolError("is missing", field=f"{where}.{spec.name}", remedy="See protos/README.md.")
    try:
        return cls(**values)
    except BridgeError as error:
        raise ProtocolError(error.problem, field=where, value=error.value, remedy=error.remedy) from error


def _field(spec: FieldSpec, value: Any, parts: Sequence[Part], where: str) -> Any:
    if spec.kind == "plane":
        return _plane_from_map(value, parts, where)
    if spec.kind == "message":
        return _from_map(spec.item, _expect(value, dict, where), parts, where)
    if spec.kind == "list":
        items = _expect(value, list, where)
        if spec.item in _SCALARS.values():
            return tuple(_scalar(spec.item.__name__, item, where) for item in items)
        return tuple(_from_map(spec.item, _expect(item, dict, where), parts, where) for item in items)
    if spec.kind == "map":
        pairs = _expect(value, dict, where)
        return {str(key): _scalar(spec.item.__name__, item, where) for key, item in pairs.items()}
    return _scalar(spec.kind, value, where)


def _scalar(kind: str, value: Any, where: str) -> Any:
    if kind == "float" and type(value) is int:
        return float(value)
    if kind == "int" and type(value) is int and not -(2**63) <= value < 2**63:
        raise ProtocolError("does not fit into 64 bits", field=where, value=value, remedy="Send an int64.")
    return _expect(value, _SCALARS[kind], where)


def _expect(value: Any, kind: type[Any], where: str) -> Any:
    if type(value) is not kind:
        raise ProtocolError(
            f"must be {kind.__name__}", field=where, value=repr(value)[:60], remedy="See protos/README.md for its type."
        )
    return value


def _plane_from_map(value: Any, parts: Sequence[Part], where: str) -> Plane:
    header = _expect(value, dict, where)
    shape = tuple(_scalar("int", n, f"{where}.shape") for n in _expect(header.get("shape"), list, f"{where}.shape"))
    if len(shape) > 4 or any(n < 0 for n in shape) or math.prod(shape) >= 2**40:
        raise ProtocolError("is no shape", field=f"{where}.shape", value=shape, remedy="Send 1 to 4 lengths.")
    part = _expect(header.get("part"), int, f"{where}.part")
    if not 1 <= part < len(parts):
        raise ProtocolError(
            f"names a part that is not there (the message has {len(parts)})",
            field=f"{where}.part",
            value=part,
            remedy="Number the planes' parts from 1, in the order in which they are sent.",
        )
    return Plane(
        dtype=_expect(header.get("dtype"), str, f"{where}.dtype"),
        shape=shape,
        data=parts[part],
        compression=_expect(header.get("compression", ""), str, f"{where}.compression"),
        scale=_scalar("float", header.get("scale", 0.0), f"{where}.scale"),
    )
