"""Golden files: bytes of both codecs beside what they mean."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from bridge.codecs import msgpack_codec, protobuf_codec
from bridge.messages import CLIENT_MESSAGES, SERVER_MESSAGES, Limits, Message

FOLDER = Path(__file__).parents[2] / "golden" / "wire"
MAKE = runpy.run_path(str(FOLDER / "make.py"))
EXAMPLES: dict[str, Message] = MAKE["EXAMPLES"]
LIMITS = Limits()

each_example = pytest.mark.parametrize("name", EXAMPLES)


def table_of(message: Message) -> dict[str, type[Message]]:
    return CLIENT_MESSAGES if type(message) in CLIENT_MESSAGES.values() else SERVER_MESSAGES  # type: ignore[return-value]


def test_every_message_has_an_example() -> None:
    assert {type(example) for example in EXAMPLES.values()} == {*CLIENT_MESSAGES.values(), *SERVER_MESSAGES.values()}
    assert {path.name for path in FOLDER.glob("*.*")} == {"make.py"} | {
        name + suffix for name in EXAMPLES for suffix in (".json", ".msgpack.bin", ".pb.bin")
    }


@each_example
def test_json_says_what_the_example_is(name: str) -> None:
    text = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"type": MAKE["WIRE_NAMES"][type(EXAMPLES[name])], **MAKE["readable"](EXAMPLES[name])}


@each_example
def test_msgpack_bytes(name: str) -> None:
    example = EXAMPLES[name]
    golden = (FOLDER / f"{name}.msgpack.bin").read_bytes()
    assert msgpack_codec.decode(MAKE["split_parts"](golden), table_of(example), LIMITS) == example
    assert MAKE["render"](example)[".msgpack.bin"] == golden


@each_example
def test_protobuf_bytes(name: str) -> None:
    example = EXAMPLES[name]
    golden = (FOLDER / f"{name}.pb.bin").read_bytes()
    assert protobuf_codec.decode(golden, table_of(example), LIMITS) == example
    # The order of fields is free; what they say is not.
    envelope = protobuf_codec.message_class(
        "ClientEnvelope" if table_of(example) is CLIENT_MESSAGES else "ServerEnvelope"
    )
    assert envelope.FromString(protobuf_codec.encode(example)) == envelope.FromString(golden)


@each_example
def test_protobuf_library_reads_and_writes_the_same(name: str) -> None:
    """What any other language's protobuf library makes of a message is read here as well."""
    example = EXAMPLES[name]
    envelope = protobuf_codec.message_class(
        "ClientEnvelope" if table_of(example) is CLIENT_MESSAGES else "ServerEnvelope"
    )
    parsed = envelope.FromString(protobuf_codec.encode(example))
    assert parsed.WhichOneof("message") == MAKE["WIRE_NAMES"][type(example)]
    assert protobuf_codec.decode(parsed.SerializeToString(), table_of(example), LIMITS) == example
