"""The schema, the message classes and the compiled descriptor say the same."""

from __future__ import annotations

import dataclasses
import runpy
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from bridge import messages
from bridge.codecs.bridge_pb2 import DESCRIPTOR_BYTES
from bridge.codecs.fields import FieldSpec, field_specs
from bridge.codecs.protobuf_codec import message_class
from bridge.messages import CLIENT_MESSAGES, SERVER_MESSAGES, Plane
from bridge.transports.grpc import CONNECT_METHOD

GENERATE = runpy.run_path(str(Path(__file__).parents[3] / "protos" / "generate.py"))
SCHEMA = FileDescriptorProto.FromString(DESCRIPTOR_BYTES)
CLASSES = sorted(
    (cls for cls in vars(messages).values() if dataclasses.is_dataclass(cls)),
    key=lambda cls: cls.__name__,  # type: ignore[union-attr]
)
SCALARS = {
    int: FieldDescriptor.TYPE_INT64,
    float: FieldDescriptor.TYPE_DOUBLE,
    str: FieldDescriptor.TYPE_STRING,
    bool: FieldDescriptor.TYPE_BOOL,
}


def test_the_compiled_schema_is_up_to_date() -> None:
    compiled = GENERATE["compile_schema"]()
    assert compiled == SCHEMA
    assert GENERATE["TARGET"].read_text(encoding="utf-8") == GENERATE["render"](compiled)


def test_the_schema_holds_the_message_classes_and_the_envelopes() -> None:
    assert {m.name for m in SCHEMA.message_type} == {
        *(cls.__name__ for cls in CLASSES),
        "ClientEnvelope",
        "ServerEnvelope",
    }


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_fields_have_the_same_names_and_kinds(cls: type[Any]) -> None:
    fields = message_class(cls.__name__).DESCRIPTOR.fields_by_name
    assert set(fields) == {field.name for field in dataclasses.fields(cls)}
    for spec in PLANE_SPECS if cls is Plane else field_specs(cls):
        check_kind(spec, fields[spec.name])


# `Plane.data` is bytes, which no other field is: its specs are written out.
PLANE_SPECS = (
    FieldSpec("dtype", "str", str, True, None),
    FieldSpec("shape", "list", int, True, None),
    FieldSpec("compression", "str", str, False, ""),
    FieldSpec("scale", "float", float, False, 0.0),
)


def check_kind(spec: FieldSpec, field: FieldDescriptor) -> None:
    repeated = spec.kind in ("list", "map")
    assert field.is_repeated == repeated, spec
    if spec.kind == "map":
        assert field.message_type.GetOptions().map_entry
        assert field.message_type.fields_by_name["key"].type == FieldDescriptor.TYPE_STRING
        assert field.message_type.fields_by_name["value"].type == SCALARS[spec.item]
    elif spec.item in SCALARS:
        assert field.type == SCALARS[spec.item], spec
    else:
        assert field.message_type.name == spec.item.__name__
    if spec.item in SCALARS and not repeated:
        # `optional` exactly where absence is something other than zero.
        absence_is_zero = spec.required or (spec.default is not None and not spec.default)
        assert field.has_presence != absence_is_zero, spec


def test_plane_data_is_bytes() -> None:
    assert message_class("Plane").DESCRIPTOR.fields_by_name["data"].type == FieldDescriptor.TYPE_BYTES


@pytest.mark.parametrize(
    ("envelope", "table"), [("ClientEnvelope", CLIENT_MESSAGES), ("ServerEnvelope", SERVER_MESSAGES)]
)
def test_envelopes_hold_the_wire_names(envelope: str, table: dict[str, type[Any]]) -> None:
    descriptor = message_class(envelope).DESCRIPTOR
    (oneof,) = descriptor.oneofs
    assert {field.name: field.message_type.name for field in oneof.fields} == {
        name: cls.__name__ for name, cls in table.items()
    }
    assert len(descriptor.fields) == len(table)


def test_the_service_is_one_bidirectional_stream() -> None:
    (service,) = SCHEMA.service
    (method,) = service.method
    assert f"/{SCHEMA.package}.{service.name}/{method.name}" == CONNECT_METHOD
    assert (method.client_streaming, method.server_streaming) == (True, True)
    assert method.input_type.endswith(".ClientEnvelope")
    assert method.output_type.endswith(".ServerEnvelope")


def test_the_normative_text_names_every_field_and_every_message() -> None:
    text = (Path(__file__).parents[3] / "protos" / "README.md").read_text(encoding="utf-8")
    names = {field.name for message in SCHEMA.message_type for field in message.field}
    names |= {name for table in (CLIENT_MESSAGES, SERVER_MESSAGES) for name in table}
    assert not {name for name in names if f"`{name}`" not in text}
