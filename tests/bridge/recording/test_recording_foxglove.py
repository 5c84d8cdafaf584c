"""What Foxglove and Rerun see: read with the plain MCAP reader and the schemas inside the file."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recording_cases as cases
from mcap.reader import make_reader
from mcap_protobuf.decoder import DecoderFactory
from PIL import Image

from bridge.geometry.camera import Camera, Intrinsics, Pose
from bridge.recording import CutEvent, Finish, PromptEvent, RecordingWriter
from bridge.recording.topics import TOPICS
from bridge.tick import Frame, Instances, Tick, WorldState


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Message tuples by topic, decoded by third-party code alone."""
    path = tmp_path_factory.mktemp("recording") / "a.mcap"
    turned = np.array([[0, -1, 0, 10.0], [1, 0, 0, 20.0], [0, 0, 1, 30.0], [0, 0, 0, 1]])
    stretched = turned.copy()
    stretched[:3, :3] *= 2.0
    tick = Tick(
        index=32,
        camera=Camera(Intrinsics(500.0, 400.0, 3.25, 2.0, 6, 4), Pose(turned)),
        depth=np.arange(24, dtype=np.float32).reshape(4, 6),
        tracks=cases.track_set(1),
        seeds=cases.track_set(2),
        instances=Instances(np.array([12], dtype=np.uint32), stretched[None]),
        seed_instances=np.arange(2500, dtype=np.uint32),
    )
    state = WorldState("fake", 1, 80, True, 7, "a town", np.stack([cases.image(i) for i in range(8)]))
    state = replace(state, anchor=np.dstack((cases.image(8), cases.image(9)[..., 0])))
    with RecordingWriter(path, header=cases.header(), started_ns=cases.STARTED_NS) as writer:
        writer.write_tick(tick)
        writer.write_reference(32, cases.image(5))
        writer.write_frame(Frame(32, cases.image(6)))
        writer.write_prompt(PromptEvent(80, "snow"))
        writer.write_cut(CutEvent(33, cases.image(7)))
        writer.write_state(state)
        writer.write_finish(Finish())
    found: dict[str, list[Any]] = {}
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        factory = DecoderFactory()
        for schema, channel, message in reader.iter_messages():
            assert schema is not None
            decode = factory.decoder_for(channel.message_encoding, schema)
            assert (decode is None) == (channel.message_encoding == "json")
            found.setdefault(channel.topic, []).append((schema, message, decode and decode(message.data)))
    return found


@pytest.mark.parametrize(
    ("topic", "schema"),
    [
        ("/camera/calibration", "foxglove.CameraCalibration"),
        ("/tf", "foxglove.FrameTransforms"),
        ("/camera/depth", "foxglove.RawImage"),
        ("/camera/reference", "foxglove.CompressedImage"),
        ("/tracks", "foxglove.PointCloud"),
        ("/tracks/seeds", "foxglove.PointCloud"),
        ("/session/first_frame", "foxglove.CompressedImage"),
        ("/cut/first_frame", "foxglove.CompressedImage"),
        ("/generated", "foxglove.CompressedImage"),
        ("/world_state/frames", "foxglove.CompressedImage"),
        ("/world_state/anchor", "foxglove.CompressedImage"),
        ("/prompt", "foxglove.Log"),
    ],
)
def test_viewers_find_foxglove_schemas(seen: dict[str, list[Any]], topic: str, schema: str) -> None:
    assert {(s.name, s.encoding) for s, _, _ in seen[topic]} == {(schema, "protobuf")}


def test_every_topic_but_the_engines_own_depth_is_used(seen: dict[str, list[Any]]) -> None:
    assert set(TOPICS) - set(seen) == {"/camera/depth/as_sent"}


def test_time_is_the_start_and_sixteenths_of_a_second(seen: dict[str, list[Any]]) -> None:
    for topic in ("/tick", "/camera/depth", "/tracks", "/tf", "/generated", "/camera/reference"):
        _, message, decoded = seen[topic][0]
        assert (message.sequence, message.log_time, message.publish_time) == (
            32,
            cases.STARTED_NS + 2 * 10**9,
            cases.STARTED_NS + 2 * 10**9,
        )
        if decoded is not None and hasattr(decoded, "timestamp"):
            assert decoded.timestamp.ToNanoseconds() == message.log_time
    assert seen["/prompt"][0][1].log_time == cases.STARTED_NS + 5 * 10**9
    assert seen["/prompt"][0][1].sequence == 80
    times = [message.log_time for _, message, _ in seen["/world_state/frames"]]
    assert times == [cases.STARTED_NS + (73 + i) * 62_500_000 for i in range(8)]


def test_the_depth_image_is_dense_float_metres(seen: dict[str, list[Any]]) -> None:
    depth = seen["/camera/depth"][0][2]
    assert (depth.encoding, depth.width, depth.height, depth.step) == ("32FC1", 6, 4, 24)
    assert depth.frame_id == "camera"
    assert depth.data == np.arange(24, dtype="<f4").tobytes()


def test_the_calibration_counts_pixels_as_ros_does(seen: dict[str, list[Any]]) -> None:
    calibration = seen["/camera/calibration"][0][2]
    assert (calibration.width, calibration.height, calibration.frame_id) == (6, 4, "camera")
    assert list(calibration.K) == [500.0, 0, 2.75, 0, 400.0, 1.5, 0, 0, 1]
    assert list(calibration.R) == [1, 0, 0, 0, 1, 0, 0, 0, 1]
    assert list(calibration.P) == [500.0, 0, 2.75, 0, 0, 400.0, 1.5, 0, 0, 0, 1, 0]


def test_transforms_lead_from_the_world(seen: dict[str, list[Any]]) -> None:
    camera, instance = seen["/tf"][0][2].transforms
    for transform, name in ((camera, "camera"), (instance, "instance_12")):
        assert (transform.parent_frame_id, transform.child_frame_id) == ("world", name)
        at, turn = transform.translation, transform.rotation
        assert (at.x, at.y, at.z) == (10.0, 20.0, 30.0)
        # A quarter turn about z, for the instance without its scale of 2.
        np.testing.assert_allclose((turn.x, turn.y, turn.z, turn.w), (0, 0, 0.5**0.5, 0.5**0.5), atol=1e-12)


def test_quaternions_turn_vectors_as_their_matrices_do(tmp_path: Path) -> None:
    from bridge.recording.foxglove import transforms

    half_turns = [np.diag([1.0, -1, -1]), np.diag([-1.0, 1, -1]), np.diag([-1.0, -1, 1]), np.eye(3)]
    rotations = [cases.pose(seed).matrix[:3, :3] for seed in range(20)] + half_turns
    matrices = np.tile(np.eye(4), (len(rotations), 1, 1))
    matrices[:, :3, :3] = rotations
    message = transforms(
        Camera(Intrinsics(1, 1, 1, 1, 2, 2)),
        Instances(np.arange(len(rotations), dtype=np.uint32), matrices),
        at_ns=0,
    )
    for transform, rotation in zip(message.transforms[1:], rotations, strict=True):
        q = transform.rotation
        axis, vector = np.array([q.x, q.y, q.z]), np.array([0.3, -0.7, 0.9])
        turned = vector + 2 * np.cross(axis, np.cross(axis, vector) + q.w * vector)
        np.testing.assert_allclose(turned, rotation @ vector, atol=1e-12)


def test_point_clouds_name_their_fields(seen: dict[str, list[Any]]) -> None:
    cloud = seen["/tracks"][0][2]
    fields = {field.name: (field.offset, field.type) for field in cloud.fields}
    uint8, uint32, float32 = 1, 5, 7
    assert fields == {
        "x": (0, float32),
        "y": (4, float32),
        "z": (8, float32),
        "w": (12, float32),
        "id": (16, uint32),
        "visibility": (20, uint8),
    }
    assert cloud.frame_id == "world"
    assert len(cloud.data) == 2500 * cloud.point_stride
    layout = np.dtype(
        {
            "names": ["y", "id", "visibility"],
            "formats": ["<f4", "<u4", "u1"],
            "offsets": [4, 16, 20],
            "itemsize": cloud.point_stride,
        }
    )
    rows = np.frombuffer(cloud.data, dtype=layout)
    np.testing.assert_array_equal(rows["y"], cases.track_set(1).points[:, 1])
    np.testing.assert_array_equal(rows["visibility"], cases.track_set(1).visibility)
    np.testing.assert_array_equal(rows["id"], np.arange(2500))
    assert seen["/tracks/seeds"][0][2].data != cloud.data


@pytest.mark.parametrize(
    ("topic", "seed"),
    [
        ("/session/first_frame", 1),
        ("/camera/reference", 5),
        ("/generated", 6),
        ("/cut/first_frame", 7),
        ("/world_state/anchor", 8),
    ],
)
def test_images_are_lossless_png(seen: dict[str, list[Any]], topic: str, seed: int) -> None:
    message = seen[topic][0][2]
    assert (message.format, message.frame_id) == ("png", "camera")
    with Image.open(io.BytesIO(message.data)) as image:
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), cases.image(seed))


def test_prompts_are_log_lines(seen: dict[str, list[Any]]) -> None:
    log = seen["/prompt"][0][2]
    assert (log.message, log.name, log.level) == ("snow", "prompt", 2)


def test_json_messages_have_a_schema_and_keep_to_it(seen: dict[str, list[Any]]) -> None:
    import json

    for topic in (
        "/session",
        "/tick",
        "/instances",
        "/seed_instances",
        "/cut",
        "/finish",
        "/generated/info",
        "/world_state",
    ):
        schema, message, _ = seen[topic][0]
        assert schema.encoding == "jsonschema"
        described = json.loads(schema.data)
        assert described["type"] == "object"
        assert set(described["properties"]) == set(json.loads(message.data))
