"""What can be seen of a training while it runs: curves and sample videos on TensorBoard."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bridge.errors import InvalidValue
from bridge.tick import FPS

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

__all__ = ["Watch"]

_FRAME_EVERY: Final = 2


class Watch:
    """Writes for TensorBoard: `tensorboard --logdir FOLDER`.

    Args:
        folder: of the event files.

    Raises:
        InvalidValue: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError as error:
            raise InvalidValue(
                "is not installed", field="tensorboard", remedy="Run: pip install 'longvie-bridge[train]'"
            ) from error
        self._writer: SummaryWriter = SummaryWriter(str(folder))

    def curves(self, step: int, **figures: float) -> None:
        """Add a point to every named curve."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def video(self, name: str, step: int, frames: NDArray[np.uint8]) -> None:
        """Show frames, (n, height, width, 3) uint8, as a moving picture at half the frame rate."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        pictures = [Image.fromarray(frame) for frame in frames[::_FRAME_EVERY]]
        encoded = io.BytesIO()
        duration_ms = 1000 * _FRAME_EVERY // FPS
        pictures[0].save(encoded, "GIF", save_all=True, append_images=pictures[1:], duration=duration_ms, loop=0)
        _, height, width, _ = frames.shape
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=encoded.getvalue())
        self._writer._get_file_writer().add_summary(Summary(value=[Summary.Value(tag=name, image=image)]), step)
        self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
