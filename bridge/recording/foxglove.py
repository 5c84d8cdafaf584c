"""Foxglove's protobuf messages from our values, and back where the message holds the value exactly.

Images and point clouds carry our bytes as they are, and come back from here. Calibration and transforms are for
viewers: quaternions round and cannot scale, so a camera's exact pose comes back from `bridge.recording.sidecar`.
"""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from foxglove_schemas_protobuf.CameraCalibration_pb2 import CameraCalibration
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.FrameTransform_pb2 import FrameTransform
from foxglove_schemas_protobuf.FrameTransforms_pb2 import FrameTransforms
from foxglove_schemas_protobuf.Log_pb2 import Log
from foxglove_schemas_protobuf.PackedElementField_pb2 import PackedElementField
from foxglove_schemas_protobuf.PointCloud_pb2 import PointCloud
from foxglove_schemas_protobuf.Pose_pb2 import Pose as FoxglovePose
from foxglove_schemas_protobuf.Quaternion_pb2 import Quaternion
from foxglove_schemas_protobuf.RawImage_pb2 import RawImage
from foxglove_schemas_protobuf.Vector3_pb2 import Vector3
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray

from ..errors import ShapeMismatch
from ..geometry.camera import Camera, Intrinsics
from ..planes import image_to_plane, load_image
from ..tick import TRACK_COUNT, Instances, TrackSet

__all__ = [
    "anchor_from",
    "anchor_images",
    "calibration",
    "depth_from",
    "depth_image",
    "image_from",
    "log",
    "png",
    "points",
    "tracks_from",
    "transforms",
]

WORLD: Final = "world"
CAMERA: Final = "camera"
# x, y, z, w float32, id uint32, visibility uint8, 3 bytes of padding: every field lies on its own size.
_POINT_STRIDE: Final = 24
_ID_AT: Final = 16
_VISIBILITY_AT: Final = 20
_POINT_FIELDS: Final = (
    *(PackedElementField(name=n, offset=4 * i, type=PackedElementField.FLOAT32) for i, n in enumerate("xyzw")),
    PackedElementField(name="id", offset=_ID_AT, type=PackedElementField.UINT32),
    PackedElementField(name="visibility", offset=_VISIBILITY_AT, type=PackedElementField.UINT8),
)


def depth_image(depth: NDArray[np.float32], *, at_ns: int) -> RawImage:
    """Return the message of a depth plane, (height, width) float32; its bytes are the plane's."""
    height, width = depth.shape
    data = depth.astype("<f4", copy=False).tobytes()
    return RawImage(
        timestamp=_timestamp(at_ns),
        frame_id=CAMERA,
        width=width,
        height=height,
        encoding="32FC1",
        step=4 * width,
        data=data,
    )


def depth_from(data: bytes) -> NDArray[np.float32]:
    """Return the plane of a `RawImage`, (height, width) float32, read-only.

    Raises:
        ShapeMismatch: it is no dense 32FC1 image.
    """
    message = RawImage.FromString(data)
    dense = message.step == 4 * message.width and len(message.data) == message.step * message.height
    if message.encoding != "32FC1" or not dense:
        raise ShapeMismatch(
            "must be dense 32FC1",
            field="depth",
            value=f"{message.encoding}, {message.height} rows of {message.step} bytes, {len(message.data)} in all",
            remedy="Record the session again.",
        )
    plane = np.frombuffer(message.data, dtype="<f4").reshape(message.height, message.width)
    return plane.astype(np.float32, copy=False)


def png(image: NDArray[np.uint8], *, at_ns: int) -> CompressedImage:
    """Return the message of an image, (height, width, 3) uint8 RGB, as PNG (lossless)."""
    data = bytes(image_to_plane(image, encoding="png").data)
    return CompressedImage(timestamp=_timestamp(at_ns), frame_id=CAMERA, data=data, format="png")


def image_from(data: bytes) -> NDArray[np.uint8]:
    """Return the image of a `CompressedImage`, (height, width, 3) uint8 RGB.

    Raises:
        InvalidValue: its data is no image.
    """
    return load_image(io.BytesIO(CompressedImage.FromString(data).data), name="image")


def anchor_images(anchor: NDArray[np.uint8], *, at_ns: int) -> tuple[CompressedImage, CompressedImage]:
    """Return the messages of a world state's anchor, (height, width, 4) uint8: its frame, and its grey as RGB.

    Two of them, because a viewer would take a fourth channel for transparency.
    """
    grey = np.repeat(anchor[..., 3:], 3, axis=2)
    return png(np.ascontiguousarray(anchor[..., :3]), at_ns=at_ns), png(grey, at_ns=at_ns)


def anchor_from(frame: bytes, grey: bytes) -> NDArray[np.uint8]:
    """Return the anchor, (height, width, 4) uint8, of the two messages that `anchor_images` made.

    Raises:
        InvalidValue: one of them is no image.
        ShapeMismatch: they are not of one size.
    """
    rgb, shades = image_from(frame), image_from(grey)
    if rgb.shape != shades.shape:
        raise ShapeMismatch(
            f"its grey must be {rgb.shape}", field="anchor", value=shades.shape, remedy="Record the session again."
        )
    return np.concatenate((rgb, shades[..., :1]), axis=2)


def points(tracks: TrackSet, *, at_ns: int) -> PointCloud:
    """Return the message of a track set: homogeneous world coordinates, so the sky (w = 0) lies on the unit sphere."""
    rows = np.zeros((TRACK_COUNT, _POINT_STRIDE), dtype=np.uint8)
    # Bytes, not numbers: the NaN of a lost point keeps its payload.
    rows[:, :_ID_AT] = np.ascontiguousarray(tracks.points, dtype="<f4").view(np.uint8)
    rows[:, _ID_AT:_VISIBILITY_AT] = np.arange(TRACK_COUNT, dtype="<u4")[:, None].view(np.uint8)
    rows[:, _VISIBILITY_AT] = tracks.visibility
    return PointCloud(
        timestamp=_timestamp(at_ns),
        frame_id=WORLD,
        pose=FoxglovePose(position=Vector3(), orientation=Quaternion(w=1.0)),
        point_stride=_POINT_STRIDE,
        fields=_POINT_FIELDS,
        data=rows.tobytes(),
    )


def tracks_from(data: bytes) -> TrackSet:
    """Return the track set of a `PointCloud` that `points` made.

    Raises:
        ShapeMismatch: it has another layout.
    """
    message = PointCloud.FromString(data)
    if message.point_stride != _POINT_STRIDE or len(message.data) != TRACK_COUNT * _POINT_STRIDE:
        raise ShapeMismatch(
            f"must be {TRACK_COUNT} points of {_POINT_STRIDE} bytes",
            field="tracks",
            value=f"{len(message.data)} bytes, {message.point_stride} per point",
            remedy="Record the session again.",
        )
    rows = np.frombuffer(message.data, dtype=np.uint8).reshape(TRACK_COUNT, _POINT_STRIDE)
    xyzw = np.ascontiguousarray(rows[:, :_ID_AT]).view("<f4").astype(np.float32, copy=False)
    return TrackSet(xyzw, np.ascontiguousarray(rows[:, _VISIBILITY_AT]))


def calibration(lens: Intrinsics, *, at_ns: int) -> CameraCalibration:
    """Return the lens as ROS and Foxglove count pixels: the first pixel's centre is (0, 0), ours is (0.5, 0.5)."""
    cx, cy = lens.cx_px - 0.5, lens.cy_px - 0.5
    return CameraCalibration(
        timestamp=_timestamp(at_ns),
        frame_id=CAMERA,
        width=lens.width,
        height=lens.height,
        K=(lens.fx_px, 0, cx, 0, lens.fy_px, cy, 0, 0, 1),
        R=(1, 0, 0, 0, 1, 0, 0, 0, 1),
        P=(lens.fx_px, 0, cx, 0, 0, lens.fy_px, cy, 0, 0, 0, 1, 0),
    )


def transforms(camera: Camera, instances: Instances | None, *, at_ns: int) -> FrameTransforms:
    """Return where camera and instances stand in the world; an instance's scale is left out."""
    names, matrices = [CAMERA], camera.world_from_camera.matrix[None]
    if instances is not None:
        names += [f"instance_{number}" for number in instances.ids.tolist()]
        matrices = np.concatenate([matrices, instances.world_from_instance])
    timestamp = _timestamp(at_ns)
    rows = zip(names, matrices[:, :3, 3].tolist(), _quaternions(matrices[:, :3, :3]).tolist(), strict=True)
    return FrameTransforms(
        transforms=[
            FrameTransform(
                timestamp=timestamp,
                parent_frame_id=WORLD,
                child_frame_id=name,
                translation=Vector3(x=x, y=y, z=z),
                rotation=Quaternion(x=qx, y=qy, z=qz, w=qw),
            )
            for name, (x, y, z), (qx, qy, qz, qw) in rows
        ]
    )


def log(text: str, *, at_ns: int) -> Log:
    """Return the log message of a new prompt."""
    return Log(timestamp=_timestamp(at_ns), level=Log.INFO, message=text, name="prompt")


def _quaternions(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    # The nearest rotation, (n, 3, 3) -> (n, 4) as x, y, z, w. The eigenvector of the largest eigenvalue of this
    # symmetric 4 x 4 matrix maximises the overlap with the rotation (Bar-Itzhack 2000): no branches on the trace.
    u, _, v = np.linalg.svd(matrices)
    u[:, :, 2] *= np.linalg.det(u @ v)[:, None]
    r = u @ v
    k = np.empty((len(r), 4, 4))
    for i in range(3):
        for j in range(3):
            k[:, i, j] = r[:, i, j] + r[:, j, i]
    trace = np.trace(r, axis1=1, axis2=2)
    k[:, range(3), range(3)] -= trace[:, None]
    k[:, 3, 3] = trace
    axis = np.stack([r[:, 2, 1] - r[:, 1, 2], r[:, 0, 2] - r[:, 2, 0], r[:, 1, 0] - r[:, 0, 1]], axis=1)
    k[:, 3, :3] = k[:, :3, 3] = axis
    q: NDArray[np.float64] = np.linalg.eigh(k)[1][:, :, 3]
    return q * np.where(q[:, 3:] < 0, -1.0, 1.0)


def _timestamp(at_ns: int) -> Timestamp:
    seconds, nanos = divmod(at_ns, 10**9)
    return Timestamp(seconds=seconds, nanos=nanos)
