"""From the capture's aspect to the model's: one map, applied alike to images, depth, points and intrinsics.

Laws: two aspects within 1 % of each other count as equal, and the image is stretched by that much without a word;
otherwise the user chooses a `Fit`. A fit is an affine map of normalised image coordinates; the bars of a padded image
fall on whole pixels, so that every kind of data has the very same edges. Depth is resized by nearest neighbour:
depth between two surfaces is nobody's.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidValue, ShapeMismatch
from .camera import Intrinsics

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["ASPECT_TOLERANCE", "Fit", "FitMap"]

ASPECT_TOLERANCE: Final = 0.01
"""Aspects that differ by at most this fraction count as equal."""


class Fit(str, enum.Enum):
    """What to do with an image of another aspect."""

    CROP = "crop"
    """Fill the target; what stands over is cut off, the same on both sides."""
    PAD = "pad"
    """Show everything; the rest of the target is black, its depth inf."""
    STRETCH = "stretch"
    """Fill the target with everything; shapes are distorted."""


@dataclass(frozen=True, slots=True)
class FitMap:
    """The map from a source image to a target one: uv_in_target = uv_in_source * scale + offset. Made by `between`.

    Args:
        source: (width, height) in pixels.
        target: (width, height) in pixels.
        box: the part of the source that is shown: left, top, right, bottom in source pixels.
        place: the part of the target that shows it: left, top, right, bottom in whole target pixels.
    """

    source: tuple[int, int]
    target: tuple[int, int]
    box: tuple[float, float, float, float]
    place: tuple[int, int, int, int]
    _pixels: NDArray[np.intp] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # One flat index per shown pixel: a gather through it is several times as fast as one through rows and columns.
        columns = _nearest(self.box[0::2], self.place[0::2], self.source[0])
        rows = _nearest(self.box[1::2], self.place[1::2], self.source[1])
        object.__setattr__(self, "_pixels", rows[:, None] * self.source[0] + columns)

    @classmethod
    def between(cls, source: tuple[int, int], target: tuple[int, int], *, fit: Fit | None = None) -> FitMap:
        """Return the map for images of two sizes, (width, height) each.

        Raises:
            InvalidValue: the aspects differ by more than 1 % and `fit` is None, or a size is not positive.
        """
        (sw, sh), (tw, th) = source, target
        if min(sw, sh, tw, th) <= 0:
            raise InvalidValue(
                "must be positive", field="size", value=f"{source} to {target}", remedy="Give width and height."
            )
        whole, full = (0.0, 0.0, float(sw), float(sh)), (0, 0, tw, th)
        ratio = (sw * th) / (sh * tw)  # above 1: the source is the wider one
        if max(ratio, 1.0 / ratio) <= 1.0 + ASPECT_TOLERANCE or fit is Fit.STRETCH:
            return cls(source, target, whole, full)
        if fit is Fit.CROP:
            width, height = sw / max(ratio, 1.0), sh * min(ratio, 1.0)
            left, top = 0.5 * (sw - width), 0.5 * (sh - height)
            return cls(source, target, (left, top, left + width, top + height), full)
        if fit is Fit.PAD:
            inner_w, inner_h = max(1, round(tw * min(ratio, 1.0))), max(1, round(th / max(ratio, 1.0)))
            x, y = (tw - inner_w) // 2, (th - inner_h) // 2
            return cls(source, target, whole, (x, y, x + inner_w, y + inner_h))
        raise InvalidValue(
            f"aspect {sw / sh:.4f} ({sw} x {sh}) is not the model's {tw / th:.4f} ({tw} x {th})",
            field="fit",
            value=fit,
            remedy="Capture at the model's aspect, or open the session with fit crop, pad or stretch.",
        )

    @property
    def is_identity(self) -> bool:
        """Nothing has to be done: the sizes are equal and all of the source is shown."""
        return self.source == self.target and self.place == (0, 0, *self.target) and self.box == (0, 0, *self.source)

    @property
    def scale(self) -> tuple[float, float]:
        """Of u and v."""
        return (
            (self.place[2] - self.place[0]) * self.source[0] / (self.target[0] * (self.box[2] - self.box[0])),
            (self.place[3] - self.place[1]) * self.source[1] / (self.target[1] * (self.box[3] - self.box[1])),
        )

    @property
    def offset(self) -> tuple[float, float]:
        """Of u and v."""
        scale_u, scale_v = self.scale
        return (
            self.place[0] / self.target[0] - self.box[0] / self.source[0] * scale_u,
            self.place[1] / self.target[1] - self.box[1] / self.source[1] * scale_v,
        )

    def uv(self, uv: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return normalised source coordinates, (..., 2), as normalised target coordinates. NaN stays NaN."""
        return uv if self.is_identity else uv * self.scale + self.offset

    def depth(self, depth: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return planar metres at the target's size: nearest neighbour, inf in the bars; the input where sizes agree.

        Raises:
            ShapeMismatch: depth is not (source height, source width).
        """
        width, height = self.source
        if depth.shape != (height, width):
            raise ShapeMismatch(
                f"must be {(height, width)}", field="depth", value=depth.shape, remedy="Make a map for this size."
            )
        if self.is_identity:
            return depth
        left, top, right, bottom = self.place
        inner = depth.ravel().take(self._pixels, mode="clip")  # never clips: "raise" checks every index again
        if self.place == (0, 0, *self.target):
            return inner
        padded = np.full(self.target[::-1], np.inf, np.float32)
        padded[top:bottom, left:right] = inner
        return padded

    def image(self, image: Image.Image) -> Image.Image:
        """Return the image at the target's size: bicubic with antialiasing, black bars; the input where sizes agree.

        Raises:
            ShapeMismatch: the image is not of the source's size.
        """
        if image.size != self.source:
            raise ShapeMismatch(
                f"must be {self.source[0]} x {self.source[1]}",
                field="image",
                value=f"{image.size[0]} x {image.size[1]}",
                remedy="Make a map for this size.",
            )
        if self.is_identity:
            return image
        from PIL import Image  # only here: inside an engine's own Python there may be no Pillow

        left, top, right, bottom = self.place
        inner = image.resize((right - left, bottom - top), Image.Resampling.BICUBIC, box=self.box)
        if self.place == (0, 0, *self.target):
            return inner
        padded = Image.new(image.mode, self.target)
        padded.paste(inner, (left, top))
        return padded

    def intrinsics(self, intrinsics: Intrinsics) -> Intrinsics:
        """Return the lens that sees the target image.

        Raises:
            ShapeMismatch: the intrinsics are not of the source's size.
        """
        if (intrinsics.width, intrinsics.height) != self.source:
            raise ShapeMismatch(
                f"must be of {self.source[0]} x {self.source[1]}",
                field="intrinsics",
                value=f"{intrinsics.width} x {intrinsics.height}",
                remedy="Make a map for this size.",
            )
        if self.is_identity:
            return intrinsics
        (scale_u, scale_v), (offset_u, offset_v) = self.scale, self.offset
        width, height = self.target
        x, y = scale_u * width / intrinsics.width, scale_v * height / intrinsics.height
        return Intrinsics(
            fx_px=intrinsics.fx_px * x,
            fy_px=intrinsics.fy_px * y,
            cx_px=intrinsics.cx_px * x + offset_u * width,
            cy_px=intrinsics.cy_px * y + offset_v * height,
            width=width,
            height=height,
        )


def _nearest(box: tuple[float, ...], place: tuple[int, ...], pixels: int) -> NDArray[np.intp]:
    # The source pixel that contains each target pixel's centre.
    count = place[1] - place[0]
    centres = box[0] + (np.arange(count) + 0.5) * (box[1] - box[0]) / count
    return np.clip(np.floor(centres).astype(np.intp), 0, pixels - 1)
