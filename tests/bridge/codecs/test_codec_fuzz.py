"""Any message survives both codecs; any other bytes give a BridgeError and nothing else."""

from __future__ import annotations

import contextlib
import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.codecs import msgpack_codec, protobuf_codec
from bridge.codecs.fields import FieldSpec, field_specs
from bridge.errors import BridgeError
from bridge.messages import CLIENT_MESSAGES, SERVER_MESSAGES, Limits, Message, Plane, Receipt

ALL: dict[str, type[Message]] = {**CLIENT_MESSAGES, **SERVER_MESSAGES}
TABLES: tuple[dict[str, type[Any]], ...] = (CLIENT_MESSAGES, SERVER_MESSAGES)
LIMITS = Limits()


def busy(max_examples: int) -> settings:
    """Return settings that do not take a busy machine for a fault."""
    return settings(max_examples=max_examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])


SCALARS: dict[type[Any], st.SearchStrategy[Any]] = {
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False),
    str: st.text(max_size=20),
    bool: st.booleans(),
}
PLANES = st.builds(
    Plane,
    dtype=st.sampled_from(("float32", "uint8", "unheard-of")),
    shape=st.lists(st.integers(0, 999), max_size=4).map(tuple),
    data=st.binary(max_size=200),
    compression=st.sampled_from(("", "zstd", "png")),
    scale=SCALARS[float],
)


def values_of(spec: FieldSpec) -> st.SearchStrategy[Any]:
    if spec.kind == "plane":
        some: st.SearchStrategy[Any] = PLANES
    elif spec.kind in ("list", "map"):
        item = SCALARS[spec.item] if spec.item in SCALARS else messages_of(spec.item)
        some = (
            st.lists(item, max_size=4).map(tuple)
            if spec.kind == "list"
            else st.dictionaries(SCALARS[str], item, max_size=3)
        )
    else:
        some = SCALARS[spec.item] if spec.item in SCALARS else messages_of(spec.item)
    return some if spec.required else st.just(spec.default) | some


def messages_of(cls: type[Any]) -> st.SearchStrategy[Any]:
    return st.builds(cls, **{spec.name: values_of(spec) for spec in field_specs(cls)})


any_message = st.one_of([messages_of(cls) for cls in ALL.values()])


def table_of(message: Message) -> dict[str, type[Any]]:
    return CLIENT_MESSAGES if type(message) in CLIENT_MESSAGES.values() else SERVER_MESSAGES


@busy(60)
@given(any_message)
def test_round_trip(message: Message) -> None:
    table = table_of(message)
    assert msgpack_codec.decode(msgpack_codec.encode(message), table, LIMITS) == message
    assert protobuf_codec.decode(protobuf_codec.encode(message), table, LIMITS) == message


@busy(60)
@given(any_message)
def test_protobuf_encoding_is_what_the_library_reads(message: Message) -> None:
    name = "ClientEnvelope" if table_of(message) is CLIENT_MESSAGES else "ServerEnvelope"
    canonical = protobuf_codec.message_class(name).FromString(protobuf_codec.encode(message)).SerializeToString()
    assert protobuf_codec.decode(canonical, table_of(message), LIMITS) == message


@busy(200)
@given(st.binary(max_size=300), st.sampled_from(TABLES))
def test_random_bytes_are_refused_by_name(data: bytes, table: dict[str, type[Any]]) -> None:
    with contextlib.suppress(BridgeError):
        protobuf_codec.decode(data, table, LIMITS)
    with contextlib.suppress(BridgeError):
        msgpack_codec.decode([data, data], table, LIMITS)


@busy(100)
@given(any_message, st.data())
def test_truncated_and_mutated_bytes_are_refused_by_name(message: Message, data: st.DataObject) -> None:
    table = table_of(message)
    envelope = bytearray(protobuf_codec.encode(message))
    parts = [bytearray(part) for part in msgpack_codec.encode(message)]
    for broken in (envelope, parts[0]):
        for _ in range(data.draw(st.integers(0, 3))):
            broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
        del broken[data.draw(st.integers(0, len(broken))) :]
    with contextlib.suppress(BridgeError):
        protobuf_codec.decode(bytes(envelope), table, LIMITS)
    with contextlib.suppress(BridgeError):
        msgpack_codec.decode([bytes(part) for part in parts], table, LIMITS)


ODD = st.sampled_from(
    (
        None,
        True,
        -1,
        2**64 - 1,
        1.5,
        float("nan"),
        "x",
        b"x",
        [],
        [1],
        ["a"],
        [{}],
        {},
        {"a": 1},
        {"part": 9, "shape": []},
    )
)


@busy(100)
@given(st.sampled_from(sorted(ALL)).flatmap(lambda name: st.tuples(st.just(name), odd_headers(name))))
def test_msgpack_fields_of_any_type_are_refused_by_name(drawn: tuple[str, dict[str, Any]]) -> None:
    name, header = drawn
    with contextlib.suppress(BridgeError):
        msgpack_codec.decode([msgpack.packb({**header, "type": name}), b"plane"], {name: ALL[name]}, LIMITS)


def odd_headers(name: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={spec.name: ODD for spec in field_specs(ALL[name])})


@pytest.mark.parametrize(
    "lie",
    [
        b"\x0a\xff\xff\xff\xff\xff\x7f",  # an envelope's member of 4 TiB
        b"\x0a\x0a\x7a\xff\xff\xff\xff\x7f\x00\x00\x00\x00",  # a depth plane of 32 GiB
        b"\x0a" + b"\xff" * 9 + b"\x01",  # 2**64 - 1 bytes
    ],
)
def test_lying_lengths_allocate_nothing(lie: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(BridgeError):
            protobuf_codec.decode_client_message(lie, LIMITS)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_message_is_not_confused_by_its_own_bytes_around_it() -> None:
    receipt = Receipt("s", 1, 2, 3)
    data = protobuf_codec.encode(receipt)
    assert protobuf_codec.decode_server_message(memoryview(data), LIMITS) == receipt
