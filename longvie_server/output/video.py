"""Frames to an mp4 that any player opens (H.264, yuv420p)."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from numpy.typing import NDArray

__all__ = ["VideoWriter"]


class VideoWriter:
    """Writes frames of one size; the file is complete when it is closed.

    Args:
        path: of the .mp4.
        fps: frames per second.
        scale: every pixel becomes scale x scale, without smoothing, so that small models can be seen.
        crf: libx264's quality, 0 (lossless) to 51.
        pix_fmt: yuv420p for any player; yuv444p keeps colours as fine as shapes.
    """

    def __init__(self, path: Path, *, fps: int, scale: int = 1, crf: int = 16, pix_fmt: str = "yuv420p") -> None:
        self._container = av.open(str(path), "w")
        self._stream: av.VideoStream | None = None
        self._fps, self._scale, self._crf, self._pix_fmt = fps, scale, crf, pix_fmt

    def write(self, image: NDArray[np.uint8]) -> None:
        """Add a frame, (height, width, 3) uint8 RGB; an odd row or column is repeated, for the codec's sake."""
        image = image.repeat(self._scale, axis=0).repeat(self._scale, axis=1)
        image = np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2), (0, 0)), mode="edge")
        if self._stream is None:
            stream = self._container.add_stream("libx264", rate=Fraction(self._fps))
            stream.width, stream.height, stream.pix_fmt = image.shape[1], image.shape[0], self._pix_fmt
            stream.options = {"crf": str(self._crf), "preset": "veryfast"}
            self._stream = stream
        for packet in self._stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")):
            self._container.mux(packet)

    def close(self) -> None:
        """Finish the file."""
        if self._stream is not None:
            for packet in self._stream.encode(None):
                self._container.mux(packet)
        self._container.close()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
