"""Planes: arrays and images as they travel.

Laws: the declared shape and dtype bound what is allocated; a raw plane is a view of the bytes that arrived, not a copy;
nothing here trusts a length that it was told. Pillow is imported where an image is coded: an engine's own Python, which
only captures, may have none.
"""

from __future__ import annotations

import io
import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .errors import InvalidValue, LimitExceeded, ProtocolError, ShapeMismatch, UsageError
from .messages import Limits, Plane

__all__ = [
    "DEPTH_ENCODINGS",
    "FRAME_ENCODINGS",
    "array_from_plane",
    "depth_from_plane",
    "depth_to_plane",
    "image_from_plane",
    "image_to_plane",
    "load_image",
    "plane_from_array",
    "zstd_available",
]

DEPTH_ENCODINGS: Final = ("float32", "float16", "inverse16")
"""float32 metres; float16 metres (0.05 % steps, at most 65,504 m); 16 bits linear in disparity (inverse16)."""
FRAME_ENCODINGS: Final = ("png", "raw", "jpeg")

_DTYPES: Final = {
    name: np.dtype(name).newbyteorder("<") for name in ("float32", "float64", "float16", "uint8", "uint16", "uint32")
}


def zstd_available() -> bool:
    """Tell whether the optional `zstandard` package is installed."""
    try:
        import zstandard  # noqa: F401
    except ImportError:
        return False
    return True


def plane_from_array(array: NDArray[Any], *, compression: str = "") -> Plane:
    """Return the plane of an array; a contiguous little-endian array is not copied."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    # A memoryview of an array with a zero in its shape cannot be cast.
    data: bytes | memoryview = little.data.cast("B") if little.size else b""
    if compression == "zstd":
        import zstandard

        data = zstandard.ZstdCompressor(level=1).compress(data)
    elif compression:
        raise InvalidValue("unknown", field="compression", value=compression, remedy='Use "" or "zstd".')
    return Plane(array.dtype.name, array.shape, data, compression)


def array_from_plane(plane: Plane, *, name: str, dtype: str, shape: tuple[int, ...], limits: Limits) -> NDArray[Any]:
    """Return a plane's array.

    Args:
        plane: as it arrived.
        name: of the field, for errors.
        dtype: that the field must have.
        shape: that the field must have; -1 takes any length.
        limits: bounds on what is allocated.

    Raises:
        ProtocolError: dtype, shape or length is not what the field asks for.
        LimitExceeded: the plane is over the limit.
    """
    if plane.dtype != dtype or len(plane.shape) != len(shape):
        wrong = True
    else:
        wrong = any(want not in (-1, got) or got < 0 for want, got in zip(shape, plane.shape, strict=True))
    if wrong:
        raise ShapeMismatch(
            f"must be {shape} {dtype}",
            field=name,
            value=f"{plane.shape} {plane.dtype}",
            remedy="Send the plane as protos/README.md describes it.",
        )
    size = math.prod(plane.shape) * _DTYPES[dtype].itemsize
    _check_size(name, size, limits)
    data = plane.data
    if plane.compression == "zstd":
        data = _unzstd(data, size=size, name=name)
    elif plane.compression:
        raise ProtocolError(
            "unknown compression", field=f"{name}.compression", value=plane.compression, remedy='Use "" or "zstd".'
        )
    if len(data) != size:
        raise ProtocolError(
            f"needs {size} bytes for {plane.shape} {dtype}",
            field=name,
            value=f"{len(data)} bytes",
            remedy="Send the whole plane, and its true shape.",
        )
    return np.frombuffer(data, dtype=_DTYPES[dtype]).reshape(plane.shape)


def depth_to_plane(depth: NDArray[np.float32], *, encoding: str = "float32", compression: str = "") -> Plane:
    """Return the plane of a depth image, (height, width) float32.

    Args:
        depth: metres; or for float32, any declared depth.
        encoding: one of `DEPTH_ENCODINGS`.
        compression: "" or "zstd".

    Raises:
        InvalidValue: unknown encoding, or float16 would turn a finite depth into infinity.
    """
    if encoding == "float32":
        return plane_from_array(depth, compression=compression)
    if encoding == "float16":
        limit = float(np.finfo(np.float16).max)
        if bool(((depth > limit) & np.isfinite(depth)).any()):
            raise InvalidValue(
                f"float16 ends at {limit:.0f} m",
                field="depth_encoding",
                value=float(depth[np.isfinite(depth)].max()),
                remedy="Use inverse16 for scenes this large.",
            )
        return plane_from_array(depth.astype(np.float16), compression=compression)
    if encoding == "inverse16":
        near = float(depth.min())
        scale = near if 0 < near < math.inf else 1.0
        with np.errstate(divide="ignore"):
            stored = np.rint(np.float32(65535 * scale) / np.maximum(depth, np.float32(scale))).astype(np.uint16)
        plane = plane_from_array(stored, compression=compression)
        return Plane(plane.dtype, plane.shape, plane.data, plane.compression, scale)
    raise InvalidValue(
        "unknown", field="depth_encoding", value=encoding, remedy=f"Use one of {', '.join(DEPTH_ENCODINGS)}."
    )


def depth_from_plane(plane: Plane, *, height: int, width: int, limits: Limits) -> NDArray[np.float32]:
    """Return depth, (height, width) float32, from any of `DEPTH_ENCODINGS`.

    Raises:
        ShapeMismatch, ProtocolError, LimitExceeded: as `array_from_plane`.
    """
    dtype = plane.dtype if plane.dtype in ("float16", "uint16") else "float32"
    stored = array_from_plane(plane, name="tick.depth", dtype=dtype, shape=(height, width), limits=limits)
    if dtype == "float32":
        return stored
    if dtype == "float16":
        return stored.astype(np.float32)
    if not (plane.scale > 0 and math.isfinite(plane.scale)):
        raise ProtocolError(
            "must be the nearest z in metres for uint16 depth",
            field="tick.depth.scale",
            value=plane.scale,
            remedy="Send scale with 16-bit inverse depth.",
        )
    with np.errstate(divide="ignore"):
        return np.float32(65535 * plane.scale) / stored.astype(np.float32)


def image_to_plane(image: NDArray[np.uint8], *, encoding: str = "png", quality: int = 90) -> Plane:
    """Return the plane of an image, (height, width, 3) uint8 RGB, as one of `FRAME_ENCODINGS`."""
    if encoding == "raw":
        return plane_from_array(image)
    if encoding not in ("png", "jpeg"):
        raise InvalidValue(
            "unknown", field="frame_encoding", value=encoding, remedy=f"Use one of {', '.join(FRAME_ENCODINGS)}."
        )
    from PIL import Image

    buffer = io.BytesIO()
    options: dict[str, Any] = {"compress_level": 1} if encoding == "png" else {"quality": quality}
    Image.fromarray(image).save(buffer, encoding, **options)
    return Plane("uint8", image.shape, buffer.getvalue(), encoding)


def image_from_plane(plane: Plane, *, name: str, limits: Limits) -> NDArray[np.uint8]:
    """Return an image, (height, width, 3) uint8 RGB.

    Raises:
        ProtocolError: the bytes are no such image, or its size is not the declared one.
        LimitExceeded: it is over the limit.
    """
    if plane.compression not in ("png", "jpeg"):
        return array_from_plane(plane, name=name, dtype="uint8", shape=(-1, -1, 3), limits=limits)
    if plane.dtype != "uint8" or len(plane.shape) != 3 or plane.shape[2] != 3:
        raise ShapeMismatch(
            "must be (height, width, 3) uint8",
            field=name,
            value=f"{plane.shape} {plane.dtype}",
            remedy="Declare the size of the decoded image.",
        )
    _check_size(name, math.prod(plane.shape), limits)
    from PIL import Image

    try:
        with Image.open(io.BytesIO(plane.data), formats=(plane.compression,)) as image:
            if image.size != (plane.shape[1], plane.shape[0]):
                raise ProtocolError(
                    f"is {image.size[1]} x {image.size[0]} pixels (height x width), not as declared",
                    field=name,
                    value=plane.shape,
                    remedy="Declare the size of the decoded image.",
                )
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, UsageError):
            raise
        raise ProtocolError(
            f"is no {plane.compression.upper()} image", field=name, value=error, remedy="Send a whole, valid image."
        ) from error


def load_image(source: Any, *, name: str) -> NDArray[np.uint8]:
    """Return an image that a user gave: an array, a PIL image, or a path.

    Returns:
        (height, width, 3) uint8 RGB.

    Raises:
        InvalidValue: it is none of these, or the file is no image.
        ShapeMismatch: an array that is not (height, width, 3) uint8.
    """
    from PIL import Image

    if isinstance(source, Image.Image):
        return np.asarray(source.convert("RGB"))
    if isinstance(source, np.ndarray):
        if source.ndim != 3 or source.shape[2] != 3 or source.dtype != np.uint8 or 0 in source.shape:
            raise ShapeMismatch(
                "must be (height, width, 3) uint8 RGB",
                field=name,
                value=f"{source.shape} {source.dtype}",
                remedy="Drop alpha, scale 0..1 floats by 255 and convert to uint8.",
            )
        return np.ascontiguousarray(source)
    try:
        with Image.open(source) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, AttributeError, TypeError) as error:
        raise InvalidValue(
            "is no image", field=name, value=repr(source)[:80], remedy="Give an RGB array, a PIL image or a path."
        ) from error


def _check_size(name: str, size: int, limits: Limits) -> None:
    if size > limits.max_plane_bytes:
        raise LimitExceeded(
            f"is over the server's limit of {limits.max_plane_bytes} bytes",
            field=name,
            value=f"{size} bytes",
            remedy="Send it smaller: the model's own size is enough.",
        )


def _unzstd(data: bytes | memoryview, *, size: int, name: str) -> bytes:
    try:
        import zstandard
    except ImportError as error:
        raise ProtocolError(
            "zstd is not installed here", field=name, remedy="Install longvie-bridge[zstd], or send raw planes."
        ) from error
    try:
        # The frame header may lie about its size: read at most what the shape allows, and one byte more to see a lie.
        with zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(data) as reader:
            return reader.read(size + 1)
    except zstandard.ZstdError as error:
        raise ProtocolError("is no zstd data", field=name, value=error, remedy="Send a whole zstd frame.") from error
