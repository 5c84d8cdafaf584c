"""The gRPC form of a message: a `ClientEnvelope` or `ServerEnvelope` of protos/longvie/bridge/v1, as bytes.

In: a message, or an envelope's bytes. Out: the other one. Text and numbers are protobuf's own affair. Planes, and the
messages that contain them, are put together and taken apart here: the library would copy a plane twice on its way out
(1.4 ms for a tick; one join takes 0.06 ms) and twice on its way in.

Laws: a plane is copied once on its way out and never on its way in; whatever is no plane is at most `MAX_HEADER_BYTES`,
which bounds what a short message can unfold into; unknown fields are ignored.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from ..errors import BridgeError, InvalidValue, LimitExceeded, ProtocolError
from ..messages import CLIENT_MESSAGES, SERVER_MESSAGES, ClientMessage, Limits, Message, Plane, ServerMessage
from .bridge_pb2 import DESCRIPTOR_BYTES
from .fields import FieldSpec, field_specs
from .msgpack_codec import MAX_HEADER_BYTES, Part
from .wire import LENGTH_DELIMITED, fields_of, prefix

__all__ = ["MAX_HEADER_BYTES", "decode", "decode_client_message", "decode_server_message", "encode", "message_class"]

_M = TypeVar("_M")
_MAX_FIELDS: Final = 4096  # of messages that contain planes: looking at each takes time
_PACKAGE: Final = "longvie.bridge.v1"
# A pool of its own: two copies of this package, of different versions, may live in one interpreter.
_POOL: Final = descriptor_pool.DescriptorPool()
_POOL.AddSerializedFile(DESCRIPTOR_BYTES)


def message_class(name: str) -> Any:
    """Return the protobuf class of a message of the schema.

    Raises:
        KeyError: the schema has no such message.
    """
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


def _numbers(envelope: str) -> dict[str, int]:
    return {field.name: field.number for field in message_class(envelope).DESCRIPTOR.fields}


_ENVELOPE_NUMBERS: Final[dict[type[Any], int]] = {
    cls: _numbers(envelope)[name]
    for envelope, table in (("ClientEnvelope", CLIENT_MESSAGES), ("ServerEnvelope", SERVER_MESSAGES))
    for name, cls in table.items()
}
_PLANE: Final = message_class("Plane")
_PLANE_DATA: Final = _PLANE.DESCRIPTOR.fields_by_name["data"].number


@dataclass(frozen=True, slots=True)
class _Layout:
    """A message class, taken apart.

    Args:
        proto: its protobuf class.
        plain: the fields that protobuf carries.
        carriers: the fields that are planes or contain some, by number.
        present: names of fields that know whether they were sent.
    """

    proto: Any
    plain: tuple[FieldSpec, ...]
    carriers: dict[int, FieldSpec]
    present: frozenset[str]


_LAYOUTS: Final[dict[type[Any], _Layout]] = {}


def _layout(cls: type[Any]) -> _Layout:
    if cls not in _LAYOUTS:
        proto = message_class(cls.__name__)
        fields = proto.DESCRIPTOR.fields_by_name
        carriers = {fields[spec.name].number: spec for spec in field_specs(cls) if _carries_planes(spec)}
        plain = tuple(spec for spec in field_specs(cls) if not _carries_planes(spec))
        present = frozenset(name for name, field in fields.items() if field.has_presence)
        _LAYOUTS[cls] = _Layout(proto, plain, carriers, present)
    return _LAYOUTS[cls]


def _carries_planes(spec: FieldSpec) -> bool:
    return spec.kind == "plane" or (spec.kind == "message" and any(map(_carries_planes, field_specs(spec.item))))


# --- out --------------------------------------------------------------------------------------------------------------


def encode(message: Message) -> bytes:
    """Return the envelope of a message.

    Raises:
        InvalidValue: a number or a text does not fit its field.
    """
    pieces = _pieces(message)
    return b"".join((prefix(_ENVELOPE_NUMBERS[type(message)], _length(pieces)), *pieces))


def _pieces(message: Any) -> list[Part]:
    layout = _layout(type(message))
    proto = layout.proto()
    _fill(proto, message, layout)
    pieces: list[Part] = [proto.SerializeToString(deterministic=True)]
    for number, spec in layout.carriers.items():
        value = getattr(message, spec.name)
        if value is not None:
            inner = _plane_pieces(value) if spec.kind == "plane" else _pieces(value)
            pieces += prefix(number, _length(inner)), *inner
    return pieces


def _plane_pieces(plane: Plane) -> list[Part]:
    header = _PLANE(dtype=plane.dtype, shape=plane.shape, compression=plane.compression, scale=plane.scale)
    head: bytes = header.SerializeToString(deterministic=True)
    if not len(plane.data):
        return [head]
    return [head + prefix(_PLANE_DATA, len(plane.data)), plane.data]


def _length(pieces: Iterable[Part]) -> int:
    return sum(map(len, pieces))


def _fill(proto: Any, message: Any, layout: _Layout) -> None:
    for spec in layout.plain:
        value = getattr(message, spec.name)
        if value is None or (not spec.required and value == spec.default):
            continue
        try:
            if spec.kind == "message":
                _fill_message(getattr(proto, spec.name), value)
            elif spec.kind == "map":
                getattr(proto, spec.name).update(value)
            elif spec.kind == "list" and spec.item in (int, float, str, bool):
                getattr(proto, spec.name).extend(value)
            elif spec.kind == "list":
                for item in value:
                    _fill_message(getattr(proto, spec.name).add(), item)
            else:
                setattr(proto, spec.name, value)
        except (TypeError, ValueError) as error:
            if isinstance(error, BridgeError):
                raise
            raise InvalidValue(
                f"cannot be sent ({error})",
                field=f"{type(message).__name__}.{spec.name}",
                value=ascii(value)[:60],
                remedy="Give whole Unicode text, and numbers that fit into 64 bits.",
            ) from error


def _fill_message(proto: Any, message: Any) -> None:
    proto.SetInParent()
    _fill(proto, message, _layout(type(message)))


# --- in ---------------------------------------------------------------------------------------------------------------


def decode_client_message(data: Part, limits: Limits) -> ClientMessage:
    """Return the message that a client sent. Raises as `decode`."""
    return decode(data, CLIENT_MESSAGES, limits)


def decode_server_message(data: Part, limits: Limits) -> ServerMessage:
    """Return the message that a server sent. Raises as `decode`."""
    return decode(data, SERVER_MESSAGES, limits)


def decode(data: Part, known: Mapping[str, type[_M]], limits: Limits) -> _M:
    """Return the message in an envelope; its planes are views of `data`.

    Raises:
        ProtocolError: the envelope cannot be read, or the message is unknown, or a field is missing or out of range.
        LimitExceeded: there are too many bytes.
    """
    if len(data) > limits.max_message_bytes:
        raise LimitExceeded(
            f"is over the limit of {limits.max_message_bytes} bytes",
            field="message",
            value=f"{len(data)} bytes",
            remedy="Send smaller planes: the model's own size is enough.",
        )
    members = _members(known)
    reader = _Reader(memoryview(data))
    _, found = reader.split(0, len(data), members, "envelope")
    if len(found) != 1:
        raise ProtocolError(
            "holds two messages" if found else "unknown message",
            field="envelope",
            value=", ".join(members[number][0] for number in found) or "no known field",
            remedy=f"Send one of {', '.join(known)}; a newer message needs a newer peer.",
        )
    ((number, spans),) = found.items()
    name, cls = members[number]
    return reader.message(cls, spans, name)


def _members(known: Mapping[str, type[_M]]) -> dict[int, tuple[str, type[_M]]]:
    return {_ENVELOPE_NUMBERS[cls]: (name, cls) for name, cls in known.items()}


_Spans: TypeAlias = list[tuple[int, int]]


class _Reader:
    """One envelope's bytes, how many of them were no plane so far, and in how many fields."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._header_bytes = 0
        self._fields = 0

    def split(
        self, start: int, end: int, carriers: Mapping[int, Any], where: str
    ) -> tuple[list[memoryview], dict[int, _Spans]]:
        """Return the plain fields of the message at `start`..`end`, and where each carrier's values lie."""
        if not carriers:
            self._count(end - start, where)
            return [self._data[start:end]], {}
        plain: list[memoryview] = []
        found: dict[int, _Spans] = {}
        run = start
        for number, kind, tag_at, value_at, after in fields_of(self._data, start, end, where):
            if number in carriers and kind == LENGTH_DELIMITED:
                self._count(value_at - tag_at, where)
                found.setdefault(number, []).append((value_at, after))
                if run < tag_at:
                    plain.append(self._data[run:tag_at])
                run = after
            else:
                self._count(after - tag_at, where)
        if run < end:
            plain.append(self._data[run:end])
        return plain, found

    def message(self, cls: type[_M], spans: _Spans, where: str) -> _M:
        """Return the message that lies at `spans`."""
        layout = _layout(cls)
        plain, found = self._split_all(spans, layout.carriers, where)
        values = _plain_values(_parse(layout.proto, plain, where), layout, where)
        for number, spec in layout.carriers.items():
            path = f"{where}.{spec.name}"
            if number in found:
                inner = found[number]
                values[spec.name] = (
                    self._plane(inner, path) if spec.kind == "plane" else self.message(spec.item, inner, path)
                )
            elif spec.required:
                raise _missing(path)
        return _construct(cls, values, where)

    def _plane(self, spans: _Spans, where: str) -> Plane:
        plain, found = self._split_all(spans, {_PLANE_DATA: None}, where)
        proto = _parse(_PLANE, plain, where)
        shape = tuple(proto.shape)
        if len(shape) > 4 or any(n < 0 for n in shape) or math.prod(shape) >= 2**40:
            raise ProtocolError(
                "is no shape", field=f"{where}.shape", value=str(shape)[:60], remedy="Send 1 to 4 lengths."
            )
        start, end = found[_PLANE_DATA][-1] if found else (0, 0)
        return Plane(proto.dtype, shape, self._data[start:end], proto.compression, proto.scale)

    def _split_all(
        self, spans: _Spans, carriers: Mapping[int, Any], where: str
    ) -> tuple[list[memoryview], dict[int, _Spans]]:
        # A message that is sent in several pieces is one message: protobuf's rule of merging.
        plain: list[memoryview] = []
        found: dict[int, _Spans] = {}
        for start, end in spans:
            more, places = self.split(start, end, carriers, where)
            plain += more
            for number, inner in places.items():
                found.setdefault(number, []).extend(inner)
        return plain, found

    def _count(self, size: int, where: str) -> None:
        self._header_bytes += size
        self._fields += 1
        if self._fields > _MAX_FIELDS:
            raise LimitExceeded(
                f"has over {_MAX_FIELDS} fields", field=where, value=self._fields, remedy="Pack lists; send no pieces."
            )
        if self._header_bytes > MAX_HEADER_BYTES:
            raise LimitExceeded(
                f"has over {MAX_HEADER_BYTES} bytes beside its planes",
                field=where,
                value=self._header_bytes,
                remedy="Send large data as planes.",
            )


def _parse(proto: Any, plain: list[memoryview], where: str) -> Any:
    try:
        return proto.FromString(b"".join(plain))
    except DecodeError as error:
        raise ProtocolError(
            "is no protobuf message",
            field=where,
            value=error,
            remedy="Send what protos/longvie/bridge/v1 describes.",
        ) from error


def _plain_values(proto: Any, layout: _Layout, where: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for spec in layout.plain:
        path = f"{where}.{spec.name}"
        if spec.name in layout.present and not proto.HasField(spec.name):
            if spec.required:
                raise _missing(path)
            continue
        value = getattr(proto, spec.name)
        if spec.kind == "message":
            value = _plain_message(spec.item, value, path)
        elif spec.kind == "map":
            value = dict(value)
        elif spec.kind == "list" and spec.item in (int, float, str, bool):
            value = tuple(value)
        elif spec.kind == "list":
            value = tuple(_plain_message(spec.item, item, path) for item in value)
        values[spec.name] = value
    return values


def _plain_message(cls: type[_M], proto: Any, where: str) -> _M:
    return _construct(cls, _plain_values(proto, _layout(cls), where), where)


def _construct(cls: type[_M], values: dict[str, Any], where: str) -> _M:
    try:
        return cls(**values)
    except BridgeError as error:
        raise ProtocolError(error.problem, field=where, value=error.value, remedy=error.remedy) from error


def _missing(where: str) -> ProtocolError:
    return ProtocolError("is missing", field=where, remedy="See protos/README.md.")
